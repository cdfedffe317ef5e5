// One instance as its fabric sees it: a child process, what it reported last, and how it ended. Knows nothing of
// what runs inside and never sees a key. Is never started again: another process is another object.
//
// How it dies: setpriv arms the parent-death signal and flock takes the directory's lock; both then become the
// instance by exec, so its process id is the child's and the lock lives exactly as long as the process.
// - The signal is tied to the *thread* that forked. Node forks on the thread that calls spawn, so instances are
//   spawned on the main thread only: it ends with the fabric and not before.
// - A fabric that dies between fork and setpriv leaves a child without the signal. Such a child finds its channel
//   closed as soon as it runs JavaScript and leaves by itself (`disconnect`); until then the lock keeps a
//   successor from opening the same store, and that start fails with {@link LOCKED}.
// - The signal would be cleared by executing a set-user-id program; none is on the way.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Seconds } from '../../values/moments.js';
import type { OrderedFaults } from '../../values/faults.js';
import type { FromInstance, InstanceReport, OrderedNetwork, ToInstance } from '../../values/messages.js';

const LOCKED = 75;
/** A handed socket that was not even written to the channel for so long: the instance does not take any. */
const HANDOVER_MS = 1_000;
/** What a process that has ended had still to say lies in its channel; a stranger that holds it open must not keep us. */
const LAST_WORDS_MS = 1_000;

/** What an instance inherits of our environment: enough to find programs and places for temporary files. */
const INHERITED = ['PATH', 'HOME', 'TMPDIR', 'XDG_RUNTIME_DIR', 'LANG', 'LC_ALL', 'TZ'];

/**
 * Part of what an instance is measured as. Megabytes: young objects of each thread have three times the first, and the
 * old ones are looked through when they first reach the second, then whenever they have grown by half. Left to itself
 * Node.js takes twice the first, which signs no faster, and lets old objects grow by the more the slower a collection
 * was, up to fourfold: most where others hold the processor (docs/performance.md).
 */
export const INSTANCE_NODE_OPTIONS: readonly string[] = [
  '--max-semi-space-size=8',
  '--initial-old-space-size=28',
  '--heap-growing-percent=50',
];

export interface InstanceProgram {
  /** Path of the JavaScript file that an instance runs. */
  readonly script: string;
}

/** How an instance presents itself to its peers. */
export interface Introduction {
  readonly certificate: string;
  readonly port: number;
}

export type Joining = Omit<Extract<FromInstance, { kind: 'joining' }>, 'kind'>;

export class InstanceProcess {
  /** Settle once each, if ever; `ended` always does, with the reason as a sentence's end. */
  readonly drained: Promise<true>;
  readonly ended: Promise<string>;
  /** When it was started; milliseconds of performance.now(). */
  readonly startedAt = performance.now();

  introduction: Introduction | undefined;
  /** The id of its store; undefined until it has opened it. */
  store: string | undefined;
  /** Where it said last that it has got to. */
  joining: Joining | undefined;
  /** As primary it has been told to order no more, and has nothing undecided. */
  retired = false;
  /** It said that its directory cannot be used. */
  damaged = false;
  /** It never ran: another process holds its directory. */
  locked = false;
  /** Gets no new connections: it is about to leave. */
  withdrawn = false;
  /** The newest report; undefined until the instance serves. */
  report: InstanceReport | undefined;
  /** What it said last about its clock: seconds ahead of the machine's; undefined until it has said so. */
  clockOffset: Seconds | undefined;
  /** The how manieth network rules of the pool it goes by; undefined until it has said so. */
  networkOrder: number | undefined;
  /** The how manieth faults of the pool it suffers; undefined until it has said so. */
  faultsOrder: number | undefined;
  /** Stopped by us on request, so it cannot notice that we want it to leave. */
  paused = false;
  /** How the process ended; undefined while it runs. */
  reasonEnded: string | undefined;

