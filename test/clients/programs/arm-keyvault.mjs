// @azure/arm-keyvault as its users set it up: the whole life of an HSM. Argument: {readyFile, chapters}.
import { readFileSync } from 'node:fs';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import { ClientSecretCredential } from '@azure/identity';

const { readyFile, chapters } = JSON.parse(process.argv[2]);
const { controlPlane, tenantId, subscriptionId, resourceGroup, admin } = JSON.parse(
  readFileSync(readyFile, 'utf8'),
);
const credential = new ClientSecretCredential(tenantId, admin.clientId, admin.clientSecret, {
  authorityHost: controlPlane,
  disableInstanceDiscovery: true,
});
const client = new KeyVaultManagementClient(credential, subscriptionId, { endpoint: controlPlane });
const hsms = client.managedHsms;
const NAME = 'by-the-sdk';
const LOCATION = 'local';

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

async function failure(work) {
  try {
    await work();
  } catch (error) {
    return { status: error.statusCode, code: error.code };
  }
  return undefined;
}

const wish = (more = {}) => ({
  location: LOCATION,
  sku: { family: 'B', name: 'Standard_B1' },
  tags: { made: 'here' },
  properties: {
    tenantId,
    initialAdminObjectIds: [admin.objectId],
    softDeleteRetentionInDays: 7,
    ...more,
  },
});

const book = {
  async create() {
    const seen = [];
    const poller = hsms.createOrUpdate(resourceGroup, NAME, wish());
    poller.onProgress?.((state) => seen.push(state.status));
    const made = await poller;
    return { made, seen: [...new Set(seen)] };
  },
  async read() {
    return {
      one: await hsms.get(resourceGroup, NAME),
      group: (await all(hsms.listByResourceGroup(resourceGroup))).map(({ name }) => name),
      subscription: (await all(hsms.listBySubscription({ top: 1 }))).map(({ name }) => name),
      regions: await all(client.mhsmRegions.listByResource(resourceGroup, NAME)),
      links: await client.mhsmPrivateLinkResources.listByMhsmResource(resourceGroup, NAME),
      operations: (await all(client.operations.list())).length,
      taken: await hsms.checkMhsmNameAvailability({ name: NAME }),
      free: await hsms.checkMhsmNameAvailability({ name: 'nobodys-name' }),
    };
  },
  async update() {
    return hsms.update(resourceGroup, NAME, { tags: { made: 'and changed' } });
  },
  async connections() {
    const connections = client.mhsmPrivateEndpointConnections;
    const endpoint = `/subscriptions/${subscriptionId}/resourceGroups/net/providers/Microsoft.Network/privateEndpoints/pe`;
    const put = (status) =>
      connections.put(resourceGroup, NAME, 'pe', {
        privateEndpoint: { id: endpoint },
        privateLinkServiceConnectionState: { status },
      });
    await put('Pending');
    const approved = await put('Approved');
    const listed = await all(connections.listByResource(resourceGroup, NAME));
    await connections.delete(resourceGroup, NAME, 'pe');
    return { approved, listed, left: await all(connections.listByResource(resourceGroup, NAME)) };
  },
  async delete() {
    await hsms.delete(resourceGroup, NAME);
    return {
      gone: await failure(() => hsms.get(resourceGroup, NAME)),
      listed: (await all(hsms.listDeleted())).map(({ name }) => name),
      deleted: await hsms.getDeleted(NAME, LOCATION),
      taken: await failure(() => hsms.createOrUpdate(resourceGroup, NAME, wish())),
    };
  },
  async recover() {
    return hsms.createOrUpdate(resourceGroup, NAME, wish({ createMode: 'recover' }));
  },
  async purge() {
    await hsms.delete(resourceGroup, NAME);
    await hsms.purgeDeleted(NAME, LOCATION);
    return {
      gone: await failure(() => hsms.getDeleted(NAME, LOCATION)),
      free: await hsms.checkMhsmNameAvailability({ name: NAME }),
    };
  },
};

const told = {};
for (const chapter of chapters) told[chapter] = await book[chapter]();
console.log(JSON.stringify(told));
