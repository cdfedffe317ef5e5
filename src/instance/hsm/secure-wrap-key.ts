// Make a key in the slot and wrap it with a key of the caller's choice: nobody ever sees it in clear.
import { wipe } from '../../values/bytes.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import type { KeyUse } from './reading.js';
import { wrapKey, type Wrapped } from './wrap-key.js';

/** An AES-256 key. */
const SECRET_LENGTH = 32;

/** Needs the right to wrap, and a key and an algorithm that can. */
export async function secureWrapKey(hsm: Hsm, caller: Caller, wish: KeyUse): Promise<Wrapped> {
  const secret = await hsm.partition.random(SECRET_LENGTH);
  try {
    return await wrapKey(hsm, caller, { ...wish, secret });
  } finally {
    wipe(secret);
  }
}
