// The small steps of which every change to the state is made. Pure.
import type { PoolEvent } from '../../values/pool-event.js';
import type { Seconds } from '../../values/moments.js';
import { without } from '../../values/without.js';
import { OPERATIONS_MAX, hsmId } from './state.js';
import type { Hsm, Operation, ResourceState } from './state.js';

export function replaceHsm(state: ResourceState, hsm: Hsm): ResourceState {
  return { ...state, hsms: state.hsms.map((other) => (other.poolId === hsm.poolId ? hsm : other)) };
}

/** The HSM without what is over: its problem and its operation, unless given anew. */
export function settled(hsm: Hsm, changes: Partial<Hsm>): Hsm {
  return { ...without(hsm, 'problem', 'operation'), ...changes };
}

export function begin(state: ResourceState, operation: Omit<Operation, 'status'>): ResourceState {
  const all = [...state.operations, { ...operation, status: 'InProgress' as const }];
  const surplus = all.length - OPERATIONS_MAX;
  let dropped = 0;
  // The oldest of those that have ended make room.
  const kept = all.filter(({ status }) => status === 'InProgress' || (dropped += 1) > surplus);
  return { ...state, operations: kept };
}

/** Ends an operation; undefined, and one that has ended, stays as it is. */
export function end(
  state: ResourceState,
  id: string | undefined,
  status: 'Succeeded' | 'Failed',
  message?: string,
): ResourceState {
  if (id === undefined) return state;
  return {
    ...state,
    operations: state.operations.map((operation) =>
      operation.id === id && operation.status === 'InProgress'
        ? { ...operation, status, ...(message !== undefined && { message }) }
        : operation,
    ),
  };
}

export function note(state: ResourceState, hsm: Hsm, kind: PoolEvent['kind'], time: Seconds): ResourceState {
  const sequence = state.sequence + 1;
  const event: PoolEvent = {
    sequence,
    kind,
    poolId: hsm.poolId,
    name: hsm.pool,
    resourceId: hsmId(state, hsm),
    location: hsm.location,
    time,
  };
  return { ...state, sequence, events: [...state.events, event] };
}
