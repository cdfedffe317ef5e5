// Mechanisms with their parameters, and how they are encoded for the addon.

/** CK_RSA_PKCS_PSS_PARAMS. */
export interface PssParameter {
  readonly hashAlg: number;
  readonly mgf: number;
  readonly saltLength: number;
}

/** CK_RSA_PKCS_OAEP_PARAMS; `source` is the label. */
export interface OaepParameter {
  readonly hashAlg: number;
  readonly mgf: number;
  readonly source?: Uint8Array | undefined;
}

/** CK_GCM_PARAMS. */
export interface GcmParameter {
  readonly iv: Uint8Array;
  readonly aad?: Uint8Array | undefined;
  readonly tagBits: number;
}

/** CK_ECDH1_DERIVE_PARAMS; `publicData` is the other side's point. */
export interface Ecdh1Parameter {
  readonly kdf: number;
  readonly sharedData?: Uint8Array | undefined;
  readonly publicData: Uint8Array;
}

/** CK_AES_CTR_PARAMS. */
export interface CtrParameter {
  readonly counterBits: number;
  readonly counterBlock: Uint8Array;
}

/** CK_KEY_DERIVATION_STRING_DATA. */
export interface StringDataParameter {
  readonly stringData: Uint8Array;
}

/** CK_AES_CBC_ENCRYPT_DATA_PARAMS. */
export interface CbcDataParameter {
  readonly cbcIv: Uint8Array;
  readonly data: Uint8Array;
}

/** Plain bytes are passed as they are: the IV of CBC, for one. A number is a CK_ULONG: the length of a general MAC. */
export type MechanismParameter =
  | Uint8Array
  | number
  | CbcDataParameter
  | PssParameter
  | OaepParameter
  | GcmParameter
  | Ecdh1Parameter
  | CtrParameter
  | StringDataParameter;

export interface Mechanism {
  /** A `CKM` number. */
  readonly type: number;
  readonly parameter?: MechanismParameter | undefined;
}

// Shared with native/p11/mechanism.h.
const enum Kind {
  Bytes = 1,
  Pss = 2,
  Oaep = 3,
  Gcm = 4,
  Ecdh1 = 5,
  Ctr = 6,
  StringData = 7,
  CbcData = 8,
}

const BLOCK_LENGTH = 16;

class PreparedMechanism implements Mechanism {
  constructor(
    readonly type: number,
    readonly parameter: MechanismParameter | undefined,
    readonly encoded: number | Uint8Array,
  ) {}
}

/** Encodes once what is used often with the same parameter, such as PSS. Later changes to `mechanism` do not count. */
export function prepareMechanism(mechanism: Mechanism): Mechanism {
  return new PreparedMechanism(mechanism.type, mechanism.parameter, encodeMechanism(mechanism));
}

/** For the addon: the bare number if there is no parameter. */
export function encodeMechanism(mechanism: Mechanism): number | Uint8Array {
  if (mechanism instanceof PreparedMechanism) return mechanism.encoded;
  const { type, parameter } = mechanism;
  return parameter === undefined ? type : encodeWith(type, parameter);
}

function encodeWith(type: number, parameter: MechanismParameter): Uint8Array {
  if (typeof parameter === 'number') return concat(type, Kind.Bytes, u32(parameter), u32(0));
  if (typeof parameter !== 'object' || (parameter as unknown) === null) {
    throw new TypeError('a mechanism parameter is bytes or an object');
  }
  if (parameter instanceof Uint8Array) return concat(type, Kind.Bytes, parameter);
  if ('saltLength' in parameter) {
    return concat(type, Kind.Pss, u32(parameter.hashAlg), u32(parameter.mgf), u32(parameter.saltLength));
  }
  if ('iv' in parameter) {
    return concat(
      type,
      Kind.Gcm,
      ...sized(parameter.iv),
      ...sized(parameter.aad ?? NOTHING),
      u32(parameter.tagBits),
    );
  }
  if ('publicData' in parameter) {
    return concat(
      type,
      Kind.Ecdh1,
      u32(parameter.kdf),
      ...sized(parameter.sharedData ?? NOTHING),
      ...sized(parameter.publicData),
    );
  }
  if ('counterBits' in parameter) {
    if (bytes(parameter.counterBlock).length !== BLOCK_LENGTH) {
      throw new TypeError(`counterBlock must be ${BLOCK_LENGTH} bytes long`);
    }
    return concat(type, Kind.Ctr, u32(parameter.counterBits), parameter.counterBlock);
  }
  if ('cbcIv' in parameter) {
    if (bytes(parameter.cbcIv).length !== BLOCK_LENGTH) {
      throw new TypeError(`cbcIv must be ${BLOCK_LENGTH} bytes long`);
    }
    return concat(type, Kind.CbcData, parameter.cbcIv, bytes(parameter.data));
  }
  if ('stringData' in parameter) return concat(type, Kind.StringData, bytes(parameter.stringData));
  return concat(
    type,
    Kind.Oaep,
    u32(parameter.hashAlg),
    u32(parameter.mgf),
    bytes(parameter.source ?? NOTHING),
  );
}

const NOTHING = new Uint8Array(0);

function concat(type: number, kind: Kind, ...fields: Uint8Array[]): Uint8Array {
  return Buffer.concat([u32(type), Uint8Array.of(kind), ...fields]);
}

function bytes(value: Uint8Array): Uint8Array {
  if (!((value as unknown) instanceof Uint8Array)) throw new TypeError('expected a Uint8Array');
  return value;
}

function sized(value: Uint8Array): [Uint8Array, Uint8Array] {
  return [u32(bytes(value).length), value];
}

function u32(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new TypeError('a mechanism and the numbers of its parameter are unsigned 32-bit integers');
  }
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}
