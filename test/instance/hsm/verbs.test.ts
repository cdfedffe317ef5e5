// What the verbs promise beyond their HTTP face: one synchronous turn of reading, waiting for what is undecided, and
// answers from the mutation's own changes.
import { randomBytes } from 'node:crypto';
import { createKey } from '../../../src/instance/hsm/create-key.js';
import { deleteKey } from '../../../src/instance/hsm/delete-key.js';
import { failureOf, type FailureCode } from '../../../src/instance/hsm/failure.js';
import { getKey } from '../../../src/instance/hsm/get-key.js';
import { importKey } from '../../../src/instance/hsm/import-key.js';
import { listKeys } from '../../../src/instance/hsm/list-keys.js';
import { Outage } from '../../../src/instance/hsm/outage.js';
import { purgeKey } from '../../../src/instance/hsm/purge-key.js';
import { recoverKey } from '../../../src/instance/hsm/recover-key.js';
import { sign } from '../../../src/instance/hsm/sign.js';
import { updateKey } from '../../../src/instance/hsm/update-key.js';
import { verify } from '../../../src/instance/hsm/verify.js';
import { MAX_VERSIONS } from '../../../src/instance/model/keys/limits.js';
import type { KeySpec } from '../../../src/values/key-spec.js';
import { callerOf, FakeHsm, OPERATOR, STRANGER } from './fake-hsm.js';

const operator = callerOf(OPERATOR);
const spec: KeySpec = { kty: 'EC-HSM', curve: 'P-256' };
const digest = randomBytes(32);
let hsm: FakeHsm;
beforeEach(() => {
  hsm = new FakeHsm();
});

async function failure(outcome: () => unknown): Promise<FailureCode | undefined> {
  try {
    await outcome();
  } catch (error) {
    return failureOf(error)?.code;
  }
  return undefined;
}

describe('reading', () => {
  it('sign: answers in the same turn when nothing is undecided', async () => {
    await createKey(hsm, operator, { name: 'k', spec });
    const signed = sign(hsm, operator, { name: 'k', algorithm: 'ES256', digest });
    expect(signed).not.toBeInstanceOf(Promise);
    const { signature, version } = await signed;
    expect(verify(hsm, operator, { name: 'k', version, algorithm: 'ES256', digest, signature })).toEqual({
      version,
      valid: true,
    });
  });

  it('sign: a key disabled while it waited refuses', async () => {
    await createKey(hsm, operator, { name: 'k', spec });
    let decide: () => void = () => undefined;
    hsm.undecided = new Promise((resolve) => (decide = resolve));
    const signing = failure(() => sign(hsm, operator, { name: 'k', algorithm: 'ES256', digest }));
    hsm.undecided = undefined;
    await updateKey(hsm, operator, { name: 'k', enabled: false });
    decide();
    expect(await signing).toBe('KeyDisabled');
  });

  it('sign: a wait that takes too long is an outage', async () => {
    hsm.undecided = Promise.reject(new Outage('Undecided', 'a change is not decided'));
    expect(await failure(() => sign(hsm, operator, { name: 'k', algorithm: 'ES256', digest }))).toBe(
      'Undecided',
    );
  });

  it('a read names its key, the caller, her groups, the definitions and the pool', () => {
    void failure(() => getKey(hsm, callerOf(STRANGER, 'g1', 'g2'), 'k', undefined));
    expect(hsm.waitedFor[0]?.toSorted()).toEqual(
      ['definitions', 'key:k', 'pool', 'principal:g1', 'principal:g2', `principal:${STRANGER}`].toSorted(),
    );
    void failure(() => listKeys(hsm, operator, '', 25));
    expect(hsm.waitedFor[1]).toContain('keys');
  });

  it('the permission is judged before the key is looked for', async () => {
    const stranger = callerOf(STRANGER);
    expect(await failure(() => getKey(hsm, stranger, 'none', undefined))).toBe('NotPermitted');
    expect(await failure(() => deleteKey(hsm, stranger, 'none'))).toBe('NotPermitted');
  });

  it('a pool that is not founded does nothing', async () => {
    const empty = new FakeHsm([], false);
    for (const verb of [
      () => getKey(empty, operator, 'k', undefined),
      () => createKey(empty, operator, { name: 'k', spec }),
      () => sign(empty, operator, { name: 'k', algorithm: 'ES256', digest }),
      () => purgeKey(empty, operator, 'k'),
    ]) {
      expect(await failure(verb)).toBe('NotActivated');
    }
  });
});

