import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { changeWish, eventually, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { StartedFabric } from '../programs/started-fabric.js';
import { HSMS, KEY_VAULT, VERSION, armClient } from './arm-client.js';
import type { Arm } from './arm-client.js';

const directory = privateDirectory();
let started: StartedFabric;
let arm: Arm;

beforeAll(async () => {
  started = await startedFabric(directory, { poolsMax: 4 });
  arm = await armClient(started);
});
afterAll(() => started.fabric.abandon());

// Which pool answers under a name on the data port, with what clients trust now; undefined: nobody.
function answerer(name: string): Promise<string | undefined> {
  const [pool] = started.fabric.status().pools;
  const port = Number(new URL(pool?.uri ?? '').port);
  const ca = readFileSync(started.fabric.places.caFile, 'utf8');
  const servername = `${name}.managedhsm.localhost`;
  // The fakes are all certified for one name, so whose it is does not matter here.
  const options = {
    host: '127.0.0.1',
    port,
    servername,
    ca,
    agent: false,
    checkServerIdentity: () => undefined,
  };
  return new Promise((resolve) => {
    request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve((JSON.parse(Buffer.concat(chunks).toString()) as { start: { pool: string } }).start.pool);
      });
    })
      .on('error', () => resolve(undefined))
      .end();
  });
}

const poolDirectory = (name: string): string => join(started.fabric.places.pools, name);

async function create(name: string, properties: Record<string, unknown> = {}): Promise<void> {
  const answer = await arm.ended(await arm.ask('PUT', `${HSMS}/${name}`, arm.hsm({}, properties)));
  expect(answer.status).toBe(200);
}

async function remove(name: string): Promise<void> {
  expect((await arm.ended(await arm.ask('DELETE', `${HSMS}/${name}`))).status).toBe(200);
}

async function purge(name: string): Promise<void> {
  const path = `${KEY_VAULT}/locations/local/deletedManagedHSMs/${name}/purge`;
  expect((await arm.ended(await arm.ask('POST', path))).status).toBe(200);
}

const code = (json: Readonly<Record<string, unknown>>): unknown =>
  (json['error'] as { code?: unknown } | undefined)?.code;

