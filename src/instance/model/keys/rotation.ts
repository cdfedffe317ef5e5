// Rotation policies: what they may say, and when they next ask for a new version (section 8 of the service's
// reference). Knows no clock.
import { addDuration, parseDuration } from '../../../values/duration.js';
import { DAY, LAST_SECOND, type Seconds } from '../../../values/moments.js';
import { Refusal } from '../refusal.js';
import type { KeyVersion } from './records.js';

export interface RotationPolicy {
  readonly created: Seconds;
  readonly updated: Seconds;
  /** How long a version made by rotation is valid; ISO 8601. */
  readonly expiryTime?: string;
  readonly actions: readonly RotationAction[];
}

/** One of the two triggers; ISO 8601. */
export interface RotationAction {
  /** `rotate` in any case, kept as the client wrote it. */
  readonly type: string;
  readonly timeAfterCreate?: string;
  readonly timeBeforeExpiry?: string;
}

/** What a client asks for, before it is checked. */
export type PolicyWish = Pick<RotationPolicy, 'expiryTime' | 'actions'>;

const ACTIONS_MAX = 2;
/** The shortest time between two rotations, and until a version ends. */
const SHORTEST: Seconds = 28 * DAY;
// Durations in months differ in length; they are measured from a moment whose months are as short as any in a row.
const FEBRUARY: Seconds = Date.UTC(2027, 1, 1) / 1000;

/** Undefined if the policy may be set. A policy without actions and expiry removes what is set. */
export function checkPolicy({ expiryTime, actions }: PolicyWish): Refusal | undefined {
  if (actions.length > ACTIONS_MAX) return bad(`at most ${ACTIONS_MAX} lifetime actions`);
  const expiry = expiryTime === undefined ? undefined : secondsOf(expiryTime);
  if (expiryTime !== undefined && expiry === undefined) return bad('expiryTime is not an ISO 8601 duration');
  if (expiry !== undefined && expiry < SHORTEST) return bad('expiryTime must be at least P28D');
  const triggers = new Set<string>();
  for (const action of actions) {
    const refusal = checkAction(action, expiry);
    if (refusal) return refusal;
    triggers.add(action.timeAfterCreate === undefined ? 'timeBeforeExpiry' : 'timeAfterCreate');
  }
  return triggers.size < actions.length ? bad('one lifetime action for each kind of trigger') : undefined;
}

function checkAction(action: RotationAction, expiry: Seconds | undefined): Refusal | undefined {
  const { type, timeAfterCreate, timeBeforeExpiry } = action;
  if (type.toLowerCase() !== 'rotate') return bad("the only lifetime action of a managed HSM is 'rotate'");
  if ((timeAfterCreate === undefined) === (timeBeforeExpiry === undefined)) {
    return bad('a trigger has either timeAfterCreate or timeBeforeExpiry');
  }
  if (timeAfterCreate !== undefined) {
    const after = secondsOf(timeAfterCreate);
    if (after === undefined) return bad('timeAfterCreate is not an ISO 8601 duration');
    if (after < SHORTEST) return bad('timeAfterCreate must be at least P28D');
    return undefined;
  }
  const before = secondsOf(timeBeforeExpiry ?? '');
  if (before === undefined) return bad('timeBeforeExpiry is not an ISO 8601 duration');
  if (expiry === undefined) return bad('timeBeforeExpiry needs an expiryTime');
  if (expiry - before < SHORTEST) return bad('timeBeforeExpiry must leave at least 28 days of expiryTime');
  return undefined;
}

function secondsOf(text: string): Seconds | undefined {
  const duration = parseDuration(text);
  return duration && addDuration(FEBRUARY, duration) - FEBRUARY;
}

function bad(rule: string): Refusal {
  return new Refusal('BadParameter', `Invalid rotation policy: ${rule}`);
}

/** Does the policy say nothing at all? */
export function isBlank({ expiryTime, actions }: PolicyWish): boolean {
  return expiryTime === undefined && actions.length === 0;
}

/** When a version that is made at `created` ends by the policy; undefined: never. */
export function expiryOf({ expiryTime }: RotationPolicy, created: Seconds): Seconds | undefined {
  const duration = expiryTime === undefined ? undefined : parseDuration(expiryTime);
  return duration && Math.min(addDuration(created, duration), LAST_SECOND);
}

/** When the version is to be followed by a new one; undefined: not by itself. A disabled version is left as it is. */
export function nextRotation(policy: RotationPolicy, newest: KeyVersion): Seconds | undefined {
  const { enabled, created, expires } = newest.attributes;
  if (!enabled) return undefined;
  const moments = policy.actions.map(({ timeAfterCreate, timeBeforeExpiry }) => {
    const duration = parseDuration(timeAfterCreate ?? timeBeforeExpiry ?? '');
    if (!duration) return Infinity;
    if (timeAfterCreate !== undefined) return addDuration(created, duration);
    return expires === undefined ? Infinity : addDuration(expires, duration, -1);
  });
  const first = Math.min(...moments);
  return Number.isFinite(first) ? first : undefined;
}
