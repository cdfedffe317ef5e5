// Snapshots of a store on a real disk: taken while it is written, and made a store elsewhere or nothing at all.
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { importSnapshot, installSnapshot, type Snapshot } from '../../../src/instance/store/snapshot.js';
import type { Store } from '../../../src/instance/store/store.js';
import type { Entry } from '../../../src/values/entry.js';
import { entries, key, makePlace, openStore, put, removePlaces, tables, type Notes } from './stores.js';

afterEach(removePlaces);

const EPOCH = 7;
/** So large that a page holds seven of them. */
const text = (of: string): string => of.padEnd(150_000, '.');
const id = (place: number): string => `note ${String(place).padStart(3, '0')}`;

/** A store with so many large notes, all of them committed by the first of so many entries. */
async function filled(
  path: string,
  notes: number,
  count = 1,
): Promise<{ store: Store<Notes>; all: Entry[] }> {
  const store = await openStore(path);
  const all = entries(count);
  await store.append(all);
  store.commit(
    1,
    Array.from({ length: notes }, (_, place) => put(id(place), text('first'))),
  );
  return { store, all };
}

const taken = (path: string, snapshot: Snapshot, tablesHere: readonly string[] = tables): Promise<void> =>
  importSnapshot(path, key(), tablesHere, { base: snapshot.base, epoch: EPOCH }, () => snapshot.next());

const files = (path: string): string[] => readdirSync(dirname(path)).sort();

