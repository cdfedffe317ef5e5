// Debian's azure-cli, unmodified: the whole life of an HSM, resource groups, and roles of the control plane.
import { randomUUID } from 'node:crypto';
import { TestPool, at } from '../scenarios/pool.js';
import { Az } from './installed.js';

const NAME = 'by-az';
let pool: TestPool;
let az: Az;

beforeAll(async () => {
  pool = await TestPool.start();
  az = new Az(pool, 'administrator');
  await az.registerCloud();
  await az.login(pool.admin);
});
afterAll(() => pool.remove());

function keyvault(...args: string[]): Promise<unknown> {
  return az.run('keyvault', ...args);
}

describe('az keyvault, for an HSM', () => {
  it('creates it, in the place of its group', async () => {
    const made = await keyvault(
      ...['create', '--hsm-name', NAME, '--resource-group', 'trivet', '--retention-days', '7'],
      ...['--administrators', pool.admin.objectId],
    );
    expect(made).toMatchObject({
      name: NAME,
      location: 'local',
      resourceGroup: 'trivet',
      properties: {
        provisioningState: 'Succeeded',
        initialAdminObjectIds: [pool.admin.objectId],
        softDeleteRetentionInDays: 7,
        hsmUri: `https://${NAME}.managedhsm.localhost:${pool.uri.port}/`,
      },
    });
  }, 180_000);

  it('shows it and lists it', async () => {
    expect(await keyvault('show', '--hsm-name', NAME)).toMatchObject({ name: NAME });
    expect(await keyvault('list', '--resource-type', 'hsm', '--query', '[].name')).toEqual([NAME, 'dev']);
    const inGroup = ['--resource-group', 'trivet', '--query', '[].name'];
    expect(await keyvault('list', '--resource-type', 'hsm', ...inGroup)).toEqual([NAME, 'dev']);
    expect(await keyvault('list', '--query', '[].name')).toEqual([NAME, 'dev']);
    const missing = await az.try(['keyvault', 'show', '--hsm-name', 'nobody', '--resource-group', 'trivet']);
    expect([missing.code, missing.err]).toEqual([3, expect.stringContaining('ResourceNotFound')]);
  });

  it('says whose name is taken', async () => {
    expect(await keyvault('check-name', '--name', NAME, '--resource-type', 'hsm')).toMatchObject({
      nameAvailable: false,
      reason: 'AlreadyExists',
    });
    expect(await keyvault('check-name', '--name', 'free-name', '--resource-type', 'hsm')).toMatchObject({
      nameAvailable: true,
    });
  });

  it('changes it, waits for it, and cannot move it', async () => {
    const changed = await keyvault('update-hsm', '--hsm-name', NAME, '--set', 'tags.team=keys');
    expect(changed).toMatchObject({ tags: { team: 'keys' } });
    await keyvault('wait-hsm', '--hsm-name', NAME, '--updated');
    const refused = await az.try(['keyvault', 'update-hsm', '--hsm-name', NAME, '--set', 'location=eastus']);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('InvalidResourceLocation')]);
  });

  it('approves a private endpoint connection', async () => {
    const { subscriptionId } = pool.ready;
    const id = `/subscriptions/${subscriptionId}/resourceGroups/trivet/providers/Microsoft.KeyVault/managedHSMs/${NAME}`;
    const endpoint = `/subscriptions/${subscriptionId}/resourceGroups/net/providers/Microsoft.Network/privateEndpoints/pe`;
    const made = await az.try([
      ...['rest', '--method', 'put', '--url'],
      `${pool.ready.controlPlane}${id}/privateEndpointConnections/pe?api-version=2022-07-01`,
      ...['--body', JSON.stringify({ properties: { privateEndpoint: { id: endpoint } } })],
    ]);
    expect([made.code, made.err]).toEqual([0, made.err]);
    const approved = await keyvault(
      ...['private-endpoint-connection', 'approve', '--hsm-name', NAME, '--name', 'pe'],
      ...['--resource-group', 'trivet', '--description', 'fine'],
    );
    expect(approved).toMatchObject({
      privateLinkServiceConnectionState: { status: 'Approved', description: 'fine' },
    });
    expect(await keyvault('private-link-resource', 'list', '--hsm-name', NAME)).toMatchObject([
      { groupId: 'managedhsm', requiredMembers: ['default'] },
    ]);
  });

  it('deletes it, and finds it among the deleted', async () => {
    await keyvault('delete', '--hsm-name', NAME);
    expect(await keyvault('list', '--resource-type', 'hsm', '--query', '[].name')).toEqual(['dev']);
    expect(await keyvault('list-deleted', '--resource-type', 'hsm')).toMatchObject([
      { name: NAME, properties: { location: 'local', purgeProtectionEnabled: false } },
    ]);
    expect(await keyvault('show-deleted', '--hsm-name', NAME)).toMatchObject({ name: NAME });
    const again = await az.try([
      ...['keyvault', 'create', '--hsm-name', NAME, '--resource-group', 'trivet', '--retention-days', '7'],
      ...['--administrators', pool.admin.objectId],
    ]);
    expect([again.code, again.err]).toEqual([1, expect.stringContaining('already exists in deleted state')]);
  }, 120_000);

  it('recovers it, and purges it', async () => {
    expect(await keyvault('recover', '--hsm-name', NAME)).toMatchObject({
      name: NAME,
      properties: { provisioningState: 'Succeeded' },
    });
    await keyvault('delete', '--hsm-name', NAME);
    await keyvault('purge', '--hsm-name', NAME);
    expect(await keyvault('list-deleted', '--resource-type', 'hsm')).toEqual([]);
    expect(await keyvault('check-name', '--name', NAME, '--resource-type', 'hsm')).toMatchObject({
      nameAvailable: true,
    });
  }, 180_000);
});

