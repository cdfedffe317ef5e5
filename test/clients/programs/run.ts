// Runs a client program by itself, as its users do: trusting the pool's certificates, and with a resolver that knows
// the pool's name (libnss_wrapper; glibc does not resolve *.localhost by itself).
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestPool } from '../../scenarios/pool.js';

const PATIENCE_MS = 150_000;

/** The library with which names lead where a file of hosts says. */
export function resolver(): string {
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name));
  const found = ['/usr/lib', '/usr/lib64', ...folders]
    .map((folder) => join(folder, 'libnss_wrapper.so'))
    .find((file) => existsSync(file));
  if (found === undefined) {
    throw new Error('libnss_wrapper.so is missing; ./scripts/test installs it (package libnss-wrapper)');
  }
  return found;
}

interface More {
  readonly env?: NodeJS.ProcessEnv;
  /** Whether the name of the pool leads to it; true unless said otherwise. */
  readonly resolvePool?: boolean;
}

/** What a program of Node printed; fails with what it said when it did not end well. */
export async function runClient(
  pool: TestPool,
  program: string,
  args: readonly string[],
  { env, resolvePool }: More = {},
): Promise<string> {
  const trusting = { NODE_EXTRA_CA_CERTS: pool.ready.caFile, ...env };
  const { code, out, err } = await runCommand(pool, process.execPath, [program, ...args], {
    env: trusting,
    ...(resolvePool !== undefined && { resolvePool }),
  });
  if (code === 0) return out;
  throw new Error(`${program} ended with ${String(code)}: ${err.slice(-4_000)}`);
}

export interface Ended {
  /** Or the signal. */
  readonly code: number | NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end, with nothing of the environment but what is given. */
export async function runCommand(
  pool: TestPool,
  command: string,
  args: readonly string[],
  { env, resolvePool = true }: More = {},
): Promise<Ended> {
  const hosts = join(pool.home, 'hosts');
  writeFileSync(hosts, `127.0.0.1 localhost ${pool.uri.hostname}\n`);
  const named = { LD_PRELOAD: resolver(), NSS_WRAPPER_HOSTS: hosts };
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH'], ...(resolvePool && named), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const code = await new Promise<Ended['code']>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exit: number | null, signal: NodeJS.Signals | null) => resolve(exit ?? signal));
  });
  return { code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
}
