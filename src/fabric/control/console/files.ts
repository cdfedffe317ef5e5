// The files of the console, as the build has left them in dist/console: read once, and served from memory by their exact
// name. No path of a request ever reaches the disk.
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';

export interface ConsoleFile {
  readonly type: string;
  readonly body: Buffer;
  /** Its name holds a hash of its content. */
  readonly lasting: boolean;
}

const DIRECTORY = join(__dirname, '../../../console');
/** What a console consists of; anything else that lies there is not served. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** By name; none when the console was not built. */
export function readConsole(directory = DIRECTORY): ReadonlyMap<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  for (const name of namesIn(directory)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    files.set(name, { type, body: readFileSync(join(directory, name)), lasting: name !== 'index.html' });
  }
  return files;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
