// Random bytes from the slot.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';

/** At most this many bytes a call. */
const RANDOM_BYTES_MAX = 128;

/** The receiver wipes them. */
export function random(hsm: Hsm, caller: Caller, count: number): Buffer | Promise<Buffer> {
  return settledRead(hsm, caller, undefined, () => {
    allow(hsm, caller, 'rng/action', '/');
    if (!Number.isInteger(count) || count < 1 || count > RANDOM_BYTES_MAX) {
      refuse('BadParameter', `count must be a whole number from 1 to ${RANDOM_BYTES_MAX}`);
    }
    return hsm.partition.random(count);
  });
}
