// Damaged requests against a live pool, for a caller without a token, one with few rights and the administrator: no
// 5xx, no silence, no crash, no memory that follows the count, and nothing acknowledged is lost. TRIVET_FUZZ says how
// many requests each of the three sends, TRIVET_SEED repeats a run.
import { generateKeyPairSync, randomBytes, type JsonWebKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { bodyOf, pathsOf } from '../instance/api/samples.js';
import { routes } from '../../src/instance/api/routes.js';
import { apiVersions } from '../../src/instance/api/versions.js';
import { Enclave } from './enclave.js';
import { mutate, type Recorded, type Shot } from './mutate.js';
import { at, Dice, isAlive, seedOf, TestPool, text, type Client } from './pool.js';
import { RawLine, sendPieces } from './raw-http.js';
import { makeKeys, useKey, type Made } from './use.js';
import { base64url, digestOf } from './witness.js';

const REQUESTS = Number(process.env['TRIVET_FUZZ'] ?? 600);
const SEED = seedOf('TRIVET_SEED');
/** Requests on their way at any time. */
const LANES = 6;
/** Reads of memory in each quarter of the requests; the least of them counts, since a collector works in waves. */
const READS = 12;
/** Growth from one half to the other that is no leak: less than 500 bytes a request at 100,000. */
const GROWTH_MAX = 24 * 1024 * 1024;
/** Fewer requests say nothing about memory: caches fill and compilers work. */
const REQUESTS_FOR_MEMORY = 10_000;
const LONG = 5_000;
/** As long as a long run may take. */
const DAY_S = 86_400;

const SERVICE_ENCRYPTION = '33413926-3206-4cdd-b39a-83574fe37a17';
const STRANGER = '99999999-9999-4999-8999-999999999999';
const ROLE = '55555555-5555-4555-8555-555555555555';

let enclave: Enclave;
let pool: TestPool;
let admin: Client;
let pids: number[];
let guarded: Made[];
const recorded: Recorded[] = [];
/** Acknowledged while the fuzzing went on. */
const acknowledged: Made[] = [];

beforeAll(async () => {
  enclave = await Enclave.start();
  pool = await TestPool.start(undefined, enclave.options);
  admin = await pool.client({ keepAlive: true });
  pids = pool.instancePids;
  guarded = await makeKeys(admin);
  await record();
}, 120_000);
afterAll(async () => {
  await pool.remove();
  await enclave.stop();
});

/** Real requests of every operation, each with all that it needs to succeed. */
async function record(): Promise<void> {
  const done = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await admin.call(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    const query = path.includes('api-version=') ? '' : `${path.includes('?') ? '&' : '?'}api-version=7.6`;
    recorded.push({ method, path: `${path}${query}`, ...(body !== undefined && { body }) });
    return answer.body;
  };
  const value = base64url(randomBytes(32));
  const digest = base64url(digestOf('256', randomBytes(9)));
  const full = {
    key_ops: ['sign', 'verify'],
    attributes: { enabled: true, nbf: 1_700_000_000, exp: 4_000_000_000 },
    tags: { owner: 'fuzz', 'second tag': 'ä' },
  };
  await done('POST', '/keys/ec/create', { kty: 'EC', crv: 'P-256', ...full });
  await done('POST', '/keys/ec2/create', { kty: 'EC-HSM', crv: 'P-521' });
  await done('POST', '/keys/oct/create', { kty: 'oct-HSM', key_size: 256 });
  await done('POST', '/keys/rsa/create', { kty: 'RSA', key_size: 2048, public_exponent: 65_537 });
  await done('PUT', '/keys/imported', { key: { kty: 'oct', k: value }, tags: { a: 'b' } });
  await done('PUT', '/keys/imported-ec', { key: { ...ecKey(), key_ops: ['sign'] }, Hsm: true });
  await done('PUT', '/keys/imported-rsa', { key: rsaKey() });
  await done('GET', '/keys');
  await done('GET', '/keys?maxresults=2');
  const page = await done('GET', '/keys/ec/versions?maxresults=25');
  const kid = text(page, 'value', '0', 'kid');
  await done('GET', new URL(kid).pathname);
  await done('PATCH', '/keys/ec', {
    attributes: { enabled: true },
    tags: { a: '1' },
    key_ops: ['sign', 'verify'],
  });
  const signed = await done('POST', '/keys/ec/sign', { alg: 'ES256', value: digest });
  await done('POST', '/keys/ec/verify', { alg: 'ES256', digest, value: text(signed, 'value') });
  for (const alg of ['RS256', 'PS256']) {
    const made = await done('POST', '/keys/rsa/sign', { alg, value: digest });
    await done('POST', '/keys/rsa/verify', { alg, digest, value: text(made, 'value') });
  }
  for (const alg of ['RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5']) {
    const made = await done('POST', '/keys/rsa/encrypt', { alg, value });
    await done('POST', '/keys/rsa/decrypt', { alg, value: text(made, 'value') });
    await done('POST', '/keys/rsa/unwrapkey', { alg, value: text(made, 'value') });
  }
  const gcm = await done('POST', '/keys/oct/encrypt', { alg: 'A256GCM', value, aad: 'YWFk' });
  const { iv, tag, value: sealed } = gcm as Record<string, string>;
  await done('POST', '/keys/oct/decrypt', { alg: 'A256GCM', value: sealed, iv, tag, aad: 'YWFk' });
  const block = base64url(randomBytes(16));
  for (const alg of ['A256CBC', 'A256CBCPAD']) {
    const made = await done('POST', '/keys/oct/encrypt', { alg, value, iv: block });
    await done('POST', '/keys/oct/decrypt', { alg, value: text(made, 'value'), iv: block });
  }
  const wrapped = await done('POST', '/keys/oct/wrapkey', { alg: 'A256KW', value });
  await done('POST', '/keys/oct/unwrapkey', { alg: 'A256KW', value: text(wrapped, 'value') });
  const target = await enclave.assertion('good', DAY_S);
  await done('POST', '/keys/released/create', {
    kty: 'EC',
    attributes: { exportable: true },
    release_policy: { data: base64url(Buffer.from(enclave.policy())) },
  });
  await done('POST', '/keys/released/release', { target, nonce: 'once', enc: 'RSA_AES_KEY_WRAP_256' });
  const secure = await done('POST', '/keys/oct/securewrapkey?api-version=2026-04-01', { alg: 'A256KW' });
  await done('POST', '/keys/oct/secureunwrapkey?api-version=2026-04-01', {
    alg: 'A256KW',
    value: text(secure, 'value'),
    target,
  });
  await done('GET', '/keys/ec/attestation');
  await done('GET', '/settings');
  await done('PATCH', '/settings/AllowKeyManagementOperationsThroughARM', { value: 'false' });
  await done('POST', '/rng', { count: 32 });
  await done('POST', '/keys/gone/create', { kty: 'EC' });
  await done('PUT', '/keys/gone/rotationpolicy', {
    attributes: { expiryTime: 'P90D' },
    lifetimeActions: [{ action: { type: 'Rotate' }, trigger: { timeAfterCreate: 'P30D' } }],
  });
  await done('GET', '/keys/gone/rotationpolicy');
  await done('POST', '/keys/gone/rotate');
  const backup = text(await done('POST', '/keys/gone/backup'), 'value');
  await done('DELETE', '/keys/gone');
  await done('GET', '/deletedkeys?maxresults=3');
  await done('GET', '/deletedkeys/gone');
  await done('POST', '/deletedkeys/gone/recover');
  await done('DELETE', '/keys/gone');
  await done('DELETE', '/deletedkeys/gone');
  await done('POST', '/keys/restore', { value: backup });
  const roles = '/providers/Microsoft.Authorization';
  await done('GET', `${roles}/roleDefinitions`);
  const permissions = [{ dataActions: ['Microsoft.KeyVault/managedHsm/keys/read/action'] }];
  await done('PUT', `${roles}/roleDefinitions/${ROLE}`, {
    properties: {
      roleName: 'reader',
      description: '',
      type: 'CustomRole',
      permissions,
      assignableScopes: ['/'],
    },
  });
  await done('GET', `${roles}/roleDefinitions/${ROLE}`);
  for (const scope of ['', '/keys', '/keys/ec']) {
    const assignment = `${scope}${roles}/roleAssignments/${STRANGER}`;
    const roleDefinitionId = `Microsoft.KeyVault${roles}/roleDefinitions/${ROLE}`;
    await done('PUT', assignment, { properties: { roleDefinitionId, principalId: STRANGER } });
    await done('GET', assignment);
    await done('GET', `${scope}${roles}/roleAssignments?$filter=atScope()`);
    await done('DELETE', assignment);
  }
  await done('DELETE', `${roles}/roleDefinitions/${ROLE}`);
  // Every other route by a sample, which need not succeed.
  for (const route of routes) {
    if (recorded.some(({ method, path }) => method === route.method && leadsTo(route.path, path))) continue;
    const [path = ''] = pathsOf(route, 'ec').slice(-2); // of the newest version
    const version = apiVersions.at(-1) ?? '';
    recorded.push({ method: route.method, path: `${path}?api-version=${version}`, body: bodyOf(route) });
  }
}

/** Whether a path is one of a route's. */
function leadsTo(route: string, path: string): boolean {
  const pattern = route.replaceAll('{name}', '[^/]+').replaceAll('{item}', '[^/]+');
  return new RegExp(`^/${pattern.replace('/{version}', '(/[0-9a-f]{32})?')}$`, 'i').test(
    path.split('?')[0] ?? '',
  );
}

const ecKey = (): JsonWebKey => exported(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey);
const rsaKey = (): JsonWebKey => exported(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
const exported = (key: KeyObject): JsonWebKey => key.export({ format: 'jwk' });

/** Resident memory in bytes. */
function residentOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s*([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  if (kilobytes === undefined) throw new Error(`no memory of ${pid}`);
  return Number(kilobytes) * 1024;
}

/** The least memory of each process in each quarter of the requests. */
class Memory {
  readonly #least: number[][];

  constructor(readonly pids: readonly number[]) {
    this.#least = pids.map(() => [Infinity, Infinity, Infinity, Infinity]);
  }

  read(quarter: number): void {
    this.pids.forEach((pid, i) => {
      const least = this.#least[i];
      if (least) least[quarter] = Math.min(least[quarter] ?? Infinity, residentOf(pid));
    });
  }

  toString(): string {
    return this.#least
      .map((quarters) => quarters.map((bytes) => Math.round(bytes / 2 ** 20)).join(' '))
      .join(', ');
  }

  /**
   * Processes whose memory goes on rising once they are warm: caches fill in the first quarter, and a leak that
   * follows the count rises in each of the others.
   */
  get leaking(): number[] {
    return this.pids.filter((_, i) => {
      const [, second = 0, third = 0, fourth = 0] = this.#least[i] ?? [];
      return second < third && third < fourth && fourth - second > GROWTH_MAX;
    });
  }
}

/** What is wrong with how a shot was answered; undefined when nothing is. */
async function fire(shot: Shot, line: RawLine, statuses: Map<number, number>): Promise<string | undefined> {
  const count = (status: number): void => {
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  };
  if (!shot.whole) {
    const heard = await sendPieces(pool, shot.pieces, shot.leave);
    const answers = [...heard.matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)].map(([, status]) => Number(status));
    answers.forEach(count);
    return answers.every((status) => status < 200 || isClear(status)) ? undefined : heard;
  }
  const answer = await line.ask(shot.pieces[0] ?? Buffer.alloc(0));
  if (!answer) return 'closed without an answer';
  const { status, headers, body } = answer;
  count(status);
  if (!isClear(status)) return `${status} ${body}`;
  if (status < 400 || status === 401) return undefined;
  // An answer to HEAD has no body.
  if (body === '' && shot.pieces[0]?.subarray(0, 5).toString() === 'HEAD ') return undefined;
  const error: unknown = body === '' ? undefined : JSON.parse(body);
  const id = headers.get('x-ms-request-id');
  const worded = /^[A-Za-z]+$/.test(String(at(error, 'error', 'code')));
  const named = String(at(error, 'error', 'message')).endsWith(` (Activity ID: ${id ?? ''})`);
  return worded && named ? undefined : `not a refusal as the service words it: ${status} ${body}`;
}

/** For the eyes: without long runs of one letter, and not the caller's token. */
const shortened = (bytes: string): string =>
  bytes
    .replace(/(.)\1{99,}/gs, (run, letter: string) => `${letter}…${run.length} times…`)
    .replaceAll(/eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/g, '<token>')
    .slice(0, 4_000);

/** Success or a refusal; the pool is whole and nothing here is throttled. */
const isClear = (status: number): boolean =>
  (status >= 200 && status < 300) || (status >= 400 && status < 500 && status !== 429);

/** Everything that a caller without rights may not change. */
async function everything(): Promise<string> {
  const found: string[] = [];
  for (const path of ['/keys', '/deletedkeys', '/providers/Microsoft.Authorization/roleDefinitions']) {
    found.push((await admin.call('GET', path)).text);
  }
  for (const { name } of guarded) found.push((await admin.call('GET', `/keys/${name}/versions`)).text);
  return found.join('\n');
}

describe(`fuzzed requests (seed ${SEED})`, () => {
  const callers = ['nobody', 'one with few rights', 'the administrator'] as const;

  async function tokenOf(who: (typeof callers)[number]): Promise<string | null> {
    if (who === 'nobody') return null;
    if (who === 'the administrator') return pool.token();
    const principal = pool.addPrincipal('fuzzer');
    const roleDefinitionId = `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${SERVICE_ENCRYPTION}`;
    const { status } = await admin.call(
      'PUT',
      `/keys/oct/providers/Microsoft.Authorization/roleAssignments/${SERVICE_ENCRYPTION}`,
      { properties: { roleDefinitionId, principalId: principal.objectId } },
    );
    expect(status).toBe(201);
    return pool.token(principal);
  }

  test.each(callers)(
    `of %s, ${REQUESTS} of them: never a 5xx, never silence, no memory that follows the count`,
    async (who) => {
      const token = await tokenOf(who);
      const before = await everything();
      const memory = new Memory([...pids, pool.up.pid]);
      const statuses = new Map<number, number>();
      const every = Math.max(1, Math.floor(REQUESTS / (4 * READS)));
      let sent = 0;
      const lane = async (id: number): Promise<void> => {
        const dice = new Dice(SEED + 1_000 * callers.indexOf(who) + id);
        const line = new RawLine(pool);
        while (sent < REQUESTS) {
          const number = (sent += 1);
          const shot = mutate(recorded, pool.uri.host, token, dice);
          const problem = await fire(shot, line, statuses).catch((error: unknown) => String(error));
          if (problem !== undefined) {
            sent = REQUESTS; // the other lanes end too
            const bytes = shot.pieces.map((piece) => JSON.stringify(shortened(piece.toString('latin1'))));
            throw new Error(`request ${number} of seed ${SEED}: ${problem}\n${bytes.join('\n')}`);
          }
          if (number % every === 0) memory.read(Math.min(3, Math.floor((4 * (number - 1)) / REQUESTS)));
          if (number % LONG === 0)
            process.stderr.write(`${number} of ${REQUESTS} of ${who}; MiB ${String(memory)}\n`);
          if (who === 'the administrator' && number % Math.ceil(REQUESTS / 100) === 0)
            await acknowledge(number);
        }
        line.close();
      };
      await Promise.all(Array.from({ length: LANES }, (_, id) => lane(id)));
      process.stderr.write(
        `${who}: ${[...statuses]
          .sort(([a], [b]) => a - b)
          .map(([status, times]) => `${status}: ${times}`)
          .join(', ')}; ` + `MiB by quarters, instances and fabric: ${String(memory)}\n`,
      );

      if (REQUESTS >= REQUESTS_FOR_MEMORY)
        expect([memory.leaking, String(memory)]).toEqual([[], String(memory)]);
      // Each caller gets as far as it may, or its share would test nothing.
      const succeeded = [...statuses]
        .filter(([status]) => status >= 200 && status < 300)
        .reduce((sum, [, times]) => sum + times, 0);
      if (who === 'nobody') expect(succeeded).toBe(0);
      if (who === 'one with few rights') expect(succeeded).toBeGreaterThan(0);
      if (who === 'the administrator') expect(succeeded).toBeGreaterThan(REQUESTS / 10);
      else expect(await everything()).toBe(before);
    },
    120_000 + REQUESTS * 50,
  );

  /** A key made in the middle of it all, which must be there at the end. */
  async function acknowledge(number: number): Promise<void> {
    const name = `acknowledged-${number}`;
    const { status, body } = await admin.call('POST', `/keys/${name}/create`, { kty: 'EC' });
    expect([name, status]).toEqual([name, 200]);
    acknowledged.push({ name, jwk: at(body, 'key') });
  }

  test('leave the same processes, and every acknowledged key, on each instance and after a start', async () => {
    expect(pids.filter(isAlive)).toEqual(pids);
    const clients = await pool.clientOfEach();
    const check = async (client: Client): Promise<void> => {
      for (const key of [...guarded, ...acknowledged]) {
        expect([key.name, await useKey(client, key)]).toEqual([key.name, undefined]);
      }
      const made = await client.call('POST', '/keys/after/create', { kty: 'EC' });
      expect(await useKey(client, { name: 'after', jwk: at(made.body, 'key') })).toBeUndefined();
    };
    for (const client of clients) await check(client);
    await pool.stop();
    pool.options = []; // the pool keeps the services that it was made with
    await pool.start();
    await check(await pool.client({ keepAlive: true }));
  }, 240_000);
});
