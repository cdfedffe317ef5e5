// Roles in the model: what built-in and custom roles give, what may become of assignments, and that the judge asks
// again in log order.
import fc from 'fast-check';
import { judge, tagsOf } from '../../../src/instance/model/judge.js';
import type { Authority, RoleMutation } from '../../../src/instance/model/mutation.js';
import { MAX_HSM_ASSIGNMENTS, MAX_KEY_ASSIGNMENTS } from '../../../src/instance/model/rbac/apply.js';
import {
  ACTION_PREFIX,
  ADMINISTRATOR,
  builtInRoles,
  CRYPTO_OFFICER,
  CRYPTO_USER,
  dataActionOf,
  dataActions,
  type DataAction,
} from '../../../src/instance/model/rbac/built-in-roles.js';
import { MAX_DEFINITIONS } from '../../../src/instance/model/rbac/definitions.js';
import { permit } from '../../../src/instance/model/rbac/permit.js';
import type { Assignment, Grant, Permission, Scope } from '../../../src/instance/model/rbac/records.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { ADMIN, created, foundedLog, nextId, NOW, type Log } from './fixtures.js';
import { gives, matrix, roleIds, scopes } from './role-matrix.js';

const ANN = 'bbbbbbbb-0000-4000-8000-000000000001';
const BOB = 'bbbbbbbb-0000-4000-8000-000000000002';
const ROLE = 'cccccccc-0000-4000-8000-000000000000';

function guid(kind: string, n: number): string {
  return `${kind.repeat(8)}-0000-4000-8000-${String(n).padStart(12, '0')}`;
}

let log: Log;
beforeEach(() => {
  log = foundedLog();
});

function assignment(wish: Partial<Assignment> = {}): Assignment {
  return { name: guid('d', 0), principalId: ANN, roleDefinitionId: CRYPTO_USER, scope: '/keys/k', ...wish };
}

function assigned(wish: Partial<Assignment> = {}, authority?: Authority): RoleMutation {
  const common = { kind: 'RoleAssignmentCreated', id: nextId(), time: NOW } as const;
  return { ...common, assignment: assignment(wish), ...(authority ? { authority } : {}) };
}

function withdrawn(wish: Partial<Assignment> = {}, authority?: Authority): RoleMutation {
  const common = { kind: 'RoleAssignmentDeleted', id: nextId(), time: NOW } as const;
  return { ...common, assignment: assignment(wish), ...(authority ? { authority } : {}) };
}

function defined(permissions: Partial<Permission>[], name = ROLE): RoleMutation {
  const all = permissions.map((one) => ({ dataActions: [], notDataActions: [], ...one }));
  return {
    kind: 'RoleDefinitionPut',
    id: nextId(),
    time: NOW,
    definition: { name, roleName: 'Signer', description: '', permissions: all },
  };
}

function undefinedRole(name = ROLE): RoleMutation {
  return { kind: 'RoleDefinitionDeleted', id: nextId(), time: NOW, name };
}

function may(objectId: string, action: DataAction, scope: Scope, groups: string[] = []): boolean {
  return permit(log.state, { objectId, groups }, action, scope) === undefined;
}

describe('built-in roles', () => {
  it('give what the matrix says, action by action, and there are no others', () => {
    const letters = Object.keys(roleIds);
    expect(builtInRoles.map(({ id }) => id).sort()).toEqual(Object.values(roleIds).sort());
    expect(Object.keys(matrix).sort()).toEqual([...dataActions].sort());
    for (const action of dataActions) {
      const holders = letters.filter((letter) =>
        builtInRoles.find(({ id }) => id === roleIds[letter])?.actions.has(action),
      );
      const wanted = letters.filter((letter) => matrix[action]?.includes(letter));
      expect([action, holders]).toEqual([action, wanted]);
    }
  });

  it('every action, role, scope of the assignment and scope of the request', () => {
    let n = 0;
    for (const [letter, roleDefinitionId] of Object.entries(roleIds)) {
      for (const held of scopes) {
        n += 1;
        const principalId = guid('e', n);
        expect(
          log.take(assigned({ name: guid('d', n), principalId, roleDefinitionId, scope: held })),
        ).toBeUndefined();
        for (const asked of scopes) {
          for (const action of dataActions) {
            const wanted = gives(letter, action, held, asked);
            expect([letter, held, asked, action, may(principalId, action, asked)]).toEqual([
              letter,
              held,
              asked,
              action,
              wanted,
            ]);
            expect(may(BOB, action, asked, [ANN, principalId])).toBe(wanted);
          }
        }
      }
    }
  });

  it('a data action is known in any case and by its whole name only', () => {
    for (const action of dataActions) {
      expect(dataActionOf(ACTION_PREFIX + action)).toBe(action);
      expect(dataActionOf((ACTION_PREFIX + action).toUpperCase())).toBe(action);
      expect(dataActionOf(action)).toBeUndefined();
      expect(dataActionOf(`${ACTION_PREFIX}${action}/`)).toBeUndefined();
    }
    for (const text of ['', '*', `${ACTION_PREFIX}*`, `${ACTION_PREFIX}keys/*`, 'constructor']) {
      expect(dataActionOf(text)).toBeUndefined();
    }
  });
});

