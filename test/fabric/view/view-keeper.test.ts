import { TICK_MS, newKeeper, step } from '../../../src/fabric/view/view-keeper.js';
import type { ViewAction, ViewEvent, ViewKeeper } from '../../../src/fabric/view/view-keeper.js';
import { LEASE_MS, isMember } from '../../../src/values/view.js';
import type { Member, View } from '../../../src/values/view.js';

const store = (instance: number, generation = 0): string => `store ${instance}.${generation}`;
const member = (instance: number, generation = 0): Member => ({
  instance,
  store: store(instance, generation),
});
const viewOf = (epoch: number, primary: number, ...instances: number[]): View => ({
  epoch,
  primary,
  inSync: instances.map((instance) => member(instance)),
});

interface Words {
  readonly reach?: readonly number[];
  readonly stuck?: readonly number[];
  readonly accuses?: boolean;
  readonly epoch?: number;
}

/** A keeper, a disk that can be full, and instances that ask for leases ten times a second unless they hang. */
class World {
  keeper: ViewKeeper;
  now = 10_000;
  disk = true;
  /** Whether what is written is said to be written only later. */
  slow: View | undefined;
  slowDisk = false;
  readonly actions: (ViewAction & { readonly at: number })[] = [];
  readonly words = new Map<number, Words>();
  readonly hung = new Set<number>();

  constructor(view?: View) {
    this.keeper = newKeeper(view, this.now);
  }

  send(event: ViewEvent): readonly ViewAction[] {
    const { keeper, actions } = step(this.keeper, event, this.now);
    this.keeper = keeper;
    this.actions.push(...actions.map((action) => ({ ...action, at: this.now })));
    for (const action of actions) {
      if (action.kind !== 'write') continue;
      if (this.slowDisk) this.slow = action.view;
      else this.send(this.disk ? { kind: 'written', view: action.view } : { kind: 'unwritten' });
    }
    return actions;
  }

  start(...instances: number[]): void {
    for (const instance of instances) this.send({ kind: 'started', instance });
  }

  open(instance: number, { generation = 0, epoch = this.view?.epoch ?? 0 } = {}): readonly ViewAction[] {
    this.words.set(instance, {});
    this.hung.delete(instance);
    return this.send({ kind: 'opened', instance, store: store(instance, generation), epoch });
  }

  end(instance: number): readonly ViewAction[] {
    this.words.delete(instance);
    return this.send({ kind: 'ended', instance });
  }

  ask(instance: number, words: Words = this.words.get(instance) ?? {}): readonly ViewAction[] {
    const { epoch = this.view?.epoch ?? 0, reach = [0, 1, 2], stuck = [], accuses = false } = words;
    return this.send({ kind: 'lease', instance, asked: 77, epoch, reach, stuck, accuses });
  }

  propose(from: number, joiner: Member, epoch = this.view?.epoch ?? 0): readonly ViewAction[] {
    return this.send({ kind: 'propose', instance: from, epoch, member: joiner });
  }

  /** Time goes by in ticks; whoever is killed is reaped only by `end`. */
  pass(ms: number): void {
    for (let past = 0; past < ms; past += TICK_MS) {
      this.now += TICK_MS;
      this.send({ kind: 'tick' });
      for (const instance of this.words.keys()) if (!this.hung.has(instance)) this.ask(instance);
    }
  }

  get view(): View | undefined {
    return this.keeper.view;
  }
  of<K extends ViewAction['kind']>(kind: K): (Extract<ViewAction, { kind: K }> & { at: number })[] {
    return this.actions.filter((action) => action.kind === kind) as never;
  }
  get killed(): number[] {
    return this.of('kill').map(({ instance }) => instance);
  }
  get members(): number[] {
    return this.view?.inSync.map(({ instance }) => instance) ?? [];
  }
}

/** Three that have taken part for long enough to be doomed. */
function running(): World {
  const world = new World();
  world.start(0, 1, 2);
  for (const instance of [0, 1, 2]) world.open(instance);
  world.pass(6_000);
  expect([world.view, world.killed]).toEqual([viewOf(1, 0, 0, 1, 2), []]);
  world.actions.length = 0;
  return world;
}

