// Secure key release with azure-keyvault-keys of Debian's python3-azure, unmodified, to an enclave that is Node's crypto.
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { Enclave, WRAPS } from '../scenarios/enclave.js';
import { TestPool, text } from '../scenarios/pool.js';
import { publicKeyOf } from '../scenarios/witness.js';
import { runPython } from './installed.js';

interface Key {
  readonly id: string;
  readonly type: string;
  readonly exportable: boolean;
  readonly jwk: Readonly<Record<string, string>>;
}

interface Released extends Key {
  /** Its content type, whether it is immutable, its text. */
  readonly policy: readonly [string, boolean, string];
  /** By the name of the wrap. */
  readonly values: Readonly<Record<string, string>>;
}

interface Failed {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

interface Told {
  readonly keys: Readonly<Record<'rsa' | 'ec' | 'oct', Released>>;
  readonly newer: Key;
  readonly newest: string;
  readonly named: string;
  readonly changed: readonly [string, boolean, string];
  readonly unmet: Failed;
  readonly fixed: Failed;
  readonly refused: readonly Failed[];
  readonly notExportable: Failed;
}

const CONTENT_TYPE = 'application/json; charset=utf-8';
const publicPart = (key: KeyObject) => createPublicKey(key).export({ format: 'der', type: 'spki' });
const publicPartOf = ({ jwk }: Key) => publicKeyOf(jwk).export({ format: 'der', type: 'spki' });

let enclave: Enclave;
let pool: TestPool;
let told: Told;

beforeAll(async () => {
  enclave = await Enclave.start();
  pool = await TestPool.start(undefined, enclave.options);
  const release = {
    policy: enclave.policy(),
    other: enclave.policy('better'),
    target: await enclave.assertion(),
    refused: [await enclave.assertion('bad'), await enclave.assertion('good', -1)],
  };
  told = (await runPython<{ release: Told }>(pool, 'keys.py', { chapters: ['release'], release })).release;
});
afterAll(async () => {
  await pool.remove();
  await enclave.stop();
});

it('release_key: keys of every type, with every wrap, and the enclave has the key that the pool made', () => {
  for (const [title, key] of Object.entries(told.keys)) {
    expect([key.exportable, key.policy]).toEqual([true, [CONTENT_TYPE, false, enclave.policy()]]);
    expect(Object.keys(key.values).sort()).toEqual([...WRAPS].sort());
    const opened = Object.entries(key.values).map(([enc, value]) => {
      const { request, bundle, key: released } = enclave.open(value);
      const kid = key.id.slice(0, key.id.lastIndexOf('/'));
      expect(request).toMatchObject({ enc, kid, nonce: `nonce of ${title}` });
      expect(text(bundle, 'key', 'kid')).toBe(key.id);
      return released;
    });
    if (key.type === 'oct-HSM') {
      const [first] = opened.map((released) => released.export());
      expect(first).toHaveLength(32);
      expect(opened.map((released) => released.export())).toEqual(opened.map(() => first));
    } else {
      expect(opened.map(publicPart)).toEqual(opened.map(() => publicPartOf(key)));
    }
  }
});

it('release_key: the newest version, or the one that is named', () => {
  const opened = [told.newest, told.named].map((value) => publicPart(enclave.open(value).key));
  expect(opened).toEqual([told.newer, told.keys.ec].map(publicPartOf));
});

it('update_key_properties: a policy can be changed until it is immutable', () => {
  expect(told.changed).toEqual([CONTENT_TYPE, true, enclave.policy('better')]);
  expect(told.unmet).toMatchObject({ status: 403, code: 'Forbidden' });
  expect(told.fixed).toMatchObject({ status: 400, code: 'BadParameter' });
  expect(told.fixed.message).toContain('Immutable Release policy cannot be modified');
});

it('nothing is released to an assertion that does not hold, and only exportable keys have a policy', () => {
  expect(told.refused.map(({ status, code }) => [status, code])).toEqual([
    [403, 'Forbidden'],
    [403, 'Forbidden'],
  ]);
  expect(told.notExportable).toMatchObject({ status: 400, code: 'BadParameter' });
});