describe('custom roles', () => {
  it('give what all blocks give, less what any block takes away', () => {
    log.take(
      defined([
        { dataActions: ['keys/sign/action', 'keys/verify/action', 'keys/read/action'] },
        { dataActions: ['keys/encrypt/action'], notDataActions: ['keys/verify/action', 'rng/action'] },
      ]),
    );
    log.take(assigned({ roleDefinitionId: ROLE }));
    const given = dataActions.filter((action) => may(ANN, action, '/keys/k'));
    expect(given).toEqual(['keys/read/action', 'keys/encrypt/action', 'keys/sign/action']);
    expect(may(ANN, 'keys/sign/action', '/keys')).toBe(false);
    expect(may(ANN, 'keys/sign/action', '/keys/kk')).toBe(false);
  });

  it('what one role takes away another may still give', () => {
    log.take(defined([{ dataActions: ['keys/read/action'], notDataActions: ['keys/sign/action'] }]));
    log.take(assigned({ roleDefinitionId: ROLE }));
    log.take(assigned({ name: guid('d', 1) }));
    expect(may(ANN, 'keys/sign/action', '/keys/k')).toBe(true);
  });

  it('an update counts from then on, for those who hold the role already', () => {
    log.take(defined([{ dataActions: ['keys/sign/action'] }]));
    log.take(assigned({ roleDefinitionId: ROLE }));
    log.take(defined([{ dataActions: ['keys/read/action'] }]));
    expect(may(ANN, 'keys/sign/action', '/keys/k')).toBe(false);
    expect(may(ANN, 'keys/read/action', '/keys/k')).toBe(true);
    expect(log.state.count('definitions')).toBe(1);
  });

  it('deleting one leaves its assignments without effect', () => {
    log.take(defined([{ dataActions: ['keys/sign/action'] }]));
    log.take(assigned({ roleDefinitionId: ROLE }));
    expect(log.take(undefinedRole())).toBeUndefined();
    expect(may(ANN, 'keys/sign/action', '/keys/k')).toBe(false);
    expect(log.state.get('assignments', guid('d', 0))).toBeDefined();
    expect(log.take(undefinedRole())).toBe('RoleDefinitionNotFound');
    expect(log.take(assigned({ name: guid('d', 1), principalId: BOB, roleDefinitionId: ROLE }))).toBe(
      'RoleDefinitionNotFound',
    );
    expect(log.take(withdrawn({ roleDefinitionId: ROLE }))).toBeUndefined();
  });

  it('never bear the id of a built-in one', () => {
    for (const { id } of builtInRoles) {
      expect(log.take(defined([], id))).toBe('BadParameter');
      expect(log.take(undefinedRole(id))).toBe('BadParameter');
    }
  });

  it('there are at most so many, and a full HSM still takes updates', () => {
    for (let n = 0; n < MAX_DEFINITIONS; n += 1) expect(log.take(defined([], guid('c', n)))).toBeUndefined();
    expect(log.take(defined([], guid('f', 9)))).toBe('TooManyRoleDefinitions');
    expect(log.take(defined([{ dataActions: ['rng/action'] }], guid('c', 0)))).toBeUndefined();
    log.take(undefinedRole(guid('c', 1)));
    expect(log.take(defined([], guid('c', MAX_DEFINITIONS)))).toBeUndefined();
  });
});

