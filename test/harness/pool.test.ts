// A pool from the harness, as its user sees it: clients, roles, clock, harm and every kind of fault, on a real pool.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ClientSecretCredential } from '@azure/identity';
import { CryptographyClient, KeyClient } from '@azure/keyvault-keys';
import type { ReadyDocument } from '../../src/cli/document.js';
import {
  Faults,
  HarnessError,
  startPool,
  type Answer,
  type Pool,
  type PoolOptions,
  type PoolStatus,
} from '../../src/harness/harness.js';
import { templates } from './templates.js';
import type * as packed from 'trivet/harness';

let pool: Pool;

beforeAll(async () => {
  pool = await startPool({ template: templates() });
  const made = await pool.request('POST', '/keys/first/create', { kty: 'EC-HSM', crv: 'P-256' });
  expect(made.status).toBe(200);
}, 180_000);

afterAll(() => pool.close());

// Whatever a test has done to it is over for the next.
afterEach(async () => {
  await pool.faults.clear();
  await pool.inSync();
}, 90_000);

const errorOf = ({ body }: Answer): { code: string; message: string } =>
  (body as { error: { code: string; message: string } }).error;

const DIGEST = { alg: 'ES256', value: Buffer.alloc(32, 1).toString('base64url') };
const sign = (): Promise<Answer> => pool.request('POST', '/keys/first/sign', DIGEST);
const create = (name: string): Promise<Answer> =>
  pool.request('POST', `/keys/${name}/create`, { kty: 'EC-HSM', crv: 'P-256' });
const latencyOf = ({ headers }: Answer): number => Number(headers['x-ms-server-latency']);