describe('a new pool', () => {
  test('waits until all three have opened, then begins with 0 as primary', () => {
    const world = new World();
    world.start(0, 1, 2);
    world.open(2);
    world.open(0);
    world.pass(60_000);
    expect([world.view, world.actions]).toEqual([undefined, []]);
    world.open(1);
    expect(world.actions.map(({ kind }) => kind)).toEqual(['write', 'announce']);
    expect(world.of('announce')[0]).toMatchObject({ view: viewOf(1, 0, 0, 1, 2), to: [0, 1, 2] });
  });

  test('is not begun with a store that has taken part in another', () => {
    const world = new World();
    world.start(0, 1, 2);
    expect(world.open(1, { epoch: 3 })).toEqual([
      {
        kind: 'refuse',
        reason: expect.stringMatching(/instance 1 .* view 3.*view\.json is missing/) as string,
      },
    ]);
    expect(world.open(0)).toEqual([]);
  });
});

describe('a pool that was there before', () => {
  test('goes on with its view under the next epoch, once all members have been heard', () => {
    const world = new World(viewOf(7, 1, 0, 1));
    world.start(0, 1, 2);
    world.open(0);
    world.open(2);
    world.pass(3_000);
    expect(world.actions).toEqual([]);
    world.open(1);
    expect(world.view).toEqual(viewOf(8, 1, 0, 1));
    expect(world.of('announce')[0]?.to).toEqual([0, 1, 2]);
  });

  test('does not wait for a member whose process has ended', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(1);
    world.open(2);
    world.end(0);
    expect(world.view).toMatchObject({ epoch: 8, primary: 1 });
  });

  test('does not wait for ever for one that does not open, which is replaced', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(1);
    world.open(2);
    world.pass(9_900);
    expect(world.actions).toEqual([]);
    world.pass(300);
    expect(world.killed).toEqual([0]);
    world.end(0);
    world.pass(100);
    expect(world.view).toMatchObject({ primary: 1, inSync: [member(1), member(2)] });
  });

  test('waits for those that start while nobody has opened', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.pass(60_000);
    expect(world.actions).toEqual([]);
  });

  test('refuses when a store has seen more than the view', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(0);
    expect(world.open(1, { epoch: 9 })).toEqual([
      { kind: 'refuse', reason: expect.stringMatching(/instance 1 .* view 9, .* view 7 only/) as string },
    ]);
    expect(world.open(2)).toEqual([]);
    expect(world.view?.epoch).toBe(7);
  });

  test('goes on without a member whose store is another one now', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(0, { generation: 1, epoch: 0 });
    world.open(1);
    world.open(2);
    expect(world.view).toEqual(viewOf(8, 1, 1, 2));
  });

  test('is refused when no member has its store any more', () => {
    const world = new World(viewOf(7, 2, 2));
    world.start(0, 1, 2);
    world.open(0);
    world.open(1);
    world.open(2, { generation: 1, epoch: 0 });
    expect(world.of('refuse')[0]?.reason).toMatch(
      /what instances\/2 held is gone.*trivet pool force.*backup/,
    );
    expect(world.view).toEqual(viewOf(7, 2, 2));
  });

  test('drops one that failed before it had its directory only when old leases have run out', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(0);
    world.open(1);
    world.end(2);
    world.pass(LEASE_MS - TICK_MS);
    expect(world.members).toEqual([0, 1, 2]);
    world.pass(TICK_MS);
    expect(world.members).toEqual([0, 1]);
  });
});

