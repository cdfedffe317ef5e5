// Backups and restores of an HSM in memory: what comes back is what was saved, whatever was done to it in between is
// found before anything is replaced, and a job that changes hands is run by one.
import { createKey } from '../../../../src/instance/hsm/create-key.js';
import { deleteKey } from '../../../../src/instance/hsm/delete-key.js';
import { JobFailure } from '../../../../src/instance/hsm/full-backup/failure.js';
import { jobStatus } from '../../../../src/instance/hsm/full-backup/job-status.js';
import { purgeKey } from '../../../../src/instance/hsm/purge-key.js';
import { sign } from '../../../../src/instance/hsm/sign.js';
import { Outage } from '../../../../src/instance/hsm/outage.js';
import { POOL } from '../../../../src/instance/model/pool.js';
import { Refusal, RefusedError } from '../../../../src/instance/model/refusal.js';
import { stagedTables } from '../../../../src/instance/model/state.js';
import { callerOf, FakeHsm, OPERATOR, STRANGER } from '../fake-hsm.js';
import { Bench, CONTAINER, contentsOf, MemoryContainer, STORAGE_WISH, TOKEN } from './memory.js';

const caller = callerOf(OPERATOR);
const KEYS = 7;

async function make(hsm: FakeHsm, name: string, tags?: Record<string, string>): Promise<void> {
  await createKey(hsm, caller, {
    name,
    spec: { kty: 'EC-HSM', curve: 'P-256' },
    enabled: true,
    ...(tags && { tags }),
  });
}

async function filled(container?: MemoryContainer): Promise<Bench> {
  const bench = new Bench(container);
  for (let place = 0; place < KEYS; place += 1) {
    await make(bench.hsm, `k${place}`, { place: String(place) });
    await make(bench.hsm, `k${place}`);
  }
  await make(bench.hsm, 'gone');
  await deleteKey(bench.hsm, caller, 'gone');
  return bench;
}

/** Another pool of the same security domain, with a key of its own and a backup of that. */
async function target(source: Bench): Promise<Bench> {
  const bench = new Bench(source.container);
  for (const [id, key] of source.hsm.fake.keys) bench.hsm.fake.keys.set(id, key);
  await make(bench.hsm, 'own');
  await bench.backup();
  return bench;
}

const nothingStaged = ({ hsm }: Bench) => stagedTables.every((table) => hsm.state.count(table) === 0);
const blobsOf = ({ container }: Bench, folder: string) =>
  [...container.blobs.keys()].filter((name) => name.startsWith(`${folder}/`)).sort();

