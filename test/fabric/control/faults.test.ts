// Faults and unplugged partitions over the fabric's own interface, with fake instances.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { changeWish, eventually, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric | undefined;

beforeEach(() => rmSync(join(directory, 'data'), { recursive: true, force: true }));
afterEach(() => started?.fabric.abandon());

async function start(faults: boolean): Promise<StartedFabric> {
  started = await startedFabric(directory, { faults });
  return started;
}

async function ask(fabric: StartedFabric, method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { Authorization: `Bearer ${await fabric.token()}`, 'Content-Type': 'application/json' };
  const text = body === undefined ? {} : { body: JSON.stringify(body) };
  return fabric.ask(`/trivet/pools/dev${path}`, { method, headers, ...text });
}

const messageOf = (answer: Answer): string =>
  (answer.json['error'] as { message: string } | undefined)?.message ?? answer.text;

interface Shown {
  readonly role: string;
  readonly unplugged?: true;
  readonly inSync: boolean;
  readonly restarts: number;
}

function partition(fabric: StartedFabric, id: number): Shown | undefined {
  return fabric.fabric.status().pools[0]?.instances[id];
}

test('faults: all rules are replaced, shown and removed, and the seed is told', async () => {
  const fabric = await start(true);
  expect((await ask(fabric, 'GET', '/faults')).json).toEqual({ rules: [], seed: 0 });
  const rules = [{ latency: { kind: 'constant', ms: 5 } }];
  const made = await ask(fabric, 'PUT', '/faults', { rules });
  expect(made.status).toBe(200);
  const { seed } = made.json as { seed: number };
  expect(Number.isSafeInteger(seed)).toBe(true);
  expect((await ask(fabric, 'GET', '/faults')).json).toEqual({ rules, seed });
  expect((await ask(fabric, 'PUT', '/faults', { rules: [], seed: 4 })).json).toEqual({ rules: [], seed: 4 });
  await ask(fabric, 'PUT', '/faults', { rules, seed: 4 });
  expect((await ask(fabric, 'DELETE', '/faults')).json).toEqual({ rules: [], seed: 0 });
  expect((await ask(fabric, 'GET', '/faults')).json).toEqual({ rules: [], seed: 0 });
});

test('faults: what is written wrong is named, and nothing is changed', async () => {
  const fabric = await start(true);
  const rules = [{ performance: 'published' }];
  await ask(fabric, 'PUT', '/faults', { rules, seed: 1 });
  const wrong = await ask(fabric, 'PUT', '/faults', { rules: [{ error: { rate: 2, status: 500 } }] });
  expect([wrong.status, messageOf(wrong)]).toEqual([
    400,
    expect.stringMatching(/^The faults were not changed: rules\.0\.error\.rate: /),
  ]);
  expect((await ask(fabric, 'GET', '/faults')).json).toEqual({ rules, seed: 1 });
});

test('faults: a pool that was made without the option is refused them, now and at every later start', async () => {
  const first = await start(false);
  for (const [method, body] of [
    ['GET', undefined],
    ['PUT', { rules: [] }],
    ['DELETE', undefined],
  ] as const) {
    const answer = await ask(first, method, '/faults', body);
    expect([method, answer.status, messageOf(answer)]).toEqual([
      method,
      409,
      expect.stringMatching(/^Pool dev suffers no faults on request: .*--faults/),
    ]);
  }
  await first.fabric.stop();
  await expect(start(true)).rejects.toThrow(
    /pool dev in .* was created without --faults, which cannot be changed; leave the option out/,
  );
});

test('faults: a pool made with the option keeps it without, and begins each run with none', async () => {
  const first = await start(true);
  await ask(first, 'PUT', '/faults', { rules: [{ performance: 'published' }] });
  await first.fabric.stop();
  const second = await start(false);
  expect((await ask(second, 'GET', '/faults')).json).toEqual({ rules: [], seed: 0 });
});

test('faults: they are for administrators of the control plane', async () => {
  const fabric = await start(true);
  const nobody = await fabric.ask('/trivet/pools/dev/faults');
  expect(nobody.status).toBe(401);
});

test('faults: who does not say that it suffers them is named', async () => {
  const fabric = await start(true);
  const module = fabric.fabric.options.module;
  changeWish(module, { silent: 1 });
  // It reads its wish when it asks for a lease.
  await eventually(async () => {
    const answer = await ask(fabric, 'PUT', '/faults', { rules: [] });
    return answer.status === 504 && messageOf(answer).includes('no word from partition 1');
  });
}, 60_000);

test('unplug: a partition stays away until it is plugged in again, and the pool goes on', async () => {
  const fabric = await start(false);
  const unplugged = await ask(fabric, 'POST', '/partitions/1/unplug');
  expect([unplugged.status, unplugged.json]).toEqual([200, { id: 1, pid: expect.any(Number) as number }]);
  expect(partition(fabric, 1)).toMatchObject({ role: 'down', unplugged: true, inSync: false, restarts: 0 });
  expect(partition(fabric, 0)).toMatchObject({ inSync: true });

  // Whatever else ends is started again: by then this one would have been too.
  await ask(fabric, 'POST', '/partitions/2/kill');
  await eventually(() => partition(fabric, 2)?.restarts === 1 && partition(fabric, 2)?.inSync === true);
  expect(partition(fabric, 1)).toMatchObject({ role: 'down', unplugged: true, restarts: 0 });

  for (const what of ['unplug', 'wipe']) {
    const again = await ask(fabric, 'POST', `/partitions/1/${what}`);
    expect([again.status, messageOf(again)]).toEqual([
      409,
      'Partition 1 of dev is unplugged; plug it in again with: trivet partition replug 1.',
    ]);
  }
  expect((await ask(fabric, 'POST', '/partitions/1/replug')).status).toBe(200);
  await eventually(() => partition(fabric, 1)?.inSync === true);
  expect(partition(fabric, 1)).not.toHaveProperty('unplugged');
  const plugged = await ask(fabric, 'POST', '/partitions/1/replug');
  expect([plugged.status, messageOf(plugged)]).toEqual([409, 'Partition 1 of dev is not unplugged.']);
});

test('unplug: a fabric that starts anew knows nothing of it', async () => {
  const first = await start(false);
  await ask(first, 'POST', '/partitions/0/unplug');
  await first.fabric.stop();
  const second = await start(false);
  await eventually(() => partition(second, 0)?.inSync === true);
});
