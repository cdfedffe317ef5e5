// The security domain file: items under a master key, and that key in shares, one wrapped for each custodian. The
// master key exists while the file is made or opened, and nowhere else.
import * as z from 'zod';
import { wipe } from '../values/bytes.js';
import type { CertificateSet } from './certificates.js';
import type { CustodianKey } from './custodian.js';
import {
  MASTER_KEY_BYTES,
  checkOwnTags,
  encDataShape,
  openItems,
  repeatedTag,
  sealItems,
  type EncData,
  type Item,
} from './items.js';
import { openWith, sealTo } from './jwe.js';
import { SecurityDomainError, counted } from './problem.js';
import { Quorum } from './quorum.js';
import { joinSecret, splitSecret, type Random } from './shares.js';
import { parseText } from './text.js';

const VERSION = 2;
const KEY_ALGORITHM = 'shamir_share';

const fileShape = z.object({
  EncData: encDataShape,
  SharedKeys: z.object({
    enc_shares: z.array(z.object({ enc_key: z.string(), x5t_256: z.string() })),
    key_algorithm: z.literal(KEY_ALGORITHM),
    required: z.number(),
  }),
  version: z.literal(VERSION).optional(), // clients do not look at it, and some files are without
});

/** A file that was read and found well-formed. It may lie anywhere: what it tells without keys is no secret. */
export interface SecurityDomainFile {
  readonly quorum: Quorum;
  readonly encData: EncData;
  /** One for each certificate, in the order of the request. */
  readonly shares: readonly { readonly thumbprint: string; readonly jwe: string }[];
}

/** Makes the file: a new master key, the items under it, one share of it for each certificate. */
export function makeSecurityDomain(request: {
  readonly set: CertificateSet;
  readonly items: readonly Item[];
  readonly random: Random;
}): string {
  const { set, items, random } = request;
  checkOwnTags(items);
  const masterKey = random(MASTER_KEY_BYTES);
  const shares = splitSecret(masterKey, set.quorum, random);
  try {
    const encData = sealItems(masterKey, items);
    const encShares = set.certificates.map(({ publicKey, thumbprint }, index) => ({
      enc_key: sealTo(publicKey, shares[index] ?? new Uint8Array()),
      x5t_256: thumbprint,
    }));
    return JSON.stringify({
      EncData: encData,
      SharedKeys: { enc_shares: encShares, key_algorithm: KEY_ALGORITHM, required: set.quorum.required },
      version: VERSION,
    });
  } finally {
    wipe(masterKey, ...shares);
  }
}

/** Reads a file without any key. Throws `BadFile`, saying what is wrong with it. */
export function readSecurityDomain(text: string): SecurityDomainFile {
  const value = parseText(text);
  if (typeof value === 'object' && value !== null && 'WrappedKey' in value) {
    throw bad('this is a restore blob, not a security domain file');
  }
  const parsed = fileShape.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue && issue.path.length > 0 ? `: ${issue.path.join('.')} is missing or wrong` : '';
    throw bad(`this is not a security domain file${where}`, parsed.error);
  }
  const { EncData: encData, SharedKeys: keys } = parsed.data;
  const shares = keys.enc_shares.map(({ enc_key: jwe, x5t_256: thumbprint }) => ({ thumbprint, jwe }));
  if (new Set(shares.map(({ thumbprint }) => thumbprint)).size !== shares.length) {
    throw bad('the security domain file has two shares for one certificate');
  }
  const twice = repeatedTag(encData);
  if (twice !== undefined) throw bad(`the security domain file has the item "${twice}" twice`);
  return { quorum: quorumOf(keys.required, shares.length), encData, shares };
}

/**
 * Opens a file with the keys of its custodians, at least as many as its quorum. Keys of others are passed over.
 * Throws `TooFewShares` with the number of those that are missing. The caller wipes the items.
 */
export async function openSecurityDomain(
  file: SecurityDomainFile,
  keys: readonly CustodianKey[],
): Promise<Item[]> {
  const masterKey = await joinMasterKey(file, keys);
  try {
    const items = openItems(masterKey, file.encData);
    if (Array.isArray(items)) return items;
    throw bad(`the item "${items.damaged}" of the security domain file is damaged`);
  } finally {
    wipe(masterKey);
  }
}

async function joinMasterKey(file: SecurityDomainFile, keys: readonly CustodianKey[]): Promise<Buffer> {
  const shares = new Map<string, Buffer>();
  const useless: string[] = [];
  try {
    for (const { name, thumbprint, unwrap } of keys) {
      if (shares.has(thumbprint)) continue; // the same custodian twice is one
      const wrapped = file.shares.find((share) => share.thumbprint === thumbprint);
      const share = wrapped && (await openWith(wrapped.jwe, unwrap));
      if (share) shares.set(thumbprint, share);
      else
        useless.push(wrapped ? `the share of ${name} is damaged` : `${name} is of another security domain`);
    }
    const { required } = file.quorum;
    const missing = required - shares.size;
    if (missing > 0) throw tooFew(required, shares.size, missing, useless);
    const masterKey = joinSecret([...shares.values()], required);
    if (masterKey.length === MASTER_KEY_BYTES) return masterKey;
    wipe(masterKey);
    throw bad('the shares of the security domain file are of another length than its keys');
  } finally {
    wipe(...shares.values());
  }
}

function tooFew(required: number, present: number, missing: number, useless: readonly string[]): Error {
  const reasons = useless.length > 0 ? ` (${useless.join('; ')})` : '';
  return new SecurityDomainError(
    'TooFewShares',
    `${required} custodians' keys are needed and ${present} of this security domain given; ` +
      `${counted(missing, 'key')} missing${reasons}`,
    { missing },
  );
}

function quorumOf(required: number, total: number): Quorum {
  try {
    return Quorum.of(required, total);
  } catch (cause) {
    throw bad(`the security domain file has ${total} shares and a quorum of ${required}`, cause);
  }
}

function bad(message: string, cause?: unknown): SecurityDomainError {
  return new SecurityDomainError('BadFile', message, { cause });
}
