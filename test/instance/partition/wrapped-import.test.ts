/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Wrapped keys against a real token: what is accepted is the key that was wrapped, what is not is refused in one form,
// and nothing of either is in clear outside the slot. The other HSM is Node's crypto.
import {
  createECDH,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify,
} from 'node:crypto';
import { Partition } from '../../../src/instance/partition/partition.js';
import type { WrappedKey, WrappedKind } from '../../../src/instance/partition/wrapped-import.js';
import { CKM, CKO, CKR } from '../../../src/instance/pkcs11/constants.js';
import { Pkcs11Error } from '../../../src/instance/pkcs11/error.js';
import { Session } from '../../../src/instance/pkcs11/session.js';
import { coordinateLength, type Curve, type SealedKey } from '../../../src/values/key-spec.js';
import { ecMaterial, opensslCurve, rsaMaterial, toInteger, toOctets } from './material.js';
import { foundedPlace, modulePath, type Place } from './place.js';
import { ecPkcs8, pkcs8, publicHalf, rsaPkcs8, sealAes, wrapFor } from './wrapped.js';

let place: Place;
let partition: Partition;
let kek: SealedKey;
let count = 0;
const id = (): string => `key/${(count += 1)}`;

const RSA: WrappedKind = { kty: 'RSA-HSM' };
const OCT: WrappedKind = { kty: 'oct-HSM' };
const ec = (curve: Curve): WrappedKind => ({ kty: 'EC-HSM', curve });
const curves = Object.keys(coordinateLength) as Curve[];
const message = Buffer.from('a message');
const digest = createHash('sha256').update(message).digest();

beforeAll(async () => {
  place = await foundedPlace();
  partition = await Partition.open(place.tokens, place.domain, { module: modulePath });
  kek = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
  partition.learnExportKey(await partition.generate(id(), { kty: 'oct-HSM', size: 256 }));
});
afterAll(async () => {
  await partition.close();
  place.remove();
});
afterEach(() => jest.restoreAllMocks());

const wrap = (plaintext: Uint8Array, aes?: Buffer): WrappedKey => wrapFor(publicHalf(kek), plaintext, aes);

/** Imports, and opens what was sealed afresh, as every other member does. */
async function taken(kind: WrappedKind, wrapped: WrappedKey, exportable = false): Promise<SealedKey> {
  const key = await partition.importWrapped(id(), kek, wrapped, kind, exportable);
  await partition.prove(key);
  return key;
}

