// Runs a program of programs/ in a process of its own, with a token directory of its own.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Directory {
  readonly path: string;
  /** Where SOFTHSM2_CONF points. */
  readonly config: string;
  remove(): void;
}

export function makeDirectory(): Directory {
  const path = mkdtempSync(join(tmpdir(), 'trivet-program-'));
  const tokens = join(path, 'tokens');
  const config = join(path, 'softhsm2.conf');
  mkdirSync(tokens);
  writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  return { path, config, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Ends in any case: a program that hangs is killed after a minute, which shows as a signal. */
export function run(
  program: string,
  args: readonly string[],
  directory: Directory,
  env: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(__dirname, 'programs', program), ...args],
      {
        env: { ...process.env, SOFTHSM2_CONF: directory.config, ...env },
        timeout: 60_000,
        killSignal: 'SIGKILL',
      },
      (_, stdout, stderr) => resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
    );
  });
}

/** The same program over and over, two at a time. */
export async function runMany(times: number, program: string, args: readonly string[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const lane = async (): Promise<void> => {
    while (outcomes.length < times) {
      const directory = makeDirectory();
      outcomes.push(await run(program, args, directory));
      directory.remove();
    }
  };
  await Promise.all([lane(), lane()]);
  return outcomes;
}
