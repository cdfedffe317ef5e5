/** @jest-environment ./test/native/token-environment.cjs */
// The same calls against each module, the results checked by Node. What a module does not offer it must refuse with a
// code that says so; docs/pkcs11.md has the table.
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPublicKey,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign as nodeSign,
  generateKeyPairSync,
  verify as nodeVerify,
  type KeyObject,
} from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  CKD,
  CKG,
  CKK,
  CKM,
  CKO,
  mechanism,
  Pkcs11Error,
  Token,
  TOKEN_FLAGS,
  type MechanismName,
  type Template,
} from '../../src/pkcs11/pkcs11.js';
import { curves, ecPublicKey, type Curve } from '../instance/pkcs11/keys.js';
import { modules, type Place } from './modules.js';

const publicExponent = Buffer.of(1, 0, 1);

describe.each(modules.filter(({ installed }) => installed))('$name', (module) => {
  const { name } = module;
  let place: Place;
  let token: Token;
  let offered: ReadonlySet<number>;

  beforeAll(async () => {
    place = await module.open();
    token = await Token.open(place.library, { slot: place.slot, login: { pin: place.pin } });
    offered = new Set(await place.library.mechanisms(place.slot));
  });

  afterAll(async () => {
    await token.close();
    await place.remove();
  });

  const aesKey = (value: Uint8Array, template: Template = {}): Promise<number> =>
    token.createObject({
      class: CKO.SECRET_KEY,
      keyType: CKK.AES,
      token: false,
      sensitive: false,
      extractable: true,
      encrypt: true,
      decrypt: true,
      wrap: true,
      unwrap: true,
      value,
      ...template,
    });

  async function ecPair(
    curve: Curve,
    template: Template = {},
  ): Promise<{ publicKey: number; privateKey: number; node: KeyObject; point: Buffer }> {
    const pair = await token.generateKeyPair(
      mechanism('EC_KEY_PAIR_GEN'),
      { token: false, verify: true, ecParams: curves[curve] },
      { token: false, private: true, sensitive: true, sign: true, ...template },
    );
    const { ecPoint } = await token.getAttributes(pair.publicKey, ['ecPoint']);
    if (ecPoint === undefined) throw new Error('no point');
    const point = ecPoint.subarray(ecPoint[1] === 0x81 ? 3 : 2);
    return { ...pair, node: ecPublicKey(curve, point), point };
  }

  let rsa: Promise<{ publicKey: number; privateKey: number; node: KeyObject }> | undefined;

  // One for all tests: it takes long to make.
  function rsaPair(): Promise<{ publicKey: number; privateKey: number; node: KeyObject }> {
    rsa ??= makeRsaPair();
    return rsa;
  }

  async function makeRsaPair(): Promise<{ publicKey: number; privateKey: number; node: KeyObject }> {
    const pair = await token.generateKeyPair(
      mechanism('RSA_PKCS_KEY_PAIR_GEN'),
      { token: false, verify: true, encrypt: true, wrap: true, modulusBits: 2048, publicExponent },
      { token: false, private: true, sensitive: true, sign: true, decrypt: true, unwrap: true },
    );
    const { modulus } = await token.getAttributes(pair.publicKey, ['modulus']);
    const node = createPublicKey({
      format: 'jwk',
      key: { kty: 'RSA', n: modulus?.toString('base64url') ?? '', e: publicExponent.toString('base64url') },
    });
    return { ...pair, node };
  }

  /** A test of mechanisms: a module that does not offer one of them may say so. NSS does more than it lists. */
  function can(title: string, needs: readonly MechanismName[], run: () => Promise<void>): void {
    test(title, async () => {
      if (needs.every((wanted) => offered.has(CKM[wanted]))) return run();
      const outcome = await run().then(
        () => 'done',
        (error: unknown) => (error instanceof Pkcs11Error ? error.symbol : error),
      );
      expect(['done', 'CKR_MECHANISM_INVALID']).toContain(outcome);
      return undefined;
    });
  }

  test('describes itself', async () => {
    const { library, slot } = place;
    expect((await library.info()).cryptokiVersion).toMatch(/^2\.\d+$|^3\.\d+$/);
    expect(await library.slots(true)).toContain(slot);
    expect(await library.slotInfo(slot)).toMatchObject({ slotDescription: expect.any(String) as string });
    expect((await library.tokenInfo(slot)).flags & TOKEN_FLAGS.USER_PIN_INITIALIZED).not.toBe(0);
    expect((await library.mechanismInfo(slot, CKM.RSA_PKCS)).maxKeySize).toBeGreaterThanOrEqual(2048);
    expect((await token.withSession((session) => session.info())).slot).toBe(slot);
  });

  for (const curve of ['P-256', 'P-384', 'P-521'] as const) {
    can(`ECDSA with ${curve}`, ['EC_KEY_PAIR_GEN', 'ECDSA'], async () => {
      const { publicKey, privateKey, node } = await ecPair(curve);
      const message = randomBytes(100);
      const digest = createHash('sha256').update(message).digest();
      const signature = await token.sign(mechanism('ECDSA'), privateKey, digest);
      expect(nodeVerify('sha256', message, { key: node, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
      expect(await token.verify(mechanism('ECDSA'), publicKey, digest, signature)).toBe(true);
      signature[9] = (signature[9] ?? 0) ^ 1;
      expect(await token.verify(mechanism('ECDSA'), publicKey, digest, signature)).toBe(false);
      const short = await token
        .verify(mechanism('ECDSA'), publicKey, digest, Buffer.alloc(3))
        .catch((error: unknown) => (error as Pkcs11Error).symbol);
      expect(short).toBe(name === 'NSS' ? 'CKR_DATA_LEN_RANGE' : false);
    });
  }

  can(
    'RSA: PKCS #1 v1.5 and PSS, in one piece and in parts',
    ['SHA256_RSA_PKCS', 'SHA256_RSA_PKCS_PSS'],
    async () => {
      const { publicKey, privateKey, node } = await rsaPair();
      const message = randomBytes(5000);
      const pkcs = mechanism('SHA256_RSA_PKCS');
      const signature = await token.sign(pkcs, privateKey, message);
      expect(nodeVerify('sha256', message, node, signature)).toBe(true);
      const parts = (): Readable =>
        Readable.from([message.subarray(0, 1), message.subarray(1, 3000), message.subarray(3000)]);
      expect(await token.sign(pkcs, privateKey, parts())).toEqual(signature);
      expect(await token.verify(pkcs, publicKey, parts(), signature)).toBe(true);
      expect(await token.verify(pkcs, publicKey, parts(), Buffer.alloc(256, 1))).toBe(false);
      const pss = mechanism('SHA256_RSA_PKCS_PSS', {
        hashAlg: CKM.SHA256,
        mgf: CKG.MGF1_SHA256,
        saltLength: 32,
      });
      const padding = { key: node, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
      expect(nodeVerify('sha256', message, padding, await token.sign(pss, privateKey, message))).toBe(true);
    },
  );

  can('RSA: encryption with OAEP, both ways', ['RSA_PKCS_OAEP'], async () => {
    const { publicKey, privateKey, node } = await rsaPair();
    const oaep = mechanism('RSA_PKCS_OAEP', { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 });
    const secret = randomBytes(40);
    const padding = { key: node, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
    expect(await token.decrypt(oaep, privateKey, publicEncrypt(padding, secret))).toEqual(secret);
    expect(await token.decrypt(oaep, privateKey, await token.encrypt(oaep, publicKey, secret))).toEqual(
      secret,
    );
    await expect(token.decrypt(oaep, privateKey, randomBytes(256))).rejects.toBeInstanceOf(Pkcs11Error);
  });

  can('an RSA key of Node signs inside as it does outside', ['SHA512_RSA_PKCS'], async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = privateKey.export({ format: 'jwk' });
    const part = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
    const imported = await token.createObject({
      class: CKO.PRIVATE_KEY,
      keyType: CKK.RSA,
      token: false,
      private: true,
      sensitive: true,
      sign: true,
      decrypt: true,
      modulus: part(jwk.n),
      publicExponent: part(jwk.e),
      privateExponent: part(jwk.d),
      prime1: part(jwk.p),
      prime2: part(jwk.q),
      exponent1: part(jwk.dp),
      exponent2: part(jwk.dq),
      coefficient: part(jwk.qi),
    });
    const message = randomBytes(64);
    expect(await token.sign(mechanism('SHA512_RSA_PKCS'), imported, message)).toEqual(
      nodeSign('sha512', message, privateKey),
    );
  });

  can('AES-GCM, with and without further data; a changed tag is refused', ['AES_GCM'], async () => {
    const value = randomBytes(32);
    const key = await aesKey(value);
    const iv = randomBytes(12);
    for (const aad of [undefined, randomBytes(20)]) {
      const gcm = mechanism('AES_GCM', { iv, aad, tagBits: 128 });
      const data = randomBytes(100);
      const encrypted = await token.encrypt(gcm, key, data);
      const outside = createDecipheriv('aes-256-gcm', value, iv).setAuthTag(encrypted.subarray(100));
      if (aad !== undefined) outside.setAAD(aad);
      expect(Buffer.concat([outside.update(encrypted.subarray(0, 100)), outside.final()])).toEqual(data);
      expect(await token.decrypt(gcm, key, encrypted)).toEqual(data);
      encrypted[110] = (encrypted[110] ?? 0) ^ 1;
      const refused: unknown = await token.decrypt(gcm, key, encrypted).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Pkcs11Error);
      expect(String(refused)).not.toContain(data.toString('hex'));
    }
  });

  can('AES-CBC in parts, through a pipeline', ['AES_CBC_PAD'], async () => {
    const value = randomBytes(16);
    const key = await aesKey(value);
    const iv = randomBytes(16);
    const cbc = mechanism('AES_CBC_PAD', iv);
    const data = randomBytes(70_001);
    const collected: Buffer[] = [];
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < data.length; at += 9_999) {
        yield await Promise.resolve(data.subarray(at, at + 9_999));
      }
    }
    await pipeline(
      pieces,
      (parts: AsyncIterable<Buffer>) => token.encryptParts(cbc, key, parts),
      async (parts: AsyncIterable<Buffer>) => {
        for await (const part of parts) collected.push(part);
      },
    );
    const encrypted = Buffer.concat(collected);
    const outside = createCipheriv('aes-128-cbc', value, iv);
    expect(encrypted.equals(Buffer.concat([outside.update(data), outside.final()]))).toBe(true);
    const back: Buffer[] = [];
    for await (const part of token.decryptParts(cbc, key, Readable.from([encrypted]))) back.push(part);
    expect(Buffer.concat(back).equals(data)).toBe(true);
  });

  can('what fails half-way leaves nothing behind for the next call', ['AES_GCM'], async () => {
    const one = await Token.open(place.library, {
      slot: place.slot,
      login: { pin: place.pin },
      sessionsMax: 1,
    });
    const key = await aesKey(randomBytes(32));
    const gcm = mechanism('AES_GCM', { iv: randomBytes(12), tagBits: 128 });
    const tampered = async (): Promise<unknown> => {
      try {
        for await (const part of one.decryptParts(gcm, key, Readable.from([randomBytes(40)]))) part.fill(0);
        return 'believed';
      } catch (error) {
        return (error as Pkcs11Error).message;
      }
    };
    const first = await tampered();
    expect(first).toMatch(/^C_Decrypt(Init|Update|Final): CKR_/);
    expect(await tampered()).toBe(first);
    await expect(one.decrypt(gcm, key, randomBytes(40))).rejects.toBeInstanceOf(Pkcs11Error);
    expect(await one.encrypt(gcm, key, randomBytes(20))).toHaveLength(36);
    await one.close();
  });

  can('AES-CTR and ECB', ['AES_CTR', 'AES_ECB'], async () => {
    const value = randomBytes(32);
    const key = await aesKey(value);
    const counterBlock = randomBytes(16);
    const data = randomBytes(48);
    const ctr = mechanism('AES_CTR', { counterBits: 128, counterBlock });
    expect(await token.encrypt(ctr, key, data)).toEqual(
      createCipheriv('aes-256-ctr', value, counterBlock).update(data),
    );
    const ecb = await token.encrypt(mechanism('AES_ECB'), key, data);
    expect(ecb).toEqual(createCipheriv('aes-256-ecb', value, null).setAutoPadding(false).update(data));
  });

  can(
    'digests and HMACs, in one piece and in parts',
    ['SHA256', 'SHA384', 'SHA512', 'SHA256_HMAC'],
    async () => {
      const data = randomBytes(3000);
      const parts = (): Readable => Readable.from([data.subarray(0, 100), data.subarray(100)]);
      for (const [hash, digest, hmac] of [
        ['sha256', 'SHA256', 'SHA256_HMAC'],
        ['sha384', 'SHA384', 'SHA384_HMAC'],
        ['sha512', 'SHA512', 'SHA512_HMAC'],
      ] as const) {
        const expected = createHash(hash).update(data).digest();
        expect(await token.digest(mechanism(digest), data)).toEqual(expected);
        expect(await token.digest(mechanism(digest), parts())).toEqual(expected);
        const value = randomBytes(64);
        const key = await token.createObject({
          class: CKO.SECRET_KEY,
          keyType: CKK.GENERIC_SECRET,
          token: false,
          sign: true,
          verify: true,
          value,
        });
        const mac = createHmac(hash, value).update(data).digest();
        expect(await token.sign(mechanism(hmac), key, data)).toEqual(mac);
        expect(await token.verify(mechanism(hmac), key, parts(), mac)).toBe(true);
      }
    },
  );

  can('keys are wrapped and unwrapped, as RFC 3394 has it', ['AES_KEY_WRAP'], async () => {
    const [outer, inner] = [randomBytes(32), randomBytes(32)];
    const wrapping = await aesKey(outer);
    const key = await aesKey(inner);
    const wrapped = await token.wrapKey(mechanism('AES_KEY_WRAP'), wrapping, key);
    const outside = createCipheriv('id-aes256-wrap', outer, Buffer.alloc(8, 0xa6));
    expect(wrapped).toEqual(Buffer.concat([outside.update(inner), outside.final()]));
    const back = await token.unwrapKey(mechanism('AES_KEY_WRAP'), wrapping, wrapped, {
      class: CKO.SECRET_KEY,
      keyType: CKK.AES,
      token: false,
      sensitive: false,
      extractable: true,
      encrypt: true,
    });
    expect(await token.getAttributes(back, ['value'])).toEqual({ value: inner });
  });

  can(
    'a key under an RSA key comes out at Node, and the other way',
    ['RSA_PKCS', 'RSA_PKCS_OAEP'],
    async () => {
      const { publicKey, privateKey, node } = await rsaPair();
      const value = randomBytes(32);
      const key = await aesKey(value);
      const pkcs = mechanism('RSA_PKCS');
      expect(await token.wrapKey(pkcs, publicKey, key)).toHaveLength(256);
      const given = publicEncrypt({ key: node, padding: constants.RSA_PKCS1_PADDING }, value);
      const unwrapped = await token.unwrapKey(pkcs, privateKey, given, {
        class: CKO.SECRET_KEY,
        keyType: CKK.AES,
        token: false,
        encrypt: true,
        // SoftHSM2 finds it for itself, and wants to.
        valueLen: name === 'NSS' ? 32 : undefined,
      });
      const iv = randomBytes(16);
      const outside = createCipheriv('aes-256-cbc', value, iv);
      expect(await token.encrypt(mechanism('AES_CBC_PAD', iv), unwrapped, Buffer.from('same'))).toEqual(
        Buffer.concat([outside.update('same'), outside.final()]),
      );
      const { privateKey: theirs, publicKey: ours } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const jwk = ours.export({ format: 'jwk' });
      const imported = await token.createObject({
        class: CKO.PUBLIC_KEY,
        keyType: CKK.RSA,
        token: false,
        wrap: true,
        encrypt: true,
        modulus: Buffer.from(jwk.n ?? '', 'base64url'),
        publicExponent,
      });
      const oaep = mechanism('RSA_PKCS_OAEP', { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 });
      const encrypted = await token.encrypt(oaep, imported, value);
      const padding = { key: theirs, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
      expect(privateDecrypt(padding, encrypted)).toEqual(value);
    },
  );

  can('ECDH: both sides derive the same secret', ['ECDH1_DERIVE'], async () => {
    const { privateKey, point } = await ecPair('P-256', { derive: true });
    const theirs = createECDH('prime256v1');
    const parameter = { kdf: CKD.NULL, publicData: theirs.generateKeys() };
    const derived = await token.deriveKey(mechanism('ECDH1_DERIVE', parameter), privateKey, {
      class: CKO.SECRET_KEY,
      keyType: CKK.GENERIC_SECRET,
      token: false,
      sensitive: false,
      extractable: true,
      valueLen: 32,
    });
    expect(await token.getAttributes(derived, ['value'])).toEqual({ value: theirs.computeSecret(point) });
  });

  can('derivation by encrypting data', ['AES_CBC_ENCRYPT_DATA'], async () => {
    const value = randomBytes(32);
    const base = await aesKey(value, { derive: true });
    const [cbcIv, data] = [randomBytes(16), randomBytes(32)];
    const derived = await token.deriveKey(mechanism('AES_CBC_ENCRYPT_DATA', { cbcIv, data }), base, {
      class: CKO.SECRET_KEY,
      keyType: CKK.AES,
      token: false,
      sensitive: false,
      extractable: true,
      valueLen: 32,
    });
    const outside = createCipheriv('aes-256-cbc', value, cbcIv).setAutoPadding(false);
    expect(await token.getAttributes(derived, ['value'])).toEqual({ value: outside.update(data) });
  });

  test('objects of the token are found, changed, copied and destroyed, from any session', async () => {
    const id = randomBytes(8);
    const key = await token.generateKey(mechanism('AES_KEY_GEN'), {
      token: true,
      private: true,
      sensitive: true,
      extractable: false,
      valueLen: 32,
      label: 'kept',
      id,
      encrypt: true,
      decrypt: true,
    });
    expect(await token.findObjects({ class: CKO.SECRET_KEY, id })).toEqual([key]);
    await token.setAttributes(key, { label: 'renamed' });
    const found = [];
    for await (const each of token.find({ class: CKO.SECRET_KEY, id }, [
      'label',
      'keyType',
      'sensitive',
      'token',
    ])) {
      found.push(each);
    }
    expect(found).toEqual([
      { object: key, attributes: { label: 'renamed', keyType: CKK.AES, sensitive: true, token: true } },
    ]);
    await expect(token.getAttributes(key, ['value'])).rejects.toMatchObject({
      symbol: 'CKR_ATTRIBUTE_SENSITIVE',
      functionName: 'C_GetAttributeValue',
    });
    await token.destroyObject(key);
    expect(await token.findObjects({ class: CKO.SECRET_KEY, id })).toEqual([]);
    const original = await aesKey(randomBytes(16), { label: 'original' });
    const copy = await token.copyObject(original, { token: false, label: 'copy' });
    expect(copy).not.toBe(original);
    expect(await token.getAttributes(copy, ['label'])).toEqual({ label: 'copy' });
  });

  test('random bytes differ', async () => {
    const [one, other] = await Promise.all([token.generateRandom(32), token.generateRandom(32)]);
    expect(one).toHaveLength(32);
    expect(one).not.toEqual(other);
  });

  test('what is refused says by what name, by what number and by which call', async () => {
    const error: unknown = await token
      .sign(mechanism('RSA_PKCS'), 987_654_321, randomBytes(32))
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Pkcs11Error);
    const { code, symbol, functionName, message } = error as Pkcs11Error;
    expect(symbol).toMatch(/^CKR_(KEY|OBJECT)_HANDLE_INVALID$/);
    expect(functionName).toBe('C_SignInit');
    expect(message).toBe(`C_SignInit: ${symbol} (0x${code.toString(16)})`);
    await expect(token.digest({ type: 0x7ffffff0 }, Buffer.alloc(1))).rejects.toMatchObject({
      symbol: 'CKR_MECHANISM_INVALID',
    });
  });
});
