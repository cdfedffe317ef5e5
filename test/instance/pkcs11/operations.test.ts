/** @jest-environment ./test/native/token-environment.cjs */
// Every operation that uses a key, its results checked by Node's crypto.
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSign,
  diffieHellman,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { CKD, CKG, CKK, CKM, CKO } from '../../../src/instance/pkcs11/constants.js';
import { prepareMechanism, type Mechanism } from '../../../src/instance/pkcs11/mechanism.js';
import { aesKey, ecPair, ecPointOf, rsaPair, type Curve, type Pair } from './keys.js';
import { openToken, type Token } from './token.js';

let token: Token;
let rsa: Pair;

beforeAll(async () => {
  token = await openToken();
  rsa = await rsaPair(token.session);
});

afterAll(() => token.library.close());

const ieee = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' as const });

describe('signing', () => {
  test.each<[Curve, string, number]>([
    ['P-256', 'sha256', 64],
    ['P-384', 'sha384', 96],
    ['P-521', 'sha512', 132],
    ['secp256k1', 'sha256', 64],
  ])('ECDSA on %s: Node accepts the signature, sync and async', async (curve, hash, length) => {
    const { session } = token;
    const pair = await ecPair(session, curve);
    const data = randomBytes(100);
    const digest = createHash(hash).update(data).digest();
    const mechanism = { type: CKM.ECDSA };
    for (const signature of [
      session.signSync(mechanism, pair.privateKey, digest),
      await session.sign(mechanism, pair.privateKey, digest),
    ]) {
      expect(signature).toHaveLength(length);
      expect(verify(hash, data, ieee(pair.node), signature)).toBe(true);
      expect(session.verifySync(mechanism, pair.publicKey, digest, signature)).toBe(true);
      expect(await session.verify(mechanism, pair.publicKey, digest, signature)).toBe(true);
    }
  });

  test('RSA PKCS#1 v1.5: Node accepts the signature', async () => {
    const data = randomBytes(1000);
    const signature = await token.session.sign({ type: CKM.SHA256_RSA_PKCS }, rsa.privateKey, data);
    expect(verify('sha256', data, rsa.node, signature)).toBe(true);
    expect(token.session.signSync({ type: CKM.SHA256_RSA_PKCS }, rsa.privateKey, data)).toEqual(signature);
  });

  test('RSA 4096: a signature longer than the room for short ones comes back whole', async () => {
    const pair = await rsaPair(token.session, 4096);
    const data = randomBytes(10);
    const signature = token.session.signSync({ type: CKM.SHA512_RSA_PKCS }, pair.privateKey, data);
    expect(signature).toHaveLength(512);
    expect(verify('sha512', data, pair.node, signature)).toBe(true);
  });

  test.each([
    ['sha256', CKM.SHA256, CKG.MGF1_SHA256, 32],
    ['sha384', CKM.SHA384, CKG.MGF1_SHA384, 48],
    ['sha512', CKM.SHA512, CKG.MGF1_SHA512, 64],
  ] as const)(
    'PSS with %s: Node accepts the signature, also from a prepared mechanism',
    async (hash, hashAlg, mgf, saltLength) => {
      const mechanism = { type: CKM.RSA_PKCS_PSS, parameter: { hashAlg, mgf, saltLength } };
      const data = randomBytes(50);
      const digest = createHash(hash).update(data).digest();
      for (const given of [mechanism, prepareMechanism(mechanism)]) {
        const signature = await token.session.sign(given, rsa.privateKey, digest);
        const key = { key: rsa.node, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
        expect(verify(hash, data, key, signature)).toBe(true);
        expect(await token.session.verify(given, rsa.publicKey, digest, signature)).toBe(true);
      }
    },
  );

  test('HMAC: equals Node', async () => {
    const value = randomBytes(48);
    const key = await token.session.createObject({
      class: CKO.SECRET_KEY,
      keyType: CKK.GENERIC_SECRET,
      token: false,
      sign: true,
      verify: true,
      value,
    });
    const data = randomBytes(33);
    const mac = createHmac('sha256', value).update(data).digest();
    expect(token.session.signSync({ type: CKM.SHA256_HMAC }, key, data)).toEqual(mac);
    expect(await token.session.verify({ type: CKM.SHA256_HMAC }, key, data, mac)).toBe(true);
  });

  test('verify: a wrong signature and one of the wrong length are false, and the session goes on', async () => {
    const { session } = token;
    const pair = await ecPair(session);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const digest = randomBytes(32);
    const foreign = sign(null, digest, ieee(other.privateKey));
    const mechanism = { type: CKM.ECDSA };
    expect(await session.verify(mechanism, pair.publicKey, digest, foreign)).toBe(false);
    expect(session.verifySync(mechanism, pair.publicKey, digest, foreign.subarray(1))).toBe(false);
    expect(session.verifySync(mechanism, pair.publicKey, digest, new Uint8Array(0))).toBe(false);
    expect(session.signSync(mechanism, pair.privateKey, digest)).toHaveLength(64);
    const signer = createSign('sha256')
      .update('x')
      .sign(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
    const text = Buffer.from('x');
    expect(await session.verify({ type: CKM.SHA256_RSA_PKCS }, rsa.publicKey, text, signer)).toBe(false);
  });
});

describe('encrypting', () => {
  const gcm = (iv: Uint8Array, aad?: Uint8Array): Mechanism => ({
    type: CKM.AES_GCM,
    parameter: { iv, aad, tagBits: 128 },
  });

  test.each([0, 1, 16, 1000])('AES-GCM of %d bytes: equals Node, and comes back', async (length) => {
    const value = randomBytes(32);
    const key = await aesKey(token.session, value);
    const [iv, aad, plaintext] = [randomBytes(12), randomBytes(20), randomBytes(length)];
    const cipher = createCipheriv('aes-256-gcm', value, iv).setAAD(aad);
    const expected = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    expect(await token.session.encrypt(gcm(iv, aad), key, plaintext)).toEqual(expected);
    expect(token.session.encryptSync(gcm(iv, aad), key, plaintext)).toEqual(expected);
    expect(await token.session.decrypt(gcm(iv, aad), key, expected)).toEqual(plaintext);
    expect(token.session.decryptSync(gcm(iv, aad), key, expected)).toEqual(plaintext);
  });

  test('AES-GCM: a wrong tag or wrong AAD refuses, and the session goes on', async () => {
    const key = await aesKey(token.session, randomBytes(16));
    const iv = randomBytes(12);
    const encrypted = await token.session.encrypt(gcm(iv), key, Buffer.from('hello'));
    const refusal = { name: 'Pkcs11Error', functionName: 'C_Decrypt' };
    await expect(token.session.decrypt(gcm(iv, Buffer.from('x')), key, encrypted)).rejects.toMatchObject(
      refusal,
    );
    expect(() => token.session.decryptSync(gcm(iv), key, encrypted.fill(0, 0, 1))).toThrow(
      expect.objectContaining(refusal) as Error,
    );
    expect(await token.session.encrypt(gcm(iv), key, Buffer.from('hello'))).toHaveLength(21);
  });

  test('AES-CBC with and without padding: Node decrypts it', async () => {
    const value = randomBytes(32);
    const key = await aesKey(token.session, value);
    const iv = randomBytes(16);
    const padded = await token.session.encrypt(
      { type: CKM.AES_CBC_PAD, parameter: iv },
      key,
      Buffer.from('seventeen bytes!!'),
    );
    const decipher = createDecipheriv('aes-256-cbc', value, iv);
    expect(Buffer.concat([decipher.update(padded), decipher.final()]).toString()).toBe('seventeen bytes!!');
    const block = randomBytes(32);
    const bare = await token.session.encrypt({ type: CKM.AES_CBC, parameter: iv }, key, block);
    expect(await token.session.decrypt({ type: CKM.AES_CBC, parameter: iv }, key, bare)).toEqual(block);
    await expect(
      token.session.encrypt({ type: CKM.AES_CBC, parameter: iv }, key, Buffer.alloc(15)),
    ).rejects.toMatchObject({ symbol: 'CKR_DATA_LEN_RANGE' });
    expect(await token.session.encrypt({ type: CKM.AES_CBC, parameter: iv }, key, block)).toEqual(bare);
  });

  test('AES-CTR: equals Node', async () => {
    const value = randomBytes(16);
    const key = await aesKey(token.session, value);
    const counterBlock = randomBytes(16);
    const data = randomBytes(100);
    const mechanism = { type: CKM.AES_CTR, parameter: { counterBits: 128, counterBlock } };
    const cipher = createCipheriv('aes-128-ctr', value, counterBlock);
    expect(await token.session.encrypt(mechanism, key, data)).toEqual(cipher.update(data));
  });

  test('RSA-OAEP with SHA-1 and PKCS#1 v1.5: from Node and back', async () => {
    const text = Buffer.from('a short text');
    const oaep = {
      type: CKM.RSA_PKCS_OAEP,
      parameter: { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 },
    };
    const fromNode = publicEncrypt({ key: rsa.node, oaepHash: 'sha1' }, text);
    expect(await token.session.decrypt(oaep, rsa.privateKey, fromNode)).toEqual(text);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { n } = publicKey.export({ format: 'jwk' });
    const imported = await token.session.createObject({
      class: CKO.PUBLIC_KEY,
      keyType: CKK.RSA,
      token: false,
      private: false,
      encrypt: true,
      modulus: Buffer.from(n ?? '', 'base64url'),
      publicExponent: Buffer.from([1, 0, 1]),
    });
    const forNode = await token.session.encrypt(oaep, imported, text);
    expect(privateDecrypt({ key: privateKey, oaepHash: 'sha1' }, forNode)).toEqual(text);
    const padding = constants.RSA_PKCS1_PADDING;
    const old = publicEncrypt({ key: rsa.node, padding }, text);
    expect(await token.session.decrypt({ type: CKM.RSA_PKCS }, rsa.privateKey, old)).toEqual(text);
  });

  test('RSA without padding: keeps leading zeros', async () => {
    const block = Buffer.concat([Buffer.alloc(10), randomBytes(246)]);
    const encrypted = publicEncrypt({ key: rsa.node, padding: constants.RSA_NO_PADDING }, block);
    expect(await token.session.decrypt({ type: CKM.RSA_X_509 }, rsa.privateKey, encrypted)).toEqual(block);
  });
});

test('digest: equals Node', async () => {
  const data = randomBytes(1000);
  expect(await token.session.digest({ type: CKM.SHA256 }, data)).toEqual(
    createHash('sha256').update(data).digest(),
  );
  expect(await token.session.digest({ type: CKM.SHA512 }, Buffer.alloc(0))).toEqual(
    createHash('sha512').digest(),
  );
});

test('random: as long as asked, and different every time', async () => {
  expect(await token.session.generateRandom(32)).not.toEqual(token.session.generateRandomSync(32));
  expect(await token.session.generateRandom(0)).toHaveLength(0);
  expect(await token.session.generateRandom(1024 * 1024)).toHaveLength(1024 * 1024);
});

describe('wrapping and deriving', () => {
  test('AES key wrap with padding: an EC and an RSA key come back and sign', async () => {
    const { session } = token;
    const wrapping = await aesKey(session, randomBytes(32));
    const mechanism = { type: CKM.AES_KEY_WRAP_PAD };
    const ec = await ecPair(session);
    const digest = randomBytes(32);
    for (const [pair, keyType, type] of [
      [ec, CKK.EC, CKM.ECDSA],
      [rsa, CKK.RSA, CKM.RSA_PKCS],
    ] as const) {
      const wrapped = await session.wrapKey(mechanism, wrapping, pair.privateKey);
      const key = await session.unwrapKey(mechanism, wrapping, wrapped, {
        class: CKO.PRIVATE_KEY,
        keyType,
        token: false,
        private: true,
        sensitive: true,
        sign: true,
      });
      const signature = await session.sign({ type }, key, digest);
      expect(await session.verify({ type }, pair.publicKey, digest, signature)).toBe(true);
    }
    await expect(
      session.unwrapKey(mechanism, wrapping, randomBytes(80), { class: CKO.PRIVATE_KEY, keyType: CKK.EC }),
    ).rejects.toMatchObject({ functionName: 'C_UnwrapKey' });
  });

  test('ECDH: the derived secret is what Node derives', async () => {
    const { session } = token;
    const pair = await ecPair(session, 'P-256', { derive: true });
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const theirs = other.publicKey.export({ format: 'jwk' });
    const publicData = Buffer.concat([
      Buffer.of(4),
      Buffer.from(theirs.x ?? '', 'base64url'),
      Buffer.from(theirs.y ?? '', 'base64url'),
    ]);
    const key = await session.deriveKey(
      { type: CKM.ECDH1_DERIVE, parameter: { kdf: CKD.NULL, publicData } },
      pair.privateKey,
      {
        class: CKO.SECRET_KEY,
        keyType: CKK.GENERIC_SECRET,
        token: false,
        sensitive: false,
        extractable: true,
        valueLen: 32,
      },
    );
    const { value } = await session.getAttributes(key, ['value']);
    expect(value).toEqual(diffieHellman({ privateKey: other.privateKey, publicKey: pair.node }));
    expect(await ecPointOf(session, pair.publicKey)).toHaveLength(65);
  });
});

describe('multi-part', () => {
  test('signer and verifier: as if in one part', async () => {
    const { session } = token;
    const mechanism = { type: CKM.SHA256_RSA_PKCS };
    const parts = [randomBytes(100), Buffer.alloc(0), randomBytes(5000)];
    const signer = session.signer(mechanism, rsa.privateKey);
    for (const part of parts) await signer.update(part);
    const signature = await signer.final();
    expect(verify('sha256', Buffer.concat(parts), rsa.node, signature)).toBe(true);
    for (const [given, valid] of [
      [signature, true],
      [Buffer.alloc(256, 1), false],
    ] as const) {
      const verifier = session.verifier(mechanism, rsa.publicKey);
      for (const part of parts) await verifier.update(part);
      expect(await verifier.final(given)).toBe(valid);
    }
  });

  test('encryptor and decryptor: CBC and a long GCM message', async () => {
    const { session } = token;
    const key = await aesKey(session, randomBytes(32));
    const data = randomBytes(100_000);
    for (const mechanism of [
      { type: CKM.AES_CBC_PAD, parameter: randomBytes(16) },
      { type: CKM.AES_GCM, parameter: { iv: randomBytes(12), aad: randomBytes(3), tagBits: 128 } },
    ]) {
      const whole = await session.encrypt(mechanism, key, data);
      const encryptor = session.encryptor(mechanism, key);
      const encrypted = [
        await encryptor.update(data.subarray(0, 33)),
        await encryptor.update(data.subarray(33)),
        await encryptor.final(),
      ];
      expect(Buffer.concat(encrypted)).toEqual(whole);
      const decryptor = session.decryptor(mechanism, key);
      const decrypted = [
        await decryptor.update(whole.subarray(0, 50_001)),
        await decryptor.update(whole.subarray(50_001)),
        await decryptor.final(),
      ];
      expect(Buffer.concat(decrypted)).toEqual(data);
    }
  });

  test('digester: calls that are not waited for keep their order', async () => {
    const digester = token.session.digester({ type: CKM.SHA384 });
    const parts = Array.from({ length: 20 }, (_, i) => Buffer.alloc(i, i));
    const updates = parts.map((part) => digester.update(part));
    const digest = await digester.final();
    await Promise.all(updates);
    expect(digest).toEqual(createHash('sha384').update(Buffer.concat(parts)).digest());
  });

  test('an operation that cannot begin says so at the first step, and one that has ended refuses', async () => {
    const { session } = token;
    const wrong = session.signer({ type: CKM.AES_GCM }, rsa.privateKey);
    await expect(wrong.update(Buffer.from('x'))).rejects.toMatchObject({ functionName: 'C_SignInit' });
    await expect(wrong.final()).rejects.toMatchObject({ functionName: 'C_SignInit' });
    const digester = session.digester({ type: CKM.SHA256 });
    await digester.final();
    await expect(digester.final()).rejects.toMatchObject({ symbol: 'CKR_OPERATION_NOT_INITIALIZED' });
    await expect(digester.update(Buffer.from('x'))).rejects.toMatchObject({
      symbol: 'CKR_OPERATION_NOT_INITIALIZED',
    });
  });

  test('while one is open, another operation on the session is refused and does it no harm', async () => {
    const { session } = token;
    const digester = session.digester({ type: CKM.SHA256 });
    await digester.update(Buffer.from('a'));
    expect(() => session.signSync({ type: CKM.SHA256_RSA_PKCS }, rsa.privateKey, Buffer.from('x'))).toThrow(
      'C_SignInit: CKR_OPERATION_ACTIVE (0x90)',
    );
    expect(await digester.final()).toEqual(createHash('sha256').update('a').digest());
  });
});
