// What the slot itself says of a key it holds: attributes read from the object, signed by the slot's own key. Only the
// label and the id are ours, since a sealed key has neither in the slot.
import {
  ATTESTED_LABEL,
  attestedPublicKey,
  subjectPublicKeyInfo,
  toBeSigned,
  type Attested,
} from '../../values/attestation.js';
import { createHash } from 'node:crypto';
import { trimInteger } from '../../values/bytes.js';
import type { PublicPart, SealedKey } from '../../values/key-spec.js';
import { CKM } from '../pkcs11/constants.js';
import { prepareMechanism } from '../pkcs11/mechanism.js';
import type { Session } from '../pkcs11/session.js';
import { belongs } from './key-objects.js';
import type { Worker } from './sessions.js';
import type { Slot } from './slot.js';
import { SlotError } from './slot-error.js';
import { ecParams, publicHalf } from './templates.js';

/** Signed blobs, see values/attestation.ts. */
export interface Attestations {
  /** Of the private or secret key. */
  readonly privateKey: Buffer;
  /** Absent for symmetric keys. */
  readonly publicKey?: Buffer;
}

type AsymmetricPart = Exclude<PublicPart, { kty: 'oct' }>;

/** The slot hashes for itself: its key signs nothing that the slot has not seen. */
const SIGN = prepareMechanism({ type: CKM.SHA256_RSA_PKCS });

/**
 * Attests the open key.
 * @throws SlotError `SlotFailed` when the object is not the key of the record.
 */
export async function attestOpen(
  slot: Slot,
  worker: Worker,
  handle: number,
  key: SealedKey,
): Promise<Attestations> {
  if (!(await belongs(worker, handle, key))) {
    throw new SlotError('SlotFailed', `the object that is open for ${key.id} is another key`);
  }
  const read = await readObject(worker.owner, handle);
  if (key.public.kty === 'oct') return { privateKey: await signed(slot, worker, named(key, read)) };
  const publicRead = await readPublicHalf(slot, worker, key.public);
  const info = subjectPublicKeyInfo(attestedPublicKey(publicRead));
  const publicKeySha256 = createHash('sha256').update(info).digest();
  return {
    privateKey: await signed(slot, worker, named(key, { ...read, publicKeySha256 })),
    publicKey: await signed(slot, worker, named(key, publicRead)),
  };
}

/** The public half of the key that signs attestations. */
export async function readPartitionKey({ partitionKey }: Slot, { owner }: Worker): Promise<PublicPart> {
  const { modulus, publicExponent } = await owner.getAttributes(partitionKey, ['modulus', 'publicExponent']);
  if (!modulus || !publicExponent) throw new SlotError('SlotFailed', 'the partition key cannot be read');
  return { kty: 'RSA', n: trimInteger(modulus), e: trimInteger(publicExponent) };
}

// Public keys live outside the slot as a rule; for its statement the slot takes this one in.
async function readPublicHalf(slot: Slot, { owner }: Worker, part: AsymmetricPart): Promise<Attested> {
  const object = await owner.createObject({ ...publicHalf(part.kty), ...publicValue(part) });
  try {
    return await readObject(owner, object);
  } finally {
    slot.destroy(object);
  }
}

function publicValue(part: AsymmetricPart) {
  if (part.kty === 'RSA') return { modulus: part.n, publicExponent: part.e };
  const point = Buffer.concat([Buffer.of(4), part.x, part.y]);
  // CKA_EC_POINT: a DER OCTET STRING; the point of P-521 takes the length's two-octet form.
  const length = point.length < 128 ? [point.length] : [0x81, point.length];
  return {
    ecParams: ecParams[part.curve],
    ecPoint: Buffer.concat([Buffer.from([0x04, ...length]), point]),
  };
}

async function readObject(session: Session, object: number): Promise<Attested> {
  const {
    class: objectClass,
    keyType,
    modulus,
    publicExponent,
    ...rest
  } = await session.getAttributes(object, [
    'class',
    'token',
    'private',
    'trusted',
    'keyType',
    'sensitive',
    'encrypt',
    'decrypt',
    'wrap',
    'unwrap',
    'sign',
    'verify',
    'derive',
    'modulus',
    'publicExponent',
    'extractable',
    'local',
    'neverExtractable',
    'alwaysSensitive',
    'ecParams',
    'ecPoint',
    'wrapWithTrusted',
  ]);
  return {
    ...rest,
    ...(objectClass !== undefined && { class: octet(objectClass) }),
    ...(keyType !== undefined && { keyType: octet(keyType) }),
    ...(modulus?.length && { modulus: trimInteger(modulus) }),
    ...(publicExponent?.length && { publicExponent: trimInteger(publicExponent) }),
  };
}

function octet(value: number): number {
  if (value > 0xff) throw new SlotError('SlotFailed', 'an object of a kind that is not attested');
  return value;
}

function named({ id }: SealedKey, attested: Attested): Attested {
  return { ...attested, label: ATTESTED_LABEL, id: `/keys/${id}` };
}

async function signed(slot: Slot, worker: Worker, attested: Attested): Promise<Buffer> {
  const statement = toBeSigned(attested);
  return Buffer.concat([statement, await signAsPartition(slot, worker, statement)]);
}

/** The signature of the slot's own key over bytes that it hashes itself. */
export function signAsPartition(
  { partitionKey }: Slot,
  { operations }: Worker,
  statement: Uint8Array,
): Promise<Buffer> {
  return operations.sign(SIGN, partitionKey, statement);
}
