// Whether keys may be managed through the control plane: the setting of the HSM, which its Administrator changes.
import { POOL } from '../model/pool.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead } from './reading.js';

/** Goes on only while the setting allows it; the verb then asks for the caller's role. */
export function allowThroughArm(hsm: Hsm, caller: Caller): void | Promise<void> {
  return settledRead(hsm, caller, undefined, () => {
    const pool = hsm.state.get('pool', POOL);
    if (pool?.activation !== 'Active') refuse('NotActivated', 'The HSM is not activated');
    if (pool.settings.AllowKeyManagementOperationsThroughARM) return;
    refuse(
      'ArmNotAllowed',
      'The setting AllowKeyManagementOperationsThroughARM of this HSM is false: its keys are not managed through ARM',
    );
  });
}
