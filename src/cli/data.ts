// Bytes that a command is given, and bytes that it gives: files, standard input, and the usual spellings.
import { fromBase64url } from '../values/bytes.js';
import { print } from './ask.js';
import { CommandError } from './failure.js';
import { checkNew, readBytes, writeNew } from './security-domain/files.js';

export interface InputOptions {
  in?: string;
  text?: string;
  hex?: string;
  base64?: string;
}

export type Encoding = 'base64' | 'base64url' | 'hex' | 'raw';
export const ENCODINGS: readonly Encoding[] = ['base64', 'base64url', 'hex', 'raw'];

export interface OutputOptions {
  out?: string;
  encoding?: Encoding;
  json?: true;
}

/** What the command works on; standard input when nothing else is named. */
export async function readInput({ in: file, text, hex, base64 }: InputOptions): Promise<Buffer> {
  const ways = [file, text, hex, base64].filter((way) => way !== undefined);
  if (ways.length > 1)
    throw new CommandError('the data is given in one way: --in, --text, --hex or --base64');
  if (text !== undefined) return Buffer.from(text);
  if (hex !== undefined) return fromHex(hex, '--hex');
  if (base64 !== undefined) return fromBase64(base64, '--base64');
  if (file !== undefined && file !== '-') return readBytes(file);
  if (process.stdin.isTTY) {
    throw new CommandError(
      'there is no data: name a file with --in, or use --text, --hex, --base64 or a pipe',
    );
  }
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Hex digits, in groups or not. */
export function fromHex(text: string, option: string): Buffer {
  const digits = text.replaceAll(/[\s:]/g, '');
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) {
    throw new CommandError(`${option} takes hex digits, two for each byte`);
  }
  return Buffer.from(digits, 'hex');
}

/** Either alphabet, padded or not. */
export function fromBase64(text: string, option: string): Buffer {
  const plain = text.replaceAll(/\s/g, '').replaceAll('+', '-').replaceAll('/', '_');
  const bytes = fromBase64url(plain);
  if (!bytes) throw new CommandError(`${option} takes base64`);
  return bytes;
}

/** Bytes as a person or another command gave them: hex if they can be, else base64. */
export function fromText(text: string, option: string): Buffer {
  return /^([0-9a-f]{2})+$/i.test(text) ? fromHex(text, option) : fromBase64(text, option);
}

/** Refuses before any work is done when the result could not be written. */
export function checkOutput({ out }: OutputOptions): void {
  if (out !== undefined) checkNew(out);
}

/** Writes what came of it: to a file as it is, else to standard output in an encoding. */
export function writeOutput(bytes: Buffer, options: OutputOptions, encoding: Encoding): void {
  const { out, encoding: wanted = out === undefined ? encoding : 'raw' } = options;
  const content = wanted === 'raw' ? bytes : bytes.toString(wanted);
  if (out !== undefined) writeNew(out, content);
  else if (typeof content === 'string') print(content);
  else if (process.stdout.isTTY && !isText(content)) {
    throw new CommandError(
      'the result is no text and would spoil the terminal: use --out FILE or --encoding base64',
    );
  } else process.stdout.write(content);
}

function isText(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) && !/[^\P{Cc}\n\t\r]/u.test(text);
}
