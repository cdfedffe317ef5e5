// A pool whose clock can be moved, as a whole: what began or ended by the new time has done so on every instance, for
// tokens and for keys; what is written down never goes back.
import { createHash, createPublicKey, verify, type JsonWebKey } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { TestPool, at, isAlive, text, until } from './pool.js';
import type { Answer, Client } from './pool.js';
import { codeOf } from './witness.js';

const DAY = 86_400;
const DIGEST = createHash('sha256').update('a message').digest();

let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start(undefined, ['--movable-clock']);
});
afterAll(() => pool.remove());

const machine = (): number => Math.floor(Date.now() / 1_000);

interface Shown {
  readonly movable: boolean;
  readonly time: string;
  readonly offset: number;
  readonly pools: readonly { readonly instances: readonly { readonly offset: number | null }[] }[];
}

function clock(...args: string[]): Shown {
  const { status, out, err } = pool.command('clock', ...args, '--json');
  if (status !== 0) throw new Error(err);
  return JSON.parse(out) as Shown;
}

const offsets = (shown: Shown): (number | null)[] =>
  (shown.pools[0]?.instances ?? []).map(({ offset }) => offset);

function moment(body: unknown, name: 'created' | 'updated'): number {
  return Number(at(body, 'attributes', name));
}

async function create(client: Client, name: string, attributes = {}): Promise<unknown> {
  const {
    status,
    body,
    text: said,
  } = await client.call('POST', `/keys/${name}/create`, {
    kty: 'EC',
    attributes,
  });
  if (status !== 200) throw new Error(`${status} ${said}`);
  return body;
}

const sign = (client: Client, name: string): Promise<Answer> =>
  client.call('POST', `/keys/${name}/sign`, { alg: 'ES256', value: DIGEST.toString('base64url') });

/** Checked by OpenSSL, with the key as the service shows it. */
function isSignature(made: unknown, answer: Answer): boolean {
  const jwk = { ...(at(made, 'key') as JsonWebKey), kty: 'EC' }; // OpenSSL knows no EC-HSM
  const key = createPublicKey({ format: 'jwk', key: jwk });
  const signature = Buffer.from(text(answer.body, 'value'), 'base64url');
  return verify('sha256', Buffer.from('a message'), { key, dsaEncoding: 'ieee-p1363' }, signature);
}

test('the clock moves 100 days: tokens, keys and times go by it on every instance', async () => {
  // Said after the ready file is there.
  await until('it says that the clock is movable', () => /^clock +movable, at /m.test(pool.up.output));
  expect(clock('show')).toMatchObject({ movable: true, offset: 0 });
  const oldToken = await pool.token();
  const before = await pool.clientOfEach();
  const [first] = before as [Client];
  const start = machine();
  const ending = await create(first, 'ending', { exp: start + 50 * DAY });
  const coming = await create(first, 'coming', { nbf: start + 50 * DAY });
  for (const client of before) {
    expect(isSignature(ending, await sign(client, 'ending'))).toBe(true);
    expect((await sign(client, 'coming')).status).toBe(403);
  }

  const shown = clock('advance', 'P100D');
  expect(shown.offset).toBe(100 * DAY);
  expect(offsets(shown)).toEqual([shown.offset, shown.offset, shown.offset]);

  // The old token was seen and believed by each of them a moment ago.
  for (const client of before) {
    const { status, headers } = await client.call('GET', '/keys');
    expect([status, headers['www-authenticate']]).toEqual([
      401,
      expect.stringMatching(/error="invalid_token".*expired/) as string,
    ]);
  }
  const token = await pool.token();
  expect(decodeJwt(token).iat).toBeGreaterThanOrEqual(start + 100 * DAY);
  expect((decodeJwt(token).iat ?? 0) - (decodeJwt(oldToken).iat ?? 0)).toBeLessThan(100 * DAY + 300);
  const after = await pool.clientOfEach();
  for (const [place, client] of after.entries()) {
    const refused = await sign(client, 'ending');
    expect([refused.status, codeOf(refused.body)]).toEqual([403, 'Forbidden']);
    expect(isSignature(coming, await sign(client, 'coming'))).toBe(true);
    const made = await create(client, `made-${place}`);
    expect(moment(made, 'created')).toBeGreaterThanOrEqual(start + 100 * DAY);
    expect(moment(made, 'created')).toBeLessThanOrEqual(machine() + 100 * DAY);
  }
  // A deletion is scheduled by the same time.
  const deleted = await after[0]?.call('DELETE', '/keys/made-0');
  expect(Number(at(deleted?.body, 'scheduledPurgeDate'))).toBeGreaterThanOrEqual(start + 190 * DAY);
  [...before, ...after].forEach((client) => client.close());
});

test('TLS stays by the machine: the certificate of the data plane is valid now', async () => {
  const socket = await pool.connect(); // checks the certificate by the machine's clock
  const { valid_from: from, valid_to: to } = socket.getPeerCertificate();
  expect(Date.parse(from)).toBeLessThan(Date.now());
  expect(Date.parse(to)).toBeLessThan(Date.now() + 100 * DAY * 1_000);
  socket.destroy();
});

