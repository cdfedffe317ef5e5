// The life of an HSM from beginning to end, as its owner lives it: made, activated, used, backed up, lost from sight and
// still paid for, brought back, purged, and rebuilt from its security domain and its backup. Through the command line,
// the resource manager and the data plane of a real fabric, with a clock that is moved.
import { join } from 'node:path';
import { Arm, DELETED } from './arm.js';
import { blobFor, custodians, makeCustodians, must, takeCryptoRoles } from './ceremonies.js';
import { at, TestPool, text, type Answer, type Client } from './pool.js';
import { makeKeys, useKey, type Made } from './use.js';

const NAME = 'sovereign';
const GROUP = '/resourceGroups/story';
const HSM = `${GROUP}/providers/Microsoft.KeyVault/managedHSMs/${NAME}`;

let pool: TestPool;
let arm: Arm;

beforeAll(async () => {
  pool = new TestPool(undefined, ['--movable-clock', '--storage', '--max-pools', '2', '--no-activate']);
  await pool.start();
  arm = await Arm.of(pool);
}, 120_000);
afterAll(() => pool.remove());

interface Charge {
  readonly name: string;
  readonly state: string;
  readonly hours: number;
  readonly cost: number;
}

/** What the pools of this name have cost, the oldest first. */
function charges(): Charge[] {
  const { pools } = JSON.parse(must(pool.command('meter', '--json'))) as {
    readonly pools: readonly Charge[];
  };
  return pools.filter(({ name }) => name === NAME);
}

/** Lets a day pass; gives the hours that the newest one is charged for it. */
async function hoursOfDay(): Promise<number> {
  const before = charges().at(-1)?.hours ?? 0;
  must(pool.command('clock', 'advance', 'P1D'));
  arm = await Arm.of(pool); // the token before has ended
  return (charges().at(-1)?.hours ?? 0) - before;
}

async function make(): Promise<Answer> {
  const properties = { tenantId: pool.ready.tenantId, initialAdminObjectIds: [pool.admin.objectId] };
  return arm.ask('PUT', HSM, { location: 'local', properties });
}

const codeOf = ({ status, body }: Answer): unknown => [status, at(body, 'error', 'code')];

async function expectAll(client: Client, keys: readonly Made[]): Promise<void> {
  for (const key of keys) expect([key.name, await useKey(client, key)]).toEqual([key.name, undefined]);
}

test('story: made, used, backed up, deleted, billed, recovered, purged, and rebuilt by its custodians', async () => {
  expect((await arm.ask('PUT', GROUP, { location: 'local' })).status).toBe(201);
  const made = await arm.ended(await make());
  expect(made.body).toMatchObject({
    properties: {
      provisioningState: 'Succeeded',
      securityDomainProperties: { activationStatus: 'NotActivated' },
    },
  });
  let client = await arm.dataClient(NAME);
  expect((await client.call('POST', '/keys/early/create', { kty: 'EC' })).status).toBe(403);

  // The ceremony; the custodians and the file are elsewhere from now on.
  const place = join(pool.home, 'custodians');
  const domain = join(pool.home, 'domain.json');
  must(
    pool.command(
      ...['security-domain', 'download', '--pool', NAME, '--certificates', ...makeCustodians(place)],
      ...['--quorum', '2', '--out', domain],
    ),
  );
  await takeCryptoRoles(pool, client);
  const keys = await makeKeys(client);
  await expectAll(client, keys);
  const backup: unknown = JSON.parse(must(pool.command('backup', 'start', '--pool', NAME, '--json')));
  const folder = text(backup, 'azureStorageBlobContainerUri');

  // Deleted: closed, still paid for, its name held; and brought back with everything.
  expect((await arm.ended(await arm.ask('DELETE', HSM))).status).toBe(200);
  expect(charges()).toMatchObject([{ state: 'SoftDeleted' }]);
  expect(await hoursOfDay()).toBe(24);
  expect(codeOf(await make())).toEqual([409, 'ConflictError']);
  const back = { location: 'local', properties: { createMode: 'recover' } };
  expect((await arm.ended(await arm.ask('PUT', HSM, back))).status).toBe(200);
  client = await arm.dataClient(NAME);
  await expectAll(client, keys);

  // Its group goes, and takes it along; it is paid for all the same.
  expect((await arm.ended(await arm.ask('DELETE', GROUP))).status).toBe(200);
  expect(codeOf(await arm.ask('GET', GROUP))).toEqual([404, 'ResourceGroupNotFound']);
  expect((await arm.ask('GET', `${DELETED}/${NAME}`)).status).toBe(200);
  expect(await hoursOfDay()).toBe(24);

  // Whose subscription is disabled cannot purge, and goes on paying.
  must(pool.command('subscription', 'disable'));
  const refused = await arm.ask('POST', `${DELETED}/${NAME}/purge`);
  expect([refused.status, at(refused.body, 'error', 'message')]).toEqual([
    409,
    expect.stringMatching(/subscription .* is disabled/i),
  ]);
  expect(await hoursOfDay()).toBe(24);
  must(pool.command('subscription', 'enable'));
  expect((await arm.ended(await arm.ask('POST', `${DELETED}/${NAME}/purge`))).status).toBe(200);
  expect(charges()).toMatchObject([{ state: 'Purged' }]);
  expect(await hoursOfDay()).toBe(0);
  const free = await arm.ask('POST', '/providers/Microsoft.KeyVault/checkMhsmNameAvailability', {
    name: NAME,
  });
  expect(free.body).toMatchObject({ nameAvailable: true });

  // Another HSM of the name, to which a quorum gives the domain, and the backup the keys.
  expect((await arm.ask('PUT', GROUP, { location: 'local' })).status).toBe(201);
  await arm.ended(await make());
  const blob = join(pool.home, 'blob.json');
  blobFor(pool, domain, custodians(place, 3, 'key').slice(1), 'blob', NAME);
  must(pool.command('security-domain', 'upload', '--pool', NAME, '--blob', blob));
  client = await arm.dataClient(NAME);
  await takeCryptoRoles(pool, client);
  expect(at((await client.call('GET', '/keys')).body, 'value')).toEqual([]);
  must(pool.command('restore', 'start', folder, '--yes', '--pool', NAME));
  await expectAll(client, keys);
  expect(charges().map(({ state }) => state)).toEqual(['Purged', 'Provisioned']);
}, 600_000);
