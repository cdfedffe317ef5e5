// A file that only grows: a JSON text a line, on the disk before it is acknowledged. What a crash cut off in the middle
// of a line was acknowledged to nobody and is taken away. Has one writer, by the lock of the data directory.
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { syncDirectory } from '../../values/durable-file.js';
import { dirname } from 'node:path';

/** The file cannot be read or written; the message names it. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

export class Journal {
  readonly #file: number;
  /** Bytes that are acknowledged. */
  #length: number;
  /** The file ends in something that could not be taken away again. */
  #broken = false;

  private constructor(
    readonly path: string,
    file: number,
    length: number,
  ) {
    this.#file = file;
    this.#length = length;
  }

  /** Opens it, or makes an empty one; gives what it holds. */
  static open(path: string): { readonly journal: Journal; readonly lines: readonly unknown[] } {
    const fresh = !existsSync(path);
    const file = openSync(path, 'a+', 0o600);
    try {
      const bytes = readFileSync(path);
      const whole = bytes.lastIndexOf(0x0a) + 1;
      const lines = bytes.subarray(0, whole).toString('utf8').split('\n').slice(0, -1);
      const read = lines.map((line, place) => parse(path, line, place + 1));
      if (whole < bytes.length) ftruncateSync(file, whole);
      // Also what was written and not synced before a crash: it is acknowledged by being read.
      fsyncSync(file);
      if (fresh) syncDirectory(dirname(path));
      return { journal: new Journal(path, file, whole), lines: read };
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** On the disk when it returns; as if nothing had been written when it throws. */
  append(value: unknown): void {
    if (this.#broken)
      throw new JournalError(`${this.path} ends in the middle of a line, and cannot be mended`);
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    try {
      let written = 0;
      while (written < bytes.length) written += writeSync(this.#file, bytes, written);
      fsyncSync(this.#file);
    } catch (cause) {
      this.#undo();
      throw new JournalError(`${this.path} cannot be written: ${String(cause)}`, { cause });
    }
    this.#length = fstatSync(this.#file).size;
  }

  close(): void {
    closeSync(this.#file);
  }

  // After a part of a line the next one would be lost with it.
  #undo(): void {
    try {
      ftruncateSync(this.#file, this.#length);
      fsyncSync(this.#file);
    } catch {
      this.#broken = true;
    }
  }
}

function parse(path: string, line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new JournalError(`${path} is damaged in line ${number}; restore it from a backup`, { cause });
  }
}
