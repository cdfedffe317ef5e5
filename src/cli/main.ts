#!/usr/bin/env node
// The command line. Reads what was asked, loads only what that needs, and turns failures into a sentence and an exit
// code.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Help, InvalidArgumentError, Option } from 'commander';
import type { StorageHost, TrustedAttestor } from '../values/messages.js';
import { addAudit } from './audit.js';
import { addBackup } from './backup.js';
import { addBench } from './bench.js';
import { addCompletion } from './completion.js';
import { addDoctor } from './doctor.js';
import { explain } from './failure.js';
import { addFaults } from './faults.js';
import { defaultDirectory } from './home.js';
import { guid, issuer, readCertificates } from './issuer.js';
import { addKey } from './key.js';
import { addMeter, meterRate } from './meter.js';
import { addPool } from './pool.js';
import { addPoolTrust } from './pool-trust.js';
import { portNumber } from './port.js';
import { addPrincipalCommands } from './principal.js';
import { addRole } from './role.js';
import { addSecurityDomain } from './security-domain.js';
import { addSlot } from './slot.js';
import type { WatchOptions } from './status/watch.js';
import { addSubscription } from './subscription.js';
import type { UpOptions } from './up.js';

interface Target {
  dataDir: string;
  json?: true;
}

const dataDir = (): Option =>
  new Option('--data-dir <directory>', 'where everything is kept')
    .env('TRIVET_HOME')
    .default(defaultDirectory());
const json = (): Option => new Option('--json', 'print JSON');

function seconds(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,4}(\.[0-9]{1,3})?$/.test(text) || value < 0.1) {
    throw new InvalidArgumentError('seconds, 0.1 or more');
  }
  return value;
}

function lookCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('a whole number is expected');
  return Number(text);
}

function poolCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || count < 1)
    throw new InvalidArgumentError('a number of pools is 1 to 999');
  return count;
}

function attestor(text: string, before: readonly TrustedAttestor[]): readonly TrustedAttestor[] {
  const comma = text.indexOf(',');
  const issuer = comma < 0 ? text : text.slice(0, comma);
  if (!/^https:\/\/./.test(issuer)) throw new InvalidArgumentError('an attestation service has an https URL');
  return [...before, { issuer, ...(comma < 0 ? {} : { ca: readCertificates(text.slice(comma + 1)) }) }];
}

function storageHost(text: string, before: readonly StorageHost[]): readonly StorageHost[] {
  const [name = '', ca] = text.split(/,(.*)/s);
  const host = name.toLowerCase();
  if (!/^[a-z0-9.-]+(:[0-9]{1,5})?$/.test(host))
    throw new InvalidArgumentError('a storage is a host name and perhaps a port');
  const full = host.includes(':') ? host : `${host}:443`;
  return [...before, { host: full, ...(ca === undefined ? {} : { ca: readCertificates(ca) }) }];
}

const plain = new Help();

