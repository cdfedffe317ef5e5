// Which mechanism serves which algorithm, and what a module must offer for it.
import { CKG, CKM } from '../pkcs11/constants.js';
import { prepareMechanism, type Mechanism } from '../pkcs11/mechanism.js';
import type { SignatureScheme } from '../pkcs11/public-key.js';
import type { MacAlgorithm, SignatureAlgorithm } from '../../values/key-spec.js';

// DER of DigestInfo up to the digest (RFC 8017 section 9.2, note 1).
const digestInfo = {
  RS256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  RS384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  RS512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const;

// The salt is as long as the digest (RFC 7518 section 3.5).
const pss = (hashAlg: number, mgf: number, saltLength: number): Mechanism =>
  prepareMechanism({ type: CKM.RSA_PKCS_PSS, parameter: { hashAlg, mgf, saltLength } });
const raw: Mechanism = { type: CKM.RSA_PKCS };
const ecdsa: Mechanism = { type: CKM.ECDSA };

/** How an algorithm is carried out in a slot. */
export interface Signing {
  readonly mechanism: Mechanism;
  /** Put before the digest. */
  readonly prefix?: Buffer;
  /** Signing is so short that a hop to another thread costs more than the work. */
  readonly inline: boolean;
  readonly scheme: SignatureScheme;
  /** Verifying is. */
  readonly verifyInline: boolean;
}

export const signing: Readonly<Record<SignatureAlgorithm, Signing>> = {
  RS256: { mechanism: raw, prefix: digestInfo.RS256, inline: false, scheme: 'PKCS1', verifyInline: true },
  RS384: { mechanism: raw, prefix: digestInfo.RS384, inline: false, scheme: 'PKCS1', verifyInline: true },
  RS512: { mechanism: raw, prefix: digestInfo.RS512, inline: false, scheme: 'PKCS1', verifyInline: true },
  PS256: {
    mechanism: pss(CKM.SHA256, CKG.MGF1_SHA256, 32),
    inline: false,
    scheme: 'PSS',
    verifyInline: true,
  },
  PS384: {
    mechanism: pss(CKM.SHA384, CKG.MGF1_SHA384, 48),
    inline: false,
    scheme: 'PSS',
    verifyInline: true,
  },
  PS512: {
    mechanism: pss(CKM.SHA512, CKG.MGF1_SHA512, 64),
    inline: false,
    scheme: 'PSS',
    verifyInline: true,
  },
  ES256: { mechanism: ecdsa, inline: true, scheme: 'ECDSA', verifyInline: true },
  ES256K: { mechanism: ecdsa, inline: false, scheme: 'ECDSA', verifyInline: false },
  ES384: { mechanism: ecdsa, inline: false, scheme: 'ECDSA', verifyInline: false },
  ES512: { mechanism: ecdsa, inline: false, scheme: 'ECDSA', verifyInline: false },
};

export const macs: Readonly<Record<MacAlgorithm, Mechanism>> = {
  HS256: prepareMechanism({ type: CKM.SHA256_HMAC }),
  HS384: prepareMechanism({ type: CKM.SHA384_HMAC }),
  HS512: prepareMechanism({ type: CKM.SHA512_HMAC }),
};

const required: Readonly<Record<string, number>> = {
  CKM_RSA_PKCS_KEY_PAIR_GEN: CKM.RSA_PKCS_KEY_PAIR_GEN,
  CKM_RSA_PKCS: CKM.RSA_PKCS,
  CKM_SHA256_RSA_PKCS: CKM.SHA256_RSA_PKCS,
  CKM_RSA_PKCS_PSS: CKM.RSA_PKCS_PSS,
  CKM_RSA_X_509: CKM.RSA_X_509,
  CKM_RSA_PKCS_OAEP: CKM.RSA_PKCS_OAEP,
  CKM_EC_KEY_PAIR_GEN: CKM.EC_KEY_PAIR_GEN,
  CKM_ECDSA: CKM.ECDSA,
  CKM_ECDH1_DERIVE: CKM.ECDH1_DERIVE,
  CKM_AES_KEY_GEN: CKM.AES_KEY_GEN,
  CKM_AES_GCM: CKM.AES_GCM,
  CKM_AES_CBC: CKM.AES_CBC,
  CKM_AES_CBC_PAD: CKM.AES_CBC_PAD,
  CKM_AES_ECB: CKM.AES_ECB,
  CKM_AES_KEY_WRAP: CKM.AES_KEY_WRAP,
  CKM_AES_KEY_WRAP_PAD: CKM.AES_KEY_WRAP_PAD,
  CKM_GENERIC_SECRET_KEY_GEN: CKM.GENERIC_SECRET_KEY_GEN,
  CKM_SHA256_HMAC: CKM.SHA256_HMAC,
  CKM_SHA384_HMAC: CKM.SHA384_HMAC,
  CKM_SHA512_HMAC: CKM.SHA512_HMAC,
};

/** What a module does by itself, and what is put together from parts of it. */
export interface Capabilities {
  readonly native: readonly string[];
  /** Algorithm and how it is composed. */
  readonly composed: Readonly<Record<string, string>>;
}

/** The names of the mechanisms that a partition needs and a module does not offer. */
export function missingFrom(offered: readonly number[]): string[] {
  return Object.keys(required).filter((name) => !offered.includes(required[name] ?? -1));
}

/**
 * Sees that a module has what the partition needs.
 * @throws naming every mechanism that is missing.
 */
export function probe(offered: readonly number[]): Capabilities {
  const names = Object.keys(required);
  const missing = missingFrom(offered);
  if (missing.length > 0) throw new Error(`the PKCS#11 module lacks ${missing.join(', ')}`);
  const unpadding = 'CKM_RSA_X_509 in the slot, unpadding in constant time in the addon';
  return { native: names, composed: { 'RSA-OAEP': unpadding, 'RSA-OAEP-256': unpadding } };
}
