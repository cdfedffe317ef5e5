// Looks for secrets where they must not be, in every form in which bytes are written down: files, and the memory of
// processes.
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface Secret {
  readonly name: string;
  readonly bytes: Buffer;
}

const CHUNK = 8 * 1024 * 1024;
/** Needles may lie across two chunks. */
const OVERLAP = 2_048;
/** Looked at as a whole for whether it was ever written to. */
const BLOCK = 16 * 1024;
const ZEROS = Buffer.alloc(BLOCK);

/** The forms in which bytes are written down. A middle part is enough, and is not cut by base64's groups of three. */
export function formsOf({ name, bytes }: Secret): { form: string; needle: Buffer }[] {
  const aligned = bytes.subarray(0, bytes.length - (bytes.length % 3));
  const hex = bytes.toString('hex');
  return [
    { form: `${name} raw`, needle: bytes },
    { form: `${name} reversed`, needle: Buffer.from(bytes).reverse() },
    { form: `${name} hex`, needle: Buffer.from(hex) },
    { form: `${name} HEX`, needle: Buffer.from(hex.toUpperCase()) },
    { form: `${name} base64url`, needle: Buffer.from(aligned.toString('base64url')) },
    { form: `${name} base64`, needle: Buffer.from(aligned.toString('base64')) },
    { form: `${name} decimal`, needle: Buffer.from([...bytes].join(',')) },
    { form: `${name} numbers`, needle: smallIntegers(bytes) },
  ];
}

/** As V8 lays out an array of small numbers, 32 bits of it in each 64. */
function smallIntegers(bytes: Buffer): Buffer {
  const numbers = Buffer.alloc(bytes.length * 8);
  bytes.forEach((byte, place) => numbers.writeUInt32LE(byte, place * 8 + 4));
  return numbers;
}

export function findIn(haystack: Buffer, needles: readonly { form: string; needle: Buffer }[]): string[] {
  return needles.filter(({ needle }) => haystack.includes(needle)).map(({ form }) => form);
}

export function findInFiles(directory: string, secrets: readonly Secret[]): string[] {
  const needles = secrets.flatMap(formsOf);
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).flatMap((file) =>
    findIn(contentOf(join(directory, file)), needles).map((form) => `${file}: ${form}`),
  );
}

/** Nothing for what is no file, or was removed since it was listed. */
function contentOf(path: string): Buffer {
  try {
    return statSync(path).isFile() ? readFileSync(path) : Buffer.alloc(0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

export function findInMemory(pid: number, secrets: readonly Secret[]): string[] {
  const needles = secrets.flatMap(formsOf);
  const found = new Set<string>();
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const buffer = Buffer.alloc(CHUNK + OVERLAP);
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === undefined || to === undefined) continue;
      const end = Number(`0x${to}`);
      for (let start = Number(`0x${from}`); start < end; start += CHUNK) {
        for (const part of written(read(memory, buffer, start, end))) {
          for (const form of findIn(part, needles)) found.add(form);
        }
      }
    }
  } finally {
    closeSync(memory);
    buffer.fill(0); // or the next scan of this process would find it here
  }
  return [...found];
}

/**
 * The parts of a chunk that are not all zeros, with what surrounds them: no needle lies in the rest, since none is all
 * zeros or longer than the overlap. Most of what a process has mapped was never written to.
 */
function* written(chunk: Buffer): Generator<Buffer> {
  let from = -1;
  for (let block = 0; block <= chunk.length; block += BLOCK) {
    const isZero = block >= chunk.length || ZEROS.equals(chunk.subarray(block, block + BLOCK));
    if (!isZero && from < 0) from = block;
    if (isZero && from >= 0) {
      yield chunk.subarray(Math.max(0, from - OVERLAP), Math.min(chunk.length, block + OVERLAP));
      from = -1;
    }
  }
  if (from >= 0) yield chunk.subarray(Math.max(0, from - OVERLAP));
}

function read(memory: number, buffer: Buffer, start: number, end: number): Buffer {
  try {
    return buffer.subarray(0, readSync(memory, buffer, 0, Math.min(buffer.length, end - start), start));
  } catch {
    return buffer.subarray(0, 0); // not backed by anything
  }
}
