/** @jest-environment ./test/native/token-environment.cjs */
// Opening and asking, off the JavaScript thread and on it.
import { CKM } from '../../../src/instance/pkcs11/constants.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import { NativeLibrary, NativeSession } from '../../../src/instance/pkcs11/native.js';
import { modulePath, openToken, type Token } from './token.js';

let token: Token;

beforeAll(async () => {
  token = await openToken();
});

afterAll(() => token.library.close());

test('a library is opened and asked off the thread, with the same answers', async () => {
  const { library, slot, session } = token;
  const other = await Library.open(modulePath());
  expect(await other.info()).toEqual(library.infoSync());
  expect(await other.slots(true)).toEqual(library.slotsSync(true));
  expect(await other.slotInfo(slot)).toEqual(library.slotInfoSync(slot));
  expect((await other.tokenInfo(slot)).label).toBe(library.tokenInfoSync(slot).label);
  expect(await other.mechanisms(slot)).toEqual(library.mechanismsSync(slot));
  expect(await other.mechanismInfo(slot, CKM.ECDSA)).toEqual(library.mechanismInfoSync(slot, CKM.ECDSA));
  const opened = await other.openSession(slot);
  expect(await opened.info()).toMatchObject({ slot, flags: 4 });
  expect((await session.info()).state).toBe(session.infoSync().state);
  const closing = other.close();
  // What comes after the end is refused, asked for in either way.
  await expect(other.slots()).rejects.toMatchObject({ symbol: 'CKR_CRYPTOKI_NOT_INITIALIZED' });
  await expect(other.openSession(slot)).rejects.toMatchObject({ symbol: 'CKR_CRYPTOKI_NOT_INITIALIZED' });
  await closing;
  await other.close();
});

test('a library that cannot be opened says why, and nothing of it stays open', async () => {
  const error: unknown = await Library.open('/does/not/exist').catch((reason: unknown) => reason);
  expect(error).toMatchObject({ symbol: 'CKR_LIBRARY_LOAD_FAILED', functionName: 'dlopen' });
  expect((error as Error).cause).toMatchObject({ message: 'no such file: /does/not/exist' });
  await expect(token.library.openSession(4711)).rejects.toMatchObject({ symbol: 'CKR_SLOT_ID_INVALID' });
  await expect(token.library.tokenInfo(4711)).rejects.toMatchObject({ functionName: 'C_GetTokenInfo' });
  await expect(Library.open(modulePath(), { parameters: 'a\0b' })).rejects.toThrow('zero');
});

test('one module is not initialised in two ways at once', async () => {
  const error: unknown = await Library.open(modulePath(), { parameters: 'other' }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({
    symbol: 'CKR_CRYPTOKI_ALREADY_INITIALIZED',
    functionName: 'C_Initialize',
    cause: { message: 'the module is initialised with other parameters' },
  });
});

test('the halves of the addon are refused until they are open, and open once', async () => {
  const native = new NativeLibrary(modulePath(), '');
  expect(() => native.slotsSync(false)).toThrow('CKR_CRYPTOKI_NOT_INITIALIZED');
  const early = new NativeSession(native, token.slot, false);
  expect(() => early.openSync()).toThrow('CKR_CRYPTOKI_NOT_INITIALIZED');
  await native.open();
  await expect(native.open()).rejects.toMatchObject({ symbol: 'CKR_CRYPTOKI_ALREADY_INITIALIZED' });
  expect(() => early.infoSync()).toThrow('CKR_SESSION_HANDLE_INVALID');
  await early.open();
  await expect(early.open()).rejects.toMatchObject({ symbol: 'CKR_SESSION_EXISTS' });
  expect(early.infoSync()).toMatchObject({ slot: token.slot });
  // A library that is closed while it opens ends closed.
  const hasty = new NativeLibrary(modulePath(), '');
  const opening = hasty.open();
  await hasty.close();
  await opening;
  expect(() => hasty.slotsSync(false)).toThrow('CKR_CRYPTOKI_NOT_INITIALIZED');
  await native.close();
});
