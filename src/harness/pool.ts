// A running pool in the hands of a test: who asks it, what is done to it, and what it has recorded.
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultRule, FaultSettings } from '../values/faults.js';
import { recordsOf, type AuditRecord } from './audit.js';
import { HarnessError } from './error.js';
import { ask, poolAgent, refusal, textIn, type Answer } from './https.js';
import { Principal, type ClientOptions, type Entrance } from './principal.js';
import type { PartitionStatus, PoolStatus, Ready, Up } from './up.js';

export interface RoleWish {
  /** The name of a built-in or custom role, such as `Managed HSM Crypto User`. */
  readonly role: string;
  /** `/`, `/keys` or `/keys/{name}`; `/` when absent. */
  readonly scope?: string;
}

export interface PrincipalWish {
  readonly name: string;
  /** None when absent. */
  readonly roles?: readonly RoleWish[];
}

export interface RequestOptions {
  /** The administrator when absent. */
  readonly as?: Principal;
  /** The newest of the service when absent. */
  readonly apiVersion?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the clock stands at after it was moved. */
export interface Advanced {
  /** ISO 8601, whole seconds. */
  readonly time: string;
  /** Seconds ahead of the machine's clock. */
  readonly offset: number;
}

/** All rules, and the seed of their dice. */
export type FaultsShown = FaultSettings;

export interface PoolParts {
  readonly home: string;
  readonly directory: string;
  readonly ready: Ready;
  readonly up: Up;
  readonly ca: string;
  /** In force besides whatever is set. */
  readonly profile: readonly FaultRule[];
}

const API_VERSION = '7.6';
/** No answer within this is a hang. */
const PATIENCE_MS = 60_000;
const IN_SYNC_MS = 60_000;
const POLL_MS = 25;
/** Requests reach the audit log within a tenth of a second or so. */
const RECORD_MS = 10_000;
const MARK = 'trivet-harness-mark/';
const AUTHORIZATION = '/providers/Microsoft.Authorization';

export class Pool {
  /** The pool's administrator: Managed HSM Administrator, Crypto Officer and Crypto User. */
  readonly admin: Principal;
  /** For clients: PEM of the authorities of control plane and data plane, and the file that holds it. */
  readonly ca: { readonly pem: string; readonly file: string };
  /** For the constructors of the Azure SDKs. */
  readonly clientOptions: ClientOptions;
  readonly clock: { readonly advance: (duration: string) => Promise<Advanced> };
  readonly faults: Faults;
  readonly #parts: PoolParts;
  /** For the SDKs: connections stay open. */
  readonly #agent: Agent;
  /** For ourselves: none does, so that a killed partition cuts nothing. */
  readonly #ownAgent: Agent;
  readonly #entrance: Entrance;
  #moves = 0;
  #closing: Promise<void> | undefined;

