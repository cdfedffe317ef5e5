import { fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PoolError, createPool, listPools, poolName } from '../../../src/fabric/pools/pool-file.js';
import { Pool } from '../../../src/fabric/pools/pool.js';
import type { PoolPatience } from '../../../src/fabric/pools/pool.js';
import { OPEN_NETWORK } from '../../../src/values/network.js';
import type { NetworkRules } from '../../../src/values/network.js';
import type { View } from '../../../src/values/view.js';
import {
  changeWish,
  eventually,
  fakeModule,
  gone,
  privateDirectory,
  program,
} from '../programs/fake-pool.js';
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

const modules = new Map<Pool, string>();

async function start(
  wish: Wish = {},
  existing?: string,
  patience: Partial<PoolPatience> = {},
): Promise<Pool> {
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
    },
    program,
    patience,
  );
  pools.push(pool);
  modules.set(pool, module);
  return pool;
}

async function started(wish: Wish = {}, existing?: string): Promise<Pool> {
  const pool = await start(wish, existing);
  await pool.ready();
  return pool;
}

function wish(pool: Pool, changed: Wish): void {
  changeWish(modules.get(pool) ?? '', changed);
}

const home = (pool: Pool, id: number): string => join(directory, pool.name, 'instances', String(id));
const viewFile = (pool: Pool): string => join(directory, pool.name, 'view.json');
const viewOf = (pool: Pool): View => JSON.parse(readFileSync(viewFile(pool), 'utf8')) as View;
const members = (pool: Pool): number[] => viewOf(pool).inSync.map(({ instance }) => instance);
const whole = (pool: Pool): boolean => pool.status().instances.every(({ inSync }) => inSync);
const storeOf = (pool: Pool, id: number): string =>
  (JSON.parse(readFileSync(join(home(pool, id), 'store.json'), 'utf8')) as { store: string }).store;

/** The view and the processes as they come and go, from now on. */
function history(pool: Pool): { readonly views: View[]; readonly ends: [number, string][] } {
  const seen = { views: [] as View[], ends: [] as [number, string][] };
  pool.on('view', (view) => seen.views.push(view));
  pool.on('down', (...end) => seen.ends.push(end));
  return seen;
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
  const view = readFileSync(viewFile(first), 'utf8');
  const second = await start({}, first.name, { startMs: 1_000 });
  await expect(second.ready()).rejects.toThrow(/instance [012] its directory .* is in use/);
  expect(pids(first)).toHaveLength(3);
  expect(pids(second)).toHaveLength(0);
  expect(readFileSync(viewFile(first), 'utf8')).toBe(view);
});

