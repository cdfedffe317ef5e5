// The login of a token, which all sessions of the process share. Made when it is needed, by one session for all; made
// again when somebody has ended it. A PIN that was refused is never tried again: that would lock the token.
import { CKR, CKS } from '../instance/pkcs11/constants.js';
import { Pkcs11Error } from '../instance/pkcs11/error.js';
import type { Session } from '../instance/pkcs11/session.js';

export interface LoginOptions {
  /** `USER` unless said otherwise. */
  readonly user?: 'USER' | 'SO' | undefined;
  /**
   * The PIN, copied and wiped at the end; or who knows it, asked whenever it is needed, so that it is in memory for no
   * longer than the call. Bytes that are answered are wiped after use.
   */
  readonly pin: string | Uint8Array | (() => string | Uint8Array | Promise<string | Uint8Array>);
}

/** After these the same PIN is wrong the next time as well. */
const refusals: ReadonlySet<number> = new Set([
  CKR.PIN_INCORRECT,
  CKR.PIN_INVALID,
  CKR.PIN_LEN_RANGE,
  CKR.PIN_EXPIRED,
  CKR.PIN_LOCKED,
  CKR.USER_PIN_NOT_INITIALIZED,
  CKR.USER_TYPE_INVALID,
]);

const statesOf: Readonly<Record<'USER' | 'SO', readonly number[]>> = {
  USER: [CKS.RO_USER_FUNCTIONS, CKS.RW_USER_FUNCTIONS],
  SO: [CKS.RW_SO_FUNCTIONS],
};

export class Login {
  readonly #user: 'USER' | 'SO';
  readonly #pin: LoginOptions['pin'];
  #certain = false;
  #refusal: Pkcs11Error | undefined;
  #running: Promise<void> | undefined;

  constructor({ user = 'USER', pin }: LoginOptions) {
    this.#user = user;
    this.#pin = typeof pin === 'function' ? pin : Buffer.from(pin);
  }

  /** Sees to it that the token is logged in. Throws what C_Login refused with, then and ever after. */
  async ensure(session: Session): Promise<void> {
    while (!this.#certain) {
      if (this.#refusal !== undefined) throw this.#refusal;
      this.#running ??= this.#login(session).finally(() => {
        this.#running = undefined;
      });
      await this.#running;
    }
  }

  /** Something looks as if the login had ended: look before the next call. */
  doubt(): void {
    this.#certain = false;
  }

  /** Looks whether the login still stands. */
  async stands(session: Session): Promise<boolean> {
    return statesOf[this.#user].includes((await session.info()).state);
  }

  wipe(): void {
    if (this.#pin instanceof Uint8Array) this.#pin.fill(0);
  }

  async #login(session: Session): Promise<void> {
    if (!(await this.stands(session))) await this.#ask(session);
    this.#certain = true;
  }

  async #ask(session: Session): Promise<void> {
    const given = typeof this.#pin === 'function' ? await this.#pin() : this.#pin;
    const pin = typeof given === 'string' ? Buffer.from(given) : given;
    try {
      await session.login(this.#user, pin);
    } catch (error) {
      if (!(error instanceof Pkcs11Error)) throw error;
      // Another thread of this process was faster.
      if (error.code === CKR.USER_ALREADY_LOGGED_IN) return;
      if (refusals.has(error.code)) this.#refusal = error;
      throw error;
    } finally {
      if (pin !== this.#pin) pin.fill(0);
    }
  }
}
