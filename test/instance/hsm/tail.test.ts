// The undecided tail: what a read waits for, and what the judge sees.
import { hashOfChanges, Tail, type Item } from '../../../src/instance/hsm/tail.js';
import { judge } from '../../../src/instance/model/judge.js';
import type { Mutation } from '../../../src/instance/model/mutation.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import { put, remove, type Overlay, type State } from '../../../src/instance/model/state.js';
import { chain } from '../../../src/instance/replication/entry.js';
import { EMPTY_HEAD } from '../../../src/values/entry.js';
import { created, foundedLog, plain } from '../model/fixtures.js';

afterEach(() => {
  jest.useRealTimers();
});

/** A tail over a founded pool, and the committed state below it. */
function tailOf(): { tail: Tail; committed: Overlay } {
  const committed = foundedLog().state;
  return { tail: new Tail(committed), committed };
}

function itemOf(view: State, index: number, mutation: Mutation): Item {
  const changes = judge(view, mutation, index);
  if (changes instanceof Refusal) throw new Error(`refused: ${changes.code}`);
  const content = { epoch: 1, time: mutation.time, mutation: Buffer.of(index), changesHash: Buffer.of(1) };
  return { entry: chain({ ...EMPTY_HEAD, index: index - 1 }, content), mutation, changes };
}

function push(tail: Tail, index: number, mutation: Mutation): void {
  tail.push(itemOf(tail.view, index, mutation));
}

/** Applies what is committed, as the follower does. */
function commit(tail: Tail, committed: Overlay, index: number): void {
  for (const { changes } of tail.takeThrough(index)) committed.apply(changes);
  tail.settle();
}

async function isDone(wait: Promise<void> | undefined): Promise<boolean> {
  const later = new Promise<'later'>((resolve) => setImmediate(() => resolve('later')));
  return (await Promise.race([wait, later])) !== 'later';
}

describe('tail', () => {
  test('a read of what nothing undecided touches does not wait', () => {
    const { tail } = tailOf();
    expect(tail.settled(['key:a', 'keys', 'pool'])).toBeUndefined();
    push(tail, 2, created('a', 'v1'));
    expect(tail.settled(['key:b', 'pool', 'definitions', 'assignments', 'principal:p'])).toBeUndefined();
  });

  test('a read waits for the newest entry under its tags, and for none after it', async () => {
    const { tail, committed } = tailOf();
    push(tail, 2, created('a', 'v1'));
    push(tail, 3, created('a', 'v2'));
    const wait = tail.settled(['pool', 'key:a']);
    push(tail, 4, created('a', 'v3'));
    commit(tail, committed, 2);
    expect(await isDone(wait)).toBe(false);
    commit(tail, committed, 3);
    expect(await isDone(wait)).toBe(true);
    expect(await isDone(tail.settled(['key:a']))).toBe(false);
  });

  test('a list waits for an entry that touches any key', async () => {
    const { tail, committed } = tailOf();
    push(tail, 2, created('a', 'v1'));
    push(tail, 3, created('b', 'v1'));
    const wait = tail.settled(['keys']);
    commit(tail, committed, 2);
    expect(await isDone(wait)).toBe(false);
    commit(tail, committed, 3);
    expect(await isDone(wait)).toBe(true);
    expect(tail.settled(['keys'])).toBeUndefined();
  });

  test('a read whose entry is cut waits for the one below it, if there is one', async () => {
    const { tail, committed } = tailOf();
    push(tail, 2, created('a', 'v1'));
    push(tail, 3, created('b', 'v1'));
    push(tail, 4, created('a', 'v2'));
    const [a, b, list] = [tail.settled(['key:a']), tail.settled(['key:b']), tail.settled(['keys'])];
    tail.cut(3);
    expect([await isDone(a), await isDone(b), await isDone(list)]).toEqual([false, true, false]);
    push(tail, 3, created('c', 'v1'));
    commit(tail, committed, 2);
    expect([await isDone(a), await isDone(list)]).toEqual([true, true]);
  });

  test('the judge sees committed state with everything undecided, and nothing that was cut', () => {
    const { tail, committed } = tailOf();
    push(tail, 2, created('a', 'v1'));
    push(tail, 3, plain('KeyDeleted', 'a'));
    expect([tail.view.get('keys', 'a'), committed.get('keys', 'a')]).toEqual([undefined, undefined]);
    expect(tail.view.get('deleted', 'a')).toBeDefined();
    tail.cut(3);
    expect(tail.view.get('keys', 'a')).toEqual({ name: 'a', versions: ['v1'] });
    commit(tail, committed, 2);
    expect(committed.get('keys', 'a')).toEqual({ name: 'a', versions: ['v1'] });
    expect(tail.items).toEqual([]);
    push(tail, 3, plain('KeyDeleted', 'a'));
    expect(tail.view.count('keys')).toBe(0);
  });

  test('an entry that does not follow the last one is not held', () => {
    const { tail } = tailOf();
    push(tail, 2, created('a', 'v1'));
    expect(() => push(tail, 4, created('b', 'v1'))).toThrow('the tail has no gap');
  });

  test('a wait that takes too long is an outage, and leaves nothing that waits', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    const { tail, committed } = tailOf();
    push(tail, 2, created('a', 'v1'));
    const wait = tail.settled(['key:a']);
    const failed = expect(wait).rejects.toThrow(/not decided yet/);
    jest.advanceTimersByTime(4_999);
    expect(await isDone(wait)).toBe(false);
    jest.advanceTimersByTime(1);
    await failed;
    commit(tail, committed, 2);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('the hash of changes is that of all they say, in order', () => {
    const changes = [put('keys', 'a', { name: 'a', versions: ['v1'] }), remove('keys', 'b')];
    expect(hashOfChanges(changes)).toHaveLength(32);
    const again = [put('keys', 'a', { name: 'a', versions: ['v1'] }), remove('keys', 'b')];
    expect(hashOfChanges(again)).toEqual(hashOfChanges(changes));
    expect(hashOfChanges([...changes].reverse())).not.toEqual(hashOfChanges(changes));
    expect(hashOfChanges(changes.slice(1))).not.toEqual(hashOfChanges(changes));
  });
});
