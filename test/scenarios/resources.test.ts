// The life of a second HSM on a real fabric, through the control plane: made, activated, used, deleted, recovered,
// purged; and what a kill of the fabric does to it.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { Arm, DELETED, HSMS } from './arm.js';
import { makeCustodians, must, takeCryptoRoles } from './ceremonies.js';
import { ConnectionLost, TestPool, at, isAlive, processesIn, until } from './pool.js';
import type { Client } from './pool.js';
import { findIn, findInFiles, formsOf } from './scan.js';
import { base64url, bytesAt, digestOf, isSignature, publicKeyOf } from './witness.js';

const KEY = 'known-by-name-only-here';
let pool: TestPool;
let arm: Arm;

beforeAll(async () => {
  pool = new TestPool(undefined, ['--max-pools', '3']);
  await pool.start();
  arm = await Arm.of(pool);
});
afterAll(() => pool.remove());

const home = (name: string): string => join(pool.directory, 'pools', name);

function activate(name: string): void {
  const place = join(pool.home, `custodians-${name}-${randomBytes(4).toString('hex')}`);
  const certificates = makeCustodians(place);
  must(
    pool.command(
      ...['security-domain', 'download', '--pool', name, '--certificates', ...certificates],
      ...['--quorum', '2', '--out', join(place, 'domain.json')],
    ),
  );
}

async function signs(client: Client, jwk: unknown): Promise<boolean> {
  const message = randomBytes(40);
  const answer = await client.call('POST', `/keys/${KEY}/sign`, {
    alg: 'RS256',
    value: base64url(digestOf('RS256', message)),
  });
  expect([answer.status, answer.text]).toEqual([200, answer.text]);
  return isSignature('RS256', publicKeyOf(jwk), message, bytesAt(answer.body, 'value'));
}

/** Holds every file of a directory open, and says afterwards what is still to be read in them. */
function holdOpen(directory: string): { readonly sizes: number; left(): string[]; close(): void } {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(directory, name)).isFile())
    .map((name) => ({ name, fd: openSync(join(directory, name), 'r') }));
  const content = (fd: number): Buffer => {
    const bytes = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, bytes, 0, bytes.length, 0);
    return bytes;
  };
  return {
    sizes: files.reduce((sum, { fd }) => sum + fstatSync(fd).size, 0),
    left: () => files.filter(({ fd }) => content(fd).some((byte) => byte !== 0)).map(({ name }) => name),
    close: () => files.forEach(({ fd }) => closeSync(fd)),
  };
}

