// Runs a client program by itself, as its users do: trusting the pool's certificates, and with a resolver that knows
// the pool's name (libnss_wrapper; glibc does not resolve *.localhost by itself).
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestPool } from '../../scenarios/pool.js';

const PATIENCE_MS = 150_000;

function resolver(): string {
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name));
  const found = ['/usr/lib', '/usr/lib64', ...folders]
    .map((folder) => join(folder, 'libnss_wrapper.so'))
    .find((file) => existsSync(file));
  if (found === undefined) {
    throw new Error('libnss_wrapper.so is missing; ./scripts/test installs it (package libnss-wrapper)');
  }
  return found;
}

/** What the program printed; fails with what it said when it did not end well. */
export async function runClient(
  pool: TestPool,
  program: string,
  args: readonly string[],
  more: { readonly env?: NodeJS.ProcessEnv; readonly resolvePool?: boolean } = {},
): Promise<string> {
  const hosts = join(pool.home, 'hosts');
  writeFileSync(hosts, `127.0.0.1 localhost ${pool.uri.hostname}\n`);
  const named = { LD_PRELOAD: resolver(), NSS_WRAPPER_HOSTS: hosts };
  const child = spawn(process.execPath, [program, ...args], {
    env: {
      PATH: process.env['PATH'],
      NODE_EXTRA_CA_CERTS: pool.ready.caFile,
      ...(more.resolvePool !== false && named),
      ...more.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...how: [number | null, NodeJS.Signals | null]) => resolve(how));
  });
  if (code === 0) return Buffer.concat(out).toString();
  throw new Error(
    `${program} ended with ${String(code ?? signal)}: ${Buffer.concat(err).toString().slice(-4_000)}`,
  );
}
