// Overlay: a layer of changes reads as a state of its own.
import fc from 'fast-check';
import { emptyState, Overlay, put, remove, SWITCH, type Change } from '../../../src/instance/model/state.js';

const id = fc.constantFrom('a', 'aa', 'b', 'B', 'c-1', 'c-10', 'c-2', '9', 'é');
const change = fc
  .tuple(id, fc.option(fc.integer({ min: 1, max: 9 })))
  .map(([key, value]): Change =>
    value === null ? remove('outcomes', key) : put('outcomes', key, { index: value }),
  );
const changes = fc.array(change, { maxLength: 30 });

/** The same by a plain map. */
function mapOf(list: readonly Change[]): Map<string, unknown> {
  const map = new Map<string, unknown>();
  for (const { id: key, value } of list) {
    if (value === null) map.delete(key);
    else map.set(key, value);
  }
  return map;
}

it('an overlay over an overlay reads as a map would, however the changes are divided', () => {
  fc.assert(
    fc.property(changes, changes, id, fc.nat({ max: 10 }), (below, above, after, limit) => {
      const base = new Overlay(emptyState);
      base.apply(below);
      const top = new Overlay(base);
      for (const one of above) top.apply([one]);
      const map = mapOf([...below, ...above]);
      const sorted = [...map.keys()].sort();
      expect(top.count('outcomes')).toBe(map.size);
      for (const key of ['a', 'b', 'c-1', 'none']) expect(top.get('outcomes', key)).toEqual(map.get(key));
      expect(top.range('outcomes', '', 100).map(([key]) => key)).toEqual(sorted);
      expect(top.range('outcomes', after, limit)).toEqual(
        sorted
          .filter((key) => key > after)
          .slice(0, limit)
          .map((key) => [key, map.get(key)]),
      );
      expect(base.count('outcomes')).toBe(mapOf(below).size);
    }),
  );
});

it('tables do not mix', () => {
  const state = new Overlay(emptyState);
  state.apply([put('keys', 'k', { name: 'k', versions: ['v'] })]);
  expect(state.get('deleted', 'k')).toBeUndefined();
  expect(state.count('deleted')).toBe(0);
  expect(state.range('deleted', '', 10)).toEqual([]);
});

describe('a switch of tables', () => {
  const key = (name: string, version: string) => ({ name, versions: [version] });
  const live = fc.constantFrom('keys', 'stagedKeys');
  const step = fc.oneof(
    { weight: 1, arbitrary: fc.constant<Change>(SWITCH) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(live, id, fc.option(fc.constantFrom('1', '2')))
        .map(([table, name, version]): Change =>
          version === null ? remove(table as 'keys', name) : put(table as 'keys', name, key(name, version)),
        ),
    },
  );
  const steps = fc.array(step, { maxLength: 30 });

  it('reads as two maps that change places would, however the changes are divided', () => {
    fc.assert(
      fc.property(steps, steps, id, fc.nat({ max: 10 }), (below, above, after, limit) => {
        const base = new Overlay(emptyState);
        base.apply(below);
        const top = new Overlay(base);
        for (const one of above) top.apply([one]);
        let maps = { keys: new Map<string, unknown>(), stagedKeys: new Map<string, unknown>() };
        for (const change of [...below, ...above]) {
          if (change.table === '*') maps = { keys: maps.stagedKeys, stagedKeys: new Map() };
          else if (change.value === null) maps[change.table as 'keys'].delete(change.id);
          else maps[change.table as 'keys'].set(change.id, change.value);
        }
        for (const table of ['keys', 'stagedKeys'] as const) {
          const map = maps[table];
          const sorted = [...map.keys()].sort();
          expect(top.count(table)).toBe(map.size);
          for (const name of ['a', 'b', 'none']) expect(top.get(table, name)).toEqual(map.get(name));
          expect(top.range(table, after, limit)).toEqual(
            sorted
              .filter((name) => name > after)
              .slice(0, limit)
              .map((name) => [name, map.get(name)]),
          );
        }
      }),
    );
  });
});
