// What the pool does to keys by itself, and when: the table against what the keys say, over random mutations.
import fc from 'fast-check';
import type { KeyMutation } from '../../../src/instance/model/mutation.js';
import { rotationDue } from '../../../src/instance/model/keys/due.js';
import { MAX_VERSIONS } from '../../../src/instance/model/keys/limits.js';
import { versionId } from '../../../src/instance/model/keys/records.js';
import { created, foundedLog, NOW, nextId, plain, versionOf, type Log } from './fixtures.js';

const DAY = 86_400;

function rotated(name: string, version: string, time: number, due?: string): KeyMutation {
  const { sealed } = created(name, version);
  return {
    kind: 'KeyRotated',
    id: nextId(),
    time,
    name,
    version,
    sealed,
    ...(due === undefined ? {} : { due }),
  };
}

function policy(name: string, actions: object[], expiryTime?: string, time = NOW): KeyMutation {
  const wish = { actions, ...(expiryTime === undefined ? {} : { expiryTime }) };
  return { kind: 'RotationPolicySet', id: nextId(), time, name, policy: wish as never };
}

const AFTER_30 = { type: 'Rotate', timeAfterCreate: 'P30D' };
const BEFORE_30 = { type: 'rotate', timeBeforeExpiry: 'P30D' };

function allDue(log: Log) {
  return log.state.range('due', '', 10_000).map(([, due]) => due);
}

describe('rotation by policy', () => {
  it('is due after creation, or before the expiry that is set, whichever comes first', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(policy('k', [AFTER_30, BEFORE_30], 'P90D'));
    expect(allDue(log)).toEqual([{ name: 'k', kind: 'rotate', time: NOW + 30 * DAY, version: 'v1' }]);
    const expires = NOW + 40 * DAY;
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW + 1, name: 'k', expires });
    expect(allDue(log)).toEqual([{ name: 'k', kind: 'rotate', time: NOW + 10 * DAY, version: 'v1' }]);
  });

  it('happens not before it is due, and for the version that was seen only', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(policy('k', [AFTER_30]));
    expect(log.take(rotated('k', 'v2', NOW + 30 * DAY - 1, 'v1'))).toBe('KeyChanged');
    expect(log.take(rotated('k', 'v2', NOW + 30 * DAY, 'v0'))).toBe('KeyChanged');
    expect(log.take(rotated('k', 'v2', NOW + 30 * DAY, 'v1'))).toBeUndefined();
    expect(log.take(rotated('k', 'v3', NOW + 30 * DAY, 'v1'))).toBe('KeyChanged');
    expect(allDue(log)).toEqual([{ name: 'k', kind: 'rotate', time: NOW + 60 * DAY, version: 'v2' }]);
  });

  it('makes no version that ends after the year 9999, which no client could read', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(policy('k', [], 'P9999Y'));
    expect(log.take(rotated('k', 'v2', NOW))).toBeUndefined();
    expect(versionOf(log, 'k/v2').attributes.expires).toBe(Date.UTC(9999, 11, 31, 23, 59, 59) / 1_000);
  });

  it('makes a version that ends as the policy says and takes after the one before', () => {
    const log = foundedLog();
    log.take(created('k', 'v1', { operations: ['sign'], tags: { a: 'b' }, notBefore: 1 }));
    log.take(policy('k', [], 'P1M'));
    const time = Date.UTC(2027, 0, 31) / 1000;
    log.take(rotated('k', 'v2', time));
    expect(versionOf(log, 'k/v2')).toMatchObject({ operations: ['sign'], tags: { a: 'b' } });
    expect(versionOf(log, 'k/v2').attributes).toEqual({
      enabled: true,
      expires: Date.UTC(2027, 1, 28) / 1000,
      created: time,
      updated: time,
    });
  });

  it('leaves a disabled version alone, and a key with all the versions it may have', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(policy('k', [AFTER_30]));
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', enabled: false });
    expect(allDue(log)).toEqual([]);
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', enabled: true });
    expect(allDue(log)).toHaveLength(1);
    for (let i = 2; i <= MAX_VERSIONS; i += 1) log.take(created('k', `v${i}`));
    expect(allDue(log)).toEqual([]);
    expect(log.take(rotated('k', 'more', NOW + 99 * DAY))).toBe('TooManyVersions');
  });

  it('needs a policy, and the specification of the newest version', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    expect(log.take(rotated('k', 'v2', NOW))).toBe('BadParameter');
    log.take(policy('k', [], 'P90D'));
    const other = rotated('k', 'v2', NOW) as Extract<KeyMutation, { kind: 'KeyRotated' }>;
    const sealed = { ...other.sealed, spec: { kty: 'EC-HSM', curve: 'P-384' } as const };
    expect(log.take({ ...other, sealed })).toBe('KeyChanged');
    expect(log.take(rotated('none', 'v2', NOW))).toBe('KeyNotFound');
  });

  it('is kept through deletion and recovery, and goes with a blank policy', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(policy('k', [AFTER_30], 'P90D'));
    const before = log.state.get('keys', 'k');
    log.take(plain('KeyDeleted', 'k'));
    expect(allDue(log)).toEqual([{ name: 'k', kind: 'purge', time: NOW + 90 * DAY }]);
    log.take(plain('KeyRecovered', 'k'));
    expect(log.state.get('keys', 'k')).toEqual(before);
    log.take(policy('k', []));
    expect(log.state.get('keys', 'k')).toEqual({ name: 'k', versions: ['v1'] });
    expect(allDue(log)).toEqual([]);
  });
});

