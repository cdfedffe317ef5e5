/** @jest-environment ./test/instance/partition/process-environment.cjs */
// The partition against a real token, its results checked with Node's crypto.
import * as crypto from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Partition } from '../../../src/instance/partition/partition.js';
import { probe } from '../../../src/instance/partition/mechanisms.js';
import type { SlotErrorCode } from '../../../src/instance/partition/slot-error.js';
import type { KeyMaterial, KeySpec, SealedKey, SignatureAlgorithm } from '../../../src/values/key-spec.js';
import { publicKeyOf } from '../../../src/values/public-key.js';
import { foundedPlace, modulePath, type Place } from './place.js';

let place: Place;
let partition: Partition;
const DESTROYED_MAX = 60;

beforeAll(async () => {
  place = await foundedPlace();
  const options = { module: modulePath, cachedKeysMax: 8, destroyedMax: DESTROYED_MAX };
  partition = await Partition.open(place.tokens, place.domain, options);
});
afterAll(async () => {
  await partition.close();
  place.remove();
});

const slotError = (code: SlotErrorCode) => expect.objectContaining({ name: 'SlotError', code }) as Error;
let count = 0;
const id = (): string => `key/${(count += 1)}`;
const message = Buffer.from('a message');

function checkSignature(key: SealedKey, algorithm: SignatureAlgorithm, signature: Uint8Array): boolean {
  if (key.public.kty === 'oct') throw new Error('symmetric');
  const object = publicKeyOf(key.public);
  const hash = `sha${algorithm.replace('K', '').slice(2)}`;
  if (algorithm.startsWith('ES')) {
    return crypto.verify(hash, message, { key: object, dsaEncoding: 'ieee-p1363' }, signature);
  }
  const padding = algorithm.startsWith('RS')
    ? crypto.constants.RSA_PKCS1_PADDING
    : crypto.constants.RSA_PKCS1_PSS_PADDING;
  const saltLength = crypto.constants.RSA_PSS_SALTLEN_DIGEST;
  const scheme = padding === crypto.constants.RSA_PKCS1_PADDING ? { padding } : { padding, saltLength };
  return crypto.verify(hash, message, { key: object, ...scheme }, signature);
}

function digestFor(algorithm: SignatureAlgorithm): Buffer {
  return crypto
    .createHash(`sha${algorithm.replace('K', '').slice(2)}`)
    .update(message)
    .digest();
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;
const signers: [KeySpec, readonly SignatureAlgorithm[]][] = [
  [{ kty: 'RSA-HSM', size: 2048, exponent: 65537 }, rsaAlgorithms],
  [{ kty: 'RSA-HSM', size: 2048, exponent: 3 }, ['RS256']],
  [{ kty: 'RSA-HSM', size: 3072, exponent: 65537 }, rsaAlgorithms],
  [{ kty: 'RSA-HSM', size: 4096, exponent: 65537 }, ['RS256', 'PS512']],
  [{ kty: 'EC-HSM', curve: 'P-256' }, ['ES256']],
  [{ kty: 'EC-HSM', curve: 'P-256K' }, ['ES256K']],
  [{ kty: 'EC-HSM', curve: 'P-384' }, ['ES384']],
  [{ kty: 'EC-HSM', curve: 'P-521' }, ['ES512']],
];

test.each(signers)(
  'generated keys: %j signs what Node verifies, from its blob alone',
  async (spec, algorithms) => {
    const key = await partition.generate(id(), spec);
    await partition.prove(key);
    for (const algorithm of algorithms) {
      const signature = await partition.sign(key, algorithm, digestFor(algorithm));
      expect([algorithm, checkSignature(key, algorithm, signature)]).toEqual([algorithm, true]);
      expect(await partition.verify(key, algorithm, digestFor(algorithm), signature)).toBe(true);
      signature[5] = (signature[5] ?? 0) ^ 1;
      expect(await partition.verify(key, algorithm, digestFor(algorithm), signature)).toBe(false);
    }
  },
);

test.each([3, 17, 65_539, 0xffff_ffff])(
  'an RSA key has the public exponent that it is said to have: %i',
  async (exponent) => {
    const key = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent });
    if (key.public.kty !== 'RSA') throw new Error('no RSA key');
    expect(publicKeyOf(key.public).asymmetricKeyDetails?.publicExponent).toBe(BigInt(exponent));
    expect(checkSignature(key, 'RS256', await partition.sign(key, 'RS256', digestFor('RS256')))).toBe(true);
  },
);

