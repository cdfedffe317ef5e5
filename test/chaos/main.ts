// Chaos: a real pool, clients that ask each instance by itself and write down what they saw, and faults of every kind
// meanwhile. At the end everything must be whole, the histories linearizable, and nothing left over.
//
// Must run in a network and mount namespace of its own (scripts/chaos makes them); without them links are not cut and
// disks not filled. One seed gives the same faults and requests in the same order; how they interleave is the machine's.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Dice, processesIn, seedOf, until } from '../scenarios/pool.js';
import { faults, type Fault, type Stage } from './faults.js';
import { canHarmLinks, releaseLinks } from './links.js';
import { Load } from './load.js';
import { Site } from './site.js';

const HEAL_MS = 60_000;
/** How often the picture is shown while it heals. */
const TELL_MS = 5_000;
/** Between faults. */
const QUIET_MS = 1_500;
/** Of what the pool logged, when a run fails. */
const WARNINGS_SHOWN = 12;
const LINE_MAX = 300;
/** Connections of clients come and go; what leaks grows without end. */
const FILES_MAX = 40;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    only: { type: 'string', multiple: true },
    isolated: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    hold: { type: 'boolean', default: false },
  },
});
const seed = options.seed === undefined ? seedOf('TRIVET_SEED') : Number(options.seed);
const minutes = Number(options.minutes);

const started = performance.now();
function say(text: string): void {
  const moment = ((performance.now() - started) / 1_000).toFixed(1);
  process.stderr.write(`${moment.padStart(7)} s  ${text}\n`);
}

function chosen(): Fault[] {
  const unknown = (options.only ?? []).filter((name) => !faults.some((fault) => fault.name === name));
  if (unknown.length > 0) {
    throw new Error(`no fault ${unknown.join(', ')}; there are ${faults.map(({ name }) => name).join(', ')}`);
  }
  const able = { links: options.isolated && canHarmLinks(), mounts: options.isolated };
  return faults.filter(
    ({ name, needs }) => (options.only?.includes(name) ?? true) && (needs === undefined || able[needs]),
  );
}

/** Faults until the time is over; each seen to be healed, some only together with the next. */
async function inflictAll(stage: Stage, all: readonly Fault[], files: Files): Promise<Map<string, number>> {
  const done = new Map<string, number>();
  let rest: Fault[] = [];
  while (stage.goesOn()) {
    // Each as often as any other.
    if (rest.length === 0) rest = stage.dice.shuffled(all);
    const fault = rest.pop();
    if (!fault) throw new Error('no fault can be inflicted here');
    await fault.inflict(stage);
    done.set(fault.name, (done.get(fault.name) ?? 0) + 1);
    if (fault.mild && stage.dice.below(3) === 0) continue;
    await stage.healed();
    files.note();
    await new Promise((resolve) => setTimeout(resolve, stage.dice.below(QUIET_MS)));
  }
  await stage.healed();
  files.note();
  return done;
}

/** Open files of the processes at moments when all is well. */
class Files {
  readonly #first = new Map<string, number>();
  readonly #last = new Map<string, number>();

  constructor(private readonly site: Site) {}

  note(): void {
    for (const [name, count] of this.site.openFiles()) {
      if (!this.#first.has(name)) this.#first.set(name, count);
      this.#last.set(name, count);
    }
  }

  findings(): string[] {
    return [...this.#last].flatMap(([name, count]) => {
      const before = this.#first.get(name) ?? count;
      return count > before + FILES_MAX ? [`${name}: ${before} open files became ${count}`] : [];
    });
  }
}

/** The digest of each instance, by the pool itself; all stand at one index. */
async function digests(site: Site): Promise<string[]> {
  const said = JSON.parse(await site.command('pool', 'digest', '--json')) as {
    readonly digests: readonly { readonly digest: string }[];
  };
  const distinct = new Set(said.digests.map(({ digest }) => digest));
  return distinct.size === 1 && said.digests.length === 3
    ? []
    : [`the members differ in their state: ${JSON.stringify(said)}`];
}

