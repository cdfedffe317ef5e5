// A blob service for local use: azurite as a child process, on the loopback interface, over TLS. Knows no pool; what is
// kept here was sealed before it came.
//
// Layout: storage/data/ (azurite's), storage/account-key (the owner's), storage/tls.* (of this run), storage/port.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { makeDirectory, writeDurably } from '../../values/durable-file.js';

/** Name of the one account. */
export const ACCOUNT = 'trivet';
const ACCOUNT_KEY_BYTES = 64;
const PACKAGE = 'azurite';
/** It loads some megabytes of JavaScript first. */
const START_MS = 60_000;
const LEAVE_MS = 10_000;
const AGAIN_MS = 1_000;
const LISTENING = /successfully listen/;
/** Of what it prints, for who must be told why it ended. */
const WORDS_MAX = 2_000;
const INHERITED = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_ALL', 'TZ'];

/** Key and certificate for localhost, PEM. */
export interface Certified {
  readonly key: string;
  readonly certificate: string;
}

/** The service cannot be started; the message says what to do. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
}

export interface BlobServiceStatus {
  /** URL of the account; containers are below. */
  readonly uri: string;
  readonly account: string;
  /** File with the account's key, for its owner only. */
  readonly keyFile: string;
}

/** Where the account's key lies, below the installation's directory. */
export function accountKeyFile(root: string): string {
  return join(root, 'storage', 'account-key');
}

export class BlobService {
  readonly #root: string;
  readonly #tls: Certified;
  readonly #program: string;
  readonly #accountKey: string;
  /** Told when it has ended by itself and is started again. */
  onEnded: ((reason: string) => void) | undefined;
  #child: ChildProcess | undefined;
  #leaving = false;

  private constructor(
    root: string,
    tls: Certified,
    readonly port: number,
  ) {
    this.#root = root;
    this.#tls = tls;
    this.#program = programOf();
    this.#accountKey = keyIn(root);
  }

  /**
   * Chooses a port, the one of the last run if it is free; starts nothing yet.
   * @param root directory of the installation.
   */
  static async prepare(root: string, tls: Certified): Promise<BlobService> {
    const file = join(root, 'storage', 'port');
    makeDirectory(join(root, 'storage', 'data'));
    const before = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
    const port = (await freePort(before)) ?? (await freePort(0)) ?? 0;
    writeDurably(file, `${port}\n`, 0o600);
    return new BlobService(root, tls, port);
  }

  get status(): BlobServiceStatus {
    return {
      uri: `https://localhost:${this.port}/${ACCOUNT}`,
      account: ACCOUNT,
      keyFile: accountKeyFile(this.#root),
    };
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    const directory = join(this.#root, 'storage');
    writeDurably(join(directory, 'tls.key'), this.#tls.key, 0o600);
    writeDurably(join(directory, 'tls.crt'), this.#tls.certificate, 0o600);
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', process.execPath, this.#program, ...this.#arguments()],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: this.#environment(),
        cwd: directory,
        // Ctrl-C in a terminal reaches the fabric alone, which then lets requests finish.
        detached: true,
      },
    );
    this.#child = child;
    let words = '';
    const said = (chunk: Buffer): string => (words = (words + chunk.toString()).slice(-WORDS_MAX));
    child.stderr.on('data', said);
    await new Promise<void>((resolve, reject) => {
      const failed = (why: string): void =>
        reject(new StorageError(`the local storage did not start: ${why}`));
      const timer = setTimeout(() => failed(`no answer in ${START_MS / 1_000} s`), START_MS).unref();
      child.stdout.on('data', (chunk: Buffer) => {
        if (LISTENING.test(said(chunk))) resolve();
      });
      child.once('error', (error) => failed(error.message));
      child.once('exit', () => {
        clearTimeout(timer);
        failed(words.trim());
      });
    });
    child.once('exit', (code, signal) => this.#again(`ended with ${String(code ?? signal)}`));
  }

  /** Ends it, in order if that takes no longer than some seconds. */
  async stop(): Promise<void> {
    this.#leaving = true;
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS).unref();
    await ended;
    clearTimeout(timer);
  }

  #again(reason: string): void {
    if (this.#leaving) return;
    this.onEnded?.(reason);
    setTimeout(() => {
      if (!this.#leaving) this.start().catch((error: unknown) => this.#again(String(error)));
    }, AGAIN_MS).unref();
  }

  #arguments(): string[] {
    const directory = join(this.#root, 'storage');
    return [
      ...['--blobHost', '127.0.0.1', '--blobPort', String(this.port)],
      ...['--location', join(directory, 'data')],
      ...['--cert', join(directory, 'tls.crt'), '--key', join(directory, 'tls.key')],
      // It tells nobody what is done here, and takes newer API versions than it knows.
      ...['--silent', '--disableTelemetry', '--skipApiVersionCheck', '--disableProductStyleUrl'],
    ];
  }

  #environment(): NodeJS.ProcessEnv {
    const environment: NodeJS.ProcessEnv = { AZURITE_ACCOUNTS: `${ACCOUNT}:${this.#accountKey}` };
    for (const name of INHERITED) {
      if (process.env[name] !== undefined) environment[name] = process.env[name];
    }
    return environment;
  }
}

function programOf(): string {
  const find = createRequire(__filename);
  try {
    return join(dirname(find.resolve(`${PACKAGE}/package.json`)), 'dist', 'src', 'blob', 'main.js');
  } catch {
    throw new StorageError(
      `--storage needs the npm package ${PACKAGE}; install it with: npm install ${PACKAGE}@3.35`,
    );
  }
}

function keyIn(root: string): string {
  const file = accountKeyFile(root);
  if (!existsSync(file)) writeDurably(file, `${randomBytes(ACCOUNT_KEY_BYTES).toString('base64')}\n`, 0o600);
  return readFileSync(file, 'utf8').trim();
}

/** The port, if nobody listens on it; 0 stands for any. */
function freePort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? address?.port : undefined));
    });
  });
}
