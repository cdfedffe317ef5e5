// The text is read by a parser of its own here, not by the library that wrote it.
import { scrape } from '../../../src/fabric/control/metrics.js';
import type { MeasuredPool } from '../../../src/fabric/control/metrics.js';
import { BUCKETS } from '../../../src/values/figures.js';
import type { InstanceFigures } from '../../../src/values/figures.js';

const figures = (committed: number): InstanceFigures => ({
  requests: [
    {
      operation: 'KeySign',
      result: 'success',
      count: 3,
      seconds: 0.5,
      buckets: BUCKETS.map((bound) => (bound < 0.1 ? 1 : 3)),
    },
  ],
  connections: 2,
  committed,
  undecided: 1,
  keys: 5,
  openKeys: 4,
  storeBytes: 1_000,
  auditBytes: 2_000,
  cpuSeconds: 1.5,
  residentBytes: 9_000,
});

function pool(name: string, reason?: string): MeasuredPool {
  const place = (id: number, role: 'primary' | 'backup') => ({
    id,
    pid: 1,
    role,
    inSync: true,
    uri: '',
    restarts: 0,
  });
  const lost = { id: 2, pid: null, role: 'down', inSync: false, uri: null, restarts: 4, reason } as const;
  return {
    status: () => ({
      name,
      uri: '',
      activation: 'Active',
      ownerFingerprint: null,
      epoch: 7,
      instances: [
        place(0, 'primary'),
        place(1, 'backup'),
        reason === undefined ? place(2, 'backup') : { ...lost, reason },
      ],
    }),
    care: () => [0, 1, 2].map((ends) => ({ ends, heals: ends, healSeconds: ends * 1.5 })),
    figures: () =>
      Promise.resolve([
        { instance: 0, figures: figures(40) },
        { instance: 1, figures: figures(38) },
      ]),
  };
}

/** Value by name and labels, as they stand in the text. */
function read(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]),
  );
}

test('metrics: what is lost is seen, with the reason', async () => {
  const { text, type } = await scrape([pool('dev', 'its "disk"\nis full')]);
  const found = read(text);
  expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(found.get('trivet_pool_in_sync{pool="dev"}')).toBe('2');
  expect(found.get('trivet_instance_up{pool="dev",instance="2"}')).toBe('0');
  expect(found.get('trivet_instance_primary{pool="dev",instance="0"}')).toBe('1');
  expect(found.get('trivet_instance_starts_again_total{pool="dev",instance="2"}')).toBe('4');
  expect(found.get('trivet_instance_heal_seconds_total{pool="dev",instance="2"}')).toBe('3');
  expect(text).toContain(
    'trivet_instance_down_info{pool="dev",instance="2",reason="its \\"disk\\"\\nis full"} 1\n',
  );
  expect(found.get('trivet_replication_lag_entries{pool="dev",instance="1"}')).toBe('2');
});

test('metrics: requests and their durations, as a histogram that ends with all of them', async () => {
  const found = read((await scrape([pool('dev')])).text);
  const labels = 'pool="dev",instance="1",operation="KeySign",result="success"';
  expect(found.get(`trivet_requests_total{${labels}}`)).toBe('3');
  const bucket = (le: string) =>
    found.get(
      `trivet_request_duration_seconds_bucket{le="${le}",pool="dev",instance="1",operation="KeySign",result="success"}`,
    ) ?? found.get(`trivet_request_duration_seconds_bucket{${labels},le="${le}"}`);
  expect([bucket('0.05'), bucket('0.1'), bucket('+Inf')]).toEqual(['1', '3', '3']);
  expect(found.get(`trivet_request_duration_seconds_sum{${labels}}`)).toBe('0.5');
  expect(found.get(`trivet_request_duration_seconds_count{${labels}}`)).toBe('3');
});

test('metrics: pools stand beside each other and are not added up', async () => {
  const { text } = await scrape([pool('one'), pool('two')]);
  const found = read(text);
  expect([found.get('trivet_pool_epoch{pool="one"}'), found.get('trivet_pool_epoch{pool="two"}')]).toEqual([
    '7',
    '7',
  ]);
  expect(text.match(/# TYPE trivet_pool_epoch /g)).toHaveLength(1);
});
