// The security domain in this instance's token: what leaves it for a file, and how another domain takes its place. All
// of it is the provisioner's work on copies of the token, one piece at a time; the serving process changes tokens.
import { wipe } from '../../values/bytes.js';
import type { SealedKey } from '../../values/key-spec.js';
import type { InternalKey } from '../model/pool.js';
import type { DomainRestored } from '../model/mutation.js';
import type { Partition } from '../partition/partition.js';
import type { DomainKey, Provision } from '../partition/provision.js';
import type { TokenDirectory } from '../partition/token.js';
import { wipeContents, WRAPPING_KEY_LENGTH } from './domain-items.js';
import { openUpload } from './transfer-key.js';

export class Domains {
  readonly #tokens: TokenDirectory;
  readonly #provision: Provision;
  readonly #partition: Partition;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(tokens: TokenDirectory, provision: Provision, partition: Partition) {
    this.#tokens = tokens;
    this.#provision = provision;
    this.#partition = partition;
  }

  /** The data-wrapping key under a wrapping key that was made for this call. The caller wipes both. */
  async exportKey(): Promise<DomainKey> {
    const wrappingKey = await this.#partition.random(WRAPPING_KEY_LENGTH);
    try {
      const wrapped = await this.#inTurn(() =>
        this.#provision.exportDomain(this.#partition.domain, wrappingKey),
      );
      return { wrappingKey, wrapped };
    } catch (error) {
      wipe(wrappingKey);
      throw error;
    }
  }

  /** Keys of this domain under the data-wrapping key of another. */
  rewrap(domainKey: DomainKey, keys: readonly SealedKey[]): Promise<SealedKey[]> {
    return this.#inTurn(() => this.#provision.rewrap(this.#partition.domain, domainKey, keys));
  }

  /**
   * Makes the token of a domain that is being restored, and sees that it opens the domain's keys; it is on the disk
   * when this resolves. Does nothing if it is there already.
   */
  async stage({ securityDomain, blob, internal }: DomainRestored, transfer: InternalKey): Promise<void> {
    if ((await this.#tokens.domains()).includes(securityDomain)) return;
    const contents = await openUpload(this.#partition, transfer, blob);
    try {
      const keys = Object.values(internal).map(({ sealed }) => sealed);
      await this.#inTurn(() =>
        this.#provision.restore(this.#partition.domain, securityDomain, contents.domainKey, keys),
      );
    } finally {
      wipeContents(contents);
    }
  }

  /** Serves from the token of a domain from this very call on: all other work waits until it is open. */
  async open(securityDomain: string): Promise<void> {
    if (this.#partition.domain !== securityDomain) await this.#partition.changeDomain(securityDomain);
  }

  /** Removes all tokens but these, and with them their data-wrapping keys. */
  keepOnly(securityDomains: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#tokens.keepOnly(securityDomains));
  }

  /** Removes the token of a domain whose restoring came to nothing. */
  discard(securityDomain: string): Promise<void> {
    return this.#inTurn(async () => {
      const others = (await this.#tokens.domains()).filter((domain) => domain !== securityDomain);
      await this.#tokens.keepOnly(others);
    });
  }

  // A provisioner takes a core for a third of a second: callers do not get to start many.
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(task);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}
