// What may become true of backups and restores.
import type { JobHold, Mutation, StagedRecord } from '../../../src/instance/model/mutation.js';
import type { JobKind, JobWish, RunningJob } from '../../../src/instance/model/jobs/records.js';
import { DROPPED_MAX, JOBS_KEPT } from '../../../src/instance/model/jobs/apply.js';
import { judge, tagsOf } from '../../../src/instance/model/judge.js';
import { sealedIn } from '../../../src/instance/model/mutation.js';
import { POOL } from '../../../src/instance/model/pool.js';
import { ADMINISTRATOR } from '../../../src/instance/model/rbac/built-in-roles.js';
import { restoredTables, stagedFor, stagedTables } from '../../../src/instance/model/state.js';
import { ADMIN, created, foundedLog, nextId, NOW, plain, versionOf, type Log } from './fixtures.js';

const OWNER = { store: 's0', run: 'r0', epoch: 1 };
const SETTINGS = { AllowKeyManagementOperationsThroughARM: true };
const SECRET = 'sv=2026&sig=secret';
const STRANGER = 'bbbbbbbb-0000-4000-8000-000000000000';

const jobId = (number: number) => String(number).padStart(32, '0');

function started(number: number, kind: JobKind, wish: Partial<JobWish> = {}, time = NOW): Mutation {
  const action = kind.startsWith('backup') ? 'backup/start/action' : 'restore/start/action';
  return {
    kind: 'JobStarted',
    id: nextId(),
    time,
    authority: { caller: { objectId: ADMIN, groups: [] }, action, scope: '/' },
    wish: { id: jobId(number), kind, container: 'https://h/c', token: SECRET, folder: 'f', ...wish },
    owner: OWNER,
  };
}

const hold = (number: number, attempt = 1): JobHold => ({ id: jobId(number), attempt });
const finished = (job: JobHold, failed = false, time = NOW + 5): Mutation => ({
  kind: 'JobFinished',
  id: nextId(),
  time,
  job,
  ...(failed && { error: { code: 'StorageForbidden', message: 'no' } as const }),
});
const taken = (job: JobHold): Mutation => ({
  kind: 'JobTaken',
  id: nextId(),
  time: NOW,
  job,
  owner: { store: 's1', run: 'r1', epoch: 2 },
});
const staged = (job: JobHold, number: number, records: readonly StagedRecord[]): Mutation => ({
  kind: 'RestoreStaged',
  id: nextId(),
  time: NOW,
  job,
  number,
  records,
});
const removed = (job: JobHold): Mutation => ({ kind: 'StagingRemoved', id: nextId(), time: NOW, job });
const switched = (job: JobHold, records: number): Mutation => ({
  kind: 'RestoreSwitched',
  id: nextId(),
  time: NOW + 9,
  job,
  records,
  settings: SETTINGS,
});

function job(log: Log, number: number): RunningJob {
  const found = log.state.get('jobs', jobId(number));
  if (found?.status !== 'InProgress') throw new Error('no such job runs');
  return found;
}

/** All records of a pool that holds these keys, as a backup of it would. */
function contents(...names: string[]): StagedRecord[] {
  const source = foundedLog();
  for (const name of names) source.take(created(name, 'v1'));
  return restoredTables.flatMap((table) =>
    source.state
      .range(table, '', 100)
      .map(([id, record]) => [stagedFor[table], id, record] as unknown as StagedRecord),
  );
}

function backedUp(...names: string[]): Log {
  const log = foundedLog();
  for (const name of names) log.take(created(name, 'v1'));
  log.take(started(900, 'backup'));
  expect(log.take(finished(hold(900)))).toBeUndefined();
  return log;
}

const nothingStaged = (log: Log) => stagedTables.every((table) => log.state.count(table) === 0);

