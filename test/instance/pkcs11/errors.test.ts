/** @jest-environment ./test/native/token-environment.cjs */
// Whatever goes wrong is a Pkcs11Error with its name, number and function, or a TypeError; never a crash.
import { randomBytes } from 'node:crypto';
import type { Template } from '../../../src/instance/pkcs11/attribute.js';
import { CKM, CKO } from '../../../src/instance/pkcs11/constants.js';
import { Pkcs11Error } from '../../../src/instance/pkcs11/error.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import type { Mechanism } from '../../../src/instance/pkcs11/mechanism.js';
import { NativeLibrary, NativeSession } from '../../../src/instance/pkcs11/native.js';
import { aesKey, ecPair, rsaPair } from './keys.js';
import { modulePath, openToken, userPin, type Token } from './token.js';

const MEBIBYTE = 1024 * 1024;
const ecdsa = { type: CKM.ECDSA };

const like = (shape: object): Error => expect.objectContaining(shape) as Error;

// By name: the addon's own TypeErrors come from outside the context in which Jest runs this file.
const typeError = like({ name: 'TypeError' });

let token: Token;

beforeAll(async () => {
  token = await openToken();
});

afterAll(() => token.library.close());

test('an error has its name, its number and its function, and no data', async () => {
  const session = token.library.openSessionSync(token.slot);
  await token.session.logout();
  const error: unknown = await session.login('USER', Buffer.from('wrong')).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Pkcs11Error);
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({
    name: 'Pkcs11Error',
    code: 0xa0,
    symbol: 'CKR_PIN_INCORRECT',
    functionName: 'C_Login',
    message: 'C_Login: CKR_PIN_INCORRECT (0xa0)',
  });
  await session.login('USER', userPin);
  await expect(session.login('USER', userPin)).rejects.toMatchObject({
    symbol: 'CKR_USER_ALREADY_LOGGED_IN',
  });
  session.close();
});

test('a code that has no name still has its number', () => {
  expect(new Pkcs11Error(0x80000005, 'C_Sign').message).toBe('C_Sign: CKR_VENDOR_DEFINED (0x80000005)');
  expect(new Pkcs11Error(0x7777, 'C_Sign').symbol).toBe('CKR_UNKNOWN');
});

test('a module that cannot be loaded says why in the cause', () => {
  for (const path of ['/does/not/exist.so', __filename, process.execPath]) {
    expect(() => Library.openSync(path)).toThrow(
      like({ symbol: 'CKR_LIBRARY_LOAD_FAILED', cause: expect.any(Error) as Error }),
    );
  }
  for (const path of ['', 'a\0b', 5 as unknown as string])
    expect(() => Library.openSync(path)).toThrow(typeError);
});

test('wrong handles and slots are refused by the function that got them', async () => {
  const { library, session, slot } = token;
  expect(() => library.openSessionSync(987654)).toThrow('C_OpenSession: CKR_SLOT_ID_INVALID');
  expect(() => library.tokenInfoSync(987654)).toThrow('C_GetTokenInfo: CKR_SLOT_ID_INVALID');
  expect(() => library.mechanismInfoSync(slot, 0x7fffffff)).toThrow(
    'C_GetMechanismInfo: CKR_MECHANISM_INVALID',
  );
  expect(() => session.signSync(ecdsa, 987654, randomBytes(32))).toThrow(
    'C_SignInit: CKR_OBJECT_HANDLE_INVALID',
  );
  expect(() => session.signSync(ecdsa, Number.MAX_SAFE_INTEGER, randomBytes(32))).toThrow(Pkcs11Error);
  expect(() => session.destroyObjectSync(987654)).toThrow('C_DestroyObject: CKR_OBJECT_HANDLE_INVALID');
  await expect(session.copyObject(987654)).rejects.toMatchObject({ functionName: 'C_CopyObject' });
  await expect(session.getAttributes(987654, ['label'])).rejects.toMatchObject({
    symbol: 'CKR_OBJECT_HANDLE_INVALID',
  });
  await expect(
    session.unwrapKey({ type: CKM.AES_KEY_WRAP }, 987654, randomBytes(24), {}),
  ).rejects.toMatchObject({
    functionName: 'C_UnwrapKey',
  });
});