describe('a full backup', () => {
  it('is a folder of parts and a manifest, tells nothing of the keys, and is restored as it was', async () => {
    const source = await filled();
    const folder = await source.backup();
    expect(folder).toMatch(/^mhsm-dev-[0-9]{16}$/);
    const names = blobsOf(source, folder);
    expect(names.at(-1)).toBe(`${folder}/manifest`);
    for (const name of names) expect(source.container.blobs.get(name)?.includes('place')).toBe(false);
    const other = await target(source);
    expect(await other.restore(folder)).toMatchObject({ status: 'Succeeded' });
    expect(contentsOf(other.hsm.state)).toBe(contentsOf(source.hsm.state));
    expect(nothingStaged(other)).toBe(true);
    await sign(other.hsm, caller, { name: 'k3', algorithm: 'ES256', digest: Buffer.alloc(32, 1) });
    expect(other.ended).toEqual([undefined, undefined]);
  });

  it('holds what was committed when it began, whatever is written meanwhile', async () => {
    const source = await filled();
    const before = contentsOf(source.hsm.state);
    let wrote = false;
    source.container.before = async (what) => {
      if (what !== 'put' || wrote) return;
      wrote = true;
      await make(source.hsm, 'later');
      await deleteKey(source.hsm, caller, 'k0');
    };
    const folder = await source.backup();
    source.container.before = undefined;
    expect(wrote).toBe(true);
    const other = await target(source);
    await other.restore(folder);
    expect(contentsOf(other.hsm.state)).toBe(before);
  });

  it('shows its folder when it is finished, and never its token, in status, state and log', async () => {
    const source = await filled();
    const { id } = await source.begin({ kind: 'backup', storage: STORAGE_WISH });
    const first = jobStatus(source.hsm, caller, 'backup', id);
    expect(first).toMatchObject({ status: 'InProgress' });
    expect(first).not.toHaveProperty('folderUrl');
    await source.runner().look();
    const last = jobStatus(source.hsm, caller, 'backup', id) as { folderUrl: string };
    expect(last.folderUrl.startsWith(`${CONTAINER}/mhsm-dev-`)).toBe(true);
    for (const text of [
      JSON.stringify([first, last, source.hsm.state.range('jobs', '', 9)]),
      ...source.logged,
    ])
      expect(text).not.toContain('secret');
    expect(() => jobStatus(source.hsm, caller, 'restore', id)).toThrow(RefusedError);
    expect(() => jobStatus(source.hsm, callerOf(STRANGER), 'backup', id)).toThrow(RefusedError);
  });

  it('is refused to a storage that is not allowed, by port, scheme, user or anything else of its address', async () => {
    const { hsm } = await filled();
    for (const container of [
      'https://localhost:10001/account/backups',
      'https://localhost/account/backups',
      'https://localhost.evil:10000/account/backups',
      'https://localhost:10000@evil/account/backups',
      'https://127.0.0.1:10000/account/backups',
      'https://[::1]:10000/account/backups',
      'http://localhost:10000/account/backups',
      'https://user:word@localhost:10000/account/backups',
      `${CONTAINER}?sv=1`,
      `${CONTAINER}#x`,
      'https://localhost:10000/',
      'https://localhost:10000/a/b/c/d',
      'https://localhost:10000/account/../x/backups/..',
      'file:///etc/passwd',
      'backups',
    ]) {
      const asked = new Bench(new MemoryContainer(), hsm).begin({
        kind: 'backup',
        storage: { container, token: TOKEN },
      });
      await expect(asked).rejects.toThrow(/^(BadParameter|StorageNotAllowed): /);
    }
    expect(hsm.submitted.filter(({ kind }) => kind === 'JobStarted')).toEqual([]);
  });

  it.each([
    ['StorageForbidden', new JobFailure('StorageForbidden', 'refused')],
    ['StorageUnreachable', new JobFailure('StorageUnreachable', 'cut')],
    ['InternalError', new Error(`https://h/c?${TOKEN}`)],
  ])('fails with its reason when the storage fails, and the next one succeeds: %s', async (code, thrown) => {
    const source = await filled();
    source.container.before = (_what, name) => {
      if (name.endsWith('manifest')) throw thrown;
    };
    const job = await source.run({ kind: 'backup', storage: STORAGE_WISH });
    expect(job).toMatchObject({ status: 'Failed', error: { code } });
    for (const text of [JSON.stringify(job), ...source.logged]) expect(text).not.toContain('secret');
    expect(source.hsm.state.get('pool', POOL)?.backedUp).toBeUndefined();
    source.container.before = undefined;
    await source.backup();
    expect(source.hsm.state.get('pool', POOL)?.backedUp).toBeDefined();
  });

  it('overwrites nothing: in a folder that another backup has taken it fails, and that one stays as it was', async () => {
    const source = await filled();
    const folder = await source.backup();
    const before = new Map(source.container.blobs);
    for (const gone of ['none', 'manifest']) {
      if (gone === 'manifest') source.container.blobs.delete(`${folder}/manifest`);
      const { id } = await source.begin({ kind: 'backup', storage: STORAGE_WISH });
      const job = source.job(id);
      source.hsm.state.apply([{ table: 'jobs', id, value: { ...job, folder } }]);
      await source.runner().look();
      expect(source.job(id)).toMatchObject({ status: 'Failed', error: { code: 'StorageFailed' } });
      for (const [name, bytes] of source.container.blobs) expect(bytes).toEqual(before.get(name));
    }
  });

  it('a part whose acknowledgement was lost is found to be there', async () => {
    const source = await filled();
    const putNew = source.container.putNew.bind(source.container);
    source.container.putNew = async (name, bytes) => {
      await putNew(name, bytes);
      return false; // as of the second try
    };
    const folder = await source.backup();
    const other = await target(source);
    expect(await other.restore(folder)).toMatchObject({ status: 'Succeeded' });
  });

  it('a check writes, and leaves nothing', async () => {
    const source = await filled();
    let wrote = 0;
    source.container.before = (what) => void (wrote += what === 'put' ? 1 : 0);
    expect(await source.run({ kind: 'backup-check', storage: STORAGE_WISH })).toMatchObject({
      status: 'Succeeded',
    });
    expect([wrote, source.container.blobs.size]).toEqual([1, 0]);
    expect(await source.run({ kind: 'backup-check' })).toMatchObject({ status: 'Succeeded' });
  });
});