describe('leases', () => {
  test('are granted to members of the present epoch', () => {
    const world = running();
    expect(world.ask(1)).toEqual([{ kind: 'grant', instance: 1, asked: 77, epoch: 1 }]);
    expect(world.ask(1, { epoch: 0 })).toEqual([]);
    expect(world.ask(1, { epoch: 2 })).toEqual([]);
  });

  test('are not granted to one that is no member', () => {
    const world = running();
    world.end(1);
    world.start(1);
    world.open(1);
    expect(world.ask(1)).toEqual([]);
    expect(world.ask(0)).toHaveLength(1);
  });

  test('are not granted before there is a view', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    world.open(0);
    expect(world.ask(0)).toEqual([]);
  });

  test('are not granted to one that is to go, not even for the words that doom it', () => {
    const world = running();
    const actions = world.ask(1, { stuck: [1] });
    expect(actions).toEqual([{ kind: 'kill', instance: 1, reason: expect.any(String) as string }]);
    expect(world.ask(1)).toEqual([]);
  });
});

describe('a member leaves', () => {
  test('at once when its process is reaped', () => {
    const world = running();
    world.end(2);
    expect(world.view).toEqual(viewOf(2, 0, 0, 1));
    expect(world.of('announce')).toMatchObject([{ to: [0, 1] }]);
  });

  test('and the lowest that lives becomes primary when it was that', () => {
    const world = running();
    world.end(0);
    expect(world.view).toEqual(viewOf(2, 1, 1, 2));
  });

  test('never as the last one: it alone can go on, under another epoch', () => {
    const world = running();
    world.end(0);
    world.end(1);
    world.end(2);
    expect(world.view).toEqual(viewOf(3, 2, 2));
    world.start(0, 1, 2);
    world.open(0);
    world.open(1);
    world.pass(10_000);
    expect(world.view).toEqual(viewOf(3, 2, 2));
    world.open(2);
    expect(world.view).toEqual(viewOf(4, 2, 2));
  });

  test('not while those that would remain are not there yet', () => {
    const world = new World(viewOf(7, 0, 0, 1));
    world.start(0);
    world.open(0);
    world.pass(9_900);
    world.start(1);
    world.pass(200);
    world.end(0);
    expect(world.view).toEqual(viewOf(8, 0, 0, 1));
    world.open(1);
    expect(world.view).toEqual(viewOf(9, 1, 1));
  });

  test('when it hangs: killed after a lease, dropped when reaped', () => {
    const world = running();
    world.hung.add(0);
    world.pass(LEASE_MS);
    expect(world.killed).toEqual([]);
    world.pass(TICK_MS);
    expect(world.killed).toEqual([0]);
    world.end(0);
    expect(world.view).toEqual(viewOf(2, 1, 1, 2));
  });

  test('when its lease has run out, if it cannot be reaped', () => {
    const world = running();
    world.ask(0);
    world.ask(2, { stuck: [2] });
    expect(world.killed).toEqual([2]);
    world.pass(LEASE_MS - TICK_MS);
    expect(world.members).toEqual([0, 1, 2]);
    world.pass(TICK_MS);
    expect(world.view).toEqual(viewOf(2, 0, 0, 1));
  });

  test('when the primary says that a change waits for it', () => {
    const world = running();
    world.ask(1, { stuck: [2] }); // not its to say
    world.ask(0, { stuck: [2], epoch: 0 }); // of another view
    expect(world.killed).toEqual([]);
    world.ask(0, { stuck: [2] });
    expect(world.killed).toEqual([2]);
  });

  test('when it says so of itself; a primary that does has nothing to say about others', () => {
    const world = running();
    world.ask(0, { stuck: [0, 1, 2] });
    expect(world.killed).toEqual([0]);
  });

  test('when it is the primary and lacks what another has committed', () => {
    const world = running();
    world.ask(2, { accuses: true, epoch: 0 });
    expect(world.killed).toEqual([]);
    world.ask(2, { accuses: true });
    expect(world.killed).toEqual([0]);
    world.end(0);
    expect(world.view).toEqual(viewOf(2, 1, 1, 2));
  });

  test('not for what others say when nobody else remains', () => {
    const world = running();
    world.end(1);
    world.end(2);
    world.ask(0, { stuck: [0], accuses: true });
    expect(world.killed).toEqual([]);
  });

  test('but a last one that hangs is killed, so that it can be started again', () => {
    const world = running();
    world.end(1);
    world.end(2);
    world.hung.add(0);
    world.pass(LEASE_MS + TICK_MS);
    expect(world.killed).toEqual([0]);
    world.pass(LEASE_MS);
    expect(world.members).toEqual([0]);
  });
});

