// Whose tokens this pool believes.
import type { TrustedIssuer } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import { POOL } from '../model/pool.js';
import type { Hsm } from './hsm.js';
import { refuse } from './reading.js';

export interface Trust {
  readonly tenantId: string;
  readonly issuers: readonly TrustedIssuer[];
}

/** What tokens are judged by. Before the pool is founded there is nobody whose token could be believed: refused. */
export function trustOf(hsm: Hsm): Trust {
  return hsm.state.get('pool', POOL) ?? refuse('NotActivated', 'The HSM is not activated');
}

/** The pool's clock, by which tokens begin and end. */
export function timeOf(hsm: Hsm): Seconds {
  return hsm.now();
}
