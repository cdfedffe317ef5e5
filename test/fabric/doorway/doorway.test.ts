import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { Doorway } from '../../../src/fabric/doorway/doorway.js';
import type { Destination, DoorwayLimits } from '../../../src/fabric/doorway/doorway.js';
import { createPool } from '../../../src/fabric/pools/pool-file.js';
import { Pool } from '../../../src/fabric/pools/pool.js';
import { changeWish, fakeModule, helloOf, privateDirectory, program } from '../programs/fake-pool.js';
import type { Wish } from '../programs/fake-pool.js';

const DOMAIN = 'managedhsm.localhost';
const directory = privateDirectory();
const pools: Pool[] = [];
const doorways: Doorway[] = [];

afterEach(async () => {
  for (const doorway of doorways.splice(0)) doorway.close();
  await Promise.all(pools.splice(0).map((pool) => pool.kill()));
});

async function startPool(
  name: string,
  wish: Wish = {},
): Promise<{ pool: Pool; root: string; module: string }> {
  createPool(directory, name, {
    tenantId: '',
    administrators: [],
    cryptoUsers: [],
    issuers: [],
    retentionDays: 90,
    purgeProtection: false,
  });
  const { module, root } = await fakeModule(directory, wish);
  const pool = new Pool(
    directory,
    name,
    { module, domain: DOMAIN, dataPort: 1, authority: '', clockOffset: 0, hostKeyFile: '' },
    program,
  );
  pools.push(pool);
  await pool.ready();
  return { pool, root, module };
}

async function openDoorway(destinations: readonly Destination[], limits?: DoorwayLimits): Promise<number> {
  const doorway = new Doorway(DOMAIN, limits);
  doorways.push(doorway);
  const port = await doorway.listen(0);
  doorway.open(destinations);
  return port;
}

interface Answer {
  readonly instance: string;
  readonly body: Buffer;
}

// One request on a connection of its own.
function ask(port: number, root: string, servername: string, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, ca: root, servername, method: 'POST', agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ instance: String(response.headers['x-instance']), body: Buffer.concat(chunks) }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

