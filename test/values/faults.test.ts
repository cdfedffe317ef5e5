// Faults as somebody writes them: what is taken, and what is said of what is wrong.
import { CKR } from '../../src/instance/pkcs11/constants.js';
import { FaultsMalformed, readFaults, slotFaultCodes, type FaultRule } from '../../src/values/faults.js';

const SEED = 7;
const read = (written: unknown) => readFaults(written, () => SEED);
const readRule = (rule: unknown): FaultRule | undefined => read({ rules: [rule] }).rules[0];

test('faults: each kind of rule is taken as it is written', () => {
  const rules = [
    { operations: ['KeySign', 'KeyCreate'], partitions: [0, 2], latency: { kind: 'constant', ms: 5 } },
    { latency: { kind: 'uniform', minMs: 1, maxMs: 1 } },
    { latency: { kind: 'normal', meanMs: 10, deviationMs: 2 } },
    { latency: { kind: 'exponential', meanMs: 10 } },
    { error: { rate: 0.5, status: 503, code: 'Busy', message: 'later', retryAfterSeconds: 3 } },
    { error: { rate: 1, pkcs11: 'CKR_DEVICE_ERROR' } },
    { throttle: { perSecond: 2.5, retryAfterSeconds: 4 } },
    { link: { between: [0, 1], cut: true } },
    { link: { between: [2, 1], delayMs: 20 } },
    { fullDisk: { partitions: [1] } },
    { performance: 'published' },
  ];
  expect(read({ rules, seed: 3 })).toEqual({ rules, seed: 3 });
});

test('faults: without a seed one is made, and a throttle asks to come back after a second', () => {
  expect(read({ rules: [{ throttle: { perSecond: 1 } }] })).toEqual({
    rules: [{ throttle: { perSecond: 1, retryAfterSeconds: 1 } }],
    seed: SEED,
  });
});

test.each([
  [undefined, /^the faults: /],
  [[], /^the faults: /],
  [{ rules: {} }, /^rules: /],
  [{ rules: [], sead: 1 }, /^the faults: .*sead/],
  [{ rules: [], seed: -1 }, /^seed: /],
  [{ rules: ['slow'] }, /^rules\.0: /],
  [{ rules: [{}] }, /^rules\.0: a rule has a latency/],
  [{ rules: [{ operations: ['KeySign'] }] }, /^rules\.0: a rule has a latency/],
])('faults: %j is refused', (written, words) => {
  expect(() => read(written)).toThrow(FaultsMalformed);
  expect(() => read(written)).toThrow(words);
});

test.each([
  [{ latency: { kind: 'constant', ms: -1 } }, /^rules\.0\.latency\.ms: /],
  [{ latency: { kind: 'constant', ms: 60_001 } }, /^rules\.0\.latency\.ms: /],
  [{ latency: { kind: 'pareto', meanMs: 1 } }, /^rules\.0\.latency\.kind: /],
  [
    { latency: { kind: 'uniform', minMs: 2, maxMs: 1 } },
    /^rules\.0\.latency\.maxMs: must not be below minMs/,
  ],
  [{ error: { rate: 1.1, status: 500 } }, /^rules\.0\.error\.rate: /],
  [{ error: { rate: 1, status: 200 } }, /^rules\.0\.error\.status: /],
  [{ error: { rate: 1, pkcs11: 'CKR_NO_SUCH' } }, /^rules\.0\.error\.pkcs11: /],
  [{ error: { rate: 1, pkcs11: 'CKR_OK' } }, /^rules\.0\.error\.pkcs11: /],
  [{ error: { rate: 1 } }, /^rules\.0\.error\.status: /],
  [{ operations: ['Sign'], latency: { kind: 'constant', ms: 1 } }, /^rules\.0\.operations\.0: /],
  [{ operations: ['Unknown'], latency: { kind: 'constant', ms: 1 } }, /^rules\.0\.operations\.0: /],
  [{ partitions: [3], latency: { kind: 'constant', ms: 1 } }, /^rules\.0\.partitions\.0: /],
  [{ throttle: { perSecond: 0 } }, /^rules\.0\.throttle\.perSecond: /],
  [{ link: { between: [1, 1], cut: true } }, /^rules\.0\.link\.between: a link is between two/],
  [{ link: { between: [0, 1] } }, /^rules\.0\.link: a link is cut/],
  [{ fullDisk: { partitions: [] } }, /^rules\.0\.fullDisk\.partitions: /],
  [{ performance: 'best' }, /^rules\.0\.performance: /],
  [{ latencies: { kind: 'constant', ms: 1 } }, /^rules\.0: .*latencies/],
])('faults: the rule %j is refused, and the member named', (rule, words) => {
  expect(() => readRule(rule)).toThrow(words);
});

test('faults: every return code that can be asked for is one of PKCS #11', () => {
  expect(slotFaultCodes.filter((code) => !(code.replace(/^CKR_/, '') in CKR))).toEqual([]);
});
