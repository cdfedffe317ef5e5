// Uses @azure/identity and @azure/keyvault-keys as their users do, unchanged, and prints what it got as JSON.
// Checks nothing itself. Argument: see sdk.mjs.
import { Buffer } from 'node:buffer';
import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  sign,
} from 'node:crypto';
import { all, base64, client, failure, hashOf, importJwk, message, shown, tell, withKey } from './sdk.mjs';

const secret = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

const digestOf = (algorithm) => createHash(hashOf(algorithm)).update(message).digest();

const rsaSigning = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const rsaEncryption = ['RSA1_5', 'RSA-OAEP', 'RSA-OAEP-256'];
const ecSigning = { 'P-256': 'ES256', 'P-256K': 'ES256K', 'P-384': 'ES384', 'P-521': 'ES512' };

async function signed(key, algorithm) {
  const crypto = withKey(key);
  const digest = digestOf(algorithm);
  const { result, keyID } = await crypto.sign(algorithm, digest);
  const wrong = Buffer.from(digest);
  wrong[0] ^= 1;
  return {
    algorithm,
    keyID,
    signature: base64(result),
    data: base64((await crypto.signData(algorithm, message)).result),
    verified: (await crypto.verify(algorithm, digest, result)).result,
    verifiedWrong: (await crypto.verify(algorithm, wrong, result)).result,
  };
}

function paddingOf(algorithm) {
  if (algorithm === 'RSA1_5') return { padding: constants.RSA_PKCS1_PADDING };
  return {
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: algorithm === 'RSA-OAEP' ? 'sha1' : 'sha256',
  };
}

// Made by the SDK, and made by Node; both taken apart in the partition.
async function rsaCiphers(key, publicKey, algorithm) {
  const crypto = withKey(key);
  const foreign = publicEncrypt({ key: publicKey, ...paddingOf(algorithm) }, secret);
  const encrypted = await crypto.encrypt(algorithm, secret);
  const wrapped = await crypto.wrapKey(algorithm, secret);
  return {
    algorithm,
    encrypted: base64(encrypted.result),
    wrapped: base64(wrapped.result),
    decrypted: base64((await crypto.decrypt(algorithm, encrypted.result)).result),
    unwrapped: base64((await crypto.unwrapKey(algorithm, wrapped.result)).result),
    decryptedForeign: base64((await crypto.decrypt(algorithm, foreign)).result),
    unwrappedForeign: base64((await crypto.unwrapKey(algorithm, foreign)).result),
  };
}

async function aes(key, bits, k) {
  const crypto = withKey(key);
  const plaintext = Buffer.alloc(32, 7);
  const odd = Buffer.from('seventeen bytes !');
  const iv = Buffer.from('0123456789ABCDEF');
  const aad = Buffer.from('bound to this');
  const shownCipher = ({ result, iv: used, authenticationTag, additionalAuthenticatedData }) => ({
    ciphertext: base64(result),
    iv: base64(used),
    tag: base64(authenticationTag),
    aad: base64(additionalAuthenticatedData),
  });
  const results = [];
  const gcm = `A${bits}GCM`;
  for (const extra of [undefined, aad]) {
    const made = await crypto.encrypt({
      algorithm: gcm,
      plaintext: odd,
      ...(extra && { additionalAuthenticatedData: extra }),
    });
    const opened = await crypto.decrypt({
      algorithm: gcm,
      ciphertext: made.result,
      iv: made.iv,
      authenticationTag: made.authenticationTag,
      ...(extra && { additionalAuthenticatedData: extra }),
    });
    results.push({
      algorithm: gcm,
      plaintext: base64(odd),
      ...shownCipher(made),
      decrypted: base64(opened.result),
    });
  }
  for (const [algorithm, value] of [
    [`A${bits}CBC`, plaintext],
    [`A${bits}CBCPAD`, odd],
  ]) {
    // With an IV of the caller, and with none: the SDK then sends none and the pool makes one.
    for (const given of [iv, undefined]) {
      const made = await crypto.encrypt({ algorithm, plaintext: value, ...(given && { iv: given }) });
      const opened = await crypto.decrypt({ algorithm, ciphertext: made.result, iv: made.iv });
      results.push({
        algorithm,
        plaintext: base64(value),
        ...shownCipher(made),
        decrypted: base64(opened.result),
      });
    }
  }
  const kw = `A${bits}KW`;
  const wrapped = await crypto.wrapKey(kw, secret);
  const unwrapped = await crypto.unwrapKey(kw, wrapped.result);
  const foreign = {};
  if (k) {
    const cbc = createCipheriv(`aes-${bits}-cbc`, k, iv);
    const padded = Buffer.concat([cbc.update(odd), cbc.final()]);
    foreign.cbcpad = base64(
      (await crypto.decrypt({ algorithm: `A${bits}CBCPAD`, ciphertext: padded, iv })).result,
    );
    const nonce = iv.subarray(0, 12);
    const cipher = createCipheriv(`aes-${bits}-gcm`, k, nonce).setAAD(aad);
    const sealed = Buffer.concat([cipher.update(odd), cipher.final()]);
    foreign.gcm = base64(
      (
        await crypto.decrypt({
          algorithm: gcm,
          ciphertext: sealed,
          iv: nonce,
          authenticationTag: cipher.getAuthTag(),
          additionalAuthenticatedData: aad,
        })
      ).result,
    );
    const keyWrap = createCipheriv(`id-aes${bits}-wrap`, k, Buffer.alloc(8, 0xa6));
    const blob = Buffer.concat([keyWrap.update(secret), keyWrap.final()]);
    foreign.kw = base64((await crypto.unwrapKey(kw, blob)).result);
  }
  return {
    ciphers: results,
    wrap: {
      algorithm: kw,
      secret: base64(secret),
      wrapped: base64(wrapped.result),
      unwrapped: base64(unwrapped.result),
    },
    foreign,
  };
}

