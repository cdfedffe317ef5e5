/** @jest-environment ./test/instance/partition/process-environment.cjs */
// The slot under its partition: what it opens, what it keeps, when it starts anew.
import { createHash, randomBytes, verify } from 'node:crypto';
import { Partition } from '../../../src/instance/partition/partition.js';
import { Library } from '../../../src/instance/pkcs11/library.js';
import { Session } from '../../../src/instance/pkcs11/session.js';
import type { KeySpec, SealedKey } from '../../../src/values/key-spec.js';
import { publicKeyOf } from '../../../src/values/public-key.js';
import { foundedPlace, modulePath, type Place } from './place.js';

const ec: KeySpec = { kty: 'EC-HSM', curve: 'P-384' };
const aes: KeySpec = { kty: 'oct-HSM', size: 256 };
const message = Buffer.from('a message');
const digest = createHash('sha384').update(message).digest();

let place: Place;
let partition: Partition;

beforeAll(async () => {
  place = await foundedPlace();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await partition.close();
});
afterAll(() => place.remove());

async function open(options: { cachedKeysMax?: number; destroyedMax?: number } = {}): Promise<void> {
  partition = await Partition.open(place.tokens, place.domain, { module: modulePath, ...options });
}

function makeKeys(count: number, spec: KeySpec): Promise<SealedKey[]> {
  return Promise.all(
    Array.from({ length: count }, (_, place) => partition.generate(`${spec.kty}/${place}`, spec)),
  );
}

function isSigned(key: SealedKey, signature: Buffer): boolean {
  if (key.public.kty === 'oct') return false;
  return verify('sha384', message, { key: publicKeyOf(key.public), dsaEncoding: 'ieee-p1363' }, signature);
}

describe('slot', () => {
  test('many requests for one key that is not open open it once', async () => {
    await open();
    const [key] = await makeKeys(1, ec);
    if (!key) throw new Error('no key');
    const unwrap = jest.spyOn(Session.prototype, 'unwrapKey');
    const signatures = await Promise.all(
      Array.from({ length: 20 }, async () => partition.sign(key, 'ES384', digest)),
    );
    expect(signatures.every((signature) => isSigned(key, signature))).toBe(true);
    expect(unwrap).toHaveBeenCalledTimes(1);
    expect(partition.cachedKeys).toBe(1);
    partition.forget(key.id);
    expect(partition.cachedKeys).toBe(0);
  });

  test('a key that does not open is asked for once by many, and each is told; the next try is a new one', async () => {
    await open();
    const [key] = await makeKeys(1, ec);
    if (!key) throw new Error('no key');
    const broken = { ...key, blob: randomBytes(key.blob.length) };
    const unwrap = jest.spyOn(Session.prototype, 'unwrapKey');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, async () => partition.sign(broken, 'ES384', digest)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(Array(10).fill('rejected'));
    expect(unwrap).toHaveBeenCalledTimes(1);
    expect(isSigned(key, await partition.sign(key, 'ES384', digest))).toBe(true);
  });

  test('with one key kept open and many in use at once, every request is served and no handle is used after its end', async () => {
    await open({ cachedKeysMax: 1 });
    const keys = await makeKeys(6, ec);
    const destroyed = jest.spyOn(Session.prototype, 'destroyObjectSync');
    await Promise.all(
      Array.from({ length: 60 }, async (_, place) => {
        const key = keys[place % keys.length];
        if (!key) throw new Error('no key');
        expect(isSigned(key, await partition.sign(key, 'ES384', digest))).toBe(true);
      }),
    );
    expect(partition.cachedKeys).toBe(1);
    const handles = destroyed.mock.calls.map(([handle]) => handle);
    expect(new Set(handles).size).toBe(handles.length);
  });

  test('the module starts anew after so many destroyed objects, under load and without a failed request', async () => {
    await open({ destroyedMax: 10 });
    const [key] = await makeKeys(1, ec);
    const [secret] = await makeKeys(1, aes);
    if (!key || !secret) throw new Error('no keys');
    const opened = jest.spyOn(Library, 'openSync');
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let round = 0; round < 12; round += 1) {
          const raw = randomBytes(32);
          expect(
            await partition.unwrapAes(secret, await partition.wrapAes(secret, raw, false), false),
          ).toEqual(raw);
          expect(isSigned(key, await partition.sign(key, 'ES384', digest))).toBe(true);
          const { ciphertext, iv, tag } = await partition.encryptAesGcm(secret, raw);
          expect(await partition.decryptAesGcm(secret, ciphertext, iv, tag)).toEqual(raw);
          await partition.prove(key);
        }
      }),
    );
    expect(opened.mock.calls.length).toBeGreaterThan(5);
    expect(await partition.deriveSecret('store')).toHaveLength(32);
  });

  test('an error leaves no session behind that is in the middle of something', async () => {
    await open();
    const [secret] = await makeKeys(1, aes);
    const [key] = await makeKeys(1, ec);
    if (!key || !secret) throw new Error('no keys');
    const iv = randomBytes(16);
    // Ends in 0, which no padding does; random bytes would open to a valid one once in 256 times.
    const unpadded = await partition.encryptAesCbc(secret, false, iv, Buffer.alloc(16));
    for (let round = 0; round < 30; round += 1) {
      // A call that ends before its data is even looked at leaves SoftHSM in the middle of an operation.
      await expect(async () => partition.encryptAesCbc(secret, false, iv, randomBytes(7))).rejects.toThrow();
      await expect(async () => partition.decryptAesCbc(secret, true, iv, unpadded)).rejects.toThrow();
      await expect(async () =>
        partition.encryptAesCbc(secret, true, randomBytes(3), message),
      ).rejects.toThrow();
      await expect(partition.unwrapAes(secret, randomBytes(24), false)).rejects.toThrow();
      await expect(async () => partition.sign(secret, 'ES384', digest)).rejects.toThrow();
    }
    const made = await partition.encryptAesCbc(secret, true, iv, message);
    expect(await partition.decryptAesCbc(secret, true, iv, made)).toEqual(message);
    expect(isSigned(key, await partition.sign(key, 'ES384', digest))).toBe(true);
  });

  test('closing waits for what runs', async () => {
    await open();
    const [key] = await makeKeys(1, ec);
    if (!key) throw new Error('no key');
    const running = Array.from({ length: 12 }, async () => partition.sign(key, 'ES384', digest));
    const closed = partition.close();
    for (const signature of await Promise.all(running)) expect(isSigned(key, signature)).toBe(true);
    await closed;
    await open();
  });
});
