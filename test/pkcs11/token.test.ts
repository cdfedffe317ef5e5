/** @jest-environment ./test/native/token-environment.cjs */
// Sessions that are shared: limits, login, what breaks and how it ends. On SoftHSM2.
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  CKK,
  CKM,
  CKO,
  Library,
  listTokens,
  mechanism,
  mechanismName,
  Pkcs11Error,
  Token,
  type Template,
} from '../../src/pkcs11/pkcs11.js';
import { ecPublicKey } from '../instance/pkcs11/keys.js';
import { makeToken, modulePath, soPin, userPin } from './place.js';

const p256 = Buffer.from('06082a8648ce3d030107', 'hex');
const MEBIBYTE = 1024 * 1024;

let library: Library;
let slot: number;

beforeAll(async () => {
  library = await Library.open(modulePath());
  slot = await makeToken(library, 'shared');
});

afterAll(() => library.close());

const open = (options: Partial<Parameters<typeof Token.open>[1]> = {}): Promise<Token> =>
  Token.open(library, { slot, login: { pin: userPin }, ...options });

const ecPair = (token: Token, template: Template = {}): ReturnType<Token['generateKeyPair']> =>
  token.generateKeyPair(
    mechanism('EC_KEY_PAIR_GEN'),
    { token: false, verify: true, ecParams: p256 },
    { token: false, private: true, sensitive: true, sign: true, ...template },
  );

const aesKey = (token: Token, template: Template = {}): Promise<number> =>
  token.generateKey(mechanism('AES_KEY_GEN'), {
    token: false,
    private: true,
    valueLen: 32,
    encrypt: true,
    decrypt: true,
    ...template,
  });

/** Holds a session until told to let go. */
function hold(token: Token): { held: Promise<void>; done: Promise<void>; letGo: () => void } {
  let letGo = (): void => undefined;
  let began = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    began = resolve;
  });
  const until = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const done = token.withSession(async () => {
    began();
    await until;
  });
  return { held, done, letGo };
}

test('a token is opened by its label, or by its slot; the wrong label says so', async () => {
  expect((await listTokens(library)).map(({ info }) => info.label)).toContain('shared');
  const token = await Token.open(library, { label: 'shared', login: { pin: userPin } });
  expect(token.slot).toBe(slot);
  await token.close();
  await expect(Token.open(library, { label: 'elsewhere' })).rejects.toMatchObject({ code: 'NoSuchToken' });
  await expect(Token.open(library, {})).rejects.toThrow(TypeError);
  await expect(open({ sessionsMax: 0 })).rejects.toThrow(RangeError);
});

test('many calls share few sessions, and every result is the right one', async () => {
  const token = await open({ sessionsMax: 3 });
  const { publicKey, privateKey } = await ecPair(token);
  const { ecPoint } = await token.getAttributes(publicKey, ['ecPoint']);
  const key = ecPublicKey('P-256', ecPoint?.subarray(2) ?? Buffer.alloc(0));
  const messages = Array.from({ length: 60 }, () => randomBytes(40));
  let most = 0;
  const signatures = await Promise.all(
    messages.map(async (message) => {
      const digest = createHash('sha256').update(message).digest();
      const signature = await token.sign(mechanism('ECDSA'), privateKey, digest);
      most = Math.max(most, token.counts.open);
      return signature;
    }),
  );
  for (const [at, signature] of signatures.entries()) {
    expect(
      verify('sha256', messages[at] ?? Buffer.alloc(0), { key, dsaEncoding: 'ieee-p1363' }, signature),
    ).toBe(true);
  }
  // Three that are shared, and the one that owns the pair.
  expect(most).toBe(4);
  expect(token.counts).toEqual({ open: 4, busy: 0, waiting: 0 });
  await token.close();
  expect(token.counts).toEqual({ open: 0, busy: 0, waiting: 0 });
});

test('calls beyond the sessions wait; beyond the queue, too long or unwanted they are refused', async () => {
  const token = await open({ sessionsMax: 1, waitingMax: 2 });
  const holder = hold(token);
  await holder.held;
  const controller = new AbortController();
  const patient = token.generateRandom(8);
  const unwanted = token.generateRandom(8, { signal: controller.signal });
  await expect(token.generateRandom(8)).rejects.toMatchObject({ name: 'TokenError', code: 'QueueFull' });
  controller.abort(new Error('no longer'));
  await expect(unwanted).rejects.toThrow('no longer');
  await expect(token.generateRandom(8, { waitMsMax: 1 })).rejects.toMatchObject({ code: 'TimedOut' });
  expect(token.counts).toMatchObject({ busy: 1, waiting: 1 });
  holder.letGo();
  await holder.done;
  expect(await patient).toHaveLength(8);
  await token.close();
});

