// Worker threads that sign without end are terminated in the middle; the main thread's session still works, and
// no session of theirs is left behind.
'use strict';
const { Buffer } = require('node:buffer');
const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads');
const { once } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');
const { Library, CKM, modulePath, soPin, prepare, ecKey, rsaKey } = require('./slot.cjs');

const WORKERS = 3;
const SESSIONS = 4;

async function work() {
  const library = Library.openSync(modulePath);
  const digest = Buffer.alloc(32, 7);
  const sessions = Array.from({ length: SESSIONS }, () => library.openSessionSync(workerData.slot));
  const mechanisms = [
    [{ type: CKM.ECDSA }, workerData.ec],
    [{ type: CKM.SHA256_RSA_PKCS }, workerData.rsa],
  ];
  parentPort.postMessage(sessions.map((session) => session.handle));
  const loops = sessions.map(async (session, i) => {
    const [mechanism, key] = mechanisms[i % 2];
    for (;;) {
      await Promise.all([session.sign(mechanism, key, digest), session.sign(mechanism, key, digest)]);
    }
  });
  await Promise.all(loops);
}

async function main() {
  const { library, slot, session } = await prepare();
  const { privateKey: ec } = await ecKey(session);
  const { privateKey: rsa } = await rsaKey(session);
  for (let round = 0; round < 3; round += 1) {
    const workers = Array.from(
      { length: WORKERS },
      () => new Worker(module.filename, { workerData: { slot, ec, rsa } }),
    );
    const handles = (await Promise.all(workers.map((worker) => once(worker, 'message')))).flat(2);
    await pause(10 + Math.random() * 40);
    await Promise.all(workers.map((worker) => worker.terminate()));
    if (new Set(handles).size !== WORKERS * SESSIONS) throw new Error('sessions were shared');
  }
  const signature = await session.sign({ type: CKM.ECDSA }, ec, Buffer.alloc(32, 7));
  if (signature.length !== 64) throw new Error('no signature');
  // The SO may log in only when no read-only session is open: the workers' were.
  await session.logout();
  await session.login('SO', soPin);
  await library.close();
  process.stdout.write('clean');
}

if (isMainThread) main();
else work();
