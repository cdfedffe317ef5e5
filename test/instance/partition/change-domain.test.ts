/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Another token in the place of the open one, while requests go on.
import { randomBytes } from 'node:crypto';
import { Partition } from '../../../src/instance/partition/partition.js';
import { newUuid } from '../../../src/values/ids.js';
import type { KeySpec, SealedKey } from '../../../src/values/key-spec.js';
import { foundedPlace, modulePath, type Place } from './place.js';

const aes: KeySpec = { kty: 'oct-HSM', size: 256 };
const rsa: KeySpec = { kty: 'RSA-HSM', size: 2048, exponent: 65_537 };

let place: Place;
let partition: Partition;
let restored: string;
afterAll(async () => {
  await partition.close();
  place.remove();
});

/** The domain of another place, as a token here. */
async function restoredHere(): Promise<string> {
  const source = await foundedPlace();
  const wrappingKey = randomBytes(32);
  const wrapped = await source.provision.exportDomain(source.domain, wrappingKey);
  source.remove();
  const domain = newUuid();
  await place.provision.restore(place.domain, domain, { wrappingKey, wrapped }, []);
  return domain;
}

test('change of domain: what runs is finished in the old one, what comes after the call finds the new one, and none fails', async () => {
  place = await foundedPlace();
  restored = await restoredHere();
  partition = await Partition.open(place.tokens, place.domain, { module: modulePath });
  const old = await partition.generate('k/old', aes);
  const used = await partition.encryptAesGcm(old, randomBytes(20));
  const before = Promise.all([partition.generate('k/1', aes), partition.generate('k/2', rsa)]);
  const changing = partition.changeDomain(restored);
  expect(partition.domain).toBe(restored);
  const after: Promise<SealedKey>[] = [partition.generate('k/3', aes), partition.generate('k/4', rsa)];
  const underOld = partition.prove(old);
  // Nothing that was open before is open now: not even an id that was used before finds its old key.
  const stale = Promise.resolve(partition.decryptAesGcm(old, used.ciphertext, used.iv, used.tag));
  await expect(stale).rejects.toThrow();
  await expect(underOld).rejects.toThrow();
  await changing;
  for (const key of await Promise.all(after)) await partition.prove(key);
  for (const key of await before) await expect(partition.prove(key)).rejects.toThrow();
});

test('change of domain: two in a row end with the second, and back again the old keys open', async () => {
  const changes = [partition.changeDomain(place.domain), partition.changeDomain(restored)];
  const between = partition.generate('k/5', aes);
  await Promise.all(changes);
  await partition.prove(await between);
  await partition.changeDomain(place.domain);
  const back = await partition.generate('k/6', aes);
  await partition.changeDomain(restored);
  await expect(partition.prove(back)).rejects.toThrow();
});

test('a key that only decrypts does not sign', async () => {
  const key = { ...(await partition.generate('internal/transfer', rsa)), decryptOnly: true as const };
  await partition.prove(key);
  await expect(async () => partition.sign(key, 'RS256', randomBytes(32))).rejects.toThrow();
  await expect(partition.decryptRsa(key, 'RSA-OAEP-256', randomBytes(256))).rejects.toMatchObject({
    code: 'BadCiphertext',
  });
});
