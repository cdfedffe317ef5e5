// Verification of digests, with Node's own signatures as the witness.
import {
  constants,
  createHash,
  generateKeyPairSync,
  privateDecrypt,
  sign,
  type KeyObject,
} from 'node:crypto';
import fc from 'fast-check';
import { verifyEcdsa } from '../../../src/instance/hsm/ecdsa.js';
import { encryptFor, verifyDigest } from '../../../src/instance/hsm/public-key.js';
import type { KeyVersion } from '../../../src/instance/model/keys/records.js';
import type { Curve, PublicPart, SignatureAlgorithm } from '../../../src/values/key-spec.js';

const curves: [Curve, string, string][] = [
  ['P-256', 'prime256v1', 'sha256'],
  ['P-256K', 'secp256k1', 'sha256'],
  ['P-384', 'secp384r1', 'sha384'],
  ['P-521', 'secp521r1', 'sha512'],
];

function bytes(text: string | undefined): Buffer {
  return Buffer.from(text ?? '', 'base64url');
}

function ecPart(curve: Curve, key: KeyObject): Extract<PublicPart, { kty: 'EC' }> {
  const { x, y } = key.export({ format: 'jwk' });
  return { kty: 'EC', curve, x: bytes(x), y: bytes(y) };
}

describe.each(curves)('ECDSA on %s', (curve, openssl, hash) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: openssl });
  const part = ecPart(curve, publicKey);

  it('accepts exactly what Node signed', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (message, at, change) => {
          const digest = createHash(hash).update(message).digest();
          const signature = sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
          expect(verifyEcdsa(part, digest, signature)).toBe(true);
          const forged = Buffer.from(signature);
          const place = at % forged.length;
          forged[place] = (forged[place] ?? 0) ^ change;
          expect(verifyEcdsa(part, digest, forged)).toBe(false);
          const other = Buffer.from(digest);
          other[at % other.length] = (other[at % other.length] ?? 0) ^ change;
          expect(verifyEcdsa(part, other, signature)).toBe(false);
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
      expect(verifyEcdsa(part, digest, bad)).toBe(false);
    }
  });

  it('does not take a signature for the negated digest', () => {
    // Guards the sign of the shift: an implementation that knows points by x alone would accept it.
    const order = { 'P-256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n };
    if (!(curve in order)) return;
    const digest = createHash(hash).update('m').digest();
    const signature = sign(hash, Buffer.from('m'), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const negated = order['P-256'] - BigInt(`0x${digest.toString('hex')}`);
    if (negated < 0n) return;
    const bytesOf = Buffer.from(negated.toString(16).padStart(64, '0'), 'hex');
    expect(verifyEcdsa(part, bytesOf, signature)).toBe(false);
  });
});

describe('RSA', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { n, e } = publicKey.export({ format: 'jwk' });
  const key = {
    id: 'k/1',
    spec: { kty: 'RSA-HSM', size: 2048, exponent: 65537 },
    public: { kty: 'RSA', n: bytes(n), e: bytes(e) },
  } as unknown as KeyVersion;
  const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;

  function made(algorithm: SignatureAlgorithm, message: Uint8Array): Buffer {
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
          expect(verifyDigest(key, algorithm, digest, signature)).toBe(true);
          for (const other of algorithms) {
            if (other.slice(2) === algorithm.slice(2) && other !== algorithm) {
              expect(verifyDigest(key, other, digest, signature)).toBe(false);
            }
          }
          signature[at % 256] = (signature[at % 256] ?? 0) ^ change;
          expect(verifyDigest(key, algorithm, digest, signature)).toBe(false);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('refuses a PSS salt of another length, and values not below the modulus', () => {
    const digest = createHash('sha256').update('m').digest();
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const signature = sign('sha256', Buffer.from('m'), { key: privateKey, padding, saltLength: 20 });
    expect(verifyDigest(key, 'PS256', digest, signature)).toBe(false);
    expect(verifyDigest(key, 'RS256', digest, Buffer.alloc(256, 0xff))).toBe(false);
    expect(verifyDigest(key, 'RS256', digest, Buffer.alloc(255))).toBe(false);
  });

  it('encrypts so that Node decrypts', () => {
    const plaintext = Buffer.from('secret');
    const oaep = { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING };
    expect(privateDecrypt({ ...oaep, oaepHash: 'sha1' }, encryptFor(key, 'RSA-OAEP', plaintext))).toEqual(
      plaintext,
    );
    expect(
      privateDecrypt({ ...oaep, oaepHash: 'sha256' }, encryptFor(key, 'RSA-OAEP-256', plaintext)),
    ).toEqual(plaintext);
  });
});
