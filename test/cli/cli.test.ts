import { spawn } from 'node:child_process';
import { readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { ReadyDocument } from '../../src/cli/document.js';
import { changeWish, fakeModule, gone, privateDirectory } from '../fabric/programs/fake-pool.js';
import type { Wish } from '../fabric/programs/fake-pool.js';

const directory = privateDirectory();
const main = join(__dirname, '../../dist/cli/main.js');
const upWithFakes = join(__dirname, 'programs/up-with-fakes.cjs');
const running = new Set<ChildProcess>();

afterEach(async () => {
  const children = [...running];
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(children.map((child) => new Promise((resolve) => child.once('close', resolve))));
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

function run(script: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(process.execPath, [script, ...args], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      running.delete(child);
      resolve({ code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() });
    });
  });
  return { child, ended };
}

const trivet = (...args: string[]): Promise<Ended> => run(main, args).ended;

interface Up extends Started {
  readonly data: string;
  readonly module: string;
  readonly ready: ReadyDocument;
}

async function up(name: string, wish: Wish = {}): Promise<Up> {
  const data = join(directory, name);
  const readyFile = join(directory, `${name}.json`);
  const { module } = await fakeModule(directory, wish);
  const appears = new Promise<void>((resolve) => {
    const watcher = watch(directory, (_event, file) => {
      if (file !== `${name}.json`) return;
      watcher.close();
      resolve();
    });
  });
  const started = run(upWithFakes, [data, module, readyFile, name]);
  await Promise.race([
    appears,
    started.ended.then(({ err }) => {
      throw new Error(err);
    }),
  ]);
  expect(statSync(readyFile).mode & 0o777).toBe(0o600);
  return { ...started, data, module, ready: JSON.parse(readFileSync(readyFile, 'utf8')) as ReadyDocument };
}

function pidsOf(ready: ReadyDocument): number[] {
  return ready.pools.flatMap(({ instances }) => instances.flatMap(({ pid }) => pid ?? []));
}

