// A process that appends is killed at a random moment, again and again. What it had acknowledged is there; nothing is
// there that does not follow; the next one goes on where it stopped. And a disk that is full.
import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { follows } from '../../../src/instance/replication/entry.js';
import type { Head } from '../../../src/values/entry.js';
import { makePlace, openStore, readFile, removePlaces } from './stores.js';

const KILLS = Number(process.env['TRIVET_KILLS'] ?? 12);
const program = join(__dirname, 'programs', 'append.cjs');

afterEach(removePlaces);

interface Life {
  /** Entries that it found; absent when it was killed before it could tell. */
  readonly had: number | undefined;
  readonly acknowledged: number;
}

/** Lets the program live until it has acknowledged so many entries, and a little longer. */
async function live(path: string, until: number): Promise<Life> {
  const child = spawn(process.execPath, [program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  let had: number | undefined;
  let acknowledged = 0;
  let count = 0;
  if (until === 0) child.kill('SIGKILL');
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith('has ')) had = Number(line.slice(4));
    else acknowledged = Number(line);
    if ((count += 1) === until) child.kill('SIGKILL');
  }
  const [, signal] = (await exit) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return { had, acknowledged };
}

test(
  'store: nothing that was acknowledged is lost by a kill, and the log has no gap',
  async () => {
    const path = makePlace();
    let acknowledged = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      const until = kill === 0 ? 40 : randomInt(120);
      const life = await live(path, until);
      if (life.had !== undefined) expect(life.had).toBeGreaterThanOrEqual(acknowledged);
      acknowledged = Math.max(acknowledged, life.acknowledged);
      const store = await openStore(path);
      const { base, tail } = store.readLog();
      expect({ until, enough: base.index + tail.length >= acknowledged }).toEqual({ until, enough: true });
      let head: Head = base;
      for (const entry of tail) {
        expect(follows(head, entry)).toBe(true);
        head = entry;
      }
      // The tables hold exactly what was applied: the newest of each of fifty notes.
      for (let note = 0; note < 50; note += 1) {
        const newest = base.index - ((((base.index - note) % 50) + 50) % 50);
        const text = newest > 0 ? { text: String(newest) } : undefined;
        expect(store.state.get('notes', `note ${note}`)).toEqual(text);
      }
      await store.close();
    }
  },
  10 * 60_000,
);

test('store: a disk that is full fails the append and all that follow, and keeps what it acknowledged', async () => {
  const path = makePlace();
  // Files larger than this many blocks of 1024 bytes cannot be written: the disk is full for this process alone.
  const limited = ['-c', 'ulimit -f 4000; exec "$0" "$@"', process.execPath, program, path, 'watched'];
  const { stdout, code } = await new Promise<{ stdout: string; code: number | null }>((resolve) => {
    const child = execFile('bash', limited, { timeout: 50_000 }, (_error, out) =>
      resolve({ stdout: out, code: child.exitCode }),
    );
  });
  expect(code).toBe(3);
  const lines = stdout.trim().split('\n');
  expect(lines.at(-1)).toMatch(/^failed: the store cannot be written: /);
  const acknowledged = Number(lines.at(-2));
  expect(acknowledged).toBeGreaterThan(1);
  expect(readFile(path).log.at(-1)).toBeGreaterThanOrEqual(acknowledged);
  const store = await openStore(path);
  await store.close();
});