describe('a job', () => {
  it('runs alone: a second one of any kind is refused until it has ended', () => {
    const log = foundedLog();
    expect(log.take(started(1, 'backup'))).toBeUndefined();
    for (const kind of ['backup', 'backup-check', 'restore', 'restore-check', 'key-restore'] as const)
      expect(log.take(started(2, kind, { key: 'k' }))).toBe('JobRunning');
    expect(log.take(finished(hold(1), true))).toBeUndefined();
    expect(log.take(started(2, 'backup'))).toBeUndefined();
  });

  it('keeps nothing of its token once it has ended, however it did', () => {
    for (const failed of [false, true]) {
      const log = foundedLog();
      log.take(started(1, 'backup'));
      expect(job(log, 1).token).toBe(SECRET);
      log.take(finished(hold(1), failed));
      const ended = log.state.get('jobs', jobId(1));
      expect(ended).toMatchObject({ status: failed ? 'Failed' : 'Succeeded', ended: NOW + 5 });
      expect(JSON.stringify(log.state.range('jobs', '', 10))).not.toContain('secret');
      expect(log.state.get('pool', POOL)).not.toHaveProperty('job');
    }
  });

  it('is taken over from who ran it, once, and then no word of that one counts', () => {
    const log = foundedLog();
    log.take(started(1, 'restore'));
    expect(log.take(taken(hold(1)))).toBeUndefined();
    expect(job(log, 1)).toMatchObject({ attempt: 2, owner: { run: 'r1' }, token: SECRET });
    for (const mutation of [
      taken(hold(1)),
      staged(hold(1), 1, contents()),
      removed(hold(1)),
      switched(hold(1), 0),
      finished(hold(1)),
      { kind: 'JobProgressed', id: nextId(), time: NOW, job: hold(1), done: 1, total: 2 } as const,
    ]) {
      expect(log.take(mutation)).toBe('JobChanged');
    }
    expect(log.take(finished(hold(1, 2), true))).toBeUndefined();
    expect(log.take(taken(hold(1, 2)))).toBe('JobChanged');
  });

  it('needs the right to begin it at the whole HSM', () => {
    const log = foundedLog();
    const asked = started(1, 'backup') as Extract<Mutation, { kind: 'JobStarted' }>;
    const authority = { ...asked.authority, caller: { objectId: STRANGER, groups: [] } };
    expect(log.take({ ...asked, authority })).toBe('NotPermitted');
  });

  it(`is forgotten when ${JOBS_KEPT} newer ones have ended`, () => {
    const log = foundedLog();
    for (let number = 0; number <= JOBS_KEPT; number += 1) {
      log.take(started(number, 'backup', {}, NOW + number));
      expect(log.take(finished(hold(number), false, NOW + number))).toBeUndefined();
    }
    expect(log.state.count('jobs')).toBe(JOBS_KEPT);
    expect(log.state.get('jobs', jobId(0))).toBeUndefined();
    expect(log.state.get('jobs', jobId(1))).toBeDefined();
  });
});

