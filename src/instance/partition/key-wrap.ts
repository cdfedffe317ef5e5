// AES key wrap with padding (RFC 5649) where SoftHSM's own is not enough. It pads octets whose number is no multiple
// of 8 itself before it wraps them, so that another implementation gets them back longer than they were. Knows no slot.
import { createDecipheriv } from 'node:crypto';
import { wipe } from '../../values/bytes.js';
import type { KeySpec } from '../../values/key-spec.js';

const HALF = 8;
const ROUNDS = 6;
/** Section 3: the constant half of the alternative initial value. */
const CONSTANT = 0xa65959a6;
const CONSTANT_BYTES = Buffer.of(0xa6, 0x59, 0x59, 0xa6);

/**
 * Wraps with a block cipher, which is the slot's.
 *
 * @param encrypt one block of 16 octets under the wrapping key.
 * @param secret 1 octet or more.
 */
export async function wrapPadded(
  encrypt: (block: Buffer) => Promise<Buffer>,
  secret: Uint8Array,
): Promise<Buffer> {
  const blocks = Math.ceil(secret.length / HALF);
  const wrapped = Buffer.alloc((blocks + 1) * HALF);
  wrapped.writeUInt32BE(CONSTANT, 0);
  wrapped.writeUInt32BE(secret.length, 4);
  wrapped.set(secret, HALF);
  // Section 4.1: a single block is encrypted as it is.
  if (blocks === 1) {
    const only = await encrypt(wrapped);
    wipe(wrapped);
    return only;
  }
  const block = Buffer.alloc(2 * HALF);
  const head = wrapped.subarray(0, HALF);
  // RFC 3394 section 2.2.1.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let place = 1; place <= blocks; place += 1) {
      const part = wrapped.subarray(place * HALF, (place + 1) * HALF);
      block.set(head, 0);
      block.set(part, HALF);
      const encrypted = await encrypt(block);
      head.set(encrypted.subarray(0, HALF));
      part.set(encrypted.subarray(HALF));
      // The counter has at most 32 bits: the secret is short.
      head.writeUInt32BE((head.readUInt32BE(4) ^ (round * blocks + place)) >>> 0, 4);
    }
  }
  block.fill(0);
  return wrapped;
}

/**
 * A key that SoftHSM has wrapped under an AES-256 key, without what it was padded with: PKCS#8 ends where its own DER
 * says (X.690 section 8.1.3), a symmetric key has its size.
 */
export function unwrapped(wrapped: Uint8Array, key: Uint8Array, spec: KeySpec): Buffer {
  const decipher = createDecipheriv('id-aes256-wrap-pad', key, CONSTANT_BYTES);
  const padded = decipher.update(wrapped);
  wipe(decipher.final());
  const clear = Buffer.from(padded.subarray(0, spec.kty === 'oct-HSM' ? spec.size / 8 : derLength(padded)));
  wipe(padded);
  return clear;
}

function derLength(der: Buffer): number {
  const first = der[1] ?? 0;
  if (first < 0x80) return 2 + first;
  const octets = first & 0x7f;
  return 2 + octets + der.readUIntBE(2, octets);
}
