// What `trivet audit verify` finds: every edit of a log that is sealed, at its file and line.
import fc from 'fast-check';
import type { LogFile } from '../../src/cli/audit/check-log.js';
import { checkPool } from '../../src/cli/audit/check-pool.js';
import { auditFileName, auditFileNumber, sealMembers, membersOf } from '../../src/values/audit.js';
import { makeOwner, NOW, rsa } from './attestation-maker.js';
import {
  check,
  faultsOf,
  fingerprint,
  makeLogs,
  MadeLog,
  written,
  type MadePool,
  type Written,
} from './audit-maker.js';

const ONE = auditFileName(1);
const TWO = auditFileName(2);

/** Three logs of two files each, every one sealed to its end and kept by the others. */
async function makeSealed(): Promise<MadePool> {
  const pool = await makeLogs();
  for (const part of [1, 2]) {
    for (const log of pool.logs) {
      if (part === 2) log.begin();
      for (let i = 0; i < 4; i += 1) log.event(`Event${part}${i}`);
      log.seal(...pool.logs.filter((other) => other !== log));
      log.event('AfterSeal');
    }
  }
  for (const log of pool.logs) log.seal(...pool.logs.filter((other) => other !== log));
  for (const log of pool.logs) log.seal();
  return pool;
}

let pool: MadePool;
beforeAll(async () => {
  pool = await makeSealed();
});

/** The same files with one of instance 1 edited, as text or by lines. */
function edited(file: string, edit: (lines: string[]) => string[]): Written {
  const files = written(pool);
  const lines = (files.get(1)?.get(file) ?? Buffer.alloc(0)).toString().split('\n').slice(0, -1);
  files.get(1)?.set(
    file,
    Buffer.from(
      edit(lines)
        .map((line) => `${line}\n`)
        .join(''),
    ),
  );
  return files;
}

const lineOf = (file: string, needle: string): number =>
  (pool.logs[1]?.files.get(file) ?? Buffer.alloc(0))
    .toString()
    .split('\n')
    .findIndex((line) => line.includes(needle));

