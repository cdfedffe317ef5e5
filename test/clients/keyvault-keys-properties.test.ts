// KeyClient of @azure/keyvault-keys, unchanged: all that can be said of a key beside its type comes back as it was
// said; pollers that are resumed; the ways to a CryptographyClient.
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';
import { isSignature, publicKeyOf } from '../scenarios/witness.js';
import { runClient } from './programs/run.js';

const FROM = Date.parse('2026-01-02T03:04:05Z') / 1_000;
const UNTIL = Date.parse('2037-12-31T23:59:59Z') / 1_000;
const DAY = 86_400;

interface Shown {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  readonly operations: readonly string[];
  readonly tags?: object;
  readonly version: string;
  readonly jwk: Readonly<Record<string, string>>;
}

interface Deletion {
  readonly name: string;
  readonly tags?: object;
  readonly recoveryId: string;
  readonly deleted: number;
  readonly purge: number;
}

interface Told {
  readonly types: Readonly<Record<string, Shown>>;
  readonly created: Shown;
  readonly imported: Shown;
  readonly updated: {
    readonly first: Shown;
    readonly second: Shown;
    readonly old: Shown;
    readonly newest: Shown;
    readonly listed: readonly object[];
  };
  readonly pollers: {
    readonly deleted: Deletion;
    readonly listed: Deletion;
    readonly recovered: Shown;
    readonly done: readonly boolean[];
    readonly missing?: object;
  };
  readonly cryptography: {
    readonly message: string;
    readonly first: Shown;
    readonly second: Shown;
    readonly signatures: readonly {
      readonly signature: string;
      readonly keyID: string;
      readonly id: string;
      readonly vaultUrl: string;
    }[];
    readonly parsed: object;
  };
  readonly disbelieved: readonly object[];
  readonly alone: {
    readonly secret: string;
    readonly opened: readonly string[];
    readonly verified: readonly boolean[];
  };
}

const CHAPTERS: readonly (keyof Told)[] = [
  'types',
  'created',
  'imported',
  'updated',
  'pollers',
  'cryptography',
  'disbelieved',
  'alone',
];

let pool: TestPool;
let told: Told;

beforeAll(async () => {
  pool = await TestPool.start();
  const wish = { url: pool.uri.origin, readyFile: pool.readyFile, chapters: CHAPTERS };
  const program = join(__dirname, 'programs/properties.mjs');
  told = JSON.parse(await runClient(pool, program, [JSON.stringify(wish)])) as Told;
});
afterAll(() => pool.remove());

it('createKey: every type that the SDK knows, as an HSM key', () => {
  const types = Object.fromEntries(Object.entries(told.types).map(([asked, { type }]) => [asked, type]));
  expect(types).toEqual({
    EC: 'EC-HSM',
    'EC-HSM': 'EC-HSM',
    RSA: 'RSA-HSM',
    'RSA-HSM': 'RSA-HSM',
    oct: 'oct-HSM',
    'oct-HSM': 'oct-HSM',
  });
});

it('createRsaKey: size, operations, tags and times come back as they were given', () => {
  const { operations, jwk, ...key } = told.created;
  expect(key).toMatchObject({
    enabled: true,
    exportable: false,
    notBefore: FROM,
    expiresOn: UNTIL,
    tags: { owner: 'somebody', empty: '' },
    recoverableDays: 90,
    vaultUrl: pool.uri.origin,
  });
  expect([...operations].sort()).toEqual(['sign', 'verify']);
  expect(publicKeyOf({ ...jwk }).asymmetricKeyDetails).toMatchObject({
    modulusLength: 3_072,
    publicExponent: 65_537n,
  });
});

it('importKey: operations, tags, times and the state come back as they were given', () => {
  const { jwk } = told.imported;
  expect(told.imported).toMatchObject({
    type: 'EC-HSM',
    enabled: false,
    operations: ['sign'],
    tags: { from: 'elsewhere' },
    notBefore: FROM,
    expiresOn: UNTIL,
  });
  expect(jwk).toMatchObject({ kty: 'EC-HSM', crv: 'P-384' });
});

it('updateKeyProperties: changes the version that is named, or the newest, and no other', () => {
  const { first, second, old, newest, listed } = told.updated;
  const changed = { tags: { stage: 'old' }, notBefore: FROM, expiresOn: UNTIL };
  expect(old).toMatchObject({ ...changed, version: first.version, operations: ['encrypt'], enabled: true });
  expect(newest).toMatchObject({ version: second.version, enabled: false, operations: second.operations });
  expect(listed).toMatchObject([
    { ...changed, version: first.version, enabled: true },
    { version: second.version, enabled: false },
  ]);
});

it('pollers: one that is resumed from its text ends, and tells the whole deletion', () => {
  const { deleted, listed, recovered, done, missing } = told.pollers;
  expect(done).toEqual([true, true]);
  expect(deleted).toMatchObject({
    name: 'polled',
    tags: { kept: 'yes' },
    recoveryId: `${pool.uri.origin}/deletedkeys/polled`,
  });
  expect(Math.abs(deleted.deleted - Date.now() / 1_000)).toBeLessThan(DAY);
  expect(deleted.purge - deleted.deleted).toBe(90 * DAY);
  expect(listed).toEqual(deleted);
  expect(recovered).toMatchObject({ name: 'polled', tags: { kept: 'yes' } });
  expect(missing).toMatchObject({ status: 404, code: 'KeyNotFound' });
});

it('getCryptographyClient: uses the newest version, or the one that is named', () => {
  const { message, first, second, signatures, parsed } = told.cryptography;
  const data = Buffer.from(message, 'base64');
  const signed = ({ jwk }: Shown, signature = ''): boolean =>
    isSignature('ES256', publicKeyOf(jwk), data, Buffer.from(signature, 'base64'));
  expect(signatures).toHaveLength(2);
  const [newest, named] = signatures;
  expect([signed(first, newest?.signature), signed(second, newest?.signature)]).toEqual([false, true]);
  expect([signed(first, named?.signature), signed(second, named?.signature)]).toEqual([true, false]);
  expect(named?.keyID).toBe(first.id);
  expect(parsed).toMatchObject({ name: 'chosen', version: first.version, vaultUrl: pool.uri.origin });
});

it('a token that the pool does not believe ends in an error', () => {
  expect(told.disbelieved).toMatchObject(Array(2).fill({ status: 401, code: 'Unauthorized' }));
});

it('a client of a JWK, which asks nobody, and the pool understand each other', () => {
  const { secret, opened, verified } = told.alone;
  expect(opened).toEqual(Array<string>(10).fill(secret));
  expect(verified).toEqual([true, true, true]);
});
