// Measures the pool that runs, from this machine, as a customer with several connections would find it.
import { randomBytes } from 'node:crypto';
import { connectPoolOften, member, print, type PoolClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { Plane } from '../plane.js';
import { withProgress } from '../progress.js';
import { table } from '../status/view.js';
import { resultOf, type BenchOptions, type Operation, type Result } from './operations.js';

const VERSION = 'api-version=7.6';
const TICK_MS = 100;

/** One request; gives its status. */
type Ask = (number: number) => Promise<number>;

/** The keys that were made, so that they can be taken away. */
class Keys {
  readonly #prefix = `bench-${randomBytes(6).toString('hex')}`;
  readonly #names: string[] = [];

  constructor(readonly plane: Plane) {}

  name(suffix: string): string {
    const name = `${this.#prefix}-${suffix}`;
    this.#names.push(name);
    return name;
  }

  async make(suffix: string, body: unknown): Promise<string> {
    const name = this.name(suffix);
    await this.plane.call('POST', `/keys/${name}/create`, body);
    return `/keys/${name}`;
  }

  /** Where nothing is purged before its time, they stay deleted. */
  async remove(): Promise<void> {
    const { pool } = this.plane;
    for (const name of this.#names) {
      await pool.ask('DELETE', `/keys/${name}?${VERSION}`);
      await pool.ask('DELETE', `/deletedkeys/${name}?${VERSION}`);
    }
  }
}

export async function bench(options: BenchOptions): Promise<void> {
  const { operations, clients, seconds } = options;
  const pool = await connectPoolOften(options.dataDir, options.pool, clients);
  const keys = new Keys(new Plane(pool));
  const results: Result[] = [];
  try {
    const ticks = Math.ceil((operations.length * seconds * 1_000) / TICK_MS);
    await withProgress('measuring', ticks, async (advance) => {
      for (const operation of operations) {
        const ask = await prepare(operation, keys, pool);
        const ticking = setInterval(() => advance(operation), TICK_MS);
        results.push(await measure(operation, ask, clients, seconds).finally(() => clearInterval(ticking)));
      }
    });
  } finally {
    await withProgress('removing the keys', undefined, () => keys.remove());
    pool.close();
  }
  if (options.json) print(JSON.stringify({ pool: pool.name, clients, seconds, operations: results }));
  else print(inWords(pool.name, options, results));
  const [broken] = results.filter(({ count }) => count === 0);
  if (broken) throw new CommandError(`nothing of ${broken.operation} was answered; see trivet status`);
}

async function prepare(operation: Operation, keys: Keys, pool: PoolClient): Promise<Ask> {
  const post =
    (path: string, body: unknown): Ask =>
    async () =>
      (await pool.ask('POST', `${path}?${VERSION}`, body)).status;
  const digest = randomBytes(32).toString('base64url');
  switch (operation) {
    case 'get': {
      const path = await keys.make('get', { kty: 'EC' });
      return async () => (await pool.ask('GET', `${path}?${VERSION}`)).status;
    }
    case 'ES256':
      return post(`${await keys.make('es256', { kty: 'EC' })}/sign`, { alg: 'ES256', value: digest });
    case 'PS256':
      return post(`${await keys.make('ps256', { kty: 'RSA' })}/sign`, { alg: 'PS256', value: digest });
    case 'A256GCM': {
      const path = await keys.make('a256gcm', { kty: 'oct' });
      return post(`${path}/encrypt`, { alg: 'A256GCM', value: digest });
    }
    case 'verify': {
      const path = await keys.make('verify', { kty: 'EC' });
      const signed = await keys.plane.call('POST', `${path}/sign`, { alg: 'ES256', value: digest });
      return post(`${path}/verify`, { alg: 'ES256', digest, value: member(signed, 'value') });
    }
    case 'create':
      return async (number) => post(`/keys/${keys.name(String(number))}/create`, { kty: 'EC' })(number);
  }
}

async function measure(
  operation: Operation,
  ask: Ask,
  clients: number,
  seconds: number,
): Promise<Result> {
  const tookMs: number[] = [];
  let failed = 0;
  let number = 0;
  const begin = performance.now();
  const end = begin + seconds * 1_000;
  const client = async (): Promise<void> => {
    do {
      const asked = performance.now();
      const status = await ask((number += 1)).catch((error: unknown) => {
        if (error instanceof CommandError) return 0;
        throw error;
      });
      if (status >= 200 && status < 300) tookMs.push(performance.now() - asked);
      else failed += 1;
    } while (performance.now() < end);
  };
  await Promise.all(Array.from({ length: clients }, client));
  return resultOf(operation, tookMs, failed, (performance.now() - begin) / 1_000);
}

function inWords(pool: string, { clients, seconds }: BenchOptions, results: readonly Result[]): string {
  const rows = results.map(({ operation, perSecond, p50, p99, failed }) => [
    operation,
    perSecond.toFixed(1),
    p50.toFixed(2),
    p99.toFixed(2),
    failed === 0 ? '' : `${failed} failed`,
  ]);
  return [
    `pool ${pool}, ${clients} clients on this machine, ${seconds} s each`,
    ...table([['operation', 'a second', 'p50 ms', 'p99 ms', ''], ...rows]),
  ].join('\n');
}
