// Puts the fabric together and starts it. The order is for speed: bind the ports, spawn the instances, and load the
// web framework while they start.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { assert } from '../values/assert.js';
import { ControlPort } from './control/control-port.js';
import type { FabricStatus } from './control/management.js';
import { Doorway } from './doorway/doorway.js';
import { enrolledHost, newHostKey } from './pools/host-key.js';
import { issuerOf, loginKeyOf, newLoginKey, trustedIssuer } from './login/login-key.js';
import type { LoginKey } from './login/login-key.js';
import { Principals, newCredentials } from './login/principals.js';
import { writeDurably } from '../values/durable-file.js';
import { resourcesOf } from './login/resources.js';
import type {
  Founding,
  PublishingIssuer,
  Relay,
  StorageHost,
  TrustedAttestor,
  TrustedIssuer,
} from '../values/messages.js';
import {
  EstateError,
  Places,
  clearRunning,
  forgetNextAdmin,
  lockEstate,
  openEstate,
  poolDefaultsOf,
  readAdmin,
  readCeremony,
  readNextAdmin,
  readPoolDefaults,
  settleAdmin,
  writeCeremony,
  writePoolDefaults,
  writeRunning,
} from './pools/estate.js';
import type { Estate, PoolDefaults } from './pools/estate.js';
import type { InstanceProgram } from './pools/instance-process.js';
import { FabricClock } from './pools/fabric-clock.js';
import { Meter } from './meter/meter.js';
import { Pool } from './pools/pool.js';
import { BlobService } from './storage/blob-service.js';
import {
  createPool,
  hasMovableClock,
  hasOptionalAudit,
  issuersOf,
  listPools,
  poolName,
  readPool,
  suffersFaults,
  viewFile,
} from './pools/pool-file.js';
import { Provider, readResources, writeResources } from './provider/provider.js';
import { adopt, beginning } from './resources/adopt.js';
import type { FoundPool } from './resources/adopt.js';
import { isWanted } from './resources/state.js';
import type { Hsm, ResourceState } from './resources/state.js';
import { newUuid } from '../values/ids.js';

/** Suffix of the pools' host names. */
export const DOMAIN = 'managedhsm.localhost';
const RETENTION_DAYS = 90;
const PATIENCE_MS = 10_000;
/** An instance that runs takes a new time in milliseconds. */
const CLOCK_MS = 5_000;
const DEFAULT_POOL = 'dev';
/** What a machine is asked to hold when nobody says how many pools: three processes each. */
const POOLS_MAX = 5;
const POOL_BYTES = 768 * 1024 * 1024;

export interface FabricOptions {
  readonly dataDirectory: string;
  /** 0: any free port. */
  readonly controlPort: number;
  readonly dataPort: number;
  /** Name of the pool that an empty directory begins with; must exist in any other. */
  readonly pool?: string;
  /** The first pool gets a clock that can be moved; in a directory with pools each must have one. */
  readonly movableClock?: boolean;
  /** The same for faults on request. */
  readonly faults?: boolean;
  /** See `Founding`. */
  readonly auditOptional?: boolean;
  /** False: the first pool waits for somebody to activate it, and nobody gets a role for keys; true when absent. */
  readonly activate?: boolean;
  /** Attestation services that the first pool trusts; empty in a directory with pools, which keep their own. */
  readonly attestors?: readonly TrustedAttestor[];
  /** OpenID providers that the first pool trusts besides the local login; in a directory with pools as before. */
  readonly issuers?: readonly PublishingIssuer[];
  /**
   * False: the first pool does not trust the local login, which then serves the control plane alone; the pool waits for
   * somebody to activate it, whatever `activate` says.
   */
  readonly localLogin?: boolean;
  /** Object ids of the first pool's Administrators besides the local one, if the local login is trusted. */
  readonly administrators?: readonly string[];
  /** Where the first pool may keep backups; in a directory with pools as before. */
  readonly storageHosts?: readonly StorageHost[];
  /** Start a blob service too, which every pool may use while it runs. */
  readonly storage?: boolean;
  /** The tenant of an empty directory; in any other, the one that it must be of. Lower case. */
  readonly tenantId?: string;
  /** Euro for an hour of a pool that begins from now on; as before when absent. */
  readonly meterRate?: number;
  /** So many pools this machine holds, deleted ones included; as many as its memory has room for, and 5, when absent. */
  readonly poolsMax?: number;
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** What an instance runs; another one in tests. */
  readonly program?: InstanceProgram;
  /** Told what is going on, for a person who waits. */
  readonly progress: (step: string) => void;
}

