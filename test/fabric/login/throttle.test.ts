import { Narrow, Throttle } from '../../../src/fabric/login/throttle.js';

test('throttle: a few mistakes are free, then each doubles the wait, up to a minute', () => {
  const throttle = new Throttle();
  const waits = Array.from({ length: 14 }, () => {
    throttle.failed('x', 0);
    return throttle.wait('x', 0);
  });
  expect(waits).toEqual([
    0,
    0,
    0,
    0,
    1_000,
    2_000,
    4_000,
    8_000,
    16_000,
    32_000,
    ...Array<number>(4).fill(60_000),
  ]);
  expect(throttle.wait('x', 59_999)).toBe(1);
  expect(throttle.wait('x', 60_000)).toBe(0);
  expect(throttle.wait('y', 0)).toBe(0);
});

test('throttle: a right secret clears the record', () => {
  const throttle = new Throttle();
  for (let n = 0; n < 9; n += 1) throttle.failed('x', 0);
  throttle.succeeded('x');
  expect(throttle.wait('x', 0)).toBe(0);
});

test('throttle: it remembers the newest thousand offenders', () => {
  const throttle = new Throttle();
  for (let n = 0; n < 1_025; n += 1) for (let times = 0; times < 5; times += 1) throttle.failed(`${n}`, 0);
  expect(throttle.wait('0', 0)).toBe(0);
  expect(throttle.wait('1', 0)).toBe(1_000);
  expect(throttle.wait('1024', 0)).toBe(1_000);
});

test('narrow: so many run, so many wait, the rest is refused, and failures free their place', async () => {
  const narrow = new Narrow(2, 1);
  const ends: (() => void)[] = [];
  const task = (): Promise<string> => new Promise((resolve) => ends.push(() => resolve('done')));
  const running = [narrow.run(task), narrow.run(task)];
  const waiting = narrow.run(() => Promise.reject(new Error('fails')));
  expect(await narrow.run(task)).toBeUndefined();
  expect(ends).toHaveLength(2);
  ends.forEach((end) => end());
  expect(await Promise.all(running)).toEqual(['done', 'done']);
  await expect(waiting).rejects.toThrow('fails');
  expect(await narrow.run(() => Promise.resolve('again'))).toBe('again');
});