describe('a backup that was tampered with', () => {
  let source: Bench;
  let folder: string;
  let another: string;
  let kept: Map<string, Buffer>;

  beforeAll(async () => {
    source = await filled();
    source.partBytes = 2_000;
    folder = await source.backup();
    another = await source.backup();
    kept = new Map(source.container.blobs);
    expect(blobsOf(source, folder).length).toBeGreaterThan(3);
  });

  beforeEach(() => {
    source.container.blobs.clear();
    for (const [name, bytes] of kept) source.container.blobs.set(name, bytes);
  });

  const part = (number: number, of = folder) => `${of}/0001-${String(number).padStart(6, '0')}.part`;
  const blob = (name: string): Buffer => {
    const found = source.container.blobs.get(name);
    if (!found) throw new Error(`no blob ${name}`);
    return found;
  };
  const set = (name: string, bytes: Buffer) => void source.container.blobs.set(name, bytes);
  const flipped = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  const manifestWith = (change: (members: Record<string, unknown>) => void): Buffer => {
    const [line = '', mac = ''] = blob(`${folder}/manifest`).toString().split('\n');
    const members = JSON.parse(line) as Record<string, unknown>;
    change(members);
    return Buffer.from(`${JSON.stringify(members)}\n${mac}\n`);
  };

  const damages: [string, string, () => void][] = [
    ['a bit of a part', 'BackupCorrupt', () => set(part(2), flipped(blob(part(2)), 100))],
    ['a bit of a tag', 'BackupCorrupt', () => set(part(1), flipped(blob(part(1)), blob(part(1)).length - 1))],
    ['a part cut off', 'BackupCorrupt', () => set(part(2), blob(part(2)).subarray(0, -1))],
    [
      'a part that is longer',
      'BackupCorrupt',
      () => set(part(2), Buffer.concat([blob(part(2)), Buffer.of(0)])),
    ],
    ['an empty part', 'BackupCorrupt', () => set(part(1), Buffer.alloc(0))],
    ['a missing part', 'BackupCorrupt', () => void source.container.blobs.delete(part(2))],
    [
      'two parts exchanged',
      'BackupCorrupt',
      () => {
        const [one, two] = [blob(part(1)), blob(part(2))];
        set(part(1), two);
        set(part(2), one);
      },
    ],
    ['a part of another backup', 'BackupCorrupt', () => set(part(1), blob(part(1, another)))],
    [
      'the manifest of another backup',
      'BackupCorrupt',
      () => set(`${folder}/manifest`, blob(`${another}/manifest`)),
    ],
    ['no manifest', 'BackupNotFound', () => void source.container.blobs.delete(`${folder}/manifest`)],
    ['a manifest that is none', 'BackupCorrupt', () => set(`${folder}/manifest`, Buffer.from('{}\n'))],
    ...['attempt', 'created', 'index', 'records', 'keys'].map((member): [string, string, () => void] => [
      `another ${member} in the manifest`,
      'BackupCorrupt',
      () =>
        set(
          `${folder}/manifest`,
          manifestWith((members) => (members[member] = Number(members[member]) + 1)),
        ),
    ]),
    [
      'fewer parts in the manifest',
      'BackupCorrupt',
      () =>
        set(
          `${folder}/manifest`,
          manifestWith((members) => (members['parts'] as number[]).pop()),
        ),
    ],
    [
      'other settings in the manifest',
      'BackupCorrupt',
      () =>
        set(
          `${folder}/manifest`,
          manifestWith((members) => (members['settings'] = { AllowKeyManagementOperationsThroughARM: true })),
        ),
    ],
    [
      'a member more in the manifest',
      'BackupCorrupt',
      () =>
        set(
          `${folder}/manifest`,
          manifestWith((members) => (members['more'] = 1)),
        ),
    ],
    [
      'a format of the future',
      'BackupCorrupt',
      () =>
        set(
          `${folder}/manifest`,
          manifestWith((members) => (members['format'] = 2)),
        ),
    ],
  ];

  it.each(damages)('%s: %s, and nothing is replaced', async (_what, code, damage) => {
    const other = await target(source);
    const before = contentsOf(other.hsm.state);
    damage();
    for (const kind of ['restore-check', 'restore'] as const) {
      const job = await other.run({ kind, storage: STORAGE_WISH, folder });
      expect(job).toMatchObject({ status: 'Failed', error: { code } });
    }
    expect(contentsOf(other.hsm.state)).toBe(before);
    expect(nothingStaged(other)).toBe(true);
    expect(other.hsm.submitted.map(({ kind }) => kind)).not.toContain('RestoreStaged');
    await make(other.hsm, 'after');
  });

  it('after it was checked, while it is brought: it fails, what was brought is dropped, nothing is replaced', async () => {
    const other = await target(source);
    const before = contentsOf(other.hsm.state);
    let reads = 0;
    source.container.before = (what, name) => {
      if (what === 'get' && name === part(3) && ++reads === 2) set(part(3), flipped(blob(part(3)), 9));
    };
    const job = await other.restore(folder);
    source.container.before = undefined;
    expect(job).toMatchObject({ status: 'Failed', error: { code: 'BackupCorrupt' } });
    expect(other.hsm.submitted.map(({ kind }) => kind)).toContain('RestoreStaged');
    expect(contentsOf(other.hsm.state)).toBe(before);
    expect(nothingStaged(other)).toBe(true);
  });

  it('as it was made it is restored', async () => {
    const other = await target(source);
    expect(await other.restore(folder)).toMatchObject({ status: 'Succeeded' });
    expect(contentsOf(other.hsm.state)).toBe(contentsOf(source.hsm.state));
  });
});