describe('links', () => {
  const reach = (world: World, links: Record<number, readonly number[]>): void => {
    for (const [instance, reached] of Object.entries(links)) {
      world.words.set(Number(instance), { reach: reached });
    }
  };

  test('lost for a moment are nothing', () => {
    const world = running();
    reach(world, { 2: [] });
    world.pass(1_400);
    reach(world, { 2: [0, 1] });
    world.pass(200);
    reach(world, { 2: [] });
    world.pass(1_400);
    expect(world.killed).toEqual([]);
  });

  test.each([
    ['one that reaches nobody goes', { 0: [1, 2], 1: [0, 2], 2: [] }, [2]],
    ['one that nobody reaches goes', { 0: [1], 1: [0], 2: [0, 1] }, [2]],
    ['the primary goes when the others are more', { 0: [], 1: [2], 2: [1] }, [0]],
    ['between two backups the primary’s side stays', { 0: [1, 2], 1: [0], 2: [0] }, [2]],
    ['between primary and one backup it is the primary that stays', { 0: [2], 1: [2], 2: [0, 1] }, [1]],
    ['when nobody reaches anybody, the primary stays', { 0: [], 1: [], 2: [] }, [1, 2]],
  ])('%s', (_rule, links, killed) => {
    const world = running();
    reach(world, links);
    world.pass(1_500);
    expect(world.killed).toEqual([]);
    world.pass(200);
    expect(world.killed).toEqual(killed);
  });

  test('between two the primary stays', () => {
    const world = running();
    world.end(0);
    reach(world, { 1: [], 2: [] });
    world.pass(1_700);
    expect(world.killed).toEqual([2]);
  });

  test('between three the primary stays, be it the lowest or not', () => {
    const world = running();
    world.end(0);
    world.start(0);
    world.open(0);
    world.propose(1, member(0));
    expect(world.view).toEqual(viewOf(3, 1, 0, 1, 2));
    world.pass(6_000);
    reach(world, { 0: [], 1: [], 2: [] });
    world.pass(1_700);
    expect(world.killed).toEqual([0, 2]);
  });

  test('have time to come up where a store was just opened', () => {
    const world = new World();
    world.start(0, 1, 2);
    for (const instance of [0, 1, 2]) world.open(instance);
    reach(world, { 0: [], 1: [], 2: [] });
    world.pass(6_400);
    expect(world.killed).toEqual([]);
    world.pass(300);
    expect(world.killed).toEqual([1, 2]);
  });
});

describe('calm', () => {
  test('a keeper that was stopped itself dooms nobody for a lease', () => {
    const world = running();
    world.now += 10_000;
    expect(world.ask(0, { stuck: [1] })).toHaveLength(1); // only the grant
    world.hung.add(2);
    world.pass(LEASE_MS - TICK_MS);
    expect(world.killed).toEqual([]);
    world.pass(2 * TICK_MS);
    expect(world.killed).toEqual([2]);
  });

  test('and takes links for lost only when they still are', () => {
    const world = running();
    for (const instance of [0, 1]) world.words.set(instance, { reach: [0, 1] });
    world.pass(1_000);
    world.now += 10_000;
    world.pass(LEASE_MS + 1_400);
    expect(world.killed).toEqual([]);
    world.pass(300);
    expect(world.killed).toEqual([2]);
  });

  test('a new one dooms nobody for a lease either', () => {
    const world = new World(viewOf(7, 0, 0, 1, 2));
    world.start(0, 1, 2);
    for (const instance of [0, 1, 2]) world.open(instance);
    world.pass(LEASE_MS - TICK_MS);
    world.ask(0, { stuck: [1] });
    expect(world.killed).toEqual([]);
  });

  test('reaping counts at any time', () => {
    const world = running();
    world.now += 10_000;
    world.end(1);
    expect(world.members).toEqual([0, 2]);
  });
});

