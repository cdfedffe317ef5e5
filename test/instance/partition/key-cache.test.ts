// The cache of open keys: bounded, and nothing is closed under its user.
import { KeyCache } from '../../../src/instance/partition/key-cache.js';

function cacheOf(most: number): { cache: KeyCache; destroyed: number[] } {
  const destroyed: number[] = [];
  return { cache: new KeyCache(most, (handle) => destroyed.push(handle)), destroyed };
}

describe('key cache', () => {
  test('keeps the most recently used, and closes the others', () => {
    const { cache, destroyed } = cacheOf(2);
    cache.put('a', 1);
    cache.put('b', 2);
    const a = cache.take('a');
    if (!a) throw new Error('not open');
    cache.giveBack(a);
    cache.put('c', 3);
    expect(destroyed).toEqual([2]);
    expect([cache.size, cache.take('b'), cache.take('a')?.handle]).toEqual([2, undefined, 1]);
  });

  test('a key that is evicted in use is closed when its last user is done, and is not found before', () => {
    const { cache, destroyed } = cacheOf(1);
    cache.put('a', 1);
    const [one, two] = [cache.take('a'), cache.take('a')];
    if (!one || !two) throw new Error('not open');
    cache.put('b', 2);
    expect(cache.take('a')).toBeUndefined();
    cache.giveBack(one);
    expect(destroyed).toEqual([]);
    cache.giveBack(two);
    expect(destroyed).toEqual([1]);
  });

  test('a key that was opened again takes the place of the old one, whose users keep theirs', () => {
    const { cache, destroyed } = cacheOf(5);
    cache.put('a', 1);
    const old = cache.take('a');
    cache.put('a', 2);
    expect(cache.take('a')?.handle).toBe(2);
    expect(destroyed).toEqual([]);
    if (old) cache.giveBack(old);
    expect(destroyed).toEqual([1]);
  });

  test('a key that is forgotten is closed at once, or when it is not used any more; once', () => {
    const { cache, destroyed } = cacheOf(5);
    cache.put('a', 1);
    cache.put('b', 2);
    const b = cache.take('b');
    cache.forget('a');
    cache.forget('b');
    cache.forget('b');
    cache.forget('never');
    expect(destroyed).toEqual([1]);
    if (b) cache.giveBack(b);
    expect(destroyed).toEqual([1, 2]);
  });
});
