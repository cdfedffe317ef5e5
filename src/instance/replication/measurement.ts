// What really runs here, as one number: a SHA-256 over the JavaScript of an instance, the packages it uses, the addon,
// the PKCS#11 module, the shared libraries of both, and Node.js itself, all read from the disk at start. Two instances
// have the same number exactly when they run the same bytes under the same options, wherever these are installed.
// Knows no key and trusts nobody: what a number is worth is decided by who compares it.
//
// Not measured: the kernel, the environment beyond what is listed (the fabric clears it), and files of configuration
// outside, OpenSSL's own among them.
import { execFileSync } from 'node:child_process';
import { createHash, hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { arch, platform } from 'node:process';
import { basename, dirname, join, relative, sep } from 'node:path';

/** One part of what runs. */
export interface Component {
  readonly name: string;
  /** SHA-256, lower-case hex. */
  readonly sha256: string;
}

export interface Measurement {
  /** SHA-256 over all components, lower-case hex. */
  readonly digest: string;
  /** In a fixed order, for people who look for what differs. */
  readonly components: readonly Component[];
}

/** What is measured besides this very process. */
export interface Measured {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** Directory of package.json; this build's own when absent. */
  readonly root?: string;
  /**
   * The compiled program: a directory with a file for each process and a list of the packages beside them, as
   * `scripts/bundle` makes it, or one of which an instance runs three folders. What this file is in when absent.
   */
  readonly program?: string;
}

/** The folders of the build that an instance runs; those of the fabric and the command line are not. */
const FOLDERS = ['instance', 'security-domain', 'values'];
/** Names the packages that a bundled program still loads. */
const PACKAGES = 'packages.json';
const ADDONS = join('build', 'Release');
/** What Node.js loads from a package, or goes by when it looks for that. */
const LOADED = /\.(?:[cm]?js|json|node|wasm)$/;
const LOADER = /^ld-(?:linux|musl)[^/]*\.so/;
const BLOCK_BYTES = 256 * 1024;

/**
 * Measures this process. The same for all instances of one installation and after every restart, since what a process
 * loads later is found in advance. Takes some hundred milliseconds of this thread.
 * @throws when a part cannot be read.
 */
export function measure({
  module,
  root = join(__dirname, '..', '..', '..'),
  program,
}: Measured): Measurement {
  const reader = new Reader();
  const dist = program ?? (existsSync(join(__dirname, PACKAGES)) ? __dirname : join(root, 'dist'));
  const { folders, packages } = installed(root, dist);
  const addons = join(root, ADDONS);
  const components: Component[] = [
    ...folders.map(({ name, directory }) => component(name, reader.tree(directory))),
    ...packages.map(({ name, directory }) => component(`package/${name}`, reader.tree(directory))),
    component('addon', reader.addons(addons)),
    { name: 'module', sha256: reader.file(module) },
    ...libraries(reader, module, [addons, module, ...packages.map(({ directory }) => directory)]),
    component('other-code', otherCode(reader, [dist, ...packages.map(({ directory }) => directory)])),
    // Not by its path: that may be another file by now.
    { name: 'node', sha256: reader.file(existsSync('/proc/self/exe') ? '/proc/self/exe' : process.execPath) },
    component('options', [
      `platform ${platform} ${arch}`,
      ...Object.entries(process.versions).map(([part, version]) => `version ${part} ${String(version)}`),
      `options ${JSON.stringify([process.env['NODE_OPTIONS'] ?? '', ...process.execArgv])}`,
    ]),
  ];
  const digest = sha256(components.map(({ name, sha256: own }) => `${name} ${own}`));
  return { digest, components };
}

function component(name: string, lines: readonly string[]): Component {
  return { name, sha256: sha256(lines) };
}

function sha256(lines: readonly string[]): string {
  return createHash('sha256')
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest('hex');
}

/** Reads files through one buffer: Node.js alone has a hundred megabytes. */
class Reader {
  readonly #block = Buffer.allocUnsafe(BLOCK_BYTES);

  /** SHA-256 of the file's content, lower-case hex. */
  file(path: string): string {
    const file = openSync(path, 'r');
    try {
      let count = readSync(file, this.#block, 0, BLOCK_BYTES, null);
      // Nearly all files are small, and what comes is all of them.
      if (count < BLOCK_BYTES) return hash('sha256', this.#block.subarray(0, count), 'hex');
      const whole = createHash('sha256');
      while (count > 0) {
        whole.update(this.#block.subarray(0, count));
        count = readSync(file, this.#block, 0, BLOCK_BYTES, null);
      }
      return whole.digest('hex');
    } finally {
      closeSync(file);
    }
  }

  /** A line for each addon in a directory. */
  addons(directory: string): string[] {
    const names = readdirSync(directory).filter((name) => name.endsWith('.node'));
    return names.sort().map((name) => `${name} ${this.file(join(directory, name))}`);
  }

  /** A line for each file below that Node.js could load, but for nested packages, which are measured by themselves. */
  tree(top: string): string[] {
    const lines: string[] = [];
    const walk = (directory: string): void => {
      const entries = readdirSync(directory, { withFileTypes: true });
      for (const entry of entries) {
        const path = join(directory, entry.name);
        const linked = entry.isSymbolicLink() ? statSync(path, { throwIfNoEntry: false }) : entry;
        if (linked?.isDirectory()) {
          if (entry.name !== 'node_modules' && !entry.isSymbolicLink()) walk(path);
        } else if (linked?.isFile() && LOADED.test(entry.name)) {
          lines.push(`${relative(top, path).split(sep).join('/')} ${this.file(path)}`);
        }
      }
    };
    walk(top);
    return lines.sort();
  }
}

interface Folder {
  readonly name: string;
  readonly directory: string;
}

function installed(
  root: string,
  program: string,
): { folders: readonly Folder[]; packages: readonly Folder[] } {
  const list = join(program, PACKAGES);
  if (existsSync(list)) {
    const { packages } = JSON.parse(readFileSync(list, 'utf8')) as { readonly packages: readonly string[] };
    return { folders: [{ name: 'code', directory: program }], packages: closureOf(root, packages) };
  }
  const folders = FOLDERS.map((name) => ({ name: `code/${name}`, directory: join(program, name) }));
  return { folders, packages: closureOf(root, productionOf(root)) };
}

/**
 * These packages of an installation, with all that they use; called by their name, or `outer/node_modules/name` where
 * one is nested.
 */
function closureOf(root: string, names: readonly string[]): Folder[] {
  const found = new Map<string, string>();
  const visit = (directory: string, wanted: readonly string[]): void => {
    for (const name of wanted) {
      const at = locate(directory, name);
      if (at === undefined || found.has(at)) continue; // an optional one that is not there
      found.set(at, nameOf(at));
      visit(at, productionOf(at));
    }
  };
  visit(realpathSync(root), names);
  return [...found]
    .map(([directory, name]) => ({ name, directory }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** What a package uses in production. */
function productionOf(directory: string): string[] {
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    readonly dependencies?: object;
    readonly optionalDependencies?: object;
    readonly peerDependencies?: object;
  };
  const all = [manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies];
  return [...new Set(all.flatMap((some) => Object.keys(some ?? {})))];
}

// As Node.js looks for it.
function locate(from: string, name: string): string | undefined {
  for (let at = from; ; at = dirname(at)) {
    const path = join(at, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) return realpathSync(path);
    if (at === dirname(at)) return undefined;
  }
}

/** The part of a path behind the outermost `node_modules`. */
function nameOf(directory: string): string {
  const parts = directory.split(sep);
  return parts.slice(parts.indexOf('node_modules') + 1).join('/');
}

/**
 * The shared libraries that are loaded, and those that the module will bring along: it is opened only once there is a
 * token. `measured` are files and directories that count elsewhere.
 */
function libraries(reader: Reader, module: string, measured: readonly string[]): Component[] {
  const mapped = mappedFiles();
  const loader = mapped.find((path) => LOADER.test(basename(path)));
  const own = realpathSync('/proc/self/exe');
  const elsewhere = measured.map((path) => realpathSync(path));
  const paths = new Set(
    [...mapped, ...(loader === undefined ? [] : neededBy(loader, module))].map((path) => realpathSync(path)),
  );
  return [...paths]
    .filter((path) => path !== own && !elsewhere.some((other) => isWithin(path, other)))
    .map((path) => ({ name: `library/${basename(path)}`, sha256: reader.file(path) }))
    .sort((a, b) => (`${a.name} ${a.sha256}` < `${b.name} ${b.sha256}` ? -1 : 1));
}

/** The files with code in the memory of this process. */
function mappedFiles(): string[] {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const files = lines.map((line) => /^\S+ ..x. \S+ \S+ \S+ +(\/.+)$/.exec(line)?.[1]);
  return [...new Set(files.filter((path) => path !== undefined))];
}

/** What the dynamic loader would load for a library; runs no code of it. */
function neededBy(loader: string, library: string): string[] {
  const listed = execFileSync(loader, ['--list', library], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return [...listed.matchAll(/(?:=>|^)\s*(\/\S+)(?: \(0x[0-9a-f]+\))?$/gm)].map(([, path = '']) => path);
}

/** JavaScript in this process from anywhere else: a line for each file. */
function otherCode(reader: Reader, measured: readonly string[]): string[] {
  const known = measured.map((path) => realpathSync(path));
  return Object.keys(require.cache)
    .filter((path) => !path.endsWith('.node') && !known.some((other) => isWithin(path, other)))
    .map((path) => `${basename(path)} ${reader.file(path)}`)
    .sort();
}

function isWithin(path: string, other: string): boolean {
  return path === other || path.startsWith(`${other}${sep}`);
}
