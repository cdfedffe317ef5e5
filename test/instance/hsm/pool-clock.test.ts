import type { Founding } from '../../../src/values/messages.js';
import { PoolClock } from '../../../src/instance/hsm/pool-clock.js';
import { FakeHsm, TENANT } from './fake-hsm.js';

const DAY = 86_400;
const FOUNDING: Founding = {
  tenantId: TENANT,
  administrators: [],
  cryptoUsers: [],
  issuers: [],
  retentionDays: 90,
  purgeProtection: false,
};
const machine = (): number => Math.floor(Date.now() / 1_000);

function startedAt(
  offset: number,
  wish: Partial<Founding> = { movableClock: true },
): { clock: PoolClock; moved: number[] } {
  const hsm = new FakeHsm([], false);
  const clock = new PoolClock(offset, { ...FOUNDING, ...wish });
  clock.follow(hsm.state);
  hsm.found(wish);
  const moved: number[] = [];
  clock.onMoved = () => moved.push(clock.offset);
  return { clock, moved };
}

test('pool clock: it goes with the machine until it is moved, and goes on from there', () => {
  const { clock, moved } = startedAt(0);
  expect(clock.now() - machine()).toBeLessThanOrEqual(1);
  clock.advanceTo(100 * DAY);
  expect(clock.offset).toBe(100 * DAY);
  expect(Math.abs(clock.now() - 100 * DAY - machine())).toBeLessThanOrEqual(1);
  expect(moved).toEqual([100 * DAY]);
});

test('pool clock: one that starts later has the offset from the start', () => {
  const { clock, moved } = startedAt(DAY);
  expect(clock.offset).toBe(DAY);
  expect(moved).toEqual([]);
});

test.each([DAY, DAY - 1, 0, -1, NaN, Infinity, DAY + 0.5, Number.MAX_VALUE])(
  'pool clock: a day ahead, an offset of %d moves nothing',
  (offset) => {
    const { clock, moved } = startedAt(DAY);
    clock.advanceTo(offset);
    expect(clock.offset).toBe(DAY);
    expect(moved).toEqual([]);
  },
);

test('pool clock: in a pool without a movable clock no offset counts, whoever sends it', () => {
  const { clock, moved } = startedAt(DAY, {});
  clock.advanceTo(100 * DAY);
  expect(clock.offset).toBe(0);
  expect(Math.abs(clock.now() - machine())).toBeLessThanOrEqual(1);
  expect(moved).toEqual([]);
});

test('pool clock: the pool that was founded decides, not what the fabric says of its founding later', () => {
  const hsm = new FakeHsm();
  const clock = new PoolClock(DAY, { ...FOUNDING, movableClock: true });
  expect(clock.offset).toBe(DAY); // nothing is known of the pool yet
  clock.follow(hsm.state);
  expect(clock.offset).toBe(0);
  clock.advanceTo(2 * DAY);
  expect(clock.offset).toBe(0);
});
