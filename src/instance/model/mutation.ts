// Mutations: everything that can change a pool's state. Times and random ids are inside, so that judging and
// applying are the same on every member.
import type { Founding, TrustedIssuer } from '../../values/messages.js';
import type { SealedKey } from '../../values/key-spec.js';
import type { Seconds } from '../../values/moments.js';
import type { JobError, JobOwner, JobWish } from './jobs/records.js';
import type { KeyOperation, KeyVersion } from './keys/records.js';
import type { KeyReleasePolicy } from './release/policy.js';
import type { PolicyWish, RotationPolicy } from './keys/rotation.js';
import type { InternalKey, InternalPurpose, SettingName } from './pool.js';
import type { DataAction } from './rbac/built-in-roles.js';
import type { Assignment, Caller, RoleDefinition, Scope } from './rbac/records.js';
import type { StagedTable, Tables } from './state.js';

/** On whose behalf: judged again in log order. Absent only for what the pool does by itself. */
export interface Authority {
  readonly caller: Caller;
  readonly action: DataAction;
  readonly scope: Scope;
}

interface Envelope {
  /** Random UUID; the same mutation is taken once however often it is submitted. */
  readonly id: string;
  readonly time: Seconds;
  readonly authority?: Authority;
}

export interface PoolFounded extends Envelope {
  readonly kind: 'PoolFounded';
  readonly pool: string;
  readonly founding: Founding;
  /** Names the tokens that every member made or got before. */
  readonly securityDomain: string;
  readonly internal: Readonly<Record<InternalPurpose, InternalKey>>;
  /** Names for the first role assignments, at least as many as there are. */
  readonly assignmentIds: readonly string[];
}

/** The key under which a security domain may be sent in; private half sealed, with a certificate. */
export interface TransferKeyMade extends Envelope {
  readonly kind: 'TransferKeyMade';
  readonly key: InternalKey;
}

/** The security domain was downloaded. */
export interface PoolActivated extends Envelope {
  readonly kind: 'PoolActivated';
}

/** A security domain was sent in. Every member makes its token for it before it says "prepared". */
export interface DomainRestored extends Envelope {
  readonly kind: 'DomainRestored';
  /** A UUID of this restoring's own: the name of the tokens. */
  readonly securityDomain: string;
  /** The restore blob as it came: each member opens it in its own slot. */
  readonly blob: string;
  /** All of them under the restored data-wrapping key; the TLS issuer is the pool's own, wrapped again. */
  readonly internal: Readonly<Record<InternalPurpose, InternalKey>>;
}

export interface KeyVersionCreated extends Envelope {
  readonly kind: 'KeyVersionCreated';
  readonly name: string;
  readonly version: string;
  readonly sealed: SealedKey;
  readonly operations: readonly KeyOperation[];
  readonly enabled: boolean;
  readonly notBefore?: Seconds;
  readonly expires?: Seconds;
  readonly tags?: Readonly<Record<string, string>>;
  readonly releasePolicy?: KeyReleasePolicy;
  /** The first version of a key: refused when there is one. */
  readonly onlyNew?: true;
}

/** A version that follows another and takes after it. */
export interface KeyRotated extends Envelope {
  readonly kind: 'KeyRotated';
  readonly name: string;
  readonly version: string;
  readonly sealed: SealedKey;
  /** The version that was the newest one and still must be; absent when somebody asked for the rotation. */
  readonly due?: string;
}

/** A blank policy removes what was set. */
export interface RotationPolicySet extends Envelope {
  readonly kind: 'RotationPolicySet';
  readonly name: string;
  readonly policy: PolicyWish;
}

/** A key with all its versions, from its backup. */
export interface KeyRestored extends Envelope {
  readonly kind: 'KeyRestored';
  readonly name: string;
  /** In order of creation; never empty. */
  readonly versions: readonly KeyVersion[];
  readonly rotation?: RotationPolicy;
  /** From the backup of a whole pool, by this job, which ends with it. */
  readonly job?: JobHold;
}

/** Members left out are kept. */
export interface KeyUpdated extends Envelope {
  readonly kind: 'KeyUpdated';
  readonly name: string;
  /** Absent: the newest at the time of judging. */
  readonly version?: string;
  readonly operations?: readonly KeyOperation[];
  readonly enabled?: boolean;
  readonly notBefore?: Seconds;
  readonly expires?: Seconds;
  readonly tags?: Readonly<Record<string, string>>;
  readonly releasePolicy?: KeyReleasePolicy;
}

export interface KeyDeleted extends Envelope {
  readonly kind: 'KeyDeleted';
  readonly name: string;
}

export interface KeyRecovered extends Envelope {
  readonly kind: 'KeyRecovered';
  readonly name: string;
}

export interface KeyPurged extends Envelope {
  readonly kind: 'KeyPurged';
  readonly name: string;
  /** By the pool itself, at the end of retention. */
  readonly due?: true;
}

/** Keys are not purged before the end of their retention, from now on and for good. */
export interface PurgeProtectionSet extends Envelope {
  readonly kind: 'PurgeProtectionSet';
}

export interface SettingChanged extends Envelope {
  readonly kind: 'SettingChanged';
  readonly name: SettingName;
  readonly value: boolean;
}

/** One entry of a list more or less. */
export interface TrustChanged extends Envelope {
  readonly kind: 'TrustChanged';
  readonly change: TrustChange;
}

