// What a person is told when a command fails: a sentence for what can happen to anybody, a stack trace only for our
// own mistakes.

/** A command that cannot do its work; the message says what to do about it. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

const EXPECTED = new Set([
  'CommandError',
  'EstateError',
  'JournalError',
  'PoolError',
  'StorageError',
  'ViewError',
]);

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (EXPECTED.has(error.name) || isSystemError(error)) return error.message;
  return error.stack ?? error.message;
}

// A full disk, a directory of somebody else: the message names the file.
function isSystemError(error: Error): boolean {
  return 'syscall' in error && 'code' in error;
}
