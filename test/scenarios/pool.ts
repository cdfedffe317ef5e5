// A real pool for tests: the command line as a child process, its three instances, and a plain HTTPS client. Knows
// the pool from outside only: its ready file, its ports, /proc.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { OutgoingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { ReadyDocument } from '../../src/cli/document.js';
import { copyTemplate } from './templates.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');
/** No answer within this is a hang. */
const PATIENCE_MS = 30_000;
const POLL_MS = 10;
const STATUS_POLL_MS = 60;
export const API_VERSION = '7.6';

/** Waits for a condition; fails when it does not come true in time. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** False for a process that has ended, also when nobody has collected its exit code. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !['Z', 'X'].includes(stat.charAt(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** The live processes whose working directory is inside `directory`: the instances of a pool, wherever they hang. */
export function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${directory}/`) && isAlive(pid);
      } catch {
        return false;
      }
    });
}

export interface Credentials {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly objectId: string;
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One run of `trivet up`. */
export class Up {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  readonly #child: ChildProcess;
  #output = '';

  constructor(directory: string, readyFile: string, main = MAIN, more: readonly string[] = []) {
    rmSync(readyFile, { force: true });
    this.#child = spawn(
      process.execPath,
      [
        main,
        'up',
        ...['--data-dir', directory, '--control-port', '0', '--data-port', '0', '--ready-file', readyFile],
        ...more,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    if (this.#child.pid === undefined) throw new Error('node cannot be started');
    this.pid = this.#child.pid;
    const keep = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
  }

  /** What it and its instances have printed. */
  get output(): string {
    return this.#output;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** A pool in a private directory, to be given back with {@link remove}. */
export class TestPool {
  readonly home: string;
  readonly directory: string;
  readonly #readyFile: string;
  #up: Up | undefined;
  #ready: ReadyDocument | undefined;

  /** `main` takes the arguments of the command line; `options` are given to `up` besides the usual ones. */
  constructor(
    readonly main = MAIN,
    public options: readonly string[] = [],
  ) {
    this.home = mkdtempSync(join(tmpdir(), 'trivet-scenario-'));
    this.directory = join(this.home, 'data');
    this.#readyFile = join(this.home, 'ready.json');
  }

  /**
   * A pool that runs. Unless it has a `main` or options of its own, it may be a copy of one that was founded earlier in
   * this run, with the same keys and principals; {@link found} gives one that is like no other.
   */
  static start(main?: string, options?: readonly string[]): Promise<TestPool> {
    return TestPool.#started(main, options, main === undefined);
  }

  /** A pool that was founded just now. */
  static found(main?: string, options?: readonly string[]): Promise<TestPool> {
    return TestPool.#started(main, options, false);
  }

  static async #started(
    main: string | undefined,
    options: readonly string[] = [],
    copied: boolean,
  ): Promise<TestPool> {
    const pool = new TestPool(main, options);
    try {
      if (copied) {
        await copyTemplate(options, pool.directory, () => TestPool.found(main, options));
      }
      await pool.start();
    } catch (error) {
      await pool.remove();
      throw error;
    }
    return pool;
  }

  /** The present run. */
  get up(): Up {
    if (!this.#up) throw new Error('the pool was not started');
    return this.#up;
  }

  get ready(): ReadyDocument {
    if (!this.#ready) throw new Error('the pool is not ready');
    return this.#ready;
  }

  get readyFile(): string {
    return this.#readyFile;
  }

  get uri(): URL {
    const [pool] = this.ready.pools;
    if (!pool) throw new Error('no pool');
    return new URL(pool.uri);
  }

  get admin(): Credentials {
    if (!this.ready.admin) throw new Error('no administrator');
    return this.ready.admin;
  }

  /** As the ready file names them, in the order of their numbers. */
  get instancePids(): number[] {
    return (this.ready.pools[0]?.instances ?? []).map(({ pid }) => pid ?? -1);
  }

  /** Starts the process; does not wait for anything. */
  launch(): Up {
    if (this.#up && !this.#up.exit) throw new Error('the pool runs already');
    this.#ready = undefined;
    this.#up = new Up(this.directory, this.#readyFile, this.main, this.options);
    return this.#up;
  }

  /** Starts the pool on its directory, the same each time, and waits until it is ready. */
  async start(): Promise<void> {
    const up = this.launch();
    await until(
      'the pool is ready',
      () => {
        if (up.exit) throw new Error(`the pool did not start: ${up.output}`);
        return existsSync(this.#readyFile);
      },
      60_000,
    );
    this.#ready = JSON.parse(readFileSync(this.#readyFile, 'utf8')) as ReadyDocument;
  }

  /** Waits until all three instances take part; from then on {@link instancePids} are those that do. */
  async inSync(): Promise<void> {
    const control = await this.control();
    await until('all three are in sync', async () => {
      const pools = await statusOf(control);
      if (pools) this.#ready = { ...this.ready, pools };
      const whole = pools?.every(({ instances }) => instances.every(({ inSync }) => inSync)) === true;
      if (!whole) await new Promise((resolve) => setTimeout(resolve, STATUS_POLL_MS));
      return whole;
    });
  }

  /** Asks it to leave; fails unless it does so in order and leaves no process behind. */
  async stop(): Promise<void> {
    this.up.signal('SIGTERM');
    const { code, signal } = await this.up.exited;
    if (code !== 0) throw new Error(`ended with ${String(code ?? signal)}: ${this.up.output}`);
    const left = processesIn(this.directory);
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
  }

  /** SIGKILL for the fabric and its instances, in the given order of places (0 to 3, the fabric's is 3). */
  async killAll(order: readonly number[] = [3, 0, 1, 2]): Promise<void> {
    const pids = [...this.instancePids, this.up.pid];
    for (const place of order) this.kill(pids[place] ?? -1);
    await this.allGone();
  }

  async allGone(): Promise<void> {
    await this.up.exited;
    await until('no instance is left', () => processesIn(this.directory).length === 0);
  }

  /** SIGKILL for one process of this pool, if it still lives. */
  kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
    if (pid !== this.up.pid && !processesIn(this.directory).includes(pid)) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Ends what runs and removes the directory. */
  async remove(): Promise<void> {
    if (this.#up && !this.#up.exit) {
      this.#up.signal('SIGKILL');
      await this.allGone();
    }
    rmSync(this.home, { recursive: true, force: true });
  }

  /** Runs a command of the command line on this pool's directory. */
  command(...args: string[]): { status: number | null; out: string; err: string } {
    const run = spawnSync(process.execPath, [MAIN, ...args, '--data-dir', this.directory], {
      encoding: 'utf8',
      timeout: PATIENCE_MS,
    });
    return { status: run.status, out: run.stdout, err: run.stderr };
  }

  addPrincipal(name: string): Credentials {
    const { status, out, err } = this.command('principal', 'add', name, '--json');
    if (status !== 0) throw new Error(err);
    return JSON.parse(out) as Credentials;
  }

  /** A token of the login endpoint, for the data plane unless another scope is asked for. */
  async token(
    { clientId, clientSecret }: Pick<Credentials, 'clientId' | 'clientSecret'> = this.admin,
    scope = `https://managedhsm.localhost:${this.uri.port}/.default`,
  ): Promise<string> {
    const { controlPlane, tenantId, caFile } = this.ready;
    const login = new Client({
      host: 'localhost',
      port: Number(new URL(controlPlane).port),
      ca: readFileSync(caFile, 'utf8'),
    });
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: clientSecret,
      scope,
    });
    const answer = await login.send('POST', `/${tenantId}/oauth2/v2.0/token`, form.toString(), {
      'Content-Type': 'application/x-www-form-urlencoded',
    });
    return text(answer.body, 'access_token');
  }

  /** A client of the data plane: without a token, with a given one, or as the administrator. */
  async client(options: ClientOptions = {}): Promise<Client> {
    const token = options.token === undefined ? await this.token() : options.token;
    return new Client({ ...this.address(), token, keepAlive: options.keepAlive ?? false });
  }

  /** A client of the control plane, with the administrator's token unless another is given. */
  async control(token?: string): Promise<Client> {
    const { controlPlane, caFile } = this.ready;
    return new Client({
      host: 'localhost',
      port: Number(new URL(controlPlane).port),
      ca: readFileSync(caFile, 'utf8'),
      token: token ?? (await this.token(this.admin, `${controlPlane}/.default`)),
    });
  }

  address(): Address {
    const { hostname, port } = this.uri;
    return { host: hostname, port: Number(port), ca: readFileSync(this.ready.caFile, 'utf8') };
  }

  /** A raw TLS connection to the data port. */
  async connect(): Promise<TLSSocket> {
    const { host, port, ca } = this.address();
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, servername: host, ca }, () => {
        socket.off('error', reject);
        resolve(socket);
      });
      socket.once('error', reject);
    });
  }

  /** A raw TLS connection to one instance, by its number. */
  async connectTo(instance: number): Promise<TLSSocket> {
    const pid = this.instancePids[instance] ?? -1;
    for (let tries = 0; tries < 30; tries += 1) {
      const socket = await this.connect();
      if (holderOf(socket.localPort ?? 0, [pid]) === 0) return socket;
      socket.destroy();
    }
    throw new Error(`no connection came to instance ${instance}`);
  }

  /**
   * Clients whose every request goes over one connection: one for each instance, in the order of their numbers. With
   * the administrator's token unless another is given.
   */
  async clientOfEach(given?: string): Promise<Client[]> {
    const token = given ?? (await this.token());
    const found = new Map<number, Client>();
    for (let tries = 0; tries < 30 && found.size < 3; tries += 1) {
      const client = new Client({ ...this.address(), token, keepAlive: true });
      const { localPort } = await client.call('GET', '/keys');
      const instance = holderOf(localPort, this.instancePids);
      if (instance < 0 || found.has(instance)) client.close();
      else found.set(instance, client);
    }
    return [0, 1, 2].map((instance) => {
      const client = found.get(instance);
      if (!client) throw new Error(`no connection came to instance ${instance}`);
      return client;
    });
  }
}

