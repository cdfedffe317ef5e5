// What a key is: type, size, curve, and the part of it that anybody may see.

/** Curves by their JWK names (RFC 7518 section 6.2.1.1); `P-256K` is secp256k1 as the service spells it. */
export type Curve = 'P-256' | 'P-256K' | 'P-384' | 'P-521';

/** RSA modulus sizes in bits. */
export type RsaSize = 2048 | 3072 | 4096;

const rsaSizes: readonly number[] = [2048, 3072, 4096] satisfies readonly RsaSize[];

export function isRsaSize(bits: number): bits is RsaSize {
  return rsaSizes.includes(bits);
}

export type KeySpec =
  | { readonly kty: 'RSA-HSM'; readonly size: RsaSize; readonly exponent: number }
  | { readonly kty: 'EC-HSM'; readonly curve: Curve }
  /** `size` in bits: 128, 192 or 256, or above for keys that serve HMAC alone, up to 512. */
  | { readonly kty: 'oct-HSM'; readonly size: number };

export type KeyType = KeySpec['kty'];

/**
 * The public half, or for a symmetric key its check value: the first 4 bytes of a MAC under the key over a fixed
 * non-zero constant, enough to see that two slots hold the same key and useless for anything else.
 */
export type PublicPart =
  | { readonly kty: 'RSA'; readonly n: Uint8Array; readonly e: Uint8Array }
  | { readonly kty: 'EC'; readonly curve: Curve; readonly x: Uint8Array; readonly y: Uint8Array }
  | { readonly kty: 'oct'; readonly check: Uint8Array };

/** A key as the store holds it: opaque outside a slot that has the data-wrapping key. */
export interface SealedKey {
  /** `{name}/{version}` for customers' keys, `internal/{name}` for the pool's own. */
  readonly id: string;
  readonly spec: KeySpec;
  readonly public: PublicPart;
  /** AES key wrap with padding (RFC 5649) under the data-wrapping key, or the export-wrapping key if `exportable`. */
  readonly blob: Uint8Array;
  /** May be released to an attested target; absent for every other key. */
  readonly exportable?: true;
  /** Opened for decrypting alone; absent for every other key. */
  readonly decryptOnly?: true;
}

/** Clear key material on its way into a slot (plain import); big-endian integers as in RFC 7518 section 6. */
export type KeyMaterial =
  | {
      readonly kty: 'RSA';
      readonly n: Uint8Array;
      readonly e: Uint8Array;
      readonly d: Uint8Array;
      readonly p: Uint8Array;
      readonly q: Uint8Array;
      readonly dp: Uint8Array;
      readonly dq: Uint8Array;
      readonly qi: Uint8Array;
    }
  | {
      readonly kty: 'EC';
      readonly curve: Curve;
      readonly x: Uint8Array;
      readonly y: Uint8Array;
      readonly d: Uint8Array;
    }
  | { readonly kty: 'oct'; readonly k: Uint8Array };

/** Octets of one coordinate (and of half an ECDSA signature) on the curve. */
export const coordinateLength: Readonly<Record<Curve, number>> = {
  'P-256': 32,
  'P-256K': 32,
  'P-384': 48,
  'P-521': 66,
};

export type SignatureAlgorithm =
  'RS256' | 'RS384' | 'RS512' | 'PS256' | 'PS384' | 'PS512' | 'ES256' | 'ES256K' | 'ES384' | 'ES512';
export type MacAlgorithm = 'HS256' | 'HS384' | 'HS512';

export type RsaEncryptionAlgorithm = 'RSA-OAEP' | 'RSA-OAEP-256' | 'RSA1_5';
export type AesGcmAlgorithm = 'A128GCM' | 'A192GCM' | 'A256GCM';
export type AesCbcAlgorithm = 'A128CBC' | 'A192CBC' | 'A256CBC' | 'A128CBCPAD' | 'A192CBCPAD' | 'A256CBCPAD';

/** Sizes of AES keys in bits; symmetric keys of other sizes serve HMAC alone. */
export const aesSizes: readonly number[] = [128, 192, 256];
