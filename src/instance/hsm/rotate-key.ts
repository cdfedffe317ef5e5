// Rotate a key: a new version, made in the slot, that takes after the newest one. On demand here; by policy in
// schedule.ts.
import { newKeyVersion, newUuid } from '../../values/ids.js';
import { versionId, type KeyVersion } from '../model/keys/records.js';
import type { KeyRotated } from '../model/mutation.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { keyView, poolOf, versionPut, type KeyView } from './key-view.js';
import { allow, keyScope, liveKey, newestVersion, refuse, settledRead } from './reading.js';

/** Answers with the new version. The key must have a rotation policy, which says how long the version is valid. */
export async function rotateKey(hsm: Hsm, caller: Caller, name: string): Promise<KeyView> {
  const scope = keyScope(name);
  const action = 'keys/rotate/action';
  const newest = await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    // The service repeats its prefix here, and clients compare texts.
    const key = hsm.state.get('keys', name) ?? refuse('RotatedKeyNotFound', `keys/${name}`);
    if (!key.rotation) refuse('BadParameter', `The key ${name} has no rotation policy`);
    return newestVersion(hsm.state, key);
  });
  const rotated = await nextVersion(hsm, newest);
  const committed = await hsm.submit({ ...rotated, authority: { caller, action, scope } });
  return keyView(versionPut(committed), poolOf(hsm.state));
}

/** A version that follows `newest`, sealed and ready to be submitted. */
async function nextVersion(hsm: Hsm, newest: KeyVersion): Promise<KeyRotated> {
  const { name, spec, exportable } = newest;
  const version = newKeyVersion();
  const sealed = await hsm.partition.generate(versionId(name, version), spec, exportable);
  return { kind: 'KeyRotated', id: newUuid(), time: hsm.now(), name, version, sealed };
}

/** The rotation of a key whose policy asks for it now: refused if it has been rotated or changed meanwhile. */
export async function rotateByPolicy(hsm: Hsm, name: string): Promise<void> {
  const newest = newestVersion(hsm.state, liveKey(hsm.state, name));
  await hsm.submit({ ...(await nextVersion(hsm, newest)), due: newest.version });
}