async function main(): Promise<void> {
  const all = chosen();
  say(`seed ${seed}, ${minutes} minutes, faults: ${all.map(({ name }) => name).join(', ')}`);
  const dice = new Dice(seed);
  const site = new Site(options.isolated);
  const findings: string[] = [];
  let done = new Map<string, number>();
  let load: Load | undefined;
  const files = new Files(site);
  let ended = false;
  const stage: Stage = {
    ...{ site, dice: new Dice(dice.below(2 ** 31)), say },
    goesOn: () => performance.now() - started < minutes * 60_000,
    async healed() {
      const since = performance.now();
      // Whoever says so of itself may be wrong: its slot must work too.
      let problem: string | undefined;
      let told = performance.now();
      const isWell = async (): Promise<boolean> => {
        if (performance.now() - told > TELL_MS) {
          told = performance.now();
          say(`  ${site.picture()}`);
        }
        return (await site.isWhole()) && (problem = await load?.probe()) === undefined;
      };
      if (await isWell()) return;
      await until('all three are in sync and work again', isWell, HEAL_MS).catch((error: unknown) => {
        throw new Error(`${String(error)}${problem === undefined ? '' : `: ${problem}`}`, { cause: error });
      });
      say(
        `  whole again after ${((performance.now() - since) / 1_000).toFixed(1)} s, primary ${site.primary() ?? '?'}`,
      );
    },
  };
  try {
    await site.start();
    await stage.healed();
    load = new Load(site, new Dice(dice.below(2 ** 31)));
    await load.start();
    done = await inflictAll(stage, all, files);
    await load.stop();
    say('everything is read once more, from each instance');
    await load.readAll();
    findings.push(...files.findings(), ...(await digests(site)));
    await site.stop();
    ended = true;
    const left = processesIn(site.pool.directory);
    if (left.length > 0) findings.push(`processes left behind: ${left.join(', ')}`);
  } catch (error) {
    findings.push(`${String(error)}; ${site.picture()}`);
    if (error instanceof Error && error.stack) say(error.stack);
    await load?.stop();
  }
  if (options.isolated) releaseLinks();
  if (load) {
    say('the histories are judged');
    findings.push(...load.findings());
    const counts = (map: ReadonlyMap<string, number>): string =>
      [...map].map(([what, count]) => `${what} ${count}`).join(', ');
    say(
      `${load.keys.length} keys and ${load.principals.length} assignments; answers: ${counts(load.counts)}`,
    );
    if (load.failures.size > 0) say(`500s: ${counts(load.failures)}`);
    say(`faults: ${counts(done)}`);
  }
  const good = findings.length === 0;
  const keep = options.keep || !good;
  const log = join(site.pool.home, 'output.log');
  const write = (): void => writeFileSync(log, site.pool.up.output);
  if (keep) write();
  if (!good) {
    say(`FAILED with seed ${seed}`);
    for (const finding of findings.slice(0, 20)) process.stderr.write(`${finding}\n`);
    if (findings.length > 20) say(`and ${findings.length - 20} more`);
    say(`what the last fabric and its instances said is in ${log}; the last warnings:`);
    const warnings = site.pool.up.output.split('\n').filter((line) => /"level":[456]0/.test(line));
    for (const line of warnings.slice(-WARNINGS_SHOWN)) process.stderr.write(`${line.slice(0, LINE_MAX)}\n`);
    say(`the pool's directory is kept in ${site.pool.home}`);
    if (options.hold && !site.pool.up.exit) {
      say(`everything is left as it is; kill -USR2 ${process.pid} ends it`);
      await new Promise((resolve) => process.once('SIGUSR2', resolve));
      write();
    }
  }
  if (keep && good) say(`the pool's directory is kept in ${site.pool.home}`);
  await site.leave(keep);
  if (good) say(`nothing lost, every history linearizable, members equal, ${ended ? 'nobody left' : ''}`);
  process.exitCode = good ? 0 : 1;
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    process.stderr.write(
      `seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(1);
  },
);
