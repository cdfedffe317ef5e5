// The three members of a pool as processes: what they are, what one's end means, how all of them leave.
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ConnectionLost, TestPool, Up, at, isAlive, processesIn, text, until } from './pool.js';
import type { Answer, Client } from './pool.js';
import { makeKeys, useKey } from './use.js';
import type { Made } from './use.js';
import { codeOf } from './witness.js';

let pool: TestPool;
let keys: Made[];

beforeAll(async () => {
  pool = await TestPool.start();
  keys = await makeKeys(await pool.client({ keepAlive: true }));
});
afterAll(() => pool.remove());

const instanceHome = (id: number): string => join(pool.directory, 'pools/dev/instances', String(id));

function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return []; // closed meanwhile
    }
  });
}

function tokensOf(id: number): string[] {
  const partition = join(instanceHome(id), 'partition');
  return readdirSync(partition, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('/token.object'))
    .map((file) => join(partition, file));
}

// Without the key's URL, whose port differs from start to start.
function publicPart(jwk: unknown): unknown[] {
  return ['kty', 'n', 'e', 'crv', 'x', 'y'].map((member) => at(jwk, member));
}

/** Sends and says how it ended: a status, or the connection that was lost. */
async function outcome(sent: Promise<Answer>): Promise<Answer | ConnectionLost> {
  try {
    return await sent;
  } catch (error) {
    if (error instanceof ConnectionLost) return error;
    throw error;
  }
}

it('three processes run, each in its own directory, with its own token, store and lock', () => {
  const pids = pool.instancePids;
  expect(new Set(pids).size).toBe(3);
  expect(processesIn(pool.directory).sort()).toEqual([...pids].sort());
  const labels = pids.map((pid, id) => {
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(instanceHome(id));
    const inside = openFiles(pid).filter((file) => file.startsWith(pool.directory));
    expect(inside).toContain(join(instanceHome(id), 'lock'));
    expect(inside).toContain(join(instanceHome(id), 'store/state.sqlite'));
    expect(inside.filter((file) => !file.startsWith(`${instanceHome(id)}/`))).toEqual([]);
    expect(readFileSync(`/proc/${pid}/maps`, 'latin1')).toMatch(/libsofthsm2\.so/);
    // The golden copy, and the one that is worked on.
    const tokens = tokensOf(id);
    expect(tokens).toHaveLength(2);
    return readFileSync(tokens.find((file) => file.includes('/golden/')) ?? '').toString('hex');
  });
  expect(new Set(labels).size).toBe(3);
  expect(openFiles(pool.up.pid).filter((file) => file.includes('/instances/'))).toEqual([]);
});

describe.each([0, 1, 2])('instance %i killed', (victim) => {
  let client: Client;
  let survivors: Client[];
  let answers: Promise<Answer | ConnectionLost>[];

  beforeAll(async () => {
    client = await pool.client(); // a new connection for each request
    const clients = await pool.clientOfEach();
    survivors = clients.filter((_, id) => id !== victim);
    pool.kill(pool.instancePids[victim] ?? -1);
    answers = keys.flatMap((key) =>
      survivors.map((survivor) => outcome(survivor.call('GET', `/keys/${key.name}`))),
    );
    // A connection that was passed to it in its last moment is lost with it; whoever comes later meets the others.
    await until('it is known to be gone', () => pool.up.output.includes(`instance ${victim} of dev is down`));
  });

  it('connections to the others go on', async () => {
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 200 });
    survivors.forEach((survivor) => survivor.close());
  });

  it('reads, lists and cryptography go on over new connections to the same URL', async () => {
    for (let turn = 0; turn < 3; turn += 1) {
      for (const key of keys) {
        expect([key.name, await useKey(client, key)]).toEqual([key.name, undefined]);
        expect(publicPart(at((await client.call('GET', `/keys/${key.name}`)).body, 'key'))).toEqual(
          publicPart(key.jwk),
        );
      }
      for (const path of ['/keys', '/keys/p-256/versions', '/deletedkeys']) {
        expect([path, (await client.call('GET', path)).status]).toEqual([path, 200]);
      }
      expect((await client.call('POST', '/rng', { count: 8 })).status).toBe(200);
    }
  });

  it.each([
    ['create', 'POST', '/keys/new-$/create', { kty: 'EC' }],
    ['new version', 'POST', '/keys/new-$/create', { kty: 'EC' }],
    ['import', 'PUT', '/keys/in-$', { key: { kty: 'oct', k: 'AAECAwQFBgcICQoLDA0ODw' } }],
    ['update', 'PATCH', '/keys/p-384', { tags: { changed: 'by $' } }],
    ['delete', 'DELETE', '/keys/new-$', undefined],
  ])('%s goes on', async (_what, method, path, body) => {
    const filled = JSON.parse(JSON.stringify([path, body ?? null]).replaceAll('$', String(victim))) as [
      string,
      unknown,
    ];
    const answer = await client.call(method, filled[0], filled[1] ?? undefined);
    expect([answer.status, codeOf(answer.body)]).toEqual([200, undefined]);
  });

  it('it comes back by itself, in sync, and shows what was written meanwhile', async () => {
    await pool.inSync();
    const shown = JSON.parse(pool.command('status', '--json').out) as unknown;
    expect(at(shown, 'pools', 0, 'instances', victim)).toMatchObject({ inSync: true });
    const back = (await pool.clientOfEach())[victim];
    if (!back) throw new Error('a client of each instance');
    expect(at((await back.call('GET', '/keys/p-384')).body, 'tags')).toEqual({ changed: `by ${victim}` });
    expect((await back.call('GET', `/keys/new-${victim}`)).status).toBe(404);
    for (const key of keys) expect([key.name, await useKey(back, key)]).toEqual([key.name, undefined]);
    back.close();
  });
});

