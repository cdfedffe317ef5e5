// Which clear keys are keys. The real ones are Node's; each bad one differs from a real one in one thing.
import { generatePrimeSync } from 'node:crypto';
import { examine, wipeMaterial } from '../../../src/instance/partition/key-material.js';
import type { Curve, KeyMaterial } from '../../../src/values/key-spec.js';
import { ecMaterial, rsaMaterial, toInteger, toOctets, type RsaMaterial } from './material.js';

const { material: rsa } = rsaMaterial();
const { material: otherRsa } = rsaMaterial();
const { material: ec } = ecMaterial('P-256');
const { material: otherEc } = ecMaterial('P-256');

function plusOne(octets: Uint8Array): Buffer {
  return toOctets(toInteger(octets) + 1n);
}

/** A key that is consistent in itself, made of any two factors. */
function rsaOf(p: bigint, q: bigint, e: bigint): RsaMaterial {
  const inverse = (a: bigint, modulus: bigint): bigint => {
    let [r0, r1, t0, t1] = [modulus, a % modulus, 0n, 1n];
    while (r1 !== 0n) [r0, r1, t0, t1] = [r1, r0 % r1, t1, t0 - (r0 / r1) * t1];
    return ((t0 % modulus) + modulus) % modulus;
  };
  const d = inverse(e, (p - 1n) * (q - 1n));
  return {
    kty: 'RSA',
    n: toOctets(p * q),
    e: toOctets(e),
    d: toOctets(d),
    p: toOctets(p),
    q: toOctets(q),
    dp: toOctets(d % (p - 1n)),
    dq: toOctets(d % (q - 1n)),
    qi: toOctets(inverse(q, p)),
  };
}

/** The same key without leading zero octets. */
function shortest(material: RsaMaterial): RsaMaterial {
  const integers = Object.entries(material).filter(([name]) => name !== 'kty') as [string, Uint8Array][];
  const parts = integers.map(([name, octets]) => [name, toOctets(toInteger(octets))] as const);
  return { ...material, ...Object.fromEntries(parts) };
}

function prime(bits: number): bigint {
  return generatePrimeSync(bits, { bigint: true });
}

/** As long as a prime of a 2048-bit key, top bits set, and a product. */
const product = (() => {
  for (;;) {
    const candidate = prime(512) * prime(512);
    if (candidate >> 1022n === 3n && (candidate - 1n) % 65_537n !== 0n) return candidate;
  }
})();
const goodPrime = (() => {
  for (;;) {
    const candidate = prime(1024);
    if (candidate >> 1022n === 3n) return candidate;
  }
})();

describe('key material: what is a key', () => {
  test.each([
    [2048, 65_537],
    [3072, 65_537],
    [2048, 3],
  ])('RSA of %i bits with the exponent %i', async (size, exponent) => {
    const { material } = rsaMaterial(size, exponent);
    expect((await examine(material)).spec).toEqual({ kty: 'RSA-HSM', size, exponent });
  });

  test.each(['P-256', 'P-256K', 'P-384', 'P-521'] as const)('a key on %s', async (curve) => {
    const { material } = ecMaterial(curve);
    const examined = await examine(material);
    expect(examined).toEqual({ spec: { kty: 'EC-HSM', curve }, material });
  });

  test.each([128, 192, 256, 264, 512])('%i bits for AES or for HMAC', async (size) => {
    const material: KeyMaterial = { kty: 'oct', k: Buffer.alloc(size / 8, 1) };
    expect((await examine(material)).spec).toEqual({ kty: 'oct-HSM', size });
  });

  test('leading zeros are no part of an integer, and coordinates are as long as the field', async () => {
    const zero = (octets: Uint8Array) => Buffer.concat([Buffer.alloc(3), octets]);
    const longer: RsaMaterial = {
      ...rsa,
      n: zero(rsa.n),
      e: zero(rsa.e),
      p: zero(rsa.p),
      d: zero(rsa.d),
      qi: zero(rsa.qi),
    };
    expect((await examine(longer)).material).toEqual(shortest(rsa));
    const { material } = await examine({ ...ec, x: zero(ec.x), d: zero(ec.d) });
    expect(material).toEqual(ec);
  });

  test('what is handed on is a copy that can be wiped without harm to what was given', async () => {
    const { material } = await examine(rsa);
    wipeMaterial(material);
    if (material.kty !== 'RSA') throw new Error('an RSA key');
    for (const part of [material.d, material.p, material.q, material.dp, material.dq, material.qi])
      expect(part.every((octet) => octet === 0)).toBe(true);
    expect(material.n).toEqual(rsa.n);
    expect((await examine(rsa)).spec.kty).toBe('RSA-HSM');
    wipeMaterial((await examine(ec)).material);
    expect((await examine(ec)).material).toEqual(ec);
  });
});