describe('audit verify', () => {
  test('sound logs hold, and all of them is sealed but the last seal itself', () => {
    const found = check(written(pool));
    expect(faultsOf(found)).toEqual([]);
    expect(found.valid).toBe(true);
    expect(found.ownerVerified).toBe(false);
    expect(found.logs.map(({ unsealed }) => unsealed)).toEqual([1, 1, 1]);
    expect(check(written(pool), { owner: fingerprint(pool.owner) }).ownerVerified).toBe(true);
  });

  test('a changed word is found at the line after it', () => {
    const at = lineOf(ONE, 'Event11');
    const found = check(edited(ONE, (lines) => lines.map((line) => line.replace('Event11', 'Event19'))));
    expect(faultsOf(found)).toEqual([
      expect.stringMatching(
        new RegExp(`^1 ${ONE}:${at + 2} the record before record \\d+ \\(line ${at + 1} of ${ONE}\\) is not`),
      ),
    ]);
  });

  test('a removed record is named', () => {
    const at = lineOf(ONE, 'Event12');
    const found = check(edited(ONE, (lines) => lines.toSpliced(at, 1)));
    expect(faultsOf(found)).toEqual([
      `1 ${ONE}:${at + 1} record ${at + 1} is missing before record ${at + 2}`,
    ]);
  });

  test('an inserted copy, exchanged lines and a line that is no record are found where they are', () => {
    const at = lineOf(ONE, 'Event12');
    const copied = check(edited(ONE, (lines) => lines.toSpliced(at, 0, lines[at] ?? '')));
    expect(faultsOf(copied)[0]).toMatch(`1 ${ONE}:${at + 2} record ${at + 1} stands where record ${at + 2}`);
    const exchanged = check(
      edited(ONE, (lines) => lines.with(at, lines[at + 1] ?? '').with(at + 1, lines[at] ?? '')),
    );
    expect(faultsOf(exchanged)[0]).toMatch(`1 ${ONE}:${at + 1} record ${at + 1} is missing`);
    const spoilt = check(edited(ONE, (lines) => lines.with(at, 'nothing')));
    expect(faultsOf(spoilt)[0]).toBe(`1 ${ONE}:${at + 1} this is no record`);
  });

  test('a log that is cut is found by what the others have kept', () => {
    const cut = check(edited(TWO, (lines) => lines.slice(0, 2)));
    expect(cut.valid).toBe(false);
    expect(faultsOf(cut)[0]).toMatch(
      /^1 00000002\.jsonl:2 the log ends with record \d+, but record \d+ was sealed at .*; it was cut: line \d+ of .* in the log of instance 0$/,
    );
    // One that ends with a record that was sealed, but without the seal.
    const seal = lineOf(TWO, '"AuditSeal","through"');
    const shorter = check(edited(TWO, (lines) => lines.slice(0, seal)));
    expect(faultsOf(shorter).join()).toMatch(/the seal of record \d+, made at .*, is missing/);
    expect(cut.logs[0]?.faults).toEqual([]);
  });

  test.each([
    ['a record and its seal', 1],
    ['the seal of its last record', 2],
  ])('a running log that got %s only after it was read is no log that was cut', async (_what, moment) => {
    const made = await makeLogs();
    const [first, second] = made.logs;
    if (!first || !second) throw new Error('three logs');
    const earlier = [new Map(first.files)];
    first.event('KeyGet');
    earlier.push(new Map(first.files));
    first.seal(second);
    const now = written(made);
    const reads = [earlier[moment - 1] ?? first.files, first.files];
    const read = (instance: number): LogFile[] => {
      const files = (instance === 0 ? reads.shift() : now.get(instance)) ?? first.files;
      return [...files].map(([name, bytes]) => ({ number: auditFileNumber(name) ?? 0, read: () => bytes }));
    };
    const members = [0, 1, 2].map((instance) => ({ instance, files: () => read(instance) }));
    const found = checkPool(members, { pool: 'dev', owner: undefined, now: NOW, first: new Map() });
    expect(faultsOf(found)).toEqual([]);
  });

  test('a log that was taken away is found', () => {
    const files = written(pool);
    files.set(1, new Map());
    const found = faultsOf(check(files));
    expect(found[0]).toBe(`1 ${ONE}:0 there is no audit log`);
    expect(found.length).toBe(1);
  });

  test('a missing file is found by its number', () => {
    const files = written(pool);
    files.get(1)?.delete(ONE);
    expect(faultsOf(check(files))[0]).toBe(`1 ${TWO}:0 the file before it, ${ONE}, is missing`);
  });

  test('older files may be taken away when the first record is named', async () => {
    const whole = await makeLogs();
    const log = whole.logs[1] as MadeLog;
    const others = whole.logs.filter((other) => other !== log);
    log.event('Old');
    log.seal(...others);
    log.open();
    log.event('New');
    log.seal(...others);
    const files = written(whole);
    files.get(1)?.delete(ONE);
    expect(check(files).valid).toBe(false);
    expect(faultsOf(check(files, { first: new Map([[1, 4]]) }))).toEqual([]);
  });

  test('a log that is written anew from some record on contradicts its seals', async () => {
    const whole = await makeLogs();
    const log = whole.logs[1] as MadeLog;
    log.event('True');
    const seal = log.seal();
    const forged = new MadeLog(1, log.key, log.certificates);
    forged.open();
    forged.event('False');
    forged.write(sealMembers(seal));
    const files = written(whole);
    files.set(1, forged.files);
    expect(faultsOf(check(files))).toEqual([
      `1 ${ONE}:3 record 2, or one before it, was changed after it was sealed`,
    ]);
  });

  test('a seal by another key, and a seal of another instance, are no seals', async () => {
    const whole = await makeLogs();
    const [zero, one] = whole.logs as [MadeLog, MadeLog];
    const forged = new MadeLog(1, rsa(), one.certificates);
    forged.open();
    forged.seal();
    const files = written(whole);
    files.set(1, forged.files);
    expect(faultsOf(check(files))).toEqual([`1 ${ONE}:2 this seal is not by the partition`]);
    files.set(1, zero.files);
    expect(faultsOf(check(files)).join()).toMatch('this is the log of instance 0 of the pool dev');
  });

  test('logs of another owner are found when the owner is named, or when one differs from the others', async () => {
    const other = await makeSealed();
    const found = check(written(other), { owner: fingerprint(pool.owner) });
    expect(found.ownerVerified).toBe(false);
    expect(faultsOf(found).join()).toMatch('the pool has another owner');
    const mixed = written(pool);
    mixed.set(1, written(other).get(1) ?? new Map<string, Buffer>());
    expect(faultsOf(check(mixed)).join()).toMatch('its owner is not the one of the log of another instance');
  });

  test('an owner who changes between two starts is found', async () => {
    const whole = await makeLogs();
    const log = whole.logs[1] as MadeLog;
    const stranger = await makeLogs();
    log.open([], { certificates: stranger.logs[1]?.certificates });
    expect(faultsOf(check(written(whole)))).toEqual([
      `1 ${TWO}:1 the owner of the pool is another one than before`,
    ]);
    expect(await makeOwner()).toBeDefined();
  });

  test('a torn end is shown, and holds when the next start has recorded it, and only then', async () => {
    const torn = async (recorded: boolean): Promise<Written> => {
      const whole = await makeLogs();
      const log = whole.logs[1] as MadeLog;
      log.event('Whole');
      log.append('{"sequence":3,"prev');
      const [end] = check(written(whole)).logs[1]?.torn ?? [];
      expect(end).toMatchObject({ file: ONE, bytes: 19 });
      log.open(recorded && end ? [end] : []);
      log.seal();
      return written(whole);
    };
    const recorded = check(await torn(true));
    expect(faultsOf(recorded)).toEqual([]);
    expect(recorded.logs[1]?.torn).toMatchObject([{ file: ONE, bytes: 19 }]);
    expect(faultsOf(check(await torn(false)))).toEqual([
      `1 ${TWO}:1 files do not end as this start found them`,
    ]);
  });

  test('an instance that goes on in a new file after a torn end, without a start, is found', async () => {
    const whole = await makeLogs();
    const log = whole.logs[1] as MadeLog;
    log.append('torn');
    log.begin();
    log.write(membersOf('AuditEvent', { time: '2026-06-01T00:00:00.000Z', operationName: 'KeyGet' }));
    expect(faultsOf(check(written(whole)))).toEqual([
      `1 ${TWO}:1 ${ONE} ends in the middle of a record, and the instance went on`,
    ]);
  });

  test('any byte that is changed, added or taken away is found', () => {
    const files = [...(pool.logs[1]?.files ?? [])];
    const place = fc.record({
      file: fc.constantFrom(...files.map(([name]) => name)),
      at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      byte: fc.integer({ min: 0, max: 255 }),
      how: fc.constantFrom('change', 'add', 'remove'),
    });
    fc.assert(
      fc.property(place, ({ file, at, byte, how }) => {
        const before = pool.logs[1]?.files.get(file) as Buffer;
        const offset = Math.floor(at * before.length);
        const rest = before.subarray(how === 'add' ? offset : offset + 1);
        const added = how === 'remove' ? [] : [byte];
        const after = Buffer.concat([before.subarray(0, offset), Buffer.from(added), rest]);
        fc.pre(!after.equals(before));
        const edit = written(pool);
        edit.get(1)?.set(file, after);
        const found = check(edit);
        // Without its last line feed the last record counts as torn.
        const seen = !found.valid || found.logs.some(({ torn }) => torn.length > 0);
        expect(seen).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('any lines that are removed, doubled, moved or cut off are found', () => {
    const lines = [...(pool.logs[1]?.files ?? [])].flatMap(([file, bytes]) =>
      bytes
        .toString()
        .split('\n')
        .slice(0, -1)
        .map((line) => ({ file, line })),
    );
    // What comes after the newest seal that the others keep may be cut off.
    const told = lines.findLastIndex(({ line }) => line.includes('"AuditSeal"')) - 1;
    expect(lines[told - 1]?.line).toContain('"AuditSeal"');
    const index = fc.integer({ min: 0, max: lines.length - 1 });
    fc.assert(
      fc.property(
        index,
        index,
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom('remove', 'double', 'move', 'cut'),
        (from, to, count, how) => {
          const taken = lines.slice(from, from + count);
          const without = lines.toSpliced(from, count);
          const after = {
            remove: without,
            double: lines.toSpliced(to, 0, ...taken),
            move: without.toSpliced(to, 0, ...taken),
            cut: lines.slice(0, from),
          }[how];
          const text = (all: typeof lines): string => all.map(({ line }) => line).join('\n');
          const isCut = after.length >= told && text(after) === text(lines.slice(0, after.length));
          fc.pre(!isCut);
          const edit = written(pool);
          edit.set(
            1,
            new Map(
              [ONE, TWO].map((name) => {
                const own = after.filter(({ file }) => file === name);
                return [name, Buffer.from(own.map(({ line }) => `${line}\n`).join(''))];
              }),
            ),
          );
          const moved = [...(edit.get(1)?.values() ?? [])].join('');
          fc.pre(moved !== [...(pool.logs[1]?.files.values() ?? [])].join(''));
          expect(check(edit).valid).toBe(false);
        },
      ),
      { numRuns: 200 },
    );
  });
});
