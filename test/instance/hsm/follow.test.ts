// Following the log: members with real stores and slots that do as they are told, over links that can be held and cut.
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Follower } from '../../../src/instance/hsm/follow.js';
import type { Committed } from '../../../src/instance/hsm/hsm.js';
import { hashOfChanges } from '../../../src/instance/hsm/tail.js';
import { judge } from '../../../src/instance/model/judge.js';
import type { DomainRestored, Mutation } from '../../../src/instance/model/mutation.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import { emptyState, Overlay, tableNames, type Tables } from '../../../src/instance/model/state.js';
import type { Partition } from '../../../src/instance/partition/partition.js';
import { chain } from '../../../src/instance/replication/entry.js';
import type { Mesh } from '../../../src/instance/replication/mesh.js';
import type { Message } from '../../../src/instance/replication/replica.js';
import { Replication } from '../../../src/instance/replication/replication.js';
import { Store } from '../../../src/instance/store/store.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import type { SealedKey } from '../../../src/values/key-spec.js';
import type { Member as Place, View } from '../../../src/values/view.js';
import {
  activated,
  created,
  DOMAIN,
  founded,
  NOW,
  plain,
  restored,
  transferKeyMade,
} from '../model/fixtures.js';

const directories: string[] = [];
const members: Member[] = [];