/** Starts everything; resolves when every pool answers. After a failure nothing of it is left running. */
export async function startFabric(options: FabricOptions): Promise<Fabric> {
  const places = new Places(options.dataDirectory);
  const lock = lockEstate(places);
  const fabric = new Fabric(options, places, () => lock.release());
  try {
    await fabric.start();
    return fabric;
  } catch (error) {
    await fabric.abandon();
    throw error;
  }
}

interface Keys {
  /** Public key of this host, as pools enrol it. */
  readonly host: string;
  readonly login: LoginKey;
  readonly principals: Principals;
}

export class Fabric {
  readonly #control = new ControlPort();
  #clock: FabricClock | undefined;
  #meter: Meter | undefined;
  readonly #doorway = new Doorway(DOMAIN);
  #provider: Provider | undefined;
  #log: Logger | undefined;
  /** PEM of the control port's; known once what answers there is loaded. */
  #authority: string | undefined;
  #left = false;
  #localLogin = true;
  #storage: BlobService | undefined;
  #status: (() => FabricStatus) | undefined;

  constructor(
    readonly options: FabricOptions,
    readonly places: Places,
    readonly unlock: () => void,
  ) {}

  status(): FabricStatus {
    assert(this.#status !== undefined, 'the status is asked for once the fabric has started');
    return this.#status();
  }

  /** Whether any pool was made to believe the local login. */
  get localLogin(): boolean {
    return this.#localLogin;
  }

  /** The installation's clock; asked for once the fabric has started. */
  get clock(): FabricClock {
    assert(this.#clock !== undefined, 'the clock is asked for once the fabric has started');
    return this.#clock;
  }

  async start(): Promise<void> {
    const { options, places } = this;
    const [controlPort, dataPort] = await Promise.all([
      listenOn(this.#control, options.controlPort, '--control-port'),
      listenOn(this.#doorway, options.dataPort, '--data-port'),
    ]);
    const estate = openEstate(places, options.tenantId);
    const keys = await openLogin(places);
    const { resources, defaults } = this.#openResources(estate, keys);
    const storage = options.storage ? await this.#prepareStorage() : undefined;

    options.progress('starting three instances a pool');
    const base = `https://localhost:${controlPort}`;
    const names = listPools(places.pools);
    const issuers = [...defaults.issuers, ...names.flatMap((name) => issuersOf(places.pools, name))];
    const localLogin = (this.#localLogin = issuers.some(
      ({ issuer }) => issuer === issuerOf(estate.tenantId),
    ));
    const clock = new FabricClock(
      places,
      defaults.movableClock === true && names.every((name) => hasMovableClock(places.pools, name)),
    );
    this.#clock = clock;
    const meter = new Meter(places.own('meter.jsonl'), () => clock.now(), options.meterRate);
    this.#meter = meter;
    const start = {
      module: options.module,
      domain: DOMAIN,
      dataPort,
      authority: localLogin ? `${base}/${estate.tenantId}` : authorityOf(issuers, estate.tenantId),
      hostKeyFile: hostKeyFile(places),
      relay: newRelay(controlPort),
      ...(storage && { storage }),
      found: true,
    };
    const program = options.program ?? { script: join(__dirname, '..', 'program', 'instance', 'main.js') };
    const provider = new Provider(
      {
        file: places.resources,
        directory: places.pools,
        now: () => clock.now(),
        poolsMax: options.poolsMax ?? usualPoolsMax(),
        create: (hsm) => createPool(places.pools, hsm.pool, foundingOf(hsm, defaults, keys.host), hsm.poolId),
        open: (hsm) => {
          const pool = new Pool(places.pools, hsm.pool, { ...start, clockOffset: clock.offset }, program);
          this.#watch(pool);
          return pool;
        },
        changed: (pools) => this.#publish(pools),
        sink: meter,
        report: (message, error) => this.#log?.error({ err: error }, message),
      },
      resources,
    );
    this.#provider = provider;
    this.#status = () => ({
      controlPlane: base,
      authority: `${base}/adfs`,
      ...estate,
      caFile: places.caFile,
      ...(this.#storage && { storage: this.#storage.status }),
      pools: provider.pools().map((pool) => pool.status()),
    });
    const ready = Promise.all([provider.begin(), this.#storage?.start()]);
    // Both go on at the same time; whichever fails first decides, and the other's failure is then no news.
    const [authority, log] = await firstFailure(
      ready,
      this.#openControl(estate, keys, clock, meter, provider, controlPort, dataPort, localLogin),
    );
    this.#log = log;
    options.progress('waiting until all of them serve');
    await ready;

    this.#authority = authority;
    this.#publish(provider.openPools());
    writeRunning(places, { pid: process.pid, controlPort, dataPort });
    log.info({ controlPort, dataPort, pools: provider.pools().map(({ name }) => name) }, 'fabric ready');
  }

  /** Lets requests finish and ends everything; whoever does not leave in time is killed. */
  async stop(): Promise<void> {
    await this.#leave((pool) => pool.drain(PATIENCE_MS));
  }

  /** Ends everything at once. */
  async abandon(): Promise<void> {
    await this.#leave((pool) => pool.kill());
  }

  async #leave(end: (pool: Pool) => Promise<void>): Promise<void> {
    this.#control.close();
    this.#doorway.close();
    await this.#provider?.leave(end);
    await this.#storage?.stop();
    // Only once: after the lock is given up, the directory may be a successor's.
    if (this.#left) return;
    this.#left = true;
    this.#meter?.close();
    clearRunning(this.places);
    this.unlock();
  }

  // Whom connections go to, and what clients trust: on disk before anybody is told that a pool serves.
  #publish(pools: readonly Pool[]): void {
    const authority = this.#authority;
    if (authority === undefined) return; // the start does it, with all of them
    const roots = pools.map((pool) => pool.rootCertificate);
    const bundle = [authority, ...roots].map((pem) => `${pem.trim()}\n`).join('');
    if (readIfThere(this.places.caFile) !== bundle) writeDurably(this.places.caFile, bundle);
    this.#doorway.open(pools);
  }

  // What there is, with what an empty directory begins with, or with pools that nobody has taken in yet.
  #openResources(estate: Estate, keys: Keys): { resources: ResourceState; defaults: PoolDefaults } {
    const { places } = this;
    const present = readResources(places.resources);
    const found = listPools(places.pools);
    if (!present && found.length === 0) return this.#foundFirstPool(estate, keys);
    const defaults = readPoolDefaults(places) ?? poolDefaultsOf(foundingIn(places, found[0]));
    writePoolDefaults(places, defaults);
    const begun = present ?? beginning(estate.subscriptionId, estate.resourceGroup, ownerIn(keys), now());
    const resources = found.reduce(
      (state, name) => adopt(state, estate.resourceGroup, foundPool(places, name)),
      begun,
    );
    this.#refuseChanges(resources, defaults, found);
    if (resources !== present) writeResources(places.resources, resources);
    const ceremony = readCeremony(places);
    // Deleted before it was activated: nobody waits for that any more.
    if (!resources.hsms.some((hsm) => hsm.pool === ceremony && isWanted(hsm)))
      writeCeremony(places, undefined);
    return { resources, defaults };
  }

  // Decided when pools are made, and asked for otherwise now.
  #refuseChanges(resources: ResourceState, defaults: PoolDefaults, found: readonly string[]): void {
    const { options, places } = this;
    const wanted = options.pool === undefined ? undefined : poolName(options.pool);
    const pools = resources.hsms.filter(isWanted).map(({ pool }) => pool);
    const fixed = found.find((name) => !hasMovableClock(places.pools, name));
    if (options.movableClock && (fixed !== undefined || !defaults.movableClock)) {
      throw new EstateError(
        `pool ${fixed ?? 'names'} in ${places.root} was created without --movable-clock, which cannot be changed; ` +
          'leave the option out, or use another --data-dir',
      );
    }
    const sound = found.find((name) => !suffersFaults(places.pools, name));
    if (options.faults && (sound !== undefined || !defaults.faults)) {
      throw new EstateError(
        `pool ${sound ?? 'names'} in ${places.root} was created without --faults, which cannot be changed; ` +
          'leave the option out, or use another --data-dir',
      );
    }
    const strict = found.find((name) => !hasOptionalAudit(places.pools, name));
    if (options.auditOptional && (strict !== undefined || !defaults.auditOptional)) {
      throw new EstateError(
        `pool ${strict ?? 'names'} in ${places.root} was created without --audit-optional, which cannot be changed; ` +
          'leave the option out, or use another --data-dir',
      );
    }
    if (options.attestors && options.attestors.length > 0) {
      throw new EstateError(
        `the pools in ${places.root} exist already and keep the attestation services that they were made with; ` +
          'leave out --attestor, or use another --data-dir',
      );
    }
    if (options.issuers?.length || options.administrators?.length || options.localLogin === false) {
      throw new EstateError(
        `the pools in ${places.root} exist already and keep the issuers and Administrators that they were made with; ` +
          'leave out --issuer, --administrator and --no-local-login, or use another --data-dir',
      );
    }
    if (options.storageHosts?.length) {
      throw new EstateError(
        `the pools in ${places.root} exist already and keep the storages that they were made with; ` +
          'leave out --storage-host, or use another --data-dir',
      );
    }
    if (wanted === undefined || pools.includes(wanted)) return;
    throw new EstateError(
      `${places.root} holds ${pools.join(', ') || 'no pool'} and no pool "${wanted}"; leave out --pool or use another --data-dir`,
    );
  }

  #foundFirstPool(
    estate: Estate,
    { login, principals }: Keys,
  ): { resources: ResourceState; defaults: PoolDefaults } {
    const { options, places } = this;
    const name = options.pool === undefined ? DEFAULT_POOL : poolName(options.pool);
    const admin = readAdmin(places);
    if (!admin)
      throw new EstateError(`${places.admin} is missing, so a new pool would have no administrator`);
    const { localLogin = true, issuers = [], administrators: given = [] } = options;
    // Who activates it logs in, and that is then nobody who is here.
    const activate = localLogin && (options.activate ?? true);
    const administrators = [...(localLogin ? [admin.objectId] : []), ...given];
    if (administrators.length === 0 || (!localLogin && issuers.length === 0)) {
      throw new EstateError(
        'without the local login a pool needs --issuer and --administrator: who else could log in?',
      );
    }
    const defaults: PoolDefaults = {
      issuers: [...(localLogin ? [trustedIssuer(estate.tenantId, login)] : []), ...issuers],
      ...(options.movableClock && { movableClock: true as const }),
      ...(options.faults && { faults: true as const }),
      ...(options.auditOptional && { auditOptional: true as const }),
      ...(options.attestors && { attestors: options.attestors }),
      ...(options.storageHosts && { storage: options.storageHosts }),
    };
    writePoolDefaults(places, defaults);
    // Before the pool: killed in between, the next start makes the pool and goes on.
    writeCeremony(places, activate ? name : undefined);
    const empty = beginning(estate.subscriptionId, estate.resourceGroup, ownerIn({ principals }), now());
    const resources = adopt(empty, estate.resourceGroup, {
      poolId: newUuid(),
      name,
      createdAt: now(),
      tenantId: estate.tenantId,
      administrators,
      cryptoUsers: activate ? [admin.objectId] : [],
      retentionDays: RETENTION_DAYS,
      purgeProtection: false,
      founded: false,
    });
    writeResources(places.resources, resources);
    return { resources, defaults };
  }