describe('RSA decryption', () => {
  let key: SealedKey;
  const schemes = [
    ['RSA1_5', { padding: crypto.constants.RSA_PKCS1_PADDING }],
    ['RSA-OAEP', { padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }],
    ['RSA-OAEP-256', { padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }],
  ] as const;
  const encrypt = (options: object, plaintext: Uint8Array): Buffer => {
    if (key.public.kty !== 'RSA') throw new Error('no RSA key');
    return crypto.publicEncrypt({ key: publicKeyOf(key.public), ...options }, plaintext);
  };

  beforeAll(async () => {
    key = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
  });

  test.each(schemes)('%s: opens what Node encrypted', async (algorithm, options) => {
    for (const plaintext of [Buffer.from('secret'), crypto.randomBytes(32), Buffer.alloc(1)]) {
      expect(await partition.decryptRsa(key, algorithm, encrypt(options, plaintext))).toEqual(plaintext);
    }
  });

  test.each(schemes)(
    '%s: whatever is wrong with a ciphertext, the error is one',
    async (algorithm, options) => {
      const good = encrypt(options, Buffer.from('secret'));
      const flipped = Buffer.from(good);
      flipped[200] = (flipped[200] ?? 0) ^ 1;
      const errors = new Set<string>();
      const other = algorithm === 'RSA-OAEP' ? schemes[2][1] : schemes[1][1];
      for (const bad of [
        flipped,
        good.subarray(1),
        Buffer.concat([good, Buffer.alloc(1)]),
        Buffer.alloc(256),
        Buffer.alloc(256, 0xff),
        Buffer.alloc(0),
        encrypt(other, Buffer.from('x')),
      ]) {
        await partition.decryptRsa(key, algorithm, bad).then(
          () => errors.add('opened'),
          (error: unknown) => {
            const { code, message: words } = error as Error & { code?: string };
            errors.add(`${code ?? ''} ${words}`);
          },
        );
      }
      expect([...errors]).toEqual(['BadCiphertext the ciphertext does not open']);
      expect(await partition.decryptRsa(key, algorithm, good)).toEqual(Buffer.from('secret'));
    },
  );
});

