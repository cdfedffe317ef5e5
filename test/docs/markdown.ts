// What of a document is run, and how. Pure: knows fences and marks, no process and no file.
//
//   ```sh             run by bash, all blocks of a document in one shell
//   ```js, py, ...    written as the file that its first line names: `// service.mjs`, `# sign.py`
//   ```text           right behind a `sh` block: all that this block prints
//   ```LANG installed only in a run where the programs of the distribution are installed
//   ```LANG not-run   never
//
// The last two must have the reason before them, for the reader too: a paragraph that begins with `*Run only ` or
// `*Not run by our tests`. Any other block is an error, so that nothing escapes.
//
// In what is expected, `…` is anything within a line, and a line of nothing but `…` any number of lines. In a `sh`
// block, a command may end with `# prints TEXT`, or with `# exits with N`; any other must end with 0.

export interface Block {
  /** Of its fence in the document, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

export type Step =
  | { readonly kind: 'file'; readonly block: Block; readonly name: string }
  | { readonly kind: 'shell'; readonly block: Block; readonly expected?: string };

const MARKS = {
  installed: { reason: '*Run only ', words: 'a paragraph that begins with "*Run only "' },
  'not-run': {
    reason: '*Not run by our tests',
    words: 'a paragraph that begins with "*Not run by our tests"',
  },
};
type Mark = keyof typeof MARKS;

interface Fenced extends Block {
  readonly mark: Mark | undefined;
}

const isMark = (word: string): word is Mark => Object.hasOwn(MARKS, word);

/** All fenced blocks; throws for a mark that is unknown or gives no reason. */
function fencedBlocks(markdown: string): Fenced[] {
  const lines = markdown.split('\n');
  const blocks: Fenced[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const opening = /^( *)```(.*)$/.exec(lines[at] ?? '');
    if (!opening) continue;
    const [, indent = '', info = ''] = opening;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end < 0) throw new Error(`line ${at + 1}: the block does not end`);
    const [language = '', mark, ...more] = info.trim().split(/\s+/);
    if ((mark !== undefined && !isMark(mark)) || more.length > 0)
      throw new Error(`line ${at + 1}: "${info}" says nothing that is known`);
    if (mark !== undefined) {
      const before = lines.slice(0, at).join('\n').trimEnd();
      const paragraph = before.slice(before.lastIndexOf('\n\n') + 1).trimStart();
      const { reason, words } = MARKS[mark];
      if (!paragraph.startsWith(reason)) throw new Error(`line ${at + 1}: the reason is missing, ${words}`);
    }
    const text = lines
      .slice(at + 1, end)
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
      .join('\n');
    blocks.push({ line: at + 1, language, mark, text });
    at = end;
  }
  return blocks;
}

export interface Choice {
  /** Whether programs of the distribution are there. */
  readonly installed: boolean;
  /** Blocks that another test runs, by how they begin. */
  readonly elsewhere?: readonly string[];
}

/** What is to be done, in order; throws for a block of which nobody would know whether it is true. */
export function steps(markdown: string, { installed, elsewhere = [] }: Choice): Step[] {
  const done: Step[] = [];
  const all = fencedBlocks(markdown);
  const others = elsewhere.map((start) => {
    const found = all.filter(({ text }) => text.startsWith(start));
    const [block] = found;
    if (!block || found.length > 1) throw new Error(`${found.length} blocks begin with "${start}"`);
    return block;
  });
  let previous: Fenced | undefined;
  for (const block of all) {
    const left = block.mark === 'not-run' || (block.mark === 'installed' && !installed);
    if (!left && !others.includes(block)) {
      const step = stepOf(block, previous, done.at(-1));
      if (block.language === 'text') done.pop(); // the same block, now with what it prints
      done.push(step);
    }
    previous = block;
  }
  const shown = all.filter(({ language }) => language !== 'text');
  for (const step of done) {
    if (step.kind !== 'file') continue;
    const { name, block } = step;
    const used = shown.some(({ line, text }) => line !== block.line && text.includes(name));
    if (!used) throw new Error(`line ${block.line}: nothing uses ${name}`);
  }
  return done;
}

function stepOf(block: Fenced, previous: Fenced | undefined, last: Step | undefined): Step {
  if (block.language === 'sh') return { kind: 'shell', block };
  if (block.language === 'text') {
    if (last?.kind !== 'shell' || last.block !== previous)
      throw new Error(`line ${block.line}: no command before it prints this`);
    return { ...last, expected: block.text };
  }
  const [, name] = /^(?:\/\/|#) ([\w.-]+\.\w+)$/m.exec(block.text.split('\n')[0] ?? '') ?? [];
  if (name === undefined)
    throw new Error(`line ${block.line}: a block of "${block.language}" with neither a file name nor a mark`);
  return { kind: 'file', block, name };
}

/** Whether this was printed; spaces at the ends of lines do not count. */
export function isExpected(printed: string, expected: string): boolean {
  const lines = expected
    .trimEnd()
    .split('\n')
    .map((line) =>
      line.trim() === '…' ? '(?:.*\n)*?' : `${line.trimEnd().split('…').map(escape).join('.*')}\n`,
    );
  const clean = printed
    .trimEnd()
    .split('\n')
    .map((line) => `${line.trimEnd()}\n`);
  return new RegExp(`^${lines.join('')}$`).test(clean.join(''));
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A command that promises more than to end with 0. */
export interface Promised {
  readonly command: string;
  readonly prints?: string;
  /** Exit code. */
  readonly exits?: number;
}

/** The text of a `sh` block in pieces: plain text, and commands that promise something, whole with their continued lines. */
export function promises(text: string): (string | Promised)[] {
  const pieces: (string | Promised)[] = [];
  let open: string[] = [];
  for (const line of text.split('\n')) {
    open.push(line);
    if (line.endsWith('\\')) continue;
    const [, command, verb, what = ''] =
      /^([^]*\S)\s+# (prints|exits with) (.*)$/.exec(open.join('\n')) ?? [];
    if (command === undefined) pieces.push(open.join('\n'));
    else pieces.push(verb === 'prints' ? { command, prints: what } : { command, exits: parseInt(what, 10) });
    open = [];
  }
  if (open.length > 0) pieces.push(open.join('\n'));
  return pieces;
}
