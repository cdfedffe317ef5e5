// Begin a full backup, a full restore, the restore of one key from a full backup, or a check of either. The instance
// that is asked runs it.
import { randomInt } from 'node:crypto';
import { newJobId, newUuid } from '../../../values/ids.js';
import type { Seconds } from '../../../values/moments.js';
import { AssertionError } from '../../../values/assert.js';
import type { JobKind, JobWish } from '../../model/jobs/records.js';
import type { DataAction } from '../../model/rbac/built-in-roles.js';
import type { Caller } from '../../model/rbac/records.js';
import type { Hsm } from '../hsm.js';
import { allowThroughout, refuse, settledRead } from '../reading.js';
import { jobView, type JobView } from './job-status.js';
import { allowedStorage, containerUrl } from './storage.js';

/** Where a backup is or is to be; a check may be without. */
export interface StorageWish {
  /** As the client writes it. */
  readonly container: string;
  readonly token: string;
}

export interface StartWish {
  readonly kind: JobKind;
  readonly storage?: StorageWish | undefined;
  readonly folder?: string | undefined;
  readonly key?: string | undefined;
}

const ACTION_OF: Readonly<Record<JobKind, DataAction>> = {
  backup: 'backup/start/action',
  'backup-check': 'backup/start/action',
  restore: 'restore/start/action',
  'restore-check': 'restore/start/action',
  'key-restore': 'restore/start/action',
};

/** Answers with the job as it has begun; what becomes of it is asked for by its id. */
export async function startJob(hsm: Hsm, caller: Caller, wish: StartWish): Promise<JobView> {
  const { kind, storage, key } = wish;
  const action = ACTION_OF[kind];
  const pool = await settledRead(hsm, caller, 'jobs', () => allowThroughout(hsm, caller, action));
  const container = storage && checked(hsm, storage.container);
  const folder = kind === 'backup' ? folderName(pool.name, hsm.now()) : wish.folder;
  const job: JobWish = {
    id: newJobId(),
    kind,
    ...(container !== undefined && { container }),
    ...(storage && { token: storage.token }),
    ...(folder !== undefined && { folder }),
    ...(key !== undefined && { key }),
  };
  const { changes } = await hsm.submit({
    kind: 'JobStarted',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope: '/' },
    wish: job,
    owner: hsm.jobs.owner(),
  });
  hsm.jobs.wake();
  for (const change of changes) {
    if (change.table === 'jobs' && change.id === job.id && change.value !== null)
      return jobView(change.value);
  }
  throw new AssertionError('a job that has begun is there');
}

function checked(hsm: Hsm, text: string): string {
  const url = containerUrl(text);
  if (url === undefined) {
    refuse(
      'BadParameter',
      'The storage must be the https URL of a container, without a query: the SAS token goes into its own property',
    );
  }
  if (!allowedStorage(hsm.state, hsm.jobs.storage, url)) {
    refuse(
      'StorageNotAllowed',
      `This HSM is not allowed to use the storage ${new URL(url).host}; which it may use was decided when it was made`,
    );
  }
  return url;
}

/** `mhsm-{pool}-yyyyMMddHHmmssNN`; the last two digits are random. */
function folderName(pool: string, now: Seconds): string {
  const time = new Date(now * 1_000).toISOString().replaceAll(/\D/g, '').slice(0, 14);
  return `mhsm-${pool}-${time}${String(randomInt(100)).padStart(2, '0')}`;
}
