// One pool: a directory, three instances, and the steps that make them one. Starts them, introduces them to each
// other, knows which of them serve. Does not restart anybody, and opens nothing inside an instance's directory.
//
// Layout: pools/{name}/pool.json, pools/{name}/instances/{0,1,2}/.
import { EventEmitter } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../../values/assert.js';
import type { Seconds } from '../../values/moments.js';
import type { Founding, ToInstance } from '../../values/messages.js';
import { makeDirectory, writeDurably } from '../../values/durable-file.js';
import { InstanceProcess } from './instance-process.js';
import type { InstanceProgram } from './instance-process.js';

const MEMBERS = [0, 1, 2] as const;
// The service's own rule for names: 3..24 letters, digits and single hyphens, a letter first, no hyphen last.
const NAME = /^[a-z](?:-?[a-z0-9])+$/;

type StartMessage = Extract<ToInstance, { kind: 'start' }>;
/** What every instance of a pool is started with. */
export type PoolStart = Omit<StartMessage, 'kind' | 'pool' | 'instance' | 'directory' | 'founding'>;

export type InstanceStatus =
  | {
      readonly id: number;
      readonly pid: number | null;
      readonly role: 'primary' | 'backup' | 'starting';
      readonly inSync: boolean;
      /** Present only while it is stopped by `partition pause`. */
      readonly paused?: true;
    }
  | {
      readonly id: number;
      readonly pid: null;
      readonly role: 'down';
      readonly inSync: false;
      readonly reason: string;
    };

export interface PoolStatus {
  readonly name: string;
  readonly uri: string;
  readonly activation: 'Active' | 'NotActivated';
  /** SHA-256 of the certificate of the pool's owner, lower-case hex; null before the pool is ready. */
  readonly ownerFingerprint: string | null;
  readonly instances: readonly InstanceStatus[];
}

/** A pool that cannot be created or started; the message says which instance and why. */
export class PoolError extends Error {
  override readonly name = 'PoolError';
}

interface PoolEvents {
  /** An instance of a running pool is gone; it stays down. */
  down: [instance: number, reason: string];
}

interface PoolFile {
  readonly name: string;
  readonly createdAt: string;
  readonly founding: Founding;
}

/** Checks a name and gives the form that host names use. */
export function poolName(wish: string): string {
  const name = wish.toLowerCase();
  if (name.length < 3 || name.length > 24 || !NAME.test(name)) {
    throw new PoolError(
      `"${wish}" is no pool name: 3 to 24 letters, digits and single hyphens, beginning with a letter`,
    );
  }
  return name;
}

/** The names of the pools in a directory; one that was not created to its end does not count. */
export function listPools(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => existsSync(join(directory, name, 'pool.json')))
    .sort();
}

/** Whether a pool was created with a clock that can be moved. */
export function hasMovableClock(directory: string, name: string): boolean {
  return readPool(directory, name).founding.movableClock === true;
}

/** Whether a pool was created to go on while its audit log cannot be written. */
export function hasOptionalAudit(directory: string, name: string): boolean {
  return readPool(directory, name).founding.auditOptional === true;
}

/** The issuers that a pool was created to believe. */
export function issuersOf(directory: string, name: string): Founding['issuers'] {
  return readPool(directory, name).founding.issuers;
}

function readPool(directory: string, name: string): PoolFile {
  return JSON.parse(readFileSync(join(directory, name, 'pool.json'), 'utf8')) as PoolFile;
}

/** Makes the directories of a new pool. The pool exists once its pool.json does, which is written last. */
export function createPool(directory: string, name: string, founding: Founding): void {
  for (const member of MEMBERS) makeDirectory(join(directory, name, 'instances', String(member)));
  const file: PoolFile = { name, createdAt: new Date().toISOString(), founding };
  writeDurably(join(directory, name, 'pool.json'), `${JSON.stringify(file, null, 2)}\n`, 0o600);
}

export class Pool extends EventEmitter<PoolEvents> {
  readonly name: string;
  readonly #instances: readonly InstanceProcess[];
  readonly #domain: string;
  readonly #dataPort: number;
  #rootCertificate: string | undefined;
  #stopping = false;
  #turn = 0;