  // The port and the certificate are known before it runs: the instances are told while it starts.
  async #prepareStorage(): Promise<StorageHost> {
    const { leaf, authority } = await answering().controlIdentity(this.places, DOMAIN);
    const storage = await BlobService.prepare(this.places.root, leaf);
    storage.onEnded = (reason) => this.#log?.error({ reason }, 'the local storage is started again');
    this.#storage = storage;
    return { host: `localhost:${storage.port}`, ca: authority };
  }

  // Loads what is heavy; gives the authority's certificate and the log.
  async #openControl(
    estate: Estate,
    keys: Keys,
    clock: FabricClock,
    meter: Meter,
    provider: Provider,
    controlPort: number,
    dataPort: number,
    localLogin: boolean,
  ): Promise<[authority: string, log: Logger]> {
    const parts = answering();
    const log = parts.openLog();
    const { leaf, authority } = await parts.controlIdentity(this.places, DOMAIN);
    const answer = parts.controlAnswer({
      estate,
      ...keys,
      controlPort,
      dataPort,
      domain: DOMAIN,
      localLogin,
      places: this.places,
      status: () => this.status(),
      clock: { clock, pools: () => provider.pools(), moved: () => provider.look(), patienceMs: CLOCK_MS },
      meter,
      provider,
      log,
    });
    this.#control.open(leaf, answer);
    return [authority, log];
  }

  #watch(pool: Pool): void {
    pool.on('down', (instance, reason) => {
      this.#log?.error(
        { pool: pool.name, instance, reason },
        `instance ${instance} of ${pool.name} is down: ${reason}`,
      );
    });
    pool.on('serving', (instance) => {
      this.#log?.info({ pool: pool.name, instance }, `instance ${instance} of ${pool.name} serves again`);
    });
    pool.on('view', (view) => this.#log?.info({ pool: pool.name, view }, 'view'));
    pool.on('warning', (message) => this.#log?.warn({ pool: pool.name }, message));
  }
}

