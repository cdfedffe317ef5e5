// The three instances of a pool in use started again, one after another, without a failed request.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { at, ConnectionLost, TestPool, type Client } from './pool.js';

let pool: TestPool;
beforeAll(async () => {
  pool = await TestPool.start();
});
afterAll(() => pool.remove());

/** Writes and reads over kept connections until told to stop; gives what was not answered with success. */
async function use(
  client: Client,
  name: string,
  goesOn: () => boolean,
): Promise<{ asked: number; wrong: string[] }> {
  const wrong: string[] = [];
  let asked = 0;
  while (goesOn()) {
    for (const [method, path, body] of [
      // A key of its own for each: one takes a hundred versions.
      ['POST', `/keys/${name}-${asked}/create`, { kty: 'EC' }],
      ['GET', `/keys/${name}-${asked}`, undefined],
    ] as const) {
      asked += 1;
      try {
        const { status, text } = await client.call(method, path, body);
        if (status !== 200) wrong.push(`${method} ${status} ${text}`);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        wrong.push(`${method} ${error.message}`);
      }
    }
  }
  return { asked, wrong };
}

it('an orderly restart of all three fails no request, write or read', async () => {
  const before = pool.instancePids;
  let restarted = false;
  const users = await Promise.all([0, 1, 2].map(() => pool.client({ keepAlive: true })));
  const used = users.map((client, place) => use(client, `restart-${place}`, () => !restarted));
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[pool.main, 'pool', 'restart', '--json', '--data-dir', pool.directory],
  ]).finally(() => (restarted = true));
  const outcomes = await Promise.all(used);
  expect(outcomes.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(outcomes.every(({ asked }) => asked > 10)).toBe(true);
  const after = at(JSON.parse(stdout), 'instances') as readonly {
    readonly pid: number;
    readonly inSync: boolean;
  }[];
  expect(after.every(({ pid, inSync }) => inSync && !before.includes(pid))).toBe(true);
  users.forEach((client) => client.close());
});
