import { appendFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Meter, rateIn } from '../../../src/fabric/meter/meter.js';
import type { MeterEvent } from '../../../src/fabric/meter/meter.js';
import { privateDirectory } from '../programs/fake-pool.js';

const HOUR = 3_600;
const START = 1_800_000_000;
const directory = privateDirectory();
const file = join(directory, 'meter.jsonl');
let now = START;
let open: Meter[] = [];

beforeEach(() => {
  rmSync(file, { force: true });
  now = START;
});
afterEach(() => {
  for (const meter of open) meter.close();
  open = [];
});

function meter(rate?: number): Meter {
  const made = new Meter(file, () => now, rate);
  open.push(made);
  return made;
}

const event = (
  sequence: number,
  kind: 'provisioned' | 'softDeleted' | 'purged',
  name = 'dev',
): MeterEvent => ({
  sequence,
  kind,
  poolId: `pool ${name}`,
  name,
  resourceId: `/managedHSMs/${name}`,
  location: 'local',
  time: now,
});

const shown = (made: Meter): unknown[] =>
  made.report().pools.map(({ name, hours, cost }) => [name, hours, cost]);
const lines = (): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1);

test('meter: what was recorded is there after a restart, and the file is for its owner alone', () => {
  meter(2).record(event(1, 'provisioned'));
  now += 5 * HOUR;
  const again = meter();
  expect(shown(again)).toEqual([['dev', 5, 10]]);
  expect(again.report()).toMatchObject({ total: 10, currency: 'EUR', ratePerHour: 2, time: now });
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('meter: an event that comes again is recorded once', () => {
  const made = meter();
  made.record(event(1, 'provisioned'));
  made.record(event(1, 'provisioned'));
  meter().record(event(1, 'provisioned'));
  expect(lines()).toHaveLength(2);
});

test('meter: the default rate is used until another is given, which stays', () => {
  expect(meter().report().ratePerHour).toBe(3.2);
  expect(meter(0.000001).report().ratePerHour).toBe(0.000001);
  expect(meter().report().ratePerHour).toBe(0.000001);
  expect(meter(0.000001).report().ratePerHour).toBe(0.000001);
  expect(lines()).toHaveLength(2);
});

test('meter: a rate that is changed between two runs leaves the past as it was', () => {
  meter(1).record(event(1, 'provisioned'));
  now += 10 * HOUR;
  meter(100);
  now += HOUR;
  expect(shown(meter())).toEqual([['dev', 11, 110]]);
});

test('meter: a crash in the middle of a line loses nothing that was acknowledged, wherever it cuts', () => {
  const made = meter(1);
  made.record(event(1, 'provisioned', 'one'));
  const whole = statSync(file).size;
  made.record(event(2, 'provisioned', 'two'));
  const all = readFileSync(file);
  for (let size = whole; size < all.length; size++) {
    writeFileSync(file, all);
    truncateSync(file, size);
    const after = meter();
    expect(shown(after)).toEqual([['one', 1, 1]]);
    after.record(event(2, 'provisioned', 'two'));
    expect(readFileSync(file)).toEqual(all);
  }
});

test('meter: zeros that a crash left at the end are taken away', () => {
  meter(1).record(event(1, 'provisioned'));
  const before = readFileSync(file, 'utf8');
  appendFileSync(file, Buffer.alloc(300));
  expect(shown(meter())).toEqual([['dev', 1, 1]]);
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('meter: a damaged record is no start, and says which line', () => {
  meter(1).record(event(1, 'provisioned'));
  const [first = '', second = ''] = lines();
  for (const [text, line] of [
    [`${first}\n${second.slice(1)}\n`, 2],
    [`{"kind":"rate","time":1}\n${second}\n`, 1],
    [`${first}\n{"kind":"stolen"}\n`, 2],
    ['\n', 1],
  ] as const) {
    writeFileSync(file, text);
    expect(() => meter()).toThrow(new RegExp(`meter\\.jsonl .*line ${line}`));
    expect(readFileSync(file, 'utf8')).toBe(text);
  }
});

test('meter: what cannot be written is not acknowledged', () => {
  const made = meter(1);
  made.close();
  open = [];
  expect(() => made.record(event(1, 'provisioned'))).toThrow(/cannot be written/);
  expect(made.report().pools).toEqual([]);
  expect(shown(meter())).toEqual([]);
});

test.each([
  ['3.2', 3.2],
  ['0', 0],
  ['0.000001', 0.000001],
  ['1000000', 1_000_000],
  ['1000000.1', undefined],
  ['-1', undefined],
  ['1e3', undefined],
  ['', undefined],
  ['3,2', undefined],
  ['.5', undefined],
  ['1.0000001', undefined],
])('meter: a rate of %j is %p', (written, rate) => {
  expect(rateIn(written)).toBe(rate);
});
