// What a program finds in `trivet/pkcs11`: the one file of this house that only passes on what others define.
export { Library } from '../instance/pkcs11/library.js';
export type {
  LibraryInfo,
  LibraryOptions,
  MechanismInfo,
  SessionOptions,
  SlotInfo,
  TokenInfo,
} from '../instance/pkcs11/library.js';
export type { Session, SessionInfo, User } from '../instance/pkcs11/session.js';
export type { Cipher, Digester, Signer, Verifier } from '../instance/pkcs11/operation.js';
export { Pkcs11Error } from '../instance/pkcs11/error.js';
export type {
  AttributeName,
  AttributeValues,
  Template,
  VendorAttribute,
} from '../instance/pkcs11/attribute.js';
export type {
  CbcDataParameter,
  CtrParameter,
  Ecdh1Parameter,
  GcmParameter,
  Mechanism,
  MechanismParameter,
  OaepParameter,
  PssParameter,
  StringDataParameter,
} from '../instance/pkcs11/mechanism.js';
export {
  CKD,
  CKG,
  CKK,
  CKM,
  CKO,
  CKR,
  CKS,
  MECHANISM_FLAGS,
  SLOT_FLAGS,
  TOKEN_FLAGS,
} from '../instance/pkcs11/constants.js';
export { mechanism, mechanismName } from './mechanism.js';
export type { MechanismName, MechanismParameters } from './mechanism.js';
export { listTokens, Token } from './token.js';
export type { CallOptions, Counts, Data, Found, KeyPair, TokenOptions } from './token.js';
export type { LoginOptions } from './login.js';
export { TokenError } from './errors.js';
export type { TokenErrorCode } from './errors.js';
