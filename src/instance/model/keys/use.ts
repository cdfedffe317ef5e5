// Can this key version do that, now? Enabled, inside its time window, allowed the operation, and of a type, size or
// curve that fits the algorithm.
import { aesSizes, type Curve, type KeySpec } from '../../../values/key-spec.js';
import type { Seconds } from '../../../values/moments.js';
import { Refusal } from '../refusal.js';
import type { KeyVersion } from './records.js';

/** Cryptographic operations and the `key_ops` value that each needs. */
export type CryptoOperation = 'encrypt' | 'decrypt' | 'sign' | 'verify' | 'wrapKey' | 'unwrapKey';

// Data protected earlier must stay readable: only operations that protect new data end with the window.
const boundToWindow: ReadonlySet<CryptoOperation> = new Set(['encrypt', 'sign', 'wrapKey']);

/** Undefined if the version may be used so. */
export function mayUse(key: KeyVersion, operation: CryptoOperation, now: Seconds): Refusal | undefined {
  const { enabled, notBefore, expires } = key.attributes;
  if (!enabled) return new Refusal('KeyDisabled', `Operation ${operation} is not allowed on a disabled key.`);
  if (boundToWindow.has(operation)) {
    if (notBefore !== undefined && now < notBefore) {
      return new Refusal(
        'KeyNotYetValid',
        `Operation ${operation} is not allowed on a key that is not yet valid.`,
      );
    }
    if (expires !== undefined && now >= expires) {
      return new Refusal('KeyExpired', `Operation ${operation} is not allowed on an expired key.`);
    }
  }
  if (!key.operations.includes(operation)) {
    return new Refusal('OperationNotAllowed', `Operation ${operation} is not permitted on this key.`);
  }
  return undefined;
}

/** What an algorithm is for and which keys it fits. */
export interface Algorithm {
  readonly use: 'sign' | 'encrypt' | 'wrap';
  readonly fits: (spec: KeySpec) => boolean;
  /** Exact length of the digest to sign, in octets; absent for what signs data as it is. */
  readonly digest?: number;
}

const rsa = (spec: KeySpec) => spec.kty === 'RSA-HSM';
const ec = (curve: Curve) => (spec: KeySpec) => spec.kty === 'EC-HSM' && spec.curve === curve;
const aes = (size: number) => (spec: KeySpec) => spec.kty === 'oct-HSM' && spec.size === size;
const anyAes = (spec: KeySpec) => spec.kty === 'oct-HSM' && aesSizes.includes(spec.size);
// A MAC key is at least as long as the hash (RFC 7518 section 3.2).
const mac = (bits: number) => (spec: KeySpec) => spec.kty === 'oct-HSM' && spec.size >= bits;

/** RSA names serve encrypt and wrap alike; they are listed for both uses. */
const encryption: readonly [string, Algorithm][] = [
  ...['RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5'].map(
    (name) => [name, { use: 'encrypt', fits: rsa }] as [string, Algorithm],
  ),
  ...[128, 192, 256].flatMap((size) =>
    ['GCM', 'CBC', 'CBCPAD'].map(
      (mode) => [`A${size}${mode}`, { use: 'encrypt', fits: aes(size) }] as [string, Algorithm],
    ),
  ),
];
const wrapping: readonly [string, Algorithm][] = [
  ...['RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5'].map(
    (name) => [name, { use: 'wrap', fits: rsa }] as [string, Algorithm],
  ),
  ...[128, 192, 256].flatMap((size) =>
    ['KW', 'KWPAD'].map(
      (mode) => [`A${size}${mode}`, { use: 'wrap', fits: aes(size) }] as [string, Algorithm],
    ),
  ),
  ['CKM_AES_KEY_WRAP', { use: 'wrap', fits: anyAes }],
  ['CKM_AES_KEY_WRAP_PAD', { use: 'wrap', fits: anyAes }],
];
const signing: readonly [string, Algorithm][] = [
  ...([256, 384, 512] as const).flatMap((bits) =>
    ['RS', 'PS'].map(
      (family) => [`${family}${bits}`, { use: 'sign', fits: rsa, digest: bits / 8 }] as [string, Algorithm],
    ),
  ),
  ['ES256', { use: 'sign', fits: ec('P-256'), digest: 32 }],
  ['ES256K', { use: 'sign', fits: ec('P-256K'), digest: 32 }],
  ['ES384', { use: 'sign', fits: ec('P-384'), digest: 48 }],
  ['ES512', { use: 'sign', fits: ec('P-521'), digest: 64 }],
  ['RSNULL', { use: 'sign', fits: rsa }],
  ...[256, 384, 512].map((bits) => [`HS${bits}`, { use: 'sign', fits: mac(bits) }] as [string, Algorithm]),
];

const byUse = { sign: new Map(signing), encrypt: new Map(encryption), wrap: new Map(wrapping) };
const known = new Set([...signing, ...encryption, ...wrapping].map(([name]) => name));

/** The algorithm, or why it cannot be used so with this key. */
export function algorithmFor(spec: KeySpec, use: Algorithm['use'], name: string): Algorithm | Refusal {
  const algorithm = byUse[use].get(name);
  if (!algorithm) {
    const problem = known.has(name)
      ? `The algorithm '${name}' cannot be used to ${use}`
      : `Unknown algorithm: '${name}'`;
    return new Refusal('BadParameter', problem);
  }
  if (!algorithm.fits(spec)) {
    return new Refusal(
      'BadParameter',
      `The algorithm '${name}' does not fit a key of type ${describe(spec)}`,
    );
  }
  return algorithm;
}

function describe(spec: KeySpec): string {
  return `${spec.kty} ${spec.kty === 'EC-HSM' ? spec.curve : spec.size}`;
}
