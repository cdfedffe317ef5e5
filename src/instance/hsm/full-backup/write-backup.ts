// Writes a full backup: a consistent state of the pool, read page by page while writes go on, as sealed blobs of bounded
// size. The manifest comes last; without it the rest is nothing.
import { randomBytes } from 'node:crypto';
import { decode } from '../../../values/cbor.js';
import type { RunningJob } from '../../model/jobs/records.js';
import type { Pool } from '../../model/pool.js';
import { POOL } from '../../model/pool.js';
import type { Snapshot } from '../../store/snapshot.js';
import type { SnapshotRow } from '../../store/snapshot-reader.js';
import { StateDigest } from '../../store/state-digest.js';
import { assert } from '../../../values/assert.js';
import type { Hsm } from '../hsm.js';
import { ownerFingerprint } from '../partition-certificate.js';
import type { Container } from './container.js';
import { JobFailure } from './failure.js';
import {
  isBackedUp,
  MANIFEST_BYTES_MAX,
  MANIFEST_NAME,
  partName,
  readManifest,
  sealManifest,
  sealPart,
  type Attempt,
  type BackupRecord,
} from './sealing.js';
import { withSealingKeys, type SealingKeys } from './sealing-keys.js';

/** Bytes of records after which a part ends. */
export const PART_BYTES = 1024 * 1024;

export interface BackupSource {
  readonly hsm: Pick<Hsm, 'state' | 'partition' | 'now'>;
  /** The state as it is on the disk now. */
  readonly snapshot: () => Promise<Snapshot>;
  readonly container: Container;
  /** {@link PART_BYTES}, but in tests. */
  readonly partBytes: number;
  /** Told how many records of how many are written. */
  readonly progress: (done: number, total: number) => Promise<void>;
}

/** Resolves when the whole backup is in the container. */
export async function writeBackup(source: BackupSource, job: RunningJob): Promise<void> {
  const { hsm, container } = source;
  const folder = job.folder ?? '';
  // Whoever ran this job before may have come to its end.
  if (job.attempt > 1 && (await isWhole(source, job))) return;
  const attempt: Attempt = {
    backup: job.id,
    attempt: job.attempt,
    salt: randomBytes(32).toString('hex'),
    domain: ownerFingerprint(hsm),
  };
  await withSealingKeys(hsm, attempt, async (keys) => {
    const manifest = await writeParts(source, keys, attempt, folder);
    // Only one attempt ever ends: a partition that was taken for lost changes nothing of what another has finished.
    if (await container.putNew(`${folder}/${MANIFEST_NAME}`, manifest)) return;
    if (!(await isWhole(source, job))) throw taken();
  });
}

// Nothing that is there is ever overwritten. What is there may be this very blob, if only its acknowledgement was lost;
// anything else is of a pool of the same name that began a backup in the same second.
async function putOnce(container: Container, name: string, bytes: Buffer): Promise<void> {
  if (await container.putNew(name, bytes)) return;
  const found = await container.get(name, bytes.length).catch((error: unknown) => {
    if (error instanceof JobFailure && error.code === 'BackupCorrupt') return undefined; // longer than this one
    throw error;
  });
  if (!found?.equals(bytes)) throw taken();
}

function taken(): JobFailure {
  return new JobFailure(
    'StorageFailed',
    'The folder of this backup is taken by another backup, which is left as it is; begin again',
  );
}

async function isWhole({ hsm, container }: BackupSource, { id, folder }: RunningJob): Promise<boolean> {
  const found = await container.get(`${folder ?? ''}/${MANIFEST_NAME}`, MANIFEST_BYTES_MAX);
  if (!found) return false;
  const sealed = readManifest(found);
  if (sealed.claimed.backup !== id) return false;
  return withSealingKeys(hsm, sealed.claimed, (keys) =>
    Promise.resolve(sealed.check(keys.manifest).backup === id),
  );
}

async function writeParts(
  { hsm, snapshot: take, container, partBytes, progress }: BackupSource,
  keys: SealingKeys,
  attempt: Attempt,
  folder: string,
): Promise<Buffer> {
  const snapshot = await take();
  try {
    const parts: number[] = [];
    const digest = new StateDigest();
    let [waiting, bytes, records, keyCount]: [BackupRecord[], number, number, number] = [[], 0, 0, 0];
    let pool: Pool | undefined;
    const write = async (): Promise<void> => {
      const number = parts.length + 1;
      const sealed = sealPart(keys.parts, attempt, number, waiting);
      [waiting, bytes] = [[], 0];
      await putOnce(container, `${folder}/${partName(attempt, number)}`, sealed);
      parts.push(sealed.length);
    };
    let read = 0;
    for (;;) {
      const part = await snapshot.next();
      if (part.kind === 'end') break;
      for (const [table, id, record] of decode(part.page) as SnapshotRow[]) {
        if (table === 'pool' && id === POOL) pool = decode(record) as Pool;
        if (!isBackedUp(table)) continue;
        digest.add(table, id, record);
        waiting.push([table, id, record]);
        bytes += id.length + record.length;
        records += 1;
        if (table === 'keys' || table === 'deleted') keyCount += 1;
      }
      if (bytes >= partBytes) await write();
      read += part.records;
      await progress(read, snapshot.records);
    }
    if (waiting.length > 0) await write();
    assert(pool !== undefined, 'a pool that makes a backup is founded');
    return sealManifest(keys.manifest, {
      ...attempt,
      pool: pool.name,
      created: hsm.now(),
      index: snapshot.base?.index ?? 0,
      parts,
      records,
      keys: keyCount,
      digest: digest.end(),
      settings: pool.settings,
    });
  } finally {
    await snapshot.close();
  }
}
