// In which form a sealed key becomes an object of the slot. One key can be open in several forms at a time, each
// under an id of its own in the cache.
import type { SealedKey } from '../../values/key-spec.js';
import type { Template } from '../pkcs11/attribute.js';
import {
  customerKeyOf,
  decryptingKeyOf,
  exchangeKeyOf,
  exportableKeyOf,
  exportableMacKey,
  isAes,
  macKey,
} from './templates.js';

export interface Form {
  /** Told apart in the cache by this, after the key's id. */
  readonly suffix: string;
  /** For C_UnwrapKey. */
  readonly template: (key: SealedKey) => Template;
}

/** As what the key is. */
export const plainForm: Form = {
  suffix: '',
  template: ({ spec, exportable, decryptOnly }) => {
    if (decryptOnly) return decryptingKeyOf(spec);
    return exportable ? exportableKeyOf(spec) : customerKeyOf(spec);
  },
};

// A blob holds bytes and no type: what is an AES key can be opened as a MAC key too.
const macOfAes: Form = {
  suffix: '#mac',
  template: ({ exportable }) => (exportable ? exportableMacKey : macKey),
};

/** As the exchange key of an import, which only unwraps. */
export const exchangeForm: Form = { suffix: '#exchange', template: exchangeKeyOf };

/** As a MAC key. */
export function macForm({ spec }: SealedKey): Form {
  return isAes(spec) ? macOfAes : plainForm;
}

/** Under which id the key is open in this form. */
export function openId({ id }: SealedKey, { suffix }: Form): string {
  return suffix === '' ? id : id + suffix;
}

/** Every id under which the key may be open. */
export function openIds(id: string): readonly string[] {
  return [id, id + macOfAes.suffix, id + exchangeForm.suffix];
}
