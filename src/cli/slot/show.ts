// Copies a token, has the copy looked at by a process of its own, and shows what was found. SoftHSM rewrites a token at
// every login and may destroy it when it is killed meanwhile, so the token that an instance keeps is copied and never
// opened; whoever is killed here leaves a copy in the directory for temporary files, for its owner only.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { instanceDirectory } from '../../fabric/pools/pool-file.js';
import { Places } from '../../fabric/pools/estate.js';
import { print } from '../ask.js';
import { findLogs } from '../audit/logs.js';
import { CommandError } from '../failure.js';
import { findModule } from '../home.js';
import { harmless } from '../key/manage.js';
import type { Found, TokenObject } from './look.js';

export interface SlotOptions {
  dataDir: string;
  pool?: string;
  partition: number;
  directory?: string;
  module?: string;
  json?: true;
}

const PATIENCE_MS = 30_000;
const FLAG_WORDS: Readonly<Record<string, string>> = {
  alwaysSensitive: 'always sensitive',
  neverExtractable: 'never extractable',
  wrapWithTrusted: 'wrapped by trusted keys only',
  local: 'made here',
};

export function showSlot(options: SlotOptions): void {
  const module = findModule(options.module);
  const directory = resolve(options.directory ?? partitionDirectory(options));
  const golden = join(directory, 'golden');
  const domains = existsSync(golden) ? readdirSync(golden) : [];
  if (domains.length === 0) {
    throw new CommandError(`there is no token in ${directory}; it has golden/ with one, and pins.json`);
  }
  const pin = pinIn(join(directory, 'pins.json'));
  const tokens = domains.map((domain) => ({ domain, ...look(join(golden, domain), pin, module) }));
  if (options.json) print(JSON.stringify({ directory, tokens }));
  else print(tokens.map(inWords).join('\n\n'));
}

function partitionDirectory({ dataDir, pool, partition }: SlotOptions): string {
  const { pool: name } = findLogs({ dataDir, ...(pool !== undefined && { pool }) });
  return join(instanceDirectory(new Places(dataDir).pools, name, partition), 'partition');
}

function pinIn(file: string): string {
  try {
    const { user } = JSON.parse(readFileSync(file, 'utf8')) as { readonly user?: unknown };
    if (typeof user === 'string') return user;
  } catch (cause) {
    throw new CommandError(`${file} cannot be read; it holds the PIN of the token: ${String(cause)}`, {
      cause,
    });
  }
  throw new CommandError(`${file} holds no PIN`);
}

function look(token: string, pin: string, module: string): Found {
  const scratch = mkdtempSync(join(tmpdir(), 'trivet-slot-')); // mode 0700
  try {
    const copy = join(scratch, 'tokens');
    mkdirSync(copy, { mode: 0o700 });
    cpSync(token, copy, { recursive: true });
    const configuration = join(scratch, 'softhsm2.conf');
    writeFileSync(
      configuration,
      `directories.tokendir = ${copy}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    const run = spawnSync(process.execPath, [join(__dirname, 'look.js'), module], {
      env: { SOFTHSM2_CONF: configuration },
      input: pin,
      encoding: 'utf8',
      timeout: PATIENCE_MS,
    });
    if (run.status === 0) return JSON.parse(run.stdout) as Found;
    const why = run.stderr.trim().split('\n').at(-1) ?? '';
    throw new CommandError(
      /Cannot find module 'graphene-pk11'/.test(run.stderr)
        ? 'graphene-pk11, which looks into the token, is not installed; install it with: npm install graphene-pk11'
        : `the token cannot be looked at: ${run.signal ?? why}`,
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function inWords({ domain, label, model, objects }: Found & { readonly domain: string }): string {
  const head = `token ${harmless(label)} of security domain ${domain}: ${objects.length} objects (${harmless(model)})`;
  return [head, ...objects.flatMap(objectLines)].join('\n');
}

function objectLines({ class: kind, label, keyType, bits, flags }: TokenObject): string[] {
  const has = Object.entries(flags).filter(([, value]) => value);
  const lacks = Object.entries(flags).filter(([, value]) => !value);
  const words = (list: readonly (readonly [string, boolean])[]): string =>
    list.map(([name]) => FLAG_WORDS[name] ?? name).join(', ') || 'nothing';
  const type = [kind, keyType, bits === undefined ? undefined : `${bits} bits`].filter(
    (word) => word !== undefined,
  );
  return [
    `  ${harmless(label)}  ${type.join(' ')}`,
    `    is or may   ${words(has)}`,
    `    not         ${words(lacks)}`,
  ];
}
