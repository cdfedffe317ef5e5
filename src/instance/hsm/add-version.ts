// The common course of create and import: judge cheaply, seal a key in the slot, submit it, answer from what stands.
import { newKeyVersion, newUuid } from '../../values/ids.js';
import type { KeyType, SealedKey } from '../../values/key-spec.js';
import type { KeyVersionCreated } from '../model/mutation.js';
import type { DataAction } from '../model/rbac/built-in-roles.js';
import type { Caller } from '../model/rbac/records.js';
import { versionId } from '../model/keys/records.js';
import type { Hsm } from './hsm.js';
import { keyView, poolOf, versionPut, type KeyView } from './key-view.js';
import { checkAttributes, operationsFor, releasePolicyFor, type AttributesWish } from './key-wish.js';
import { allow, keyScope, refuse, settledRead } from './reading.js';

/**
 * Adds a version made by `seal`, which is called only once the caller may and the name is free. `onlyNew`: as the first
 * version of a key; refused with `KeyExists` when there is one.
 */
export async function addVersion(
  hsm: Hsm,
  caller: Caller,
  action: DataAction,
  name: string,
  kty: KeyType,
  wish: AttributesWish,
  seal: (id: string) => Promise<SealedKey>,
  onlyNew = false,
): Promise<KeyView> {
  const scope = keyScope(name);
  await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    if (hsm.state.get('deleted', name)) refuse('NameHeldByDeletedKey', name);
    if (onlyNew && hsm.state.get('keys', name)) refuse('KeyExists', name);
  });
  checkAttributes(wish);
  const releasePolicy = releasePolicyFor(wish);
  const operations = operationsFor(kty, wish.operations);
  const version = newKeyVersion();
  const sealed = await seal(versionId(name, version));
  const { notBefore, expires, tags } = wish;
  const mutation: KeyVersionCreated = {
    kind: 'KeyVersionCreated',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
    version,
    sealed,
    operations,
    enabled: wish.enabled ?? true,
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(expires === undefined ? {} : { expires }),
    ...(tags === undefined || Object.keys(tags).length === 0 ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
    ...(onlyNew && { onlyNew }),
  };
  const committed = await hsm.submit(mutation);
  return keyView(versionPut(committed), poolOf(hsm.state));
}
