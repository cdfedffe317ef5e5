// Programs that hold no secret of their own: @azure/identity, unmodified, with IDENTITY_ENDPOINT and IDENTITY_HEADER.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ManagedPrincipal } from '../../src/fabric/login/principals.js';
import { TestPool } from '../scenarios/pool.js';
import { runClient } from './programs/run.js';

const PROGRAM = join(__dirname, 'programs', 'managed-identity.mjs');
const CRYPTO_USER = '21dbd100-6940-42c2-9190-5d6cb909625b';
let pool: TestPool;
let identity: ManagedPrincipal;

beforeAll(async () => {
  pool = await TestPool.start();
  const { out, err } = pool.command('principal', 'add', 'worker', '--managed-identity', '--json');
  expect(err).toBe('');
  identity = JSON.parse(out) as ManagedPrincipal;
  const admin = await pool.client();
  expect((await admin.call('POST', '/keys/mine/create', { kty: 'EC' })).status).toBe(200);
  const roleDefinitionId = `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${CRYPTO_USER}`;
  const path = `/keys/mine/providers/Microsoft.Authorization/roleAssignments/${randomUUID()}`;
  const properties = { roleDefinitionId, principalId: identity.objectId };
  expect((await admin.call('PUT', path, { properties })).status).toBe(201);
});
afterAll(() => pool.remove());

async function told(key: string, header = identity.identityHeader): Promise<unknown> {
  const env = { IDENTITY_ENDPOINT: identity.identityEndpoint, IDENTITY_HEADER: header };
  const wish = JSON.stringify({ url: pool.uri.origin, key });
  return JSON.parse(await runClient(pool, PROGRAM, [wish], { env }));
}

it('a managed identity reads the key that it has a role for, and no other', async () => {
  expect(await told('mine')).toEqual({ managed: 'mine', default: 'mine' });
  expect(await told('theirs')).toEqual({ managed: 403, default: 403 });
});

it('the command line shows a person what the program needs, and makes one thing of a principal', () => {
  const { status, out } = pool.command('principal', 'add', 'shown', '--managed-identity');
  const [, endpoint, header] = /^IDENTITY_ENDPOINT=(.+)\nIDENTITY_HEADER=(.+)$/m.exec(out) ?? [];
  expect([status, endpoint]).toEqual([0, expect.stringContaining(pool.ready.controlPlane)]);
  expect(Buffer.from(header ?? '', 'base64url')).toHaveLength(32);
  expect(pool.command('principal', 'list').out).toMatch(/^shown .*, managed identity$/m);
  const both = ['--managed-identity', '--certificate', pool.ready.caFile];
  expect(pool.command('principal', 'add', 'both', ...both).err).toMatch(/cannot be used with/);
});

it('with another header it gets nothing', async () => {
  expect(await told('mine', 'wrong')).toMatchObject({ managed: 'CredentialUnavailableError' });
});

it('once it is removed it gets nothing, and its roles are gone', async () => {
  const { status, out } = pool.command('principal', 'remove', 'worker');
  expect([status, out]).toEqual([0, expect.stringContaining('role assignments deleted: 1')]);
  expect(await told('mine')).toMatchObject({ managed: 'CredentialUnavailableError' });
});