test('up: the ready file has everything that a client needs, and the status shows the same', async () => {
  const { ready, data, child, ended } = await up('ready');
  expect(ready).toEqual({
    controlPlane: expect.stringMatching(/^https:\/\/localhost:\d+$/) as string,
    authority: `${ready.controlPlane}/adfs`,
    tenantId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    subscriptionId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    resourceGroup: 'trivet',
    caFile: join(data, 'ca.pem'),
    admin: JSON.parse(readFileSync(join(data, 'admin.json'), 'utf8')) as unknown,
    pools: [
      {
        name: 'ready',
        uri: expect.stringMatching(/^https:\/\/ready\.managedhsm\.localhost:\d+$/) as string,
        activation: 'Active',
        ownerFingerprint: '0f'.repeat(32),
        epoch: 1,
        instances: [0, 1, 2].map((id) => ({
          id,
          pid: expect.any(Number) as number,
          role: id === 0 ? 'primary' : 'backup',
          inSync: true,
          uri: `https://ready.managedhsm.localhost:${50_000 + id}`,
          restarts: 0,
        })),
      },
    ],
  });
  expect(JSON.parse((await trivet('status', '--json', '--data-dir', data)).out)).toEqual(ready);
  child.kill('SIGTERM');
  const { code, out, err } = await ended;
  expect([code, err.split('\n').filter((line) => line !== '' && !line.startsWith('{'))]).toEqual([0, []]);
  for (const shown of [
    ready.controlPlane,
    ready.caFile,
    join(data, 'admin.json'),
    ready.pools[0]?.uri ?? '',
  ]) {
    expect(out).toContain(shown);
  }
  expect(out).toContain('127.0.0.1 ready.managedhsm.localhost');
  expect(out).toContain('disableChallengeResourceVerification');
  expect(out).not.toContain(ready.admin?.clientSecret);
  await Promise.all(pidsOf(ready).map(gone));
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  'up: %s ends it with code 0, and nothing is left',
  async (signal) => {
    const { ready, child, ended } = await up(`end-${signal.toLowerCase()}`);
    child.kill(signal);
    expect((await ended).code).toBe(0);
    await Promise.all(pidsOf(ready).map(gone));
  },
);

test('up: signals after the first do not wait for those who do not leave', async () => {
  const { ready, child, ended } = await up('impatient', { deaf: true });
  // Two in quick succession count as one, so somebody impatient has to insist a little.
  const insisting = setInterval(() => child.kill('SIGINT'), 100);
  expect((await ended).code).toBe(130);
  clearInterval(insisting);
  await Promise.all(pidsOf(ready).map(gone));
});

test('up: one signal that arrives twice is one', async () => {
  const { child, ended } = await up('twice');
  child.kill('SIGTERM');
  child.kill('SIGINT');
  expect((await ended).code).toBe(0);
});

test('up: killed, its instances die with it, and the next start is none the worse', async () => {
  const first = await up('killed');
  first.child.kill('SIGKILL');
  await first.ended;
  await Promise.all(pidsOf(first.ready).map(gone));
  const second = await trivet('status', '--data-dir', first.data);
  expect([second.code, second.err]).toEqual([
    1,
    expect.stringContaining('start it with: trivet up --data-dir'),
  ]);
});

test('up: a second one on the same directory says who is there', async () => {
  const { data, child } = await up('taken');
  const { module } = await fakeModule(directory);
  const { code, err } = await run(upWithFakes, [data, module, join(directory, 'never.json')]).ended;
  expect(code).toBe(1);
  expect(err).toBe(
    `trivet: another fabric (process ${String(child.pid)}) runs on ${data}; stop it, or choose another --data-dir\n`,
  );
});

test('up: when an instance fails, its words are the last ones', async () => {
  const { module } = await fakeModule(directory, { fails: 1 });
  const { code, err } = await run(upWithFakes, [join(directory, 'fails'), module, join(directory, 'no.json')])
    .ended;
  expect(code).toBe(1);
  expect(err).toMatch(/trivet: pool dev: instance 1 has no token\n$/);
  expect(err).not.toContain('    at ');
});

test('partition: pause, resume and kill show in the status', async () => {
  const { data } = await up('faults');
  const status = async (): Promise<string> => (await trivet('status', '--data-dir', data)).out;
  expect((await trivet('partition', 'pause', '1', '--data-dir', data)).out).toMatch(
    /^partition 1 of faults paused/,
  );
  expect(await status()).toMatch(/partition 1 {2}backup, in sync, paused/);
  await trivet('partition', 'resume', '1', '--data-dir', data);
  expect(await status()).not.toContain('paused');
  const killed = await trivet('partition', 'kill', '1', '--pool', 'faults', '--json', '--data-dir', data);
  expect(JSON.parse(killed.out)).toEqual({ id: 1, pid: expect.any(Number) as number });
  // Killed, it comes back by itself.
  let shown = await status();
  while (!/partition 1 {2}backup, in sync/.test(shown)) shown = await status();
  expect(shown).not.toContain('SIGKILL');
  const none = await trivet('partition', 'kill', '7', '--data-dir', data);
  expect([none.code, none.err]).toEqual([1, expect.stringContaining('0, 1 and 2')]);
});

test('partition: wiped, it comes back; one that fails shows why', async () => {
  const { data, module } = await up('wipes');
  const wiped = await trivet('partition', 'wipe', '2', '--data-dir', data);
  expect(wiped.out).toMatch(/^partition 2 of wipes wiped \(process \d+\)\n$/);
  changeWish(module, { fails: 1 });
  await trivet('partition', 'kill', '1', '--data-dir', data);
  let shown = '';
  while (!/partition 1 {2}down: has no token/.test(shown)) {
    shown = (await trivet('status', '--data-dir', data)).out;
  }
});

test('pool: restart and digest work on all partitions, and say what they found', async () => {
  const { data, ready, module } = await up('whole');
  const restarted = await trivet('pool', 'restart', '--json', '--data-dir', data);
  const { instances } = JSON.parse(restarted.out) as ReadyDocument['pools'][number];
  expect(instances.map(({ inSync, restarts }) => [inSync, restarts])).toEqual([
    [true, 1],
    [true, 1],
    [true, 1],
  ]);
  expect(instances.map(({ pid }) => pid).filter((pid) => pidsOf(ready).includes(Number(pid)))).toEqual([]);
  const digest = await trivet('pool', 'digest', '--data-dir', data);
  expect(digest.out).toMatch(/^index 7\n {2}partition 0 {2}a{64}\n {2}partition 1 {2}a{64}\n/);
  changeWish(module, { differs: 0 });
  await trivet('pool', 'restart', '--pool', 'whole', '--data-dir', data);
  const differ = await trivet('pool', 'digest', '--json', '--data-dir', data);
  expect([differ.code, differ.err]).toEqual([1, 'trivet: the partitions of whole differ at index 7\n']);
  expect(JSON.parse(differ.out)).toMatchObject({ index: 7, equal: false });
});

test('subscription: its state is shown and changed', async () => {
  const { data, ready } = await up('subscription');
  const shown = await trivet('subscription', 'show', '--data-dir', data);
  expect([shown.code, shown.out]).toEqual([0, `subscription ${ready.subscriptionId} (Trivet): Enabled\n`]);
  for (const [command, state] of [
    ['disable', 'Disabled'],
    ['warn', 'Warned'],
    ['enable', 'Enabled'],
  ] as const) {
    const changed = await trivet('subscription', command, '--json', '--data-dir', data);
    expect(JSON.parse(changed.out)).toEqual({ id: ready.subscriptionId, displayName: 'Trivet', state });
  }
});

test('principal: a new one is shown once, and a taken name is refused', async () => {
  const { data } = await up('principals');
  const added = await trivet('principal', 'add', 'app', '--json', '--data-dir', data);
  expect(Object.keys(JSON.parse(added.out) as object).sort()).toEqual([
    'clientId',
    'clientSecret',
    'objectId',
  ]);
  expect((await trivet('principal', 'add', 'other', '--data-dir', data)).out).toMatch(
    /client secret .*shown only now/,
  );
  const file = ['--certificate', join(data, 'ca.pem')];
  const certified = await trivet('principal', 'add', 'certified', ...file, '--json', '--data-dir', data);
  expect(Object.keys(JSON.parse(certified.out) as object).sort()).toEqual(['clientId', 'objectId']);
  const again = await trivet('principal', 'add', 'app', '--data-dir', data);
  expect([again.code, again.err]).toEqual([1, 'trivet: there is already a principal named "app"\n']);
});

test('principal: all are listed, and a secret is reset where the administrator keeps it', async () => {
  const { data, ready } = await up('listing');
  await trivet('principal', 'add', 'app', '--data-dir', data);
  const listed = await trivet('principal', 'list', '--data-dir', data);
  expect(listed.out).toMatch(/^admin {2}client id .*, administrator of the control plane\napp {4}client id /);
  const all = JSON.parse((await trivet('principal', 'list', '--json', '--data-dir', data)).out) as unknown[];
  expect(all).toMatchObject([{ name: 'admin', clientId: ready.admin?.clientId }, { name: 'app' }]);
  const reset = await trivet('principal', 'reset', 'admin', '--json', '--data-dir', data);
  expect(JSON.parse(reset.out)).toEqual(JSON.parse(readFileSync(join(data, 'admin.json'), 'utf8')));
  expect((await trivet('principal', 'reset', 'nobody', '--data-dir', data)).err).toBe(
    'trivet: there is no principal "nobody"\n',
  );
});

// The pools here are not real: they show no roles.
test('principal: where a pool does not show its roles nothing is removed, unless they may stay', async () => {
  const { data } = await up('silent');
  await trivet('principal', 'add', 'app', '--data-dir', data);
  const refused = await trivet('principal', 'remove', 'app', '--data-dir', data);
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('so nothing was removed')]);
  expect((await trivet('principal', 'list', '--data-dir', data)).out).toContain('app');
  const kept = await trivet('principal', 'remove', 'app', '--keep-assignments', '--data-dir', data);
  expect([kept.code, kept.out]).toEqual([0, expect.stringContaining('principal app removed')]);
  expect((await trivet('principal', 'list', '--data-dir', data)).out).not.toContain('app');
  for (const who of ['admin', 'nobody']) {
    expect((await trivet('principal', 'remove', who, '--data-dir', data)).code).toBe(1);
  }
});

