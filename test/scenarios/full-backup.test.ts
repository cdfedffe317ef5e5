// Full backup and restore with real pools and a real blob service: a second pool of the same security domain takes over
// what the first one held; and whatever is killed, cut, expired, changed or asked for twice meanwhile, each ends in a
// clear state, nothing is lost and the pool goes on.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobStorage } from './blob-storage.js';
import { blobFor, custodians, must, takeCryptoRoles } from './ceremonies.js';
import { at, ConnectionLost, TestPool, text, until, type Answer, type Client } from './pool.js';
import { makeKeys, useKey, type Made } from './use.js';

const MINUTE = 60_000;
/** With what they are labelled: several parts, and a dozen changes that bring them. */
const FILLED = { keys: 200, versions: 4 };
const TAGS = Object.fromEntries(Array.from({ length: 15 }, (_, place) => [`tag-${place}`, 'x'.repeat(256)]));
const POLL_MS = 25;

const safe = mkdtempSync(join(tmpdir(), 'trivet-safe-'));
let storage: BlobStorage;
let source: TestPool;
let target: TestPool;
const cleanUp: (() => Promise<void> | void)[] = [];
let made: Made[];
/** A good backup of the source. */
let folder: string;

beforeAll(async () => {
  storage = await BlobStorage.start();
  cleanUp.unshift(() => storage.stop());
  const options = ['--storage-host', storage.option];
  source = await TestPool.found(undefined, options);
  cleanUp.unshift(() => source.remove());
  source.options = []; // it keeps what it was made with
  const client = await source.client();
  for (const kty of ['EC', 'oct', 'RSA'])
    expect((await client.call('POST', `/keys/template-${kty}/create`, { kty, tags: TAGS })).status).toBe(200);
  await source.stop();
  fill(source.directory);
  await source.start();
  made = await makeKeys(await source.client());
  cpSync(join(source.directory, 'custodians'), safe, { recursive: true });

  target = await TestPool.found(undefined, [...options, '--no-activate']);
  cleanUp.unshift(() => target.remove());
  target.options = [];
  const keys = custodians(safe, 3, 'key');
  blobFor(target, join(safe, 'security-domain.json'), keys.slice(0, 2));
  must(target.command('security-domain', 'upload', '--blob', join(target.home, 'blob.json')));
  await takeCryptoRoles(target, await target.client());
}, 5 * MINUTE);
afterEach(() => storage.door.open());
afterAll(async () => {
  for (const clean of cleanUp) await clean();
  rmSync(safe, { recursive: true });
});

