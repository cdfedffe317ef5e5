// Attestations of keys with KeyClient. Checks nothing itself. Argument: see sdk.mjs.
import { base64, client, failure, shown, tell } from './sdk.mjs';

const attested = (key) => ({
  ...shown(key),
  attestation: {
    certificates: base64(key.properties.attestation?.certificatePemFile),
    privateKey: base64(key.properties.attestation?.privateKeyAttestation),
    publicKey: base64(key.properties.attestation?.publicKeyAttestation),
    version: key.properties.attestation?.version,
  },
});

await tell({
  async keys() {
    const keys = [
      await client.createRsaKey('attested-rsa'),
      await client.createEcKey('attested-ec'),
      await client.createOctKey('attested-oct', { keySize: 256 }),
    ];
    const told = [];
    for (const key of keys) told.push(attested(await client.getKeyAttestation(key.name)));
    return told;
  },
  async versions() {
    const first = await client.createEcKey('attested-twice');
    const second = await client.createEcKey('attested-twice');
    return {
      first: shown(first),
      second: shown(second),
      newest: attested(await client.getKeyAttestation('attested-twice')),
      named: attested(
        await client.getKeyAttestation('attested-twice', { version: first.properties.version }),
      ),
    };
  },
  missing: () => failure(() => client.getKeyAttestation('never-was')),
});