describe('a full restore', () => {
  it('from another security domain is refused, and says so', async () => {
    const source = await filled();
    const folder = await source.backup();
    const other = await target(source);
    const owner = other.hsm.state.get('internal', 'owner');
    if (!owner) throw new Error('no owner');
    other.hsm.state.apply([
      { table: 'internal', id: 'owner', value: { ...owner, certificate: Buffer.of(9) } },
    ]);
    expect(await other.restore(folder)).toMatchObject({ error: { code: 'BackupOfOtherDomain' } });
  });

  it('lets nothing else be done meanwhile, whatever is asked, and answers for its status', async () => {
    const source = await filled();
    const folder = await source.backup();
    const other = await target(source);
    const { id } = await other.begin({ kind: 'restore', storage: STORAGE_WISH, folder });
    const digest = Buffer.alloc(32, 1);
    const asked = async () => sign(other.hsm, caller, { name: 'own', algorithm: 'ES256', digest });
    await expect(asked()).rejects.toThrow(/^Restoring/);
    await expect(make(other.hsm, 'new')).rejects.toThrow(/^Restoring/);
    expect(jobStatus(other.hsm, caller, 'restore', id)).toMatchObject({ status: 'InProgress' });
    await expect(other.begin({ kind: 'backup', storage: STORAGE_WISH })).rejects.toThrow(/^JobRunning/);
    await other.runner().look();
    await expect(asked()).rejects.toThrow(/^KeyNotFound/);
  });

  it('fails when a slot does not open a key of it, and what the pool held is as it was', async () => {
    const source = await filled();
    const folder = await source.backup();
    const other = await target(source);
    const before = contentsOf(other.hsm.state);
    const submit = other.hsm.submit.bind(other.hsm);
    let parts = 0;
    other.hsm.submit = async (mutation) => {
      if (mutation.kind === 'RestoreStaged') parts += 1;
      if (mutation.kind === 'RestoreStaged')
        throw new RefusedError(new Refusal('BlobUnreadable', 'it does not open'));
      return submit(mutation);
    };
    expect(await other.restore(folder)).toMatchObject({ status: 'Failed', error: { code: 'Refused' } });
    expect(parts).toBe(1);
    expect(contentsOf(other.hsm.state)).toBe(before);
    await make(other.hsm, 'after');
  });
});

