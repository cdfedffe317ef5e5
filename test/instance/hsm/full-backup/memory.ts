// A container in memory, whose blobs tests may change, and an HSM in memory with a runner of its jobs.
import { createHash } from 'node:crypto';
import { pino } from 'pino';
import { JobFailure } from '../../../../src/instance/hsm/full-backup/failure.js';
import { JobRunner } from '../../../../src/instance/hsm/full-backup/job-runner.js';
import type { Container } from '../../../../src/instance/hsm/full-backup/container.js';
import { startJob, type StartWish } from '../../../../src/instance/hsm/full-backup/start-job.js';
import type { Job, JobError } from '../../../../src/instance/model/jobs/records.js';
import { tableNames, type State } from '../../../../src/instance/model/state.js';
import type { Snapshot } from '../../../../src/instance/store/snapshot.js';
import { encode } from '../../../../src/values/cbor.js';
import { callerOf, FakeHsm, OPERATOR, STORAGE } from '../fake-hsm.js';

export const CONTAINER = `https://${STORAGE}/account/backups`;
export const TOKEN = 'sv=2026&sig=secret';
export const STORAGE_WISH = { container: CONTAINER, token: TOKEN };

/** When the first job begins. */
const START = 1_800_000_000;

/** Blobs of one container; whatever is asked may fail. */
export class MemoryContainer implements Container {
  readonly blobs = new Map<string, Buffer>();
  /** Called before each request. */
  before: ((what: 'put' | 'get' | 'remove', name: string) => void | Promise<void>) | undefined;
  closed = 0;

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.before?.('put', name);
    this.blobs.set(name, Buffer.from(bytes));
  }

  async putNew(name: string, bytes: Uint8Array): Promise<boolean> {
    await this.before?.('put', name);
    if (this.blobs.has(name)) return false;
    this.blobs.set(name, Buffer.from(bytes));
    return true;
  }

  async get(name: string, bytesMax: number): Promise<Buffer | undefined> {
    await this.before?.('get', name);
    const found = this.blobs.get(name);
    if (found && found.length > bytesMax) throw new JobFailure('BackupCorrupt', 'longer than it was written');
    return found;
  }

  async remove(name: string): Promise<void> {
    await this.before?.('remove', name);
    this.blobs.delete(name);
  }

  close(): void {
    this.closed += 1;
  }
}

/** The records as the store would give them: a few at a time. */
export function snapshotOf(state: State, pageRecords = 3): Snapshot {
  const rows = [...tableNames]
    .sort()
    .flatMap((table) =>
      state.range(table, '', 1_000_000).map(([id, record]) => [table, id, encode(record)] as const),
    );
  let place = 0;
  return {
    base: undefined,
    records: rows.length,
    next: () => {
      const page = rows.slice(place, place + pageRecords);
      place += page.length;
      return Promise.resolve(
        page.length === 0
          ? ({ kind: 'end', digest: '' } as const)
          : ({ kind: 'page', page: encode(page), records: page.length } as const),
      );
    },
    digest: () => Promise.resolve(''),
    close: () => Promise.resolve(),
  };
}

/** What a restore brings: everything but the pool's own. */
export function contentsOf(state: State): string {
  const tables = tableNames.filter(
    (table) => !['pool', 'internal', 'jobs', 'outcomes', 'outcomeSlots'].includes(table),
  );
  const hash = createHash('sha256');
  for (const table of tables)
    for (const [id, record] of state.range(table, '', 1_000_000))
      hash.update(table).update(id).update(encode(record));
  return hash.digest('hex');
}

export class Bench {
  static #begun = 0;
  readonly hsm: FakeHsm;
  readonly ended: (JobError | undefined)[] = [];
  readonly logged: string[] = [];
  view = ['store-0'];
  primary = true;
  /** Smaller parts than usual. */
  partBytes: number | undefined;

  constructor(
    readonly container = new MemoryContainer(),
    hsm = new FakeHsm(),
  ) {
    this.hsm = hsm;
  }

  /** A process on a store, by their names. */
  runner(store = 'store-0', run = 'run-0', more: { onEnded?: () => void } = {}): JobRunner {
    return new JobRunner({
      hsm: this.hsm,
      snapshot: () => Promise.resolve(snapshotOf(this.hsm.state)),
      self: { store, run },
      epoch: () => 2,
      isMember: (id) => this.view.includes(id),
      mayRun: () => true,
      isPrimary: () => this.primary,
      storage: this.hsm.jobs.storage,
      logger: pino({ level: 'debug' }, { write: (line: string) => void this.logged.push(line) }),
      onEnded: (_job, error) => {
        this.ended.push(error);
        more.onEnded?.();
      },
      open: () => this.container,
      ...(this.partBytes !== undefined && { partBytes: this.partBytes }),
    });
  }

  begin(wish: StartWish): Promise<{ readonly id: string }> {
    // Folders are named by the time, and all pools of a test may write to one container.
    Bench.#begun += 1;
    this.hsm.clock = START + Bench.#begun;
    return startJob(this.hsm, callerOf(OPERATOR), wish);
  }

  /** Begins it and runs it to its end. */
  async run(wish: StartWish): Promise<Job> {
    const { id } = await this.begin(wish);
    await this.runner().look();
    return this.job(id);
  }

  job(id: string): Job {
    const job = this.hsm.state.get('jobs', id);
    if (!job) throw new Error('no such job');
    return job;
  }

  /** Makes a backup; gives its folder. */
  async backup(): Promise<string> {
    const job = await this.run({ kind: 'backup', storage: STORAGE_WISH });
    if (job.status !== 'Succeeded' || job.folder === undefined) throw new Error(JSON.stringify(job));
    return job.folder;
  }

  restore(folder: string): Promise<Job> {
    return this.run({ kind: 'restore', storage: STORAGE_WISH, folder });
  }

  restoreKey(key: string, folder: string): Promise<Job> {
    return this.run({ kind: 'key-restore', storage: STORAGE_WISH, folder, key });
  }
}
