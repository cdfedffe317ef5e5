// Rotation and its policy with @azure/keyvault-keys, unchanged.
import { TestPool } from '../scenarios/pool.js';
import { publicKeyOf } from '../scenarios/witness.js';
import { told as tell } from './programs/told.js';
import type { Refused, Shown } from './programs/told.js';

const DAY = 86_400;

interface Policy {
  readonly id: string;
  readonly expiresIn?: string;
  readonly createdOn?: number;
  readonly updatedOn?: number;
  readonly lifetimeActions: readonly object[];
}

interface Dated extends Shown {
  readonly created: number;
  readonly expiresOn?: number;
}

interface Turned {
  readonly first: Dated;
  readonly before?: Refused;
  readonly made: Policy;
  readonly read: Policy;
  readonly rotated: Dated;
  readonly newest: Dated;
  readonly older: Dated;
}

type Tried = Policy | { readonly failed: Refused };

interface Told {
  readonly rsa: Turned;
  readonly ec: Turned;
  readonly oct: Turned;
  readonly policies: Readonly<
    Record<'beforeExpiry' | 'months' | 'notify' | 'tooSoon' | 'noDuration' | 'blank', Tried>
  >;
  readonly missing: readonly Refused[];
}

describe('rotation', () => {
  let pool: TestPool;
  let told: Told;

  beforeAll(async () => {
    pool = await TestPool.start();
    told = await tell<Told>(pool, 'rotation.mjs', ['rsa', 'ec', 'oct', 'policies', 'missing']);
  });
  afterAll(() => pool.remove());

  it.each(['rsa', 'ec', 'oct'] as const)('%s: a policy is told as it was set', (type) => {
    const { first, before, made, read } = told[type];
    expect(before).toMatchObject({ status: 404, code: 'KeyNotFound' });
    expect(made).toMatchObject({
      id: `keys/${first.name}/rotationpolicy`,
      expiresIn: 'P90D',
      lifetimeActions: [{ action: 'Rotate', timeAfterCreate: 'P30D' }],
    });
    expect(Math.abs((made.createdOn ?? 0) - Date.now() / 1_000)).toBeLessThan(DAY);
    expect(read).toEqual(made);
  });

  it.each(['rsa', 'ec', 'oct'] as const)('%s: a rotated key is a new one of the same kind', (type) => {
    const { first, rotated, newest, older } = told[type];
    expect(rotated.version).not.toBe(first.version);
    expect(newest).toEqual(rotated);
    expect(older).toEqual(first);
    expect(rotated).toMatchObject({ type: first.type, enabled: true });
    expect([...rotated.operations].sort()).toEqual([...first.operations].sort());
    expect((rotated.expiresOn ?? 0) - rotated.created).toBe(90 * DAY);
    if (type === 'oct') return;
    const [before, after] = [publicKeyOf(first.jwk), publicKeyOf(rotated.jwk)];
    expect(after.asymmetricKeyDetails).toEqual(before.asymmetricKeyDetails);
    expect(after.equals(before)).toBe(false);
  });

  it('policies that Managed HSM has are taken, others are refused', () => {
    const { beforeExpiry, months, notify, tooSoon, noDuration, blank } = told.policies;
    expect(beforeExpiry).toMatchObject({
      expiresIn: 'P1Y',
      lifetimeActions: [{ action: 'Rotate', timeBeforeExpiry: 'P30D' }],
    });
    expect(months).toMatchObject({ lifetimeActions: [{ timeAfterCreate: 'P18M' }] });
    for (const refused of [notify, tooSoon, noDuration]) {
      expect(refused).toMatchObject({ failed: { status: 400 } });
    }
    expect(blank).toMatchObject({ lifetimeActions: [] });
  });

  it('a key that is not there neither rotates nor has a policy', () => {
    expect(told.missing).toMatchObject(Array(3).fill({ status: 404, code: 'KeyNotFound' }));
  });
});