describe.each([128, 192, 256])('AES-%i', (size) => {
  const secret = crypto.randomBytes(size / 8);
  const iv = crypto.randomBytes(16);
  let key: SealedKey;

  beforeAll(async () => {
    key = await partition.importKey(id(), { kty: 'oct', k: secret });
    await partition.prove(key);
  });

  test('GCM is what Node decrypts, and nothing is given out under a wrong tag', async () => {
    for (const aad of [undefined, Buffer.from('context')]) {
      const { ciphertext, iv: nonce, tag } = await partition.encryptAesGcm(key, message, aad);
      const decipher = crypto
        .createDecipheriv(`aes-${size}-gcm` as crypto.CipherGCMTypes, secret, nonce)
        .setAuthTag(tag);
      if (aad) decipher.setAAD(aad);
      expect(Buffer.concat([decipher.update(ciphertext), decipher.final()])).toEqual(message);
      expect(await partition.decryptAesGcm(key, ciphertext, nonce, tag, aad)).toEqual(message);
      const wrong = Buffer.from(tag);
      wrong[0] = (wrong[0] ?? 0) ^ 1;
      await expect(async () => partition.decryptAesGcm(key, ciphertext, nonce, wrong, aad)).rejects.toEqual(
        slotError('BadCiphertext'),
      );
      await expect(async () =>
        partition.decryptAesGcm(key, ciphertext, nonce, tag.subarray(4), aad),
      ).rejects.toEqual(slotError('BadCiphertext'));
    }
    const nonces = new Set<string>();
    for (let i = 0; i < 50; i += 1)
      nonces.add((await partition.encryptAesGcm(key, message)).iv.toString('hex'));
    expect(nonces.size).toBe(50);
  });

  test('CBC with and without padding is what Node makes', async () => {
    for (const [padded, plaintext] of [
      [true, message],
      [true, Buffer.alloc(32, 3)],
      [false, Buffer.alloc(32, 3)],
    ] as const) {
      const cipher = crypto.createCipheriv(`aes-${size}-cbc`, secret, iv).setAutoPadding(padded);
      const expected = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      expect(await partition.encryptAesCbc(key, padded, iv, plaintext)).toEqual(expected);
      expect(await partition.decryptAesCbc(key, padded, iv, expected)).toEqual(plaintext);
    }
    await expect(async () => partition.decryptAesCbc(key, true, iv, Buffer.alloc(32, 9))).rejects.toEqual(
      slotError('BadCiphertext'),
    );
    await expect(async () => partition.decryptAesCbc(key, true, iv, Buffer.alloc(15))).rejects.toEqual(
      slotError('BadCiphertext'),
    );
  });

  test('key wrap is RFC 3394, and what does not unwrap is one error', async () => {
    for (const length of [16, 24, 32, 40, 64]) {
      const target = crypto.randomBytes(length);
      const cipher = crypto.createCipheriv(`id-aes${size}-wrap`, secret, Buffer.alloc(8, 0xa6));
      const expected = Buffer.concat([cipher.update(target), cipher.final()]);
      expect(await partition.wrapAes(key, target, false)).toEqual(expected);
      expect(await partition.unwrapAes(key, expected, false)).toEqual(target);
      expected[3] = (expected[3] ?? 0) ^ 1;
      await expect(partition.unwrapAes(key, expected, false)).rejects.toEqual(slotError('BadCiphertext'));
    }
  });

  test('key wrap with padding is RFC 5649 for every length, and what does not unwrap is one error', async () => {
    for (const length of [1, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 64, 100, 1217, 4096]) {
      const target = crypto.randomBytes(length);
      const cipher = crypto.createCipheriv(`id-aes${size}-wrap-pad`, secret, Buffer.from('a65959a6', 'hex'));
      const expected = Buffer.concat([cipher.update(target), cipher.final()]);
      expect(await partition.wrapAes(key, target, true)).toEqual(expected);
      expect(await partition.unwrapAes(key, expected, true)).toEqual(target);
      expected[3] = (expected[3] ?? 0) ^ 1;
      await expect(partition.unwrapAes(key, expected, true)).rejects.toEqual(slotError('BadCiphertext'));
    }
  });
});

