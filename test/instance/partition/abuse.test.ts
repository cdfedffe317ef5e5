/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Every abuse of the data-wrapping key that was carried out against SoftHSM without our templates, tried again by
// whoever holds the user's PIN: all must be refused by the token itself.
import { CKG, CKK, CKM, CKO } from '../../../src/instance/pkcs11/constants.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import type { Session } from '../../../src/instance/pkcs11/session.js';
import type { Template } from '../../../src/instance/pkcs11/attribute.js';
import { findOne, findToken, loginAs } from '../../../src/instance/partition/login.js';
import {
  customerKeyOf,
  DWK_LABEL,
  exportingKey,
  PARTITION_KEY_LABEL,
  restoringKey,
} from '../../../src/instance/partition/templates.js';
import type { WorkingCopy } from '../../../src/instance/partition/token.js';
import { foundedPlace, modulePath, type Place } from './place.js';

const WRAP = { type: CKM.AES_KEY_WRAP_PAD };
const OAEP = { type: CKM.RSA_PKCS_OAEP, parameter: { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 } };
const aes = customerKeyOf({ kty: 'oct-HSM', size: 256 });

let place: Place;
let copy: WorkingCopy;
let library: Library;
let session: Session;
let dwk: number;

beforeAll(async () => {
  place = await foundedPlace();
  copy = await place.tokens.copy(place.domain);
  process.env['SOFTHSM2_CONF'] = copy.configuration;
  library = Library.openSync(modulePath);
  session = library.openSessionSync(findToken(library), { readWrite: true });
  await loginAs(session, 'USER', (await place.tokens.pins()).user);
  dwk = await findOne(session, DWK_LABEL);
});
afterAll(async () => {
  await library.close();
  place.remove();
});

const generate = (template: Template) =>
  session.generateKey({ type: CKM.AES_KEY_GEN }, { ...template, valueLen: 32 });
const refused = (symbol: string | RegExp) =>
  expect.objectContaining({ symbol: expect.stringMatching(symbol) as string }) as Error;

