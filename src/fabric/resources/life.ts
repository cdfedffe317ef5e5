// The turns in an HSM's life: deleted, purged, and what its pool reports. Each gives the next state. Pure.
import { DAY } from '../../values/moments.js';
import type { Seconds } from '../../values/moments.js';
import { without } from '../../values/without.js';
import { begin, end, note, replaceHsm, settled } from './change.js';
import { groupNamed, hsmId, isLiving, sameName } from './state.js';
import type { Hsm, ResourceState } from './state.js';

/** A living HSM is on its way to be closed; `operation` is the one that waits for it, and is in the state already. */
export function close(state: ResourceState, hsm: Hsm, operation: string, now: Seconds): ResourceState {
  // Whoever waits for what was in progress learns that it will not be.
  const cut = end(state, hsm.operation, 'Failed', `The managed HSM '${hsm.name}' was deleted.`);
  const closing = settled(hsm, {
    phase: 'Deleting',
    operation,
    deletedAt: now,
    scheduledPurgeAt: now + hsm.retentionDays * DAY,
  });
  const next = replaceHsm(cut, closing);
  // One whose recovery had not come to its end is deleted still, as far as anybody was told.
  return hsm.phase === 'Running' ? note(next, hsm, 'softDeleted', now) : next;
}

/** A deleted HSM is on its way out; from here on it is not charged for. */
export function purge(
  state: ResourceState,
  hsm: Hsm,
  now: Seconds,
  operation: string | undefined,
): ResourceState {
  const going = settled(hsm, { phase: 'Purging', ...(operation !== undefined && { operation }) });
  const next = replaceHsm(state, going);
  return hsm.founded ? note(next, hsm, 'purged', now) : next;
}

/** The retention of deleted HSMs has ended: then, however much later that is noticed. */
export function purgeDue(state: ResourceState, now: Seconds): ResourceState {
  return state.hsms
    .filter((hsm) => isDue(hsm, now))
    .reduce((so, hsm) => purge(so, hsm, hsm.scheduledPurgeAt ?? now, undefined), state);
}

export function isDue({ phase, scheduledPurgeAt }: Hsm, now: Seconds): boolean {
  return phase === 'Deleted' && scheduledPurgeAt !== undefined && scheduledPurgeAt <= now;
}

/** All three instances serve. */
export function started(state: ResourceState, hsm: Hsm, now: Seconds): ResourceState {
  switch (hsm.phase) {
    case 'Provisioning':
    case 'Recovering': {
      const living = without(hsm, 'deletedAt', 'scheduledPurgeAt');
      const ended = end(state, hsm.operation, 'Succeeded');
      const running = settled(living, { phase: 'Running', founded: true });
      return note(replaceHsm(ended, running), running, hsm.founded ? 'recovered' : 'provisioned', now);
    }
    case 'Running':
      return hsm.problem === undefined ? state : replaceHsm(state, settled(hsm, {}));
    case 'Failed':
    case 'Deleting':
    case 'Deleted':
    case 'Purging':
      return state; // decided otherwise meanwhile
  }
}

/** The pool did not come up. One that has never served is given up; any other is tried again. */
export function startFailed(state: ResourceState, hsm: Hsm, reason: string): ResourceState {
  switch (hsm.phase) {
    case 'Provisioning': {
      const ended = end(state, hsm.operation, 'Failed', reason);
      return replaceHsm(ended, settled(hsm, { phase: 'Failed', problem: reason }));
    }
    case 'Recovering': {
      const ended = end(state, hsm.operation, 'Failed', reason);
      return replaceHsm(ended, settled(hsm, { problem: reason }));
    }
    case 'Running':
      return hsm.problem === reason ? state : replaceHsm(state, { ...hsm, problem: reason });
    case 'Failed':
    case 'Deleting':
    case 'Deleted':
    case 'Purging':
      return state;
  }
}

/** None of its processes is left. */
export function stopped(state: ResourceState, hsm: Hsm): ResourceState {
  if (hsm.phase !== 'Deleting') return state;
  const group = groupNamed(state, hsm.group);
  // An operation that deletes a whole group ends with the last of its HSMs.
  const own = hsm.operation === group?.deleting ? undefined : hsm.operation;
  const ended = end(state, own, 'Succeeded');
  return removeEmptyGroup(replaceHsm(ended, settled(hsm, { phase: 'Deleted' })), hsm.group);
}

/** Nothing of it is left; its name is free. */
export function destroyed(state: ResourceState, hsm: Hsm): ResourceState {
  if (hsm.phase !== 'Purging') return state;
  const id = hsmId(state, hsm).toLowerCase();
  return {
    ...end(state, hsm.operation, 'Succeeded'),
    hsms: state.hsms.filter((other) => other.poolId !== hsm.poolId),
    assignments: state.assignments.filter(({ scope }) => scope.toLowerCase() !== id),
  };
}

/** Deletes a group and closes all that lives in it. */
export function closeGroup(
  state: ResourceState,
  name: string,
  operation: string,
  by: string,
  now: Seconds,
): ResourceState {
  const group = groupNamed(state, name);
  if (!group) return state;
  const { location } = group;
  const begun = begin(state, {
    id: operation,
    kind: 'deleteGroup',
    target: group.name,
    group: group.name,
    location,
    by,
    startedAt: now,
  });
  const marked: ResourceState = {
    ...begun,
    groups: begun.groups.map((other) => (other === group ? { ...group, deleting: operation } : other)),
  };
  const closed = livingIn(marked, group.name)
    // What is on its way already goes on under its own operation.
    .filter(({ phase }) => phase !== 'Deleting')
    .reduce((so, hsm) => close(so, hsm, operation, now), marked);
  return removeEmptyGroup(closed, group.name);
}

function removeEmptyGroup(state: ResourceState, name: string): ResourceState {
  const group = groupNamed(state, name);
  if (group?.deleting === undefined || livingIn(state, name).length > 0) return state;
  const id = `/subscriptions/${state.subscription.id}/resourcegroups/${group.name}`.toLowerCase();
  return {
    ...end(state, group.deleting, 'Succeeded'),
    groups: state.groups.filter((other) => other !== group),
    // A later group of the same name is another one.
    assignments: state.assignments.filter(({ scope }) => scope.toLowerCase() !== id),
  };
}

function livingIn(state: ResourceState, group: string): Hsm[] {
  return state.hsms.filter((hsm) => isLiving(hsm) && sameName(hsm.group, group));
}
