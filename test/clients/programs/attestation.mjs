// Fetches attestations with @azure/keyvault-keys, unchanged, and prints them as JSON. Arguments, as JSON:
// {url, readyFile, names}.
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { ClientSecretCredential } from '@azure/identity';
import { KeyClient } from '@azure/keyvault-keys';

const { url, readyFile, names } = JSON.parse(process.argv[2]);
const ready = JSON.parse(readFileSync(readyFile, 'utf8'));
const { clientId, clientSecret } = ready.admin;
const credential = new ClientSecretCredential(ready.tenantId, clientId, clientSecret, {
  authorityHost: ready.controlPlane,
  disableInstanceDiscovery: true,
});
const client = new KeyClient(url, credential);

const base64url = (bytes) => bytes && Buffer.from(bytes).toString('base64url');
const told = [];
for (const name of names) {
  const { id, keyType, properties } = await client.getKeyAttestation(name);
  const { attestation } = properties;
  told.push({
    id,
    keyType,
    attestation: {
      certificatePemFile: base64url(attestation.certificatePemFile),
      privateKeyAttestation: base64url(attestation.privateKeyAttestation),
      publicKeyAttestation: base64url(attestation.publicKeyAttestation),
      version: attestation.version,
    },
  });
}
process.stdout.write(JSON.stringify(told));
