// HSMs on the control plane of a fabric over fake instances, as a client of ARM makes and ends them.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, StartedFabric } from './started-fabric.js';

const VERSION = 'api-version=2024-11-01';
const LOOK_MS = 20;

export class Arm {
  constructor(readonly started: StartedFabric) {}

  /** The path of an HSM in the group that every installation begins with. */
  path(name: string): string {
    return `${this.#group}/providers/Microsoft.KeyVault/managedHSMs/${name}`;
  }

  get #subscription(): string {
    return `/subscriptions/${this.started.fabric.status().subscriptionId}`;
  }

  get #group(): string {
    return `${this.#subscription}/resourceGroups/trivet`;
  }

  async ask(method: string, path: string, body?: unknown, token?: string): Promise<Answer> {
    return this.started.ask(`${path}${path.includes('?') ? '&' : '?'}${VERSION}`, {
      method,
      headers: {
        Authorization: `Bearer ${token ?? (await this.started.token())}`,
        'Content-Type': 'application/json',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** Makes an HSM, or changes one; resolves when that has ended. */
  async put(name: string, properties: object = {}): Promise<void> {
    const { tenantId } = this.started.fabric.status();
    const body = {
      location: 'local',
      sku: { family: 'B', name: 'Standard_B1' },
      properties: {
        tenantId,
        initialAdminObjectIds: [this.started.admin.objectId],
        softDeleteRetentionInDays: 7,
        ...properties,
      },
    };
    await this.#done(await this.ask('PUT', this.path(name), body));
  }

  async patch(name: string, properties: object): Promise<void> {
    await this.#done(await this.ask('PATCH', this.path(name), { properties }));
  }

  async delete(name: string): Promise<void> {
    await this.#done(await this.ask('DELETE', this.path(name)));
  }

  async deleteGroup(): Promise<void> {
    await this.#done(await this.ask('DELETE', this.#group));
  }

  async purge(name: string): Promise<void> {
    const path = `${this.#subscription}/providers/Microsoft.KeyVault/locations/local/deletedManagedHSMs/${name}/purge`;
    await this.#done(await this.ask('POST', path));
  }

  async #done(answer: Answer): Promise<void> {
    let now = answer;
    while (now.status === 202 && now.headers.location !== undefined) {
      const { pathname, search } = new URL(now.headers.location);
      await sleep(LOOK_MS);
      now = await this.started.ask(`${pathname}${search}`, {
        headers: { Authorization: `Bearer ${await this.started.token()}` },
      });
    }
    if (now.status >= 300) throw new Error(`${now.status} ${now.text}`);
  }
}
