// Unwrap a key for an enclave that proves what it is: the caller gets it wrapped for the enclave alone.
import { wipe } from '../../values/bytes.js';
import type { KeyVersion } from '../model/keys/records.js';
import type { Caller } from '../model/rbac/records.js';
import { parsePolicy } from '../model/release/policy.js';
import { heed } from '../model/refusal.js';
import { enclaveKey, releaseTarget, verifyAssertion, type EnclaveKey } from './assertion.js';
import type { Hsm } from './hsm.js';
import { poolOf } from './key-view.js';
import { refuse, settledRead, usableKey } from './reading.js';
import { wrapForTarget, type TargetWrap } from './target-wrap.js';
import { PURPOSE, unwrapKey, type UnwrapKey } from './unwrap-key.js';

export interface SecureUnwrapKey extends UnwrapKey {
  /** The environment assertion, a JSON Web Token. */
  readonly target: string;
}

export interface SecurelyUnwrapped {
  readonly version: string;
  readonly enc: TargetWrap;
  /** The secret, wrapped for the enclave. */
  readonly wrapped: Buffer;
  /** `kid` of the enclave's key. */
  readonly enclaveKid: string;
}

/** The name of the wrap is not the caller's to choose here. */
const ENC: TargetWrap = 'CKM_RSA_AES_KEY_WRAP';

/** Needs the right to unwrap. If the key has a release policy, the assertion must meet it. */
export async function secureUnwrapKey(
  hsm: Hsm,
  caller: Caller,
  wish: SecureUnwrapKey,
): Promise<SecurelyUnwrapped> {
  // Who may not unwrap makes this service ask nobody.
  const judged = await settledRead(hsm, caller, `key:${wish.name}`, () => fitting(hsm, caller, wish));
  const policy = judged.releasePolicy?.text;
  const enclave = await attested(hsm, wish.target, policy);
  // The issuer may have taken seconds to answer.
  return settledRead(hsm, caller, `key:${wish.name}`, async () => {
    const { version } = judged;
    if (fitting(hsm, caller, { ...wish, version }).releasePolicy?.text !== policy) {
      refuse('KeyChanged', `The release policy of the key ${wish.name} was changed meanwhile`);
    }
    const { secret } = await unwrapKey(hsm, caller, { ...wish, version });
    try {
      const wrapped = wrapForTarget(ENC, enclave.publicKey, secret);
      return { version, enc: ENC, wrapped, enclaveKid: enclave.kid };
    } finally {
      wipe(secret);
    }
  });
}

function fitting(hsm: Hsm, caller: Caller, wish: SecureUnwrapKey): KeyVersion {
  return usableKey(hsm, caller, PURPOSE, wish).key;
}

async function attested(hsm: Hsm, target: string, policy: string | undefined): Promise<EnclaveKey> {
  const { attestors } = poolOf(hsm.state);
  const attestation = { attestors, metadata: hsm.attestorKeys, now: () => hsm.now() };
  if (policy !== undefined) return releaseTarget(target, heed(parsePolicy(Buffer.from(policy))), attestation);
  return enclaveKey((await verifyAssertion(target, attestation)).claims);
}
