// What this installation is: its directory, tenant, subscription and resource group. Holds the lock that keeps a
// second fabric away. Knows no key, no process and no port.
//
// Layout: lock, ca.pem, admin.json (the owner's), fabric/ (the fabric's own; resources.json is the provider's), pools/{name}/ (see pool.ts), custodians/
// (what `up` made to activate a pool; the owner's).
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { newUuid } from '../../values/ids.js';
import type { Founding } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import { makeDirectory, writeDurably } from '../../values/durable-file.js';
import { without } from '../../values/without.js';

export interface Estate {
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
}

/** Where a running fabric can be reached; for commands that are given nothing but the directory. */
export interface Running {
  readonly pid: number;
  readonly controlPort: number;
  readonly dataPort: number;
}

/** What the owner needs to log in; lies beside the data, readable by its owner only. */
export interface AdminFile {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly objectId: string;
}

/** The places inside a data directory. */
export class Places {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  get lock(): string {
    return join(this.root, 'lock');
  }
  get caFile(): string {
    return join(this.root, 'ca.pem');
  }
  get admin(): string {
    return join(this.root, 'admin.json');
  }
  /** Who scrapes metrics brings what is in it. */
  get metricsToken(): string {
    return join(this.root, 'metrics-token');
  }
  get pools(): string {
    return join(this.root, 'pools');
  }
  get custodians(): string {
    return join(this.root, 'custodians');
  }
  /** What there is on the control plane. */
  get resources(): string {
    return this.own('resources.json');
  }
  /** A file of the fabric's own. */
  own(name: string): string {
    return join(this.root, 'fabric', name);
  }
}

/** Somebody else runs on this directory, or it cannot be used; the message says what to do. */
export class EstateError extends Error {
  override readonly name = 'EstateError';
}

const LOCKED = 75;

/**
 * Locks the directory for the life of this process. The lock belongs to the open file, so a short-lived flock(1) can
 * take it on our behalf, and the kernel gives it up with our last breath, however we die. Node opens files so that
 * children do not inherit them.
 */
export function lockEstate(places: Places): { release(): void } {
  makeDirectory(places.root);
  const file = openSync(places.lock, 'a', 0o600);
  const flock = spawnSync('flock', ['--nonblock', '--conflict-exit-code', String(LOCKED), '3'], {
    stdio: ['ignore', 'ignore', 'pipe', file],
    encoding: 'utf8',
  });
  if (flock.status === 0) return { release: () => closeSync(file) };
  closeSync(file);
  if (flock.status === LOCKED) {
    const pid = readRunning(places)?.pid;
    const who = pid === undefined ? '' : ` (process ${pid})`;
    throw new EstateError(
      `another fabric${who} runs on ${places.root}; stop it, or choose another --data-dir`,
    );
  }
  if (flock.error) throw new EstateError('the program flock is missing; install the package util-linux');
  throw new EstateError(`cannot lock ${places.lock}: ${flock.stderr.trim()}`);
}

/** Reads what the installation is, or makes it up on an empty directory, but for the tenant if one is given. */
export function openEstate(places: Places, tenantId?: string): Estate {
  const file = places.own('fabric.json');
  if (existsSync(file)) {
    const estate = readJson(file) as Estate;
    if (tenantId === undefined || tenantId === estate.tenantId) return estate;
    throw new EstateError(
      `${places.root} is of tenant ${estate.tenantId}, which cannot be changed; leave out --tenant, or use another --data-dir`,
    );
  }
  makeDirectory(places.own('.'));
  const estate: Estate = {
    tenantId: tenantId ?? newUuid(),
    subscriptionId: newUuid(),
    resourceGroup: 'trivet',
  };
  writeDurably(file, `${JSON.stringify(estate, null, 2)}\n`, 0o600);
  return estate;
}

