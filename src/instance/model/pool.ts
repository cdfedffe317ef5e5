// The pool itself: what it was founded with, and its own keys.
import { assert } from '../../values/assert.js';
import type { SealedKey } from '../../values/key-spec.js';
import type { Seconds } from '../../values/moments.js';
import type { Founding, StorageHost, TrustedInstances } from '../../values/messages.js';
import type { PoolFounded, SettingChanged } from './mutation.js';
import { put, type Change, type State } from './state.js';
import { Refusal } from './refusal.js';
import { assign } from './rbac/assign.js';
import { ADMINISTRATOR, CRYPTO_OFFICER, CRYPTO_USER } from './rbac/built-in-roles.js';

export interface Pool {
  readonly name: string;
  readonly founded: Seconds;
  /** Active once its security domain was downloaded, or another's restored; never back. */
  readonly activation: 'Active' | 'NotActivated';
  /** Names the golden tokens that hold the domain's data-wrapping key; this pool's own name for it. */
  readonly securityDomain: string;
  readonly tenantId: string;
  readonly issuers: Founding['issuers'];
  readonly attestors: NonNullable<Founding['attestors']>;
  /** Which instances may take part: hosts and measurements. */
  readonly trust: TrustedInstances;
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
  readonly settings: Readonly<Record<SettingName, boolean>>;
  /** The clock may be moved forward; only a pool that was founded so has this. */
  readonly movableClock?: true;
  /** Faults on request are suffered; only a pool that was founded so has this. */
  readonly faults?: true;
  /** Requests are served also while they cannot be recorded; only a pool that was founded so has this. */
  readonly auditOptional?: true;
  /** Where backups may be written to and read from; nothing else is ever asked. */
  readonly storage?: readonly StorageHost[];
  /** The backup or restore that runs. `closes`: nothing else is served until it has ended. */
  readonly job?: { readonly id: string; readonly closes: boolean };
  /** When the newest full backup that was finished was begun; absent before the first. */
  readonly backedUp?: Seconds;
}

/** The settings that the service has (section 14 of its reference). */
export const settingNames = ['AllowKeyManagementOperationsThroughARM'] as const;

export type SettingName = (typeof settingNames)[number];

/** A key of the pool's own, sealed like any other. */
export interface InternalKey {
  readonly sealed: SealedKey;
  /** DER, for a key that issues certificates. */
  readonly certificate?: Uint8Array;
}

/**
 * What the pool's own keys are for: to issue the data plane's TLS certificates, to certify partitions, to sign
 * released keys, to protect key backups, and to wrap the keys that may be released.
 */
export const internalPurposes = [
  'tls-issuer',
  'owner',
  'release-signer',
  'backup-protection',
  'export-wrapping',
] as const;

export type InternalPurpose = (typeof internalPurposes)[number];

/** Those that belong to the security domain and come back with it. The TLS issuer belongs to the pool. */
export const domainPurposes = ['owner', 'release-signer', 'backup-protection', 'export-wrapping'] as const;

export type DomainPurpose = (typeof domainPurposes)[number];

/** Purpose of the key under which a security domain is sent in; it exists while the pool waits for one. */
export const TRANSFER = 'transfer';

/** Id of an internal key in its slot. */
export function internalId(purpose: InternalPurpose | typeof TRANSFER): string {
  return `internal/${purpose}`;
}

/** The one record of the `pool` table; the service asserts that it is there once the pool is founded. */
export const POOL = 'pool';

/** Founds the pool: once, on an empty state. */
export function found(state: State, mutation: PoolFounded): Change[] | Refusal {
  if (state.get('pool', POOL) !== undefined) return new Refusal('AlreadyFounded', mutation.pool);
  const { founding } = mutation;
  const pool: Pool = {
    name: mutation.pool,
    founded: mutation.time,
    activation: 'NotActivated',
    securityDomain: mutation.securityDomain,
    tenantId: founding.tenantId,
    issuers: founding.issuers,
    attestors: founding.attestors ?? [],
    trust: founding.trust ?? { hosts: [], measurements: [] },
    retentionDays: founding.retentionDays,
    purgeProtection: founding.purgeProtection,
    // The HSM does not trust the control plane with its keys unless an Administrator says so.
    settings: { AllowKeyManagementOperationsThroughARM: false },
    ...(founding.movableClock && { movableClock: true as const }),
    ...(founding.faults && { faults: true as const }),
    ...(founding.auditOptional && { auditOptional: true as const }),
    ...(founding.storage && { storage: founding.storage }),
  };
  const changes = [
    put('pool', POOL, pool),
    ...internalPurposes.map((purpose) => put('internal', purpose, mutation.internal[purpose])),
  ];
  // Object ids are GUIDs and mean the same in any case; tokens are compared in lower case.
  const administrators = founding.administrators.map((id) => id.toLowerCase());
  const cryptoUsers = founding.cryptoUsers.map((id) => id.toLowerCase());
  const wished = [
    ...administrators.map((principal) => [principal, ADMINISTRATOR] as const),
    ...cryptoUsers.map((principal) => [principal, CRYPTO_OFFICER] as const),
    ...cryptoUsers.map((principal) => [principal, CRYPTO_USER] as const),
  ];
  return [...changes, ...assign(state, wished, mutation.assignmentIds)];
}

/** Why nothing but its jobs is served: what the pool holds is being replaced. Undefined when it is open. */
export function closedBy({ job }: Pool): Refusal | undefined {
  if (job?.closes !== true) return undefined;
  return new Refusal('Restoring', 'A full restore is running.');
}

/** Protects keys from early purges; nothing takes it back. */
export function protect(state: State): Change[] {
  const pool = state.get('pool', POOL);
  assert(pool !== undefined, 'a pool that hears of its owner is founded');
  return pool.purgeProtection ? [] : [put('pool', POOL, { ...pool, purgeProtection: true })];
}

/** Changes a setting of a founded pool. */
export function changeSetting(state: State, { name, value }: SettingChanged): Change[] {
  const pool = state.get('pool', POOL);
  assert(pool !== undefined, 'an active pool is founded');
  return [put('pool', POOL, { ...pool, settings: { ...pool.settings, [name]: value } })];
}
