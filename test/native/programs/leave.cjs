// Leaves with calls in flight on several sessions: by exit, by an uncaught throw, or by closing the library.
'use strict';
const { Buffer } = require('node:buffer');
const { setImmediate } = require('node:timers');
const { setTimeout: pause } = require('node:timers/promises');
const { CKM, prepare, ecKey, rsaKey } = require('./slot.cjs');

const how = process.argv[2];
const SESSIONS = 12;

async function main() {
  const { library, slot, session } = await prepare();
  const { privateKey: ec } = await ecKey(session);
  const { privateKey: rsa } = await rsaKey(session);
  const digest = Buffer.alloc(32, 7);
  let refused = 0;
  const loops = Array.from({ length: SESSIONS }, async (_, i) => {
    const own = library.openSessionSync(slot);
    const [mechanism, key] = i % 2 ? [{ type: CKM.ECDSA }, ec] : [{ type: CKM.SHA256_RSA_PKCS }, rsa];
    try {
      for (;;) await own.sign(mechanism, key, digest);
    } catch (error) {
      if (error.symbol !== 'CKR_CRYPTOKI_NOT_INITIALIZED') throw error;
      refused += 1;
    }
  });
  // A different moment every time.
  await pause(10 + Math.random() * 30);
  switch (how) {
    case 'exit':
      process.exit(0);
      break;
    case 'throw':
      setImmediate(() => {
        throw new Error('thrown on purpose');
      });
      break;
    case 'close':
      await library.close();
      await Promise.all(loops);
      if (refused !== SESSIONS) throw new Error(`only ${refused} loops were refused`);
      break;
    default:
      throw new Error(`no such way to leave: ${how}`);
  }
}

main();
