// The judge: the caller, the pool's condition, and the ids of mutations taken.
import { judge, tagsOf } from '../../../src/instance/model/judge.js';
import { permit, covers } from '../../../src/instance/model/rbac/permit.js';
import { builtInRoles, dataActions } from '../../../src/instance/model/rbac/built-in-roles.js';
import type { Scope } from '../../../src/instance/model/rbac/records.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import { emptyState, OUTCOMES_KEPT, Overlay, put } from '../../../src/instance/model/state.js';
import { activated, ADMIN, created, founded, foundedLog, Log, plain } from './fixtures.js';

const STRANGER = 'bbbbbbbb-0000-4000-8000-000000000000';

describe('founding', () => {
  it('happens once', () => {
    const log = new Log();
    expect(log.take(founded())).toBeUndefined();
    expect(log.take(founded())).toBe('AlreadyFounded');
  });

  it('comes before everything else', () => {
    expect(new Log().take(created('k', 'v'))).toBe('NotActivated');
    expect(new Log().take(activated())).toBe('NotActivated');
  });

  it('gives the administrators their role, the crypto users theirs, and nobody else anything', () => {
    const log = foundedLog({ administrators: [ADMIN], cryptoUsers: [STRANGER] });
    const may = (objectId: string, action: (typeof dataActions)[number]) =>
      permit(log.state, { objectId, groups: [] }, action, '/keys/k') === undefined;
    expect(may(ADMIN, 'roleAssignments/write/action')).toBe(true);
    expect(may(ADMIN, 'keys/sign/action')).toBe(false);
    expect(may(STRANGER, 'keys/sign/action')).toBe(true);
    expect(may(STRANGER, 'keys/deletedKeys/delete')).toBe(true);
    for (const action of dataActions) expect(may('cccccccc-0000-4000-8000-000000000000', action)).toBe(false);
  });
});

describe('authority', () => {
  it('is judged in log order: a caller who lost her role is refused', () => {
    const log = foundedLog();
    const authority = {
      caller: { objectId: ADMIN, groups: [] },
      action: 'keys/create',
      scope: '/keys/k',
    } as const;
    expect(log.take(created('k', 'v1', { authority }))).toBeUndefined();
    log.state.apply([put('grants', ADMIN, { grants: [] })]);
    expect(log.take(created('k', 'v2', { authority }))).toBe('NotPermitted');
  });

  it('a refusal changes nothing', () => {
    const log = foundedLog();
    const before = log.index;
    expect(log.take(plain('KeyDeleted', 'none'))).toBe('KeyNotFound');
    expect(log.take(plain('KeyRecovered', 'none'))).toBe('DeletedKeyNotFound');
    expect(log.take(plain('KeyPurged', 'none'))).toBe('DeletedKeyNotFound');
    expect(log.index).toBe(before);
  });
});

describe('outcomes', () => {
  it('the newest ids are remembered, and the oldest forgotten in its turn', () => {
    const log = foundedLog();
    const first = created('k', 'v1');
    log.take(first);
    const { index } = log;
    expect(log.state.get('outcomes', first.id)).toEqual({ index });
    const later = created('k', 'v2');
    const changes = judge(log.state, later, index + OUTCOMES_KEPT);
    if (changes instanceof Refusal) throw new Error(changes.detail);
    log.state.apply(changes);
    expect(log.state.get('outcomes', first.id)).toBeUndefined();
    expect(log.state.get('outcomes', later.id)).toEqual({ index: index + OUTCOMES_KEPT });
  });
});

describe('tags', () => {
  it('a mutation of a key touches that key, the founding the pool', () => {
    expect(tagsOf(created('k', 'v'))).toEqual(['key:k']);
    expect(tagsOf(plain('KeyPurged', 'k'))).toEqual(['key:k']);
    expect(tagsOf(founded())).toEqual(['pool']);
  });
});

describe('roles', () => {
  const scopes: Scope[] = ['/', '/keys', '/keys/a', '/keys/ab'];

  it('a scope covers itself and what lies below', () => {
    const table = scopes.map((wide) => scopes.map((narrow) => (covers(wide, narrow) ? 'x' : '.')).join(''));
    expect(table).toEqual(['xxxx', '.xxx', '..x.', '...x']);
  });

  it('a grant holds at its scope and below, for exactly the actions of its role', () => {
    for (const role of builtInRoles) {
      for (const wide of scopes) {
        const state = new Overlay(emptyState);
        state.apply([put('grants', ADMIN, { grants: [{ roleDefinitionId: role.id, scope: wide }] })]);
        for (const narrow of scopes) {
          for (const action of dataActions) {
            const wanted = role.actions.has(action) && covers(wide, narrow);
            expect(permit(state, { objectId: ADMIN, groups: [] }, action, narrow) === undefined).toBe(wanted);
            expect(permit(state, { objectId: STRANGER, groups: [ADMIN] }, action, narrow) === undefined).toBe(
              wanted,
            );
            expect(permit(state, { objectId: STRANGER, groups: [] }, action, narrow)?.code).toBe(
              'NotPermitted',
            );
          }
        }
      }
    }
  });

  it('a role that does not exist grants nothing', () => {
    const state = new Overlay(emptyState);
    state.apply([put('grants', ADMIN, { grants: [{ roleDefinitionId: STRANGER, scope: '/' }] })]);
    for (const action of dataActions) {
      expect(permit(state, { objectId: ADMIN, groups: [] }, action, '/')).toBeInstanceOf(Refusal);
    }
  });
});
