// Items: what a security domain carries, each under a key derived from the master key and the item's tag. What is in
// a payload is the business of who makes the domain; custodians' tools pass it on unchanged.
import * as z from 'zod';
import { assert } from '../values/assert.js';
import { wipe } from '../values/bytes.js';
import { openDirect, sealDirect } from './jwe.js';
import { deriveItemKey } from './kdf.js';

/** One thing in a security domain. */
export interface Item {
  /** Says what it is, and separates its key from the others'. */
  readonly tag: string;
  readonly payload: Uint8Array;
}

export const MASTER_KEY_BYTES = 32;
const KDF_NAME = 'sp108_kdf';

const ITEMS_MAX = 32;
/** What we write; published readers handle headers as ASCII. */
const OWN_TAG = /^[\x20-\x7e]{1,64}$/;

export const encDataShape = z.object({
  data: z
    .array(z.object({ compact_jwe: z.string(), tag: z.string().min(1).max(256) }))
    .min(1)
    .max(ITEMS_MAX),
  kdf: z.literal(KDF_NAME),
});

/** The member `EncData` of both kinds of file. */
export type EncData = z.infer<typeof encDataShape>;

/** Closes every item under the master key, in order. */
export function sealItems(masterKey: Uint8Array, items: readonly Item[]): EncData {
  assert(items.length > 0 && items.length <= ITEMS_MAX, 'a security domain has some items');
  assert(new Set(items.map(({ tag }) => tag)).size === items.length, 'every item has a tag of its own');
  const data = items.map(({ tag, payload }) => {
    const key = deriveItemKey(masterKey, tag);
    try {
      return { compact_jwe: sealDirect(key, tag, payload), tag };
    } finally {
      wipe(key);
    }
  });
  return { data, kdf: KDF_NAME };
}

/** Opens every item, in order, or tells the tag of the first that does not open. The caller wipes the payloads. */
export function openItems(masterKey: Uint8Array, { data }: EncData): Item[] | { damaged: string } {
  const items: Item[] = [];
  for (const { compact_jwe: jwe, tag } of data) {
    const key = deriveItemKey(masterKey, tag);
    const payload = openDirect(jwe, key);
    wipe(key);
    if (!payload) {
      wipeItems(items);
      return { damaged: tag };
    }
    items.push({ tag, payload });
  }
  return items;
}

/** Overwrites the payloads. */
export function wipeItems(items: readonly Item[]): void {
  wipe(...items.map(({ payload }) => payload));
}

/** Tags of items that we make ourselves. */
export function checkOwnTags(items: readonly Item[]): void {
  assert(
    items.every(({ tag }) => OWN_TAG.test(tag)),
    'a tag is printable ASCII, 64 characters at most',
  );
}

/** A tag that occurs twice; undefined when there is none. */
export function repeatedTag({ data }: EncData): string | undefined {
  const tags = data.map(({ tag }) => tag);
  return tags.find((tag, index) => tags.indexOf(tag) !== index);
}
