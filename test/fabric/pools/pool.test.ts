import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Pool, PoolError, createPool, listPools, poolName } from '../../../src/fabric/pools/pool.js';
import { fakeModule, gone, privateDirectory, program } from '../programs/fake-pool.js';
import type { Wish } from '../programs/fake-pool.js';

const directory = privateDirectory();
const founding = {
  tenantId: 'a tenant',
  administrators: ['an administrator'],
  cryptoUsers: [],
  issuers: [],
  retentionDays: 90,
  purgeProtection: false,
};
const pools: Pool[] = [];
let count = 0;

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.kill()));
});

async function start(wish: Wish = {}, existing?: string): Promise<Pool> {
  const name = existing ?? `pool${(count += 1)}`;
  if (existing === undefined) createPool(directory, name, founding);
  const { module } = await fakeModule(directory, wish);
  const pool = new Pool(
    directory,
    name,
    {
      module,
      domain: 'managedhsm.localhost',
      dataPort: 9443,
      authority: 'https://localhost:8443/a-tenant',
      clockOffset: 0,
      hostKeyFile: '',
      found: true,
    },
    program,
  );
  pools.push(pool);
  return pool;
}

function pids(pool: Pool): number[] {
  return pool.status().instances.flatMap(({ pid }) => pid ?? []);
}

test('pool: three processes serve, each locked in its own directory', async () => {
  const pool = await start();
  await pool.ready();
  expect(pool.status()).toMatchObject({
    uri: `https://${pool.name}.managedhsm.localhost:9443`,
    activation: 'Active',
    instances: [
      { id: 0, role: 'primary', inSync: true },
      { id: 1, role: 'backup', inSync: true },
      { id: 2, role: 'backup', inSync: true },
    ],
  });
  expect(new Set(pids(pool)).size).toBe(3);
  expect(pool.rootCertificate).toContain('BEGIN CERTIFICATE');
  for (const id of ['0', '1', '2']) {
    expect(existsSync(join(directory, pool.name, 'instances', id, 'lock'))).toBe(true);
  }
});

test('pool: a second start on the same directories fails and leaves the first alone', async () => {
  const first = await start();
  await first.ready();
  const second = await start({}, first.name);
  await expect(second.ready()).rejects.toThrow(/instance [012] its directory .* is in use/);
  expect(pids(first)).toHaveLength(3);
  expect(pids(second)).toHaveLength(0);
});

test('pool: an instance that says why it fails ends the start with its words, and nobody is left', async () => {
  const pool = await start({ fails: 1 });
  const started = pids(pool);
  await expect(pool.ready()).rejects.toThrow(new PoolError(`pool ${pool.name}: instance 1 has no token`));
  expect(started).toHaveLength(3);
  await Promise.all(started.map(gone));
});

test('pool: an instance that aborts ends the start with the signal', async () => {
  const pool = await start({ crashes: 2 });
  await expect(pool.ready()).rejects.toThrow(/instance 2 ended by SIGABRT/);
});

test('pool: instances that report different TLS roots do not become a pool', async () => {
  const pool = await start({ disagrees: 1 });
  await expect(pool.ready()).rejects.toThrow(/do not agree/);
});

test('pool: instances that report different owners do not become a pool', async () => {
  const pool = await start({ disagreesOnOwner: 2 });
  await expect(pool.ready()).rejects.toThrow(/do not agree on one owner/);
});

test('pool: the fingerprint of its owner is shown once it is ready', async () => {
  const pool = await start();
  expect(pool.status().ownerFingerprint).toBeNull();
  await pool.ready();
  expect(pool.status().ownerFingerprint).toBe('0f'.repeat(32));
});

test('pool: a killed instance is down from then on, and no candidate', async () => {
  const pool = await start();
  await pool.ready();
  const down = new Promise<[number, string]>((resolve) => pool.once('down', (...event) => resolve(event)));
  pool.instance(1)?.kill();
  expect(await down).toEqual([1, 'ended by SIGKILL']);
  expect(pool.status().instances[1]).toEqual({
    id: 1,
    pid: null,
    role: 'down',
    inSync: false,
    reason: 'ended by SIGKILL',
  });
  expect(
    pool
      .candidates()
      .map(({ instance }) => instance)
      .sort(),
  ).toEqual([0, 2]);
});

test('pool: every live instance gets its turn as the first candidate', async () => {
  const pool = await start();
  await pool.ready();
  const firsts = Array.from({ length: 6 }, () => pool.candidates()[0]?.instance);
  expect(firsts).toEqual([0, 1, 2, 0, 1, 2]);
});

test('pool: a clock is moved when each living instance has said so', async () => {
  const pool = await start();
  await pool.ready();
  pool.instance(2)?.kill();
  await pool.instance(2)?.ended;
  expect(await pool.moveClock(100, 60_000)).toEqual([]);
  expect(pool.clocks()).toEqual([
    { id: 0, offset: 100 },
    { id: 1, offset: 100 },
    { id: 2, offset: null },
  ]);
});

test('pool: who says nothing of the moved clock in time is named, and no longer once it is gone', async () => {
  const pool = await start({ silent: 1 });
  await pool.ready();
  expect((await pool.moveClock(100, 1_000)).map(({ instance }) => instance)).toEqual([1]);
  expect(pool.clocks()[1]).toEqual({ id: 1, offset: 0 });
  const moved = pool.moveClock(200, 60_000);
  pool.instance(1)?.kill();
  expect(await moved).toEqual([]);
});

test('pool: told to drain, instances leave by themselves', async () => {
  const pool = await start();
  await pool.ready();
  await pool.drain(60_000);
  expect(pool.status().instances).toMatchObject([{ reason: 'left' }, { reason: 'left' }, { reason: 'left' }]);
});

test('pool: a paused instance hears that it should drain', async () => {
  const pool = await start();
  await pool.ready();
  pool.instance(0)?.pause();
  expect(pool.status().instances[0]).toMatchObject({ paused: true });
  await pool.drain(60_000);
  expect(pool.status().instances[0]).toMatchObject({ reason: 'left' });
});

test('pool: who does not leave in time is killed', async () => {
  const pool = await start({ deaf: true });
  await pool.ready();
  await pool.drain(1);
  expect(pool.status().instances[2]).toMatchObject({ reason: 'ended by SIGKILL' });
});

test('pool: killed instances of a pool that never was ready leave no process behind', async () => {
  const pool = await start();
  const started = pids(pool);
  await pool.kill();
  await Promise.all(started.map(gone));
});

test('pool: instances die with the process that started them, even when they are stopped', async () => {
  const name = `pool${(count += 1)}`;
  createPool(directory, name, founding);
  const { module } = await fakeModule(directory);
  const parent = fork(join(__dirname, '../programs/start-pool.cjs'), [
    directory,
    name,
    module,
    program.script,
  ]);
  const started = await new Promise<number[]>((resolve) =>
    parent.once('message', (m) => resolve(m as number[])),
  );
  expect(started).toHaveLength(3);
  parent.kill('SIGKILL');
  await Promise.all(started.map(gone));
});

test('pool: only names that make host names are taken', () => {
  expect(poolName('Dev-1')).toBe('dev-1');
  for (const bad of ['', 'ab', 'a'.repeat(25), '1abc', 'a--b', 'abc-', 'a.b', '../x', 'a_b']) {
    expect(() => poolName(bad)).toThrow(PoolError);
  }
});

test('pool: a directory without pool.json is no pool', () => {
  expect(listPools(join(directory, 'nowhere'))).toEqual([]);
  expect(listPools(directory)).toContain('pool1');
});
