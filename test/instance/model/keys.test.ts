// What may become true of keys.
import fc from 'fast-check';
import { MAX_KEYS, MAX_VERSIONS } from '../../../src/instance/model/keys/limits.js';
import { algorithmFor, mayUse, type CryptoOperation } from '../../../src/instance/model/keys/use.js';
import type { KeyOperation, KeyVersion } from '../../../src/instance/model/keys/records.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import type { KeySpec } from '../../../src/values/key-spec.js';
import { created, foundedLog, Log, NOW, nextId, plain, versionOf } from './fixtures.js';

const DAY = 86_400;

describe('versions', () => {
  it('come in order of creation, and their record holds what the mutation says', () => {
    const log = foundedLog();
    log.take(created('k', 'v1', { notBefore: 1, expires: 2, tags: { a: 'b' } }));
    log.take(created('k', 'v2', { enabled: false }));
    expect(log.state.get('keys', 'k')).toEqual({ name: 'k', versions: ['v1', 'v2'] });
    expect(versionOf(log, 'k/v1')).toMatchObject({
      attributes: { enabled: true, notBefore: 1, expires: 2, created: NOW, updated: NOW },
      tags: { a: 'b' },
    });
    expect(versionOf(log, 'k/v2').attributes).toEqual({ enabled: false, created: NOW, updated: NOW });
  });

  it('are limited for each key', () => {
    const log = foundedLog();
    for (let i = 0; i < MAX_VERSIONS; i += 1) expect(log.take(created('k', `v${i}`))).toBeUndefined();
    expect(log.take(created('k', 'more'))).toBe('TooManyVersions');
  });

  it('that are to be the first are refused where there is one, in whatever order they come', () => {
    const log = foundedLog();
    expect(log.take(created('k', 'v1', { onlyNew: true }))).toBeUndefined();
    expect(log.take(created('k', 'v2', { onlyNew: true }))).toBe('KeyExists');
    expect(log.take(created('k', 'v3'))).toBeUndefined();
    expect(log.state.get('keys', 'k')).toEqual({ name: 'k', versions: ['v1', 'v3'] });
    log.take(plain('KeyDeleted', 'k'));
    expect(log.take(created('k', 'v4', { onlyNew: true }))).toBe('NameHeldByDeletedKey');
  });

  it('keys are limited, deleted ones included', () => {
    const log = foundedLog();
    for (let i = 0; i < MAX_KEYS; i += 1) log.take(created(`k${i}`, 'v'));
    expect(log.take(created('more', 'v'))).toBe('TooManyKeys');
    expect(log.take(created('k0', 'v2'))).toBeUndefined();
    log.take(plain('KeyDeleted', 'k1'));
    expect(log.take(created('more', 'v'))).toBe('TooManyKeys');
    log.take(plain('KeyPurged', 'k1'));
    expect(log.take(created('more', 'v'))).toBeUndefined();
  });
});

describe('updates', () => {
  it('keep what they leave out, and move `updated` only with a change', () => {
    const log = foundedLog();
    log.take(created('k', 'v', { expires: NOW + 9, tags: { a: 'b' } }));
    const before = versionOf(log, 'k/v');
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW + 1, name: 'k', enabled: true });
    expect(versionOf(log, 'k/v')).toEqual(before);
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW + 2, name: 'k', enabled: false });
    expect(versionOf(log, 'k/v')).toEqual({
      ...before,
      attributes: { ...before.attributes, enabled: false, updated: NOW + 2 },
    });
  });

  it('make no key of an exchange key, and no exchange key of a key', () => {
    const log = foundedLog();
    log.take(created('kek', 'v', { operations: ['import'] }));
    log.take(created('k', 'v'));
    const operate = (name: string, operations: readonly KeyOperation[]) =>
      log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW + 1, name, operations });
    expect(operate('kek', ['decrypt'])).toBe('BadParameter');
    expect(operate('kek', [])).toBe('BadParameter');
    expect(operate('kek', ['import'])).toBeUndefined();
    expect(operate('k', ['import'])).toBe('BadParameter');
    expect(operate('k', ['sign'])).toBeUndefined();
  });

  it('touch the newest version unless one is named', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(created('k', 'v2'));
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', tags: { newest: 'yes' } });
    log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', version: 'v1', tags: { old: 'yes' } });
    expect(versionOf(log, 'k/v2').tags).toEqual({ newest: 'yes' });
    expect(versionOf(log, 'k/v1').tags).toEqual({ old: 'yes' });
    const unknown = { kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', version: 'v3' } as const;
    expect(log.take(unknown)).toBe('KeyNotFound');
  });

  it('never leave a window that does not open', () => {
    const log = foundedLog();
    log.take(created('k', 'v', { expires: 100 }));
    expect(log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', notBefore: 100 })).toBe(
      'BadParameter',
    );
    expect(
      log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: 'k', notBefore: 99 }),
    ).toBeUndefined();
  });
});

