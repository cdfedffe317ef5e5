// Where things are on this machine when nobody says otherwise.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CommandError } from './failure.js';

export function defaultDirectory(): string {
  return join(homedir(), '.trivet');
}

/** Where the distributions install SoftHSM2. */
export const SOFTHSM: readonly string[] = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];

/** The PKCS#11 module to use: the given one, else the distribution's SoftHSM2. */
export function findModule(given: string | undefined): string {
  if (given !== undefined && given !== '') {
    if (!existsSync(given)) throw new CommandError(`there is no PKCS#11 module at ${given}`);
    return given;
  }
  const found = SOFTHSM.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new CommandError(
    'no PKCS#11 module found; install the package softhsm2 (Debian, Ubuntu: apt-get install softhsm2), ' +
      'or name a module with --module or TRIVET_PKCS11_MODULE',
  );
}