describe('joining', () => {
  function without2(): World {
    const world = running();
    world.end(2);
    world.start(2);
    world.open(2, { generation: 1, epoch: 0 });
    world.actions.length = 0;
    return world;
  }

  test('one that has opened is told the view, and is in the next when the primary proposes it', () => {
    const world = running();
    world.end(2);
    world.start(2);
    expect(world.open(2)).toEqual([{ kind: 'announce', view: viewOf(2, 0, 0, 1), to: [2] }]);
    world.propose(0, member(2));
    expect(world.view).toEqual(viewOf(3, 0, 0, 1, 2));
    expect(world.of('decline')).toEqual([]);
  });

  test('a new store in an old place is another member', () => {
    const world = without2();
    world.propose(0, member(2, 1));
    expect(world.view?.inSync).toEqual([member(0), member(1), member(2, 1)]);
  });

  test.each([
    ['another store than the living one has', 0, member(2, 0), 2],
    ['an older epoch', 0, member(2, 1), 1],
    ['another than the primary', 1, member(2, 1), 2],
  ])('a proposal of %s is declined', (_what, from, joiner, epoch) => {
    const world = without2();
    expect(world.propose(from, joiner, epoch)).toEqual([
      { kind: 'decline', instance: from, epoch, member: joiner },
    ]);
    expect(world.members).toEqual([0, 1]);
  });

  test('a proposal of one that is gone, or about to go, is declined', () => {
    const world = without2();
    world.hung.add(2);
    world.pass(10_000);
    expect(world.killed).toEqual([]); // nobody waits for it
    world.pass(TICK_MS);
    expect(world.killed).toEqual([2]);
    expect(world.propose(0, member(2, 1))).toMatchObject([{ kind: 'decline' }]);
    world.end(2);
    expect(world.propose(0, member(2, 1))).toMatchObject([{ kind: 'decline' }]);
  });

  test('a joiner that never opens its store is started anew', () => {
    const world = running();
    world.end(2);
    world.start(2);
    world.pass(120_000);
    expect(world.killed).toEqual([]);
    world.pass(TICK_MS);
    expect(world.killed).toEqual([2]);
  });

  test('a member that is proposed once more is no news', () => {
    const world = running();
    expect(world.propose(0, member(2))).toEqual([]);
    expect(world.view?.epoch).toBe(1);
  });

  test('a joiner that dies before the view can be written is declined', () => {
    const world = without2();
    world.disk = false;
    world.propose(0, member(2, 1));
    expect(world.of('decline')).toEqual([]);
    world.end(2);
    expect(world.of('decline')).toMatchObject([{ instance: 0, epoch: 2, member: member(2, 1) }]);
    world.disk = true;
    world.pass(1_000);
    expect(world.view).toEqual(viewOf(2, 0, 0, 1));
  });

  test('a joiner that dies while the view is being written is in it, and leaves by the next', () => {
    const world = without2();
    world.slowDisk = true;
    world.propose(0, member(2, 1));
    world.end(2);
    expect(world.of('decline')).toEqual([]);
    world.slowDisk = false;
    world.send({ kind: 'written', view: world.slow as View });
    expect(world.of('announce').map(({ view }) => view.inSync.length)).toEqual([3, 2]);
    expect(world.view).toEqual(viewOf(4, 0, 0, 1));
  });
});

describe('a primary that retires', () => {
  test('hands over and stays', () => {
    const world = running();
    world.send({ kind: 'retired', instance: 0 });
    expect(world.view).toEqual(viewOf(2, 1, 0, 1, 2));
    world.send({ kind: 'retired', instance: 0 }); // said late
    expect(world.view?.epoch).toBe(2);
  });

  test('goes on in another epoch when nobody else is left', () => {
    const world = running();
    world.end(1);
    world.end(2);
    world.send({ kind: 'retired', instance: 0 });
    expect(world.view).toEqual(viewOf(4, 0, 0));
  });
});

