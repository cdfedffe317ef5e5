import { NO_HISTORY, planRestart } from '../../../src/fabric/healer/plan.js';
import type { End, History, Restart } from '../../../src/fabric/healer/plan.js';

const end = (changes: Partial<End> = {}): End => ({
  livedMs: 1_000,
  served: false,
  damaged: false,
  locked: false,
  member: false,
  ...changes,
});

// One end after the other, each with what the one before has left.
function plans(ends: readonly End[], history: History = NO_HISTORY): Restart[] {
  const made: Restart[] = [];
  for (const each of ends) {
    const plan = planRestart(history, each);
    made.push(plan);
    history = plan.history;
  }
  return made;
}

const times = (count: number, each: End): End[] => Array.from({ length: count }, () => each);

test('plan: what has served is started again at once, on the same directory', () => {
  expect(planRestart(NO_HISTORY, end({ served: true }))).toMatchObject({ waitMs: 0, directory: 'same' });
  expect(planRestart(NO_HISTORY, end({ livedMs: 30_000 }))).toMatchObject({ waitMs: 0, directory: 'same' });
});

test('plan: early ends in a row wait from 250 ms to 30 s, doubling', () => {
  const waits = plans(times(10, end({ member: true }))).map(({ waitMs }) => waitMs);
  expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('plan: serving, or living for long, begins anew', () => {
  for (const good of [end({ served: true }), end({ livedMs: 30_000 })]) {
    const made = plans([end(), end(), good, end(), end(), end()]);
    expect(made.map(({ waitMs }) => waitMs)).toEqual([250, 500, 0, 250, 500, 1_000]);
    expect(made.map(({ directory }) => directory)).toEqual([...times(5, end()).map(() => 'same'), 'aside']);
  }
});

test('plan: a damaged directory is set aside at once', () => {
  expect(planRestart(NO_HISTORY, end({ damaged: true })).directory).toBe('aside');
  expect(planRestart(NO_HISTORY, end({ damaged: true, served: true })).directory).toBe('aside');
});

test('plan: the third early end in a row takes the directory for the cause', () => {
  expect(plans(times(3, end())).map(({ directory }) => directory)).toEqual(['same', 'same', 'aside']);
});

test('plan: what the view counts on is never replaced', () => {
  const ends = times(20, end({ member: true, damaged: true }));
  expect(new Set(plans(ends).map(({ directory }) => directory))).toEqual(new Set(['same']));
});

test('plan: what has been set aside is not given up for what never served', () => {
  const made = plans([...times(6, end()), end({ damaged: true })]).map(({ directory }) => directory);
  expect(made).toEqual(['same', 'same', 'aside', 'same', 'same', 'empty', 'empty']);
});

test('plan: once something has served, it is worth keeping again', () => {
  const made = plans([end({ damaged: true }), end({ served: true }), end({ damaged: true })]);
  expect(made.map(({ directory }) => directory)).toEqual(['aside', 'same', 'aside']);
});

test('plan: a directory that is in use elsewhere is tried again, and proves nothing against it', () => {
  const made = plans(times(9, end({ locked: true })));
  expect(new Set(made.map(({ directory }) => directory))).toEqual(new Set(['same']));
  expect(made.map(({ waitMs }) => waitMs).slice(0, 3)).toEqual([250, 500, 1_000]);
});
