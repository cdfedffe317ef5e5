// A share on paper: lines that people copy by hand. Every line is numbered and carries its own checksum, so that a
// slip of the pen is found where it was made. Crockford's base32: no letter that is easily taken for another, and
// those that are anyway (O, I, L) read as the digits they look like.
import { createHash } from 'node:crypto';
import { SecurityDomainError } from './problem.js';

/** One person's share of a custodian's key. */
export interface KeyShare {
  /** The same on all shares that were made together. */
  readonly set: Buffer;
  /** How many shares it takes. */
  readonly needed: number;
  /** How many there are. */
  readonly total: number;
  /** Which one this is, from 1. */
  readonly number: number;
  readonly data: Uint8Array;
}

export const SET_BYTES = 5;

const FORMAT = 1;
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LINE_BYTES = 25; // eight groups of five characters
const GROUP = 5;
const CHECK_CHARACTERS = 4;
const HEADER_BYTES = 4 + SET_BYTES + 2;

/** The share as text, with a heading for people. */
export function printShare(share: KeyShare, name: string): string {
  const header = Buffer.alloc(HEADER_BYTES);
  header.set([FORMAT, share.needed, share.total, share.number]);
  header.set(share.set, 4);
  header.writeUInt16BE(share.data.length, 4 + SET_BYTES);
  const lines = [header, ...slices(share.data)].map((bytes, index) => {
    const groups = encode(bytes).match(new RegExp(`.{1,${GROUP}}`, 'g')) ?? [];
    return `${String(index).padStart(2, '0')}  ${groups.join(' ')}  =${checksum(share, index, bytes)}`;
  });
  return [
    `# Trivet key share ${share.number} of ${share.total} for ${name}`,
    `# Set ${encode(share.set)}. Any ${share.needed} of the ${share.total} shares rebuild the key; fewer tell nothing about it.`,
    '# To join: trivet security-domain join-key --shares FILE... --out KEY',
    '# Lines with # do not count. Spaces, dashes and case do not matter; O reads as 0, I and L as 1.',
    '# What follows = is the checksum of its line.',
    ...lines,
    '',
  ].join('\n');
}

/** Reads the text again. Throws `BadShare`, naming the line. */
export function readShare(text: string, name: string): KeyShare {
  const bad = (what: string): SecurityDomainError => new SecurityDomainError('BadShare', `${name}: ${what}`);
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const read = lines.map((line, index) => {
    const parts = /^([0-9OIL]+)[.:)]?\s+([^=]+)=(.+)$/i.exec(line);
    if (!parts) throw bad(`line ${two(index)} is not a number, groups of characters, "=" and a checksum`);
    if (Number(clean(parts[1] ?? '')) !== index) {
      throw bad(`line ${two(index)} is missing, or is not in its place`);
    }
    const bytes = decode(parts[2] ?? '');
    if (!bytes) throw bad(`line ${two(index)} has a character that is in no share`);
    return { bytes, check: clean(parts[3] ?? '') };
  });
  const [header, ...rest] = read;
  if (header?.bytes.length !== HEADER_BYTES) throw bad('this is not a key share, or its line 00 is mistyped');
  const [format = 0, needed = 0, total = 0, number = 0] = header.bytes;
  const set = Buffer.from(header.bytes.subarray(4, 4 + SET_BYTES));
  // The checksums of all lines cover the set and the number, so that no line of another share fits in.
  const mistyped = read.findIndex(
    ({ bytes, check }, index) => checksum({ set, number }, index, bytes) !== check,
  );
  if (mistyped >= 0) throw bad(`line ${two(mistyped)} is mistyped; compare it with the paper`);
  if (format !== FORMAT) throw bad(`this share is of format ${format}, which a newer version has written`);
  const data = Buffer.concat(rest.map(({ bytes }) => bytes));
  const length = header.bytes.readUInt16BE(4 + SET_BYTES);
  if (data.length !== length) throw bad('the last lines are missing');
  return { set, needed, total, number, data };
}

/** The name of a set, as people compare it. */
export function setName(set: Uint8Array): string {
  return encode(set);
}

function slices(data: Uint8Array): Uint8Array[] {
  const count = Math.ceil(data.length / LINE_BYTES);
  return Array.from({ length: count }, (_, i) => data.subarray(i * LINE_BYTES, (i + 1) * LINE_BYTES));
}

// Twenty bits of SHA-256: one slip in a million gets by, and the digest inside the key's secret finds that one.
function checksum(share: Pick<KeyShare, 'set' | 'number'>, line: number, bytes: Uint8Array): string {
  const hash = createHash('sha256')
    .update('trivet key share')
    .update(share.set)
    .update(Buffer.of(share.number, line))
    .update(bytes)
    .digest();
  return encode(hash).slice(0, CHECK_CHARACTERS);
}

function two(index: number): string {
  return String(index).padStart(2, '0');
}

function encode(bytes: Uint8Array): string {
  let text = '';
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += ALPHABET.charAt((held >> (bits - 5)) & 31);
  }
  return bits > 0 ? text + ALPHABET.charAt((held << (5 - bits)) & 31) : text;
}

function clean(text: string): string {
  return text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
}

// Undefined for a foreign character; a wrong length or wrong spare bits are left to the checksum.
function decode(text: string): Buffer | undefined {
  const bytes: number[] = [];
  let held = 0;
  let bits = 0;
  for (const character of clean(text)) {
    const value = ALPHABET.indexOf(character);
    if (value < 0) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}
