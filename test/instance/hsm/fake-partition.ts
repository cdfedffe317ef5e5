// A partition made of Node's crypto: enough of one to serve the verbs, with keys kept by id.
import * as crypto from 'node:crypto';
import type { Attestations } from '../../../src/instance/partition/attest.js';
import type { Partition } from '../../../src/instance/partition/partition.js';
import { PublicKey } from '../../../src/instance/pkcs11/public-key.js';
import { SlotError } from '../../../src/instance/partition/slot-error.js';
import type {
  KeyMaterial,
  KeySpec,
  MacAlgorithm,
  PublicPart,
  RsaEncryptionAlgorithm,
  SealedKey,
  SignatureAlgorithm,
} from '../../../src/values/key-spec.js';
import { ATTESTED_LABEL, toBeSigned, type Attested } from '../../../src/values/attestation.js';
import { publicKeyOf } from '../../../src/values/public-key.js';

const nodeCurve = {
  'P-256': 'prime256v1',
  'P-256K': 'secp256k1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};
const nodeCrv = { 'P-256': 'P-256', 'P-256K': 'secp256k1', 'P-384': 'P-384', 'P-521': 'P-521' };

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

function bytes(member: string | undefined): Buffer {
  return Buffer.from(member ?? '', 'base64url');
}

/** Key pairs are costly to make; the tests of the API do not care that they differ. */
const rsaKeys = new Map<string, crypto.KeyObject>();

function rsaKey(modulusLength: number, publicExponent: number): crypto.KeyObject {
  const kind = `${modulusLength}/${publicExponent}`;
  const key =
    rsaKeys.get(kind) ?? crypto.generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey;
  rsaKeys.set(kind, key);
  return key;
}

let attesting: crypto.KeyObject | undefined;

/** What signs attestations: no key of a pool. */
function attestationKey(): crypto.KeyObject {
  return (attesting ??= crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
}

export class FakePartition {
  readonly keys = new Map<string, crypto.KeyObject>();

  /** As the verbs take it. */
  get asPartition(): Partition {
    return this as unknown as Partition;
  }

  async generate(id: string, spec: KeySpec, exportable = false): Promise<SealedKey> {
    const made = await this.#generate(id, spec);
    return exportable ? { ...made, exportable } : made;
  }

  #generate(id: string, spec: KeySpec): Promise<SealedKey> {
    switch (spec.kty) {
      case 'RSA-HSM':
        return Promise.resolve(this.#keep(id, spec, rsaKey(spec.size, spec.exponent)));
      case 'EC-HSM':
        return Promise.resolve(
          this.#keep(
            id,
            spec,
            crypto.generateKeyPairSync('ec', { namedCurve: nodeCurve[spec.curve] }).privateKey,
          ),
        );
      case 'oct-HSM':
        return Promise.resolve(
          this.#keep(id, spec, crypto.createSecretKey(crypto.randomBytes(spec.size / 8))),
        );
    }
  }

  importKey(id: string, material: KeyMaterial): Promise<SealedKey> {
    try {
      switch (material.kty) {
        case 'RSA': {
          const { n, e, d, p, q, dp, dq, qi } = material;
          if (number(p) * number(q) !== number(n)) throw new Error('the primes are of another key');
          const members = { n, e, d, p, q, dp, dq, qi };
          const jwk = Object.fromEntries(Object.entries(members).map(([name, value]) => [name, text(value)]));
          const key = crypto.createPrivateKey({ format: 'jwk', key: { kty: 'RSA', ...jwk } });
          const size = (n.length * 8) as 2048 | 3072 | 4096;
          return Promise.resolve(this.#keep(id, { kty: 'RSA-HSM', size, exponent: 65537 }, key));
        }
        case 'EC': {
          const { curve, x, y, d } = material;
          const jwk = { kty: 'EC', crv: nodeCrv[curve], x: text(x), y: text(y), d: text(d) };
          const key = crypto.createPrivateKey({ format: 'jwk', key: jwk });
          return Promise.resolve(this.#keep(id, { kty: 'EC-HSM', curve }, key));
        }
        case 'oct': {
          const key = crypto.createSecretKey(Buffer.from(material.k));
          return Promise.resolve(this.#keep(id, { kty: 'oct-HSM', size: material.k.length * 8 }, key));
        }
      }
    } catch (cause) {
      return Promise.reject(new SlotError('BadKeyMaterial', 'inconsistent', cause));
    }
  }

  learnExportKey(): void {
    // Nothing is wrapped here.
  }

  mac({ id }: SealedKey, algorithm: MacAlgorithm, data: Uint8Array): Buffer {
    // The pool's own keys were never made here.
    const key = id.startsWith('internal/') ? Buffer.from(id) : this.#key(id);
    return crypto
      .createHmac(`sha${algorithm.slice(2)}`, key)
      .update(data)
      .digest();
  }

  proveAll(): Promise<void> {
    return Promise.resolve();
  }

  prove(): Promise<void> {
    return Promise.resolve();
  }

  forget(id: string): void {
    this.keys.delete(id);
  }

  sign({ id }: SealedKey, algorithm: SignatureAlgorithm, digest: Uint8Array): Buffer | Promise<Buffer> {
    const key = this.#key(id);
    if (algorithm.startsWith('ES')) return ecdsa(key, digest);
    if (!algorithm.startsWith('RS')) throw new SlotError('SlotFailed', 'this stand-in makes no PSS');
    const n = digest.length;
    const oid = { 32: '01', 48: '02', 64: '03' }[n] ?? '';
    const info = `30${(n + 17).toString(16)}300d06096086480165030402${oid}050004${n.toString(16)}`;
    return Promise.resolve(crypto.privateEncrypt(key, Buffer.concat([Buffer.from(info, 'hex'), digest])));
  }

  verify(key: SealedKey, algorithm: SignatureAlgorithm, digest: Uint8Array, signature: Uint8Array): boolean {
    if (key.public.kty === 'oct') throw new SlotError('SlotFailed', 'no public half');
    const spki = publicKeyOf(key.public).export({ type: 'spki', format: 'der' });
    const scheme = algorithm.startsWith('ES') ? 'ECDSA' : algorithm.startsWith('RS') ? 'PKCS1' : 'PSS';
    return new PublicKey(spki).verifySync(scheme, digest, signature);
  }

  decryptRsa({ id }: SealedKey, algorithm: RsaEncryptionAlgorithm, ciphertext: Uint8Array): Promise<Buffer> {
    const { RSA_PKCS1_OAEP_PADDING: padding } = crypto.constants;
    const oaepHash = algorithm === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
    try {
      return Promise.resolve(crypto.privateDecrypt({ key: this.#key(id), padding, oaepHash }, ciphertext));
    } catch (cause) {
      return Promise.reject(new SlotError('BadCiphertext', 'does not open', cause));
    }
  }

  encryptAesGcm(key: SealedKey, plaintext: Uint8Array, aad?: Uint8Array) {
    const iv = crypto.randomBytes(12);
    const cipher = crypto.createCipheriv(
      `aes-${octSize(key)}-gcm` as crypto.CipherGCMTypes,
      this.#key(key.id),
      iv,
    );
    if (aad) cipher.setAAD(aad);
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    return Promise.resolve({ ciphertext, iv, tag: cipher.getAuthTag() });
  }

  decryptAesGcm(key: SealedKey, ciphertext: Uint8Array, iv: Uint8Array, tag: Uint8Array, aad?: Uint8Array) {
    const kind = `aes-${octSize(key)}-gcm` as crypto.CipherGCMTypes;
    const decipher = crypto.createDecipheriv(kind, this.#key(key.id), iv);
    decipher.setAuthTag(tag);
    if (aad) decipher.setAAD(aad);
    return opened(decipher, ciphertext);
  }

  encryptAesCbc(key: SealedKey, padded: boolean, iv: Uint8Array, plaintext: Uint8Array): Promise<Buffer> {
    const cipher = crypto.createCipheriv(`aes-${octSize(key)}-cbc`, this.#key(key.id), iv);
    cipher.setAutoPadding(padded);
    return Promise.resolve(Buffer.concat([cipher.update(plaintext), cipher.final()]));
  }

  decryptAesCbc(key: SealedKey, padded: boolean, iv: Uint8Array, ciphertext: Uint8Array): Promise<Buffer> {
    const decipher = crypto.createDecipheriv(`aes-${octSize(key)}-cbc`, this.#key(key.id), iv);
    decipher.setAutoPadding(padded);
    return opened(decipher, ciphertext);
  }

  wrapAes(key: SealedKey, secret: Uint8Array, padded: boolean): Promise<Buffer> {
    const cipher = crypto.createCipheriv(...this.#keyWrap(key, padded));
    return Promise.resolve(Buffer.concat([cipher.update(secret), cipher.final()]));
  }

  unwrapAes(key: SealedKey, wrapped: Uint8Array, padded: boolean): Promise<Buffer> {
    return opened(crypto.createDecipheriv(...this.#keyWrap(key, padded)), wrapped);
  }

  #keyWrap(key: SealedKey, padded: boolean): [string, crypto.KeyObject, Buffer] {
    return padded
      ? [`id-aes${octSize(key)}-wrap-pad`, this.#key(key.id), Buffer.from('a65959a6', 'hex')]
      : [`id-aes${octSize(key)}-wrap`, this.#key(key.id), Buffer.alloc(8, 0xa6)];
  }

  signRaw({ id }: SealedKey, data: Uint8Array): Promise<Buffer> {
    return Promise.resolve(crypto.privateEncrypt(this.#key(id), data));
  }

  attestationKey(): Promise<PublicPart> {
    const { n, e } = crypto.createPublicKey(attestationKey()).export({ format: 'jwk' });
    return Promise.resolve({ kty: 'RSA', n: bytes(n), e: bytes(e) });
  }

  signStatement(statement: Uint8Array): Promise<Buffer> {
    return Promise.resolve(crypto.sign('sha256', statement, attestationKey()));
  }

  /** Says the name and that the key is sensitive, and no more. */
  attest({ id, public: part }: SealedKey): Promise<Attestations> {
    this.#key(id);
    const blob = (attested: Attested) => {
      const statement = toBeSigned({ ...attested, label: ATTESTED_LABEL, id: `/keys/${id}` });
      return Buffer.concat([statement, crypto.sign('sha256', statement, attestationKey())]);
    };
    const privateKey = blob({ sensitive: true });
    return Promise.resolve(part.kty === 'oct' ? { privateKey } : { privateKey, publicKey: blob({}) });
  }

  random(length: number): Buffer {
    return crypto.randomBytes(length);
  }

  #key(id: string): crypto.KeyObject {
    const key = this.keys.get(id);
    if (!key) throw new SlotError('SlotFailed', `no key ${id}`);
    return key;
  }

  #keep(id: string, spec: KeySpec, key: crypto.KeyObject): SealedKey {
    this.keys.set(id, key);
    return { id, spec, public: publicPart(spec, key), blob: Buffer.from(`blob of ${id}`) };
  }
}

function publicPart(spec: KeySpec, key: crypto.KeyObject): PublicPart {
  if (spec.kty === 'oct-HSM') return { kty: 'oct', check: Buffer.alloc(4, 7) };
  const { n, e, x, y } = crypto.createPublicKey(key).export({ format: 'jwk' });
  return spec.kty === 'RSA-HSM'
    ? { kty: 'RSA', n: bytes(n), e: bytes(e) }
    : { kty: 'EC', curve: spec.curve, x: bytes(x), y: bytes(y) };
}

function octSize({ spec }: SealedKey): number {
  return spec.kty === 'oct-HSM' ? spec.size : 0;
}

function opened(decipher: crypto.Decipher, ciphertext: Uint8Array): Promise<Buffer> {
  try {
    return Promise.resolve(Buffer.concat([decipher.update(ciphertext), decipher.final()]));
  } catch (cause) {
    return Promise.reject(new SlotError('BadCiphertext', 'does not open', cause));
  }
}

function number(octets: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(octets).toString('hex')}`);
}

const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** ECDSA of a digest on P-256; Node itself signs messages only. */
function ecdsa(key: crypto.KeyObject, digest: Uint8Array): Buffer {
  const d = number(bytes(key.export({ format: 'jwk' }).d));
  const nonce = crypto.createECDH('prime256v1');
  const r = number(nonce.generateKeys().subarray(1, 33)) % order;
  const s = (power(number(nonce.getPrivateKey()), order - 2n) * ((number(digest) + r * d) % order)) % order;
  return Buffer.from(r.toString(16).padStart(64, '0') + s.toString(16).padStart(64, '0'), 'hex');
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = base, rest = exponent; rest > 0n; rest >>= 1n, square = (square * square) % order) {
    if (rest & 1n) result = (result * square) % order;
  }
  return result;
}
