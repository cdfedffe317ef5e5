// Runs the pool's backups and restores. A job is run by its owner alone, the process that took it; when that is gone,
// another takes it over by a change that names it as it was run until then, so that it is never run by two.
import type { Logger } from 'pino';
import { newUuid } from '../../../values/ids.js';
import type { StorageHost } from '../../../values/messages.js';
import { heldJob } from '../../model/jobs/apply.js';
import type { JobError, JobOwner, RunningJob } from '../../model/jobs/records.js';
import type { Mutation } from '../../model/mutation.js';
import { POOL } from '../../model/pool.js';
import { Refusal, RefusedError } from '../../model/refusal.js';
import type { State } from '../../model/state.js';
import type { Snapshot } from '../../store/snapshot.js';
import type { Hsm } from '../hsm.js';
import { Outage } from '../outage.js';
import { openContainer, type Container } from './container.js';
import { JobFailure } from './failure.js';
import { checkBackup, dropStaged, restoreAll, restoreOne, type RestoreTarget } from './restore-backup.js';
import { allowedStorage } from './storage.js';
import { PART_BYTES, writeBackup } from './write-backup.js';

/** How often it is looked whether there is a job to run or to take over. */
const LOOK_MS = 500;
/** Before a change is submitted again that could not be decided. */
const AGAIN_MS = 500;
/** Progress is told this often at most: each time is a change. */
const PROGRESS_MS = 2_000;

export interface JobRunnerParts {
  readonly hsm: Pick<Hsm, 'state' | 'partition' | 'now' | 'submit'>;
  readonly snapshot: () => Promise<Snapshot>;
  /** This process. */
  readonly self: Pick<JobOwner, 'store' | 'run'>;
  /** Of the view that this member goes by. */
  readonly epoch: () => number;
  /** Whether a store takes part in that view. */
  readonly isMember: (store: string) => boolean;
  /** Whether this member takes part, and is in step with the others. */
  readonly mayRun: () => boolean;
  readonly isPrimary: () => boolean;
  /** Besides those of the pool. */
  readonly storage: StorageHost | undefined;
  readonly logger: Logger;
  /** Told how a job of this process ended. */
  readonly onEnded: (job: RunningJob, error: JobError | undefined) => void;
  readonly open?: typeof openContainer;
  readonly partBytes?: number;
}

/** Another runs the job by now. */
class Superseded extends Error {}

export class JobRunner {
  readonly #parts: JobRunnerParts;
  #timer: NodeJS.Timeout | undefined;
  #busy: Promise<void> | undefined;

  constructor(parts: JobRunnerParts) {
    this.#parts = parts;
  }

  /** Looks again and again for the life of the process. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Runs the job of this process, or takes one over; resolves when it has ended. Does nothing when it is at it. */
  look(): Promise<void> {
    this.#busy ??= this.#look()
      .catch((error: unknown) => {
        this.#parts.logger.error({ err: plain(error) }, 'a backup or restore could not be looked after');
      })
      .finally(() => (this.#busy = undefined));
    return this.#busy;
  }

  async #look(): Promise<void> {
    const { hsm, self, mayRun } = this.#parts;
    const job = runningJob(hsm.state);
    if (!job || !mayRun()) return;
    if (job.owner.run === self.run) await this.#run(job);
    else if (this.#isOrphan(job)) await this.#takeOver(job);
  }

  // Its process is gone: another runs on that store, this one; or its store takes part no more, and the primary decides.
  #isOrphan({ owner }: RunningJob): boolean {
    const { self, isPrimary, isMember } = this.#parts;
    return owner.store === self.store || (isPrimary() && !isMember(owner.store));
  }

  async #takeOver(job: RunningJob): Promise<void> {
    const { hsm, self, epoch, logger } = this.#parts;
    const owner: JobOwner = { ...self, epoch: epoch() };
    try {
      await hsm.submit({
        kind: 'JobTaken',
        id: newUuid(),
        time: hsm.now(),
        job: { id: job.id, attempt: job.attempt },
        owner,
      });
      logger.info({ job: job.id, kind: job.kind, attempt: job.attempt + 1 }, 'a job was taken over');
    } catch (error) {
      // Somebody was faster, or nothing can be decided now: it is looked again.
      if (!(error instanceof RefusedError || error instanceof Outage)) throw error;
    }
    const now = runningJob(hsm.state);
    if (now?.owner.run === self.run) await this.#run(now);
  }