function version(): string {
  const file = join(__dirname, '..', '..', 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
}

/** All commands; each loads what it needs when it is run. */
export function program(): Command {
  const trivet = new Command('trivet')
    .description('A managed HSM that you run yourself.')
    .version(version(), '--version', 'print the version')
    .showHelpAfterError('(--help after a command shows what it takes)')
    .configureHelp({
      // A list that nothing is in needs no words.
      optionDescription: (option) =>
        plain.optionDescription(option).replace(/ \(default: (\[\]|\{\})\)$/, ''),
    });
  trivet
    .command('up')
    .description('start the pools; on an empty directory make one first')
    .addOption(dataDir())
    .option('--control-port <port>', 'control plane and login; 0: any free port', portNumber, 8443)
    .option('--data-port <port>', 'data plane of all pools; 0: any free port', portNumber, 9443)
    .option('--pool <name>', 'name of the first pool (default: dev)')
    .option(
      '--max-pools <number>',
      'how many pools this machine holds, deleted ones included (default: as many as its memory has room for, and 5)',
      poolCount,
    )
    .option(
      '--movable-clock',
      'let `trivet clock advance` move the clock; only for a pool that is made by this',
    )
    .option(
      '--faults',
      'let `trivet faults set` make the pool slow, refuse and fail on request, for tests; only for a pool that is made by this',
    )
    .option('--no-activate', 'leave a new pool waiting for its security domain to be downloaded or uploaded')
    .option(
      '--audit-optional',
      'go on serving while the audit log cannot be written; only for a pool that is made by this',
    )
    .option(
      '--attestor <issuer>',
      'attestation service whose assertions are believed when a key is released: its https URL and, after a comma, ' +
        'the file of its CA; may be given several times, and only for a pool that is made by this',
      attestor,
      [],
    )
    .option(
      '--issuer <issuer>',
      'OpenID provider whose access tokens are believed: its https URL as `iss` has it and, after commas, the file of ' +
        'its CA, metadata=URL where its metadata are elsewhere, audience=VALUE where tokens name an application; may ' +
        'be given several times, and only for a pool that is made by this',
      issuer,
      [],
    )
    .option(
      '--storage-host <host>',
      'blob service where backups may be kept: its host name, the port unless it is 443 and, after a comma, the file of ' +
        'its CA; may be given several times, and only for a pool that is made by this',
      storageHost,
      [],
    )
    .option('--storage', 'start a blob service beside the pools too (azurite), for backups on this machine')
    .option('--tenant <id>', 'the tenant that tokens must be of; only in an empty directory', guid)
    .option(
      '--administrator <object id>',
      'Administrator of the pool by its object id at an issuer; may be given several times, and only for a pool that ' +
        'is made by this',
      (text: string, before: readonly string[]) => [...before, guid(text)],
      [],
    )
    .option(
      '--no-local-login',
      'believe no token of the local login; only for a pool that is made by this, with --issuer and --administrator, ' +
        'who also activate it (--no-activate goes without saying)',
    )
    .option(
      '--meter-rate <amount>',
      'euro for each hour of a pool that begins from now on; without it as before, and 3.20 at first',
      meterRate,
    )
    .addOption(new Option('--module <file>', 'PKCS#11 module of the partitions').env('TRIVET_PKCS11_MODULE'))
    .option('--ready-file <file>', 'written when every pool answers')
    .option(
      '--leave-with-stdin',
      'leave at once when standard input ends: for a program that starts this and must not leave it behind',
    )
    .action(async (options: UpOptions) => {
      const { up } = await import('./up.js');
      await up(options);
    });
  trivet
    .command('status')
    .description('show the pools and their partitions')
    .addOption(dataDir())
    .addOption(json())
    .option('--watch', 'look again and again: a live view in a terminal, else one look below the other')
    .option('--interval <seconds>', 'between looks', seconds, 1)
    .option('--count <number>', 'leave after so many looks', lookCount)
    .action(async ({ watch: again, ...options }: WatchOptions & { watch?: true }) => {
      if (again) {
        const { watch } = await import('./status/watch.js');
        await watch(options);
        return;
      }
      const { status } = await import('./ask.js');
      await status(options.dataDir, options.json === true);
    });
  addPrincipalCommands(trivet);
  const partition = trivet.command('partition').description('faults on request, for tests and drills');
  for (const [fault, what] of [
    ['kill', 'end a partition with SIGKILL'],
    ['pause', 'stop a partition where it stands'],
    ['resume', 'let a paused partition go on'],
    ['wipe', 'end a partition and remove all that it has; a new one joins in its place'],
    [
      'unplug',
      'end a partition that then stays away until it is plugged in again, or the fabric is started again',
    ],
    ['replug', 'let an unplugged partition come back'],
  ] as const) {
    partition
      .command(`${fault} <id>`)
      .description(`${what}; the three are 0, 1 and 2`)
      .addOption(dataDir())
      .addOption(json())
      .option('--pool <name>', 'which pool, where there are several')
      .action(async (id: string, options: Target & { pool?: string }) => {
        const { inflict } = await import('./ask.js');
        await inflict(options.dataDir, fault, id, options.pool, options.json === true);
      });
  }
  addPool(trivet);
  const clock = trivet
    .command('clock')
    .description('the clock of pools made with --movable-clock, for tests');
  clock
    .command('advance <duration>')
    .description(
      'move it forward by an ISO 8601 duration, such as P30D, PT1H or P1Y2M3DT4H; it cannot go back',
    )
    .addOption(dataDir())
    .addOption(json())
    .action(async (duration: string, options: Target) => {
      const { advanceClock } = await import('./ask.js');
      await advanceClock(options.dataDir, duration, options.json === true);
    });
  clock
    .command('show')
    .description('show the time of the pools, and how far it is ahead of this machine')
    .addOption(dataDir())
    .addOption(json())
    .action(async (options: Target) => {
      const { showClock } = await import('./ask.js');
      await showClock(options.dataDir, options.json === true);
    });
  addAudit(trivet);
  addBackup(trivet);
  addBench(trivet);
  addCompletion(trivet);
  addDoctor(trivet);
  addFaults(trivet);
  addKey(trivet);
  addMeter(trivet);
  addPoolTrust(trivet);
  addRole(trivet);
  addSecurityDomain(trivet);
  addSlot(trivet);
  addSubscription(trivet);
  return trivet;
}

/** Runs a command line, `args` as in `process.argv`; never throws, and sets the exit code. */
export async function run(args: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(args);
  } catch (error) {
    process.stderr.write(`trivet: ${explain(error)}\n`);
    process.exitCode = 1;
  }
}

if (require.main === module) {
  // Whoever read our words has heard enough (`| head`): no reason to fail, and none to stop a running service.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  void run(process.argv);
}
