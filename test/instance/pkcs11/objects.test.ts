/** @jest-environment ./test/native/token-environment.cjs */
// Slots, tokens, sessions and objects.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { CKK, CKM, CKO, CKS, MECHANISM_FLAGS, TOKEN_FLAGS } from '../../../src/instance/pkcs11/constants.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import { aesKey, curves, ecPair } from './keys.js';
import { modulePath, openToken, soPin, userPin, type Token } from './token.js';

let token: Token;

beforeAll(async () => {
  token = await openToken('objects');
});

afterAll(() => token.library.close());

test('library, slot, token and mechanisms describe themselves', () => {
  const { library, slot } = token;
  expect(library.infoSync()).toMatchObject({ cryptokiVersion: '2.40', manufacturerId: 'SoftHSM' });
  expect(library.slotsSync(true)).toContain(slot);
  expect(library.slotInfoSync(slot).manufacturerId).toBe('SoftHSM project');
  const info = library.tokenInfoSync(slot);
  expect(info).toMatchObject({ label: 'objects', minPinLen: 4, totalPublicMemory: undefined });
  expect(info.flags & TOKEN_FLAGS.TOKEN_INITIALIZED).not.toBe(0);
  expect(library.mechanismsSync(slot)).toContain(CKM.ECDSA);
  expect(library.mechanismInfoSync(slot, CKM.AES_KEY_WRAP_PAD).flags & MECHANISM_FLAGS.UNWRAP).not.toBe(0);
});

test('a session tells its state, and PINs can be changed', async () => {
  const { session, slot } = token;
  expect(session.infoSync()).toEqual({ slot, state: CKS.RW_USER_FUNCTIONS, flags: 6, deviceError: 0 });
  const next = Buffer.from('another pin');
  await session.setPin(userPin, next);
  await session.logout();
  expect(session.infoSync().state).toBe(CKS.RW_PUBLIC_SESSION);
  await expect(session.login('USER', userPin)).rejects.toMatchObject({ symbol: 'CKR_PIN_INCORRECT' });
  await session.login('USER', next);
  await session.setPin(next, userPin);
});

test('objects are created, found, copied, changed and destroyed', async () => {
  const { session } = token;
  const value = randomBytes(16);
  const key = await aesKey(session, value, { label: 'käse', id: Buffer.from('42') });
  expect(await session.findObjects({ label: 'käse' })).toEqual([key]);
  expect(
    await session.getAttributes(key, [
      'class',
      'keyType',
      'label',
      'id',
      'value',
      'token',
      'private',
      'modulus',
    ]),
  ).toEqual({
    class: CKO.SECRET_KEY,
    keyType: CKK.AES,
    label: 'käse',
    id: Buffer.from('42'),
    value,
    token: false,
    private: true,
  });
  const copy = await session.copyObject(key, { label: 'copy', sensitive: true });
  await session.setAttributes(copy, { id: Buffer.from('43') });
  expect(await session.getAttributes(copy, ['label', 'id'])).toEqual({
    label: 'copy',
    id: Buffer.from('43'),
  });
  await session.destroyObject(copy);
  session.destroyObjectSync(key);
  expect(await session.findObjects({ label: 'käse' })).toEqual([]);
});

test('a sensitive value is refused, or left out if so asked', async () => {
  const { session } = token;
  const { privateKey } = await ecPair(session);
  await expect(session.getAttributes(privateKey, ['label', 'value'])).rejects.toMatchObject({
    symbol: 'CKR_ATTRIBUTE_SENSITIVE',
    functionName: 'C_GetAttributeValue',
  });
  expect(await session.getAttributes(privateKey, ['keyType', 'value'], { sensitive: 'omit' })).toEqual({
    keyType: CKK.EC,
  });
});

test('finding stops at the limit and goes past one batch', async () => {
  const { session } = token;
  const made = [];
  for (let i = 0; i < 300; i += 1) {
    made.push(await session.createObject({ class: CKO.DATA, label: 'many', value: Buffer.of(i & 0xff) }));
  }
  expect((await session.findObjects({ label: 'many' })).sort((a, b) => a - b)).toEqual(made);
  expect(await session.findObjects({ label: 'many' }, 257)).toHaveLength(257);
  expect(await session.findObjects({ label: 'many' }, 0)).toEqual([]);
  for (const object of made) session.destroyObjectSync(object);
});

