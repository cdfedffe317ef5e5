// The Jest file of docs/harness.md, run as its readers would: in a project of its own, by `jest` without any options.
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { operationNames } from '../../src/values/operations.js';
import { publishedLane } from '../../src/instance/faults/published.js';
import { templates } from './templates.js';

const root = resolve(__dirname, '../..');
const guide = readFileSync(join(root, 'docs/harness.md'), 'utf8');
const snippets = [...guide.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code ?? '');

test('harness guide: its Jest file passes, with nothing in the environment', async () => {
  const project = mkdtempSync(join(tmpdir(), 'trivet-guide-'));
  try {
    // A project that has installed Jest, the SDKs and this package.
    const modules = join(project, 'node_modules');
    mkdirSync(modules);
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name !== 'trivet') symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    symlinkSync(root, join(modules, 'trivet'));
    writeFileSync(join(project, 'package.json'), '{ "private": true }');
    // From a template: that a pool can be founded is seen elsewhere.
    const code = snippets
      .join('\n')
      .replace('startPool()', `startPool({ template: ${JSON.stringify(templates())} })`);
    writeFileSync(join(project, 'hsm.test.js'), code);
    const environment = { ...process.env };
    for (const name of ['NODE_EXTRA_CA_CERTS', 'NODE_OPTIONS', 'JEST_WORKER_ID'])
      Reflect.deleteProperty(environment, name);
    const jest = join(modules, 'jest/bin/jest.js');
    const { stderr } = await promisify(execFile)(process.execPath, [jest, '--detectOpenHandles'], {
      cwd: project,
      env: environment,
      timeout: 150_000,
    });
    const tests = code.match(/^test\(/gm)?.length ?? 0;
    expect(tests).toBeGreaterThan(3);
    expect(stderr).toMatch(new RegExp(`^Tests: +${tests} passed, ${tests} total$`, 'm'));
    expect(stderr).not.toMatch(/open handle|did not exit/);
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
}, 180_000);

test('harness guide: what it names is there, and its table is that of the code', () => {
  for (const name of ['KeySign', 'KeyCreate', 'KeyGet'] as const) {
    expect(guide).toContain(`\`${name}\``);
    expect(operationNames).toContain(name);
  }
  const row = (name: string): (number | undefined)[] => {
    const [, cells = ''] = new RegExp(`^\\| ${name} \\|(.*)\\|$`, 'm').exec(guide) ?? [];
    return cells
      .split('|')
      .map((cell) => (cell.trim() === '' ? undefined : Number(cell.replaceAll(',', ''))));
  };
  const specs = [
    ...([2048, 3072, 4096] as const).map((size) => ({ kty: 'RSA-HSM', size, exponent: 65_537 }) as const),
    ...(['P-256', 'P-384', 'P-521'] as const).map((curve) => ({ kty: 'EC-HSM', curve }) as const),
    ...[128, 192, 256].map((size) => ({ kty: 'oct-HSM', size }) as const),
  ];
  for (const [name, operation] of [
    ['create', 'KeyCreate'],
    ['delete, purge, backup, restore', 'KeyBackup'],
    ['get', 'KeyGet'],
    ['encrypt', 'KeyEncrypt'],
    ['decrypt', 'KeyDecrypt'],
    ['wrap', 'KeyWrap'],
    ['unwrap', 'KeyUnwrap'],
    ['sign', 'KeySign'],
    ['verify', 'KeyVerify'],
  ] as const) {
    expect([name, row(name)]).toEqual([
      name,
      specs.map((spec) => publishedLane(operation, () => spec)?.perSecond),
    ]);
  }
});
