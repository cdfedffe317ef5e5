// Keys as another HSM wraps them for an exchange key (CKM_RSA_AES_KEY_WRAP), made by Node's crypto; and PKCS#8 put
// together by hand, for keys that no library would write.
import { constants, createCipheriv, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto';
import type { WrappedKey } from '../../../src/instance/partition/wrapped-import.js';
import type { Curve, SealedKey } from '../../../src/values/key-spec.js';
import { publicKeyOf } from '../../../src/values/public-key.js';
import type { RsaMaterial } from './material.js';

export function publicHalf({ public: part }: Pick<SealedKey, 'public'>): KeyObject {
  if (part.kty === 'oct') throw new Error('a symmetric key');
  return publicKeyOf(part);
}

/** RSA-OAEP with SHA-1 of an AES key, and RFC 5649 of the plaintext under it. */
export function wrapFor(kek: KeyObject, plaintext: Uint8Array, aes: Buffer = randomBytes(32)): WrappedKey {
  const cipher = createCipheriv(`id-aes${aes.length * 8}-wrap-pad`, aes, Buffer.from('a65959a6', 'hex'));
  return { aes: sealAes(kek, aes), target: Buffer.concat([cipher.update(plaintext), cipher.final()]) };
}

export function sealAes(kek: KeyObject, aes: Uint8Array): Buffer {
  return publicEncrypt({ key: kek, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, aes);
}

export const pkcs8 = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'pkcs8' });

// DER (X.690 section 8.1): tag, length, value.
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  if (value.length < 0x80) return Buffer.concat([Buffer.of(tag, value.length), value]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  const short = length.subarray(length.findIndex((octet) => octet !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | short.length), short, value]);
}

function integer(value: Uint8Array | number): Buffer {
  const octets = typeof value === 'number' ? Buffer.of(value) : value;
  const sign = ((octets[0] ?? 0) & 0x80) === 0 ? [] : [Buffer.of(0)];
  return der(0x02, ...sign, octets);
}

const RSA_ENCRYPTION = Buffer.from('06092a864886f70d0101010500', 'hex');
const EC_PUBLIC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');
const curveIdentifier: Readonly<Record<Curve, string>> = {
  'P-256': '06082a8648ce3d030107',
  'P-256K': '06052b8104000a',
  'P-384': '06052b81040022',
  'P-521': '06052b81040023',
};

/** RFC 8017 appendix A.1.2 in PKCS#8, whatever the integers are. */
export function rsaPkcs8(parts: Omit<RsaMaterial, 'kty'>): Buffer {
  const { n, e, d, p, q, dp, dq, qi } = parts;
  const key = der(0x30, integer(0), ...[n, e, d, p, q, dp, dq, qi].map(integer));
  return der(0x30, integer(0), der(0x30, RSA_ENCRYPTION), der(0x04, key));
}

/** RFC 5915 in PKCS#8; the point may be left out, and may be anybody's. */
export function ecPkcs8(curve: Curve, d: Uint8Array, point?: Uint8Array): Buffer {
  const publicKey = point === undefined ? [] : [der(0xa1, der(0x03, Buffer.of(0), point))];
  const key = der(0x30, integer(1), der(0x04, d), ...publicKey);
  const algorithm = der(0x30, EC_PUBLIC_KEY, Buffer.from(curveIdentifier[curve], 'hex'));
  return der(0x30, integer(0), algorithm, der(0x04, key));
}
