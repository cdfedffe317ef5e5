// The file of a key's backup: the key's records, encoded and encrypted as a compact JWE (RFC 7516) under a key that
// follows from the pool's backup-protection key. The encryption authenticates the whole record, so that no version,
// attribute or policy can be exchanged; the key material in it is wrapped as it is in the store.
import { CompactEncrypt, compactDecrypt } from 'jose';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';
import type { Key, KeyVersion } from '../model/keys/records.js';
import type { RotationPolicy } from '../model/keys/rotation.js';
import type { Hsm } from './hsm.js';
import { refuse } from './reading.js';

/** What a backup holds of a key. */
export interface KeyBackup {
  readonly name: string;
  /** In order of creation; never empty. */
  readonly versions: readonly KeyVersion[];
  readonly rotation?: RotationPolicy;
}

const HEADER = { alg: 'dir', enc: 'A256CBC-HS512', kid: 'backup-protection-key' } as const;
const FORMAT = 1;
const PURPOSE = Buffer.from('trivet key backup');

/** The backup as text. */
export async function sealBackup(hsm: Hsm, key: Key, versions: readonly KeyVersion[]): Promise<string> {
  const { name, rotation } = key;
  const record = { format: FORMAT, name, versions, ...(rotation === undefined ? {} : { rotation }) };
  return withBackupKey(hsm, (secret) =>
    new CompactEncrypt(encode(record)).setProtectedHeader(HEADER).encrypt(secret),
  );
}

/** Reads a backup; whatever is no backup of this pool's security domain is refused in one form. */
export async function openBackup(hsm: Hsm, text: string): Promise<KeyBackup> {
  const plaintext = await withBackupKey(hsm, async (secret) => {
    try {
      const options = { keyManagementAlgorithms: [HEADER.alg], contentEncryptionAlgorithms: [HEADER.enc] };
      return (await compactDecrypt(text, secret, options)).plaintext;
    } catch {
      return refuse('MalformedBackup', '');
    }
  });
  // Whoever could make this decrypt could read the backup key: nothing in it is a stranger's.
  const { format, ...backup } = decode(plaintext) as KeyBackup & { readonly format: number };
  return format === FORMAT ? backup : refuse('MalformedBackup', '');
}

// Derived in the slot and here only while it is used. Whoever had it could forge backups, but open no key.
async function withBackupKey<T>(hsm: Hsm, task: (secret: Uint8Array) => Promise<T>): Promise<T> {
  const key = hsm.state.get('internal', 'backup-protection');
  assert(key !== undefined, 'a founded pool has its backup-protection key');
  const secret = await hsm.partition.mac(key.sealed, 'HS512', PURPOSE);
  try {
    return await task(secret);
  } finally {
    wipe(secret);
  }
}
