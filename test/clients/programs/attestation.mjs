// Attestations of keys with KeyClient. Checks nothing itself. Argument: see sdk.mjs; and {names} of keys that exist.
import { Buffer } from 'node:buffer';
import { client, failure, tell, wish } from './sdk.mjs';

const base64url = (bytes) => bytes && Buffer.from(bytes).toString('base64url');

const attested = ({ id, keyType, properties: { attestation } }) => ({
  id,
  type: keyType,
  attestation: {
    certificatePemFile: base64url(attestation.certificatePemFile),
    privateKeyAttestation: base64url(attestation.privateKeyAttestation),
    publicKeyAttestation: base64url(attestation.publicKeyAttestation),
    version: attestation.version,
  },
});

await tell({
  async keys() {
    const told = [];
    for (const name of wish.names) told.push(attested(await client.getKeyAttestation(name)));
    return told;
  },
  async versions() {
    const first = await client.createEcKey('attested-twice');
    const second = await client.createEcKey('attested-twice');
    const { version } = first.properties;
    return {
      first: first.id,
      second: second.id,
      newest: attested(await client.getKeyAttestation('attested-twice')),
      named: attested(await client.getKeyAttestation('attested-twice', { version })),
    };
  },
  missing: () => failure(() => client.getKeyAttestation('never-was')),
});