/** Undefined while the fabric does not say. */
async function statusOf(control: Client): Promise<ReadyDocument['pools'] | undefined> {
  try {
    const { status, body } = await control.send('GET', '/trivet/status');
    return status === 200 ? (at(body, 'pools') as ReadyDocument['pools']) : undefined;
  } catch (error) {
    if (error instanceof ConnectionLost) return undefined;
    throw error;
  }
}

/** Which of these processes holds the other end of our connection from a local port; -1 when none does. */
function holderOf(localPort: number, pids: readonly number[]): number {
  const remote = `0100007F:${localPort.toString(16).toUpperCase().padStart(4, '0')}`;
  // Long while there are many connections, also of others and such as have ended.
  const inodes = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .filter((line) => line.includes(remote))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[2] === remote)
    .map((fields) => `socket:[${fields[9] ?? ''}]`);
  return pids.findIndex((pid) =>
    readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        return false; // closed meanwhile
      }
    }),
  );
}

interface ClientOptions {
  /** Null: none. */
  readonly token?: string | null;
  /** One connection for all requests; else a new one for each. */
  readonly keepAlive?: boolean;
  /** Where connections come from; 127.0.0.1 when absent. */
  readonly localAddress?: string;
}

interface Address {
  /** Server name and Host; the connection goes to 127.0.0.1. */
  readonly host: string;
  readonly port: number;
  readonly ca: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  /** Undefined when the text is no JSON. */
  readonly body: unknown;
  /** Of our end of the connection. */
  readonly localPort: number;
}

