// The store on a real disk: what it has promised is there when it is opened again.
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openDatabase } from '../../../src/instance/store/database.js';
import { Store } from '../../../src/instance/store/store.js';
import { EMPTY_HEAD } from '../../../src/values/entry.js';
import {
  entries,
  entriesAfter,
  key,
  makePlace,
  openStore,
  put,
  readFile,
  removePlaces,
  tables,
  until,
  type Notes,
} from './stores.js';

afterEach(removePlaces);

async function readLogOf(path: string): Promise<unknown> {
  const store = await openStore(path);
  try {
    return store.readLog();
  } finally {
    await store.close();
  }
}

describe('store', () => {
  test('on a disk that counts as full nothing more is prepared, and what was is there afterwards', async () => {
    const path = makePlace();
    let full = false;
    const store = await openStore(path, () => full);
    const [first, second] = entries(2);
    if (!first || !second) throw new Error('two entries');
    await store.append([first]);
    full = true;
    await expect(store.append([second])).rejects.toThrow(
      'the store cannot be written: database or disk is full',
    );
    // As after any failed write: there is no way back.
    full = false;
    await expect(store.append([second])).rejects.toThrow('database or disk is full');
    await store.close();
    expect(await readLogOf(path)).toMatchObject({ tail: [{ index: 1 }] });
  });

  test('a new store is empty, and its log begins with nothing', async () => {
    const store = await openStore(makePlace());
    expect(store.applied).toBe(0);
    expect(store.readLog()).toEqual({ base: { ...EMPTY_HEAD, time: 0 }, tail: [] });
    expect(store.state.count('notes')).toBe(0);
    expect(store.state.get('notes', 'a')).toBeUndefined();
    await store.close();
  });

  test('entries that were appended and not applied are in the log when it is opened again', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(5);
    await store.append(all.slice(0, 2));
    await store.append(all.slice(2));
    await store.close();
    const again = await openStore(path);
    expect(again.readLog()).toEqual({ base: { ...EMPTY_HEAD, time: 0 }, tail: all });
    await again.close();
  });

  test('after an abrupt end the log goes on where the tables end', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(5);
    await store.append(all);
    store.commit(1, [put('a', 'one')]);
    store.commit(2, [put('a', 'two'), put('b', 'two')]);
    await store.close();
    const again = await openStore(path);
    const { base, tail } = again.readLog();
    const second = all[1];
    expect(base).toEqual({ index: 2, hash: second?.hash, time: second?.time });
    expect(tail).toEqual(all.slice(2));
    expect(again.applied).toBe(2);
    expect(again.state.get('notes', 'a')).toEqual({ text: 'two' });
    await again.close();
  });

  test('appends that are given together are written together, and each is acknowledged', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(300);
    const done: number[] = [];
    const appended = all.map((entry) => store.append([entry]).then(() => done.push(entry.index)));
    await appended[0];
    // The second batch took all the others: it is a single sync, so they are there together or not at all.
    const { log } = readFile(path);
    expect([1, 300]).toContain(log.length);
    await Promise.all(appended);
    expect(done).toEqual(all.map(({ index }) => index));
    expect(readFile(path).log).toHaveLength(300);
    await store.close();
  });

  test('a cut removes entries from the disk, and others take their place', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(5);
    await store.append(all);
    await store.cut(3);
    expect(readFile(path).log).toEqual([1, 2]);
    const second = all[1] ?? EMPTY_HEAD;
    const others = entriesAfter(second, 2, 'other');
    await store.append(others);
    await store.close();
    const again = await openStore(path);
    expect(again.readLog().tail).toEqual([...all.slice(0, 2), ...others]);
    await again.close();
  });

  test('cuts and appends that wait for the same write are carried out in their order', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(6);
    const [first = EMPTY_HEAD, second = EMPTY_HEAD] = all;
    const others = entriesAfter(second, 3, 'other');
    const thirds = entriesAfter(first, 2, 'third');
    await Promise.all([
      store.append(all.slice(0, 4)),
      store.append(all.slice(4)),
      store.cut(3),
      store.append(others),
      store.cut(4),
      store.cut(2),
      store.append(thirds),
      store.cut(3),
    ]);
    expect(store.readLog().tail).toEqual([all[0], thirds[0]]);
    await store.close();
  });

  test('a committed entry is not cut, and entries are committed in order', async () => {
    const store = await openStore(makePlace());
    await store.append(entries(3));
    store.commit(1, []);
    expect(() => store.commit(3, [])).toThrow('entries are applied in order');
    expect(() => store.cut(1)).toThrow('no committed entry is cut');
    await store.close();
  });

  test('what is committed is visible at once, and reaches the tables by itself', async () => {
    const path = makePlace();
    const store = await openStore(path);
    await store.append(entries(2));
    store.commit(1, [put('a', 'one'), put('b', 'one')]);
    expect(store.state.get('notes', 'a')).toEqual({ text: 'one' });
    expect(store.state.count('notes')).toBe(2);
    store.commit(2, [{ table: 'notes', id: 'a', value: null }]);
    expect(store.state.get('notes', 'a')).toBeUndefined();
    expect(store.state.count('notes')).toBe(1);
    expect(readFile(path).notes).toEqual([]);
    await until(() => readFile(path).applied === 2);
    expect(readFile(path).notes).toEqual(['b']);
    expect(store.state.get('notes', 'b')).toEqual({ text: 'one' });
    await store.close();
  });

  test('what is committed while a slow write is under way reaches the tables too, though nothing else is written', async () => {
    const path = makePlace();
    const store = await openStore(path);
    await store.append(entries(2));
    const [, second = EMPTY_HEAD] = entries(2);
    const [large] = entriesAfter(second, 1);
    if (!large) throw new Error('no entry');
    const slow = store.append([{ ...large, mutation: Buffer.alloc(150_000_000) }]);
    let over = false;
    void slow.then(() => (over = true));
    store.commit(1, [put('a', 'one')]);
    // A flush falls due, and is put off since the writer is busy.
    const begun = performance.now();
    await until(() => over || performance.now() - begun > 60);
    await slow;
    await until(() => readFile(path).applied === 1);
    await store.close();
  });

  test('the log keeps ten thousand applied entries, the last of them always', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(10_030);
    await store.append(all);
    for (const { index } of all) store.commit(index, [put('a', `${index}`)]);
    await until(() => readFile(path).applied === 10_030);
    const { log } = readFile(path);
    expect([log[0], log.at(-1), log.length]).toEqual([31, 10_030, 10_000]);
    await store.close();
    const again = await openStore(path);
    const last = all.at(-1);
    expect(again.readLog()).toEqual({
      base: { index: 10_030, hash: last?.hash, time: last?.time },
      tail: [],
    });
    await again.close();
  });

  test('the log keeps what is held, and the entry that it follows, until it is released', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(10_060);
    await store.append(all);
    const low = store.keepLog(5);
    const high = store.keepLog(20);
    low.advance(3);
    const applied = async (through: number): Promise<number | undefined> => {
      while (store.applied < through) store.commit(store.applied + 1, []);
      await store.append([]);
      return readFile(path).log[0];
    };
    expect(await applied(10_040)).toBe(5);
    expect(store.hashAt(5)).toEqual(all[4]?.hash);
    low.advance(9);
    expect(await applied(10_041)).toBe(9);
    low.release();
    expect(await applied(10_042)).toBe(20);
    high.release();
    expect(await applied(10_050)).toBe(51);
    expect(store.hashAt(50)).toBeUndefined();
    expect(store.hashAt(0)).toBeUndefined();
    await store.close();
  });

  test('entries are read in pages, those alone that are on the disk', async () => {
    const store = await openStore(makePlace());
    const all = entries(9);
    expect(store.entriesAfter(0, 1)).toEqual([]);
    await store.append(all.slice(0, 8));
    expect(store.entriesAfter(0, 1_000)).toEqual(all.slice(0, 8));
    expect(store.entriesAfter(8, 1_000)).toEqual([]);
    // Each mutation is seven bytes long.
    expect(store.entriesAfter(2, 1)).toEqual(all.slice(2, 3));
    expect(store.entriesAfter(2, 21)).toEqual(all.slice(2, 5));
    expect(store.entriesAfter(2, 20)).toEqual(all.slice(2, 4));
    const appended = store.append(all.slice(8));
    // The writer may have been quicker than this line.
    const seen = store.entriesAfter(7, 1_000);
    expect(seen).toEqual(all.slice(7, 7 + Math.max(1, seen.length)));
    await appended;
    expect(store.entriesAfter(7, 1_000)).toEqual(all.slice(7));
    await store.close();
  });

  test('hashes are told of entries that are in the log, and of the empty one', async () => {
    const store = await openStore(makePlace());
    const all = entries(3);
    expect(store.hashAt(0)).toEqual(EMPTY_HEAD.hash);
    expect(store.hashAt(1)).toBeUndefined();
    await store.append(all);
    expect([0, 1, 3].map((index) => store.hashAt(index))).toEqual([
      EMPTY_HEAD.hash,
      all[0]?.hash,
      all[2]?.hash,
    ]);
    expect(store.hashAt(4)).toBeUndefined();
    await store.close();
  });

  test('entries that are being cut are not shown, nor those that take their places before they are written', async () => {
    const store = await openStore(makePlace());
    const all = entries(4);
    await store.append(all);
    const others = entriesAfter(all[1] ?? EMPTY_HEAD, 2, 'other');
    const done = [store.cut(3), store.append(others)];
    const seen = () => [store.entriesAfter(1, 1_000), store.hashAt(3), store.hashAt(2)];
    expect(seen()).toEqual([all.slice(1, 2), undefined, all[1]?.hash]);
    await done[0];
    await Promise.all(done);
    expect(seen()).toEqual([[all[1], ...others], others[0]?.hash, all[1]?.hash]);
    await store.close();
  });

  test('the id is its own and stays, and the epoch is on the disk once it is set', async () => {
    const path = makePlace();
    const store = await openStore(path);
    expect(store.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(store.epoch).toBe(0);
    const set = [store.setEpoch(3), store.setEpoch(3), store.setEpoch(5)];
    expect(() => store.setEpoch(4)).toThrow('the epoch of a store does not fall');
    await set[0];
    expect(store.epoch).toBeGreaterThanOrEqual(3);
    await Promise.all(set);
    expect(store.epoch).toBe(5);
    // As if the process had been ended here.
    const copy = makePlace();
    for (const suffix of ['', '-wal']) copyFileSync(`${path}${suffix}`, `${copy}${suffix}`);
    const again = await openStore(copy);
    expect([again.id, again.epoch]).toEqual([store.id, 5]);
    await again.close();
    const other = await openStore(makePlace());
    expect(other.id).not.toBe(store.id);
    await other.close();
    await store.close();
  });

  test('a sample is of records that are there, spread over all', async () => {
    const store = await openStore(makePlace());
    await store.append(entries(2));
    const name = (place: number) => String(place).padStart(3, '0');
    store.commit(
      1,
      Array.from({ length: 400 }, (_, place) => put(name(place), name(place))),
    );
    await store.append([]);
    const texts = (count: number, random: number) =>
      store.state.sample('notes', count, () => random).map(({ text }) => text);
    expect(texts(4, 0)).toEqual(['000', '100', '200', '300']);
    expect(texts(4, 0.999)).toEqual(['099', '199', '299', '399']);
    expect(store.state.sample('others', 4, () => 0)).toEqual([]);
    store.commit(2, [{ table: 'notes', id: '100', value: null }]);
    expect(texts(4, 0)).toEqual(['000', '200', '300']);
    await store.append([]);
    expect(texts(4, 0)).toEqual(['000', '101', '200', '300']);
    await store.close();
  });

  test('the key that was given is wiped, whether the store opens or not', async () => {
    const path = makePlace();
    const right = key();
    const store = await Store.open<Notes>(path, right, tables);
    expect(right).toEqual(Buffer.alloc(32));
    await store.close();
    const wrong = randomBytes(32);
    await expect(Store.open<Notes>(path, wrong, tables)).rejects.toThrow('cannot be opened');
    expect(wrong).toEqual(Buffer.alloc(32));
  });
});

