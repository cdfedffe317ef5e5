// What the pool does to keys by itself: rotations by policy, purges at the end of retention, protection from purges
// that its owner has decided. The primary alone
// proposes them; each is judged in log order like any other change, and names what it saw, so that it happens once.
import type { Logger } from 'pino';
import { newUuid } from '../../values/ids.js';
import type { Due } from '../model/keys/due.js';
import { POOL } from '../model/pool.js';
import { RefusedError } from '../model/refusal.js';
import type { Hsm } from './hsm.js';
import { rotateByPolicy } from './rotate-key.js';

/** How often it is looked: the policies speak of days. */
const LOOK_MS = 1_000;
/** What failed is tried again after this many looks. */
const PATIENCE = 30;
/** At a time; the rest follows with the next look. */
const BATCH = 50;
/** More than a pool has keys. */
const FAILED_MAX = 10_000;

export class Schedule {
  readonly #hsm: Hsm;
  readonly #mayPropose: () => boolean;
  readonly #logger: Logger;
  /** Looks to wait, by id of what failed. */
  readonly #failed = new Map<string, number>();
  #busy = false;
  /** The HSM's owner wants keys protected from early purges. */
  #protect = false;
  /** Told what was done. */
  onDone: ((due: Due) => void) | undefined;

  /** @param mayPropose whether this member is the primary of a pool that is in sync. */
  constructor(hsm: Hsm, mayPropose: () => boolean, logger: Logger) {
    this.#hsm = hsm;
    this.#mayPropose = mayPropose;
    this.#logger = logger;
  }

  /** Looks again and again for the life of the process. */
  start(): void {
    setInterval(() => void this.look(), LOOK_MS).unref();
  }

  /** Does what is due now; resolves when it is done or has failed. Also called when the clock was moved. */
  async look(): Promise<void> {
    if (this.#busy || !this.#mayPropose()) return;
    this.#busy = true;
    try {
      await this.#protectKeys();
      for (const [id, due] of this.#due()) {
        // Without a member nothing can be changed, and nothing is wrong with what is due.
        if (!this.#mayPropose()) break;
        await this.#carryOut(id, due);
      }
    } finally {
      this.#busy = false;
    }
  }

  /** From now on and for good; done with a next look, by whichever member is the primary then. */
  protect(): void {
    this.#protect = true;
    void this.look();
  }

  async #protectKeys(): Promise<void> {
    if (!this.#protect || this.#hsm.state.get('pool', POOL)?.purgeProtection !== false) return;
    try {
      await this.#hsm.submit({ kind: 'PurgeProtectionSet', id: newUuid(), time: this.#hsm.now() });
      this.#logger.info('keys are protected from purges from now on');
    } catch (error) {
      this.#logger.warn({ err: error }, 'keys could not be protected from purges yet');
    }
  }

  // What is due, without what waits: however much of that there is, it holds up nothing behind it.
  #due(): [id: string, due: Due][] {
    const found: [string, Due][] = [];
    let rows: [string, Due][];
    let after = '';
    do {
      rows = this.#hsm.state.range('due', after, BATCH);
      for (const [id, due] of rows) {
        if (due.time > this.#hsm.now() || found.length === BATCH) return found;
        if (!this.#isPatient(id)) found.push([id, due]);
        after = id;
      }
    } while (rows.length === BATCH);
    return found;
  }

  #isPatient(id: string): boolean {
    const looks = this.#failed.get(id) ?? 0;
    if (looks > 0) this.#failed.set(id, looks - 1);
    return looks > 0;
  }

  async #carryOut(id: string, due: Due): Promise<void> {
    try {
      if (due.kind === 'rotate') await rotateByPolicy(this.#hsm, due.name);
      else await this.#purge(due.name);
      this.#failed.delete(id);
      this.onDone?.(due);
      this.#logger.info({ key: due.name, kind: due.kind }, 'done as it was due');
    } catch (error) {
      // Somebody else was faster: what is due now is another matter.
      if (error instanceof RefusedError && error.refusal.code === 'KeyChanged') return;
      if (this.#failed.size > FAILED_MAX) this.#failed.clear();
      this.#failed.set(id, PATIENCE);
      this.#logger.warn({ err: error, key: due.name, kind: due.kind }, 'what is due could not be done');
    }
  }

  async #purge(name: string): Promise<void> {
    await this.#hsm.submit({ kind: 'KeyPurged', id: newUuid(), time: this.#hsm.now(), name, due: true });
  }
}
