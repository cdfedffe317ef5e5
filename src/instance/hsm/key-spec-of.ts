// Of what kind a key is, without asking who wants to know: for nobody outside.
import type { KeySpec } from '../../values/key-spec.js';
import { versionId } from '../model/keys/records.js';
import type { State } from '../model/state.js';

/** Of a version of a live key, the newest unless one is named; undefined when there is none. */
export function keySpecOf(state: State, name: string, version: string | undefined): KeySpec | undefined {
  const wanted = version ?? state.get('keys', name)?.versions.at(-1);
  return wanted === undefined ? undefined : state.get('versions', versionId(name, wanted))?.spec;
}
