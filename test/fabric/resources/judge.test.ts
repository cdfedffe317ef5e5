import fc from 'fast-check';
import { adopt, beginning } from '../../../src/fabric/resources/adopt.js';
import { judge } from '../../../src/fabric/resources/judge.js';
import { nextStep } from '../../../src/fabric/resources/plan.js';
import { ArmRefusal } from '../../../src/fabric/resources/refusal.js';
import { groupNamed, isLiving, isWanted } from '../../../src/fabric/resources/state.js';
import type { Hsm, ResourceState } from '../../../src/fabric/resources/state.js';
import type { Wish } from '../../../src/fabric/resources/wish.js';
import { permits } from '../../../src/fabric/resources/rbac.js';

const SUBSCRIPTION = '11111111-1111-4111-8111-111111111111';
const TENANT = '22222222-2222-4222-8222-222222222222';
const ADMIN = '33333333-3333-4333-8333-333333333333';
const DAY = 86_400;

/** Mostly none pass between two wishes: retention should not end before anything else has happened. */
const DAYS = [...Array<number>(20).fill(0), 5, 40];

/** A small world in which wishes meet one another. */
const GROUPS = ['one', 'two'];
const NAMES = ['aaa', 'Bbb', 'ccc'];

interface Given {
  readonly state: ResourceState;
  readonly now: number;
  readonly count: number;
}

const start: Given = {
  state: beginning(SUBSCRIPTION, 'one', { objectId: ADMIN, assignment: TENANT }, 0),
  now: 0,
  count: 0,
};

type Draft = (given: Given) => Wish;

const named = fc.record({ group: fc.constantFrom(...GROUPS), name: fc.constantFrom(...NAMES) });

function put(name: string, group: string, properties: Record<string, unknown>): Draft {
  return ({ count }) => ({
    kind: 'PutHsm',
    by: ADMIN,
    group,
    name,
    poolId: `pool-${count}`,
    operation: `operation-${count}`,
    tenantId: TENANT,
    properties: { location: 'local', tenantId: TENANT, administrators: [ADMIN], ...properties },
  });
}

function nextReport({ state }: Given): Wish {
  const waiting = state.hsms.find(({ phase }) => phase in REPORT_OF);
  return waiting
    ? { kind: REPORT_OF[waiting.phase as keyof typeof REPORT_OF], poolId: waiting.poolId }
    : { kind: 'TimePassed' };
}

const REPORT_OF = {
  Provisioning: 'Started',
  Recovering: 'Started',
  Deleting: 'Stopped',
  Purging: 'Destroyed',
} as const;

/** Something that its pool says, of one of the HSMs that there are. */
const REPORTS = ['Started', 'StartFailed', 'Stopped', 'Destroyed'] as const;

