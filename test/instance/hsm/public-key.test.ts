import { constants, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { encryptFor } from '../../../src/instance/hsm/public-key.js';
import type { KeyVersion } from '../../../src/instance/model/keys/records.js';

test('RSA encryption: what is encrypted for a key, Node decrypts', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { n, e } = publicKey.export({ format: 'jwk' });
  const [modulus, exponent] = [n, e].map((part) => Buffer.from(part ?? '', 'base64url'));
  const key = { id: 'k/1', public: { kty: 'RSA', n: modulus, e: exponent } } as unknown as KeyVersion;
  const plaintext = Buffer.from('secret');
  const oaep = { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING };
  const encrypted = encryptFor(key, 'RSA-OAEP', plaintext);
  expect(privateDecrypt({ ...oaep, oaepHash: 'sha1' }, encrypted)).toEqual(plaintext);
  const encrypted256 = encryptFor(key, 'RSA-OAEP-256', plaintext);
  expect(privateDecrypt({ ...oaep, oaepHash: 'sha256' }, encrypted256)).toEqual(plaintext);
});
