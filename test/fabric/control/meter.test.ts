// What the meter makes of the life of HSMs, from their making to their purge and beyond.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Arm } from '../programs/arm.js';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { StartedFabric } from '../programs/started-fabric.js';
import type { FabricOptions } from '../../../src/fabric/main.js';
import type { MeterStatus } from '../../../src/fabric/control/meter.js';

const directory = privateDirectory();
let started: StartedFabric;
let arm: Arm;

beforeEach(() => rmSync(join(directory, 'data'), { recursive: true, force: true }));
afterEach(() => started.fabric.abandon());

async function start(changes: Partial<FabricOptions> = {}): Promise<void> {
  started = await startedFabric(directory, changes);
  arm = new Arm(started);
}

const headers = async (): Promise<Record<string, string>> => ({
  Authorization: `Bearer ${await started.token()}`,
  'Content-Type': 'application/json',
});

async function meter(): Promise<MeterStatus> {
  const { status, text } = await started.ask('/trivet/meter', { headers: await headers() });
  expect(status).toBe(200);
  return JSON.parse(text) as MeterStatus;
}

const entries = async (): Promise<unknown[]> =>
  (await meter()).pools.map(({ name, state, hours, cost }) => [name, state, hours, cost]);

async function advance(duration: string): Promise<void> {
  const body = JSON.stringify({ duration });
  const answer = await started.ask('/trivet/clock/advance', {
    method: 'POST',
    headers: await headers(),
    body,
  });
  expect(answer.status).toBe(200);
}

test('meter: an HSM is charged from its making until its purge, deleted or not, and its name can be used again', async () => {
  await start({ movableClock: true, meterRate: 2 });
  expect(await entries()).toEqual([['dev', 'Provisioned', 1, 2]]);
  await arm.put('second');
  await advance('PT30M');
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 1, 2],
    ['second', 'Provisioned', 1, 2],
  ]);
  await arm.delete('second');
  await advance('P1D');
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 25, 50],
    ['second', 'SoftDeleted', 25, 50],
  ]);
  await arm.put('second', { createMode: 'recover' });
  expect((await meter()).pools[1]?.state).toBe('Provisioned');
  await arm.delete('second');
  await advance('PT1H');
  await arm.purge('second');
  await advance('P3D');
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 98, 196],
    ['second', 'Purged', 26, 52],
  ]);
  await arm.put('second');
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 98, 196],
    ['second', 'Purged', 26, 52],
    ['second', 'Provisioned', 1, 2],
  ]);
  expect((await meter()).total).toBe(250);
});

test('meter: an HSM whose group was deleted is charged on, and one whose retention ends no longer than that', async () => {
  await start({ movableClock: true, meterRate: 1 });
  await advance('PT30M');
  await arm.deleteGroup();
  await advance('P6D');
  expect(await entries()).toEqual([['dev', 'SoftDeleted', 145, 145]]);
  // Ninety days; noticed a year later.
  await advance('P1Y');
  const [dev] = (await meter()).pools;
  expect([dev?.state, dev?.hours, dev?.cost]).toEqual(['Purged', 90 * 24 + 1, 90 * 24 + 1]);
});

