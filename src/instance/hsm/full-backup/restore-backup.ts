// Restores from a full backup: everything, or one key. All of the backup is checked before anything changes; a full one
// is then gathered beside what the pool holds, by changes of bounded size like any others, and takes its place at once.
import { decode } from '../../../values/cbor.js';
import { newUuid } from '../../../values/ids.js';
import { assert } from '../../../values/assert.js';
import type { RunningJob } from '../../model/jobs/records.js';
import type { Key, KeyVersion } from '../../model/keys/records.js';
import { versionId } from '../../model/keys/records.js';
import type { Mutation, StagedRecord } from '../../model/mutation.js';
import { stagedFor, stagedTables } from '../../model/state.js';
import type { Hsm } from '../hsm.js';
import type { Container } from './container.js';
import { JobFailure } from './failure.js';
import { withBackup } from './read-backup.js';
import type { BackupRecord } from './sealing.js';

/** Records of one change, and bytes of them: each is proven, written and sent in a moment. */
const STAGED_RECORDS_MAX = 128;
const STAGED_BYTES_MAX = 256 * 1024;

export interface RestoreTarget {
  readonly hsm: Pick<Hsm, 'state' | 'partition' | 'now'>;
  readonly container: Container;
  /**
   * Submits the change until it stands, again if its outcome is unknown.
   * @param stands whether it has happened already.
   */
  readonly change: (make: () => Mutation, stands: () => boolean) => Promise<void>;
}

/** Sees that all of a backup is there and authentic. */
export async function checkBackup({ hsm, container }: RestoreTarget, folder: string): Promise<void> {
  await withBackup(hsm, container, folder, (backup) => backup.each(() => undefined));
}

/** Resolves once the pool holds what the backup does, and the job has ended. */
export async function restoreAll(target: RestoreTarget, job: RunningJob): Promise<void> {
  const { hsm, container, change } = target;
  const { state } = hsm;
  const hold = { id: job.id, attempt: job.attempt };
  const now = (): RunningJob | undefined => running(target, job);
  const envelope = () => ({ id: newUuid(), time: hsm.now(), job: hold });
  await withBackup(hsm, container, job.folder ?? '', async (backup) => {
    const { records, settings } = backup.manifest;
    const total = records;
    await change(
      () => ({ ...envelope(), kind: 'JobProgressed', done: now()?.done ?? 0, total }),
      () => now()?.total === total,
    );
    await backup.each(() => undefined);
    let number = 0;
    await backup.each(async (part) => {
      for (const piece of piecesOf(part)) {
        number += 1;
        const place = number;
        // Brought by whoever ran this job before.
        if (place <= (now()?.staged ?? 0)) continue;
        await change(
          () => ({ ...envelope(), kind: 'RestoreStaged', number: place, records: piece.map(stagedRecord) }),
          () => (now()?.staged ?? 0) >= place,
        );
      }
    });
    await change(
      () => ({ ...envelope(), kind: 'RestoreSwitched', records, settings }),
      () => state.get('jobs', job.id)?.status === 'Succeeded',
    );
  });
}

function running({ hsm }: RestoreTarget, { id }: RunningJob): RunningJob | undefined {
  const job = hsm.state.get('jobs', id);
  return job?.status === 'InProgress' ? job : undefined;
}

/** Drops what a restore has gathered; what the pool held is as it was. */
export async function dropStaged(target: RestoreTarget, job: RunningJob): Promise<void> {
  const { hsm, change } = target;
  const nothing = (): boolean => stagedTables.every((table) => hsm.state.count(table) === 0);
  while (!nothing()) {
    await change(
      () => ({
        kind: 'StagingRemoved',
        id: newUuid(),
        time: hsm.now(),
        job: { id: job.id, attempt: job.attempt },
      }),
      nothing,
    );
  }
}

/** Resolves once the pool holds the key, and the job has ended. */
export async function restoreOne({ hsm, container, change }: RestoreTarget, job: RunningJob): Promise<void> {
  const name = job.key ?? '';
  let key: Key | undefined;
  const versions = new Map<string, KeyVersion>();
  await withBackup(hsm, container, job.folder ?? '', (backup) =>
    backup.each((part) => {
      for (const [table, id, record] of part) {
        if (table === 'keys' && id === name) key = decode(record) as Key;
        else if (table === 'versions' && id.startsWith(`${name}/`))
          versions.set(id, decode(record) as KeyVersion);
      }
    }),
  );
  if (!key)
    throw new JobFailure('KeyNotInBackup', `The backup holds no key '${name}', or only a deleted one`);
  const { rotation } = key;
  const ordered = key.versions.map((version) => {
    const found = versions.get(versionId(name, version));
    assert(found !== undefined, 'a backup holds all versions of a key');
    return found;
  });
  await change(
    () => ({
      kind: 'KeyRestored',
      id: newUuid(),
      time: hsm.now(),
      name,
      versions: ordered,
      ...(rotation === undefined ? {} : { rotation }),
      job: { id: job.id, attempt: job.attempt },
    }),
    () => hsm.state.get('jobs', job.id)?.status === 'Succeeded',
  );
}

/** The same pieces each time: a job that another goes on with counts them. */
function* piecesOf(records: readonly BackupRecord[]): Generator<readonly BackupRecord[], void> {
  let piece: BackupRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    piece.push(record);
    bytes += record[2].length;
    if (piece.length < STAGED_RECORDS_MAX && bytes < STAGED_BYTES_MAX) continue;
    yield piece;
    [piece, bytes] = [[], 0];
  }
  if (piece.length > 0) yield piece;
}

function stagedRecord([table, id, record]: BackupRecord): StagedRecord {
  return [stagedFor[table], id, decode(record)] as StagedRecord;
}
