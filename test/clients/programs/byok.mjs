// Import of wrapped keys (BYOK) with KeyClient. Checks nothing itself. Argument: see sdk.mjs; and {files}: names of
// keys with {kty, crv, file, algorithm}, the file in base64 for the exchange key that {kek} names, if that is not
// asked for by the chapter `exchange`.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { base64, client, failure, hashOf, message, shown, tell, wish, withKey } from './sdk.mjs';

const importFile = (name, { kty, crv, file }) =>
  client.importKey(name, { kty, ...(crv && { crv }), t: Buffer.from(file, 'base64') });

await tell({
  async exchange() {
    return shown(await client.createRsaKey('kek', { hsm: true, keySize: 3072, keyOps: ['import'] }));
  },
  async imported() {
    const told = {};
    for (const [name, given] of Object.entries(wish.files)) {
      const key = await importFile(name, given);
      const used = withKey(key.id);
      const { algorithm } = given;
      const made = algorithm.startsWith('A')
        ? (await used.wrapKey(algorithm, message.subarray(0, 32))).result
        : (await used.sign(algorithm, createHash(hashOf(algorithm)).update(message).digest())).result;
      told[name] = { ...shown(key), made: base64(made) };
    }
    return { message: base64(message), keys: told };
  },
  async refused() {
    return failure(() => importFile('refused', wish.refused));
  },
});
