// Release a key to an enclave that proves what it is: the one way in which a private or secret key leaves the pool.
import { wipe } from '../../values/bytes.js';
import type { KeyVersion } from '../model/keys/records.js';
import { parsePolicy } from '../model/release/policy.js';
import type { Caller } from '../model/rbac/records.js';
import { heed } from '../model/refusal.js';
import { releaseTarget } from './assertion.js';
import type { Hsm } from './hsm.js';
import { keyView, poolOf, type KeyView } from './key-view.js';
import { allow, keyScope, liveVersion, refuse, settledRead } from './reading.js';
import { releaseSigner } from './release-signer.js';
import type { ReleaseSigner } from './released-key.js';
import { targetWrapNamed, wrapForTarget, type TargetWrap } from './target-wrap.js';

export interface ReleaseKey {
  readonly name: string;
  /** Absent: the newest. */
  readonly version?: string | undefined;
  /** The environment assertion, a JSON Web Token. */
  readonly target: string;
  /** Absent: `CKM_RSA_AES_KEY_WRAP`. */
  readonly enc?: string | undefined;
}

export interface Release {
  readonly key: KeyView & Required<Pick<KeyView, 'releasePolicy'>>;
  readonly enc: TargetWrap;
  /** The key, wrapped for the enclave. */
  readonly wrapped: Buffer;
  /** `kid` of the enclave's key. */
  readonly enclaveKid: string;
  readonly signer: ReleaseSigner;
}

/** The assertion must meet the key's policy; times of the key do not matter, a disabled key is refused. */
export async function releaseKey(hsm: Hsm, caller: Caller, wish: ReleaseKey): Promise<Release> {
  const judged = await settledRead(hsm, caller, `key:${wish.name}`, () => releasable(hsm, caller, wish));
  const enc = targetWrapNamed(wish.enc);
  const policy = heed(parsePolicy(Buffer.from(judged.releasePolicy.text)));
  const { attestors } = poolOf(hsm.state);
  const enclave = await releaseTarget(wish.target, policy, {
    attestors,
    metadata: hsm.attestorKeys,
    now: () => hsm.now(),
  });
  // The issuer may have taken seconds to answer: rights, key and policy are looked at again.
  const { version } = judged;
  return settledRead(hsm, caller, `key:${wish.name}`, async () => {
    const key = releasable(hsm, caller, { ...wish, version });
    if (key.releasePolicy.text !== judged.releasePolicy.text) {
      refuse('KeyChanged', `The release policy of the key ${wish.name} was changed meanwhile`);
    }
    const clear = await hsm.partition.exportKey(key);
    try {
      const wrapped = wrapForTarget(enc, enclave.publicKey, clear);
      const signer = await releaseSigner(hsm);
      const shown = { ...keyView(key, poolOf(hsm.state)), releasePolicy: key.releasePolicy };
      return { key: shown, enc, wrapped, enclaveKid: enclave.kid, signer };
    } finally {
      wipe(clear);
    }
  });
}

type Releasable = KeyVersion & Required<Pick<KeyVersion, 'releasePolicy'>>;

function releasable(hsm: Hsm, caller: Caller, { name, version }: ReleaseKey): Releasable {
  allow(hsm, caller, 'keys/release/action', keyScope(name));
  const key = liveVersion(hsm.state, name, version);
  if (!key.attributes.enabled) refuse('KeyDisabled', 'Operation release is not allowed on a disabled key.');
  const { exportable, releasePolicy } = key;
  if (!exportable || !releasePolicy) return refuse('BadParameter', `The key ${name} is not exportable`);
  return { ...key, releasePolicy };
}
