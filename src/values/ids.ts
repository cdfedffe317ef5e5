// Identifiers, made from randomness of the operating system.
import { randomBytes, randomFillSync, randomUUID } from 'node:crypto';

/** A random (version 4) UUID: mutation ids, object ids, store ids. */
export const newUuid = randomUUID;

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The GUID that the text is, in lower case; undefined for any other text. A GUID means the same in either case. */
export function guidOf(text: string): string | undefined {
  const lower = text.toLowerCase();
  return GUID.test(lower) ? lower : undefined;
}

/** A key version: 32 lowercase hex digits. */
export function newKeyVersion(): string {
  return randomBytes(16).toString('hex');
}

/** Name of a backup or restore: 32 lowercase hex digits. */
export function newJobId(): string {
  return randomBytes(16).toString('hex');
}

// RFC 9562 section 5.1: 100 ns ticks since 1582-10-15, a clock sequence and a node id. The node id is random
// with the multicast bit set (section 6.10), so that it names no network card.
const GREGORIAN_OFFSET_MS = 12_219_292_800_000;
const tail = randomFillSync(Buffer.alloc(8));
tail[0] = ((tail[0] ?? 0) & 0x3f) | 0x80;
tail[2] = (tail[2] ?? 0) | 0x01;
const tailText = `${tail.toString('hex', 0, 2)}-${tail.toString('hex', 2)}`;

let cachedMs = -1;
let ticksInMs = 0;
let cachedLow = 0;
let cachedHighText = '';

/** A version 1 UUID, the form of the service's request ids. Unique within this process. */
export function newRequestId(): string {
  const now = Date.now();
  if (now > cachedMs) {
    cachedMs = now;
    ticksInMs = 0;
    splitMs(now);
  } else if (++ticksInMs === 10_000) {
    // More than one id each 100 ns: borrow from the next millisecond.
    cachedMs += 1;
    ticksInMs = 0;
    splitMs(cachedMs);
  }
  return (cachedLow + ticksInMs).toString(16).padStart(8, '0') + cachedHighText;
}

// The 60-bit tick count does not fit a double; the low 32 bits are kept apart. A carry within the
// millisecond is avoided by starting the next one early.
function splitMs(ms: number): void {
  const ticks = BigInt(ms + GREGORIAN_OFFSET_MS) * 10_000n;
  let low = Number(ticks & 0xffffffffn);
  let high = ticks >> 32n;
  if (low + 10_000 > 0xffffffff) {
    low = 0;
    high += 1n;
  }
  cachedLow = low;
  const mid = (high & 0xffffn).toString(16).padStart(4, '0');
  const top = ((high >> 16n) & 0xfffn).toString(16).padStart(3, '0');
  cachedHighText = `-${mid}-1${top}-${tailText}`;
}