/** An issuer that is added takes the place of the one of its name; of the others there is either one or none. */
export type TrustChange =
  | { readonly list: 'hosts' | 'measurements'; readonly add: string }
  | { readonly list: 'issuers'; readonly add: TrustedIssuer }
  | { readonly list: 'hosts' | 'measurements'; readonly remove: string }
  /** By its `iss`. */
  | { readonly list: 'issuers'; readonly remove: string };

/** A custom role as it is from now on, in place of whatever had its name. */
export interface RoleDefinitionPut extends Envelope {
  readonly kind: 'RoleDefinitionPut';
  readonly definition: RoleDefinition;
}

export interface RoleDefinitionDeleted extends Envelope {
  readonly kind: 'RoleDefinitionDeleted';
  readonly name: string;
}

export interface RoleAssignmentCreated extends Envelope {
  readonly kind: 'RoleAssignmentCreated';
  readonly assignment: Assignment;
}

export interface RoleAssignmentDeleted extends Envelope {
  readonly kind: 'RoleAssignmentDeleted';
  /** All of it as it was read: refused if something else bears its name by now. */
  readonly assignment: Assignment;
}

/** Names a job that runs and, by its attempt, who runs it: what another did before or does after is refused. */
export interface JobHold {
  readonly id: string;
  readonly attempt: number;
}

/** A backup or restore begins; of these there is one at a time. */
export interface JobStarted extends Envelope {
  readonly kind: 'JobStarted';
  readonly authority: Authority;
  readonly wish: JobWish;
  readonly owner: JobOwner;
}

/** Another runs the job from now on: who ran it does not take part any more. */
export interface JobTaken extends Envelope {
  readonly kind: 'JobTaken';
  /** As it is run until now. */
  readonly job: JobHold;
  readonly owner: JobOwner;
}

/** How far it is, for people who wait. */
export interface JobProgressed extends Envelope {
  readonly kind: 'JobProgressed';
  readonly job: JobHold;
  readonly done: number;
  readonly total: number;
}

export interface JobFinished extends Envelope {
  readonly kind: 'JobFinished';
  readonly job: JobHold;
  /** Absent: it has succeeded. */
  readonly error?: JobError;
}

/** Some records of a backup, gathered until all are there. */
export interface RestoreStaged extends Envelope {
  readonly kind: 'RestoreStaged';
  readonly job: JobHold;
  /** From 1 on, without a gap. */
  readonly number: number;
  readonly records: readonly StagedRecord[];
}

export type StagedRecord = {
  [T in StagedTable]: readonly [table: T, id: string, record: Tables[T]];
}[StagedTable];

/** Some of what was gathered is dropped again; repeated until nothing is left. */
export interface StagingRemoved extends Envelope {
  readonly kind: 'StagingRemoved';
  readonly job: JobHold;
}

/** What was gathered takes the place of what the pool held, and the job has succeeded. */
export interface RestoreSwitched extends Envelope {
  readonly kind: 'RestoreSwitched';
  readonly job: JobHold;
  /** How many records were gathered: all that the backup holds. */
  readonly records: number;
  readonly settings: Readonly<Record<SettingName, boolean>>;
}

export type Mutation =
  | PoolFounded
  | ActivationMutation
  | PurgeProtectionSet
  | SettingChanged
  | TrustChanged
  | KeyMutation
  | RoleMutation
  | JobMutation;
export type JobMutation =
  JobStarted | JobTaken | JobProgressed | JobFinished | RestoreStaged | StagingRemoved | RestoreSwitched;
export type ActivationMutation = TransferKeyMade | PoolActivated | DomainRestored;
export type RoleMutation =
  RoleDefinitionPut | RoleDefinitionDeleted | RoleAssignmentCreated | RoleAssignmentDeleted;
export type KeyMutation =
  | KeyVersionCreated
  | KeyRotated
  | RotationPolicySet
  | KeyRestored
  | KeyUpdated
  | KeyDeleted
  | KeyRecovered
  | KeyPurged;

/**
 * The blobs that every slot must open before the mutation may stand. Those of a restored domain are opened by the token
 * that is made for it.
 */
export function sealedIn(mutation: Mutation): readonly SealedKey[] {
  switch (mutation.kind) {
    case 'PoolFounded':
      return Object.values(mutation.internal).map(({ sealed }) => sealed);
    case 'KeyVersionCreated':
    case 'KeyRotated':
      return [mutation.sealed];
    case 'KeyRestored':
      return mutation.versions;
    case 'TransferKeyMade':
      return [mutation.key.sealed];
    case 'RestoreStaged':
      return mutation.records.flatMap(([table, , record]) => (table === 'stagedVersions' ? [record] : []));
    case 'JobStarted':
    case 'JobTaken':
    case 'JobProgressed':
    case 'JobFinished':
    case 'StagingRemoved':
    case 'RestoreSwitched':
    case 'PoolActivated':
    case 'DomainRestored':
    case 'PurgeProtectionSet':
    case 'SettingChanged':
    case 'TrustChanged':
    case 'RotationPolicySet':
    case 'KeyUpdated':
    case 'KeyDeleted':
    case 'KeyRecovered':
    case 'KeyPurged':
    case 'RoleDefinitionPut':
    case 'RoleDefinitionDeleted':
    case 'RoleAssignmentCreated':
    case 'RoleAssignmentDeleted':
      return [];
  }
}
