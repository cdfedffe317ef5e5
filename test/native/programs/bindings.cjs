// Opens the module and uses it once, for the loader to write down to which files its symbols are bound.
'use strict';
const { Buffer } = require('node:buffer');
const { CKM, prepare, ecKey } = require('./slot.cjs');

async function main() {
  const { library, session } = await prepare();
  const { privateKey } = await ecKey(session);
  await session.sign({ type: CKM.ECDSA }, privateKey, Buffer.alloc(32, 7));
  await library.close();
}

main();
