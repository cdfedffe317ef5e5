// What the fabric says of the instances of a pool, now: who lives, who takes part, where each answers.
import { readFileSync } from 'node:fs';
import { at, Client, isAlive, type TestPool } from './pool.js';

export interface Instance {
  readonly pid: number | null;
  readonly role: string;
  readonly inSync: boolean;
  /** Where this one alone answers; null while it does not. */
  readonly uri: string | null;
  readonly reason: string | null;
}

export class Watch {
  private constructor(
    private readonly pool: TestPool,
    private readonly control: Client,
    private readonly ca: string,
  ) {}

  /** Of the present run of the fabric. */
  static async of(pool: TestPool): Promise<Watch> {
    const { controlPlane, caFile } = pool.ready;
    const ca = readFileSync(caFile, 'utf8');
    const token = await pool.token(pool.admin, `${controlPlane}/.default`);
    const port = Number(new URL(controlPlane).port);
    return new Watch(pool, new Client({ host: 'localhost', port, ca, token, keepAlive: true }), ca);
  }

  /** In the order of their numbers. */
  async instances(): Promise<Instance[]> {
    const { status, body, text } = await this.control.call('GET', '/trivet/status');
    if (status !== 200) throw new Error(`the fabric does not say how it is: ${status} ${text}`);
    return (at(body, 'pools', 0, 'instances') as Partial<Instance>[]).map((one) => ({
      pid: one.pid ?? null,
      role: one.role ?? '',
      inSync: one.inSync ?? false,
      uri: one.uri ?? null,
      reason: one.reason ?? null,
    }));
  }

  /** All three live, serve and are in sync. */
  async isWhole(): Promise<boolean> {
    const all = await this.instances();
    return all.every(({ pid, inSync, uri }) => pid !== null && isAlive(pid) && inSync && uri !== null);
  }

  /** Clients of each instance over its own address; with the administrator's token. */
  async clients(): Promise<Client[]> {
    const token = await this.pool.token();
    return (await this.instances()).map(({ uri }, instance) => {
      if (uri === null) throw new Error(`instance ${instance} does not serve`);
      const { hostname, port } = new URL(uri);
      return new Client({ host: hostname, port: Number(port), ca: this.ca, token, keepAlive: true });
    });
  }

  close(): void {
    this.control.close();
  }
}