test('meter: nothing is lost or charged twice when the fabric is ended and starts again, and a new rate begins then', async () => {
  await start({ movableClock: true, meterRate: 1 });
  await arm.put('second');
  await arm.delete('second');
  await advance('PT10H30M');
  const before = await meter();
  await started.fabric.abandon();
  // As if the fabric had ended before it put down that the meter had heard of it all: told again, and counted once.
  const journal = started.fabric.places.own('meter.jsonl');
  const records = readFileSync(journal, 'utf8');
  const events = records
    .split('\n')
    .filter((line) => line.includes('"poolId"'))
    .map((line) => JSON.parse(line) as unknown);
  expect(events).toHaveLength(3);
  const { resources } = started.fabric.places;
  const state = JSON.parse(readFileSync(resources, 'utf8')) as object;
  writeFileSync(resources, JSON.stringify({ ...state, events }));
  await start({ movableClock: true });
  expect(await entries()).toEqual(
    before.pools.map(({ name, state, hours, cost }) => [name, state, hours, cost]),
  );
  expect(readFileSync(journal, 'utf8')).toBe(records);
  await started.fabric.abandon();
  await start({ movableClock: true, meterRate: 10 });
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 11, 11],
    ['second', 'SoftDeleted', 11, 11],
  ]);
  await advance('PT1H');
  expect(await entries()).toEqual([
    ['dev', 'Provisioned', 12, 21],
    ['second', 'SoftDeleted', 12, 21],
  ]);
  expect(await meter()).toMatchObject({ total: 42, currency: 'EUR', ratePerHour: 10 });
});

test('meter: members stand in the promised order, and only an administrator of the control plane sees them', async () => {
  await start();
  const { text } = await started.ask('/trivet/meter', { headers: await headers() });
  expect(text).toMatch(/^\{"pools":\[\{"name":"dev","state":"Provisioned","hours":1,"cost":3\.2,/);
  expect((await started.ask('/trivet/meter')).status).toBe(401);
});

test('clock: an HSM made through ARM has a movable clock exactly if the installation has one', async () => {
  for (const movableClock of [true, false]) {
    rmSync(join(directory, 'data'), { recursive: true, force: true });
    await start({ movableClock });
    await arm.put('second');
    const file = join(started.fabric.places.pools, 'second', 'pool.json');
    const { founding } = JSON.parse(readFileSync(file, 'utf8')) as { founding: { movableClock?: true } };
    expect(founding.movableClock).toBe(movableClock ? true : undefined);
    const shown = await started.ask('/trivet/clock', { headers: await headers() });
    expect(shown.json).toMatchObject({ movable: movableClock, pools: [{ name: 'dev' }, { name: 'second' }] });
    if (movableClock) {
      await advance('P2D');
      const { json } = await started.ask('/trivet/clock', { headers: await headers() });
      const offsets = (json['pools'] as { instances: { offset: number }[] }[]).flatMap(({ instances }) =>
        instances.map(({ offset }) => offset),
      );
      expect(offsets).toEqual(Array(6).fill(2 * 86_400));
      // One that is made later begins with the moved time.
      await arm.put('third');
      const third = (await started.ask('/trivet/clock', { headers: await headers() })).json[
        'pools'
      ] as unknown[];
      expect(third.at(-1)).toEqual({
        name: 'third',
        instances: [0, 1, 2].map((id) => ({ id, offset: 2 * 86_400 })),
      });
    }
    await started.fabric.abandon();
  }
});

test('clock: the dates of a deleted HSM follow it, and it is purged when its retention has ended', async () => {
  await start({ movableClock: true });
  await arm.put('second');
  await advance('P10D');
  const now = Date.parse(
    (await started.ask('/trivet/clock', { headers: await headers() })).json['time'] as string,
  );
  await arm.delete('second');
  const path = arm
    .path('second')
    .replace(
      /resourceGroups\/trivet\/providers\/Microsoft\.KeyVault\/managedHSMs/,
      'providers/Microsoft.KeyVault/locations/local/deletedManagedHSMs',
    );
  const { json } = await arm.ask('GET', path);
  const dates = json['properties'] as { deletionDate: string; scheduledPurgeDate: string };
  expect(Date.parse(dates.deletionDate) - now).toBeLessThan(60_000);
  expect(Date.parse(dates.deletionDate) - now).toBeGreaterThanOrEqual(0);
  expect(Date.parse(dates.scheduledPurgeDate) - Date.parse(dates.deletionDate)).toBe(7 * 86_400_000);
  await advance('P7D');
  let status = 200;
  while (status === 200) ({ status } = await arm.ask('GET', path));
  expect(status).toBe(404);
  await arm.put('second');
});
