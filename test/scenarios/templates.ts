// Pools that were founded once in a test run, and are copied for each test that wants one like it: founding takes most
// of a start, and to most tests it does not matter which pool they are given. Copies have the same keys and the same
// principals. Knows nothing of what is in a pool's directory.
import { cpSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The directory of this run; made and removed by `test/build.cjs` and `test/clean.cjs`. */
const TEMPLATES = process.env['TRIVET_TEMPLATES'];
const PATIENCE_MS = 120_000;
const POLL_MS = 20;

/** The options for which a template is worth it: those that several files ask for, and that name nothing of a run. */
const KINDS = new Map([
  ['', 'active'],
  ['--no-activate', 'waiting'],
]);

/** A pool that runs. */
interface Founded {
  readonly directory: string;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Puts a copy of the template for these options at `directory`, which must not exist. The first in a run that asks
 * for one makes it from a pool that `found` gives; others wait. Where there is no template for such options nothing is
 * done.
 */
export async function copyTemplate(
  options: readonly string[],
  directory: string,
  found: () => Promise<Founded>,
): Promise<void> {
  const kind = KINDS.get(options.join(' '));
  if (kind === undefined || TEMPLATES === undefined) return;
  const template = join(TEMPLATES, kind);
  const failed = `${template}.failed`;
  if (isFirst(`${template}.asked`)) {
    try {
      const pool = await found();
      try {
        await pool.stop();
        renameSync(pool.directory, template); // whole or not there
      } finally {
        await pool.remove();
      }
    } catch (error) {
      writeFileSync(failed, '');
      throw error;
    }
  }
  const end = performance.now() + PATIENCE_MS;
  while (!existsSync(template)) {
    if (existsSync(failed)) return; // who made it has told why; this pool is founded like any other
    if (performance.now() > end) throw new Error(`waited in vain for the template of ${kind} pools`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  cpSync(template, directory, { recursive: true });
}

function isFirst(mark: string): boolean {
  try {
    mkdirSync(mark);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}
