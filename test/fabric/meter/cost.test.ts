import fc from 'fast-check';
import { costs, isNews } from '../../../src/fabric/meter/cost.js';
import type { MeterEvent, MeterRecord, RateSet } from '../../../src/fabric/meter/cost.js';

const HOUR = 3_600;
const START = 1_800_000_000;

function happened(
  kind: 'provisioned' | 'softDeleted' | 'recovered' | 'purged',
  at: number,
  pool = 'a',
): MeterEvent {
  return {
    sequence: at * 1_000 + kind.length + pool.charCodeAt(0),
    kind,
    poolId: pool,
    name: 'dev',
    resourceId: '/subscriptions/s/managedHSMs/dev',
    location: 'local',
    time: START + at,
  };
}

const region = (kind: 'regionAdded' | 'regionRemoved', at: number, name = 'west'): MeterEvent => ({
  sequence: 5_000_000 + at,
  kind,
  poolId: 'a',
  region: name,
  time: START + at,
});

const rate = (euro: number, at: number): RateSet => ({
  kind: 'rate',
  time: START + at,
  microsPerHour: Math.round(euro * 1_000_000),
});

const costOf = (records: readonly MeterRecord[], at: number): unknown[] =>
  costs(records, START + at).map(({ name, state, hours, cost }) => [name, state, hours, cost]);

test.each([
  [0, 1],
  [1, 1],
  [HOUR, 1],
  [HOUR + 1, 2],
  [24 * HOUR, 24],
  [24 * HOUR + 1, 25],
])('meter: after %d seconds %d hours have begun', (seconds, hours) => {
  expect(costOf([rate(2, 0), happened('provisioned', 0)], seconds)).toEqual([
    ['dev', 'Provisioned', hours, 2 * hours],
  ]);
});

test('meter: soft-deleted time is charged like any other, until purge and no longer', () => {
  const records = [rate(3.2, 0), happened('provisioned', 0), happened('softDeleted', 10 * HOUR)];
  expect(costOf(records, 100 * HOUR)).toEqual([['dev', 'SoftDeleted', 100, 320]]);
  records.push(happened('recovered', 100 * HOUR));
  expect(costOf(records, 101 * HOUR)).toEqual([['dev', 'Provisioned', 101, 323.2]]);
  records.push(happened('softDeleted', 102 * HOUR), happened('purged', 110 * HOUR + 1));
  expect(costOf(records, 10_000 * HOUR)).toEqual([['dev', 'Purged', 111, 355.2]]);
  expect(costs(records, START + 10_000 * HOUR)[0]).toMatchObject({
    provisioned: START,
    purged: START + 110 * HOUR + 1,
  });
});

test('meter: a name that is used again is an entry of its own', () => {
  const records = [
    rate(1, 0),
    happened('provisioned', 0, 'a'),
    happened('purged', HOUR, 'a'),
    happened('provisioned', 5 * HOUR, 'b'),
  ];
  expect(costOf(records, 7 * HOUR)).toEqual([
    ['dev', 'Purged', 1, 1],
    ['dev', 'Provisioned', 2, 2],
  ]);
});

test('meter: a new rate counts for hours that begin after it, and for none before', () => {
  const records = [rate(1, 0), happened('provisioned', 0), rate(10, 2 * HOUR + 1)];
  // Three hours had begun.
  expect(costOf(records, 3 * HOUR)).toEqual([['dev', 'Provisioned', 3, 3]]);
  expect(costOf(records, 5 * HOUR)).toEqual([['dev', 'Provisioned', 5, 23]]);
  records.push(rate(0, 5 * HOUR));
  expect(costOf(records, 50 * HOUR)).toEqual([['dev', 'Provisioned', 50, 23]]);
});

test('meter: amounts are exact', () => {
  const records = [rate(0.1, 0), happened('provisioned', 0)];
  expect(costOf(records, 3 * HOUR)).toEqual([['dev', 'Provisioned', 3, 0.3]]);
});

test('meter: every region is charged, from when it is added until it is removed', () => {
  const records = [
    rate(1, 0),
    happened('provisioned', 0),
    region('regionAdded', 10 * HOUR),
    region('regionRemoved', 12 * HOUR + 1),
  ];
  expect(costOf(records, 20 * HOUR)).toEqual([['dev', 'Provisioned', 23, 23]]);
  records.push(region('regionAdded', 20 * HOUR), happened('purged', 21 * HOUR));
  expect(costOf(records, 99 * HOUR)).toEqual([['dev', 'Purged', 25, 25]]);
});

test('meter: a clock that was set back makes nothing negative', () => {
  const records = [rate(1, 0), happened('provisioned', 10 * HOUR), happened('purged', 0)];
  expect(costOf(records, 0)).toEqual([['dev', 'Purged', 1, 1]]);
});

test('meter: what was told before is no news, in whatever order it comes again', () => {
  const life = [
    happened('provisioned', 0),
    happened('softDeleted', 1),
    happened('recovered', 2),
    happened('softDeleted', 3),
    happened('purged', 4),
    happened('provisioned', 5, 'b'),
  ];
  const told = fc.array(fc.nat(life.length - 1), { maxLength: 30 });
  fc.assert(
    fc.property(fc.nat(life.length), told, (first, again) => {
      const records: MeterRecord[] = [];
      const tell = (event: MeterEvent): void => {
        if (isNews(records, event)) records.push(event);
      };
      // A crash after `first` events; then some of those come again before the rest.
      life.slice(0, first).forEach(tell);
      for (const place of again) {
        const event = life[place];
        if (event && place < first) tell(event);
      }
      life.slice(first).forEach(tell);
      expect(records).toEqual(life);
    }),
  );
});

test('meter: what cannot be is no news', () => {
  const purged = [happened('provisioned', 0), happened('purged', 1)];
  expect(isNews(purged, happened('recovered', 2))).toBe(false);
  expect(isNews(purged, { ...happened('purged', 2) })).toBe(false);
  expect(isNews([], happened('purged', 2))).toBe(false);
  const live = [happened('provisioned', 0)];
  expect(isNews(live, happened('recovered', 2))).toBe(false);
  expect(isNews(live, happened('provisioned', 2))).toBe(false);
  expect(isNews(live, region('regionRemoved', 2, ''))).toBe(false);
});

test('meter: a pool whose beginning is not known is charged from the first that is heard of it', () => {
  const records = [rate(1, 0), happened('softDeleted', HOUR)];
  expect(isNews([], happened('softDeleted', HOUR))).toBe(true);
  expect(costOf(records, 3 * HOUR)).toEqual([['dev', 'SoftDeleted', 2, 2]]);
});
