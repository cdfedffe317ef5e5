// Scenarios as readable text: a line is a deed or an expectation.
//
//   submit k1 at 1            a caller of member 1
//   accept k1 / refuse k1     the judge of the primary speaks
//   persist 0 / persist 0 once / persist 0 through 2
//   flush 0                   the tables on disk 0 catch up with what is committed
//   deliver 0>1 / deliver 0>1 once / deliver all
//   settle                    all of the above until nothing moves
//   link 0-2 / cut link 0-2
//   crash 0 / wipe 0 / restart 0   a wiped disk is empty; restart links nobody
//   lose 2 / old 2            a disk is lost; an image from before the first entry is put back
//   drop 0                    the authority drops a member that is down
//   hear 1 / hear all         a member hears of the views that it was told
//   decide / decline          the authority looks at the oldest proposal, or does not know yet whom it is about
//   reconsider 0              the primary proposes again who was declined
//   fill 2 / fill 2 with 1    the primary sends a joiner what it lacks
//   retire 0 / name 1 / renew the primary takes no more; another is named; the authority has started anew
//   withdraw k1               its caller waits no longer for a primary
//   expect committed 0 = 1    expect log 1 = k1 k2     expect disk 1 = k1
//   expect answer k1 = committed | refused | TooFewInSync | OutcomeUnknown | none
//   expect damaged 1          expect sound 1           expect in sync 1 / expect alone 1
//   expect view 2: 0 of 0 1   epoch, primary, members
//   expect proposed 2 / expect no proposal             expect accused 0 / expect retired 0
import { Cluster, idOf, PAIRS } from './cluster.js';

type Deed = (cluster: Cluster, ...words: string[]) => void;

class Wrong extends Error {}

function expectEqual(found: unknown, wished: unknown): void {
  if (found !== wished) throw new Wrong(`found ${String(found)}`);
}

