// Several worker threads use the module at once, each with its own opening; every result is checked by Node. The
// main thread opens it first or last, or not at all.
'use strict';
const { Buffer } = require('node:buffer');
const { createHash, createPublicKey, randomBytes, verify } = require('node:crypto');
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const { once } = require('node:events');
const { Library, CKM, modulePath, prepare, ecKey, userPin } = require('./slot.cjs');

const WORKERS = 4;
const ROUNDS = 200;

async function work() {
  const library = Library.openSync(modulePath);
  // Not the slot's old number: that changes when the module is initialised again.
  const slot = library
    .slotsSync(true)
    .find((candidate) => library.tokenInfoSync(candidate).label === 'program');
  const session = library.openSessionSync(slot, { readWrite: true });
  try {
    await session.login('USER', userPin);
  } catch (error) {
    // The login is one for the whole process; one of the threads is the first.
    if (error.symbol !== 'CKR_USER_ALREADY_LOGGED_IN') throw error;
  }
  const { publicKey, privateKey } = await ecKey(session);
  const { ecPoint } = await session.getAttributes(publicKey, ['ecPoint']);
  const [x, y] = [ecPoint.subarray(3, 35), ecPoint.subarray(35)].map((part) => part.toString('base64url'));
  const key = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
  for (let round = 0; round < ROUNDS; round += 1) {
    const data = randomBytes(64);
    const digest = createHash('sha256').update(data).digest();
    const mechanism = { type: CKM.ECDSA };
    const signature =
      round % 2
        ? session.signSync(mechanism, privateKey, digest)
        : await session.sign(mechanism, privateKey, digest);
    if (!verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature))
      throw new Error('wrong signature');
  }
  // Half of them leave it to the environment to clean up.
  if (workerData.tidy) await library.close();
}

async function main() {
  const { library, session } = await prepare();
  if (process.argv[2] === 'alone') await library.close();
  const workers = Array.from({ length: WORKERS }, (_, i) => {
    return new Worker(module.filename, { workerData: { tidy: i % 2 === 0 } });
  });
  const codes = await Promise.all(workers.map((worker) => once(worker, 'exit')));
  if (codes.flat().some((code) => code !== 0)) throw new Error('a worker failed');
  if (process.argv[2] !== 'alone') {
    const { privateKey } = await ecKey(session);
    await session.sign({ type: CKM.ECDSA }, privateKey, Buffer.alloc(32, 1));
  }
  process.stdout.write('clean');
}

if (isMainThread) main();
else work();
