// What is done to the pool. Each fault is done and undone by itself; what it leaves broken the pool has to heal. Never
// more at a time than the pool says it survives: a directory is lost only while all three members are in sync.
import { cpSync, existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until, type Dice } from '../scenarios/pool.js';
import { harmLink, type Harm } from './links.js';
import { SMALL, type Site } from './site.js';

export interface Stage {
  readonly site: Site;
  readonly dice: Dice;
  readonly say: (text: string) => void;
  /** Waits until all three are in sync again; fails when that does not come. */
  readonly healed: () => Promise<void>;
  /** False once the run is to end. */
  readonly goesOn: () => boolean;
}

export interface Fault {
  readonly name: string;
  /** The next fault may come before this one has healed. */
  readonly mild: boolean;
  /** What it needs beside a pool. */
  readonly needs?: 'links' | 'mounts';
  readonly inflict: (stage: Stage) => Promise<void>;
}

const wait = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** A time of chance, in milliseconds. */
const some = (dice: Dice, from: number, to: number): number => from + dice.below(to - from);

/** For people: who it was when it was hit. */
function named(site: Site, instance: number): string {
  return site.primary() === instance ? `instance ${instance}, the primary` : `instance ${instance}`;
}

/** Prefers the primary a little, whose loss is the hardest. */
function victim({ site, dice }: Stage): number {
  const primary = site.primary();
  return primary !== undefined && dice.below(3) === 0 ? primary : dice.below(3);
}

function signal({ site }: Stage, instance: number, name: NodeJS.Signals): number | undefined {
  const pid = site.pidOf(instance);
  if (pid !== undefined) site.pool.kill(pid, name);
  return pid;
}

const kill: Fault = {
  name: 'kill',
  mild: true,
  async inflict(stage) {
    const { dice, say, site } = stage;
    const first = victim(stage);
    say(`kill ${named(site, first)}`);
    signal(stage, first, 'SIGKILL');
    if (dice.below(4) > 0) return;
    await wait(some(dice, 0, 800));
    const second = (first + 1 + dice.below(2)) % 3;
    say(`and ${named(site, second)}`);
    signal(stage, second, 'SIGKILL');
  },
};

const pause: Fault = {
  name: 'pause',
  mild: true,
  async inflict(stage) {
    const { dice, say, site } = stage;
    const instance = victim(stage);
    // Shorter and longer than a lease, and about as long.
    const ms = dice.below(3) === 0 ? some(dice, 1_700, 2_300) : some(dice, 100, 6_000);
    say(`stop ${named(site, instance)} for ${ms} ms`);
    const pid = signal(stage, instance, 'SIGSTOP');
    await wait(ms);
    if (pid !== undefined) site.pool.kill(pid, 'SIGCONT');
  },
};

const fabricPause: Fault = {
  name: 'fabric-pause',
  mild: true,
  async inflict(stage) {
    const { dice, say, site } = stage;
    const ms = some(dice, 200, 5_000);
    say(`stop the fabric for ${ms} ms`);
    site.pool.up.signal('SIGSTOP');
    try {
      const lost = dice.below(2) === 0 ? victim(stage) : undefined;
      await wait(ms / 2);
      if (lost !== undefined) {
        say(`and kill ${named(site, lost)} meanwhile`);
        signal(stage, lost, 'SIGKILL');
      }
      await wait(ms / 2);
    } finally {
      site.pool.up.signal('SIGCONT');
    }
  },
};

const fabricKill: Fault = {
  name: 'fabric-kill',
  mild: true,
  async inflict({ site, say }) {
    say('kill the fabric');
    await site.killFabric();
    await site.start();
  },
};

const harm = (what: Harm): Fault => ({
  name: what,
  mild: true,
  needs: 'links',
  async inflict({ site, dice, say }) {
    const [one = 0, other = 1] = dice.shuffled([0, 1, 2]);
    // A silent one is found out only when a change has waited for it too long.
    const ms = some(dice, 500, what === 'cut' ? 14_000 : 8_000);
    say(`${what} the link of ${one} and ${other} for ${ms} ms (primary ${site.primary() ?? 'unknown'})`);
    const undo = harmLink(site, one, other, what);
    try {
      await wait(ms);
    } finally {
      undo();
    }
  },
});

/** Everything in it but the directory itself, which may be where a disk is mounted. */
function empty(directory: string): void {
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true, force: true });
}

const wipe: Fault = {
  name: 'wipe',
  mild: false,
  async inflict(stage) {
    const { site, say, dice } = stage;
    await stage.healed();
    const instance = victim(stage);
    if (dice.below(2) === 0) {
      say(`wipe the directory of ${named(site, instance)} by command`);
      await site.command('partition', 'wipe', String(instance));
      return;
    }
    say(`remove the files of ${named(site, instance)} under it, then kill it`);
    empty(site.home(instance));
    signal(stage, instance, 'SIGKILL');
  },
};

