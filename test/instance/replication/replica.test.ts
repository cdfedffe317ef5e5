// The rules of the replica machine, each as a story. Take a rule out of replica.ts and its story breaks.
import { Replica, type Effect, type Message } from '../../../src/instance/replication/replica.js';
import { chain } from '../../../src/instance/replication/entry.js';
import { encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import type { Member, View } from '../../../src/values/view.js';
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
    'a silent backup holds a change up until the view goes on without it',
    `
    cut link 0-2
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    deliver all
    expect committed 0 = 0
    expect answer k1 = none
    crash 2
    drop 2
    expect view 2: 0 of 0 1
    hear all
    deliver all
    expect committed 0 = 1
    expect answer k1 = committed
    `,
  ],
  [
    'in a view of one nothing new gets an index, and its caller is told that it certainly did not happen',
    `
    crash 2
    drop 2
    crash 1
    drop 1
    hear all
    submit k1 at 0
    expect answer k1 = TooFewInSync
    expect log 0 =
    `,
  ],
  [
    'what is judged when the view has become too small gets no index',
    `
    submit k1 at 0
    crash 2
    drop 2
    crash 1
    drop 1
    hear all
    accept k1
    expect answer k1 = TooFewInSync
    expect log 0 =
    `,
  ],
  [
    'a tail commits in a view of one, and is answered once a second disk has it',
    `
    submit k1 at 0
    accept k1
    crash 1
    drop 1
    crash 2
    drop 2
    persist 0
    hear all
    expect committed 0 = 1
    expect answer k1 = none
    restart 1
    link 0-1
    settle
    expect answer k1 = committed
    expect disk 1 = k1
    `,
  ],
  [
    'what a dropped member had confirmed is on its disk, and may be answered in a view of one',
    `
    submit k1 at 0
    accept k1
    deliver all
    persist 1
    deliver all            # prepared by 1
    crash 1
    drop 1
    crash 2
    drop 2
    persist 0
    hear all
    expect answer k1 = committed
    `,
  ],
  [
    'a member that is linked again counts only once it has confirmed the tail',
    `
    cut link 0-2
    link 0-2
    submit k1 at 0
    accept k1
    persist 0
    deliver 0>1
    persist 1
    deliver 1>0
    deliver 2>0            # hello
    deliver 0>2            # the tail
    deliver 2>0            # it holds none of it
    expect committed 0 = 0
    persist 2
    deliver 2>0
    expect committed 0 = 1
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
    'a refusal of a primary that has nothing undecided is given while a member is missing, too',
    `
    submit k1 at 0
    cut link 0-2
    refuse k1
    expect answer k1 = refused
    `,
  ],
  [
    'a primary that lost an entry before it was on its disk: after a start of all, the backups cut theirs',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 1
    persist 2
    crash 0
    crash 1
    crash 2
    renew
    restart 0
    restart 1
    restart 2
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
    'a primary that still has the entry after a start of all sends it again, and it is committed',
    `
    submit k1 at 1
    deliver all
    accept k1
    persist 0              # the backups have not heard of it
    crash 0
    expect answer k1 = OutcomeUnknown
    crash 1
    crash 2
    renew
    restart 0
    restart 1
    restart 2
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
    'another primary commits what its log holds, and its caller at a backup that has it is answered',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 1
    persist 2
    crash 0
    expect answer k1 = none
    drop 0
    expect view 2: 1 of 1 2
    settle
    expect committed 1 = 1
    expect committed 2 = 1
    expect answer k1 = committed
    `,
  ],
  [
    'another primary without the entry: the others cut theirs, and nobody claims to know what became of it',
    `
    cut link 0-1
    submit k1 at 2
    deliver all
    accept k1
    deliver all
    persist 2
    expect disk 2 = k1
    crash 0
    expect answer k1 = none
    drop 0
    expect view 2: 1 of 1 2
    hear all
    deliver all
    expect answer k1 = OutcomeUnknown
    expect log 2 =
    `,
  ],
  [
    'a backup confirms nothing while its cut is not on the disk: a crash would bring back what was cut',
    `
    cut link 0-1
    submit k1 at 2
    deliver all
    accept k1
    deliver all
    persist 2
    crash 0
    drop 0
    hear all
    deliver all
    expect log 2 =
    expect disk 2 = k1
    expect alone 1
    persist 2
    deliver all
    expect disk 2 =
    expect in sync 1
    `,
  ],
  [
    'what is submitted while there is no primary waits for the next',
    `
    crash 0
    submit k1 at 1
    submit k2 at 2
    expect answer k1 = none
    drop 0
    settle
    expect answer k1 = committed
    expect answer k2 = committed
    `,
  ],
  [
    'what nobody was sent can be withdrawn, and certainly does not happen',
    `
    crash 0
    submit k1 at 2
    withdraw k1
    drop 0
    settle
    expect answer k1 = withdrawn
    expect log 1 =
    `,
  ],
  [
    'a primary that retires decides what it has taken, and what comes later goes to the next',
    `
    submit k1 at 1
    deliver all
    retire 0
    submit k2 at 2
    submit k3 at 0
    deliver all
    accept k1
    deliver all
    persist 0
    persist 1
    persist 2
    deliver all
    expect retired 0
    expect answer k1 = committed
    expect answer k2 = none
    name 1
    settle
    expect answer k2 = committed
    expect answer k3 = committed
    expect log 0 = k1 k3 k2
    `,
  ],
  [
    'a primary that is asked for a submission after another was named gives it back',
    `
    submit k1 at 2         # on its way
    name 1
    hear all
    settle
    expect answer k1 = committed
    expect log 1 = k1
    `,
  ],
  [
    'a joiner is added once it holds what is committed, and is waited for from the proposal on',
    `
    crash 2
    drop 2
    submit k1 at 0
    settle
    expect committed 0 = 1
    restart 2
    link 0-2
    hear 2
    deliver 2>0            # hello
    deliver 0>2
    fill 2
    expect no proposal
    persist 2
    deliver 2>0
    expect proposed 2
    submit k2 at 0
    accept k2
    persist 0
    deliver 0>1
    persist 1
    deliver 1>0
    expect committed 0 = 1 # what if the view includes it already
    decide
    expect view 3: 0 of 0 1 2
    hear all
    settle
    expect committed 0 = 2
    expect log 2 = k1 k2
    expect in sync 2
    `,
  ],
  [
    'a proposed joiner whose link is lost is waited for until the proposal is decided',
    `
    crash 2
    drop 2
    restart 2
    link 0-2
    hear 2
    hear 0
    hear 1
    deliver all
    expect proposed 2
    cut link 0-2
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    deliver all
    expect committed 0 = 0
    crash 2
    decide                 # declined: it does not live
    expect committed 0 = 1
    `,
  ],
  [
    'a joiner that was declined, since nobody had heard of it yet, is proposed again',
    `
    crash 2
    drop 2
    restart 2
    link 0-2
    hear all
    deliver all
    expect proposed 2
    decline
    expect no proposal
    submit k1 at 0
    settle                 # it holds nothing up meanwhile
    expect answer k1 = committed
    expect view 2: 0 of 0 1
    reconsider 0
    settle
    expect view 3: 0 of 0 1 2
    `,
  ],
  [
    'a joiner that was not proposed holds nothing up when it is gone',
    `
    crash 2
    drop 2
    submit k1 at 0
    settle
    restart 2
    link 0-2
    hear 2
    deliver 2>0
    deliver 0>2
    cut link 0-2
    submit k2 at 0
    settle
    expect answer k2 = committed
    `,
  ],
  [
    'a new primary proposes nobody before it has decided what it inherited',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 0
    persist 1
    crash 2
    drop 2
    crash 0
    drop 0                 # 1 is alone with k1, which may have been answered
    expect view 3: 1 of 1
    restart 2
    link 1-2
    hear all
    settle
    expect committed 1 = 1
    expect disk 2 = k1
    expect view 4: 1 of 1 2
    `,
  ],
  [
    'nobody is proposed while what the primary inherited is undecided, whatever the joiner holds',
    `
    submit k1 at 1
    deliver all
    accept k1
    deliver all
    persist 0
    persist 1
    crash 0
    drop 0                 # k1 may have been answered, for all that 1 knows
    lose 0
    hear all
    restart 0
    link 0-1
    hear 0
    deliver all
    expect no proposal
    persist 0
    persist 2
    deliver all
    expect committed 1 = 1
    expect proposed 0
    `,
  ],
  [
    'another store in the place of a member does not count as that member',
    `
    crash 2
    wipe 2
    restart 2
    link 0-2
    hear 2
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    persist 2
    deliver all
    expect committed 0 = 0
    `,
  ],
  [
    'a mutation that its judge was asked about twice, before and after another primary, gets one place',
    `
    submit k1 at 0
    name 1
    hear 0
    name 0
    hear 0
    accept k1
    accept k1
    expect log 0 = k1
    `,
  ],
  [
    'a joiner whose tail was never decided loses it, and takes what was decided in its place',
    `
    cut link 0-1
    submit k1 at 2
    deliver all
    accept k1
    deliver all
    persist 2              # 2 alone has k1
    crash 0
    crash 2
    drop 0
    drop 2
    hear all
    restart 0
    link 0-1
    settle
    submit k2 at 1
    settle
    expect answer k2 = committed
    restart 2
    expect log 2 = k1
    link 1-2
    settle
    expect sound 2
    expect disk 2 = k2
    expect view 5: 1 of 0 1 2
    `,
  ],
  [
    'a store that is new in the place of a member is no member: it joins',
    `
    submit k1 at 0
    settle
    crash 2
    drop 2
    lose 2
    restart 2
    link 0-2
    link 1-2
    settle
    expect disk 2 = k1
    expect in sync 2
    expect view 3: 0 of 0 1 2
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
    crash 1
    crash 2
    renew
    restart 0
    restart 1
    restart 2
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
    'a write that ends after its entry was cut does not count for the entry in its place',
    `
    cut link 0-1
    submit k1 at 0
    accept k1
    deliver all            # 2 begins to write k1
    crash 0
    drop 0                 # 1 orders, and has not heard of it
    hear all
    deliver all
    submit k2 at 1         # the next first entry
    accept k2
    persist 1
    deliver all
    persist 2 once         # k1, cut meanwhile
    deliver all
    expect committed 1 = 0
    expect answer k2 = none
    persist 2
    deliver all
    expect committed 1 = 1
    expect disk 2 = k2
    `,
  ],
  [
    'a primary without an entry that a backup knows to be committed: the backup does not follow, cuts nothing, and says so',
    `
    submit k1 at 0
    settle
    expect committed 1 = 1
    flush 1
    crash 0
    crash 1
    crash 2
    old 0                  # its directory is an older one
    renew
    restart 0
    restart 1
    link 0-1
    hear all
    deliver all
    expect accused 0
    expect log 1 = k1
    expect alone 0
    `,
  ],
  [
    'a backup without an entry that the pool committed is damaged',
    `
    submit k1 at 0
    settle
    flush 0
    crash 0
    crash 1
    crash 2
    old 2
    renew
    restart 0
    restart 2
    link 0-2
    hear all
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
    crash 1
    crash 2
    renew
    restart 0
    restart 1
    restart 2
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
    'a backup that comes back without its newest entry, not yet confirmed, gets it again',
    `
    submit k1 at 0
    accept k1
    deliver all
    persist 0
    persist 1
    crash 2
    drop 2
    restart 2
    expect log 2 =
    link 0-2
    link 1-2
    settle
    expect committed 0 = 1
    expect disk 2 = k1
    expect answer k1 = committed
    `,
  ],
  [
    'a lost primary: a submission on its way has an unknown outcome',
    `
    submit k1 at 1
    cut link 0-1
    expect answer k1 = OutcomeUnknown
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
  const members: Member[] = [0, 1, 2].map((instance) => ({ instance, store: `s${instance}` }));
  const view: View = { epoch: 1, primary: 0, inSync: members };
  const hello = (instance: number): Message => ({ type: 'hello', epoch: 1, store: `s${instance}` });

  function replicaOf(instance: number): Replica {
    const replica = new Replica({ instance, store: `s${instance}` }, { committed: EMPTY_HEAD, tail: [] });
    replica.adopt(view);
    return replica;
  }

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
    const primary = replicaOf(0);
    for (const backup of [1, 2]) {
      primary.linked(backup);
      primary.received(backup, hello(backup));
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
    const replica = replicaOf(1);
    replica.linked(0);
    replica.linked(2);
    replica.received(0, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, answered: 0, entries: [] });
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
    replica.received(0, { type: 'committed', epoch: 1, index: 1, answered: 1 });
    expect(kinds(replica.take())).toEqual(['prepare', 'damaged']);
    expect(replica.committed).toBe(0);
  });

  test('only the primary of this epoch is followed', () => {
    const replica = backup();
    replica.received(2, { type: 'prepare', epoch: 1, entry: first });
    replica.received(0, { type: 'prepare', epoch: 2, entry: first });
    replica.received(2, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, answered: 0, entries: [first] });
    replica.received(2, { type: 'committed', epoch: 1, index: 1, answered: 1 });
    expect(replica.take()).toEqual([]);
  });

  test('a backup orders nothing', () => {
    const replica = backup();
    replica.received(2, { type: 'submit', id: 'k1', mutation: verdict.mutation });
    replica.received(2, hello(2));
    replica.received(2, prepared(EMPTY_HEAD));
    expect(kinds(replica.take())).toEqual(['returned to 2']);
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
    primary.received(1, hello(1));
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
