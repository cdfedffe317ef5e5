// The distribution's own clients, unmodified, against a pool.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand, type Ended } from '../clients/programs/run.js';
import type { Credentials, TestPool } from '../scenarios/pool.js';

/** Debian's own; any other Python does not see its packages. */
const PYTHON = '/usr/bin/python3';

/** What a Python program printed, parsed; fails with what it said when it did not end well. */
export async function runPython<T>(pool: TestPool, program: string, wish: object): Promise<T> {
  const full = JSON.stringify({ url: pool.uri.origin, readyFile: pool.readyFile, ...wish });
  const file = join(__dirname, 'programs', program);
  const { code, out, err } = await runCommand(pool, PYTHON, [file, full], {
    env: { REQUESTS_CA_BUNDLE: pool.ready.caFile, PYTHONDONTWRITEBYTECODE: '1' },
  });
  if (code === 0) return JSON.parse(out) as T;
  throw new Error(`${program} ended with ${String(code)}: ${err.slice(-4_000)}`);
}

/** az with a configuration of its own: a cloud, a login, a cache of tokens. */
export class Az {
  readonly #directory: string;

  constructor(
    readonly pool: TestPool,
    readonly name: string,
    readonly env: NodeJS.ProcessEnv = {},
  ) {
    this.#directory = join(pool.home, `az-${name}`);
    mkdirSync(this.#directory);
  }

  /** How a command ended. */
  try(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const ca = this.pool.ready.caFile;
    return runCommand(this.pool, 'az', args, {
      env: {
        AZURE_CONFIG_DIR: this.#directory,
        AZURE_CORE_COLLECT_TELEMETRY: '0',
        REQUESTS_CA_BUNDLE: ca,
        SSL_CERT_FILE: ca,
        HOME: this.#directory,
        ...this.env,
        ...more,
      },
    });
  }

  /** What a command printed; fails with what it said when it did not end well. */
  async run(...args: string[]): Promise<unknown> {
    const { code, out, err } = await this.try([...args, '--output', 'json']);
    if (code !== 0) throw new Error(`az ${args.join(' ')} ended with ${String(code)}: ${err.slice(-4_000)}`);
    return out.trim() === '' ? undefined : JSON.parse(out);
  }

  /** Registers the pool's cloud with everything that commands read of one. */
  async registerCloud(): Promise<void> {
    const { controlPlane, authority } = this.pool.ready;
    const { port } = this.pool.uri;
    const endpoints = {
      resourceManager: controlPlane,
      management: controlPlane,
      activeDirectory: authority,
      activeDirectoryResourceId: `${controlPlane}/`,
      activeDirectoryGraphResourceId: `${controlPlane}/`,
      microsoftGraphResourceId: `${controlPlane}/`,
    };
    const suffixes = {
      mhsmDns: `.managedhsm.localhost:${port}`,
      keyvaultDns: `.vault.localhost:${port}`,
      storageEndpoint: 'core.localhost:10000',
    };
    const file = join(this.#directory, 'cloud.json');
    writeFileSync(file, JSON.stringify({ endpoints, suffixes }));
    await this.run('cloud', 'register', '--name', 'Trivet', '--cloud-config', `@${file}`);
    await this.run('cloud', 'set', '--name', 'Trivet');
  }

  login({ clientId, clientSecret }: Credentials, ...more: string[]): Promise<unknown> {
    // With `=`, since a secret may begin with a dash.
    const { tenantId } = this.pool.ready;
    return this.run(
      ...['login', '--service-principal', '--username', clientId, `--password=${clientSecret}`],
      ...['--tenant', tenantId, ...more],
    );
  }

  /** A request of the data plane through `az rest`. */
  rest(method: string, path: string, body?: unknown): Promise<Ended> {
    const { origin, port } = this.pool.uri;
    const version = path.includes('api-version') ? '' : `${path.includes('?') ? '&' : '?'}api-version=7.6`;
    return this.try([
      ...['rest', '--method', method.toLowerCase(), '--url', `${origin}${path}${version}`],
      ...['--resource', `https://managedhsm.localhost:${port}`],
      ...(body === undefined ? [] : ['--body', JSON.stringify(body)]),
    ]);
  }
}
