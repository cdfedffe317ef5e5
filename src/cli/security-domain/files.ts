// Files of custodians: read with a sentence about what is wrong, written for their owner only, durably, and never
// over something that is already there.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, parse, resolve } from 'node:path';
import { wipe } from '../../values/bytes.js';
import { makeDirectory, writeDurably } from '../../values/durable-file.js';
import { readCertificate, type WrappingCertificate } from '../../security-domain/certificates.js';
import { custodianKey, readPrivateKey, type CustodianKey } from '../../security-domain/custodian.js';
import { readSecurityDomain, type SecurityDomainFile } from '../../security-domain/file.js';
import { SecurityDomainError } from '../../security-domain/problem.js';
import { CommandError } from '../failure.js';

/** Nothing that custodians handle is longer. */
const FILE_MAX = 16 * 1_024 * 1_024;

/** Runs a command; what its room says about the files becomes what the person is told. */
export async function tell(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SecurityDomainError)) throw error;
    throw new CommandError(error.message, { cause: error });
  }
}

export function readBytes(file: string): Buffer {
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found) throw new CommandError(`there is no file ${file}`);
  if (!found.isFile()) throw new CommandError(`${file} is not a file`);
  if (found.size > FILE_MAX) throw new CommandError(`${file} is too long for what it should be`);
  return readFileSync(file);
}

export function readDomain(file: string): SecurityDomainFile {
  const text = readBytes(file).toString('utf8');
  try {
    return readSecurityDomain(text);
  } catch (error) {
    if (!(error instanceof SecurityDomainError)) throw error;
    throw new CommandError(`${file}: ${error.message}`, { cause: error });
  }
}

export function readCertificateFile(file: string): WrappingCertificate {
  return readCertificate(readBytes(file), file);
}

/** The certificate beside a key: `NAME.cer` for `NAME.key`, as other tools look for it. */
export function certificateBeside(keyFile: string): string {
  const { dir, name } = parse(keyFile);
  return join(dir, `${name}.cer`);
}

export function readCustodian(keyFile: string): CustodianKey {
  const bytes = readBytes(keyFile);
  const certificateFile = certificateBeside(keyFile);
  if (!existsSync(certificateFile)) {
    throw new CommandError(`${certificateFile} is missing; put the certificate of ${keyFile} beside it`);
  }
  try {
    return custodianKey(keyFile, readCertificateFile(certificateFile), readPrivateKey(bytes, keyFile));
  } finally {
    wipe(bytes);
  }
}

/** Refuses before any work is done when one of the files is already there. */
export function checkNew(...files: readonly string[]): void {
  const taken = files.find((file) => existsSync(file));
  if (taken !== undefined)
    throw new CommandError(`${taken} is already there; move it away or choose another name`);
}

/** Writes a file that was not there, for its owner only. */
export function writeNew(file: string, content: string | Uint8Array): void {
  checkNew(file);
  makeDirectory(dirname(resolve(file)));
  writeDurably(file, content, 0o600);
}

/** Prints the result: JSON for programs, else sentences. */
export function show(options: { readonly json?: true }, value: unknown, lines: readonly string[]): void {
  process.stdout.write(options.json ? `${JSON.stringify(value)}\n` : `${lines.join('\n')}\n`);
}