test('templates in templates and lists of mechanisms go there and back', async () => {
  const { session } = token;
  const wrapTemplate = { sensitive: true, wrapWithTrusted: true, keyType: CKK.EC, label: 'nested' };
  const allowedMechanisms = [CKM.AES_KEY_WRAP_PAD, CKM.AES_GCM];
  const key = await session.generateKey(
    { type: CKM.AES_KEY_GEN },
    { token: false, valueLen: 32, wrap: true, wrapTemplate, unwrapTemplate: {}, allowedMechanisms },
  );
  const read = await session.getAttributes(key, [
    'wrapTemplate',
    'unwrapTemplate',
    'allowedMechanisms',
    'valueLen',
  ]);
  expect(read.wrapTemplate).toEqual(wrapTemplate);
  expect(read.unwrapTemplate).toEqual({});
  expect(read.allowedMechanisms?.sort()).toEqual(allowedMechanisms.sort());
  expect(read.valueLen).toBe(32);
});

test('a wrap template and the allowed mechanisms are obeyed', async () => {
  const { session } = token;
  const key = await session.generateKey(
    { type: CKM.AES_KEY_GEN },
    {
      token: false,
      valueLen: 32,
      wrap: true,
      encrypt: true,
      wrapTemplate: { wrapWithTrusted: false, keyType: CKK.EC },
      allowedMechanisms: [CKM.AES_KEY_WRAP_PAD],
    },
  );
  const mechanism = { type: CKM.AES_KEY_WRAP_PAD };
  const allowed = await ecPair(session, 'P-256', { wrapWithTrusted: false });
  const other = await ecPair(session, 'P-256', { wrapWithTrusted: true });
  expect((await session.wrapKey(mechanism, key, allowed.privateKey)).length).toBeGreaterThan(64);
  await expect(session.wrapKey(mechanism, key, other.privateKey)).rejects.toMatchObject({
    symbol: 'CKR_KEY_NOT_WRAPPABLE',
  });
  const iv = randomBytes(16);
  await expect(session.encrypt({ type: CKM.AES_CBC_PAD, parameter: iv }, key, iv)).rejects.toMatchObject({
    symbol: 'CKR_MECHANISM_INVALID',
  });
});

test('an imported private key signs as it does outside', async () => {
  const { session } = token;
  const outside = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const jwk = outside.export({ format: 'jwk' });
  const part = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
  const key = await session.createObject({
    class: CKO.PRIVATE_KEY,
    keyType: CKK.RSA,
    token: false,
    private: true,
    sensitive: true,
    sign: true,
    modulus: part(jwk.n),
    publicExponent: part(jwk.e),
    privateExponent: part(jwk.d),
    prime1: part(jwk.p),
    prime2: part(jwk.q),
    exponent1: part(jwk.dp),
    exponent2: part(jwk.dq),
    coefficient: part(jwk.qi),
  });
  const data = Buffer.from('the same signature');
  expect(await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, data)).toEqual(sign('sha256', data, outside));
  const ec = createPrivateKey(
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'sec1', format: 'pem' }),
  ).export({ format: 'jwk' });
  const imported = await session.createObject({
    class: CKO.PRIVATE_KEY,
    keyType: CKK.EC,
    token: false,
    sign: true,
    ecParams: curves['P-256'],
    value: part(ec.d),
  });
  expect(session.signSync({ type: CKM.ECDSA }, imported, randomBytes(32))).toHaveLength(64);
});

test('a vendor attribute travels by its number', async () => {
  await expect(
    token.session.createObject({ class: CKO.DATA, vendor: [{ type: 0x80000001, value: Buffer.of(1) }] }),
  ).rejects.toMatchObject({ symbol: 'CKR_ATTRIBUTE_TYPE_INVALID' });
  const found = await token.session.findObjects({ vendor: [{ type: 0x3, value: Buffer.from('nobody') }] });
  expect(found).toEqual([]);
});

test('closing all sessions of a slot closes those of this library only', async () => {
  const other = Library.openSync(modulePath());
  const theirs = [other.openSessionSync(token.slot), other.openSessionSync(token.slot)];
  other.closeAllSessions(token.slot);
  for (const session of theirs) {
    expect(() => session.infoSync()).toThrow('C_GetSessionInfo: CKR_SESSION_HANDLE_INVALID (0xb3)');
  }
  expect(token.session.infoSync().state).toBe(CKS.RW_USER_FUNCTIONS);
  await other.close();
  expect(token.session.infoSync().state).toBe(CKS.RW_USER_FUNCTIONS);
});

test('a token is initialised anew', async () => {
  const { library } = token;
  const spare = library
    .slotsSync()
    .find((slot) => (library.tokenInfoSync(slot).flags & TOKEN_FLAGS.TOKEN_INITIALIZED) === 0);
  expect(spare).toBeDefined();
  await library.initToken(spare ?? 0, soPin, 'spare');
  expect(library.slotsSync(true).map((slot) => library.tokenInfoSync(slot).label)).toContain('spare');
});
