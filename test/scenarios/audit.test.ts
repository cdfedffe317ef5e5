// The audit logs of a real pool: what is in them, on which instance, and what becomes of them when a process is killed,
// a disk is full, or somebody edits a file.
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { at, Client, TestPool, text, until } from './pool.js';

jest.setTimeout(240_000);

let pool: TestPool;
let clients: Client[];
beforeAll(async () => {
  pool = await TestPool.start();
  clients = await pool.clientOfEach();
});
afterAll(() => pool.remove());

type Record = Readonly<{ [member: string]: unknown }>;

const directoryOf = (instance: number, root = pool.directory): string =>
  join(root, 'pools', 'dev', 'instances', String(instance), 'audit');

function filesOf(instance: number, root?: string): string[] {
  const directory = directoryOf(instance, root);
  return readdirSync(directory)
    .sort()
    .map((name) => join(directory, name));
}

function recordsOf(instance: number): Record[] {
  return filesOf(instance)
    .flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(0, -1))
    .map((line) => JSON.parse(line) as Record);
}

/** The record of an answer, on the instance that gave it; within a moment. */
async function recordOf(instance: number, requestId: unknown): Promise<Record> {
  const find = (): Record | undefined =>
    recordsOf(instance).find(({ correlationId }) => correlationId === requestId);
  await until('the request is recorded', () => find() !== undefined);
  return find() ?? {};
}

function verify(...more: string[]): { status: number | null; found: unknown; out: string } {
  const { status, out, err } = pool.command('audit', 'verify', '--json', ...more);
  return { status, found: JSON.parse(out) as unknown, out: out + err };
}

const problemsOf = (found: unknown, instance: number): string[] =>
  (at(found, 'logs', instance, 'faults') as { file: string; line: number; problem: string }[]).map(
    ({ file, line, problem }) => `${file}:${line} ${problem}`,
  );

const client = (instance: number): Client => clients[instance] as Client;
const digest = randomBytes(32).toString('base64url');

