// Goes through the whole addon, errors included, for a memory checker to watch. Checks no results: the tests do.
'use strict';
const assert = require('node:assert');
const { Buffer } = require('node:buffer');
const { publicEncrypt, createPublicKey, generateKeyPairSync, randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { Library, CKM, modulePath, userPin, prepare, ecKey, rsaKey } = require('./slot.cjs');
const { CKD, CKG, CKK, CKO } = require('../../../dist/instance/pkcs11/constants.js');
const { prepareMechanism } = require('../../../dist/instance/pkcs11/mechanism.js');
const { PublicKey } = require('../../../dist/instance/pkcs11/public-key.js');
const { NativeLibrary, NativeSession } = require('../../../dist/instance/pkcs11/native.js');

const ROUNDS = Number(process.argv[2] ?? 3);
const data = Buffer.alloc(100, 5);
const digest = Buffer.alloc(32, 6);

async function objects({ library, slot, session }) {
  library.infoSync();
  library.slotsSync();
  library.slotInfoSync(slot);
  library.tokenInfoSync(slot);
  for (const mechanism of library.mechanismsSync(slot)) library.mechanismInfoSync(slot, mechanism);
  session.infoSync();
  const other = await Library.open(modulePath);
  await Promise.all([other.info(), other.slots(), other.slotInfo(slot), other.tokenInfo(slot)]);
  await other.mechanismInfo(slot, (await other.mechanisms(slot))[0]);
  await (await other.openSession(slot)).info();
  await other.close();
  await session.setPin(userPin, userPin);
  const object = await session.createObject({ class: CKO.DATA, label: 'a', value: data, application: 'b' });
  const copy = await session.copyObject(object, { label: 'c' });
  await session.setAttributes(copy, { label: 'd' });
  await session.findObjects({ label: 'd' });
  await session.getAttributes(copy, ['class', 'label', 'value', 'modulus', 'private']);
  await session.destroyObject(copy);
  session.destroyObjectSync(object);
}

async function keys({ session }) {
  const flags = {
    token: false,
    sensitive: false,
    extractable: true,
    encrypt: true,
    decrypt: true,
    wrap: true,
  };
  const aes = await session.generateKey(
    { type: CKM.AES_KEY_GEN },
    {
      ...flags,
      unwrap: true,
      valueLen: 32,
      wrapTemplate: { extractable: true, label: '' },
      unwrapTemplate: {},
      allowedMechanisms: [CKM.AES_KEY_WRAP_PAD, CKM.AES_GCM, CKM.AES_CBC_PAD, CKM.AES_CTR],
    },
  );
  await session.getAttributes(aes, ['wrapTemplate', 'unwrapTemplate', 'allowedMechanisms', 'value']);
  const ec = await ecKey(session, { extractable: true, derive: true });
  await session.getAttributes(ec.privateKey, ['value'], { sensitive: 'omit' });
  const wrap = { type: CKM.AES_KEY_WRAP_PAD };
  const wrapped = await session.wrapKey(wrap, aes, ec.privateKey).catch(() => Buffer.alloc(72));
  const template = { class: CKO.PRIVATE_KEY, keyType: CKK.EC, token: false };
  await session.unwrapKey(wrap, aes, wrapped, template).catch(() => 0);
  const { ecPoint } = await session.getAttributes(ec.publicKey, ['ecPoint']);
  const derive = { kdf: CKD.NULL, publicData: ecPoint.subarray(2), sharedData: Buffer.alloc(0) };
  const secret = { class: CKO.SECRET_KEY, keyType: CKK.GENERIC_SECRET, token: false, valueLen: 32 };
  await session.deriveKey({ type: CKM.ECDH1_DERIVE, parameter: derive }, ec.privateKey, secret);
  const text = { type: CKM.AES_ECB_ENCRYPT_DATA, parameter: { stringData: Buffer.alloc(16) } };
  await session.deriveKey(text, aes, secret).catch(() => 0);
  const chained = { cbcIv: Buffer.alloc(16), data: Buffer.alloc(32) };
  await session.deriveKey({ type: CKM.AES_CBC_ENCRYPT_DATA, parameter: chained }, aes, secret).catch(() => 0);
  return { aes, ec };
}

async function operations({ session }, { aes, ec, rsa }) {
  const pss = { hashAlg: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltLength: 32 };
  for (const [mechanism, pair] of [
    [{ type: CKM.ECDSA }, ec],
    [prepareMechanism({ type: CKM.RSA_PKCS_PSS, parameter: pss }), rsa],
  ]) {
    const signature = session.signSync(mechanism, pair.privateKey, digest);
    await session.sign(mechanism, pair.privateKey, digest);
    await session.verify(mechanism, pair.publicKey, digest, signature);
    session.verifySync(mechanism, pair.publicKey, digest, signature.subarray(1));
  }
  const gcm = { type: CKM.AES_GCM, parameter: { iv: Buffer.alloc(12), aad: data, tagBits: 128 } };
  const cbc = { type: CKM.AES_CBC_PAD, parameter: Buffer.alloc(16) };
  const ctr = { type: CKM.AES_CTR, parameter: { counterBits: 128, counterBlock: Buffer.alloc(16) } };
  for (const mechanism of [gcm, cbc, ctr]) {
    for (const plaintext of [Buffer.alloc(0), data]) {
      const encrypted = session.encryptSync(mechanism, aes, plaintext);
      await session.encrypt(mechanism, aes, plaintext);
      await session.decrypt(mechanism, aes, encrypted);
      session.decryptSync(mechanism, aes, encrypted);
    }
    const encryptor = session.encryptor(mechanism, aes);
    const parts = [await encryptor.update(data), await encryptor.update(data), await encryptor.final()];
    const decryptor = session.decryptor(mechanism, aes);
    for (const part of parts) await decryptor.update(part);
    await decryptor.final();
  }
  const { modulus } = await session.getAttributes(rsa.publicKey, ['modulus']);
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB' };
  const key = createPublicKey({ format: 'jwk', key: jwk });
  const oaep = publicEncrypt({ key, oaepHash: 'sha256', oaepLabel: data }, digest);
  await session.decryptOaep(rsa.privateKey, oaep, { hash: 'sha256', label: data });
  await refused(session.decryptOaep(rsa.privateKey, oaep, { hash: 'sha512' }));
  await refused(session.decryptOaep(rsa.privateKey, data, { hash: 'sha1' }));
  const sha1 = { type: CKM.RSA_PKCS_OAEP, parameter: { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 } };
  await session.decrypt(sha1, rsa.privateKey, publicEncrypt({ key, oaepHash: 'sha1' }, digest));
  await session.digest({ type: CKM.SHA256 }, data);
  await session.generateRandom(1000);
  session.generateRandomSync(1000);
  const digester = session.digester({ type: CKM.SHA512 });
  await digester.update(data);
  await digester.final();
  const signer = session.signer({ type: CKM.SHA256_RSA_PKCS }, rsa.privateKey);
  await signer.update(data);
  const verifier = session.verifier({ type: CKM.SHA256_RSA_PKCS }, rsa.publicKey);
  await refused(verifier.update(data));
  await signer.final();
}

async function publicKeys() {
  const pairs = [
    ['ECDSA', 'ec', { namedCurve: 'P-256' }, 64],
    ['PSS', 'rsa', { modulusLength: 2048 }, 256],
    ['PKCS1', 'rsa', { modulusLength: 2048 }, 256],
  ];
  for (const [scheme, type, options, length] of pairs) {
    const { publicKey } = generateKeyPairSync(type, options);
    const key = new PublicKey(publicKey.export({ type: 'spki', format: 'der' }));
    for (const signature of [
      Buffer.alloc(0),
      Buffer.alloc(length, 1),
      Buffer.alloc(length),
      Buffer.alloc(5000),
    ]) {
      await key.verify(scheme, digest, signature);
      key.verifySync(scheme, digest, signature);
      key.verifySync(scheme, data, signature);
    }
    assert.throws(() => key.verifySync(scheme, digest, 'text'));
  }
  for (const noise of [Buffer.alloc(0), data, digest]) assert.throws(() => new PublicKey(noise));
}

async function refused(call) {
  await assert.rejects(async () => call);
}

async function errors({ library, slot, session }, { aes, ec, rsa }) {
  const own = library.openSessionSync(slot);
  const calls = Array.from({ length: 5 }, () => own.sign({ type: CKM.ECDSA }, ec.privateKey, digest));
  assert.throws(() => own.infoSync(), { symbol: 'CKR_OPERATION_ACTIVE' });
  own.close();
  await Promise.allSettled(calls);
  assert.throws(() => own.infoSync());
  assert.throws(() => library.openSessionSync(4711));
  assert.throws(() => Library.openSync('/does/not/exist'));
  assert.throws(() => Library.openSync(process.execPath));
  assert.throws(() => session.signSync({ type: CKM.ECDSA }, 4711, digest));
  assert.throws(() => session.signSync({ type: CKM.ECDSA }, ec.privateKey, 'text'));
  assert.throws(() => session.signSync({ type: CKM.RSA_PKCS }, rsa.privateKey, Buffer.alloc(1000)));
  const cbc = { type: CKM.AES_CBC, parameter: Buffer.alloc(16) };
  await refused(session.encrypt(cbc, aes, Buffer.alloc(15)));
  const gcm = { type: CKM.AES_GCM, parameter: { iv: Buffer.alloc(12), tagBits: 128 } };
  await refused(session.decrypt(gcm, aes, data));
  assert.throws(() => session.decryptSync(gcm, aes, Buffer.alloc(1)));
  await refused(session.login('USER', Buffer.from('wrong')));
  await refused(session.generateRandom(2 ** 30));
  await refused(session.unwrapKey({ type: CKM.AES_KEY_WRAP_PAD }, aes, data, { class: CKO.SECRET_KEY }));
  await refused(Library.open('/does/not/exist'));
  await refused(Library.open(modulePath, { parameters: 'other' }));
  await refused(library.openSession(4711));
  await refused(library.tokenInfo(4711));
  const hasty = new NativeLibrary(modulePath, '');
  const unopened = new NativeSession(hasty, slot, false);
  await refused(unopened.open());
  const opening = hasty.open();
  await Promise.all([hasty.close(), opening]);
  const native = new NativeLibrary(modulePath, '');
  native.openSync();
  const raw = new NativeSession(native, slot, false);
  raw.openSync();
  for (let i = 0; i < 3000; i += 1) {
    const noise = randomBytes(i % 80);
    if (i % 3) noise.subarray(1, 4).fill(0);
    if (i % 2) noise.subarray(9, 12).fill(0);
    try {
      await raw.findObjects(noise, 5);
      await raw.sign(noise, 1, noise);
    } catch (error) {
      assert.strictEqual(error.name, 'Pkcs11Error');
    }
  }
  await native.close();
}

async function work() {
  const library = Library.openSync(modulePath);
  const session = library.openSessionSync(workerData.slot);
  const spki = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
    type: 'spki',
    format: 'der',
  });
  const key = new PublicKey(spki);
  parentPort.postMessage('working');
  for (;;) {
    await Promise.all([
      ...[1, 2, 3].map(() => session.sign({ type: CKM.ECDSA }, workerData.key, digest)),
      key.verify('ECDSA', digest, Buffer.alloc(64, 1)),
    ]);
  }
}

async function main() {
  const token = await prepare();
  const rsa = await rsaKey(token.session, 2048, { decrypt: true });
  for (let round = 0; round < ROUNDS; round += 1) {
    await objects(token);
    const made = { rsa, ...(await keys(token)) };
    await operations(token, made);
    await errors(token, made);
    await publicKeys();
    const workers = [1, 2].map(
      () => new Worker(module.filename, { workerData: { slot: token.slot, key: made.ec.privateKey } }),
    );
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  const running = token.session.generateRandom(1000);
  token.library.closeAllSessions(token.slot);
  await running;
  await token.library.close();
  process.stdout.write('exercised\n');
}

if (isMainThread) main();
else work();
