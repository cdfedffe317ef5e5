// The measurement: the same for the same, another for anything that runs and was changed, and what does not run does
// not count.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { measure, type Measurement } from '../../../src/instance/replication/measurement.js';
import { findModule } from '../../../src/cli/home.js';

const MODULE = findModule(undefined);
const repository = join(__dirname, '../../..');
const home = mkdtempSync(join(tmpdir(), 'trivet-measurement-'));
afterAll(() => rmSync(home, { recursive: true }));

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

let count = 0;
/** A small installation with two packages, one of them nested in the other. */
function installation(): string {
  count += 1;
  const root = join(home, `installation-${count}`);
  write(
    join(root, 'package.json'),
    JSON.stringify({ dependencies: { one: '1' }, devDependencies: { dev: '1' } }),
  );
  for (const room of ['instance/api', 'security-domain', 'values', 'fabric', 'cli']) {
    write(join(root, 'dist', room, 'main.js'), `// ${room}`);
  }
  write(join(root, 'build/Release/trivet_pkcs11.node'), 'addon');
  write(
    join(root, 'node_modules/one/package.json'),
    JSON.stringify({ dependencies: { two: '1', none: '1' } }),
  );
  write(join(root, 'node_modules/one/index.js'), 'one');
  write(join(root, 'node_modules/one/node_modules/two/package.json'), '{}');
  write(join(root, 'node_modules/one/node_modules/two/build/two.node'), 'two');
  write(join(root, 'node_modules/dev/package.json'), '{}');
  write(join(root, 'node_modules/dev/index.js'), 'dev');
  return root;
}

/** Names of the parts that differ. */
function differing(a: Measurement, b: Measurement): string[] {
  const of = (all: Measurement, name: string) => all.components.find((part) => part.name === name)?.sha256;
  const names = new Set([...a.components, ...b.components].map(({ name }) => name));
  return [...names].filter((name) => of(a, name) !== of(b, name));
}

describe('measurement', () => {
  it('is the same for the same, wherever it lies', () => {
    const here = installation();
    const there = join(home, 'elsewhere/deeper');
    cpSync(here, there, { recursive: true });
    const measured = measure({ module: MODULE, root: here });
    expect(measured.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(measure({ module: MODULE, root: here })).toEqual(measured);
    expect(measure({ module: MODULE, root: there })).toEqual(measured);
    const linked = join(home, 'linked');
    cpSync(here, linked, { recursive: true });
    renameSync(join(linked, 'node_modules'), join(home, 'node_modules'));
    symlinkSync(join(home, 'node_modules'), join(linked, 'node_modules'));
    expect(measure({ module: MODULE, root: linked })).toEqual(measured);
    rmSync(join(home, 'node_modules'), { recursive: true });
  });

  it.each([
    ['dist/instance/api/main.js', 'code/instance'],
    ['dist/values/main.js', 'code/values'],
    ['dist/security-domain/main.js', 'code/security-domain'],
    ['build/Release/trivet_pkcs11.node', 'addon'],
    ['node_modules/one/index.js', 'package/one'],
    ['node_modules/one/node_modules/two/build/two.node', 'package/one/node_modules/two'],
  ])('is another when %s is', (path, part) => {
    const root = installation();
    const before = measure({ module: MODULE, root });
    appendFileSync(join(root, path), ' ');
    const after = measure({ module: MODULE, root });
    expect(after.digest).not.toBe(before.digest);
    expect(differing(before, after)).toEqual([part]);
  });

  it('is another when a file comes, goes or has another name', () => {
    const root = installation();
    const measured = () => measure({ module: MODULE, root }).digest;
    const digests = [measured()];
    write(join(root, 'dist/instance/more.js'), '');
    digests.push(measured());
    renameSync(join(root, 'dist/instance/more.js'), join(root, 'dist/instance/other.js'));
    digests.push(measured());
    rmSync(join(root, 'node_modules/one/index.js'));
    digests.push(measured());
    expect(new Set(digests).size).toBe(4);
  });

  it('is another with another module, and names what that needs', () => {
    const root = installation();
    const copy = join(home, 'module.so');
    copyFileSync(MODULE, copy);
    // Other tests of this process may have loaded the module: then it counts as a library, unless it is what is asked for.
    const loaded = `library/${basename(realpathSync(MODULE))}`;
    const componentsOf = (module: string) =>
      measure({ module, root }).components.filter(({ name }) => name !== loaded);
    expect(componentsOf(copy)).toEqual(componentsOf(MODULE));
    const before = measure({ module: copy, root });
    appendFileSync(copy, ' ');
    expect(differing(before, measure({ module: copy, root }))).toEqual(['module']);
    const names = before.components.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([expect.stringMatching(/^library\/libcrypto\.so/), 'node', 'options']),
    );
    // Node.js has a libcrypto of its own: this one comes with the module only.
    expect(names).toEqual(expect.arrayContaining([expect.stringMatching(/^library\/libc\.so/)]));
  });

  it('is not another by what no instance runs', () => {
    const root = installation();
    const before = measure({ module: MODULE, root });
    write(join(root, 'dist/fabric/main.js'), 'changed');
    write(join(root, 'dist/cli/main.js'), 'changed');
    write(join(root, 'dist/instance/main.js.map'), 'a map');
    write(join(root, 'node_modules/one/README.md'), 'words');
    write(join(root, 'node_modules/dev/index.js'), 'changed');
    expect(measure({ module: MODULE, root })).toEqual(before);
  });

  it('fails when a part cannot be read', () => {
    const root = installation();
    rmSync(join(root, 'build'), { recursive: true });
    expect(() => measure({ module: MODULE, root })).toThrow(/build\/Release/);
    expect(() => measure({ module: join(home, 'none.so'), root: installation() })).toThrow(/none\.so/);
  });
});

