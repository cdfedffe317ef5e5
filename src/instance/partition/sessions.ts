// Sessions of the serving process. Every worker has two: one that owns the objects it makes and is never closed, since
// objects die with their session, and one for operations, replaced after any error in the middle of one: SoftHSM
// leaves such an operation active and refuses the next.
import type { Library } from '../pkcs11/library.js';
import type { Session } from '../pkcs11/session.js';

export class Worker {
  /** Makes and destroys objects. */
  readonly owner: Session;
  readonly #library: Library;
  readonly #slot: number;
  #operations: Session;

  constructor(library: Library, slot: number) {
    this.#library = library;
    this.#slot = slot;
    this.owner = library.openSessionSync(slot, { readWrite: true });
    this.#operations = library.openSessionSync(slot);
  }

  /** For one operation at a time. */
  get operations(): Session {
    return this.#operations;
  }

  /** After an error: whatever the session was in the middle of is over. */
  reset(): void {
    const old = this.#operations;
    this.#operations = this.#library.openSessionSync(this.#slot);
    old.close();
  }
}

/** Hands out workers, in order of asking. */
export class WorkerPool {
  readonly #idle: Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(workers: readonly Worker[]) {
    this.#idle = [...workers];
  }

  async use<T>(task: (worker: Worker) => Promise<T>): Promise<T> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)));
    try {
      return await task(worker);
    } catch (error) {
      worker.reset();
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next) next(worker);
      else this.#idle.push(worker);
    }
  }
}
