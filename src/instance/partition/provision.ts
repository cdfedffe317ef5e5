// Making a token: the serving process's side of the provisioner.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { SealedKey } from '../../values/key-spec.js';
import { closeEnvelope } from './envelope.js';
import type { DomainKey, ExchangeKey, Result, Task } from './provisioner.js';
import type { TokenDirectory, WorkingCopy } from './token.js';

export type { DomainKey, ExchangeKey } from './provisioner.js';

/** A token that is made: not golden until {@link Provision.found} or `finish` has resolved. */
export interface Joining {
  /** For the donor to wrap the data-wrapping key with. */
  readonly key: ExchangeKey;
  /** Takes the wrapped key into the token and makes the token golden. */
  finish(wrapped: Uint8Array, domain: string): Promise<void>;
  /** Gives up: nothing is left. */
  abandon(): Promise<void>;
}

export class Provision {
  readonly #directory: TokenDirectory;
  readonly #module: string;

  constructor(directory: TokenDirectory, module: string) {
    this.#directory = directory;
    this.#module = module;
  }

  /** Makes the first token of a domain, with a new data-wrapping key. */
  async found(domain: string): Promise<void> {
    const copy = await this.#directory.blank();
    try {
      await this.#oneTask(copy, { kind: 'found', ...(await this.#begin()) });
      await this.#complete(copy, domain);
    } catch (error) {
      await copy.remove();
      throw error;
    }
  }

  /** Makes a token that waits for the data-wrapping key of an existing domain. */
  async join(): Promise<Joining> {
    const copy = await this.#directory.blank();
    const begin = await this.#begin();
    const provisioner = new Provisioner(copy);
    try {
      const key = expect(await provisioner.ask({ kind: 'join', ...begin }), 'exchange').key;
      return {
        key,
        finish: async (wrapped, domain) => {
          try {
            await provisioner.ask({ kind: 'receive', wrapped });
          } finally {
            await provisioner.end();
          }
          await this.#complete(copy, domain);
        },
        abandon: async () => {
          await provisioner.end();
          await copy.remove();
        },
      };
    } catch (error) {
      await provisioner.end();
      await copy.remove();
      throw error;
    }
  }

  /** Wraps this token's data-wrapping key for a joiner; it leaves the slot only so. */
  async donate(domain: string, key: ExchangeKey): Promise<Uint8Array> {
    const copy = await this.#directory.copy(domain);
    try {
      const task: Task = { kind: 'donate', ...(await this.#begin()), key };
      return expect(await this.#oneTask(copy, task), 'wrapped').wrapped;
    } finally {
      await copy.remove();
    }
  }

  /**
   * Wraps this token's data-wrapping key for a security domain file.
   * @param wrappingKey 32 random bytes for this file alone; the caller wipes them.
   */
  async exportDomain(domain: string, wrappingKey: Uint8Array): Promise<Uint8Array> {
    const copy = await this.#directory.copy(domain);
    try {
      const envelope = closeEnvelope(await this.#directory.pins(), wrappingKey);
      const task: Task = { kind: 'export', ...(await this.#begin()), wrappingKey: envelope };
      return expect(await this.#oneTask(copy, task), 'wrapped').wrapped;
    } finally {
      await copy.remove();
    }
  }

  /**
   * Wraps keys that this token's data-wrapping key opens under one that comes from a security domain file. Leaves no
   * token behind. The caller wipes the domain key.
   */
  async rewrap(domain: string, domainKey: DomainKey, keys: readonly SealedKey[]): Promise<SealedKey[]> {
    const copy = await this.#directory.copy(domain);
    try {
      const { blobs } = expect(await this.#restore(copy, domainKey, keys), 'rewrapped');
      return keys.map((key, place) => ({ ...key, blob: blobs[place] ?? new Uint8Array() }));
    } finally {
      await copy.remove();
    }
  }

  /**
   * Makes a golden token `to` beside `from`, the same but for the data-wrapping key, which comes from a security
   * domain file; it must open each of `keys`. The caller wipes the domain key.
   */
  async restore(from: string, to: string, domainKey: DomainKey, keys: readonly SealedKey[]): Promise<void> {
    const copy = await this.#directory.copy(from);
    try {
      await this.#restore(copy, domainKey, []);
      await this.#complete(copy, to, keys);
    } catch (error) {
      await copy.remove();
      throw error;
    }
  }

  async #restore(copy: WorkingCopy, domainKey: DomainKey, keys: readonly SealedKey[]): Promise<Result> {
    const wrappingKey = closeEnvelope(await this.#directory.pins(), domainKey.wrappingKey);
    const sent = { ...domainKey, wrappingKey };
    return this.#oneTask(copy, { kind: 'restore', ...(await this.#begin()), domainKey: sent, keys });
  }

  // Opened once more by a process that did not make it; only a token that opens becomes golden.
  async #complete(copy: WorkingCopy, domain: string, keys: readonly SealedKey[] = []): Promise<void> {
    await this.#oneTask(copy, { kind: 'verify', ...(await this.#begin()), keys });
    await this.#directory.promote(copy, domain);
  }

  async #begin(): Promise<{ module: string; pinFile: string }> {
    await this.#directory.pins(); // or the provisioner finds none
    return { module: this.#module, pinFile: this.#directory.pinFile };
  }

  async #oneTask(copy: WorkingCopy, task: Task): Promise<Result> {
    const provisioner = new Provisioner(copy);
    try {
      return await provisioner.ask(task);
    } finally {
      await provisioner.end();
    }
  }
}

class Provisioner {
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown>;

  constructor(copy: WorkingCopy) {
    // Dies with this process, in the same instant: one that lived on would write into a directory that the next instance
    // takes for its own. Tied to the thread that forks, as for instances: the main one.
    this.#process = fork(join(__dirname, 'provisioner.js'), [], {
      env: { SOFTHSM2_CONF: copy.configuration, PATH: process.env['PATH'] },
      execPath: 'setpriv',
      execArgv: ['--pdeathsig', 'KILL', process.execPath],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#exit = once(this.#process, 'exit');
  }

  /** @throws with the provisioner's reason, or when it ends before it answers. */
  async ask(task: Task): Promise<Result> {
    this.#process.send(task);
    const ended = this.#exit.then((): Result => ({
      kind: 'failed',
      reason: 'the provisioner ended before it answered',
    }));
    const answered = once(this.#process, 'message').then(([result]) => result as Result);
    const result = await Promise.race([answered, ended]);
    if (result.kind === 'failed') throw new Error(`the token cannot be provisioned: ${result.reason}`);
    return result;
  }

  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#exit;
  }
}

function expect<K extends Result['kind']>(result: Result, kind: K): Extract<Result, { kind: K }> {
  if (result.kind !== kind) throw new Error(`the provisioner answered ${result.kind}, not ${kind}`);
  return result as Extract<Result, { kind: K }>;
}