/** The life of one key, from its creation to the end. */
async function life(name, create) {
  const created = await create(name);
  const again = await create(name);
  const fetched = await client.getKey(name);
  const first = await client.getKey(name, { version: created.properties.version });
  const versions = await all(client.listPropertiesOfKeyVersions(name));
  const listed = (await all(client.listPropertiesOfKeys())).map((key) => key.name);
  const paged = [];
  for await (const page of client.listPropertiesOfKeys().byPage({ maxPageSize: 2 })) {
    paged.push(page.map((key) => key.name));
  }
  const updated = await client.updateKeyProperties(name, fetched.properties.version, {
    enabled: false,
    tags: { stage: 'disabled' },
  });
  const refused = await failure(() =>
    withKey(updated).encrypt({ algorithm: 'RSA-OAEP-256', plaintext: secret }),
  );
  const enabled = await client.updateKeyProperties(name, { enabled: true });
  const deletion = await client.beginDeleteKey(name);
  const deleted = await deletion.pollUntilDone();
  const gone = await failure(() => client.getKey(name));
  const taken = await failure(() => create(name));
  const listedDeleted = (await all(client.listDeletedKeys())).map((key) => key.name);
  const seenDeleted = await client.getDeletedKey(name);
  const recovery = await client.beginRecoverDeletedKey(name);
  const recovered = await recovery.pollUntilDone();
  const versionsAfter = await all(client.listPropertiesOfKeyVersions(name));
  await (await client.beginDeleteKey(name)).pollUntilDone();
  await client.purgeDeletedKey(name);
  const purged = await failure(() => client.getDeletedKey(name));
  return {
    created: shown(created),
    again: shown(again),
    fetched: shown(fetched),
    first: shown(first),
    versions: versions.map((version) => version.version),
    listed,
    paged,
    updated: shown(updated),
    refused,
    enabled: shown(enabled),
    deleted: { ...shown(deleted), recoveryId: deleted.properties.recoveryId },
    gone,
    taken,
    listedDeleted,
    seenDeleted: shown(seenDeleted),
    recovered: shown(recovered),
    versionsAfter: versionsAfter.map((version) => version.version),
    purged,
  };
}

const book = {
  async rsa() {
    const keys = [];
    for (const size of [2048, 3072, 4096]) {
      const created = await client.createRsaKey(`rsa-${size}`, { keySize: size, hsm: true });
      const pair = generateKeyPairSync('rsa', { modulusLength: size });
      const jwk = pair.privateKey.export({ format: 'jwk' });
      const imported = await importJwk(`rsa-${size}-imported`, jwk);
      for (const [key, known] of [
        [created, undefined],
        [imported, jwk],
      ]) {
        const { n, e } = shown(key).jwk;
        const publicKey = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
        const signatures = [];
        for (const algorithm of rsaSigning) signatures.push(await signed(key, algorithm));
        const ciphers = [];
        for (const algorithm of rsaEncryption) ciphers.push(await rsaCiphers(key, publicKey, algorithm));
        keys.push({ ...shown(key), size, known, signatures, ciphers });
      }
    }
    return keys;
  },
  async ec() {
    const keys = [];
    for (const [curve, algorithm] of Object.entries(ecSigning)) {
      const created = await client.createEcKey(`ec-${curve}`, { curve, hsm: true });
      const pair = generateKeyPairSync('ec', { namedCurve: curve === 'P-256K' ? 'secp256k1' : curve });
      const known = { ...pair.privateKey.export({ format: 'jwk' }), crv: curve };
      const imported = await importJwk(`ec-${curve}-imported`, known);
      const foreign = sign(hashOf(algorithm), message, {
        key: pair.privateKey,
        dsaEncoding: 'ieee-p1363',
      });
      const { result } = await withKey(imported).verify(algorithm, digestOf(algorithm), foreign);
      keys.push(
        { ...shown(created), signatures: [await signed(created, algorithm)] },
        {
          ...shown(imported),
          known,
          signatures: [await signed(imported, algorithm)],
          verifiedForeign: result,
        },
      );
    }
    return keys;
  },
  async oct() {
    const keys = [];
    for (const bits of [128, 192, 256]) {
      const created = await client.createOctKey(`oct-${bits}`, { keySize: bits, hsm: true });
      const k = createHash('sha256')
        .update(`known ${bits}`)
        .digest()
        .subarray(0, bits / 8);
      const imported = await importJwk(`oct-${bits}-imported`, { kty: 'oct', k: k.toString('base64url') });
      keys.push(
        { ...shown(created), bits, ...(await aes(created, bits)) },
        { ...shown(imported), bits, k: base64(k), ...(await aes(imported, bits, k)) },
      );
    }
    return keys;
  },
  async lives() {
    return {
      rsa: await life('life-rsa', (name) => client.createRsaKey(name, { hsm: true })),
      ec: await life('life-ec', (name) => client.createEcKey(name, { hsm: true })),
      oct: await life('life-oct', (name) => client.createOctKey(name, { hsm: true, keySize: 256 })),
    };
  },
  async random() {
    const draws = [];
    for (const count of [1, 16, 128]) draws.push(base64(await client.getRandomBytes(count)));
    return draws;
  },
  async short() {
    const key = await client.createEcKey('short', { curve: 'P-256' });
    return { ...shown(await client.getKey('short')), signatures: [await signed(key, 'ES256')] };
  },
};

await tell(book, { message: base64(message), secret: base64(secret) });