const deeds: readonly (readonly [pattern: RegExp, deed: Deed])[] = [
  [/^submit (\w+) at (\d)$/, (cluster, id = '', at) => cluster.submit(id, Number(at))],
  [
    /^(accept|refuse) (\w+)$/,
    (cluster, word, id = '') => {
      const judge = cluster.members.find(({ judging }) => judging.includes(id));
      cluster.judge(judge?.id ?? 0, id, word === 'accept');
    },
  ],
  [
    /^persist (\d)$/,
    (cluster, id) => {
      while (cluster.write(Number(id)));
    },
  ],
  [/^persist (\d) once$/, (cluster, id) => expectEqual(cluster.write(Number(id)), true)],
  [
    /^persist (\d) through (\d+)$/,
    (cluster, id, index) => {
      while (cluster.member(Number(id)).disk.length < Number(index))
        expectEqual(cluster.write(Number(id)), true);
    },
  ],
  [/^flush (\d)$/, (cluster, id) => cluster.flush(Number(id))],
  [
    /^deliver (\d)>(\d)$/,
    (cluster, from, to) => {
      while (cluster.deliver(Number(from), Number(to)));
    },
  ],
  [
    /^deliver (\d)>(\d) once$/,
    (cluster, from, to) => expectEqual(cluster.deliver(Number(from), Number(to)), true),
  ],
  [
    /^deliver all$/,
    (cluster) => {
      while (cluster.underway.length > 0)
        for (const [from, to] of cluster.underway) cluster.deliver(from, to);
    },
  ],
  [/^settle$/, (cluster) => cluster.settle()],
  [/^link (\d)-(\d)$/, (cluster, a, b) => cluster.link(Number(a), Number(b))],
  [/^cut link (\d)-(\d)$/, (cluster, a, b) => cluster.cut(Number(a), Number(b))],
  [/^crash (\d)$/, (cluster, id) => cluster.crash(Number(id))],
  [/^wipe (\d)$/, (cluster, id) => cluster.wipe(Number(id))],
  [/^restart (\d)$/, (cluster, id) => cluster.start(Number(id))],
  [/^lose (\d)$/, (cluster, id) => cluster.lose(Number(id))],
  [/^old (\d)$/, (cluster, id) => cluster.age(Number(id))],
  [/^drop (\d)$/, (cluster, id) => expectEqual(cluster.drop(Number(id)), true)],
  [
    /^hear (\d|all)$/,
    (cluster, who) => {
      for (const { id } of cluster.members) if (who === 'all' || Number(who) === id) while (cluster.hear(id));
    },
  ],
  [/^decline$/, (cluster) => expectEqual(cluster.decline(), true)],
  [/^reconsider (\d)$/, (cluster, id) => cluster.reconsider(Number(id))],
  [/^decide$/, (cluster) => expectEqual(cluster.decide(), true)],
  [/^fill (\d)$/, (cluster, id) => expectEqual(cluster.fill(Number(id)), true)],
  [
    /^fill (\d) with (\d)$/,
    (cluster, id, count) => expectEqual(cluster.fill(Number(id), Number(count)), true),
  ],
  [/^retire (\d)$/, (cluster, id) => cluster.retire(Number(id))],
  [/^name (\d)$/, (cluster, id) => cluster.name(Number(id))],
  [/^renew$/, (cluster) => cluster.renew()],
  [/^withdraw (\w+)$/, (cluster, id = '') => expectEqual(cluster.withdraw(id), true)],
  [
    /^expect view (\d+): (\d) of (.*)$/,
    (cluster, epoch = '', primary = '', members = '') => {
      const { view } = cluster;
      const found = `${view.epoch}: ${view.primary} of ${view.inSync.map(({ instance }) => instance).join(' ')}`;
      expectEqual(found, `${epoch}: ${primary} of ${members}`);
    },
  ],
  [/^expect proposed (\d)$/, (cluster, id) => expectEqual(cluster.proposals[0]?.member.instance, Number(id))],
  [/^expect no proposal$/, (cluster) => expectEqual(cluster.proposals.length, 0)],
  [/^expect accused (\d)$/, (cluster, id) => expectEqual(cluster.accused.has(Number(id)), true)],
  [/^expect retired (\d)$/, (cluster, id) => expectEqual(cluster.member(Number(id)).retired, true)],
  [
    /^expect committed (\d) = (\d+)$/,
    (cluster, id, index) => expectEqual(cluster.replica(Number(id)).committed, Number(index)),
  ],
  [
    /^expect (log|disk) (\d) = ?(.*)$/,
    (cluster, which, id, entries = '') => {
      const { held, disk } = cluster.member(Number(id));
      expectEqual((which === 'log' ? held : disk).map(idOf).join(' '), entries);
    },
  ],
  [
    /^expect answer (\w+) = (\w+)$/,
    (cluster, id = '', answer) => expectEqual(cluster.submissions.get(id)?.answer ?? 'none', answer),
  ],
  [
    /^expect (damaged|sound) (\d)$/,
    (cluster, word, id) =>
      expectEqual(cluster.member(Number(id)).damaged === undefined ? 'sound' : 'damaged', word),
  ],
  [
    /^expect (in sync|alone) (\d)$/,
    (cluster, word, id) => expectEqual(cluster.replica(Number(id)).inSync ? 'in sync' : 'alone', word),
  ],
];

/** Plays a scenario with three members that are linked and in sync. Throws with the line that does not hold. */
export function play(text: string): Cluster {
  const cluster = new Cluster();
  for (const [a, b] of PAIRS) cluster.link(a, b);
  cluster.settle();
  text.split('\n').forEach((raw, place) => {
    const line = raw.replace(/#.*/, '').trim().replace(/\s+/g, ' ');
    if (line === '') return;
    try {
      carryOut(cluster, line);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw new Error(`line ${place + 1}, ${line}: ${error.message}`, { cause: error });
    }
  });
  return cluster;
}

function carryOut(cluster: Cluster, line: string): void {
  for (const [pattern, deed] of deeds) {
    const match = pattern.exec(line);
    if (!match) continue;
    deed(cluster, ...match.slice(1));
    return;
  }
  throw new Error('nobody knows how to do this');
}