describe('key material: what is none', () => {
  const otherCurve: Curve = 'P-256K';
  const wrong: readonly (readonly [what: string, material: () => KeyMaterial, why: RegExp])[] = [
    ['RSA of 1024 bits', () => rsaMaterial(1024).material, /modulus of other than/],
    ['RSA of 2047 bits', () => ({ ...rsa, n: toOctets(toInteger(rsa.n) >> 1n) }), /modulus of other than/],
    ['RSA with an empty modulus', () => ({ ...rsa, n: Buffer.alloc(0) }), /modulus of other than/],
    ['an even exponent', () => ({ ...rsa, e: plusOne(rsa.e) }), /exponent that is even/],
    ['the exponent 1', () => ({ ...rsa, e: Buffer.of(1) }), /exponent that is even/],
    ['no exponent', () => ({ ...rsa, e: Buffer.alloc(0) }), /exponent that is even/],
    ['an exponent of 40 bits', () => ({ ...rsa, e: Buffer.of(1, 0, 0, 0, 1) }), /exponent that is even/],
    ['another exponent', () => ({ ...rsa, e: Buffer.of(3) }), /do not belong together/],
    ["another key's modulus", () => ({ ...rsa, n: otherRsa.n }), /p times q/],
    ["another key's prime", () => ({ ...rsa, p: otherRsa.p }), /p times q/],
    ['a factor of one', () => ({ ...rsa, p: Buffer.of(1), q: rsa.n }), /p times q/],
    ['the other factor of one', () => ({ ...rsa, q: Buffer.of(1), p: rsa.n }), /p times q/],
    ['a factor of zero', () => ({ ...rsa, p: Buffer.of(0) }), /p times q/],
    [
      'equal factors',
      () => ({ ...rsa, n: toOctets(goodPrime ** 2n), p: toOctets(goodPrime), q: toOctets(goodPrime) }),
      /p times q/,
    ],
    ["another key's private exponent", () => ({ ...rsa, d: otherRsa.d }), /do not belong together/],
    ['no private exponent', () => ({ ...rsa, d: Buffer.alloc(0) }), /do not belong together/],
    ['a wrong dp', () => ({ ...rsa, dp: plusOne(rsa.dp) }), /do not belong together/],
    ['a wrong dq', () => ({ ...rsa, dq: plusOne(rsa.dq) }), /do not belong together/],
    ['a wrong qi', () => ({ ...rsa, qi: plusOne(rsa.qi) }), /do not belong together/],
    [
      'swapped primes with the old qi',
      () => ({ ...rsa, p: rsa.q, q: rsa.p, dp: rsa.dq, dq: rsa.dp }),
      /do not belong together/,
    ],
    [
      'a parameter longer than the modulus',
      () => ({ ...rsa, d: Buffer.alloc(257, 1) }),
      /longer than the modulus/,
    ],
    ['a factor that is not prime', () => rsaOf(product, goodPrime, 65_537n), /factor that is not prime/],
    ['the other factor not prime', () => rsaOf(goodPrime, product, 65_537n), /factor that is not prime/],
    ["another key's point", () => ({ ...ec, x: otherEc.x, y: otherEc.y }), /point that does not belong/],
    ['a point beside the curve', () => ({ ...ec, y: plusOne(ec.y) }), /point that does not belong|too long/],
    ['the point mirrored', () => ({ ...ec, y: otherEc.y }), /point that does not belong/],
    ['no point', () => ({ ...ec, x: Buffer.alloc(0), y: Buffer.alloc(0) }), /point that does not belong/],
    ['another curve', () => ({ ...ec, curve: otherCurve }), /point that does not belong|outside the order/],
    ['a private value of zero', () => ({ ...ec, d: Buffer.alloc(32) }), /outside the order/],
    ['a private value beyond the order', () => ({ ...ec, d: Buffer.alloc(32, 0xff) }), /outside the order/],
    ['a private value too long', () => ({ ...ec, d: Buffer.alloc(33, 1) }), /too long for P-256/],
    ['a coordinate too long', () => ({ ...ec, x: Buffer.alloc(33, 1) }), /too long for P-256/],
    ...[0, 8, 17 * 8, 160, 248, 520].map(
      (size) =>
        [
          `a symmetric key of ${size} bits`,
          (): KeyMaterial => ({ kty: 'oct', k: Buffer.alloc(size / 8) }),
          /AES keys have/,
        ] as const,
    ),
  ];

  test.each(wrong)('%s', async (_what, material, why) => {
    const error: unknown = await examine(material()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'SlotError', code: 'BadKeyMaterial' });
    expect(error).toHaveProperty('message', expect.stringMatching(why));
  });

  test('the key of two sound factors is taken, so that the others are refused for what they lack', async () => {
    const q = (() => {
      for (;;) {
        const candidate = prime(1024);
        if (candidate >> 1022n === 3n) return candidate;
      }
    })();
    expect((await examine(rsaOf(goodPrime, q, 65_537n))).spec).toMatchObject({ size: 2048 });
  });
});
