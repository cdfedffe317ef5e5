// Environment assertions: JSON Web Tokens (RFC 7519, RFC 8725) in which an attestation service says what runs in an
// enclave and which key it holds. Verifies one against the issuers that the pool trusts and takes the enclave's key
// from it. What is no token at all is a bad parameter; a token that fails in any way is refused as an assertion, in
// words that repeat nothing of it.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { compactVerify, decodeProtectedHeader } from 'jose';
import * as z from 'zod';
import { fromBase64url, toBase64url, trimInteger } from '../../values/bytes.js';
import type { TrustedAttestor } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import {
  meets,
  namesAuthority,
  sameAuthority,
  type Claims,
  type ReleasePolicy,
} from '../model/release/policy.js';
import { MetadataError, type IssuerMetadata } from './issuer-metadata.js';
import type { SigningKey } from './published-key.js';
import { refuse } from './reading.js';

/** What assertions are judged by. */
export interface Attestation {
  /** Issuers that the pool trusts; nobody else is believed or even asked. */
  readonly attestors: readonly TrustedAttestor[];
  readonly metadata: IssuerMetadata;
  /** The pool's clock. */
  readonly now: () => Seconds;
}

/** A verified assertion. */
export interface Assertion {
  /** The `iss` claim. */
  readonly issuer: string;
  readonly claims: Claims;
}

/** The RSA key for encryption that an enclave holds. */
export interface EnclaveKey {
  readonly kid: string;
  readonly publicKey: KeyObject;
}

/** Characters; a body may have no more than 64 KiB. */
const TARGET_MAX = 61_440;
/** Clocks of issuer and pool may differ; an assertion that has ended gets no such grace. */
const NOT_BEFORE_LEEWAY = 60;
const FORM = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const RUNTIME_KEYS_MAX = 100;
const MODULUS_MIN = 2_048;
const MODULUS_MAX = 4_096;
/** Octets; larger exponents are legal and used by nobody. */
const EXPONENT_MAX = 4;

// Symmetric algorithms are left out, since with them a public key would serve as the secret; `none` is no signature.
const keyTypeOf: Readonly<Record<string, SigningKey['kty']>> = {
  RS256: 'RSA',
  RS384: 'RSA',
  RS512: 'RSA',
  PS256: 'RSA',
  PS384: 'RSA',
  PS512: 'RSA',
  ES256: 'EC',
  ES384: 'EC',
  ES512: 'EC',
};

/** All of a release's checks of its target: the assertion is true, it meets the policy, and it names a fit key. */
export async function releaseTarget(
  target: string,
  policy: ReleasePolicy,
  attestation: Attestation,
): Promise<EnclaveKey> {
  const { issuer, claims } = await verifyAssertion(target, attestation, policy);
  if (!meets(policy, issuer, claims)) fail('The claims do not meet the release policy of the key');
  return enclaveKey(claims);
}

/**
 * Verifies issuer, signature and times. With a policy, an issuer that it does not name is refused before it is asked
 * for anything. Rejects with a refusal, `BadParameter` or `AssertionRefused`.
 */
export async function verifyAssertion(
  target: string,
  { attestors, metadata, now }: Attestation,
  policy?: ReleasePolicy,
): Promise<Assertion> {
  if (target.length > TARGET_MAX)
    refuse('BadParameter', `The target is longer than ${TARGET_MAX} characters`);
  const claimed = FORM.test(target) ? jsonOf(target.split('.')[1] ?? '') : undefined;
  const header = claimed === undefined ? undefined : headerOf(target);
  if (!claimed || !header) return refuse('BadParameter', 'The target is not a JSON Web Token');

  // Believed only once a signature by the key that it leads to is verified.
  const issuer = claimed['iss'];
  if (typeof issuer !== 'string') return fail('It names no issuer');
  if (policy && !namesAuthority(policy, issuer)) fail('Its issuer is no authority of the release policy');
  const attestor = attestors.find((trusted) => sameAuthority(trusted.issuer, issuer));
  if (!attestor) return fail('Its issuer is not trusted');

  const { alg, kid } = header;
  const kty = typeof alg === 'string' && Object.hasOwn(keyTypeOf, alg) ? keyTypeOf[alg] : undefined;
  if (kty === undefined || typeof alg !== 'string') return fail('Its signature algorithm is not accepted');
  if (typeof kid !== 'string' || kid === '') return fail('It does not name the key that signed it');
  const keys = await keysOf(metadata, attestor, kid);
  const fitting = keys.filter((key) => key.kty === kty && (key.alg === undefined || key.alg === alg));
  const [key] = fitting;
  if (!key || fitting.length > 1) return fail('The key that signed it is not among those of its issuer');

  // The bytes that are verified are read again: nothing that was read before counts.
  const claims = await verifiedClaims(target, key, alg);
  if (!claims || claims['iss'] !== issuer) return fail('It is not validly signed');
  const times = timesShape.safeParse(claims);
  if (!times.success) return fail('It has no proper end or beginning');
  const { exp, nbf } = times.data;
  const time = now();
  if (time >= exp) fail('It has expired');
  if (nbf !== undefined && time < nbf - NOT_BEFORE_LEEWAY) fail('It is not yet valid');
  return { issuer, claims };
}