describe('import', () => {
  const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = rsa.privateKey.export({ format: 'jwk' });
  const part = (name: keyof typeof jwk): Buffer => Buffer.from(String(jwk[name]), 'base64url');
  const rsaMaterial = {
    kty: 'RSA',
    n: part('n'),
    e: part('e'),
    d: part('d'),
    p: part('p'),
    q: part('q'),
    dp: part('dp'),
    dq: part('dq'),
    qi: part('qi'),
  } as const satisfies KeyMaterial;

  test('RSA: the key signs as Node does, with leading zero octets or without', async () => {
    const padded = { ...rsaMaterial, p: Buffer.concat([Buffer.alloc(1), rsaMaterial.p]) };
    const key = await partition.importKey(id(), padded);
    expect(key.spec).toEqual({ kty: 'RSA-HSM', size: 2048, exponent: 65537 });
    const expected = crypto.sign('sha256', message, rsa.privateKey);
    expect(await partition.sign(key, 'RS256', digestFor('RS256'))).toEqual(expected);
  });

  test('RSA: bytes as they are get PKCS #1 v1.5 padding and are signed as Node does it', async () => {
    const key = await partition.importKey(id(), rsaMaterial);
    for (const data of [Buffer.of(1), message, Buffer.alloc(245, 7)]) {
      expect(await partition.signRaw(key, data)).toEqual(crypto.privateEncrypt(rsa.privateKey, data));
    }
    await expect(partition.signRaw(key, Buffer.alloc(246))).rejects.toEqual(slotError('SlotFailed'));
  });

  test.each([
    ['P-256', 'prime256v1', 'ES256'],
    ['P-256K', 'secp256k1', 'ES256K'],
    ['P-384', 'secp384r1', 'ES384'],
    ['P-521', 'secp521r1', 'ES512'],
  ] as const)('EC %s: the key signs under its own point', async (curve, openssl, algorithm) => {
    const pair = crypto.generateKeyPairSync('ec', { namedCurve: openssl });
    const { x, y, d } = pair.privateKey.export({ format: 'jwk' });
    const bytes = (text: string | undefined) => Buffer.from(text ?? '', 'base64url');
    const material = { kty: 'EC', curve, x: bytes(x), y: bytes(y), d: bytes(d) } as const;
    const key = await partition.importKey(id(), material);
    await partition.prove(key);
    const signature = await partition.sign(key, algorithm, digestFor(algorithm));
    expect(checkSignature(key, algorithm, signature)).toBe(true);
    await expect(partition.importKey(id(), { ...material, x: material.y, y: material.x })).rejects.toEqual(
      slotError('BadKeyMaterial'),
    );
    await expect(
      partition.importKey(id(), { ...material, d: Buffer.alloc(d?.length ?? 0, 0xff) }),
    ).rejects.toEqual(slotError('BadKeyMaterial'));
  });

  const odd = Buffer.concat([rsaMaterial.p.subarray(0, -1), Buffer.of((rsaMaterial.p.at(-1) ?? 0) ^ 2)]);
  test.each<[string, Partial<typeof rsaMaterial>]>([
    ['a prime of another key', { p: odd }],
    ['another private exponent', { d: rsaMaterial.dp }],
    ['dp and dq exchanged', { dp: rsaMaterial.dq, dq: rsaMaterial.dp }],
    ['a wrong coefficient', { qi: rsaMaterial.dp }],
    ['an even public exponent', { e: Buffer.of(4) }],
    ['public exponent 1', { e: Buffer.of(1) }],
    ['a modulus of 1024 bits', { n: rsaMaterial.n.subarray(0, 128) }],
    ['equal primes', { q: rsaMaterial.p }],
    ['zero', { n: Buffer.alloc(256) }],
    ['nothing', { n: Buffer.alloc(0) }],
  ])('RSA with %s is refused', async (_what, change) => {
    await expect(partition.importKey(id(), { ...rsaMaterial, ...change })).rejects.toEqual(
      slotError('BadKeyMaterial'),
    );
  });

  test.each([0, 1, 15, 17, 31, 65])('a symmetric key of %i bytes is refused', async (length) => {
    await expect(partition.importKey(id(), { kty: 'oct', k: Buffer.alloc(length, 1) })).rejects.toEqual(
      slotError('BadKeyMaterial'),
    );
  });
});

