// Writes a full backup: a consistent state of the pool, read page by page while writes go on, as sealed blobs of bounded
// size. The manifest comes last; without it the rest is nothing.
import { randomBytes } from 'node:crypto';
import type { RunningJob } from '../../model/jobs/records.js';
import type { Pool } from '../../model/pool.js';
import type { Snapshot } from '../../store/snapshot.js';
import type { Hsm } from '../hsm.js';
import { poolOf } from '../key-view.js';
import { ownerFingerprint } from '../partition-certificate.js';
import type { Container } from './container.js';
import { JobFailure } from './failure.js';
import {
  MANIFEST_BYTES_MAX,
  MANIFEST_NAME,
  PART_OVERHEAD_BYTES,
  partName,
  readManifest,
  sealManifest,
  sealPart,
  type Attempt,
} from './sealing.js';
import { withSealingKeys, type SealingKeys } from './sealing-keys.js';

export interface BackupSource {
  readonly hsm: Pick<Hsm, 'state' | 'partition' | 'now'>;
  /** The tables of a backup as they are on the disk now; each page becomes a part. */
  readonly snapshot: () => Promise<Snapshot>;
  readonly container: Container;
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
  { hsm, snapshot: take, container, progress }: BackupSource,
  keys: SealingKeys,
  attempt: Attempt,
  folder: string,
): Promise<Buffer> {
  const { snapshot, pool } = await begin(hsm, take);
  try {
    const parts: number[] = [];
    let records = 0;
    // One for all parts, since each is written before the next is sealed: what is given up is not free at once.
    let room = Buffer.alloc(0);
    for (;;) {
      const part = await snapshot.next();
      if (part.kind === 'end') {
        return sealManifest(keys.manifest, {
          ...attempt,
          pool: pool.name,
          created: hsm.now(),
          index: snapshot.base?.index ?? 0,
          parts,
          records,
          digest: part.digest,
          settings: pool.settings,
        });
      }
      const number = parts.length + 1;
      // As it comes: what is taken apart and put together again would be in memory several times.
      const size = part.page.length + PART_OVERHEAD_BYTES;
      if (room.length < size) room = Buffer.alloc(Math.ceil(size * 1.125));
      const sealed = sealPart(keys.parts, attempt, number, part.page, room);
      await putOnce(container, `${folder}/${partName(attempt, number)}`, sealed);
      parts.push(sealed.length);
      records += part.records;
      await progress(records, snapshot.records);
    }
  } finally {
    await snapshot.close();
  }
}

// The settings are in no table that a backup holds; those of the moment at which the snapshot was taken are meant.
async function begin(
  { state }: Pick<Hsm, 'state'>,
  take: BackupSource['snapshot'],
): Promise<{ readonly snapshot: Snapshot; readonly pool: Pool }> {
  for (;;) {
    const before = poolOf(state);
    const snapshot = await take();
    const pool = poolOf(state);
    if (pool.settings === before.settings) return { snapshot, pool };
    await snapshot.close();
  }
}
