// Key attestations: what a partition says of a key that it holds, signed by the partition's own key. How one is laid
// out, and nothing else: reading the slot, signing and checking are done elsewhere.
//
// A blob, all integers big-endian: 16 zero bytes; u32 length of all up to the signature; object header: u32 handle
// (always zero: handles mean nothing outside), u32 number of attributes, u32 length of the attributes; attributes in
// ascending order of type: u32 type, u32 length, value; zero bytes up to a multiple of 16; the signature, RSA with
// PKCS #1 v1.5 padding and SHA-256, over everything before it. One content has one encoding.
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import { AlgorithmIdentifier, SubjectPublicKeyInfo } from '@peculiar/asn1-x509';
import { toBase64url } from './bytes.js';
import { createPublicKey, type KeyObject } from 'node:crypto';

/** The layout above and the attributes below; whatever changes in them gets another name. */
export const ATTESTATION_VERSION = 'TRIVET-1';
/** Octets of the signature: the partition's key is RSA of 2048 bits. */
export const ATTESTATION_SIGNATURE_LENGTH = 256;
/** The label of every attested key. */
export const ATTESTED_LABEL = 'customer_key';

/** Object classes and key types of PKCS #11, as far as keys are attested. */
export const attestedClass = { publicKey: 2, privateKey: 3, secretKey: 4 } as const;
export const attestedKeyType = { rsa: 0x00, ec: 0x03, genericSecret: 0x10, aes: 0x1f } as const;

// byte: one octet. flag: one octet, 0 or 1. text: filled with zero bytes up to 128 octets. bytes: as they are.
type Kind = 'byte' | 'flag' | 'text' | 'bytes';

/** The attributes: PKCS #11 names and numbers, and from 0x80000000 on Trivet's own. In ascending order. */
export const attestedAttributes = {
  class: [0x0000, 'byte'],
  token: [0x0001, 'flag'],
  private: [0x0002, 'flag'],
  label: [0x0003, 'text'],
  trusted: [0x0086, 'flag'],
  keyType: [0x0100, 'byte'],
  id: [0x0102, 'text'],
  sensitive: [0x0103, 'flag'],
  encrypt: [0x0104, 'flag'],
  decrypt: [0x0105, 'flag'],
  wrap: [0x0106, 'flag'],
  unwrap: [0x0107, 'flag'],
  sign: [0x0108, 'flag'],
  verify: [0x010a, 'flag'],
  derive: [0x010c, 'flag'],
  modulus: [0x0120, 'bytes'],
  publicExponent: [0x0122, 'bytes'],
  extractable: [0x0162, 'flag'],
  local: [0x0163, 'flag'],
  neverExtractable: [0x0164, 'flag'],
  alwaysSensitive: [0x0165, 'flag'],
  ecParams: [0x0180, 'bytes'],
  ecPoint: [0x0181, 'bytes'],
  wrapWithTrusted: [0x0210, 'flag'],
  /** SHA-256 of the SubjectPublicKeyInfo (DER) that the private key was seen to belong to. */
  publicKeySha256: [0x80000001, 'bytes'],
} as const satisfies Record<string, readonly [number, Kind]>;

export type AttestedName = keyof typeof attestedAttributes;
interface Values {
  byte: number;
  flag: boolean;
  text: string;
  bytes: Uint8Array;
}
/** What is attested of a key; an attribute that the object does not have is absent. */
export type Attested = { readonly [N in AttestedName]?: Values[(typeof attestedAttributes)[N][1]] };

/** A blob that is no attestation; the message says what is wrong with it. */
export class AttestationError extends Error {
  override readonly name = 'AttestationError';
}

const START_LENGTH = 20;
const OBJECT_HEADER_LENGTH = 12;
const ATTRIBUTE_HEADER_LENGTH = 8;
const TEXT_LENGTH = 128;
const BLOCK = 16;

const names = Object.keys(attestedAttributes) as AttestedName[];
const nameOfType = new Map<number, AttestedName>(names.map((name) => [attestedAttributes[name][0], name]));

/** The blob without its signature. */
export function toBeSigned(attested: Attested): Buffer {
  const present = names.filter((name) => attested[name] !== undefined);
  const attributes = present.flatMap((name) => {
    const [type, kind] = attestedAttributes[name];
    const value = encodeValue(kind, attested[name]);
    return [integers(type, value.length), value];
  });
  const size = attributes.reduce((sum, part) => sum + part.length, 0);
  const bare = START_LENGTH + OBJECT_HEADER_LENGTH + size;
  const padding = Buffer.alloc((BLOCK - (bare % BLOCK)) % BLOCK);
  const start = Buffer.concat([Buffer.alloc(16), integers(bare + padding.length)]);
  return Buffer.concat([start, integers(0, present.length, size), ...attributes, padding]);
}