describe('HMAC', () => {
  const hashOf = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' } as const;

  test.each([
    [32, ['HS256']],
    [33, ['HS256']],
    [48, ['HS256', 'HS384']],
    [61, ['HS256', 'HS384']],
    [64, ['HS256', 'HS384', 'HS512']],
  ] as const)('a key of %i bytes makes the MACs that Node makes: %j', async (length, algorithms) => {
    const k = crypto.randomBytes(length);
    const key = await partition.importKey(id(), { kty: 'oct', k });
    expect(key.spec).toEqual({ kty: 'oct-HSM', size: length * 8 });
    await partition.prove(key);
    for (const algorithm of algorithms) {
      for (const data of [message, Buffer.of(0), crypto.randomBytes(5000)]) {
        const expected = crypto.createHmac(hashOf[algorithm], k).update(data).digest();
        expect(await partition.mac(key, algorithm, data)).toEqual(expected);
      }
    }
  });

  test('one key of 256 bits serves AES and HMAC, and both forms are forgotten with it', async () => {
    const k = crypto.randomBytes(32);
    const key = await partition.importKey(id(), { kty: 'oct', k });
    await partition.wrapAes(key, Buffer.alloc(16), false);
    expect(await partition.mac(key, 'HS256', message)).toEqual(
      crypto.createHmac('sha256', k).update(message).digest(),
    );
    const open = partition.cachedKeys;
    partition.forget(key.id);
    expect(partition.cachedKeys).toBe(open - 2);
  });

  test('a key that is proven but not to be used soon is not left open, and is proven all the same', async () => {
    const key = await partition.importKey(id(), { kty: 'oct', k: crypto.randomBytes(32) });
    const other = await partition.importKey(id(), { kty: 'oct', k: crypto.randomBytes(32) });
    partition.forget(key.id);
    const open = partition.cachedKeys;
    await partition.prove(key, false);
    expect(partition.cachedKeys).toBe(open);
    await expect(partition.prove({ ...key, blob: other.blob }, false)).rejects.toEqual(
      slotError('SlotFailed'),
    );
    await partition.prove(key);
    expect(partition.cachedKeys).toBe(open + 1);
  });

  test('a generated key of 512 bits is sealed, proven and used, and no other passes for it', async () => {
    const key = await partition.generate(id(), { kty: 'oct-HSM', size: 512 });
    const other = await partition.generate(id(), { kty: 'oct-HSM', size: 512 });
    await partition.prove(key);
    expect(await partition.mac(key, 'HS512', message)).toHaveLength(64);
    await expect(partition.prove({ ...key, blob: other.blob })).rejects.toEqual(slotError('SlotFailed'));
  });
});

describe('exportable keys', () => {
  const specs: KeySpec[] = [
    { kty: 'EC-HSM', curve: 'P-256' },
    { kty: 'oct-HSM', size: 256 },
    { kty: 'RSA-HSM', size: 2048, exponent: 65537 },
  ];

  test('wait for the export-wrapping key', async () => {
    await expect(partition.generate(id(), { kty: 'oct-HSM', size: 256 }, true)).rejects.toEqual(
      slotError('SlotFailed'),
    );
  });

  test.each(specs)('%j is sealed under that key, proven and used', async (spec) => {
    partition.learnExportKey(
      await partition.generate('internal/export-wrapping', { kty: 'oct-HSM', size: 256 }),
    );
    const key = await partition.generate(id(), spec, true);
    expect(key.exportable).toBe(true);
    await partition.prove(key);
    if (spec.kty === 'EC-HSM') {
      const signature = await partition.sign(key, 'ES256', digestFor('ES256'));
      expect(checkSignature(key, 'ES256', signature)).toBe(true);
    }
    // Neither wrapping key opens what the other has wrapped.
    const { id: ownId, spec: ownSpec, public: shown, blob } = key;
    await expect(partition.prove({ id: ownId, spec: ownSpec, public: shown, blob })).rejects.toEqual(
      slotError('SlotFailed'),
    );
    const kept = await partition.generate(id(), spec);
    await expect(partition.prove({ ...kept, exportable: true })).rejects.toEqual(slotError('SlotFailed'));
  });
});

