// What may become true of keys. Knows no clock, no disk, no slot.
import { assert, unreachable } from '../../../values/assert.js';
import { DAY } from '../../../values/moments.js';
import type { KeyMutation, KeyUpdated, KeyVersionCreated } from '../mutation.js';
import { POOL } from '../pool.js';
import { Refusal } from '../refusal.js';
import { put, remove, type Change, type State } from '../state.js';
import { MAX_KEYS, MAX_VERSIONS } from './limits.js';
import { versionId, type Key, type KeyAttributes, type KeyVersion } from './records.js';

export function applyToKeys(state: State, mutation: KeyMutation): Change[] | Refusal {
  const { name } = mutation;
  switch (mutation.kind) {
    case 'KeyVersionCreated':
      return addVersion(state, mutation);
    case 'KeyUpdated':
      return update(state, mutation);
    case 'KeyDeleted': {
      const key = state.get('keys', name);
      if (!key) return new Refusal('KeyNotFound', `keys/${name}`);
      const days = state.get('pool', POOL)?.retentionDays;
      assert(days !== undefined, 'a pool with keys is founded');
      const deleted = { ...key, deleted: mutation.time, scheduledPurge: mutation.time + days * DAY };
      return [remove('keys', name), put('deleted', name, deleted), ...newestAgain(state, key)];
    }
    case 'KeyRecovered': {
      const deleted = state.get('deleted', name);
      if (!deleted) return new Refusal('DeletedKeyNotFound', `deletedkeys/${name}`);
      const key = { name, versions: deleted.versions };
      return [remove('deleted', name), put('keys', name, key), ...newestAgain(state, key)];
    }
    case 'KeyPurged': {
      const deleted = state.get('deleted', name);
      if (!deleted) return new Refusal('DeletedKeyNotFound', `deletedkeys/${name}`);
      if (state.get('pool', POOL)?.purgeProtection === true && mutation.time < deleted.scheduledPurge) {
        return new Refusal('PurgeProtected', name);
      }
      return [
        remove('deleted', name),
        ...deleted.versions.map((version) => remove('versions', versionId(name, version))),
      ];
    }
    default:
      return unreachable(mutation);
  }
}

/** The newest version, unchanged: the answer to the caller shows it and is made from the changes alone. */
function newestAgain(state: State, key: Key): Change[] {
  const record = state.get('versions', versionId(key.name, key.versions.at(-1) ?? ''));
  assert(record !== undefined, 'a key has a version');
  return [put('versions', record.id, record)];
}

function addVersion(state: State, mutation: KeyVersionCreated): Change[] | Refusal {
  const { name, version } = mutation;
  if (state.get('deleted', name)) return new Refusal('NameHeldByDeletedKey', name);
  const key = state.get('keys', name);
  if (!key && state.count('keys') + state.count('deleted') >= MAX_KEYS) {
    return new Refusal('TooManyKeys', `the pool holds ${MAX_KEYS} keys, deleted ones included`);
  }
  if (key && key.versions.length >= MAX_VERSIONS) {
    return new Refusal('TooManyVersions', `the key ${name} has ${MAX_VERSIONS} versions`);
  }
  const id = versionId(name, version);
  assert(mutation.sealed.id === id && state.get('versions', id) === undefined, 'a version is made once');
  const record: KeyVersion = {
    ...mutation.sealed,
    name,
    version,
    operations: mutation.operations,
    attributes: {
      enabled: mutation.enabled,
      ...(mutation.notBefore === undefined ? {} : { notBefore: mutation.notBefore }),
      ...(mutation.expires === undefined ? {} : { expires: mutation.expires }),
      created: mutation.time,
      updated: mutation.time,
    },
    ...(mutation.tags === undefined ? {} : { tags: mutation.tags }),
  };
  return [
    put('keys', name, { name, versions: [...(key?.versions ?? []), version] }),
    put('versions', id, record),
  ];
}

function update(state: State, mutation: KeyUpdated): Change[] | Refusal {
  const { name } = mutation;
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
  const changed: KeyVersion = {
    ...old,
    operations: mutation.operations ?? old.operations,
    attributes,
    ...(mutation.tags === undefined ? {} : { tags: mutation.tags }),
  };
  const same =
    mutation.operations === undefined &&
    mutation.tags === undefined &&
    sameWindow(old.attributes, attributes);
  if (same) return [put('versions', old.id, old)];
  return [put('versions', old.id, { ...changed, attributes: { ...attributes, updated: mutation.time } })];
}

function sameWindow(a: KeyAttributes, b: KeyAttributes): boolean {
  return a.enabled === b.enabled && a.notBefore === b.notBefore && a.expires === b.expires;
}