describe('the measurement of a bundled program', () => {
  /** The same installation with its program in one directory, which loads one package from outside. */
  function bundled(): { root: string; program: string } {
    const root = installation();
    const program = join(root, 'dist/program/instance');
    write(join(program, 'main.js'), 'all of it');
    write(join(program, 'packages.json'), JSON.stringify({ packages: ['one'] }));
    return { root, program };
  }

  it('counts the files of the program and the packages that it names, with what these use', () => {
    const { root, program } = bundled();
    const plain = measure({ module: MODULE, root, program });
    const names = plain.components.map(({ name }) => name);
    expect(names.filter((name) => /^(?:code|package)\b/.test(name))).toEqual([
      'code',
      'package/one',
      'package/one/node_modules/two',
    ]);
    for (const [path, name] of [
      ['dist/program/instance/main.js', 'code'],
      ['dist/program/instance/packages.json', 'code'],
      ['node_modules/one/index.js', 'package/one'],
      ['node_modules/one/node_modules/two/build/two.node', 'package/one/node_modules/two'],
      ['build/Release/trivet_pkcs11.node', 'addon'],
    ] as const) {
      const other = bundled();
      appendFileSync(join(other.root, path), ' ');
      expect(differing(plain, measure({ module: MODULE, ...other }))).toEqual([name]);
    }
    write(join(root, 'dist/instance/api/main.js'), 'changed'); // what the bundle was made of does not run
    expect(measure({ module: MODULE, root, program })).toEqual(plain);
  });
});

// The library of the storage was once loaded by the first backup, and measured by nobody.
test('whatever a program of this build loads, now or later, is measured with it', () => {
  const program = join(repository, 'dist/program/instance');
  const { packages } = JSON.parse(readFileSync(join(program, 'packages.json'), 'utf8')) as {
    packages: string[];
  };
  const files = readdirSync(program).filter((name) => name.endsWith('.js'));
  // `require("x")`, and `createRequire(place)("x")`.
  const calls = /\b(?:require\d*|createRequire\)?\(\w+\))\(["']([^"']+)["']\)/g;
  const loaded = files.flatMap((name) =>
    [...readFileSync(join(program, name), 'utf8').matchAll(calls)].map(([, wanted = '']) => wanted),
  );
  const outside = new Set(loaded.filter((wanted) => !isBuiltin(wanted) && !files.includes(basename(wanted))));
  expect([...outside].sort()).toEqual([...packages, '../../../build/Release/trivet_pkcs11.node'].sort());
});

describe('a process that measures itself', () => {
  const program = join(repository, 'dist/program/instance/measure.js');
  const measured = (nodeOptions: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Measurement =>
    JSON.parse(
      execFileSync(process.execPath, [...nodeOptions, program, MODULE], { env, encoding: 'utf8' }),
    ) as Measurement;

  it('has the same measurement every time, and another with other options or code from elsewhere', () => {
    const plain = measured();
    expect(measured()).toEqual(plain);
    expect(measured([], { PATH: '/bin', LANG: 'C', UV_THREADPOOL_SIZE: '8' })).toEqual(plain);
    expect(differing(plain, measured(['--no-warnings']))).toEqual(['options']);
    expect(differing(plain, measured([], { NODE_OPTIONS: '--no-warnings' }))).toEqual(['options']);
    const preload = join(home, 'preload.cjs');
    writeFileSync(preload, '');
    expect(differing(plain, measured(['--require', preload])).sort()).toEqual(['options', 'other-code']);
    const packages = plain.components.filter(({ name }) => name.startsWith('package/'));
    expect(packages.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['package/better-sqlite3-multiple-ciphers', 'package/bindings']),
    );
    // In the file of the program.
    expect(packages.map(({ name }) => name)).not.toContain('package/express');
  });
});
