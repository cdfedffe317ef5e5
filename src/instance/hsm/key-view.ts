// What a verb shows of a key: everything but the blob and, for symmetric keys, the check value.
import type { KeySpec, PublicPart } from '../../values/key-spec.js';
import type { Seconds } from '../../values/moments.js';
import { assert, AssertionError } from '../../values/assert.js';
import type { KeyReleasePolicy } from '../model/release/policy.js';
import type { DeletedKey, KeyVersion } from '../model/keys/records.js';
import { POOL, type Pool } from '../model/pool.js';
import type { State } from '../model/state.js';
import type { Committed } from './hsm.js';

export interface AttributesView {
  readonly enabled: boolean;
  readonly notBefore?: Seconds;
  readonly expires?: Seconds;
  readonly created: Seconds;
  readonly updated: Seconds;
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
  readonly exportable: boolean;
  /** Bits, of a symmetric key. */
  readonly keySize?: number;
}

/** A key in a list. */
export interface KeyItemView {
  readonly name: string;
  readonly version: string;
  readonly attributes: AttributesView;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface KeyView extends KeyItemView {
  readonly spec: KeySpec;
  /** Absent for symmetric keys. */
  readonly public?: Exclude<PublicPart, { kty: 'oct' }>;
  readonly operations: readonly string[];
  readonly releasePolicy?: KeyReleasePolicy;
}

export interface DeletionView {
  readonly deleted: Seconds;
  readonly scheduledPurge: Seconds;
}

export interface DeletedKeyItemView extends KeyItemView, DeletionView {}
export interface DeletedKeyView extends KeyView, DeletionView {}

/** Part of a list; `next` is the place to go on from, absent on the last page. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

/** A version as lists show it. */
export function itemView(key: KeyVersion, pool: Pool): KeyItemView {
  const { name, version, tags } = key;
  const { retentionDays, purgeProtection } = pool;
  return {
    name,
    version,
    attributes: {
      ...key.attributes,
      retentionDays,
      purgeProtection,
      exportable: key.exportable ?? false,
      ...(key.spec.kty === 'oct-HSM' ? { keySize: key.spec.size } : {}),
    },
    ...(tags === undefined ? {} : { tags }),
  };
}

/** A version with its public side. */
export function keyView(key: KeyVersion, pool: Pool): KeyView {
  const { spec, operations, releasePolicy } = key;
  const shown = key.public.kty === 'oct' ? {} : { public: key.public };
  return {
    ...itemView(key, pool),
    spec,
    operations,
    ...shown,
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
  };
}

/** When a key was deleted, and until when it can be recovered. */
export function deletionView(key: DeletedKey): DeletionView {
  return { deleted: key.deleted, scheduledPurge: key.scheduledPurge };
}

/**
 * The one version that a committed mutation put. An answer is made from the mutation's own changes: state may already
 * be newer, and two writers must never see each other's results.
 */
export function versionPut({ changes }: Committed, id?: string): KeyVersion {
  for (const change of changes) {
    if (change.table === 'versions' && change.value !== null && (id === undefined || change.id === id)) {
      return change.value;
    }
  }
  throw new AssertionError('a committed mutation of a key puts a version');
}

/** The deleted key that a committed deletion put. */
export function deletionPut({ changes }: Committed): DeletedKey {
  for (const change of changes) if (change.table === 'deleted' && change.value !== null) return change.value;
  throw new AssertionError('a committed deletion puts a deleted key');
}

/** The pool's settings that every view shows; they are fixed when the pool is founded. */
export function poolOf(state: State): Pool {
  const pool = state.get('pool', POOL);
  assert(pool !== undefined, 'a pool with keys is founded');
  return pool;
}