describe('the restore of one key', () => {
  it('brings it with all its versions and nothing else', async () => {
    const source = await filled();
    const folder = await source.backup();
    const versions = source.hsm.state.get('keys', 'k2')?.versions;
    await deleteKey(source.hsm, caller, 'k2');
    await expect(source.restoreKey('k2', folder)).rejects.toThrow(/^NameHeldByDeletedKey/);
    await purgeKey(source.hsm, caller, 'k2');
    await deleteKey(source.hsm, caller, 'k1');
    expect(await source.restoreKey('k2', folder)).toMatchObject({ status: 'Succeeded', key: 'k2' });
    expect(source.hsm.state.get('keys', 'k2')?.versions).toEqual(versions);
    expect(source.hsm.state.get('deleted', 'k1')).toBeDefined();
    await sign(source.hsm, caller, { name: 'k2', algorithm: 'ES256', digest: Buffer.alloc(32, 1) });
    await expect(source.restoreKey('k2', folder)).rejects.toThrow(/^KeyExists/);
  });

  it.each(['never', 'k', 'gone'])(
    'of one that the backup does not hold, or only deleted, fails: %s',
    async (name) => {
      const source = await filled();
      const folder = await source.backup();
      if (name === 'gone') await purgeKey(source.hsm, caller, 'gone');
      expect(await source.restoreKey(name, folder)).toMatchObject({ error: { code: 'KeyNotInBackup' } });
    },
  );
});