/** How an import is refused, in all that a caller of the partition can see. */
async function refusal(kind: WrappedKind, wrapped: WrappedKey, by = kek): Promise<string> {
  try {
    await partition.importWrapped(id(), by, wrapped, kind);
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'taken';
}

function ecPoint(key: SealedKey): Buffer {
  if (key.public.kty !== 'EC') throw new Error('no EC key');
  return Buffer.concat([Buffer.of(4), key.public.x, key.public.y]);
}

describe('a wrapped key is the key that was wrapped', () => {
  test.each([2048, 3072, 4096])('RSA of %i bits, with exponents 3 and 65537', async (modulusLength) => {
    for (const publicExponent of [3, 65_537]) {
      const pair = generateKeyPairSync('rsa', { modulusLength, publicExponent });
      const key = await taken(RSA, wrap(pkcs8(pair.privateKey)));
      expect(key.spec).toEqual({ kty: 'RSA-HSM', size: modulusLength, exponent: publicExponent });
      expect(publicHalf(key).equals(pair.publicKey)).toBe(true);
      const signature = await partition.sign(key, 'RS256', digest);
      expect(verify('sha256', message, pair.publicKey, signature)).toBe(true);
    }
  });

  test.each(curves)('EC on %s, without a point in the file, and with a foreign one', async (curve) => {
    const pair = createECDH(opensslCurve[curve]);
    const point = pair.generateKeys();
    const d = pair.getPrivateKey();
    const { x, y } = ecMaterial(curve).material;
    for (const given of [undefined, point, Buffer.concat([Buffer.of(4), x, y])]) {
      expect(ecPoint(await taken(ec(curve), wrap(ecPkcs8(curve, d, given))))).toEqual(point);
    }
  });

  test.each(curves)('EC on %s, where x, y or the private value begins with a zero', async (curve) => {
    const length = coordinateLength[curve];
    // The first octet of P-521 has but one bit.
    const isShort = (octets: Buffer) =>
      octets[0] === 0 && (curve !== 'P-521' || octets[1] === 0 || octets.length < length);
    const wanted = new Set(['x', 'y', 'd']);
    while (wanted.size > 0) {
      const pair = createECDH(opensslCurve[curve]);
      const point = pair.generateKeys();
      const bare = pair.getPrivateKey();
      const d = Buffer.concat([Buffer.alloc(length - bare.length), bare]);
      const parts = { x: point.subarray(1, 1 + length), y: point.subarray(1 + length), d };
      for (const part of ['x', 'y', 'd'] as const) {
        if (!wanted.has(part) || !isShort(parts[part])) continue;
        wanted.delete(part);
        const bareToo = [d, d.subarray(d.findIndex((octet) => octet !== 0))];
        for (const value of part === 'd' ? bareToo : [d]) {
          const key = await taken(ec(curve), wrap(ecPkcs8(curve, value)));
          expect([part, ecPoint(key)]).toEqual([part, point]);
          const signature = await partition.sign(
            key,
            ({ 'P-256': 'ES256', 'P-256K': 'ES256K', 'P-384': 'ES384', 'P-521': 'ES512' } as const)[curve],
            digest,
          );
          const publicKey = { key: publicHalf(key), dsaEncoding: 'ieee-p1363' as const };
          expect(verify('sha256', message, publicKey, signature)).toBe(true);
        }
      }
    }
  });

  test.each([128, 192, 256])('AES of %i bits, under AES keys of every size', async (size) => {
    for (const transport of [16, 24, 32]) {
      const secret = randomBytes(size / 8);
      const key = await taken(OCT, wrap(secret, randomBytes(transport)));
      expect(key.spec).toEqual({ kty: 'oct-HSM', size });
      // The slot's own plain import of the same bytes.
      expect(key.public).toEqual((await partition.importKey(id(), { kty: 'oct', k: secret })).public);
    }
  });

  test('exportable, it is sealed under the export-wrapping key and opens from there', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const key = await taken(ec('P-256'), wrap(pkcs8(pair.privateKey)), true);
    expect(key.exportable).toBe(true);
    const signature = await partition.sign(key, 'ES256', digest);
    const publicKey = { key: pair.publicKey, dsaEncoding: 'ieee-p1363' as const };
    expect(verify('sha256', message, publicKey, signature)).toBe(true);
    const { exportable, ...plain } = key;
    expect(exportable).toBe(true);
    await expect(partition.prove({ ...plain, id: id() })).rejects.toMatchObject({ code: 'SlotFailed' });
  });
});

