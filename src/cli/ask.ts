// Commands that ask a running fabric. They speak HTTPS like any customer: log in as the administrator whose file lies
// in the data directory, check the fabric's certificate against ca.pem, call.
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import type { ClockStatus } from '../fabric/control/clock.js';
import type { FabricStatus } from '../fabric/control/management.js';
import { Places, readAdmin, readRunning } from '../fabric/pools/estate.js';
import type { Running } from '../fabric/pools/estate.js';
import { MEMBERS } from '../fabric/pools/pool-file.js';
import type { FaultSettings } from '../values/faults.js';
import type { Subscription } from '../fabric/resources/state.js';
import type { InstanceStatus, PoolDigest, PoolStatus } from '../fabric/pools/pool.js';
import { readyDocument } from './document.js';
import { CommandError } from './failure.js';
import { withProgress } from './progress.js';

const PATIENCE_MS = 30_000;
/** Holds an access token of another issuer, for commands to pools; a pool need not believe the local login. */
export const TOKEN = 'TRIVET_ACCESS_TOKEN';
/** Three partitions leave, start and join, one after the other. */
const RESTART_PATIENCE_MS = 600_000;
const RESTART_LOOK_MS = 500;
/** A partition may have to make keys and tokens. */
const DATA_PATIENCE_MS = 90_000;

export async function status(dataDirectory: string, json: boolean): Promise<void> {
  const document = readyDocument(dataDirectory, await (await connect(dataDirectory)).status());
  if (json) {
    print(JSON.stringify(document));
    return;
  }
  print(
    `control plane ${document.controlPlane}, tenant ${document.tenantId}, certificates ${document.caFile}`,
  );
  for (const pool of document.pools) print(poolText(pool));
  for (const warning of document.warnings ?? []) print(`warning: ${warning}`);
}

export async function inflict(
  dataDirectory: string,
  fault: 'kill' | 'pause' | 'resume' | 'wipe' | 'unplug' | 'replug',
  id: string,
  pool: string | undefined,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const name = pool ?? onlyPool((await fabric.status()).pools);
  const path = `/trivet/pools/${encodeURIComponent(name)}/partitions/${encodeURIComponent(id)}/${fault}`;
  const done = (await fabric.call('POST', path)) as { id: number; pid: number | null };
  const past = PAST[fault];
  const process = done.pid === null ? '' : ` (process ${done.pid})`;
  print(json ? JSON.stringify(done) : `partition ${done.id} of ${name} ${past}${process}`);
}

const PAST = {
  kill: 'killed',
  pause: 'paused',
  resume: 'resumed',
  wipe: 'wiped',
  unplug: 'unplugged',
  replug: 'plugged in again',
};

/** Shows, changes or ends what a pool suffers on request. */
export async function showFaults(
  dataDirectory: string,
  pool: string | undefined,
  method: 'GET' | 'PUT' | 'DELETE',
  wish: unknown,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const name = pool ?? onlyPool((await fabric.status()).pools);
  const path = `/trivet/pools/${encodeURIComponent(name)}/faults`;
  const found = (await fabric.call(method, path, wish)) as FaultSettings;
  print(json ? JSON.stringify(found) : faultsText(name, found));
}

function faultsText(name: string, { rules, seed }: FaultSettings): string {
  if (rules.length === 0) return `pool ${name} suffers nothing`;
  return [`pool ${name}, by seed ${seed}`, ...rules.map((rule) => `  ${JSON.stringify(rule)}`)].join('\n');
}

/** Starts a pool's partitions again, one after the other; returns when all three are in sync again. */
export async function restartPool(
  dataDirectory: string,
  pool: string | undefined,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory, RESTART_PATIENCE_MS);
  const name = pool ?? onlyPool((await fabric.status()).pools);
  const path = `/trivet/pools/${encodeURIComponent(name)}/restart`;
  const done = await withProgress('starting the partitions again', MEMBERS.length, async (advance) => {
    let seen = await restartsOf(fabric, name);
    const watching = setInterval(() => {
      const now = restartsOf(fabric, name).catch(() => seen); // whether it works, the restart itself says
      void now.then((count) => {
        for (; seen < count; seen += 1) advance();
      });
    }, RESTART_LOOK_MS);
    const restarting = fabric.call('POST', path) as Promise<PoolStatus>;
    return restarting.finally(() => clearInterval(watching));
  });
  print(json ? JSON.stringify(done) : `all partitions were started again\n${poolText(done)}`);
}

async function restartsOf(fabric: FabricClient, name: string): Promise<number> {
  const { instances = [] } = (await fabric.status()).pools.find((pool) => pool.name === name) ?? {};
  return instances.reduce((sum, { restarts }) => sum + restarts, 0);
}