describe('the data-wrapping key', () => {
  test('is what it is said to be', async () => {
    expect(
      await session.getAttributes(dwk, [
        'token',
        'private',
        'trusted',
        'sensitive',
        'extractable',
        'wrapWithTrusted',
        'modifiable',
        'encrypt',
        'decrypt',
        'sign',
        'derive',
        'allowedMechanisms',
      ]),
    ).toEqual({
      token: true,
      private: true,
      trusted: true,
      sensitive: true,
      extractable: true,
      wrapWithTrusted: true,
      modifiable: false,
      encrypt: false,
      decrypt: false,
      sign: false,
      derive: false,
      allowedMechanisms: [CKM.AES_KEY_WRAP_PAD],
    });
  });

  test('is not read', async () => {
    await expect(session.getAttributes(dwk, ['value'])).rejects.toEqual(refused('CKR_ATTRIBUTE_SENSITIVE'));
  });

  test.each(['decrypt', 'encrypt', 'sign', 'derive'] as const)(
    'does not get the right to %s',
    async (right) => {
      await expect(session.setAttributes(dwk, { [right]: true })).rejects.toEqual(
        refused('CKR_ACTION_PROHIBITED'),
      );
      await expect(session.copyObject(dwk, { [right]: true })).rejects.toEqual(
        refused('CKR_ATTRIBUTE_READ_ONLY'),
      );
    },
  );

  test('does not lose its protection by set or copy', async () => {
    await expect(session.setAttributes(dwk, { sensitive: false })).rejects.toThrow();
    await expect(session.copyObject(dwk, { sensitive: false })).rejects.toThrow();
    await expect(session.copyObject(dwk, { wrapWithTrusted: false })).rejects.toThrow();
    await expect(session.copyObject(dwk, { modifiable: true })).rejects.toThrow();
    expect(await session.getAttributes(dwk, ['sensitive', 'wrapWithTrusted', 'modifiable'])).toEqual({
      sensitive: true,
      wrapWithTrusted: true,
      modifiable: false,
    });
  });

  test('encrypts and decrypts nothing', async () => {
    const cbc = { type: CKM.AES_CBC, parameter: Buffer.alloc(16) };
    await expect(session.decrypt(cbc, dwk, Buffer.alloc(32))).rejects.toThrow();
    await expect(session.encrypt(cbc, dwk, Buffer.alloc(32))).rejects.toThrow();
  });

  test('leaves under no key but a trusted one', async () => {
    const untrusted = await generate({ token: false, private: true, wrap: true });
    await expect(session.wrapKey(WRAP, untrusted, dwk)).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
    const { publicKey } = await session.generateKeyPair(
      { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
      { token: false, private: false, modulusBits: 2048, publicExponent: Buffer.of(1, 0, 1), wrap: true },
      { token: false, private: true, unwrap: true },
    );
    await expect(session.wrapKey(OAEP, publicKey, dwk)).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
  });

  test('wraps no key that may leave under another', async () => {
    const loose = await generate({ token: false, private: true, sensitive: true, extractable: true });
    await expect(session.wrapKey(WRAP, dwk, loose)).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
  });

  test('nobody but the security officer makes a key trusted', async () => {
    await expect(generate({ ...aes, trusted: true })).rejects.toEqual(refused('CKR_ATTRIBUTE_READ_ONLY'));
    const plain = await generate({ token: false, private: true, wrap: true });
    await expect(session.setAttributes(plain, { trusted: true })).rejects.toThrow();
    await expect(session.copyObject(plain, { trusted: true })).rejects.toThrow();
  });
});

describe('the partition key', () => {
  let key: number;
  beforeAll(async () => {
    key = await findOne(session, PARTITION_KEY_LABEL);
  });

  test('signs what the slot hashes, and no digest that a caller brings', async () => {
    expect(await session.sign({ type: CKM.SHA256_RSA_PKCS }, key, Buffer.from('statement'))).toHaveLength(
      256,
    );
    for (const type of [CKM.RSA_PKCS, CKM.RSA_X_509]) {
      const spare = library.openSessionSync(findToken(library), { readWrite: true });
      await expect(spare.sign({ type }, key, Buffer.alloc(32, 1))).rejects.toEqual(
        refused('CKR_MECHANISM_INVALID'),
      );
      spare.close();
    }
  });

  test('leaves under no key, the data-wrapping key included', async () => {
    await expect(session.wrapKey(WRAP, dwk, key)).rejects.toEqual(
      refused(/CKR_KEY_(UNEXTRACTABLE|NOT_WRAPPABLE)/),
    );
    const untrusted = await generate({ token: false, private: true, wrap: true });
    await expect(session.wrapKey(WRAP, untrusted, key)).rejects.toEqual(refused('CKR_KEY_UNEXTRACTABLE'));
  });

  test('is not read, changed, or copied into one that decrypts or leaves', async () => {
    await expect(session.getAttributes(key, ['privateExponent'])).rejects.toEqual(
      refused('CKR_ATTRIBUTE_SENSITIVE'),
    );
    for (const change of [{ decrypt: true }, { unwrap: true }, { extractable: true }, { sensitive: false }]) {
      await expect(session.setAttributes(key, change)).rejects.toThrow();
      await expect(session.copyObject(key, change)).rejects.toThrow();
    }
  });
});

describe("a customer's key", () => {
  let blob: Buffer;

  beforeAll(async () => {
    blob = await session.wrapKey(WRAP, dwk, await generate(aes));
  });

  test.each([
    ['readable', { sensitive: false }],
    ['free to leave', { wrapWithTrusted: false }],
    [
      'under an incomplete template',
      { sensitive: undefined, extractable: undefined, wrapWithTrusted: undefined },
    ],
  ])('is not opened %s', async (_how, change) => {
    await expect(session.unwrapKey(WRAP, dwk, blob, { ...aes, ...change })).rejects.toEqual(
      refused('CKR_TEMPLATE_INCONSISTENT'),
    );
  });

  test('is not read, and not freed, once it is open', async () => {
    const key = await session.unwrapKey(WRAP, dwk, blob, aes);
    await expect(session.getAttributes(key, ['value'])).rejects.toEqual(refused('CKR_ATTRIBUTE_SENSITIVE'));
    await expect(session.setAttributes(key, { sensitive: false })).rejects.toThrow();
    await expect(session.setAttributes(key, { wrapWithTrusted: false })).rejects.toThrow();
    await expect(session.copyObject(key, { wrapWithTrusted: false })).rejects.toThrow();
    const untrusted = await generate({ token: false, private: true, wrap: true });
    await expect(session.wrapKey(WRAP, untrusted, key)).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
  });

  test('another key of its kind does not export it, the one that customers wrap with included', async () => {
    const key = await session.unwrapKey(WRAP, dwk, blob, aes);
    const wrapping = await session.unwrapKey(WRAP, dwk, blob, aes);
    await expect(session.wrapKey({ type: CKM.AES_KEY_WRAP }, wrapping, key)).rejects.toEqual(
      refused('CKR_KEY_NOT_WRAPPABLE'),
    );
  });
});

describe('the wrapping key of a security domain file', () => {
  const value = Buffer.alloc(32, 7);
  let exporting: number;
  let restoring: number;
  let exported: Buffer;

  beforeAll(async () => {
    const pins = await place.tokens.pins();
    await session.logout();
    await loginAs(session, 'SO', pins.so);
    exporting = await session.createObject({ ...exportingKey, value });
    restoring = await session.createObject({ ...restoringKey, value });
    await session.logout();
    await loginAs(session, 'USER', pins.user);
    dwk = await findOne(session, DWK_LABEL);
    exported = await session.wrapKey(WRAP, exporting, dwk);
  });

  test("exports the data-wrapping key and no customer's", async () => {
    expect(exported).toHaveLength(40);
    await expect(session.wrapKey(WRAP, exporting, await generate(aes))).rejects.toEqual(
      refused('CKR_KEY_NOT_WRAPPABLE'),
    );
    const loose: Template = { class: CKO.SECRET_KEY, keyType: CKK.AES, token: false, private: true };
    await expect(
      session.wrapKey(WRAP, exporting, await generate({ ...loose, extractable: true })),
    ).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
    await expect(
      session.wrapKey(WRAP, exporting, await findOne(session, PARTITION_KEY_LABEL)),
    ).rejects.toThrow();
  });

  test('restores nothing that could be read or leave', async () => {
    for (const change of [{ sensitive: false }, { wrapWithTrusted: false }, { extractable: false }]) {
      await expect(session.unwrapKey(WRAP, restoring, exported, { ...aes, ...change })).rejects.toEqual(
        refused('CKR_TEMPLATE_INCONSISTENT'),
      );
    }
  });

  test('does one of the two only', async () => {
    await expect(session.unwrapKey(WRAP, exporting, exported, aes)).rejects.toThrow();
    await expect(session.wrapKey(WRAP, restoring, dwk)).rejects.toThrow();
  });

  test('is not read, not copied into one that decrypts, and not made by anybody but the security officer', async () => {
    for (const key of [exporting, restoring]) {
      await expect(session.getAttributes(key, ['value'])).rejects.toEqual(refused('CKR_ATTRIBUTE_SENSITIVE'));
      await expect(session.copyObject(key, { sensitive: false })).rejects.toThrow();
    }
    await expect(session.createObject({ ...exportingKey, value })).rejects.toEqual(
      refused('CKR_ATTRIBUTE_READ_ONLY'),
    );
  });
});

test("a joiner's public key exports the data-wrapping key and no customer's", async () => {
  const pins = await place.tokens.pins();
  await session.logout();
  await loginAs(session, 'SO', pins.so);
  const { joinerPublic } = await import('../../../src/instance/partition/templates.js');
  const { generateKeyPairSync } = await import('node:crypto');
  const { n } = generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey.export({ format: 'jwk' });
  const modulus = Buffer.from(n ?? '', 'base64url');
  const joiner = await session.createObject({ ...joinerPublic, modulus, publicExponent: Buffer.of(1, 0, 1) });
  await session.logout();
  await loginAs(session, 'USER', pins.user);
  dwk = await findOne(session, DWK_LABEL);
  expect(await session.wrapKey(OAEP, joiner, dwk)).toHaveLength(384);
  await expect(session.wrapKey(OAEP, joiner, await generate(aes))).rejects.toEqual(
    refused('CKR_KEY_NOT_WRAPPABLE'),
  );
  const loose: Template = { class: CKO.SECRET_KEY, keyType: CKK.AES, token: false, private: true };
  await expect(
    session.wrapKey(OAEP, joiner, await generate({ ...loose, extractable: true })),
  ).rejects.toEqual(refused('CKR_KEY_NOT_WRAPPABLE'));
});