describe('store: the file', () => {
  test('is refused with another key, and is not harmed by the attempt', async () => {
    const path = makePlace();
    const store = await openStore(path);
    await store.append(entries(3));
    await store.close();
    const before = readFileSync(path);
    await expect(Store.open<Notes>(path, randomBytes(32), tables)).rejects.toThrow(
      'the store cannot be opened: file is not a database',
    );
    expect(readFileSync(path).equals(before)).toBe(true);
    const again = await openStore(path);
    expect(again.readLog().tail).toHaveLength(3);
    await again.close();
  });

  test('is refused when it is of another format', async () => {
    const path = makePlace();
    await (await openStore(path)).close();
    const database = openDatabase(path, key(), { readonly: false, tables });
    database.pragma('user_version=99');
    database.close();
    await expect(openStore(path)).rejects.toThrow('the store has format 99, this build reads 1');
  });

  test('is refused when it is no store at all', async () => {
    const path = makePlace();
    writeFileSync(path, randomBytes(16_384));
    await expect(openStore(path)).rejects.toThrow(/not a database/);
  });

  test('is refused when anything in it was changed', async () => {
    const path = makePlace();
    const store = await openStore(path);
    await store.append(entries(1));
    await store.close();
    const whole = readFileSync(path);
    for (const from of [0, 8192]) {
      const bytes = Buffer.from(whole);
      for (let at = from + 100; at < bytes.length; at += 8192) bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
      const message = expect.stringMatching(/not a database|malformed|disk I\/O/) as unknown;
      await expect(readLogOf(path)).rejects.toHaveProperty('message', message);
    }
  });

  test('shows nothing of what is in it, in none of its parts', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const secret = 'a sentence that is easy to find';
    const [entry] = entriesAfter(EMPTY_HEAD, 1, secret);
    if (!entry) throw new Error('no entry');
    await store.append([entry]);
    store.commit(1, [put(secret, secret)]);
    await until(() => readFile(path).applied === 1);
    const names = readdirSync(dirname(path));
    expect(names.length).toBeGreaterThanOrEqual(2);
    const look = () =>
      readdirSync(dirname(path)).map((name) => {
        const bytes = readFileSync(join(dirname(path), name));
        return [secret, 'CREATE TABLE', 'SQLite format', 'state_notes'].some((text) => bytes.includes(text));
      });
    expect(look()).not.toContain(true);
    await store.close();
    expect(look()).not.toContain(true);
  });

  test('is made with nobody waiting for a directory that is not there', async () => {
    const path = join(dirname(makePlace()), 'missing', 'state.sqlite');
    await expect(openStore(path)).rejects.toThrow(/directory/);
    expect(existsSync(path)).toBe(false);
  });
});

describe('store: when it cannot be written', () => {
  test('the append is rejected, and so is everything after it', async () => {
    const path = makePlace();
    const store = await openStore(path);
    const all = entries(4);
    await store.append(all.slice(0, 2));
    // An entry at a place that is taken: the disk says no.
    const appends = [store.append(all.slice(1, 2)), store.append(all.slice(2, 3)), store.cut(2)];
    const outcomes = await Promise.allSettled(appends);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await expect(store.append(all.slice(2, 3))).rejects.toThrow('the store cannot be written');
    await expect(store.cut(2)).rejects.toThrow('the store cannot be written');
    // Reads of what is committed go on.
    expect(store.state.get('notes', 'a')).toBeUndefined();
    await store.close();
    expect(readFile(path).log).toEqual([1, 2]);
  });
});
