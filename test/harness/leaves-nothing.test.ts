// What is left of pools when they are closed, and when the process that started them dies: nothing that runs, listens,
// lies on a disk or is held open.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HarnessError, startPool, type Pool, type PoolOptions } from '../../src/harness/harness.js';
import { templates } from './templates.js';

const POOLS = 20;
/** As a test runner with so many workers. */
const AT_ONCE = 4;
const LISTENS = '0A';

/** Where pools of this file are made: others may be starting some at this time. */
const place = mkdtempSync(join(tmpdir(), 'trivet-left-'));
const start = (options: PoolOptions = {}): Promise<Pool> =>
  startPool({ template: templates(), temporaryDirectory: place, ...options });
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** Processes that have to do with a path below `place`, by what they were told or where they work. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
        const where = readlinkSync(`/proc/${pid}/cwd`);
        return words.includes(place) || where.startsWith(place) ? [`${pid} ${words} in ${where}`] : [];
      } catch {
        return []; // gone meanwhile, or of somebody else
      }
    });
}

function listening(): Set<number> {
  const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
    readFileSync(file, 'latin1').split('\n'),
  );
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter(([, , , state]) => state === LISTENS);
  return new Set(fields.map(([, local = '']) => parseInt(local.split(':')[1] ?? '', 16)));
}

/** What this process has open, without what comes and goes by itself. */
const handles = (): string[] =>
  process.getActiveResourcesInfo().filter((kind) => kind !== 'Timeout' && kind !== 'Immediate');

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`).replace(/:\[\d+\]$/, '')];
    } catch {
      return []; // that of the list itself
    }
  });
}

const countOf = (all: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    [...new Set(all)].sort().map((one) => [one, all.filter((other) => other === one).length]),
  );

test(`${POOLS} pools started and closed leave no process, port, file or handle behind`, async () => {
  // Once before: what a first one loads stays loaded.
  await (await start()).close();
  const handlesBefore = countOf(handles());
  const filesBefore = countOf(openFiles());
  const ports = new Set<number>();
  let left = POOLS;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const pool = await start();
      const { instances } = await pool.status();
      expect((await pool.request('GET', '/keys')).status).toBe(200);
      const uris = [pool.url, pool.controlPlane, ...instances.map(({ uri }) => String(uri))];
      for (const uri of uris) ports.add(Number(new URL(uri).port));
      expect(uris.every((uri) => listening().has(Number(new URL(uri).port)))).toBe(true);
      expect(processes().length).toBeGreaterThanOrEqual(4);
      await pool.close();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  expect(processes()).toEqual([]);
  expect(readdirSync(place)).toEqual([]);
  expect([...ports].filter((port) => listening().has(port))).toEqual([]);
  expect(countOf(handles())).toEqual(handlesBefore);
  expect(countOf(openFiles())).toEqual(filesBefore);
}, 300_000);

test('a pool is closed once, however often and whatever state it is in', async () => {
  const pool = await start();
  await pool.partition(0).pause();
  await pool.partition(1).kill();
  await Promise.all([pool.close(), pool.close()]);
  await pool.close();
  expect(processes()).toEqual([]);
  expect(readdirSync(place)).toEqual([]);
  await expect(pool.status()).rejects.toThrow(HarnessError);
}, 120_000);

test('a pool that does not start says why and what to do, and leaves nothing', async () => {
  const module = join(place, 'none.so');
  const failed = start({ module });
  await expect(failed).rejects.toThrow(HarnessError);
  await expect(failed).rejects.toThrow(
    new RegExp(
      `^the pool did not start: .*there is no PKCS#11 module at ${module}\n.*main\\.js doctor$`,
      's',
    ),
  );
  const shared = mkdtempSync(join(tmpdir(), 'trivet-shared-'));
  chmodSync(shared, 0o755);
  await expect(start({ template: shared })).rejects.toThrow(`chmod 700 ${shared}`);
  rmSync(shared, { recursive: true });
  await expect(start({ faults: false, performance: 'published' })).rejects.toThrow('leave out faults: false');
  expect(processes()).toEqual([]);
  expect(readdirSync(place)).toEqual([]);
});

test.each(['SIGKILL', 'exit'] as const)(
  'a pool ends with the process that started it: %s',
  async (how) => {
    const program = join(place, 'forgets.cjs');
    const harness = join(__dirname, '../../dist/harness/harness.js');
    writeFileSync(
      program,
      `const { startPool } = require(${JSON.stringify(harness)});
     startPool(${JSON.stringify({ template: templates(), temporaryDirectory: place })}).then((pool) => {
       console.log(pool.directory);
       ${how === 'exit' ? '' : 'setInterval(() => undefined, 1_000);'}
     });`,
    );
    const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const exited = once(child, 'exit');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const directory = line.toString().trim();
    expect(existsSync(directory)).toBe(true);
    expect(processes().filter((words) => words.includes(directory)).length).toBeGreaterThanOrEqual(
      how === 'exit' ? 0 : 4,
    );
    // One that has nothing more to do is not held by its pool.
    if (how !== 'exit') child.kill(how);
    await exited;
    while (processes().some((words) => words.includes(directory)))
      await new Promise((resolve) => setTimeout(resolve, 10));
    rmSync(program);
    // Its files are removed by whoever starts the next one.
    expect(existsSync(directory)).toBe(true);
    await expect(start({ module: join(place, 'none.so') })).rejects.toThrow(HarnessError);
    expect(readdirSync(place)).toEqual([]);
  },
  120_000,
);
