// What a key and a role assignment answer, one request at a time: what histories are judged by. Written from the
// service's documentation; shares no code with the product. Knows no HTTP.
import type { Model, Operation } from './linearizable.js';

// ---- a key -----------------------------------------------------------------------------------------------------

export type KeyCall =
  /** `mark` is in the version's tags, and in no other request. */
  | { readonly do: 'create'; readonly mark: string }
  | { readonly do: 'update'; readonly mark: string; readonly enabled: boolean }
  | { readonly do: 'setPolicy' | 'rotate' | 'delete' | 'recover' | 'purge' }
  | { readonly do: 'get' | 'getDeleted' | 'sign' | 'versions' }
  /** Whether the key is in the list of the living, or of the deleted. */
  | { readonly do: 'isListed' | 'isListedDeleted' };

/** One version as an answer shows it. */
export interface VersionSeen {
  readonly version: string;
  readonly enabled: boolean;
  readonly mark: string;
}

export type KeyResult =
  /** The newest version, after the change where it is one. */
  | ({ readonly is: 'version' } & VersionSeen)
  /** The version that signed. */
  | { readonly is: 'signed'; readonly version: string }
  | { readonly is: 'done' | 'notFound' | 'heldByDeleted' | 'disabled' | 'noPolicy' }
  | { readonly is: 'listed'; readonly there: boolean }
  /** All versions, oldest first; no more than {@link VERSIONS_PAGE} of them. */
  | { readonly is: 'versions'; readonly all: readonly VersionSeen[] };

/** Versions on a page. */
export const VERSIONS_PAGE = 25;

/** A version whose id nobody was told yet has none. */
interface Version {
  readonly id: string | null;
  readonly enabled: boolean;
  readonly mark: string;
}

export interface KeyState {
  readonly is: 'absent' | 'live' | 'deleted';
  readonly policy: boolean;
  readonly versions: readonly Version[];
}

const READS: ReadonlySet<KeyCall['do']> = new Set([
  ...(['get', 'getDeleted', 'sign', 'versions', 'isListed', 'isListedDeleted'] as const),
]);

const REFUSALS: ReadonlySet<KeyResult['is']> = new Set([
  ...(['notFound', 'heldByDeleted', 'disabled', 'noPolicy'] as const),
]);

export const isKeyRead = (call: KeyCall): boolean => READS.has(call.do);

const ABSENT: KeyState = { is: 'absent', policy: false, versions: [] };

/** The model of one key, for the history that it will judge. */
export function keyModelFor(
  history: readonly Operation<KeyCall, KeyResult>[],
): Model<KeyState, KeyCall, KeyResult> {
  // Versions whose making was acknowledged belong to that request; any other is of one that got no answer.
  const claimed = new Set(
    history.flatMap(({ call, answer }) =>
      (call.do === 'create' || call.do === 'rotate') && answer?.result.is === 'version'
        ? [answer.result.version]
        : [],
    ),
  );
  return {
    initial: ABSENT,
    nameOf: nameOfKey,
    changesNothing: ({ do: what }, { is }) => READS.has(what) || REFUSALS.has(is),
    step: (state, call, result) => stepKey(state, call, result, claimed),
  };
}

function nameOfKey({ is, policy, versions }: KeyState): string {
  const shown = versions.map(({ id, enabled, mark }) => `${id ?? '?'}${enabled ? '+' : '-'}${mark}`);
  return `${is}${policy ? '*' : ''} ${shown.join(' ')}`;
}

