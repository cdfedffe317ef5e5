// Who is who among the processes of this machine: who holds a file open, who listens on a port. Reads /proc; processes
// of other users do not show what they have open, so somebody may stay unknown.
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { Unknown, type Holder, type Maybe } from './facts.js';

const HIDDEN: Holder = { pid: null, command: 'a program that does not show itself' };

/** What every visible process has open, looked at once. */
export class Processes {
  readonly #holders = new Map<string, number[]>();

  constructor() {
    for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
      for (const target of openBy(pid)) {
        const known = this.#holders.get(target);
        if (known) known.push(Number(pid));
        else this.#holders.set(target, [Number(pid)]);
      }
    }
  }

  /** Those that hold a lock file, by its path without symbolic links: who has it open has locked it. */
  holdersOf(path: string): Holder[] {
    const open = [...new Set(this.#holders.get(path) ?? [])].map(holder);
    return open.length > 0 || !isLocked(path) ? open : [HIDDEN];
  }

  /** Who listens on a TCP port; undefined: nobody. */
  listenerOn(port: number): Holder | undefined {
    const sockets = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeners(table, port));
    if (sockets.length === 0) return undefined;
    const [pid] = sockets.flatMap((inode) => this.#holders.get(`socket:[${inode}]`) ?? []);
    return pid === undefined ? HIDDEN : holder(pid);
  }
}

/** The soft limit of a process; undefined: none. */
export function softLimit(pid: number | 'self', name: string): Maybe<number | undefined> {
  try {
    const line = readFileSync(`/proc/${pid}/limits`, 'utf8')
      .split('\n')
      .find((one) => one.startsWith(name));
    const soft = line?.slice(name.length).trim().split(/\s+/)[0];
    if (soft === undefined) return new Unknown(`/proc/${pid}/limits does not tell "${name}"`);
    return soft === 'unlimited' ? undefined : Number(soft);
  } catch (error) {
    return new Unknown(`limits cannot be read: ${String(error)}`);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether anybody at all holds it; the kernel tells everybody, if not always who. */
function isLocked(path: string): boolean {
  try {
    const inode = `:${statSync(path).ino} `;
    const locks = readFileSync('/proc/locks', 'latin1').split('\n');
    return locks.some((line) => line.includes('FLOCK') && line.includes(inode));
  } catch {
    return false; // there is no such file
  }
}

function holder(pid: number): Holder {
  return { pid, command: commandOf(pid) };
}

function commandOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    // What somebody calls a program must not speak to a terminal.
    return words.replaceAll(/\p{Cc}/gu, '?').slice(0, 100) || 'a program without a name';
  } catch {
    return 'a program that has just ended';
  }
}

function openBy(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((file) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${file}`)];
      } catch {
        return []; // closed meanwhile
      }
    });
  } catch {
    return []; // of another user, or gone
  }
}

/** Inodes of the sockets that listen on a port. */
function listeners(table: string, port: number): string[] {
  const LISTEN = '0A';
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  try {
    return readFileSync(table, 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local = '', , state]) => local.endsWith(wanted) && state === LISTEN)
      .map((fields) => fields[9] ?? '');
  } catch {
    return []; // a kernel without IPv6
  }
}
