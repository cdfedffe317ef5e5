// Several token directories in a test, founded or to be joined, and partitions in processes of their own.
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Partition } from '../../../src/instance/partition/partition.js';
import { Provision } from '../../../src/instance/partition/provision.js';
import { TokenDirectory } from '../../../src/instance/partition/token.js';
import { newUuid } from '../../../src/values/ids.js';
import { modulePath } from './place.js';

const directories: string[] = [];

export function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-partition-'));
  directories.push(directory);
  return join(directory, 'partition');
}

export function removeDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

export interface Place {
  readonly path: string;
  readonly tokens: TokenDirectory;
  readonly provision: Provision;
}

export async function emptyPlace(): Promise<Place> {
  const path = makeDirectory();
  const tokens = await TokenDirectory.open(path);
  return { path, tokens, provision: new Provision(tokens, modulePath) };
}

export interface Founded extends Place {
  readonly domain: string;
}

export async function foundedPlace(): Promise<Founded> {
  const place = await emptyPlace();
  const domain = newUuid();
  await place.provision.found(domain);
  return { ...place, domain };
}

/** Every file below, by its path, with a hash of its content. */
export function filesIn(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((item) =>
    item.isFile(),
  );
  return Object.fromEntries(
    files
      .map(({ parentPath, name }) => join(parentPath, name))
      .sort()
      .map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}

type Method =
  | 'changeDomain'
  | 'attestationKey'
  | 'generate'
  | 'importKey'
  | 'prove'
  | 'sign'
  | 'decryptAesGcm'
  | 'encryptAesGcm'
  | 'deriveSecret'
  | 'close';

/** A partition in a process of its own. */
export class Elsewhere {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exit = once(child, 'exit');
  }

  static async open({
    path,
    domain,
  }: {
    readonly path: string;
    readonly domain: string;
  }): Promise<Elsewhere> {
    const child = fork(join(__dirname, 'programs', 'partition.cjs'), [path, domain, modulePath], {
      serialization: 'advanced',
      execArgv: [],
    });
    const elsewhere = new Elsewhere(child);
    await elsewhere.#answer();
    return elsewhere;
  }

  /** One call at a time. */
  async call<M extends Method>(
    method: M,
    ...given: Parameters<Partition[M]>
  ): Promise<Awaited<ReturnType<Partition[M]>>> {
    this.#child.send({ method, given });
    return (await this.#answer()) as Awaited<ReturnType<Partition[M]>>;
  }

  async close(): Promise<void> {
    await this.call('close');
    this.#child.disconnect();
    await this.#exit;
  }

  async #answer(): Promise<unknown> {
    const ended = this.#exit.then(() => ({ failure: 'the process has ended' }));
    const answered = once(this.#child, 'message').then(([message]) => message as unknown);
    const answer = (await Promise.race([ended, answered])) as { value?: unknown; failure?: string };
    if (answer.failure !== undefined) throw new Error(answer.failure);
    return answer.value;
  }
}
