// A plain client of a real fabric's resource manager, and of the data plane of pools that were made through it.
import { readFileSync } from 'node:fs';
import { Client, TestPool, text, until } from './pool.js';
import type { Answer } from './pool.js';

export const HSMS = '/resourceGroups/trivet/providers/Microsoft.KeyVault/managedHSMs';
export const DELETED = '/providers/Microsoft.KeyVault/locations/local/deletedManagedHSMs';
/** Three instances are founded, on a machine that does other things too. */
const PATIENCE_MS = 120_000;

export class Arm {
  constructor(
    readonly pool: TestPool,
    readonly client: Client,
  ) {}

  /** As the administrator. */
  static async of(pool: TestPool): Promise<Arm> {
    return new Arm(pool, await pool.control());
  }

  /** `path` is below the subscription. */
  ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const version = `${path.includes('?') ? '&' : '?'}api-version=2025-05-01`;
    return this.client.call(
      method,
      `/subscriptions/${this.pool.ready.subscriptionId}${path}${version}`,
      body,
    );
  }

  /** Waits for what a 202 has begun; gives the last answer. */
  async ended(begun: Answer): Promise<Answer> {
    expect([begun.status, begun.text]).toEqual([202, '']);
    const { pathname, search } = new URL(String(begun.headers['location']));
    let last = begun;
    await until(
      'the operation has ended',
      async () => {
        last = await this.client.call('GET', `${pathname}${search}`);
        return last.status !== 202;
      },
      PATIENCE_MS,
    );
    return last;
  }

  /** Creates an HSM and waits for it. */
  async create(name: string, properties: Record<string, unknown> = {}): Promise<Answer> {
    const { tenantId } = this.pool.ready;
    const all = { tenantId, initialAdminObjectIds: [this.pool.admin.objectId], ...properties };
    return this.ended(await this.ask('PUT', `${HSMS}/${name}`, { location: 'local', properties: all }));
  }

  async delete(name: string): Promise<void> {
    expect((await this.ended(await this.ask('DELETE', `${HSMS}/${name}`))).status).toBe(200);
  }

  async recover(name: string): Promise<void> {
    const body = { location: 'local', properties: { createMode: 'recover' } };
    expect((await this.ended(await this.ask('PUT', `${HSMS}/${name}`, body))).status).toBe(200);
  }

  async purge(name: string): Promise<void> {
    expect((await this.ended(await this.ask('POST', `${DELETED}/${name}/purge`))).status).toBe(200);
  }

  /** The data plane of a pool, as the administrator unless another token is given. */
  async dataClient(name: string, token?: string): Promise<Client> {
    const { port } = this.pool.uri;
    return new Client({
      host: `${name}.managedhsm.localhost`,
      port: Number(port),
      // What clients trust is another file after each pool.
      ca: readFileSync(this.pool.ready.caFile, 'utf8'),
      token: token ?? (await this.pool.token()),
    });
  }
}

/** Where the data plane of a pool says that it is. */
export function hsmUri({ body }: Answer): string {
  return text(body, 'properties', 'hsmUri');
}
