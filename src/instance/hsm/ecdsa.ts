// ECDSA verification of a digest by OpenSSL, through Node's interface, which hashes whatever it is given and takes no
// digest. So the question is put in other words. A signature (r, s) on the number e is valid under Q when the point
//     R = (e/s)·G + (r/s)·Q
// has r as its x (FIPS 186-5 section 6.4.2). Take a fixed message whose hash h is known, and t = (e − h)/r. Under
//     Q' = Q + t·G
// the same signature on h asks for (h/s)·G + (r/s)·Q + (e − h)/s·G, which is that same R. One multiplication of G and
// one addition give Q'; OpenSSL decides the rest. All values are public, so none of it needs constant time.
import { createECDH, createHash, createPublicKey, verify } from 'node:crypto';
import { coordinateLength, type Curve, type PublicPart } from '../../values/key-spec.js';
import { padInteger, toBase64url } from '../../values/bytes.js';

interface Domain {
  /** Name in OpenSSL. */
  readonly openssl: string;
  /** `crv` in Node's JWKs. */
  readonly crv: string;
  /** The field's prime. */
  readonly p: bigint;
  /** The order of G. */
  readonly n: bigint;
  /** The curve's `a`. */
  readonly a: bigint;
}

// SEC 2 version 2.0; FIPS 186-5 and SP 800-186 for the NIST curves.
const P256 = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const P384 = 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n;
const P521 = 2n ** 521n - 1n;
const domains: Readonly<Record<Curve, Domain>> = {
  'P-256': {
    openssl: 'prime256v1',
    crv: 'P-256',
    p: P256,
    a: P256 - 3n,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  'P-256K': {
    openssl: 'secp256k1',
    crv: 'secp256k1',
    p: 2n ** 256n - 2n ** 32n - 977n,
    a: 0n,
    n: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
  },
  'P-384': {
    openssl: 'secp384r1',
    crv: 'P-384',
    p: P384,
    a: P384 - 3n,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  'P-521': {
    openssl: 'secp521r1',
    crv: 'P-521',
    p: P521,
    a: P521 - 3n,
    n: 0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  },
};

const MESSAGE = Buffer.from('a message whose hash is known');
const HASH = toNumber(createHash('sha256').update(MESSAGE).digest());

type EcPart = Extract<PublicPart, { kty: 'EC' }>;

/** True if `signature`, r and s each padded to the curve's size (RFC 7518 section 3.4), fits the digest. */
export function verifyEcdsa(part: EcPart, digest: Uint8Array, signature: Uint8Array): boolean {
  const { curve } = part;
  const length = coordinateLength[curve];
  if (signature.length !== 2 * length) return false;
  const domain = domains[curve];
  const r = toNumber(signature.subarray(0, length));
  if (r === 0n || r >= domain.n) return false;
  // No digest here is longer than the order of its curve, so that no bits are cut off.
  const shift = mod((toNumber(digest) - HASH) * inverse(r, domain.n), domain.n);
  const shifted = add(domain, { x: toNumber(part.x), y: toNumber(part.y) }, shift);
  if (shifted === undefined) return false;
  const key = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: domain.crv,
      x: toBase64url(toBytes(shifted.x, length)),
      y: toBase64url(toBytes(shifted.y, length)),
    },
  });
  return verify('sha256', MESSAGE, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

interface Point {
  readonly x: bigint;
  readonly y: bigint;
}

/** `point + factor·G`; undefined for the point at infinity. */
function add(domain: Domain, point: Point, factor: bigint): Point | undefined {
  if (factor === 0n) return point;
  const { p, a } = domain;
  const other = timesG(domain, factor);
  const { x, y } = point;
  let slope: bigint;
  if (x !== other.x) slope = (other.y - y) * inverse(mod(other.x - x, p), p);
  else if (y === other.y) slope = (3n * x * x + a) * inverse(2n * y, p);
  else return undefined;
  const sum = mod(slope * slope - x - other.x, p);
  return { x: sum, y: mod(slope * (x - sum) - y, p) };
}

function timesG({ openssl, n }: Domain, factor: bigint): Point {
  const ecdh = createECDH(openssl);
  ecdh.setPrivateKey(toBytes(factor, Math.ceil(n.toString(16).length / 2)));
  const encoded = ecdh.getPublicKey(); // 04, x, y (SEC 1 section 2.3.3)
  const half = (encoded.length - 1) / 2;
  return { x: toNumber(encoded.subarray(1, 1 + half)), y: toNumber(encoded.subarray(1 + half)) };
}

function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex') || '0'}`);
}

function toBytes(number: bigint, length: number): Buffer {
  const hex = number.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return padInteger(bytes, length) ?? bytes;
}

function mod(number: bigint, modulus: bigint): bigint {
  const rest = number % modulus;
  return rest < 0n ? rest + modulus : rest;
}

/** By Euclid's extended algorithm; `number` is not a multiple of the prime `modulus`. */
function inverse(number: bigint, modulus: bigint): bigint {
  let [a, b, u, v] = [mod(number, modulus), modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b, u, v] = [b - quotient * a, a, v - quotient * u, u];
  }
  return mod(u, modulus);
}
