// A fabric that is killed goes on at its next start with whatever was on its way.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FabricStatus } from '../../../src/fabric/control/management.js';
import { Places } from '../../../src/fabric/pools/estate.js';
import type { ResourceState } from '../../../src/fabric/resources/state.js';
import { HSMS, KEY_VAULT, armClient } from '../control/arm-client.js';
import type { Arm } from '../control/arm-client.js';
import { changeWish, eventually, fakeModule, privateDirectory } from '../programs/fake-pool.js';
import { fabricAt } from '../programs/started-fabric.js';

const directory = privateDirectory();
const children: ChildProcess[] = [];
let places: Places;
let wishes: string;

beforeEach(async () => {
  places = new Places(join(directory, String(children.length)));
  ({ module: wishes } = await fakeModule(directory));
});
afterEach(async () => {
  await Promise.all(
    children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).map(kill),
  );
});

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

async function start(): Promise<{ child: ChildProcess; arm: Arm }> {
  const child = fork(join(__dirname, '../programs/run-fabric.cjs'), [places.root, wishes], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  children.push(child);
  const status = await new Promise<FabricStatus>((resolve, reject) => {
    child.once('message', (message) => resolve(message as FabricStatus));
    child.once('exit', (code) => reject(new Error(`the fabric ended with ${String(code)}`)));
  });
  return { child, arm: await armClient(fabricAt(status, places)) };
}

const onDisk = (): ResourceState => JSON.parse(readFileSync(places.resources, 'utf8')) as ResourceState;
const phases = (): Record<string, string> =>
  Object.fromEntries(onDisk().hsms.map(({ pool, phase }) => [pool, phase]));
const settled = (): boolean =>
  Object.values(phases()).every((phase) => phase === 'Running' || phase === 'Deleted') &&
  onDisk().operations.every(({ status }) => status !== 'InProgress');

async function create(arm: Arm, name: string): Promise<void> {
  await arm.ended(await arm.ask('PUT', `${HSMS}/${name}`, arm.hsm()));
}

/** So much that its destruction takes a while, and can be cut off. */
function fill(name: string): string {
  const place = join(places.pools, name, 'instances/1/more');
  mkdirSync(place, { recursive: true });
  for (let n = 0; n < 400; n += 1) writeFileSync(join(place, String(n)), 'secret'.repeat(500));
  return place;
}

describe('provider: killed', () => {
  test('while an HSM is made, which is then made to its end without being asked for again', async () => {
    const { child, arm } = await start();
    // Nobody can finish before the kill.
    changeWish(wishes, { mute: 1 });
    const begun = await arm.ask('PUT', `${HSMS}/second`, arm.hsm());
    await eventually(() => existsSync(join(places.pools, 'second/instances/0/store.json')));
    await kill(child);
    expect(phases()).toEqual({ dev: 'Running', second: 'Provisioning' });
    changeWish(wishes, {});
    const again = await start();
    await eventually(settled);
    const { pathname, search } = new URL(String(begun.headers.location));
    expect((await again.arm.raw('GET', `${pathname}${search}`)).json).toMatchObject({ name: 'second' });
    expect((await again.arm.ask('GET', `${HSMS}/second`)).json).toMatchObject({
      properties: { provisioningState: 'Succeeded' },
    });
  });

  test('just after it has taken a wish, whatever the wish, at any moment', async () => {
    let { child, arm } = await start();
    const cycle = [
      ['PUT', `${HSMS}/second`, 'hsm'],
      ['DELETE', `${HSMS}/second`, undefined],
      ['PUT', `${HSMS}/second`, 'recover'],
      ['DELETE', `${HSMS}/second`, undefined],
      ['POST', `${KEY_VAULT}/locations/local/deletedManagedHSMs/second/purge`, undefined],
    ] as const;
    const outcome = ['Running', 'Deleted', 'Running', 'Deleted', undefined];
    for (const [turn, [method, path, what]] of cycle.entries()) {
      const recover = { location: 'local', properties: { createMode: 'recover' } };
      const body = what === 'hsm' ? arm.hsm() : what === 'recover' ? recover : undefined;
      expect((await arm.ask(method, path, body)).status).toBe(202);
      await sleep(turn * 15); // no condition: the moments should differ
      await kill(child);
      ({ child, arm } = await start());
      await eventually(settled);
      expect([turn, phases()['second']]).toEqual([turn, outcome[turn]]);
    }
    expect(existsSync(join(places.pools, 'second'))).toBe(false);
    expect(phases()).toEqual({ dev: 'Running' });
  });

  test('in the middle of a purge, which is finished, and holds the name until then', async () => {
    const { child, arm } = await start();
    await create(arm, 'second');
    await arm.ended(await arm.ask('DELETE', `${HSMS}/second`));
    const place = fill('second');
    await arm.ask('POST', `${KEY_VAULT}/locations/local/deletedManagedHSMs/second/purge`);
    await eventually(() => !existsSync(join(place, '5')) || !existsSync(join(place, '399')));
    await kill(child);
    expect(existsSync(place)).toBe(true);
    expect(phases()).toEqual({ dev: 'Running', second: 'Purging' });
    const again = await start();
    await eventually(settled);
    expect(existsSync(join(places.pools, 'second'))).toBe(false);
    await create(again.arm, 'second');
    expect(existsSync(place)).toBe(false);
  });

  test('while a group is deleted, which is then gone, with its HSMs deleted', async () => {
    const { child, arm } = await start();
    await create(arm, 'second');
    expect((await arm.ask('DELETE', '/resourceGroups/trivet')).status).toBe(202);
    await kill(child);
    const again = await start();
    await eventually(settled);
    expect(phases()).toEqual({ dev: 'Deleted', second: 'Deleted' });
    expect((await again.arm.ask('GET', '/resourceGroups/trivet')).status).toBe(404);
  });

  test('and started on a directory without resources, it takes the pools in that are there', async () => {
    const { child, arm } = await start();
    await create(arm, 'second');
    await kill(child);
    const before = onDisk();
    writeFileSync(places.resources, JSON.stringify({ ...before, hsms: [], events: [] }));
    const again = await start();
    const { json } = await again.arm.ask('GET', HSMS);
    expect((json['value'] as { name: string }[]).map(({ name }) => name)).toEqual(['dev', 'second']);
    expect(
      onDisk()
        .hsms.map(({ poolId }) => poolId)
        .sort(),
    ).toEqual(before.hsms.map(({ poolId }) => poolId).sort());
  });
});