function fill(directory: string): void {
  const { keys, versions } = FILLED;
  const program = join(__dirname, '../bench/fill-pool.cjs');
  const { status, stderr } = spawnSync(
    process.execPath,
    [program, '--data-dir', directory, '--keys', String(keys), '--versions', String(versions)],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
}

type Family = 'backup' | 'restore';

interface Job {
  readonly family: Family;
  readonly id: string;
}

async function begin(family: Family, asked: Promise<Answer>): Promise<Job> {
  const { status, body, text: words } = await asked;
  if (status !== 202) throw new Error(words);
  return { family, id: text(body, 'jobId') };
}

const startBackup = (client: Client, access = storage.access()): Promise<Job> =>
  begin('backup', client.call('POST', '/backup', access));
const startRestore = (client: Client, from = folder): Promise<Job> =>
  begin(
    'restore',
    client.call('PUT', '/restore', { sasTokenParameters: storage.access(), folderToRestore: from }),
  );

/** Undefined while nobody can be asked. */
async function statusOf(pool: TestPool, { family, id }: Job): Promise<unknown> {
  try {
    const { status, body } = await (await pool.client()).call('GET', `/${family}/${id}/pending`);
    return status === 200 ? body : undefined;
  } catch (error) {
    if (error instanceof ConnectionLost) return undefined;
    throw error;
  }
}

async function ended(pool: TestPool, job: Job): Promise<unknown> {
  let last: unknown;
  await until(
    `job ${job.id} has ended`,
    async () => {
      last = await statusOf(pool, job);
      if (last !== undefined && at(last, 'status') !== 'InProgress') return true;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      return false;
    },
    3 * MINUTE,
  );
  return last;
}

async function succeeded(pool: TestPool, job: Job): Promise<unknown> {
  const last = await ended(pool, job);
  expect(last).toMatchObject({ status: 'Succeeded', error: null });
  return last;
}

/** How many records a job has done. */
function doneOf(status: unknown): number {
  return Number(/^[0-9]+/.exec(String(at(status, 'statusDetails')))?.[0] ?? 0);
}

async function keyNames(client: Client): Promise<string[]> {
  const names: string[] = [];
  for (let path = '/keys'; path !== '';) {
    const { body } = await client.call('GET', path);
    for (const item of at(body, 'value') as unknown[]) names.push(text(item, 'kid').split('/').at(-1) ?? '');
    const next = at(body, 'nextLink');
    path = typeof next === 'string' ? next.replace(/^https:\/\/[^/]*/, '') : '';
  }
  return names.sort();
}

/** Everything works, on every instance, and all of them hold the same. */
async function healthy(pool: TestPool): Promise<void> {
  await pool.inSync();
  must(pool.command('pool', 'digest'));
  for (const client of await pool.clientOfEach()) {
    expect((await client.call('POST', '/keys/alive/create', { kty: 'oct' })).status).toBe(200);
    client.close();
  }
}

async function useAll(pool: TestPool): Promise<void> {
  for (const [instance, client] of (await pool.clientOfEach()).entries()) {
    for (const key of made)
      expect([instance, key.name, await useKey(client, key)]).toEqual([instance, key.name, undefined]);
    client.close();
  }
}

test(
  'backup: is made while writes go on, and is in the folder that its job names',
  async () => {
    const client = await source.client();
    const job = await startBackup(client);
    let writes = 0;
    do {
      expect((await client.call('POST', '/keys/written/create', { kty: 'oct' })).status).toBe(200);
      writes += 1;
    } while (at(await statusOf(source, job), 'status') === 'InProgress');
    const uri = text(await succeeded(source, job), 'azureStorageBlobContainerUri');
    expect(uri.startsWith(`${storage.access().storageResourceUri}/mhsm-dev-`)).toBe(true);
    folder = uri.split('/').at(-1) ?? '';
    const names = (await storage.list()).filter((name) => name.startsWith(`${folder}/`));
    expect(names.length).toBeGreaterThan(2);
    expect(names).toContain(`${folder}/manifest`);
    for (const name of names) {
      const bytes = await storage.read(name);
      for (const word of ['fill-0001', 'template-EC', source.admin.objectId])
        expect(bytes.includes(word)).toBe(false);
    }
    expect(writes).toBeGreaterThan(0);
  },
  2 * MINUTE,
);

test(
  'restore: of keys that the pool holds, only once they were backed up; then all of it is there, and its own is gone',
  async () => {
    const client = await target.client();
    await client.call('POST', '/keys/own/create', { kty: 'EC' });
    const refused = await client.call('PUT', '/restore', {
      sasTokenParameters: storage.access(),
      folderToRestore: folder,
    });
    expect([refused.status, at(refused.body, 'error', 'innererror', 'code')]).toEqual([409, 'BackupNeeded']);
    await succeeded(target, await startBackup(client));
    const job = await startRestore(client);
    let closed = 0;
    do {
      const { status } = await client.call('GET', '/keys/own');
      if (status === 503) closed += 1;
      // Its own role for keys is in no backup.
      else expect([200, 403]).toContain(status);
    } while (at(await statusOf(target, job), 'status') === 'InProgress');
    await succeeded(target, job);
    expect(closed).toBeGreaterThan(0);
    // Her role was made in this pool and is in no backup; she kept it, and gives herself what it takes.
    await takeCryptoRoles(target, client);
    const names = await keyNames(client);
    expect(names).not.toContain('own');
    expect(names).toEqual(
      (await keyNames(await source.client())).filter((name) => name !== 'written' || names.includes(name)),
    );
    await useAll(target);
    const versions = await client.call('GET', '/keys/fill-0007/versions');
    expect(at(versions.body, 'value')).toHaveLength(FILLED.versions);
    await healthy(target);
    await target.stop();
    await target.start();
    await useAll(target);
  },
  4 * MINUTE,
);

test(
  'two at once, asked of two instances: one is taken',
  async () => {
    const [a, b] = await source.clientOfEach();
    if (!a || !b) throw new Error('three clients');
    const answers = await Promise.all(
      [a, b].map((client) => client.call('POST', '/backup', storage.access())),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    const taken = answers.find(({ status }) => status === 202);
    await succeeded(source, { family: 'backup', id: text(taken?.body, 'jobId') });
    a.close();
    b.close();
  },
  2 * MINUTE,
);

test.each([0, 2])(
  'backup: killed on instance %i in the middle, another finishes it, and what it wrote is whole',
  async (instance) => {
    await source.inSync();
    const client = (await source.clientOfEach())[instance];
    if (!client) throw new Error('a client');
    // It has begun to write, and gets no further.
    const came = new Promise<void>((resolve) => (storage.door.onConnection = resolve));
    storage.door.hold();
    const job = await startBackup(client);
    await came;
    source.kill(source.instancePids[instance] ?? -1);
    storage.door.open();
    const last = await succeeded(source, job);
    const written = text(last, 'azureStorageBlobContainerUri').split('/').at(-1) ?? '';
    expect((await storage.read(`${written}/manifest`)).toString()).toContain('"attempt":2');
    const check = { sasTokenParameters: storage.access(), folderToRestore: written };
    await checked(source, check);
    await healthy(source);
  },
  3 * MINUTE,
);

/** Sees that a backup is whole. On a machine that is busy a pool may lose one more member just after a kill. */
async function checked(pool: TestPool, body: unknown): Promise<void> {
  await until('the backup was checked', async () => {
    await pool.inSync();
    try {
      const answer = await (await pool.client()).call('PUT', '/prerestore', body);
      if (answer.status !== 202) return false;
      await succeeded(pool, { family: 'restore', id: text(answer.body, 'jobId') });
      return true;
    } catch (error) {
      if (error instanceof ConnectionLost) return false;
      throw error;
    }
  });
}

/** Waits until a restore has brought something. */
async function underWay(job: Job): Promise<void> {
  await until('it has brought something', async () => {
    const status = await statusOf(target, job);
    if (status !== undefined && at(status, 'status') !== 'InProgress') throw new Error('it was too fast');
    return doneOf(status) > 0;
  });
}

async function backedUpTarget(): Promise<Client> {
  await target.inSync();
  const client = await target.client();
  await succeeded(target, await startBackup(client));
  return client;
}

test.each([0, 2])(
  'restore: killed on instance %i in the middle, another goes on with it to the end',
  async (instance) => {
    await backedUpTarget();
    const client = (await target.clientOfEach())[instance];
    if (!client) throw new Error('a client');
    const job = await startRestore(client);
    await underWay(job);
    target.kill(target.instancePids[instance] ?? -1);
    await succeeded(target, job);
    await target.inSync();
    await takeCryptoRoles(target, await target.client());
    await useAll(target);
    await healthy(target);
  },
  3 * MINUTE,
);

test(
  'restore: with everything killed in the middle, the next start goes on with it to the end',
  async () => {
    const job = await startRestore(await backedUpTarget());
    await underWay(job);
    await target.killAll();
    await target.start();
    await succeeded(target, job);
    await takeCryptoRoles(target, await target.client());
    await useAll(target);
    await healthy(target);
  },
  3 * MINUTE,
);

test(
  'storage that is cut: backup and restore fail and say so, the old contents are there, and the next ones succeed',
  async () => {
    const client = await backedUpTarget();
    await client.call('POST', '/keys/kept/create', { kty: 'EC' });
    await succeeded(target, await startBackup(client));
    const before = await keyNames(client);
    for (const cut of ['backup', 'restore'] as const) {
      storage.door.open();
      const came = new Promise<void>((resolve) => (storage.door.onConnection = resolve));
      if (cut === 'backup') storage.door.hold();
      const job = cut === 'backup' ? await startBackup(client) : await startRestore(client);
      await (cut === 'backup' ? came : underWay(job));
      storage.door.shut();
      expect(await ended(target, job)).toMatchObject({
        status: 'Failed',
        error: { code: 'StorageUnreachable' },
      });
      expect(await keyNames(client)).toEqual(before);
      await healthy(target);
      before.push('alive');
      before.sort();
      before.splice(0, before.length, ...new Set(before));
    }
    storage.door.open();
    await succeeded(target, await startBackup(client));
  },
  4 * MINUTE,
);

test(
  'SAS that expires in the middle: the backup fails and says so, and the next one succeeds',
  async () => {
    const client = await source.client();
    const expires = Date.now() + 3_000;
    const came = new Promise<void>((resolve) => (storage.door.onConnection = resolve));
    storage.door.hold();
    const job = await startBackup(client, storage.access(expires));
    await came;
    await until('the token has expired', () => Date.now() > expires + 1_000);
    storage.door.open();
    const last = await ended(source, job);
    expect(last).toMatchObject({ status: 'Failed', error: { code: 'StorageForbidden' } });
    await succeeded(source, await startBackup(client));
  },
  2 * MINUTE,
);

test(
  'a changed part: check and restore fail and say so, nothing was replaced, and the pool goes on',
  async () => {
    const client = await backedUpTarget();
    const before = await keyNames(client);
    const part = `${folder}/0001-000002.part`;
    const good = await storage.read(part);
    const changed = Buffer.from(good);
    changed[1_000] = (changed[1_000] ?? 0) ^ 1;
    for (const bad of [changed, good.subarray(0, 1_000), await storage.read(`${folder}/0001-000001.part`)]) {
      await storage.write(part, bad);
      const body = { sasTokenParameters: storage.access(), folderToRestore: folder };
      for (const path of ['/prerestore', '/restore']) {
        const job = await begin('restore', client.call('PUT', path, body));
        expect(await ended(target, job)).toMatchObject({
          status: 'Failed',
          error: { code: 'BackupCorrupt' },
        });
      }
      expect(await keyNames(client)).toEqual(before);
    }
    await storage.write(part, good);
    await healthy(target);
  },
  3 * MINUTE,
);

test(
  'one key: purged and restored from the full backup, it works under its old public key',
  async () => {
    const client = await source.client();
    const [key] = made;
    if (!key) throw new Error('a key');
    const body = { sasTokenParameters: storage.access(), folder };
    expect((await client.call('PUT', `/keys/${key.name}/restore`, body)).status).toBe(409);
    await client.call('DELETE', `/keys/${key.name}`);
    await client.call('DELETE', `/deletedkeys/${key.name}`);
    const job = await begin('restore', client.call('PUT', `/keys/${key.name}/restore`, body));
    await succeeded(source, job);
    await useAll(source);
  },
  2 * MINUTE,
);

test(
  'a pool of another security domain refuses the backup and says why, and asks no storage that it was not told to trust',
  async () => {
    const pool = await TestPool.found(undefined, ['--storage-host', storage.option]);
    try {
      const client = await pool.client();
      expect(await ended(pool, await startRestore(client))).toMatchObject({
        status: 'Failed',
        error: { code: 'BackupOfOtherDomain' },
      });
      const { token } = storage.access();
      let asked = false;
      storage.door.onConnection = () => (asked = true);
      for (const host of [
        `127.0.0.1:${storage.port}`,
        `localhost:${storage.port + 1}`,
        'storage.example.net',
      ]) {
        const storageResourceUri = `https://${host}/account/backups`;
        const { status, body } = await client.call('POST', '/backup', { storageResourceUri, token });
        expect([status, at(body, 'error', 'innererror', 'code')]).toEqual([403, 'StorageNotAllowed']);
      }
      expect(asked).toBe(false);
    } finally {
      await pool.remove();
    }
  },
  2 * MINUTE,
);

test('no token of a storage is in any log or file in clear', () => {
  const secret = /sig=([A-Za-z0-9%]+)/.exec(storage.access().token)?.[1] ?? '';
  expect(secret).not.toBe('');
  for (const pool of [source, target]) {
    expect(pool.up.output).not.toMatch(/sig=/);
    for (const file of readdirSync(pool.directory, { recursive: true, encoding: 'utf8' })) {
      if (!/audit|\.json$/.test(file)) continue;
      const path = join(pool.directory, file);
      let bytes: Buffer;
      try {
        bytes = readFileSync(path);
      } catch {
        continue; // a directory
      }
      expect([file, bytes.includes('sig=')]).toEqual([file, false]);
    }
  }
});
