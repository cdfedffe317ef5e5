// From bodies to what the verbs take: key types under all their names, sizes and curves with their defaults, key
// material of a plain JWK (RFC 7518 section 6).
import { fromBase64url, padInteger, trimInteger } from '../../values/bytes.js';
import {
  coordinateLength,
  type Curve,
  type KeyMaterial,
  isRsaSize,
  type KeySpec,
} from '../../values/key-spec.js';
import type { ImportWrappedKey } from '../hsm/import-wrapped-key.js';
import type { AttributesWish } from '../hsm/key-wish.js';
import type { PolicyWish } from '../hsm/rotation-policy.js';
import type { AttributesBody, CreateBody, ImportBody, PolicyBody, UpdateBody } from './bodies.js';
import { bad, notOffered } from './errors.js';

const EXPONENTS: readonly number[] = [3, 65_537];
const OCT_MAX = 64;

/** The type, whichever of its names is used: the plain ones are mapped to the -HSM ones, as the service does. */
function typeNamed(kty: string): KeySpec['kty'] {
  switch (kty) {
    case 'RSA':
    case 'RSA-HSM':
      return 'RSA-HSM';
    case 'EC':
    case 'EC-HSM':
      return 'EC-HSM';
    case 'oct':
    case 'oct-HSM':
      return 'oct-HSM';
    case 'AKP':
    case 'AKP-HSM':
    case 'OKP':
    case 'OKP-HSM':
      return notOffered(`key type '${kty}'`);
    default:
      return bad(`Unknown key type: '${kty}'`);
  }
}

/** What to make. */
export function specOf({ kty, key_size, public_exponent, crv }: CreateBody): KeySpec {
  switch (typeNamed(kty)) {
    case 'RSA-HSM': {
      const size = key_size ?? 2048;
      const exponent = public_exponent ?? 65_537;
      if (!isRsaSize(size)) return bad(`Invalid key size: '${size}'`);
      if (!EXPONENTS.includes(exponent)) return bad(`Invalid public exponent: '${exponent}'`);
      return { kty: 'RSA-HSM', size, exponent };
    }
    case 'EC-HSM':
      return { kty: 'EC-HSM', curve: curveNamed(crv ?? 'P-256') };
    case 'oct-HSM': {
      const size = key_size ?? 256;
      if (size !== 128 && size !== 192 && size !== 256) return bad(`Invalid key size: '${size}'`);
      return { kty: 'oct-HSM', size };
    }
  }
}

/** The members that create, import and update share. */
export function attributesWish(
  { attributes, tags, release_policy }: CreateBody | ImportBody | UpdateBody,
  operations: readonly string[] | undefined,
): AttributesWish {
  return {
    enabled: attributes?.enabled,
    notBefore: attributes?.nbf,
    expires: attributes?.exp,
    tags,
    operations,
    exportable: attributes?.exportable,
    releasePolicy: release_policy,
  };
}

/** A rotation policy as a client asks for it. */
export function policyWish({ attributes, lifetimeActions }: PolicyBody): PolicyWish {
  const expiryTime = attributes?.expiryTime;
  return {
    ...(expiryTime === undefined ? {} : { expiryTime }),
    actions: (lifetimeActions ?? []).map(({ action, trigger }) => ({
      type: action.type,
      ...(trigger.timeAfterCreate === undefined ? {} : { timeAfterCreate: trigger.timeAfterCreate }),
      ...(trigger.timeBeforeExpiry === undefined ? {} : { timeBeforeExpiry: trigger.timeBeforeExpiry }),
    })),
  };
}

/** Refuses attributes that ask for what is not offered. */
export function refuseForeign(attributes: AttributesBody | undefined): void {
  if (attributes?.external_key !== undefined && attributes.external_key !== null) {
    notOffered("attribute 'external_key'");
  }
}

/** The key material of a plain JWK; integers may carry leading zero octets, as signed encoders write them. */
export function materialOf({ key }: ImportBody): KeyMaterial {
  switch (typeNamed(key.kty)) {
    case 'RSA-HSM':
      return rsaMaterial(key);
    case 'EC-HSM': {
      const curve = curveNamed(key.crv ?? bad("Property 'key.crv' is missing"));
      const length = coordinateLength[curve];
      return {
        kty: 'EC',
        curve,
        x: coordinate('x', key.x, length),
        y: coordinate('y', key.y, length),
        d: coordinate('d', key.d, length),
      };
    }
    case 'oct-HSM': {
      const k = key.k ?? bad("Property 'key.k' is missing");
      if (k.length > OCT_MAX) {
        bad(`JSON Web Key: k property of oct key is too large, maximum size is ${OCT_MAX}`);
      }
      // What is shorter than 32 bytes can serve AES or nothing (RFC 7518 section 3.2).
      if (k.length < 32 && k.length !== 16 && k.length !== 24) bad(`Invalid key size: '${k.length * 8}'`);
      return { kty: 'oct', k };
    }
  }
}

function rsaMaterial(key: ImportBody['key']): KeyMaterial {
  const n = integer('n', key.n);
  const e = integer('e', key.e);
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (!isRsaSize(bits)) return bad(`Invalid key size: '${bits}'`);
  if (e.length > 4 || e.readUIntBE(0, e.length) < 3 || ((e.at(-1) ?? 0) & 1) === 0)
    bad('Invalid public exponent');
  return {
    kty: 'RSA',
    n,
    e,
    d: integer('d', key.d),
    p: integer('p', key.p),
    q: integer('q', key.q),
    dp: integer('dp', key.dp),
    dq: integer('dq', key.dq),
    qi: integer('qi', key.qi),
  };
}

function integer(member: string, value: Buffer | undefined): Buffer {
  if (value === undefined || value.length === 0) return bad(`Property 'key.${member}' is missing`);
  const trimmed = trimInteger(value);
  value.fill(0);
  return trimmed;
}

function coordinate(member: string, value: Buffer | undefined, length: number): Buffer {
  if (value === undefined || value.length === 0) return bad(`Property 'key.${member}' is missing`);
  const padded =
    padInteger(value, length) ?? bad(`Property 'key.${member}' is longer than the curve's integers`);
  value.fill(0);
  return padded;
}

function curveNamed(crv: string): Curve {
  if (crv === 'P-256' || crv === 'P-256K' || crv === 'P-384' || crv === 'P-521') return crv;
  return bad(`Unknown curve: '${crv}'`);
}

/** A key that comes wrapped: its kind, and the file in base64url or base64, as the specification says and as clients do. */
export function wrappedOf(
  { kty, crv }: ImportBody['key'],
  keyHsm: string,
): { kind: ImportWrappedKey['kind']; file: Buffer } {
  const file = fromBase64url(keyHsm.replaceAll('+', '-').replaceAll('/', '_'));
  if (!file) return bad("Property 'key.key_hsm': not base64");
  const type = typeNamed(kty);
  if (type !== 'EC-HSM') return { kind: { kty: type }, file };
  return { kind: { kty: type, curve: curveNamed(crv ?? bad("Property 'key.crv' is missing")) }, file };
}
