// What may become of the resources. One function judges and applies: it gives the next state, or why not. Knows no
// clock, no disk, no process.
import { unreachable } from '../../values/assert.js';
import { closeGroup, destroyed, purgeDue, startFailed, started, stopped } from './life.js';
import { deleteAssignment, deleteConnection, putAssignment, putConnection } from './judge-access.js';
import { deleteHsm, noGroup, patchHsm, purgeHsm, putHsm } from './judge-hsm.js';
import { isGroupName, isLocation } from './names.js';
import { ArmRefusal } from './refusal.js';
import { groupNamed, locationName } from './state.js';
import type { Group, Hsm, ResourceState } from './state.js';
import type { Circumstances, Wish } from './wish.js';

type WishOf<K extends Wish['kind']> = Extract<Wish, { kind: K }>;

/** The next state, which is the same object when nothing changes; or a refusal. */
export function judge(
  state: ResourceState,
  wish: Wish,
  circumstances: Circumstances,
): ResourceState | ArmRefusal {
  if ('by' in wish && state.subscription.state === 'Disabled') {
    return new ArmRefusal(
      'ReadOnlyDisabledSubscription',
      `The subscription '${state.subscription.id}' is disabled and therefore marked as read only. You cannot perform ` +
        'any write actions on this subscription until it is re-enabled.',
    );
  }
  const { now } = circumstances;
  switch (wish.kind) {
    case 'PutGroup':
      return putGroup(state, wish);
    case 'DeleteGroup':
      return deleteGroup(state, wish, circumstances);
    case 'PutHsm':
      return putHsm(state, wish, circumstances);
    case 'PatchHsm':
      return patchHsm(state, wish, circumstances);
    case 'DeleteHsm':
      return deleteHsm(state, wish, circumstances);
    case 'PurgeHsm':
      return purgeHsm(state, wish, circumstances);
    case 'PutConnection':
      return putConnection(state, wish, circumstances);
    case 'DeleteConnection':
      return deleteConnection(state, wish, circumstances);
    case 'PutAssignment':
      return putAssignment(state, wish, circumstances);
    case 'DeleteAssignment':
      return deleteAssignment(state, wish);
    case 'SetSubscription':
      return state.subscription.state === wish.state
        ? state
        : { ...state, subscription: { ...state.subscription, state: wish.state } };
    case 'Started':
      return reported(state, wish.poolId, (hsm) => started(state, hsm, now));
    case 'StartFailed':
      return reported(state, wish.poolId, (hsm) => startFailed(state, hsm, wish.reason));
    case 'Stopped':
      return reported(state, wish.poolId, (hsm) => stopped(state, hsm));
    case 'Destroyed':
      return reported(state, wish.poolId, (hsm) => destroyed(state, hsm));
    case 'TimePassed':
      return purgeDue(state, now);
    case 'EventsTold':
      return { ...state, events: state.events.filter(({ sequence }) => sequence > wish.through) };
    default:
      return unreachable(wish);
  }
}

// What is said of a pool that is gone meanwhile is no news.
function reported(state: ResourceState, poolId: string, apply: (hsm: Hsm) => ResourceState): ResourceState {
  const hsm = state.hsms.find((other) => other.poolId === poolId);
  return hsm ? apply(hsm) : state;
}

function putGroup(state: ResourceState, wish: WishOf<'PutGroup'>): ResourceState | ArmRefusal {
  if (!isGroupName(wish.name)) {
    return new ArmRefusal(
      'BadRequest',
      `The resource group name '${wish.name.slice(0, 100)}' is invalid: up to 90 letters, digits, underscores, ` +
        'hyphens, periods and parentheses, and no period at the end.',
    );
  }
  const present = groupNamed(state, wish.name);
  const location = locationName(wish.location ?? '');
  if (location === '') {
    return new ArmRefusal('LocationRequired', 'The location property is required for this definition.');
  }
  if (!isLocation(location)) {
    return new ArmRefusal(
      'InvalidLocation',
      `The provided location '${String(wish.location)}' is not valid.`,
    );
  }
  if (!present) {
    const made: Group = { name: wish.name, location, tags: wish.tags };
    return { ...state, groups: [...state.groups, made] };
  }
  if (present.deleting !== undefined) {
    return new ArmRefusal(
      'ResourceGroupBeingDeleted',
      `The resource group '${present.name}' is in deprovisioning state and cannot perform this operation.`,
    );
  }
  if (present.location !== location) {
    return new ArmRefusal(
      'InvalidResourceLocation',
      `Invalid resource group location '${location}'. The Resource group already exists in location ` +
        `'${present.location}'.`,
    );
  }
  const changed = { ...present, tags: wish.tags };
  return { ...state, groups: state.groups.map((other) => (other === present ? changed : other)) };
}

function deleteGroup(
  state: ResourceState,
  wish: WishOf<'DeleteGroup'>,
  { now }: Circumstances,
): ResourceState | ArmRefusal {
  const present = groupNamed(state, wish.name);
  if (!present) return noGroup(wish.name);
  // Asked for again it goes on as it is; the caller is told the operation that it has.
  if (present.deleting !== undefined) return state;
  return closeGroup(state, present.name, wish.operation, wish.by, now);
}
