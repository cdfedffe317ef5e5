import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { view, type Look } from '../../src/cli/status/view.js';
import { BUCKETS, type InstanceFigures, type RequestFigures } from '../../src/values/figures.js';
import { trafficBetween } from '../../src/values/traffic.js';
import { fakeModule } from '../fabric/programs/fake-pool.js';
import { until } from '../scenarios/pool.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');

function requests(
  operation: string,
  result: RequestFigures['result'],
  ...fast: [number, number]
): RequestFigures {
  const [count, within5ms] = fast;
  const buckets = BUCKETS.map((bound) => (bound >= 1 ? count : bound >= 0.005 ? within5ms : 0));
  return { operation, result, count, seconds: count / 1_000, buckets };
}

function figures(
  committed: number,
  cpuSeconds: number,
  made: readonly RequestFigures[] = [],
): InstanceFigures {
  return {
    requests: made,
    connections: 3,
    committed,
    undecided: 1,
    keys: 12,
    openKeys: 5,
    storeBytes: 0,
    auditBytes: 0,
    cpuSeconds,
    residentBytes: 100 * 1024 * 1024,
  };
}

const uri = 'https://dev.managedhsm.localhost:9443';

function look(atMs: number, said: ReadonlyMap<number, InstanceFigures>, meter?: Look['meter']): Look {
  return {
    atMs,
    meter,
    status: {
      controlPlane: '',
      authority: '',
      tenantId: '',
      subscriptionId: '',
      resourceGroup: '',
      caFile: '',
      pools: [
        {
          name: 'dev',
          uri,
          activation: 'Active',
          ownerFingerprint: null,
          epoch: 7,
          instances: [
            { id: 0, pid: 1, role: 'primary', inSync: true, uri, restarts: 0 },
            {
              id: 1,
              pid: 2,
              role: 'joining',
              inSync: false,
              uri,
              restarts: 2,
              joining: { phase: 'snapshot', done: 10, total: 40 },
            },
            {
              id: 2,
              pid: null,
              role: 'down',
              inSync: false,
              uri: null,
              restarts: 4,
              reason: 'it was killed',
            },
          ],
        },
      ],
    },
    figures: {
      pools: [{ name: 'dev', instances: [...said].map(([instance, one]) => ({ instance, figures: one })) }],
    },
  };
}

test('status: the view shows roles, lag, rates and what is not there', () => {
  const before = look(1_000, new Map([[0, figures(90, 1, [requests('KeySign', 'success', 100, 100)])]]));
  const now = look(
    3_000,
    new Map([
      [0, figures(100, 2, [requests('KeySign', 'success', 300, 299), requests('KeyGet', 'refused', 4, 4)])],
      [1, figures(40, 1)],
    ]),
    { currency: 'EUR', pools: [{ name: 'dev', cost: 6.4 }] },
  );
  expect(view(before, now)).toEqual([
    `pool dev  ${uri}  Active  epoch 7  12 keys  102 operations/s  cost 6.40 EUR`,
    '  partition  role     in sync  lag  undecided  ops/s  clients  open keys  CPU   memory   restarts',
    '  0          primary  yes      0    1          102    3        5          50 %  100 MiB  0',
    '  1          joining  no       60   1          -      3        5          -     100 MiB  2         snapshot 10 of 40',
    '  2          down     no       -    -          -      -        -          -     -        4         down: it was killed',
    '',
    '  operation  ops/s  median  99 %    refused/s  failed/s',
    '  KeySign    100    ≤ 5 ms  ≤ 5 ms  0          0',
    '  KeyGet     2.0    ≤ 5 ms  ≤ 5 ms  2.0        0',
  ]);
  expect(view(undefined, now)[0]).not.toContain('operations/s');
});

test('status: slow requests are in the quantiles, and one that began anew counts from nothing', () => {
  const of = (...made: RequestFigures[]): ReadonlyMap<number, InstanceFigures> =>
    new Map([[0, figures(1, 1, made)]]);
  const [slow] = trafficBetween(of(), of(requests('KeySign', 'success', 100, 60)), 2);
  expect(slow).toMatchObject({ rate: 50, median: 0.005, slowest1Percent: 1 });
  const [anew] = trafficBetween(
    of(requests('KeySign', 'success', 1_000, 1_000)),
    of(requests('KeySign', 'success', 10, 10)),
    1,
  );
  expect(anew).toMatchObject({ rate: 10 });
});

describe('with a pool that runs', () => {
  const home = mkdtempSync(join(tmpdir(), 'trivet-status-test-'));
  const data = join(home, 'data');
  const readyFile = join(home, 'ready.json');
  let stop: () => Promise<unknown>;

  beforeAll(async () => {
    const { module } = await fakeModule(home);
    const up = spawn(
      process.execPath,
      [join(__dirname, 'programs/up-with-fakes.cjs'), data, module, readyFile],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => up.once('close', resolve));
    stop = () => {
      up.kill('SIGTERM');
      return ended;
    };
    await until('the pool is ready', () => existsSync(readyFile));
  });

  afterAll(async () => {
    await stop();
    rmSync(home, { recursive: true, force: true });
  });

  const watching = [MAIN, 'status', '--watch', '--count', '2', '--interval', '0.1', '--data-dir', data];

  test('status: watched by a program, each look is printed, and as JSON is a line', () => {
    const plain = spawnSync(process.execPath, watching, { encoding: 'utf8' });
    expect([plain.status, plain.stderr]).toEqual([0, '']);
    expect(plain.stdout.match(/^pool dev {2}/gm)).toHaveLength(2);
    expect(plain.stdout).toMatch(/^ {2}0 +primary +yes +0 /m);
    expect(plain.stdout).not.toContain('\u001b');
    const lines = spawnSync(process.execPath, [...watching, '--json'], { encoding: 'utf8' })
      .stdout.trim()
      .split('\n');
    expect(lines.map((line) => (JSON.parse(line) as Look).status.pools[0]?.name)).toEqual(['dev', 'dev']);
  });

  test('status: in a terminal the view is painted over, and q leaves it as it was', async () => {
    const command = `${process.execPath} ${MAIN} status --watch --interval 0.1 --data-dir ${data}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let shown = '';
    child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    const paintings = (): number => shown.split('\u001b[H').length - 1;
    await until('it was painted three times', () => paintings() >= 3);
    child.stdin.write('q');
    expect(await ended).toBe(0);
    expect(shown.startsWith('\u001b[?1049h')).toBe(true);
    expect(shown.trimEnd().endsWith('\u001b[?1049l')).toBe(true);
    expect(shown).toContain('pool dev');
  });

  test('status: without a fabric nothing is painted', () => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [MAIN, 'status', '--watch', '--data-dir', join(home, 'nothing')],
      { encoding: 'utf8' },
    );
    expect([status, stdout, stderr]).toEqual([1, '', expect.stringContaining('trivet up')]);
  });
});
