/** @jest-environment ./test/native/token-environment.cjs */
// RSA-OAEP composed of raw RSA in the module and unpadding in the addon, against Node's publicEncrypt.
import { constants, publicEncrypt, randomBytes } from 'node:crypto';
import type { Pkcs11Error } from '../../../src/instance/pkcs11/error.js';
import type { OaepHash } from '../../../src/instance/pkcs11/session.js';
import { rsaPair, type Pair } from './keys.js';
import { openToken, type Token } from './token.js';

let token: Token;
let rsa: Pair;

beforeAll(async () => {
  token = await openToken();
  rsa = await rsaPair(token.session);
});

afterAll(() => token.library.close());

const hashes: readonly (readonly [OaepHash, number])[] = [
  ['sha1', 20],
  ['sha256', 32],
  ['sha384', 48],
  ['sha512', 64],
];

describe.each(hashes)('%s', (hash, hashLength) => {
  test('every length that fits comes back, with and without a label', async () => {
    const longest = 256 - 2 * hashLength - 2;
    for (const label of [undefined, Buffer.from('a label')]) {
      for (const length of [0, 1, 16, longest]) {
        const plaintext = randomBytes(length);
        const key = { key: rsa.node, oaepHash: hash, ...(label && { oaepLabel: label }) };
        const encrypted = publicEncrypt(key, plaintext);
        expect(await token.session.decryptOaep(rsa.privateKey, encrypted, { hash, label })).toEqual(
          plaintext,
        );
      }
    }
  });

  test('every ciphertext that is wrong gets one and the same error', async () => {
    const good = publicEncrypt({ key: rsa.node, oaepHash: hash }, Buffer.from('secret'));
    const raw = (block: Buffer): Buffer =>
      publicEncrypt({ key: rsa.node, padding: constants.RSA_NO_PADDING }, block);
    const flipped = Array.from({ length: 8 }, (_, i) => {
      const copy = Buffer.from(good);
      copy[i * 32] = (copy[i * 32] ?? 0) ^ 1;
      return copy;
    });
    const wrong = [
      ...flipped,
      raw(Buffer.alloc(256, 0)), // a block of zeros
      raw(Buffer.concat([Buffer.of(0), randomBytes(255)])), // the first octet right, the rest not
      raw(Buffer.concat([Buffer.of(1), randomBytes(255)])), // the first octet wrong
      publicEncrypt({ key: rsa.node, oaepHash: hash, oaepLabel: Buffer.from('other') }, Buffer.from('x')),
      publicEncrypt({ key: rsa.node, padding: constants.RSA_PKCS1_PADDING }, Buffer.from('x')),
      Buffer.alloc(256, 0xff), // not below the modulus
      Buffer.alloc(255, 1),
      Buffer.alloc(257, 1),
      Buffer.alloc(0),
    ];
    for (const encrypted of wrong) {
      const error = await token.session.decryptOaep(rsa.privateKey, encrypted, { hash }).then(
        () => undefined,
        (reason: unknown) => reason as Pkcs11Error,
      );
      expect(error).toMatchObject({
        name: 'Pkcs11Error',
        symbol: 'CKR_ENCRYPTED_DATA_INVALID',
        functionName: 'C_Decrypt',
        message: 'C_Decrypt: CKR_ENCRYPTED_DATA_INVALID (0x40)',
      });
    }
    expect(await token.session.decryptOaep(rsa.privateKey, good, { hash })).toEqual(Buffer.from('secret'));
  });
});

test('what does not depend on the ciphertext is told as it is', async () => {
  const encrypted = Buffer.alloc(256, 1);
  await expect(token.session.decryptOaep(4711, encrypted, { hash: 'sha256' })).rejects.toMatchObject({
    functionName: 'C_DecryptInit',
  });
  const unknown = { hash: 'md5' as OaepHash };
  await expect(token.session.decryptOaep(rsa.privateKey, encrypted, unknown)).rejects.toMatchObject({
    name: 'TypeError',
  });
});
