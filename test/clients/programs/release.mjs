// Secure key release with KeyClient. Checks nothing itself. Argument: see sdk.mjs; and {policy, other, target, refused,
// jwk}: the texts of two policies, an assertion that meets the first, assertions that must be refused, by what is wrong
// with them, and a private key to import.
import { Buffer } from 'node:buffer';
import { KnownKeyExportEncryptionAlgorithm } from '@azure/keyvault-keys';
import { client, failure, importJwk, shown, tell, wish } from './sdk.mjs';

const { policy, other, target, refused, jwk } = wish;
const releasePolicy = { encodedPolicy: Buffer.from(policy) };
const exportable = { exportable: true, releasePolicy };
const algorithms = Object.values(KnownKeyExportEncryptionAlgorithm);

const policyOf = ({ properties: { exportable, releasePolicy: given } }) => ({
  exportable,
  contentType: given?.contentType,
  immutable: given?.immutable,
  policy: given?.encodedPolicy && Buffer.from(given.encodedPolicy).toString(),
});

await tell({
  async keys() {
    const keys = {
      rsa: await client.createRsaKey('released-rsa', exportable),
      ec: await client.createEcKey('released-ec', { curve: 'P-384', ...exportable }),
      oct: await client.createOctKey('released-oct', { keySize: 256, ...exportable }),
      imported: await importJwk('released-imported', jwk, exportable),
    };
    const told = {};
    for (const [title, key] of Object.entries(keys)) {
      const values = {};
      for (const algorithm of algorithms) {
        const answer = await client.releaseKey(key.name, target, { algorithm, nonce: `nonce of ${title}` });
        values[algorithm] = answer.value;
      }
      told[title] = { ...shown(key), ...policyOf(key), values };
    }
    return told;
  },
  async versions() {
    const first = await client.createEcKey('released-twice', exportable);
    const second = await client.createEcKey('released-twice', exportable);
    const newest = await client.releaseKey('released-twice', target);
    const named = await client.releaseKey('released-twice', target, { version: first.properties.version });
    return { first: shown(first), second: shown(second), newest: newest.value, named: named.value };
  },
  async policies() {
    const name = 'policies';
    await client.createEcKey(name, exportable);
    const changed = await client.updateKeyProperties(name, {
      releasePolicy: { encodedPolicy: Buffer.from(other), immutable: true },
    });
    return {
      changed: policyOf(changed),
      unmet: await failure(() => client.releaseKey(name, target)),
      fixed: await failure(() => client.updateKeyProperties(name, { releasePolicy })),
      notExportable: await failure(() => client.createEcKey('not-exportable', { releasePolicy })),
    };
  },
  async refused() {
    await client.createEcKey('refused', exportable);
    await client.createEcKey('kept-inside');
    const failures = {};
    for (const [title, token] of Object.entries(refused)) {
      failures[title] = await failure(() => client.releaseKey('refused', token));
    }
    failures['a key that may not leave'] = await failure(() => client.releaseKey('kept-inside', target));
    return failures;
  },
});