const timesShape = z.object({ exp: z.number(), nbf: z.number().optional() });

async function keysOf(
  metadata: IssuerMetadata,
  attestor: TrustedAttestor,
  kid: string,
): Promise<readonly SigningKey[]> {
  try {
    return await metadata.keysFor(attestor, kid);
  } catch (error) {
    if (error instanceof MetadataError) return fail(error.message);
    throw error;
  }
}

async function verifiedClaims(target: string, key: SigningKey, alg: string): Promise<Claims | undefined> {
  try {
    const { payload } = await compactVerify(target, key.publicKey, { algorithms: [alg] });
    return objectIn(payload);
  } catch {
    return undefined;
  }
}

function headerOf(target: string): { alg?: unknown; kid?: unknown } | undefined {
  try {
    const header = decodeProtectedHeader(target);
    // `b64: false` would make the payload something else than what it looks like (RFC 7797 section 7).
    return 'crit' in header || 'b64' in header ? undefined : header;
  } catch {
    return undefined;
  }
}

function jsonOf(part: string): Claims | undefined {
  return objectIn(Buffer.from(part, 'base64url'));
}

function objectIn(bytes: Uint8Array): Claims | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Claims)
      : undefined;
  } catch {
    return undefined;
  }
}

const runtimeShape = z.object({ keys: z.array(z.unknown()).max(RUNTIME_KEYS_MAX) });
const encryptionShape = z.object({
  kty: z.literal('RSA'),
  kid: z.unknown().optional(),
  use: z.unknown().optional(),
  key_use: z.unknown().optional(),
  key_ops: z.unknown().optional(),
  n: z.unknown().optional(),
  e: z.unknown().optional(),
  d: z.unknown().optional(),
});

/** The first RSA key for encryption among `x-ms-runtime.keys`; refused if it is unfit, rather than a later one taken. */
export function enclaveKey(claims: Claims): EnclaveKey {
  const runtime = runtimeShape.safeParse(Object.hasOwn(claims, 'x-ms-runtime') ? claims['x-ms-runtime'] : {});
  for (const value of runtime.data?.keys ?? []) {
    const { data: jwk } = encryptionShape.safeParse(value);
    if (!jwk) continue;
    const { kid, use, key_use, key_ops } = jwk;
    const encrypts =
      use === 'enc' || key_use === 'enc' || (Array.isArray(key_ops) && key_ops.includes('encrypt'));
    if (!encrypts) continue;
    if (typeof kid !== 'string' || kid === '') fail("The enclave's key has no 'kid'");
    // Who reads the assertion would read the key.
    if (jwk.d !== undefined) fail("The enclave's key comes with its private half");
    return { kid, publicKey: rsaKey(jwk.n, jwk.e) };
  }
  return fail("It holds no RSA key for encryption in 'x-ms-runtime'");
}

function rsaKey(modulus: unknown, exponent: unknown): KeyObject {
  const n = integer(modulus);
  const e = integer(exponent);
  if (!n || !e) return fail("The enclave's key is malformed");
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (bits < MODULUS_MIN || bits > MODULUS_MAX) {
    return fail(`The enclave's key must have ${MODULUS_MIN} to ${MODULUS_MAX} bits`);
  }
  // With the exponent 1 the wrapped key would be the key; an even number is no RSA key at all.
  const proper = e.length <= EXPONENT_MAX && e.readUIntBE(0, e.length) >= 3 && isOdd(e) && isOdd(n);
  if (!proper) return fail("The enclave's key is malformed");
  return createPublicKey({ key: { kty: 'RSA', n: toBase64url(n), e: toBase64url(e) }, format: 'jwk' });
}

function integer(text: unknown): Buffer | undefined {
  const bytes = typeof text === 'string' ? fromBase64url(text) : undefined;
  return bytes && bytes.length > 0 ? trimInteger(bytes) : undefined;
}

function isOdd(bytes: Buffer): boolean {
  return ((bytes.at(-1) ?? 0) & 1) === 1;
}

function fail(problem: string): never {
  return refuse('AssertionRefused', problem);
}
