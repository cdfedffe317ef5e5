// Records of keys.
import type { PublicPart, SealedKey } from '../../../values/key-spec.js';
import type { Seconds } from '../../../values/moments.js';
import type { KeyReleasePolicy } from '../release/policy.js';
import type { RotationPolicy } from './rotation.js';

/** `key_ops` values of RFC 7517 section 4.3 that the service knows, and its own `import` and `export`. */
export const keyOperations = [
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'wrapKey',
  'unwrapKey',
  'deriveKey',
  'import',
  'export',
] as const;

export type KeyOperation = (typeof keyOperations)[number];

export interface Key {
  readonly name: string;
  /** Version ids in order of creation; never empty. The last is the newest. */
  readonly versions: readonly string[];
  /** Absent: none is set. */
  readonly rotation?: RotationPolicy;
  /** Id of what is due for the key next, in its table. */
  readonly due?: string;
}

export interface DeletedKey extends Key {
  readonly deleted: Seconds;
  readonly scheduledPurge: Seconds;
}

export interface KeyAttributes {
  readonly enabled: boolean;
  readonly notBefore?: Seconds;
  readonly expires?: Seconds;
  readonly created: Seconds;
  readonly updated: Seconds;
}

/** One version of a key. Its id as a {@link SealedKey} is `{name}/{version}`. */
export interface KeyVersion extends SealedKey {
  readonly name: string;
  /** 32 lowercase hex digits. */
  readonly version: string;
  readonly public: PublicPart;
  readonly operations: readonly KeyOperation[];
  readonly attributes: KeyAttributes;
  /** Absent when none were set. */
  readonly tags?: Readonly<Record<string, string>>;
  /** What an environment must prove to be given the key; every exportable key has one and no other. */
  readonly releasePolicy?: KeyReleasePolicy;
}

/** Id of a version in its table and in the partition's cache. */
export function versionId(name: string, version: string): string {
  return `${name}/${version}`;
}