describe('assignments', () => {
  it('a name is taken once in the whole HSM', () => {
    log.take(assigned());
    expect(log.take(assigned({ principalId: BOB, scope: '/' }))).toBe('RoleAssignmentExists');
    expect(log.take(assigned())).toBe('RoleAssignmentExists');
  });

  it('the same under another name is refused; in another role, place or person it is not the same', () => {
    log.take(assigned());
    expect(log.take(assigned({ name: guid('d', 1) }))).toBe('RoleAlreadyAssigned');
    const others: Partial<Assignment>[] = [
      { scope: '/keys' },
      { principalId: BOB },
      { roleDefinitionId: CRYPTO_OFFICER },
    ];
    others.forEach((wish, n) => {
      expect(log.take(assigned({ name: guid('d', n + 2), ...wish }))).toBeUndefined();
    });
  });

  it('at most so many at / and /keys together, so many at each key', () => {
    const before = log.state.get('assignedAt', '/')?.names.length ?? 0;
    for (let n = before; n < MAX_HSM_ASSIGNMENTS; n += 1) {
      const wish = { name: guid('d', n), principalId: guid('e', n), scope: n % 2 ? '/' : '/keys' } as const;
      expect(log.take(assigned(wish))).toBeUndefined();
    }
    for (const scope of ['/', '/keys'] as const) {
      expect(log.take(assigned({ name: guid('f', 0), scope }))).toBe('TooManyRoleAssignments');
    }
    for (const scope of ['/keys/k', '/keys/K'] as const) {
      for (let n = 0; n < MAX_KEY_ASSIGNMENTS; n += 1) {
        const name = guid(scope === '/keys/k' ? 'a' : 'b', n);
        expect(log.take(assigned({ name, principalId: guid('e', n), scope }))).toBeUndefined();
      }
      expect(log.take(assigned({ name: guid('f', 0), scope }))).toBe('TooManyRoleAssignments');
    }
    log.take(withdrawn({ name: guid('a', 0), principalId: guid('e', 0) }));
    expect(log.take(assigned({ name: guid('f', 0) }))).toBeUndefined();
  });

  it('the last Managed HSM Administrator at / stays', () => {
    const first = { name: 'n1', principalId: ADMIN, roleDefinitionId: ADMINISTRATOR, scope: '/' } as const;
    expect(log.state.get('assignments', 'n1')).toEqual(first);
    expect(log.take(withdrawn(first))).toBe('LastAdministrator');
    // An administrator of one key only cannot stand in for her.
    log.take(assigned({ roleDefinitionId: ADMINISTRATOR }));
    expect(log.take(withdrawn(first))).toBe('LastAdministrator');
    expect(log.take(withdrawn({ roleDefinitionId: ADMINISTRATOR }))).toBeUndefined();
    const second = { ...first, name: guid('d', 1), principalId: BOB };
    log.take(assigned(second));
    expect(log.take(withdrawn(first))).toBeUndefined();
    expect(may(ADMIN, 'securitydomain/download/action', '/')).toBe(false);
    expect(log.take(withdrawn(second))).toBe('LastAdministrator');
  });

  it('what is withdrawn is what was read, not a later one of the same name', () => {
    log.take(assigned());
    for (const wish of [
      { principalId: BOB },
      { scope: '/keys' as const },
      { roleDefinitionId: CRYPTO_OFFICER },
    ]) {
      expect(log.take(withdrawn(wish))).toBe('RoleAssignmentNotFound');
    }
    expect(log.take(withdrawn())).toBeUndefined();
    expect(log.take(withdrawn())).toBe('RoleAssignmentNotFound');
  });

  it('a pool founded with the same administrator twice assigns her once', () => {
    log = foundedLog({ administrators: [ADMIN, ADMIN.toUpperCase(), BOB] });
    expect(log.state.get('grants', ADMIN)?.grants.length).toBe(3);
    expect(log.state.get('assignedAt', '/')?.names.length).toBe(4);
    expect(log.state.count('assignments')).toBe(4);
  });
});

