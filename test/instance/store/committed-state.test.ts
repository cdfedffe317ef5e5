// What the serving thread reads against a model of it, while changes are in memory, on their way or on the disk.
import fc from 'fast-check';
import { chain } from '../../../src/instance/replication/entry.js';
import type { RecordChange } from '../../../src/instance/store/committed-state.js';
import type { Store } from '../../../src/instance/store/store.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import { entries, makePlace, openStore, put, removePlaces, tables, type Note, type Notes } from './stores.js';

afterEach(removePlaces);

const ids = fc.constantFrom('a', 'a-', 'a0', 'aa', 'B', 'b', 'key/1', 'key/10', 'key/2', 'z');
const change = fc.record({
  table: fc.constantFrom(...tables),
  id: ids,
  value: fc.option(fc.record({ text: fc.string() }), { nil: null, freq: 3 }),
});
const deed = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      changes: fc.array(change, { maxLength: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const) }) },
  // What is changed before and after in the same entry counts too.
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('switch' as const),
      before: fc.array(change, { maxLength: 3 }),
      after: fc.array(change, { maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  // Not after every step: a table is counted when that is first asked for, whatever is under way then.
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('count' as const), table: fc.constantFrom(...tables) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      table: fc.constantFrom(...tables),
      after: fc.oneof(ids, fc.constant('')),
      limit: fc.integer({ min: 1, max: 12 }),
    }),
  },
);

type Model = Record<keyof Notes, Map<string, Note>>;

function rangeOf(model: Map<string, Note>, after: string, limit: number): [string, Note][] {
  return [...model]
    .filter(([id]) => id > after)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, limit);
}

const gone = (id: string) => ({ table: 'notes', id, value: null }) as const;

function compare(store: Store<Notes>, model: Model): void {
  for (const table of tables) {
    for (const limit of [1, 3, 100])
      expect(store.state.range(table, '', limit)).toEqual(rangeOf(model[table], '', limit));
    for (const id of ['a', 'B', 'key/10', 'never'])
      expect(store.state.get(table, id)).toEqual(model[table].get(id));
  }
}

const switched: RecordChange = {
  table: '*',
  id: '',
  value: null,
  switched: [['notes', 'others']],
};

test('committed state: reads, ranges and counts are those of a map, whatever is flushed and however often it is opened', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 40 }), async (deeds) => {
      const path = makePlace();
      const model: Model = { notes: new Map(), others: new Map() };
      let store = await openStore(path);
      let head: Head = EMPTY_HEAD;
      let switching = false;
      const next = (): Entry =>
        (head = chain(head, { epoch: 1, time: 1, mutation: Buffer.of(1), changesHash: Buffer.of(1) }));
      const write = async (): Promise<void> => {
        const entry = chain(head, { epoch: 1, time: 1, mutation: Buffer.of(2), changesHash: Buffer.of(1) });
        await store.append([entry]);
        await store.cut(entry.index);
        switching = false;
      };
      const take = (changes: readonly { table: keyof Notes; id: string; value: Note | null }[]): void => {
        for (const { table, id, value } of changes) {
          if (value === null) model[table].delete(id);
          else model[table].set(id, value);
        }
      };
      try {
        for (const step of deeds) {
          switch (step.kind) {
            case 'switch': {
              // Between two of them a pool stages records, which takes a write.
              if (switching) await write();
              const entry = next();
              await store.append([entry]);
              store.commit(entry.index, [...step.before, switched, ...step.after]);
              switching = true;
              take(step.before);
              model.notes = model.others;
              model.others = new Map();
              take(step.after);
              break;
            }
            case 'commit': {
              const entry = next();
              await store.append([entry]);
              store.commit(entry.index, step.changes);
              take(step.changes);
              break;
            }
            case 'write':
              // Anything that is written takes the changes with it.
              await write();
              break;
            case 'range':
              expect(store.state.range(step.table, step.after, step.limit)).toEqual(
                rangeOf(model[step.table], step.after, step.limit),
              );
              break;
            case 'count':
              expect(store.state.count(step.table)).toBe(model[step.table].size);
              break;
            case 'reopen': {
              await store.close();
              store = await openStore(path);
              switching = false;
              const { base, tail } = store.readLog();
              // An entry without changes takes nothing to the tables, and is decided again.
              for (const { index } of tail) store.commit(index, []);
              expect(base.index + tail.length).toBe(head.index);
              break;
            }
          }
          compare(store, model);
        }
        for (const table of tables) expect(store.state.count(table)).toBe(model[table].size);
      } finally {
        await store.close();
      }
    }),
    { numRuns: 40 },
  );
}, 120_000);

test('committed state: what is committed while an earlier batch is being written is read until it is on the disk itself', async () => {
  const store = await openStore(makePlace());
  const [first, second] = entries(2);
  if (!first || !second) throw new Error('two entries');
  await store.append([first]);
  const written = store.append([second]);
  store.commit(1, [put('a', 'one')]);
  await written;
  expect(store.state.range('notes', '', 10)).toEqual([['a', { text: 'one' }]]);
  await store.close();
});

test('committed state: what was written and not read is not kept in memory, also when it was asked for before it was there', async () => {
  const store = await openStore(makePlace());
  try {
    const [first, second, third] = entries(3);
    if (!first || !second || !third) throw new Error('three entries');
    await store.append([first]);
    store.commit(1, [put('known', 'one')]);
    await store.append([second]);
    expect(store.state.get('notes', 'new')).toBeUndefined();
    expect(store.state.get('notes', 'known')).toEqual({ text: 'one' });
    const [changed, made] = [put('known', 'two'), put('new', 'two')];
    store.commit(2, [changed, made]);
    await store.append([third]);
    expect(store.state.get('notes', 'known')).toBe(changed.value);
    expect(store.state.get('notes', 'new')).toEqual(made.value);
    expect(store.state.get('notes', 'new')).not.toBe(made.value);
  } finally {
    await store.close();
  }
});

