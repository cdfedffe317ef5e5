// What a pool is on disk: pool.json, and a directory for each of its instances. Opens nothing inside those.
//
// Layout: pools/{name}/pool.json, pools/{name}/view.json, pools/{name}/instances/{0,1,2}/, and .../{N}.broken-{time}/
// for the newest one that had to be replaced.
import { existsSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Founding } from '../../values/messages.js';
import { makeDirectory, writeDurably } from '../../values/durable-file.js';

/** The instances of every pool. */
export const MEMBERS = [0, 1, 2] as const;
// The service's own rule for names: 3..24 letters, digits and single hyphens, a letter first, no hyphen last.
const NAME = /^[a-z](?:-?[a-z0-9])+$/;

/** A pool that cannot be created or started; the message says which instance and why. */
export class PoolError extends Error {
  override readonly name = 'PoolError';
}

export interface PoolFile {
  readonly name: string;
  /** Tells it from an earlier pool of the name; absent from pools that were made before there was a way to delete one. */
  readonly poolId?: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly founding: Founding;
}

/** Checks a name and gives the form that host names use. */
export function poolName(wish: string): string {
  const name = wish.toLowerCase();
  if (name.length < 3 || name.length > 24 || !NAME.test(name)) {
    throw new PoolError(
      `"${wish}" is no pool name: 3 to 24 letters, digits and single hyphens, beginning with a letter`,
    );
  }
  return name;
}

/** The names of the pools in a directory; one that was not created to its end does not count. */
export function listPools(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => isCreated(directory, name))
    .sort();
}

/** Whether a pool was created with a clock that can be moved. */
export function hasMovableClock(directory: string, name: string): boolean {
  return readPool(directory, name).founding.movableClock === true;
}

/** Whether a pool was created to suffer faults on request. */
export function suffersFaults(directory: string, name: string): boolean {
  return readPool(directory, name).founding.faults === true;
}

/** Whether a pool was created to go on while its audit log cannot be written. */
export function hasOptionalAudit(directory: string, name: string): boolean {
  return readPool(directory, name).founding.auditOptional === true;
}

/** The issuers that a pool was created to believe. */
export function issuersOf(directory: string, name: string): Founding['issuers'] {
  return readPool(directory, name).founding.issuers;
}

export function readPool(directory: string, name: string): PoolFile {
  return JSON.parse(readFileSync(join(directory, name, 'pool.json'), 'utf8')) as PoolFile;
}

/** Whether a pool was created to its end. */
export function isCreated(directory: string, name: string): boolean {
  return existsSync(join(directory, name, 'pool.json'));
}

/** Makes the directories of a new pool. The pool exists once its pool.json does, which is written last. */
export function createPool(directory: string, name: string, founding: Founding, poolId?: string): void {
  for (const member of MEMBERS) makeDirectory(join(directory, name, 'instances', String(member)));
  const file: PoolFile = {
    name,
    ...(poolId !== undefined && { poolId }),
    createdAt: new Date().toISOString(),
    founding,
  };
  writeDurably(join(directory, name, 'pool.json'), `${JSON.stringify(file, null, 2)}\n`, 0o600);
}

/** Where the instances of a pool are. */
export function instanceDirectory(directory: string, name: string, instance: number): string {
  return join(directory, name, 'instances', String(instance));
}

export function viewFile(directory: string, name: string): string {
  return join(directory, name, 'view.json');
}

/**
 * Makes an empty directory in the place of one that nobody works on; the old one is kept, instead of any before it.
 * Undefined when it cannot be kept: where an instance has a disk of its own, its directory cannot be renamed.
 */
export function setAside(instanceHome: string): string | undefined {
  const [parent, name] = [dirname(instanceHome), basename(instanceHome)];
  const before = readdirSync(parent).filter((entry) => entry.startsWith(`${name}.broken-`));
  const kept = `${instanceHome}.broken-${new Date().toISOString().replaceAll(/[-:]/g, '')}`;
  try {
    renameSync(instanceHome, kept);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    empty(instanceHome);
    return undefined;
  }
  makeDirectory(instanceHome);
  for (const entry of before) rmSync(join(parent, entry), { recursive: true, force: true });
  return kept;
}

/** Empties a directory that nobody works on. It stays itself: it may be where a disk is mounted. */
export function empty(instanceHome: string): void {
  makeDirectory(instanceHome);
  for (const entry of readdirSync(instanceHome)) {
    rmSync(join(instanceHome, entry), { recursive: true, force: true });
  }
}
