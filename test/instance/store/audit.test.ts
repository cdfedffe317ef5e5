// The audit log on a real disk: chained whatever is appended, resumed after any end, stopped when there is no room.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AuditLog } from '../../../src/instance/store/audit.js';
import { auditHash, AUDIT_START } from '../../../src/values/audit.js';

const program = join(__dirname, 'programs', 'append-audit.cjs');
const KILLS = Number(process.env['TRIVET_KILLS'] ?? 8);

let home: string;
let directory: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'trivet-audit-'));
  directory = join(home, 'audit');
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const member = (text: string): string =>
  JSON.stringify({ time: '2026-06-01T00:00:00.000Z', category: 'AuditEvent', text }).slice(1, -1);

const failures: Error[] = [];
const open = (options: { fileMax?: number; waitingMax?: number } = {}): Promise<AuditLog> =>
  AuditLog.open(directory, {
    ...options,
    failed: (error) => void failures.push(error),
    onStanding: () => undefined,
  });

afterEach(() => expect(failures.splice(0)).toEqual([]));

interface Line {
  readonly sequence: number;
  readonly previous: string;
  readonly text: string;
}

/** Whole lines of all files, in order, after seeing that they chain. */
function lines(): Line[] {
  let sequence = 0;
  let previous = AUDIT_START;
  return readdirSync(directory)
    .sort()
    .flatMap((file) => readFileSync(join(directory, file), 'utf8').split('\n').slice(0, -1))
    .map((text) => {
      const line = JSON.parse(text) as Line;
      sequence += 1;
      expect(line).toMatchObject({ sequence, previous });
      previous = auditHash(text);
      return line;
    });
}

