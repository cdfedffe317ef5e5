// `trivet slot` and `trivet bench`, and what the control port tells of figures.
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resultOf } from '../../src/cli/bench/operations.js';
import type { FabricFigures } from '../../src/fabric/control/management.js';
import { TestPool } from '../scenarios/pool.js';
import { Commands } from './commands.js';

const home = mkdtempSync(join(tmpdir(), 'trivet-tools-'));
const commands = new Commands();
let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
});

afterAll(async () => {
  commands.end();
  await pool.remove();
  rmSync(home, { recursive: true, force: true });
});

/** What lies in a directory, and when each file was written. */
function stateOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile())
    .map(
      (path) =>
        `${path} ${statSync(path).mtimeMs} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`,
    )
    .sort();
}

interface Seen {
  readonly tokens: readonly {
    readonly label: string;
    readonly objects: readonly {
      readonly label: string;
      readonly flags: Readonly<Record<string, boolean>>;
    }[];
  }[];
}

test('slot: graphene sees the keys of a partition and their flags, and the token stays as it was', async () => {
  const partition = join(pool.directory, 'pools/dev/instances/1/partition');
  const golden = stateOf(join(partition, 'golden'));
  const { status, out, err } = await commands.run(
    ['slot', '--partition', '1', '--json', '--data-dir', pool.directory],
    '',
    { TMPDIR: home },
  );
  expect([status, err]).toEqual([0, '']);
  const [token] = (JSON.parse(out) as Seen).tokens;
  const flags = new Map(token?.objects.map((object) => [object.label, object.flags]));
  expect([token?.label, [...flags.keys()]]).toEqual([
    'trivet',
    ['data-wrapping-key', 'partition-key', 'store-key'],
  ]);
  for (const own of flags.values()) {
    expect(own).toMatchObject({
      private: true,
      sensitive: true,
      modifiable: false,
      decrypt: false,
    });
  }
  // The one key that may leave, and to whom.
  expect(flags.get('data-wrapping-key')).toMatchObject({
    extractable: true,
    wrapWithTrusted: true,
    encrypt: false,
  });
  expect(flags.get('store-key')).toMatchObject({ extractable: false, neverExtractable: true });
  expect(stateOf(join(partition, 'golden'))).toEqual(golden);
  expect(readdirSync(home)).toEqual([]);
});

test('slot: a copy is looked at too, with its PIN and not without', async () => {
  const copy = join(home, 'copy');
  cpSync(join(pool.directory, 'pools/dev/instances/0/partition'), copy, { recursive: true });
  const { out } = await commands.run(['slot', '--directory', copy]);
  expect(out).toMatch(
    /^ {2}data-wrapping-key {2}SECRET_KEY AES 256 bits\n {4}is or may .*wrapped by trusted keys only/m,
  );
  const { user } = JSON.parse(readFileSync(join(copy, 'pins.json'), 'utf8')) as { user: string };
  expect(out).not.toContain(user);
  rmSync(join(copy, 'pins.json'));
  const without = await commands.run(['slot', '--directory', copy]);
  expect([without.status, without.err]).toEqual([1, expect.stringMatching(/pins\.json cannot be read/)]);
  expect((await commands.run(['slot', '--directory', home])).err).toMatch(/there is no token in/);
});

test('bench: every operation is measured, and the keys that it took are gone', async () => {
  const { status, out, err } = await commands.run([
    ...['bench', '--seconds', '0.1', '--clients', '2', '--json', '--data-dir', pool.directory],
  ]);
  expect([status, err]).toEqual([0, '']);
  const { operations } = JSON.parse(out) as { operations: ReturnType<typeof resultOf>[] };
  expect(operations.map(({ operation }) => operation)).toEqual([
    'get',
    'ES256',
    'PS256',
    'A256GCM',
    'verify',
    'create',
  ]);
  expect(
    operations.filter(
      ({ perSecond, p50, p99, failed }) => !(perSecond > 0 && p50 > 0 && p99 >= p50 && failed === 0),
    ),
  ).toEqual([]);
  const client = await pool.client();
  for (const path of ['/keys', '/deletedkeys']) {
    expect((await client.call('GET', path)).body).toEqual({ value: [] });
  }
  const plain = await commands.run([
    'bench',
    '--seconds',
    '0.1',
    '--operations',
    'get',
    '--data-dir',
    pool.directory,
  ]);
  expect(plain.out).toMatch(/^pool dev, 8 clients .*\n {2}operation +a second +p50 ms +p99 ms\n {2}get +\d/);
});

test('bench: percentiles are of what was answered', () => {
  const took = Array.from({ length: 200 }, (_, index) => 200 - index);
  expect(resultOf('get', took, 3, 2)).toEqual({
    operation: 'get',
    count: 200,
    perSecond: 100,
    p50: 100,
    p99: 198,
    failed: 3,
  });
  expect(resultOf('get', [], 1, 2)).toMatchObject({ count: 0, p50: 0, p99: 0 });
});

test('figures: the control port tells administrators what the instances count', async () => {
  const client = await pool.client({
    token: await pool.token(pool.admin, `${pool.ready.controlPlane}/.default`),
  });
  const control = Object.assign(client.options, {
    host: 'localhost',
    port: Number(new URL(pool.ready.controlPlane).port),
  });
  const { status, body } = await client.send('GET', '/trivet/figures');
  expect([control.host, status]).toEqual(['localhost', 200]);
  const { pools } = body as FabricFigures;
  expect(pools.map(({ name, instances }) => [name, instances.map(({ instance }) => instance)])).toEqual([
    ['dev', [0, 1, 2]],
  ]);
  expect(pools[0]?.instances[0]?.figures.committed).toBeGreaterThan(0);
  expect((await client.send('GET', '/trivet/figures', undefined, { Authorization: '' })).status).toBe(401);
});
