// Many operations over worker threads that share one module, each with its own opening and its own token. Prints
// memory and speed by quarters; ends with 1 if a result was wrong or memory grew in the second half.
//
//   node --expose-gc long-run.cjs OPERATIONS [WORKERS]
'use strict';
const { Buffer } = require('node:buffer');
const crypto = require('node:crypto');
const { once } = require('node:events');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { CKK, CKO, Library, Token, mechanism } = require('trivet/pkcs11');

const QUARTERS = 4;
const MEBIBYTE = 1024 * 1024;
/** Between the ends of the second and the last quarter. A leak of 16 bytes an operation would show in a million. */
const GROWTH_MAX = 8 * MEBIBYTE;
/** Below this the heaps are still finding their size. */
const OPERATIONS_MEASURED = 200_000;
/** Calls that each worker has under way; more than it has sessions. */
const LANES = 16;
const SESSIONS = 4;
const DATA = Buffer.alloc(64, 7);
const soPin = Buffer.from('so-pin-1');
const userPin = Buffer.from('user-pin-1');
const p256 = Buffer.from('06082a8648ce3d030107', 'hex');

/** What is done in turn. Each answers whether its result was right; Node looks at some of the signatures. */
async function makeOperations(token) {
  const secret = { class: CKO.SECRET_KEY, token: false, private: true, sensitive: true };
  const pair = await token.generateKeyPair(
    mechanism('EC_KEY_PAIR_GEN'),
    { token: false, verify: true, ecParams: p256 },
    { token: false, private: true, sensitive: true, sign: true },
  );
  const { ecPoint } = await token.getAttributes(pair.publicKey, ['ecPoint']);
  const [x, y] = [ecPoint.subarray(3, 35), ecPoint.subarray(35)].map((part) => part.toString('base64url'));
  const key = crypto.createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
  const macValue = crypto.randomBytes(32);
  const macKey = await token.createObject({
    ...secret,
    keyType: CKK.GENERIC_SECRET,
    sign: true,
    value: macValue,
  });
  const mac = crypto.createHmac('sha256', macValue).update(DATA).digest();
  const aes = await token.createObject({
    ...secret,
    keyType: CKK.AES,
    encrypt: true,
    decrypt: true,
    value: crypto.randomBytes(32),
  });
  const gcm = mechanism('AES_GCM', { iv: crypto.randomBytes(12), tagBits: 128 });
  const encrypted = await token.encrypt(gcm, aes, DATA);
  const digest = crypto.createHash('sha256').update(DATA).digest();
  const ecdsa = mechanism('ECDSA');
  let signed = 0;
  return [
    async () => mac.equals(await token.sign(mechanism('SHA256_HMAC'), macKey, DATA)),
    async () => encrypted.equals(await token.encrypt(gcm, aes, DATA)),
    async () => DATA.equals(await token.decrypt(gcm, aes, encrypted)),
    async () => digest.equals(await token.digest(mechanism('SHA256'), DATA)),
    async () => {
      const signature = await token.sign(ecdsa, pair.privateKey, digest);
      signed += 1;
      if (signed % 100 !== 0) return signature.length === 64;
      return crypto.verify('sha256', DATA, { key, dsaEncoding: 'ieee-p1363' }, signature);
    },
  ];
}

async function work() {
  const library = await Library.open(workerData.module);
  const token = await Token.open(library, {
    label: 'long run',
    login: { pin: userPin },
    sessionsMax: SESSIONS,
  });
  const operations = await makeOperations(token);
  parentPort.postMessage('ready');
  parentPort.on('message', async (count) => {
    if (count === 0) {
      await token.close();
      await library.close();
      parentPort.close();
      return;
    }
    let at = 0;
    const lane = async () => {
      while (at < count) {
        const operation = operations[at % operations.length];
        at += 1;
        if (!(await operation())) throw new Error('a wrong result');
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    globalThis.gc();
    parentPort.postMessage('done');
  });
}

async function prepare(path) {
  const library = await Library.open(path);
  const [slot] = await library.slots();
  await library.initToken(slot, soPin, 'long run');
  const session = await library.openSession(slot, { readWrite: true });
  await session.login('SO', soPin);
  await session.initPin(userPin);
  session.close();
  return library;
}

async function main() {
  const operations = Number(process.argv[2]);
  const count = Number(process.argv[3] ?? 4);
  const path = process.env.TRIVET_PKCS11_MODULE;
  // Open for the whole run: slots change their numbers when a module is initialised again.
  const library = await prepare(path);
  const workers = Array.from(
    { length: count },
    // A young heap that may grow does, at its own time, by more than any leak that is looked for here.
    () =>
      new Worker(module.filename, {
        workerData: { module: path },
        resourceLimits: { maxYoungGenerationSizeMb: 8 },
      }),
  );
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  const each = Math.ceil(operations / QUARTERS / count);
  const resident = [];
  const started = performance.now();
  for (let quarter = 1; quarter <= QUARTERS; quarter += 1) {
    const begun = performance.now();
    const done = workers.map((worker) => once(worker, 'message'));
    for (const worker of workers) worker.postMessage(each);
    await Promise.all(done);
    globalThis.gc();
    const seconds = (performance.now() - begun) / 1000;
    resident.push(process.memoryUsage.rss());
    console.log(
      `quarter ${quarter}: ${each * count} operations, ${Math.round((each * count) / seconds)} per second, ` +
        `${(resident.at(-1) / MEBIBYTE).toFixed(1)} MiB resident`,
    );
  }
  const seconds = (performance.now() - started) / 1000;
  const ends = workers.map((worker) => once(worker, 'exit'));
  for (const worker of workers) worker.postMessage(0);
  const codes = (await Promise.all(ends)).flat();
  await library.close();
  const growth = resident[3] - resident[1];
  const total = each * count * QUARTERS;
  console.log(
    `${total} operations over ${count} threads in ${seconds.toFixed(1)} s, ` +
      `${Math.round(total / seconds)} per second; second half: ${(growth / MEBIBYTE).toFixed(2)} MiB`,
  );
  const grows = total >= OPERATIONS_MEASURED && growth > GROWTH_MAX;
  if (codes.some((code) => code !== 0) || grows) process.exitCode = 1;
}

if (isMainThread) main();
else work();
