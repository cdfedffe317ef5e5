// Mechanisms by name: the parameter of each has the type that the standard gives it.
import { CKM } from '../instance/pkcs11/constants.js';
import type {
  CbcDataParameter,
  CtrParameter,
  Ecdh1Parameter,
  GcmParameter,
  Mechanism,
  OaepParameter,
  PssParameter,
  StringDataParameter,
} from '../instance/pkcs11/mechanism.js';

/** The names of `CKM`. */
export type MechanismName = keyof typeof CKM;

type Iv = 'AES_CBC' | 'AES_CBC_PAD' | 'AES_CTS' | 'AES_OFB' | `AES_CFB${1 | 8 | 64 | 128}`;
type Hash = 'SHA1' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512';

/** Mechanisms that need a parameter. The IV of a block mode is its bytes; of `_GENERAL`, the length of the answer. */
export type MechanismParameters = { readonly [N in Iv]: Uint8Array } & {
  readonly [N in 'RSA_PKCS_PSS' | `${Hash}_RSA_PKCS_PSS`]: PssParameter;
} & { readonly [N in Extract<MechanismName, `${string}_GENERAL`>]: number } & {
  readonly RSA_PKCS_OAEP: OaepParameter;
  readonly ECDH1_DERIVE: Ecdh1Parameter;
  readonly ECDH1_COFACTOR_DERIVE: Ecdh1Parameter;
  readonly AES_GCM: GcmParameter;
  readonly AES_CTR: CtrParameter;
  readonly AES_ECB_ENCRYPT_DATA: StringDataParameter;
  readonly AES_CBC_ENCRYPT_DATA: CbcDataParameter;
};

/** Mechanisms whose parameter may be left out: the IV of RFC 3394 and RFC 5649. */
interface OptionalParameters {
  readonly AES_KEY_WRAP: Uint8Array;
  readonly AES_KEY_WRAP_PAD: Uint8Array;
}

type ParameterOf<N extends MechanismName> = N extends keyof MechanismParameters
  ? [parameter: MechanismParameters[N]]
  : N extends keyof OptionalParameters
    ? [parameter?: OptionalParameters[N]]
    : [];

/**
 * A mechanism by its name, such as `mechanism('ECDSA')` or `mechanism('AES_GCM', { iv, tagBits: 128 })`. One that has
 * no name here, a vendor's for one, is `{ type, parameter }` with bytes for a parameter.
 */
export function mechanism<N extends MechanismName>(name: N, ...[parameter]: ParameterOf<N>): Mechanism {
  if (!Object.hasOwn(CKM, name)) throw new TypeError(`no such mechanism: ${name}`);
  return { type: CKM[name], parameter };
}

const names = new Map<number, MechanismName>();
for (const name of Object.keys(CKM) as MechanismName[]) names.set(CKM[name], name);

/** The name of a mechanism's number, if it has one here. */
export function mechanismName(type: number): MechanismName | undefined {
  return names.get(type);
}
