// What the serving thread reads against a model of it, while changes are in memory, on their way or on the disk.
import fc from 'fast-check';
import { chain } from '../../../src/instance/replication/entry.js';
import type { Store } from '../../../src/instance/store/store.js';
import { EMPTY_HEAD, type Head } from '../../../src/values/entry.js';
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

test('committed state: reads, ranges and counts are those of a map, whatever is flushed and however often it is opened', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 40 }), async (deeds) => {
      const path = makePlace();
      const model: Model = { notes: new Map(), others: new Map() };
      let store = await openStore(path);
      let head: Head = EMPTY_HEAD;
      try {
        for (const step of deeds) {
          switch (step.kind) {
            case 'commit': {
              const entry = chain(head, {
                epoch: 1,
                time: 1,
                mutation: Buffer.of(1),
                changesHash: Buffer.of(1),
              });
              head = entry;
              await store.append([entry]);
              store.commit(entry.index, step.changes);
              for (const { table, id, value } of step.changes) {
                if (value === null) model[table].delete(id);
                else model[table].set(id, value);
              }
              break;
            }
            case 'write': {
              // Anything that is written takes the changes with it.
              const entry = chain(head, {
                epoch: 1,
                time: 1,
                mutation: Buffer.of(2),
                changesHash: Buffer.of(1),
              });
              await store.append([entry]);
              await store.cut(entry.index);
              break;
            }
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