test('a closed session refuses everything', async () => {
  const session = token.library.openSessionSync(token.slot);
  session.close();
  session.close();
  const closed = { symbol: 'CKR_SESSION_HANDLE_INVALID' };
  expect(() => session.infoSync()).toThrow(like(closed));
  expect(() => session.generateRandomSync(1)).toThrow(like(closed));
  await expect(session.generateRandom(1)).rejects.toMatchObject({
    ...closed,
    functionName: 'C_GenerateRandom',
  });
  await expect(session.login('USER', userPin)).rejects.toMatchObject({ ...closed, functionName: 'C_Login' });
  await expect(session.signer(ecdsa, 1).final()).rejects.toMatchObject({
    ...closed,
    functionName: 'C_SignInit',
  });
});

test('a session closed with calls in flight lets the running one finish and refuses those that wait', async () => {
  const session = token.library.openSessionSync(token.slot);
  const calls = Array.from({ length: 5 }, () => session.generateRandom(MEBIBYTE));
  session.close();
  const [first, ...others] = await Promise.allSettled(calls);
  expect(first).toMatchObject({ status: 'fulfilled' });
  for (const other of others) {
    expect(other).toMatchObject({ status: 'rejected', reason: { symbol: 'CKR_SESSION_HANDLE_INVALID' } });
  }
});

test('a library that is closed refuses everything, and so do its sessions', async () => {
  const library = Library.openSync(modulePath());
  const session = library.openSessionSync(token.slot);
  const running = session.generateRandom(MEBIBYTE);
  const closing = library.close();
  const finalised = { symbol: 'CKR_CRYPTOKI_NOT_INITIALIZED' };
  await expect(session.generateRandom(1)).rejects.toMatchObject(finalised);
  expect(await running).toHaveLength(MEBIBYTE);
  await closing;
  expect(() => library.slotsSync()).toThrow(like(finalised));
  expect(() => library.openSessionSync(token.slot)).toThrow(like(finalised));
  expect(() => library.closeAllSessions(token.slot)).toThrow(like(finalised));
  expect(() => session.infoSync()).toThrow(like(finalised));
  expect(() => session.signSync(ecdsa, 1, randomBytes(32))).toThrow(like(finalised));
  await expect(library.initToken(0, userPin, 'x')).rejects.toMatchObject(finalised);
  await library.close();
  session.close();
});

test('absurd sizes are refused before any room is made for them', async () => {
  const { library, session } = token;
  const huge = new Uint8Array(64 * MEBIBYTE + 1);
  const key = await aesKey(session, randomBytes(16));
  const cbc = { type: CKM.AES_CBC_PAD, parameter: randomBytes(16) };
  expect(() => session.signSync(ecdsa, key, huge)).toThrow('C_Sign: CKR_DATA_LEN_RANGE');
  await expect(session.sign(ecdsa, key, huge)).rejects.toMatchObject({ symbol: 'CKR_DATA_LEN_RANGE' });
  await expect(session.verify(ecdsa, key, randomBytes(32), huge)).rejects.toBeInstanceOf(Pkcs11Error);
  await expect(session.encrypt(cbc, key, huge)).rejects.toMatchObject({ symbol: 'CKR_DATA_LEN_RANGE' });
  await expect(session.decrypt(cbc, key, huge)).rejects.toMatchObject({
    symbol: 'CKR_ENCRYPTED_DATA_LEN_RANGE',
  });
  await expect(session.digest({ type: CKM.SHA256 }, huge)).rejects.toMatchObject({
    symbol: 'CKR_DATA_LEN_RANGE',
  });
  await expect(session.unwrapKey(ecdsa, key, huge, {})).rejects.toMatchObject({
    symbol: 'CKR_WRAPPED_KEY_LEN_RANGE',
  });
  await expect(session.generateRandom(MEBIBYTE + 1)).rejects.toMatchObject({ symbol: 'CKR_ARGUMENTS_BAD' });
  expect(() => session.generateRandomSync(2 ** 53 - 1)).toThrow('C_GenerateRandom: CKR_ARGUMENTS_BAD');
  await expect(session.login('USER', new Uint8Array(2000))).rejects.toMatchObject({
    symbol: 'CKR_PIN_LEN_RANGE',
  });
  await expect(library.initToken(0, userPin, 'x'.repeat(33))).rejects.toMatchObject({
    symbol: 'CKR_ARGUMENTS_BAD',
  });
  await expect(session.createObject({ class: CKO.DATA, value: huge })).rejects.toMatchObject({
    symbol: 'CKR_ARGUMENTS_BAD',
  });
  const parameter = new Uint8Array(2 * MEBIBYTE);
  await expect(session.sign({ ...ecdsa, parameter }, key, userPin)).rejects.toMatchObject({
    symbol: 'CKR_MECHANISM_PARAM_INVALID',
  });
  const vendor = Array.from({ length: 257 }, (_, type) => ({ type, value: true }));
  await expect(session.findObjects({ vendor })).rejects.toMatchObject({ symbol: 'CKR_ARGUMENTS_BAD' });
  const digester = session.digester({ type: CKM.SHA256 });
  await expect(digester.update(huge)).rejects.toMatchObject({ symbol: 'CKR_DATA_LEN_RANGE' });
});

