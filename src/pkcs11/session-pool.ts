// Sessions of one token, opened as they are needed, each used by one caller at a time. Knows no operation.
//
// A session stays open until the pool closes, unless it breaks: what was left in it, such as an operation that nobody
// ended, would meet the next caller.
import { CKR } from '../instance/pkcs11/constants.js';
import { Pkcs11Error } from '../instance/pkcs11/error.js';
import type { Library } from '../instance/pkcs11/library.js';
import type { Session } from '../instance/pkcs11/session.js';
import type { Login } from './login.js';
import { Turns, type TurnOptions, type TurnsOptions } from './turns.js';

/** A session with one of these is not used again. */
const breaking: ReadonlySet<number> = new Set([
  CKR.OPERATION_ACTIVE,
  CKR.SESSION_HANDLE_INVALID,
  CKR.SESSION_CLOSED,
  CKR.DEVICE_ERROR,
  CKR.DEVICE_REMOVED,
  CKR.TOKEN_NOT_PRESENT,
  CKR.TOKEN_NOT_RECOGNIZED,
  CKR.CRYPTOKI_NOT_INITIALIZED,
]);

/** What modules say of a private object when the login has ended; each in its own way. */
const doubtful: ReadonlySet<number> = new Set([
  CKR.USER_NOT_LOGGED_IN,
  CKR.OBJECT_HANDLE_INVALID,
  CKR.KEY_HANDLE_INVALID,
]);

export interface SessionPoolOptions extends TurnsOptions {
  readonly readWrite: boolean;
  readonly login: Login | undefined;
}

export interface Lease {
  readonly session: Session;
  /** Gives the session back, with what went wrong in it. Once. */
  end(error?: unknown): void;
}

export class SessionPool {
  readonly #library: Library;
  readonly #slot: number;
  readonly #options: SessionPoolOptions;
  readonly #turns: Turns;
  readonly #idle: Session[] = [];
  #open = 0;

  constructor(library: Library, slot: number, options: SessionPoolOptions) {
    this.#library = library;
    this.#slot = slot;
    this.#options = options;
    this.#turns = new Turns(options);
  }

  get counts(): { readonly open: number; readonly busy: number; readonly waiting: number } {
    return { open: this.#open, busy: this.#turns.taken, waiting: this.#turns.waiting };
  }

  /** A session that is logged in, for the caller alone until it ends the lease. */
  async lease(options: TurnOptions = {}): Promise<Lease> {
    await this.#turns.take(options);
    let session: Session | undefined;
    try {
      session = this.#idle.pop() ?? (await this.#openSession());
      await this.#options.login?.ensure(session);
    } catch (error) {
      this.#release(session, error);
      throw error;
    }
    const leased = session;
    return { session: leased, end: (error) => this.#release(leased, error) };
  }

  async use<T>(work: (session: Session) => Promise<T>, options: TurnOptions = {}): Promise<T> {
    const lease = await this.lease(options);
    let failure: unknown;
    try {
      return await work(lease.session);
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      lease.end(failure);
    }
  }

  /** Refuses calls that wait, lets running ones end, then closes the sessions. Idempotent. */
  async close(): Promise<void> {
    await this.#turns.close();
    for (const session of this.#idle.splice(0)) this.#discard(session);
  }

  async #openSession(): Promise<Session> {
    const session = await this.#library.openSession(this.#slot, { readWrite: this.#options.readWrite });
    this.#open += 1;
    return session;
  }

  #release(session: Session | undefined, error: unknown): void {
    const code = error instanceof Pkcs11Error ? error.code : CKR.OK;
    if (doubtful.has(code)) this.#options.login?.doubt();
    if (session !== undefined) {
      if (breaking.has(code) || !session.idle) this.#discard(session);
      else this.#idle.push(session);
    }
    this.#turns.give();
  }

  #discard(session: Session): void {
    this.#open -= 1;
    // The login ends with the last session of the process.
    this.#options.login?.doubt();
    try {
      session.close();
    } catch (error) {
      // It is of no more use in any case, and the module may be gone.
      if (!(error instanceof Pkcs11Error)) throw error;
    }
  }
}
