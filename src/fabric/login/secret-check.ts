// Whether a secret is a principal's: slows down who keeps sending wrong ones, from wherever secrets come in.
import { LoginRefusal } from './oauth-error.js';
import type { Principal, Principals } from './principals.js';
import { Narrow, Throttle } from './throttle.js';

export class SecretCheck {
  readonly #throttle = new Throttle();
  // As many hashes at a time as keep half of libuv's four threads free for everything else.
  readonly #hashing = new Narrow(2, 64);

  constructor(readonly principals: Principals) {}

  /** Throws a {@link LoginRefusal} for a wrong secret, and for any while the client at this address has to wait. */
  async check(principal: Principal, secret: string, address: string): Promise<void> {
    const who = `${address} ${principal.clientId}`;
    const wait = this.#throttle.wait(who, Date.now());
    if (wait > 0) throw throttled(Math.ceil(wait / 1_000));
    const right = await this.#hashing.run(() => this.principals.verify(principal, secret));
    if (right === undefined) throw throttled(1);
    if (right) {
      this.#throttle.succeeded(who);
      return;
    }
    this.#throttle.failed(who, Date.now());
    throw new LoginRefusal('WrongSecret', 'Invalid client secret provided.');
  }
}

function throttled(seconds: number): LoginRefusal {
  return new LoginRefusal('Throttled', 'Too many attempts with a wrong secret; try again later.', seconds);
}