const drafts: fc.Arbitrary<{ what: string; draft: Draft }> = fc.oneof(
  fc
    .record({
      at: named,
      protect: fc.constantFrom(undefined, true),
      days: fc.constantFrom(undefined, 7, 30),
    })
    .map(({ at, protect, days }) => ({
      what: `put ${at.group}/${at.name} ${String(protect)} ${String(days)}`,
      draft: put(at.name, at.group, {
        ...(protect !== undefined && { purgeProtection: protect }),
        ...(days !== undefined && { retentionDays: days }),
      }),
    })),
  named.map(({ group, name }) => ({
    what: `recover ${group}/${name}`,
    draft: put(name, group, { createMode: 'recover' }),
  })),
  named.map(({ group, name }) => ({
    what: `delete ${group}/${name}`,
    draft: ({ count }: Given): Wish => ({
      kind: 'DeleteHsm',
      by: ADMIN,
      group,
      name,
      operation: `operation-${count}`,
    }),
  })),
  named.map(({ name }) => ({
    what: `purge ${name}`,
    draft: ({ count }: Given): Wish => ({
      kind: 'PurgeHsm',
      by: ADMIN,
      location: 'local',
      name: name.toUpperCase(),
      operation: `operation-${count}`,
    }),
  })),
  fc.constantFrom(...GROUPS).map((name) => ({
    what: `put group ${name}`,
    draft: (): Wish => ({ kind: 'PutGroup', by: ADMIN, name, location: 'local', tags: {} }),
  })),
  fc.constantFrom(...GROUPS).map((name) => ({
    what: `delete group ${name}`,
    draft: ({ count }: Given): Wish => ({
      kind: 'DeleteGroup',
      by: ADMIN,
      name,
      operation: `operation-${count}`,
    }),
  })),
  fc.constantFrom('Enabled', 'Enabled', 'Disabled', 'Warned').map((state) => ({
    what: `subscription ${state}`,
    draft: (): Wish => ({ kind: 'SetSubscription', state }),
  })),
  fc.record({ kind: fc.constantFrom(...REPORTS), which: fc.nat(4) }).map(({ kind, which }) => ({
    what: `${kind} ${which}`,
    draft: ({ state }: Given): Wish => {
      const poolId = state.hsms[which % Math.max(1, state.hsms.length)]?.poolId ?? 'none';
      return kind === 'StartFailed' ? { kind, poolId, reason: 'no luck' } : { kind, poolId };
    },
  })),
  // What pools say as a rule: that they are as they were wished.
  ...[1, 2, 3].map(() => fc.constant({ what: 'the next report', draft: nextReport })),
  fc.constant({ what: 'time passes', draft: (): Wish => ({ kind: 'TimePassed' }) }),
);

function step(
  { state, now, count }: Given,
  draft: Draft,
  days: number,
): { given: Given; wish: Wish; refused: boolean } {
  const later = now + days * DAY;
  const wish = draft({ state, now: later, count });
  const judged = judge(state, wish, { now: later, poolsMax: 4 });
  const refused = judged instanceof ArmRefusal;
  return { given: { state: refused ? state : judged, now: later, count: count + 1 }, wish, refused };
}

/** What must hold between a state and the next, whatever was wished. */
function check(before: ResourceState, after: ResourceState, wish: Wish, now: number): void {
  const names = after.hsms.map(({ name }) => name.toLowerCase());
  expect(new Set(names).size).toBe(names.length);
  expect(after.hsms.length).toBeLessThanOrEqual(4);
  for (const hsm of after.hsms) if (isLiving(hsm)) expect(groupNamed(after, hsm.group)).toBeDefined();
  for (const hsm of before.hsms) {
    const next = after.hsms.find(({ poolId }) => poolId === hsm.poolId);
    // A name is free only when nothing is left, or when what failed before it ever served begins anew.
    if (!next)
      expect([hsm.phase, wish.kind]).toEqual(
        hsm.phase === 'Failed' ? ['Failed', 'PutHsm'] : ['Purging', 'Destroyed'],
      );
    else mayFollow(hsm, next, now);
  }
  // Whoever wishes nothing while the subscription is read-only changes nothing.
  if (before.subscription.state === 'Disabled' && 'by' in wish) expect(after).toBe(before);
  const waiting = after.operations.filter(({ status }) => status === 'InProgress').map(({ id }) => id);
  const owners = [
    ...after.hsms.map(({ operation }) => operation),
    ...after.groups.map(({ deleting }) => deleting),
  ];
  for (const id of waiting) expect(owners).toContain(id);
  const numbers = after.events.map(({ sequence }) => sequence);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
}

function mayFollow(hsm: Hsm, next: Hsm, now: number): void {
  if (hsm.phase !== 'Purging' && next.phase === 'Purging') {
    expect(hsm.phase).toBe('Deleted');
    if (hsm.purgeProtection) expect(hsm.scheduledPurgeAt).toBeLessThanOrEqual(now);
  }
  if (hsm.phase === 'Purging') expect(next.phase).toBe('Purging');
  if (hsm.purgeProtection) expect(next.purgeProtection).toBe(true);
  if (hsm.founded) expect(next.founded).toBe(true);
  expect(next.retentionDays).toBe(hsm.retentionDays);
}