describe('soft deletion', () => {
  it('holds the name, keeps every version, and is undone by recovery', () => {
    const log = foundedLog({ retentionDays: 7 });
    log.take(created('k', 'v1'));
    log.take(created('k', 'v2'));
    const versions = [versionOf(log, 'k/v1'), versionOf(log, 'k/v2')];
    log.take(plain('KeyDeleted', 'k', NOW + 5));
    expect(log.state.get('keys', 'k')).toBeUndefined();
    expect(log.state.get('deleted', 'k')).toMatchObject({
      name: 'k',
      versions: ['v1', 'v2'],
      deleted: NOW + 5,
      scheduledPurge: NOW + 5 + 7 * DAY,
    });
    expect(log.take(created('k', 'v3'))).toBe('NameHeldByDeletedKey');
    log.take(plain('KeyRecovered', 'k'));
    expect([versionOf(log, 'k/v1'), versionOf(log, 'k/v2')]).toEqual(versions);
    expect(log.take(created('k', 'v3'))).toBeUndefined();
  });

  it('purge removes every version; purge protection holds until the retention ends', () => {
    for (const purgeProtection of [false, true]) {
      const log = foundedLog({ purgeProtection, retentionDays: 7 });
      log.take(created('k', 'v1'));
      log.take(created('k', 'v2'));
      log.take(plain('KeyDeleted', 'k'));
      const early = log.take(plain('KeyPurged', 'k', NOW + 7 * DAY - 1));
      expect(early).toBe(purgeProtection ? 'PurgeProtected' : undefined);
      if (purgeProtection) expect(log.take(plain('KeyPurged', 'k', NOW + 7 * DAY))).toBeUndefined();
      expect(log.state.count('versions')).toBe(0);
      expect(log.state.count('deleted')).toBe(0);
    }
  });

  it('deletion and recovery repeat the newest version, so that their changes alone answer the caller', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    log.take(created('k', 'v2'));
    const newest = versionOf(log, 'k/v2');
    for (const kind of ['KeyDeleted', 'KeyRecovered'] as const) {
      log.take(plain(kind, 'k'));
      expect(versionOf(log, 'k/v2')).toBe(newest);
    }
  });
});

describe('any course of events', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const kind = fc.constantFrom('create', 'KeyDeleted', 'KeyRecovered', 'KeyPurged', 'update' as const);

  function run(log: Log, steps: readonly (readonly [string, string])[]): void {
    steps.forEach(([step, key], place) => {
      if (step === 'create') log.take(created(key, `v${place}`));
      else if (step === 'update')
        log.take({ kind: 'KeyUpdated', id: nextId(), time: NOW, name: key, enabled: false });
      else log.take(plain(step as 'KeyDeleted', key));
    });
  }

  it('leaves a name live or deleted and never both, and every version with exactly one key', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(kind, name), { maxLength: 40 }), (steps) => {
        const log = foundedLog();
        run(log, steps);
        const { state } = log;
        const live = state.range('keys', '', 100);
        const deleted = state.range('deleted', '', 100);
        const names = [...live, ...deleted].map(([key]) => key);
        expect(new Set(names).size).toBe(names.length);
        const ids = [...live, ...deleted].flatMap(([key, { versions }]) =>
          versions.map((v) => `${key}/${v}`),
        );
        expect(state.range('versions', '', 1000).map(([id]) => id)).toEqual([...ids].sort());
        for (const table of ['keys', 'deleted', 'versions'] as const) {
          expect(state.count(table)).toBe(state.range(table, '', 1000).length);
        }
      }),
    );
  });

  it('judges alike wherever it is judged', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(kind, name), { maxLength: 30 }), (steps) => {
        const [one, other] = [foundedLog(), foundedLog()];
        run(one, steps);
        run(other, steps);
        for (const table of ['keys', 'deleted', 'versions'] as const) {
          expect(other.state.range(table, '', 1000)).toEqual(one.state.range(table, '', 1000));
        }
      }),
    );
  });
});

