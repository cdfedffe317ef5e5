import Database from 'better-sqlite3-multiple-ciphers';
import fc from 'fast-check';
import { addDuration, parseDuration } from '../../src/values/duration.js';
import type { Duration } from '../../src/values/duration.js';

const NONE: Duration = { years: 0, months: 0, weeks: 0, days: 0, hours: 0, minutes: 0, seconds: 0 };
const at = (text: string): number => Date.parse(text) / 1_000;

function parsed(text: string): Duration {
  const duration = parseDuration(text);
  if (!duration) throw new Error(`${text} is no duration`);
  return duration;
}

test.each<[string, Partial<Duration>]>([
  ['P30D', { days: 30 }],
  ['PT1H', { hours: 1 }],
  ['P1Y2M3DT4H', { years: 1, months: 2, days: 3, hours: 4 }],
  ['P1Y2M3W4DT5H6M7S', { years: 1, months: 2, weeks: 3, days: 4, hours: 5, minutes: 6, seconds: 7 }],
  ['P1M', { months: 1 }],
  ['PT1M', { minutes: 1 }],
  ['P18M', { months: 18 }],
  ['P007D', { days: 7 }],
  ['P0D', {}],
  ['P10000Y', { years: 10_000 }],
])('parseDuration: %s is a duration', (text, parts) => {
  expect(parseDuration(text)).toEqual({ ...NONE, ...parts });
});

test.each([
  '',
  'P',
  'PT',
  'P1DT',
  'P1',
  '1D',
  'p1d',
  'P1d',
  '-P1D',
  'P-1D',
  '+P1D',
  'P1.5D',
  'PT0,5S',
  'P1D2Y',
  'P1D1D',
  'PT1H1H',
  'P1H',
  'PT1D',
  ' P1D',
  'P1D\n',
  'P 1D',
  'P١D',
  'P1e3D',
  'P10001Y',
  `P${'9'.repeat(400)}D`,
  `P${'0'.repeat(400)}1D`,
])('parseDuration: %j is none', (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test('parseDuration: whatever the text, the answer comes at once and is a duration or none', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('P', 'T', '0', '1', '9', 'Y', 'M', 'W', 'D', 'H', 'S', '-', '.') }),
  );
  fc.assert(
    fc.property(text, (any) => {
      const duration = parseDuration(any);
      if (duration) expect(Number.isSafeInteger(addDuration(0, duration))).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['2024-01-31T12:00:00Z', 'P1M', '2024-02-29T12:00:00Z'],
  ['2023-01-31T00:00:00Z', 'P1M', '2023-02-28T00:00:00Z'],
  ['2024-02-29T23:59:59Z', 'P1Y', '2025-02-28T23:59:59Z'],
  ['2024-12-31T00:00:00Z', 'P2M', '2025-02-28T00:00:00Z'],
  ['2024-01-30T00:00:00Z', 'P1M1D', '2024-03-01T00:00:00Z'],
  ['2024-03-30T22:00:00Z', 'P1DT3H', '2024-04-01T01:00:00Z'],
  ['2026-01-01T00:00:00Z', 'P1Y2M3DT4H', '2027-03-04T04:00:00Z'],
])('addDuration: %s and %s is %s', (from, duration, expected) => {
  expect(new Date(addDuration(at(from), parsed(duration)) * 1_000)).toEqual(new Date(expected));
});

test.each([
  ['2024-03-31T12:00:00Z', 'P1M', '2024-02-29T12:00:00Z'],
  ['2024-02-29T00:00:00Z', 'P1Y', '2023-02-28T00:00:00Z'],
  ['2025-01-15T00:00:00Z', 'P30D', '2024-12-16T00:00:00Z'],
  ['2025-01-01T00:00:00Z', 'PT1S', '2024-12-31T23:59:59Z'],
])('addDuration: %s less %s is %s', (from, duration, expected) => {
  expect(new Date(addDuration(at(from), parsed(duration), -1) * 1_000)).toEqual(new Date(expected));
});

test('addDuration: SQLite comes to the same moments, forwards and backwards', () => {
  const database = new Database(':memory:');
  const statement = database.prepare('SELECT unixepoch(?, ?, ?, ?, ?, ?, ?) AS time');
  const time = fc.integer({ min: at('1900-01-01T00:00:00Z'), max: at('2400-01-01T00:00:00Z') });
  const number = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
  const parts = fc.tuple(number(120), number(1_500), number(200), number(9_000), number(9_000));
  fc.assert(
    fc.property(time, parts, fc.constantFrom(1 as const, -1 as const), (from, given, sign) => {
      const [years, months, weeks, days, seconds] = given;
      const step = (count: number, unit: string): string => `${sign < 0 ? '-' : '+'}${count} ${unit}`;
      const text = `P${years}Y${months}M${weeks}W${days}DT${seconds}S`;
      const steps = [
        new Date(from * 1_000).toISOString().slice(0, 19),
        step(years * 12 + months, 'months'),
        'floor', // the month's last day, as here; its own way would overflow into the next month
        step(weeks * 7, 'days'),
        step(days, 'days'),
        step(seconds, 'seconds'),
        '+0 days',
      ];
      expect(addDuration(from, parsed(text), sign)).toBe((statement.get(steps) as { time: number }).time);
    }),
    { numRuns: 2_000 },
  );
  database.close();
});

test('addDuration: in the first century after Christ years mean themselves', () => {
  expect(addDuration(at('2024-05-31T00:00:00Z'), parsed('P1950Y'), -1)).toBe(at('0074-05-31T00:00:00Z'));
});
