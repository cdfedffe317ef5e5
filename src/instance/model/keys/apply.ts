// What may become true of keys. Knows no clock, no disk, no slot.
import { isDeepStrictEqual } from 'node:util';
import { assert, unreachable } from '../../../values/assert.js';
import { DAY } from '../../../values/moments.js';
import type {
  KeyMutation,
  KeyPurged,
  KeyRestored,
  KeyRotated,
  KeyUpdated,
  KeyVersionCreated,
  RotationPolicySet,
} from '../mutation.js';
import { ended, heldJob } from '../jobs/apply.js';
import { POOL } from '../pool.js';
import { Refusal } from '../refusal.js';
import { put, remove, type Change, type State } from '../state.js';
import { drop, putDeleted, putKey, rotationDue } from './due.js';
import { MAX_VERSIONS } from './limits.js';
import { nameTaken } from './names.js';
import { mayReplace } from '../release/policy.js';
import { versionId, type Key, type KeyAttributes, type KeyVersion } from './records.js';
import { checkPolicy, expiryOf, isBlank } from './rotation.js';

export function applyToKeys(state: State, mutation: KeyMutation): Change[] | Refusal {
  const { name } = mutation;
  switch (mutation.kind) {
    case 'KeyVersionCreated':
      return create(state, mutation);
    case 'KeyRotated':
      return rotate(state, mutation);
    case 'RotationPolicySet':
      return setPolicy(state, mutation);
    case 'KeyRestored':
      return restore(state, mutation);
    case 'KeyUpdated':
      return update(state, mutation);
    case 'KeyDeleted': {
      const key = state.get('keys', name);
      if (!key) return new Refusal('KeyNotFound', `keys/${name}`);
      const days = state.get('pool', POOL)?.retentionDays;
      assert(days !== undefined, 'a pool with keys is founded');
      const deleted = { ...key, deleted: mutation.time, scheduledPurge: mutation.time + days * DAY };
      return [remove('keys', name), ...putDeleted(key, deleted), again(newestOf(state, key))];
    }
    case 'KeyRecovered': {
      const deleted = state.get('deleted', name);
      if (!deleted) return new Refusal('DeletedKeyNotFound', `deletedkeys/${name}`);
      const newest = newestOf(state, deleted);
      return [remove('deleted', name), ...putKey(deleted, deleted, newest), again(newest)];
    }
    case 'KeyPurged':
      return purge(state, mutation);
    default:
      return unreachable(mutation);
  }
}

function newestOf(state: State, key: Key): KeyVersion {
  const newest = state.get('versions', versionId(key.name, key.versions.at(-1) ?? ''));
  assert(newest !== undefined, 'a key has a version');
  return newest;
}

/** A version, unchanged: the answer to the caller shows it and is made from the changes alone. */
function again(version: KeyVersion): Change {
  return put('versions', version.id, version);
}

function create(state: State, mutation: KeyVersionCreated): Change[] | Refusal {
  const { name, version, operations, enabled, notBefore, expires, tags, releasePolicy, time } = mutation;
  const key = state.get('keys', name);
  if (key && mutation.onlyNew) return new Refusal('KeyExists', name);
  const taken = key ? undefined : nameTaken(state, name);
  if (taken) return taken;
  return addVersion(state, key ?? { name, versions: [] }, {
    ...mutation.sealed,
    name,
    version,
    operations,
    attributes: {
      enabled,
      ...(notBefore === undefined ? {} : { notBefore }),
      ...(expires === undefined ? {} : { expires }),
      created: time,
      updated: time,
    },
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
  });
}

function addVersion(state: State, key: Key, record: KeyVersion): Change[] | Refusal {
  if (key.versions.length >= MAX_VERSIONS) {
    return new Refusal('TooManyVersions', `the key ${key.name} has ${MAX_VERSIONS} versions`);
  }
  const id = versionId(key.name, record.version);
  assert(record.id === id && state.get('versions', id) === undefined, 'a version is made once');
  const versions = [...key.versions, record.version];
  return [...putKey(key, { ...key, versions }, record), put('versions', id, record)];
}

// The new version takes after the newest; how long it is valid the policy says.
function rotate(state: State, mutation: KeyRotated): Change[] | Refusal {
  const { name, version, sealed, due, time } = mutation;
  const key = state.get('keys', name);
  if (!key) return new Refusal('KeyNotFound', `keys/${name}`);
  const { rotation } = key;
  if (!rotation) return new Refusal('BadParameter', `The key ${name} has no rotation policy`);
  const newest = newestOf(state, key);
  if (due !== undefined) {
    const moment = rotationDue(key, newest);
    if (due !== newest.version || moment === undefined || time < moment) return changed(name);
  }
  // Made for the version that was the newest when the slot was asked.
  if (!isDeepStrictEqual(sealed.spec, newest.spec) || sealed.exportable !== newest.exportable) {
    return changed(name);
  }
  const expires = expiryOf(rotation, time);
  const { operations, tags, releasePolicy } = newest;
  return addVersion(state, key, {
    ...sealed,
    name,
    version,
    operations,
    attributes: {
      enabled: true,
      ...(expires === undefined ? {} : { expires }),
      created: time,
      updated: time,
    },
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
  });
}

