// AES key wrap with padding (RFC 5649) of octets whose number is no multiple of 8. SoftHSM pads such octets itself
// before it wraps them, so that another implementation would get them back longer than they were; with the block
// cipher of the slot they are wrapped as the RFC says. Knows no slot.

const HALF = 8;
const ROUNDS = 6;
/** Section 3: the constant half of the alternative initial value. */
const CONSTANT = 0xa65959a6;

/**
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
  if (blocks === 1) return encrypt(wrapped);
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
