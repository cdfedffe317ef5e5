// Verification of digests by the addon, with Node's own signatures as the witness.
import { constants, createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { PublicKey } from '../../../src/instance/pkcs11/public-key.js';

const curves: [name: string, openssl: string, hash: string][] = [
  ['P-256', 'prime256v1', 'sha256'],
  ['P-256K', 'secp256k1', 'sha256'],
  ['P-384', 'secp384r1', 'sha384'],
  ['P-521', 'secp521r1', 'sha512'],
];

function publicOf(key: KeyObject): PublicKey {
  return new PublicKey(key.export({ type: 'spki', format: 'der' }));
}

describe.each(curves)('ECDSA on %s', (_name, openssl, hash) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: openssl });
  const key = publicOf(publicKey);

  it('accepts exactly what Node signed', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (message, at, change) => {
          const digest = createHash(hash).update(message).digest();
          const signature = sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
          expect(key.verifySync('ECDSA', digest, signature)).toBe(true);
          const forged = Buffer.from(signature);
          const place = at % forged.length;
          forged[place] = (forged[place] ?? 0) ^ change;
          expect(key.verifySync('ECDSA', digest, forged)).toBe(false);
          const other = Buffer.from(digest);
          other[at % other.length] = (other[at % other.length] ?? 0) ^ change;
          expect(key.verifySync('ECDSA', other, signature)).toBe(false);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('refuses r and s out of range, and wrong lengths', () => {
    const digest = createHash(hash).update('m').digest();
    const signature = sign(hash, Buffer.from('m'), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const half = signature.length / 2;
    for (const bad of [
      Buffer.alloc(signature.length),
      Buffer.alloc(signature.length, 0xff),
      Buffer.concat([Buffer.alloc(half), signature.subarray(half)]),
      Buffer.concat([signature.subarray(0, half), Buffer.alloc(half)]),
      signature.subarray(1),
      Buffer.alloc(0),
    ]) {
      expect(key.verifySync('ECDSA', digest, bad)).toBe(false);
    }
  });

  it("verify: what it gives is a Promise of the caller's realm, not of the addon's", async () => {
    const checked = key.verify('ECDSA', createHash(hash).update('m').digest(), Buffer.alloc(1));
    expect(checked).toBeInstanceOf(Promise);
    expect(await checked).toBe(false);
  });

  it('says the same on another thread, many at once', async () => {
    const digest = createHash(hash).update('m').digest();
    const signature = sign(hash, Buffer.from('m'), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const wrong = Buffer.from(signature);
    wrong[7] = (wrong[7] ?? 0) ^ 1;
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => key.verify('ECDSA', digest, i % 2 === 0 ? signature : wrong)),
    );
    expect(answers).toEqual(Array.from({ length: 40 }, (_, i) => i % 2 === 0));
  });

  it('does not take an EC key for RSA', () => {
    expect(key.verifySync('PKCS1', Buffer.alloc(32, 1), Buffer.alloc(256, 1))).toBe(false);
  });
});

describe('RSA', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = publicOf(publicKey);
  const schemeOf = (algorithm: string) => (algorithm.startsWith('RS') ? 'PKCS1' : 'PSS');
  const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;

  function made(algorithm: string, message: Uint8Array): Buffer {
    const hash = `sha${algorithm.slice(2)}`;
    if (algorithm.startsWith('RS')) return sign(hash, message, privateKey);
    const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
    return sign(hash, message, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  }

  it.each(algorithms)('%s accepts exactly what Node signed', (algorithm) => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (message, at, change) => {
          const digest = createHash(`sha${algorithm.slice(2)}`)
            .update(message)
            .digest();
          const signature = made(algorithm, message);
          expect(key.verifySync(schemeOf(algorithm), digest, signature)).toBe(true);
          for (const other of algorithms) {
            if (other.slice(2) === algorithm.slice(2) && other !== algorithm) {
              expect(key.verifySync(schemeOf(other), digest, signature)).toBe(false);
            }
          }
          signature[at % 256] = (signature[at % 256] ?? 0) ^ change;
          expect(key.verifySync(schemeOf(algorithm), digest, signature)).toBe(false);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('refuses a PSS salt of another length, and values not below the modulus', () => {
    const digest = createHash('sha256').update('m').digest();
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const signature = sign('sha256', Buffer.from('m'), { key: privateKey, padding, saltLength: 20 });
    expect(key.verifySync('PSS', digest, signature)).toBe(false);
    expect(key.verifySync('PKCS1', digest, Buffer.alloc(256, 0xff))).toBe(false);
    expect(key.verifySync('PKCS1', digest, Buffer.alloc(255))).toBe(false);
  });

  it('takes no digest of another length, and no signature without end', () => {
    expect(key.verifySync('PKCS1', Buffer.alloc(20), made('RS256', Buffer.from('m')))).toBe(false);
    expect(key.verifySync('PKCS1', Buffer.alloc(32), Buffer.alloc(1_000_000))).toBe(false);
    expect(key.verifySync('PKCS1', Buffer.alloc(0), Buffer.alloc(0))).toBe(false);
  });
});

describe('what is no public key', () => {
  it('is refused with a TypeError', () => {
    // Compared by words: the class of the addon's TypeError is that of another realm under Jest.
    const refusal = /not a SubjectPublicKeyInfo|must be a Uint8Array/;
    expect(() => new PublicKey(Buffer.alloc(0))).toThrow(refusal);
    expect(() => new PublicKey(Buffer.alloc(91, 3))).toThrow(refusal);
    expect(() => new PublicKey('text' as unknown as Uint8Array)).toThrow(refusal);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const der = publicKey.export({ type: 'spki', format: 'der' });
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1; // off the curve
    expect(() => new PublicKey(der)).toThrow(refusal);
  });
});
