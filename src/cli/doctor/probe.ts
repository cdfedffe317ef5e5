// Looks at the machine and says what it sees, without judging. Changes nothing but for one file that it makes in the
// data directory, syncs and removes; opens no token and no store.
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  lstatSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Places, readRunning, type Running } from '../../fabric/pools/estate.js';
import { listPools } from '../../fabric/pools/pool-file.js';
import { connect } from '../ask.js';
import { SOFTHSM, findModule } from '../home.js';
import { Unknown, type ConnectionFacts, type Facts, type FileFacts, type Maybe } from './facts.js';
import type { Holder, NativeFacts, PartitionFacts, PortFacts } from './facts.js';
import { Processes, isAlive, softLimit } from './processes.js';

export interface ProbeOptions {
  readonly dataDir: string;
  /** Looked at unless a fabric runs, which has its own. */
  readonly controlPort: number;
  readonly dataPort: number;
  readonly module?: string;
  /** Suffix of the pools' host names. */
  readonly domain: string;
}

const ROOT = join(__dirname, '..', '..', '..');
const PATIENCE_MS = 5_000;
const CHECK_MS = 20_000;
/** An installation has hundreds of files. */
const FILES_MAX = 20_000;
const SYNCS = 5;
const SYNC_BYTES = 4_096;

/** All facts; what cannot be seen is said to be {@link Unknown}. */
export async function probe(options: ProbeOptions): Promise<Facts> {
  const places = new Places(options.dataDir);
  const processes = new Processes();
  const running = attempt(() => readRunning(places));
  const fabric = fabricOn(places, processes, running instanceof Unknown ? undefined : running);
  const mine = fabric && !(running instanceof Unknown) ? running : undefined;
  const pools = listPools(places.pools);
  const { native, bootTimesMs } = checkNative(options.module);
  const caFile = existsSync(places.caFile) ? places.caFile : undefined;
  const files = attempt(() => filesIn(places.root));
  const instances = pools.flatMap((pool) => instancesOf(join(places.pools, pool, 'instances')));
  const [ports, names, connections, status] = await Promise.all([
    Promise.all([
      portFacts(mine?.controlPort ?? options.controlPort, '--control-port', fabric, processes),
      portFacts(mine?.dataPort ?? options.dataPort, '--data-port', fabric, processes),
    ]),
    Promise.all(pools.map((pool) => nameFacts(`${pool}.${options.domain}`))),
    mine && caFile !== undefined ? connectionsTo(mine, caFile, pools, options.domain) : [],
    mine ? statusOf(places.root) : undefined,
  ]);
  const newest = files instanceof Unknown ? [] : files.map(({ modified }) => modified);
  const limitsOf = fabric?.pid ?? 'self';
  return {
    root: places.root,
    fabric,
    killed: !fabric && !(running instanceof Unknown) && running ? running.pid : undefined,
    orphans: fabric ? [] : orphansOf(instances, processes),
    node: { version: process.versions.node, wanted: wantedNode() },
    missingPrograms: ['flock', 'setpriv'].filter((program) => !isInPath(program)),
    missingBuild: ['dist/program/instance/main.js', 'dist/program/instance/provisioner.js'].filter(
      (file) => !existsSync(join(ROOT, file)),
    ),
    native,
    bootTimesMs,
    directory: directoryFacts(places.root),
    files,
    uid: process.getuid?.() ?? 0,
    custodianKeys: existing(places.custodians).filter((name) => name.endsWith('.key')),
    stale: instances
      .filter((directory) => processes.holdersOf(real(join(directory, 'lock'))).length === 0)
      .flatMap((directory) => within(join(directory, 'partition', 'work'))),
    broken: pools.flatMap((pool) =>
      within(join(places.pools, pool, 'instances')).filter((path) => path.includes('.broken-')),
    ),
    ports,
    names,
    caFile,
    certificates: caFile === undefined ? [] : attempt(() => certificatesIn(caFile).map(validityOf)),
    bundles: caFile === undefined ? [] : bundlesFor(caFile),
    connections,
    disk: attempt(() => diskFacts(nearest(places.root))),
    now: Date.now(),
    newestFile: newest.length > 0 ? Math.max(...newest) : undefined,
    openFilesMax: softLimit(limitsOf, 'Max open files'),
    coreBytesMax: softLimit(limitsOf, 'Max core file size'),
    partitions: status === undefined ? [] : status instanceof Unknown ? status : status.partitions,
    waiting: status === undefined || status instanceof Unknown ? [] : status.waiting,
  };
}

function attempt<T>(look: () => T): Maybe<T> {
  try {
    return look();
  } catch (error) {
    return new Unknown(error instanceof Error ? error.message : String(error));
  }
}

