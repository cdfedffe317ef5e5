// The check of the ledger, on pages and results made for it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const script = join(__dirname, '../../scripts/check-ledger');
const HEAD = '| Point | State | What we do | Test |\n|---|---|---|---|\n';

const test = (status: string, title: string, ...ancestorTitles: string[]) => ({
  ancestorTitles,
  title,
  status,
});

const run = {
  testResults: [
    {
      name: '/somewhere/test/instance/api/keys.test.ts',
      assertionResults: [
        test('passed', 'a key is made', 'create'),
        test('passed', 'a key is made twice, in turn', 'create'),
        test('failed', 'a key breaks', 'create'),
        test('pending', 'a key is left for later', 'create'),
        test('todo', 'a key is thought of'),
      ],
    },
    {
      name: '/somewhere/test/instance/model/keys.test.ts',
      assertionResults: [test('passed', 'a version is counted')],
    },
  ],
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'ledger-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function check(page: string, result: string = JSON.stringify(run)) {
  writeFileSync(join(folder, 'page.md'), page);
  writeFileSync(join(folder, 'result.json'), result);
  const args = [join(folder, 'result.json'), join(folder, 'page.md')];
  const { status, stdout, stderr } = spawnSync(script, args, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const line = (state: string, tests: string) => check(`${HEAD}| a point | ${state} | words | ${tests} |\n`);

it.each([
  ['by file and title', '`api/keys › a key is made twice, in turn`'],
  ['by the beginning of its title', '`api/keys › a key is made twice`'],
  ['by its block too', '`instance/api/keys › create › a key is made twice`'],
  ['together with another one', '`model/keys › a version`, `api/keys › a key is made twice`'],
])('a line marked same holds when its test passed, named %s', (_, reference) => {
  expect(line('same', reference)).toMatchObject({ status: 0, stderr: '' });
});

it.each([
  ['is missing', '', 'names no test'],
  ['was not run', '`api/keys › a key is dreamt of`', 'was not run'],
  ['is in a file that was not run', '`api/roles › a key is made`', 'no test was run'],
  ['is in one of two files', '`keys › a key is made`', 'more than one file'],
  ['is no more than a file', '`api/keys`', 'no test'],
  ['is cut in the middle of a word', '`api/keys › a key is made twi`', 'was not run'],
  ['is in another block', '`api/keys › import › a key is made`', 'was not run'],
  ['failed', '`api/keys › a key breaks`', "'a key breaks' is failed"],
  ['was skipped', '`api/keys › a key is left for later`', 'is pending'],
  ['is only planned', '`api/keys › a key is thought of`', 'is todo'],
  ['is one of several, not all of which passed', '`api/keys › create`', 'did not pass'],
  ['is the second named, and failed', '`model/keys › a version`, `api/keys › a key breaks`', 'is failed'],
])('a line marked same does not hold when its test %s', (_, reference, words) => {
  const { status, stderr, stdout } = line('same', reference);
  expect(stderr).toContain('page.md:3: ');
  expect(stderr).toContain(words);
  expect(stdout).toContain('1 wrong');
  expect(status).toBe(1);
});

it('a choice needs no test, but one that it names must have passed', () => {
  expect(line('chosen', '').status).toBe(0);
  expect(line('not offered', '').status).toBe(0);
  expect(line('differs', '`api/keys › a key breaks`').status).toBe(1);
});

it('the lines of each state are counted', () => {
  const rows = '| a | same | | `model/keys › a version` |\n| b | chosen | | |\n| c | chosen | | |\n';
  expect(check(HEAD + rows).stdout).toBe('ledger: 1 same, 2 chosen, 0 differs, 0 not offered; 0 wrong\n');
});

it.each([
  ['an unknown state', `${HEAD}| a | equal | | |\n`],
  ['too few cells', `${HEAD}| a | same | |\n`],
  ['another head', '| Point | State | Test |\n|---|---|---|\n| a | same | |\n'],
  ['no line at all', 'Nothing is promised.\n'],
])('a page with %s does not hold', (_, page) => {
  expect(check(page).status).toBe(1);
});

it('a bar within backquotes is part of its cell, and tables without states are let be', () => {
  const other = '| Word | Means |\n|---|---|\n| a | b |\n\n';
  const page = `${other}${HEAD}| \`r|s\` | same | | \`model/keys › a version\` |\n`;
  expect(check(page)).toMatchObject({ status: 0, stderr: '' });
});

it('after a run that did not get to its end nothing holds', () => {
  const { status, stderr } = check(`${HEAD}| a | chosen | | |\n`, '');
  expect(status).toBe(1);
  expect(stderr).toContain('did not get to its end');
});
