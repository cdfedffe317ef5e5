// The ready document: what a program needs to use what `up` started. Also what `status` shows.
import { existsSync, readdirSync } from 'node:fs';
import type { FabricStatus } from '../fabric/control/management.js';
import { Places, readAdmin } from '../fabric/pools/estate.js';
import type { AdminFile } from '../fabric/pools/estate.js';

/** The administrator's credentials are null when the owner took `admin.json` away. */
export type ReadyDocument = FabricStatus & {
  readonly admin: AdminFile | null;
  /** What the owner should change; absent when there is nothing. */
  readonly warnings?: readonly string[];
};

/** Adds what only the owner's files tell. */
export function readyDocument(dataDirectory: string, status: FabricStatus): ReadyDocument {
  const { pools, ...rest } = status;
  const places = new Places(dataDirectory);
  const keys = custodianKeysIn(places.custodians);
  const warnings =
    keys.length === 0
      ? []
      : [
          `${keys.length} custodian keys lie in ${places.custodians}: whoever reads them and the security domain file ` +
            'has the HSM; give each to its custodian and leave none here',
        ];
  return {
    ...rest,
    admin: readAdmin(places) ?? null,
    pools,
    ...(warnings.length > 0 && { warnings }),
  };
}

function custodianKeysIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith('.key')) : [];
}