function now(): number {
  return Math.floor(Date.now() / 1_000);
}

function usualPoolsMax(): number {
  return Math.max(1, Math.min(POOLS_MAX, Math.floor(totalmem() / POOL_BYTES)));
}

/** Who owns the subscription: the first administrator of the control plane. */
function ownerIn({
  principals,
}: Pick<Keys, 'principals'>): { objectId: string; assignment: string } | undefined {
  const first = principals.list().find(({ controlPlane }) => controlPlane);
  return first && { objectId: first.objectId, assignment: newUuid() };
}

function foundingIn(places: Places, name: string | undefined): Founding {
  if (name === undefined) {
    throw new EstateError(`${places.own('pool-defaults.json')} is missing; restore it from a backup`);
  }
  return readPool(places.pools, name).founding;
}

/** A pool as it lies on disk. */
function foundPool(places: Places, name: string): FoundPool {
  const { poolId = newUuid(), createdAt, founding } = readPool(places.pools, name);
  const { tenantId, administrators, cryptoUsers, retentionDays, purgeProtection } = founding;
  return {
    poolId,
    name,
    createdAt: Math.floor(Date.parse(createdAt) / 1_000),
    tenantId,
    administrators,
    cryptoUsers,
    retentionDays,
    purgeProtection,
    founded: readIfThere(viewFile(places.pools, name)) !== undefined,
  };
}