/** An attestation taken apart; nothing in it is believed yet. */
export interface ParsedAttestation {
  readonly attested: Attested;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

/**
 * Takes a blob apart; it must be exactly what {@link toBeSigned} makes, and a signature.
 * @throws AttestationError, whatever the bytes are.
 */
export function parseAttestation(blob: Uint8Array): ParsedAttestation {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const end = bytes.length - ATTESTATION_SIGNATURE_LENGTH;
  const first = START_LENGTH + OBJECT_HEADER_LENGTH;
  if (end < first) bad('it is too short');
  if (bytes.readUInt32BE(16) !== end) bad('the length in its header is not its length');
  const count = bytes.readUInt32BE(START_LENGTH + 4);
  const attributesEnd = first + bytes.readUInt32BE(START_LENGTH + 8);
  if (attributesEnd > end) bad('its attributes are longer than it is');
  const attested = readAttributes(bytes.subarray(first, attributesEnd), count);
  const signed = bytes.subarray(0, end);
  // The start, the handle and the padding: zero, and no more of it than belongs there.
  if (!toBeSigned(attested).equals(signed)) bad('there are bytes in it that do not belong there');
  return { attested, signed, signature: bytes.subarray(end) };
}

/**
 * The public key that the attributes of a public key, or of an RSA private key, are those of.
 * @throws AttestationError when there is none in them.
 */
export function attestedPublicKey({ modulus, publicExponent, ecParams, ecPoint }: Attested): KeyObject {
  try {
    if (modulus && publicExponent) {
      const jwk = { kty: 'RSA', n: toBase64url(modulus), e: toBase64url(publicExponent) };
      return createPublicKey({ key: jwk, format: 'jwk' });
    }
    if (ecParams && ecPoint) {
      // CKA_EC_POINT is a DER OCTET STRING around the point (PKCS #11 2.40 mechanisms, section 2.3.3).
      const point = AsnConvert.parse(copy(ecPoint), OctetString);
      const algorithm = new AlgorithmIdentifier({
        algorithm: '1.2.840.10045.2.1',
        parameters: copy(ecParams),
      });
      const info = new SubjectPublicKeyInfo({ algorithm, subjectPublicKey: point.buffer });
      const key = Buffer.from(AsnConvert.serialize(info));
      return createPublicKey({ key, type: 'spki', format: 'der' });
    }
  } catch (cause) {
    throw new AttestationError('the public key in it is none', { cause });
  }
  return bad('there is no public key in it');
}

/** SubjectPublicKeyInfo, DER. */
export function subjectPublicKeyInfo(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

function readAttributes(bytes: Buffer, count: number): Attested {
  const found: Partial<Record<AttestedName, Values[Kind]>> = {};
  let seen = 0;
  let last = -1;
  for (let at = 0; at < bytes.length; seen += 1) {
    if (bytes.length - at < ATTRIBUTE_HEADER_LENGTH) bad('an attribute is cut off');
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    at += ATTRIBUTE_HEADER_LENGTH;
    if (length > bytes.length - at) bad('an attribute is cut off');
    const name = nameOfType.get(type);
    if (name === undefined) return bad(`the attribute 0x${type.toString(16)} is not known`);
    if (type <= last) bad('its attributes are out of order');
    last = type;
    found[name] = readValue(name, attestedAttributes[name][1], bytes.subarray(at, at + length));
    at += length;
  }
  if (seen !== count) bad('it has another number of attributes than it says');
  return found as Attested;
}

function readValue(name: string, kind: Kind, bytes: Buffer): Values[Kind] {
  const [only = 0] = bytes;
  switch (kind) {
    case 'byte':
      return bytes.length === 1 ? only : bad(`${name} is not one byte`);
    case 'flag':
      return bytes.length === 1 && only <= 1 ? only === 1 : bad(`${name} is neither true nor false`);
    case 'text': {
      const text = bytes.toString('latin1').replace(/\0+$/, '');
      return /^[\x20-\x7e]+$/.test(text) ? text : bad(`${name} is no text`);
    }
    case 'bytes':
      return bytes.length > 0 ? bytes : bad(`${name} is empty`);
  }
}

function encodeValue(kind: Kind, value: Values[Kind] | undefined): Uint8Array {
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  if (typeof value === 'number') return Buffer.of(value);
  if (typeof value !== 'string') return value ?? Buffer.alloc(0);
  const text = Buffer.from(value, 'latin1');
  return kind === 'text' ? Buffer.concat([text, Buffer.alloc(Math.max(0, TEXT_LENGTH - text.length))]) : text;
}

function integers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, place) => bytes.writeUInt32BE(value, 4 * place));
  return bytes;
}

function copy(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

function bad(what: string): never {
  throw new AttestationError(what);
}
