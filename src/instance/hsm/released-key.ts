// The answer to a release: a JSON Web Signature (RFC 7515) over the request and the key, whose material is wrapped for
// the enclave. Builds it from parts; the signing is a callback, since the key behind the certificate may live in a
// slot. Knows no clock and no key store.
import { createHash, verify, X509Certificate } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { toBase64url } from '../../values/bytes.js';
import { toJson, type Json } from '../../values/json.js';
import type { PublicPart } from '../../values/key-spec.js';
import type { KeyReleasePolicy } from '../model/release/policy.js';
import type { TargetWrap } from './target-wrap.js';

export interface ReleasedKey {
  readonly request: {
    readonly apiVersion: string;
    readonly enc: TargetWrap;
    /** URL of the key as it was asked for, with its version only if that was. */
    readonly kid: string;
    readonly nonce?: string | undefined;
  };
  /** URL of the key with its version. */
  readonly kid: string;
  /** `attributes` as every answer shows them. */
  readonly attributes: Json;
  readonly operations: readonly string[];
  /** Absent for symmetric keys, which have none. */
  readonly public?: Exclude<PublicPart, { kty: 'oct' }> | undefined;
  readonly policy: KeyReleasePolicy;
  /** The key, wrapped for the enclave (`wrapForTarget`). */
  readonly wrapped: Uint8Array;
  /** `kid` of the enclave's key. */
  readonly enclaveKid: string;
}

/** Who vouches for the answer. */
export interface ReleaseSigner {
  /** DER; the leaf, whose key is RSA, then what certifies it. */
  readonly chain: readonly Uint8Array[];
  /** RSASSA-PKCS1-v1_5 with SHA-256 (RS256) by the leaf's key. */
  readonly sign: (data: Buffer) => Promise<Buffer> | Buffer;
}

/** The compact JWS that a client finds as `value`. */
export async function releasedKeyToken(
  released: ReleasedKey,
  { chain, sign }: ReleaseSigner,
): Promise<string> {
  const [leaf] = chain;
  assert(leaf !== undefined, 'a signer has a certificate');
  const thumbprint = toBase64url(createHash('sha256').update(leaf).digest());
  const header = {
    alg: 'RS256',
    kid: thumbprint,
    // RFC 7515 section 4.1.6: not base64url.
    x5c: chain.map((der) => Buffer.from(der).toString('base64')),
    'x5t#S256': thumbprint,
  };
  const input = `${encoded(header)}.${encoded(payloadOf(released))}`;
  const data = Buffer.from(input, 'ascii');
  const signature = await sign(data);
  // An answer that its own certificate belies would be found out in an enclave, far from here.
  const { publicKey } = new X509Certificate(leaf);
  assert(
    publicKey.asymmetricKeyType === 'rsa' && verify('sha256', data, publicKey, signature),
    "a released key is signed by its certificate's key",
  );
  return `${input}.${toBase64url(signature)}`;
}

function payloadOf({ request, ...released }: ReleasedKey): Json {
  const { contentType, text, immutable } = released.policy;
  return {
    request: {
      'api-version': request.apiVersion,
      enc: request.enc,
      kid: request.kid,
      nonce: request.nonce,
    },
    response: {
      key: {
        attributes: released.attributes,
        key: {
          ...publicMembers(released.public),
          key_hsm: keyHsm({ ...released, enc: request.enc }),
          key_ops: released.operations,
          kid: released.kid,
        },
        release_policy: { contentType, data: toBase64url(Buffer.from(text)), immutable },
      },
    },
  };
}

/** What is wrapped for an enclave, with what it takes to open it there, in base64url. */
export function keyHsm({
  wrapped,
  enc,
  enclaveKid,
}: Pick<ReleasedKey, 'wrapped' | 'enclaveKid'> & { readonly enc: TargetWrap }): string {
  return encoded({
    ciphertext: toBase64url(wrapped),
    header: { alg: 'dir', enc, kid: enclaveKid },
    schema_version: '1.0',
  });
}

/** Of the plain types: outside the pool it is no HSM key any more. */
function publicMembers(part: ReleasedKey['public']): Record<string, string> {
  switch (part?.kty) {
    case 'RSA':
      return { kty: 'RSA', e: toBase64url(part.e), n: toBase64url(part.n) };
    case 'EC':
      return { kty: 'EC', crv: part.curve, x: toBase64url(part.x), y: toBase64url(part.y) };
    case undefined:
      return { kty: 'oct' };
  }
}

function encoded(value: Json): string {
  return toBase64url(Buffer.from(toJson(value)));
}