describe('audit', () => {
  test('operations are recorded by name, caller and outcome on the instance that served them', async () => {
    const stranger = pool.addPrincipal('stranger');
    const denied = new Client({ ...pool.address(), token: await pool.token(stranger), keepAlive: false });
    const calls: [operation: string, status: number, method: string, path: string, body?: unknown][] = [
      ['KeyCreate', 200, 'POST', '/keys/audited/create', { kty: 'EC' }],
      ['KeyGet', 200, 'GET', '/keys/audited'],
      ['KeyList', 200, 'GET', '/keys'],
      ['KeyListVersions', 200, 'GET', '/keys/audited/versions'],
      ['KeySign', 200, 'POST', '/keys/audited/sign', { alg: 'ES256', value: digest }],
      ['KeyUpdate', 200, 'PATCH', '/keys/audited', { tags: { a: 'b' } }],
      ['KeyRotationPolicyGet', 404, 'GET', '/keys/audited/rotationpolicy'],
      ['KeyBackup', 200, 'POST', '/keys/audited/backup'],
      ['RandomBytesGet', 200, 'POST', '/rng', { count: 8 }],
      ['SettingList', 200, 'GET', '/settings'],
      ['RoleAssignmentList', 200, 'GET', '/providers/Microsoft.Authorization/roleAssignments'],
      ['KeySign', 404, 'POST', '/keys/nothing/sign', { alg: 'ES256', value: digest }],
      ['KeyCreate', 400, 'POST', '/keys/audited/create', { kty: 'nonsense' }],
      ['Unknown', 404, 'GET', '/certificates'],
      ['KeyDelete', 200, 'DELETE', '/keys/audited'],
      ['KeyGetDeleted', 200, 'GET', '/deletedkeys/audited'],
      ['KeyPurge', 204, 'DELETE', '/deletedkeys/audited'],
    ];
    for (const [index, [operation, status, method, path, body]] of calls.entries()) {
      const instance = index % 3;
      const answer = await client(instance).call(method, path, body);
      expect([operation, answer.status]).toEqual([operation, status]);
      const record = await recordOf(instance, answer.headers['x-ms-request-id']);
      expect(record).toMatchObject({
        operationName: operation,
        httpStatusCode: status,
        resultType: status < 400 ? 'Success' : 'Failure',
        PoolName: 'dev',
        callerIpAddress: '127.0.0.1',
      });
      expect(String(record['identity'])).toContain(pool.admin.objectId);
      expect(String(record['requestUri'])).toContain(path);
      for (const other of [0, 1, 2].filter((one) => one !== instance)) {
        const ids = recordsOf(other).map(({ correlationId }) => correlationId);
        expect(ids).not.toContain(answer.headers['x-ms-request-id']);
      }
    }
    const refused = await denied.call('GET', '/keys');
    expect(refused.status).toBe(403);
    await until('the refusal is recorded', () =>
      [0, 1, 2]
        .flatMap(recordsOf)
        .some(
          ({ correlationId, httpStatusCode, identity }) =>
            correlationId === refused.headers['x-ms-request-id'] &&
            httpStatusCode === 403 &&
            String(identity).includes(stranger.objectId),
        ),
    );
    const wrong = new Client({ ...pool.address(), token: 'a.b.c', keepAlive: false });
    const unbelieved = await wrong.call('GET', '/keys');
    const anonymous = await (await pool.client({ token: null })).call('GET', '/keys');
    expect([unbelieved.status, anonymous.status]).toEqual([401, 401]);
    await until('the refused token is recorded', () =>
      [0, 1, 2]
        .flatMap(recordsOf)
        .some(
          ({ correlationId, operationName }) =>
            correlationId === unbelieved.headers['x-ms-request-id'] && operationName === 'Authentication',
        ),
    );
    const ids = [0, 1, 2].flatMap(recordsOf).map(({ correlationId }) => correlationId);
    expect(ids).not.toContain(anonymous.headers['x-ms-request-id']);
  });

  test('an answered change is in the log at that moment, whoever is killed then', async () => {
    for (let i = 0; i < 5; i += 1) {
      const answer = await client(1).call('POST', `/keys/durable-${i}/create`, { kty: 'EC' });
      expect(answer.status).toBe(200);
      const ids = recordsOf(1).map(({ correlationId }) => correlationId);
      expect(ids).toContain(answer.headers['x-ms-request-id']);
    }
  });

  test('logs of a running pool hold, while it writes, and the owner can be named', async () => {
    let busy = true;
    const load = Promise.all(
      clients.map(async (one) => {
        while (busy) await one.call('GET', '/keys');
      }),
    );
    const status = JSON.parse(pool.command('status', '--json').out) as unknown;
    const owner = text(status, 'pools', 0, 'ownerFingerprint');
    const { status: code, found, out } = verify('--owner-fingerprint', owner);
    busy = false;
    await load;
    expect(out).toMatch('"valid":true');
    expect(code).toBe(0);
    expect(found).toMatchObject({ pool: 'dev', ownerVerified: true, ownerFingerprint: owner });
    const other = verify('--owner-fingerprint', 'ab'.repeat(32));
    expect(other.status).toBe(1);
    expect(other.out).toMatch('the pool has another owner');
  });

  test('seals come by themselves, and every member keeps those of the others', async () => {
    const requested = await client(0).call('GET', '/keys');
    const { sequence } = await recordOf(0, requested.headers['x-ms-request-id']);
    const keptBy = (keeper: number): boolean =>
      recordsOf(keeper).some(
        (record) =>
          record['category'] === 'AuditWitness' &&
          record['instance'] === 0 &&
          Number(at(record, 'seal', 'through')) >= Number(sequence),
      );
    await until('the others have its seal', () => keptBy(1) && keptBy(2));
    expect(keptBy(0)).toBe(false);
  });

  test('no token, no key and no body is in a log, and only its owner may read it', async () => {
    const token = await pool.token();
    const secret = randomBytes(32);
    const key = secret.toString('base64url');
    const imported = await client(2).call('PUT', '/keys/known', {
      key: { kty: 'oct-HSM', k: key, key_ops: ['encrypt', 'decrypt'] },
      tags: { note: 'a-word-of-the-body' },
    });
    expect(imported.status).toBe(200);
    const sent = new Client({ ...pool.address(), token, keepAlive: false });
    expect((await sent.call('POST', '/keys/known/sign', { alg: key, value: key })).status).toBe(403);
    await sent.call('GET', `/keys/known?api-version=7.6&leak=${key}`);
    await client(2).call('GET', '/keys');
    const files = [0, 1, 2].flatMap((instance) => filesOf(instance));
    for (const needle of [key, secret.toString('hex'), 'a-word-of-the-body', token, digest]) {
      expect(files.filter((file) => readFileSync(file).includes(needle))).toEqual([]);
    }
    const [, payload = '', signature = ''] = token.split('.');
    for (const needle of [payload, signature, pool.admin.clientSecret]) {
      expect(files.filter((file) => readFileSync(file).includes(needle))).toEqual([]);
    }
    expect(files.map((file) => statSync(file).mode & 0o777)).toEqual(files.map(() => 0o600));
  });

  test('a full disk stops the instance from serving, with the reason, until there is room', async () => {
    const pid = String(pool.instancePids[2]);
    const newest = filesOf(2).at(-1) ?? '';
    const limit = statSync(newest).size + 2_000;
    expect(spawnSync('prlimit', [`--pid=${pid}`, `--fsize=${limit}:unlimited`]).status).toBe(0);
    let refused: Awaited<ReturnType<Client['call']>> | undefined;
    await until('it refuses', async () => {
      const answer = await client(2).call('GET', '/keys/known');
      if (answer.status !== 200) refused = answer;
      return refused !== undefined;
    });
    expect([refused?.status, refused?.headers['retry-after']]).toEqual([503, '5']);
    expect(text(refused?.body, 'error', 'message')).toMatch(
      /was not carried out. the audit log cannot be written: EFBIG/,
    );
    expect((await client(1).call('GET', '/keys/known')).status).toBe(200);
    expect(pool.up.output).toMatch('requests are refused: they could not be recorded');
    expect(spawnSync('prlimit', [`--pid=${pid}`, '--fsize=unlimited']).status).toBe(0);
    await until('it serves again', async () => (await client(2).call('GET', '/keys/known')).status === 200);
    await until('the gap is recorded', () =>
      recordsOf(2).some(
        (record) =>
          record['operationName'] === 'AuditResumed' && Number(at(record, 'properties', 'refused')) > 0,
      ),
    );
    expect(verify().status).toBe(0);
  });

  test('tail shows the newest records of all instances', () => {
    const { out, status } = pool.command('audit', 'tail', '--lines', '5');
    expect(status).toBe(0);
    expect(out.trim().split('\n')).toHaveLength(5);
    const json = pool.command('audit', 'tail', '--json', '--instance', '2', '--lines', '500').out;
    const lines = json
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record);
    expect(lines.map(({ operationName }) => operationName)).toContain('KeyImport');
    expect(pool.command('audit', 'tail', '--instance', '7').status).toBe(1);
  });

  test('logs hold after every process was killed in the middle of its work, and a torn line is told', async () => {
    const load = clients.map(async (one) => {
      for (;;) await one.call('GET', '/keys');
    });
    const lost = Promise.allSettled(load);
    await until('they are at work', () => recordsOf(1).length > 100);
    await pool.killAll();
    await lost;
    expect(verify().out).toMatch('"valid":true');
    // What a kill in the middle of a write would have left.
    const newest = filesOf(1).at(-1) ?? '';
    const whole = readFileSync(newest);
    const last = JSON.parse(whole.toString().trim().split('\n').at(-1) ?? '') as Record;
    expect(last['category']).toBeDefined();
    writeFileSync(newest, Buffer.concat([whole, Buffer.from('{"sequence":1234,"pre')]));
    expect(verify().out).toMatch('"valid":true');
    await pool.start();
    clients = await pool.clientOfEach();
    const { found, status } = verify();
    expect(status).toBe(0);
    expect(at(found, 'logs', 1, 'torn')).toMatchObject([{ bytes: 21 }]);
    expect(readFileSync(newest).subarray(whole.length).toString()).toBe('{"sequence":1234,"pre');
    const opened = recordsOf(1).filter(({ category }) => category === 'AuditOpened');
    expect(opened.at(-1)?.['torn']).toEqual([
      {
        file: newest.split('/').at(-1),
        bytes: 21,
        sha256: createHash('sha256').update('{"sequence":1234,"pre').digest('hex'),
      },
    ]);
  });

  test('what was done to a log is found with file and line, after the pool has left in order', async () => {
    await client(0).call('GET', '/keys');
    await pool.stop();
    expect(verify().status).toBe(0);
    const saved = mkdtempSync(join(tmpdir(), 'trivet-audit-'));
    cpSync(pool.directory, join(saved, 'data'), { recursive: true });
    const restore = (): void => {
      for (const instance of [0, 1, 2]) {
        rmSync(directoryOf(instance), { recursive: true, force: true });
        cpSync(directoryOf(instance, join(saved, 'data')), directoryOf(instance), { recursive: true });
      }
    };
    const attempt = (edit: (file: string, lines: string[]) => string[] | undefined): string[] => {
      const file = filesOf(0).at(-1) ?? '';
      const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
      const after = edit(file, lines);
      if (after) writeFileSync(file, after.map((line) => `${line}\n`).join(''));
      const { status, found } = verify();
      restore();
      expect(status).toBe(1);
      return problemsOf(found, 0);
    };
    const name = filesOf(0).at(-1)?.split('/').at(-1) ?? '';
    try {
      expect(
        attempt((_, lines) => lines.with(1, (lines[1] ?? '').replace(/"time":"2/, '"time":"3'))),
      ).toEqual([
        expect.stringMatching(
          `^${name}:3 the record before record \\d+ \\(line 2 of ${name}\\) is not the one`,
        ),
      ]);
      expect(attempt((_, lines) => lines.toSpliced(1, 1))).toEqual([
        expect.stringMatching(`^${name}:2 record \\d+ is missing before record \\d+$`),
      ]);
      expect(attempt((_, lines) => lines.toSpliced(1, 0, lines[0] ?? ''))[0]).toMatch(
        new RegExp(`^${name}:2 record \\d+ stands where record \\d+ belongs$`),
      );
      expect(attempt((_, lines) => lines.with(1, lines[2] ?? '').with(2, lines[1] ?? ''))[0]).toMatch(
        new RegExp(`^${name}:2 record \\d+ is missing`),
      );
      expect(attempt((_, lines) => lines.slice(0, 1))[0]).toMatch(
        /was sealed at .*; it was cut: line \d+ of/,
      );
      expect(
        attempt((file) => {
          truncateSync(file, 0);
          return undefined;
        })[0],
      ).toMatch(/it was cut/);
      expect(
        attempt((file) => {
          rmSync(file);
          return undefined;
        })[0],
      ).toMatch(/it was cut/);
      expect(
        attempt((file) => {
          rmSync(join(file, '..'), { recursive: true });
          return undefined;
        })[0],
      ).toMatch('there is no audit log');
      expect(verify().status).toBe(0);
      const words = pool.command('audit', 'verify');
      expect(words.out).toMatch('The audit logs of the pool dev hold.');
      expect(words.out).toMatch('NOT VERIFIED');
    } finally {
      rmSync(saved, { recursive: true, force: true });
    }
  });
});
