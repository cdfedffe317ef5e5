// What the pool does to keys by itself, in order of time: rotations by policy and purges at the end of retention. The
// table follows from the keys, so that the next thing to do is found without looking at every key.
import type { Seconds } from '../../../values/moments.js';
import { put, remove, type Change } from '../state.js';
import { MAX_VERSIONS } from './limits.js';
import type { DeletedKey, Key, KeyVersion } from './records.js';
import { nextRotation } from './rotation.js';

export type Due = { readonly name: string; readonly time: Seconds } & (
  | { readonly kind: 'rotate'; /** The version that is to be followed. */ readonly version: string }
  | { readonly kind: 'purge' }
);

/** When a key is next rotated by its policy. A key with all the versions it may have is left alone. */
export function rotationDue(key: Key, newest: KeyVersion): Seconds | undefined {
  if (!key.rotation || key.versions.length >= MAX_VERSIONS) return undefined;
  return nextRotation(key.rotation, newest);
}

/** Puts a live key, whatever else the record says, and what is due for it in place of what was. */
export function putKey(before: Key | undefined, key: Key, newest: KeyVersion): Change[] {
  const { name, versions, rotation } = key;
  const live: Key = { name, versions, ...(rotation === undefined ? {} : { rotation }) };
  const time = rotationDue(key, newest);
  if (time === undefined) return [...drop(before, undefined), put('keys', name, live)];
  const id = dueId(time, name);
  return [
    ...drop(before, id),
    put('due', id, { name, time, kind: 'rotate', version: newest.version }),
    put('keys', name, { ...live, due: id }),
  ];
}

/** Puts a deleted key, and the end of its retention in place of what was due. */
export function putDeleted(before: Key, deleted: DeletedKey): Change[] {
  const { name, scheduledPurge: time } = deleted;
  const id = dueId(time, name);
  return [
    ...drop(before, id),
    put('due', id, { name, time, kind: 'purge' }),
    put('deleted', name, { ...deleted, due: id }),
  ];
}

/** Takes away what was due, unless the same place is taken again. */
export function drop(before: Key | undefined, taken: string | undefined): Change[] {
  return before?.due === undefined || before.due === taken ? [] : [remove('due', before.due)];
}

// Sorted by time, as texts too.
function dueId(time: Seconds, name: string): string {
  return `${String(time).padStart(12, '0')}/${name}`;
}
