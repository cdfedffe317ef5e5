// What may be wished for, and what is reported of pools. Times and random ids come with the judge's circumstances and
// the wish, so that judging knows neither a clock nor chance.
import type { Seconds } from '../../values/moments.js';
import type {
  ConnectionStatus,
  Identity,
  NetworkAcls,
  PublicNetworkAccess,
  Sku,
  SubscriptionState,
  Tags,
} from './state.js';

/** Under what a wish is judged. */
export interface Circumstances {
  /** By the installation's clock. */
  readonly now: Seconds;
  /** So many pools this machine holds. */
  readonly poolsMax: number;
}

/** What is said about an HSM; absent: nothing, which keeps what is, or takes what is usual. */
export interface HsmProperties {
  readonly location?: string;
  readonly tags?: Tags;
  readonly sku?: Sku;
  readonly identity?: Identity | 'None';
  readonly tenantId?: string;
  readonly administrators?: readonly string[];
  readonly enableSoftDelete?: boolean;
  readonly retentionDays?: number;
  readonly purgeProtection?: boolean;
  readonly networkAcls?: NetworkAcls;
  readonly publicNetworkAccess?: PublicNetworkAccess;
  /** Names of the regions that it is to be in. */
  readonly regions?: readonly string[];
  readonly createMode?: 'default' | 'recover';
}

/** Who wishes: her object id. */
interface By {
  readonly by: string;
}

/** An HSM by its group and name. */
interface Named {
  readonly group: string;
  readonly name: string;
}

export type PutHsm = By &
  Named & {
    readonly kind: 'PutHsm';
    /** For a new pool, and for what comes of this. */
    readonly poolId: string;
    readonly operation: string;
    /** The installation's tenant, which is the only one. */
    readonly tenantId: string;
    readonly properties: HsmProperties;
  };

export type PatchHsm = By &
  Named & { readonly kind: 'PatchHsm'; readonly tenantId: string; readonly properties: HsmProperties };

export type Wish =
  | (By & {
      readonly kind: 'PutGroup';
      readonly name: string;
      readonly location: string | undefined;
      readonly tags: Tags;
    })
  | (By & { readonly kind: 'DeleteGroup'; readonly name: string; readonly operation: string })
  | PutHsm
  | PatchHsm
  | (By & Named & { readonly kind: 'DeleteHsm'; readonly operation: string })
  | (By & {
      readonly kind: 'PurgeHsm';
      readonly location: string;
      readonly name: string;
      readonly operation: string;
    })
  | (By &
      Named & {
        readonly kind: 'PutConnection';
        readonly connection: string;
        readonly endpoint: string | undefined;
        readonly status: ConnectionStatus;
        readonly description: string | undefined;
      })
  | (By & Named & { readonly kind: 'DeleteConnection'; readonly connection: string })
  | (By & {
      readonly kind: 'PutAssignment';
      readonly scope: string;
      readonly name: string;
      readonly principalId: string;
      readonly principalType: string | undefined;
      readonly role: string;
    })
  | (By & { readonly kind: 'DeleteAssignment'; readonly scope: string; readonly name: string })
  | { readonly kind: 'SetSubscription'; readonly state: SubscriptionState }
  // What has become of pools, and of time.
  | { readonly kind: 'Started'; readonly poolId: string }
  | { readonly kind: 'StartFailed'; readonly poolId: string; readonly reason: string }
  | { readonly kind: 'Stopped'; readonly poolId: string }
  | { readonly kind: 'Destroyed'; readonly poolId: string }
  | { readonly kind: 'TimePassed' }
  /** The meter has all events up to this number. */
  | { readonly kind: 'EventsTold'; readonly through: number };
