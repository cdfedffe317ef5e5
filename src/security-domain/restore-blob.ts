// The restore blob: a security domain on its way into an empty HSM. Custodians make it offline: they open the file and
// close its items again under a new master key, which only the HSM's exchange key opens. The HSM's side opens it.
import * as z from 'zod';
import { wipe } from '../values/bytes.js';
import type { WrappingCertificate } from './certificates.js';
import type { CustodianKey } from './custodian.js';
import { openSecurityDomain, type SecurityDomainFile } from './file.js';
import {
  MASTER_KEY_BYTES,
  encDataShape,
  openItems,
  repeatedTag,
  sealItems,
  wipeItems,
  type EncData,
  type Item,
} from './items.js';
import { openWith, sealTo, type UnwrapKey } from './jwe.js';
import { SecurityDomainError } from './problem.js';
import type { Random } from './shares.js';
import { parseText } from './text.js';

const blobShape = z.object({
  EncData: encDataShape,
  WrappedKey: z.object({ enc_key: z.string(), x5t_256: z.string() }),
});

/** Makes the blob's text. Works without the HSM: what it needs of it is the exchange certificate. */
export async function makeRestoreBlob(request: {
  readonly file: SecurityDomainFile;
  /** At least as many as the file's quorum. */
  readonly keys: readonly CustodianKey[];
  readonly exchange: WrappingCertificate;
  readonly random: Random;
}): Promise<string> {
  const items = await openSecurityDomain(request.file, request.keys);
  const masterKey = request.random(MASTER_KEY_BYTES);
  try {
    const { publicKey, thumbprint } = request.exchange;
    return JSON.stringify({
      EncData: sealItems(masterKey, items),
      WrappedKey: { enc_key: sealTo(publicKey, masterKey), x5t_256: thumbprint },
    });
  } finally {
    wipe(masterKey);
    wipeItems(items);
  }
}

/** What the HSM expects of an upload. */
export interface ExpectedBlob {
  /** Of the exchange certificate that it gave out. */
  readonly thumbprint: string;
  /** Every item that must be there; there may be no other. */
  readonly tags: readonly string[];
  /** The exchange key, wherever it lives. */
  readonly unwrapKey: UnwrapKey;
}

/**
 * Opens the text of an upload. Throws `BadBlob`, `WrongExchangeKey` or `WrongItems`; rethrows what `unwrapKey` throws.
 * The answer is in the order of `tags`; the caller wipes it.
 */
export async function openRestoreBlob(text: string, expected: ExpectedBlob): Promise<Item[]> {
  const parsed = blobShape.safeParse(parseText(text));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue && issue.path.length > 0 ? `: ${issue.path.join('.')} is missing or wrong` : '';
    throw new SecurityDomainError('BadBlob', `this is not a restore blob${where}`, { cause: parsed.error });
  }
  const { EncData: encData, WrappedKey: wrapped } = parsed.data;
  if (wrapped.x5t_256 !== expected.thumbprint) {
    throw new SecurityDomainError(
      'WrongExchangeKey',
      'the restore blob was made for another exchange certificate; make it again for the current one',
    );
  }
  checkTags(encData, expected.tags);
  const masterKey = await openWith(wrapped.enc_key, expected.unwrapKey);
  try {
    // One answer whether the key, its wrapping or an item is wrong: who asks often must not learn which.
    const items = masterKey?.length === MASTER_KEY_BYTES ? openItems(masterKey, encData) : undefined;
    if (!Array.isArray(items)) throw new SecurityDomainError('BadBlob', 'the restore blob is damaged');
    return expected.tags.flatMap((tag) => items.filter((item) => item.tag === tag));
  } finally {
    wipe(masterKey);
  }
}

function checkTags(encData: EncData, expected: readonly string[]): void {
  const wrong = (what: string): SecurityDomainError =>
    new SecurityDomainError('WrongItems', `the restore blob ${what}`);
  const twice = repeatedTag(encData);
  if (twice !== undefined) throw wrong(`has the item "${twice}" twice`);
  const tags = encData.data.map(({ tag }) => tag);
  const unknown = tags.find((tag) => !expected.includes(tag));
  if (unknown !== undefined) throw wrong(`has an item "${unknown}" that is not of this product`);
  const missing = expected.find((tag) => !tags.includes(tag));
  if (missing !== undefined) throw wrong(`lacks the item "${missing}"`);
}