test('templates that are nested too deep, or in themselves, are refused', async () => {
  const circle: { wrapTemplate?: Template } = {};
  circle.wrapTemplate = circle;
  const deep = { wrapTemplate: { wrapTemplate: { wrapTemplate: { wrapTemplate: {} } } } };
  for (const template of [circle, deep]) {
    await expect(token.session.createObject(template)).rejects.toMatchObject({
      symbol: 'CKR_ARGUMENTS_BAD',
      functionName: 'C_CreateObject',
    });
  }
});

test('the addon itself refuses encodings that are broken', async () => {
  const native = new NativeLibrary(modulePath(), '');
  native.openSync();
  const session = new NativeSession(native, token.slot, false);
  session.openSync();
  const good = Buffer.from('0100000003000000030100000041', 'hex'); // CKA_LABEL "A"
  await expect(session.findObjects(good, 10)).resolves.toEqual([]);
  const broken = [
    Buffer.alloc(0),
    Buffer.alloc(3),
    Buffer.from('ffffffff', 'hex'),
    good.subarray(0, -1),
    Buffer.concat([good, Buffer.of(0)]),
    Buffer.from('010000000300000003ffffffff41', 'hex'), // longer than what follows
    Buffer.from('0100000001000000010100000002', 'hex'), // neither true nor false
    Buffer.from('010000000100000001020000000101', 'hex'), // a boolean of two bytes
    Buffer.from('0100000061010000020400000020000000', 'hex'), // a number of four bytes
    Buffer.from('0100000003000000090100000041', 'hex'), // no such kind
    Buffer.from('0100000011020040040400000001000000', 'hex'), // a nested template cut short
  ];
  for (const encoded of broken) {
    expect(() => session.findObjects(encoded, 10)).toThrow('C_FindObjectsInit: CKR_ARGUMENTS_BAD');
  }
  for (const encoded of [
    Buffer.alloc(0),
    Buffer.from('8710000004ffffffff', 'hex'),
    Buffer.from('8710000063', 'hex'),
  ]) {
    expect(() => session.sign(encoded, 1, good)).toThrow('C_SignInit: CKR_MECHANISM_PARAM_INVALID');
  }
  for (let round = 0; round < 2000; round += 1) {
    const noise = randomBytes(round % 60);
    if (round % 2) noise.subarray(1, 4).fill(0);
    try {
      await session.findObjects(noise, 10);
    } catch (error) {
      expect(error).toBeInstanceOf(Pkcs11Error);
    }
  }
  await native.close();
});