describe('audit log', () => {
  test('lines are chained in the order in which they were appended, through files and starts', async () => {
    const texts = Array.from({ length: 300 }, (_, i) => `é${i}`);
    for (const part of [0, 100, 200]) {
      const log = await open({ fileMax: 4_000 });
      for (const text of texts.slice(part, part + 100)) {
        log.append(member(text));
        if (text.endsWith('5')) await log.flushed();
      }
      await log.close();
      expect(log.head.sequence).toBe(part + 100);
    }
    expect(lines().map(({ text }) => text)).toEqual(texts);
    const files = readdirSync(directory);
    expect(files.length).toBeGreaterThan(6);
    expect(files.map((file) => statSync(join(directory, file)).mode & 0o777)).toEqual(files.map(() => 0o600));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test('what is flushed is on the disk, and what is not flushed is there soon', async () => {
    const log = await open();
    log.append(member('first'));
    await log.flushed();
    expect(lines().map(({ text }) => text)).toEqual(['first']);
    log.append(member('second'));
    while (lines().length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    await log.close();
  });

  test('a torn end stays as it is and is told; the next lines go on in a new file', async () => {
    const log = await open();
    for (const text of ['a', 'b', 'c']) log.append(member(text));
    await log.close();
    const [file = ''] = readdirSync(directory);
    const whole = readFileSync(join(directory, file));
    truncateSync(join(directory, file), whole.length - 5);
    const torn = readFileSync(join(directory, file));
    const rest = torn.subarray(torn.lastIndexOf(0x0a) + 1);
    const next = await open();
    expect(next.torn).toEqual([{ file, bytes: rest.length, sha256: auditHash(rest) }]);
    expect(next.head.sequence).toBe(2);
    next.append(member('d'));
    await next.close();
    expect(readFileSync(join(directory, file))).toEqual(torn);
    expect(lines().map(({ text }) => text)).toEqual(['a', 'b', 'd']);
    const third = await open();
    expect(third.torn).toEqual([]);
    await third.close();
  });

  test('a log whose last line is whole and no record is not gone on with', async () => {
    const log = await open();
    log.append(member('a'));
    await log.close();
    writeFileSync(join(directory, '00000002.jsonl'), 'something else\n');
    await expect(open()).rejects.toThrow('the last line of 00000002.jsonl is no record of the audit log');
  });

  test('when too much waits for the disk the log says so, and later that there is room again', async () => {
    const standing: (string | undefined)[] = [];
    const log = await AuditLog.open(directory, {
      waitingMax: 10_000,
      failed: (error) => void failures.push(error),
      onStanding: () => standing.push(log.stopped),
    });
    const long = member('x'.repeat(3_000));
    for (let i = 0; i < 3; i += 1) log.append(long);
    expect(log.stopped).toBeUndefined();
    log.append(long);
    expect(log.stopped).toMatch('written too slowly');
    for (let i = 0; i < 20; i += 1) log.append(long);
    const lost = log.takeLost();
    expect(lost).toBeGreaterThan(0);
    await log.flushed();
    expect(log.stopped).toBeUndefined();
    expect(standing).toEqual([expect.stringMatching('too slowly'), undefined]);
    await log.close();
    expect(lines()).toHaveLength(24 - lost);
  });

  test('a full disk stops the log, nothing is half written, and it goes on when there is room', async () => {
    const child = spawn(
      'prlimit',
      ['--fsize=20000:unlimited', process.execPath, program, directory, 'full'],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    const exit = once(child, 'exit');
    const said: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      said.push(line);
      if (!line.startsWith('stopped')) continue;
      // Only whole lines are there.
      const found = lines();
      expect(found.length).toBeGreaterThan(0);
      const [file = ''] = readdirSync(directory);
      expect(readFileSync(join(directory, file), 'utf8').endsWith('\n')).toBe(true);
      expect(spawnSync('prlimit', [`--pid=${String(child.pid)}`, '--fsize=unlimited']).status).toBe(0);
    }
    expect(await exit).toEqual([0, null]);
    expect(said[0]).toMatch(/^stopped the audit log cannot be written: EFBIG/);
    expect(said[1]).toBe('resumed');
    const texts = lines().map(({ text }) => text.split(' ')[0]);
    expect(texts).toEqual(texts.map((_, i) => String(i)));
    expect(texts).toHaveLength(Number(said[2]));
  });

  test('a process that is killed while it writes leaves what was flushed, chained', async () => {
    let flushed = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      const child = spawn(process.execPath, [program, directory, 'endless'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exit = once(child, 'exit');
      let heard = 0;
      for await (const line of createInterface(child.stdout)) {
        flushed = Number(line);
        if ((heard += 1) === 5 + 7 * kill) child.kill('SIGKILL');
      }
      expect(await exit).toEqual([null, 'SIGKILL']);
      expect(lines().length).toBeGreaterThanOrEqual(flushed);
    }
    expect(flushed).toBeGreaterThan(5 * KILLS);
  }, 120_000);
});

test('audit log: the newest lines are read over the ends of files, without what is torn or cut', async () => {
  const first = await open({ fileMax: 300 });
  for (let line = 1; line <= 6; line += 1) {
    first.append(member(`line ${line}`));
    await first.flushed();
  }
  const texts = async (log: AuditLog, count: number): Promise<string[]> =>
    (await log.newest(count)).map((line) => (JSON.parse(line) as Line).text);
  expect(readdirSync(directory).length).toBeGreaterThan(2);
  expect(await texts(first, 3)).toEqual(['line 4', 'line 5', 'line 6']);
  expect(await first.newest(2)).toEqual(
    readdirSync(directory)
      .sort()
      .flatMap((file) => readFileSync(join(directory, file), 'utf8').split('\n').slice(0, -1))
      .slice(-2),
  );
  await first.close();
  const last = readdirSync(directory).sort().at(-1) ?? '';
  writeFileSync(join(directory, last), '{"sequence":7,"torn', { flag: 'a' });
  const second = await open();
  expect(await texts(second, 1)).toEqual(['line 6']);
  second.append(member('x'.repeat(300_000)));
  second.append(member('short'));
  await second.flushed();
  expect(await texts(second, 1)).toEqual(['short']);
  await second.close();
});