describe('snapshot', () => {
  test('holds the state as it was when it began, whatever is committed while it is read', async () => {
    const { store, all } = await filled(makePlace(), 40, 60);
    const { digest } = await store.digest();
    const snapshot = await store.snapshot();
    const path = makePlace();
    let pages = 0;
    await importSnapshot(path, key(), tables, { base: snapshot.base, epoch: EPOCH }, async () => {
      // Each page is read after another note was changed, one removed and one made, all of it on the disk.
      const index = store.applied + 1;
      store.commit(index, [
        put(id(index), text('later')),
        { table: 'notes', id: id(39 - pages), value: null },
        { table: 'others', id: id(index), value: { text: 'new' } },
      ]);
      await store.append([]);
      pages += 1;
      return snapshot.next();
    });
    await snapshot.close();
    expect(pages).toBeGreaterThan(5);
    expect(snapshot.records).toBe(40);
    await installSnapshot(path);
    const joined = await openStore(path);
    expect(joined.state.count('notes')).toBe(40);
    expect(joined.state.count('others')).toBe(0);
    expect(joined.state.range('notes', '', 100)).toEqual(
      Array.from({ length: 40 }, (_, place) => [id(place), { text: text('first') }]),
    );
    const [first] = all;
    const base = { index: 1, hash: first?.hash, time: first?.time };
    expect(joined.readLog()).toEqual({ base, tail: [] });
    expect(await joined.digest()).toEqual({ index: 1, digest });
    expect((await store.digest()).digest).not.toBe(digest);
    await joined.close();
    await store.close();
  });

  test('becomes a store with an id of its own, that has seen the epochs which its member has seen', async () => {
    const { store } = await filled(makePlace(), 1);
    await store.setEpoch(3);
    const snapshot = await store.snapshot();
    const path = makePlace();
    await taken(path, snapshot);
    await installSnapshot(path);
    const joined = await openStore(path);
    expect(joined.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(joined.id).not.toBe(store.id);
    expect(joined.epoch).toBe(EPOCH);
    await joined.close();
    await store.close();
  });

  test('of a store with nothing in it is one too', async () => {
    const store = await openStore(makePlace());
    const snapshot = await store.snapshot();
    expect(snapshot.base).toBeUndefined();
    expect(snapshot.records).toBe(0);
    const path = makePlace();
    await taken(path, snapshot);
    await installSnapshot(path);
    const joined = await openStore(path);
    expect(joined.readLog()).toEqual(store.readLog());
    expect((await joined.digest()).digest).toBe((await store.digest()).digest);
    await joined.close();
    await store.close();
  });

  test('goes on as a log: what follows the snapshot is appended and applied like anything else', async () => {
    const { store, all } = await filled(makePlace(), 2, 4);
    store.commit(2, [put('a', 'two')]);
    const path = makePlace();
    await taken(path, await store.snapshot());
    await installSnapshot(path);
    const joined = await openStore(path);
    expect(joined.hashAt(2)).toEqual(all[1]?.hash);
    // Its log begins there: another member cannot go on from an earlier entry here, nor from none.
    expect([joined.hashAt(0), joined.hashAt(1)]).toEqual([undefined, undefined]);
    await joined.append(all.slice(2));
    joined.commit(3, [put('a', 'three')]);
    store.commit(3, [put('a', 'three')]);
    expect(await joined.digest()).toEqual(await store.digest());
    expect((await joined.digest()).index).toBe(3);
    await joined.close();
    await store.close();
  });

  test('that is given up leaves nothing: the store is closed into one file', async () => {
    const path = makePlace();
    const { store } = await filled(path, 20);
    const left = await store.snapshot();
    await left.next();
    const closed = await store.snapshot();
    await closed.close();
    await closed.close();
    await expect(closed.next()).rejects.toThrow('the snapshot reader has failed: it was ended');
    await store.close();
    expect(files(path)).toEqual(['state.sqlite']);
  });
});

describe('snapshot: an import that is cut off', () => {
  // Pages of 20 large notes: three, and the end.
  test.each([0, 1, 2, 3])('before part %i leaves the store that was there', async (step) => {
    const { store } = await filled(makePlace(), 20);
    const path = makePlace();
    const before = await filled(path, 1);
    const own = before.store.id;
    const snapshot = await store.snapshot();
    let part = 0;
    const cut = importSnapshot(path, key(), tables, { base: snapshot.base, epoch: EPOCH }, () => {
      if ((part += 1) > step) throw new Error('the link was lost');
      return snapshot.next();
    });
    await expect(cut).rejects.toThrow('the link was lost');
    await before.store.close();
    expect(files(path)).toEqual(['state.sqlite']);
    const again = await openStore(path);
    expect([again.id, again.epoch, again.state.count('notes')]).toEqual([own, 0, 1]);
    await again.close();
    await store.close();
  });

  test('by the end of the process leaves a draft that is thrown away', async () => {
    const { store } = await filled(makePlace(), 20);
    const path = makePlace();
    const before = await filled(path, 1);
    const own = before.store.id;
    // All of it was taken, and the end came before it was put into place; and one that ended in the middle.
    await taken(path, await store.snapshot());
    await before.store.close();
    expect(files(path)).toEqual(['state.sqlite', 'state.sqlite.joining']);
    const again = await openStore(path);
    expect([again.id, again.state.count('notes')]).toEqual([own, 1]);
    expect(files(path)).not.toContain('state.sqlite.joining');
    for (const suffix of ['', '-wal', '-shm']) writeFileSync(`${path}.joining${suffix}`, randomBytes(9_000));
    await taken(path, await store.snapshot());
    await again.close();
    await installSnapshot(path);
    const joined = await openStore(path);
    expect((await joined.digest()).digest).toBe((await store.digest()).digest);
    await joined.close();
    await store.close();
  });

  test('after the old store was removed leaves none: what belonged to it is not taken for a part of a new one', async () => {
    const path = makePlace();
    const old = await filled(path, 3);
    await old.store.append([]);
    copyFileSync(`${path}-wal`, `${path}-kept`);
    const own = old.store.id;
    await old.store.close();
    await installSnapshot(path).catch(() => undefined); // no draft is there
    expect(existsSync(path)).toBe(false);
    copyFileSync(`${path}-kept`, `${path}-wal`);
    const fresh = await openStore(path);
    expect(fresh.id).not.toBe(own);
    expect([fresh.applied, fresh.state.count('notes')]).toEqual([0, 0]);
    await fresh.close();
  });
});

describe('snapshot: an import is refused', () => {
  test.each(['lost', 'twice', 'foreign'])('when a page is %s', async (what) => {
    const { store } = await filled(makePlace(), 20);
    const other = await filled(makePlace(), 21);
    const snapshot = await store.snapshot();
    const path = makePlace();
    let part = 0;
    const refused = importSnapshot(path, key(), tables, { base: snapshot.base, epoch: 1 }, async () => {
      part += 1;
      if (part === 2 && what === 'lost') await snapshot.next();
      if (part === 2 && what === 'foreign') {
        await snapshot.next();
        const foreign = await other.store.snapshot();
        await foreign.next();
        await foreign.next();
        return foreign.next();
      }
      if (part === 2 && what === 'twice') return (await store.snapshot()).next();
      return snapshot.next();
    });
    await expect(refused).rejects.toThrow(/not those that the donor has|UNIQUE constraint/);
    expect(files(path)).toEqual([]);
    await store.close();
    await other.store.close();
  });

  test('when it holds a table that this build does not know, and not when the table is empty', async () => {
    const { store } = await filled(makePlace(), 2);
    const path = makePlace();
    await taken(path, await store.snapshot(), ['notes']);
    const refused = taken(path, await store.snapshot(), ['others']);
    await expect(refused).rejects.toThrow('this build does not know the table notes');
    await store.close();
  });

  test('with another key than its own the draft is not opened as a store', async () => {
    const { store } = await filled(makePlace(), 2);
    const path = makePlace();
    const snapshot = await store.snapshot();
    const given = randomBytes(32);
    await importSnapshot(path, given, tables, { base: snapshot.base, epoch: 1 }, () => snapshot.next());
    expect(given).toEqual(Buffer.alloc(32));
    await installSnapshot(path);
    await expect(openStore(path)).rejects.toThrow('file is not a database');
    await store.close();
  });
});

describe('digest', () => {
  const digestOf = async (changes: Parameters<Store<Notes>['commit']>[1]): Promise<string> => {
    const store = await openStore(makePlace());
    await store.append(entries(1));
    store.commit(1, changes);
    try {
      return (await store.digest()).digest;
    } finally {
      await store.close();
    }
  };
  const base = [put('a', 'one'), put('b', 'two'), { table: 'others', id: 'c', value: { text: 'three' } }];

  test('is that of the records, in whatever order they came', async () => {
    const digest = await digestOf(base);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await digestOf([...base].reverse())).toBe(digest);
    expect(
      await digestOf([put('a', 'other'), put('d', 'x'), ...base, { ...put('d', ''), value: null }]),
    ).toBe(digest);
  });

  test.each([
    ['record is changed', [put('b', 'twO')]],
    ['record is removed', [{ ...put('b', ''), value: null }]],
    ['record is added', [put('d', '')]],
    ['record has another id', [{ ...put('b', ''), value: null }, put('b2', 'two')]],
    [
      'record is in another table',
      [
        { ...put('b', ''), value: null },
        { table: 'others', id: 'b', value: { text: 'two' } },
      ],
    ],
  ])('is another one when a %s', async (_what, changes) => {
    expect(await digestOf([...base, ...changes])).not.toBe(await digestOf(base));
  });

  test('includes what is in memory alone, and says through which entry it goes', async () => {
    const store = await openStore(makePlace());
    await store.append(entries(3));
    store.commit(1, [put('a', 'one')]);
    const first = await store.digest();
    store.commit(2, [put('a', 'two')]);
    const second = await store.digest();
    store.commit(3, [put('a', 'one')]);
    expect([first.index, second.index]).toEqual([1, 2]);
    expect(second.digest).not.toBe(first.digest);
    expect(await store.digest()).toEqual({ index: 3, digest: first.digest });
    await store.close();
  });
});