afterEach(async () => {
  for (const member of members.splice(0)) await member.store.close();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Waits until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Lets everything run that can. */
async function idle(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

// The place of the mesh: messages are encoded and arrive in order, in a later turn.
class Wire extends EventEmitter {
  readonly #others = new Map<number, Wire>();
  readonly #held = new Map<number, Buffer[]>();
  readonly #self: number;
  /** What was sent to members that are not there. */
  readonly sent: unknown[] = [];
  readonly #byHand = new Set<number>();

  constructor(self: number) {
    super();
    this.#self = self;
  }

  get asMesh(): Mesh {
    return this as unknown as Mesh;
  }

  link(other: Wire): void {
    this.#others.set(other.#self, other);
    other.#others.set(this.#self, this);
    this.emit('linked', other.#self);
    other.emit('linked', this.#self);
  }

  cut(other: Wire): void {
    this.#others.delete(other.#self);
    other.#others.delete(this.#self);
    if (this.#held.has(other.#self)) this.#held.set(other.#self, []);
    this.emit('unlinked', other.#self);
    other.emit('unlinked', this.#self);
  }

  /** Links with somebody whom the test plays. */
  linkByHand(member: number): void {
    this.#byHand.add(member);
    this.emit('linked', member);
  }

  cutByHand(member: number): void {
    this.#byHand.delete(member);
    this.emit('unlinked', member);
  }

  /** Keeps what is sent to a member from now on. */
  hold(member: number): void {
    this.#held.set(member, []);
  }

  release(member: number): void {
    const held = this.#held.get(member) ?? [];
    this.#held.delete(member);
    for (const bytes of held) this.#deliver(member, bytes);
  }

  send(member: number, message: unknown): boolean {
    if (this.#byHand.has(member)) {
      this.sent.push(decode(encode(message)));
      return true;
    }
    if (!this.#others.has(member)) return false;
    const bytes = encode(message);
    const held = this.#held.get(member);
    if (held) held.push(bytes);
    else this.#deliver(member, bytes);
    return true;
  }

  #deliver(member: number, bytes: Buffer): void {
    const other = this.#others.get(member);
    setImmediate(() => {
      // Lost with its link.
      if (other && this.#others.get(member) === other) other.emit('message', this.#self, decode(bytes));
    });
  }
}

/** A slot that opens every blob, unless it is told otherwise. */
class Slot {
  readonly proven: string[] = [];
  readonly forgotten: string[] = [];
  readonly learned: string[] = [];
  /** What becomes of a proof; by id of the key. */
  readonly wishes = new Map<string, Promise<void>>();

  async prove(key: SealedKey): Promise<void> {
    this.proven.push(key.id);
    await this.wishes.get(key.id);
  }

  async proveAll(keys: readonly SealedKey[]): Promise<void> {
    await Promise.all(keys.map((key) => this.prove(key)));
  }

  learnExportKey(key: SealedKey): void {
    this.learned.push(key.id);
  }

  forget(id: string): void {
    this.forgotten.push(id);
  }

  /** What was done to the tokens, in order. */
  readonly tokens: string[] = [];
  /** What becomes of staging. */
  staging: Promise<void> | undefined;

  async stage({ securityDomain }: DomainRestored): Promise<void> {
    this.tokens.push(`stage ${securityDomain}`);
    await this.staging;
  }

  open(securityDomain: string): Promise<void> {
    this.tokens.push(`open ${securityDomain}`);
    return Promise.resolve();
  }

  keepOnly(securityDomains: readonly string[]): Promise<void> {
    this.tokens.push(`keep ${securityDomains.join(' ')}`);
    return Promise.resolve();
  }

  discard(securityDomain: string): Promise<void> {
    this.tokens.push(`discard ${securityDomain}`);
    return Promise.resolve();
  }
}

interface Member {
  readonly self: number;
  readonly path: string;
  readonly wire: Wire;
  readonly slot: Slot;
  readonly store: Store<Tables>;
  readonly replication: Replication;
  readonly follower: Follower;
  /** What the owner of the view was told. */
  readonly told: readonly string[];
  /** What the primary would give to a joiner. */
  fetch?: (after: Head) => Promise<readonly Entry[] | undefined>;
  /** Why it has stopped. */
  failure: Error | undefined;
}

/** A view of these members and, in the other places, of nobody who is here; the first orders. */
function viewOf(all: readonly Member[], epoch = 1): View {
  const inSync = [0, 1, 2].map((instance): Place => {
    const member = all.find(({ self }) => self === instance);
    return { instance, store: member?.store.id ?? `absent ${instance}` };
  });
  return { epoch, primary: 0, inSync };
}

function makePath(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-follow-'));
  directories.push(directory);
  return join(directory, 'state.sqlite');
}

async function startMember(self: number, path = makePath(), slot = new Slot()): Promise<Member> {
  const store = await Store.open<Tables>(path, Buffer.alloc(32, 3), tableNames);
  const wire = new Wire(self);
  const replication = new Replication(wire.asMesh);
  const partition = slot as unknown as Partition;
  try {
    const follower = await Follower.start(self, { store, partition, replication, domains: slot });
    const told: string[] = [];
    const member: Member = {
      self,
      path,
      wire,
      slot,
      store,
      replication,
      follower,
      told,
      failure: undefined,
    };
    members.push(member);
    follower
      .run({
        standing: () => undefined,
        authority: {
          propose: (epoch, { instance }) => told.push(`propose ${instance} in ${epoch}`),
          accuse: (epoch) => told.push(`accuse in ${epoch}`),
          retired: () => told.push('retired'),
        },
        fetch: (after) => member.fetch?.(after) ?? Promise.reject(new Error('nothing is fetched here')),
      })
      .catch((error: unknown) => (member.failure = error instanceof Error ? error : new Error('unknown')));
    return member;
  } catch (error) {
    await store.close();
    throw error;
  }
}

function linkAll(all: readonly Member[]): void {
  for (const a of all) for (const b of all) if (a.self < b.self) a.wire.link(b.wire);
}

type Three = readonly [Member, Member, Member];

/** Three members in sync, with an active pool. */
async function pool(): Promise<Three> {
  const all: Three = [await startMember(0), await startMember(1), await startMember(2)];
  linkAll(all);
  for (const { follower } of all) follower.adopt(viewOf(all));
  await until(() => all.every(({ replication }) => replication.inSync));
  await all[0].follower.submit(founded());
  await all[0].follower.submit(activated());
  await until(() => all.every(({ store }) => store.applied === 2));
  return all;
}

/** What has become of a promise so far. */
function watch<T>(promise: Promise<T>): { state: 'waiting' | 'resolved' | 'rejected'; error?: unknown } {
  const seen: { state: 'waiting' | 'resolved' | 'rejected'; error?: unknown } = { state: 'waiting' };
  promise.then(
    () => (seen.state = 'resolved'),
    (error: unknown) => Object.assign(seen, { state: 'rejected', error }),
  );
  return seen;
}

function refusedWith(code: string): object {
  return { name: 'RefusedError', refusal: { code } };
}

describe('follow: mutations', () => {
  test('from every member they become true on every member, each answered with its own outcome', async () => {
    const all = await pool();
    const committed = await Promise.all(
      Array.from({ length: 30 }, (_, place) => {
        const member = all[place % 3] ?? all[0];
        return member.follower.submit(created(`key${place}`, 'v1'));
      }),
    );
    await until(() => all.every(({ store }) => store.applied === 32));
    expect(new Set(committed.map(({ index }) => index)).size).toBe(30);
    committed.forEach(({ changes }, place) =>
      expect(changes[0]).toMatchObject({ table: 'keys', id: `key${place}` }),
    );
    const states = all.map(({ follower }) =>
      tableNames.map((table) => follower.state.range(table, '', 1000)),
    );
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).toEqual(states[0]);
    expect(all[0].follower.state.count('keys')).toBe(30);
  });

  test('a blob is proven in every slot before it is true anywhere', async () => {
    const all = await pool();
    let allow: () => void = () => undefined;
    all[2].slot.wishes.set('k/v1', new Promise((resolve) => (allow = resolve)));
    const outcome = all[1].follower.submit(created('k', 'v1'));
    const seen = watch(outcome);
    await until(() => all.every(({ slot }) => slot.proven.includes('k/v1')));
    await idle();
    expect(seen.state).toBe('waiting');
    for (const { follower } of all) expect(follower.state.get('keys', 'k')).toBeUndefined();
    allow();
    await outcome;
    expect(all[1].follower.state.get('keys', 'k')).toBeDefined();
  });

  test('proofs that end in another order are told in the order of the log', async () => {
    const all = await pool();
    let allow: () => void = () => undefined;
    all[1].slot.wishes.set('slow/v1', new Promise((resolve) => (allow = resolve)));
    const slow = all[0].follower.submit(created('slow', 'v1'));
    const quick = watch(all[0].follower.submit(created('quick', 'v1')));
    await until(() => all[1].slot.proven.includes('quick/v1'));
    await idle();
    expect(quick.state).toBe('waiting');
    allow();
    await slow;
    await until(() => quick.state === 'resolved');
  });

  test('a blob that the primary cannot open enters no log', async () => {
    const all = await pool();
    all[0].slot.wishes.set('k/v1', Promise.reject(new Error('no')));
    await expect(all[1].follower.submit(created('k', 'v1'))).rejects.toMatchObject(
      refusedWith('BlobUnreadable'),
    );
    expect(all.map(({ store, failure }) => [store.applied, failure])).toEqual(Array(3).fill([2, undefined]));
    await all[1].follower.submit(created('k', 'v2'));
  });

  test('a backup that cannot open what the primary could stops', async () => {
    const all = await pool();
    all[2].slot.wishes.set('k/v1', Promise.reject(new Error('my slot is broken')));
    const seen = watch(all[1].follower.submit(created('k', 'v1')));
    await until(() => all[2].failure !== undefined);
    expect(all[2].failure).toMatchObject({
      name: 'DirectoryUnusable',
      message: 'entry 3 holds a key that this slot does not open: my slot is broken',
    });
    await idle();
    expect(seen.state).toBe('waiting');
    const view = viewOf([all[0], all[1]], 2);
    for (const { follower } of [all[0], all[1]]) follower.adopt({ ...view, inSync: view.inSync.slice(0, 2) });
    await until(() => seen.state === 'resolved');
  });

  test('a store that cannot be written stops its member', async () => {
    const [primary] = await pool();
    await primary.store
      .append([chain(EMPTY_HEAD, { epoch: 1, time: 0, mutation: Buffer.of(1), changesHash: Buffer.of(1) })])
      .catch(() => undefined);
    const seen = watch(primary.follower.submit(created('k', 'v1')));
    await until(() => primary.failure !== undefined);
    expect(primary.failure?.message).toContain('the store cannot be written');
    expect(seen.state).toBe('waiting');
  });

  test('a refusal is told after what it was judged against is true', async () => {
    const all = await pool();
    await all[0].follower.submit(created('k', 'v1'));
    all[2].wire.hold(0);
    const order: string[] = [];
    const deleted = all[1].follower.submit(plain('KeyDeleted', 'k')).then(() => order.push('deleted'));
    await until(() => !all[2].replication.decided);
    const refused = all[1].follower.submit(plain('KeyDeleted', 'k')).catch((error: unknown) => {
      order.push('refused');
      return error;
    });
    await idle();
    expect(order).toEqual([]);
    all[2].wire.release(0);
    await deleted;
    expect(await refused).toMatchObject(refusedWith('KeyNotFound'));
    expect(order).toEqual(['deleted', 'refused']);
  });

  test('time in the log never runs backwards', async () => {
    const all = await pool();
    const times = [NOW + 50, NOW + 10, NOW - 1000, NOW + 60];
    const committed: Committed[] = [];
    for (const [place, time] of times.entries())
      committed.push(await all[2].follower.submit(created(`key${place}`, 'v1', { time })));
    expect(committed.map(({ time }) => time)).toEqual([NOW + 50, NOW + 50, NOW + 50, NOW + 60]);
    expect(all[2].follower.state.get('versions', 'key2/v1')?.attributes.created).toBe(NOW + 50);
    // After a restart too.
    await all[0].store.close();
    members.splice(members.indexOf(all[0]), 1);
    for (const other of [all[1], all[2]]) all[0].wire.cut(other.wire);
    const again = await startMember(0, all[0].path);
    for (const { follower } of [again, all[1], all[2]]) follower.adopt(viewOf([again, all[1], all[2]], 2));
    again.wire.link(all[1].wire);
    again.wire.link(all[2].wire);
    await until(() => again.replication.inSync && again.replication.decided);
    expect((await again.follower.submit(created('last', 'v1', { time: NOW }))).time).toBe(NOW + 60);
  });

  test('the same mutation is taken once, however often it is submitted', async () => {
    const all = await pool();
    const mutation = created('k', 'v1');
    await all[1].follower.submit(mutation);
    for (const { follower } of all)
      await expect(follower.submit(mutation)).rejects.toMatchObject(refusedWith('AlreadySubmitted'));
    expect(all[0].store.applied).toBe(3);
  });

  test('in a view of one nothing is changed, and it is said why', async () => {
    const [primary, ...others] = await pool();
    for (const { wire } of others) primary.wire.cut(wire);
    const view = viewOf([primary], 2);
    primary.follower.adopt({ ...view, inSync: view.inSync.slice(0, 1) });
    await until(() => primary.replication.epoch === 2);
    await expect(primary.follower.submit(created('k', 'v1'))).rejects.toMatchObject({
      code: 'TooFewInSync',
      message: expect.stringContaining('only instance 0 is in sync') as string,
    });
  });

  test('a change that waits for a silent member stands once the view goes on without it', async () => {
    const [primary, backup, silent] = await pool();
    primary.wire.cut(silent.wire);
    const outcome = backup.follower.submit(created('k', 'v1'));
    await until(() => backup.follower.settled(['key:k']) !== undefined);
    const seen = watch(outcome);
    await idle();
    expect(seen.state).toBe('waiting');
    const view = viewOf([primary, backup], 2);
    for (const { follower } of [primary, backup])
      follower.adopt({ ...view, inSync: view.inSync.slice(0, 2) });
    expect((await outcome).index).toBe(3);
  });

  test('without a primary a submission waits, and then certainly did not happen', async () => {
    const [primary, backup] = await pool();
    backup.wire.cut(primary.wire);
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    try {
      const outcome = expect(backup.follower.submit(created('k', 'v1'))).rejects.toMatchObject({
        code: 'TooFewInSync',
        message: expect.stringContaining('no primary could be reached') as string,
      });
      jest.advanceTimersByTime(4_000);
      await outcome;
    } finally {
      jest.useRealTimers();
    }
    backup.wire.link(primary.wire);
    await until(() => backup.replication.inSync);
    await idle();
    expect(primary.follower.state.get('keys', 'k')).toBeUndefined();
  });

  test('a joiner takes what it lacks page by page, and is proposed once it has it', async () => {
    const [primary, backup, gone] = await pool();
    for (const { wire } of [primary, backup]) wire.cut(gone.wire);
    const view = viewOf([primary, backup], 2);
    const two: View = { ...view, inSync: view.inSync.slice(0, 2) };
    for (const { follower } of [primary, backup]) follower.adopt(two);
    await until(() => primary.replication.inSync);
    for (let place = 0; place < 7; place += 1) await backup.follower.submit(created(`key${place}`, 'v1'));
    await gone.store.close();
    members.splice(members.indexOf(gone), 1);
    const joiner = await startMember(2, gone.path);
    const asked: number[] = [];
    joiner.fetch = async ({ index }) => {
      asked.push(index);
      await idle();
      return primary.store.entriesAfter(index, 1).slice(0, 2);
    };
    joiner.follower.adopt(two);
    joiner.wire.link(primary.wire);
    await until(() => primary.told.length > 0);
    expect(primary.told).toEqual(['propose 2 in 2']);
    expect(asked).toEqual([...asked].sort((a, b) => a - b));
    expect(asked.length).toBeGreaterThan(3);
    expect(joiner.store.applied).toBe(9);
    expect(joiner.replication.isMember).toBe(false);
  });

  test('a key that is purged is closed in every slot', async () => {
    const all = await pool();
    await all[0].follower.submit(created('k', 'v1'));
    await all[0].follower.submit(plain('KeyDeleted', 'k'));
    expect(all[0].slot.forgotten).toEqual([]);
    await all[0].follower.submit(plain('KeyPurged', 'k'));
    await until(() => all.every(({ slot }) => slot.forgotten.length === 1));
    expect(all[1].slot.forgotten).toEqual(['k/v1']);
  });
});

describe('follow: reads', () => {
  test('wait for an undecided mutation of what they read, and for no other', async () => {
    const all = await pool();
    await all[0].follower.submit(created('k', 'v1'));
    await until(() => all.every(({ replication }) => replication.decided));
    all[2].wire.hold(0);
    const outcome = all[0].follower.submit(plain('KeyDeleted', 'k'));
    await until(() => all.every(({ replication }) => !replication.decided));
    await idle();
    for (const { follower } of all) {
      expect(follower.settled(['key:other', 'pool', 'definitions', 'principal:p'])).toBeUndefined();
      expect(follower.state.get('keys', 'k')).toBeDefined();
    }
    const waits = all.map(({ follower }) => follower.settled(['pool', 'key:k']));
    const lists = all.map(({ follower }) => follower.settled(['keys']));
    expect([...waits, ...lists].every((wait) => wait !== undefined)).toBe(true);
    const seen = waits.map((wait) => watch(wait ?? Promise.resolve()));
    await idle();
    expect(seen.map(({ state }) => state)).toEqual(Array(3).fill('waiting'));
    all[2].wire.release(0);
    await outcome;
    await Promise.all([...waits, ...lists]);
    for (const { follower } of all) {
      // The wait ends when the state shows it.
      expect(follower.state.get('keys', 'k')).toBeUndefined();
      expect(follower.settled(['key:k'])).toBeUndefined();
    }
  });

  test('after a write was answered, no member shows the state before it', async () => {
    const all = await pool();
    for (let round = 0; round < 20; round += 1) {
      const name = `key${round}`;
      await (all[round % 3] ?? all[0]).follower.submit(created(name, 'v1'));
      for (const { follower } of all) {
        await follower.settled([`key:${name}`]);
        expect(follower.state.get('keys', name)).toBeDefined();
      }
    }
  });
});

// A primary played by hand: it sends what no sound one would.
describe('follow: a backup and its primary', () => {
  const state = new Overlay(emptyState);

  function entryOf(mutation: Mutation, after: Head, wish: { changesHash?: Buffer } = {}): Entry {
    const changes = judge(state, mutation, after.index + 1);
    if (changes instanceof Refusal) throw new Error('refused');
    return chain(after, {
      epoch: 1,
      time: mutation.time,
      mutation: encode(mutation),
      changesHash: wish.changesHash ?? hashOfChanges(changes),
    });
  }

  function applied(entry: Entry): Entry {
    const changes = judge(state, decode(entry.mutation) as Mutation, entry.index);
    if (changes instanceof Refusal) throw new Error('refused');
    state.apply(changes);
    return entry;
  }

  const founding = applied(entryOf(founded(), EMPTY_HEAD));
  const first = applied(entryOf(activated(), founding));

  function say(member: Member, message: Message): void {
    member.wire.emit('message', 0, { type: 'replica', message: decode(encode(message)) });
  }

  function told(member: Member, type: Message['type']): Message[] {
    const packets = member.wire.sent as { message: Message }[];
    return packets.map(({ message }) => message).filter((message) => message.type === type);
  }

  /** A backup that holds the activation as committed. */
  async function backup(): Promise<Member> {
    const member = await startMember(1);
    member.follower.adopt(viewOf([member]));
    member.wire.linkByHand(0);
    await until(() => told(member, 'hello').length === 1);
    say(member, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, answered: 0, entries: [founding, first] });
    await until(() =>
      told(member, 'prepared').some((message) => 'head' in message && message.head.index === 2),
    );
    say(member, { type: 'committed', epoch: 1, index: 2, answered: 2 });
    await until(() => member.store.applied === 2);
    return member;
  }

  test('a read that waits for an entry goes on when the entry is cut, and finds nothing of it', async () => {
    const member = await backup();
    say(member, { type: 'prepare', epoch: 1, entry: entryOf(created('k', 'v1'), first) });
    await until(() => !member.replication.decided && member.follower.settled(['key:k']) !== undefined);
    const seen = watch(member.follower.settled(['key:k']) ?? Promise.resolve());
    await idle();
    expect(seen.state).toBe('waiting');
    member.wire.cutByHand(0);
    await idle();
    expect(seen.state).toBe('waiting');
    member.wire.linkByHand(0);
    say(member, { type: 'tail', epoch: 1, committed: first, answered: 2, entries: [] });
    await until(() => seen.state === 'resolved');
    expect(member.follower.state.get('keys', 'k')).toBeUndefined();
    expect(member.failure).toBeUndefined();
    // What takes the place is judged without it.
    const other = entryOf(created('other', 'v1'), first);
    say(member, { type: 'prepare', epoch: 1, entry: other });
    say(member, { type: 'committed', epoch: 1, index: 2, answered: 2 });
    // By its hash: the entry that was cut stood at the same index.
    await until(() =>
      told(member, 'prepared').some(
        (message) => 'head' in message && Buffer.compare(message.head.hash, other.hash) === 0,
      ),
    );
    say(member, { type: 'committed', epoch: 1, index: 3, answered: 3 });
    await until(() => member.follower.state.get('keys', 'other') !== undefined);
  });

  test('"prepared" is said when the entry is on the disk, and not before', async () => {
    const member = await backup();
    const entry = entryOf(created('k', 'v1'), first);
    say(member, { type: 'prepare', epoch: 1, entry });
    await until(() =>
      told(member, 'prepared').some((message) => 'head' in message && message.head.index === 3),
    );
    // Opened a second time, the store shows what would be there after a kill.
    const copy = await Store.open<Tables>(member.path, Buffer.alloc(32, 3), tableNames);
    expect(copy.readLog().tail.at(-1)?.hash ?? copy.readLog().base.hash).toEqual(entry.hash);
    await copy.close();
  });

  test.each([
    [
      'another hash of its changes',
      (): Entry => entryOf(created('k', 'v1'), first, { changesHash: Buffer.alloc(32) }),
    ],
    [
      'a mutation that is refused here',
      (): Entry => {
        const mutation = plain('KeyDeleted', 'missing');
        return chain(first, {
          epoch: 1,
          time: NOW,
          mutation: encode(mutation),
          changesHash: Buffer.alloc(32),
        });
      },
    ],
  ])('an entry with %s stops the member before it says anything', async (_what, entry) => {
    const member = await backup();
    const before = told(member, 'prepared').length;
    say(member, { type: 'prepare', epoch: 1, entry: entry() });
    await until(() => member.failure !== undefined);
    expect(member.failure?.message).toBe('entry 3 changes something else here than at the primary');
    await idle();
    expect(told(member, 'prepared')).toHaveLength(before);
    expect(member.store.applied).toBe(2);
  });

  test('a primary that lacks what is committed here is told to who owns the view, and not followed', async () => {
    const member = await backup();
    member.wire.cutByHand(0);
    member.wire.linkByHand(0);
    say(member, { type: 'tail', epoch: 1, committed: EMPTY_HEAD, answered: 0, entries: [] });
    await until(() => member.told.length > 0);
    expect(member.told).toEqual(['accuse in 1']);
    expect(member.replication.inSync).toBe(false);
    expect(member.store.applied).toBe(2);
  });

  test('a submission whose primary is lost has an unknown outcome', async () => {
    const member = await backup();
    const outcome = member.follower.submit(created('k', 'v1'));
    await until(() => told(member, 'submit').length === 1);
    member.wire.cutByHand(0);
    await expect(outcome).rejects.toMatchObject({ name: 'Outage', code: 'OutcomeUnknown' });
  });

  test('a submission that is not decided in time has an unknown outcome', async () => {
    const member = await backup();
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    try {
      const outcome = expect(member.follower.submit(created('k', 'v1'))).rejects.toMatchObject({
        code: 'OutcomeUnknown',
        message: expect.stringContaining('not decided in time') as string,
      });
      // First the patience for a primary, then the rest.
      jest.advanceTimersByTime(4_000);
      jest.advanceTimersByTime(6_000);
      await outcome;
    } finally {
      jest.useRealTimers();
    }
  });

  test('a member that starts proves what its log holds undecided, and waits to hear of it', async () => {
    const member = await backup();
    const entry = entryOf(created('k', 'v1'), first);
    say(member, { type: 'prepare', epoch: 1, entry });
    await until(() =>
      told(member, 'prepared').some((message) => 'head' in message && message.head.index === 3),
    );
    await member.store.close();
    members.splice(members.indexOf(member), 1);
    const again = await startMember(1, member.path);
    expect(again.slot.proven).toEqual(['k/v1']);
    expect(again.replication.decided).toBe(false);
    expect(again.follower.settled(['key:k'])).toBeDefined();
    expect(again.follower.state.get('keys', 'k')).toBeUndefined();
    again.follower.adopt(viewOf([again]));
    again.wire.linkByHand(0);
    await until(() => told(again, 'hello').length === 1);
    say(again, { type: 'tail', epoch: 1, committed: entry, answered: 3, entries: [] });
    await until(() => again.follower.state.get('keys', 'k') !== undefined);
  });

  test('a member whose slot cannot open what its log holds does not start', async () => {
    const member = await backup();
    say(member, { type: 'prepare', epoch: 1, entry: entryOf(created('k', 'v1'), first) });
    await until(() =>
      told(member, 'prepared').some((message) => 'head' in message && message.head.index === 3),
    );
    await member.store.close();
    members.splice(members.indexOf(member), 1);
    const slot = new Slot();
    slot.wishes.set('k/v1', Promise.reject(new Error('my slot is broken')));
    await expect(startMember(1, member.path, slot)).rejects.toThrow('my slot is broken');
  });
});

describe('follow: a restored security domain', () => {
  const OTHER = 'eeeeeeee-0000-4000-8000-000000000000';
  const STAGED = `stage ${OTHER}`;

  /** Three members of a pool that waits and has given out its transfer key. */
  async function waiting(): Promise<Three> {
    const all: Three = [await startMember(0), await startMember(1), await startMember(2)];
    linkAll(all);
    for (const { follower } of all) follower.adopt(viewOf(all));
    await until(() => all.every(({ replication }) => replication.inSync));
    await all[0].follower.submit(founded());
    await all[0].follower.submit(transferKeyMade());
    await until(() => all.every(({ store }) => store.applied === 2));
    return all;
  }

  /** Ends a member as a kill does, and starts it again on its file. */
  async function again({ self, path, store }: Member): Promise<Member> {
    const place = members.findIndex((member) => member.store === store);
    members.splice(place, 1);
    await store.close();
    return startMember(self, path);
  }

  test('every member makes its token before it says prepared, and serves from it in the turn of the commit', async () => {
    const all = await waiting();
    let staged: () => void = () => undefined;
    all[2].slot.staging = new Promise((resolve) => (staged = resolve));
    const seen = watch(all[1].follower.submit(restored(OTHER)));
    await until(() => all.every(({ slot }) => slot.tokens.includes(STAGED)));
    await idle();
    expect(seen.state).toBe('waiting');
    for (const { slot, store } of all) expect([slot.tokens, store.applied]).toEqual([[STAGED], 2]);
    staged();
    await until(() => all.every(({ slot }) => slot.tokens.length === 3));
    expect(seen.state).toBe('resolved');
    for (const { slot, follower } of all) {
      expect(slot.tokens).toEqual([STAGED, `open ${OTHER}`, `keep ${OTHER}`]);
      expect(follower.state.get('pool', 'pool')).toMatchObject({
        activation: 'Active',
        securityDomain: OTHER,
      });
      expect(slot.forgotten).toEqual(['internal/transfer/1']);
    }
  });

  test('a domain that the primary cannot take over is refused, and nobody else hears of it', async () => {
    const all = await waiting();
    all[0].slot.staging = Promise.reject(new Error('the token cannot be provisioned'));
    all[0].slot.staging.catch(() => undefined);
    await expect(all[1].follower.submit(restored(OTHER))).rejects.toMatchObject(
      refusedWith('DomainUnusable'),
    );
    expect([all[1].slot.tokens, all[2].slot.tokens]).toEqual([[], []]);
    expect(all.map(({ failure }) => failure)).toEqual([undefined, undefined, undefined]);
  });

  test('a backup that cannot take it over stops, since the others could', async () => {
    const all = await waiting();
    all[2].slot.staging = Promise.reject(new Error('the token cannot be provisioned'));
    all[2].slot.staging.catch(() => undefined);
    all[0].follower.submit(restored(OTHER)).catch(() => undefined);
    await until(() => all[2].failure !== undefined);
    expect(all[2].failure?.message).toMatch('the token cannot be provisioned');
    expect(all.every(({ store }) => store.applied === 2)).toBe(true);
  });

  test('of two the first that is decided stands, and the token of the other is thrown away', async () => {
    const all = await waiting();
    const second = 'ffffffff-0000-4000-8000-000000000000';
    const outcomes = await Promise.allSettled([
      all[1].follower.submit(restored(OTHER)),
      all[2].follower.submit(restored(second)),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const lost = outcomes[0].status === 'fulfilled' ? second : OTHER;
    const won = lost === OTHER ? second : OTHER;
    await until(() => all[0].slot.tokens.includes(`discard ${lost}`));
    for (const { slot, follower } of all) {
      await until(() => slot.tokens.includes(`keep ${won}`));
      expect(slot.tokens).not.toContain(`open ${lost}`);
      expect(follower.state.get('pool', 'pool')).toMatchObject({ securityDomain: won });
    }
  });

  test('killed before it is decided, a member makes its token again and serves from the old one', async () => {
    const all = await waiting();
    all[2].slot.staging = new Promise(() => undefined);
    all[0].follower.submit(restored(OTHER)).catch(() => undefined);
    await until(() => all.every(({ slot }) => slot.tokens.includes(STAGED)));
    // The entry is on the disk of the backup that is still making its token.
    await idle();
    all[1].wire.cut(all[2].wire);
    all[0].wire.cut(all[2].wire);
    const back = await again(all[2]);
    for (const { follower } of [all[0], all[1], back]) follower.adopt(viewOf([all[0], all[1], back], 2));
    expect(back.slot.tokens).toEqual([`open ${DOMAIN}`, STAGED, `keep ${DOMAIN} ${OTHER}`]);
    back.wire.link(all[0].wire);
    back.wire.link(all[1].wire);
    await until(() => back.slot.tokens.includes(`keep ${OTHER}`));
    expect(back.slot.tokens.slice(3)).toEqual([`open ${OTHER}`, `keep ${OTHER}`]);
    await until(() => all[0].follower.state.get('pool', 'pool')?.activation === 'Active');
  });

  test('started again after the commit, a member serves from the new token', async () => {
    const all = await waiting();
    await all[0].follower.submit(restored(OTHER));
    await until(() => all.every(({ store }) => store.applied === 3));
    const fresh = await again(all[2]);
    expect(fresh.slot.tokens).toEqual([`open ${OTHER}`, `keep ${OTHER}`]);
    expect(fresh.slot.learned).toEqual(['internal/export-wrapping']);
  });

  test('with the restoring and what came after it undecided, the order is: old, made, new', async () => {
    const path = makePath();
    const store = await Store.open<Tables>(path, Buffer.alloc(32, 3), tableNames);
    const state = new Overlay(emptyState);
    let head: Head = EMPTY_HEAD;
    for (const mutation of [founded(), transferKeyMade(), restored(OTHER), created('k', 'v1')]) {
      const changes = judge(state, mutation, head.index + 1);
      if (changes instanceof Refusal) throw new Error('refused');
      state.apply(changes);
      const entry: Entry = chain(head, {
        epoch: 1,
        time: mutation.time,
        mutation: encode(mutation),
        changesHash: hashOfChanges(changes),
      });
      await store.append([entry]);
      head = entry;
    }
    await store.close();
    const slot = new Slot();
    const member = await startMember(1, path, slot);
    expect(slot.tokens).toEqual([`open ${DOMAIN}`, STAGED, `open ${OTHER}`, `keep ${DOMAIN} ${OTHER}`]);
    expect(slot.proven.at(-1)).toBe('k/v1');
    expect(member.store.applied).toBe(0);
  });
});
