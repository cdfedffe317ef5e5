// Create a key, or a new version of one. The slot makes it; clear bytes never leave it.
import type { KeySpec } from '../../values/key-spec.js';
import type { Caller } from '../model/rbac/records.js';
import { addVersion } from './add-version.js';
import type { Hsm } from './hsm.js';
import type { KeyView } from './key-view.js';
import type { AttributesWish } from './key-wish.js';

export interface CreateKey extends AttributesWish {
  readonly name: string;
  readonly spec: KeySpec;
}

/** Answered only when every in-sync slot has proven the new version. */
export function createKey(hsm: Hsm, caller: Caller, wish: CreateKey): Promise<KeyView> {
  return addVersion(hsm, caller, 'keys/create', wish.name, wish.spec.kty, wish, (id) =>
    hsm.partition.generate(id, wish.spec, wish.exportable),
  );
}