describe('what happens stays in the slot', () => {
  /** Everything that goes into sessions and comes out of them, by method. */
  function watch(): { readonly seen: Buffer[]; readonly opened: Set<number>; readonly closed: Set<number> } {
    const seen: Buffer[] = [];
    const opened = new Set<number>();
    const closed = new Set<number>();
    const collect = (value: unknown): void => {
      if (value instanceof Uint8Array) seen.push(Buffer.from(value));
      else if (typeof value === 'object' && value !== null) Object.values(value).forEach(collect);
    };
    const methods = Session.prototype as unknown as Record<string, (...given: unknown[]) => unknown>;
    for (const name of Object.getOwnPropertyNames(Session.prototype)) {
      const original = Object.getOwnPropertyDescriptor(Session.prototype, name)?.value as unknown;
      if (name === 'constructor' || typeof original !== 'function') continue;
      jest.spyOn(methods, name).mockImplementation(function (this: Session, ...given: unknown[]) {
        given.forEach(collect);
        if (name === 'destroyObjectSync') closed.add(given[0] as number);
        const outcome: unknown = Reflect.apply(original, this, given);
        const note = (value: unknown) => {
          collect(value);
          if (name === 'unwrapKey' || name === 'deriveKey') opened.add(value as number);
          return value;
        };
        return outcome instanceof Promise ? outcome.then(note) : note(outcome);
      });
    }
    return { seen, opened, closed };
  }

  const rsa = rsaMaterial().material;
  const secret = randomBytes(32);
  const kinds: [string, WrappedKind, () => [Buffer, readonly Uint8Array[]]][] = [
    ['RSA', RSA, () => [rsaPkcs8(rsa), [rsa.d, rsa.p, rsa.q, rsa.dp, rsa.dq, rsa.qi]]],
    ...curves.map((curve): (typeof kinds)[number] => [
      curve,
      ec(curve),
      () => {
        const { d } = ecMaterial(curve).material;
        return [ecPkcs8(curve, d), [d]];
      },
    ]),
    ['AES', OCT, () => [secret, [secret]]],
  ];

  test.each(kinds)(
    '%s: no clear byte of the key or of its transport passes a session',
    async (_, kind, make) => {
      const [plaintext, secrets] = make();
      const aes = randomBytes(32);
      const wrapped = wrap(plaintext, aes);
      const { seen } = watch();
      await taken(kind, wrapped);
      const all = Buffer.concat(seen.map((bytes) => Buffer.concat([bytes, Buffer.of(0)])));
      // The watch sees what passes.
      expect(all.includes(Buffer.from(wrapped.target))).toBe(true);
      for (const bytes of [aes, plaintext, ...secrets].map((secret) => Buffer.from(secret))) {
        for (const half of [bytes.subarray(0, 16), bytes.subarray(-16)]) {
          expect(all.includes(half)).toBe(false);
        }
      }
    },
  );

  test('every object is closed, but the exchange key, which is open once', async () => {
    // From here on it is open.
    await taken(OCT, wrap(secret));
    const { opened, closed } = watch();
    for (const [, kind, make] of kinds) {
      await partition.importWrapped(id(), kek, wrap(make()[0]), kind);
    }
    expect(await refusal(RSA, wrap(randomBytes(1200)))).toBe('BadWrappedKey');
    expect(await refusal(ec('P-384'), wrap(ecPkcs8('P-256', Buffer.alloc(32, 7))))).toBe('BadWrappedKey');
    expect(await refusal(RSA, wrap(rsaPkcs8({ ...rsa, e: Buffer.of(1) })))).toBe('BadWrappedKey');
    // Two of each import, and the x coordinate of each point.
    expect(opened.size).toBeGreaterThanOrEqual(2 * kinds.length + curves.length + 5);
    expect([...opened].filter((handle) => !closed.has(handle))).toEqual([]);
  });

  test('the exchange key is opened to unwrap and for nothing else; its transport key cannot be read', async () => {
    const own = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
    const original = Object.getOwnPropertyDescriptor(Session.prototype, 'unwrapKey')
      ?.value as Session['unwrapKey'];
    const found: string[] = [];
    const said = async (what: string, work: Promise<unknown>) => {
      const outcome = await work.then(
        () => 'done',
        (error: unknown) => (error as Pkcs11Error).symbol,
      );
      found.push(`${what}: ${outcome}`);
    };
    jest.spyOn(Session.prototype, 'unwrapKey').mockImplementation(async function (this: Session, ...given) {
      const handle = await original.apply(this, given);
      const [{ type }, , , template] = given;
      const [sealed, aes] = [wrapFor(publicHalf(own), secret).aes, Buffer.alloc(32)];
      if (template.class === CKO.PRIVATE_KEY && template.unwrap === true) {
        await said('decrypt', this.decrypt({ type: CKM.RSA_PKCS }, handle, sealed));
        await said('decrypt raw', this.decrypt({ type: CKM.RSA_X_509 }, handle, sealed));
        await said('sign', this.sign({ type: CKM.RSA_PKCS }, handle, digest));
      } else if (type === CKM.RSA_PKCS_OAEP) {
        await said('read', this.getAttributes(handle, ['value']));
        await said('encrypt', this.encrypt({ type: CKM.AES_ECB }, handle, aes));
        await said('wrap', this.wrapKey({ type: CKM.AES_KEY_WRAP_PAD }, handle, handle));
      }
      return handle;
    });
    await partition.importWrapped(id(), own, wrapFor(publicHalf(own), secret), OCT);
    expect(found).toEqual([
      'decrypt: CKR_KEY_FUNCTION_NOT_PERMITTED',
      'decrypt raw: CKR_KEY_FUNCTION_NOT_PERMITTED',
      'sign: CKR_KEY_FUNCTION_NOT_PERMITTED',
      'read: CKR_ATTRIBUTE_SENSITIVE',
      'encrypt: CKR_KEY_FUNCTION_NOT_PERMITTED',
      'wrap: CKR_KEY_FUNCTION_NOT_PERMITTED',
    ]);
  });
});

