// `trivet up`: starts the fabric in this process, says how to reach it, and leaves when it is told to.
import { Socket } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { writeDurably, makeDirectory } from '../values/durable-file.js';
import type { PublishingIssuer, StorageHost, TrustedAttestor } from '../values/messages.js';
import { holdCeremony, preparePairs } from './ceremony.js';
import { startFabric } from '../fabric/main.js';
import type { Fabric } from '../fabric/main.js';
import type { InstanceProgram } from '../fabric/pools/instance-process.js';
import { TOKEN } from './ask.js';
import { readyDocument } from './document.js';
import type { ReadyDocument } from './document.js';
import { findModule } from './home.js';

export interface UpOptions {
  dataDir: string;
  controlPort: number;
  dataPort: number;
  pool?: string;
  maxPools?: number;
  movableClock?: true;
  faults?: true;
  leaveWithStdin?: true;
  auditOptional?: true;
  /** False: a new pool is left waiting for its security domain. */
  activate?: boolean;
  attestor?: readonly TrustedAttestor[];
  issuer?: readonly PublishingIssuer[];
  storageHost?: readonly StorageHost[];
  storage?: true;
  administrator?: readonly string[];
  tenant?: string;
  localLogin?: boolean;
  meterRate?: number;
  module?: string;
  readyFile?: string;
}

/** Steps shorter than this are not worth a line. */
const QUIET_MS = 1_000;
const ONE_SIGNAL_MS = 500;

/** `program` is what an instance runs when it is not the real one. */
export async function up(options: UpOptions, program?: InstanceProgram): Promise<void> {
  const leave = onSignal();
  if (options.leaveWithStdin) leaveWithStdin();
  const steps = new Steps();
  const module = findModule(options.module);
  const localLogin = options.localLogin ?? true;
  const activate = localLogin && (options.activate ?? true);
  const pairs = activate ? preparePairs(options.dataDir) : undefined;
  // Who needs them hears of it.
  pairs?.catch(() => undefined);
  const starting = startFabric({
    dataDirectory: options.dataDir,
    controlPort: options.controlPort,
    dataPort: options.dataPort,
    ...(options.pool !== undefined && { pool: options.pool }),
    ...(options.maxPools !== undefined && { poolsMax: options.maxPools }),
    ...(options.movableClock && { movableClock: true }),
    ...(options.faults && { faults: true }),
    ...(options.auditOptional && { auditOptional: true }),
    activate,
    ...(options.attestor && { attestors: options.attestor }),
    ...(options.issuer && { issuers: options.issuer }),
    ...(options.storageHost && { storageHosts: options.storageHost }),
    ...(options.storage && { storage: true }),
    ...(options.administrator && { administrators: options.administrator }),
    ...(options.tenant !== undefined && { tenantId: options.tenant }),
    localLogin,
    ...(options.meterRate !== undefined && { meterRate: options.meterRate }),
    module,
    ...(program && { program }),
    progress: (step) => steps.begin(step),
  });
  // Told to leave before it is ready: the kernel ends the instances with this process, and a start that was cut off
  // is what every start must cope with anyway.
  const started = starting.then(async (running) => {
    if (!pairs) return running;
    steps.begin('activating the pool');
    await holdCeremony(running, pairs).catch(async (error: unknown) => {
      await running.abandon();
      throw error;
    });
    return running;
  });
  const fabric = await Promise.race([started, leave.then(() => undefined)]);
  steps.end();
  if (!fabric) process.exit(0);
  const document = readyDocument(options.dataDir, fabric.status());
  if (options.readyFile !== undefined) writeReadyFile(options.readyFile, document);
  say(introduction(fabric, document));
  await leave;
  say('leaving: running requests are finished first (again to leave at once)');
  await fabric.stop();
  process.exit(0); // what is left holds no data: a handle that somebody forgot must not keep us here
}

// Holds the administrator's secret, hence for the owner only.
function writeReadyFile(file: string, document: ReadyDocument): void {
  makeDirectory(dirname(resolve(file)));
  writeDurably(resolve(file), `${JSON.stringify(document)}\n`, 0o600);
}

// Whoever started this holds the other end and is gone, however that ended. The kernel ends the instances with this
// process.
function leaveWithStdin(): void {
  const gone = (): void => process.exit(0);
  const stdin: Readable = process.stdin;
  stdin.on('end', gone).on('error', gone).resume();
  // A start that fails must not wait for it.
  if (stdin instanceof Socket) stdin.unref();
}

// The first signal asks; the second ends at once, and the instances with it. Programs that wrap us (timeout, npm)
// pass a signal on that the terminal has sent to us as well, so two in quick succession are one.
function onSignal(): Promise<void> {
  return new Promise((resolve) => {
    let asked: number | undefined;
    const hear = (): void => {
      if (asked !== undefined && performance.now() - asked > ONE_SIGNAL_MS) process.exit(130);
      asked ??= performance.now();
      resolve();
    };
    process.on('SIGINT', hear).on('SIGTERM', hear);
  });
}

function introduction(fabric: Fabric, document: ReadyDocument): string {
  const lines = [
    `control plane and login  ${document.controlPlane}`,
    `web console              ${document.controlPlane}/console/`,
    `tenant                   ${document.tenantId}`,
    `authority file           ${document.caFile}`,
    `administrator            ${fabric.places.admin}`,
  ];
  if (document.storage) lines.push(`storage                  ${document.storage.uri}`);
  if (fabric.clock.movable) {
    lines.push(`clock                    movable, at ${new Date(fabric.clock.now() * 1_000).toISOString()}`);
  }
  for (const pool of document.pools) {
    const { hostname, port } = new URL(pool.uri);
    lines.push(
      `pool ${pool.name.padEnd(19)} ${pool.uri} (${pool.activation})`,
      '',
      `To resolve the name, add to the hosts file:  127.0.0.1 ${hostname}`,
      `Or use https://localhost:${port} with disableChallengeResourceVerification in the SDK.`,
      `Node trusts it with NODE_EXTRA_CA_CERTS=${document.caFile}`,
    );
    if (!fabric.localLogin && pool.activation !== 'Active') {
      lines.push(
        '',
        `Pool ${pool.name} waits: it believes nobody who logs in here. One of its Administrators activates it, by`,
        `trivet security-domain download with an access token of their issuer in ${TOKEN}.`,
      );
    }
  }
  for (const warning of document.warnings ?? []) lines.push('', `warning: ${warning}`);
  return lines.join('\n');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

// Shows a step only when it takes long enough for somebody to wonder.
class Steps {
  #timer: NodeJS.Timeout | undefined;

  begin(step: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => say(`${step} ...`), QUIET_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
