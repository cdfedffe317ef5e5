// Activation: a pool waits for its security domain to be downloaded, or for another's to be restored. The first of
// the two that is decided wins; nothing activates a pool in any other way, and nothing takes it back.
import type { ActivationMutation } from './mutation.js';
import { internalPurposes, POOL, TRANSFER, type Pool } from './pool.js';
import { Refusal } from './refusal.js';
import { put, remove, type Change, type State } from './state.js';

export function applyToActivation(state: State, mutation: ActivationMutation): Change[] | Refusal {
  const pool = state.get('pool', POOL);
  if (pool === undefined) return new Refusal('NotActivated', 'The HSM is not activated');
  if (pool.activation === 'Active') {
    return new Refusal('AlreadyActivated', 'The HSM is activated already, and stays as it is');
  }
  const transfer = state.get('internal', TRANSFER);
  switch (mutation.kind) {
    case 'TransferKeyMade':
      // One for all callers: a restore blob fits whichever instance it reaches.
      if (transfer) return new Refusal('TransferKeyExists', 'The HSM has a transfer key already');
      return [put('internal', TRANSFER, mutation.key)];
    case 'PoolActivated':
      return activate(state, pool);
    case 'DomainRestored':
      if (!transfer) return noTransferKey();
      return [
        ...activate(state, { ...pool, securityDomain: mutation.securityDomain }),
        ...internalPurposes.map((purpose) => put('internal', purpose, mutation.internal[purpose])),
      ];
  }
}

/** A pool that was never asked for its transfer key can open no upload. */
export function noTransferKey(): Refusal {
  return new Refusal('BadParameter', 'This HSM has given out no transfer key: nothing can be meant for it');
}

function activate(state: State, pool: Pool): Change[] {
  const changes: Change[] = [put('pool', POOL, { ...pool, activation: 'Active' })];
  if (state.get('internal', TRANSFER)) changes.push(remove('internal', TRANSFER));
  return changes;
}
