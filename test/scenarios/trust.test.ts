// A real pool and what it trusts: another build does not start on it before it was allowed, and does afterwards; every
// instance knows what one of them was told.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { TestPool, Up, until } from './pool.js';

/** The same product, but for one file of its own in front of it: another build. */
const OTHER_BUILD = join(__dirname, 'programs/up-recording.cjs');
const REFUSED = /the pool does not allow what runs here, measurement ([0-9a-f]{64})/;

let pool: TestPool;
beforeAll(async () => {
  pool = await TestPool.start();
});
afterAll(() => pool.remove());

/** What the command line says without a directory and a network. */
function runCommand(...args: string[]): string {
  return execFileSync(process.execPath, [pool.main, ...args], { encoding: 'utf8' }).trim();
}

interface Trust {
  readonly hosts: readonly object[];
  readonly measurements: readonly string[];
  readonly running: string;
}

const trust = (...args: string[]): Trust => {
  const { status, out, err } = pool.command('pool', 'trust', ...args, '--json');
  if (status !== 0) throw new Error(err);
  return JSON.parse(out) as Trust;
};

async function startOther(): Promise<Up> {
  const up = new Up(pool.directory, join(pool.home, 'other.json'), OTHER_BUILD);
  await up.exited;
  return up;
}

test('a pool trusts its host and what its instances run, which can be told offline', () => {
  const { hosts, measurements, running } = trust('list');
  expect([hosts.length, measurements]).toEqual([1, [running]]);
  const measured = runCommand('pool', 'measure');
  expect(measured).toBe(running);
});

test('another build does not start on it, and says what is to be allowed; the former one does, and goes on', async () => {
  await pool.stop();
  const other = await startOther();
  expect(other.exit?.code).toBe(1);
  expect(other.output).toMatch(REFUSED);
  await pool.start();
  const client = await pool.client();
  expect((await client.call('GET', '/keys')).status).toBe(200);

  const [, measurement = ''] = REFUSED.exec(other.output) ?? [];
  trust('allow-measurement', measurement);
  for (const one of await pool.clientOfEach()) {
    const { status, body } = await one.call('GET', '/trivet/trust');
    expect([status, (body as Trust).measurements]).toEqual([200, [(body as Trust).running, measurement]]);
    one.close();
  }
  const { status, err } = pool.command('pool', 'trust', 'remove-measurement', trust('list').running);
  expect([status, err]).toEqual([1, expect.stringContaining('runs this very build')]);
});

test('and starts once it is allowed', async () => {
  await pool.stop();
  const readyFile = join(pool.home, 'other.json');
  const up = new Up(pool.directory, readyFile, OTHER_BUILD);
  try {
    await until('the other build serves', () => {
      if (up.exit) throw new Error(up.output);
      return up.output.includes('fabric ready');
    });
    up.signal('SIGTERM');
    expect((await up.exited).code).toBe(0);
  } finally {
    up.signal('SIGKILL');
    await up.exited;
  }
});
