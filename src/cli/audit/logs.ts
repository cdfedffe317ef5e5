// Where the audit logs of a pool lie.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Places } from '../../fabric/pools/estate.js';
import { auditFileName, auditFileNumber } from '../../values/audit.js';
import { CommandError } from '../failure.js';
import type { LogFile } from './check-log.js';

export interface PoolOptions {
  dataDir: string;
  pool?: string;
}

export interface PoolLogs {
  readonly pool: string;
  /** Of each instance that the pool has, in order. */
  readonly logs: readonly { readonly instance: number; readonly directory: string }[];
}

/** Logs of the pool that is named, or of the only one. */
export function findLogs({ dataDir, pool: wished }: PoolOptions): PoolLogs {
  const places = new Places(dataDir);
  const pools = existsSync(places.pools)
    ? readdirSync(places.pools).filter((name) => existsSync(join(places.pools, name, 'instances')))
    : [];
  const name = wished?.toLowerCase() ?? pools[0];
  if (name === undefined) throw new CommandError(`there is no pool in ${places.root}`);
  if (!pools.includes(name)) throw new CommandError(`there is no pool ${name} in ${places.root}`);
  if (wished === undefined && pools.length > 1) {
    throw new CommandError(`there are several pools, name one with --pool: ${pools.join(', ')}`);
  }
  const instances = join(places.pools, name, 'instances');
  const logs = readdirSync(instances)
    .filter((id) => /^[0-9]$/.test(id))
    .sort()
    .map((id) => ({ instance: Number(id), directory: join(instances, id, 'audit') }));
  return { pool: name, logs };
}

/** The files of a log, oldest first; none when there is no log. */
export function filesOf(directory: string): readonly LogFile[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .map(auditFileNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b)
    .map((number) => ({ number, read: () => readFileSync(join(directory, auditFileName(number))) }));
}
