// List the deleted keys by name, page by page as the live ones.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { deletionView, itemView, type DeletedKeyItemView, type Page } from './key-view.js';
import { allow, newestVersion, settledRead } from './reading.js';

/** Up to `limit` deleted keys whose names come after `after`. */
export function listDeletedKeys(
  hsm: Hsm,
  caller: Caller,
  after: string,
  limit: number,
): Page<DeletedKeyItemView> | Promise<Page<DeletedKeyItemView>> {
  return settledRead(hsm, caller, 'keys', () => {
    const pool = allow(hsm, caller, 'keys/deletedKeys/read/action', '/keys');
    const found = hsm.state.range('deleted', after, limit + 1);
    const shown = found
      .slice(0, limit)
      .map(([, key]) => ({ ...itemView(newestVersion(hsm.state, key), pool), ...deletionView(key) }));
    const last = shown.at(-1);
    return { items: shown, ...(found.length > limit && last ? { next: last.name } : {}) };
  });
}
