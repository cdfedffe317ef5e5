// Roles between reading and judging: what was true when a verb read may be true no more when its mutation is judged,
// and what is undecided holds back whom it concerns.
import { createRoleAssignment } from '../../../src/instance/hsm/create-role-assignment.js';
import { deleteRoleAssignment } from '../../../src/instance/hsm/delete-role-assignment.js';
import { deleteRoleDefinition } from '../../../src/instance/hsm/delete-role-definition.js';
import { failureOf, type FailureCode } from '../../../src/instance/hsm/failure.js';
import { listRoleAssignments } from '../../../src/instance/hsm/list-role-assignments.js';
import { putRoleDefinition } from '../../../src/instance/hsm/put-role-definition.js';
import type { AssignmentView } from '../../../src/instance/hsm/role-view.js';
import { Tail } from '../../../src/instance/hsm/tail.js';
import type { RoleMutation } from '../../../src/instance/model/mutation.js';
import { CRYPTO_USER } from '../../../src/instance/model/rbac/built-in-roles.js';
import { newUuid } from '../../../src/values/ids.js';
import { callerOf, FakeHsm, OPERATOR, STRANGER } from './fake-hsm.js';

const operator = callerOf(OPERATOR);
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

function wish(more: Partial<AssignmentView> = {}): AssignmentView {
  return { name: newUuid(), principalId: STRANGER, roleDefinitionId: CRYPTO_USER, scope: '/keys/k', ...more };
}

/** Lets `other` be decided after the next verb has read and before its mutation is judged. */
function before(other: () => Promise<unknown>): void {
  const submit = hsm.submit.bind(hsm);
  jest.spyOn(hsm, 'submit').mockImplementationOnce(async (mutation) => {
    await other();
    return submit(mutation);
  });
}

const permissions = [{ dataActions: ['Microsoft.KeyVault/managedHsm/rng/action'], notDataActions: [] }];
const role = { name: newUuid(), roleName: 'r', description: '', permissions };

describe('between reading and judging', () => {
  it('of two assignments under one name one is made', async () => {
    const name = newUuid();
    const made = await Promise.all(
      [STRANGER, newUuid()].map((principalId) =>
        failure(() => createRoleAssignment(hsm, operator, wish({ name, principalId }))),
      ),
    );
    expect(made).toEqual([undefined, 'RoleAssignmentExists']);
  });

  it('a role that is deleted meanwhile is assigned to nobody', async () => {
    await putRoleDefinition(hsm, operator, role);
    before(() => deleteRoleDefinition(hsm, operator, role.name));
    const assigning = () => createRoleAssignment(hsm, operator, wish({ roleDefinitionId: role.name }));
    expect(await failure(assigning)).toBe('RoleDefinitionNotFound');
    expect(hsm.state.get('grants', STRANGER)).toBeUndefined();
  });

  it('an assignment that took the name of the one to remove stays', async () => {
    const old = await createRoleAssignment(hsm, operator, wish());
    const other = wish({ name: old.name, principalId: newUuid() });
    before(async () => {
      await deleteRoleAssignment(hsm, operator, '/', old.name);
      await createRoleAssignment(hsm, operator, other);
    });
    expect(await failure(() => deleteRoleAssignment(hsm, operator, '/', old.name))).toBe(
      'RoleAssignmentNotFound',
    );
    expect(hsm.state.get('assignments', old.name)).toEqual(other);
  });

  it('a removal is answered with what was removed, and leaves nothing behind', async () => {
    const made = await createRoleAssignment(hsm, operator, wish());
    expect(await deleteRoleAssignment(hsm, operator, '/keys', made.name)).toEqual(made);
    expect(hsm.state.get('grants', STRANGER)).toBeUndefined();
    expect(hsm.state.get('assignedAt', '/keys/k')).toBeUndefined();
  });
});

describe('what is undecided', () => {
  function tailWith(mutation: RoleMutation): Tail {
    const tail = new Tail(hsm.state);
    const bytes = Buffer.alloc(0);
    const entry = { index: 1, epoch: 1, time: 1, mutation: bytes, changesHash: bytes, hash: bytes };
    tail.push({ entry, mutation, changes: [] });
    return tail;
  }
  const common = { id: newUuid(), time: 1 };

  it('about an assignment holds back its principal and who lists assignments', async () => {
    for (const kind of ['RoleAssignmentCreated', 'RoleAssignmentDeleted'] as const) {
      const tail = tailWith({ ...common, kind, assignment: wish() });
      expect(tail.settled([`principal:${OPERATOR}`, 'definitions', 'pool', 'keys'])).toBeUndefined();
      const waiting = [tail.settled([`principal:${STRANGER}`]), tail.settled(['assignments'])];
      for (const wait of waiting) expect(wait).toBeInstanceOf(Promise);
      tail.takeThrough(1);
      tail.settle();
      for (const wait of waiting) await wait;
    }
  });

  it('about a definition holds back everybody, since anybody may hold it', async () => {
    const tail = tailWith({ ...common, kind: 'RoleDefinitionDeleted', name: role.name });
    void failure(() => listRoleAssignments(hsm, callerOf(STRANGER), '/keys/k'));
    const tags = hsm.waitedFor.at(-1) ?? [];
    expect(tags).toEqual(expect.arrayContaining(['definitions', 'assignments', `principal:${STRANGER}`]));
    const wait = tail.settled(['definitions']);
    expect(wait).toBeInstanceOf(Promise);
    tail.cut(1);
    await wait;
  });
});