/** What a new pool begins with. */
function foundingOf(hsm: Hsm, defaults: PoolDefaults, host: string): Founding {
  return {
    tenantId: hsm.tenantId,
    administrators: hsm.administrators,
    cryptoUsers: hsm.cryptoUsers,
    retentionDays: hsm.retentionDays,
    purgeProtection: hsm.purgeProtection,
    // What its instances run is measured by the first of them.
    trust: { hosts: [host], measurements: [] },
    ...defaults,
  };
}

// The heavy half, loaded when it is needed.
function answering(): typeof import('./answering.js') {
  return createRequire(__filename)('./answering.js') as typeof import('./answering.js');
}

// The keys of login and host, and the principals; on an empty directory also the first of them, the administrator.
async function openLogin(places: Places): Promise<Keys> {
  const file = places.own('login-key.pem');
  const pem = readIfThere(file) ?? (await newLoginKey());
  writeOnce(file, pem);
  const hostKey = hostKeyOf(places);
  const principals = new Principals(places.own('principals.json'));
  if (principals.empty) {
    // The secret is written down before its hash: killed in between, the next start registers the same admin.
    const admin = readAdmin(places) ?? newCredentials();
    writeOnce(places.admin, `${JSON.stringify(admin, null, 2)}\n`);
    await principals.register('admin', admin, true);
  }
  await finishReset(places, principals);
  return { host: enrolledHost(hostKey), login: loginKeyOf(pem), principals };
}

