// List the live keys by name. Each page is true at one moment; a key that exists throughout appears exactly once,
// since the next page begins after the last name.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { itemView, type KeyItemView, type Page } from './key-view.js';
import { allow, newestVersion, settledRead } from './reading.js';

/** Up to `limit` keys whose names come after `after`. */
export function listKeys(
  hsm: Hsm,
  caller: Caller,
  after: string,
  limit: number,
): Page<KeyItemView> | Promise<Page<KeyItemView>> {
  return settledRead(hsm, caller, 'keys', () => {
    const pool = allow(hsm, caller, 'keys/read/action', '/keys');
    // One more than asked for: whether there is a next page must be known without a count.
    const found = hsm.state.range('keys', after, limit + 1);
    const shown = found.slice(0, limit).map(([, key]) => itemView(newestVersion(hsm.state, key), pool));
    const last = shown.at(-1);
    return { items: shown, ...(found.length > limit && last ? { next: last.name } : {}) };
  });
}
