// Records of backups and restores.
import type { Seconds } from '../../../values/moments.js';

/** `backup-check` and `restore-check` do everything but change something. */
export type JobKind = 'backup' | 'backup-check' | 'restore' | 'restore-check' | 'key-restore';

/** What a caller asks for. */
export interface JobWish {
  /** 32 lower-case hex digits. */
  readonly id: string;
  readonly kind: JobKind;
  /** URL of the container, without a query; a check may be without. */
  readonly container?: string;
  /** SAS that opens the container: a secret. */
  readonly token?: string;
  /** Of the backup, inside the container. */
  readonly folder?: string;
  /** Name of the key that is to be restored. */
  readonly key?: string;
}

/** The process that runs a job. */
export interface JobOwner {
  /** Id of its store. */
  readonly store: string;
  /** A UUID of that process alone: one that was started again on the same store is another. */
  readonly run: string;
  /** Of the view in which it began to. */
  readonly epoch: number;
}

export interface JobError {
  readonly code: JobErrorCode;
  /** Words for whoever may ask for the status; they hold no secret. */
  readonly message: string;
}

/** `error.code` of a job that failed. */
export type JobErrorCode =
  /** The storage did not let us in: wrong or expired token, missing right. */
  | 'StorageForbidden'
  | 'StorageNotFound'
  /** It could not be reached, or broke off, again and again. */
  | 'StorageUnreachable'
  /** It refused for another reason. */
  | 'StorageFailed'
  | 'BackupNotFound'
  /** Changed, incomplete, or of another format. */
  | 'BackupCorrupt'
  | 'BackupOfOtherDomain'
  /** The backup does not hold the key that was asked for. */
  | 'KeyNotInBackup'
  /** The pool itself refused what the job came with. */
  | 'Refused'
  | 'InternalError';

interface Kept {
  readonly id: string;
  readonly kind: JobKind;
  readonly container?: string;
  readonly folder?: string;
  readonly key?: string;
  /** Object id of who asked for it. */
  readonly caller: string;
  readonly started: Seconds;
  /** Records; `total` is 0 as long as it is not known. */
  readonly done: number;
  readonly total: number;
}

export interface RunningJob extends Kept {
  readonly status: 'InProgress';
  readonly token?: string;
  readonly owner: JobOwner;
  /** From 1 on; each owner has its own. */
  readonly attempt: number;
  /** How many `RestoreStaged` stand. */
  readonly staged: number;
}

export interface EndedJob extends Kept {
  readonly status: 'Succeeded' | 'Failed';
  readonly ended: Seconds;
  /** Present when it failed. */
  readonly error?: JobError;
}

/** A backup or restore. Once it has ended nothing of the token is left in it. */
export type Job = RunningJob | EndedJob;