describe('a view that cannot be written', () => {
  test('is told to nobody, and tried again with each tick', () => {
    const world = running();
    world.disk = false;
    world.end(0);
    world.ask(1);
    world.ask(2);
    expect(world.of('write')).toHaveLength(1);
    world.pass(3 * TICK_MS);
    expect(world.of('write')).toHaveLength(4);
    expect([world.view, world.of('announce')]).toEqual([viewOf(1, 0, 0, 1, 2), []]);
    world.disk = true;
    world.pass(TICK_MS);
    expect(world.view).toEqual(viewOf(2, 1, 1, 2));
  });

  test('does not let a member that came back go on as if nothing had been', () => {
    const world = running();
    world.disk = false;
    world.end(0);
    world.start(0);
    world.open(0, { epoch: 1 });
    expect(world.of('announce')).toEqual([]);
    world.disk = true;
    world.pass(TICK_MS);
    expect(world.view).toEqual(viewOf(2, 0, 0, 1, 2));
  });
});

// Anything may happen in any order: the invariants at the top of the file hold all the same.
test.each(Array.from({ length: 40 }, (_, n) => 4_711 + n))('whatever happens (seed %d)', (seed) => {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const world = running();
  const alive = new Map([0, 1, 2].map((instance) => [instance, store(instance)]));
  const opened = new Set([0, 1, 2]);
  const leases = new Map<string, number>();
  let generation = 1;
  let last = world.view as View;
  for (let round = 0; round < 400; round += 1) {
    const instance = random(3);
    const seen = world.actions.length;
    switch (random(9)) {
      case 0:
        leases.delete(alive.get(instance) ?? ''); // it ends with the process
        if (alive.delete(instance)) {
          opened.delete(instance);
          world.end(instance);
        } else {
          const lost = last.inSync.length > 1 && !last.inSync.some((one) => one.instance === instance);
          alive.set(instance, lost && random(2) ? `store ${instance}.${(generation += 1)}` : store(instance));
          world.start(instance);
        }
        break;
      case 1:
      case 2: {
        const id = alive.get(instance);
        if (id === undefined || opened.has(instance)) break;
        const listed = last.inSync.find((one) => one.instance === instance);
        const real = listed?.store ?? id;
        alive.set(instance, real);
        opened.add(instance);
        world.words.set(instance, {});
        world.send({ kind: 'opened', instance, store: real, epoch: 0 });
        break;
      }
      case 3:
        world.propose(last.primary, { instance, store: alive.get(instance) ?? '' });
        break;
      case 4:
        if (opened.has(instance)) world.ask(instance, { stuck: [random(3)], accuses: random(4) === 0 });
        break;
      case 5:
        world.words.set(instance, { reach: [0, 1, 2].filter(() => random(3) > 0) });
        if (!opened.has(instance)) world.words.delete(instance);
        break;
      case 6:
        world.disk = random(3) > 0;
        break;
      case 7:
        if (random(2)) world.hung.add(instance);
        else world.hung.delete(instance);
        break;
      default:
        world.pass(random(12) * TICK_MS);
    }
    for (const action of world.actions.slice(seen)) {
      if (action.kind === 'grant') {
        expect(action.epoch).toBe(last.epoch);
        leases.set(alive.get(action.instance) ?? '', action.at + LEASE_MS);
      }
      if (action.kind !== 'announce' || action.view === last) continue;
      const { view, at } = action;
      if (view.epoch === last.epoch) continue;
      expect(view.epoch).toBeGreaterThan(last.epoch);
      expect(view.inSync.some((one) => one.instance === view.primary)).toBe(true);
      for (const gone of last.inSync.filter((one) => !isMember(view, one))) {
        const lives = alive.get(gone.instance) === gone.store && opened.has(gone.instance);
        if (lives) expect(leases.get(gone.store) ?? 0).toBeLessThanOrEqual(at);
      }
      if (view.inSync.length < last.inSync.length) {
        expect(view.inSync.some((one) => opened.has(one.instance))).toBe(true);
      }
      last = view;
    }
  }
  expect(world.view).toEqual(last);
});
