// The resource provider: keeps what there is on the control plane in one file, and sees to it that pools are as that
// says. Every wish is judged, then on disk, then carried out; so whatever is cut off is gone on with at the next start.
// Judges nothing itself and answers nobody.
import { existsSync, readFileSync } from 'node:fs';
import { assert } from '../../values/assert.js';
import { writeDurably } from '../../values/durable-file.js';
import type { EventSink } from '../../values/pool-event.js';
import type { Seconds } from '../../values/moments.js';
import { destroyPool, hasFiles } from '../pools/destroy-pool.js';
import type { Pool } from '../pools/pool.js';
import { PoolError, isCreated, readPool } from '../pools/pool-file.js';
import { judge } from '../resources/judge.js';
import { isDue } from '../resources/life.js';
import { networkRulesOf } from '../resources/network.js';
import { nextStep } from '../resources/plan.js';
import { ArmRefusal } from '../resources/refusal.js';
import { isWanted } from '../resources/state.js';
import type { Hsm, ResourceState } from '../resources/state.js';
import type { Wish } from '../resources/wish.js';

export interface ProviderParts {
  /** Where the state is kept. */
  readonly file: string;
  /** Where the pools are. */
  readonly directory: string;
  readonly now: () => Seconds;
  /** So many pools this machine holds. */
  readonly poolsMax: number;
  /** Makes the directory of a new pool. */
  readonly create: (hsm: Hsm) => void;
  /** Starts the instances of a pool that is there. */
  readonly open: (hsm: Hsm) => Pool;
  /** Those that take connections are others from now on. Throws when that cannot be made known. */
  readonly changed: (pools: readonly Pool[]) => void;
  readonly sink: EventSink;
  readonly report: (message: string, error?: unknown) => void;
}

/** How long requests of a pool that is closed may still run; milliseconds. */
const LEAVE_MS = 10_000;
/** Before something that did not work is tried again. */
const RETRY_MS = 5_000;
/** How often it is looked for deleted HSMs whose retention has ended. */
const LOOK_MS = 1_000;

/** The file, if there is one. */
export function readResources(file: string): ResourceState | undefined {
  if (!existsSync(file)) return undefined;
  const state = JSON.parse(readFileSync(file, 'utf8')) as ResourceState;
  if ((state.version as number) !== 1) throw new PoolError(`${file} is of a newer build`);
  return state;
}

export function writeResources(file: string, state: ResourceState): void {
  writeDurably(file, `${JSON.stringify(state)}\n`, 0o600);
}

/** A pool with processes. */
interface Running {
  readonly poolId: string;
  readonly pool: Pool;
  /** It has served, and takes connections. */
  open: boolean;
}

export class Provider {
  readonly #parts: ProviderParts;
  #state: ResourceState;
  /** By name. */
  readonly #running = new Map<string, Running>();
  /** Who works on a pool, by its name; the promise ends when there is nothing more to do. */
  readonly #workers = new Map<string, Promise<void>>();
  /** Something has changed for a pool that is being worked on. */
  readonly #again = new Set<string>();
  readonly #retries = new Map<string, NodeJS.Timeout>();
  #clock: NodeJS.Timeout | undefined;
  #closing = false;

  /** `state` is on disk already. */
  constructor(parts: ProviderParts, state: ResourceState) {
    this.#parts = parts;
    this.#state = state;
  }

  get state(): ResourceState {
    return this.#state;
  }

