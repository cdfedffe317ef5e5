/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Attestations of a real token, read by a reader of the tests' own and checked with Node's crypto.
import { createHash, verify, type KeyObject } from 'node:crypto';
import { Partition } from '../../../src/instance/partition/partition.js';
import type { Curve, KeySpec, SealedKey } from '../../../src/values/key-spec.js';
import { publicKeyOf } from '../../../src/values/public-key.js';
import { padded, readIndependently } from '../../values/independent-attestation.js';
import { ecMaterial, rsaMaterial } from './material.js';
import { foundedPlace, modulePath, type Place } from './place.js';

const VERSION = '0123456789abcdef0123456789abcdef';
const DESTROYED_MAX = 20;

let place: Place;
let partition: Partition;
let signer: KeyObject;

beforeAll(async () => {
  place = await foundedPlace();
  partition = await Partition.open(place.tokens, place.domain, {
    module: modulePath,
    destroyedMax: DESTROYED_MAX,
  });
  partition.learnExportKey(await partition.generate('internal/export', { kty: 'oct-HSM', size: 256 }));
  signer = asymmetric(await partition.attestationKey());
});
afterAll(async () => {
  await partition.close();
  place.remove();
});

function asymmetric(part: SealedKey['public']): KeyObject {
  if (part.kty === 'oct') throw new Error('symmetric');
  return publicKeyOf(part);
}

function attributesOf(blob: Buffer): Record<string, string> {
  const { attributes, signed, signature } = readIndependently(blob);
  expect(verify('sha256', signed, signer, signature)).toBe(true);
  return Object.fromEntries([...attributes].map(([type, hex]) => [type.toString(16), hex]));
}

const hashOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');

const protectedKey = { 2: '01', 103: '01', 162: '01', 163: '00', 164: '00', 165: '00', 210: '01' };
const named = (name: string) => ({ 3: padded('customer_key'), 102: padded(`/keys/${name}/${VERSION}`) });

it('the partition key is RSA of 2048 bits, and the same whenever it is asked for', async () => {
  expect(signer.asymmetricKeyDetails).toEqual({ modulusLength: 2048, publicExponent: 65_537n });
  expect(asymmetric(await partition.attestationKey()).equals(signer)).toBe(true);
});

it('an RSA key: both halves are attested, and bound to its modulus', async () => {
  const { material, publicKey } = rsaMaterial();
  const key = await partition.importKey(`rsa/${VERSION}`, material);
  const { privateKey, publicKey: half } = await partition.attest(key);
  const [n, e] = [material.n, material.e].map((part) => Buffer.from(part).toString('hex'));
  expect(attributesOf(privateKey)).toEqual({
    ...protectedKey,
    ...named('rsa'),
    0: '03',
    1: '00',
    100: '00',
    105: '01',
    107: '00',
    108: '01',
    '10c': '00',
    120: n,
    122: e,
    80000001: hashOf(publicKey),
  });
  expect(attributesOf(half ?? Buffer.of())).toMatchObject({
    ...named('rsa'),
    0: '02',
    100: '00',
    120: n,
    122: e,
  });
});

it.each<Curve>(['P-256', 'P-256K', 'P-384', 'P-521'])(
  'an EC key on %s: the point is attested',
  async (curve) => {
    const { material, publicKey } = ecMaterial(curve);
    const key = await partition.importKey(`ec-${curve}/${VERSION}`, material);
    const { privateKey, publicKey: half } = await partition.attest(key);
    const isPrivate = attributesOf(privateKey);
    const isPublic = attributesOf(half ?? Buffer.of());
    expect(isPrivate).toMatchObject({
      ...protectedKey,
      ...named(`ec-${curve}`),
      0: '03',
      100: '03',
      108: '01',
    });
    expect(isPrivate).toMatchObject({ 80000001: hashOf(publicKey) });
    expect(isPrivate).not.toHaveProperty('181');
    // SubjectPublicKeyInfo ends with the point, and holds the curve's identifier.
    const info = publicKey.export({ type: 'spki', format: 'der' }).toString('hex');
    const point = `04${Buffer.concat([material.x, material.y]).toString('hex')}`;
    expect(info.endsWith(point)).toBe(true);
    expect(info).toContain(isPublic['180']);
    expect(isPublic).toMatchObject({ ...named(`ec-${curve}`), 0: '02', 100: '03' });
    expect(isPublic['181']).toMatch(new RegExp(`^04(?:81)?[0-9a-f]{2}${point}$`));
  },
);

it.each([
  [128, '1f'],
  [256, '1f'],
  [512, '10'],
])('a symmetric key of %i bits: one attestation, and nothing of its value in it', async (size, type) => {
  const spec: KeySpec = { kty: 'oct-HSM', size };
  const key = await partition.generate(`oct-${size}/${VERSION}`, spec);
  const { privateKey, publicKey } = await partition.attest(key);
  expect(publicKey).toBeUndefined();
  const attributes = attributesOf(privateKey);
  expect(attributes).toMatchObject({ ...protectedKey, ...named(`oct-${size}`), 0: '04', 100: type });
  for (const secret of ['11', '90', '120', '122', '180', '181', '80000001']) {
    expect(attributes).not.toHaveProperty(secret);
  }
});

it('an exportable key is shown as one: it is not bound to trusted wrapping keys', async () => {
  const key = await partition.generate(`free/${VERSION}`, { kty: 'EC-HSM', curve: 'P-256' }, true);
  const attributes = attributesOf((await partition.attest(key)).privateKey);
  expect(attributes).toMatchObject({ 103: '01', 162: '01', 210: '00' });
});

it('a name that fills its 128 bytes, or more than them, is attested whole', async () => {
  for (const length of [88, 89, 90, 127]) {
    const name = 'n'.repeat(length);
    const key = await partition.generate(`${name}/${VERSION}`, { kty: 'oct-HSM', size: 256 });
    const id = attributesOf((await partition.attest(key)).privateKey)['102'];
    expect(id).toBe(padded(`/keys/${name}/${VERSION}`));
    expect(id).toHaveLength(2 * Math.max(128, 39 + length));
  }
});

it.each<[string, KeySpec]>([
  ['RSA', { kty: 'RSA-HSM', size: 2048, exponent: 65_537 }],
  ['EC', { kty: 'EC-HSM', curve: 'P-256' }],
  ['oct', { kty: 'oct-HSM', size: 256 }],
])('%s: a record whose public part is of another key is not attested', async (_, spec) => {
  const one = await partition.generate(`one-${spec.kty}/${VERSION}`, spec);
  const other = await partition.generate(`other-${spec.kty}/${VERSION}`, spec);
  await expect(partition.attest({ ...one, public: other.public })).rejects.toMatchObject({
    name: 'SlotError',
    code: 'SlotFailed',
  });
});

it('attesting leaves nothing open in the slot but the key, also when the module is started anew', async () => {
  const key = await partition.generate(`again/${VERSION}`, { kty: 'EC-HSM', curve: 'P-256' });
  for (let round = 0; round < 2 * DESTROYED_MAX; round += 1) {
    attributesOf((await partition.attest(key)).privateKey);
  }
  expect(asymmetric(await partition.attestationKey()).equals(signer)).toBe(true);
  expect(partition.cachedKeys).toBeLessThanOrEqual(1);
});
