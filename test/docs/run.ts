// Runs a document as its reader would: its files written, its commands in one shell, in an empty home directory. This
// is the one place where a run differs from the page: `trivet up` is given free ports instead of 8443 and 9443, the
// project's own packages are there in place of `npm install`, and names of pools lead to this machine where the
// distribution's clients need them.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { resolver } from '../clients/programs/run.js';
import { processesIn } from '../scenarios/pool.js';
import { isExpected, promises, steps } from './markdown.js';
import type { Choice, Step } from './markdown.js';

export const root = join(__dirname, '../..');
/** The longest takes half a minute; this is for a machine that is busy. */
const PATIENCE_MS = 200_000;
const LOG_CHARACTERS = 2_000;

interface More extends Partial<Choice> {
  /** Puts into the home directory what is there before. */
  readonly prepare?: (home: string) => Promise<void>;
  /** Commands before those of the document, and after them. */
  readonly before?: string;
  readonly after?: string;
}

/** Runs the document at this path, from the root of the project; throws with the line where it is not true. */
export async function runDocument(path: string, more: More = {}): Promise<void> {
  await runMarkdown(readFileSync(join(root, path), 'utf8'), path, more);
}

export async function runMarkdown(markdown: string, path: string, more: More = {}): Promise<void> {
  const { installed = false, elsewhere, before = '', after = '' } = more;
  const todo = steps(markdown, { installed, ...(elsewhere && { elsewhere }) });
  const home = mkdtempSync(join(tmpdir(), 'trivet-docs-'));
  try {
    const place = new Place(home);
    await more.prepare?.(home);
    const script = place.script(todo, before, after);
    const { code, late } = await place.run(script, installed);
    const reached = place.reached();
    const wrong: string[] = [];
    const compare = (step: Step, expected: string, printed: string): void => {
      if (isExpected(printed, expected)) return;
      wrong.push(`${path}:${step.block.line}: expected\n${expected}\nand not\n${printed}`);
    };
    for (const [index, step] of todo.entries()) {
      if (index > reached) break;
      for (const { expected, printed } of place.promised(step, index)) compare(step, expected, printed);
      const said = place.printed(index);
      if (index === reached) {
        const how = late ? 'took too long' : `ended with ${String(code)}`;
        wrong.push(`${path}:${step.block.line}: ${how}\n${said}${place.logs()}`);
      } else if (step.kind === 'shell' && step.expected !== undefined) compare(step, step.expected, said);
    }
    if (wrong.length === 0 && code !== 0) {
      wrong.push(`${path}: ended with ${String(code)}\n${place.printed('end')}`);
    }
    if (wrong.length > 0) throw new Error(wrong.join('\n\n'));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/**
 * The program `trivet` that gives `up` ports which nobody has: found when it first asks, and kept, so that a pool that
 * is started again is where it was.
 */
function programOn(main: string, ports: string): string {
  return `
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { createServer } = require('node:net');
const free = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
async function run() {
  const ports = ${JSON.stringify(ports)};
  if (process.argv[2] === 'up') {
    if (!existsSync(ports)) writeFileSync(ports, JSON.stringify([await free(), await free()]));
    const [control, data] = JSON.parse(readFileSync(ports, 'utf8'));
    process.argv.splice(3, 0, '--control-port', control, '--data-port', data);
  }
  process.argv[1] = ${JSON.stringify(main)};
  require('node:module').runMain();
}
run();
`;
}

/** A home directory with a checkout of the project in `~/trivet`, and a directory to work in. */
class Place {
  readonly #work: string;
  readonly #log: string;

  constructor(readonly home: string) {
    this.#work = join(home, 'work');
    this.#log = join(home, 'log');
    const program = join(home, 'trivet/dist/cli/main.js');
    for (const directory of [this.#work, this.#log, dirname(program), join(home, 'bin')])
      mkdirSync(directory, { recursive: true });
    writeFileSync(program, programOn(join(root, 'dist/cli/main.js'), join(home, 'ports')));
    // As docs/getting-started.md has it made.
    const command = join(home, 'bin/trivet');
    writeFileSync(command, `#!/bin/sh\nexec node ~/trivet/dist/cli/main.js "$@"\n`);
    chmodSync(command, 0o755);
    symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));
  }

  script(todo: readonly Step[], before: string, after: string): string {
    const blocks = todo.map((step, index) => {
      const open = `echo ${index} > ${this.#log}/reached; exec > ${this.#log}/${index} 2>&1\n`;
      if (step.kind === 'file') {
        writeFileSync(join(this.#log, `${index}.file`), `${step.block.text}\n`);
        return `${open}cp ${this.#log}/${index}.file ${step.name}\n`;
      }
      const pieces = promises(step.block.text).map((piece, number) => {
        if (typeof piece === 'string') return piece;
        const { command, prints, exits } = piece;
        const file = `${this.#log}/${index}.${number}`;
        if (prints !== undefined) return `{ ${command}\n} > ${file}; cat ${file}`;
        return `_code=0; { ${command}\n} || _code=$?; [ $_code = ${exits ?? 0} ] || { echo "exit code $_code"; exit 98; }`;
      });
      return `${open}${pieces.join('\n')}\n`;
    });
    // What a document starts it must also end.
    const last = '[ -z "$(jobs -rp)" ] || { echo "left running: $(jobs -r)"; exit 97; }';
    return [
      'set -euo pipefail',
      `trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT`,
      `exec > ${this.#log}/end 2>&1`,
      before,
      ...blocks,
      `echo ${todo.length} > ${this.#log}/reached; exec > ${this.#log}/end 2>&1`,
      after,
      last,
    ].join('\n');
  }

  async run(script: string, installed: boolean): Promise<{ code: number | null; late: boolean }> {
    const hosts = join(this.home, 'hosts');
    writeFileSync(hosts, '127.0.0.1 localhost dev.managedhsm.localhost\n');
    const { LANG = 'C.UTF-8', TRIVET_PKCS11_MODULE, PATH = '' } = process.env;
    const child = spawn('bash', ['-c', script], {
      cwd: this.#work,
      detached: true, // a group of its own, so that nothing of it can be left behind
      stdio: 'ignore',
      env: {
        HOME: this.home,
        PATH: `${join(this.home, 'bin')}:${dirname(process.execPath)}:${PATH}`,
        LANG,
        ...(TRIVET_PKCS11_MODULE !== undefined && { TRIVET_PKCS11_MODULE }),
        ...(installed && { LD_PRELOAD: resolver(), NSS_WRAPPER_HOSTS: hosts }),
      },
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      end(child.pid);
    }, PATIENCE_MS);
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    clearTimeout(timer);
    end(child.pid);
    for (const pid of processesIn(this.home)) process.kill(pid, 'SIGKILL');
    return { code, late };
  }

  /** Number of the step that was begun last; -1 before the first. */
  reached(): number {
    const file = join(this.#log, 'reached');
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : -1;
  }

  printed(step: number | 'end'): string {
    const file = join(this.#log, String(step));
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** The ends of the logs that the document has kept, for who must find out why. */
  logs(): string {
    return readdirSync(this.#work, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.log'))
      .map((name) => `\n${name}: ${readFileSync(join(this.#work, name), 'utf8').slice(-LOG_CHARACTERS)}`)
      .join('');
  }

  /** What commands of the step said they would print, and what they have printed, as far as they came. */
  promised(step: Step, index: number): { expected: string; printed: string }[] {
    if (step.kind === 'file') return [];
    return promises(step.block.text).flatMap((piece, number) => {
      const file = join(this.#log, `${index}.${number}`);
      if (typeof piece === 'string' || piece.prints === undefined || !existsSync(file)) return [];
      return [{ expected: piece.prints, printed: readFileSync(file, 'utf8') }];
    });
  }
}

function end(group: number | undefined): void {
  if (group === undefined) return;
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