describe('purging at the end of retention', () => {
  it('happens then and not before, under purge protection too', () => {
    const log = foundedLog({ purgeProtection: true, retentionDays: 7 });
    log.take(created('k', 'v1'));
    log.take(plain('KeyDeleted', 'k'));
    const end = NOW + 7 * DAY;
    const purge = (time: number): KeyMutation => ({
      kind: 'KeyPurged',
      id: nextId(),
      time,
      name: 'k',
      due: true,
    });
    expect(log.take(purge(end - 1))).toBe('KeyChanged');
    expect(log.take(plain('KeyPurged', 'k', end - 1))).toBe('PurgeProtected');
    expect(log.take(purge(end))).toBeUndefined();
    expect(allDue(log)).toEqual([]);
    expect(log.state.count('versions')).toBe(0);
  });
});

it('whatever happens to keys, what is due follows from what they are', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('create'), name }),
    fc.record({ kind: fc.constant('rotate'), name }),
    fc.record({ kind: fc.constant('delete'), name }),
    fc.record({ kind: fc.constant('recover'), name }),
    fc.record({ kind: fc.constant('purge'), name }),
    fc.record({ kind: fc.constant('policy'), name, actions: fc.subarray([AFTER_30, BEFORE_30]) }),
    fc.record({
      kind: fc.constant('update'),
      name,
      enabled: fc.boolean(),
      days: fc.integer({ min: 1, max: 99 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const log = foundedLog();
      steps.forEach((wish, place) => {
        const time = NOW + place;
        if (wish.kind === 'create') log.take(created(wish.name, `v${place}`, { time }));
        else if (wish.kind === 'rotate') log.take(rotated(wish.name, `v${place}`, time));
        else if (wish.kind === 'delete') log.take(plain('KeyDeleted', wish.name, time));
        else if (wish.kind === 'recover') log.take(plain('KeyRecovered', wish.name, time));
        else if (wish.kind === 'purge') log.take(plain('KeyPurged', wish.name, time));
        else if ('actions' in wish) log.take(policy(wish.name, wish.actions, 'P90D', time));
        else if ('days' in wish) {
          const { name: key, enabled, days } = wish;
          const expires = time + days * DAY;
          log.take({ kind: 'KeyUpdated', id: nextId(), time, name: key, enabled, expires });
        }
        const expected = [
          ...log.state.range('keys', '', 100).flatMap(([, key]) => {
            const newest = versionOf(log, versionId(key.name, key.versions.at(-1) ?? ''));
            const moment = rotationDue(key, newest);
            return moment === undefined ? [] : [`${key.name} rotate ${moment}`];
          }),
          ...log.state.range('deleted', '', 100).map(([, key]) => `${key.name} purge ${key.scheduledPurge}`),
        ];
        const found = allDue(log).map((due) => `${due.name} ${due.kind} ${due.time}`);
        expect(found.sort()).toEqual(expected.sort());
      });
    }),
  );
});
