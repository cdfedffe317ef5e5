// The document of `trivet faults set`.
import { readFileSync } from 'node:fs';
import { CommandError } from '../failure.js';

/** What a file in JSON holds; `-` is standard input. Its meaning is for who is told it. */
export function readDocument(file: string): unknown {
  const text = read(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CommandError(`${file} is no JSON: ${cause instanceof Error ? cause.message : ''}`, { cause });
  }
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (cause) {
    throw new CommandError(`${file} cannot be read: ${cause instanceof Error ? cause.message : ''}`, {
      cause,
    });
  }
}