/** Seconds that the installation's clock was moved ahead of the machine's; 0 when it never was. */
export function readClockOffset(places: Places): Seconds {
  const file = places.own('clock.json');
  if (!existsSync(file)) return 0;
  const { offset } = readJson(file) as { readonly offset?: unknown };
  if (Number.isSafeInteger(offset) && (offset as number) >= 0) return offset as Seconds;
  throw new EstateError(`${file} holds no offset of the clock`);
}

export function writeClockOffset(places: Places, offset: Seconds): void {
  writeDurably(places.own('clock.json'), `${JSON.stringify({ offset })}\n`, 0o600);
}

/** What every pool of an installation is founded with; the rest is wished for with each. */
export type PoolDefaults = Omit<
  Founding,
  'tenantId' | 'administrators' | 'cryptoUsers' | 'retentionDays' | 'purgeProtection' | 'trust'
>;

/** Undefined in a directory of a build that made one pool only. */
export function readPoolDefaults(places: Places): PoolDefaults | undefined {
  const file = places.own('pool-defaults.json');
  return existsSync(file) ? (readJson(file) as PoolDefaults) : undefined;
}

export function writePoolDefaults(places: Places, defaults: PoolDefaults): void {
  writeDurably(places.own('pool-defaults.json'), `${JSON.stringify(defaults, null, 2)}\n`, 0o600);
}

/** The same for pools that are there, from one of them. */
export function poolDefaultsOf(founding: Founding): PoolDefaults {
  return without(
    founding,
    'tenantId',
    'administrators',
    'cryptoUsers',
    'retentionDays',
    'purgeProtection',
    'trust',
  );
}

/** The pool that `up` has still to activate: begun by nobody else, and not finished. */
export function readCeremony(places: Places): string | undefined {
  const file = places.own('ceremony.json');
  return existsSync(file) ? (readJson(file) as { readonly pool: string }).pool : undefined;
}

/** Undefined: none any more. */
export function writeCeremony(places: Places, pool: string | undefined): void {
  const file = places.own('ceremony.json');
  if (pool === undefined) rmSync(file, { force: true });
  else writeDurably(file, `${JSON.stringify({ pool })}\n`, 0o600);
}

/** The token for metrics; made when there is none. */
export function openMetricsToken(places: Places): string {
  const file = places.metricsToken;
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  const token = randomBytes(32).toString('base64url');
  writeDurably(file, `${token}\n`, 0o600);
  return token;
}

export function writeRunning(places: Places, running: Running): void {
  writeDurably(places.own('running.json'), `${JSON.stringify(running)}\n`, 0o600);
}

export function clearRunning(places: Places): void {
  rmSync(places.own('running.json'), { force: true });
}

/** The fabric that runs on the directory, or ran last and was killed; undefined when none did. */
export function readRunning(places: Places): Running | undefined {
  const file = places.own('running.json');
  return existsSync(file) ? (readJson(file) as Running) : undefined;
}

export function readAdmin(places: Places): AdminFile | undefined {
  return existsSync(places.admin) ? (readJson(places.admin) as AdminFile) : undefined;
}

/** Writes down the administrator's next credentials, before they are valid. */
export function prepareAdmin(places: Places, admin: AdminFile): void {
  writeDurably(nextAdmin(places), `${JSON.stringify(admin, null, 2)}\n`, 0o600);
}

/** The administrator's next credentials, where a reset of them was not finished. */
export function readNextAdmin(places: Places): AdminFile | undefined {
  const file = nextAdmin(places);
  return existsSync(file) ? (readJson(file) as AdminFile) : undefined;
}

/** The next credentials are the valid ones now. */
export function settleAdmin(places: Places): void {
  renameSync(nextAdmin(places), places.admin);
}

export function forgetNextAdmin(places: Places): void {
  rmSync(nextAdmin(places), { force: true });
}

function nextAdmin(places: Places): string {
  return places.own('next-admin.json');
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new EstateError(`${file} cannot be read: ${String(cause)}`, { cause });
  }
}
