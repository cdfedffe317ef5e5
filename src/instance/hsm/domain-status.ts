// What became of the newest operation on the security domain. Each is answered when it is done, so there is none under
// way that a caller could see: the pool is active, or nothing has happened.
import type { DataAction } from '../model/rbac/built-in-roles.js';
import type { Caller } from '../model/rbac/records.js';
import { allowInactive } from './domain-rights.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead } from './reading.js';

/** Resolves when the newest download or upload has succeeded, whichever it was; refused when there was none. */
export function domainStatus(hsm: Hsm, caller: Caller, action: DataAction): 'Success' | Promise<'Success'> {
  return settledRead(hsm, caller, undefined, () => {
    const { activation } = allowInactive(hsm, caller, action);
    if (activation === 'Active') return 'Success' as const;
    return refuse('NoDomainOperation', 'The security domain was neither downloaded nor uploaded');
  });
}
