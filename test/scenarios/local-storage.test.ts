// `trivet up --storage` and the commands for backup and restore: what a person does on one machine.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './ceremonies.js';
import { at, isAlive, TestPool, text, until } from './pool.js';

const MINUTE = 60_000;
let pool: TestPool;
let folder: string;

beforeAll(async () => {
  pool = await TestPool.found(undefined, ['--storage']);
}, 2 * MINUTE);
afterAll(() => pool.remove());

/** The storage's process. */
function storagePid(): number {
  const pids = readdirSync('/proc').filter((name) => {
    if (!/^[0-9]+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(join(pool.directory, 'storage/data'));
    } catch {
      return false; // gone meanwhile
    }
  });
  return Number(pids.find((pid) => isAlive(Number(pid))) ?? -1);
}

const json = (...args: string[]): unknown => JSON.parse(must(pool.command(...args, '--json')));

test(
  'the storage is in the ready file, its key is for the owner only, and a backup into it needs no other word',
  async () => {
    const storage = pool.ready.storage;
    expect(storage).toMatchObject({ account: 'trivet' });
    expect(statSync(storage?.keyFile ?? '').mode & 0o777).toBe(0o600);
    expect(JSON.stringify(pool.ready)).not.toContain(readFileSync(storage?.keyFile ?? '', 'utf8').trim());
    const client = await pool.client();
    expect((await client.call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
    const job = json('backup', 'start');
    folder = text(job, 'azureStorageBlobContainerUri');
    expect(folder.startsWith(`${storage?.uri ?? ''}/backups/mhsm-dev-`)).toBe(true);
    expect(json('backup', 'status', text(job, 'jobId'))).toEqual(job);
  },
  MINUTE,
);

test(
  'one key, then everything, from the folder as it was named; a restore of everything wants to be meant',
  async () => {
    const client = await pool.client();
    expect(at(json('restore', 'check', folder), 'status')).toBe('Succeeded');
    const taken = pool.command('restore', 'key', 'k', folder);
    expect([taken.status, taken.err]).toEqual([1, expect.stringContaining('exists already')]);
    await client.call('DELETE', '/keys/k');
    await client.call('DELETE', '/deletedkeys/k');
    expect(must(pool.command('restore', 'key', 'k', folder))).toContain('Succeeded');
    await client.call('POST', '/keys/later/create', { kty: 'EC' });
    const unmeant = pool.command('restore', 'start', folder);
    expect([unmeant.status, unmeant.err]).toEqual([1, expect.stringContaining('--yes')]);
    expect((await client.call('GET', '/keys/later')).status).toBe(200);
    expect(must(pool.command('restore', 'start', folder, '--yes'))).toContain('Succeeded');
    expect((await client.call('GET', '/keys/later')).status).toBe(404);
    expect((await client.call('GET', '/keys/k')).status).toBe(200);
    const missing = pool.command('restore', 'start', `${folder}9`, '--yes');
    expect([missing.status, missing.err]).toEqual([1, expect.stringContaining('BackupNotFound')]);
  },
  2 * MINUTE,
);

test(
  'it is started again when it ends, is gone with its fabric however that ends, and keeps its contents and its address',
  async () => {
    const first = storagePid();
    expect(first).toBeGreaterThan(0);
    // What it has written down by then is kept; it does so every few seconds, and when it leaves.
    process.kill(first, 'SIGTERM');
    await until('another runs', () => storagePid() > 0 && storagePid() !== first);
    await until('it answers', () => pool.command('restore', 'check', folder).status === 0);
    const second = storagePid();
    const before = pool.ready.storage;
    await pool.stop();
    expect(isAlive(second)).toBe(false);
    await pool.start();
    expect(pool.ready.storage).toEqual(before);
    expect(at(json('restore', 'check', folder), 'status')).toBe('Succeeded');
    const third = storagePid();
    await pool.killAll();
    await until('the storage is gone too', () => !isAlive(third));
    pool.options = [];
    await pool.start();
    expect(pool.ready).not.toHaveProperty('storage');
    const without = pool.command('backup', 'start');
    expect([without.status, without.err]).toEqual([1, expect.stringContaining('trivet up --storage')]);
    const { status, body } = await (
      await pool.client()
    ).call('POST', '/backup', { storageResourceUri: folder.replace(/\/[^/]*$/, ''), token: 'sig=x' });
    expect([status, at(body, 'error', 'innererror', 'code')]).toEqual([403, 'StorageNotAllowed']);
  },
  3 * MINUTE,
);
