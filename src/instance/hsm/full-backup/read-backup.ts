// Reads a full backup and believes nothing of it before it is authenticated. All of it is checked before a caller
// changes anything; it is then read a second time, since it does not fit into memory, and authenticated again.
import { StateDigest } from '../../store/state-digest.js';
import type { Hsm } from '../hsm.js';
import { ownerFingerprint } from '../partition-certificate.js';
import type { Container } from './container.js';
import { corrupt, JobFailure } from './failure.js';
import {
  isBackedUp,
  MANIFEST_BYTES_MAX,
  MANIFEST_NAME,
  openPart,
  partName,
  readManifest,
  type BackupRecord,
  type Manifest,
} from './sealing.js';
import { withSealingKeys } from './sealing-keys.js';

export interface BackupReader {
  readonly manifest: Manifest;
  /**
   * Gives every part in order. Resolves when all that the manifest says is there.
   * @throws JobFailure `BackupCorrupt` at the first that is not; what came before was authentic.
   */
  each(take: (records: readonly BackupRecord[], number: number) => void | Promise<void>): Promise<void>;
}

/** Opens the backup in a folder of the container for the time of a task. */
export async function withBackup<T>(
  hsm: Pick<Hsm, 'state' | 'partition'>,
  container: Container,
  folder: string,
  task: (reader: BackupReader) => Promise<T>,
): Promise<T> {
  const bytes = await container.get(`${folder}/${MANIFEST_NAME}`, MANIFEST_BYTES_MAX);
  if (!bytes) {
    throw new JobFailure(
      'BackupNotFound',
      `There is no finished backup in the folder '${folder}' of the container`,
    );
  }
  const sealed = readManifest(bytes);
  if (sealed.claimed.domain !== ownerFingerprint(hsm)) {
    throw new JobFailure(
      'BackupOfOtherDomain',
      'The backup was made by an HSM of another security domain; only one with the same security domain can read it',
    );
  }
  return withSealingKeys(hsm, sealed.claimed, (keys) => {
    const manifest = sealed.check(keys.manifest);
    return task({
      manifest,
      each: (take) => readParts(container, folder, manifest, keys.parts, take),
    });
  });
}

async function readParts(
  container: Container,
  folder: string,
  manifest: Manifest,
  key: Uint8Array,
  take: (records: readonly BackupRecord[], number: number) => void | Promise<void>,
): Promise<void> {
  const digest = new StateDigest();
  let count = 0;
  for (const [place, size] of manifest.parts.entries()) {
    const number = place + 1;
    const sealed = await container.get(`${folder}/${partName(manifest, number)}`, size);
    if (!sealed) throw corrupt(`Part ${number} of the backup is missing`);
    if (sealed.length !== size) throw corrupt(`Part ${number} of the backup is cut off`);
    const records = openPart(key, manifest, number, sealed);
    for (const [table, id, record] of records) {
      if (!isBackedUp(table))
        throw corrupt(`Part ${number} of the backup holds what this build does not know`);
      digest.add(table, id, record);
    }
    count += records.length;
    await take(records, number);
  }
  if (count !== manifest.records || digest.end() !== manifest.digest) {
    throw corrupt('The backup does not hold what its manifest says');
  }
}
