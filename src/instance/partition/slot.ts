// The module in service: one login, sessions for every thread, handles of the token's own keys. Recycled as a whole
// before SoftHSM's leak of destroyed objects matters; requests wait meanwhile, none fails.
import { Library } from '../pkcs11/library.js';
import { KeyCache } from './key-cache.js';
import { findOne, findToken, loginAs } from './login.js';
import { Worker, WorkerPool } from './sessions.js';
import { DWK_LABEL, PARTITION_KEY_LABEL, STORE_KEY_LABEL } from './templates.js';

export interface SlotOptions {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** The user's PIN. */
  readonly pin: string;
  /** Keys kept open; 8 to 12 KB of memory each. */
  readonly cachedKeysMax: number;
  /** SoftHSM keeps a quarter kilobyte of every destroyed object until it is finalised: after so many, it is. */
  readonly destroyedMax: number;
}

export interface Slot {
  readonly library: Library;
  readonly mechanisms: readonly number[];
  /** For work so short that it is done on this thread. */
  readonly here: Worker;
  readonly workers: WorkerPool;
  readonly dwk: number;
  readonly storeKey: number;
  readonly partitionKey: number;
  readonly cache: KeyCache;
  /** Destroys an object and counts it. */
  destroy(handle: number): void;
}

/** Workers for what goes to other threads; more than the cores, since generating an RSA key holds one for seconds. */
const WORKERS = 4;

export class SlotKeeper {
  readonly #options: SlotOptions;
  #slot: Slot;
  #active = 0;
  #destroyed = 0;
  #recycling: Promise<void> | undefined;
  #quiet: (() => void) | undefined;

  private constructor(options: SlotOptions, slot: Slot) {
    this.#options = options;
    this.#slot = slot;
  }

  /** Initialises the module, logs in and finds the token's keys. SOFTHSM2_CONF is set for the right token. */
  static async open(options: SlotOptions): Promise<SlotKeeper> {
    const counted: { destroyed: () => void } = { destroyed: () => undefined };
    const slot = await openSlot(options, () => counted.destroyed());
    const keeper = new SlotKeeper(options, slot);
    counted.destroyed = () => keeper.#countDestroyed();
    return keeper;
  }

  /** Mechanisms that the module offers. */
  get mechanisms(): readonly number[] {
    return this.#slot.mechanisms;
  }

  /** Keys that are open. */
  get cachedKeys(): number {
    return this.#slot.cache.size;
  }

  /**
   * Runs a task on the slot: at once, unless the module is being recycled. Tasks must not nest: the inner one would
   * wait for a recycling that waits for the outer one.
   */
  use<T>(task: (slot: Slot) => T | Promise<T>): T | Promise<T> {
    if (this.#recycling) return this.#recycling.then(() => this.use(task));
    this.#active += 1;
    let result: T | Promise<T>;
    try {
      result = task(this.#slot);
    } catch (error) {
      this.#leave();
      throw error;
    }
    if (result instanceof Promise) return result.finally(() => this.#leave());
    this.#leave();
    return result;
  }

  /** The same for a task that goes to other threads. */
  async run<T>(task: (slot: Slot) => Promise<T>): Promise<T> {
    return this.use(task);
  }

  /**
   * Ends the module and opens it again with whatever token `change` has put in its place. From this very call on
   * every task waits for the new one.
   */
  reopen(change: () => Promise<void>): Promise<void> {
    return this.#recycleAfter(this.#recycling, change);
  }

  /** Ends all work and the module. */
  async close(): Promise<void> {
    await this.#whenQuiet();
    await this.#slot.library.close();
  }

  #leave(): void {
    this.#active -= 1;
    if (this.#active === 0) this.#quiet?.();
  }

  #countDestroyed(): void {
    this.#destroyed += 1;
    if (this.#destroyed < this.#options.destroyedMax || this.#recycling) return;
    void this.#recycleAfter(undefined);
  }

  #recycleAfter(earlier: Promise<void> | undefined, change?: () => Promise<void>): Promise<void> {
    const recycling = (earlier ?? Promise.resolve())
      .then(() => this.#recycle(change))
      .finally(() => {
        if (this.#recycling === recycling) this.#recycling = undefined;
      });
    this.#recycling = recycling;
    // A module that does not come back fails the requests that wait for it, each with this error.
    recycling.catch(() => undefined);
    return recycling;
  }

  async #recycle(change?: () => Promise<void>): Promise<void> {
    await this.#whenQuiet();
    await this.#slot.library.close();
    await change?.();
    this.#destroyed = 0;
    this.#slot = await openSlot(this.#options, () => this.#countDestroyed());
  }

  async #whenQuiet(): Promise<void> {
    // Lets the call that noticed finish first.
    await Promise.resolve();
    if (this.#active > 0) await new Promise<void>((resolve) => (this.#quiet = resolve));
    this.#quiet = undefined;
  }
}

async function openSlot(options: SlotOptions, destroyed: () => void): Promise<Slot> {
  const library = Library.openSync(options.module);
  const number = findToken(library);
  const here = new Worker(library, number);
  // One login opens the token for every session of the process (PKCS #11 2.40 section 2.6).
  await loginAs(here.owner, 'USER', options.pin);
  const destroy = (handle: number) => {
    here.owner.destroyObjectSync(handle);
    destroyed();
  };
  return {
    library,
    mechanisms: library.mechanismsSync(number),
    here,
    workers: new WorkerPool(Array.from({ length: WORKERS }, () => new Worker(library, number))),
    dwk: await findOne(here.owner, DWK_LABEL),
    storeKey: await findOne(here.owner, STORE_KEY_LABEL),
    partitionKey: await findOne(here.owner, PARTITION_KEY_LABEL),
    cache: new KeyCache(options.cachedKeysMax, destroy),
    destroy,
  };
}
