import { RequestCounts } from '../../../src/instance/api/request-counts.js';
import { BUCKETS } from '../../../src/values/figures.js';

test('requests: counted by operation and result', () => {
  const counts = new RequestCounts();
  counts.add('KeySign', 200, 0.002);
  counts.add('KeySign', 202, 0.003);
  counts.add('KeySign', 403, 0.001);
  counts.add('KeyGet', 503, 0.001);
  expect(counts.figures().map(({ operation, result, count }) => [operation, result, count])).toEqual([
    ['KeySign', 'success', 2],
    ['KeySign', 'refused', 1],
    ['KeyGet', 'failed', 1],
  ]);
  expect(counts.figures()[0]?.seconds).toBeCloseTo(0.005);
});

test('requests: a bucket holds what took no longer than its bound, and those before it', () => {
  const counts = new RequestCounts();
  for (const seconds of [0.0005, 0.0006, 0.1, 11]) counts.add('KeySign', 200, seconds);
  const [figures] = counts.figures();
  const of = (bound: (typeof BUCKETS)[number]) => figures?.buckets[BUCKETS.indexOf(bound)];
  expect([of(0.0005), of(0.001), of(0.05), of(0.1), of(10), figures?.count]).toEqual([1, 2, 2, 3, 3, 4]);
});
