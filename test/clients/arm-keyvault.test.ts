// The whole life of an HSM as @azure/arm-keyvault, unmodified, drives it.
import { join } from 'node:path';
import { TestPool, at } from '../scenarios/pool.js';
import { runClient } from './programs/run.js';

const PROGRAM = join(__dirname, 'programs', 'arm-keyvault.mjs');
let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
});
afterAll(() => pool.remove());

async function told(...chapters: string[]): Promise<Record<string, unknown>> {
  const wish = JSON.stringify({ readyFile: pool.readyFile, chapters });
  return JSON.parse(await runClient(pool, PROGRAM, [wish])) as Record<string, unknown>;
}

it('an HSM is made, shown, changed, deleted, recovered and purged', async () => {
  const life = await told('create', 'read', 'update', 'connections', 'delete', 'recover', 'purge');
  expect(at(life, 'create', 'made')).toMatchObject({
    name: 'by-the-sdk',
    location: 'local',
    tags: { made: 'here' },
    properties: {
      provisioningState: 'Succeeded',
      hsmUri: `https://by-the-sdk.managedhsm.localhost:${pool.uri.port}/`,
      softDeleteRetentionInDays: 7,
      securityDomainProperties: { activationStatus: 'NotActivated' },
    },
  });
  expect(at(life, 'read')).toMatchObject({
    one: { name: 'by-the-sdk', systemData: { createdBy: pool.admin.objectId } },
    group: ['by-the-sdk', 'dev'],
    subscription: ['by-the-sdk', 'dev'],
    regions: [{ name: 'local', isPrimary: true }],
    links: { value: [{ name: 'managedhsm' }] },
    taken: { nameAvailable: false, reason: 'AlreadyExists' },
    free: { nameAvailable: true },
  });
  expect(at(life, 'update')).toMatchObject({
    tags: { made: 'and changed' },
    properties: { provisioningState: 'Succeeded' },
  });
  expect(at(life, 'connections')).toMatchObject({
    approved: { privateLinkServiceConnectionState: { status: 'Approved' } },
    listed: [{ name: 'pe' }],
    left: [],
  });
  expect(at(life, 'delete')).toMatchObject({
    gone: { status: 404, code: 'ResourceNotFound' },
    listed: ['by-the-sdk'],
    deleted: { properties: { purgeProtectionEnabled: false } },
    taken: { status: 409, code: 'ConflictError' },
  });
  expect(at(life, 'recover')).toMatchObject({ properties: { provisioningState: 'Succeeded' } });
  expect(at(life, 'purge')).toMatchObject({ gone: { status: 404 }, free: { nameAvailable: true } });
}, 240_000);
