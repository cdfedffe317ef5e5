// Where the keys of an HSM are served through the control plane: behind authentication, the api-version, and the
// caller's role in Azure RBAC. What a handler there is given; the handlers themselves are somebody else's.
import type { Response } from 'express';
import type { Pool } from '../../pools/pool.js';

/** The HSM that a request under `…/managedHSMs/{name}/keys` means, and who asks. */
export interface KeysTarget {
  /** `/subscriptions/…/managedHSMs/{name}` as the resource spells it. */
  readonly resourceId: string;
  readonly location: string;
  readonly pool: Pool;
  /** The caller's own token for the control plane, which has been believed here; the instance believes it for itself. */
  readonly token: string;
  readonly objectId: string;
}

export function keysTarget(response: Response): KeysTarget {
  return response.locals['keysTarget'] as KeysTarget;
}

export function setKeysTarget(response: Response, target: KeysTarget): void {
  response.locals['keysTarget'] = target;
}