describe('az group', () => {
  it('creates, shows, lists, finds and deletes one', async () => {
    expect(
      await az.run('group', 'create', '--name', 'Team', '--location', 'local', '--tags', 'a=b'),
    ).toMatchObject({
      name: 'Team',
      location: 'local',
      tags: { a: 'b' },
      properties: { provisioningState: 'Succeeded' },
    });
    expect(await az.run('group', 'show', '--name', 'team')).toMatchObject({ name: 'Team' });
    expect(await az.run('group', 'list', '--query', '[].name')).toEqual(['Team', 'trivet']);
    expect(await az.run('group', 'exists', '--name', 'Team')).toBe(true);
    await az.run('group', 'delete', '--name', 'Team', '--yes');
    expect(await az.run('group', 'exists', '--name', 'Team')).toBe(false);
  });
});

// Its commands for role assignments crash in themselves before they send anything; `az rest` does the work.
describe('az rest', () => {
  it('gives somebody the role of a reader, who then sees and changes nothing', async () => {
    const reader = pool.addPrincipal('reader');
    const { controlPlane, subscriptionId } = pool.ready;
    const scope = `/subscriptions/${subscriptionId}/resourceGroups/trivet`;
    const assignment = `${scope}/providers/Microsoft.Authorization/roleAssignments/${randomUUID()}`;
    const rest = (method: string, path: string, body?: unknown): Promise<unknown> =>
      az.run(
        ...['rest', '--method', method, '--url', `${controlPlane}${path}?api-version=2022-04-01`],
        ...(body === undefined ? [] : ['--body', JSON.stringify(body)]),
      );
    const roles = await rest('get', `${scope}/providers/Microsoft.Authorization/roleDefinitions`);
    const [role] = (at(roles, 'value') as { id: string; properties: { roleName: string } }[]).filter(
      ({ properties }) => properties.roleName === 'Reader',
    );
    const properties = { roleDefinitionId: role?.id, principalId: reader.objectId };
    expect(await rest('put', assignment, { properties })).toMatchObject({ properties: { scope } });
    const other = new Az(pool, 'reader');
    await other.registerCloud();
    expect(await other.login(reader)).toMatchObject([{ id: subscriptionId }]);
    expect(await other.run('keyvault', 'show', '--hsm-name', 'dev')).toMatchObject({ name: 'dev' });
    const refused = await other.try(['keyvault', 'delete', '--hsm-name', 'dev']);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('AuthorizationFailed')]);
    await rest('delete', assignment);
    expect(
      (await other.try(['keyvault', 'show', '--hsm-name', 'dev', '--resource-group', 'trivet'])).err,
    ).toMatch(/AuthorizationFailed/);
  }, 120_000);
});
