// The transfer key: under it a security domain is sent in. One for the life of a pool that waits for its domain, the
// same for every caller on every instance; its private half is sealed like any other key and decrypts only uploads.
import { createHash } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { toBase64url } from '../../values/bytes.js';
import { issueCertificate, keyIdOf } from '../../values/certificate.js';
import { newUuid } from '../../values/ids.js';
import { openRestoreBlob } from '../../security-domain/restore-blob.js';
import { wipeItems } from '../../security-domain/items.js';
import { internalId, POOL, TRANSFER, type InternalKey, type Pool } from '../model/pool.js';
import type { Caller } from '../model/rbac/records.js';
import { RefusedError } from '../model/refusal.js';
import type { Partition } from '../partition/partition.js';
import { SlotError } from '../partition/slot-error.js';
import { domainTags, readItems, type DomainContents } from './domain-items.js';
import { allowInactive } from './domain-rights.js';
import { ownerName, signWith, spkiOf } from './found.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead } from './reading.js';

const ACTION = 'securitydomain/transferkey/read';
/** The whole domain passes under it. */
const BITS = 3072;
/** Who restores a domain may take some days over it; the key itself goes with the activation. */
const VALID_YEARS = 1;
/** Clients with a clock somewhat behind are common. */
const BACKDATED_MS = 3_600_000;

export interface TransferKey {
  readonly n: Uint8Array;
  readonly e: Uint8Array;
  /** DER; issued by the pool's owner key. */
  readonly certificate: Uint8Array;
}

/** The transfer key, made when the first caller asks. Refused once the pool is active. */
export async function getTransferKey(hsm: Hsm, caller: Caller): Promise<TransferKey> {
  const known = await readTransferKey(hsm, caller);
  if (known) return shown(known);
  const { name } = hsm.state.get('pool', POOL) ?? {};
  assert(name !== undefined, 'only a founded pool is asked');
  const key = await makeTransferKey(hsm, name);
  try {
    await hsm.submit({
      kind: 'TransferKeyMade',
      id: newUuid(),
      time: hsm.now(),
      authority: { caller, action: ACTION, scope: '/' },
      key,
    });
  } catch (error) {
    // Somebody asked another instance at the same time: that one's key is everybody's.
    if (!(error instanceof RefusedError) || error.refusal.code !== 'TransferKeyExists') throw error;
  }
  return shown((await readTransferKey(hsm, caller)) ?? refuse('AlreadyActivated', 'The HSM is activated'));
}

function readTransferKey(
  hsm: Hsm,
  caller: Caller,
): InternalKey | undefined | Promise<InternalKey | undefined> {
  return settledRead(hsm, caller, undefined, () => {
    refuseActive(allowInactive(hsm, caller, ACTION));
    return hsm.state.get('internal', TRANSFER);
  });
}

/** An active pool keeps the domain that it has. */
export function refuseActive({ activation }: Pool): void {
  if (activation === 'Active') {
    refuse(
      'AlreadyActivated',
      'The HSM is activated: a security domain can be restored into an empty one only',
    );
  }
}

async function makeTransferKey(hsm: Hsm, pool: string): Promise<InternalKey> {
  // An id of its own: of two that are made at once one is refused, and a slot knows open keys by their ids.
  const made = await hsm.partition.generate(`${internalId(TRANSFER)}/${newUuid()}`, {
    kty: 'RSA-HSM',
    size: BITS,
    exponent: 65_537,
  });
  const sealed = { ...made, decryptOnly: true as const };
  const owner = hsm.state.get('internal', 'owner');
  assert(owner !== undefined, 'a founded pool has its owner key');
  const now = new Date();
  const notAfter = new Date(now);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + VALID_YEARS);
  const certificate = await issueCertificate({
    subject: { commonName: `Trivet pool ${pool} exchange` },
    issuer: ownerName(pool),
    publicKey: spkiOf(sealed),
    notBefore: new Date(now.getTime() - BACKDATED_MS),
    notAfter,
    authority: false,
    encipherment: true,
    authorityKeyId: keyIdOf(spkiOf(owner.sealed)),
    sign: signWith(hsm.partition, owner.sealed),
  });
  return { sealed, certificate };
}

function shown({ sealed, certificate }: InternalKey): TransferKey {
  assert(
    sealed.public.kty === 'RSA' && certificate !== undefined,
    'the transfer key is RSA, with a certificate',
  );
  const { n, e } = sealed.public;
  return { n, e, certificate };
}

/**
 * Opens a restore blob in this slot. Throws `SecurityDomainError` with words for who sent it. The caller wipes the
 * contents.
 */
export async function openUpload(
  partition: Partition,
  transfer: InternalKey,
  blob: string,
): Promise<DomainContents> {
  const { certificate } = shown(transfer);
  const items = await openRestoreBlob(blob, {
    thumbprint: toBase64url(createHash('sha256').update(certificate).digest()),
    tags: domainTags,
    unwrapKey: async (encryptedKey) => {
      if (encryptedKey.length !== BITS / 8) return undefined;
      try {
        return await partition.decryptRsa(transfer.sealed, 'RSA-OAEP-256', encryptedKey);
      } catch (error) {
        if (error instanceof SlotError && error.code === 'BadCiphertext') return undefined;
        throw error;
      }
    },
  });
  try {
    return readItems(items);
  } finally {
    wipeItems(items);
  }
}
