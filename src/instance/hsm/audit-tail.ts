// Show the newest records of this instance's audit log, to whoever may read the HSM's settings: its Administrators. They
// can give themselves every other role, so the log tells them nothing that they could not learn.
import type { Caller } from '../model/rbac/records.js';
import type { AuditTrail } from './audit.js';
import type { Hsm } from './hsm.js';
import { allow, settledRead } from './reading.js';

/** Lines as they lie on the disk, oldest first. */
export async function showAuditTail(
  hsm: Hsm,
  audit: Pick<AuditTrail, 'newest'>,
  caller: Caller,
  count: number,
): Promise<string[]> {
  await settledRead(hsm, caller, undefined, () => void allow(hsm, caller, 'settings/read/action', '/'));
  return audit.newest(count);
}
