// `trivet up` as a child process in a directory of its own: started, watched until it is ready, ended to the last of its
// processes. The child reads from a pipe whose other end this process holds, and leaves when that closes: by the end of
// this process too, however it ends.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HarnessError } from './error.js';

/** What a running pool says of itself, as far as it is used here; see the ready file of `trivet up`. */
export interface Ready {
  readonly controlPlane: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly caFile: string;
  readonly admin: {
    readonly clientId: string;
    readonly clientSecret: string;
    readonly objectId: string;
  } | null;
  readonly pools: readonly PoolStatus[];
  /** The blob service beside the pool, if it was asked for. */
  readonly storage?: { readonly uri: string; readonly account: string; readonly keyFile: string };
}

export interface PoolStatus {
  readonly name: string;
  readonly uri: string;
  readonly activation: 'Active' | 'NotActivated';
  readonly epoch: number;
  readonly instances: readonly PartitionStatus[];
}

/** See `trivet status`. */
export interface PartitionStatus {
  readonly id: number;
  readonly pid: number | null;
  readonly role: 'primary' | 'backup' | 'joining' | 'starting' | 'down';
  /** Serves, and nothing is acknowledged without it. */
  readonly inSync: boolean;
  /** Where it alone answers; null while it does not serve. */
  readonly uri: string | null;
  readonly restarts: number;
  readonly paused?: true;
  readonly unplugged?: true;
  /** How it ended last; present until it serves again. */
  readonly reason?: string;
}

const MAIN = join(__dirname, '../cli/main.js');
/** What of a child's output is kept for a message. */
const OUTPUT_MAX = 65_536;
const POLL_MS = 5;
/** A process that was killed is gone by then, or something is wrong with the machine. */
const GONE_MS = 10_000;
/** A running pool lets requests finish first. */
const STOP_MS = 30_000;
/** They would change what the pool's own processes do, and are meant for this one. */
const OURS = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'TRIVET_HOME', 'TRIVET_ACCESS_TOKEN'];

/** One run of `trivet up`. */
export class Up {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #exited: Promise<void>;
  #output = '';
  #ended: string | undefined;

  private constructor(directory: string, readyFile: string, options: readonly string[]) {
    this.#directory = directory;
    const places = ['--data-dir', directory, '--ready-file', readyFile];
    const ports = ['--control-port', '0', '--data-port', '0'];
    const environment = { ...process.env };
    for (const name of OURS) Reflect.deleteProperty(environment, name);
    this.#child = spawn(
      process.execPath,
      [MAIN, 'up', ...places, ...ports, '--leave-with-stdin', ...options],
      { stdio: 'pipe', env: environment },
    );
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_MAX);
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    // It may be gone when it is told to leave.
    this.#child.stdin?.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#ended ??= reason;
        resolve();
      };
      this.#child.once('error', (error) => end(`node cannot be started: ${error.message}`));
      this.#child.once('close', (code, signal) => end(`it ended with ${String(code ?? signal)}`));
    });
  }

  /**
   * Starts it and waits until it is ready.
   * @throws HarnessError with what it said, and nothing of it is left running.
   */
  static async start(
    directory: string,
    readyFile: string,
    options: readonly string[],
    patienceMs: number,
  ): Promise<{ up: Up; ready: Ready }> {
    const up = new Up(directory, readyFile, options);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), patienceMs);
    });
    const seen = await Promise.race([up.#ready(readyFile), up.#exited, late]);
    clearTimeout(timer);
    if (typeof seen === 'object') {
      up.#hold('unref');
      return { up, ready: seen };
    }
    await up.kill();
    const why = seen === 'late' ? `it was not ready within ${patienceMs / 1_000} s` : (up.#ended ?? '');
    throw new HarnessError(up.#inWords(why));
  }

  /** All that it has printed, its end if that was long. */
  get output(): string {
    return this.#output;
  }

  /** Lets requests finish, and ends when all that was answered is in order on the disk. */
  async stop(): Promise<void> {
    this.#hold('ref');
    this.#child.kill('SIGTERM');
    await within(this.#exited, STOP_MS);
    await this.kill();
  }

  /** Ends it and all its processes at once; resolves when none is left. */
  async kill(): Promise<void> {
    if (this.#ended === undefined) {
      // Whoever waits for this has perhaps nothing else to wait for.
      this.#hold('ref');
      this.#child.kill('SIGKILL');
      await this.#exited;
    }
    const end = performance.now() + GONE_MS;
    while (processesIn(this.#directory).length > 0) {
      if (performance.now() > end) {
        throw new HarnessError(
          `processes are left in ${this.#directory}: ${processesIn(this.#directory).join(', ')}`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  // The ready file is there before the words that say so.
  #ready(readyFile: string): Promise<Ready> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!existsSync(readyFile)) return;
        this.#child.stdout?.off('data', look);
        resolve(JSON.parse(readFileSync(readyFile, 'utf8')) as Ready);
      };
      this.#child.stdout?.on('data', look);
    });
  }

  // Who forgets to close a pool is not held by it; it ends with this process.
  #hold(how: 'ref' | 'unref'): void {
    this.#child[how]();
    // Pipes to a child are sockets, whatever they are declared as.
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr] as (Socket | null)[]) {
      stream?.[how]();
    }
  }

  #inWords(why: string): string {
    const said = this.#output.split('\n').filter((line) => line.startsWith('trivet: '));
    const words =
      said.at(-1)?.replace('trivet: ', '') ?? this.#output.trim().split('\n').slice(-5).join('\n');
    const doctor = `what this machine lacks says: ${process.execPath} ${MAIN} doctor`;
    return `the pool did not start: ${[why, words].filter((part) => part !== '').join(': ')}\n${doctor}`;
  }
}

async function within(promise: Promise<unknown>, patienceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

/** Living processes that work inside a directory: the instances of a pool, wherever they hang. */
function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        if (['Z', 'X'].includes(stat.charAt(stat.lastIndexOf(')') + 2))) return false;
        return `${readlinkSync(`/proc/${pid}/cwd`)}/`.startsWith(`${directory}/`);
      } catch {
        return false; // gone meanwhile, or of somebody else
      }
    });
}
