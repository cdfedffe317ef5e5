// What a module can do, found out by doing it: each probe is a row of the table in docs/pkcs11.md. A probe that ends
// without an error has been checked with Node where Node can tell.
import assert from 'node:assert/strict';
import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  verify,
  type KeyObject,
} from 'node:crypto';
import {
  CKD,
  CKG,
  CKK,
  CKM,
  CKO,
  mechanism,
  type KeyPair,
  type Mechanism,
  type Template,
  type Token,
} from '../../src/pkcs11/pkcs11.js';
import { curves, ecPublicKey, type Curve } from '../instance/pkcs11/keys.js';
import type { Place } from './modules.js';

export interface Bench extends Place {
  readonly token: Token;
  /** One for all probes: it takes long to make. */
  readonly rsa: Promise<KeyPair & { readonly node: KeyObject }>;
}

export type Probe = readonly [row: string, run: (bench: Bench) => Promise<void>];

const message = Buffer.from('found out by doing it');
const sha256 = createHash('sha256').update(message).digest();

const aesKey = ({ token }: Bench, value: Uint8Array, template: Template = {}): Promise<number> =>
  token.createObject({
    class: CKO.SECRET_KEY,
    keyType: CKK.AES,
    token: false,
    sensitive: false,
    extractable: true,
    encrypt: true,
    decrypt: true,
    wrap: true,
    unwrap: true,
    value,
    ...template,
  });

const secret = ({ token }: Bench, value: Uint8Array): Promise<number> =>
  token.createObject({
    class: CKO.SECRET_KEY,
    keyType: CKK.GENERIC_SECRET,
    token: false,
    sign: true,
    verify: true,
    value,
  });

const ecPair = ({ token }: Bench, ecParams: Buffer, template: Template = {}): Promise<KeyPair> =>
  token.generateKeyPair(
    mechanism('EC_KEY_PAIR_GEN'),
    { token: false, verify: true, ecParams },
    { token: false, private: true, sensitive: true, sign: true, ...template },
  );

async function ecdsa(bench: Bench, curve: Curve, signing: Mechanism, data: Buffer): Promise<void> {
  const { publicKey, privateKey } = await ecPair(bench, curves[curve]);
  const { ecPoint } = await bench.token.getAttributes(publicKey, ['ecPoint']);
  const point = ecPoint?.subarray(ecPoint[1] === 0x81 ? 3 : 2) ?? Buffer.alloc(0);
  const signature = await bench.token.sign(signing, privateKey, data);
  const key = { key: ecPublicKey(curve, point), dsaEncoding: 'ieee-p1363' as const };
  assert(verify('sha256', message, key, signature));
  assert(await bench.token.verify(signing, publicKey, data, signature));
}

async function rsaSignature(bench: Bench, signing: Mechanism, data: Buffer, pss: boolean): Promise<void> {
  const { privateKey, node } = await bench.rsa;
  const signature = await bench.token.sign(signing, privateKey, data);
  const padding = pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    : { padding: constants.RSA_PKCS1_PADDING };
  assert(verify('sha256', message, { key: node, ...padding }, signature));
}

async function oaep(bench: Bench, parameter: { hashAlg: number; mgf: number }, hash: string): Promise<void> {
  const { privateKey, node } = await bench.rsa;
  const padding = { key: node, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash };
  const encrypted = publicEncrypt(padding, message);
  assert.deepEqual(
    await bench.token.decrypt(mechanism('RSA_PKCS_OAEP', parameter), privateKey, encrypted),
    message,
  );
}

/** Encrypts with AES inside, in one piece or in parts, and compares with Node. */
async function aes(
  bench: Bench,
  how: Mechanism,
  cipher: string,
  iv: Buffer | null,
  parts = false,
): Promise<void> {
  const value = randomBytes(32);
  const key = await aesKey(bench, value);
  const data = Buffer.alloc(64, 5);
  const outside = createCipheriv(cipher as 'aes-256-gcm', value, iv as Buffer);
  if (cipher.endsWith('ecb')) outside.setAutoPadding(false);
  const expected = [outside.update(data), outside.final()];
  if (cipher.endsWith('gcm')) expected.push(outside.getAuthTag());
  let encrypted: Buffer = Buffer.alloc(0);
  if (parts) {
    const pieces = async function* (): AsyncGenerator<Buffer> {
      yield await Promise.resolve(data.subarray(0, 20));
      yield data.subarray(20);
    };
    for await (const part of bench.token.encryptParts(how, key, pieces())) {
      encrypted = Buffer.concat([encrypted, part]);
    }
  } else {
    encrypted = await bench.token.encrypt(how, key, data);
  }
  assert.deepEqual(encrypted, Buffer.concat(expected));
  assert.deepEqual(await bench.token.decrypt(how, key, encrypted), data);
}