describe('writing', () => {
  it('create: nothing is made for a caller who may not, or under a held name', async () => {
    const generate = jest.spyOn(hsm.fake, 'generate');
    expect(await failure(() => createKey(hsm, callerOf(STRANGER), { name: 'k', spec }))).toBe('NotPermitted');
    expect(generate).not.toHaveBeenCalled();
    await createKey(hsm, operator, { name: 'k', spec });
    await deleteKey(hsm, operator, 'k');
    generate.mockClear();
    expect(await failure(() => createKey(hsm, operator, { name: 'k', spec }))).toBe('NameHeldByDeletedKey');
    expect(generate).not.toHaveBeenCalled();
  });

  it('create: the primary judges again, and its refusal is the answer', async () => {
    await createKey(hsm, operator, { name: 'k', spec });
    const generate = hsm.fake.generate.bind(hsm.fake);
    jest.spyOn(hsm.fake, 'generate').mockImplementation(async (id, wished) => {
      await deleteKey(hsm, operator, 'k');
      return generate(id, wished);
    });
    expect(await failure(() => createKey(hsm, operator, { name: 'k', spec }))).toBe('NameHeldByDeletedKey');
  });

  it('create: two at once each get their own version', async () => {
    const made = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        createKey(hsm, operator, { name: 'k', spec, tags: { n: String(i) } }),
      ),
    );
    expect(made.map(({ tags }) => tags?.['n'])).toEqual(Array.from({ length: 10 }, (_, i) => String(i)));
    expect(new Set(made.map(({ version }) => version)).size).toBe(10);
  });

  it('create: a key has at most so many versions', async () => {
    for (let i = 0; i < MAX_VERSIONS; i += 1) await createKey(hsm, operator, { name: 'k', spec });
    expect(await failure(() => createKey(hsm, operator, { name: 'k', spec }))).toBe('TooManyVersions');
  });

  it('delete: the answer is its own, even when the key is purged before it is written', async () => {
    const { version } = await createKey(hsm, operator, { name: 'k', spec });
    hsm.afterCommit = () => {
      hsm.afterCommit = undefined;
      void purgeKey(hsm, operator, 'k');
    };
    const deleted = await deleteKey(hsm, operator, 'k');
    expect(deleted).toMatchObject({ name: 'k', version, deleted: hsm.now() });
  });

  it('recover: the answer shows the newest version', async () => {
    await createKey(hsm, operator, { name: 'k', spec });
    const { version } = await createKey(hsm, operator, { name: 'k', spec });
    await deleteKey(hsm, operator, 'k');
    expect(await recoverKey(hsm, operator, 'k')).toMatchObject({ name: 'k', version });
  });

  it('update: operations stay with the version whose type they fit', async () => {
    const first = await createKey(hsm, operator, { name: 'k', spec });
    await updateKey(hsm, operator, { name: 'k', operations: ['sign'] });
    expect(hsm.submitted.at(-1)).toMatchObject({ kind: 'KeyUpdated', version: first.version });
    await updateKey(hsm, operator, { name: 'k', enabled: true });
    expect(hsm.submitted.at(-1)).not.toHaveProperty('version');
  });

  it('import: the clear bytes are wiped, whether it succeeds or not', async () => {
    for (const caller of [operator, callerOf(STRANGER)]) {
      const k = Buffer.alloc(32, 7);
      await failure(() => importKey(hsm, caller, { name: 'k', material: { kty: 'oct', k } }));
      expect(k).toEqual(Buffer.alloc(32));
    }
  });

  it('an outage reaches the caller as what it is', async () => {
    for (const code of ['TooFewInSync', 'OutcomeUnknown'] as const) {
      hsm.outage = new Outage(code, 'why');
      expect(await failure(() => createKey(hsm, operator, { name: 'k', spec }))).toBe(code);
    }
  });
});

it('what no verb foresees is no failure of the table', () => {
  expect(failureOf(new Error('x'))).toBeUndefined();
  expect(failureOf(undefined)).toBeUndefined();
});