describe('a change in flight', () => {
  // Stopped first, the member cannot confirm: the change is on the other disks and waits for it when it is killed.
  it.each([0, 1, 2])('is answered when instance %i, whose word it waits for, is killed', async (victim) => {
    const clients = await pool.clientOfEach();
    const others = await pool.clientOfEach();
    const name = `in-flight-${victim}`;
    const pid = pool.instancePids[victim] ?? -1;
    pool.kill(pid, 'SIGSTOP');
    const alive = [0, 1, 2].filter((id) => id !== victim);
    const writes = alive.map((id, place) =>
      outcome((clients[id] as Client).call('POST', `/keys/${name}-${place}/create`, { kty: 'EC' })),
    );
    // Later requests to the same members are through: so the writes are on their way.
    for (let turn = 0; turn < 10; turn += 1) {
      for (const id of alive) {
        expect((await (others[id] as Client).call('GET', '/keys/p-256')).status).toBe(200);
      }
    }
    pool.kill(pid);
    const answered = await Promise.all(writes);
    for (const answer of answered) {
      if (answer instanceof ConnectionLost) throw answer;
      if (answer.status === 200) continue;
      expect(answer).toMatchObject({ status: 503 });
      const words = text(answer.body, 'error', 'message');
      // Either nothing happened and asking again is right, or nobody knows and it is not.
      const unknown = /outcome unknown/i.test(words);
      expect([words, answer.headers['retry-after'] === undefined]).toEqual([words, unknown]);
    }
    // What stands elsewhere is not held up by it.
    const probe = await pool.client();
    for (const key of keys) expect([key.name, await useKey(probe, key)]).toEqual([key.name, undefined]);
    [...clients, ...others].forEach((client) => client.close());
    await pool.inSync();
    const all = await pool.clientOfEach();
    for (const [place, answer] of answered.entries()) {
      // Decided now, one way or the other, and the same everywhere.
      const seen = new Set<number>();
      for (const each of all) seen.add((await each.call('GET', `/keys/${name}-${place}`)).status);
      const stands = !(answer instanceof ConnectionLost) && answer.status === 200;
      expect(stands ? [[200]] : [[200], [404]]).toContainEqual([...seen]);
    }
    all.forEach((each) => each.close());
    const after = await pool.client();
    expect((await after.call('POST', `/keys/${name}-0/create`, { kty: 'EC' })).status).toBe(200);
  });
});

describe('new connections', () => {
  it('handed to a member that is stopped, then killed, they end or are answered by another', async () => {
    const token = await pool.token();
    const pid = pool.instancePids[1] ?? -1;
    pool.kill(pid, 'SIGSTOP');
    const asked = Array.from({ length: 12 }, async () =>
      outcome((await pool.client({ token })).call('GET', '/keys/p-256')),
    );
    // Two of three came to members that run.
    const answered = await Promise.any(asked);
    expect(answered).toMatchObject({ status: 200 });
    pool.kill(pid);
    for (const answer of await Promise.all(asked)) {
      if (!(answer instanceof ConnectionLost)) expect(answer.status).toBe(200);
    }
    const after = await pool.client({ token });
    for (let turn = 0; turn < 6; turn += 1) {
      expect((await after.call('GET', '/keys/p-256')).status).toBe(200);
    }
    await pool.inSync();
  });
});

describe('leaving', () => {
  it('a second fabric on the same directory refuses and harms nothing', async () => {
    const second = new Up(pool.directory, join(pool.home, 'second.json'));
    expect(await second.exited).toEqual({ code: 1, signal: null });
    expect(second.output).toContain(`(process ${pool.up.pid})`);
    expect(existsSync(join(pool.home, 'second.json'))).toBe(false);
    expect(pool.instancePids.every(isAlive)).toBe(true);
    expect((await (await pool.client()).call('GET', '/keys/p-256')).status).toBe(200);
  });

  it('SIGTERM lets running requests finish, also those that change something', async () => {
    const clients = await pool.clientOfEach();
    const made = clients.flatMap((client, id) => [
      outcome(client.call('POST', `/keys/last-${id}/create`, { kty: 'RSA', key_size: 3072 })),
    ]);
    const idle = await pool.connect(); // asks nothing, and must not keep the pool
    const probe = await pool.client();
    expect((await probe.call('GET', '/keys/p-256')).status).toBe(200);
    const before = pool.up.output.length;
    await pool.stop();
    const jwks = (await Promise.all(made)).map((answer) => {
      expect(answer).toMatchObject({ status: 200 });
      return answer instanceof ConnectionLost ? undefined : at(answer.body, 'key');
    });
    idle.destroy();
    clients.forEach((client) => client.close());
    expect(pool.up.output.slice(before)).not.toMatch(/"level":(50|60)/);
    await pool.start();
    const after = await pool.client();
    for (const [id, jwk] of jwks.entries()) {
      expect(await useKey(after, { name: `last-${id}`, jwk })).toBeUndefined();
    }
  });

  it('SIGKILL of the fabric leaves no instance behind', async () => {
    const pids = pool.instancePids;
    expect(pids.every(isAlive)).toBe(true);
    pool.kill(pool.up.pid);
    await pool.allGone();
    expect(pids.filter(isAlive)).toEqual([]);
    await pool.start();
    const client = await pool.client();
    for (const key of keys) expect([key.name, await useKey(client, key)]).toEqual([key.name, undefined]);
  });
});
