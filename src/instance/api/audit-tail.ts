// Handler of the newest audit records. Not the service's.
import { toJson } from '../../values/json.js';
import { showAuditTail } from '../hsm/audit-tail.js';
import type { Call } from './call.js';

const COUNT = 100;

/** `GET /trivet/audit`: lines of this instance's log, as texts, so that their hashes can be checked. */
export async function newest({ hsm, audit, caller }: Call): Promise<string> {
  return toJson({ instance: hsm.instance, value: await showAuditTail(hsm, audit, caller, COUNT) });
}
