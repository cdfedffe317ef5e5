// The audit logs of a pool's three instances, as one list.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { auditFileName, auditFileNumber } from '../values/audit.js';

/** A record as it lies in the log; what requests have is in docs/audit.md. */
export interface AuditRecord {
  /** Whose log it is in. */
  readonly instance: number;
  /** ISO 8601. */
  readonly time: string;
  readonly category: string;
  readonly operationName?: string;
  readonly resultType?: string;
  readonly httpStatusCode?: number;
  readonly [member: string]: unknown;
}

/** All whole records of one instance, oldest first. `pool`: the directory of the pool. */
export function recordsOf(pool: string, instance: number): AuditRecord[] {
  const directory = join(pool, 'instances', String(instance), 'audit');
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .map(auditFileNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b)
    .map((number) => readFileSync(join(directory, auditFileName(number)), 'utf8'))
    .flatMap((text) => text.split('\n').slice(0, -1)) // what follows the last line feed is being written
    .map((line) => ({ ...(JSON.parse(line) as Omit<AuditRecord, 'instance'>), instance }) as AuditRecord);
}
