// What is to be done next for one HSM, from what is wished and what there is. Carried out step by step; after a crash
// the same steps go on from wherever things were left. Pure.
import { isWanted } from './state.js';
import type { Hsm } from './state.js';

export interface Seen {
  /** Its three instances serve. */
  readonly up: boolean;
  /**
   * What lies in its directory: nothing, or a pool with this id, which is undefined for one that is not made to its end
   * or was made before pools had ids.
   */
  readonly onDisk: { readonly poolId: string | undefined } | undefined;
}

export type Step =
  /** Make the pool if there is none, and start its instances. */
  | 'start'
  /** Close its doors, and end its instances. */
  | 'stop'
  /** Remove all that it has. */
  | 'destroy'
  /** Put down that it is as it was wished. */
  | 'report'
  | 'rest';

export function nextStep(hsm: Hsm, { up, onDisk }: Seen): Step {
  if (isWanted(hsm)) {
    if (up) return hsm.phase === 'Running' && hsm.problem === undefined ? 'rest' : 'report';
    // What another pool of the name has left, which had failed before it ever served.
    const foreign = onDisk?.poolId !== undefined && onDisk.poolId !== hsm.poolId;
    return foreign && !hsm.founded ? 'destroy' : 'start';
  }
  if (up) return 'stop';
  switch (hsm.phase) {
    case 'Deleting':
      return 'report';
    case 'Purging':
      return onDisk ? 'destroy' : 'report';
    case 'Failed':
      return onDisk ? 'destroy' : 'rest';
    case 'Deleted':
    case 'Provisioning':
    case 'Recovering':
    case 'Running':
      return 'rest';
  }
}