/** Made before the first pool, which enrols it. Under another key its instances would not let each other in. */
function hostKeyOf(places: Places): string {
  const file = hostKeyFile(places);
  const present = readIfThere(file);
  if (present !== undefined) return present;
  const [pool] = listPools(places.pools);
  if (pool !== undefined) {
    throw new EstateError(
      `${file} is missing, and the instances of pool ${pool} are known by it; restore it from a backup of ${places.root}`,
    );
  }
  const made = newHostKey();
  writeOnce(file, made);
  return made;
}

/** How instances know this fabric, while it runs. */
function newRelay(controlPort: number): Relay {
  return {
    secret: randomBytes(32).toString('base64url'),
    audiences: resourcesOf(controlPort, undefined).controlPlane,
  };
}

/** The key that vouches for what the instances on this host run. */
function hostKeyFile(places: Places): string {
  return places.own('host-key.pem');
}

// A reset of the administrator's secret that was cut off: whichever of the two is valid stays.
async function finishReset(places: Places, principals: Principals): Promise<void> {
  const next = readNextAdmin(places);
  if (!next) return;
  const admin = principals.byClientId(next.clientId);
  if (admin && (await principals.verify(admin, next.clientSecret))) settleAdmin(places);
  else forgetNextAdmin(places);
}

/** Where clients log in who are sent by the first of these providers: `{origin}/{tenant}`, all that they understand. */
function authorityOf([first]: readonly TrustedIssuer[], tenantId: string): string {
  assert(first !== undefined, 'a pool believes somebody');
  const metadataUrl = first.keys === undefined ? first.metadataUrl : undefined;
  const { origin, pathname } = new URL(metadataUrl ?? first.issuer);
  return `${origin}/${pathname.split('/')[1] || tenantId}`;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function writeOnce(file: string, content: string): void {
  if (readIfThere(file) !== content) writeDurably(file, content, 0o600);
}

async function listenOn(
  port: { listen(number: number): Promise<number> },
  number: number,
  option: string,
): Promise<number> {
  try {
    return await port.listen(number);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new EstateError(`port ${number} is in use; choose another with ${option} (0: any free port)`, {
        cause,
      });
    }
    if (code === 'EACCES')
      throw new EstateError(`port ${number} may not be used by this user; see ${option}`, { cause });
    throw cause;
  }
}

async function firstFailure<T>(watched: Promise<unknown>, wanted: Promise<T>): Promise<T> {
  const failure = watched.then(() => new Promise<never>(() => undefined));
  return Promise.race([wanted, failure]);
}
