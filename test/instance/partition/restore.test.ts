// A security domain on its way from one token into another: by real provisioner processes, checked by another AES.
import { createDecipheriv, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DomainKey } from '../../../src/instance/partition/provision.js';
import { newUuid } from '../../../src/values/ids.js';
import type { KeySpec, SealedKey } from '../../../src/values/key-spec.js';
import { Elsewhere, filesIn, foundedPlace, removeDirectories, type Founded } from './places.js';

const MINUTE = 60_000;
const aes: KeySpec = { kty: 'oct-HSM', size: 256 };
const ec: KeySpec = { kty: 'EC-HSM', curve: 'P-256' };

/** Where the domain comes from, with keys of it. */
let source: Founded;
let sourceKeys: SealedKey[];

beforeAll(async () => {
  source = await foundedPlace();
  const partition = await Elsewhere.open(source);
  sourceKeys = [
    await partition.call('generate', 'internal/owner', ec),
    await partition.call('generate', 'internal/export-wrapping', aes),
    await partition.call('generate', 'internal/backup-protection', { kty: 'oct-HSM', size: 512 }),
    await partition.call('generate', 'internal/release-signer', {
      kty: 'RSA-HSM',
      size: 2048,
      exponent: 65_537,
    }),
  ];
  await partition.close();
}, MINUTE);
afterAll(removeDirectories);

async function exported({ provision, domain }: Founded): Promise<DomainKey> {
  const wrappingKey = randomBytes(32);
  return { wrappingKey, wrapped: await provision.exportDomain(domain, wrappingKey) };
}

/** By OpenSSL (RFC 5649). */
function unwrap(key: Uint8Array, wrapped: Uint8Array): Buffer {
  const opening = createDecipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([opening.update(wrapped), opening.final()]);
}

function work({ path }: Founded): string[] {
  return readdirSync(join(path, 'work'));
}

test('export: the data-wrapping key leaves under the given key and no other, the same each time, and the token is not touched', async () => {
  const before = filesIn(join(source.path, 'golden'));
  const [a, b] = [await exported(source), await exported(source)];
  const dwk = unwrap(a.wrappingKey, a.wrapped);
  expect(dwk).toHaveLength(32);
  expect(unwrap(b.wrappingKey, b.wrapped)).toEqual(dwk);
  expect(Buffer.from(a.wrapped).equals(b.wrapped)).toBe(false);
  // It is what the keys of the domain are sealed under.
  expect(unwrap(dwk, sourceKeys[1]?.blob ?? Buffer.alloc(0))).toHaveLength(32);
  expect(filesIn(join(source.path, 'golden'))).toEqual(before);
  expect(work(source)).toEqual([]);
});

test(
  'rewrap: a key of this domain is the same key under the other',
  async () => {
    const place = await foundedPlace();
    const partition = await Elsewhere.open(place);
    const issuer = await partition.call('generate', 'internal/tls-issuer', ec);
    await partition.close();
    const [rewrapped] = await place.provision.rewrap(place.domain, await exported(source), [issuer]);
    expect(rewrapped).toMatchObject({ id: issuer.id, spec: issuer.spec, public: issuer.public });
    const there = await Elsewhere.open(source);
    if (rewrapped) await there.call('prove', rewrapped);
    await expect(there.call('prove', issuer)).rejects.toThrow('SlotFailed');
    await there.close();
    expect(await place.tokens.domains()).toEqual([place.domain]);
    expect(work(place)).toEqual([]);
  },
  MINUTE,
);

test(
  'restore: a token with the restored domain lies beside the old one, the same but for the data-wrapping key',
  async () => {
    const place = await foundedPlace();
    const before = filesIn(join(place.path, 'golden', place.domain));
    const restored = newUuid();
    await place.provision.restore(place.domain, restored, await exported(source), sourceKeys);
    expect(await place.tokens.domains()).toEqual([place.domain, restored].sort());
    expect(filesIn(join(place.path, 'golden', place.domain))).toEqual(before);
    expect(work(place)).toEqual([]);
    const partition = await Elsewhere.open(place);
    const own = await partition.call('generate', 'k/1', aes);
    const secret = await partition.call('deriveSecret', 'store');
    const attestationKey = await partition.call('attestationKey');
    await partition.call('changeDomain', restored);
    for (const key of sourceKeys) await partition.call('prove', key);
    await expect(partition.call('prove', own)).rejects.toThrow('SlotFailed');
    expect(await partition.call('deriveSecret', 'store')).toEqual(secret);
    expect(await partition.call('attestationKey')).toEqual(attestationKey);
    // What it seals now is opened by the other members of the domain.
    const made = await partition.call('generate', 'k/2', ec);
    await partition.close();
    const there = await Elsewhere.open(source);
    await there.call('prove', made);
    await there.close();
    // And back out of it comes the same domain.
    const first = await exported(source);
    const again = await exported({ ...place, domain: restored });
    expect(unwrap(again.wrappingKey, again.wrapped)).toEqual(unwrap(first.wrappingKey, first.wrapped));
    await place.tokens.keepOnly([restored]);
    expect(await place.tokens.domains()).toEqual([restored]);
    expect(work(place)).toEqual([]);
  },
  2 * MINUTE,
);

test(
  'restore: done again after it was cut off, it takes the place of what was left',
  async () => {
    const place = await foundedPlace();
    const restored = newUuid();
    await place.provision.restore(place.domain, restored, await exported(place), []);
    await place.provision.restore(place.domain, restored, await exported(source), sourceKeys);
    const partition = await Elsewhere.open({ ...place, domain: restored });
    for (const key of sourceKeys) await partition.call('prove', key);
    await partition.close();
  },
  MINUTE,
);

test.each([
  ['another wrapping key', (key: DomainKey) => ({ ...key, wrappingKey: randomBytes(32) })],
  ['a short wrapping key', (key: DomainKey) => ({ ...key, wrappingKey: randomBytes(31) })],
  [
    'a damaged data-wrapping key',
    ({ wrappingKey }: DomainKey) => ({ wrappingKey, wrapped: randomBytes(40) }),
  ],
  ['no data-wrapping key', ({ wrappingKey }: DomainKey) => ({ wrappingKey, wrapped: Buffer.alloc(0) })],
])(
  'restore: with %s nothing is made',
  async (_what, spoil) => {
    const spoiled = spoil(await exported(source));
    const place = await foundedPlace();
    await expect(place.provision.restore(place.domain, newUuid(), spoiled, sourceKeys)).rejects.toThrow(
      'cannot be provisioned',
    );
    await expect(place.provision.rewrap(place.domain, spoiled, [])).rejects.toThrow('cannot be provisioned');
    expect(await place.tokens.domains()).toEqual([place.domain]);
    expect(work(place)).toEqual([]);
  },
  MINUTE,
);

test(
  'restore: a domain whose keys are of another is not taken',
  async () => {
    const place = await foundedPlace();
    const partition = await Elsewhere.open(place);
    const foreign = await partition.call('generate', 'internal/owner', ec);
    await partition.close();
    const domainKey = await exported(source);
    const [owner] = sourceKeys;
    if (!owner) throw new Error('no owner');
    // One does not open; the other opens and is not what it is said to be.
    for (const wrong of [foreign, { ...owner, public: foreign.public }]) {
      await expect(place.provision.restore(place.domain, newUuid(), domainKey, [wrong])).rejects.toThrow(
        'cannot be provisioned',
      );
    }
    expect(await place.tokens.domains()).toEqual([place.domain]);
  },
  MINUTE,
);
