// Handles of keys that are open in the slot, by id. Bounded; the least recently used is closed. A handle in use is
// not destroyed before its last user is done.
import { LRUCache } from 'lru-cache';

/** An open key; `handle` is good until it is given back. */
export interface OpenKey {
  readonly handle: number;
  users: number;
  evicted: boolean;
}

export class KeyCache {
  readonly #destroy: (handle: number) => void;
  readonly #keys: LRUCache<string, OpenKey>;

  /** @param destroy closes a handle for good. */
  constructor(most: number, destroy: (handle: number) => void) {
    this.#destroy = destroy;
    this.#keys = new LRUCache({
      max: most,
      dispose: (key) => {
        key.evicted = true;
        if (key.users === 0) this.#destroy(key.handle);
      },
    });
  }

  get size(): number {
    return this.#keys.size;
  }

  /** The open key, now with one user more; undefined when it is not open. */
  take(id: string): OpenKey | undefined {
    const key = this.#keys.get(id);
    if (key) key.users += 1;
    return key;
  }

  /** Keeps a handle that was just opened. One that was open under this id before is closed. */
  put(id: string, handle: number): void {
    this.#keys.set(id, { handle, users: 0, evicted: false });
  }

  /** The user that took the key is done. */
  giveBack(key: OpenKey): void {
    key.users -= 1;
    if (key.users === 0 && key.evicted) this.#destroy(key.handle);
  }

  clear(): void {
    this.#keys.clear();
  }

  forget(id: string): void {
    this.#keys.delete(id);
  }
}