describe('committed state: the first count', () => {
  test.each(['in memory', 'on their way', 'on the disk'])('is right with changes %s', async (moment) => {
    const path = makePlace();
    const [first, second, third] = entries(3);
    if (!first || !second || !third) throw new Error('three entries');
    const before = await openStore(path);
    await before.append([first]);
    before.commit(1, [put('kept', 'one'), put('removed', 'one'), put('changed', 'one')]);
    await before.close();

    const store = await openStore(path);
    await store.append([second]);
    store.commit(2, [gone('removed'), gone('never'), put('changed', 'two'), put('new', 'two')]);
    const written = moment === 'in memory' ? undefined : store.append([third]);
    if (moment === 'on the disk') await written;
    expect(store.state.count('notes')).toBe(3);
    await (written ?? store.append([third]));
    store.commit(3, [
      gone('new'),
      gone('new'),
      put('kept', 'three'),
      put('newer', 'three'),
      put('newest', 'three'),
    ]);
    expect(store.state.count('notes')).toBe(4);
    await store.close();
    const again = await openStore(path);
    expect(again.state.count('notes')).toBe(4);
    await again.close();
  });
});

test('committed state: a walk through a large table drives no record of another from memory', async () => {
  const store = await openStore(makePlace());
  const [first, second] = entries(2);
  if (!first || !second) throw new Error('two entries');
  const many = Array.from({ length: 11_000 }, (_, i) => `other ${String(i).padStart(5, '0')}`);
  await store.append([first]);
  store.commit(1, [put('a', 'one'), ...many.map((id) => ({ table: 'others', id, value: { text: id } }))]);
  await store.append([second]);
  const kept = store.state.get('notes', 'a');
  expect(kept).toEqual({ text: 'one' });
  for (const id of many) expect(store.state.get('others', id)).toEqual({ text: id });
  // The same object: it was not read and decoded again.
  expect(store.state.get('notes', 'a')).toBe(kept);
  await store.close();
});

test('committed state: a range gives the records that are at hand, and keeps those that it read', async () => {
  const path = makePlace();
  const [first] = entries(1);
  if (!first) throw new Error('an entry');
  const before = await openStore(path);
  await before.append([first]);
  before.commit(1, [put('a', 'one'), put('b', 'one')]);
  await before.close();
  const store = await openStore(path);
  const a = store.state.get('notes', 'a');
  const range = store.state.range('notes', '', 10);
  expect(range.map(([id]) => id)).toEqual(['a', 'b']);
  expect(range[0]?.[1]).toBe(a);
  expect(store.state.get('notes', 'b')).toBe(range[1]?.[1]);
  await store.close();
});

describe('committed state: a switch of tables', () => {
  const other = (id: string, text: string) => ({ table: 'others', id, value: { text } }) as const;

  test.each(['in memory', 'on its way', 'on the disk', 'read again'])(
    'is one change for whoever reads, %s: records, ranges, counts, samples and the digest',
    async (moment) => {
      const path = makePlace();
      const [first, second, third, fourth] = entries(4);
      if (!first || !second || !third || !fourth) throw new Error('four entries');
      let store = await openStore(path);
      await store.append([first]);
      store.commit(1, [put('old', 'one'), put('both', 'one'), other('both', 'new'), other('b', 'new')]);
      await store.append([second]);
      // Not written yet when the tables are switched.
      store.commit(2, [other('c', 'late'), put('older', 'two')]);
      // Read before, so that caches hold what was.
      expect(store.state.get('notes', 'both')).toEqual({ text: 'one' });
      expect(store.state.get('others', 'old')).toBeUndefined();
      expect(store.state.get('notes', 'c')).toBeUndefined();
      await store.append([third]);
      store.commit(3, [other('d', 'same'), switched, put('e', 'same'), other('f', 'next')]);
      const written = moment === 'in memory' ? undefined : store.append([fourth]);
      if (moment === 'on the disk' || moment === 'read again') await written;
      if (moment === 'read again') {
        await store.close();
        store = await openStore(path);
      }
      const { state } = store;
      expect(state.range('notes', '', 10)).toEqual([
        ['b', { text: 'new' }],
        ['both', { text: 'new' }],
        ['c', { text: 'late' }],
        ['d', { text: 'same' }],
        ['e', { text: 'same' }],
      ]);
      expect(state.range('others', '', 10)).toEqual([['f', { text: 'next' }]]);
      expect([state.count('notes'), state.count('others')]).toEqual([5, 1]);
      expect(state.get('notes', 'old')).toBeUndefined();
      expect(state.get('notes', 'older')).toBeUndefined();
      expect(state.get('notes', 'both')).toEqual({ text: 'new' });
      const { digest } = await store.digest();
      await written;
      await store.close();

      // The same state, written record by record.
      const plain = await openStore(makePlace());
      await plain.append(entries(1));
      const records = ['b', 'both', 'c', 'd', 'e'].map((id) =>
        put(id, { c: 'late', d: 'same', e: 'same' }[id] ?? 'new'),
      );
      plain.commit(1, [...records, other('f', 'next')]);
      expect((await plain.digest()).digest).toBe(digest);
      await plain.close();
    },
  );
});