  /** Pools with processes, whether they serve already or not; by name. */
  pools(): Pool[] {
    return [...this.#running.values()].map(({ pool }) => pool).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The pool of this name (lower case), if it has processes. */
  pool(name: string): Pool | undefined {
    return this.#running.get(name)?.pool;
  }

  /** Those that take connections; by name. */
  openPools(): Pool[] {
    return this.pools().filter(({ name }) => this.#running.get(name)?.open);
  }

  /** The pool of this name, if it takes connections. */
  openPool(name: string): Pool | undefined {
    const found = this.#running.get(name);
    return found?.open ? found.pool : undefined;
  }

  /**
   * Starts everything that should run. Resolves when every pool that ran before serves or has failed, or, where there is
   * none of those, the first one that is being made. Throws the first failure when none of them serves.
   */
  async begin(): Promise<void> {
    const wanted = this.#state.hsms.filter(isWanted);
    const running = wanted.filter(({ phase }) => phase === 'Running');
    const awaited = running.length > 0 ? running : wanted.filter(({ phase }) => phase === 'Provisioning');
    // In the same turn, so that all processes start at once.
    const starts = awaited.map(async (hsm) => {
      const start = this.#start(hsm);
      this.#workers.set(
        hsm.pool,
        start.catch(() => undefined),
      );
      try {
        await start;
        return undefined;
      } catch (error) {
        return { hsm, error };
      } finally {
        this.#workers.delete(hsm.pool);
      }
    });
    this.#tellEvents();
    for (const hsm of this.#state.hsms) if (!awaited.includes(hsm)) this.#wake(hsm.pool);
    const failures = (await Promise.all(starts)).filter((failure) => failure !== undefined);
    const [first] = failures;
    if (first && failures.length === awaited.length) throw first.error;
    this.#clock = setInterval(() => this.#look(), LOOK_MS).unref();
    for (const { hsm, error } of failures) this.#failed(hsm, error);
    for (const { pool } of awaited) this.#wake(pool);
  }

  /**
   * Does what is wished, or throws an {@link ArmRefusal}. When it returns, the change is on disk and what an instance
   * must know of it at once is known there; what takes longer goes on.
   */
  async act(wish: Wish): Promise<ResourceState> {
    const state = this.#submit(wish);
    await this.#tellPools();
    return state;
  }

  /** Ends every process, by `end`; nothing is begun any more. */
  async leave(end: (pool: Pool) => Promise<void>): Promise<void> {
    this.#closing = true;
    clearInterval(this.#clock);
    for (const retry of this.#retries.values()) clearTimeout(retry);
    await Promise.all(this.pools().map(end));
    await Promise.all(this.#workers.values());
  }

  /** The clock was moved, perhaps: sees whether anything is due. */
  look(): void {
    this.#look();
  }

  #look(): void {
    const now = this.#parts.now();
    if (this.#closing || !this.#state.hsms.some((hsm) => isDue(hsm, now))) return;
    this.#submitOwn({ kind: 'TimePassed' });
  }

  #submit(wish: Wish): ResourceState {
    const { now, poolsMax, file } = this.#parts;
    // From here on the file may be a successor's.
    if (this.#closing) throw new PoolError('the fabric is leaving');
    const judged = judge(this.#state, wish, { now: now(), poolsMax });
    if (judged instanceof ArmRefusal) throw judged;
    const before = this.#state;
    if (judged === before) return before;
    writeResources(file, judged);
    this.#state = judged;
    for (const hsm of judged.hsms) if (!before.hsms.includes(hsm)) this.#wake(hsm.pool);
    this.#tellEvents();
    return this.#state;
  }

  // A report of our own. What cannot be written down now is found to be so again later.
  #submitOwn(wish: Wish): boolean {
    if (this.#closing) return false;
    try {
      this.#submit(wish);
      return true;
    } catch (error) {
      this.#parts.report('a change of the resources cannot be kept', error);
      return false;
    }
  }

  #tellEvents(): void {
    const { events } = this.#state;
    if (events.length === 0) return;
    const told = { kind: 'EventsTold', through: this.#state.sequence } as const;
    try {
      for (const event of events) this.#parts.sink.record(event);
    } catch (error) {
      this.#parts.report('the meter took no record; it gets it again', error);
      return;
    }
    this.#submitOwn(told);
  }

  async #tellPools(): Promise<void> {
    const told = this.#state.hsms.map(async (hsm) => {
      const pool = this.pool(hsm.pool);
      await pool?.orders.setNetwork(networkRulesOf(hsm));
      if (pool && hsm.purgeProtection && hsm.phase === 'Running') await pool.protect();
    });
    await Promise.all(told);
  }

  /** Works on a pool until it is as it should be; one worker a name. */
  #wake(name: string): void {
    if (this.#closing) return;
    clearTimeout(this.#retries.get(name));
    this.#retries.delete(name);
    if (this.#workers.has(name)) {
      this.#again.add(name);
      this.#interrupt(name);
      return;
    }
    const work = this.#work(name)
      .catch((error: unknown) => this.#later(name, error))
      .finally(() => {
        this.#workers.delete(name);
        if (this.#again.delete(name)) this.#wake(name);
      });
    this.#workers.set(name, work);
  }

  // Who waits for a pool that is not wanted any more need not wait.
  #interrupt(name: string): void {
    const running = this.#running.get(name);
    const hsm = this.#hsm(name);
    if (running && !running.open && !(hsm && isWanted(hsm))) void running.pool.kill();
  }

  async #work(name: string): Promise<void> {
    for (;;) {
      const hsm = this.#hsm(name);
      if (this.#closing || !hsm) return;
      switch (nextStep(hsm, { up: this.#running.has(name), onDisk: this.#onDisk(name) })) {
        case 'start':
          try {
            await this.#start(hsm);
          } catch (error) {
            if (this.#isClosing()) return;
            if (!this.#failed(hsm, error)) return;
          }
          break;
        case 'stop':
          await this.#stop(name);
          break;
        case 'destroy':
          if (!(await destroyPool(this.#parts.directory, name, () => !this.#closing))) return;
          break;
        case 'report':
          if (!this.#submitOwn({ kind: reportOf(hsm), poolId: hsm.poolId })) {
            this.#retry(name);
            return;
          }
          break;
        case 'rest':
          return;
      }
    }
  }

  /** Makes the pool if need be and waits until all three instances serve. Throws; the pool is then gone again. */
  async #start(hsm: Hsm): Promise<void> {
    const { directory, create, open, changed } = this.#parts;
    if (!isCreated(directory, hsm.pool)) {
      if (hsm.founded) throw new PoolError(`pool ${hsm.pool}: its directory in ${directory} is missing`);
      create(hsm);
    }
    const pool = open(hsm);
    const running = { poolId: hsm.poolId, pool, open: false };
    this.#running.set(hsm.pool, running);
    try {
      if (hsm.purgeProtection) pool.orders.wantProtection();
      await pool.orders.setNetwork(networkRulesOf(hsm));
      await pool.ready();
      running.open = true;
      changed(this.openPools());
    } catch (error) {
      this.#running.delete(hsm.pool);
      await pool.kill();
      throw error;
    }
  }

  async #stop(name: string): Promise<void> {
    const running = this.#running.get(name);
    assert(running !== undefined, 'what is stopped runs');
    running.open = false;
    this.#parts.changed(this.openPools());
    await running.pool.drain(LEAVE_MS);
    this.#running.delete(name);
  }

  /** Puts down that a pool did not start; whether there is something else to do about it at once. */
  #failed(hsm: Hsm, error: unknown): boolean {
    const now = this.#hsm(hsm.pool);
    if (now?.poolId !== hsm.poolId || !isWanted(now)) return true; // it was ended on purpose
    const reason = error instanceof Error ? error.message : String(error);
    this.#parts.report(`pool ${hsm.pool} did not start`, error);
    this.#submitOwn({ kind: 'StartFailed', poolId: hsm.poolId, reason });
    const after = this.#hsm(hsm.pool);
    if (!after || !isWanted(after)) return true;
    this.#retry(hsm.pool);
    return false;
  }

  #later(name: string, error: unknown): void {
    this.#parts.report(`work on pool ${name} is tried again`, error);
    this.#retry(name);
  }

  #retry(name: string): void {
    if (this.#closing) return;
    this.#retries.set(
      name,
      setTimeout(() => this.#wake(name), RETRY_MS),
    );
  }

  #onDisk(name: string): { poolId: string | undefined } | undefined {
    const { directory } = this.#parts;
    if (isCreated(directory, name)) return { poolId: readPool(directory, name).poolId };
    return hasFiles(directory, name) ? { poolId: undefined } : undefined;
  }

  #hsm(name: string): Hsm | undefined {
    return this.#state.hsms.find(({ pool }) => pool === name);
  }

  #isClosing(): boolean {
    return this.#closing;
  }
}

function reportOf({ phase }: Hsm): 'Started' | 'Stopped' | 'Destroyed' {
  if (phase === 'Deleting') return 'Stopped';
  return phase === 'Purging' ? 'Destroyed' : 'Started';
}
