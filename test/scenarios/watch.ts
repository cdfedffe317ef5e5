// Watches a running pool as its owner does, over the control port: who is in sync, why somebody is not, whether all
// hold the same. Also causes the faults that can be asked for.
import type { InstanceStatus, PoolDigest, PoolStatus } from '../../src/fabric/pools/pool.js';
import { at, Client, ConnectionLost, isAlive, until, type Answer, type TestPool } from './pool.js';

const POLL_MS = 60;
/** Nothing that heals takes longer, on a machine that is busy with other things. */
const HEALING_MS = 60_000;

export class Watch {
  /** Reasons that the status has named, by instance, in the order in which they came; each once in a row. */
  readonly reasons = new Map<number, string[]>();
  readonly #pool: TestPool;
  /** For the status, which is asked for many times in a second. */
  readonly #client: Client;
  readonly #orders: Client;
  readonly #timer: NodeJS.Timeout;
  #asking = false;

  private constructor(pool: TestPool, orders: Client) {
    this.#pool = pool;
    this.#client = new Client({ ...orders.options, keepAlive: true });
    this.#orders = orders;
    // Between the end of an instance and its return lies a start, which takes many times as long as this.
    this.#timer = setInterval(() => {
      if (this.#asking) return;
      this.#asking = true;
      this.status().then(
        () => (this.#asking = false),
        () => (this.#asking = false), // the pool is being stopped
      );
    }, POLL_MS);
  }

  /** Of the present run of the fabric. */
  static async of(pool: TestPool): Promise<Watch> {
    return new Watch(pool, await pool.control());
  }

  /** Before the pool is stopped. */
  end(): void {
    clearInterval(this.#timer);
    this.#client.close();
  }

  async status(): Promise<PoolStatus> {
    const { body } = await this.#ask();
    const pool = at(body, 'pools', 0) as PoolStatus;
    for (const { id, reason } of pool.instances) {
      const known = this.reasons.get(id) ?? [];
      if (reason !== undefined && known.at(-1) !== reason) this.reasons.set(id, [...known, reason]);
    }
    return pool;
  }

  // A connection that was idle for long may be closed by the fabric just when it is used again.
  async #ask(): Promise<Answer> {
    try {
      return await this.#client.send('GET', '/trivet/status');
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      return this.#orders.send('GET', '/trivet/status');
    }
  }

  async instance(id: number): Promise<InstanceStatus> {
    const found = (await this.status()).instances[id];
    if (!found) throw new Error(`no instance ${id}`);
    return found;
  }

  async primary(): Promise<number> {
    let primary: number | undefined;
    await until('there is a primary', async () => {
      primary = (await this.status()).instances.find(({ role }) => role === 'primary')?.id;
      return primary !== undefined;
    });
    return primary ?? -1;
  }

  /** Waits until something holds of an instance. */
  async untilInstance(id: number, what: string, holds: (status: InstanceStatus) => boolean): Promise<void> {
    let last: InstanceStatus | undefined;
    try {
      await until(
        `instance ${id} ${what}`,
        async () => {
          last = await this.instance(id);
          return holds(last) || pause();
        },
        HEALING_MS,
      );
    } catch (error) {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}; ${this.#pool.up.output.slice(-6_000)}`, {
        cause: error,
      });
    }
  }

  /** All three live, serve and are in sync. */
  async isWhole(): Promise<boolean> {
    const { instances } = await this.status();
    return instances.every(({ pid, inSync, uri }) => pid !== null && isAlive(pid) && inSync && uri !== null);
  }

  /** Waits until all three are in sync, `id` in another process than `pid`. */
  async untilHealed(id: number, pid: number | null): Promise<void> {
    await this.untilInstance(id, 'is back in sync', (status) => status.inSync && status.pid !== pid);
    for (const other of [0, 1, 2]) await this.untilInstance(other, 'is in sync', ({ inSync }) => inSync);
  }

  async digest(): Promise<PoolDigest> {
    const { status, text, body } = await this.#orders.send('POST', '/trivet/pools/dev/digest');
    if (status !== 200) throw new Error(`digest: ${status} ${text}`);
    return body as PoolDigest;
  }

  /** What `trivet partition` does. */
  async inflict(fault: 'kill' | 'pause' | 'wipe', id: number): Promise<void> {
    const { status, text } = await this.#orders.send('POST', `/trivet/pools/dev/partitions/${id}/${fault}`);
    if (status !== 200) throw new Error(`${fault} ${id}: ${status} ${text}`);
  }

  /** Clients of the three, each at the instance's own address. */
  async clientsOfEach(token: string): Promise<Client[]> {
    const { ca } = this.#pool.address();
    return (await this.status()).instances.map(({ id, uri }) => {
      if (uri === null) throw new Error(`instance ${id} does not serve`);
      const { hostname, port } = new URL(uri);
      return new Client({ host: hostname, port: Number(port), ca, token, keepAlive: true });
    });
  }
}

async function pause(): Promise<false> {
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  return false;
}
