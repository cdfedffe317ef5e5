// List a key's versions in order of creation.
import { versionId } from '../model/keys/records.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { itemView, type KeyItemView, type Page } from './key-view.js';
import { allow, keyScope, settledRead } from './reading.js';

/** Up to `limit` versions made after the version `after`; none for an unknown name, as the service answers. */
export function listVersions(
  hsm: Hsm,
  caller: Caller,
  name: string,
  after: string | undefined,
  limit: number,
): Page<KeyItemView> | Promise<Page<KeyItemView>> {
  return settledRead(hsm, caller, `key:${name}`, () => {
    const pool = allow(hsm, caller, 'keys/read/action', keyScope(name));
    const all = hsm.state.get('keys', name)?.versions ?? [];
    // Versions are only ever added at the end; one that is gone went with its whole key, and so did the rest.
    const start = after === undefined ? 0 : all.indexOf(after) + 1;
    const versions = after !== undefined && start === 0 ? [] : all.slice(start, start + limit);
    const items = versions.flatMap((version) => {
      const record = hsm.state.get('versions', versionId(name, version));
      return record === undefined ? [] : [itemView(record, pool)];
    });
    const last = versions.at(-1);
    return { items, ...(last !== undefined && last !== all.at(-1) ? { next: last } : {}) };
  });
}
