// One request, once its sender is known and its route found; and how its handler answers.
import type { AuditTrail } from '../hsm/audit.js';
import type { Hsm } from '../hsm/hsm.js';
import type { IsOwnHost } from './hosts.js';
import type { Identity } from './identity.js';
import type { Query } from './target.js';

export interface Call {
  readonly hsm: Hsm;
  readonly audit: AuditTrail;
  readonly caller: Identity;
  /** `https://{host}`: the start of every URL in the answer. */
  readonly base: string;
  readonly owns: IsOwnHost;
  /** Name of the key; empty where the route has none. */
  readonly name: string;
  readonly version: string | undefined;
  /** Name of the role definition, role assignment or setting, in lower case; empty where the route has none. */
  readonly item: string;
  readonly query: Query;
}

/** JSON text; empty for 204. */
export type Answer = string | Promise<string>;

/**
 * Writes the outcome of a verb: at once when the verb had it at once, so that a signature made in line on the event
 * loop costs no turn of it.
 */
export function whenDone<T>(outcome: T | Promise<T>, write: (outcome: T) => string): Answer {
  return outcome instanceof Promise ? outcome.then(write) : write(outcome);
}
