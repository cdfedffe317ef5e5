import { readFileSync, statSync } from 'node:fs';
import { eventually, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric;

beforeAll(async () => {
  started = await startedFabric(directory);
});
afterAll(() => started.fabric.abandon());

function scraped(token: string): Promise<Answer> {
  return started.ask('/metrics', { headers: { Authorization: `Bearer ${token}` } });
}

test('monitoring: metrics need their own token, which only the owner can read', async () => {
  const { metricsToken } = started.fabric.places;
  expect(statSync(metricsToken).mode & 0o777).toBe(0o600);
  const token = readFileSync(metricsToken, 'utf8').trim();
  expect((await started.ask('/metrics')).status).toBe(401);
  expect((await scraped(`${token}x`)).status).toBe(401);
  expect((await scraped(await started.token())).status).toBe(401);
  const { status, headers, text } = await scraped(token);
  expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  expect(text).toContain('trivet_pool_in_sync{pool="dev"} 3\n');
});

test('monitoring: health and readiness say yes or no to everybody, and nothing else', async () => {
  expect(await started.ask('/healthz')).toMatchObject({ status: 200, text: 'ok\n' });
  expect(await started.ask('/readyz')).toMatchObject({ status: 200, text: 'ready\n' });
});

test('monitoring: a pool of which nobody serves is not ready, and a lost instance is counted', async () => {
  const token = readFileSync(started.fabric.places.metricsToken, 'utf8').trim();
  const [{ instances } = { instances: [] }] = started.fabric.status().pools;
  for (const { pid } of instances) if (pid !== null) process.kill(pid, 'SIGKILL');
  await eventually(() => started.fabric.status().pools[0]?.instances.every(({ inSync }) => !inSync) === true);
  expect(await started.ask('/readyz')).toMatchObject({ status: 503, text: 'not ready\n' });
  await eventually(() => started.fabric.status().pools[0]?.instances.every(({ inSync }) => inSync) === true);
  expect((await started.ask('/readyz')).status).toBe(200);
  const { text } = await scraped(token);
  for (const instance of [0, 1, 2]) {
    expect(text).toContain(`trivet_instance_ends_total{pool="dev",instance="${instance}"} 1\n`);
    expect(text).toContain(`trivet_instance_heals_total{pool="dev",instance="${instance}"} 1\n`);
  }
});
