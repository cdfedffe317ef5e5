// Prometheus itself: its checker reads our rules and runs their tests, and the server scrapes a real pool with the
// documented configuration.
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestPool, until } from '../scenarios/pool.js';

const docs = join(__dirname, '../../docs/monitoring');

function promtool(...args: readonly string[]): { status: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: docs, encoding: 'utf8' });
  return { status, out: `${stdout}${stderr}` };
}

test('prometheus: the rules and the configuration are valid, and the rules do what their tests say', () => {
  for (const args of [
    ['check', 'rules', 'alerts.yml'],
    ['check', 'config', '--syntax-only', 'prometheus.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ]) {
    const { status, out } = promtool(...args);
    expect([args.join(' '), status, status === 0 ? '' : out]).toEqual([args.join(' '), 0, '']);
  }
});

test('prometheus: the server scrapes a pool as documented', async () => {
  const home = mkdtempSync(join(tmpdir(), 'trivet-prometheus-'));
  const pool = await TestPool.start();
  const port = await freePort();
  copyFileSync(join(docs, 'alerts.yml'), join(home, 'alerts.yml'));
  const { port: control } = new URL(pool.ready.controlPlane);
  writeFileSync(
    join(home, 'prometheus.yml'),
    readFileSync(join(docs, 'prometheus.yml'), 'utf8')
      .replaceAll('/var/lib/trivet', pool.directory)
      .replace('localhost:8443', `localhost:${control}`)
      .replace('15s', '1s'),
  );
  const server = spawn(
    'prometheus',
    [
      '--config.file=prometheus.yml',
      `--storage.tsdb.path=${join(home, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { cwd: home, stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => server.once('exit', resolve));
  try {
    const value = async (query: string): Promise<unknown> => {
      const text = await fetched(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`);
      if (!text.startsWith('{')) return undefined; // it starts yet, and says so in words
      const { data } = JSON.parse(text) as {
        readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
      };
      return data?.result[0]?.value[1];
    };
    await until('the pool is scraped', async () => (await value('up{job="trivet"}')) === '1');
    expect(await value('trivet_pool_in_sync')).toBe('3');
    const client = await pool.client();
    await client.call('GET', '/keys');
    client.close();
    await until(
      'the request is counted',
      async () =>
        Number(await value('sum(trivet_requests_total{operation="KeyList",result="success"})')) >= 1,
    );
  } finally {
    server.kill('SIGKILL');
    await ended;
    await pool.remove();
    rmSync(home, { recursive: true, force: true });
  }
}, 120_000);

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** The body; empty while nobody answers. */
function fetched(url: string): Promise<string> {
  return new Promise((resolve) => {
    get(url, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve(text));
    }).on('error', () => resolve(''));
  });
}
