// Show a key's public side. A disabled key is shown too.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { keyView, type KeyView } from './key-view.js';
import { allow, keyScope, liveVersion, settledRead } from './reading.js';

/** The named version, or the newest. */
export function getKey(
  hsm: Hsm,
  caller: Caller,
  name: string,
  version: string | undefined,
): KeyView | Promise<KeyView> {
  return settledRead(hsm, caller, `key:${name}`, () => {
    const pool = allow(hsm, caller, 'keys/read/action', keyScope(name));
    return keyView(liveVersion(hsm.state, name, version), pool);
  });
}