test('pool: an instance that says why it fails ends the start with its words, and nobody is left', async () => {
  const pool = await start({ fails: 1 });
  const processes = pids(pool);
  await expect(pool.ready()).rejects.toThrow(new PoolError(`pool ${pool.name}: instance 1 has no token`));
  expect(processes).toHaveLength(3);
  await Promise.all(processes.map(gone));
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

test('pool: every live instance gets its turn as the first candidate', async () => {
  const pool = await start();
  await pool.ready();
  const firsts = Array.from({ length: 6 }, () => pool.candidates()[0]?.instance);
  expect(firsts).toEqual([0, 1, 2, 0, 1, 2]);
});

test('pool: a clock is moved when each living instance has said so', async () => {
  const pool = await start();
  await pool.ready();
  expect(await pool.orders.moveClock(100, 60_000)).toEqual([]);
  const all = [0, 1, 2].map((id) => ({ id, offset: 100 }));
  expect(pool.clocks()).toEqual(all);
  pool.instance(2)?.kill();
  await pool.instance(2)?.ended;
  await eventually(() => whole(pool));
  expect(pool.clocks()).toEqual(all); // who is started later goes by it too
});

test('pool: who says nothing of the moved clock in time is named, and no longer once it is gone', async () => {
  const pool = await start({ silent: 1 });
  await pool.ready();
  expect((await pool.orders.moveClock(100, 1_000)).map(({ instance }) => instance)).toEqual([1]);
  expect(pool.clocks()[1]).toEqual({ id: 1, offset: 0 });
  const moved = pool.orders.moveClock(200, 60_000);
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
  const processes = pids(pool);
  await pool.kill();
  await Promise.all(processes.map(gone));
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
  const processes = await new Promise<number[]>((resolve) =>
    parent.once('message', (m) => resolve(m as number[])),
  );
  expect(processes).toHaveLength(3);
  parent.kill('SIGKILL');
  await Promise.all(processes.map(gone));
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

test('pool: a new pool has a view that all three are members of', async () => {
  const pool = await started();
  expect(viewOf(pool)).toEqual({
    epoch: 1,
    primary: 0,
    inSync: [0, 1, 2].map((instance) => ({ instance, store: storeOf(pool, instance) })),
  });
  expect(pool.status()).toMatchObject({ epoch: 1 });
  expect(pool.status().instances[1]).toEqual({
    id: 1,
    pid: pool.instance(1)?.pid,
    role: 'backup',
    inSync: true,
    uri: `https://${pool.name}.managedhsm.localhost:50001`,
    restarts: 0,
  });
});

test.each([0, 1, 2])(
  'pool: instance %d is killed, leaves the view, is started again and joins',
  async (id) => {
    const pool = await started();
    const { views, ends } = history(pool);
    const { pid } = pool.status().instances[id] ?? {};
    pool.instance(id)?.kill();
    await eventually(() => views.length > 0);
    const [without] = views;
    expect(without).toMatchObject({ epoch: 2, primary: id === 0 ? 1 : 0 });
    expect(without?.inSync.map(({ instance }) => instance)).toEqual(
      [0, 1, 2].filter((other) => other !== id),
    );
    expect(pool.candidates().map(({ instance }) => instance)).not.toContain(id);
    expect(pool.status().instances[id]).toMatchObject({
      inSync: false,
      uri: null,
      reason: 'ended by SIGKILL',
    });
    await eventually(() => whole(pool));
    expect(views.at(-1)).toMatchObject({ epoch: 3, primary: id === 0 ? 1 : 0 });
    expect(ends).toEqual([[id, 'ended by SIGKILL']]);
    const back = pool.status().instances[id];
    expect(back).toMatchObject({ role: 'backup', restarts: 1 });
    expect(back).not.toHaveProperty('reason');
    expect(back?.pid).not.toBe(pid);
  },
);

test('pool: an instance that stands still is killed when its lease is over, and comes back', async () => {
  const pool = await started();
  const { views, ends } = history(pool);
  pool.instance(0)?.pause();
  await eventually(() => whole(pool) && views.length > 1);
  expect(ends).toEqual([[0, 'hung: it asked for no lease any more']]);
  expect(views[0]).toMatchObject({ epoch: 2, primary: 1 });
});

test.each([
  ['asks for no lease', { mute: 2 }, /hung/],
  ['has lost its links', { apart: [2] }, /link/],
  ['holds up changes', { stuck: [2] }, /waited/],
] as const)('pool: an instance that %s is replaced', async (_what, wrong, reason) => {
  const pool = await started();
  const { views, ends } = history(pool);
  wish(pool, wrong);
  await eventually(() => ends.length > 0);
  wish(pool, {});
  await eventually(() => whole(pool));
  expect(ends).toEqual([[2, expect.stringMatching(reason)]]);
  expect(views[0]?.inSync.map(({ instance }) => instance)).toEqual([0, 1]);
});

test('pool: a primary that is accused gives way to another', async () => {
  const pool = await started();
  const { views, ends } = history(pool);
  wish(pool, { accuses: 2 });
  await eventually(() => ends.length > 0);
  wish(pool, {});
  await eventually(() => whole(pool));
  expect(ends[0]).toEqual([0, 'as primary it lacked what another member has committed']);
  expect(views[0]).toMatchObject({ primary: 1 });
});

test('pool: a damaged directory is set aside, and an empty one joins', async () => {
  const pool = await started();
  const store = storeOf(pool, 1);
  const warnings: string[] = [];
  pool.on('warning', (message) => warnings.push(message));
  wish(pool, { damaged: 1 });
  pool.instance(1)?.kill();
  await eventually(() => warnings.length > 0);
  wish(pool, {});
  await eventually(() => whole(pool));
  const [kept = '', ...more] = readdirSync(join(directory, pool.name, 'instances')).filter((entry) =>
    entry.startsWith('1.'),
  );
  expect(more).toEqual([]);
  expect(kept).toMatch(/^1\.broken-\d{8}T\d{6}\.\d{3}Z$/);
  expect(warnings).toEqual([expect.stringContaining(kept)]);
  expect(readFileSync(join(directory, pool.name, 'instances', kept, 'store.json'), 'utf8')).toContain(store);
  expect(storeOf(pool, 1)).not.toBe(store);
});

test('pool: an instance that fails again and again is heard of, and the others go on', async () => {
  const pool = await started();
  const { ends } = history(pool);
  wish(pool, { fails: 1 });
  pool.instance(1)?.kill();
  await eventually(() => ends.length >= 4);
  expect(ends.slice(1).map(([, reason]) => reason)).toEqual(['has no token', 'has no token', 'has no token']);
  expect(pool.status().instances[1]).toMatchObject({ inSync: false, reason: 'has no token' });
  expect(members(pool)).toEqual([0, 2]);
  // Three times in a row: what it had is taken for the cause.
  await eventually(() =>
    readdirSync(join(directory, pool.name, 'instances')).some((name) => /^1\.b/.test(name)),
  );
  wish(pool, {});
  await eventually(() => whole(pool));
});

test('pool: the last member is never dropped nor set aside, and goes on by itself', async () => {
  const pool = await started();
  const store = storeOf(pool, 2);
  const { ends } = history(pool);
  wish(pool, { fails: 0 });
  pool.instance(0)?.kill();
  await eventually(() => members(pool).join() === '1,2');
  wish(pool, { fails: 1, excluded: 0 });
  pool.instance(1)?.kill();
  await eventually(() => members(pool).join() === '2');
  wish(pool, { damaged: 2, excluded: 0 });
  pool.instance(2)?.kill();
  await eventually(() => ends.filter(([, reason]) => reason === 'has a broken store').length >= 2);
  expect(members(pool)).toEqual([2]);
  expect(storeOf(pool, 2)).toBe(store);
  const { epoch } = viewOf(pool);
  wish(pool, {});
  await eventually(() => whole(pool));
  expect(viewOf(pool)).toMatchObject({ primary: 2 });
  expect(viewOf(pool).epoch).toBeGreaterThan(epoch);
});

test('pool: started again it goes on with its view, under a higher epoch', async () => {
  const first = await started();
  first.instance(0)?.kill();
  await first.instance(0)?.ended;
  await eventually(() => whole(first));
  const before = viewOf(first);
  await first.drain(60_000);
  expect(viewOf(first)).toEqual(before); // who leaves in order is missed by nobody
  const second = await started({}, first.name);
  expect(viewOf(second)).toEqual({ ...before, epoch: before.epoch + 1 });
});

test('pool: started again it does without one that cannot start, until it can', async () => {
  const first = await started();
  await first.drain(60_000);
  const second = await started({ fails: 0 }, first.name);
  expect(second.status().instances.map(({ inSync }) => inSync)).toEqual([false, true, true]);
  expect(second.status().instances[0]).toMatchObject({ reason: 'has no token' });
  expect(viewOf(second)).toMatchObject({ primary: 1 });
  wish(second, {});
  await eventually(() => whole(second));
});

test('pool: started again with all of them failing at once, it does not wait for what cannot come', async () => {
  const first = await started();
  await first.drain(60_000);
  // By patience alone this would outlast the test.
  const second = await start({ fails: [0, 1, 2] }, first.name, { startMs: 600_000 });
  await expect(second.ready()).rejects.toThrow(
    /no partition serves: instance 0 has no token; instance 1 has no token/,
  );
});

test('pool: started again with nobody who can serve, it says why', async () => {
  const first = await started();
  await first.drain(60_000);
  const second = await start({ fails: 0, crashes: 1, closed: 2 }, first.name, { startMs: 2_000 });
  const processes = pids(second);
  await expect(second.ready()).rejects.toThrow(
    new PoolError(
      `pool ${second.name}: no partition serves: instance 0 has no token; instance 1 ended by SIGABRT; ` +
        'instance 2 has not opened its store',
    ),
  );
  await Promise.all(processes.map(gone));
});

test('pool: with an older view than its instances have seen it does not start', async () => {
  const first = await started();
  const old = readFileSync(viewFile(first), 'utf8');
  for (const id of [0, 1]) {
    first.instance(id)?.kill();
    await first.instance(id)?.ended;
    await eventually(() => whole(first));
  }
  await first.drain(60_000);
  writeFileSync(viewFile(first), old);
  const second = await start({}, first.name);
  await expect(second.ready()).rejects.toThrow(/has taken part in view 5, .* knows of view 1 only/);
  expect(readFileSync(viewFile(first), 'utf8')).toBe(old);
  rmSync(viewFile(first));
  const third = await start({}, first.name);
  await expect(third.ready()).rejects.toThrow(/view\.json is missing/);
});

test('pool: a view that cannot be read is no new pool', async () => {
  const first = await started();
  await first.drain(60_000);
  for (const broken of ['', '{}', '{"epoch":1,"primary":0,"inSync":[]}']) {
    writeFileSync(viewFile(first), broken);
    await expect(start({}, first.name)).rejects.toThrow(/view\.json holds no view/);
  }
});

test('pool: started again without what its last member held, it does not go on with less', async () => {
  const first = await started();
  wish(first, { fails: 0 });
  first.instance(0)?.kill();
  await eventually(() => members(first).join() === '1,2');
  wish(first, { fails: 1, excluded: 0 });
  first.instance(1)?.kill();
  await eventually(() => members(first).join() === '2');
  await first.drain(60_000);
  rmSync(home(first, 2), { recursive: true });
  const second = await start({}, first.name);
  await expect(second.ready()).rejects.toThrow(/what instances\/2 held is gone.* restore security domain/);
});

test('pool: an instance whose directory was emptied meanwhile joins as a new one', async () => {
  const first = await started();
  await first.drain(60_000);
  const lost = storeOf(first, 0);
  rmSync(home(first, 0), { recursive: true });
  const second = await started({}, first.name);
  await eventually(() => whole(second));
  expect(storeOf(second, 0)).not.toBe(lost);
  expect(viewOf(second)).toMatchObject({ primary: 1 });
});

test('pool: while the view cannot be written nobody is told of another, and it is tried again', async () => {
  const pool = await started();
  const { views, ends } = history(pool);
  const warnings: string[] = [];
  pool.on('warning', (message) => warnings.push(message));
  mkdirSync(`${viewFile(pool)}.new/x`, { recursive: true }); // in the way of the draft
  pool.instance(1)?.kill();
  await eventually(() => ends.length > 0 && warnings.length > 0);
  expect(warnings).toEqual([expect.stringMatching(/view\.json cannot be written/)]);
  expect(views).toEqual([]);
  expect(members(pool)).toEqual([0, 1, 2]);
  rmSync(`${viewFile(pool)}.new`, { recursive: true });
  await eventually(() => whole(pool));
  expect(views[0]?.epoch).toBe(2);
});

test('pool: a new pool whose view cannot be written is not begun', async () => {
  const name = `pool${(count += 1)}`;
  createPool(directory, name, founding);
  mkdirSync(join(directory, name, 'view.json.new', 'x'), { recursive: true });
  const pool = await start({}, name);
  await expect(pool.ready()).rejects.toThrow(/view\.json cannot be written/);
  expect(existsSync(viewFile(pool))).toBe(false);
});

test('pool: started again while its view cannot be written, it serves nothing and says why', async () => {
  const first = await started();
  await first.drain(60_000);
  mkdirSync(`${viewFile(first)}.new/x`, { recursive: true });
  const second = await start({}, first.name, { startMs: 500 });
  await expect(second.ready()).rejects.toThrow(
    /instance 2 waits to take part; .*view\.json cannot be written/,
  );
});

test('pool: an orderly restart replaces one after the other, the primary last', async () => {
  const pool = await started();
  const before = pids(pool);
  const { views, ends } = history(pool);
  const fewest: number[] = [];
  pool.on('view', ({ inSync }) => fewest.push(inSync.length, pool.candidates().length));
  await pool.restart();
  expect(ends).toEqual([
    [1, 'left'],
    [2, 'left'],
    [0, 'left'],
  ]);
  expect(whole(pool)).toBe(true);
  expect(pids(pool).filter((pid) => before.includes(pid))).toEqual([]);
  expect(Math.min(...fewest)).toBe(2);
  // The primary handed over while it was in sync, before it left.
  const handover = views.findIndex(({ primary }) => primary !== 0);
  expect(views[handover]?.inSync.map(({ instance }) => instance)).toEqual([0, 1, 2]);
  expect(viewOf(pool).primary).toBe(1);
});

test('pool: who is about to leave gets no new connection, while it finishes those it has', async () => {
  const pool = await started({ deaf: true });
  const { ends } = history(pool);
  const restarting = pool.restart().catch((error: unknown) => error);
  expect(
    pool
      .candidates()
      .map(({ instance }) => instance)
      .sort(),
  ).toEqual([0, 2]);
  expect(pool.status().instances[1]).toMatchObject({ inSync: true });
  expect(ends).toEqual([]);
  await expect(pool.restart()).rejects.toThrow(/is being restarted already/);
  await pool.kill();
  expect(await restarting).toEqual(new PoolError(`pool ${pool.name} is being stopped`));
});

test('pool: an orderly restart is refused while one is missing', async () => {
  const pool = await started();
  wish(pool, { fails: 2 });
  pool.instance(2)?.kill();
  await eventually(() => members(pool).length === 2);
  await expect(pool.restart()).rejects.toThrow(/partition 2 of .* is not in sync/);
  expect(members(pool)).toEqual([0, 1]);
});

test('pool: a wiped partition comes back with nothing of what it had', async () => {
  const pool = await started();
  const [store, pid] = [storeOf(pool, 0), pool.instance(0)?.pid];
  writeFileSync(join(home(pool, 0), 'something'), '');
  expect(await pool.wipe(0)).toBe(pid);
  expect(existsSync(join(home(pool, 0), 'something'))).toBe(false);
  await eventually(() => whole(pool));
  expect(storeOf(pool, 0)).not.toBe(store);
  expect(viewOf(pool).primary).toBe(1);
});

test('pool: the last partition in sync is not wiped', async () => {
  const pool = await started();
  wish(pool, { closed: 0, excluded: 0 });
  pool.instance(0)?.kill();
  await eventually(() => members(pool).join() === '1,2');
  wish(pool, { closed: 1, excluded: 0 });
  pool.instance(1)?.kill();
  await eventually(() => members(pool).join() === '2');
  await expect(pool.wipe(2)).rejects.toThrow(/partition 2 .* is the last one that is in sync/);
  expect(pool.instance(2)?.serving).toBe(true);
});

test('pool: digests are compared at one index', async () => {
  const pool = await started({ lags: 1 });
  const digest = 'a'.repeat(64);
  const digests = [0, 1, 2].map((id) => ({ id, digest }));
  expect(await pool.digest()).toEqual({ index: 7, equal: true, digests });
  wish(pool, { differs: 2 });
  // They hear of the wish by themselves.
  let found = await pool.digest();
  while (found.equal) found = await pool.digest();
  expect(found.digests[2]).toEqual({ id: 2, digest: 'b'.repeat(64) });
});

test('pool: partitions that never stand at one index have no common digest', async () => {
  const pool = await start({ lags: 0 }, undefined, { digestMs: 0 });
  await pool.ready();
  await expect(pool.digest()).rejects.toThrow(/do not come to one index: 6, 7, 7|gives no digest/);
});

const CLOSED: NetworkRules = { ...OPEN_NETWORK, publicNetworkAccess: 'Disabled' };
const orders = (pool: Pool): (number | undefined)[] => [0, 1, 2].map((id) => pool.instance(id)?.networkOrder);

test('pool: every instance goes by new network rules before it is told so, and so does one that starts later', async () => {
  const pool = await started();
  expect([pool.orders.network, orders(pool)]).toEqual([OPEN_NETWORK, [0, 0, 0]]);
  await pool.orders.setNetwork(CLOSED);
  expect([pool.orders.network, orders(pool)]).toEqual([CLOSED, [1, 1, 1]]);
  await Promise.all([pool.orders.setNetwork(OPEN_NETWORK), pool.orders.setNetwork(CLOSED)]);
  expect([pool.orders.network, orders(pool)]).toEqual([CLOSED, [3, 3, 3]]);
  await pool.orders.setNetwork({ ...CLOSED });
  expect(orders(pool)).toEqual([3, 3, 3]);
  pool.instance(1)?.kill();
  await eventually(() => whole(pool) && pool.status().instances[1]?.restarts === 1);
  expect(orders(pool)).toEqual([3, 3, 3]);
});

test.each(['mutinous', 'paused'])(
  'pool: an instance that is %s and does not take network rules is ended',
  async (how) => {
    const pool = await start({}, undefined, { networkMs: 300 });
    await pool.ready();
    const before = pids(pool);
    const { ends } = history(pool);
    if (how === 'paused') pool.instance(2)?.pause();
    else wish(pool, { mutinous: 2 });
    await pool.orders.setNetwork(CLOSED);
    expect(ends).toEqual([[2, 'did not take the network rules within 0.3 s and was killed']]);
    wish(pool, {});
    await eventually(() => whole(pool) && pool.status().instances[2]?.restarts === 1);
    expect(orders(pool)).toEqual([1, 1, 1]);
    expect(pids(pool).slice(0, 2)).toEqual(before.slice(0, 2));
  },
);

test('pool: who wishes for rules that are being told waits until they hold, too', async () => {
  const pool = await start({}, undefined, { networkMs: 300 });
  await pool.ready();
  const { ends } = history(pool);
  pool.instance(2)?.pause();
  const first = pool.orders.setNetwork(CLOSED);
  await pool.orders.setNetwork({ ...CLOSED });
  expect(ends.map(([instance]) => instance)).toEqual([2]);
  await first;
});