test('meter: what each pool costs is shown, as JSON in the promised form', async () => {
  const { data } = await up('metered');
  const { code, out } = await trivet('meter', '--json', '--data-dir', data);
  expect(code).toBe(0);
  expect(out).toMatch(/^\{"pools":\[\{"name":"metered","state":"Provisioned","hours":1,"cost":3\.2,/);
  expect(JSON.parse(out)).toEqual({
    pools: [
      {
        name: 'metered',
        state: 'Provisioned',
        hours: 1,
        cost: 3.2,
        provisioned: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
        purged: null,
      },
    ],
    total: 3.2,
    currency: 'EUR',
    ratePerHour: 3.2,
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
  });
  const shown = await trivet('meter', '--data-dir', data);
  expect(shown.out).toMatch(
    /^metered +Provisioned +1 h +3\.20 EUR {2}since \S+\nat \S+; an hour .* 3\.20 EUR\n$/,
  );
  const other = await trivet('meter', '--json', '--pool', 'other', '--data-dir', data);
  expect((JSON.parse(other.out) as { pools: unknown[] }).pools).toEqual([]);
  for (const rate of ['-1', '1e3', '3,2', 'dear', '']) {
    const refused = await trivet('up', `--meter-rate=${rate}`, '--data-dir', join(directory, 'unmade'));
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('an amount of euro')]);
  }
});

test('up: an issuer, a tenant and an administrator of a wrong form are told before anything starts', async () => {
  const url = 'https://login.example.net/t/v2.0';
  for (const [args, words] of [
    [['--issuer', 'http://x'], 'an issuer has an https URL'],
    [['--issuer', 'https://u@x'], 'an issuer has an https URL'],
    [['--issuer', `${url},metadata=http://x`], 'an issuer has an https URL'],
    [['--issuer', `${url},/nowhere.pem`], 'no such file'],
    [['--issuer', `${url},${main}`], 'holds no certificate'],
    [['--issuer', url, '--issuer', `${url},audience=x`], 'an issuer is named once'],
    [['--tenant', 'x'], 'a GUID is expected'],
    [['--administrator', 'me'], 'a GUID is expected'],
  ] as const) {
    const { code, err } = await trivet('up', ...args, '--data-dir', join(directory, 'unmade'));
    expect([code, err]).toEqual([1, expect.stringContaining(words)]);
  }
});

test('cli: without a fabric, commands say how to start one', async () => {
  const data = join(directory, 'nothing');
  for (const args of [['status'], ['meter'], ['principal', 'add', 'x'], ['partition', 'kill', '0']]) {
    const { code, err } = await trivet(...args, '--data-dir', data);
    expect([code, err]).toEqual([
      1,
      `trivet: no fabric runs on ${data}; start one with: trivet up --data-dir ${data}\n`,
    ]);
  }
});

test('cli: the data directory may come from the environment', async () => {
  const data = join(directory, 'from-environment');
  const { err } = await run(main, ['status'], { TRIVET_HOME: data }).ended;
  expect(err).toContain(data);
});

test('cli: a missing module, a wrong port and an unknown command are told before anything starts', async () => {
  const module = await trivet('up', '--module', '/nowhere.so', '--data-dir', join(directory, 'x'));
  expect([module.code, module.err]).toEqual([1, 'trivet: there is no PKCS#11 module at /nowhere.so\n']);
  for (const port of ['-1', '65536', '1e3', 'x', '']) {
    expect((await trivet('up', `--control-port=${port}`)).err).toContain('a port is 0 to 65535');
  }
  expect((await trivet('explode')).code).not.toBe(0);
});
