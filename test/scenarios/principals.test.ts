// Removing a principal of a running pool: its roles go with it, everywhere and at once.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestPool, at, until } from './pool.js';
import type { Client, Credentials } from './pool.js';

const ASSIGNMENTS = 'providers/Microsoft.Authorization/roleAssignments';
const ADMINISTRATOR = 'a290e904-7015-4bba-90c8-60543313cdb4';
const CRYPTO_USER = '21dbd100-6940-42c2-9190-5d6cb909625b';

let pool: TestPool;
let admin: Client;

beforeAll(async () => {
  pool = await TestPool.start();
  admin = await pool.client({ keepAlive: true });
  expect((await admin.call('POST', '/keys/k/create', { kty: 'EC', crv: 'P-256' })).status).toBe(200);
});
afterAll(() => pool.remove());

async function assign({ objectId }: Credentials, role: string, scope = ''): Promise<string> {
  const name = randomUUID();
  const roleDefinitionId = `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${role}`;
  const properties = { roleDefinitionId, principalId: objectId };
  const { status } = await admin.call('PUT', `${scope}/${ASSIGNMENTS}/${name}`, { properties });
  expect(status).toBe(201);
  return name;
}

async function assignmentsOf({ objectId }: Credentials): Promise<unknown[]> {
  const filter = encodeURIComponent(`principalId eq '${objectId}'`);
  const { body } = await admin.call('GET', `/${ASSIGNMENTS}?api-version=7.6&$filter=${filter}`);
  return at(body, 'value') as unknown[];
}

it('the token of a removed principal is refused everything by every instance, and no other is given', async () => {
  const app = pool.addPrincipal('leaving');
  const names = [
    await assign(app, ADMINISTRATOR),
    await assign(app, CRYPTO_USER, '/keys'),
    await assign(app, CRYPTO_USER, '/keys/k'),
  ];
  const token = await pool.token(app);
  const use = async (): Promise<[number, unknown][]> => {
    const client = new Map<number, [number, unknown]>();
    // Connections go to the instances in turn.
    for (let turn = 0; turn < 6; turn += 1) {
      const { status, body, localPort } = await (await pool.client({ token })).call('GET', '/keys/k');
      client.set(localPort, [status, at(body, 'error', 'code')]);
    }
    return [...client.values()];
  };
  expect(new Set((await use()).map(([status]) => status))).toEqual(new Set([200]));

  const { status, out, err } = pool.command('principal', 'remove', 'leaving', '--json');
  expect([status, err]).toEqual([0, '']);
  const told = JSON.parse(out) as { assignments: string[] };
  expect(told).toMatchObject({ objectId: app.objectId, removed: true });
  expect(told.assignments[0]).toBe(names[0]); // the Administrator's first
  expect([...told.assignments].sort()).toEqual([...names].sort());
  expect(await assignmentsOf(app)).toEqual([]);
  for (const [refused, code] of await use()) expect([refused, code]).toEqual([403, 'AccessDenied']);
  const removed = await pool.client({ token });
  for (const [method, path] of [
    ['GET', '/keys'],
    ['POST', '/keys/k/sign'],
    ['POST', '/keys/n/create'],
    ['GET', `/${ASSIGNMENTS}`],
    ['GET', '/settings'],
  ] as const) {
    const body = path.endsWith('sign')
      ? { alg: 'ES256', value: 'A'.repeat(43) }
      : path.endsWith('create')
        ? { kty: 'EC' }
        : undefined;
    expect([path, (await removed.call(method, path, body)).status]).toEqual([path, 403]);
  }
  await expect(pool.token(app)).rejects.toThrow(/access_token/);
});

it('a pool keeps its last Administrator, and then nothing is removed', async () => {
  const app = pool.addPrincipal('heir');
  await assign(app, ADMINISTRATOR);
  await assign(app, CRYPTO_USER, '/keys');
  const filter = encodeURIComponent(`principalId eq '${pool.admin.objectId}'`);
  const { body } = await admin.call('GET', `/${ASSIGNMENTS}?api-version=7.6&$filter=${filter}`);
  const own = (at(body, 'value') as { name: string; properties: { roleDefinitionId: string } }[]).find(
    ({ properties }) => properties.roleDefinitionId.endsWith(ADMINISTRATOR),
  );
  expect((await admin.call('DELETE', `/${ASSIGNMENTS}/${String(own?.name)}`)).status).toBe(200);
  const { status, err } = pool.command('principal', 'remove', 'heir');
  expect([status, err]).toEqual([
    1,
    'trivet: this is the last Administrator of pool dev, so nothing was removed; make another one first\n',
  ]);
  expect((await assignmentsOf(app)).length).toBe(2);
  await pool.token(app);
  await assign(pool.admin, ADMINISTRATOR);
  expect(pool.command('principal', 'remove', 'heir').status).toBe(0);
  expect(await assignmentsOf(app)).toEqual([]);
});

/** Whether a process stands in the kernel's line for a lock (proc_locks(5)). */
function waitsForLock(pid: number): boolean {
  return readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .some((line) => line.includes('->') && line.split(/\s+/).includes(String(pid)));
}

it('while a pool takes no writes the login forgets the principal all the same, and its roles can be taken later', async () => {
  const app = pool.addPrincipal('late');
  const name = await assign(app, CRYPTO_USER);
  // Whoever waits for an instance's lock has it when that one is killed, and nobody can take its place.
  const holders = [1, 2].map((id) => {
    const lock = join(pool.directory, 'pools/dev/instances', String(id), 'lock');
    return spawn('flock', ['--no-fork', lock, 'sleep', '120'], { stdio: 'ignore' });
  });
  await until('both wait', () => holders.every(({ pid }) => waitsForLock(pid ?? -1)));
  for (const id of ['1', '2']) expect(pool.command('partition', 'kill', id).status).toBe(0);
  // The connection until now may have been one to a killed instance.
  admin = await pool.client();
  await until('writes are refused', async () => {
    const write = admin.call('PATCH', '/settings/AllowKeyManagementOperationsThroughARM', { value: 'false' });
    return (await write).status === 503;
  });
  const { status, out, err } = pool.command('principal', 'remove', 'late');
  expect([status, out]).toEqual([1, expect.stringContaining('principal late removed')]);
  expect(err).toContain(name);
  expect(err).toContain(`trivet principal remove ${app.objectId}`);
  await expect(pool.token(app)).rejects.toThrow(/access_token/);
  for (const holder of holders) holder.kill('SIGKILL');
  await pool.inSync();
  admin = await pool.client({ keepAlive: true });
  expect((await assignmentsOf(app)).length).toBe(1);
  const again = pool.command('principal', 'remove', app.objectId);
  expect([again.status, again.out]).toEqual([0, 'role assignments deleted: 1\n']);
  expect(await assignmentsOf(app)).toEqual([]);
});