function stepKey(
  state: KeyState,
  call: KeyCall,
  result: KeyResult | undefined,
  claimed: ReadonlySet<string>,
): KeyState[] {
  const live = state.is === 'live';
  const newest = state.versions.at(-1);
  const when = (right: boolean, next: KeyState = state): KeyState[] => (right ? [next] : []);
  const notFound = (): KeyState[] => when(result === undefined || result.is === 'notFound');
  /** The change takes place, and its answer shows the newest version. */
  const changed = (next: KeyState): KeyState[] =>
    result === undefined ? [next] : result.is === 'version' ? seen(next, result, claimed) : [];
  const withVersion = (enabled: boolean, mark: string): KeyState[] => {
    if (result !== undefined && result.is !== 'version') return [];
    const version: Version = { id: result?.version ?? null, enabled, mark };
    return changed({ ...state, is: 'live', versions: [...state.versions, version] });
  };
  switch (call.do) {
    case 'create':
      if (state.is === 'deleted') return when(result === undefined || result.is === 'heldByDeleted');
      return withVersion(true, call.mark);
    case 'setPolicy':
      if (!live) return notFound();
      return when(result === undefined || result.is === 'done', { ...state, policy: true });
    case 'rotate':
      if (!live || !newest) return notFound();
      if (!state.policy) return when(result === undefined || result.is === 'noPolicy');
      return withVersion(true, newest.mark);
    case 'update': {
      if (!live || !newest) return notFound();
      const next = { ...newest, enabled: call.enabled, mark: call.mark };
      return changed({ ...state, versions: [...state.versions.slice(0, -1), next] });
    }
    case 'delete':
      return live ? changed({ ...state, is: 'deleted' }) : notFound();
    case 'recover':
      return state.is === 'deleted' ? changed({ ...state, is: 'live' }) : notFound();
    case 'purge':
      return state.is === 'deleted' ? when(result === undefined || result.is === 'done', ABSENT) : notFound();
    case 'get':
      return live ? changed(state) : notFound();
    case 'getDeleted':
      return state.is === 'deleted' ? changed(state) : notFound();
    case 'sign': {
      if (!live || !newest) return notFound();
      if (!newest.enabled) return when(result === undefined || result.is === 'disabled');
      if (result === undefined) return [state];
      if (result.is !== 'signed') return [];
      return seen(state, { ...newest, version: result.version }, claimed);
    }
    case 'versions': {
      if (result === undefined) return [state];
      if (result.is !== 'versions') return [];
      const shown = live ? state.versions.slice(0, VERSIONS_PAGE) : [];
      if (shown.length !== result.all.length) return [];
      const versions = shown.map((version, place) => bound(version, result.all[place], claimed));
      if (versions.some((version) => version === undefined)) return [];
      return [{ ...state, versions: [...(versions as Version[]), ...state.versions.slice(shown.length)] }];
    }
    case 'isListed':
      return when(result === undefined || (result.is === 'listed' && result.there === live));
    case 'isListedDeleted':
      return when(
        result === undefined || (result.is === 'listed' && result.there === (state.is === 'deleted')),
      );
  }
}

/** The state when its newest version is what was shown; none when it is not. */
function seen(state: KeyState, shown: VersionSeen, claimed: ReadonlySet<string>): KeyState[] {
  const newest = state.versions.at(-1);
  const version = newest && bound(newest, shown, claimed);
  if (!version) return [];
  if (version === newest) return [state];
  return [{ ...state, versions: [...state.versions.slice(0, -1), version] }];
}

/** A version with the id that it was shown with; undefined when it was shown as what it is not. */
function bound(
  version: Version,
  shown: VersionSeen | undefined,
  claimed: ReadonlySet<string>,
): Version | undefined {
  if (!shown || shown.enabled !== version.enabled || shown.mark !== version.mark) return undefined;
  if (version.id === shown.version) return version;
  if (version.id !== null || claimed.has(shown.version)) return undefined;
  return { ...version, id: shown.version };
}

// ---- a role assignment -----------------------------------------------------------------------------------------

/** `use` is a request of the principal that only this assignment allows. */
export interface RoleCall {
  readonly do: 'assign' | 'take' | 'get' | 'use';
}

export interface RoleResult {
  readonly is: 'done' | 'exists' | 'notFound' | 'allowed' | 'denied';
}

export const isRoleRead = (call: RoleCall): boolean => call.do === 'get' || call.do === 'use';

/** One assignment by its name: there or not. */
export const roleModel: Model<boolean, RoleCall, RoleResult> = {
  initial: false,
  nameOf: (there) => (there ? 'there' : 'absent'),
  changesNothing: (call, { is }) => isRoleRead(call) || is === 'exists' || is === 'notFound',
  step(there, call, result) {
    const answers = (right: RoleResult['is'], next = there): boolean[] =>
      result === undefined || result.is === right ? [next] : [];
    switch (call.do) {
      case 'assign':
        return there ? answers('exists') : answers('done', true);
      case 'take':
        return there ? answers('done', false) : answers('notFound');
      case 'get':
        return answers(there ? 'done' : 'notFound');
      case 'use':
        return answers(there ? 'allowed' : 'denied');
    }
  },
};
