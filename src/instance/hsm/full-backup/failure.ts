// Why a backup or restore fails, in words for whoever asks for its status.
import type { JobError, JobErrorCode } from '../../model/jobs/records.js';

/** Ends a job; everything else that is thrown is a fault of the program or of the pool. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure';
  constructor(
    readonly code: JobErrorCode,
    /** Holds no secret: not the token, and no URL with it. */
    message: string,
  ) {
    super(message);
  }

  get error(): JobError {
    return { code: this.code, message: this.message };
  }
}

/** What is stored as a backup was changed, is incomplete, or never was one. */
export function corrupt(what: string): JobFailure {
  return new JobFailure('BackupCorrupt', what);
}
