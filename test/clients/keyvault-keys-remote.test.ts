// CryptographyClient of @azure/keyvault-keys for principals that may use keys and not read them: then it has no public
// key to do anything by itself with, and every operation is the pool's. Nothing that the SDK offers is left out.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';
import type { Credentials } from '../scenarios/pool.js';
import { CryptoJobs } from './crypto-jobs.js';
import type { Done, Job } from './crypto-jobs.js';
import { USING, principalWith } from './people.js';
import { runClient } from './programs/run.js';

const PROGRAMS = join(__dirname, 'programs');

interface Told {
  readonly jobs: readonly Done[];
  readonly readable?: { readonly status: number; readonly code: string };
  readonly offers: {
    readonly keyClient: readonly string[];
    readonly cryptographyClient: readonly string[];
    readonly signatures: readonly string[];
    readonly encryptions: readonly string[];
  };
}

let pool: TestPool;
let user: Credentials;
let jobs: CryptoJobs;

beforeAll(async () => {
  pool = await TestPool.start();
  const client = await pool.client();
  user = await principalWith(pool, client, 'user', USING);
  jobs = await CryptoJobs.import(client, pool.uri.origin, 'known');
});
afterAll(() => pool.remove());

async function told(chapters: readonly (keyof Told)[], more: object = {}): Promise<Told> {
  const wish = { url: pool.uri.origin, readyFile: pool.readyFile, chapters, ...more };
  return JSON.parse(await runClient(pool, join(PROGRAMS, 'crypto.mjs'), [JSON.stringify(wish)])) as Told;
}

it('without the right to read keys, every operation and algorithm is carried out by the pool', async () => {
  const work = async (list: readonly Job[]): Promise<readonly Done[]> =>
    (await told(['jobs'], { principal: user, jobs: list })).jobs;
  expect((await jobs.through(work)).length).toBeGreaterThan(35);
});

it('with the right to read keys, what the SDK does by itself and what the pool does fit together', async () => {
  const work = async (list: readonly Job[]): Promise<readonly Done[]> =>
    (await told(['jobs'], { jobs: list })).jobs;
  expect((await jobs.through(work)).length).toBeGreaterThan(35);
});

it('a signature over a message is verified by the pool, with every algorithm that the SDK has for it', async () => {
  const good = jobs.overData;
  expect(good).toHaveLength(10);
  const bad = good.map((job) => ({ ...job, digest: Buffer.from('another message').toString('base64') }));
  const { jobs: done } = await told(['jobs'], { principal: user, jobs: [...good, ...bad] });
  expect(done.map(({ value }) => value)).toEqual([...good.map(() => true), ...bad.map(() => false)]);
});

it('the principal really cannot read the key', async () => {
  const { readable } = await told(['readable'], { principal: user, name: 'known-rsa' });
  expect(readable).toMatchObject({ status: 403, code: 'AccessDenied' });
});

it('no algorithm that the SDK offers is left out', async () => {
  const { signatures, encryptions } = (await told(['offers'])).offers;
  const offered = [...signatures, ...encryptions];
  expect(offered.length).toBeGreaterThanOrEqual(25);
  expect([...jobs.algorithms].sort()).toEqual(offered.sort());
});

it('no method that the SDK offers is left out', async () => {
  const { keyClient, cryptographyClient } = (await told(['offers'])).offers;
  const source = readdirSync(PROGRAMS)
    .filter((file) => file.endsWith('.mjs'))
    .map((file) => readFileSync(join(PROGRAMS, file), 'utf8'))
    .join('');
  // These are the SDK's own: private in its types.
  const inside = /^(disambiguate|initialize|getKeyMaterial|fetchKey|getProvider|ensureValid)/;
  const offered = [...keyClient, ...cryptographyClient].filter((name) => !inside.test(name));
  expect(offered.length).toBeGreaterThan(28);
  // crypto.mjs calls these by the name that a job gives.
  const byName = ['sign', 'wrapKey', 'unwrapKey'];
  const left = offered.filter((name) => !byName.includes(name) && !source.includes(`.${name}(`));
  expect(left).toEqual([]);
});
