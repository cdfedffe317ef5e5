// Pools that were founded before, to be copied: founding takes most of a first start. Copies have the same keys, secrets
// and names. A template is for one build and one set of options; others beside it are not touched.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HarnessError } from './error.js';

const POLL_MS = 20;
const PATIENCE_MS = 180_000;
const PROGRAM = join(__dirname, '../program/instance/main.js');
const ADDONS = join(__dirname, '../../build/Release');

/** A founded pool that has left in order; `found` makes it at the directory that it is given. */
export type Found = (directory: string) => Promise<void>;

/**
 * Puts a copy of the template at `directory`, which must not exist. The first that asks for it lets `found` make it;
 * others, in other processes too, wait.
 */
export async function copyTemplate(
  templates: string,
  options: readonly string[],
  directory: string,
  found: Found,
): Promise<void> {
  mkdirSync(templates, { recursive: true, mode: 0o700 });
  refuseShared(templates);
  const template = join(templates, nameOf(options));
  const end = performance.now() + PATIENCE_MS;
  while (!existsSync(template)) {
    if (isFirst(`${template}.making`)) {
      try {
        const draft = join(`${template}.making`, 'data');
        await found(draft);
        renameSync(draft, template); // whole or not there
      } finally {
        rmSync(`${template}.making`, { recursive: true, force: true });
      }
    } else if (performance.now() > end) {
      throw new HarnessError(
        `waited in vain for the template ${template}; remove ${templates} and try again`,
      );
    } else {
      await sleep(POLL_MS);
    }
  }
  cpSync(template, directory, { recursive: true });
}

// Whoever can write there gives pools their keys, and whoever can read there has them.
function refuseShared(templates: string): void {
  const { uid, mode } = statSync(templates);
  if (uid === process.getuid?.() && (mode & 0o077) === 0) return;
  throw new HarnessError(`${templates} must be yours and closed to all others: chmod 700 ${templates}`);
}

// Another build, Node.js or module would be refused by the pool as something that it does not trust.
function nameOf(options: readonly string[]): string {
  const addons = readdirSync(ADDONS)
    .filter((name) => name.endsWith('.node'))
    .map((name) => {
      const { size, mtimeMs } = statSync(join(ADDONS, name));
      return [name, size, mtimeMs];
    });
  const module = process.env['TRIVET_PKCS11_MODULE'] ?? '';
  const facts = [process.version, module, addons, ...options];
  const hash = createHash('sha256').update(readFileSync(PROGRAM)).update(JSON.stringify(facts));
  return `pool-${hash.digest('hex').slice(0, 16)}`;
}

/** Whether this process makes it now; also in the place of one that has died over it. */
function isFirst(mark: string): boolean {
  const owner = join(mark, 'owner');
  try {
    mkdirSync(mark, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!isDead(owner)) return false;
    rmSync(mark, { recursive: true, force: true });
    return false; // the next look decides who is first
  }
  writeFileSync(owner, String(process.pid));
  return true;
}

function isDead(owner: string): boolean {
  try {
    const pid = readFileSync(owner, 'utf8');
    return pid !== '' && !existsSync(`/proc/${pid}`);
  } catch {
    return false; // it is just beginning, or has just finished
  }
}
