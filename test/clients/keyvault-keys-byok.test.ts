// Import of wrapped keys with @azure/keyvault-keys, unchanged: the file goes in `t` of the JWK, the HSM token.
import { createCipheriv, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { pkcs8, wrapFor } from '../instance/partition/wrapped.js';
import { TestPool } from '../scenarios/pool.js';
import { isSignature, publicKeyOf } from '../scenarios/witness.js';
import { told as tell } from './programs/told.js';
import type { Refused, Shown } from './programs/told.js';

interface Told {
  readonly exchange: Shown;
  readonly imported: {
    readonly message: string;
    readonly keys: Readonly<Record<string, Shown & { readonly made: string }>>;
  };
  readonly refused: Refused;
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p521 = generateKeyPairSync('ec', { namedCurve: 'secp521r1' });
const secret = randomBytes(32);

describe('import of wrapped keys', () => {
  let pool: TestPool;
  let exchange: Shown;
  let told: Told;

  const fileFor = (kek: KeyObject, plaintext: Uint8Array): string => {
    const { aes, target } = wrapFor(kek, plaintext);
    const header = { kid: exchange.id, alg: 'dir', enc: 'CKM_RSA_AES_KEY_WRAP' };
    const ciphertext = Buffer.concat([aes, target]).toString('base64url');
    const file = { schema_version: '1.0.0', header, ciphertext, generator: 'a test' };
    return Buffer.from(JSON.stringify(file)).toString('base64');
  };

  beforeAll(async () => {
    pool = await TestPool.start();
    ({ exchange } = await tell<Told>(pool, 'byok.mjs', ['exchange']));
    const kek = publicKeyOf(exchange.jwk);
    const files = {
      rsa: { kty: 'RSA-HSM', algorithm: 'PS256', file: fileFor(kek, pkcs8(rsa.privateKey)) },
      ec: { kty: 'EC-HSM', crv: 'P-521', algorithm: 'ES512', file: fileFor(kek, pkcs8(p521.privateKey)) },
      oct: { kty: 'oct-HSM', algorithm: 'A256KW', file: fileFor(kek, secret) },
    };
    const refused = { kty: 'RSA-HSM', file: fileFor(kek, secret) };
    told = await tell<Told>(pool, 'byok.mjs', ['imported', 'refused'], { files, refused });
  });
  afterAll(() => pool.remove());

  it('the SDK makes the exchange key', () => {
    expect([exchange.type, exchange.operations]).toEqual(['RSA-HSM', ['import']]);
  });

  it('the keys are those that were wrapped, and sign and wrap as they did', () => {
    const { message, keys } = told.imported;
    const data = Buffer.from(message, 'base64');
    for (const [name, pair, algorithm] of [
      ['rsa', rsa, 'PS256'],
      ['ec', p521, 'ES512'],
    ] as const) {
      const key = keys[name];
      if (!key) throw new Error(`no ${name}`);
      expect(publicKeyOf(key.jwk).equals(pair.publicKey)).toBe(true);
      const made = Buffer.from(key.made, 'base64');
      expect(isSignature(algorithm, pair.publicKey, data, made)).toBe(true);
    }
    const cipher = createCipheriv('id-aes256-wrap', secret, Buffer.alloc(8, 0xa6));
    const wrapped = Buffer.concat([cipher.update(data.subarray(0, 32)), cipher.final()]);
    expect(keys['oct']?.made).toBe(wrapped.toString('base64'));
    expect(keys['oct']?.type).toBe('oct-HSM');
  });

  it('a key of another type is refused as bad input', () => {
    expect(told.refused).toMatchObject({ status: 400, code: 'BadParameter' });
  });
});