/** Compares what a pool's partitions hold; fails when they differ. */
export async function showDigest(
  dataDirectory: string,
  pool: string | undefined,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const name = pool ?? onlyPool((await fabric.status()).pools);
  const path = `/trivet/pools/${encodeURIComponent(name)}/digest`;
  const found = (await fabric.call('POST', path)) as PoolDigest;
  print(json ? JSON.stringify(found) : digestText(found));
  if (!found.equal) throw new CommandError(`the partitions of ${name} differ at index ${found.index}`);
}

function digestText({ index, digests }: PoolDigest): string {
  const lines = digests.map(({ id, digest }) => `  partition ${id}  ${digest}`);
  return [`index ${index}`, ...lines].join('\n');
}

export async function advanceClock(dataDirectory: string, duration: string, json: boolean): Promise<void> {
  const fabric = await connect(dataDirectory);
  const shown = (await fabric.call('POST', '/trivet/clock/advance', { duration })) as ClockStatus;
  print(json ? JSON.stringify(shown) : clockText(shown));
}

/** Changes the state of the subscription, or just shows it. */
export async function subscription(
  dataDirectory: string,
  state: Subscription['state'] | undefined,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const shown = (
    state === undefined
      ? await fabric.call('GET', '/trivet/subscription')
      : await fabric.call('PUT', '/trivet/subscription', { state })
  ) as Subscription;
  print(json ? JSON.stringify(shown) : `subscription ${shown.id} (${shown.displayName}): ${shown.state}`);
}

export async function showClock(dataDirectory: string, json: boolean): Promise<void> {
  const shown = (await (await connect(dataDirectory)).call('GET', '/trivet/clock')) as ClockStatus;
  print(json ? JSON.stringify(shown) : clockText(shown));
}

function clockText({ movable, time, offset, pools }: ClockStatus): string {
  if (!movable) return `${time}, the time of this machine; the clock cannot be moved`;
  const behind = pools.flatMap(({ name, instances }) =>
    instances
      .filter((instance) => instance.offset !== offset)
      .map(({ id, offset: own }) =>
        own === null
          ? `partition ${id} of ${name} is down or has not said what it goes by`
          : `partition ${id} of ${name} is ${offset - own} s behind`,
      ),
  );
  return [`${time}, ${offset} s ahead of this machine`, ...behind].join('\n');
}

function onlyPool(pools: FabricStatus['pools']): string {
  const [only, second] = pools;
  if (only && !second) return only.name;
  throw new CommandError(
    `there are several pools, name one with --pool: ${pools.map(({ name }) => name).join(', ')}`,
  );
}

function poolText(pool: PoolStatus): string {
  const lines = pool.instances.map((instance) => `  partition ${instance.id}  ${instanceText(instance)}`);
  const owner =
    pool.ownerFingerprint === null ? [] : [`  owner certificate  SHA-256 ${pool.ownerFingerprint}`];
  return [`pool ${pool.name}  ${pool.uri}  ${pool.activation}`, ...owner, ...lines].join('\n');
}