  /** Starts the three processes of an existing pool; {@link ready} then waits for them. */
  constructor(directory: string, name: string, start: PoolStart, program: InstanceProgram) {
    super();
    this.name = name;
    this.#domain = start.domain;
    this.#dataPort = start.dataPort;
    const home = join(directory, name);
    const { founding } = readPool(directory, name);
    this.#instances = MEMBERS.map((instance) => {
      const child = new InstanceProcess(instance, join(home, 'instances', String(instance)), program);
      child.tell({
        ...start,
        kind: 'start',
        pool: name,
        instance,
        directory: child.directory,
        founding,
      });
      return child;
    });
  }

  /** PEM of the pool's TLS root; known once the pool is ready. */
  get rootCertificate(): string {
    assert(this.#rootCertificate !== undefined, 'the TLS root is asked for when the pool is ready');
    return this.#rootCertificate;
  }

  /**
   * Introduces the instances to each other and waits until all three serve. Throws with the first one's reason when
   * an instance ends before that; the others are then gone too.
   */
  async ready(): Promise<void> {
    const firstEnd = Promise.race(
      this.#instances.map(async (child): Promise<never> => {
        const reason = await child.ended;
        throw new PoolError(`pool ${this.name}: instance ${child.instance} ${reason}`);
      }),
    );
    try {
      await Promise.race([this.#introduceAll(), firstEnd]);
    } catch (error) {
      await this.kill();
      throw error;
    }
    for (const child of this.#instances) {
      void child.ended.then((reason) => {
        if (!this.#stopping) this.emit('down', child.instance, reason);
      });
    }
  }

  async #introduceAll(): Promise<void> {
    const peers = await Promise.all(
      this.#instances.map(async (child) => ({ instance: child.instance, ...(await child.introduced) })),
    );
    for (const child of this.#instances) {
      child.tell({
        kind: 'peers',
        peers: peers.filter((peer) => peer.instance !== child.instance),
        donor: 0,
      });
    }
    const reports = await Promise.all(this.#instances.map((child) => child.served));
    const roots = new Set(reports.map((report) => report.rootCertificate));
    const [root] = roots;
    if (roots.size !== 1 || root === undefined) {
      throw new PoolError(`pool ${this.name}: its instances do not agree on one TLS root certificate`);
    }
    const owners = new Set(reports.map((report) => report.ownerFingerprint));
    if (owners.size !== 1) {
      throw new PoolError(`pool ${this.name}: its instances do not agree on one owner certificate`);
    }
    this.#rootCertificate = root;
  }

  /** The instances in the order in which a new connection should try them: the next one's turn first. */
  candidates(): InstanceProcess[] {
    const live = this.#instances.filter((child) => child.serving);
    if (live.length === 0) return [];
    const first = this.#turn++ % live.length;
    return [...live.slice(first), ...live.slice(0, first)];
  }

  /**
   * Moves the clock of every living instance, and waits until each of them goes by it. Gives those that did not say so
   * within `patienceMs`; they will when they hear of it.
   */
  async moveClock(offset: Seconds, patienceMs: number): Promise<InstanceProcess[]> {
    const unconfirmed = new Set<InstanceProcess>();
    const all = this.#instances
      .filter(({ reasonEnded }) => reasonEnded === undefined)
      .map(async (child) => {
        unconfirmed.add(child);
        await child.moveClock(offset);
        unconfirmed.delete(child);
      });
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patienceMs);
    });
    await Promise.race([Promise.all(all), patience]);
    clearTimeout(timer);
    return [...unconfirmed];
  }

  /** What each instance said last about its clock. */
  clocks(): readonly { readonly id: number; readonly offset: Seconds | null }[] {
    return this.#instances.map((child) => ({
      id: child.instance,
      offset: child.reasonEnded === undefined ? (child.clockOffset ?? null) : null,
    }));
  }

  /** One of the three, for faults on request. */
  instance(id: number): InstanceProcess | undefined {
    return this.#instances[id];
  }

  status(): PoolStatus {
    const reports = this.#instances.flatMap((child) => child.report ?? []);
    return {
      name: this.name,
      uri: `https://${this.name}.${this.#domain}:${this.#dataPort}`,
      activation: reports.some((report) => report.activation === 'Active') ? 'Active' : 'NotActivated',
      // A restored security domain brings its own owner.
      ownerFingerprint: reports.at(-1)?.ownerFingerprint ?? null,
      instances: this.#instances.map((child) => instanceStatus(child)),
    };
  }

  /**
   * Lets running requests finish; whoever has not left after `patienceMs` is killed. Nobody leaves before all have
   * finished: a change that is still running needs every member.
   */
  async drain(patienceMs: number): Promise<void> {
    this.#stopping = true;
    for (const child of this.#instances) {
      if (child.paused) child.resume(); // a stopped process hears nothing
      child.tell({ kind: 'drain' });
    }
    const timer = setTimeout(() => {
      for (const child of this.#instances) child.kill();
    }, patienceMs);
    await Promise.all(this.#instances.map((child) => Promise.race([child.drained, child.ended])));
    for (const child of this.#instances) child.tell({ kind: 'leave' });
    await Promise.all(this.#instances.map((child) => child.ended));
    clearTimeout(timer);
  }

  /** Ends all three at once and waits until they are gone. */
  async kill(): Promise<void> {
    this.#stopping = true;
    for (const child of this.#instances) child.kill();
    await Promise.all(this.#instances.map((child) => child.ended));
  }
}

function instanceStatus(child: InstanceProcess): InstanceStatus {
  if (child.reasonEnded !== undefined) {
    return { id: child.instance, pid: null, role: 'down', inSync: false, reason: child.reasonEnded };
  }
  return {
    id: child.instance,
    pid: child.pid ?? null,
    role: child.report?.role ?? 'starting',
    inSync: child.report?.inSync ?? false,
    ...(child.paused && { paused: true as const }),
  };
}