/** Asks again and again until it is so. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 25));
}

describe('clients', () => {
  test('the Azure SDKs work with what the pool gives them, and nothing in the environment', async () => {
    expect(process.env['NODE_EXTRA_CA_CERTS'] ?? '').not.toContain(pool.directory);
    const { credential, clientOptions } = pool.admin;
    const keys = new KeyClient(pool.url, credential, clientOptions);
    const key = await keys.createRsaKey('sdk', { keySize: 2048 });
    const { result } = await new CryptographyClient(key, credential, clientOptions).sign(
      'RS256',
      Buffer.alloc(32),
    );
    const { tenantId, clientId, clientSecret, credentialOptions } = pool.admin;
    const other = new ClientSecretCredential(tenantId, clientId, clientSecret, credentialOptions);
    const crypto = new CryptographyClient(key, other, clientOptions);
    expect((await crypto.verify('RS256', Buffer.alloc(32), result)).result).toBe(true);
  });

  test('a principal has its roles and no others', async () => {
    const signer = await pool.principal({
      name: 'signer',
      roles: [{ role: 'Managed HSM Crypto User', scope: '/keys/first' }],
    });
    const asked = { as: signer };
    expect((await pool.request('POST', '/keys/first/sign', DIGEST, asked)).status).toBe(200);
    expect((await pool.request('GET', '/keys', undefined, asked)).status).toBe(403);
    await expect(pool.principal({ name: 'nobody', roles: [{ role: 'King' }] })).rejects.toThrow(
      /there is no role "King"; there are: .*Managed HSM Crypto User/,
    );
  });

  test('everything lies in one directory that only its user may enter', () => {
    expect(statSync(join(pool.directory, '..')).mode & 0o777).toBe(0o700);
    expect(existsSync(pool.ca.file)).toBe(true);
    expect(readFileSync(pool.ca.file, 'utf8')).toBe(pool.ca.pem);
  });

  test('what it says of a pool is what the command line says', async () => {
    const shown: PoolStatus = (await pool.status()) satisfies ReadyDocument['pools'][number] | PoolStatus;
    expect(shown).toMatchObject({ name: 'dev', uri: pool.url, activation: 'Active' });
  });
});

test('the clock is moved, and clients go on with new tokens', async () => {
  const { credential, clientOptions } = pool.admin;
  const keys = new KeyClient(pool.url, credential, clientOptions);
  const before = await keys.createOctKey('ends', {
    keySize: 256,
    expiresOn: new Date(Date.now() + 3_600_000),
  });
  expect(before.properties.enabled).toBe(true);
  const crypto = new CryptographyClient(before, credential, clientOptions);
  const plaintext = Buffer.from('text');
  await crypto.encrypt({ algorithm: 'A256GCM', plaintext });
  const { offset } = await pool.clock.advance('P1D');
  expect(offset).toBe(86_400);
  await expect(crypto.encrypt({ algorithm: 'A256GCM', plaintext })).rejects.toMatchObject({
    statusCode: 403,
  });
  expect((await keys.getKey('ends')).name).toBe('ends');
  await expect(pool.clock.advance('soon')).rejects.toThrow(HarnessError);
});

test('the audit log of all three shows what was answered before', async () => {
  const name = 'audited';
  await create(name);
  await pool.request('GET', `/keys/${name}`);
  const records = (await pool.audit()).filter(({ requestUri }) =>
    String(requestUri).includes(`/keys/${name}`),
  );
  expect(records.map(({ operationName, httpStatusCode }) => [operationName, httpStatusCode])).toEqual([
    ['KeyCreate', 200],
    ['KeyGet', 200],
  ]);
  expect((await pool.audit()).some((record) => JSON.stringify(record).includes('trivet-harness'))).toBe(
    false,
  );
});

describe('partitions', () => {
  test('one that is killed is there again', async () => {
    const { restarts } = await pool.partition(0).status();
    await pool.partition(0).kill();
    await pool.inSync();
    expect(await pool.partition(0).status()).toMatchObject({ restarts: restarts + 1, inSync: true });
  });

  test('one that is unplugged stays away, the pool goes on with two, and it comes back with what it missed', async () => {
    await pool.partition(1).unplug();
    expect(await pool.partition(1).status()).toMatchObject({ role: 'down', unplugged: true, pid: null });
    expect((await create('missed')).status).toBe(200);
    await expect(pool.partition(1).kill()).rejects.toThrow(/Partition 1 is down: was unplugged/);
    await pool.partition(1).replug();
    await pool.inSync();
    const { uri } = await pool.partition(1).status();
    expect(uri).not.toBeNull();
    expect((await pool.request('GET', `${String(uri)}/keys/missed`)).status).toBe(200);
  });

  test('one that is paused is resumed; there are three of them', async () => {
    await pool.partition(2).pause();
    expect(await pool.partition(2).status()).toMatchObject({ paused: true });
    await pool.partition(2).resume();
    expect(() => pool.partition(3)).toThrow('there is no partition 3; they are 0, 1 and 2');
  });

  test('one that is wiped joins anew', async () => {
    const { pid } = await pool.partition(2).status();
    await pool.partition(2).wipe();
    await pool.inSync();
    expect((await pool.partition(2).status()).pid).not.toBe(pid);
  });
});

describe('faults', () => {
  test('latency: the named operation takes as long as it is to, and others do not wait', async () => {
    await pool.faults.set({ operations: ['KeySign'], latency: { kind: 'uniform', minMs: 300, maxMs: 320 } });
    const slow = sign();
    const quick = await pool.request('GET', '/keys/first');
    expect(quick.status).toBe(200);
    expect((await slow).status).toBe(200);
    expect(latencyOf(await slow)).toBeGreaterThanOrEqual(299);
  });

  test('errors: the status, code and Retry-After that were chosen, recorded as such', async () => {
    const error = { rate: 1, status: 503, code: 'Busy', message: 'Come back', retryAfterSeconds: 3 };
    await pool.faults.set([{ operations: ['KeyGetDeleted'], error }]);
    const answer = await pool.request('GET', '/deletedkeys/first');
    expect([answer.status, errorOf(answer).code, answer.headers['retry-after']]).toEqual([503, 'Busy', '3']);
    expect(errorOf(answer).message).toMatch(/^Come back \(Activity ID: /);
    expect((await sign()).status).toBe(200);
    const [record] = (await pool.audit()).filter(({ operationName }) => operationName === 'KeyGetDeleted');
    expect(record).toMatchObject({ httpStatusCode: 503, resultDescription: 'fault on request: Busy' });
  });

  test('errors come after the token is believed and before any role is asked for', async () => {
    await pool.faults.set({ error: { rate: 1, status: 500 } });
    const nobody = await pool.principal({ name: 'stranger' });
    expect((await pool.request('GET', '/keys/first', undefined, { as: nobody })).status).toBe(500);
    const headers = { Authorization: 'Bearer a.b.c' };
    expect((await pool.request('GET', '/keys/first', undefined, { headers })).status).toBe(401);
  });

  test('slot: a return code goes the way that the real one goes, and a sound partition stays', async () => {
    const before = await pool.status();
    await pool.faults.set([
      { operations: ['KeySign'], error: { rate: 1, pkcs11: 'CKR_DEVICE_ERROR' } },
      { operations: ['KeyDecrypt'], error: { rate: 1, pkcs11: 'CKR_ENCRYPTED_DATA_INVALID' } },
    ]);
    const failed = await sign();
    expect([failed.status, errorOf(failed).code]).toEqual([500, 'InternalError']);
    await pool.request('POST', '/keys/aes/create', { kty: 'oct-HSM', key_size: 256 });
    const plain = { alg: 'A256GCM', value: Buffer.from('text').toString('base64url') };
    const { value, iv, tag } = (await pool.request('POST', '/keys/aes/encrypt', plain)).body as Record<
      string,
      string
    >;
    const refused = await pool.request('POST', '/keys/aes/decrypt', { alg: 'A256GCM', value, iv, tag });
    expect([refused.status, errorOf(refused).code]).toEqual([400, 'BadParameter']);
    const pids = ({ instances }: PoolStatus): (number | null)[] => instances.map(({ pid }) => pid);
    expect(pids(await pool.status())).toEqual(pids(before));
  });

  test('slot: a partition that fails whatever it is asked is taken for broken, and comes back when it is well', async () => {
    const { pid } = await pool.partition(2).status();
    await pool.faults.set({ partitions: [2], error: { rate: 1, pkcs11: 'CKR_DEVICE_REMOVED' } });
    await until(async () => (await pool.partition(2).status()).pid !== pid);
    expect((await create('meanwhile')).status).toBe(200);
    await pool.faults.clear();
    await pool.inSync();
  });

  test('throttle: who asks more often than allowed is told when to come back', async () => {
    // One at once for each partition, and no other for a quarter of an hour.
    await pool.faults.set({
      operations: ['RandomBytesGet'],
      throttle: { perSecond: 0.001, retryAfterSeconds: 7 },
    });
    const answers: Answer[] = [];
    for (let asked = 0; asked < 8; asked += 1) answers.push(await pool.request('POST', '/rng', { count: 4 }));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(3);
    const [refused] = answers.filter(({ status }) => status === 429);
    expect(refused && [errorOf(refused).code, refused.headers['retry-after']]).toEqual(['Throttled', '7']);
  });

  test('link: two that cannot speak are not both counted on, and changes go on', async () => {
    await pool.faults.set({ link: { between: [1, 2], cut: true } });
    await until(async () => (await pool.status()).instances.some(({ inSync }) => !inSync));
    expect((await create('apart')).status).toBe(200);
  });

  test('link: what is delayed makes changes wait', async () => {
    const delayMs = 100;
    await pool.faults.set(
      [[0, 1] as const, [0, 2] as const, [1, 2] as const].map((between) => ({ link: { between, delayMs } })),
    );
    const made = await create('waited');
    expect(made.status).toBe(200);
    // There and back.
    expect(latencyOf(made)).toBeGreaterThanOrEqual(2 * delayMs - 5);
  });

  test('full disk: the partition leaves, and the pool goes on without it', async () => {
    const { pid } = await pool.partition(1).status();
    await pool.faults.set({ fullDisk: { partitions: [1] } });
    // By another: what is with the one that leaves is cut off.
    const other = String((await pool.partition(0).status()).uri);
    const body = { kty: 'EC-HSM', crv: 'P-256' };
    expect((await pool.request('POST', `${other}/keys/written/create`, body)).status).toBe(200);
    await until(async () => (await pool.partition(1).status()).pid !== pid);
    expect(pool.output).toContain('database or disk is full');
    await pool.faults.clear();
    await pool.inSync();
    const { uri } = await pool.partition(1).status();
    expect((await pool.request('GET', `${String(uri)}/keys/written`)).status).toBe(200);
  });

  test('performance: keys are made no quicker than one a second by each partition', async () => {
    await pool.faults.set({ performance: 'published' });
    const uri = String((await pool.partition(0).status()).uri);
    const body = { kty: 'EC-HSM', crv: 'P-256' };
    const made = await Promise.all(
      ['one', 'two'].map((name) => pool.request('POST', `${uri}/keys/${name}/create`, body)),
    );
    expect(made.map(({ status }) => status)).toEqual([200, 200]);
    expect(Math.max(...made.map(latencyOf))).toBeGreaterThanOrEqual(990);
  });

  test('what is written wrong is named; what was before stays', async () => {
    const { seed } = await pool.faults.set({ latency: { kind: 'constant', ms: 0 } }, 12);
    expect(seed).toBe(12);
    await expect(pool.faults.set({ error: { rate: 2, status: 500 } })).rejects.toThrow(
      /rules\.0\.error\.rate/,
    );
    expect(await pool.faults.show()).toEqual({ rules: [{ latency: { kind: 'constant', ms: 0 } }], seed: 12 });
  });
});

describe('the command line', () => {
  const trivet = async (...args: string[]): Promise<{ out: string; err: string }> => {
    const main = join(__dirname, '../../dist/cli/main.js');
    const all = [main, ...args, '--data-dir', pool.directory];
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, all);
      return { out: stdout, err: stderr };
    } catch (error) {
      return { out: '', err: (error as { stderr: string }).stderr };
    }
  };

  test('faults are set from a file, shown and cleared', async () => {
    const file = join(pool.directory, 'faults.json');
    writeFileSync(file, JSON.stringify({ rules: [{ performance: 'published' }], seed: 8 }));
    expect((await trivet('faults', 'set', file)).out).toBe(
      'pool dev, by seed 8\n  {"performance":"published"}\n',
    );
    expect((await trivet('faults', 'show', '--json')).out).toBe(
      '{"rules":[{"performance":"published"}],"seed":8}\n',
    );
    writeFileSync(file, '{ rules: ');
    expect((await trivet('faults', 'set', file)).err).toMatch(/^trivet: .*faults\.json is no JSON: /);
    expect((await trivet('faults', 'set', join(pool.directory, 'none'))).err).toMatch(
      /none cannot be read: ENOENT/,
    );
    expect((await trivet('faults', 'clear')).out).toBe('pool dev suffers nothing\n');
  });

  test('a partition is unplugged, shown as such, and plugged in again', async () => {
    expect((await trivet('partition', 'unplug', '2')).out).toMatch(
      /^partition 2 of dev unplugged \(process \d+\)\n$/,
    );
    expect((await trivet('status')).out).toMatch(/^ {2}partition 2 {2}unplugged$/m);
    expect((await trivet('partition', 'replug', '2')).out).toMatch(/^partition 2 of dev plugged in again/);
  });
});

test('a performance profile is kept whatever else is set, and cleared', async () => {
  const calls: unknown[] = [];
  const faults = new Faults([{ performance: 'published' }], (method, wish) => {
    calls.push([method, wish]);
    return Promise.resolve({ rules: [], seed: 0 });
  });
  const latency = { kind: 'constant', ms: 1 } as const;
  await faults.set({ latency }, 3);
  await faults.clear();
  expect(calls).toEqual([
    ['PUT', { rules: [{ performance: 'published' }, { latency }], seed: 3 }],
    ['PUT', { rules: [{ performance: 'published' }] }],
  ]);
});

test('the package has what is tested here', () => {
  const options: packed.PoolOptions = { faults: true } satisfies PoolOptions;
  const names: readonly (keyof typeof packed)[] = ['startPool', 'HarnessError', 'Pool'];
  expect([options, ...names]).toHaveLength(4);
});
