// How many operations a second the service is published to do, per HSM instance: for pools that are to be no quicker.
// A table and how to read it; knows no clock.
//
// Source: Microsoft Learn, "Azure Key Vault Managed HSM scaling guidance", 2025-12-03. Measured there on one partition
// with a single key, sustained for five minutes, best case. AES-GCM and AES-CBC, HMAC, random bytes, import, list,
// rotate and release have no published figures and are not paced.
import type { KeySpec } from '../../values/key-spec.js';
import type { OperationName } from '../../values/operations.js';

/** Whatever the key is. */
const anyKey: Partial<Record<OperationName, number>> = {
  KeyCreate: 1,
  KeyDelete: 10,
  KeyPurge: 10,
  KeyBackup: 10,
  KeyRestore: 10,
  KeyGet: 1_100,
};

type Figures = Partial<Record<OperationName, number>>;

const rsa: Readonly<Record<string, Figures>> = {
  '2048': {
    KeyEncrypt: 2_800,
    KeyDecrypt: 1_100,
    KeyWrap: 2_200,
    KeyUnwrap: 1_100,
    KeySign: 900,
    KeyVerify: 3_400,
  },
  '3072': {
    KeyEncrypt: 2_700,
    KeyDecrypt: 360,
    KeyWrap: 1_900,
    KeyUnwrap: 360,
    KeySign: 340,
    KeyVerify: 3_400,
  },
  '4096': {
    KeyEncrypt: 2_300,
    KeyDecrypt: 160,
    KeyWrap: 1_900,
    KeyUnwrap: 160,
    KeySign: 150,
    KeyVerify: 3_700,
  },
};

const ec: Readonly<Record<string, Figures>> = {
  'P-256': { KeySign: 330, KeyVerify: 130 },
  'P-256K': { KeySign: 330, KeyVerify: 130 },
  'P-384': { KeySign: 160, KeyVerify: 82 },
  'P-521': { KeySign: 200, KeyVerify: 28 },
};

/** AES key wrap. */
const aes: Readonly<Record<string, Figures>> = {
  '128': { KeyWrap: 2_100, KeyUnwrap: 1_800 },
  '192': { KeyWrap: 2_100, KeyUnwrap: 1_900 },
  '256': { KeyWrap: 2_100, KeyUnwrap: 2_200 },
};

/** Operations of one kind with keys of one kind: what a figure is about. */
export interface Lane {
  readonly name: string;
  readonly perSecond: number;
}

/** The lane of an operation; undefined when no figure is published. `spec`: of the key, where there is one. */
export function publishedLane(operation: OperationName, spec: () => KeySpec | undefined): Lane | undefined {
  const always = anyKey[operation];
  if (always !== undefined) return { name: operation, perSecond: always };
  const key = spec();
  if (!key) return undefined;
  const kind = key.kty === 'EC-HSM' ? key.curve : String(key.size);
  const table = { 'RSA-HSM': rsa, 'EC-HSM': ec, 'oct-HSM': aes }[key.kty];
  const perSecond = table[kind]?.[operation];
  return perSecond === undefined ? undefined : { name: `${operation} ${key.kty} ${kind}`, perSecond };
}
