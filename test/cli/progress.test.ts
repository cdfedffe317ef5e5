import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { withProgress } from '../../src/cli/progress.js';

const PROGRAM = join(__dirname, 'programs/progress.cjs');

function shown(...args: string[]): string {
  const command = [process.execPath, PROGRAM, ...args].join(' ');
  return spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', timeout: 30_000 }).stdout;
}

test('progress: in a terminal there is a bar, and nothing is left of it', () => {
  const text = shown('known');
  expect(text).toMatch(/working [█░]+ 0 %/);
  expect(text).toMatch(/working █+░+ 50 % step-2/);
  expect(text.endsWith('\u001b[2Kdone\r\n')).toBe(true); // the line was wiped
});

test('progress: there is a bar for work that never waits, too', () => {
  const text = shown('busy');
  expect(text).toMatch(/working █+░+ [0-9]+ % step-[0-9]+/);
  expect(text.endsWith('\u001b[2Kdone\r\n')).toBe(true);
});

test('progress: where nobody knows how much there is, it is said how long it takes', () => {
  expect(shown()).toMatch(/working \d s/);
});

test('progress: elsewhere nothing is shown, and what comes of the work comes back', async () => {
  const written: unknown[] = [];
  const write = jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    written.push(chunk);
    return true;
  });
  const isTTY = process.stderr.isTTY;
  process.stderr.isTTY = false;
  try {
    const work = (advance: (step: string) => void): Promise<number> => {
      advance('a');
      return Promise.resolve(7);
    };
    expect(await withProgress('x', 1, work)).toBe(7);
  } finally {
    process.stderr.isTTY = isTTY;
    write.mockRestore();
  }
  expect(written).toEqual([]);
});
