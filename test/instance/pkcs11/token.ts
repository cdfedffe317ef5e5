// A fresh token in this test file's directory (see test/native/token-environment.cjs), with the user logged in.
import { dirname, join } from 'node:path';
import { Library } from '../../../src/instance/pkcs11/library.js';
import type { Session } from '../../../src/instance/pkcs11/session.js';

export const soPin = Buffer.from('so-pin-1');
export const userPin = Buffer.from('user-pin-1');

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: the test file lacks its environment`);
  return value;
}

export const modulePath = (): string => fromEnvironment('TRIVET_PKCS11_MODULE');
export const tokenDirectory = (): string => join(dirname(fromEnvironment('SOFTHSM2_CONF')), 'tokens');

export interface Token {
  readonly library: Library;
  readonly slot: number;
  readonly session: Session;
}

export async function openToken(label = 'test'): Promise<Token> {
  const library = Library.openSync(modulePath());
  const slot = library.slotsSync().at(-1) ?? 0;
  await library.initToken(slot, soPin, label);
  const session = library.openSessionSync(slot, { readWrite: true });
  await session.login('SO', soPin);
  await session.initPin(userPin);
  await session.logout();
  await session.login('USER', userPin);
  return { library, slot, session };
}
