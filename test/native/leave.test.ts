/** @jest-environment ./test/native/token-environment.cjs */
// A process may end in the middle of native calls, in any way that JavaScript has. TRIVET_LEAVES says how often each.
import { runMany, type Outcome } from './program.js';

const TIMES = Number(process.env['TRIVET_LEAVES'] ?? 10);
const MINUTES = 60_000;

function ends(outcomes: readonly Outcome[]): string[] {
  return [...new Set(outcomes.map(({ code, signal }) => `code ${code ?? '-'}, signal ${signal ?? '-'}`))];
}

test(
  `process.exit with calls in flight: clean, ${TIMES} times`,
  async () => {
    const outcomes = await runMany(TIMES, 'leave.cjs', ['exit']);
    expect(ends(outcomes)).toEqual(['code 0, signal -']);
  },
  5 * MINUTES,
);

test(
  `an uncaught throw with calls in flight: its own exit code and message, ${TIMES} times`,
  async () => {
    const outcomes = await runMany(TIMES, 'leave.cjs', ['throw']);
    expect(ends(outcomes)).toEqual(['code 1, signal -']);
    for (const { stderr } of outcomes) expect(stderr).toContain('thrown on purpose');
  },
  5 * MINUTES,
);

test(
  `close with calls in flight: waits for them, refuses the rest, ${TIMES} times`,
  async () => {
    const outcomes = await runMany(TIMES, 'leave.cjs', ['close']);
    expect(outcomes.map(({ stderr }) => stderr).join('')).toBe('');
    expect(ends(outcomes)).toEqual(['code 0, signal -']);
  },
  5 * MINUTES,
);

test(
  `workers terminated with calls in flight: no crash and no session left behind, ${TIMES} times`,
  async () => {
    const outcomes = await runMany(TIMES, 'terminate.cjs', []);
    expect(outcomes.map(({ stderr }) => stderr).join('')).toBe('');
    expect(ends(outcomes)).toEqual(['code 0, signal -']);
    for (const { stdout } of outcomes) expect(stdout).toBe('clean');
  },
  5 * MINUTES,
);
