// azure-identity, azure-keyvault-keys and azure-keyvault-administration of Debian's python3-azure, unmodified.
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import type { JsonWebKey } from 'node:crypto';
import { CryptoJobs } from '../clients/crypto-jobs.js';
import type { Done, Job } from '../clients/crypto-jobs.js';
import { USING, principalWith } from '../clients/people.js';
import { TestPool } from '../scenarios/pool.js';
import type { Credentials } from '../scenarios/pool.js';
import { digestOf, isSignature, publicKeyOf } from '../scenarios/witness.js';
import { runPython } from './installed.js';

const FROM = Date.parse('2026-01-02T03:04:05Z') / 1_000;
const UNTIL = Date.parse('2199-12-31T23:59:59Z') / 1_000;
const DAY = 86_400;
const MESSAGE = Buffer.from('a message');

interface Shown {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly operations: readonly string[];
  readonly version: string;
  readonly created: number;
  readonly expiresOn: number | null;
  readonly jwk: Readonly<Record<string, string>>;
}

interface Failed {
  readonly status?: number;
  readonly code?: string;
  readonly message: string;
  readonly kind?: string;
}

let pool: TestPool;
let user: Credentials;
let jobs: CryptoJobs;

beforeAll(async () => {
  pool = await TestPool.start();
  const client = await pool.client();
  user = await principalWith(pool, client, 'user', USING);
  jobs = await CryptoJobs.import(client, pool.uri.origin, 'known');
});
afterAll(() => pool.remove());

async function keys<T>(chapter: string, more: object = {}): Promise<T> {
  return (await runPython<Record<string, T>>(pool, 'keys.py', { chapters: [chapter], ...more }))[
    chapter
  ] as T;
}

describe('CryptographyClient', () => {
  interface Told {
    readonly jobs: readonly Done[];
    readonly readable: Failed | null;
    readonly offers: {
      readonly keyClient: readonly string[];
      readonly cryptographyClient: readonly string[];
      readonly algorithms: readonly string[];
    };
  }
  const tell = (chapter: keyof Told, more: object = {}): Promise<Told> =>
    runPython<Told>(pool, 'crypto.py', { chapters: [chapter], ...more });

  /** The package has none of these. */
  const newer = ['RSNULL', 'HS256', 'HS384', 'HS512', 'CKM_AES_KEY_WRAP', 'CKM_AES_KEY_WRAP_PAD'];

  /** For CBC it wants an IV of its user, whatever its documentation says. */
  const canMake = ({ algorithm, iv }: Job): boolean =>
    !newer.includes(algorithm) && !(algorithm.includes('CBC') && iv === undefined);

  it('without the right to read keys, every operation and algorithm is carried out by the pool', async () => {
    const work = async (list: readonly Job[]): Promise<readonly Done[]> =>
      (await tell('jobs', { principal: user, jobs: list })).jobs;
    expect((await jobs.through(work, canMake)).length).toBeGreaterThan(30);
    expect((await tell('readable', { principal: user, name: 'known-rsa' })).readable).toMatchObject({
      status: 403,
    });
  });

  it('with the right to read keys, what the SDK does by itself and what the pool does fit together', async () => {
    // For these the package invents a key when the pool, as it must, does not show it; nobody can undo what it makes.
    const invented = [128, 192, 256].flatMap((bits) => [`A${bits}CBCPAD`, `A${bits}KW`]);
    const work = async (list: readonly Job[]): Promise<readonly Done[]> =>
      (await tell('jobs', { jobs: list })).jobs;
    expect(
      (await jobs.through(work, (job) => canMake(job) && !invented.includes(job.algorithm))).length,
    ).toBeGreaterThan(20);
  });

  it('no algorithm that the SDK offers is left out, but the one that Managed HSM has dropped', async () => {
    const { algorithms } = (await tell('offers')).offers;
    const driven = jobs.algorithms.filter((algorithm) => !newer.includes(algorithm));
    expect([...driven, 'EdDSA'].sort()).toEqual([...new Set(algorithms)].sort());
  });
});