test('resources: a second HSM lives beside the first, and ends without a trace', async () => {
  const made = await arm.create('second');
  expect(made.body).toMatchObject({
    properties: {
      provisioningState: 'Succeeded',
      securityDomainProperties: { activationStatus: 'NotActivated' },
    },
  });
  const { pools } = JSON.parse(pool.command('status', '--json').out) as typeof pool.ready;
  expect(pools.map(({ name }) => name)).toEqual(['dev', 'second']);
  const pids = pools.map(({ instances }) => instances.map(({ pid }) => pid ?? -1));
  expect(new Set(pids.flat()).size).toBe(6);
  expect(processesIn(home('second')).sort()).toEqual([...(pids[1] ?? [])].sort());

  // Nothing but its security domain before that is there.
  let second = await arm.dataClient('second');
  expect((await second.call('GET', '/keys')).status).toBe(403);
  activate('second');
  await until('the control plane knows it', async () => {
    const { body } = await arm.ask('GET', `${HSMS}/second`);
    return at(body, 'properties', 'securityDomainProperties', 'activationStatus') === 'Active';
  });
  await takeCryptoRoles(pool, second);

  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  const secret = privateKey.export({ format: 'jwk' }) as Record<string, string>;
  const imported = await second.call('PUT', `/keys/${KEY}`, { Hsm: true, key: secret });
  expect([imported.status, imported.text]).toEqual([200, imported.text]);
  const jwk = at(imported.body, 'key');
  expect(await signs(second, jwk)).toBe(true);
  const first = await arm.dataClient('dev');
  // Not by its name, which the first one's audit log would then hold for good.
  expect((await first.call('GET', '/keys')).text).not.toContain(KEY);
  // A backup of one is of no use to the other: each has a security domain of its own.
  const backup = await second.call('POST', `/keys/${KEY}/backup`);
  expect((await first.call('POST', '/keys/restore', { value: at(backup.body, 'value') })).status).not.toBe(
    200,
  );

  // Deleted: closed, and held.
  await arm.delete('second');
  for (const pid of pids[1] ?? []) expect(isAlive(pid)).toBe(false);
  await expect(second.call('GET', `/keys/${KEY}`)).rejects.toThrow(ConnectionLost);
  expect((await first.call('GET', '/keys')).status).toBe(200);
  expect(existsSync(home('second'))).toBe(true);
  const taken = await arm.ask('PUT', `${HSMS}/second`, {
    location: 'local',
    properties: { tenantId: pool.ready.tenantId, initialAdminObjectIds: [pool.admin.objectId] },
  });
  expect([taken.status, at(taken.body, 'error', 'code')]).toEqual([409, 'ConflictError']);

  // Recovered: the keys are back, and who may use them.
  await arm.recover('second');
  second = await arm.dataClient('second');
  expect(await signs(second, jwk)).toBe(true);
  expect((await second.call('GET', `/keys/${KEY}`)).body).toMatchObject({ key: { n: at(jwk, 'n') } });

  // Purged: overwritten, unlinked, free.
  await arm.delete('second');
  const held = holdOpen(home('second'));
  expect(held.sizes).toBeGreaterThan(100_000);
  // A part of every file, to be looked for afterwards wherever it may have gone.
  const samples = readdirSync(home('second'), { recursive: true, encoding: 'utf8' })
    .map((name) => join(home('second'), name))
    .filter((file) => statSync(file).isFile() && statSync(file).size >= 4_096 && !file.endsWith('.shm'))
    .map((file) => readFileSync(file).subarray(1_024, 1_088))
    .filter((bytes) => bytes.some((byte) => byte !== 0));
  expect(samples.length).toBeGreaterThan(3);
  await arm.purge('second');
  expect(held.left()).toEqual([]);
  held.close();
  expect(existsSync(home('second'))).toBe(false);
  const traces = [
    { name: 'the key', bytes: Buffer.from(secret['d'] ?? '', 'base64url') },
    { name: 'a prime of it', bytes: Buffer.from(secret['p'] ?? '', 'base64url') },
    { name: 'its public half', bytes: Buffer.from(secret['n'] ?? '', 'base64url').subarray(0, 64) },
    { name: 'its name', bytes: Buffer.from(KEY) },
    ...samples.map((bytes, place) => ({ name: `sample ${place}`, bytes })),
  ];
  expect(findInFiles(pool.directory, traces)).toEqual([]);
  expect((await arm.ask('GET', `${DELETED}/second`)).status).toBe(404);

  const again = await arm.create('second');
  expect(again.body).toMatchObject({
    properties: { securityDomainProperties: { activationStatus: 'NotActivated' } },
  });
  activate('second');
  second = await arm.dataClient('second');
  await takeCryptoRoles(pool, second);
  expect((await second.call('GET', `/keys/${KEY}`)).status).toBe(404);
  // The scan would have found it: it finds what is there.
  expect(findIn(Buffer.from(`x${KEY}x`), formsOf({ name: 'name', bytes: Buffer.from(KEY) }))).toEqual([
    'name raw',
  ]);
}, 300_000);

test('resources: a token of one plane does not open the other', async () => {
  const { controlPlane, subscriptionId } = pool.ready;
  const controlToken = await pool.token(pool.admin, `${controlPlane}/.default`);
  const dataToken = await pool.token();
  const path = `/subscriptions/${subscriptionId}${HSMS}/dev?api-version=2025-05-01`;
  expect((await (await pool.control(controlToken)).call('GET', path)).status).toBe(200);
  expect((await (await pool.control(dataToken)).call('GET', path)).status).toBe(401);
  expect((await (await arm.dataClient('dev', dataToken)).call('GET', '/keys')).status).toBe(200);
  expect((await (await arm.dataClient('dev', controlToken)).call('GET', '/keys')).status).toBe(401);
});