describe('arm: the life of an HSM', () => {
  test('the first pool is a resource like any other', async () => {
    const { json } = await arm.ask('GET', `${HSMS}/dev`);
    expect(json).toMatchObject({
      id: `${arm.subscription}${HSMS}/dev`,
      name: 'dev',
      type: 'Microsoft.KeyVault/managedHSMs',
      sku: { family: 'B', name: 'Standard_B1' },
      properties: {
        hsmUri: `${started.fabric.status().pools[0]?.uri ?? ''}/`,
        initialAdminObjectIds: [started.admin.objectId],
        enableSoftDelete: true,
        softDeleteRetentionInDays: 90,
        enablePurgeProtection: false,
        provisioningState: 'Succeeded',
        statusMessage: 'The Managed HSM is provisioned and ready to use.',
        networkAcls: {
          bypass: 'AzureServices',
          defaultAction: 'Allow',
          ipRules: [],
          virtualNetworkRules: [],
        },
        publicNetworkAccess: 'Enabled',
        regions: [],
        securityDomainProperties: { activationStatus: 'Active' },
      },
    });
  });

  test('created, deleted, recovered, deleted, purged: its name leads to it exactly while it lives', async () => {
    const begun = await arm.ask('PUT', `${HSMS}/Second`, arm.hsm({ tags: { a: 'b' } }));
    expect(begun.headers['retry-after']).toBe('1');
    expect(begun.headers.location).toMatch(/\/locations\/local\/managedHsmOperationResults\/[0-9a-f-]{36}\?/);
    expect((await arm.ask('GET', `${HSMS}/second`)).json).toMatchObject({
      properties: { provisioningState: 'Provisioning' },
    });
    const made = await arm.ended(begun);
    expect(made.json).toMatchObject({
      name: 'Second',
      tags: { a: 'b' },
      properties: { provisioningState: 'Succeeded' },
    });
    expect((await arm.ask('GET', `${HSMS}/SECOND`)).json).toEqual(made.json);
    expect(started.fabric.status().pools.map(({ name }) => name)).toEqual(['dev', 'second']);
    expect([await answerer('second'), await answerer('dev')]).toEqual(['second', 'dev']);
    const stores = (): string[] =>
      [0, 1, 2].map((id) =>
        readFileSync(join(poolDirectory('second'), `instances/${id}/store.json`), 'utf8'),
      );
    const kept = stores().map((text) => (JSON.parse(text) as { store: string }).store);

    await remove('second');
    expect((await arm.ask('GET', `${HSMS}/second`)).status).toBe(404);
    expect(await answerer('second')).toBeUndefined();
    expect(await answerer('dev')).toBe('dev');
    expect(stores()).toHaveLength(3);
    const deleted = await arm.ask('GET', `${KEY_VAULT}/locations/local/deletedManagedHSMs/second`);
    expect(deleted.json).toMatchObject({
      id: `${arm.subscription}${KEY_VAULT}/locations/local/deletedManagedHSMs/Second`,
      name: 'Second',
      type: 'Microsoft.Keyvault/deletedManagedHSMs',
      properties: {
        mhsmId: `${arm.subscription}${HSMS}/Second`,
        location: 'local',
        purgeProtectionEnabled: false,
        tags: { a: 'b' },
      },
    });
    const { deletionDate, scheduledPurgeDate } = deleted.json['properties'] as Record<string, string>;
    expect(Date.parse(String(scheduledPurgeDate)) - Date.parse(String(deletionDate))).toBe(90 * 86_400_000);

    const taken = await arm.ask('PUT', `${HSMS}/second`, arm.hsm());
    expect([taken.status, code(taken.json)]).toEqual([409, 'ConflictError']);
    expect(taken.text).toContain('A KV MHSM with the same name already exists in deleted state');
    expect(
      (await arm.ask('POST', `${KEY_VAULT}/checkMhsmNameAvailability`, { name: 'SECOND' })).json,
    ).toMatchObject({
      nameAvailable: false,
      reason: 'AlreadyExists',
    });

    const recovered = await arm.ended(
      await arm.ask('PUT', `${HSMS}/Second`, { location: 'local', properties: { createMode: 'Recover' } }),
    );
    expect(recovered.json).toMatchObject({ name: 'Second', properties: { provisioningState: 'Succeeded' } });
    expect(stores().map((text) => (JSON.parse(text) as { store: string }).store)).toEqual(kept);
    expect(await answerer('second')).toBe('second');

    await remove('second');
    await purge('second');
    expect(existsSync(poolDirectory('second'))).toBe(false);
    expect((await arm.ask('GET', `${KEY_VAULT}/locations/local/deletedManagedHSMs/second`)).status).toBe(404);
    expect(
      (await arm.ask('POST', `${KEY_VAULT}/checkMhsmNameAvailability`, { name: 'second' })).json,
    ).toEqual({
      nameAvailable: true,
    });
    await create('second');
    const store = (JSON.parse(stores()[0] ?? '') as { store: string }).store;
    expect(kept).not.toContain(store);
    await remove('second');
    await purge('second');
  });

  test('what clients trust has the root of every pool that answers', async () => {
    const roots = (): number =>
      readFileSync(started.fabric.places.caFile, 'utf8').split('BEGIN CERTIFICATE').length - 1;
    expect(roots()).toBe(2);
    await create('third');
    expect(roots()).toBe(3);
    await remove('third');
    expect(roots()).toBe(2);
    await purge('third');
  });

  test('one that is deleted while it is being made goes without having been', async () => {
    const begun = await arm.ask('PUT', `${HSMS}/brief`, arm.hsm());
    const going = await arm.ask('DELETE', `${HSMS}/brief`);
    expect((await arm.ended(going)).status).toBe(200);
    const failed = await arm.ended(begun);
    expect([failed.status, code(failed.json)]).toEqual([409, 'OperationFailed']);
    expect(await answerer('brief')).toBeUndefined();
    await purge('brief');
    expect(existsSync(poolDirectory('brief'))).toBe(false);
  });

  test('one that cannot be made fails with its reason, leaves nothing, and can be wished for again', async () => {
    const module = join(directory, readdirSync(directory).find((name) => name.endsWith('.json')) ?? '');
    changeWish(module, { fails: 1 });
    const failed = await arm.ended(await arm.ask('PUT', `${HSMS}/luckless`, arm.hsm()));
    expect(failed.status).toBe(409);
    expect(failed.text).toContain('instance 1 has no token');
    expect((await arm.ask('GET', `${HSMS}/luckless`)).json).toMatchObject({
      properties: { provisioningState: 'Failed' },
    });
    await eventually(() => !existsSync(poolDirectory('luckless')));
    changeWish(module, {});
    await create('luckless');
    await remove('luckless');
    await purge('luckless');
  });

  test('purge protection: nobody purges it, and it cannot be taken back', async () => {
    await create('guarded', { softDeleteRetentionInDays: 7 });
    const on = await arm.ask('PATCH', `${HSMS}/guarded`, { properties: { enablePurgeProtection: true } });
    expect(on.json).toMatchObject({ properties: { enablePurgeProtection: true } });
    const off = await arm.ask('PATCH', `${HSMS}/guarded`, { properties: { enablePurgeProtection: false } });
    expect([off.status, code(off.json)]).toEqual([400, 'BadRequest']);
    await remove('guarded');
    const refused = await arm.ask('POST', `${KEY_VAULT}/locations/local/deletedManagedHSMs/guarded/purge`);
    expect([refused.status, code(refused.json)]).toEqual([405, 'MethodNotAllowed']);
    expect(refused.text).toContain('purge protection is enabled');
    expect(existsSync(poolDirectory('guarded'))).toBe(true);
  });

  test('a full machine takes no more, deleted ones count, and purging makes room', async () => {
    // Beside the first and the guarded one, which stays for good.
    await create('one');
    await create('two');
    const refused = await arm.ask('PUT', `${HSMS}/three`, arm.hsm());
    expect([refused.status, code(refused.json)]).toEqual([409, 'InsufficientCapacity']);
    expect(refused.text).toContain('--max-pools');
    await remove('two');
    expect(code((await arm.ask('PUT', `${HSMS}/three`, arm.hsm())).json)).toBe('InsufficientCapacity');
    await purge('two');
    await create('three');
    for (const name of ['one', 'three']) {
      await remove(name);
      await purge(name);
    }
  });
});

