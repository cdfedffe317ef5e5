// The model of replication: nothing breaks within the bounds, and something does when a rule is taken out.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const script = join(__dirname, '../../scripts/check-model');

/** What the search says of the model with these bounds and without these rules. */
function search(...names: string[]): string {
  const { stdout, stderr } = spawnSync(script, names, { encoding: 'utf8' });
  return stdout.trim() || stderr;
}

/** Other tests may want the processor too. */
const LONG_MS = 180_000;

it.each([
  [
    'with a wiped disk and a view service that starts anew',
    'MUTATIONS=1 WIPES=1 RESTARTS=1',
    'every step was taken',
  ],
  // Not all are taken without those two.
  ['with two mutations', 'MUTATIONS=2 WIPES=0 RESTARTS=0', ''],
])(
  'every property holds in every state of three epochs, %s',
  (_, bounds, steps) => {
    const said = /^holds, (\S+) states, (.*)$/.exec(search('EPOCHS=3', ...bounds.split(' ')));
    // A model that can hardly move would hold too.
    expect(Number(said?.[1])).toBeGreaterThan(500_000);
    expect(said?.[2]).toContain(steps);
  },
  LONG_MS,
);

it.each([
  ['a dropped member may still hold a lease', 'NO_LEASE_WAIT', 'stale_read'],
  ['a view service that starts anew forgets the leases', 'LEASES_FORGOTTEN', 'stale_read'],
  ['the view service adds members by itself', 'SERVICE_ADDS', 'acknowledged_lost'],
  ['a joiner does not count while its proposal is undecided', 'PROPOSAL_GIVEN_UP', 'acknowledged_lost'],
  ['a read does not wait for what is undecided', 'READ_WITHOUT_WAITING', 'stale_read'],
  ['a member is an instance number, whatever its store', 'STORES_BY_NUMBER', 'committed_cut'],
  ['a view is told before it is written', 'ANNOUNCED_FIRST', 'two_commit'],
  ['prepared is said before the entry is on the disk', 'PREPARED_BEFORE_WRITTEN', 'on_one_disk'],
  ['two of three are enough to commit', 'COMMIT_BY_MAJORITY', 'acknowledged_lost'],
  ['one disk is enough to answer', 'ANSWERED_BY_ONE', 'on_one_disk'],
  ['a mutation whose entry was cut is said to not have happened', 'DENIED_WHEN_CUT', 'denied_stands'],
  ['a mutation that got no answer is said to not have happened', 'DENIED_WHEN_UNLINKED', 'denied_stands'],
  ['a mutation that got no answer is submitted again', 'RESUBMITTED', 'committed_twice'],
])(
  'a rule is needed: when %s, something breaks',
  (_, rule, property) => {
    expect(search('--quick', 'EPOCHS=3', 'MUTATIONS=1', rule)).toMatch(new RegExp(`^broken: ${property}, `));
  },
  LONG_MS,
);
