// Secure key release with @azure/keyvault-keys, unchanged, to an enclave that is Node's crypto.
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Enclave, WRAPS } from '../scenarios/enclave.js';
import { TestPool, at, text } from '../scenarios/pool.js';
import { publicKeyOf } from '../scenarios/witness.js';
import { told as tell } from './programs/told.js';
import type { Refused, Shown } from './programs/told.js';

interface Policy {
  readonly exportable: boolean;
  readonly contentType: string;
  readonly immutable: boolean;
  readonly policy: string;
}

interface Released extends Shown, Policy {
  /** By the name of the wrap. */
  readonly values: Readonly<Record<string, string>>;
}

interface Told {
  readonly keys: Readonly<Record<'rsa' | 'ec' | 'oct' | 'imported', Released>>;
  readonly versions: {
    readonly first: Shown;
    readonly second: Shown;
    readonly newest: string;
    readonly named: string;
  };
  readonly policies: {
    readonly changed: Policy;
    readonly unmet: Refused;
    readonly fixed: Refused;
    readonly notExportable: Refused;
  };
  readonly refused: Readonly<Record<string, Refused>>;
}

const known = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicPart = (key: KeyObject) => createPublicKey(key).export({ format: 'der', type: 'spki' });
const publicPartOf = ({ jwk }: Shown) => publicKeyOf(jwk).export({ format: 'der', type: 'spki' });

let enclave: Enclave;
let stranger: Enclave;
let pool: TestPool;
let told: Told;

beforeAll(async () => {
  enclave = await Enclave.start();
  stranger = await Enclave.start();
  pool = await TestPool.start(undefined, enclave.options);
  const target = await enclave.assertion();
  told = await tell<Told>(pool, 'release.mjs', ['keys', 'versions', 'policies', 'refused'], {
    policy: enclave.policy(),
    other: enclave.policy('better'),
    target,
    jwk: known.privateKey.export({ format: 'jwk' }),
    refused: {
      'of another state': await enclave.assertion('bad'),
      'of the past': await enclave.assertion('good', -1),
      'of a service that nobody named': await stranger.assertion(),
      'with the signature of another': target.replace(
        /[^.]+$/,
        (await enclave.assertion('bad')).split('.')[2] ?? '',
      ),
      'with no signature': target.replace(/[^.]+$/, ''),
    },
  });
});
afterAll(async () => {
  await pool.remove();
  await enclave.stop();
  await stranger.stop();
});

it('keys of every type are released with every wrap, and the enclave has the key that the pool made', () => {
  for (const [title, shown] of Object.entries(told.keys)) {
    const { id, type, values } = shown;
    expect(Object.keys(values).sort()).toEqual([...WRAPS].sort());
    const opened = Object.entries(values).map(([enc, value]) => {
      const { request, bundle, key, chain } = enclave.open(value);
      const kid = id.slice(0, id.lastIndexOf('/'));
      expect(request).toMatchObject({ enc, kid, nonce: `nonce of ${title}` });
      expect([text(bundle, 'key', 'kid'), at(bundle, 'attributes', 'exportable')]).toEqual([id, true]);
      const [leaf, root] = chain;
      expect(root && leaf?.verify(root.publicKey)).toBe(true);
      expect(readFileSync(pool.ready.caFile, 'utf8')).toContain(root?.toString());
      return key;
    });
    if (type === 'oct-HSM') {
      const [first] = opened.map((key) => key.export());
      expect(first).toHaveLength(32);
      expect(opened.map((key) => key.export())).toEqual(opened.map(() => first));
    } else {
      expect(opened.map(publicPart)).toEqual(opened.map(() => publicPartOf(shown)));
    }
  }
});

it('an imported key comes out as the one that went in', () => {
  const opened = Object.values(told.keys.imported.values).map((value) => enclave.open(value).key);
  expect(opened.map((key) => key.equals(known.privateKey))).toEqual(WRAPS.map(() => true));
});

it('the key shows its policy', () => {
  const shown = {
    exportable: true,
    contentType: 'application/json; charset=utf-8',
    immutable: false,
    policy: enclave.policy(),
  };
  for (const key of Object.values(told.keys)) expect(key).toMatchObject(shown);
});

it('the newest version is released, or the one that is named', () => {
  const { first, second, newest, named } = told.versions;
  const opened = [newest, named].map((value) => publicPart(enclave.open(value).key));
  expect(opened).toEqual([second, first].map(publicPartOf));
});

it('a policy can be changed until it is immutable, and belongs to exportable keys alone', () => {
  const { changed, unmet, fixed, notExportable } = told.policies;
  expect(changed).toMatchObject({ immutable: true, policy: enclave.policy('better') });
  expect(unmet).toMatchObject({ status: 403, code: 'Forbidden' });
  for (const { status, code } of [fixed, notExportable])
    expect([status, code]).toEqual([400, 'BadParameter']);
  expect(fixed.message).toMatch(/^Immutable Release policy cannot be modified/);
  expect(notExportable.message).toMatch(/^Non-exportable keys must not have release policy/);
});

it('nothing is released to an assertion that does not hold', () => {
  const forbidden = { status: 403, code: 'Forbidden' };
  const bad = { status: 400, code: 'BadParameter' };
  expect(told.refused).toMatchObject({
    'of another state': forbidden,
    'of the past': forbidden,
    'of a service that nobody named': forbidden,
    'with the signature of another': forbidden,
    'with no signature': bad,
    'a key that may not leave': bad,
  });
});
