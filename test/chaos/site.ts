// The pool that is put under chaos, from outside: starts and ends it, knows its processes and where each instance
// answers, makes tokens. With `mounts`, the fabric's files and one instance's directory are on small disks of their own.
import { execFile, execFileSync } from 'node:child_process';
import { createPrivateKey, sign, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { at, isAlive, processesIn, TestPool } from '../scenarios/pool.js';
import { base64url } from '../scenarios/witness.js';
import { Wire, type Address } from './wire.js';

const run = promisify(execFile);
const POLL_MS = 150;
const STATUS_PATIENCE_MS = 2_000;
const TOKEN_S = 3_000;
/** Whose directory is on a small disk. */
export const SMALL = 2;
const SMALL_SIZE = '768m';
const FABRIC_SIZE = '16m';

export interface Seen {
  readonly pid: number | null;
  readonly role: string;
  readonly inSync: boolean;
  readonly uri: string | undefined;
  readonly reason: string | undefined;
  /** How far one has come that is no member yet. */
  readonly joining: string | undefined;
}

export class Site {
  readonly pool = new TestPool();
  readonly #wire = new Wire();
  readonly #seen: (Seen | undefined)[] = [undefined, undefined, undefined];
  #controlToken = '';
  #loginKey: KeyObject | undefined;
  #sample: readonly [header: object, claims: object] = [{}, {}];
  #adminToken = { text: '', until: 0 };
  #ca = '';
  #polling = false;
  #timer: NodeJS.Timeout | undefined;
  /** The fabric is meant to run: its absence is a finding. */
  #meantToRun = false;

  constructor(readonly mounts: boolean) {
    if (!mounts) return;
    const { directory, home } = this.pool;
    const instances = join(directory, 'pools/dev/instances');
    const disk = join(home, 'disk');
    mkdirSync(directory);
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${FABRIC_SIZE},mode=700`, 'tmpfs', directory]);
    mkdirSync(instances, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['--bind', disk, instances]);
    mkdirSync(this.home(SMALL), { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL_SIZE},mode=700`, 'tmpfs', this.home(SMALL)]);
  }

  /** Directory of an instance. */
  home(instance: number): string {
    return join(this.pool.directory, 'pools/dev/instances', String(instance));
  }

  /** Starts the fabric on its directory and waits until it is ready. */
  async start(): Promise<void> {
    await this.pool.start();
    this.#ca = readFileSync(this.pool.ready.caFile, 'utf8');
    if (!this.#loginKey) {
      this.#loginKey = createPrivateKey(readFileSync(join(this.pool.directory, 'fabric/login-key.pem')));
      const [header = {}, claims = {}] = (await this.pool.token())
        .split('.')
        .slice(0, 2)
        .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object);
      this.#sample = [header, claims];
    }
    this.#controlToken = await this.pool.token(this.pool.admin, `${this.pool.ready.controlPlane}/.default`);
    this.#meantToRun = true;
    await this.look();
    this.#timer ??= setInterval(() => void this.look(), POLL_MS);
  }

  /** SIGKILL for the fabric; resolves once it and its instances are gone. */
  async killFabric(): Promise<void> {
    this.#meantToRun = false;
    this.pool.up.signal('SIGKILL');
    await this.pool.allGone();
  }

  /** Asks for the status. What cannot be asked leaves the picture as it was. */
  async look(): Promise<void> {
    if (this.#polling || !this.#meantToRun) return;
    this.#polling = true;
    const control = new URL(this.pool.ready.controlPlane);
    const address = { host: 'localhost', port: Number(control.port), ca: this.#ca };
    const headers = { Authorization: `Bearer ${this.#controlToken}` };
    const reply = await this.#wire.send(
      address,
      'GET',
      '/trivet/status',
      undefined,
      headers,
      STATUS_PATIENCE_MS,
    );
    this.#polling = false;
    if (reply.kind !== 'answered' || reply.status !== 200) return;
    for (const instance of [0, 1, 2]) {
      const one = at(reply.body, 'pools', 0, 'instances', instance);
      const [pid, uri, reason, joining] = ['pid', 'uri', 'reason', 'joining'].map((name) => at(one, name));
      this.#seen[instance] = {
        pid: typeof pid === 'number' ? pid : null,
        role: String(at(one, 'role')),
        inSync: at(one, 'inSync') === true,
        uri: typeof uri === 'string' ? uri : undefined,
        reason: typeof reason === 'string' ? reason : undefined,
        joining: joining === undefined ? undefined : JSON.stringify(joining),
      };
    }
  }

  seen(instance: number): Seen | undefined {
    return this.#seen[instance];
  }

  /** As the last status has it; undefined while there is none. */
  primary(): number | undefined {
    const place = this.#seen.findIndex((one) => one?.role === 'primary');
    return place < 0 ? undefined : place;
  }

  pidOf(instance: number): number | undefined {
    const pid = this.#seen[instance]?.pid;
    return pid !== undefined && pid !== null && isAlive(pid) ? pid : undefined;
  }

  /** All three serve and are in step, by a status that was asked for just now. */
  async isWhole(): Promise<boolean> {
    await this.look();
    const pids = [0, 1, 2].map((instance) => this.pidOf(instance));
    return this.#seen.every((one) => one?.inSync === true) && pids.every((pid) => pid !== undefined);
  }

  /** What the status says, in a line. */
  picture(): string {
    return this.#seen
      .map((one, id) => {
        if (!one) return `${id}: unknown`;
        const { role, inSync, reason, joining = '' } = one;
        return `${id}: ${role}${inSync ? ', in sync' : ''} ${joining}${reason ? ` (${reason})` : ''}`;
      })
      .join('; ');
  }

  /** Where one instance alone answers; undefined while nobody knows. */
  address(instance: number): Address | undefined {
    const uri = this.#seen[instance]?.uri;
    if (uri === undefined) return undefined;
    const { hostname, port } = new URL(uri);
    return { host: hostname, port: Number(port), ca: this.#ca };
  }

  /** The administrator's, as good as new. */
  get adminToken(): string {
    if (performance.now() > this.#adminToken.until) {
      this.#adminToken = { text: this.tokenOf(), until: performance.now() + (TOKEN_S / 2) * 1_000 };
    }
    return this.#adminToken.text;
  }

  /** A token as the pool's own login makes it: of the administrator unless another object id is given. */
  tokenOf(objectId?: string): string {
    if (!this.#loginKey) throw new Error('the pool was not started');
    const [header, claims] = this.#sample;
    const now = Math.floor(Date.now() / 1_000);
    const who = objectId === undefined ? {} : { oid: objectId, sub: objectId };
    const times = { iat: now - 60, nbf: now - 60, exp: now + TOKEN_S };
    const signed = [header, { ...claims, ...times, ...who }]
      .map((part) => base64url(Buffer.from(JSON.stringify(part))))
      .join('.');
    const signature = sign('sha256', Buffer.from(signed), { key: this.#loginKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${base64url(signature)}`;
  }

  /** Open files of every process, by a name that tells one process from the next. */
  openFiles(): Map<string, number> {
    const named = [0, 1, 2].flatMap((instance) => {
      const pid = this.pidOf(instance);
      return pid === undefined ? [] : [[`instance ${instance}, process ${pid}`, pid] as const];
    });
    const fabric = [`fabric, process ${this.pool.up.pid}`, this.pool.up.pid] as const;
    return new Map(
      [...named, fabric].flatMap(([name, pid]) => {
        try {
          return [[name, readdirSync(`/proc/${pid}/fd`).length] as const];
        } catch {
          return []; // gone meanwhile
        }
      }),
    );
  }

  /** A command of the command line; gives what it printed. */
  async command(...args: string[]): Promise<string> {
    const main = join(__dirname, '../../dist/cli/main.js');
    const all = [main, ...args, '--data-dir', this.pool.directory];
    const { stdout } = await run(process.execPath, all, { timeout: 60_000 });
    return stdout;
  }

  /** Asks the fabric to leave; fails when it does not do so in order, or leaves a process behind. */
  async stop(): Promise<void> {
    this.#meantToRun = false;
    clearInterval(this.#timer);
    this.#wire.close();
    await this.pool.stop();
  }

  /** Ends what runs and gives the small disks back; removes the directory unless it is to be looked at. */
  async leave(keep: boolean): Promise<void> {
    this.#meantToRun = false;
    clearInterval(this.#timer);
    this.#wire.close();
    if (!this.pool.up.exit) {
      for (const pid of processesIn(this.pool.directory)) this.pool.kill(pid, 'SIGCONT');
      await this.killFabric();
    }
    if (this.mounts) {
      const instances = join(this.pool.directory, 'pools/dev/instances');
      if (keep) {
        // What is on a small disk would be gone with it.
        const copy = join(this.pool.home, 'kept');
        execFileSync('cp', ['-a', this.pool.directory, copy]);
      }
      for (const place of [this.home(SMALL), instances, this.pool.directory]) {
        execFileSync('umount', ['--lazy', place]);
      }
    }
    if (!keep) await this.pool.remove();
  }
}