describe('arm: resource groups', () => {
  test('are created, listed, changed and found, in any spelling of their path', async () => {
    expect((await arm.ask('PUT', '/resourcegroups/Team.A', { location: 'East US 2' })).status).toBe(201);
    const again = await arm.ask('PUT', '/resourceGroups/team.a', { location: 'eastus2', tags: { x: 'y' } });
    expect([again.status, again.json]).toEqual([
      200,
      {
        id: `${arm.subscription}/resourceGroups/Team.A`,
        name: 'Team.A',
        type: 'Microsoft.Resources/resourceGroups',
        location: 'eastus2',
        tags: { x: 'y' },
        properties: { provisioningState: 'Succeeded' },
      },
    ]);
    expect((await arm.ask('HEAD', '/resourcegroups/TEAM.A')).status).toBe(204);
    expect((await arm.ask('HEAD', '/resourcegroups/none')).status).toBe(404);
    const moved = await arm.ask('PUT', '/resourceGroups/team.a', { location: 'west' });
    expect([moved.status, code(moved.json)]).toEqual([409, 'InvalidResourceLocation']);
    const { json } = await arm.ask('GET', '/resourcegroups');
    expect((json['value'] as { name: string }[]).map(({ name }) => name)).toEqual(['Team.A', 'trivet']);
    expect((await arm.ended(await arm.ask('DELETE', '/resourcegroups/team.a'))).status).toBe(200);
    expect((await arm.ask('GET', '/resourcegroups/team.a')).status).toBe(404);
  });

  test('deleting one soft-deletes its HSMs, and they can be recovered into a new one', async () => {
    const inTeam = '/resourceGroups/team/providers/Microsoft.KeyVault/managedHSMs/teams';
    const missing = await arm.ask('PUT', inTeam, arm.hsm());
    expect([missing.status, code(missing.json)]).toEqual([404, 'ResourceGroupNotFound']);
    await arm.ask('PUT', '/resourceGroups/team', { location: 'local' });
    expect((await arm.ended(await arm.ask('PUT', inTeam, arm.hsm()))).status).toBe(200);
    const going = await arm.ask('DELETE', '/resourceGroups/team');
    expect(going.headers.location).toMatch(/\/operationresults\//);
    const ended = await arm.ended(going);
    expect([ended.status, ended.text]).toEqual([200, '']);
    expect((await arm.ask('GET', '/resourceGroups/team')).status).toBe(404);
    const { json } = await arm.ask('GET', `${KEY_VAULT}/deletedManagedHSMs`);
    expect((json['value'] as { name: string }[]).map(({ name }) => name)).toContain('teams');
    const recover = { location: 'local', properties: { createMode: 'recover' } };
    expect(code((await arm.ask('PUT', inTeam, recover)).json)).toBe('ResourceGroupNotFound');
    await arm.ask('PUT', '/resourceGroups/team', { location: 'local' });
    expect((await arm.ended(await arm.ask('PUT', inTeam, recover))).json).toMatchObject({ name: 'teams' });
    await arm.ended(await arm.ask('DELETE', '/resourceGroups/team'));
    await purge('teams');
  });
});

describe('arm: what is refused', () => {
  test.each([
    ['too short', 'ab', {}, {}, 400, 'AccountNameInvalid'],
    ['beginning with a digit', '1abc', {}, {}, 400, 'AccountNameInvalid'],
    ['two hyphens', 'a--b', {}, {}, 400, 'AccountNameInvalid'],
    ['too long', 'a'.repeat(25), {}, {}, 400, 'AccountNameInvalid'],
    ['no location', 'fine', { location: undefined }, {}, 400, 'LocationRequired'],
    ['no place', 'fine', { location: '../x' }, {}, 400, 'LocationNotAvailableForResourceType'],
    ['a sku of vaults', 'fine', { sku: { family: 'A', name: 'standard' } }, {}, 400, 'BadRequest'],
    ['another tenant', 'fine', {}, { tenantId: '11111111-1111-4111-8111-111111111111' }, 400, 'BadRequest'],
    ['no tenant', 'fine', {}, { tenantId: undefined }, 400, 'BadRequest'],
    ['no administrator', 'fine', {}, { initialAdminObjectIds: [] }, 400, 'BadRequest'],
    ['an administrator by name', 'fine', {}, { initialAdminObjectIds: ['me'] }, 400, 'InvalidRequestContent'],
    ['no soft delete', 'fine', {}, { enableSoftDelete: false }, 400, 'BadRequest'],
    ['short retention', 'fine', {}, { softDeleteRetentionInDays: 6 }, 400, 'BadRequest'],
    ['long retention', 'fine', {}, { softDeleteRetentionInDays: 91 }, 400, 'BadRequest'],
    ['broken retention', 'fine', {}, { softDeleteRetentionInDays: 7.5 }, 400, 'BadRequest'],
    ['a region elsewhere', 'fine', {}, { regions: [{ name: 'testregion' }] }, 400, '400'],
    ['tags that are no texts', 'fine', { tags: { a: 1 } }, {}, 400, 'InvalidRequestContent'],
    ['recovering what never was', 'fine', {}, { createMode: 'recover' }, 404, 'DeletedMhsmNotFound'],
    ['recovering what lives', 'dev', {}, { createMode: 'recover' }, 409, 'ConflictError'],
    ['moving', 'dev', { location: 'eastus' }, {}, 409, 'InvalidResourceLocation'],
    ['changing retention', 'dev', {}, { softDeleteRetentionInDays: 7 }, 400, 'BadRequest'],
  ])('an HSM with %s', async (_what, name, changes, properties, status, error) => {
    const before = (await arm.ask('GET', `${KEY_VAULT}/managedHSMs`)).text;
    const answer = await arm.ask('PUT', `${HSMS}/${name}`, arm.hsm(changes, properties));
    expect([answer.status, code(answer.json)]).toEqual([status, error]);
    expect((await arm.ask('GET', `${KEY_VAULT}/managedHSMs`)).text).toBe(before);
  });

  test('a request without an api-version, or with one that is not known', async () => {
    const path = `${arm.subscription}${HSMS}/dev`;
    const without = await arm.raw('GET', path);
    expect([without.status, code(without.json)]).toEqual([400, 'MissingApiVersionParameter']);
    const unknown = await arm.raw('GET', `${path}?api-version=2019-09-01`);
    expect([unknown.status, code(unknown.json)]).toEqual([400, 'NoRegisteredProviderFound']);
    const garbled = await arm.raw('GET', `${arm.subscription}/resourceGroups?api-version=new`);
    expect([garbled.status, code(garbled.json)]).toEqual([400, 'InvalidApiVersionParameter']);
    for (const version of ['2021-04-01-preview', '2021-10-01', '2024-11-01', '2025-05-01', '2026-02-01']) {
      expect((await arm.raw('GET', `${path}?api%2Dversion=${version}`)).status).toBe(200);
    }
  });

  test('another subscription, an unknown operation, an unknown path', async () => {
    const other = await arm.raw('GET', `/subscriptions/11111111-1111-4111-8111-111111111111?${VERSION}`);
    expect([other.status, code(other.json)]).toEqual([404, 'SubscriptionNotFound']);
    const path = `${KEY_VAULT}/locations/local/managedHsmOperationResults/${crypto.randomUUID()}`;
    expect((await arm.ask('GET', path)).status).toBe(404);
    expect((await arm.ask('GET', `${KEY_VAULT}/vaults`)).status).toBe(404);
  });

  test('a second deletion, and a purge of what is not deleted', async () => {
    expect((await arm.ask('DELETE', `${HSMS}/nobody`)).status).toBe(204);
    const purged = await arm.ask('POST', `${KEY_VAULT}/locations/local/deletedManagedHSMs/dev/purge`);
    expect([purged.status, code(purged.json)]).toEqual([404, 'DeletedMhsmNotFound']);
  });

  test('everything that changes, while the subscription is disabled', async () => {
    await create('stays');
    await create('leaves');
    await remove('leaves');
    const set = async (state: string): Promise<void> => {
      const headers = {
        Authorization: `Bearer ${await started.token()}`,
        'Content-Type': 'application/json',
      };
      const body = JSON.stringify({ state });
      expect(
        (await started.ask('/trivet/subscription', { method: 'PUT', headers, body })).json,
      ).toMatchObject({
        state,
      });
    };
    await set('Disabled');
    const purgePath = `${KEY_VAULT}/locations/local/deletedManagedHSMs/leaves/purge`;
    for (const [method, path, body] of [
      ['POST', purgePath, undefined],
      ['DELETE', `${HSMS}/stays`, undefined],
      ['PUT', `${HSMS}/stays`, arm.hsm()],
      ['PATCH', `${HSMS}/stays`, { tags: {} }],
      ['DELETE', '/resourceGroups/trivet', undefined],
    ] as const) {
      const refused = await arm.ask(method, path, body);
      expect([path, refused.status, code(refused.json)]).toEqual([path, 409, 'ReadOnlyDisabledSubscription']);
      expect(refused.text).toContain('is disabled and therefore marked as read only');
    }
    expect((await arm.ask('GET', `${HSMS}/stays`)).status).toBe(200);
    expect((await arm.raw('GET', `${arm.subscription}?api-version=2022-12-01`)).json).toMatchObject({
      state: 'Disabled',
    });
    await set('Warned');
    expect((await arm.ask('PATCH', `${HSMS}/stays`, { tags: { w: '1' } })).status).toBe(200);
    await set('Enabled');
    await purge('leaves');
    await remove('stays');
    await purge('stays');
  });
});

describe('arm: reading', () => {
  test('lists come in pages that follow one another', async () => {
    await create('aaa');
    await create('zzz');
    const first = await arm.ask('GET', `${KEY_VAULT}/managedHSMs?$top=2`);
    const names = (json: Readonly<Record<string, unknown>>): string[] =>
      (json['value'] as { name: string }[]).map(({ name }) => name);
    expect(names(first.json)).toEqual(['aaa', 'dev']);
    const { pathname, search } = new URL(String(first.json['nextLink']));
    const second = await arm.raw('GET', `${pathname}${search}`);
    expect(names(second.json)).toEqual(['zzz']);
    expect(second.json).not.toHaveProperty('nextLink');
    expect((await arm.ask('GET', `${HSMS}?$top=0`)).status).toBe(400);
    const filter = encodeURIComponent("resourceType eq 'Microsoft.KeyVault/managedHSMs'");
    expect(names((await arm.ask('GET', `/resources?$filter=${filter}`)).json)).toEqual(['aaa', 'dev', 'zzz']);
    const vaults = encodeURIComponent("resourceType eq 'Microsoft.KeyVault/vaults'");
    expect(names((await arm.ask('GET', `/resources?$filter=${vaults}`)).json)).toEqual([]);
    for (const name of ['aaa', 'zzz']) {
      await remove(name);
      await purge(name);
    }
  });

  test('names are checked, with the reason', async () => {
    const check = async (name: unknown) =>
      (await arm.ask('POST', `${KEY_VAULT}/checkMhsmNameAvailability`, { name })).json;
    expect(await check('free-name')).toEqual({ nameAvailable: true });
    expect(await check('DEV')).toMatchObject({ nameAvailable: false, reason: 'AlreadyExists' });
    expect(await check('no_name')).toMatchObject({ nameAvailable: false, reason: 'AccountNameInvalid' });
    expect(code(await check(7))).toBe('InvalidRequestContent');
  });

  test('regions, private link resources and operations', async () => {
    expect((await arm.ask('GET', `${HSMS}/dev/regions`)).json).toEqual({
      value: [{ name: 'local', provisioningState: 'Succeeded', isPrimary: true }],
    });
    expect((await arm.ask('GET', `${HSMS}/dev/privateLinkResources`)).json).toMatchObject({
      value: [
        {
          name: 'managedhsm',
          type: 'Microsoft.KeyVault/managedHSMs/privateLinkResources',
          properties: {
            groupId: 'managedhsm',
            requiredMembers: ['default'],
            requiredZoneNames: ['privatelink.managedhsm.azure.net'],
          },
        },
      ],
    });
    const { json } = await arm.raw('GET', `/providers/Microsoft.KeyVault/operations?${VERSION}`);
    const names = (json['value'] as { name: string }[]).map(({ name }) => name);
    expect(names).toContain('Microsoft.KeyVault/locations/deletedManagedHsms/purge/action');
  });

  test('private endpoint connections are recorded, approved, rejected and removed', async () => {
    const path = `${HSMS}/dev/privateEndpointConnections/pe-1`;
    const endpoint = `${arm.subscription}/resourceGroups/net/providers/Microsoft.Network/privateEndpoints/pe`;
    const wish = (status: string, more: Record<string, unknown> = {}) => ({
      properties: { privateLinkServiceConnectionState: { status, description: 'why' }, ...more },
    });
    expect((await arm.ask('PUT', path, wish('Approved'))).status).toBe(404);
    const pending = await arm.ask('PUT', path, { properties: { privateEndpoint: { id: endpoint } } });
    expect(pending.json).toMatchObject({
      id: `${arm.subscription}${path}`,
      type: 'Microsoft.KeyVault/vaults/privateEndpointConnections',
      properties: {
        provisioningState: 'Succeeded',
        privateEndpoint: { id: endpoint },
        privateLinkServiceConnectionState: { status: 'Pending', actionsRequired: 'None' },
      },
    });
    const approved = await arm.ask('PUT', path, wish('approved'));
    expect(approved.json['etag']).not.toBe(pending.json['etag']);
    expect((await arm.ask('GET', path)).json).toMatchObject({
      properties: { privateLinkServiceConnectionState: { status: 'Approved', description: 'why' } },
    });
    expect((await arm.ask('GET', `${HSMS}/dev`)).json).toMatchObject({
      properties: { privateEndpointConnections: [{ id: `${arm.subscription}${path}` }] },
    });
    await arm.ask('PUT', path, wish('Rejected'));
    expect((await arm.ask('GET', `${HSMS}/dev/privateEndpointConnections`)).json).toMatchObject({
      value: [{ properties: { privateLinkServiceConnectionState: { status: 'Rejected' } } }],
    });
    expect((await arm.ask('DELETE', path)).status).toBe(200);
    expect((await arm.ask('DELETE', path)).status).toBe(204);
    expect((await arm.ask('GET', path)).status).toBe(404);
  });
});
