// The two kinds of blobs that a full backup consists of: parts, encrypted and authenticated, and the manifest, which is
// text for everybody and authenticated. docs/backup.md describes them. Pure: keys come from the caller, and nothing here
// knows where the blobs are kept.
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { z } from 'zod';
import { equalBytes, fromBase64url, toBase64url } from '../../../values/bytes.js';
import { decode } from '../../../values/cbor.js';
import { settingNames, type SettingName } from '../../model/pool.js';
import { restoredTables, type RestoredTable } from '../../model/state.js';
import { corrupt } from './failure.js';

const FORMAT = 1;
const PRODUCT = 'trivet full backup';
const CIPHER = 'aes-256-gcm';
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** Parts of a backup; far more than a pool can fill. */
const PARTS_MAX = 100_000;
/** Bytes of one part, its tag included: several times what is written. */
const PART_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of a manifest. */
export const MANIFEST_BYTES_MAX = 2 * 1024 * 1024;

/** One record as the store encodes it. */
export type BackupRecord = readonly [table: RestoredTable, id: string, record: Uint8Array];

/** Who wrote the blobs: each attempt at a backup writes its own, under keys of its own. */
export interface Attempt {
  /** Id of the job. */
  readonly backup: string;
  readonly attempt: number;
  /** 32 random bytes of this attempt, lower-case hex. */
  readonly salt: string;
  /** SHA-256 of the owner's certificate, by which a security domain is known; lower-case hex. */
  readonly domain: string;
}

export interface Manifest extends Attempt {
  readonly pool: string;
  /** Seconds since 1970, by the pool's clock. */
  readonly created: number;
  /** Of the newest change that the backup includes. */
  readonly index: number;
  /** Bytes of each part, in order. */
  readonly parts: readonly number[];
  readonly records: number;
  /** `StateDigest` over the records of all parts, lower-case hex. */
  readonly digest: string;
  readonly settings: Readonly<Record<SettingName, boolean>>;
}

/** What the keys of an attempt are derived for. */
export type SealingPurpose = 'parts' | 'manifest';

/** Names an attempt and a purpose, to derive the key from. */
export function derivation({ backup, attempt, salt, domain }: Attempt, purpose: SealingPurpose): Buffer {
  return Buffer.from(`${PRODUCT} ${purpose}\n${FORMAT}\n${domain}\n${backup}\n${attempt}\n${salt}\n`);
}

// Whose part it is, and which: another in its place does not open.
function placeOf({ backup, attempt, domain }: Attempt, number: number): Buffer {
  return Buffer.from(`${PRODUCT} part\n${FORMAT}\n${domain}\n${backup}\n${attempt}\n${number}\n`);
}

// A key is of one attempt, and a number of one part in it: no nonce comes twice.
function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUInt32BE(number, NONCE_BYTES - 4);
  return nonce;
}

/** By how much a part is longer than its records. */
export const PART_OVERHEAD_BYTES = TAG_BYTES;

/**
 * Ciphertext and tag.
 * @param key 32 bytes, of this attempt.
 * @param number from 1 on.
 * @param records a list of {@link BackupRecord}, encoded.
 * @param room where the part is put, {@link PART_OVERHEAD_BYTES} longer than the records or more.
 */
export function sealPart(
  key: Uint8Array,
  attempt: Attempt,
  number: number,
  records: Uint8Array,
  room: Buffer,
): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonceOf(number)).setAAD(placeOf(attempt, number));
  const end = cipher.update(records).copy(room);
  cipher.final(); // nothing: GCM has no blocks to fill
  return room.subarray(0, end + cipher.getAuthTag().copy(room, end));
}

/** @throws JobFailure `BackupCorrupt` for anything but this very part. */
export function openPart(
  key: Uint8Array,
  attempt: Attempt,
  number: number,
  sealed: Uint8Array,
): readonly BackupRecord[] {
  const end = sealed.length - TAG_BYTES;
  if (end <= 0) throw corrupt(`Part ${number} of the backup is cut off`);
  const decipher = createDecipheriv(CIPHER, key, nonceOf(number), { authTagLength: TAG_BYTES })
    .setAAD(placeOf(attempt, number))
    .setAuthTag(sealed.subarray(end));
  try {
    const plaintext = decipher.update(sealed.subarray(0, end));
    decipher.final(); // nothing but the check of the tag
    // Whoever could make this open could read the backup key: nothing in it is a stranger's.
    return decode(plaintext) as BackupRecord[];
  } catch {
    throw corrupt(`Part ${number} of the backup was changed, or is of another backup`);
  }
}

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const count = z.int().min(0);
const headShape = z.object({ product: z.literal(PRODUCT), format: z.literal(FORMAT) });
const manifestShape = z.strictObject({
  backup: hex(32),
  attempt: z.int().min(1),
  salt: hex(64),
  domain: hex(64),
  pool: z.string().max(64),
  created: count,
  index: count,
  parts: z.array(z.int().min(1).max(PART_BYTES_MAX)).max(PARTS_MAX),
  records: count,
  digest: hex(64),
  settings: z.record(z.enum(settingNames), z.boolean()),
});

/**
 * A line of JSON and a line with its MAC.
 * @param key of this attempt, 64 bytes.
 */
export function sealManifest(key: Uint8Array, manifest: Manifest): Buffer {
  const text = JSON.stringify({ product: PRODUCT, format: FORMAT, ...manifest });
  return Buffer.from(`${text}\n${toBase64url(macOf(key, text))}\n`);
}

/** A manifest as it is read: nothing of it is to be believed before {@link SealedManifest.check}. */
export interface SealedManifest {
  readonly claimed: Manifest;
  /** @throws JobFailure `BackupCorrupt` unless the MAC is that of this key. */
  check(key: Uint8Array): Manifest;
}

/** @throws JobFailure `BackupCorrupt` for what is no manifest of this format. */
export function readManifest(bytes: Uint8Array): SealedManifest {
  const [text = '', mac = '', ...rest] = Buffer.from(bytes).toString('utf8').split('\n');
  const { product, format, ...members } = membersOf(text);
  const head = headShape.safeParse({ product, format });
  const parsed = manifestShape.safeParse(members);
  const given = fromBase64url(mac);
  if (!head.success || !parsed.success || given === undefined || rest.join('') !== '') {
    throw corrupt('The manifest of the backup is damaged, or of a format that this build does not read');
  }
  const claimed: Manifest = parsed.data;
  return {
    claimed,
    check(key) {
      if (!equalBytes(given, macOf(key, text))) throw corrupt('The manifest of the backup was changed');
      return claimed;
    },
  };
}

function membersOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch {
    // What is no JSON has no members.
  }
  return {};
}

function macOf(key: Uint8Array, text: string): Buffer {
  return createHmac('sha512', key).update(`${PRODUCT} manifest\n${text}`).digest();
}

const backedUpTables: ReadonlySet<string> = new Set(restoredTables);

/** Whether a table belongs into a backup. */
export function isBackedUp(table: string): table is RestoredTable {
  return backedUpTables.has(table);
}

/** Name of a part in the backup's folder; each attempt's are its own. */
export function partName({ attempt }: Pick<Attempt, 'attempt'>, number: number): string {
  return `${String(attempt).padStart(4, '0')}-${String(number).padStart(6, '0')}.part`;
}

/** Name of the manifest; written last, once. */
export const MANIFEST_NAME = 'manifest';
