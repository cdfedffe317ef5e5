// Three members, everything that can go wrong between them, and a seed. What must hold at every moment is watched by
// the cluster; what must hold in the end is checked here.
import { Cluster, idOf, MEMBERS, PAIRS, type Member } from './cluster.js';

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
  readonly withdrawn: number;
  readonly cuts: number;
  /** Epoch of the last view. */
  readonly views: number;
}

/** Plays `steps` random steps, heals everything, and checks what is left. */
export function simulate(seed: number, steps: number): Tally {
  const random = randomFrom(seed);
  const cluster = new Cluster();
  for (const [a, b] of PAIRS) cluster.link(a, b);
  cluster.settle();
  let count = 0;

  const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)];
  const down = () => cluster.members.filter(({ replica }) => replica === undefined);
  const crash = (member: Member | undefined) => {
    // Some of its writes may have reached the disk before it could say so.
    if (member?.replica) cluster.crash(member.id, Math.floor(random() * (member.writes.length + 1)));
  };
  const deeds: readonly (readonly [weight: number, deed: () => void])[] = [
    [
      12,
      () => {
        const member = pick(cluster.serving);
        if (member) cluster.submit(`k${(count += 1)}`, member.id);
      },
    ],
    [
      12,
      () => {
        const member = pick(running(cluster).filter(({ judging }) => judging.length > 0));
        const id = member && pick(member.judging);
        if (member && id !== undefined) cluster.judge(member.id, id, random() < 0.8);
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
    [6, () => cluster.hear(pick(MEMBERS) ?? 0)],
    [3, () => cluster.decide()],
    [0.3, () => cluster.decline()],
    [
      1,
      () => {
        const primary = pick(running(cluster));
        if (primary) cluster.reconsider(primary.id);
      },
    ],
    [4, () => cluster.fill(pick(MEMBERS) ?? 0, 1 + Math.floor(random() * 4))],
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
      6,
      () => {
        const pair = pick(PAIRS.filter(([a, b]) => !cluster.linked(a, b) && bothRun(cluster, a, b)));
        if (pair) cluster.link(pair[0], pair[1]);
      },
    ],
    [0.5, () => crash(pick(running(cluster)))],
    [
      3,
      () => {
        const gone = pick(down());
        if (gone) cluster.drop(gone.id);
      },
    ],
    [
      2,
      () => {
        const gone = pick(down().filter(({ id }) => mayStart(cluster, id)));
        if (gone) cluster.start(gone.id);
      },
    ],
    [
      0.2,
      () => {
        const gone = pick(down().filter(({ id }) => !cluster.counts(id)));
        // One disk at a time: what is answered is on two.
        if (gone && cluster.view.inSync.length === 2) cluster.lose(gone.id);
      },
    ],
    [
      0.3,
      () => {
        const primary = cluster.member(cluster.view.primary);
        if (primary.replica?.isPrimary) cluster.retire(primary.id);
      },
    ],
    [
      1,
      () => {
        const next = pick(cluster.members.filter(({ id, replica }) => replica && cluster.counts(id)));
        if (next && cluster.member(cluster.view.primary).retired) cluster.name(next.id);
      },
    ],
    [
      0.1,
      () => {
        for (const member of cluster.members) crash(member);
        cluster.proposals.length = 0;
        cluster.renew();
        for (const { id } of cluster.members) cluster.start(id);
      },
    ],
    [
      1,
      () => {
        const member = pick(running(cluster));
        const id = member && pick([...member.waiting]);
        if (id !== undefined) cluster.withdraw(id);
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
    cluster.check();
  }
  heal(cluster);
  return check(cluster);
}

function running(cluster: Cluster): Member[] {
  return cluster.members.filter(({ replica }) => replica !== undefined);
}

function bothRun(cluster: Cluster, a: number, b: number): boolean {
  return cluster.member(a).replica !== undefined && cluster.member(b).replica !== undefined;
}

// One that the view counts on may come back only if nobody else is left: else it is dropped first.
function mayStart(cluster: Cluster, id: number): boolean {
  return !cluster.counts(id) || cluster.view.inSync.length === 1;
}

function heal(cluster: Cluster): void {
  for (const { id, replica } of cluster.members) if (!replica) cluster.drop(id);
  for (const { id, replica } of cluster.members) if (!replica) cluster.start(id);
  // A primary that was told to retire takes changes again with the next view.
  cluster.renew();
  for (let round = 0; round < 10; round += 1) {
    for (const { id } of running(cluster)) cluster.reconsider(id);
    for (const [a, b] of PAIRS) {
      if (bothRun(cluster, a, b) && !cluster.linked(a, b)) cluster.link(a, b);
    }
    cluster.settle();
    // One that learned that it had been dropped has ended.
    for (const { id, replica } of cluster.members) if (!replica) cluster.start(id);
  }
  cluster.check();
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
  const tally = {
    committed: 0,
    refused: 0,
    tooFew: 0,
    unknown: 0,
    withdrawn: 0,
    cuts: cluster.cuts,
    views: cluster.view.epoch,
  };
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
      tally[answer === 'refused' || answer === 'withdrawn' ? answer : 'tooFew'] += 1;
    } else if (cluster.member(at).waiting.has(id)) {
      throw new Error(`${id} is never answered`);
    }
  }
  return tally;
}
