// What may become true of backups and restores. One runs at a time, by one owner: whatever another says of it is
// refused by its attempt. Knows no storage.
//
// Invariants: the pool's record names the job that runs, which has the status InProgress, and no other has; something is
// staged only while a full restore runs.
import { unreachable } from '../../../values/assert.js';
import type { Seconds } from '../../../values/moments.js';
import type {
  JobFinished,
  JobHold,
  JobMutation,
  JobStarted,
  RestoreStaged,
  RestoreSwitched,
} from '../mutation.js';
import { POOL, type Pool } from '../pool.js';
import { added, assignmentsAt, isAssigned } from '../rbac/assign.js';
import { ADMINISTRATOR } from '../rbac/built-in-roles.js';
import type { Assignment } from '../rbac/records.js';
import { Refusal } from '../refusal.js';
import { nameTaken } from '../keys/names.js';
import { Overlay, put, remove, stagedTables, SWITCH, type Change, type State } from '../state.js';
import type { EndedJob, Job, JobError, JobOwner, RunningJob } from './records.js';

/** Jobs that are remembered. */
export const JOBS_KEPT = 100;
/** Records that one mutation drops. */
export const DROPPED_MAX = 500;

export function applyToJobs(state: State, pool: Pool, mutation: JobMutation): Change[] | Refusal {
  if (mutation.kind === 'JobStarted') return start(state, pool, mutation);
  const job = heldJob(state, mutation.job);
  if (job instanceof Refusal) return job;
  switch (mutation.kind) {
    case 'JobTaken':
      return [put('jobs', job.id, takenOver(job, mutation.owner))];
    case 'JobProgressed': {
      const { done, total } = mutation;
      return [put('jobs', job.id, { ...job, done, total })];
    }
    case 'JobFinished':
      return finish(state, pool, job, mutation);
    case 'RestoreStaged':
      return stage(job, mutation);
    case 'StagingRemoved':
      return drop(state, job);
    case 'RestoreSwitched':
      return switchOver(state, pool, job, mutation);
    default:
      return unreachable(mutation);
  }
}

// What a restore has brought stays; a backup begins again.
function takenOver(job: RunningJob, owner: JobOwner): RunningJob {
  return { ...job, owner, attempt: job.attempt + 1, done: job.kind === 'restore' ? job.done : 0 };
}

/** The job if it runs, and is run by who says so. */
export function heldJob(state: State, { id, attempt }: JobHold): RunningJob | Refusal {
  const job = state.get('jobs', id);
  if (job?.status === 'InProgress' && job.attempt === attempt) return job;
  return new Refusal('JobChanged', `The job ${id} has ended, or is run by another partition`);
}

function start(state: State, pool: Pool, { wish, owner, authority, time }: JobStarted): Change[] | Refusal {
  if (pool.job) {
    return new Refusal(
      'JobRunning',
      `Another backup or restore is running, job ${pool.job.id}; one runs at a time`,
    );
  }
  const why = startRefusal(state, pool, wish);
  if (why) return why;
  const job: RunningJob = {
    id: wish.id,
    kind: wish.kind,
    ...(wish.container === undefined ? {} : { container: wish.container }),
    ...(wish.folder === undefined ? {} : { folder: wish.folder }),
    ...(wish.key === undefined ? {} : { key: wish.key }),
    caller: authority.caller.objectId,
    started: time,
    done: 0,
    total: 0,
    status: 'InProgress',
    ...(wish.token === undefined ? {} : { token: wish.token }),
    owner,
    attempt: 1,
    staged: 0,
  };
  return [
    ...forgotten(state),
    put('jobs', job.id, job),
    put('pool', POOL, { ...pool, job: { id: job.id, closes: job.kind === 'restore' } }),
  ];
}

/** Why the pool is in no condition for it. */
function startRefusal(state: State, pool: Pool, { kind, key }: JobStarted['wish']): Refusal | undefined {
  const holds = state.count('keys') + state.count('deleted') > 0;
  if ((kind === 'restore' || kind === 'restore-check') && holds && pool.backedUp === undefined) {
    return new Refusal(
      'BackupNeeded',
      'A full restore replaces every key of this HSM, and no full backup of it was ever finished: make one first',
    );
  }
  if (kind !== 'key-restore' || key === undefined) return undefined;
  return state.get('keys', key) ? new Refusal('KeyExists', key) : nameTaken(state, key);
}

