// Works off cryptographic jobs with CryptographyClient, and says what the SDK offers. Checks nothing itself.
// Argument: see sdk.mjs; and {jobs}, see crypto-jobs.ts.
import { Buffer } from 'node:buffer';
import {
  CryptographyClient,
  KeyClient,
  KnownEncryptionAlgorithms,
  KnownKeyExportEncryptionAlgorithm,
  KnownSignatureAlgorithms,
} from '@azure/keyvault-keys';
import { base64, client, failure, tell, wish, withKey } from './sdk.mjs';

const bytes = (text) => (text === undefined ? undefined : Buffer.from(text, 'base64'));

const clients = new Map();
function clientOf(id) {
  if (!clients.has(id)) clients.set(id, withKey(id));
  return clients.get(id);
}

async function run({ verb, key, algorithm, value, digest, iv, aad, tag }) {
  const crypto = clientOf(key);
  switch (verb) {
    case 'verify':
      return crypto.verify(algorithm, bytes(digest), bytes(value));
    case 'verifyData':
      return crypto.verifyData(algorithm, bytes(digest), bytes(value));
    case 'encrypt':
      return crypto.encrypt({
        algorithm,
        plaintext: bytes(value),
        ...(iv && { iv: bytes(iv) }),
        ...(aad && { additionalAuthenticatedData: bytes(aad) }),
      });
    case 'decrypt':
      return crypto.decrypt({
        algorithm,
        ciphertext: bytes(value),
        ...(iv && { iv: bytes(iv) }),
        ...(aad && { additionalAuthenticatedData: bytes(aad) }),
        ...(tag && { authenticationTag: bytes(tag) }),
      });
    default:
      return crypto[verb](algorithm, bytes(value));
  }
}

async function done(job) {
  let result;
  const failed = await failure(async () => {
    result = await run(job);
  });
  if (failed) return { failure: failed };
  return {
    keyID: result.keyID,
    value: typeof result.result === 'boolean' ? result.result : base64(result.result),
    iv: base64(result.iv),
    aad: base64(result.additionalAuthenticatedData),
    tag: base64(result.authenticationTag),
  };
}

const methodsOf = ({ prototype }) =>
  Object.getOwnPropertyNames(prototype).filter(
    (name) =>
      name !== 'constructor' && typeof Object.getOwnPropertyDescriptor(prototype, name).value === 'function',
  );

await tell({
  async jobs() {
    const all = [];
    for (const job of wish.jobs) all.push(await done(job));
    return all;
  },
  readable: () => failure(() => client.getKey(wish.name)),
  offers: () => ({
    keyClient: methodsOf(KeyClient),
    cryptographyClient: methodsOf(CryptographyClient),
    signatures: Object.values(KnownSignatureAlgorithms),
    encryptions: Object.values(KnownEncryptionAlgorithms),
    exports: Object.values(KnownKeyExportEncryptionAlgorithm),
  }),
});
