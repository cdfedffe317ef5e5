// Making and checking log entries: the hash that chains them.
import { createHash } from 'node:crypto';
import { equalBytes } from '../../values/bytes.js';
import type { Entry, Head } from '../../values/entry.js';

/** The entry that follows `head`. */
export function chain(head: Head, content: Omit<Entry, 'index' | 'hash'>): Entry {
  const index = head.index + 1;
  return { ...content, index, hash: hashOf(head.hash, index, content) };
}

/** True if `entry` is what {@link chain} would have made after `head`. */
export function follows(head: Head, entry: Entry): boolean {
  return entry.index === head.index + 1 && equalBytes(entry.hash, hashOf(head.hash, entry.index, entry));
}

function hashOf(previous: Uint8Array, index: number, content: Omit<Entry, 'index' | 'hash'>): Buffer {
  const numbers = Buffer.alloc(24);
  numbers.writeBigUInt64BE(BigInt(index), 0);
  numbers.writeBigUInt64BE(BigInt(content.epoch), 8);
  numbers.writeBigUInt64BE(BigInt(content.time), 16);
  const hash = createHash('sha256').update(previous).update(numbers);
  return hash.update(content.changesHash).update(content.mutation).digest();
}