function fabricOn(places: Places, processes: Processes, running: Running | undefined): Holder | undefined {
  const [holder] = processes.holdersOf(real(places.lock));
  // Who does not show itself has written down who it is.
  return holder?.pid === null && running && isAlive(running.pid) ? { ...holder, pid: running.pid } : holder;
}

function orphansOf(instances: readonly string[], processes: Processes): Holder[] {
  return instances.flatMap((directory) => processes.holdersOf(real(join(directory, 'lock'))));
}

function wantedNode(): string {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly engines: { readonly node: string };
  };
  return engines.node.replace(/^\D+/, '');
}

function isInPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((place) => existsSync(join(place, program)));
}

// In a process of its own, without our environment, as an instance is started.
function checkNative(given: string | undefined): {
  native: Maybe<NativeFacts>;
  bootTimesMs: readonly number[];
} {
  const path = attempt(() => findModule(given));
  const modulePath = path instanceof Unknown ? undefined : path;
  const program = join(ROOT, 'dist', 'instance', 'check-module.js');
  // A place without tokens: SoftHSM would open those of this user.
  const scratch = mkdtempSync(join(tmpdir(), 'trivet-doctor-'));
  const configuration = join(scratch, 'softhsm2.conf');
  writeFileSync(configuration, `directories.tokendir = ${scratch}\nobjectstore.backend = file\n`);
  const run = spawnSync(process.execPath, [program, ...(modulePath === undefined ? [] : [modulePath])], {
    env: { SOFTHSM2_CONF: configuration },
    encoding: 'utf8',
    timeout: CHECK_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  rmSync(scratch, { recursive: true, force: true });
  const said = attempt(() => JSON.parse(run.stdout) as Said);
  if (said instanceof Unknown) {
    const how = run.signal ? `it ends its process with ${run.signal}` : lastLine(run.stderr);
    if (modulePath === undefined) return { native: new Unknown(how), bootTimesMs: [] };
    return { native: { step: 'module', path: modulePath, problem: how }, bootTimesMs: [] };
  }
  if (said.step === 'addon') return { native: said, bootTimesMs: [] };
  const { bootTimesMs } = said;
  if (modulePath === undefined) {
    const named = given ?? '';
    return { native: { step: 'no-module', looked: named === '' ? SOFTHSM : [named] }, bootTimesMs };
  }
  return { native: { ...said, path: modulePath }, bootTimesMs };
}

/** What `instance/check-module.ts` prints. */
type Said =
  | { readonly step: 'addon'; readonly problem: string }
  | { readonly step: 'module'; readonly problem: string; readonly bootTimesMs: readonly number[] }
  | {
      readonly step: 'done';
      readonly description: string;
      readonly missing: readonly string[];
      readonly bootTimesMs: readonly number[];
    };

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? 'it says nothing';
}

function directoryFacts(root: string): Facts['directory'] {
  const exists = existsSync(root);
  const file = join(nearest(root), `.trivet-doctor-${process.pid}`);
  try {
    closeSync(openSync(file, 'wx', 0o600));
    rmSync(file, { force: true });
    return { exists, unwritable: undefined };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // A full disk is another finding.
    return { exists, unwritable: code === 'ENOSPC' || code === 'EDQUOT' ? undefined : message };
  }
}

/** The directory, or the nearest above it that there is. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path));
}

function filesIn(root: string): (FileFacts & { readonly modified: number })[] {
  if (!existsSync(root)) return [];
  const found: (FileFacts & { readonly modified: number })[] = [];
  const visit = (path: string): void => {
    const { mode, uid, mtimeMs } = lstatSync(path);
    const directory = (mode & 0o170000) === 0o040000;
    if ((mode & 0o170000) !== 0o120000) {
      found.push({ path, mode: mode & 0o777, uid, directory, modified: mtimeMs });
    }
    if (found.length > FILES_MAX) throw new Error(`${root} has more than ${FILES_MAX} files`);
    if (directory) for (const name of existing(path)) visitIfThere(join(path, name));
  };
  // Files come and go while a pool runs.
  const visitIfThere = (path: string): void => {
    try {
      visit(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  };
  visit(root);
  return found;
}

function existing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function within(directory: string): string[] {
  return existing(directory).map((name) => join(directory, name));
}

function instancesOf(directory: string): string[] {
  return existing(directory)
    .filter((name) => /^[0-9]+$/.test(name))
    .map((name) => join(directory, name));
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // there is none, so nobody holds it
  }
}

async function portFacts(
  port: number,
  option: PortFacts['option'],
  fabric: Holder | undefined,
  processes: Processes,
): Promise<Maybe<PortFacts>> {
  const facts = { port, option, holder: undefined, ours: false, refused: undefined };
  if (port === 0) return facts; // any free one
  const problem = await listening(port);
  if (problem === undefined) return facts;
  if (problem.code === 'EADDRINUSE') {
    const holder = processes.listenerOn(port) ?? {
      pid: null,
      command: 'a program that does not show itself',
    };
    // Whoever it is that does not show itself: the connection tells whether it is ours.
    return { ...facts, holder, ours: fabric !== undefined && (holder.pid ?? fabric.pid) === fabric.pid };
  }
  if (problem.code === 'EACCES') return { ...facts, refused: problem.message };
  return new Unknown(problem.message);
}

/** Listens for a moment, as a fabric does; undefined when that works. */
function listening(port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)));
  });
}

