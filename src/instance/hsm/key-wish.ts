// What a client may wish of a key's operations, times and tags, checked once for create, import and update.
import type { KeyType } from '../../values/key-spec.js';
import type { Seconds } from '../../values/moments.js';
import { policyUseless } from '../model/keys/apply.js';
import { MAX_TAG_LENGTH, MAX_TAGS } from '../model/keys/limits.js';
import { keyOperations, type KeyOperation } from '../model/keys/records.js';
import { keyReleasePolicy, type KeyReleasePolicy, type PolicyWish } from '../model/release/policy.js';
import { heed } from '../model/refusal.js';
import { refuse } from './reading.js';

/** Members left out are not set, or on update kept. */
export interface AttributesWish {
  readonly enabled?: boolean | undefined;
  readonly notBefore?: Seconds | undefined;
  readonly expires?: Seconds | undefined;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** `key_ops` as the client writes them. */
  readonly operations?: readonly string[] | undefined;
  /** May the key be released? On update it cannot change. */
  readonly exportable?: boolean | undefined;
  readonly releasePolicy?: PolicyWish | undefined;
}

const defaults: Readonly<Record<KeyType, readonly KeyOperation[]>> = {
  'RSA-HSM': ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify'],
  'EC-HSM': ['sign', 'verify'],
  'oct-HSM': ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify', 'deriveKey'],
};

// A key exchange key for BYOK is an RSA key (section 5.1 of the reference); `export` fits every type.
const fitting: Readonly<Record<KeyType, ReadonlySet<KeyOperation>>> = {
  'RSA-HSM': new Set([...defaults['RSA-HSM'], 'import', 'export']),
  'EC-HSM': new Set([...defaults['EC-HSM'], 'export']),
  'oct-HSM': new Set([...defaults['oct-HSM'], 'export']),
};

const known: ReadonlySet<string> = new Set(keyOperations);

/** The operations of a new key: those wished, or what a key of this type has by default. */
export function operationsFor(kty: KeyType, wished: readonly string[] | undefined): readonly KeyOperation[] {
  return wished === undefined || wished.length === 0 ? defaults[kty] : operationsFitting(kty, wished);
}

/** The operations wished, each once, if all fit the type and `import` stands alone. */
export function operationsFitting(kty: KeyType, wished: readonly string[]): readonly KeyOperation[] {
  const operations = [...new Set(wished)].map((name) => {
    if (!isOperation(name)) return refuse('BadParameter', `Unknown key operation: '${name}'`);
    if (!fitting[kty].has(name)) {
      return refuse('BadParameter', `The key operation '${name}' does not fit a key of type ${kty}`);
    }
    return name;
  });
  if (operations.includes('import') && operations.length > 1) {
    refuse('BadParameter', "The key operation 'import' excludes all others");
  }
  return operations;
}

function isOperation(name: string): name is KeyOperation {
  return known.has(name);
}

/** Refuses a window that never opens, and tags beyond the limits. */
export function checkAttributes({ notBefore, expires, tags }: AttributesWish): void {
  if (notBefore !== undefined && expires !== undefined && notBefore >= expires) {
    refuse('BadParameter', 'The not-before date must come before the expiry date');
  }
  if (tags === undefined) return;
  const entries = Object.entries(tags);
  if (entries.length > MAX_TAGS) refuse('BadParameter', `A key has at most ${MAX_TAGS} tags`);
  for (const [name, value] of entries) {
    if (name.length > MAX_TAG_LENGTH || value.length > MAX_TAG_LENGTH) {
      refuse('BadParameter', `A tag's name and its value have at most ${MAX_TAG_LENGTH} characters each`);
    }
  }
}

/** The release policy of a new key: an exportable one has one, any other has none. */
export function releasePolicyFor({
  exportable,
  releasePolicy,
}: AttributesWish): KeyReleasePolicy | undefined {
  if (exportable !== true) {
    if (releasePolicy !== undefined) heed(policyUseless());
    return undefined;
  }
  if (releasePolicy === undefined) return refuse('BadParameter', 'Exportable keys must have release policy');
  return heed(keyReleasePolicy(releasePolicy));
}
