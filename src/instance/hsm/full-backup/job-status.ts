// What became of a backup or restore. Answered also while nothing else is.
import type { Job, JobError, JobKind } from '../../model/jobs/records.js';
import type { Seconds } from '../../../values/moments.js';
import type { Caller } from '../../model/rbac/records.js';
import type { Hsm } from '../hsm.js';
import { allowThroughout, refuse, settledRead } from '../reading.js';

/** Nothing of it is secret. */
export interface JobView {
  readonly id: string;
  readonly kind: JobKind;
  readonly status: Job['status'];
  /** How far it is; absent when that is not known. */
  readonly details?: string;
  readonly error?: JobError;
  readonly started: Seconds;
  readonly ended?: Seconds;
  /** URL of the folder of a backup that was finished. */
  readonly folderUrl?: string;
}

const families = {
  backup: ['backup', 'backup-check'],
  restore: ['restore', 'restore-check', 'key-restore'],
} as const satisfies Record<string, readonly JobKind[]>;

export type JobFamily = keyof typeof families;

/** A job of this family, by its id. */
export function jobStatus(
  hsm: Hsm,
  caller: Caller,
  family: JobFamily,
  id: string,
): JobView | Promise<JobView> {
  return settledRead(hsm, caller, 'jobs', () => {
    allowThroughout(hsm, caller, `${family}/status/action`);
    const job = hsm.state.get('jobs', id);
    const kinds: readonly JobKind[] = families[family];
    if (!job || !kinds.includes(job.kind)) refuse('JobNotFound', id);
    return jobView(job);
  });
}

export function jobView(job: Job): JobView {
  const { id, kind, status, started, done, total, container, folder } = job;
  const saved =
    kind === 'backup' && status === 'Succeeded' && container !== undefined && folder !== undefined;
  return {
    id,
    kind,
    status,
    ...(total > 0 && { details: `${done} of ${total} records` }),
    ...(job.status !== 'InProgress' && job.error && { error: job.error }),
    started,
    ...(job.status !== 'InProgress' && { ended: job.ended }),
    ...(saved && { folderUrl: `${container}/${folder}` }),
  };
}