describe('what is no sound key is refused in one form', () => {
  const good = rsaMaterial().material;
  const { n: foreign } = rsaMaterial().material;
  const plus = (octets: Uint8Array, more: bigint) => toOctets(toInteger(octets) + more);
  const zero = Buffer.of(0);
  const hostile: [string, Partial<typeof good>][] = [
    ['a foreign modulus', { n: foreign }],
    ['an even modulus', { n: plus(good.n, 1n) }],
    ['no modulus', { n: zero }],
    ['a modulus of 2040 bits', { n: good.n.subarray(1) }],
    ['an exponent of 0', { e: zero }],
    ['an exponent of 1', { e: Buffer.of(1) }],
    ['an even exponent', { e: Buffer.of(1, 0, 0) }],
    ['an exponent of 40 bits', { e: Buffer.of(1, 0, 0, 0, 1) }],
    ['another exponent', { e: Buffer.of(3) }],
    ['no private part that is right', { d: Buffer.of(3), dp: Buffer.of(3), dq: Buffer.of(3) }],
    ['no primes', { p: zero, q: zero, dp: zero, dq: zero, qi: zero }],
    ['an even prime', { p: plus(good.p, 1n) }],
    ['no inverse', { qi: zero }],
  ];

  test.each(hostile)('RSA with %s', async (_, change) => {
    expect(await refusal(RSA, wrap(rsaPkcs8({ ...good, ...change })))).toBe('BadWrappedKey');
  });

  test.each([1n, (1n << 40n) + 15n])('RSA that is sound, but for its exponent of %i', async (e) => {
    const [p, q] = [toInteger(good.p), toInteger(good.q)];
    const [d, dp, dq] = [(p - 1n) * (q - 1n), p - 1n, q - 1n].map((order) => toOctets(inverse(e, order)));
    const key = { ...good, e: toOctets(e), d, dp, dq } as typeof good;
    expect(await refusal(RSA, wrap(rsaPkcs8(key)))).toBe('BadWrappedKey');
    // The same arithmetic makes a key that is taken.
    const sound = [(p - 1n) * (q - 1n), p - 1n, q - 1n].map((order) => toOctets(inverse(65_537n, order)));
    const same = { ...good, d: sound[0], dp: sound[1], dq: sound[2] } as typeof good;
    expect(await refusal(RSA, wrap(rsaPkcs8(same)))).toBe('taken');
  });

  // One signature with such a key holds a worker for seconds, minutes with a longer one: OpenSSL bounds the modulus only.
  test.each([4_096, 32_768])(
    'RSA with a prime of %i bits is refused before anything is done with it',
    async (bits) => {
      const long = Buffer.alloc(bits / 8, 0xff);
      const wrapped = wrap(rsaPkcs8({ ...good, p: long, dp: long }));
      const sign = jest.spyOn(Session.prototype, 'sign');
      sign.mockRejectedValue(new Error('it was used'));
      expect(await refusal(RSA, wrapped)).toBe('BadWrappedKey');
      expect(sign).not.toHaveBeenCalled();
    },
  );

  test('a file that is too long for any key of its type asks nothing of the exchange key', async () => {
    const unwrapKey = jest.spyOn(Session.prototype, 'unwrapKey');
    const { aes } = wrap(Buffer.alloc(16));
    for (const [kind, length] of [
      [RSA, 3_000],
      [ec('P-521'), 600],
      [OCT, 48],
    ] as const) {
      expect(await refusal(kind, { aes, target: randomBytes(length) })).toBe('BadWrappedKey');
    }
    expect(unwrapKey).not.toHaveBeenCalled();
  });

  test('keys of other kinds, by whoever can write PKCS#8', async () => {
    const explicit = generateKeyPairSync('ec', { namedCurve: 'prime256v1', paramEncoding: 'explicit' });
    const others = [
      generateKeyPairSync('ed25519'),
      generateKeyPairSync('x448'),
      generateKeyPairSync('ec', { namedCurve: 'secp224r1' }),
      generateKeyPairSync('ec', { namedCurve: 'sect283r1' }),
      explicit,
    ];
    for (const { privateKey } of others) {
      for (const kind of [RSA, OCT, ...curves.map(ec)]) {
        expect(await refusal(kind, wrap(pkcs8(privateKey)))).toBe('BadWrappedKey');
      }
    }
    for (const curve of curves) {
      for (const kind of [RSA, OCT, ...curves.filter((other) => other !== curve).map(ec)]) {
        const d = Buffer.alloc(coordinateLength[curve], 1);
        expect(await refusal(kind, wrap(ecPkcs8(curve, d)))).toBe('BadWrappedKey');
      }
      expect(await refusal(ec(curve), wrap(ecPkcs8(curve, Buffer.alloc(32))))).toBe('BadWrappedKey');
    }
  });

  test('symmetric keys of every length that AES does not have', async () => {
    for (let length = 1; length <= 72; length += 1) {
      const expected = [16, 24, 32].includes(length) ? 'taken' : 'BadWrappedKey';
      expect([length, await refusal(OCT, wrap(randomBytes(length)))]).toEqual([length, expected]);
    }
  });

  test('halves of every length, and transport keys of lengths that AES does not have', async () => {
    const kinds = [RSA, OCT, ec('P-256')];
    const { aes, target } = wrap(randomBytes(32));
    for (const kind of kinds) {
      for (let length = 0; length <= 48; length += 1) {
        const cut = { aes, target: Buffer.alloc(length, 3) };
        expect([length, await refusal(kind, cut)]).toEqual([length, 'BadWrappedKey']);
      }
    }
    for (const length of [0, 1, 128, 255, 257, 512]) {
      expect(await refusal(OCT, { aes: Buffer.alloc(length, 1), target })).toBe('BadWrappedKey');
    }
    for (const length of [1, 8, 15, 17, 31, 33, 64]) {
      const odd = { aes: sealAes(publicHalf(kek), randomBytes(length)), target };
      expect([length, await refusal(OCT, odd)]).toEqual([length, 'BadWrappedKey']);
    }
  });

  test('a key wrapped for another exchange key; and the other opens it', async () => {
    const other = await partition.generate(id(), { kty: 'RSA-HSM', size: 2048, exponent: 65537 });
    const wrapped = wrap(randomBytes(32));
    expect(await refusal(OCT, wrapped, other)).toBe('BadWrappedKey');
    expect(await refusal(OCT, wrapped, kek)).toBe('taken');
  });

  test('but a slot that fails is not the fault of the file', async () => {
    // The exchange key is open, so that it is the file's half that fails.
    expect(await refusal(OCT, wrap(randomBytes(32)))).toBe('taken');
    for (const code of [CKR.DEVICE_ERROR, CKR.HOST_MEMORY, CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID]) {
      jest.spyOn(Session.prototype, 'unwrapKey').mockRejectedValueOnce(new Pkcs11Error(code, 'C_UnwrapKey'));
      expect(await refusal(OCT, wrap(randomBytes(32)))).toBe('SlotFailed');
      jest.restoreAllMocks();
    }
    expect(await refusal(OCT, wrap(randomBytes(32)))).toBe('taken');
  });
});

/** Of an integer modulo another; 1 modulo anything is its own. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [r, next, s, t] = [modulus, value % modulus, 0n, 1n];
  while (next > 0n) {
    const quotient = r / next;
    [r, next, s, t] = [next, r - quotient * next, t, s - quotient * t];
  }
  if (r !== 1n) throw new Error(`no inverse of ${value}`);
  return ((s % modulus) + modulus) % modulus;
}

test('the public half shown is one that Node takes', async () => {
  const key = await taken(ec('P-384'), wrap(ecPkcs8('P-384', Buffer.alloc(48, 9))));
  const spki = publicHalf(key).export({ format: 'der', type: 'spki' });
  expect(createPublicKey({ key: spki, format: 'der', type: 'spki' }).asymmetricKeyDetails?.namedCurve).toBe(
    'secp384r1',
  );
});
