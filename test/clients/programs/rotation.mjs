// Rotation and its policy with KeyClient. Checks nothing itself. Argument: see sdk.mjs.
import { client, failure, shown, tell } from './sdk.mjs';

const seconds = (date) => date && date.getTime() / 1_000;
const policyOf = (policy) => ({
  ...policy,
  createdOn: seconds(policy.createdOn),
  updatedOn: seconds(policy.updatedOn),
});
const dated = (key) => ({
  ...shown(key),
  created: seconds(key.properties.createdOn),
  expiresOn: seconds(key.properties.expiresOn),
});
const set = async (name, policy) => policyOf(await client.updateKeyRotationPolicy(name, policy));
const rotate = { action: 'Rotate', timeAfterCreate: 'P30D' };

async function turned(name, create) {
  const first = await create(name);
  const before = await failure(() => client.getKeyRotationPolicy(name));
  const made = await set(name, { expiresIn: 'P90D', lifetimeActions: [rotate] });
  const read = policyOf(await client.getKeyRotationPolicy(name));
  const rotated = await client.rotateKey(name);
  return {
    first: dated(first),
    before,
    made,
    read,
    rotated: dated(rotated),
    newest: dated(await client.getKey(name)),
    older: dated(await client.getKey(name, { version: first.properties.version })),
  };
}

await tell({
  rsa: () =>
    turned('turned-rsa', (name) =>
      client.createRsaKey(name, { keySize: 3072, keyOps: ['sign', 'verify'], tags: { kept: 'perhaps' } }),
    ),
  ec: () => turned('turned-ec', (name) => client.createEcKey(name, { curve: 'P-384' })),
  oct: () => turned('turned-oct', (name) => client.createOctKey(name, { keySize: 192 })),
  async policies() {
    const name = 'policies';
    await client.createEcKey(name);
    const tried = {};
    for (const [title, policy] of Object.entries({
      beforeExpiry: { expiresIn: 'P1Y', lifetimeActions: [{ action: 'Rotate', timeBeforeExpiry: 'P30D' }] },
      months: { expiresIn: 'P2Y', lifetimeActions: [{ action: 'Rotate', timeAfterCreate: 'P18M' }] },
      notify: { expiresIn: 'P90D', lifetimeActions: [{ action: 'Notify', timeBeforeExpiry: 'P30D' }] },
      tooSoon: { expiresIn: 'P90D', lifetimeActions: [{ action: 'Rotate', timeAfterCreate: 'P1D' }] },
      noDuration: { expiresIn: 'ninety days', lifetimeActions: [rotate] },
      blank: { lifetimeActions: [] },
    })) {
      const failed = await failure(async () => {
        tried[title] = await set(name, policy);
      });
      if (failed) tried[title] = { failed };
    }
    return tried;
  },
  missing: async () => [
    await failure(() => client.rotateKey('never-was')),
    await failure(() => client.getKeyRotationPolicy('never-was')),
    await failure(() => client.updateKeyRotationPolicy('never-was', { lifetimeActions: [rotate] })),
  ],
});
