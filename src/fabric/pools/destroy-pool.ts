// Removes a pool for good: each file is overwritten once, synced and unlinked, directories are synced and removed. What
// a file system keeps elsewhere (journals, snapshots, copies on write) and flash keeps in spare blocks is beyond it.
// May be cut off anywhere and begun again.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { constants, lstat, open, readdir, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { PoolError } from './pool-file.js';

const CHUNK = Buffer.alloc(1 << 20);
const LOCKED = 75;

/** Whether a pool of this name has any file. */
export function hasFiles(directory: string, name: string): boolean {
  const home = join(directory, name);
  if (!existsSync(home)) return false;
  return readdirSync(home, { recursive: true, withFileTypes: true }).some((entry) => !entry.isDirectory());
}

/**
 * Leaves no file of the pool; false when it was stopped half-way. Throws a {@link PoolError} while a process still holds one of its directories.
 * `goOn`: asked before each file; on false it stops.
 */
export async function destroyPool(directory: string, name: string, goOn: () => boolean): Promise<boolean> {
  const home = join(directory, name);
  if (!existsSync(home)) return true;
  await refuseInUse(join(home, 'instances'));
  const fate = await destroyDirectory(home, goOn);
  await syncDirectory(directory);
  return fate !== 'cut off';
}

// A killed fabric's instances die with it, but not in the same instant.
async function refuseInUse(instances: string): Promise<void> {
  for (const entry of existsSync(instances) ? await readdir(instances) : []) {
    const lock = join(instances, entry, 'lock');
    if (existsSync(lock) && (await isLocked(lock))) {
      throw new PoolError(`${join(instances, entry)} is in use by another process`);
    }
  }
}

function isLocked(lock: string): Promise<boolean> {
  return new Promise((resolve) => {
    const flags = ['--nonblock', '--conflict-exit-code', String(LOCKED), lock, 'true'];
    execFile('flock', flags, (error) => resolve(error?.code === LOCKED));
  });
}

type Fate = 'gone' | 'emptied' | 'cut off';

async function destroyDirectory(path: string, goOn: () => boolean): Promise<Fate> {
  let emptied = false;
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (!goOn()) return 'cut off';
    const inner = join(path, entry.name);
    if (!entry.isDirectory()) {
      await destroyFile(inner);
      continue;
    }
    const fate = await destroyDirectory(inner, goOn);
    if (fate === 'cut off') return fate;
    emptied ||= fate === 'emptied';
  }
  await syncDirectory(path);
  if (emptied) return 'emptied';
  try {
    await rmdir(path);
    return 'gone';
  } catch (error) {
    // A disk of its own stays where it is mounted.
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return 'emptied';
    throw error;
  }
}

async function destroyFile(path: string): Promise<void> {
  // Only what the entry itself holds: a link is removed, and what it points to is not ours.
  if ((await lstat(path)).isFile()) {
    const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      const { size } = await file.stat();
      for (let at = 0; at < size; at += CHUNK.length) {
        await file.write(CHUNK, 0, Math.min(CHUNK.length, size - at), at);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await unlink(path);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