async function hmac(bench: Bench, length: number): Promise<void> {
  const value = randomBytes(length);
  const mac = await bench.token.sign(mechanism('SHA256_HMAC'), await secret(bench, value), message);
  assert.deepEqual(mac, createHmac('sha256', value).update(message).digest());
}

async function wrap(bench: Bench, how: Mechanism, cipher: string, iv: string): Promise<void> {
  const [outer, inner] = [randomBytes(32), randomBytes(32)];
  const wrapped = await bench.token.wrapKey(how, await aesKey(bench, outer), await aesKey(bench, inner));
  const outside = createCipheriv(cipher, outer, Buffer.from(iv, 'hex'));
  assert.deepEqual(wrapped, Buffer.concat([outside.update(inner), outside.final()]));
}

const gcmIv = randomBytes(12);
const gcm = mechanism('AES_GCM', { iv: gcmIv, tagBits: 128 });
const block = randomBytes(16);
const pss = { hashAlg: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltLength: 32 };

export const probes: readonly Probe[] = [
  ['RSA-2048 key pair', async ({ rsa }) => assert.equal((await rsa).node.asymmetricKeyType, 'rsa')],
  ['`SHA256_RSA_PKCS`', (bench) => rsaSignature(bench, mechanism('SHA256_RSA_PKCS'), message, false)],
  ['`RSA_PKCS_PSS`', (bench) => rsaSignature(bench, mechanism('RSA_PKCS_PSS', pss), sha256, true)],
  [
    '`SHA256_RSA_PKCS_PSS`',
    (bench) => rsaSignature(bench, mechanism('SHA256_RSA_PKCS_PSS', pss), message, true),
  ],
  ['`RSA_PKCS_OAEP`, SHA-1', (bench) => oaep(bench, { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 }, 'sha1')],
  [
    '`RSA_PKCS_OAEP`, SHA-256',
    (bench) => oaep(bench, { hashAlg: CKM.SHA256, mgf: CKG.MGF1_SHA256 }, 'sha256'),
  ],
  ['`ECDSA`, P-256', (bench) => ecdsa(bench, 'P-256', mechanism('ECDSA'), sha256)],
  ['`ECDSA`, P-384', (bench) => ecdsa(bench, 'P-384', mechanism('ECDSA'), sha256)],
  ['`ECDSA`, P-521', (bench) => ecdsa(bench, 'P-521', mechanism('ECDSA'), sha256)],
  ['`ECDSA`, secp256k1', (bench) => ecdsa(bench, 'secp256k1', mechanism('ECDSA'), sha256)],
  ['`ECDSA_SHA256`', (bench) => ecdsa(bench, 'P-256', mechanism('ECDSA_SHA256'), message)],
  [
    '`EDDSA`, Ed25519',
    async (bench) => {
      const { privateKey } = await bench.token.generateKeyPair(
        mechanism('EC_EDWARDS_KEY_PAIR_GEN'),
        { token: false, verify: true, ecParams: Buffer.from('130c656477617264733235353139', 'hex') },
        { token: false, private: true, sign: true },
      );
      assert.equal((await bench.token.sign(mechanism('EDDSA'), privateKey, message)).length, 64);
    },
  ],
  [
    '`ECDH1_DERIVE`',
    async (bench) => {
      const [ours, theirs] = [
        await ecPair(bench, curves['P-256'], { derive: true }),
        await ecPair(bench, curves['P-256'], { derive: true }),
      ];
      const derive = async (own: KeyPair, other: KeyPair): Promise<unknown> => {
        const { ecPoint } = await bench.token.getAttributes(other.publicKey, ['ecPoint']);
        const publicData = ecPoint?.subarray(2) ?? Buffer.alloc(0);
        const key = await bench.token.deriveKey(
          mechanism('ECDH1_DERIVE', { kdf: CKD.NULL, publicData }),
          own.privateKey,
          {
            class: CKO.SECRET_KEY,
            keyType: CKK.GENERIC_SECRET,
            token: false,
            sensitive: false,
            extractable: true,
            valueLen: 32,
          },
        );
        return bench.token.getAttributes(key, ['value']);
      };
      assert.deepEqual(await derive(ours, theirs), await derive(theirs, ours));
    },
  ],
  ['`AES_GCM`', (bench) => aes(bench, gcm, 'aes-256-gcm', gcmIv)],
  ['`AES_GCM`, in parts', (bench) => aes(bench, gcm, 'aes-256-gcm', gcmIv, true)],
  ['`AES_CBC_PAD`', (bench) => aes(bench, mechanism('AES_CBC_PAD', block), 'aes-256-cbc', block)],
  [
    '`AES_CTR`',
    (bench) =>
      aes(bench, mechanism('AES_CTR', { counterBits: 128, counterBlock: block }), 'aes-256-ctr', block),
  ],
  ['`AES_ECB`', (bench) => aes(bench, mechanism('AES_ECB'), 'aes-256-ecb', null)],
  [
    '`AES_CMAC`',
    async (bench) => {
      const key = await aesKey(bench, randomBytes(16), { sign: true });
      assert.equal((await bench.token.sign(mechanism('AES_CMAC'), key, message)).length, 16);
    },
  ],
  ['`SHA256_HMAC`', (bench) => hmac(bench, 32)],
  ['`SHA256_HMAC`, key of 16 bytes', (bench) => hmac(bench, 16)],
  [
    '`SHA256`',
    async ({ token }) => assert.deepEqual(await token.digest(mechanism('SHA256'), message), sha256),
  ],
  [
    '`SHA3_256`',
    async ({ token }) =>
      assert.deepEqual(
        await token.digest(mechanism('SHA3_256'), message),
        createHash('sha3-256').update(message).digest(),
      ),
  ],
  ['`AES_KEY_WRAP`', (bench) => wrap(bench, mechanism('AES_KEY_WRAP'), 'id-aes256-wrap', 'a6a6a6a6a6a6a6a6')],
  [
    '`AES_KEY_WRAP_PAD`',
    (bench) => wrap(bench, mechanism('AES_KEY_WRAP_PAD'), 'id-aes256-wrap-pad', 'a65959a6'),
  ],
  [
    'an EC private key goes out and comes back (`AES_KEY_WRAP_PAD`)',
    async (bench) => {
      const wrapping = await aesKey(bench, randomBytes(32));
      const { privateKey, publicKey } = await ecPair(bench, curves['P-256'], { extractable: true });
      const how = mechanism('AES_KEY_WRAP_PAD');
      const wrapped = await bench.token.wrapKey(how, wrapping, privateKey);
      const back = await bench.token.unwrapKey(how, wrapping, wrapped, {
        class: CKO.PRIVATE_KEY,
        keyType: CKK.EC,
        token: false,
        private: true,
        sensitive: true,
        sign: true,
      });
      const signature = await bench.token.sign(mechanism('ECDSA'), back, sha256);
      assert(await bench.token.verify(mechanism('ECDSA'), publicKey, sha256, signature));
    },
  ],
  [
    '`AES_CBC_ENCRYPT_DATA`',
    async (bench) => {
      const value = randomBytes(32);
      const key = await bench.token.deriveKey(
        mechanism('AES_CBC_ENCRYPT_DATA', { cbcIv: block, data: Buffer.alloc(32, 3) }),
        await aesKey(bench, value, { derive: true }),
        {
          class: CKO.SECRET_KEY,
          keyType: CKK.AES,
          token: false,
          sensitive: false,
          extractable: true,
          valueLen: 32,
        },
      );
      const outside = createCipheriv('aes-256-cbc', value, block).update(Buffer.alloc(32, 3));
      assert.deepEqual(await bench.token.getAttributes(key, ['value']), { value: outside });
    },
  ],
  [
    'objects are copied',
    async (bench) => {
      const key = await aesKey(bench, randomBytes(16), { label: 'first' });
      await bench.token.copyObject(key, { token: false, label: 'second' });
    },
  ],
  [
    'a wrapping key with `wrapTemplate`',
    async (bench) => {
      const key = await aesKey(bench, randomBytes(16), { wrapTemplate: { extractable: true } });
      const { wrapTemplate } = await bench.token.getAttributes(key, ['wrapTemplate']);
      assert.deepEqual(wrapTemplate, { extractable: true });
    },
  ],
  [
    'a key with `allowedMechanisms`',
    async (bench) => {
      const key = await aesKey(bench, randomBytes(16), { allowedMechanisms: [CKM.AES_CBC_PAD] });
      await assert.rejects(bench.token.encrypt(gcm, key, message));
    },
  ],
  [
    'a key with `alwaysAuthenticate` asks each time',
    async (bench) => {
      const { privateKey } = await ecPair(bench, curves['P-256'], { alwaysAuthenticate: true });
      await assert.rejects(bench.token.sign(mechanism('ECDSA'), privateKey, sha256));
    },
  ],
  [
    'a signature of the wrong length is `false`',
    async (bench) => {
      const { publicKey } = await ecPair(bench, curves['P-256']);
      assert(!(await bench.token.verify(mechanism('ECDSA'), publicKey, sha256, Buffer.alloc(3))));
    },
  ],
];

export async function makeRsaPair(token: Token): Promise<KeyPair & { node: KeyObject }> {
  const pair = await token.generateKeyPair(
    mechanism('RSA_PKCS_KEY_PAIR_GEN'),
    { token: false, verify: true, encrypt: true, modulusBits: 2048, publicExponent: Buffer.of(1, 0, 1) },
    { token: false, private: true, sensitive: true, sign: true, decrypt: true },
  );
  const { modulus } = await token.getAttributes(pair.publicKey, ['modulus']);
  const jwk = { kty: 'RSA', n: modulus?.toString('base64url') ?? '', e: 'AQAB' };
  return { ...pair, node: createPublicKey({ format: 'jwk', key: jwk }) };
}