  readonly #child: ChildProcess;
  readonly #drain: (drained: true) => void;
  readonly #finish: (reason: string) => void;
  /** Tells those who wait for a handover that it will not happen. */
  readonly #handovers = new Set<() => void>();
  readonly #waiters = new Set<() => void>();
  #lastWords: string | undefined;
  /** Why we killed it. */
  #sentence: string | undefined;
  #left: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  /** Handovers that came too late to count and may still block the channel. */
  #stuck = 0;

  constructor(
    readonly instance: number,
    readonly directory: string,
    program: InstanceProgram,
    /** Told of every message, after this object has taken note of it. */
    readonly heard: (message: FromInstance) => void,
  ) {
    ({ promise: this.drained, resolve: this.#drain } = later<true>());
    ({ promise: this.ended, resolve: this.#finish } = later<string>());
    const node = [process.execPath, ...INSTANCE_NODE_OPTIONS, program.script];
    const lock = [
      'flock',
      '--nonblock',
      '--no-fork',
      '--conflict-exit-code',
      String(LOCKED),
      join(directory, 'lock'),
    ];
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', ...lock, ...node], {
      // Standard output belongs to the command line; whatever an instance prints goes to standard error.
      stdio: ['ignore', 2, 2, 'ipc'],
      serialization: 'advanced',
      env: cleanEnvironment(),
      cwd: directory,
      // Its own process group: Ctrl-C in a terminal reaches the fabric alone, which then lets requests finish.
      detached: true,
    });
    this.#child.on('message', (message) => this.#hear(message as FromInstance));
    this.#child.on('error', (error: NodeJS.ErrnoException) => {
      // Sending to a dying child fails here too; only a child that never ran ends by it.
      if (this.#child.pid === undefined) this.#end(spawnFailure(error));
    });
    // Whichever comes last: a process may be reaped before its last words are read.
    this.#child.on('exit', (code, signal) => {
      this.#left = { code, signal };
      if (this.#child.connected) setTimeout(() => this.#conclude(), LAST_WORDS_MS).unref();
      else this.#conclude();
    });
    this.#child.on('disconnect', () => {
      if (this.#left) this.#conclude();
    });
  }

  get pid(): number | undefined {
    return this.reasonEnded === undefined ? this.#child.pid : undefined;
  }

  /** Takes requests, as far as anybody can tell from outside. */
  get serving(): boolean {
    return this.report !== undefined && this.reasonEnded === undefined;
  }

  /** Sends a message; a child that is just ending does not hear it, and its end is reported anyway. */
  tell(message: ToInstance): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /**
   * Passes a client's socket. False when the instance did not take it; the socket is then still ours unless it is
   * `pending`. Node passes one handle at a time and waits for an acknowledgement, so an instance that is stopped
   * blocks its queue: after a second it counts as refusing.
   */
  hand(head: Uint8Array, socket: Socket): Promise<boolean> {
    // Chosen a while ago, perhaps, and about to leave by now.
    if (!this.serving || this.withdrawn) return Promise.resolve(false);
    if (!this.#child.connected || this.#stuck > 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (taken: boolean): void => {
        clearTimeout(timer);
        this.#handovers.delete(gone);
        resolve(taken);
      };
      const gone = (): void => settle(false);
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        this.#stuck += 1;
        settle(false);
      }, HANDOVER_MS);
      this.#handovers.add(gone);
      // Node would keep our end until the instance acknowledges, for ever if it dies before: the client would wait with
      // it. Once written, the message itself holds the connection; with our end closed, it ends with the instance.
      this.#child.send(
        { kind: 'connection', head } satisfies ToInstance,
        socket,
        { keepOpen: true },
        (error) => {
          if (late) this.#stuck -= 1;
          if (error === null) socket.destroy();
          settle(error === null);
        },
      );
    });
  }

  /** Moves its clock; resolves when it goes by it, or has ended. */
  moveClock(offset: Seconds): Promise<void> {
    this.tell({ kind: 'clock', offset });
    return this.#until(() => (this.clockOffset ?? -1) >= offset);
  }

  /** Changes who may reach it; resolves when it goes by that, or has ended. */
  setNetwork(network: OrderedNetwork): Promise<void> {
    this.tell({ kind: 'network', network });
    return this.#until(() => (this.networkOrder ?? -1) >= network.order);
  }

  /** Changes what it suffers; resolves when it does, or has ended. */
  setFaults(faults: OrderedFaults): Promise<void> {
    this.tell({ kind: 'faults', faults });
    return this.#until(() => (this.faultsOrder ?? -1) >= faults.order);
  }

  /** Resolves when the condition holds, which may change with every message, or when the process has ended. */
  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.reasonEnded === undefined && !holds()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  /** `reason`: how its end is then explained; without one, by the signal. */
  kill(reason?: string): void {
    this.#sentence ??= reason;
    this.#signal('SIGKILL');
  }

  /** Stops the process where it stands, as a hung machine would. */
  pause(): void {
    this.#signal('SIGSTOP');
    this.paused = true;
  }

  resume(): void {
    this.#signal('SIGCONT');
    this.paused = false;
  }

  // Goes through the child's handle, never by number: a pid whose process was reaped may belong to a stranger.
  #signal(signal: NodeJS.Signals): void {
    if (this.reasonEnded === undefined) this.#child.kill(signal);
  }

  #hear(message: FromInstance): void {
    switch (message.kind) {
      case 'introduced':
        this.introduction = { certificate: message.certificate, port: message.port };
        break;
      case 'opened':
        this.store = message.store;
        break;
      case 'joining':
        this.joining = { phase: message.phase, done: message.done, total: message.total };
        break;
      case 'serving':
        this.report = message.report;
        break;
      case 'retired':
        this.retired = true;
        break;
      case 'clockSet':
        this.clockOffset = message.offset;
        break;
      case 'networkSet':
        this.networkOrder = message.order;
        break;
      case 'faultsSet':
        this.faultsOrder = message.order;
        break;
      case 'drained':
        this.#drain(true);
        break;
      case 'failed':
        this.#lastWords = message.reason;
        this.damaged = message.damaged;
        break;
      case 'lease':
      case 'propose':
      case 'digest':
      case 'figures':
        break; // for others
    }
    for (const look of [...this.#waiters]) look();
    if (this.reasonEnded === undefined) this.heard(message);
  }

  #conclude(): void {
    if (!this.#left) return;
    const { code, signal } = this.#left;
    this.locked = code === LOCKED && this.introduction === undefined;
    this.#end(this.#reason(code, signal));
  }

  #reason(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#lastWords !== undefined) return this.#lastWords;
    if (signal !== null) return this.#sentence ?? `ended by ${signal}`;
    if (this.locked) {
      return `its directory ${this.directory} is in use by a process that a killed fabric left behind`;
    }
    return code === 0 ? 'left' : `ended with exit code ${String(code)}`;
  }

  #end(reason: string): void {
    if (this.reasonEnded !== undefined) return;
    this.reasonEnded = reason;
    this.paused = false;
    for (const gone of this.#handovers) gone();
    for (const look of [...this.#waiters]) look();
    this.#finish(reason);
  }
}

function spawnFailure(error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT'
    ? 'the program setpriv is missing; install the package util-linux'
    : `cannot be started: ${error.message}`;
}

// Anything that changes what the runtime loads or does (NODE_OPTIONS, LD_PRELOAD, OPENSSL_CONF, SOFTHSM2_CONF and
// the like) stays out: an instance runs what it was measured as.
function cleanEnvironment(): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {};
  for (const name of INHERITED) {
    if (process.env[name] !== undefined) environment[name] = process.env[name];
  }
  // Slow PKCS#11 calls (RSA) run on libuv's threads; four would be fewer than one client's burst.
  environment['UV_THREADPOOL_SIZE'] = '8';
  // The GNU library gives each thread a heap of its own, and what was free in one was of no use to another.
  environment['MALLOC_ARENA_MAX'] = '2';
  return environment;
}

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