test('closing refuses calls that wait, lets running ones end, and can be done twice', async () => {
  const token = await open({ sessionsMax: 1 });
  const running = token.generateRandom(MEBIBYTE);
  const waiting = [token.generateRandom(1), token.findObjects({}), aesKey(token).then(() => aesKey(token))];
  const settled = Promise.allSettled(waiting);
  await new Promise((resolve) => setImmediate(resolve));
  const closing = [token.close(), token.close()];
  await expect(token.generateRandom(1)).rejects.toMatchObject({ name: 'TokenError', code: 'Closed' });
  const [first, second] = await settled;
  expect(first).toMatchObject({ status: 'rejected', reason: { code: 'Closed' } });
  expect(second).toMatchObject({ status: 'rejected', reason: { code: 'Closed' } });
  expect(await running).toHaveLength(MEBIBYTE);
  await Promise.all(closing);
  await token.close();
  expect(token.counts).toEqual({ open: 0, busy: 0, waiting: 0 });
  // Nothing is left of it in the module: nobody is logged in.
  const session = await library.openSession(slot);
  expect((await session.info()).state).toBe(0);
  session.close();
});

test('a library that closes under a token ends its calls with a code of the module', async () => {
  const own = await Library.open(modulePath());
  const token = await Token.open(own, { slot, login: { pin: userPin }, sessionsMax: 1 });
  const calls = Promise.allSettled(Array.from({ length: 20 }, () => token.generateRandom(MEBIBYTE)));
  await own.close();
  const reasons = (await calls).map((call) =>
    call.status === 'rejected' ? (call.reason as unknown) : 'done',
  );
  for (const reason of reasons) {
    if (reason !== 'done') expect(reason).toMatchObject({ symbol: 'CKR_CRYPTOKI_NOT_INITIALIZED' });
  }
  expect(reasons.at(-1)).toBeInstanceOf(Pkcs11Error);
  await token.close();
  await own.close();
});

test('a wrong PIN is refused when the token is opened, and is not tried again', async () => {
  await expect(open({ login: { pin: 'wrong pin' } })).rejects.toMatchObject({
    symbol: 'CKR_PIN_INCORRECT',
    functionName: 'C_Login',
    message: 'C_Login: CKR_PIN_INCORRECT (0xa0)',
  });
  // A PIN that was right when the token was opened, and then is not.
  let asked = 0;
  const token = await open({
    login: {
      pin: () => {
        asked += 1;
        return asked === 1 ? userPin.toString() : 'changed since';
      },
    },
  });
  await token.withSession((session) => session.logout());
  for (let time = 0; time < 3; time += 1) {
    await expect(aesKey(token)).rejects.toMatchObject({ symbol: 'CKR_PIN_INCORRECT' });
  }
  expect(asked).toBe(2);
  await token.close();
});

test('a login that somebody ended is made again, once for all calls that need it', async () => {
  let asked = 0;
  const token = await open({
    login: {
      pin: () => {
        asked += 1;
        return Promise.resolve(Buffer.from(userPin));
      },
    },
  });
  await aesKey(token, { token: true, label: 'kept' });
  const logout = (): Promise<void> => token.withSession((session) => session.logout());
  await logout();
  // Found again, though the module would only have said that there is none.
  expect(await token.findObjects({ label: 'kept' })).toHaveLength(1);
  expect(asked).toBe(2);
  await logout();
  const made = await Promise.all(Array.from({ length: 6 }, () => aesKey(token)));
  expect(new Set(made).size).toBe(6);
  expect(asked).toBe(3);
  for (const object of await token.findObjects({ label: 'kept' })) await token.destroyObject(object);
  await token.close();
});

test('tokens that were opened and closed leave no session behind', async () => {
  const before = (await library.tokenInfo(slot)).sessionCount;
  for (let round = 0; round < 20; round += 1) {
    const token = await open({ sessionsMax: 2 });
    const calls = Promise.allSettled(Array.from({ length: 6 }, () => token.generateRandom(1000)));
    await token.close();
    await calls;
    await expect(open({ login: { pin: 'wrong pin' } })).rejects.toThrow('CKR_PIN_INCORRECT');
  }
  expect((await library.tokenInfo(slot)).sessionCount).toBe(before);
});

test('two tokens of one slot share the login; the one that is left goes on', async () => {
  const [first, second] = await Promise.all([open(), open()]);
  const key = await aesKey(second);
  await first.close();
  const parameter = { iv: randomBytes(12), tagBits: 128 };
  expect(await second.encrypt(mechanism('AES_GCM', parameter), key, Buffer.from('on'))).toHaveLength(18);
  await second.close();
});

test('who logs in as security officer may do what the user may not', async () => {
  const officer = await open({ login: { user: 'SO', pin: soPin } });
  const key = await officer.generateKey(mechanism('AES_KEY_GEN'), {
    token: false,
    private: false,
    valueLen: 16,
    trusted: true,
  });
  expect(await officer.getAttributes(key, ['trusted'])).toEqual({ trusted: true });
  await officer.close();
});

test('without a login only public objects are seen', async () => {
  const token = await open({ login: undefined });
  const data = await token.createObject({ class: CKO.DATA, token: false, private: false, label: 'seen' });
  expect(await token.findObjects({ label: 'seen' })).toEqual([data]);
  await expect(aesKey(token)).rejects.toMatchObject({ symbol: 'CKR_USER_NOT_LOGGED_IN' });
  await token.close();
});

