// Change a version's attributes, operations or tags; what is left out is kept.
import { newUuid } from '../../values/ids.js';
import type { KeyUpdated } from '../model/mutation.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { keyView, poolOf, versionPut, type KeyView } from './key-view.js';
import { checkAttributes, operationsFitting, type AttributesWish } from './key-wish.js';
import { keyReleasePolicy } from '../model/release/policy.js';
import { heed } from '../model/refusal.js';
import { allow, keyScope, liveVersion, refuse, settledRead } from './reading.js';

export interface UpdateKey extends AttributesWish {
  readonly name: string;
  /** Absent: the newest. */
  readonly version?: string | undefined;
}

/** All or nothing: a refused update changes nothing at all. */
export async function updateKey(hsm: Hsm, caller: Caller, wish: UpdateKey): Promise<KeyView> {
  const { name } = wish;
  const scope = keyScope(name);
  const action = 'keys/write/action';
  const current = await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    return liveVersion(hsm.state, name, wish.version);
  });
  checkAttributes(wish);
  if (wish.exportable !== undefined && wish.exportable !== (current.exportable ?? false)) {
    refuse('BadParameter', 'Cannot modify the exportable state of a key');
  }
  const { enabled, notBefore, expires, tags } = wish;
  const releasePolicy =
    wish.releasePolicy && heed(keyReleasePolicy(wish.releasePolicy, current.releasePolicy));
  const operations =
    wish.operations === undefined ? undefined : operationsFitting(current.spec.kty, wish.operations);
  // Operations and policy were checked against this version; a newer one of another type must not get them.
  const bound = operations !== undefined || releasePolicy !== undefined || wish.exportable !== undefined;
  const version = wish.version ?? (bound ? current.version : undefined);
  const mutation: KeyUpdated = {
    kind: 'KeyUpdated',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
    ...(version === undefined ? {} : { version }),
    ...(operations === undefined ? {} : { operations }),
    ...(enabled === undefined ? {} : { enabled }),
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(expires === undefined ? {} : { expires }),
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
  };
  const committed = await hsm.submit(mutation);
  return keyView(versionPut(committed), poolOf(hsm.state));
}