describe('authority', () => {
  const caller = { objectId: ANN, groups: [] };
  const write: Authority = { caller, action: 'roleAssignments/write/action', scope: '/keys/k' };
  const remove: Authority = { caller, action: 'roleAssignments/delete/action', scope: '/keys/k' };
  const forOfficer = { name: guid('d', 1), principalId: BOB, roleDefinitionId: CRYPTO_OFFICER };

  beforeEach(() => {
    log.take(assigned({ roleDefinitionId: CRYPTO_OFFICER }));
  });

  it('at one key assigns and withdraws at that key', () => {
    expect(log.take(assigned(forOfficer, write))).toBeUndefined();
    expect(log.take(withdrawn(forOfficer, remove))).toBeUndefined();
  });

  it('at one key reaches nothing else, whatever the mutation names', () => {
    for (const scope of ['/', '/keys', '/keys/other', '/keys/kk', '/keys/K'] as const) {
      const wish = { ...forOfficer, scope };
      // The right asked for at the key, the assignment made elsewhere; then asked for where it is made.
      expect(log.take(assigned(wish, write))).toBe('NotPermitted');
      expect(log.take(assigned(wish, { ...write, scope }))).toBe('NotPermitted');
      expect(log.take(assigned(wish))).toBeUndefined();
      expect(log.take(withdrawn(wish, remove))).toBe('NotPermitted');
      expect(log.take(withdrawn(wish))).toBeUndefined();
    }
  });

  it('is asked for again in log order: what a revoked administrator sent comes to nothing', () => {
    log.take(withdrawn({ roleDefinitionId: CRYPTO_OFFICER }));
    expect(log.take(assigned(forOfficer, write))).toBe('NotPermitted');
    const definition: RoleMutation = {
      ...defined([{ dataActions: ['keys/sign/action'] }]),
      authority: { caller, action: 'roleDefinitions/write/action', scope: '/' },
    };
    expect(log.take(definition)).toBe('NotPermitted');
    expect(
      log.take(created('k', 'v', { authority: { caller, action: 'keys/create', scope: '/keys/k' } })),
    ).toBe('NotPermitted');
  });
});

describe('every member', () => {
  it('comes to the same changes from the encoded mutation', () => {
    const mutation = defined([{ dataActions: ['rng/action'] }]);
    const here = judge(log.state, mutation, log.index + 1);
    const there = judge(log.state, decode(encode(mutation)) as RoleMutation, log.index + 1);
    expect(here).not.toBeInstanceOf(Refusal);
    expect(encode(there)).toEqual(encode(here));
  });

  it('holds reads back for the principal, for who lists assignments, or for all', () => {
    expect(tagsOf(assigned())).toEqual([`principal:${ANN}`, 'assignments']);
    expect(tagsOf(withdrawn())).toEqual([`principal:${ANN}`, 'assignments']);
    expect(tagsOf(defined([]))).toEqual(['definitions']);
    expect(tagsOf(undefinedRole())).toEqual(['definitions']);
  });
});

it('what follows from the assignments is always what would be computed from them anew', () => {
  const step = fc.record({
    add: fc.boolean(),
    name: fc.nat({ max: 6 }),
    principalId: fc.constantFrom(ADMIN, ANN, BOB),
    roleDefinitionId: fc.constantFrom(ADMINISTRATOR, CRYPTO_USER, ROLE),
    scope: fc.constantFrom<Scope>('/', '/keys', '/keys/a', '/keys/b'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      log = foundedLog();
      log.take(defined([{ dataActions: ['keys/sign/action'] }]));
      for (const { add, name, ...rest } of steps) {
        const wish = { ...rest, name: guid('d', name) };
        log.take(add ? assigned(wish) : withdrawn(log.state.get('assignments', wish.name) ?? wish));
      }
      const all = log.state.range('assignments', '', 1000).map(([, one]) => one);
      const grants = new Map<string, Grant[]>();
      const names = new Map<string, string[]>();
      for (const { name, principalId, roleDefinitionId, scope } of all) {
        grants.set(principalId, [...(grants.get(principalId) ?? []), { roleDefinitionId, scope }]);
        names.set(scope, [...(names.get(scope) ?? []), name]);
      }
      const sorted = (list: readonly unknown[]) => list.map((one) => JSON.stringify(one)).sort();
      expect(log.state.count('grants')).toBe(grants.size);
      expect(log.state.count('assignedAt')).toBe(names.size);
      for (const [id, held] of grants) {
        expect(sorted(log.state.get('grants', id)?.grants ?? [])).toEqual(sorted(held));
      }
      for (const [scope, there] of names) {
        expect(log.state.get('assignedAt', scope)?.names.toSorted()).toEqual(there.toSorted());
      }
      expect(
        all.some(({ roleDefinitionId, scope }) => roleDefinitionId === ADMINISTRATOR && scope === '/'),
      ).toBe(true);
    }),
  );
});