describe('use', () => {
  const all: CryptoOperation[] = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey'];
  const key = (attributes: object, operations: string[] = all) =>
    ({ attributes: { enabled: true, ...attributes }, operations }) as unknown as KeyVersion;
  const codeOf = (version: KeyVersion, operation: CryptoOperation, now: number) =>
    mayUse(version, operation, now)?.code;

  it('a disabled key does nothing', () => {
    for (const operation of all) expect(codeOf(key({ enabled: false }), operation, NOW)).toBe('KeyDisabled');
  });

  it('outside its window a key only undoes and verifies; the ends belong to the inside and the outside', () => {
    const windowed = key({ notBefore: 10, expires: 20 });
    for (const operation of all) {
      const bound = ['encrypt', 'sign', 'wrapKey'].includes(operation);
      expect(codeOf(windowed, operation, 9)).toBe(bound ? 'KeyNotYetValid' : undefined);
      expect(codeOf(windowed, operation, 10)).toBeUndefined();
      expect(codeOf(windowed, operation, 19)).toBeUndefined();
      expect(codeOf(windowed, operation, 20)).toBe(bound ? 'KeyExpired' : undefined);
    }
  });

  it('a key does only what its operations say', () => {
    for (const operation of all) {
      const others = all.filter((one) => one !== operation);
      expect(codeOf(key({}, others), operation, NOW)).toBe('OperationNotAllowed');
      expect(codeOf(key({}, [operation]), operation, NOW)).toBeUndefined();
    }
  });

  const specs: KeySpec[] = [
    { kty: 'RSA-HSM', size: 2048, exponent: 3 },
    { kty: 'EC-HSM', curve: 'P-256' },
    { kty: 'EC-HSM', curve: 'P-256K' },
    { kty: 'EC-HSM', curve: 'P-384' },
    { kty: 'EC-HSM', curve: 'P-521' },
    { kty: 'oct-HSM', size: 128 },
    { kty: 'oct-HSM', size: 192 },
    { kty: 'oct-HSM', size: 256 },
  ];
  const offered = (spec: KeySpec, use: 'sign' | 'encrypt' | 'wrap') =>
    ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES256K', 'ES384', 'ES512']
      .concat(['RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5'])
      .concat(['128', '192', '256'].flatMap((n) => [`A${n}GCM`, `A${n}CBC`, `A${n}CBCPAD`, `A${n}KW`]))
      .filter((name) => !(algorithmFor(spec, use, name) instanceof Refusal));

  it('each type, size and curve has its algorithms', () => {
    expect(
      specs.map((spec) =>
        [offered(spec, 'sign'), offered(spec, 'encrypt'), offered(spec, 'wrap')].map((names) =>
          names.join(' '),
        ),
      ),
    ).toEqual([
      ['RS256 RS384 RS512 PS256 PS384 PS512', 'RSA-OAEP RSA-OAEP-256 RSA1_5', 'RSA-OAEP RSA-OAEP-256 RSA1_5'],
      ['ES256', '', ''],
      ['ES256K', '', ''],
      ['ES384', '', ''],
      ['ES512', '', ''],
      ['', 'A128GCM A128CBC A128CBCPAD', 'A128KW'],
      ['', 'A192GCM A192CBC A192CBCPAD', 'A192KW'],
      ['', 'A256GCM A256CBC A256CBCPAD', 'A256KW'],
    ]);
  });

  it('any other name is refused', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...specs),
        fc.constantFrom('sign', 'encrypt', 'wrap' as const),
        fc.string(),
        (spec, use, name) => {
          fc.pre(!/^(RS|PS|ES|A\d|RSA)/.test(name));
          expect(algorithmFor(spec, use as 'sign', name)).toBeInstanceOf(Refusal);
        },
      ),
    );
    for (const name of ['__proto__', 'constructor', 'toString', 'none', '']) {
      expect(algorithmFor({ kty: 'EC-HSM', curve: 'P-256' }, 'sign', name)).toBeInstanceOf(Refusal);
    }
  });
});