/** Each pool's events tell a life that can be charged for: provisioned once, purged once and last. */
function checkEvents(state: ResourceState): void {
  for (const poolId of new Set(state.events.map((event) => event.poolId))) {
    const kinds = state.events.filter((event) => event.poolId === poolId).map(({ kind }) => kind);
    expect(kinds.join(' ')).toMatch(
      /^provisioned(?: softDeleted(?: recovered softDeleted)*(?: recovered| purged)?)?$/,
    );
  }
}

test('judge: no sequence of wishes frees a held name, purges what is protected, or loses an operation', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(drafts, fc.constantFrom(...DAYS)), { maxLength: 60 }), (wishes) => {
      let given = start;
      for (const [{ draft }, days] of wishes) {
        const { given: next, wish } = step(given, draft, days);
        check(given.state, next.state, wish, next.now);
        given = next;
      }
      checkEvents(given.state);
    }),
    { numRuns: 2_000 },
  );
});

// Whatever was wished, pools that do as they are told bring everything to rest, and each operation to an end.
test('judge and plan: from any state the steps of the plan come to an end, and nothing is left waiting', () => {
  fc.assert(
    fc.property(fc.array(drafts, { maxLength: 30 }), (wishes) => {
      let given = start;
      for (const { draft } of wishes) given = step(given, draft, 0).given;
      const disks = new Map<string, string>();
      const up = new Set<string>();
      const report = (kind: 'Started' | 'Stopped' | 'Destroyed', poolId: string): void => {
        given = step(given, () => ({ kind, poolId }), 0).given;
      };
      for (const hsm of given.state.hsms) {
        for (let steps = 0; ; steps += 1) {
          expect(steps).toBeLessThan(10);
          const now = given.state.hsms.find(({ pool }) => pool === hsm.pool);
          const disk = disks.get(hsm.pool);
          const next =
            now &&
            nextStep(now, {
              up: up.has(hsm.pool),
              onDisk: disk === undefined ? undefined : { poolId: disk },
            });
          if (!now || next === 'rest') break;
          if (next === 'start') {
            disks.set(now.pool, now.poolId);
            up.add(now.pool);
          } else if (next === 'stop') up.delete(now.pool);
          else if (next === 'destroy') disks.delete(now.pool);
          else
            report(
              now.phase === 'Deleting' ? 'Stopped' : now.phase === 'Purging' ? 'Destroyed' : 'Started',
              now.poolId,
            );
        }
      }
      for (const hsm of given.state.hsms) expect(up.has(hsm.pool)).toBe(isWanted(hsm));
      expect(given.state.operations.filter(({ status }) => status === 'InProgress')).toEqual([]);
      expect(given.state.groups.filter(({ deleting }) => deleting !== undefined)).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test('judge: the end of retention purges, protected or not, and not a second before', () => {
  const made = step(start, put('aaa', 'one', { retentionDays: 7, purgeProtection: true }), 0).given;
  const poolId = 'pool-0';
  const running = step(made, () => ({ kind: 'Started', poolId }), 0).given;
  const deleting = step(
    running,
    () => ({ kind: 'DeleteHsm', by: ADMIN, group: 'one', name: 'aaa', operation: 'x' }),
    0,
  ).given;
  const deleted = step(deleting, () => ({ kind: 'Stopped', poolId }), 0).given;
  const at = (now: number): ResourceState | ArmRefusal =>
    judge(deleted.state, { kind: 'TimePassed' }, { now, poolsMax: 4 });
  expect(at(7 * DAY - 1)).toBe(deleted.state);
  expect(at(7 * DAY)).toMatchObject({
    hsms: [{ phase: 'Purging' }],
    events: [{}, {}, { kind: 'purged', time: 7 * DAY }],
  });
});

test('judge: who deletes what is just being recovered deletes it once, as far as it is charged for', () => {
  const remove: Draft = ({ count }) => ({
    kind: 'DeleteHsm',
    by: ADMIN,
    group: 'one',
    name: 'aaa',
    operation: `operation-${count}`,
  });
  const drafts: Draft[] = [
    put('aaa', 'one', {}),
    nextReport,
    remove,
    nextReport,
    put('aaa', 'one', { createMode: 'recover' }),
    remove,
    nextReport,
  ];
  const { state } = drafts.reduce((given, draft) => step(given, draft, 0).given, start);
  expect(state.hsms).toMatchObject([{ phase: 'Deleted' }]);
  expect(state.events.map(({ kind }) => kind)).toEqual(['provisioned', 'softDeleted']);
  expect(state.operations.map(({ kind, status }) => [kind, status])).toEqual([
    ['create', 'Succeeded'],
    ['delete', 'Succeeded'],
    ['recover', 'Failed'],
    ['delete', 'Succeeded'],
  ]);
});

test('judge: five HSMs a region, those that are deleted included; another region takes more', () => {
  let { state } = start;
  const wish = (name: string, location: string) =>
    judge(state, put(name, 'one', { location })({ state, now: 0, count: Number(name.slice(1)) }), {
      now: 0,
      poolsMax: 99,
    });
  for (let n = 1; n <= 5; n += 1) state = wish(`h0${n}`, 'East US') as ResourceState;
  expect(wish('h06', 'eastus')).toMatchObject({ code: 'QuotaExceeded' });
  expect(wish('h06', 'westus')).not.toBeInstanceOf(ArmRefusal);
});

test('adopt: a pool that is known stays as it is; one that is not is charged for from when it was made', () => {
  const found = {
    poolId: 'p',
    name: 'old',
    createdAt: 17,
    tenantId: TENANT,
    administrators: [ADMIN],
    cryptoUsers: [],
    retentionDays: 90,
    purgeProtection: false,
    founded: true,
  };
  const state = adopt(start.state, 'home', found);
  expect(state.groups.map(({ name }) => name)).toEqual(['one', 'home']);
  expect(state.events).toMatchObject([{ kind: 'provisioned', time: 17, name: 'old', sequence: 1 }]);
  expect(adopt(state, 'home', { ...found, poolId: 'q', name: 'OLD' })).toBe(state);
});

describe('permits', () => {
  const assignment = (role: string, scope: string) => ({
    name: 'x',
    scope,
    principalId: ADMIN,
    principalType: 'ServicePrincipal',
    role,
    createdBy: ADMIN,
    createdAt: 0,
  });
  const contributor = 'b24988ac-6180-42a0-ab88-20f7382dd24c';

  test('a scope holds below itself, whole segments only, in any case', () => {
    const given = [assignment(contributor, '/subscriptions/S/resourceGroups/team')];
    const may = (scope: string): boolean =>
      permits(given, ADMIN, 'Microsoft.KeyVault/managedHSMs/write', scope);
    expect(may('/subscriptions/s/resourcegroups/TEAM/providers/Microsoft.KeyVault/managedHSMs/h')).toBe(true);
    expect(may('/subscriptions/S/resourceGroups/team')).toBe(true);
    expect(may('/subscriptions/S/resourceGroups/team2')).toBe(false);
    expect(may('/subscriptions/S')).toBe(false);
  });

  test('what a role takes out again it does not give', () => {
    const given = [assignment(contributor, '/subscriptions/S')];
    const may = (action: string): boolean => permits(given, ADMIN, action, '/subscriptions/S');
    expect(may('Microsoft.Authorization/roleAssignments/read')).toBe(true);
    expect(may('microsoft.authorization/roleassignments/WRITE')).toBe(false);
    expect(may('Microsoft.Authorization/roleAssignments/delete')).toBe(false);
    expect(permits(given, TENANT, 'x/read', '/subscriptions/S')).toBe(false);
  });
});