// The oldest make room.
function forgotten(state: State): Change[] {
  if (state.count('jobs') < JOBS_KEPT) return [];
  const jobs: Job[] = state.range('jobs', '', JOBS_KEPT + 1).map(([, job]) => job);
  const oldest = jobs.reduce((a, b) => (b.started < a.started ? b : a));
  return [remove('jobs', oldest.id)];
}

function finish(state: State, pool: Pool, job: RunningJob, { error, time }: JobFinished): Change[] | Refusal {
  if (stagedTables.some((table) => state.count(table) > 0)) {
    return new Refusal('JobChanged', `Records that the job ${job.id} has brought are still there`);
  }
  return ended(pool, job, time, error);
}

/** The changes that end a job; `pool` is the record as it is to be besides. */
export function ended(pool: Pool, job: RunningJob, time: Seconds, error?: JobError): Change[] {
  const open: { -readonly [M in keyof Pool]: Pool[M] } = { ...pool };
  delete open.job;
  if (job.kind === 'backup' && error === undefined) open.backedUp = job.started;
  return [put('jobs', job.id, endedRecord(job, time, error)), put('pool', POOL, open)];
}

function endedRecord(job: RunningJob, time: Seconds, error: JobError | undefined): EndedJob {
  const { id, kind, container, folder, key, caller, started, total } = job;
  return {
    id,
    kind,
    ...(container === undefined ? {} : { container }),
    ...(folder === undefined ? {} : { folder }),
    ...(key === undefined ? {} : { key }),
    caller,
    started,
    done: error === undefined ? total : job.done,
    total,
    status: error === undefined ? 'Succeeded' : 'Failed',
    ended: time,
    ...(error === undefined ? {} : { error }),
  };
}

function stage(job: RunningJob, { number, records }: RestoreStaged): Change[] | Refusal {
  if (job.kind !== 'restore' || number !== job.staged + 1) {
    return new Refusal('JobChanged', `The job ${job.id} is not where it brings part ${number}`);
  }
  const done = job.done + records.length;
  return [
    ...records.map(([table, id, record]) => put(table, id, record)),
    put('jobs', job.id, { ...job, staged: number, done }),
  ];
}

// So many at a time that no entry of the log is large.
function drop(state: State, job: RunningJob): Change[] {
  const changes: Change[] = [];
  for (const table of stagedTables) {
    if (changes.length === DROPPED_MAX) break;
    const found = state.range(table, '', DROPPED_MAX - changes.length);
    changes.push(...found.map(([id]) => remove(table, id)));
  }
  return [...changes, put('jobs', job.id, { ...job, staged: 0, done: 0 })];
}

function switchOver(
  state: State,
  pool: Pool,
  job: RunningJob,
  { records, settings, time }: RestoreSwitched,
): Change[] | Refusal {
  const staged = stagedTables.reduce((sum, table) => sum + state.count(table), 0);
  if (job.kind !== 'restore' || staged !== records) {
    return new Refusal('JobChanged', `The job ${job.id} has brought ${staged} records and not ${records}`);
  }
  return [SWITCH, ...keptAdministrator(state, job), ...ended({ ...pool, settings }, job, time)];
}

// Who restores a pool would else be shut out by assignments made elsewhere for others, and nobody might be left who can
// log in here. It gives nobody anything new: as an Administrator of the pool she could take every role before.
function keptAdministrator(state: State, { id, caller }: RunningJob): Change[] {
  const assignment: Assignment = {
    name: id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    principalId: caller,
    roleDefinitionId: ADMINISTRATOR,
    scope: '/',
  };
  const isNow = assignmentsAt(state, '/').some(
    ({ principalId, roleDefinitionId }) => principalId === caller && roleDefinitionId === ADMINISTRATOR,
  );
  const after = new Overlay(state);
  after.apply([SWITCH]);
  return isNow && !isAssigned(after, assignment) ? added(after, assignment) : [];
}
