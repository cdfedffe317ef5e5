// The judge: one pure function from a state and a mutation to what changes, or to the reason why nothing does.
// The primary calls it to decide, the others to check, all of them to apply.
import { applyToRoles } from './rbac/apply.js';
import { permit } from './rbac/permit.js';
import { applyToJobs } from './jobs/apply.js';
import { applyToKeys } from './keys/apply.js';
import { applyToActivation } from './activation.js';
import { changeSetting, closedBy, found, POOL, protect } from './pool.js';
import { Refusal } from './refusal.js';
import { OUTCOMES_KEPT, put, remove, type Change, type State } from './state.js';
import { changeTrust } from './trust.js';
import type {
  JobMutation,
  KeyMutation,
  Mutation,
  RoleMutation,
  SettingChanged,
  TrustChanged,
} from './mutation.js';

type ContentMutation = KeyMutation | RoleMutation | SettingChanged | TrustChanged;

/**
 * What the mutation changes when it becomes entry `index` of the log. The caller has made sure that its id is not in
 * `outcomes` and that its time is not before the last one's.
 */
export function judge(state: State, mutation: Mutation, index: number): Change[] | Refusal {
  const { authority } = mutation;
  if (authority) {
    const denied = permit(state, authority.caller, authority.action, authority.scope);
    if (denied) return denied;
  }
  const changes = apply(state, mutation);
  if (changes instanceof Refusal) return changes;
  const slot = String(index % OUTCOMES_KEPT);
  const oldest = state.get('outcomeSlots', slot);
  if (oldest) changes.push(remove('outcomes', oldest.mutation));
  changes.push(put('outcomes', mutation.id, { index }), put('outcomeSlots', slot, { mutation: mutation.id }));
  return changes;
}

function apply(state: State, mutation: Mutation): Change[] | Refusal {
  if (mutation.kind === 'PoolFounded') return found(state, mutation);
  if (
    mutation.kind === 'TransferKeyMade' ||
    mutation.kind === 'PoolActivated' ||
    mutation.kind === 'DomainRestored'
  ) {
    return applyToActivation(state, mutation);
  }
  // The owner of the HSM may decide it before anybody has activated it.
  if (mutation.kind === 'PurgeProtectionSet') return protect(state);
  const pool = state.get('pool', POOL);
  if (pool?.activation !== 'Active') return new Refusal('NotActivated', 'The HSM is not activated');
  if (isOfJob(mutation)) return applyToJobs(state, pool, mutation);
  // Whatever it changed would be replaced.
  return closedBy(pool) ?? applyToContents(state, mutation);
}

const ofJobs: Readonly<Record<JobMutation['kind'], true>> = {
  JobStarted: true,
  JobTaken: true,
  JobProgressed: true,
  JobFinished: true,
  RestoreStaged: true,
  StagingRemoved: true,
  RestoreSwitched: true,
};

function isOfJob(mutation: JobMutation | ContentMutation): mutation is JobMutation {
  return Object.hasOwn(ofJobs, mutation.kind);
}

function applyToContents(state: State, mutation: ContentMutation): Change[] | Refusal {
  switch (mutation.kind) {
    case 'RoleDefinitionPut':
    case 'RoleDefinitionDeleted':
    case 'RoleAssignmentCreated':
    case 'RoleAssignmentDeleted':
      return applyToRoles(state, mutation);
    case 'SettingChanged':
      return changeSetting(state, mutation);
    case 'TrustChanged':
      return changeTrust(state, mutation);
    case 'KeyVersionCreated':
    case 'KeyRotated':
    case 'RotationPolicySet':
    case 'KeyRestored':
    case 'KeyUpdated':
    case 'KeyDeleted':
    case 'KeyRecovered':
    case 'KeyPurged':
      return applyToKeys(state, mutation);
  }
}

/** A tag names what a read depends on and a mutation touches; a read waits only for undecided mutations that share one. */
export type Tag = `key:${string}` | `principal:${string}` | 'assignments' | 'definitions' | 'pool' | 'jobs';

export function tagsOf(mutation: Mutation): Tag[] {
  switch (mutation.kind) {
    case 'PoolFounded':
    case 'TransferKeyMade':
    case 'PoolActivated':
    case 'DomainRestored':
    case 'PurgeProtectionSet':
    case 'SettingChanged':
    case 'TrustChanged':
      return ['pool'];
    // Whether the pool is open follows from its jobs; with a switch it holds something else, which every read waits for.
    case 'JobStarted':
    case 'JobFinished':
    case 'RestoreSwitched':
      return ['jobs', 'pool'];
    case 'JobTaken':
    case 'JobProgressed':
    case 'RestoreStaged':
    case 'StagingRemoved':
      return ['jobs'];
    case 'KeyRestored':
      return mutation.job ? [`key:${mutation.name}`, 'jobs', 'pool'] : [`key:${mutation.name}`];
    case 'KeyVersionCreated':
    case 'KeyRotated':
    case 'RotationPolicySet':
    case 'KeyUpdated':
    case 'KeyDeleted':
    case 'KeyRecovered':
    case 'KeyPurged':
      return [`key:${mutation.name}`];
    case 'RoleDefinitionPut':
    case 'RoleDefinitionDeleted':
      return ['definitions'];
    case 'RoleAssignmentCreated':
    case 'RoleAssignmentDeleted':
      // The principal's own requests wait for it, and whoever reads assignments.
      return [`principal:${mutation.assignment.principalId}`, 'assignments'];
  }
}
