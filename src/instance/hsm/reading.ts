// The steps that every verb shares: wait for what is undecided, then judge the caller and find the key in one
// synchronous turn on committed state. Knows nothing of HTTP.
import type { Tag } from '../model/judge.js';
import { algorithmFor, mayUse, type Algorithm, type CryptoOperation } from '../model/keys/use.js';
import { versionId, type DeletedKey, type Key, type KeyVersion } from '../model/keys/records.js';
import { closedBy, POOL, type Pool } from '../model/pool.js';
import { permit } from '../model/rbac/permit.js';
import type { DataAction } from '../model/rbac/built-in-roles.js';
import type { Caller, Scope } from '../model/rbac/records.js';
import { heed, Refusal, RefusedError } from '../model/refusal.js';
import type { State } from '../model/state.js';
import type { Hsm } from './hsm.js';

/** What a caller's rights depend on, and the pool's own condition. */
function rightsTags(caller: Caller): Tag[] {
  const tags: Tag[] = ['pool', 'definitions', `principal:${caller.objectId}`];
  for (const group of caller.groups) tags.push(`principal:${group}`);
  return tags;
}

/**
 * Runs `read` once nothing undecided touches what is named (with `keys`, any key), the caller or the pool: in the
 * same turn when nothing does, which is the rule. `read` must begin with {@link allow}, since a wait may have changed
 * everything, and must do all its reading before its first `await`.
 */
export function settledRead<T>(
  hsm: Hsm,
  caller: Caller,
  touched: Tag | 'keys' | undefined,
  read: () => T,
): T | Promise<Awaited<T>> {
  const tags: (Tag | 'keys')[] = rightsTags(caller);
  if (touched !== undefined) tags.push(touched);
  const current = (): T => {
    hsm.requireLease();
    return read();
  };
  const wait = hsm.settled(tags);
  if (wait === undefined) return current();
  return wait.then(current) as Promise<Awaited<T>>;
}

/** Goes on only if the pool is in service and the caller holds the action at the scope. */
export function allow(hsm: Hsm, caller: Caller, action: DataAction, scope: Scope): Pool {
  const pool = hsm.state.get('pool', POOL);
  if (pool?.activation !== 'Active') refuse('NotActivated', 'The HSM is not activated');
  heed(permit(hsm.state, caller, action, scope));
  const closed = closedBy(pool);
  if (closed) throw new RefusedError(closed);
  return pool;
}

/** The same for what is answered also while a full restore runs, and for the whole HSM. */
export function allowThroughout(hsm: Hsm, caller: Caller, action: DataAction): Pool {
  const pool = hsm.state.get('pool', POOL);
  if (pool?.activation !== 'Active') refuse('NotActivated', 'The HSM is not activated');
  heed(permit(hsm.state, caller, action, '/'));
  return pool;
}

/** Throws the refusal. */
export function refuse(code: Refusal['code'], detail: string): never {
  throw new RefusedError(new Refusal(code, detail));
}

/** The scope of one key. */
export function keyScope(name: string): Scope {
  return `/keys/${name}`;
}

/** The key, or the refusal that it does not exist or is deleted. */
export function liveKey(state: State, name: string): Key {
  return state.get('keys', name) ?? refuse('KeyNotFound', `keys/${name}`);
}

/** The deleted key, or the refusal that there is none. */
export function deletedKey(state: State, name: string): DeletedKey {
  return state.get('deleted', name) ?? refuse('DeletedKeyNotFound', `deletedkeys/${name}`);
}

/** The newest version of a live or deleted key. */
export function newestVersion(state: State, key: Key): KeyVersion {
  const version = key.versions.at(-1) ?? '';
  return state.get('versions', versionId(key.name, version)) ?? refuse('KeyNotFound', `keys/${key.name}`);
}

/** A version of a live key; the newest unless one is named. */
export function liveVersion(state: State, name: string, version: string | undefined): KeyVersion {
  const key = liveKey(state, name);
  if (version === undefined) return newestVersion(state, key);
  const found = state.get('versions', versionId(name, version));
  return found ?? refuse('KeyNotFound', `keys/${name}/${version}`);
}

/** Which key is to do what. */
export interface KeyUse {
  readonly name: string;
  /** Absent: the newest. */
  readonly version?: string | undefined;
  /** As the client writes it; judged here. */
  readonly algorithm: string;
}

/** The data action and the `key_ops` value behind a cryptographic verb. */
export interface Purpose {
  readonly action: DataAction;
  readonly operation: CryptoOperation;
  readonly use: Algorithm['use'];
}

export interface UsableKey {
  readonly key: KeyVersion;
  readonly algorithm: Algorithm;
}

/** The version that may do this for this caller now; called inside {@link settledRead}. */
export function usableKey(hsm: Hsm, caller: Caller, purpose: Purpose, wish: KeyUse): UsableKey {
  allow(hsm, caller, purpose.action, keyScope(wish.name));
  const key = liveVersion(hsm.state, wish.name, wish.version);
  heed(mayUse(key, purpose.operation, hsm.now()));
  return { key, algorithm: heed(algorithmFor(key.spec, purpose.use, wish.algorithm)) };
}
