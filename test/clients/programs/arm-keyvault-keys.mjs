// Keys through ARM as users of @azure/arm-keyvault make and read them. Argument: {readyFile}.
import { readFileSync } from 'node:fs';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import { ClientSecretCredential } from '@azure/identity';

const { readyFile } = JSON.parse(process.argv[2]);
const { controlPlane, tenantId, subscriptionId, resourceGroup, pools, admin } = JSON.parse(
  readFileSync(readyFile, 'utf8'),
);
const credential = new ClientSecretCredential(tenantId, admin.clientId, admin.clientSecret, {
  authorityHost: controlPlane,
  disableInstanceDiscovery: true,
});
const client = new KeyVaultManagementClient(credential, subscriptionId, { endpoint: controlPlane });
const keys = client.managedHsmKeys;
const [{ name: hsm }] = pools;

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const wish = {
  tags: { made: 'here' },
  properties: { kty: 'RSA', keySize: 2048, keyOps: ['sign', 'verify'] },
};
const made = await keys.createIfNotExist(resourceGroup, hsm, 'by-the-sdk', wish);
const again = await keys.createIfNotExist(resourceGroup, hsm, 'by-the-sdk', { properties: { kty: 'EC' } });
for (let place = 0; place < 26; place += 1) {
  await keys.createIfNotExist(resourceGroup, hsm, `many-${place}`, { properties: { kty: 'EC' } });
}
const versions = await all(keys.listVersions(resourceGroup, hsm, 'by-the-sdk'));
console.log(
  JSON.stringify({
    made,
    again,
    shown: await keys.get(resourceGroup, hsm, 'by-the-sdk'),
    listed: (await all(keys.list(resourceGroup, hsm))).map(({ name }) => name),
    versions,
    version: await keys.getVersion(resourceGroup, hsm, 'by-the-sdk', versions[0].name),
    missing: await keys
      .get(resourceGroup, hsm, 'missing')
      .catch(({ statusCode, code }) => ({ statusCode, code })),
  }),
);