describe('a full restore', () => {
  it('of a pool that holds keys, deleted ones too, needs a full backup of it that was finished', () => {
    const log = foundedLog();
    expect(log.take(started(1, 'restore-check'))).toBeUndefined();
    log.take(finished(hold(1)));
    log.take(created('k', 'v1'));
    log.take(plain('KeyDeleted', 'k'));
    for (const kind of ['restore', 'restore-check'] as const)
      expect(log.take(started(2, kind))).toBe('BackupNeeded');
    log.take(started(3, 'backup'));
    log.take(finished(hold(3), true));
    expect(log.take(started(4, 'restore'))).toBe('BackupNeeded');
    log.take(started(5, 'backup-check'));
    log.take(finished(hold(5)));
    expect(log.take(started(6, 'restore'))).toBe('BackupNeeded');
    log.take(started(7, 'backup', {}, NOW + 7));
    log.take(finished(hold(7)));
    expect(log.state.get('pool', POOL)?.backedUp).toBe(NOW + 7);
    expect(log.take(started(8, 'restore'))).toBeUndefined();
  });

  it('closes the pool to everything but its own job until it has ended', () => {
    const log = backedUp('k');
    log.take(started(1, 'restore'));
    expect(log.take(created('other', 'v1'))).toBe('Restoring');
    expect(log.take(plain('KeyDeleted', 'k'))).toBe('Restoring');
    const setting = {
      kind: 'SettingChanged',
      time: NOW,
      name: 'AllowKeyManagementOperationsThroughARM',
    } as const;
    expect(log.take({ ...setting, id: nextId(), value: true })).toBe('Restoring');
    expect(log.take(started(2, 'backup'))).toBe('JobRunning');
    log.take(finished(hold(1), true));
    expect(log.take(created('other', 'v1'))).toBeUndefined();
  });

  it('a backup closes nothing', () => {
    const log = foundedLog();
    log.take(started(1, 'backup'));
    expect(log.take(created('k', 'v1'))).toBeUndefined();
  });

  it('replaces all that the pool held at once, with the end of its job, and leaves nothing staged', () => {
    const log = backedUp('old', 'both');
    log.take(plain('KeyDeleted', 'both'));
    const records = contents('new', 'both');
    log.take(started(1, 'restore'));
    records.forEach((record, place) => {
      expect(log.take(staged(hold(1), place + 1, [record]))).toBeUndefined();
      expect(log.state.get('keys', 'old')).toBeDefined();
      expect(log.state.get('keys', 'new')).toBeUndefined();
    });
    expect(job(log, 1)).toMatchObject({ staged: records.length, done: records.length });
    expect(log.take(switched(hold(1), records.length))).toBeUndefined();
    expect(log.state.range('keys', '', 10).map(([name]) => name)).toEqual(['both', 'new']);
    expect(log.state.count('deleted')).toBe(0);
    expect(log.state.get('versions', 'old/v1')).toBeUndefined();
    expect(versionOf(log, 'new/v1').name).toBe('new');
    expect(nothingStaged(log)).toBe(true);
    expect(log.state.get('jobs', jobId(1))).toMatchObject({ status: 'Succeeded', ended: NOW + 9 });
    expect(log.state.get('pool', POOL)?.settings).toEqual(SETTINGS);
    expect(log.take(created('later', 'v1'))).toBeUndefined();
    expect(log.take(plain('KeyDeleted', 'new'))).toBeUndefined();
  });

  it('is taken in order, without a gap and complete', () => {
    const log = foundedLog();
    const [first, second] = contents('k') as [StagedRecord, StagedRecord];
    log.take(started(1, 'restore'));
    expect(log.take(staged(hold(1), 2, [first]))).toBe('JobChanged');
    expect(log.take(staged(hold(1), 1, [first]))).toBeUndefined();
    expect(log.take(staged(hold(1), 1, [first]))).toBe('JobChanged');
    expect(log.take(switched(hold(1), 2))).toBe('JobChanged');
    expect(log.take(staged(hold(1), 2, [second]))).toBeUndefined();
    expect(log.take(switched(hold(1), 1))).toBe('JobChanged');
    expect(log.take(switched(hold(1), 2))).toBeUndefined();
  });

  it('goes on under another owner where it was', () => {
    const log = foundedLog();
    const [first, second] = contents('k') as [StagedRecord, StagedRecord];
    log.take(started(1, 'restore'));
    log.take(staged(hold(1), 1, [first]));
    log.take(taken(hold(1)));
    expect(job(log, 1)).toMatchObject({ attempt: 2, staged: 1, done: 1 });
    expect(log.take(staged(hold(1, 2), 2, [second]))).toBeUndefined();
  });

  it('fails only when nothing is staged any more, and what the pool held is as it was', () => {
    const log = backedUp('old');
    const before = JSON.stringify(restoredTables.map((table) => log.state.range(table, '', 100)));
    const many = Array.from({ length: DROPPED_MAX }, (_, place): StagedRecord => [
      'stagedKeys',
      `k${place}`,
      { name: `k${place}`, versions: ['v'] },
    ]);
    log.take(started(1, 'restore'));
    log.take(staged(hold(1), 1, many));
    log.take(staged(hold(1), 2, contents('k')));
    expect(log.take(finished(hold(1), true))).toBe('JobChanged');
    log.take(removed(hold(1)));
    expect(nothingStaged(log)).toBe(false);
    expect(log.take(finished(hold(1), true))).toBe('JobChanged');
    log.take(removed(hold(1)));
    expect(nothingStaged(log)).toBe(true);
    expect(log.take(finished(hold(1), true))).toBeUndefined();
    expect(JSON.stringify(restoredTables.map((table) => log.state.range(table, '', 100)))).toBe(before);
  });

  it('leaves an Administrator who restores her role, which the backup may not know, and nobody else', () => {
    const log = foundedLog({ administrators: [ADMIN, STRANGER] });
    const others = contents().filter(([table]) => !/Grants|Assign/.test(table));
    log.take(started(1, 'restore'));
    log.take(staged(hold(1), 1, others));
    expect(log.take(switched(hold(1), others.length))).toBeUndefined();
    expect(log.state.range('assignments', '', 10)).toEqual([
      [
        '00000000-0000-0000-0000-000000000001',
        {
          name: '00000000-0000-0000-0000-000000000001',
          principalId: ADMIN,
          roleDefinitionId: ADMINISTRATOR,
          scope: '/',
        },
      ],
    ]);
    expect(log.state.get('grants', STRANGER)).toBeUndefined();
    expect(log.take(started(2, 'backup'))).toBeUndefined();
  });

  it('adds no second assignment where the backup has hers', () => {
    const log = foundedLog();
    const records = contents('k');
    log.take(started(1, 'restore'));
    log.take(staged(hold(1), 1, records));
    log.take(switched(hold(1), records.length));
    expect(log.state.count('assignments')).toBe(3);
  });

  it('has every key that it brings proven, and is waited for by every read when it begins and ends', () => {
    const records = contents('a', 'b');
    expect(sealedIn(staged(hold(1), 1, records)).map(({ id }) => id)).toEqual(['a/v1', 'b/v1']);
    expect(tagsOf(started(1, 'restore'))).toContain('pool');
    expect(tagsOf(switched(hold(1), 0))).toContain('pool');
    expect(tagsOf(finished(hold(1)))).toContain('pool');
  });

  it('is the same change on every member', () => {
    const log = backedUp('old');
    const records = contents('new');
    log.take(started(1, 'restore'));
    log.take(staged(hold(1), 1, records));
    const last = switched(hold(1), records.length);
    expect(judge(log.state, last, 99)).toEqual(judge(log.state, last, 99));
  });
});

