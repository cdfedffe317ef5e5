import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const SCRIPT = join(__dirname, '../../scripts/write-cli-reference');
const FILE = join(__dirname, '../../docs/cli.md');

test('docs: the reference of the command line is up to date', () => {
  const { status, stderr } = spawnSync(process.execPath, [SCRIPT, '--check'], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
});

test('docs: the reference says nothing of the machine that it was made on, and has every command', () => {
  const text = readFileSync(FILE, 'utf8');
  expect(text).not.toMatch(/\/home\/|\/root\/|\/Users\//);
  for (const command of ['up', 'status', 'doctor', 'key create', 'role assignment create', 'slot', 'bench']) {
    expect(text).toContain(` trivet ${command}\n`);
  }
  expect(text).not.toMatch(/trivet complete$/m);
});
