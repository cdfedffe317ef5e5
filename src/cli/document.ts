// The ready document: what a program needs to use what `up` started. Also what `status` shows.
import type { FabricStatus } from '../fabric/control/management.js';
import { Places, readAdmin } from '../fabric/pools/estate.js';
import type { AdminFile } from '../fabric/pools/estate.js';

/** The administrator's credentials are null when the owner took `admin.json` away. */
export type ReadyDocument = FabricStatus & { readonly admin: AdminFile | null };

/** Adds what only the owner's files tell. */
export function readyDocument(dataDirectory: string, status: FabricStatus): ReadyDocument {
  const { pools, ...rest } = status;
  return { ...rest, admin: readAdmin(new Places(dataDirectory)) ?? null, pools };
}
