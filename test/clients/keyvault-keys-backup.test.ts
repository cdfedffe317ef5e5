// Backup and restore of single keys with @azure/keyvault-keys, unchanged.
import { TestPool } from '../scenarios/pool.js';
import { isSignature, publicKeyOf } from '../scenarios/witness.js';
import { told as tell } from './programs/told.js';
import type { Refused, Shown } from './programs/told.js';

interface Kept {
  readonly first: Shown;
  readonly second: Shown;
  readonly backup: string;
  readonly taken: Refused;
  readonly held: Refused;
  readonly restored: Shown;
  readonly older: Shown;
  readonly versions: readonly string[];
}

interface Told {
  readonly asymmetric: {
    readonly message: string;
    readonly rsa: Kept & { readonly signature: string };
    readonly ec: Kept & { readonly signature: string };
  };
  readonly symmetric: Kept & { readonly plaintext: string; readonly opened: string };
  readonly garbage: readonly Refused[];
  readonly missing: Refused;
}

describe('backup and restore', () => {
  let pool: TestPool;
  let told: Told;

  beforeAll(async () => {
    pool = await TestPool.start();
    told = await tell<Told>(pool, 'backup.mjs', ['asymmetric', 'symmetric', 'garbage', 'missing']);
  });
  afterAll(() => pool.remove());

  it('a purged key comes back with its versions, their ids and what was said of them', () => {
    for (const key of [told.asymmetric.rsa, told.asymmetric.ec, told.symmetric]) {
      const { first, second, restored, older, versions } = key;
      expect(versions).toEqual([first.version, second.version]);
      expect(restored).toEqual(second);
      expect(older).toEqual(first);
    }
  });

  it('what came back is the key that was: it signs and opens what was sealed', () => {
    const { message, rsa, ec } = told.asymmetric;
    for (const [algorithm, { first, signature }] of [
      ['PS256', rsa],
      ['ES256', ec],
    ] as const) {
      const key = publicKeyOf(first.jwk);
      const signed = Buffer.from(signature, 'base64');
      expect(isSignature(algorithm, key, Buffer.from(message, 'base64'), signed)).toBe(true);
    }
    expect(told.symmetric.opened).toBe(told.symmetric.plaintext);
  });

  it('a name that is held by a key, or by a deleted one, is not overwritten', () => {
    for (const { taken, held } of [told.asymmetric.rsa, told.asymmetric.ec, told.symmetric]) {
      expect([taken, held]).toMatchObject([
        { status: 409, code: 'Conflict' },
        { status: 409, code: 'Conflict' },
      ]);
    }
  });

  it('the value is a compact JWE under the key that protects backups', () => {
    for (const { backup } of [told.asymmetric.rsa, told.asymmetric.ec, told.symmetric]) {
      const parts = Buffer.from(backup, 'base64').toString('latin1').split('.');
      expect(parts).toHaveLength(5);
      expect(JSON.parse(Buffer.from(parts[0] ?? '', 'base64url').toString())).toEqual({
        alg: 'dir',
        enc: 'A256CBC-HS512',
        kid: 'backup-protection-key',
      });
      expect(parts[1]).toBe('');
    }
  });

  it('what is no backup, or no longer one, is refused; a key that is not there has none', () => {
    expect(told.garbage).toMatchObject([
      { status: 400, code: 'MalformedBackupBlob' },
      { status: 400, code: 'MalformedBackupBlob' },
    ]);
    expect(told.missing).toMatchObject({ status: 404, code: 'KeyNotFound' });
  });
});
