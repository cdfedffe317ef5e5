import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { fakeModule, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const DAY = 86_400;
const directory = privateDirectory();
let started: StartedFabric | undefined;

beforeEach(() => rmSync(join(directory, 'data'), { recursive: true, force: true }));
afterEach(() => started?.fabric.abandon());

async function start(movableClock = true): Promise<StartedFabric> {
  started = await startedFabric(directory, { movableClock });
  return started;
}

async function ask(fabric: StartedFabric, path: string, body?: unknown): Promise<Answer> {
  const headers = { Authorization: `Bearer ${await fabric.token()}`, 'Content-Type': 'application/json' };
  if (body === undefined) return fabric.ask(path, { headers });
  return fabric.ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

const advance = (fabric: StartedFabric, duration: unknown): Promise<Answer> =>
  ask(fabric, '/trivet/clock/advance', { duration });
const show = async (fabric: StartedFabric): Promise<unknown> => (await ask(fabric, '/trivet/clock')).json;
const messageOf = (answer: Answer): string =>
  (answer.json['error'] as { message: string } | undefined)?.message ?? answer.text;

const standing = (offset: number, movable = true): unknown => ({
  movable,
  offset,
  time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
  pools: [{ name: 'dev', instances: [0, 1, 2].map((id) => ({ id, offset })) }],
});

test('clock: it is moved forward by a duration, for the login and every instance, and stays so after a restart', async () => {
  const first = await start();
  expect(await show(first)).toEqual(standing(0));
  const old = await first.token();
  const answer = await advance(first, 'P100DT1H');
  expect([answer.status, answer.json]).toEqual([200, standing(100 * DAY + 3_600)]);
  const time = Date.parse(String(answer.json['time'])) / 1_000;
  expect(Math.abs(time - 100 * DAY - 3_600 - Date.now() / 1_000)).toBeLessThan(60);

  // A token of before the move is over for the control plane; a new one begins now and opens it.
  const headers = { Authorization: `Bearer ${old}` };
  expect((await first.ask('/trivet/status', { headers })).status).toBe(401);
  const { iat = 0, nbf, exp } = decodeJwt(await first.token());
  expect(iat).toBeGreaterThanOrEqual(time);
  expect([nbf, exp]).toEqual([iat, iat + 3_600]);
  expect((await advance(first, 'PT1S')).json).toEqual(standing(100 * DAY + 3_601));

  await first.fabric.stop();
  // Without the option: what the pool is was decided when it was made.
  const second = await start(false);
  expect(await show(second)).toEqual(standing(100 * DAY + 3_601));
  expect((await advance(second, 'PT0S')).json).toEqual(standing(100 * DAY + 3_601));
});

test('clock: months go by the calendar', async () => {
  const fabric = await start();
  const before = Date.parse(((await show(fabric)) as { time: string }).time);
  const answer = await advance(fabric, 'P12M');
  const expected = new Date(before);
  expected.setUTCFullYear(expected.getUTCFullYear() + 1);
  expect(Math.abs(Date.parse(String(answer.json['time'])) - expected.getTime())).toBeLessThan(60_000);
});

test('clock: two moves at the same time add up', async () => {
  const fabric = await start();
  const both = await Promise.all([advance(fabric, 'PT1M'), advance(fabric, 'PT2M')]);
  expect(both.map(({ status }) => status)).toEqual([200, 200]);
  expect(await show(fabric)).toEqual(standing(180));
});

test('clock: a pool that was made without the option has a clock that cannot be moved', async () => {
  const fabric = await start(false);
  const answer = await advance(fabric, 'P1D');
  expect(answer.status).toBe(409);
  expect(messageOf(answer)).toMatch(/^The clock was not moved: .*--movable-clock/);
  expect(await show(fabric)).toEqual(standing(0, false));
  // An offset that lies there by whatever way counts for nothing.
  await fabric.fabric.stop();
  writeFileSync(fabric.fabric.places.own('clock.json'), '{"offset":86400}');
  expect(await show(await start(false))).toEqual(standing(0, false));
});

test('clock: asking for the option on a pool made without it is refused, and the pool stays as it was', async () => {
  await (await start(false)).fabric.stop();
  await expect(start(true)).rejects.toThrow(
    /pool dev in .* was created without --movable-clock, which cannot be changed; leave the option out/,
  );
  expect(await show(await start(false))).toEqual(standing(0, false));
});

test.each(['30', 'P', '-P1D', 'P-1D', 'P1.5D', 'p1d', '', 7, null, ['P1D'], 'P8000Y', 'P9999999999D'])(
  'clock: %j moves nothing',
  async (duration) => {
    const fabric = await start();
    const answer = await advance(fabric, duration);
    expect(answer.status).toBe(400);
    expect(messageOf(answer)).toMatch(/The clock was not moved/);
    expect(await show(fabric)).toEqual(standing(0));
  },
);

test('clock: what cannot be kept is not announced', async () => {
  const fabric = await start();
  mkdirSync(`${fabric.fabric.places.own('clock.json')}.new/in-the-way`, { recursive: true });
  const answer = await advance(fabric, 'P1D');
  expect(answer.status).toBe(500);
  expect(messageOf(answer)).toMatch(/^The clock was not moved: it cannot be kept/);
  expect(await show(fabric)).toEqual(standing(0));
  expect(decodeJwt(await fabric.token()).iat).toBeLessThan(Date.now() / 1_000 + 60);
});

test('clock: an instance that does not confirm is named, with what to do; the move stands', async () => {
  started = await startedFabric(directory, {
    movableClock: true,
    module: (await fakeModule(directory, { silent: 1 })).module,
  });
  const answer = await advance(started, 'P1D');
  expect(answer.status).toBe(504);
  expect(messageOf(answer)).toMatch(
    /^The clock was moved and stays so, but .* no word from partition 1 of dev; .* trivet partition kill 1/,
  );
  expect(await show(started)).toMatchObject({
    offset: DAY,
    pools: [{ instances: [{ offset: DAY }, { offset: 0 }, { offset: DAY }] }],
  });
  expect(readFileSync(started.fabric.places.own('clock.json'), 'utf8')).toBe(`{"offset":${DAY}}\n`);
});

test('clock: only an administrator of the control plane sees or moves it', async () => {
  const fabric = await start();
  const added = (await ask(fabric, '/trivet/principals', { name: 'app' })).json;
  const { json } = await fabric.login({
    grant_type: 'client_credentials',
    client_id: String(added['clientId']),
    client_secret: String(added['clientSecret']),
    scope: `${fabric.base}/.default`,
  });
  const body = '{"duration":"P1D"}';
  for (const [expected, headers] of [
    [401, {}],
    [401, { Authorization: `Bearer ${await fabric.token('https://managedhsm.localhost/.default')}` }],
    [403, { Authorization: `Bearer ${String(json['access_token'])}` }],
  ] as const) {
    const post = { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body };
    expect((await fabric.ask('/trivet/clock/advance', post)).status).toBe(expected);
    expect((await fabric.ask('/trivet/clock', { headers: { ...headers } })).status).toBe(expected);
  }
  expect(await show(fabric)).toEqual(standing(0));
});

test('clock: a damaged offset is no start, and says which file', async () => {
  const fabric = await start();
  await fabric.fabric.stop();
  for (const text of ['{"offset":-1}', '{"offset":"1"}', '{}', '{', '{"offset":1.5}']) {
    writeFileSync(fabric.fabric.places.own('clock.json'), text);
    await expect(start()).rejects.toThrow(/clock\.json/);
  }
});
