// What happens to a pool in its life, as far as somebody who charges for it must know.
import type { Seconds } from './moments.js';

export interface PoolEvent {
  /** Counts up from 1 over all pools of an installation and names the event: the same number is the same event. */
  readonly sequence: number;
  readonly kind: 'provisioned' | 'softDeleted' | 'recovered' | 'purged';
  /** Of this pool alone: a later one of the same name has another. */
  readonly poolId: string;
  /** Of the host, in lower case. */
  readonly name: string;
  /** `/subscriptions/…/managedHSMs/{name}` */
  readonly resourceId: string;
  readonly location: string;
  /** By the installation's clock. */
  readonly time: Seconds;
}

/**
 * Takes events in the order of their numbers. An event may come again after a crash and counts once; who returns has it
 * on disk.
 */
export interface EventSink {
  record(event: PoolEvent): void;
}
