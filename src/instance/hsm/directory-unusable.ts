// Damage: what lies in this instance's directory cannot be used in this pool. Starting on it again is no help, so its
// place is taken by an empty directory, and the instance joins from there.

/** The message says what is wrong; the `cause` what the slot or the store said. */
export class DirectoryUnusable extends Error {
  override readonly name = 'DirectoryUnusable';
}

/**
 * What the task gives; its failure as damage, unless it comes from a machine that is out of something, which says
 * nothing about the directory.
 */
export async function usable<T>(what: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    if (isShortage(cause)) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DirectoryUnusable(`${what}: ${why}`, { cause });
  }
}

const SHORTAGES = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM', 'EACCES', 'EROFS']);

// The store's writer is a thread, and of its errors only the words arrive.
function isShortage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined && SHORTAGES.has(code)) return true;
  return /disk is full|out of memory|disk I\/O error|unable to open database/i.test(error.message);
}
