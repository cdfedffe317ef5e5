// What a security domain file holds of this pool, as its items' payloads. Custodians' tools pass them on unchanged.
// Nothing in them depends on the file's master key, which changes on the way.
import { createPublicKey, X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { wipe } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';
import { aesSizes } from '../../values/key-spec.js';
import type { Item } from '../../security-domain/items.js';
import { SecurityDomainError } from '../../security-domain/problem.js';
import { domainPurposes, internalId, type DomainPurpose, type InternalKey } from '../model/pool.js';
import type { DomainKey } from '../partition/provision.js';
import { spkiOf } from './found.js';

/** The wrapping key, then the data-wrapping key under it. */
const DATA_WRAPPING_KEY = 'trivet_data_wrapping_key';
/** CBOR: the pool's own keys that belong to the domain, under the data-wrapping key. */
const INTERNAL_KEYS = 'trivet_internal_keys';
/** Every item of a file, in order. */
export const domainTags: readonly string[] = [DATA_WRAPPING_KEY, INTERNAL_KEYS];

/** Octets. */
export const WRAPPING_KEY_LENGTH = 32;
/** A key of 32 octets in AES key wrap with padding. */
const WRAPPED_LENGTH = 40;
const FORMAT = 1;

export type DomainKeys = Readonly<Record<DomainPurpose, InternalKey>>;

export interface DomainContents {
  readonly domainKey: DomainKey;
  readonly keys: DomainKeys;
}

/** The items; the caller wipes them and the contents. */
export function writeItems({ domainKey, keys }: DomainContents): Item[] {
  const payload = Buffer.concat([domainKey.wrappingKey, domainKey.wrapped]);
  return [
    { tag: DATA_WRAPPING_KEY, payload },
    { tag: INTERNAL_KEYS, payload: encode({ format: FORMAT, keys }) },
  ];
}

/** Reads them; throws `BadBlob`. The caller wipes both items and contents. */
export function readItems(items: readonly Item[]): DomainContents {
  const payloadOf = (wanted: string) => {
    const item = items.find(({ tag }) => tag === wanted);
    // A copy: what is read from it outlives the item.
    return item ? Buffer.from(item.payload) : refuse(`lacks "${wanted}"`);
  };
  const keys = readKeys(payloadOf(INTERNAL_KEYS));
  const payload = payloadOf(DATA_WRAPPING_KEY);
  if (payload.length !== WRAPPING_KEY_LENGTH + WRAPPED_LENGTH) {
    wipe(payload);
    return refuse('holds no data-wrapping key of this product');
  }
  const wrappingKey = payload.subarray(0, WRAPPING_KEY_LENGTH);
  return { domainKey: { wrappingKey, wrapped: payload.subarray(WRAPPING_KEY_LENGTH) }, keys };
}

/** Wipes what must not stay. */
export function wipeContents({ domainKey }: DomainContents): void {
  wipe(domainKey.wrappingKey, domainKey.wrapped);
}

const bytes = z.instanceof(Uint8Array).refine(({ length }) => length > 0 && length <= 8_192);
const specShape = z.union([
  z.strictObject({
    kty: z.literal('RSA-HSM'),
    size: z.union([z.literal(2048), z.literal(3072), z.literal(4096)]),
    exponent: z.literal(65_537),
  }),
  z.strictObject({ kty: z.literal('EC-HSM'), curve: z.literal('P-256') }),
  z.strictObject({
    kty: z.literal('oct-HSM'),
    size: z.number().refine((size) => aesSizes.includes(size) || size === 512),
  }),
]);
const publicShape = z.union([
  z.strictObject({ kty: z.literal('RSA'), n: bytes, e: bytes }),
  z.strictObject({ kty: z.literal('EC'), curve: z.literal('P-256'), x: bytes, y: bytes }),
  z.strictObject({ kty: z.literal('oct'), check: bytes }),
]);

function keyShape(purpose: DomainPurpose) {
  const sealed = z.strictObject({
    id: z.literal(internalId(purpose)),
    spec: specShape,
    public: publicShape,
    blob: bytes,
  });
  return purpose === 'owner' ? z.strictObject({ sealed, certificate: bytes }) : z.strictObject({ sealed });
}

const keysShape = z.strictObject({
  format: z.literal(FORMAT),
  keys: z.strictObject({
    owner: keyShape('owner'),
    'release-signer': keyShape('release-signer'),
    'backup-protection': keyShape('backup-protection'),
    'export-wrapping': keyShape('export-wrapping'),
  }),
});

// Whoever makes a blob by hand decides what is in it: nothing is taken that could not have been written here.
function readKeys(payload: Buffer): DomainKeys {
  const parsed = keysShape.safeParse(decoded(payload));
  if (!parsed.success) return refuse('holds no internal keys of this product');
  const { keys } = parsed.data as unknown as { readonly keys: DomainKeys };
  for (const purpose of domainPurposes) {
    const { spec, public: part } = keys[purpose].sealed;
    if (spec.kty !== `${part.kty}-HSM`) return refuse(`holds an impossible key for "${purpose}"`);
  }
  if (!isOwned(keys.owner)) return refuse("holds an owner's certificate that is not of the owner's key");
  return keys;
}

function decoded(payload: Buffer): unknown {
  try {
    return decode(payload);
  } catch {
    return undefined;
  }
}

function isOwned({ sealed, certificate }: InternalKey): boolean {
  try {
    const { publicKey } = new X509Certificate(certificate ?? Buffer.alloc(0));
    return publicKey.equals(createPublicKey({ key: spkiOf(sealed), format: 'der', type: 'spki' }));
  } catch {
    return false;
  }
}

function refuse(what: string): never {
  throw new SecurityDomainError('BadBlob', `the restore blob ${what}`);
}