describe('KeyClient', () => {
  it('create_key: every type, as an HSM key', async () => {
    const types = await keys<Record<string, Shown>>('types');
    expect(Object.fromEntries(Object.entries(types).map(([asked, { type }]) => [asked, type]))).toEqual({
      EC: 'EC-HSM',
      'EC-HSM': 'EC-HSM',
      RSA: 'RSA-HSM',
      'RSA-HSM': 'RSA-HSM',
      oct: 'oct-HSM',
      'oct-HSM': 'oct-HSM',
    });
  });

  it('create_*_key: what was said comes back; the type that Managed HSM has dropped is refused', async () => {
    type Created = Record<'rsa' | 'exponent' | 'ec' | 'oct', Shown> & { readonly okp: Failed };
    const { rsa, exponent, ec, oct, okp } = await keys<Created>('created');
    expect(rsa).toMatchObject({
      type: 'RSA-HSM',
      operations: ['sign', 'verify'],
      enabled: true,
      exportable: false,
      notBefore: FROM,
      expiresOn: UNTIL,
      tags: { owner: 'somebody' },
      recoverableDays: 90,
      recoveryLevel: 'Recoverable+Purgeable',
      vaultUrl: pool.uri.origin,
    });
    expect(publicKeyOf(rsa.jwk).asymmetricKeyDetails?.modulusLength).toBe(3_072);
    expect(publicKeyOf(exponent.jwk).asymmetricKeyDetails?.publicExponent).toBe(3n);
    expect([ec.type, ec.jwk['crv'], oct.type]).toEqual(['EC-HSM', 'P-521', 'oct-HSM']);
    expect(okp.status).toBe(400);
  });

  it('import_key: every type, with everything that can be said of it', async () => {
    const pair = (type: 'rsa' | 'ec'): JsonWebKey =>
      (type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2_048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-384' })
      ).privateKey.export({ format: 'jwk' });
    const jwks: Record<string, JsonWebKey> = {
      'imported-rsa': pair('rsa'),
      'imported-ec': pair('ec'),
      'imported-oct': { kty: 'oct', k: randomBytes(24).toString('base64url') },
    };
    const shown = await keys<Record<string, Shown>>('imported', { jwks });
    for (const [name, { kty, n, e, x, y, crv }] of Object.entries(jwks)) {
      expect(shown[name]).toMatchObject({
        type: `${kty ?? ''}-HSM`,
        enabled: true,
        tags: { from: 'elsewhere' },
        notBefore: FROM,
        expiresOn: UNTIL,
        jwk: JSON.parse(JSON.stringify({ n, e, x, y, crv })) as object,
      });
    }
  });

  it('a life from creation to purge', async () => {
    interface Deletion {
      readonly name: string;
      readonly recoveryId: string;
      readonly deleted: number;
      readonly purge: number;
    }
    interface Life extends Record<
      'first' | 'second' | 'newest' | 'older' | 'updated' | 'named' | 'recovered',
      Shown
    > {
      readonly listed: readonly string[];
      readonly pages: readonly (readonly string[])[];
      readonly versions: readonly { readonly version: string }[];
      readonly deleted: Deletion;
      readonly seen: Deletion;
      readonly found: Deletion;
      readonly refused: Failed;
      readonly gone: Failed;
      readonly taken: Failed;
      readonly purged: Failed;
      readonly identifier: object;
    }
    const life = await keys<Life>('life');
    const { first, second, deleted } = life;
    expect(life.newest).toEqual(second);
    expect(life.older).toEqual(first);
    expect(life.identifier).toEqual({ name: 'life', version: first.version });
    expect(life.versions.map(({ version }) => version)).toEqual([first.version, second.version]);
    expect(life.listed).toContain('life');
    expect(life.pages.flat()).toEqual(life.listed);
    expect(life.updated).toEqual({ ...second, enabled: false, tags: { stage: 'off' }, expiresOn: UNTIL });
    expect(life.refused).toMatchObject({ status: 403, code: 'Forbidden' });
    expect(life.named).toEqual({ ...first, operations: ['verify'], notBefore: FROM });
    expect(deleted).toMatchObject({ name: 'life', recoveryId: `${pool.uri.origin}/deletedkeys/life` });
    expect(deleted.purge - deleted.deleted).toBe(90 * DAY);
    expect([life.seen, life.found]).toEqual([deleted, deleted]);
    expect(life.gone).toMatchObject({ status: 404, code: 'KeyNotFound', kind: 'ResourceNotFoundError' });
    expect(life.taken).toMatchObject({ status: 409, code: 'Conflict', kind: 'ResourceExistsError' });
    expect(life.recovered).toEqual(life.updated);
    expect(life.purged).toMatchObject({ status: 404, code: 'KeyNotFound', kind: 'ResourceNotFoundError' });
  });

  it('get_random_bytes: as many as were asked for', async () => {
    const draws = await keys<string[]>('random');
    expect(draws.map((draw) => Buffer.from(draw, 'base64').length)).toEqual([1, 16, 128]);
  });

  it('get_cryptography_client: uses the newest version, or the one that is named', async () => {
    const digest = digestOf('ES256', MESSAGE).toString('base64');
    const told = await keys<{ keys: Shown[]; signatures: string[] }>('signed', { digest });
    const valid = told.signatures.map((signature) =>
      told.keys.map(({ jwk }) =>
        isSignature('ES256', publicKeyOf(jwk), MESSAGE, Buffer.from(signature, 'base64')),
      ),
    );
    expect(valid).toEqual([
      [false, true],
      [true, false],
    ]);
  });

  it('a token that the pool does not believe ends in an error, not in waiting', async () => {
    // The package repeats the request without its body and with its length; the pool must not wait for what never comes.
    expect(await keys<Failed>('disbelieved')).toMatchObject({
      status: 401,
      kind: 'ClientAuthenticationError',
    });
  });

  it('every API version that the package knows is taken, but the one before Managed HSM', async () => {
    const answers = await keys<Record<string, Failed | null>>('versions');
    expect(Object.keys(answers)).toHaveLength(6);
    for (const [version, failed] of Object.entries(answers)) {
      if (version === '2016-10-01') expect(failed).toMatchObject({ status: 400, code: 'BadParameter' });
      else expect([version, failed]).toEqual([version, null]);
    }
  });
});

