// The pure half of faults on request: rules, dice and time against what comes of them.
import { randomInt } from 'node:crypto';
import { FaultJudge, diceOf, sampleMs } from '../../../src/instance/faults/judge.js';
import type { FaultRule, Latency } from '../../../src/values/faults.js';
import type { KeySpec } from '../../../src/values/key-spec.js';

const SPEC: KeySpec = { kty: 'RSA-HSM', size: 2048, exponent: 65_537 };
const noSpec = (): undefined => undefined;

const judgeOf = (rules: readonly FaultRule[], instance = 0, seed = 1): FaultJudge =>
  new FaultJudge({ rules, seed }, instance);

test('judge: without a rule nothing is suffered', () => {
  const judge = judgeOf([]);
  expect(judge.request('KeySign', noSpec, 0)).toEqual({ delayMs: 0 });
  expect(judge.slot('KeySign')).toBeUndefined();
  expect(judge.link(1)).toEqual({ cut: false, delayMs: 0 });
  expect(judge.diskFull).toBe(false);
});

test('judge: a rule is for its operations and partitions alone', () => {
  const rule: FaultRule = {
    operations: ['KeySign'],
    partitions: [1],
    latency: { kind: 'constant', ms: 40 },
    error: { rate: 1, status: 500 },
  };
  const hit = {
    delayMs: 40,
    answer: { status: 500, code: 'InternalError', message: 'A fault that was asked for' },
  };
  expect(judgeOf([rule], 1).request('KeySign', noSpec, 0)).toEqual(hit);
  expect(judgeOf([rule], 1).request('KeyVerify', noSpec, 0)).toEqual({ delayMs: 0 });
  expect(judgeOf([rule], 0).request('KeySign', noSpec, 0)).toEqual({ delayMs: 0 });
});

test('judge: latencies add up, and the first error counts', () => {
  const judge = judgeOf([
    { latency: { kind: 'constant', ms: 10 }, error: { rate: 0, status: 500 } },
    { latency: { kind: 'constant', ms: 5 }, error: { rate: 1, status: 503, retryAfterSeconds: 2 } },
    { error: { rate: 1, status: 418, code: 'Teapot', message: 'short and stout' } },
  ]);
  expect(judge.request('KeyGet', noSpec, 0)).toEqual({
    delayMs: 15,
    answer: { status: 503, code: 'ServiceUnavailable', message: 'A fault that was asked for', retryAfter: 2 },
  });
});

test('judge: an error of a rate meets about as many requests, the same ones with the same seed', () => {
  const seed = randomInt(2 ** 32);
  const outcomes = (instance: number, of = seed): number[] => {
    const judge = judgeOf([{ error: { rate: 0.25, status: 500 } }], instance, of);
    return Array.from({ length: 2_000 }, () => (judge.request('KeyGet', noSpec, 0).answer ? 1 : 0));
  };
  const hits = outcomes(0).reduce((sum, hit) => sum + hit, 0);
  // Six standard deviations of a binomial distribution.
  if (Math.abs(hits - 500) > 6 * Math.sqrt(2_000 * 0.25 * 0.75))
    throw new Error(`${hits} hits, seed ${seed}`);
  expect(outcomes(0)).toEqual(outcomes(0));
  expect(outcomes(0)).not.toEqual(outcomes(1));
  expect(outcomes(0)).not.toEqual(outcomes(0, (seed + 1) % 2 ** 32));
});

test('judge: what one rule is asked changes nothing for another', () => {
  const rules: FaultRule[] = [
    { operations: ['KeyGet'], error: { rate: 0.5, status: 500 } },
    { operations: ['KeySign'], error: { rate: 0.5, status: 500 } },
  ];
  const signs = (busy: boolean): boolean[] => {
    const judge = judgeOf(rules, 0, 99);
    return Array.from({ length: 50 }, () => {
      if (busy) judge.request('KeyGet', noSpec, 0);
      return judge.request('KeySign', noSpec, 0).answer !== undefined;
    });
  };
  expect(signs(true)).toEqual(signs(false));
});

test.each<[Latency, number, number]>([
  [{ kind: 'constant', ms: 30 }, 30, 0],
  [{ kind: 'uniform', minMs: 10, maxMs: 50 }, 30, 40 / Math.sqrt(12)],
  [{ kind: 'normal', meanMs: 100, deviationMs: 10 }, 100, 10],
  [{ kind: 'exponential', meanMs: 20 }, 20, 20],
])('judge: %j has the mean and the deviation that it says', (latency, mean, deviation) => {
  const seed = randomInt(2 ** 32);
  const dice = diceOf(seed);
  const count = 20_000;
  const samples = Array.from({ length: count }, () => sampleMs(latency, dice));
  const found = samples.reduce((sum, one) => sum + one, 0) / count;
  const spread = Math.sqrt(samples.reduce((sum, one) => sum + (one - found) ** 2, 0) / count);
  const slack = (6 * deviation) / Math.sqrt(count);
  if (Math.abs(found - mean) > slack + 1e-9 || Math.abs(spread - deviation) > 3 * slack + 1e-9) {
    throw new Error(`mean ${found}, deviation ${spread}, seed ${seed}`);
  }
});

