// Keys through ARM as @azure/arm-keyvault, unmodified, makes and reads them.
import { join } from 'node:path';
import { TestPool, at } from '../scenarios/pool.js';
import { runClient } from './programs/run.js';

const PROGRAM = join(__dirname, 'programs', 'arm-keyvault-keys.mjs');
let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
});
afterAll(() => pool.remove());

it('keys are made once, shown, listed through all pages, and shown by version', async () => {
  const data = await pool.client();
  const setting = '/settings/AllowKeyManagementOperationsThroughARM';
  expect((await data.call('PATCH', setting, { value: 'true' })).status).toBe(200);
  const told = JSON.parse(
    await runClient(pool, PROGRAM, [JSON.stringify({ readyFile: pool.readyFile })]),
  ) as Record<string, unknown>;
  expect(told['made']).toMatchObject({
    name: 'by-the-sdk',
    tags: { made: 'here' },
    kty: 'RSA-HSM',
    keySize: 2048,
    keyOps: ['sign', 'verify'],
    keyUri: `${pool.uri.origin}/keys/by-the-sdk`,
    attributes: { enabled: true, exportable: false, recoveryLevel: 'Recoverable+Purgeable' },
  });
  expect(told['again']).toEqual(told['made']);
  expect(told['shown']).toEqual(told['made']);
  expect(told['listed']).toHaveLength(27);
  expect(told['versions']).toHaveLength(1);
  expect(told['version']).toMatchObject({ keyUriWithVersion: at(told['made'], 'keyUriWithVersion') });
  expect(told['missing']).toEqual({ statusCode: 404, code: 'KeyNotFound' });
}, 240_000);
