// The private directory of a pool, and those that dead processes have left. A directory's name says whose it is: of which
// run of the machine and which space of process ids, of which process, and when that was started.
import { createHash } from 'node:crypto';
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const PREFIX = 'trivet-pool';
const NAME = /^trivet-pool-([0-9a-f]{8})-([0-9]+)-([0-9]+)-[^-]+$/;
const START_FIELD = 19;

/** Makes one (mode 0700), after it has removed what processes of this user left that have ended without closing a pool. */
export function makeHome(parent: string): string {
  const space = spaceName();
  removeLeft(parent, space);
  return mkdtempSync(join(parent, `${PREFIX}-${space}-${process.pid}-${startOf(process.pid) ?? 0}-`));
}

function removeLeft(parent: string, space: string): void {
  for (const name of readdirSync(parent)) {
    const [, theirs, pid, start] = NAME.exec(name) ?? [];
    if (theirs !== space || startOf(Number(pid)) === Number(start)) continue;
    const path = join(parent, name);
    try {
      const found = lstatSync(path);
      if (found.isDirectory() && found.uid === process.getuid?.())
        rmSync(path, { recursive: true, force: true });
    } catch {
      // Somebody else has just done it, or its processes are just ending: the next one tries again.
    }
  }
}

/** Process ids mean something there alone. */
function spaceName(): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
  return createHash('sha256')
    .update(boot)
    .update(readlinkSync('/proc/self/ns/pid'))
    .digest('hex')
    .slice(0, 8);
}

/** When a process was started, in ticks since the machine was; undefined when there is none. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_FIELD]);
  } catch {
    return undefined;
  }
}