test('resources: an owner of the subscription has no right to keys, and an administrator of an HSM cannot delete it', async () => {
  const owner = pool.addPrincipal('owner');
  const officer = pool.addPrincipal('officer');
  const assigned = await arm.ask(
    'PUT',
    `/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}`,
    { properties: { roleDefinitionId: '8e3af657-a8ff-443c-a75c-2fe8c4bcb635', principalId: owner.objectId } },
  );
  expect(assigned.status).toBe(201);
  const data = await arm.dataClient('dev');
  const local = await data.call(
    'PUT',
    `/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}`,
    {
      properties: {
        roleDefinitionId:
          'Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/a290e904-7015-4bba-90c8-60543313cdb4',
        principalId: officer.objectId,
      },
    },
  );
  expect(local.status).toBe(201);
  const { controlPlane } = pool.ready;
  const scope = `${controlPlane}/.default`;
  const armOf = async (who: typeof owner): Promise<Arm> =>
    new Arm(pool, await pool.control(await pool.token(who, scope)));
  expect((await (await armOf(owner)).ask('GET', `${HSMS}/dev`)).status).toBe(200);
  expect((await (await arm.dataClient('dev', await pool.token(owner))).call('GET', '/keys')).status).toBe(
    403,
  );
  const roles = '/providers/Microsoft.Authorization/roleAssignments';
  expect((await (await arm.dataClient('dev', await pool.token(officer))).call('GET', roles)).status).toBe(
    200,
  );
  const refused = await (await armOf(officer)).ask('DELETE', `${HSMS}/dev`);
  expect([refused.status, at(refused.body, 'error', 'code')]).toEqual([403, 'AuthorizationFailed']);
});

test('resources: killed while an HSM is founded, and while one is purged, the fabric finishes both', async () => {
  await arm.delete('second');
  const { tenantId } = pool.ready;
  const begun = await arm.ask('PUT', `${HSMS}/third`, {
    location: 'local',
    properties: { tenantId, initialAdminObjectIds: [pool.admin.objectId] },
  });
  expect(begun.status).toBe(202);
  await until('its first instance is at work', () => existsSync(join(home('third'), 'instances/0/lock')));
  expect((await arm.ask('POST', `${DELETED}/second/purge`)).status).toBe(202);
  pool.up.signal('SIGKILL');
  await pool.allGone();
  await pool.start();
  arm = await Arm.of(pool);
  await until(
    'the name is free',
    async () => (await arm.ask('GET', `${DELETED}/second`)).status === 404,
    60_000,
  );
  expect(existsSync(home('second'))).toBe(false);
  await until(
    'the third serves',
    async () =>
      at((await arm.ask('GET', `${HSMS}/third`)).body, 'properties', 'provisioningState') === 'Succeeded',
    120_000,
  );
  activate('third');
  const third = await arm.dataClient('third');
  await takeCryptoRoles(pool, third);
  expect((await third.call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
}, 300_000);

test('resources: purge protection that is switched on holds for the keys too, and after a restart', async () => {
  const third = await arm.dataClient('third');
  const level = async (): Promise<unknown> =>
    at((await third.call('GET', '/keys/k')).body, 'attributes', 'recoveryLevel');
  expect(await level()).toBe('Recoverable+Purgeable');
  const on = await arm.ask('PATCH', `${HSMS}/third`, { properties: { enablePurgeProtection: true } });
  expect([on.status, at(on.body, 'properties', 'enablePurgeProtection')]).toEqual([200, true]);
  expect(await level()).toBe('Recoverable');
  expect((await third.call('DELETE', '/keys/k')).status).toBe(200);
  const refused = await third.call('DELETE', '/deletedkeys/k');
  expect([refused.status, refused.text]).toEqual([403, refused.text]);
  expect(pool.command('pool', 'restart', '--pool', 'third').err).toBe('');
  expect((await third.call('DELETE', '/deletedkeys/k')).status).toBe(403);
}, 120_000);