const image: Fault = {
  name: 'image',
  mild: false,
  async inflict(stage) {
    const { site, say, dice } = stage;
    const instance = dice.below(3);
    const copy = join(site.pool.home, 'image');
    rmSync(copy, { recursive: true, force: true });
    await stage.healed();
    await site.killFabric();
    cpSync(site.home(instance), copy, { recursive: true });
    await site.start();
    const ms = some(dice, 1_000, 10_000);
    await wait(ms);
    await stage.healed();
    say(`put an image from ${ms} ms ago in the place of the directory of instance ${instance}`);
    await site.killFabric();
    empty(site.home(instance));
    cpSync(copy, site.home(instance), { recursive: true });
    await site.start();
  },
};

/** Takes all that is left of the disk a directory is on, until the function that it gives is called. */
function fillUp(directory: string): () => void {
  const ballast = join(directory, 'ballast');
  try {
    for (let chunk = 1 << 20, size = 0; chunk >= 1; chunk = Math.floor(chunk / 16)) {
      for (;;) {
        try {
          writeFileSync(ballast, Buffer.alloc(chunk), { flag: 'a' });
          size += chunk;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
          truncateSync(ballast, Math.max(size, statSync(ballast).size));
          size = statSync(ballast).size;
          break;
        }
      }
    }
  } catch (error) {
    rmSync(ballast, { force: true });
    throw error;
  }
  return () => rmSync(ballast, { force: true });
}

const full: Fault = {
  name: 'full',
  mild: false,
  needs: 'mounts',
  async inflict({ site, say, dice }) {
    const ms = some(dice, 1_000, 7_000);
    say(`no room on the disk of ${named(site, SMALL)} for ${ms} ms`);
    const undo = fillUp(site.home(SMALL));
    await wait(ms);
    undo();
  },
};

const fabricFull: Fault = {
  name: 'fabric-full',
  mild: false,
  needs: 'mounts',
  async inflict(stage) {
    const { site, say, dice } = stage;
    const ms = some(dice, 1_000, 5_000);
    const lost = victim(stage);
    say(`no room on the disk of the fabric for ${ms} ms, and kill ${named(site, lost)} meanwhile`);
    const undo = fillUp(site.pool.directory);
    await wait(ms / 3);
    signal(stage, lost, 'SIGKILL');
    await wait((2 * ms) / 3);
    undo();
  },
};

/** The files of the token that a process works on. */
function tokenFiles(site: Site, instance: number): string[] {
  const work = join(site.home(instance), 'partition/work');
  if (!existsSync(work)) return [];
  return readdirSync(work, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.object'))
    .map((name) => join(work, name));
}

const token: Fault = {
  name: 'token',
  mild: false,
  async inflict(stage) {
    const { site, say, dice } = stage;
    await stage.healed();
    const instance = victim(stage);
    const files = tokenFiles(site, instance);
    const removed = dice.below(2) === 0;
    say(`${removed ? 'remove' : 'spoil'} the token of ${named(site, instance)} while it works`);
    for (const file of files) {
      if (removed) rmSync(file, { force: true });
      else writeFileSync(file, Buffer.alloc(statSync(file).size, 0x5a));
    }
    // SoftHSM reads its files again when this one has changed.
    const generations = files.map((file) => join(file, '../generation'));
    for (const file of new Set(generations)) {
      if (existsSync(file)) writeFileSync(file, Buffer.alloc(8, 0xff));
    }
    await wait(some(dice, 500, 2_000));
  },
};

/** A blob that one slot cannot open: its data-wrapping key is gone from the slot, and a new key needs it. */
const blob: Fault = {
  name: 'blob',
  mild: false,
  async inflict(stage) {
    const { site, say } = stage;
    await stage.healed();
    const instance = victim(stage);
    say(`take the wrapping key out of the slot of ${named(site, instance)}`);
    for (const file of tokenFiles(site, instance)) {
      if (!file.endsWith('/token.object')) rmSync(file, { force: true });
    }
    const before = site.pidOf(instance);
    await until(
      'the broken slot is found out, or works all the same',
      () => site.pidOf(instance) !== before || !stage.goesOn(),
      5_000,
    ).catch(() => say('the slot works without the file: it holds the key in memory'));
  },
};

/** In no particular order; the first ones are the cheapest. */
export const faults: readonly Fault[] = [
  ...[kill, pause, fabricPause, fabricKill, harm('cut'), harm('reset'), harm('slow')],
  ...[wipe, image, full, fabricFull, token, blob],
];
