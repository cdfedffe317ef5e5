// The rules of the replica machine, each as a story. Take a rule out of replica.ts and its story breaks.
import { Replica, type Effect, type Message } from '../../../src/instance/replication/replica.js';
import { chain } from '../../../src/instance/replication/entry.js';
import { FIXED_VIEW } from '../../../src/instance/replication/view.js';
import { encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import { play } from './scenario.js';

const scenarios: readonly (readonly [rule: string, story: string])[] = [
  [
    'an entry is committed only when every member has it on disk',
    `
    submit k1 at 0
    accept k1
    persist 0
    deliver all
    persist 1
    deliver all
    expect committed 0 = 0 # two of three are not enough
    expect answer k1 = none
    persist 2
    deliver all
    expect committed 0 = 1
    expect committed 1 = 1
    expect committed 2 = 1
    expect answer k1 = committed
    `,
  ],
  [
    'the primary itself must have it on disk too',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 1
    persist 2
    deliver all
    expect committed 0 = 0
    expect sound 0
    persist 0
    expect committed 0 = 1
    deliver all
    expect answer k1 = committed
    `,
  ],
  [
    'entries are committed in order, however the disks run',
    `
    submit k1 at 0
    submit k2 at 0
    accept k2
    accept k1
    deliver all
    persist 0
    persist 1
    persist 2 once         # k2, judged first
    deliver all
    expect committed 0 = 1
    expect answer k2 = committed
    expect answer k1 = none
    persist 2
    deliver all
    expect committed 0 = 2
    `,
  ],
  [
    'while a member is missing a submission gets no index, and its caller is told that it certainly did not happen',
    `
    cut link 0-2
    submit k1 at 0
    expect answer k1 = TooFewInSync
    submit k2 at 1
    deliver all
    expect answer k2 = TooFewInSync
    submit k3 at 2
    expect answer k3 = TooFewInSync
    expect log 0 =
    link 0-2
    settle
    submit k4 at 2
    settle
    expect log 0 = k4
    expect answer k4 = committed
    `,
  ],
  [
    'a member that is lost while the judge thinks is missing when it has thought',
    `
    submit k1 at 1
    deliver all
    cut link 0-2
    accept k1
    deliver all
    expect answer k1 = TooFewInSync
    expect log 0 =
    link 0-2
    settle
    expect log 1 =
    `,
  ],
  [
    'a member that is linked again counts only once it has confirmed the tail',
    `
    cut link 0-2
    link 0-2
    submit k1 at 0
    expect answer k1 = TooFewInSync
    deliver 2>0            # hello
    deliver 0>2            # the tail
    submit k2 at 0
    expect answer k2 = TooFewInSync
    deliver 2>0            # prepared
    submit k3 at 0
    settle
    expect answer k3 = committed
    expect log 2 = k3
    `,
  ],
  [
    'a refusal waits for the entry that it was judged against',
    `
    submit k1 at 0
    accept k1
    submit k2 at 0
    submit k3 at 1
    deliver 1>0
    refuse k2
    refuse k3
    persist 0
    deliver all
    expect answer k2 = none
    expect answer k3 = none
    persist 1
    persist 2
    deliver all
    expect answer k1 = committed
    expect answer k2 = refused
    expect answer k3 = refused
    `,
  ],
  [
    'a refusal that was judged against decided entries only is given at once',
    `
    submit k1 at 0
    settle
    submit k2 at 0
    refuse k2
    expect answer k2 = refused
    expect log 0 = k1
    `,
  ],
  [
    'a refusal that the judge comes to after a member was lost is not held until it is back',
    `
    submit k1 at 0
    submit k2 at 0
    submit k3 at 1
    deliver all
    accept k1
    cut link 0-2
    refuse k2
    refuse k3
    deliver all
    expect answer k2 = TooFewInSync
    expect answer k3 = TooFewInSync
    `,
  ],
  [
    'a refusal of a primary that has nothing undecided is given while a member is missing, too',
    `
    submit k1 at 0
    cut link 0-2
    refuse k1
    expect answer k1 = refused
    `,
  ],
  [
    'a refusal whose entries may yet be lost is taken back: nothing happened, and it may be asked again',
    `
    submit k1 at 0
    accept k1
    submit k2 at 0
    submit k3 at 1
    deliver 1>0
    refuse k2
    refuse k3
    cut link 0-2
    deliver all
    expect answer k2 = TooFewInSync
    expect answer k3 = TooFewInSync
    expect answer k1 = OutcomeUnknown
    `,
  ],
  [
    'a primary that lost an entry before it was on its disk: the backups cut theirs',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 1
    persist 2
    crash 0
    expect answer k1 = OutcomeUnknown
    restart 0
    link 0-1
    link 0-2
    settle
    expect log 0 =
    expect log 1 =
    expect disk 2 =
    expect sound 1
    submit k2 at 1
    settle
    expect log 2 = k2
    expect answer k2 = committed
    `,
  ],
  [
    'a primary that still has the entry sends it again, and it is committed',
    `
    submit k1 at 1
    deliver all
    accept k1
    persist 0              # the backups have not heard of it
    crash 0
    expect answer k1 = OutcomeUnknown
    restart 0
    expect committed 0 = 0
    link 0-1
    link 0-2
    settle
    expect committed 0 = 1
    expect disk 1 = k1
    expect disk 2 = k1
    `,
  ],
  [
    'a longer tail of a backup is cut where it differs, and what the primary has goes in its place',
    `
    submit k1 at 0
    submit k2 at 0
    submit k3 at 0
    accept k1
    accept k2
    accept k3
    persist 0 through 1
    deliver all
    persist 1
    crash 0
    restart 0
    link 0-1
    link 0-2
    settle
    expect log 0 = k1
    expect log 1 = k1
    expect disk 1 = k1
    expect disk 2 = k1
    expect committed 1 = 1
    `,
  ],
  [
    'a backup that crashes before its cut reached the disk cuts again, at the entry that took the place',
    `
    submit k1 at 0
    accept k1
    deliver all
    persist 1
    persist 2
    crash 0
    restart 0
    link 0-1
    link 0-2
    deliver all
    submit k2 at 0
    accept k2
    persist 0
    crash 1                # its cut of k1 is not written
    restart 1
    expect log 1 = k1
    link 0-1
    link 1-2
    settle
    expect sound 1
    expect disk 1 = k2
    expect committed 0 = 1
    `,
  ],
  [
    'a write that ends after its entry was cut does not count for the entry in its place',
    `
    submit k1 at 0
    accept k1
    deliver all            # both backups begin to write k1
    crash 0                # which loses it
    restart 0
    link 0-1
    link 0-2
    deliver all
    persist 2
    deliver all
    submit k2 at 0         # the next first entry
    accept k2
    persist 0
    deliver all
    persist 2
    deliver all
    persist 1 once         # k1, cut meanwhile
    deliver all
    expect committed 0 = 0
    expect answer k2 = none
    persist 1
    deliver all
    expect committed 0 = 1
    expect disk 1 = k2
    `,
  ],
  [
    'a primary without an entry that a backup knows to be committed: the backup does not follow, and cuts nothing',
    `
    submit k1 at 0
    settle
    expect committed 1 = 1
    crash 0
    wipe 0
    restart 0
    link 0-1
    deliver all
    expect damaged 1
    expect log 1 = k1
    expect alone 0
    submit k2 at 0
    expect answer k2 = TooFewInSync
    `,
  ],
  [
    'a backup without an entry that the pool committed is damaged, and holds up the pool',
    `
    submit k1 at 0
    settle
    crash 2
    wipe 2
    restart 2
    link 0-2
    link 1-2
    deliver all
    expect damaged 2
    expect alone 0
    `,
  ],
  [
    'a primary that remembers less than was committed learns it from its backups and cuts nothing',
    `
    submit k1 at 0
    submit k2 at 0
    settle
    flush 1
    crash 0                # its tables were not written yet, its log was
    restart 0
    expect committed 0 = 0
    expect log 0 = k1 k2
    link 0-1
    link 0-2
    settle
    expect committed 0 = 2
    expect sound 1
    expect sound 2
    `,
  ],
  [
    'a backup that did not hear of a commit learns it when it is linked again',
    `
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    persist 2
    deliver 1>0
    deliver 2>0
    expect committed 0 = 1
    cut link 0-2           # with the news on its way
    expect committed 2 = 0
    link 0-2
    settle
    expect committed 2 = 1
    `,
  ],
  [
    'a backup that restarts without its newest entry, not yet confirmed, gets it again',
    `
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    crash 2
    expect answer k1 = OutcomeUnknown
    restart 2
    expect log 2 =
    link 0-2
    link 1-2
    settle
    expect committed 0 = 1
    expect disk 2 = k1
    `,
  ],
  [
    'a lost backup: accepted submissions are told that their outcome is unknown, and may be committed later',
    `
    submit k1 at 1
    submit k2 at 0
    deliver all
    accept k1
    accept k2
    cut link 0-2
    deliver all
    expect answer k1 = OutcomeUnknown
    expect answer k2 = OutcomeUnknown
    link 0-2
    settle
    expect committed 0 = 2
    expect log 1 = k1 k2
    `,
  ],
  [
    'a lost primary: a submission on its way has an unknown outcome, a new one certainly does not happen',
    `
    submit k1 at 1
    cut link 0-1
    expect answer k1 = OutcomeUnknown
    submit k2 at 1
    expect answer k2 = TooFewInSync
    link 0-1
    settle
    expect log 0 =
    submit k3 at 1
    settle
    expect answer k3 = committed
    `,
  ],
  [
    'a submission is followed by others while it is undecided, and each is answered by its own outcome',
    `
    submit k1 at 1
    submit k2 at 2
    submit k3 at 1
    deliver all
    accept k2
    refuse k1
    accept k3
    settle
    expect log 0 = k2 k3
    expect answer k1 = refused
    expect answer k2 = committed
    expect answer k3 = committed
    `,
  ],
  [
    'a link between the backups carries nothing and is missed by nobody',
    `
    cut link 1-2
    submit k1 at 1
    settle
    expect answer k1 = committed
    expect committed 2 = 1
    `,
  ],
];

describe('replica', () => {
  test.each(scenarios)('%s', (_rule, story) => {
    play(story);
  });
});

// What a member that keeps the rules never sends is sent here by hand.
describe('replica: messages that break the rules', () => {
  const first = entryAfter(EMPTY_HEAD, 'k1');
  const other = entryAfter(EMPTY_HEAD, 'k2');

  function entryAfter(head: Head, text: string): Entry {
    return chain(head, { epoch: 1, time: 0, mutation: Buffer.from(text), changesHash: Buffer.alloc(32) });
  }

  function kinds(effects: readonly Effect[]): string[] {
    return effects.map((effect) =>
      effect.kind === 'send' ? `${effect.message.type} to ${effect.to}` : effect.kind,
    );
  }

  const verdict = {
    accepted: true,
    time: 0,
    mutation: Buffer.from('k1'),
    changesHash: Buffer.alloc(32),
  } as const;

  function prepared(head: Head, epoch = 1): Message {
    return { type: 'prepared', epoch, head: { index: head.index, hash: head.hash } };
  }

  /** A primary in sync, with one entry on its own disk that no backup has confirmed. */
  function primaryWithEntry(): Replica {
    const primary = new Replica(0, FIXED_VIEW, { committed: EMPTY_HEAD, tail: [] });
    for (const backup of [1, 2]) {
      primary.linked(backup);
      primary.received(backup, { type: 'hello', epoch: 1 });
      primary.received(backup, prepared(EMPTY_HEAD));
    }
    primary.submit('k1', verdict.mutation);
    const entry = primary.judged('k1', verdict);
    expect(entry?.hash).toEqual(first.hash);
    primary.persisted(first);
    primary.take();
    return primary;
  }

  /** A backup that follows an empty primary. */
  function backup(): Replica {
    const replica = new Replica(1, FIXED_VIEW, { committed: EMPTY_HEAD, tail: [] });
    replica.linked(0);
    replica.linked(2);
    replica.received(0, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, entries: [] });
    replica.take();
    return replica;
  }

  test('a confirmation of another entry at the same place does not count', () => {
    const primary = primaryWithEntry();
    primary.received(1, prepared(other));
    primary.received(2, prepared(first));
    expect(primary.committed).toBe(0);
    primary.received(1, prepared(first));
    expect(primary.committed).toBe(1);
  });

  test('a confirmation of more than the log holds, of another epoch or without a link does not count', () => {
    const primary = primaryWithEntry();
    primary.received(2, prepared(first));
    primary.received(1, prepared(entryAfter(first, 'k2')));
    primary.received(1, prepared(first, 2));
    expect(primary.committed).toBe(0);
    primary.unlinked(1);
    primary.received(1, prepared(first));
    expect(primary.committed).toBe(0);
  });

  test('a confirmation is not taken back by an older one', () => {
    const primary = primaryWithEntry();
    primary.received(1, prepared(first));
    primary.received(1, prepared(EMPTY_HEAD));
    primary.received(2, prepared(first));
    expect(primary.committed).toBe(1);
  });

  test('an entry that does not follow the last one is damage', () => {
    const replica = backup();
    replica.received(0, { type: 'prepare', epoch: 1, entry: entryAfter(first, 'k2') });
    expect(kinds(replica.take())).toEqual(['damaged']);
    const changed = { ...first, time: 1 };
    replica.received(0, { type: 'prepare', epoch: 1, entry: changed });
    expect(kinds(replica.take())).toEqual(['damaged']);
  });

  test('a commit of what is not stored here is damage, and commits nothing', () => {
    const replica = backup();
    replica.received(0, { type: 'prepare', epoch: 1, entry: first });
    replica.received(0, { type: 'committed', epoch: 1, index: 1 });
    expect(kinds(replica.take())).toEqual(['prepare', 'damaged']);
    expect(replica.committed).toBe(0);
  });

  test('only the primary of this epoch is followed', () => {
    const replica = backup();
    replica.received(2, { type: 'prepare', epoch: 1, entry: first });
    replica.received(0, { type: 'prepare', epoch: 2, entry: first });
    replica.received(2, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, entries: [first] });
    replica.received(2, { type: 'committed', epoch: 1, index: 1 });
    expect(replica.take()).toEqual([]);
  });

  test('a backup orders nothing', () => {
    const replica = backup();
    replica.received(2, { type: 'submit', id: 'k1', mutation: verdict.mutation });
    replica.received(2, { type: 'hello', epoch: 1 });
    replica.received(2, prepared(EMPTY_HEAD));
    expect(replica.take()).toEqual([]);
  });

  test('an answer to nobody is not passed on', () => {
    const replica = backup();
    replica.received(0, { type: 'refused', id: 'k1', refusal: 'no' });
    replica.received(0, { type: 'outage', id: 'k1', code: 'TooFewInSync', detail: '' });
    expect(replica.take()).toEqual([]);
  });

  test('no more becomes undecided than can be sent to a member that comes back', () => {
    const primary = primaryWithEntry();
    const mutation = Buffer.alloc(12 * 1024 * 1024);
    const judge = (id: string) => {
      primary.submit(id, mutation);
      primary.take();
      primary.judged(id, { ...verdict, mutation });
      return primary.take();
    };
    expect(kinds(judge('k2'))).toContain('append');
    expect(kinds(judge('k3'))).toContain('append');
    expect(judge('k4')).toMatchObject([{ kind: 'outage', id: 'k4', code: 'TooMuchUndecided' }]);
    primary.received(1, { type: 'hello', epoch: 1 });
    const [tail] = primary.take();
    expect(encode(tail).length).toBeLessThan(64 * 1024 * 1024);
  });

  test('the same mutation submitted again while it is being decided gets no second place', () => {
    const primary = primaryWithEntry();
    primary.received(1, { type: 'submit', id: 'k1', mutation: verdict.mutation });
    const [answer, ...more] = primary.take();
    expect(more).toEqual([]);
    expect(answer).toMatchObject({
      kind: 'send',
      to: 1,
      message: { type: 'outage', code: 'OutcomeUnknown' },
    });
  });
});