  /** From {@link startPool} alone. */
  constructor(parts: PoolParts) {
    this.#parts = parts;
    const { ready, ca } = parts;
    this.ca = { pem: ca, file: ready.caFile };
    this.#agent = poolAgent(ca, true);
    this.#ownAgent = poolAgent(ca, false);
    this.clientOptions = { agent: this.#agent };
    this.#entrance = {
      controlPlane: ready.controlPlane,
      tenantId: ready.tenantId,
      agent: this.#ownAgent,
      clientOptions: this.clientOptions,
      patienceMs: PATIENCE_MS,
      moves: () => this.#moves,
    };
    const { admin } = ready;
    if (!admin) throw new HarnessError('the pool has no administrator');
    this.admin = new Principal(this.#entrance, 'admin', admin.objectId, admin.clientId, admin.clientSecret);
    this.clock = { advance: (duration) => this.#advance(duration) };
    this.faults = new Faults(parts.profile, (method, wish) =>
      this.#manage<FaultsShown>(method, `/pools/${this.name}/faults`, wish),
    );
  }

  get name(): string {
    return this.#status.name;
  }

  /** `https://{name}.managedhsm.localhost:{port}`, the `vaultUrl` of the Azure SDKs. */
  get url(): string {
    return this.#status.uri;
  }

  /** The address of the control plane and login. */
  get controlPlane(): string {
    return this.#parts.ready.controlPlane;
  }

  get tenantId(): string {
    return this.#parts.ready.tenantId;
  }

  get subscriptionId(): string {
    return this.#parts.ready.subscriptionId;
  }

  get resourceGroup(): string {
    return this.#parts.ready.resourceGroup;
  }

  /** The blob service beside the pool; undefined unless it was asked for. */
  get storage(): Ready['storage'] {
    return this.#parts.ready.storage;
  }

  /** For `trivet --data-dir`; removed by {@link close}. */
  get directory(): string {
    return this.#parts.directory;
  }

  /** What the pool's processes have printed: their logs, one JSON object a line. */
  get output(): string {
    return this.#parts.up.output;
  }

  /** Makes a principal with a secret and gives it roles. */
  async principal({ name, roles = [] }: PrincipalWish): Promise<Principal> {
    const made = await this.#manage<{ clientId: string; clientSecret: string; objectId: string }>(
      'POST',
      '/principals',
      { name },
    );
    for (const { role, scope = '/' } of roles) {
      const path = `${scope === '/' ? '' : scope}${AUTHORIZATION}/roleAssignments/${randomUUID()}`;
      const properties = { roleDefinitionId: await this.#definitionOf(role), principalId: made.objectId };
      const answer = await this.request('PUT', path, { properties });
      if (answer.status !== 201) throw refusal(`${name} cannot be given ${role} at ${scope}`, answer);
    }
    return new Principal(this.#entrance, name, made.objectId, made.clientId, made.clientSecret);
  }

  /** A partition by its number: 0, 1 or 2. */
  partition(id: number): Partition {
    if (![0, 1, 2].includes(id)) throw new HarnessError(`there is no partition ${id}; they are 0, 1 and 2`);
    return new Partition(id, {
      harm: (what) => this.#manage('POST', `/pools/${this.name}/partitions/${id}/${what}`),
      status: async () => {
        const found = (await this.status()).instances[id];
        if (!found) throw new HarnessError(`the pool says nothing of partition ${id}`);
        return found;
      },
    });
  }

  /** What the pool says of itself now. */
  async status(): Promise<PoolStatus> {
    const { pools } = await this.#manage<Ready>('GET', '/status');
    const found = pools.find(({ name }) => name === this.name);
    if (!found) throw new HarnessError(`the pool ${this.name} is not there any more`);
    return found;
  }

  /** Resolves when all three partitions take part, or those that are named. */
  async inSync(partitions: readonly number[] = [0, 1, 2], patienceMs = IN_SYNC_MS): Promise<void> {
    const end = performance.now() + patienceMs;
    for (;;) {
      const { instances } = await this.status();
      const missing = instances.filter(({ id, inSync }) => partitions.includes(id) && !inSync);
      if (missing.length === 0) return;
      if (performance.now() > end) {
        const words = missing.map(
          ({ id, role, reason }) => `partition ${id} is ${role}, ${reason ?? 'and joins'}`,
        );
        throw new HarnessError(`not in sync after ${patienceMs / 1_000} s: ${words.join('; ')}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** A call of the data plane, such as `request('POST', '/keys/k/create', { kty: 'EC-HSM' })`; gives refusals too. */
  async request(method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer> {
    return this.#ask(this.url, method, path, body, options);
  }

  /**
   * All that the audit logs of the three partitions hold, in the order of time, with all that was answered before. A
   * partition that does not serve shows what is on its disk.
   */
  async audit(): Promise<AuditRecord[]> {
    const pool = join(this.directory, 'pools', this.name);
    const { instances } = await this.status();
    const serving = instances.flatMap(({ id, uri }) => (uri === null ? [] : [{ id, uri }]));
    await Promise.all(serving.map(({ id, uri }) => this.#markAudit(pool, id, uri)));
    return instances
      .flatMap(({ id }) => recordsOf(pool, id))
      .filter((record) => !JSON.stringify(record).includes(MARK))
      .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  }

  /** Ends the pool and removes all that it had; resolves when nothing is left of it. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#agent.destroy();
    this.#ownAgent.destroy();
    await this.#parts.up.kill();
    await rm(this.#parts.home, { recursive: true, force: true });
  }

  get #status(): PoolStatus {
    const [pool] = this.#parts.ready.pools;
    if (!pool) throw new HarnessError('there is no pool');
    return pool;
  }

  async #advance(duration: string): Promise<Advanced> {
    const { time, offset } = await this.#manage<Advanced>('POST', '/clock/advance', { duration }).finally(
      () => (this.#moves += 1),
    );
    return { time, offset };
  }

  async #definitionOf(role: string): Promise<string> {
    const answer = await this.request('GET', `${AUTHORIZATION}/roleDefinitions`);
    if (answer.status !== 200) throw refusal('the roles cannot be read', answer);
    const { value } = answer.body as { readonly value: readonly unknown[] };
    const found = value.find(
      (one) => textIn(one, 'properties', 'roleName')?.toLowerCase() === role.toLowerCase(),
    );
    const id = textIn(found, 'id');
    if (id !== undefined) return id;
    const names = value.map((one) => textIn(one, 'properties', 'roleName')).join(', ');
    throw new HarnessError(`there is no role "${role}"; there are: ${names}`);
  }

  // A request of our own that is recorded after all that was answered before, and waited for on the disk.
  async #markAudit(pool: string, instance: number, uri: string): Promise<void> {
    const mark = `${MARK}${randomUUID()}`;
    const answer = await this.#ask(uri, 'GET', '/keys', undefined, { headers: { 'User-Agent': mark } }).catch(
      () => undefined,
    );
    // Ended just now, or without room for a record: then what is on the disk is all.
    if (answer === undefined || answer.status >= 500) return;
    const end = performance.now() + RECORD_MS;
    while (!recordsOf(pool, instance).some((record) => JSON.stringify(record).includes(mark))) {
      if (performance.now() > end) return;
      await sleep(POLL_MS);
    }
  }

  async #ask(
    base: string,
    method: string,
    path: string,
    body: unknown,
    { as = this.admin, apiVersion = API_VERSION, headers }: RequestOptions,
  ): Promise<Answer> {
    const url = new URL(path, base);
    if (!url.searchParams.has('api-version')) url.searchParams.set('api-version', apiVersion);
    const scope = `https://managedhsm.localhost:${new URL(this.url).port}/.default`;
    const all = {
      Authorization: `Bearer ${await as.token(scope)}`,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...headers,
    };
    const text = body === undefined ? undefined : JSON.stringify(body);
    return ask(this.#ownAgent, { method, url, headers: all, body: text }, PATIENCE_MS);
  }

  /** A call of the fabric's own interface. */
  async #manage<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = {
      Authorization: `Bearer ${await this.admin.token(`${this.controlPlane}/.default`)}`,
      'Content-Type': 'application/json',
    };
    const url = new URL(`/trivet${path}`, this.controlPlane);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const answer = await ask(this.#ownAgent, { method, url, headers, body: text }, PATIENCE_MS);
    if (answer.status >= 300) throw refusal(`${method} ${path}`, answer);
    return answer.body as T;
  }
}

type Harm = 'kill' | 'pause' | 'resume' | 'wipe' | 'unplug' | 'replug';

interface PartitionParts {
  readonly harm: (what: Harm) => Promise<unknown>;
  readonly status: () => Promise<PartitionStatus>;
}

/** One of the three, and what can be done to it. Each resolves when it is done, and not when it is made good. */
export class Partition {
  readonly #parts: PartitionParts;

  constructor(
    readonly id: number,
    parts: PartitionParts,
  ) {
    this.#parts = parts;
  }

  status(): Promise<PartitionStatus> {
    return this.#parts.status();
  }

  /** SIGKILL; it is started again by itself. */
  kill(): Promise<void> {
    return this.#do('kill');
  }

  /** Stops it where it stands; after a lease of two seconds the pool goes on without it. */
  pause(): Promise<void> {
    return this.#do('pause');
  }

  resume(): Promise<void> {
    return this.#do('resume');
  }

  /** Ends it and removes all that it has; an empty one joins in its place. */
  wipe(): Promise<void> {
    return this.#do('wipe');
  }

  /** Ends it, and it stays away until {@link replug}. */
  unplug(): Promise<void> {
    return this.#do('unplug');
  }

  replug(): Promise<void> {
    return this.#do('replug');
  }

  async #do(what: Harm): Promise<void> {
    await this.#parts.harm(what);
  }
}

/** What the pool suffers on request. */
export class Faults {
  readonly #profile: readonly FaultRule[];
  readonly #call: (method: string, wish?: unknown) => Promise<FaultsShown>;

  constructor(profile: readonly FaultRule[], call: (method: string, wish?: unknown) => Promise<FaultsShown>) {
    this.#profile = profile;
    this.#call = call;
  }

  show(): Promise<FaultsShown> {
    return this.#call('GET');
  }

  /**
   * These rules instead of those before; resolves when every partition goes by them. With the seed that it gives, the
   * same requests in the same order suffer the same again.
   */
  set(rules: FaultRule | readonly FaultRule[], seed?: number): Promise<FaultsShown> {
    const all = [...this.#profile, ...(Array.isArray(rules) ? (rules as FaultRule[]) : [rules as FaultRule])];
    return this.#call('PUT', { rules: all, ...(seed !== undefined && { seed }) });
  }

  /** Nothing any more, but for the performance profile that the pool was started with. */
  async clear(): Promise<void> {
    if (this.#profile.length > 0) await this.set([]);
    else await this.#call('DELETE');
  }
}