describe('backup', () => {
  it('backup_key and restore_key_backup: a purged key comes back with all its versions', async () => {
    type Told = Record<'first' | 'second' | 'restored' | 'older', Shown> & { blob: string } & Record<
        'taken' | 'held' | 'garbage',
        Failed
      >;
    const told = await keys<Told>('backup');
    expect(told.restored).toMatchObject({ id: told.second.id, jwk: told.second.jwk });
    expect(told.older).toMatchObject({ id: told.first.id, jwk: told.first.jwk, tags: { kept: 'yes' } });
    expect(told.taken).toMatchObject({ status: 409, kind: 'ResourceExistsError' });
    expect(told.held).toMatchObject({ status: 409, kind: 'ResourceExistsError' });
    expect(told.garbage).toMatchObject({ status: 400, code: 'MalformedBackupBlob' });
  });
});

describe('rotation', () => {
  it('update_key_rotation_policy, get_key_rotation_policy and rotate_key', async () => {
    interface Policy {
      readonly expiresIn: string;
      readonly created: number;
    }
    interface Told {
      readonly first: Shown;
      readonly made: Policy;
      readonly read: Policy;
      readonly rotated: Shown;
      readonly versions: number;
    }
    const { first, made, read, rotated, versions } = await keys<Told>('rotation');
    expect(made).toMatchObject({ expiresIn: 'P90D', actions: [['Rotate', 'P30D', null]] });
    expect(read).toEqual(made);
    expect(versions).toBe(2);
    expect(rotated.version).not.toBe(first.version);
    expect(rotated).toMatchObject({ type: first.type, operations: first.operations });
    expect((rotated.expiresOn ?? 0) - rotated.created).toBe(90 * DAY);
  });
});

describe('KeyVaultAccessControlClient', () => {
  it('role definitions and assignments, from making to deletion', async () => {
    interface Definition {
      readonly id: string;
      readonly name: string;
    }
    interface Told {
      readonly everything: Readonly<{
        made: Definition;
        again: Definition;
        read: Definition;
        listed: readonly string[];
        assigned: { readonly name: string };
        onKey: object;
        seen: object;
        allOfKeys: readonly string[];
        gone: readonly Failed[];
      }>;
    }
    const principalId = randomUUID();
    const { everything: told } = await runPython<Told>(pool, 'roles.py', {
      chapters: ['everything'],
      principalId,
    });
    const dataActions = ['Microsoft.KeyVault/managedHsm/keys/read/action'];
    const { id, name } = told.made;
    expect(told.made).toMatchObject({ roleName: 'Reader', type: 'CustomRole', dataActions });
    expect(told.again).toEqual({ ...told.made, roleName: 'Reader of keys' });
    expect(told.read).toEqual(told.again);
    expect(told.listed).toContain(name);
    expect(told.assigned).toMatchObject({ principalId, definitionId: id, scope: '/keys' });
    expect(told.onKey).toMatchObject({ principalId, definitionId: id, scope: '/keys/one' });
    expect(told.seen).toEqual(told.assigned);
    expect(told.allOfKeys).toContain(told.assigned.name);
    expect(told.gone).toMatchObject([
      { status: 404, code: 'RoleAssignmentNotFound' },
      { status: 404, code: 'RoleDefinitionNotFound' },
    ]);
  });
});

describe('KeyVaultSettingsClient', () => {
  it('settings are listed, read and changed', async () => {
    interface Told {
      readonly everything: Readonly<
        Record<'listed' | 'first' | 'updated' | 'read' | 'back' | 'wrong', unknown>
      >;
    }
    const { everything: told } = await runPython<Told>(pool, 'settings.py', { chapters: ['everything'] });
    const off = { name: 'AllowKeyManagementOperationsThroughARM', type: 'boolean', value: 'false' };
    const on = { ...off, value: 'true' };
    expect(told.listed).toEqual([off]);
    expect([told.first, told.updated, told.read, told.back]).toEqual([off, on, on, off]);
    expect(told.wrong).toMatchObject({ status: 400 });
  });
});