function instanceText(instance: InstanceStatus): string {
  const { role, inSync, pid, paused, unplugged, joining, reason } = instance;
  if (unplugged) return 'unplugged';
  if (role === 'down') return `down: ${String(reason)}`;
  const total = joining && joining.total > 0 ? ` of ${joining.total}` : '';
  const state = [
    role,
    inSync ? 'in sync' : 'not in sync',
    ...(joining ? [`${joining.phase} ${joining.done}${total}`] : []),
    ...(paused ? ['paused'] : []),
  ];
  const before = reason === undefined ? '' : `; before that: ${reason}`;
  return `${state.join(', ')} (process ${String(pid)})${before}`;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
/** Gives what is answered; a refusal is thrown as a {@link CommandError}. */
type Call = (method: Method, path: string, body?: unknown) => Promise<unknown>;
/** Gives refusals too. */
type Ask = (method: Method, path: string, body?: unknown) => Promise<Answer>;

export interface FabricClient {
  status(): Promise<FabricStatus>;
  readonly call: Call;
}

/** One pool's data plane, called as the administrator unless another token was given. */
export interface PoolClient {
  readonly name: string;
  readonly call: Call;
  readonly ask: Ask;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** `patienceMs`: how long an answer may take. */
export async function connect(dataDirectory: string, patienceMs = PATIENCE_MS): Promise<FabricClient> {
  const { running, send, login } = entrance(dataDirectory, patienceMs);
  const ask = asker(send, await login(`https://localhost:${running.controlPort}/.default`));
  const call = caller(ask, 'the fabric');
  return { call, status: async () => (await call('GET', '/trivet/status')) as FabricStatus };
}

/** The data plane of a pool; of the only one when none is named. */
export async function connectPool(dataDirectory: string, wanted: string | undefined): Promise<PoolClient> {
  const pool = await openPool(dataDirectory, wanted, process.env[TOKEN] || undefined);
  const ask: Ask = (...asked) =>
    withProgress(`waiting for pool ${pool.name}`, undefined, () => pool.ask(...asked));
  return { name: pool.name, ask, call: caller(ask, `pool ${pool.name}`) };
}

/** The same, as the administrator and nobody else. */
export function connectPoolAsAdministrator(dataDirectory: string, wanted: string): Promise<PoolClient> {
  return openPool(dataDirectory, wanted, undefined);
}

/**
 * The same over `connections` that stay open, for who asks much; as far as the doorway spreads them, they are to all
 * partitions. To be closed.
 */
export async function connectPoolOften(
  dataDirectory: string,
  wanted: string | undefined,
  connections: number,
): Promise<PoolClient & { close(): void }> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const pool = await openPool(dataDirectory, wanted, process.env[TOKEN] || undefined, agent);
  return { ...pool, close: () => agent.destroy() };
}

async function openPool(
  dataDirectory: string,
  wanted: string | undefined,
  given: string | undefined,
  agent: Agent | false = false,
): Promise<PoolClient> {
  const { places, running, login } = entrance(dataDirectory);
  const { pools } = await (await connect(dataDirectory)).status();
  const pool = pools.find(({ name }) => name === (wanted?.toLowerCase() ?? onlyPool(pools)));
  if (!pool) throw new CommandError(`there is no pool ${String(wanted)}`);
  const { hostname } = new URL(pool.uri);
  const audience = `https://${hostname.slice(hostname.indexOf('.') + 1)}:${running.dataPort}`;
  const ca = readFileSync(places.caFile, 'utf8');
  const send = sender(running.dataPort, ca, places.root, hostname, DATA_PATIENCE_MS, agent);
  const ask = asker(send, given ?? (await login(`${audience}/.default`)));
  return { name: pool.name, ask, call: caller(ask, `pool ${pool.name}`) };
}

interface Entrance {
  readonly places: Places;
  readonly running: Running;
  /** To the control port. */
  readonly send: Send;
  /** Gives a token. */
  readonly login: (scope: string) => Promise<string>;
}

function entrance(dataDirectory: string, patienceMs = PATIENCE_MS): Entrance {
  const places = new Places(dataDirectory);
  const running = readRunning(places);
  if (!running) {
    throw new CommandError(
      `no fabric runs on ${places.root}; start one with: trivet up --data-dir ${places.root}`,
    );
  }
  const admin = readAdmin(places);
  if (!admin) throw new CommandError(`${places.admin} is missing; it holds the administrator's credentials`);
  const ca = readFileSync(places.caFile, 'utf8');
  const send = sender(running.controlPort, ca, places.root, 'localhost', patienceMs);

  const login: Entrance['login'] = async (scope) => {
    const answer = await send(
      'POST',
      '/adfs/oauth2/token',
      {
        'Content-Type': 'application/x-www-form-urlencoded',
      },
      new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: admin.clientId,
        client_secret: admin.clientSecret,
        scope,
      }).toString(),
    );
    const token = member(answer.body, 'access_token');
    if (token !== undefined) return token;
    throw new CommandError(
      `the fabric did not log us in: ${member(answer.body, 'error_description') ?? answer.status}`,
    );
  };
  return { places, running, send, login };
}

function asker(send: Send, token: string): Ask {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  return (method, path, body) =>
    send(method, path, headers, body === undefined ? undefined : JSON.stringify(body));
}

function caller(ask: Ask, whom: string): Call {
  return async (method, path, body) => {
    const answer = await ask(method, path, body);
    if (answer.status < 300) return answer.body;
    throw new CommandError(problemOf(answer) ?? `${whom} answered ${answer.status}`);
  };
}

/** What a refusal says, in either plane. */
export function problemOf({ body }: Answer): string | undefined {
  const error = typeof body === 'object' && body !== null && 'error' in body && body.error;
  return member(error, 'message');
}

export function member(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found = (value as Record<string, unknown>)[name];
  return typeof found === 'string' ? found : undefined;
}

type Send = (
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
) => Promise<Answer>;

function sender(
  port: number,
  ca: string,
  root: string,
  host: string,
  patienceMs: number,
  agent: Agent | false = false,
): Send {
  return (method, path, headers, body) =>
    new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void =>
        reject(
          error.code === 'ECONNREFUSED'
            ? new CommandError(`no fabric answers for ${root}; start it with: trivet up --data-dir ${root}`)
            : new CommandError(`the fabric on port ${port} cannot be reached: ${error.message}`, {
                cause: error,
              }),
        );
      const outgoing = request(
        {
          host: '127.0.0.1',
          servername: host,
          port,
          method,
          path,
          ca,
          agent,
          timeout: patienceMs,
          headers: { ...headers, Host: `${host}:${port}`, 'Content-Length': Buffer.byteLength(body ?? '') },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', fail);
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, body: parse(Buffer.concat(chunks).toString()) });
          });
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${patienceMs / 1_000} s`)));
      outgoing.on('error', fail);
      outgoing.end(body);
    });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not ours: the status has to do
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
