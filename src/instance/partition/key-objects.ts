// Keys as objects of a slot: making them, bringing them in, and seeing which key one is.
import { createHash, verify } from 'node:crypto';
import { equalBytes, trimInteger, wipe } from '../../values/bytes.js';
import {
  coordinateLength,
  type Curve,
  type KeyMaterial,
  type KeySpec,
  type PublicPart,
  type SealedKey,
} from '../../values/key-spec.js';
import { publicKeyOf } from '../../values/public-key.js';
import type { Template } from '../pkcs11/attribute.js';
import { CKM } from '../pkcs11/constants.js';
import { prepareMechanism } from '../pkcs11/mechanism.js';
import type { Session } from '../pkcs11/session.js';
import type { Worker } from './sessions.js';
import { SlotError } from './slot-error.js';
import { customerKeyOf, ecParams, exportableKeyOf, isAes } from './templates.js';

/** Its encryption, or its MAC, is a symmetric key's check value; any constant but zero will do. */
const CHECK_BLOCK = Buffer.from('trivet key check');
const CHECK = prepareMechanism({ type: CKM.AES_CBC, parameter: Buffer.alloc(16) });
const MAC = prepareMechanism({ type: CKM.SHA256_HMAC });
const CHECK_LENGTH = 4;
/** Signed to see that a private key belongs to its public part. */
export const PROOF = Buffer.from('trivet key proof');
export const PROOF_DIGEST = createHash('sha256').update(PROOF).digest();

/** A key just made. */
export interface Generated {
  /** The key to wrap. */
  readonly handle: number;
  readonly all: readonly number[];
  /** Absent for symmetric keys. */
  readonly public?: PublicPart;
}

export async function generateIn(owner: Session, spec: KeySpec, exportable: boolean): Promise<Generated> {
  const template = exportable ? exportableKeyOf(spec) : customerKeyOf(spec);
  const forPublic = { token: false, private: false } as const;
  switch (spec.kty) {
    case 'RSA-HSM': {
      // At most 32 bits; an imported key may have any, and what follows it by rotation takes after it.
      const publicExponent = Buffer.alloc(4);
      publicExponent.writeUInt32BE(spec.exponent);
      const { publicKey, privateKey } = await owner.generateKeyPair(
        { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
        { ...forPublic, modulusBits: spec.size, publicExponent: trimInteger(publicExponent) },
        template,
      );
      const { modulus: n, publicExponent: e } = await owner.getAttributes(publicKey, [
        'modulus',
        'publicExponent',
      ]);
      if (!n || !e) throw new SlotError('SlotFailed', 'the public key cannot be read');
      return {
        handle: privateKey,
        all: [publicKey, privateKey],
        public: { kty: 'RSA', n: trimInteger(n), e: trimInteger(e) },
      };
    }
    case 'EC-HSM': {
      const { publicKey, privateKey } = await owner.generateKeyPair(
        { type: CKM.EC_KEY_PAIR_GEN },
        { ...forPublic, ecParams: ecParams[spec.curve] },
        template,
      );
      const { ecPoint } = await owner.getAttributes(publicKey, ['ecPoint']);
      return {
        handle: privateKey,
        all: [publicKey, privateKey],
        public: { kty: 'EC', curve: spec.curve, ...readPoint(spec.curve, ecPoint) },
      };
    }
    case 'oct-HSM': {
      const handle = await owner.generateKey(
        { type: isAes(spec) ? CKM.AES_KEY_GEN : CKM.GENERIC_SECRET_KEY_GEN },
        { ...template, valueLen: spec.size / 8 },
      );
      return { handle, all: [handle] };
    }
  }
}

// CKA_EC_POINT is a DER OCTET STRING around the uncompressed point (PKCS #11 2.40 mechanisms, section 2.3.3).
function readPoint(curve: Curve, der: Buffer | undefined): { x: Buffer; y: Buffer } {
  const length = coordinateLength[curve];
  const point = der?.subarray(der.length - 2 * length - 1);
  if (point?.[0] !== 4 || point.length !== 2 * length + 1)
    throw new SlotError('SlotFailed', 'the public point cannot be read');
  return { x: Buffer.from(point.subarray(1, 1 + length)), y: Buffer.from(point.subarray(1 + length)) };
}

export function materialTemplate(material: KeyMaterial): Template {
  switch (material.kty) {
    case 'RSA':
      return {
        modulus: material.n,
        publicExponent: material.e,
        privateExponent: material.d,
        prime1: material.p,
        prime2: material.q,
        exponent1: material.dp,
        exponent2: material.dq,
        coefficient: material.qi,
      };
    case 'EC':
      return { ecParams: ecParams[material.curve], value: material.d };
    case 'oct':
      return { value: material.k };
  }
}

export function publicOf(material: KeyMaterial): PublicPart | undefined {
  switch (material.kty) {
    case 'RSA':
      return { kty: 'RSA', n: material.n, e: material.e };
    case 'EC':
      return { kty: 'EC', curve: material.curve, x: material.x, y: material.y };
    case 'oct':
      return undefined;
  }
}

export async function checkValue({ operations }: Worker, handle: number, spec: KeySpec): Promise<Buffer> {
  const block = isAes(spec)
    ? await operations.encrypt(CHECK, handle, CHECK_BLOCK)
    : await operations.sign(MAC, handle, CHECK_BLOCK);
  const check = Buffer.from(block.subarray(0, CHECK_LENGTH));
  wipe(block);
  return check;
}

export async function belongs(worker: Worker, handle: number, key: SealedKey): Promise<boolean> {
  const part = key.public;
  switch (part.kty) {
    case 'RSA': {
      const { modulus, publicExponent } = await worker.owner.getAttributes(handle, [
        'modulus',
        'publicExponent',
      ]);
      if (!modulus || !publicExponent) return false;
      return equalBytes(trimInteger(modulus), part.n) && equalBytes(trimInteger(publicExponent), part.e);
    }
    case 'EC': {
      // The point cannot be read from an unwrapped private key; a signature shows the same.
      const signature = await worker.operations.sign({ type: CKM.ECDSA }, handle, PROOF_DIGEST);
      return verify('sha256', PROOF, { key: publicKeyOf(part), dsaEncoding: 'ieee-p1363' }, signature);
    }
    case 'oct':
      return equalBytes(await checkValue(worker, handle, key.spec), part.check);
  }
}
