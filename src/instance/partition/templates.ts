// The templates on which the safety of keys in a slot rests. Each entry that looks superfluous closes an abuse that
// was carried out against SoftHSM 2.6.1 without it; the tests carry them out again.
import { CKK, CKM, CKO } from '../pkcs11/constants.js';
import type { Template } from '../pkcs11/attribute.js';
import { aesSizes, type Curve, type KeySpec, type SealedKey } from '../../values/key-spec.js';

/** Label of the token. */
export const TOKEN_LABEL = 'trivet';
/** Label of the data-wrapping key. */
export const DWK_LABEL = 'data-wrapping-key';
/** Label of the key from which the key of the instance's store is derived. */
export const STORE_KEY_LABEL = 'store-key';
/** Label of the key with which the partition signs what it says of other keys. */
export const PARTITION_KEY_LABEL = 'partition-key';

/** DER of the curves' object identifiers: CKA_EC_PARAMS (PKCS #11 2.40 mechanisms, section 2.3.3). */
export const ecParams: Readonly<Record<Curve, Buffer>> = {
  'P-256': Buffer.from('06082a8648ce3d030107', 'hex'),
  'P-256K': Buffer.from('06052b8104000a', 'hex'),
  'P-384': Buffer.from('06052b81040022', 'hex'),
  'P-521': Buffer.from('06052b81040023', 'hex'),
};

