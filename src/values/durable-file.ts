// Files that survive a power cut: written elsewhere, synced, renamed into place, and the rename itself synced.
// A reader sees the old content or the new, never a part.
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Replaces a file's content; `mode` is the file's mode from its first byte on. */
export function writeDurably(path: string, content: string, mode = 0o644): void {
  // The directory has one writer, by its lock; what a killed one left is overwritten.
  const draft = `${path}.new`;
  rmSync(draft, { force: true }); // an old draft would keep its own mode
  const file = openSync(draft, 'wx', mode);
  try {
    const bytes = Buffer.from(content);
    let written = 0;
    while (written < bytes.length) written += writeSync(file, bytes, written);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncDirectory(dirname(path));
}

/** Makes a directory and its missing parents, for its owner only, and syncs the entry. */
export function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  chmodSync(path, 0o700); // whatever the umask took away
  syncDirectory(path);
  for (let made = path; ; made = dirname(made)) {
    syncDirectory(join(made, '..'));
    if (made === first || made === dirname(made)) return;
  }
}

/** Makes what was created, renamed or removed in a directory survive. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
