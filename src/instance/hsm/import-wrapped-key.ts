// Import a key that another HSM has wrapped for an exchange key of this one: it is opened inside the slot.
import type { KeyVersion } from '../model/keys/records.js';
import type { Caller } from '../model/rbac/records.js';
import type { WrappedKey, WrappedKind } from '../partition/wrapped-import.js';
import { addVersion } from './add-version.js';
import { readByokFile, type ByokFile } from './byok-file.js';
import { modulusLength } from './ciphers.js';
import type { Hsm } from './hsm.js';
import type { KeyView } from './key-view.js';
import type { AttributesWish } from './key-wish.js';
import { liveVersion, refuse } from './reading.js';

export interface ImportWrappedKey extends AttributesWish {
  readonly name: string;
  readonly kind: WrappedKind;
  /** The `.byok` file. */
  readonly file: Uint8Array;
  /** Is it the name of this HSM? */
  readonly isOwnHost: (host: string) => boolean;
}

/** Needs the right to import and none on the exchange key, which the HSM uses by itself. */
export function importWrappedKey(hsm: Hsm, caller: Caller, wish: ImportWrappedKey): Promise<KeyView> {
  const { name, kind } = wish;
  return addVersion(hsm, caller, 'keys/import/action', name, kind.kty, wish, async (id) => {
    const file = readByokFile(wish.file);
    if (!wish.isOwnHost(file.host)) refuse('BadParameter', 'The exchange key is of another HSM');
    await hsm.settled([`key:${file.name}`]);
    const kek = exchangeKey(hsm, file);
    return hsm.partition.importWrapped(id, kek, split(file, modulusLength(kek)), kind, wish.exportable);
  });
}

function exchangeKey(hsm: Hsm, { name, version }: ByokFile): KeyVersion {
  // What is not there looks like what cannot serve: whoever imports need not have the right to see keys.
  const unfit = () => refuse('BadParameter', `keys/${name}/${version} is no key exchange key of this HSM`);
  if (!hsm.state.get('keys', name)?.versions.includes(version)) return unfit();
  const key = liveVersion(hsm.state, name, version);
  const [only, ...more] = key.operations;
  if (key.spec.kty !== 'RSA-HSM' || only !== 'import' || more.length > 0) return unfit();
  if (!key.attributes.enabled) refuse('KeyDisabled', 'Operation import is not allowed on a disabled key.');
  return key;
}

function split({ ciphertext }: ByokFile, length: number): WrappedKey {
  return { aes: ciphertext.subarray(0, length), target: ciphertext.subarray(length) };
}