test('an operation that is left open meets nobody else, and session objects outlive its session', async () => {
  const token = await open({ sessionsMax: 1 });
  const { privateKey } = await ecPair(token);
  const half = (): Promise<void> =>
    token.withSession(async (session) => {
      await session.digester(mechanism('SHA256')).update(Buffer.from('half of it'));
    });
  await half();
  expect(await token.sign(mechanism('ECDSA'), privateKey, randomBytes(32))).toHaveLength(64);
  await half();
  // Nor an operation in parts, which cannot be made again.
  expect(await token.digest(mechanism('SHA256'), Readable.from([Buffer.from('whole')]))).toEqual(
    createHash('sha256').update('whole').digest(),
  );
  // Nor when the caller fails half-way.
  const broken = Readable.from([Buffer.from('part')]).map(() => {
    throw new Error('the source failed');
  });
  await expect(token.digest(mechanism('SHA256'), broken)).rejects.toThrow('the source failed');
  expect(await token.sign(mechanism('ECDSA'), privateKey, randomBytes(32))).toHaveLength(64);
  expect(token.counts).toEqual({ open: 2, busy: 0, waiting: 0 });
  await token.close();
});

test('a session that is gone is replaced', async () => {
  const token = await open({ sessionsMax: 1 });
  await token.withSession((session) => {
    session.close();
    return Promise.resolve();
  });
  await expect(token.generateRandom(4)).rejects.toMatchObject({ symbol: 'CKR_SESSION_HANDLE_INVALID' });
  expect(await token.generateRandom(4)).toHaveLength(4);
  await token.close();
});

test('find walks over objects with their attributes, and leaves out what goes meanwhile', async () => {
  const token = await open();
  const made: number[] = [];
  for (let at = 0; at < 5; at += 1) {
    made.push(
      await aesKey(token, { label: 'walk', id: Buffer.of(at), sensitive: at > 0, extractable: at === 0 }),
    );
  }
  const seen: unknown[] = [];
  for await (const { object, attributes } of token.find({ label: 'walk' }, ['id', 'keyType', 'value'])) {
    if (seen.length === 0) await token.destroyObject(made.find((other) => other !== object) ?? 0);
    seen.push(object);
    expect(attributes.keyType).toBe(CKK.AES);
    expect(attributes.id).toHaveLength(1);
    expect(attributes.value?.length).toBe(attributes.id?.[0] === 0 ? 32 : undefined);
  }
  expect(seen).toHaveLength(4);
  expect(await token.findObjects({ label: 'walk' }, { max: 2 })).toHaveLength(2);
  for await (const { object, attributes } of token.find({ label: 'walk' })) {
    expect(made).toContain(object);
    expect(attributes).toEqual({});
    break; // and no session stays behind
  }
  expect(token.counts.busy).toBe(0);
  await token.close();
});

test('a consumer that stops early gives its session back', async () => {
  const token = await open({ sessionsMax: 1 });
  const key = await aesKey(token);
  const cbc = mechanism('AES_CBC_PAD', randomBytes(16));
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) yield await Promise.resolve(randomBytes(64));
  }
  let parts = 0;
  for await (const part of token.encryptParts(cbc, key, endless())) {
    expect(part.length).toBeGreaterThan(0);
    parts += 1;
    if (parts === 3) break;
  }
  expect(token.counts.busy).toBe(0);
  expect(await token.encrypt(cbc, key, Buffer.from('next'))).toHaveLength(16);
  await token.close();
});

test('a key that asks each time signs after a login of its own', async () => {
  const token = await open();
  const { privateKey, publicKey } = await ecPair(token, { alwaysAuthenticate: true });
  const digest = randomBytes(32);
  await expect(token.sign(mechanism('ECDSA'), privateKey, digest)).rejects.toMatchObject({
    symbol: 'CKR_USER_NOT_LOGGED_IN',
  });
  const data = Buffer.from('asked for');
  const pair = await token.generateKeyPair(
    mechanism('RSA_PKCS_KEY_PAIR_GEN'),
    { token: false, verify: true, modulusBits: 2048, publicExponent: Buffer.of(1, 0, 1) },
    { token: false, private: true, sensitive: true, sign: true, alwaysAuthenticate: true },
  );
  const signature = await token.withSession(async (session) => {
    const signer = session.signer(mechanism('SHA256_RSA_PKCS'), pair.privateKey);
    await session.login('CONTEXT_SPECIFIC', userPin);
    await signer.update(data);
    return signer.final();
  });
  const { modulus } = await token.getAttributes(pair.publicKey, ['modulus']);
  const node = createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', n: modulus?.toString('base64url') ?? '', e: 'AQAB' },
  });
  expect(verify('sha256', data, node, signature)).toBe(true);
  expect(publicKey).not.toBe(pair.publicKey);
  await token.close();
});

test('names and numbers of mechanisms belong together', () => {
  expect(mechanism('ECDSA')).toEqual({ type: CKM.ECDSA, parameter: undefined });
  expect(mechanismName(CKM.AES_GCM)).toBe('AES_GCM');
  expect(mechanismName(0x7fffffff)).toBeUndefined();
  expect(() => mechanism('toString' as 'ECDSA')).toThrow(TypeError);
});