  async #run(job: RunningJob): Promise<void> {
    const { logger, onEnded } = this.#parts;
    const words = { job: job.id, kind: job.kind, attempt: job.attempt };
    logger.info(words, 'a job begins');
    let error: JobError | undefined;
    const opened: { container?: Container } = {};
    try {
      const target = this.#target(job, () => (opened.container ??= this.#open(job)));
      try {
        await this.#perform(job, target);
      } catch (thrown) {
        if (thrown instanceof Superseded) throw thrown;
        error = this.#errorOf(job, thrown);
        await dropStaged(target, job);
      }
      await this.#end(job, error);
    } catch (thrown) {
      if (!(thrown instanceof Superseded)) throw thrown;
      logger.warn(words, 'a job is run by another partition by now');
      return;
    } finally {
      opened.container?.close();
    }
    logger.info({ ...words, error }, 'a job has ended');
    onEnded(job, error);
  }

  #target(job: RunningJob, container: () => Container): RestoreTarget {
    return {
      hsm: this.#parts.hsm,
      get container() {
        return container();
      },
      change: (make, stands) => this.#change(job, make, stands),
    };
  }

  #open({ container: url, token = '' }: RunningJob): Container {
    const { hsm, storage, open = openContainer } = this.#parts;
    const host = url === undefined ? undefined : allowedStorage(hsm.state, storage, url);
    if (url === undefined || !host) {
      throw new JobFailure('StorageForbidden', 'The storage is not one that this HSM is allowed to use');
    }
    return open({ url, token, host });
  }

  async #perform(job: RunningJob, target: RestoreTarget): Promise<void> {
    const { hsm, snapshot, partBytes = PART_BYTES } = this.#parts;
    switch (job.kind) {
      case 'backup': {
        const progress = this.#progress(job);
        await writeBackup({ hsm, snapshot, container: target.container, partBytes, progress }, job);
        break;
      }
      case 'backup-check':
        if (job.container !== undefined) await probe(target.container, job);
        break;
      case 'restore':
        await restoreAll(target, job);
        break;
      case 'restore-check':
        if (job.container !== undefined) await checkBackup(target, job.folder ?? '');
        break;
      case 'key-restore':
        await restoreOne(target, job);
        break;
    }
  }

  // A restore has ended with its own change.
  #end(job: RunningJob, error: JobError | undefined): Promise<void> {
    const { hsm } = this.#parts;
    return this.#change(
      job,
      () => ({
        kind: 'JobFinished',
        id: newUuid(),
        time: hsm.now(),
        job: { id: job.id, attempt: job.attempt },
        ...(error === undefined ? {} : { error }),
      }),
      () => (hsm.state.get('jobs', job.id)?.status ?? 'Failed') !== 'InProgress',
    );
  }

  #progress(job: RunningJob): (done: number, total: number) => Promise<void> {
    const { hsm } = this.#parts;
    let told = -Infinity;
    return async (done, total) => {
      if (performance.now() - told < PROGRESS_MS) return;
      told = performance.now();
      await this.#change(
        job,
        () => ({
          kind: 'JobProgressed',
          id: newUuid(),
          time: hsm.now(),
          job: { id: job.id, attempt: job.attempt },
          done,
          total,
        }),
        () => false,
      );
    };
  }

  async #change(job: RunningJob, make: () => Mutation, stands: () => boolean): Promise<void> {
    const { hsm } = this.#parts;
    while (!stands()) {
      if (heldJob(hsm.state, job) instanceof Refusal) throw new Superseded();
      try {
        await hsm.submit(make());
        return;
      } catch (error) {
        if (error instanceof RefusedError) {
          if (stands()) return;
          if (heldJob(hsm.state, job) instanceof Refusal) throw new Superseded();
          throw error;
        }
        if (!(error instanceof Outage)) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS).unref());
      }
    }
  }

  #errorOf(job: RunningJob, thrown: unknown): JobError {
    if (thrown instanceof JobFailure) return thrown.error;
    if (thrown instanceof RefusedError) {
      const { code, detail } = thrown.refusal;
      return { code: 'Refused', message: `The HSM refused it: ${code}${detail === '' ? '' : `, ${detail}`}` };
    }
    this.#parts.logger.error(
      { job: job.id, err: plain(thrown, job.token) },
      'a job fails for a reason that nobody expected',
    );
    return { code: 'InternalError', message: 'Internal error' };
  }
}

function runningJob(state: State): RunningJob | undefined {
  const id = state.get('pool', POOL)?.job?.id;
  const job = id === undefined ? undefined : state.get('jobs', id);
  return job?.status === 'InProgress' ? job : undefined;
}

// Writes as a backup would, and leaves nothing.
async function probe(container: Container, { id }: RunningJob): Promise<void> {
  const name = `trivet-check-${id}`;
  await container.put(name, Buffer.from('trivet\n'));
  await container.remove(name);
}

// Without whatever else hangs on an error, and without the token wherever it may stand.
function plain(error: unknown, token = ''): { message: string; stack?: string } {
  const shown = (text: string): string => (token === '' ? text : text.replaceAll(token, '(token)'));
  if (!(error instanceof Error)) return { message: shown(String(error)) };
  return {
    message: shown(error.message),
    ...(error.stack === undefined ? {} : { stack: shown(error.stack) }),
  };
}
