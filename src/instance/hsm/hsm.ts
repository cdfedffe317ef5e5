// One HSM: what its verbs work with. Made once by the instance's main program.
import type { Mutation } from '../model/mutation.js';
import type { Tag } from '../model/judge.js';
import type { State, Change } from '../model/state.js';
import type { Seconds } from '../../values/moments.js';
import type { Partition } from '../partition/partition.js';
import type { Domains } from './domains.js';
import type { IssuerMetadata } from './issuer-metadata.js';
import type { JobOwner } from '../model/jobs/records.js';
import type { StorageHost } from '../../values/messages.js';

/** A mutation that stands: committed by every member of the view and applied here. */
export interface Committed {
  readonly index: number;
  /** The mutation's time as the primary set it. */
  readonly time: Seconds;
  /** What it changed, computed by this member; the answer to the caller is made from this and nothing newer. */
  readonly changes: readonly Change[];
}

/** What it takes to begin a backup or restore. */
export interface JobDesk {
  /** This process, as who runs what begins here. */
  owner(): JobOwner;
  /** The storage that the fabric has started, allowed besides those of the pool. */
  readonly storage: StorageHost | undefined;
  /** There is something to run. */
  wake(): void;
}

export interface Hsm {
  /** Committed state. Read it in one synchronous turn after {@link settled}. */
  readonly state: State;
  readonly partition: Partition;
  /** The security domain in this instance's token. */
  readonly domains: Pick<Domains, 'exportKey' | 'rewrap'>;
  /** Keys of attestation services, as they publish them. */
  readonly attestorKeys: IssuerMetadata;
  readonly jobs: JobDesk;
  /** Which member of the pool this is: 0, 1 or 2. */
  readonly instance: number;
  /** What this instance proves of itself to others: its measurement, and its host's public key as it is enrolled. */
  readonly attested: { readonly measurement: string; readonly host: string };
  /** Seconds since 1970, by the pool's clock. */
  now(): Seconds;
  /** Seconds that the pool's clock is ahead of the machine's: what was decided by the time before a change is void. */
  readonly clockOffset: Seconds;
  /**
   * Throws an `Outage` unless this instance holds a lease of the present view: without one, what it holds may be old.
   * Called in the turn in which state is read.
   */
  requireLease(): void;
  /**
   * Resolves when no undecided mutation touches any of these tags; at once in nearly every case, and then returns
   * undefined instead of a promise. After a wait the caller starts again from its permission check. `keys` stands for
   * every key. Rejects with an `Outage` when the wait takes too long.
   */
  settled(tags: readonly (Tag | 'keys')[]): Promise<void> | undefined;
  /**
   * Submits a mutation to the primary. Rejects with the primary's `RefusedError`, or with an `Outage`.
   */
  submit(mutation: Mutation): Promise<Committed>;
  /**
   * Resolves when the slot opens the pool's keys. Else this instance ends, with whatever it has still to answer: nobody
   * shall take what a broken slot says for an answer of the pool.
   */
  checkSlot(): Promise<void>;
}
