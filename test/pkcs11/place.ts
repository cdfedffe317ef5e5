// A fresh token for the library's tests (see test/native/token-environment.cjs), its user's PIN set.
import { Library } from '../../src/pkcs11/pkcs11.js';
import { modulePath, soPin, userPin } from '../instance/pkcs11/token.js';

export { modulePath, soPin, userPin };

/** Initialises a token and answers its slot, with nobody logged in. */
export async function makeToken(library: Library, label: string): Promise<number> {
  const free = (await library.slots()).at(-1) ?? 0;
  await library.initToken(free, soPin, label);
  const session = await library.openSession(free, { readWrite: true });
  await session.login('SO', soPin);
  await session.initPin(userPin);
  session.close();
  return free;
}
