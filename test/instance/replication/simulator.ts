// Three members, everything that can go wrong between them, and a seed. What must hold at every moment is watched by
// the cluster; what must hold in the end is checked here.
import { Cluster, idOf, MEMBERS, PAIRS } from './cluster.js';

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What happened, so that a test can see that something did. */
export interface Tally {
  readonly committed: number;
  readonly refused: number;
  readonly tooFew: number;
  readonly unknown: number;
  readonly cuts: number;
}

/** Plays `steps` random steps, heals everything, and checks what is left. */
export function simulate(seed: number, steps: number): Tally {
  const random = randomFrom(seed);
  const cluster = new Cluster();
  for (const [a, b] of PAIRS) cluster.link(a, b);
  cluster.settle();
  let count = 0;

  const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)];
  const running = () => cluster.members.filter(({ replica }) => replica !== undefined);
  const deeds: readonly (readonly [weight: number, deed: () => void])[] = [
    [
      12,
      () => {
        const member = pick(running());
        if (member) cluster.submit(`k${(count += 1)}`, member.id);
      },
    ],
    [
      12,
      () => {
        const id = pick(cluster.member(0).judging);
        if (id !== undefined) cluster.judge(0, id, random() < 0.8);
      },
    ],
    [
      40,
      () => {
        const direction = pick(cluster.underway);
        if (direction) cluster.deliver(...direction);
      },
    ],
    [20, () => cluster.write(pick(MEMBERS) ?? 0)],
    [6, () => cluster.flush(pick(MEMBERS) ?? 0)],
    [
      1,
      () => {
        const pair = pick(PAIRS);
        if (!pair) return;
        const [a, b] = pair;
        if (cluster.linked(a, b)) cluster.cut(a, b);
      },
    ],
    [
      4,
      () => {
        const pair = pick(PAIRS.filter(([a, b]) => !cluster.linked(a, b) && bothRun(cluster, a, b)));
        if (pair) cluster.link(pair[0], pair[1]);
      },
    ],
    [
      0.5,
      () => {
        const member = pick(running());
        // Some of its writes may have reached the disk before it could say so.
        if (member) cluster.crash(member.id, Math.floor(random() * (member.writes.length + 1)));
      },
    ],
    [
      2,
      () => {
        const member = pick(cluster.members.filter(({ replica }) => replica === undefined));
        if (member) cluster.start(member.id);
      },
    ],
  ];
  const total = deeds.reduce((sum, [weight]) => sum + weight, 0);
  for (let step = 0; step < steps; step += 1) {
    let at = random() * total;
    for (const [weight, deed] of deeds) {
      at -= weight;
      if (at >= 0) continue;
      deed();
      break;
    }
    mustBeSound(cluster);
  }
  heal(cluster);
  return check(cluster);
}

function bothRun(cluster: Cluster, a: number, b: number): boolean {
  return cluster.member(a).replica !== undefined && cluster.member(b).replica !== undefined;
}

function mustBeSound(cluster: Cluster): void {
  for (const { id, damaged } of cluster.members) {
    if (damaged !== undefined) throw new Error(`member ${id} is damaged: ${damaged}`);
  }
}

function heal(cluster: Cluster): void {
  for (const { id, replica } of cluster.members) if (!replica) cluster.start(id);
  for (const [a, b] of PAIRS) if (!cluster.linked(a, b)) cluster.link(a, b);
  cluster.settle();
  mustBeSound(cluster);
}

function check(cluster: Cluster): Tally {
  const logs = cluster.members.map(({ held }) => held.map(({ hash }) => Buffer.from(hash).toString('hex')));
  const [log = []] = logs;
  for (const other of logs) if (other.join() !== log.join()) throw new Error('the logs differ in the end');
  for (const { id, committed, disk, replica } of cluster.members) {
    if (committed !== log.length || disk.length !== log.length || replica?.inSync !== true)
      throw new Error(`member ${id} is not done in the end`);
  }
  if (cluster.decided.join() !== log.join()) throw new Error('the logs are not what was committed');

  const places = new Map<string, number[]>();
  for (const entry of cluster.member(0).held)
    places.set(idOf(entry), [...(places.get(idOf(entry)) ?? []), entry.index]);
  const tally = { committed: 0, refused: 0, tooFew: 0, unknown: 0, cuts: cluster.cuts };
  for (const [id, { at, answer, after }] of cluster.submissions) {
    const found = places.get(id) ?? [];
    if (found.length > 1) throw new Error(`${id} is in the log more than once`);
    const [index] = found;
    if (index !== undefined && index <= after)
      throw new Error(`${id} stands before what was answered before it was submitted`);
    if (answer === 'committed') {
      if (index === undefined) throw new Error(`${id} was answered as committed and is lost`);
      tally.committed += 1;
    } else if (answer === 'OutcomeUnknown') {
      tally.unknown += 1;
    } else if (answer !== undefined) {
      if (index !== undefined) throw new Error(`${id} was answered ${answer} and is in the log`);
      tally[answer === 'refused' ? 'refused' : 'tooFew'] += 1;
    } else if (cluster.member(at).waiting.has(id)) {
      throw new Error(`${id} is never answered`);
    }
  }
  return tally;
}