describe('a job that changes hands', () => {
  it('is taken over by the primary once its owner takes part no more, and not before', async () => {
    const bench = await filled();
    const { id } = await bench.begin({ kind: 'backup', storage: STORAGE_WISH });
    const other = bench.runner('store-1', 'run-1');
    await other.look();
    expect(bench.job(id)).toMatchObject({ status: 'InProgress', attempt: 1 });
    bench.view = ['store-1', 'store-2'];
    bench.primary = false;
    await other.look();
    expect(bench.job(id)).toMatchObject({ status: 'InProgress', attempt: 1 });
    bench.primary = true;
    await other.look();
    expect(bench.job(id)).toMatchObject({ status: 'Succeeded' });
  });

  it('is taken over by the next process on the same store', async () => {
    const bench = await filled();
    bench.primary = false;
    const { id } = await bench.begin({ kind: 'backup', storage: STORAGE_WISH });
    await bench.runner('store-0', 'run-9').look();
    expect(bench.job(id)).toMatchObject({ status: 'Succeeded' });
  });

  it('a backup begins again in the same folder, and an owner that was taken for lost finishes nothing', async () => {
    const bench = await filled();
    const { id } = await bench.begin({ kind: 'backup', storage: STORAGE_WISH });
    let go: () => void = () => undefined;
    const stopped = new Promise<void>((stop) => {
      bench.container.before = async (_what, name) => {
        if (!name.endsWith('manifest') || !name.startsWith('mhsm')) return;
        bench.container.before = undefined;
        stop();
        await new Promise<void>((resolve) => (go = resolve));
      };
    });
    const first = bench.runner().look();
    await stopped;
    bench.view = ['store-1'];
    const second = bench.runner('store-1', 'run-1');
    await second.look();
    const job = bench.job(id);
    const manifest = bench.container.blobs.get(`${job.folder ?? ''}/manifest`);
    expect(manifest?.toString()).toContain('"attempt":2');
    go();
    await first;
    expect(bench.container.blobs.get(`${job.folder ?? ''}/manifest`)).toEqual(manifest);
    expect(bench.job(id)).toEqual(job);
    expect(bench.ended).toEqual([undefined]);
    const other = await target(bench);
    expect(await other.restore(job.folder ?? '')).toMatchObject({ status: 'Succeeded' });
  });

  it('a backup whose manifest was written is finished without another', async () => {
    const bench = await filled();
    const { id } = await bench.begin({ kind: 'backup', storage: STORAGE_WISH });
    bench.hsm.outage = new Outage('TooFewInSync', 'away');
    const lost = bench.runner();
    const submit = bench.hsm.submit.bind(bench.hsm);
    bench.hsm.outage = undefined;
    bench.hsm.submit = (mutation) =>
      mutation.kind === 'JobFinished' ? new Promise(() => undefined) : submit(mutation);
    void lost.look();
    while (!bench.container.blobs.has(`${bench.job(id).folder ?? ''}/manifest`))
      await new Promise((resolve) => setImmediate(resolve));
    bench.hsm.submit = submit;
    const before = new Map(bench.container.blobs);
    await bench.runner('store-0', 'run-1').look();
    expect(bench.job(id)).toMatchObject({ status: 'Succeeded' });
    expect(bench.container.blobs).toEqual(before);
  });

  it('a restore goes on where it was, and brings each part once', async () => {
    const source = await filled();
    for (let place = 0; place < 400; place += 1) await make(source.hsm, `more${place}`);
    const folder = await source.backup();
    const other = await target(source);
    const { id } = await other.begin({ kind: 'restore', storage: STORAGE_WISH, folder });
    const submit = other.hsm.submit.bind(other.hsm);
    const parts: number[] = [];
    const died = new Promise<void>((die) => {
      other.hsm.submit = (mutation) => {
        if (mutation.kind === 'RestoreStaged') {
          if (mutation.number === 3) {
            die();
            return new Promise(() => undefined);
          }
          parts.push(mutation.number);
        }
        return submit(mutation);
      };
    });
    void other.runner().look();
    await died;
    other.hsm.submit = (mutation) => {
      if (mutation.kind === 'RestoreStaged') parts.push(mutation.number);
      return submit(mutation);
    };
    await other.runner('store-0', 'run-1').look();
    expect(other.job(id)).toMatchObject({ status: 'Succeeded' });
    expect(parts.slice(0, 3)).toEqual([1, 2, 3]);
    expect(new Set(parts).size).toBe(parts.length);
    expect(contentsOf(other.hsm.state)).toBe(contentsOf(source.hsm.state));
  });

  it('a change whose outcome is unknown is found to stand, or made again', async () => {
    const source = await filled();
    const folder = await source.backup();
    const other = await target(source);
    const submit = other.hsm.submit.bind(other.hsm);
    const unknown = new Outage('OutcomeUnknown', 'who knows');
    let count = 0;
    other.hsm.submit = async (mutation) => {
      count += 1;
      if (!['RestoreStaged', 'RestoreSwitched'].includes(mutation.kind) || count % 2 === 0)
        return submit(mutation);
      // It stands all the same.
      if (count % 3 === 0) await submit(mutation);
      throw unknown;
    };
    expect(await other.restore(folder)).toMatchObject({ status: 'Succeeded' });
    expect(contentsOf(other.hsm.state)).toBe(contentsOf(source.hsm.state));
  });
});