// Sends the parts one after the other and reads until as many bytes have come back.
async function exchange(port: number, parts: readonly Buffer[]): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const expected = parts.reduce((sum, part) => sum + part.length, 0);
  const chunks: Buffer[] = [];
  let received = 0;
  const done = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${received} of ${expected} bytes`)));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      received += chunk.length;
      if (received >= expected) resolve();
    });
  });
  await once(socket, 'connect');
  socket.setNoDelay(true);
  for (const part of parts) {
    socket.write(part);
    await new Promise((resolve) => setImmediate(resolve)); // separate packets, as far as the kernel lets us
  }
  await done;
  socket.destroy();
  return Buffer.concat(chunks);
}

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined).resume();
  await new Promise((resolve) => socket.once('close', resolve));
}

test('doorway: connections go to the three instances in turn, bodies and all', async () => {
  const { pool, root } = await startPool('turns');
  const port = await openDoorway([pool]);
  const seen: string[] = [];
  for (let n = 0; n < 6; n += 1) {
    const body = randomBytes(100_000).toString('base64');
    const answer = await ask(port, root, `turns.${DOMAIN}`, body);
    expect(answer.body.toString()).toBe(body);
    seen.push(answer.instance);
  }
  expect(seen).toEqual(['0', '1', '2', '0', '1', '2']);
});

test('doorway: no byte is lost, however the stream is cut and however fast it comes', async () => {
  const { pool } = await startPool('bytes', { raw: true });
  const port = await openDoorway([pool]);
  const hello = await helloOf({ servername: `bytes.${DOMAIN}` });
  const cuts = [1, 5, 6, 44, hello.length - 1, hello.length];
  const exchanges = Array.from({ length: 60 }, async (_, n) => {
    const cut = cuts[n % cuts.length] ?? 1;
    const rest = [1, 100, 5_000, 200_000].map((length) => randomBytes(length));
    const parts = [hello.subarray(0, cut), Buffer.concat([hello.subarray(cut), randomBytes(n)]), ...rest];
    const back = await exchange(port, parts);
    expect(back.equals(Buffer.concat(parts))).toBe(true);
  });
  await Promise.all(exchanges);
});

test('doorway: the server name chooses the pool, in any case', async () => {
  const [one, two] = [await startPool('one'), await startPool('two')];
  const port = await openDoorway([one.pool, two.pool]);
  const chosen = async (root: string, name: string): Promise<string> => {
    const { body } = await ask(port, root, name);
    return (JSON.parse(body.toString()) as { start: { pool: string } }).start.pool;
  };
  expect(await chosen(one.root, `one.${DOMAIN}`)).toBe('one');
  expect(await chosen(two.root, `TWO.${DOMAIN}`)).toBe('two');
  await expect(ask(port, one.root, 'localhost')).rejects.toThrow(/hang up|ECONNRESET|disconnected/);
});

test('doorway: any name leads to the only pool', async () => {
  const { pool, root } = await startPool('only');
  const port = await openDoorway([pool]);
  expect(await ask(port, root, 'localhost')).toMatchObject({ instance: '0' });
  expect(await ask(port, root, '')).toMatchObject({ instance: '1' });
});

test('doorway: the name of a pool that is not there leads to no other, and pools come and go', async () => {
  const [one, two] = [await startPool('stays'), await startPool('goes')];
  const port = await openDoorway([one.pool]);
  const doorway = doorways.at(-1);
  await expect(ask(port, one.root, `goes.${DOMAIN}`)).rejects.toThrow(/hang up|ECONNRESET|disconnected/);
  doorway?.open([one.pool, two.pool]);
  expect(await ask(port, two.root, `goes.${DOMAIN}`)).toMatchObject({ instance: '0' });
  doorway?.open([one.pool]);
  await expect(ask(port, two.root, `goes.${DOMAIN}`)).rejects.toThrow(/hang up|ECONNRESET|disconnected/);
  expect(await ask(port, one.root, `stays.${DOMAIN}`)).toMatchObject({ instance: '0' });
});

test('doorway: with instances killed, the others take every connection; with none left, it is closed', async () => {
  const { pool, root, module } = await startPool('kills');
  const port = await openDoorway([pool]);
  changeWish(module, { fails: [0, 1, 2] });
  const end = async (id: number): Promise<void> => {
    pool.instance(id)?.kill();
    await pool.instance(id)?.ended;
  };
  await end(0);
  const seen = [];
  for (let n = 0; n < 4; n += 1) seen.push((await ask(port, root, 'localhost')).instance);
  expect([...new Set(seen)].sort()).toEqual(['1', '2']);
  await Promise.all([end(1), end(2)]);
  await expect(ask(port, root, 'localhost')).rejects.toThrow(/hang up|ECONNRESET|disconnected/);
});

test('doorway: an orderly restart fails no request', async () => {
  const { pool, root } = await startPool('restarts');
  const port = await openDoorway([pool]);
  let restarted = false;
  const restarting = pool.restart().finally(() => (restarted = true));
  const seen: string[] = [];
  const asking = Array.from({ length: 4 }, async () => {
    while (!restarted) seen.push((await ask(port, root, 'localhost')).instance);
  });
  await Promise.all([restarting, ...asking]);
  expect([...new Set(seen)].sort()).toEqual(['0', '1', '2']);
});

test('doorway: an instance that hangs blocks nobody but those that it was given', async () => {
  const { pool, root } = await startPool('hangs');
  const port = await openDoorway([pool]);
  pool.instance(0)?.pause();
  // The first handle fits into the channel and waits in it; the second finds the channel taken and moves on.
  const stuck = ask(port, root, 'localhost').catch(() => undefined);
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => ask(port, root, 'localhost')).map(outcome),
  );
  expect(answers.filter((answer) => answer === 'answered').length).toBeGreaterThanOrEqual(7);
  pool.instance(0)?.resume();
  await stuck;

  function outcome(answer: Promise<Answer>): Promise<string> {
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('late'), 5_000).unref());
    return Promise.race([answer.then(() => 'answered'), late]);
  }
});

test('doorway: a connection given to an instance that dies before it takes it ends with the instance', async () => {
  const { pool, root } = await startPool('untaken');
  const port = await openDoorway([pool]);
  const first = pool.instance(0);
  first?.pause();
  const handed = jest.spyOn(first as NonNullable<typeof first>, 'hand');
  const asked = ask(port, root, 'localhost').then(
    () => 'answered',
    () => 'closed',
  );
  while (handed.mock.results.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await handed.mock.results[0]?.value;
  first?.kill();
  expect(await asked).toBe('closed');
});

test.each([
  ['is not TLS', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  [
    'never ends its hello',
    Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff]), Buffer.alloc(100)]),
  ],
])('doorway: a client that %s is closed', async (_name, bytes) => {
  const takes = jest.fn(() => Promise.resolve(true));
  const port = await openDoorway([{ name: 'dev', candidates: () => [{ hand: takes }] }]);
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  await closed(socket);
  expect(takes).not.toHaveBeenCalled();
});

test('doorway: a client that says nothing is closed in time', async () => {
  const port = await openDoorway([{ name: 'dev', candidates: () => [] }], { helloMs: 20, waitingMax: 10 });
  await closed(connect(port, '127.0.0.1'));
});

test('doorway: with too many silent clients, the oldest makes room', async () => {
  const port = await openDoorway([{ name: 'dev', candidates: () => [] }], { helloMs: 60_000, waitingMax: 2 });
  const [first, ...others] = await Promise.all(
    [1, 2].map(async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    }),
  );
  const third = connect(port, '127.0.0.1');
  const sockets = [...others, third];
  if (first) sockets.push(first);
  await Promise.race(sockets.map(closed));
  expect(sockets.filter((socket) => socket.destroyed)).toHaveLength(1);
  for (const socket of sockets) socket.destroy();
});

test('doorway: before it is opened, connections are refused', async () => {
  const doorway = new Doorway(DOMAIN);
  doorways.push(doorway);
  await closed(connect(await doorway.listen(0), '127.0.0.1'));
});

test('doorway: a client that leaves in the middle of its hello does no harm', async () => {
  const { pool, root } = await startPool('leaves');
  const port = await openDoorway([pool]);
  const hello = await helloOf({ servername: 'localhost' });
  for (const cut of [1, 100, hello.length]) {
    const socket = connect(port, '127.0.0.1');
    socket.write(hello.subarray(0, cut));
    await once(socket, 'connect');
    socket.resetAndDestroy();
  }
  expect((await ask(port, root, 'localhost', 'still here')).body.toString()).toBe('still here');
});
