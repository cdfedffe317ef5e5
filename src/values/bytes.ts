// Bytes at the edges: base64url as JOSE writes it (RFC 7515 section 2), comparison and wiping.
import { timingSafeEqual } from 'node:crypto';

const BASE64URL = /^[A-Za-z0-9_-]*$/;

/** base64url without padding. */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/**
 * Decodes base64url; padding at the end is accepted as some clients send it.
 * Returns undefined for anything else, the standard alphabet (`+`, `/`) and impossible lengths included.
 */
export function fromBase64url(text: string): Buffer | undefined {
  const bare = text.endsWith('=') ? text.replace(/={1,2}$/, '') : text;
  if (!BASE64URL.test(bare) || bare.length % 4 === 1) return undefined;
  return Buffer.from(bare, 'base64url');
}

/** Compares in time that depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

/** Overwrites secrets that are no longer needed. */
export function wipe(...secrets: (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0);
}

/** Big-endian unsigned integer without leading zero octets, at least one octet (RFC 7518 section 2); a copy. */
export function trimInteger(bytes: Uint8Array): Buffer {
  return Buffer.from(significant(bytes));
}

/** The same integer left-padded with zero octets to `length`, a copy; undefined if it does not fit. */
export function padInteger(bytes: Uint8Array, length: number): Buffer | undefined {
  const bare = significant(bytes);
  if (bare.length > length) return bare.length === 1 && bare[0] === 0 ? Buffer.alloc(length) : undefined;
  return Buffer.concat([Buffer.alloc(length - bare.length), bare]);
}

// In place: a copy of a secret would have to be wiped.
function significant(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  return bytes.subarray(start);
}