test('judge: a latency is never below nothing, and never above a minute', () => {
  const dice = diceOf(5);
  const samples = Array.from({ length: 1_000 }, () =>
    sampleMs({ kind: 'normal', meanMs: 30_000, deviationMs: 60_000 }, dice),
  );
  expect(Math.min(...samples)).toBe(0);
  expect(Math.max(...samples)).toBe(60_000);
});

test('judge: a throttle lets as many through as it says, and says when to come back', () => {
  const judge = judgeOf([{ operations: ['KeySign'], throttle: { perSecond: 2, retryAfterSeconds: 9 } }]);
  const at = (ms: number): number | undefined => judge.request('KeySign', noSpec, ms).answer?.status;
  expect([at(0), at(0), at(0), at(499)]).toEqual([undefined, undefined, 429, 429]);
  // A request that is refused takes nothing: half a second after the first two there is room for one.
  expect([at(500), at(501)]).toEqual([undefined, 429]);
  expect(judge.request('KeyGet', noSpec, 501)).toEqual({ delayMs: 0 });
  expect(judge.request('KeySign', noSpec, 501).answer).toMatchObject({ code: 'Throttled', retryAfter: 9 });
  // However long nobody came: no more at once than in a second.
  expect([at(90_000), at(90_000), at(90_000)]).toEqual([undefined, undefined, 429]);
});

test('judge: the slot fails where a rule says so, for an operation or for whatever it is asked', () => {
  const named = judgeOf([{ operations: ['KeySign'], error: { rate: 1, pkcs11: 'CKR_DEVICE_ERROR' } }]);
  expect([named.slot('KeySign'), named.slot('KeyDecrypt'), named.slot(undefined)]).toEqual([
    'CKR_DEVICE_ERROR',
    undefined,
    undefined,
  ]);
  // No answer of HTTP comes of it by itself.
  expect(named.request('KeySign', noSpec, 0)).toEqual({ delayMs: 0 });
  expect(judgeOf([{ error: { rate: 1, pkcs11: 'CKR_DEVICE_REMOVED' } }]).slot(undefined)).toBe(
    'CKR_DEVICE_REMOVED',
  );
});

test('judge: links are harmed at both ends, and disks where they are named', () => {
  const rules: FaultRule[] = [
    { link: { between: [0, 1], cut: true } },
    { link: { between: [2, 1], delayMs: 30 } },
    { link: { between: [1, 2], delayMs: 12 } },
    { fullDisk: { partitions: [2] } },
  ];
  const [zero, one, two] = [0, 1, 2].map((instance) => judgeOf(rules, instance));
  const sound = { cut: false, delayMs: 0 };
  expect([zero?.link(1), zero?.link(2)]).toEqual([{ cut: true, delayMs: 0 }, sound]);
  expect([one?.link(0), one?.link(2)]).toEqual([
    { cut: true, delayMs: 0 },
    { cut: false, delayMs: 42 },
  ]);
  expect([two?.link(0), two?.link(1)]).toEqual([sound, { cut: false, delayMs: 42 }]);
  expect([zero?.diskFull, one?.diskFull, two?.diskFull]).toEqual([false, false, true]);
});

test('judge: at published performance operations of one kind wait for each other, and others do not', () => {
  const judge = judgeOf([{ performance: 'published' }]);
  const wait = (operation: 'KeyCreate' | 'KeySign' | 'KeyList', ms: number): number =>
    judge.request(operation, () => SPEC, ms).delayMs;
  // One key a second.
  expect([wait('KeyCreate', 0), wait('KeyCreate', 0), wait('KeyCreate', 500)]).toEqual([0, 1_000, 1_500]);
  expect(wait('KeyCreate', 10_000)).toBe(0);
  // 900 signatures a second with RSA of 2048 bits: the tenth of a batch waits for nine.
  const waits = Array.from({ length: 10 }, () => wait('KeySign', 20_000));
  expect(waits.at(-1)).toBeCloseTo(9_000 / 900, 6);
  // Nothing is published of lists.
  expect([wait('KeyList', 20_000), wait('KeyList', 20_000)]).toEqual([0, 0]);
});
