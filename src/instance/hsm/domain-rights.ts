// Who may call what before the pool is active: the security-domain calls, and nothing else.
import { closedBy, POOL, type Pool } from '../model/pool.js';
import { permit } from '../model/rbac/permit.js';
import type { DataAction } from '../model/rbac/built-in-roles.js';
import type { Caller } from '../model/rbac/records.js';
import { heed, RefusedError } from '../model/refusal.js';
import type { Hsm } from './hsm.js';
import { refuse } from './reading.js';

/** Goes on only if the caller holds the action for the whole HSM; the pool may be active or not. */
export function allowInactive(hsm: Hsm, caller: Caller, action: DataAction): Pool {
  const pool = hsm.state.get('pool', POOL) ?? refuse('NotActivated', 'The HSM is not activated');
  heed(permit(hsm.state, caller, action, '/'));
  const closed = closedBy(pool);
  if (closed) throw new RefusedError(closed);
  return pool;
}