/** Names of the curves in OpenSSL. */
export const opensslCurve: Readonly<Record<Curve, string>> = {
  'P-256': 'prime256v1',
  'P-256K': 'secp256k1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};

// Without UNWRAP_TEMPLATE a caller could open a blob as a readable key; the template of C_UnwrapKey must then name
// exactly these values. Without WRAP_TEMPLATE the key would also wrap keys that may leave under any other key.
const protectedKey = {
  sensitive: true,
  extractable: true,
  wrapWithTrusted: true,
} as const satisfies Template;

/**
 * The data-wrapping key while the security officer is logged in: TRUSTED can be set by nobody else, and a private
 * object can be made by the user only. It becomes a token object by {@link dwkCopy}.
 */
export const dwkInterim = {
  class: CKO.SECRET_KEY,
  keyType: CKK.AES,
  label: DWK_LABEL,
  token: false,
  private: false,
  trusted: true,
  ...protectedKey,
  wrap: true,
  unwrap: true,
  encrypt: false,
  decrypt: false,
  sign: false,
  verify: false,
  derive: false,
  allowedMechanisms: [CKM.AES_KEY_WRAP_PAD],
  unwrapTemplate: protectedKey,
  wrapTemplate: { wrapWithTrusted: true },
} as const satisfies Template;

/** MODIFIABLE=0, or the user could give the key DECRYPT and read every blob with it. */
export const dwkCopy = { token: true, private: true, modifiable: false } as const satisfies Template;

/** MAC key in the token; what it derives opens this instance's store and nothing else. */
export const storeKey = {
  class: CKO.SECRET_KEY,
  keyType: CKK.GENERIC_SECRET,
  label: STORE_KEY_LABEL,
  valueLen: 32,
  token: true,
  private: true,
  sensitive: true,
  extractable: false,
  modifiable: false,
  sign: true,
  verify: false,
  derive: false,
  // SoftHSM's defaults would allow the first two.
  encrypt: false,
  decrypt: false,
  wrap: false,
  unwrap: false,
} as const satisfies Template;

/**
 * The partition's own key: it never leaves its slot, so no two partitions have the same. It signs attestations
 * and seals of the audit log and nothing else; with CKM_RSA_PKCS a caller could have it sign a digest that the slot has not made.
 */
export const partitionPrivate = {
  label: PARTITION_KEY_LABEL,
  token: true,
  private: true,
  sensitive: true,
  extractable: false,
  modifiable: false,
  sign: true,
  signRecover: false,
  allowedMechanisms: [CKM.SHA256_RSA_PKCS],
  // SoftHSM's defaults would allow these.
  decrypt: false,
  unwrap: false,
  derive: false,
} as const satisfies Template;
/** Its public half is read from the private one; this object goes with the session. */
export const partitionPublic = {
  token: false,
  private: false,
  modulusBits: 2048,
  publicExponent: Buffer.of(1, 0, 1),
  verify: true,
  encrypt: false,
  wrap: false,
} as const satisfies Template;

/** The exchange key pair of a joiner: ephemeral, made and used in the security officer's session. */
export const exchangePublic = {
  token: false,
  private: false,
  modulusBits: 3072,
  publicExponent: Buffer.of(1, 0, 1),
  wrap: true,
  encrypt: false,
  verify: false,
} as const satisfies Template;
export const exchangePrivate = {
  token: false,
  private: false,
  sensitive: true,
  extractable: false,
  unwrap: true,
  decrypt: false,
  sign: false,
} as const satisfies Template;

/** A joiner's public key at the donor. Its own WRAP_TEMPLATE, or the same key would also export customers' keys. */
export const joinerPublic = {
  class: CKO.PUBLIC_KEY,
  keyType: CKK.RSA,
  token: false,
  private: false,
  trusted: true,
  wrap: true,
  encrypt: false,
  verify: false,
  wrapTemplate: { trusted: true },
} as const satisfies Template;

// The wrapping key that goes into a security domain file, at either end. Its bytes are random and leave with the file,
// so it must never wrap or open anything but the data-wrapping key: no other key is trusted, and what it opens is
// protected like the data-wrapping key itself.
const domainKey = {
  class: CKO.SECRET_KEY,
  keyType: CKK.AES,
  token: false,
  private: false,
  trusted: true,
  sensitive: true,
  extractable: false,
  encrypt: false,
  decrypt: false,
  sign: false,
  verify: false,
  derive: false,
  allowedMechanisms: [CKM.AES_KEY_WRAP_PAD],
} as const satisfies Template;

/** Where the file is made. Without its WRAP_TEMPLATE the same key would also export customers' keys. */
export const exportingKey = {
  ...domainKey,
  wrap: true,
  unwrap: false,
  wrapTemplate: { trusted: true },
} as const satisfies Template;

/** Where the domain is restored. */
export const restoringKey = {
  ...domainKey,
  wrap: false,
  unwrap: true,
  unwrapTemplate: protectedKey,
} as const satisfies Template;

// PRIVATE keeps the value encrypted in memory between uses.
const customerKey = { token: false, private: true, ...protectedKey } as const satisfies Template;

const aesUsage = {
  class: CKO.SECRET_KEY,
  keyType: CKK.AES,
  encrypt: true,
  decrypt: true,
  wrap: true,
  unwrap: true,
  sign: false,
  verify: false,
  derive: false,
} as const satisfies Template;

const macUsage = {
  class: CKO.SECRET_KEY,
  keyType: CKK.GENERIC_SECRET,
  encrypt: false,
  decrypt: false,
  wrap: false,
  unwrap: false,
  sign: true,
  verify: false,
  derive: false,
} as const satisfies Template;

/** Can the key be an AES key at all, or does it serve HMAC alone? */
export function isAes(spec: KeySpec): boolean {
  return spec.kty === 'oct-HSM' && aesSizes.includes(spec.size);
}

function usageOf(spec: KeySpec): Template {
  switch (spec.kty) {
    case 'RSA-HSM':
      return { class: CKO.PRIVATE_KEY, keyType: CKK.RSA, sign: true, decrypt: true, unwrap: false };
    case 'EC-HSM':
      return { class: CKO.PRIVATE_KEY, keyType: CKK.EC, sign: true, derive: false };
    case 'oct-HSM':
      return isAes(spec) ? aesUsage : macUsage;
  }
}

/**
 * A customer's key as C_UnwrapKey, C_GenerateKey and C_CreateObject take it. WRAP_WITH_TRUSTED is not in a blob: it
 * must be said at every opening.
 */
export function customerKeyOf(spec: KeySpec): Template {
  return { ...usageOf(spec), ...customerKey };
}

/** An RSA key that decrypts and does not sign. */
export function decryptingKeyOf(spec: KeySpec): Template {
  return { ...customerKeyOf(spec), sign: false };
}

/** The public half of a customer's key, while the slot attests it. */
export function publicHalf(kty: 'RSA' | 'EC'): Template {
  const rsa = kty === 'RSA';
  return {
    class: CKO.PUBLIC_KEY,
    keyType: rsa ? CKK.RSA : CKK.EC,
    token: false,
    private: false,
    verify: true,
    encrypt: rsa,
    wrap: rsa,
    derive: false,
  };
}

/** The same symmetric key as a MAC key: a blob holds bytes and no type. */
export const macKey = { ...macUsage, ...customerKey } as const satisfies Template;

// Without WRAP_WITH_TRUSTED: the slot must be able to wrap it for whoever it is released to.
const leaves = {
  token: false,
  private: true,
  sensitive: true,
  extractable: true,
  wrapWithTrusted: false,
} as const;

/** A key that may be released. It is wrapped under the export-wrapping key: the data-wrapping key refuses it. */
export function exportableKeyOf(spec: KeySpec): Template {
  return { ...usageOf(spec), ...leaves };
}

/** An exportable symmetric key as a MAC key. */
export const exportableMacKey = { ...macUsage, ...leaves } as const satisfies Template;

/** An RSA key as the exchange key of an import: it opens what was wrapped for it and does nothing else. */
export function exchangeKeyOf(key: Pick<SealedKey, 'spec' | 'exportable'>): Template {
  const template = key.exportable ? exportableKeyOf(key.spec) : customerKeyOf(key.spec);
  return { ...template, sign: false, decrypt: false, unwrap: true };
}

/** The export-wrapping key: for wrapping alone, and what it opens is never readable. */
export const exportWrappingKey = {
  ...aesUsage,
  ...customerKey,
  encrypt: false,
  decrypt: false,
  unwrapTemplate: { sensitive: true, extractable: true, wrapWithTrusted: false },
} as const satisfies Template;

/** Wraps one exportable key that is being released, and is gone. */
export const ephemeralWrapper = {
  ...aesUsage,
  token: false,
  private: true,
  sensitive: true,
  extractable: false,
  encrypt: false,
  decrypt: false,
  unwrap: false,
} as const satisfies Template;

/** Bytes that pass through the slot for raw key wrap (`wrapKey`, `unwrapKey` with a symmetric key). */
export const rawSecret = {
  class: CKO.SECRET_KEY,
  keyType: CKK.GENERIC_SECRET,
  token: false,
  private: true,
  sensitive: false,
  extractable: true,
} as const satisfies Template;
