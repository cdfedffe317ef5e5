/** @jest-environment ./test/native/token-environment.cjs */
// The token's directory disappears while it is in use. What still works may work; what does not is a Pkcs11Error.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { CKM } from '../../../src/instance/pkcs11/constants.js';
import { Pkcs11Error } from '../../../src/instance/pkcs11/error.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import { aesKey, ecPair } from './keys.js';
import { modulePath, openToken, tokenDirectory, userPin } from './token.js';

test('a token whose directory is removed: typed errors, and a clean close', async () => {
  const { library, slot, session } = await openToken();
  const kept = await ecPair(session);
  const stored = await aesKey(session, randomBytes(16), { token: true, label: 'stored' });
  rmSync(tokenDirectory(), { recursive: true });
  const calls: (() => unknown)[] = [
    () => aesKey(session, randomBytes(16), { token: true }),
    () => ecPair(session, 'P-256', { token: true }),
    () => session.setAttributes(stored, { label: 'changed' }),
    () => session.destroyObject(stored),
    () => session.findObjects({ label: 'stored' }),
    () => session.setPin(userPin, Buffer.from('another pin')),
    () => session.logout(),
    () => session.login('USER', userPin),
    () => library.tokenInfoSync(slot),
    () => library.openSessionSync(slot).close(),
    () => session.signSync({ type: CKM.ECDSA }, kept.privateKey, randomBytes(32)),
  ];
  const refusals: unknown[] = [];
  for (const call of calls) {
    try {
      await call();
    } catch (error) {
      refusals.push(error);
    }
  }
  expect(refusals.length).toBeGreaterThan(0);
  for (const refusal of refusals) expect(refusal).toBeInstanceOf(Pkcs11Error);
  await library.close();
  // A token directory that is not there at all is refused at the door.
  expect(() => Library.openSync(modulePath())).toThrow(Pkcs11Error);
});