/** A connection that ended, or never was, instead of an answer. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

export class Client {
  readonly #agent: Agent | undefined;

  constructor(readonly options: Address & ClientOptions) {
    if (options.keepAlive) this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
  }

  /** A call of the data plane. */
  call(method: string, path: string, body?: unknown, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    const version = path.includes('api-version')
      ? ''
      : `${path.includes('?') ? '&' : '?'}api-version=${API_VERSION}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    return this.send(method, `${path}${version}`, text, headers);
  }

  /** Any request; `text` goes out as it is. */
  send(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: OutgoingHttpHeaders = {},
  ): Promise<Answer> {
    const { host, port, ca, token, localAddress } = this.options;
    return new Promise((resolve, reject) => {
      const lost = (error: Error): void =>
        reject(new ConnectionLost(`${method} ${path}: ${error.message}`, { cause: error }));
      const outgoing = request(
        {
          host: '127.0.0.1',
          servername: host,
          port,
          ca,
          method,
          path,
          agent: this.#agent ?? false,
          ...(localAddress !== undefined && { localAddress }),
          timeout: PATIENCE_MS,
          headers: {
            Host: `${host}:${port}`,
            ...(token && { Authorization: `Bearer ${token}` }),
            ...(body !== undefined && {
              'Content-Type': 'application/json',
              'Content-Length': Buffer.byteLength(body),
            }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          const localPort = response.socket.localPort ?? 0;
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', lost);
          response.on('end', () => {
            const all = Buffer.concat(chunks).toString();
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text: all,
              body: parsed(all),
              localPort,
            });
          });
        },
      );
      // Not a lost connection: silence is what no test allows.
      outgoing.on('timeout', () => {
        reject(new Error(`${method} ${path}: no answer within ${PATIENCE_MS} ms`));
        outgoing.destroy();
      });
      outgoing.on('error', lost);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent?.destroy();
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** A member of a JSON value; undefined where there is none. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let place = value;
  for (const name of path) {
    if (typeof place !== 'object' || place === null) return undefined;
    place = (place as Record<string | number, unknown>)[name];
  }
  return place;
}

/** A member that must be a text. */
export function text(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  if (typeof found === 'string') return found;
  throw new Error(`no text at ${path.join('.')} of ${JSON.stringify(value)}`);
}

/** Pseudo-random numbers that a seed repeats (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0, below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0, below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const rest = [...items];
    const mixed: T[] = [];
    while (rest.length > 0) mixed.push(...rest.splice(this.below(rest.length), 1));
    return mixed;
  }
}

/** The seed of a run: from the environment to repeat one, else a new one. */
export function seedOf(variable: string): number {
  const given = process.env[variable];
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
}
