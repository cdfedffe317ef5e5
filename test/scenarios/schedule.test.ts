// What a pool does to keys by itself as time goes by, through restarts, kills, and time that it slept through.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestPool, at, text, until, type Client } from './pool.js';

const DAY = 86_400;

let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start(undefined, ['--movable-clock']);
});
afterAll(() => pool.remove());

function advance(duration: string): void {
  const { status, err } = pool.command('clock', 'advance', duration);
  if (status !== 0) throw new Error(err);
}

async function ask(client: Client, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await client.call(method, path, body);
  if (answer.status >= 300) throw new Error(`${answer.status} ${answer.text}`);
  return answer.body;
}

async function versionsOf(client: Client, name: string): Promise<string[]> {
  const list = at(await ask(client, 'GET', `/keys/${name}/versions`), 'value') as { kid: string }[];
  return list.map(({ kid }) => kid.split('/').at(-1) ?? '');
}

/** The versions, once every instance shows so many. */
async function versionsOnceThereAre(count: number, name: string): Promise<string[]> {
  const clients = await pool.clientOfEach();
  let shown: string[] = [];
  for (const client of clients) {
    await until(`${name} has ${count} versions`, async () => {
      shown = await versionsOf(client, name);
      return shown.length === count;
    });
  }
  clients.forEach((client) => client.close());
  return shown;
}

test('rotation by policy and scheduled purge come when they are due, once, on every instance', async () => {
  const client = await pool.client();
  await ask(client, 'POST', '/keys/auto/create', { kty: 'EC', key_ops: ['sign'], tags: { owner: 'me' } });
  await ask(client, 'PUT', '/keys/auto/rotationpolicy', {
    attributes: { expiryTime: 'P60D' },
    lifetimeActions: [{ action: { type: 'Rotate' }, trigger: { timeAfterCreate: 'P30D' } }],
  });
  await ask(client, 'POST', '/keys/gone/create', { kty: 'oct' });
  await ask(client, 'DELETE', '/keys/gone');
  client.close();

  advance('P29D');
  const [first] = await versionsOnceThereAre(1, 'auto');
  advance('P2D');
  const two = await versionsOnceThereAre(2, 'auto');
  expect(two[0]).toBe(first);
  const later = await pool.client();
  const rotated = await ask(later, 'GET', '/keys/auto');
  expect(at(rotated, 'key', 'key_ops')).toEqual(['sign']);
  expect(at(rotated, 'tags')).toEqual({ owner: 'me' });
  expect(Number(at(rotated, 'attributes', 'exp')) - Number(at(rotated, 'attributes', 'created'))).toBe(
    60 * DAY,
  );
  expect(text(await ask(later, 'GET', '/deletedkeys/gone'), 'key', 'kid')).toContain('/keys/gone/');
  later.close();
});

test('what was due while the pool was down happens once, when it is back', async () => {
  await pool.stop();
  // The machine slept for four rotations and the end of a retention.
  const file = join(pool.directory, 'fabric', 'clock.json');
  const { offset } = JSON.parse(readFileSync(file, 'utf8')) as { offset: number };
  writeFileSync(file, JSON.stringify({ offset: offset + 130 * DAY }));
  await pool.start();
  const three = await versionsOnceThereAre(3, 'auto');
  await until('the deleted key is purged', async () => {
    const client = await pool.client();
    const { status } = await client.call('GET', '/deletedkeys/gone');
    client.close();
    return status === 404;
  });
  // A kill in between brings nothing back and repeats nothing.
  await pool.killAll();
  await pool.start();
  const client = await pool.client();
  await ask(client, 'POST', '/keys/gone/create', { kty: 'oct' });
  client.close();
  expect(await versionsOnceThereAre(3, 'auto')).toEqual(three);
});