test('wrong types are TypeErrors', async () => {
  const { library, session } = token;
  const wrong = [undefined, null, 'text', {}, [], 1n, new Uint16Array(2), new ArrayBuffer(4), () => 1];
  for (const value of wrong) {
    const bytes = value as Uint8Array;
    expect(() => session.signSync(ecdsa, 1, bytes)).toThrow(typeError);
    await expect(session.sign(ecdsa, 1, bytes)).rejects.toThrow(typeError);
    await expect(session.login('USER', bytes)).rejects.toThrow(typeError);
    await expect(
      session.createObject({ value: value === undefined ? (5 as unknown as Uint8Array) : bytes }),
    ).rejects.toThrow(typeError);
  }
  for (const value of [undefined, null, '1', -1, 1.5, NaN, Infinity, 2 ** 53, {}]) {
    const number = value as number;
    expect(() => session.destroyObjectSync(number)).toThrow(typeError);
    expect(() => session.generateRandomSync(number)).toThrow(typeError);
    expect(() => library.openSessionSync(number)).toThrow(typeError);
    expect(() => session.signSync({ type: number }, 1, userPin)).toThrow(typeError);
  }
  await expect(session.login('NOBODY' as 'USER', userPin)).rejects.toThrow(typeError);
  await expect(session.createObject({ nonsense: 1 } as Template)).rejects.toThrow(
    'no such attribute: nonsense',
  );
  await expect(session.createObject({ token: 1 } as unknown as Template)).rejects.toThrow(typeError);
  await expect(session.createObject(null as unknown as Template)).rejects.toThrow(typeError);
  await expect(session.getAttributes(1, ['nonsense' as 'label'])).rejects.toThrow(typeError);
  const odd = { type: CKM.AES_CTR, parameter: { counterBits: 1, counterBlock: Buffer.alloc(3) } };
  await expect(session.encrypt(odd, 1, userPin)).rejects.toThrow(typeError);
  const text = { type: CKM.AES_CBC, parameter: 'text' } as unknown as Mechanism;
  await expect(session.encrypt(text, 1, userPin)).rejects.toThrow(typeError);
  // An object that only looks like one of ours.
  const native = new NativeLibrary(modulePath(), '');
  native.openSync();
  const disguised = new NativeSession(native, token.slot, false);
  disguised.openSync();
  const stranger = Object.create(NativeLibrary.prototype as object) as NativeLibrary;
  expect(() => stranger.info()).toThrow('Illegal invocation');
  Object.setPrototypeOf(disguised, NativeLibrary.prototype as object);
  for (const fake of [stranger, disguised as unknown as NativeLibrary]) {
    expect(() => new NativeSession(fake, token.slot, false)).toThrow(typeError);
  }
  await native.close();
});

test('a session does one thing at a time: asynchronous calls queue, a synchronous one is refused', async () => {
  const session = token.library.openSessionSync(token.slot);
  const pair = await ecPair(token.session);
  const rsa = await rsaPair(token.session);
  const digest = randomBytes(32);
  const calls = Array.from({ length: 40 }, (_, i) =>
    i % 2
      ? session.sign(ecdsa, pair.privateKey, digest)
      : session.sign({ type: CKM.RSA_PKCS }, rsa.privateKey, digest),
  );
  expect(() => session.signSync(ecdsa, pair.privateKey, digest)).toThrow(
    'C_SignInit: CKR_OPERATION_ACTIVE (0x90)',
  );
  expect(() => session.infoSync()).toThrow('CKR_OPERATION_ACTIVE');
  const signatures = await Promise.all(calls);
  for (const [i, signature] of signatures.entries()) {
    const [mechanism, key] = i % 2 ? [ecdsa, pair.publicKey] : [{ type: CKM.RSA_PKCS }, rsa.publicKey];
    expect(session.verifySync(mechanism, key, digest, signature)).toBe(true);
  }
  session.close();
});

test('sessions work side by side without mixing up their results', async () => {
  const pair = await ecPair(token.session);
  const sessions = Array.from({ length: 8 }, () => token.library.openSessionSync(token.slot));
  await Promise.all(
    sessions.map(async (session) => {
      for (let i = 0; i < 25; i += 1) {
        const digest = randomBytes(32);
        const signature = await session.sign(ecdsa, pair.privateKey, digest);
        expect(await session.verify(ecdsa, pair.publicKey, digest, signature)).toBe(true);
      }
    }),
  );
  for (const session of sessions) session.close();
});

test('the event loop goes on turning while a long key is made', async () => {
  let turns = 0;
  let made = false;
  const turn = (): void => {
    turns += 1;
    if (!made) setImmediate(turn);
  };
  setImmediate(turn);
  await rsaPair(token.session, 4096);
  made = true;
  expect(turns).toBeGreaterThan(100);
});
