// The doctor before a pool that is well, and before defects that are prepared for real.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changeWish, fakeModule } from '../fabric/programs/fake-pool.js';
import { TestPool, until } from '../scenarios/pool.js';

const ROOT = join(__dirname, '../..');
const MAIN = join(ROOT, 'dist/cli/main.js');

interface Verdict {
  readonly check: string;
  readonly well?: string;
  readonly findings: readonly { readonly severity: string; readonly what: string; readonly remedy: string }[];
  readonly unchecked?: string;
}

interface Examination {
  readonly code: number;
  readonly of: (check: string) => Verdict;
  /** The checks with findings. */
  readonly found: readonly string[];
}

const home = mkdtempSync(join(tmpdir(), 'trivet-doctor-test-'));
let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
});

afterAll(async () => {
  await pool.remove();
  rmSync(home, { recursive: true, force: true });
});

interface Setting {
  readonly environment?: NodeJS.ProcessEnv;
  /** Run as root of a place with mounts of its own, before the doctor comes. */
  readonly before?: string;
  readonly main?: string;
  readonly directory?: string;
}

// Not waited for synchronously: a test may have a port open in this very process.
async function examine(args: readonly string[] = [], setting: Setting = {}): Promise<Examination> {
  const { environment = {}, before, main = MAIN, directory = pool.directory } = setting;
  const command = [process.execPath, main, 'doctor', '--json', '--data-dir', directory, ...args];
  const [program = '', ...rest] =
    before === undefined
      ? command
      : ['unshare', '-rm', 'sh', '-c', `set -e; ${before}; exec "$@"`, 'sh', ...command];
  const child = spawn(program, rest, {
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      NODE_EXTRA_CA_CERTS: join(pool.directory, 'ca.pem'),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const status = await new Promise((resolve) => child.once('close', resolve));
  let said: { code: number; checks: Verdict[] };
  try {
    said = JSON.parse(Buffer.concat(out).toString()) as typeof said;
  } catch {
    throw new Error(`the doctor says nothing: ${Buffer.concat(err).toString()}`);
  }
  expect(status).toBe(said.code);
  return {
    code: said.code,
    of: (check) => {
      const verdict = said.checks.find((one) => one.check === check);
      if (!verdict) throw new Error(`no check ${check}`);
      return verdict;
    },
    found: said.checks.filter(({ findings }) => findings.length > 0).map(({ check }) => check),
  };
}

/** Gives a place a hosts file, and nobody else to ask for names. */
function namesFrom(hosts: string): string {
  const file = join(home, 'hosts');
  const order = join(home, 'nsswitch.conf');
  writeFileSync(file, hosts);
  writeFileSync(order, 'hosts: files\n');
  return `mount --bind ${file} /etc/hosts; mount --bind ${order} /etc/nsswitch.conf`;
}

const finding = (what: RegExp, remedy: RegExp): object => ({
  what: expect.stringMatching(what) as string,
  remedy: expect.stringMatching(remedy) as string,
});

test('doctor: an empty place that can run a pool has nothing to find', async () => {
  const { code, found } = await examine(['--control-port', '0', '--data-port', '0'], {
    directory: join(home, 'empty'),
  });
  expect([code, found]).toEqual([0, []]);
});

test('doctor: a pool that is well has its custodian keys for its only finding', async () => {
  const before = namesFrom(`127.0.0.1 localhost ${pool.uri.hostname}\n`);
  const { code, found, of } = await examine([], { before });
  expect([code, found]).toEqual([1, ['custodians']]);
  expect(of('custodians').findings).toMatchObject([
    { severity: 'warning', ...finding(/^3 custodian keys/, /give each/) },
  ]);
  expect(of('connections').well).toContain('pool dev');
  expect(of('partitions').well).toBe('all partitions are in sync');
  expect((await examine(['--ignore', 'custodians'], { before })).code).toBe(0);
});

test('doctor: a PKCS#11 module that is not there', async () => {
  const { code, of } = await examine(['--module', '/nowhere/libsofthsm2.so']);
  expect(code).toBe(1);
  expect(of('module').findings).toMatchObject([finding(/no PKCS#11 module at \/nowhere/, /softhsm2/)]);
  expect(of('mechanisms').unchecked).toBeDefined();
});

test('doctor: a library that is no PKCS#11 module', async () => {
  const [library = ''] = /\/\S*libc\.so\S*/.exec(readFileSync('/proc/self/maps', 'utf8')) ?? [];
  const { of } = await examine(['--module', library]);
  expect(of('module').findings).toMatchObject([
    finding(/libc\.so.* cannot be used as a PKCS#11 module/, /libsofthsm2\.so/),
  ]);
});

test('doctor: a module that takes its process with it', async () => {
  const file = join(home, 'text.so');
  writeFileSync(file, 'no library at all\n');
  expect((await examine(['--module', file])).of('module').findings).toHaveLength(1);
});

test('doctor: an addon that is missing, and one of another machine', async () => {
  const copy = join(home, 'copy');
  mkdirSync(copy);
  cpSync(join(ROOT, 'dist'), join(copy, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const main = join(copy, 'dist/cli/main.js');
  const { of, code } = await examine([], { main });
  expect(code).toBe(1);
  expect(of('addon').findings).toMatchObject([finding(/cannot be loaded/, /scripts\/build/)]);
  mkdirSync(join(copy, 'build/Release'), { recursive: true });
  writeFileSync(join(copy, 'build/Release/trivet_pkcs11.node'), 'not for this machine');
  expect((await examine([], { main })).of('addon').findings).toHaveLength(1);
  rmSync(join(copy, 'dist/program'), { recursive: true });
  expect((await examine([], { main })).of('build').findings).toMatchObject([
    finding(/program\/instance\/main\.js/, /scripts\/build/),
  ]);
});

test('doctor: a port that somebody else has', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { of } = await examine(['--data-port', String(port), '--control-port', '0'], {
    directory: join(home, 'empty'),
  });
  server.close();
  expect(of('data-port').findings).toMatchObject([
    finding(new RegExp(`port ${port} is taken by .*\\(process ${process.pid}\\)`), /--data-port/),
  ]);
  expect(of('control-port').findings).toEqual([]);
});

test('doctor: a name that nobody knows, and one that leads elsewhere', async () => {
  const { hostname } = pool.uri;
  const unknown = await examine([], { before: namesFrom('127.0.0.1 localhost\n') });
  expect(unknown.of('names').findings).toMatchObject([
    finding(/nobody knows the name/, new RegExp(`127\\.0\\.0\\.1 ${hostname}`)),
  ]);
  const elsewhere = await examine([], { before: namesFrom(`192.0.2.7 ${hostname}\n`) });
  expect(elsewhere.of('names').findings).toMatchObject([finding(/leads to 192\.0\.2\.7/, /hosts/)]);
});

test('doctor: an authority that programs here do not trust', async () => {
  const none = await examine([], { environment: { NODE_EXTRA_CA_CERTS: '' } });
  expect(none.of('trust').findings).toMatchObject([
    finding(/NODE_EXTRA_CA_CERTS is not set \(.*certificate/, /export NODE_EXTRA_CA_CERTS=.*ca\.pem/),
  ]);
  expect(none.of('connections').findings).toEqual([]);
  const other = join(home, 'other.pem');
  writeFileSync(other, 'nobody\n');
  const python = await examine([], { environment: { REQUESTS_CA_BUNDLE: other } });
  expect(python.of('trust').findings).toMatchObject([
    finding(/REQUESTS_CA_BUNDLE is .*other\.pem/, /ca\.pem/),
  ]);
});

test('doctor: an authority file that is not the one of the pool', async () => {
  const file = join(pool.directory, 'ca.pem');
  const right = readFileSync(file);
  const fabricOnly = right.toString().split(/(?<=-----END CERTIFICATE-----\n)/)[0] ?? '';
  try {
    writeFileSync(file, fabricOnly);
    expect((await examine()).of('connections').findings).toMatchObject([
      finding(/pool dev does not verify/, /ca\.pem/),
    ]);
  } finally {
    writeFileSync(file, right);
  }
});

test('doctor: a secret that others may read', async () => {
  const secret = join(pool.directory, 'admin.json');
  chmodSync(secret, 0o644);
  try {
    const { of } = await examine();
    expect(of('permissions').findings).toMatchObject([finding(/admin\.json \(mode 0644\)/, /chmod/)]);
  } finally {
    chmodSync(secret, 0o600);
  }
  expect((await examine()).of('permissions').findings).toEqual([]);
});

test('doctor: a directory that cannot be written', async () => {
  const directory = join(home, 'read-only');
  mkdirSync(directory, { mode: 0o700 });
  const before = `mount --bind ${directory} ${directory}; mount -o remount,ro,bind ${directory}`;
  const { of } = await examine([], { directory, before });
  expect(of('directory').findings).toMatchObject([finding(/cannot be written: EROFS/, /--data-dir/)]);
});

test('doctor: a disk that is full, and one that is in memory', async () => {
  const directory = join(home, 'small');
  mkdirSync(directory, { mode: 0o700 });
  const before = `mount -t tmpfs -o size=256k,mode=700 none ${directory}`;
  const empty = await examine([], { directory, before });
  expect(empty.of('disk').findings).toMatchObject([finding(/in memory \(tmpfs\)/, /disk/)]);
  const full = `${before}; dd if=/dev/zero of=${directory}/full bs=4k status=none 2>/dev/null || chmod 600 ${directory}/full`;
  const { of } = await examine([], { directory, before: full });
  expect(of('disk').findings).toMatchObject([finding(/cannot be synced: ENOSPC/, /free some space/)]);
  expect(of('space').findings).toMatchObject([finding(/only 0 MiB are free/, /256 MiB/)]);
});

test('doctor: a directory of somebody else cannot be checked', () => {
  // Root is somebody to nobody; to anybody else root is.
  const [other, directory] =
    process.getuid?.() === 0
      ? [['setpriv', '--reuid', '65534', '--clear-groups'], pool.directory]
      : [['env'], '/root'];
  const [program = '', ...more] = other;
  const command = [...more, process.execPath, MAIN, 'doctor', '--json', '--data-dir', directory];
  const { status, stdout } = spawnSync(program, command, { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({ code: 2, checks: [{ check: 'directory', findings: [] }] });
});

test('doctor: programs that starting an instance takes', async () => {
  const { of } = await examine([], { environment: { PATH: home } });
  expect(of('programs').findings).toMatchObject([finding(/flock and setpriv/, /util-linux/)]);
});

test('doctor: too few open files, and core files', () => {
  const command = [process.execPath, MAIN, 'doctor', '--json', '--data-dir', join(home, 'empty')];
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -n 200; exec "$@"', 'sh', ...command], {
    encoding: 'utf8',
  });
  const { checks } = JSON.parse(stdout) as { checks: Verdict[] };
  expect(checks.find(({ check }) => check === 'limits')?.findings[0]).toMatchObject(
    finding(/200 open files/, /ulimit -n/),
  );
});

test('doctor: a partition that is paused', async () => {
  pool.command('partition', 'pause', '1');
  expect((await examine()).of('partitions').findings).toMatchObject([
    finding(/partition 1 of dev is paused/, /trivet partition resume 1/),
  ]);
  pool.command('partition', 'resume', '1');
});

test('doctor: a partition that is down', async () => {
  const directory = join(home, 'fakes');
  const readyFile = join(home, 'fakes.json');
  const { module } = await fakeModule(home);
  const up = spawn(
    process.execPath,
    [join(__dirname, 'programs/up-with-fakes.cjs'), directory, module, readyFile],
    {
      stdio: 'ignore',
    },
  );
  const ended = new Promise((resolve) => up.once('close', resolve));
  try {
    await until('the pool is ready', () => existsSync(readyFile));
    changeWish(module, { fails: 2 });
    spawnSync(process.execPath, [MAIN, 'partition', 'kill', '2', '--data-dir', directory]);
    let findings: Verdict['findings'] = [];
    await until('the doctor finds it', async () => {
      ({ findings } = (await examine([], { directory })).of('partitions'));
      return findings.some(({ what }) => what.includes('is down')); // it is on its way up in between
    });
    expect(findings).toMatchObject([finding(/partition 2 of dev is down: ./, /trivet partition wipe 2/)]);
  } finally {
    up.kill('SIGTERM');
    await ended;
  }
});

test('doctor: a pool that was killed, what it left, and a clock that has gone back since', async () => {
  await pool.killAll();
  const { of } = await examine();
  expect(of('lock').findings).toMatchObject([finding(/was killed/, /trivet up --data-dir/)]);
  expect(of('leftovers').findings).toMatchObject([finding(/working copies of tokens/, /trivet up/)]);
  const later = new Date(Date.now() + 3_600_000).toISOString();
  spawnSync('touch', ['-d', later, join(pool.directory, 'pools/dev/pool.json')]);
  expect((await examine()).of('clock').findings).toMatchObject([finding(/has gone back/, /clock/)]);
});
