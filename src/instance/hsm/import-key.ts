// Import a key that the client brings in clear. The bytes pass through this process by the nature of the call and are
// wiped as soon as the slot has taken them.
import type { KeyMaterial, KeyType } from '../../values/key-spec.js';
import type { Caller } from '../model/rbac/records.js';
import { wipeMaterial } from '../partition/key-material.js';
import { addVersion } from './add-version.js';
import type { Hsm } from './hsm.js';
import type { KeyView } from './key-view.js';
import type { AttributesWish } from './key-wish.js';

export interface ImportKey extends AttributesWish {
  readonly name: string;
  /** Wiped when the call ends, whatever its outcome. */
  readonly material: KeyMaterial;
}

const typeOf: Readonly<Record<KeyMaterial['kty'], KeyType>> = {
  RSA: 'RSA-HSM',
  EC: 'EC-HSM',
  oct: 'oct-HSM',
};

/** An existing name gets a new version. */
export async function importKey(hsm: Hsm, caller: Caller, wish: ImportKey): Promise<KeyView> {
  const { material } = wish;
  try {
    return await addVersion(hsm, caller, 'keys/import/action', wish.name, typeOf[material.kty], wish, (id) =>
      hsm.partition.importKey(id, material, wish.exportable),
    );
  } finally {
    wipeMaterial(material);
  }
}