async function nameFacts(name: string): Promise<Facts['names'][number]> {
  try {
    return { name, addresses: (await lookup(name, { all: true })).map(({ address }) => address) };
  } catch {
    return { name, addresses: undefined };
  }
}

/** The certificates of a file in PEM. */
function certificatesIn(file: string): X509Certificate[] {
  const pem = readFileSync(file, 'utf8');
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([text]) => new X509Certificate(text),
  );
}

function validityOf(certificate: X509Certificate): {
  subject: string;
  notBefore: number;
  notAfter: number;
} {
  return {
    subject: certificate.subject.replaceAll('\n', ', '),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
}

function bundlesFor(caFile: string): Facts['bundles'] {
  const ours = attempt(() => certificatesIn(caFile).map(({ fingerprint256 }) => fingerprint256));
  if (ours instanceof Unknown) return [];
  return (['NODE_EXTRA_CA_CERTS', 'REQUESTS_CA_BUNDLE', 'SSL_CERT_FILE'] as const).flatMap((variable) => {
    const file = process.env[variable];
    if (file === undefined || file === '') return [];
    const there = attempt(() => new Set(certificatesIn(file).map(({ fingerprint256 }) => fingerprint256)));
    if (there instanceof Unknown) return { variable, file, holdsOurs: false, problem: there.why };
    return { variable, file, holdsOurs: ours.every((one) => there.has(one)), problem: undefined };
  });
}

async function connectionsTo(
  { controlPort, dataPort }: Running,
  caFile: string,
  pools: readonly string[],
  domain: string,
): Promise<Maybe<ConnectionFacts[]>> {
  const ca = attempt(() => readFileSync(caFile, 'utf8'));
  if (ca instanceof Unknown) return ca;
  const targets = [
    { whom: `the control port ${controlPort}`, port: controlPort, servername: 'localhost' },
    ...pools.map((pool) => ({ whom: `pool ${pool}`, port: dataPort, servername: `${pool}.${domain}` })),
  ];
  return Promise.all(
    targets.map(async ({ whom, port, servername }) => {
      const [withFile, withDefaults] = await Promise.all([
        verify(port, servername, ca),
        verify(port, servername, undefined),
      ]);
      return { whom, withFile, withDefaults };
    }),
  );
}

/** Undefined when the certificate verifies; without `ca` by what Node trusts by itself. */
function verify(port: number, servername: string, ca: string | undefined): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      servername,
      timeout: PATIENCE_MS,
      ...(ca !== undefined && { ca }),
    });
    const end = (said: string | undefined): void => {
      socket.destroy();
      resolve(said);
    };
    socket.once('secureConnect', () => end(undefined));
    socket.once('timeout', () => end('it does not answer'));
    socket.once('error', (error: Error) => end(error.message));
  });
}

async function statusOf(root: string): Promise<Maybe<{ partitions: PartitionFacts[]; waiting: string[] }>> {
  try {
    const { pools } = await (await connect(root, PATIENCE_MS)).status();
    return {
      partitions: pools.flatMap(({ name, instances }) =>
        instances.map(({ id, role, inSync, paused, unplugged, reason }) => ({
          pool: name,
          id,
          role,
          inSync,
          paused: paused === true,
          unplugged: unplugged === true,
          reason,
        })),
      ),
      waiting: pools.filter(({ activation }) => activation !== 'Active').map(({ name }) => name),
    };
  } catch (error) {
    return new Unknown(error instanceof Error ? error.message : String(error));
  }
}

function diskFacts(directory: string): Exclude<Facts['disk'], Unknown> {
  const { type, bavail, bsize, files, ffree } = statfsSync(directory);
  return {
    type,
    freeBytes: bavail * bsize,
    freeFiles: ffree,
    countsFiles: files > 0,
    syncMs: syncTimes(directory),
  };
}

function syncTimes(directory: string): number[] | string {
  const path = join(directory, `.trivet-doctor-${process.pid}`);
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      return Array.from({ length: SYNCS }, () => {
        const begin = performance.now();
        writeSync(file, Buffer.alloc(SYNC_BYTES, 1));
        fsyncSync(file);
        return performance.now() - begin;
      });
    } finally {
      closeSync(file);
      rmSync(path, { force: true });
    }
  } catch (error) {
    return (error as Error).message;
  }
}