function changed(name: string): Refusal {
  return new Refusal('KeyChanged', `The key ${name} was changed meanwhile`);
}

function setPolicy(state: State, { name, policy, time }: RotationPolicySet): Change[] | Refusal {
  const key = state.get('keys', name);
  if (!key) return new Refusal('KeyNotFound', `keys/${name}`);
  const refusal = checkPolicy(policy);
  if (refusal) return refusal;
  const { rotation, ...rest } = key;
  const next = isBlank(policy)
    ? rest
    : { ...rest, rotation: { ...policy, created: rotation?.created ?? time, updated: time } };
  return putKey(key, next, newestOf(state, key));
}

function restore(state: State, mutation: KeyRestored): Change[] | Refusal {
  const { name, versions, rotation, job: hold, time } = mutation;
  const pool = state.get('pool', POOL);
  const job = hold && heldJob(state, hold);
  if (job instanceof Refusal) return job;
  assert(pool !== undefined, 'a pool with keys is founded');
  if (state.get('keys', name)) return new Refusal('KeyExists', name);
  const taken = nameTaken(state, name);
  if (taken) return taken;
  const newest = versions.at(-1);
  assert(newest !== undefined && versions.length <= MAX_VERSIONS, 'a backup holds what a key can hold');
  const key: Key = {
    name,
    versions: versions.map(({ version }) => version),
    ...(rotation === undefined ? {} : { rotation }),
  };
  const end = job ? ended(pool, job, time) : [];
  return [...putKey(undefined, key, newest), ...versions.map(again), ...end];
}

function purge(state: State, { name, time, due }: KeyPurged): Change[] | Refusal {
  const deleted = state.get('deleted', name);
  if (!deleted) return new Refusal('DeletedKeyNotFound', `deletedkeys/${name}`);
  const early = time < deleted.scheduledPurge;
  if (early && due) return changed(name);
  if (early && state.get('pool', POOL)?.purgeProtection === true) return new Refusal('PurgeProtected', name);
  return [
    ...drop(deleted, undefined),
    remove('deleted', name),
    ...deleted.versions.map((version) => remove('versions', versionId(name, version))),
  ];
}

function update(state: State, mutation: KeyUpdated): Change[] | Refusal {
  const { name, operations, tags, releasePolicy } = mutation;
  const key = state.get('keys', name);
  if (!key) return new Refusal('KeyNotFound', `keys/${name}`);
  const version = mutation.version ?? key.versions.at(-1);
  assert(version !== undefined, 'a key has a version');
  const old = state.get('versions', versionId(name, version));
  if (!old) return new Refusal('KeyNotFound', `keys/${name}/${version}`);
  const attributes: KeyAttributes = {
    ...old.attributes,
    ...(mutation.enabled === undefined ? {} : { enabled: mutation.enabled }),
    ...(mutation.notBefore === undefined ? {} : { notBefore: mutation.notBefore }),
    ...(mutation.expires === undefined ? {} : { expires: mutation.expires }),
  };
  const { notBefore, expires } = attributes;
  if (notBefore !== undefined && expires !== undefined && notBefore >= expires) {
    return new Refusal('BadParameter', 'The not-before date must come before the expiry date');
  }
  // As another key it would decrypt what was wrapped for it, which nobody is to see in clear.
  if (operations && operations.includes('import') !== old.operations.includes('import')) {
    return new Refusal(
      'BadParameter',
      "The key operation 'import' can be neither given nor taken away later",
    );
  }
  if (releasePolicy) {
    const refusal = old.exportable ? mayReplace(old.releasePolicy, releasePolicy) : policyUseless();
    if (refusal) return refusal;
  }
  const same =
    operations === undefined &&
    tags === undefined &&
    (releasePolicy === undefined || isDeepStrictEqual(releasePolicy, old.releasePolicy)) &&
    sameWindow(old.attributes, attributes);
  if (same) return [again(old)];
  const next: KeyVersion = {
    ...old,
    operations: operations ?? old.operations,
    attributes: { ...attributes, updated: mutation.time },
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
  };
  // When a version is rotated follows from its times.
  const moved = key.rotation && version === key.versions.at(-1) ? putKey(key, key, next) : [];
  return [...moved, put('versions', old.id, next)];
}

/** Why a key that cannot be released has no release policy. */
export function policyUseless(): Refusal {
  return new Refusal('BadParameter', 'Non-exportable keys must not have release policy');
}

function sameWindow(a: KeyAttributes, b: KeyAttributes): boolean {
  return a.enabled === b.enabled && a.notBefore === b.notBefore && a.expires === b.expires;
}
