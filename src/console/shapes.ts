// What the console reads, as the API of the control port and of a pool writes it; members that nobody shows are left
// out.
import type { InstanceFigures } from '../values/figures.js';

export interface Instance {
  readonly id: number;
  readonly pid: number | null;
  readonly role: 'primary' | 'backup' | 'joining' | 'starting' | 'down';
  readonly inSync: boolean;
  readonly restarts: number;
  readonly paused?: true;
  /** Kept away by a fault on request. */
  readonly unplugged?: true;
  readonly joining?: { readonly phase: string; readonly done: number; readonly total: number };
  readonly reason?: string;
}

export interface Pool {
  readonly name: string;
  readonly uri: string;
  readonly activation: 'Active' | 'NotActivated';
  readonly ownerFingerprint: string | null;
  readonly epoch: number;
  readonly instances: readonly Instance[];
}

export interface Status {
  readonly pools: readonly Pool[];
}

export interface Figures {
  readonly pools: readonly {
    readonly name: string;
    readonly instances: readonly { readonly instance: number; readonly figures: InstanceFigures }[];
  }[];
}

export interface Meter {
  readonly pools: readonly {
    readonly name: string;
    readonly state: string;
    readonly hours: number;
    readonly cost: number;
    readonly provisioned: string;
    readonly purged: string | null;
  }[];
  readonly total: number;
  readonly currency: string;
  readonly ratePerHour: number;
  readonly time: string;
}

/** Times in seconds since 1970. */
export interface KeyAttributes {
  readonly enabled: boolean;
  readonly created: number;
  readonly updated: number;
  readonly exp?: number;
  readonly nbf?: number;
  readonly exportable?: boolean;
  readonly key_size?: number;
  readonly recoveryLevel: string;
}

export interface KeyItem {
  readonly kid: string;
  readonly attributes: KeyAttributes;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface DeletedKeyItem extends KeyItem {
  readonly deletedDate: number;
  readonly scheduledPurgeDate: number;
}

export interface Page<T> {
  readonly value: readonly T[];
  readonly nextLink?: string;
}

export interface KeyBundle {
  readonly key: {
    readonly kid: string;
    readonly kty: string;
    readonly key_ops: readonly string[];
    readonly crv?: string;
    readonly n?: string;
  };
  readonly attributes: KeyAttributes;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface RotationPolicy {
  readonly attributes: { readonly expiryTime?: string };
  readonly lifetimeActions: readonly {
    readonly action: { readonly type: string };
    readonly trigger: { readonly timeAfterCreate?: string; readonly timeBeforeExpiry?: string };
  }[];
}

export interface RoleDefinition {
  readonly id: string;
  readonly properties: { readonly roleName: string; readonly description: string; readonly type: string };
}

export interface RoleAssignment {
  readonly name: string;
  readonly properties: {
    readonly principalId: string;
    readonly roleDefinitionId: string;
    readonly scope: string;
  };
}

export interface Principal {
  readonly name: string;
  readonly objectId: string;
}

export interface AuditTail {
  readonly instance: number;
  readonly value: readonly string[];
}
