// Key derivation of the security domain: NIST SP 800-108r1 section 4.1, counter mode with HMAC-SHA-512, a 32-bit
// counter and a 32-bit length. One block is all the format asks for; more are not offered, because published readers
// disagree about the second one.
import { createHmac } from 'node:crypto';
import { assert } from '../values/assert.js';
import { wipe } from '../values/bytes.js';

const BLOCK_BITS = 512;

/** HMAC-SHA-512(key, 1 ‖ label ‖ 0 ‖ context ‖ bits), cut to `bits`. */
export function deriveBits(key: Uint8Array, label: string, context: string, bits: number): Buffer {
  assert(bits > 0 && bits <= BLOCK_BITS && bits % 8 === 0, 'one block of whole bytes is derived');
  const first = Buffer.from([0, 0, 0, 1]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bits);
  const block = createHmac('sha512', key)
    .update(first)
    .update(label, 'utf8')
    .update(Buffer.of(0))
    .update(context, 'utf8')
    .update(length)
    .digest();
  const derived = Buffer.from(block.subarray(0, bits / 8));
  wipe(block);
  return derived;
}

/** The content key of the item with this tag. The caller wipes it. */
export function deriveItemKey(masterKey: Uint8Array, tag: string): Buffer {
  return deriveBits(masterKey, tag, '', BLOCK_BITS);
}
