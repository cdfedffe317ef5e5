// Token directories. SoftHSM truncates and rewrites a token's files at every login and during object writes, without
// fsync; a kill in those milliseconds destroys the token. So the golden copy of a token is never opened: each process
// works on a private copy, and a changed token becomes golden only after it was written, verified and synced.
//
// Layout of `directory`: golden/{domain}/ the token; work/ private copies, emptied at start; pins.json. While a domain
// is being restored there are two golden tokens, which differ in nothing but the data-wrapping key; the pool's state
// names the one that counts.
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../values/assert.js';
import { writeDurably } from '../../values/durable-file.js';

/** PINs of one token: random, known to this instance alone. */
export interface Pins {
  readonly so: string;
  readonly user: string;
}

/** A private copy of a token, or the place for a new one. */
export interface WorkingCopy {
  /** Holds what SoftHSM calls its token directory. */
  readonly tokens: string;
  /** Value of SOFTHSM2_CONF for the process that works on it. */
  readonly configuration: string;
  remove(): Promise<void>;
}

export class TokenDirectory {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Prepares the directories and removes the working copies that an earlier process left. */
  static async open(directory: string): Promise<TokenDirectory> {
    await rm(join(directory, 'work'), { recursive: true, force: true });
    await mkdir(join(directory, 'golden'), { recursive: true, mode: 0o700 });
    await mkdir(join(directory, 'work'), { mode: 0o700 });
    return new TokenDirectory(directory);
  }

  /** Ids of the domains whose tokens this instance has; none before it was founded or joined. */
  async domains(): Promise<string[]> {
    return (await readdir(join(this.#directory, 'golden'))).sort();
  }

  /** Removes the golden tokens of all other domains: their data-wrapping keys are gone with them. */
  async keepOnly(domains: readonly string[]): Promise<void> {
    const golden = join(this.#directory, 'golden');
    for (const domain of await this.domains()) {
      if (!domains.includes(domain)) await this.#removeGolden(domain);
    }
    await sync(golden);
  }

  // Out of the way in one step: a token of which half is gone must never be found in a golden place.
  async #removeGolden(domain: string): Promise<void> {
    const doomed = join(this.#directory, 'work', randomUUID());
    await rename(join(this.#directory, 'golden', domain), doomed);
    await rm(doomed, { recursive: true });
  }

  /** Where the PINs are once {@link pins} has resolved. */
  get pinFile(): string {
    return join(this.#directory, 'pins.json');
  }

  /** The PINs, made and sealed (mode 0600) when there are none. */
  async pins(): Promise<Pins> {
    const path = this.pinFile;
    if (existsSync(path)) return JSON.parse(await readFile(path, 'utf8')) as Pins;
    const pins: Pins = {
      so: randomBytes(24).toString('base64url'),
      user: randomBytes(24).toString('base64url'),
    };
    writeDurably(path, JSON.stringify(pins), 0o600);
    return pins;
  }

  /** A private copy of the golden token. */
  async copy(domain: string): Promise<WorkingCopy> {
    return this.#workingCopy((tokens) =>
      cp(join(this.#directory, 'golden', domain), tokens, { recursive: true }),
    );
  }

  /** A place for a token that is still to be made. */
  async blank(): Promise<WorkingCopy> {
    return this.#workingCopy(async (tokens) => {
      await mkdir(tokens, { mode: 0o700 });
    });
  }

  /** Makes a working copy, closed and verified by the caller, the golden token, in place of one that was left. */
  async promote(copy: WorkingCopy, domain: string): Promise<void> {
    assert(/^[0-9a-f-]{36}$/.test(domain), 'a domain id is a UUID');
    await syncTree(copy.tokens);
    // Left by a restoring that was cut off and is done again; never the token in use, since a domain is founded or
    // joined once.
    if ((await this.domains()).includes(domain)) await this.#removeGolden(domain);
    await rename(copy.tokens, join(this.#directory, 'golden', domain));
    await sync(join(this.#directory, 'golden'));
    await copy.remove();
  }

  async #workingCopy(fill: (tokens: string) => Promise<void>): Promise<WorkingCopy> {
    const place = join(this.#directory, 'work', randomUUID());
    await mkdir(place, { mode: 0o700 });
    const tokens = join(place, 'tokens');
    await fill(tokens);
    const configuration = join(place, 'softhsm2.conf');
    const lines = [
      `directories.tokendir = ${tokens}`,
      'objectstore.backend = file',
      'log.level = ERROR',
      'slots.removable = false',
    ];
    await writeFile(configuration, `${lines.join('\n')}\n`, { mode: 0o600 });
    return { tokens, configuration, remove: () => rm(place, { recursive: true, force: true }) };
  }
}

async function syncTree(directory: string): Promise<void> {
  for (const item of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, item.name);
    if (item.isDirectory()) await syncTree(path);
    else await sync(path);
  }
  await sync(directory);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
