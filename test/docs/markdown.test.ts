// What is run of a document, and what is noticed: a runner that lets everything pass would prove nothing.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isExpected, promises, steps } from './markdown.js';
import { root, runMarkdown } from './run.js';

const fence = '```';
const block = (info: string, ...lines: string[]): string =>
  [`${fence}${info}`, ...lines, fence, ''].join('\n');
const normal = { installed: false };

describe('documents: every block is run or says why not', () => {
  it('files, commands and what they print', () => {
    const markdown = `Words.\n\n${block('js', '// a.mjs', 'code')}\n${block('sh', 'node a.mjs')}\n${block('text', 'one')}`;
    expect(steps(markdown, normal)).toMatchObject([
      { kind: 'file', name: 'a.mjs', block: { line: 3, text: '// a.mjs\ncode' } },
      { kind: 'shell', expected: 'one', block: { line: 8, text: 'node a.mjs' } },
    ]);
  });

  it.each([
    ['no language', block('', 'ls'), /neither a file name nor a mark/],
    ['a program without a name', block('js', 'code()'), /neither a file name nor a mark/],
    ['a file that nothing uses', block('js', '// a.mjs', 'code()'), /nothing uses a\.mjs/],
    ['a mark without its reason', `Words.\n\n${block('sh not-run', 'ls')}`, /the reason is missing/],
    [
      'a reason that stands elsewhere',
      `*Not run by our tests: so.*\n\nWords.\n\n${block('sh not-run', 'ls')}`,
      /the reason is missing/,
    ],
    ['a mark that nobody knows', block('sh maybe', 'ls'), /nothing that is known/],
    ['what no command prints', block('text', 'one'), /no command before it/],
    [
      'what a command prints that is not run',
      `*Not run by our tests: so.*\n\n${block('sh not-run', 'ls')}\n${block('text', 'one')}`,
      /no command before it/,
    ],
    ['a block without an end', `${fence}sh\nls\n`, /does not end/],
  ])('refused: %s', (_, markdown, words) => {
    expect(() => steps(markdown, normal)).toThrow(words);
  });

  it('what needs programs of the distribution is run only where they are', () => {
    const markdown = `*Run only there.*\n\n${block('sh installed', 'az')}`;
    expect(steps(markdown, normal)).toEqual([]);
    expect(steps(markdown, { installed: true })).toHaveLength(1);
  });

  it('a block that another test runs is there once', () => {
    const elsewhere = ['./start'];
    expect(steps(block('sh', './start now'), { ...normal, elsewhere })).toEqual([]);
    expect(() => steps(block('sh', './begin'), { ...normal, elsewhere })).toThrow('0 blocks');
  });
});

describe('documents: what is printed', () => {
  it.each([
    ['one\ntwo', 'one\ntwo\n', true],
    ['one', 'one\ntwo', false],
    ['one\ntwo', 'one', false],
    ['on… at …', 'one at two', true],
    ['on…o', 'one\ntwo', false],
    ['…\nthree', 'one\ntwo\nthree', true],
    ['…\nthree', 'three', true],
    ['…\nthree', 'one\nthree\nfour', false],
    ['a.c', 'abc', false],
  ])('%j for %j: %j', (expected, printed, is) => {
    expect(isExpected(printed, expected)).toBe(is);
  });

  it('promises of single commands, with their continued lines', () => {
    expect(promises('a\nb \\\n  c   # prints it is d\n! e # exits with 2\nf # a comment')).toEqual([
      'a',
      { command: 'b \\\n  c', prints: 'it is d' },
      { command: '! e', exits: 2 },
      'f # a comment',
    ]);
  });
});

describe('documents: what is not true fails, with its line', () => {
  const run = (markdown: string): Promise<void> => runMarkdown(markdown, 'page.md');

  it('one shell for all blocks, in an empty directory', async () => {
    const second = block('sh', 'cd .. && echo $x $(ls a)   # prints 1 f.mjs', '(exit 3)   # exits with 3');
    await run(
      `${block('sh', 'ls', 'mkdir a && cd a', 'x=1')}\n${block('text', '')}\n${block('js', '// f.mjs', '')}\n${second}`,
    );
  });

  it.each([
    ['a command fails', block('sh', 'true', 'false'), /page\.md:1: ended with 1/],
    ['a command within a pipe fails', block('sh', 'false | true'), /page\.md:1: ended with 1/],
    ['another exit code', block('sh', '(exit 2)   # exits with 3'), /page\.md:1: ended with 98\nexit code 2/],
    ['another text', block('sh', 'echo one   # prints two'), /page\.md:1: expected\ntwo\nand not\none/],
    [
      'another output',
      `\n${block('sh', 'echo one')}\n${block('text', 'two')}`,
      /page\.md:2: expected\ntwo\nand not\none/,
    ],
    ['something is left running', block('sh', 'sleep 100 &'), /left running/],
  ])('%s', async (_, markdown, words) => {
    await expect(run(markdown)).rejects.toThrow(words);
  });
});

const tutorials = readdirSync(join(root, 'docs/tutorials')).map((file) => `docs/tutorials/${file}`);

it.each(['README.md', 'docs/getting-started.md', ...tutorials])('%s: its links lead somewhere', (path) => {
  const markdown = readFileSync(join(root, path), 'utf8');
  const links = [...markdown.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, link]) => link ?? '');
  expect(links.length).toBeGreaterThan(0);
  expect(links.filter((link) => !existsSync(join(root, dirname(path), link)))).toEqual([]);
});

it.each(['docs/getting-started.md', ...tutorials])('%s: packages that it installs are ours too', (path) => {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string>>;
  const lines = readFileSync(join(root, path), 'utf8').matchAll(/^npm install (.*)$/gm);
  for (const name of [...lines].flatMap(([, names]) => (names ?? '').split(' '))) {
    expect({ ...dependencies, ...devDependencies }).toHaveProperty([name]);
  }
});

it('the provider settings for Terraform name what the control plane answers', () => {
  const markdown = readFileSync(join(root, 'docs/getting-started.md'), 'utf8');
  const [, settings = ''] = /```hcl not-run\n([^]*?)\n```/.exec(markdown) ?? [];
  expect(settings.match(/\{/g)).toHaveLength(settings.match(/\}/g)?.length ?? -1);
  // No scheme and no path: the provider puts https:// before it and /metadata/endpoints behind.
  expect(settings).toMatch(/^ {2}metadata_host += "localhost:8443"$/m);
  expect(settings).toMatch(/^ {2}resource_provider_registrations = "none"$/m);
});