describe('the restore of one key', () => {
  const restored = (number: number, attempt = 1): Mutation => {
    const source = foundedLog();
    source.take(created('k', 'v1'));
    return {
      kind: 'KeyRestored',
      id: nextId(),
      time: NOW + 3,
      name: 'k',
      versions: [versionOf(source, 'k/v1')],
      job: hold(number, attempt),
    };
  };

  it('ends its job with the key', () => {
    const log = foundedLog();
    log.take(started(1, 'key-restore', { key: 'k' }));
    expect(log.take(created('other', 'v1'))).toBeUndefined();
    expect(log.take(restored(1))).toBeUndefined();
    expect(log.state.get('keys', 'k')).toBeDefined();
    expect(log.state.get('jobs', jobId(1))).toMatchObject({ status: 'Succeeded', ended: NOW + 3, key: 'k' });
    expect(log.state.get('pool', POOL)).not.toHaveProperty('job');
  });

  it('is refused for a key that exists or is held by a deleted one, when it begins and when it comes', () => {
    const log = foundedLog();
    log.take(created('k', 'v1'));
    expect(log.take(started(1, 'key-restore', { key: 'k' }))).toBe('KeyExists');
    log.take(plain('KeyDeleted', 'k'));
    expect(log.take(started(1, 'key-restore', { key: 'k' }))).toBe('NameHeldByDeletedKey');
    log.take(plain('KeyPurged', 'k', NOW + 100 * 86_400));
    expect(log.take(started(1, 'key-restore', { key: 'k' }))).toBeUndefined();
    log.take(created('k', 'v2'));
    expect(log.take(restored(1))).toBe('KeyExists');
  });

  it('is refused to who runs it no more', () => {
    const log = foundedLog();
    log.take(started(1, 'key-restore', { key: 'k' }));
    log.take(taken(hold(1)));
    expect(log.take(restored(1))).toBe('JobChanged');
    expect(log.state.get('keys', 'k')).toBeUndefined();
    expect(log.take(restored(1, 2))).toBeUndefined();
  });
});