describe('proving', () => {
  test('a blob that is tampered with, cut or exchanged is not proven', async () => {
    const specs: KeySpec[] = [
      { kty: 'EC-HSM', curve: 'P-256' },
      { kty: 'oct-HSM', size: 256 },
      { kty: 'RSA-HSM', size: 2048, exponent: 65537 },
    ];
    for (const spec of specs) {
      const key = await partition.generate(id(), spec);
      const other = await partition.generate(id(), spec);
      const flipped = Buffer.from(key.blob);
      flipped[9] = (flipped[9] ?? 0) ^ 1;
      for (const blob of [flipped, key.blob.subarray(0, -8), Buffer.alloc(0), other.blob]) {
        await expect(partition.prove({ ...key, blob })).rejects.toEqual(slotError('SlotFailed'));
      }
      await partition.prove(key);
    }
  });
});

describe('the cache and the module', () => {
  test('more keys than are kept open all work, many at once', async () => {
    const keys = await Promise.all(
      Array.from({ length: 30 }, () => partition.generate(id(), { kty: 'EC-HSM', curve: 'P-256' })),
    );
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(
        keys.map(async (key) => {
          const signature = await partition.sign(key, 'ES256', digestFor('ES256'));
          expect(checkSignature(key, 'ES256', signature)).toBe(true);
        }),
      );
    }
    expect(partition.cachedKeys).toBeLessThanOrEqual(8);
  });

  test('the module is recycled under load, and no request fails', async () => {
    const rsa = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
    const ec = await partition.generate(id(), { kty: 'EC-HSM', curve: 'P-384' });
    const aes = await partition.generate(id(), { kty: 'oct-HSM', size: 256 });
    // Each raw wrap destroys an object: so many that the module is recycled several times.
    const lanes = Array.from({ length: 6 }, async () => {
      for (let i = 0; i < DESTROYED_MAX; i += 1) {
        const secret = crypto.randomBytes(32);
        expect(await partition.unwrapAes(aes, await partition.wrapAes(aes, secret, false), false)).toEqual(
          secret,
        );
        const signature = await partition.sign(ec, 'ES384', digestFor('ES384'));
        expect(signature).toHaveLength(96);
        if (i % 10 === 0) expect(await partition.sign(rsa, 'RS256', digestFor('RS256'))).toHaveLength(256);
      }
    });
    await Promise.all(lanes);
  });

  test('a key that is forgotten in the middle of its use is still used to the end', async () => {
    const key = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
    const signatures = Array.from({ length: 8 }, async () =>
      partition.sign(key, 'RS256', digestFor('RS256')),
    );
    partition.forget(key.id);
    for (const signature of await Promise.all(signatures)) {
      expect(checkSignature(key, 'RS256', signature)).toBe(true);
    }
  });

  test('what it derives is stable, and differs by purpose', async () => {
    expect(await partition.deriveSecret('a')).toEqual(await partition.deriveSecret('a'));
    expect(await partition.deriveSecret('a')).not.toEqual(await partition.deriveSecret('b'));
    expect(await partition.deriveSecret('a')).toHaveLength(32);
  });

  test('a module that lacks a mechanism is refused by name', () => {
    expect(() => probe([])).toThrow(/lacks .*CKM_AES_KEY_WRAP_PAD/);
    expect(partition.capabilities.composed['RSA-OAEP-256']).toMatch(/CKM_RSA_X_509/);
  });
});

describe('on the disk', () => {
  test('the golden token is not touched by all of this, and PINs are for the owner only', async () => {
    const golden = join(place.directory, 'golden', place.domain);
    const read = () =>
      readdirSync(golden, { recursive: true, encoding: 'utf8' })
        .filter((file) => statSync(join(golden, file)).isFile())
        .map((file) => [
          file,
          statSync(join(golden, file)).mtimeMs,
          readFileSync(join(golden, file)).toString('hex'),
        ]);
    const before = read();
    const key = await partition.generate(id(), { kty: 'EC-HSM', curve: 'P-256' });
    await partition.sign(key, 'ES256', digestFor('ES256'));
    expect(read()).toEqual(before);
    expect(before.length).toBeGreaterThan(3);
    expect(statSync(join(place.directory, 'pins.json')).mode & 0o777).toBe(0o600);
  });
});