test('the offset survives a restart of the whole pool, by request and by kill, and time does not go back', async () => {
  const { offset } = clock('show');
  let last = 0;
  for (const end of ['stop', 'killAll'] as const) {
    const client = await pool.client();
    last = Math.max(last, moment(await create(client, `before-${end}`), 'created'));
    await pool[end]();
    await pool.start();
    const shown = clock('show');
    expect(shown).toMatchObject({ movable: true, offset });
    expect(offsets(shown)).toEqual([offset, offset, offset]);
    for (const each of await pool.clientOfEach()) {
      expect((await sign(each, 'ending')).status).toBe(403);
      const made = await create(each, `after-${end}`);
      expect(moment(made, 'created')).toBeGreaterThanOrEqual(last);
      last = moment(made, 'created');
      each.close();
    }
  }
});

test('without its offset the log still does not go back in time', async () => {
  // What a copy from an old backup of the fabric would do; the pool's own record is what counts.
  const client = await pool.client();
  const made = moment(await create(client, 'newest'), 'created');
  await pool.stop();
  rmSync(join(pool.directory, 'fabric/clock.json'));
  await pool.start();
  expect(clock('show').offset).toBe(0);
  for (const each of await pool.clientOfEach()) {
    expect(moment(await create(each, 'newest'), 'created')).toBeGreaterThanOrEqual(made);
    each.close();
  }
  clock('advance', 'P100D');
});

test('a killed instance does not keep the clock from moving', async () => {
  const { offset } = clock('show');
  expect(pool.command('partition', 'kill', '2').status).toBe(0);
  const shown = clock('advance', 'PT2H');
  expect(offsets(shown).slice(0, 2)).toEqual([offset + 7_200, offset + 7_200]);
  await pool.inSync();
  expect(offsets(clock('show'))).toEqual([offset + 7_200, offset + 7_200, offset + 7_200]);
});

test('an instance that is paused holds up the clock no longer than it is counted on, and comes back by the new time', async () => {
  const { offset } = clock('show');
  const [, paused] = pool.instancePids;
  expect(pool.command('partition', 'pause', '1').status).toBe(0);
  expect(clock('advance', 'PT2H').offset).toBe(offset + 7_200);
  await until('it is replaced', () => !isAlive(paused ?? -1));
  await pool.inSync();
  expect(offsets(clock('show'))).toEqual([offset + 7_200, offset + 7_200, offset + 7_200]);
  for (const each of await pool.clientOfEach()) {
    const made = await create(each, 'resumed');
    expect(moment(made, 'created')).toBeGreaterThanOrEqual(machine() + offset + 7_200 - 60);
    each.close();
  }
});

test('what is no duration, or would turn the clock back, is refused and moves nothing', () => {
  const { offset } = clock('show');
  for (const wish of ['P-1D', '30', 'P1.5D', 'P9000Y']) {
    const { status, err } = pool.command('clock', 'advance', wish);
    expect([wish, status]).toEqual([wish, 1]);
    expect(err).toContain('The clock was not moved');
  }
  expect(pool.command('clock', 'advance', '-P1D').status).toBe(1);
  expect(clock('show').offset).toBe(offset);
});

describe('a pool that was made without --movable-clock', () => {
  let fixed: TestPool;

  beforeAll(async () => {
    fixed = await TestPool.start();
  });
  afterAll(() => fixed.remove());

  test('refuses to have its clock moved, also when it is started again with the option', async () => {
    const refused = fixed.command('clock', 'advance', 'P1D');
    expect(refused.status).toBe(1);
    expect(refused.err).toMatch(/^trivet: The clock was not moved: .*--movable-clock/);
    expect(fixed.command('clock', 'show').out).toMatch(/the clock cannot be moved/);
    const token = await fixed.token();
    await fixed.stop();

    fixed.options = ['--movable-clock'];
    await expect(fixed.start()).rejects.toThrow(
      /trivet: pool dev in .* was created without --movable-clock, which cannot be changed/,
    );
    fixed.options = [];
    await fixed.start();
    // The issuer and its key are the same, and no time has passed.
    expect((await (await fixed.client({ token })).call('GET', '/keys')).status).toBe(200);
  });

  test('takes no offset from a fabric whose files were changed', async () => {
    await fixed.stop();
    const file = join(fixed.directory, 'pools/dev/pool.json');
    const said = JSON.parse(readFileSync(file, 'utf8')) as { founding: object };
    writeFileSync(file, JSON.stringify({ ...said, founding: { ...said.founding, movableClock: true } }));
    const defaultsFile = join(fixed.directory, 'fabric/pool-defaults.json');
    const defaults = JSON.parse(readFileSync(defaultsFile, 'utf8')) as object;
    writeFileSync(defaultsFile, JSON.stringify({ ...defaults, movableClock: true }));
    await fixed.start();
    const token = await fixed.token();
    const { status, err } = fixed.command('clock', 'advance', 'PT10M');
    expect([
      status,
      /no word from partition 0 of dev, partition 1 of dev, partition 2 of dev;/.test(err),
    ]).toEqual([1, true]);
    const made = await create(await fixed.client({ token }), 'now');
    expect(moment(made, 'created')).toBeLessThanOrEqual(machine());
    // The login has moved and the pool has not: its tokens begin later.
    expect((await (await fixed.client()).call('GET', '/keys')).status).toBe(401);
  });
});
