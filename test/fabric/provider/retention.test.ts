// What the clock brings about: deleted HSMs go when their retention ends, and pools go by one clock.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HSMS, KEY_VAULT, armClient } from '../control/arm-client.js';
import { eventually, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric;

beforeAll(async () => {
  started = await startedFabric(directory, { movableClock: true, poolsMax: 5 });
});
afterAll(() => started.fabric.abandon());

async function advance(duration: string): Promise<void> {
  const headers = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ duration });
  expect((await started.ask('/trivet/clock/advance', { method: 'POST', headers, body })).status).toBe(200);
}

test('retention: at its end a deleted HSM is purged, protected or not, whatever the subscription is', async () => {
  let arm = await armClient(started);
  const kept = { softDeleteRetentionInDays: 7, enablePurgeProtection: true };
  await arm.ended(await arm.ask('PUT', `${HSMS}/seven`, arm.hsm({}, kept)));
  await arm.ended(await arm.ask('PUT', `${HSMS}/thirty`, arm.hsm({}, { softDeleteRetentionInDays: 30 })));
  for (const name of ['seven', 'thirty']) await arm.ended(await arm.ask('DELETE', `${HSMS}/${name}`));
  const headers = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  const disable = { method: 'PUT', headers, body: JSON.stringify({ state: 'Disabled' }) };
  expect((await started.ask('/trivet/subscription', disable)).status).toBe(200);
  await advance('P6DT23H');
  arm = await armClient(started); // the old token is over
  const deleted = async (): Promise<string[]> => {
    const { json } = await arm.ask('GET', `${KEY_VAULT}/deletedManagedHSMs`);
    return (json['value'] as { name: string }[]).map(({ name }) => name);
  };
  expect(await deleted()).toEqual(['seven', 'thirty']);
  await advance('PT1H');
  arm = await armClient(started);
  await eventually(async () => (await deleted()).length === 1);
  expect(await deleted()).toEqual(['thirty']);
  await eventually(() => !existsSync(join(started.fabric.places.pools, 'seven')));
  // Its end is recorded once nothing of it is left.
  await eventually(async () => {
    const { json } = await arm.ask('POST', `${KEY_VAULT}/checkMhsmNameAvailability`, { name: 'seven' });
    return json['nameAvailable'] === true;
  });
  const enable = {
    method: 'PUT',
    headers: { ...headers, Authorization: `Bearer ${await started.token()}` },
    body: JSON.stringify({ state: 'Enabled' }),
  };
  expect((await started.ask('/trivet/subscription', enable)).status).toBe(200);
});

test('retention: a pool that is made or recovered after the clock was moved goes by it', async () => {
  const arm = await armClient(started);
  await arm.ended(await arm.ask('PUT', `${HSMS}/late`, arm.hsm()));
  const recover = { location: 'local', properties: { createMode: 'recover' } };
  expect((await arm.ended(await arm.ask('PUT', `${HSMS}/thirty`, recover))).status).toBe(200);
  const headers = { Authorization: `Bearer ${await started.token()}` };
  const { json } = await started.ask('/trivet/clock', { headers });
  expect(json['offset']).toBe(7 * 86_400);
  const offsets = (json['pools'] as { name: string; instances: { offset: number }[] }[]).map(
    ({ name, instances }) => [name, ...instances.map(({ offset }) => offset)],
  );
  const all = [7 * 86_400, 7 * 86_400, 7 * 86_400];
  expect(offsets).toEqual([
    ['dev', ...all],
    ['late', ...all],
    ['thirty', ...all],
  ]);
});
