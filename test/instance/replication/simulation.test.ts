// Random histories of three members. A failure names its seed; SIMULATION_SEED=<seed> plays that one again, and
// SIMULATION_HISTORIES=<n> plays more of them.
import { randomInt } from 'node:crypto';
import { simulate, type Tally } from './simulator.js';

const HISTORIES = Number(process.env['SIMULATION_HISTORIES'] ?? 60);
const STEPS = 1_500;

function seeds(): number[] {
  const given = process.env['SIMULATION_SEED'];
  if (given !== undefined) return [Number(given)];
  return Array.from({ length: HISTORIES }, () => randomInt(0x7fffffff));
}

function played(seed: number): Tally {
  try {
    return simulate(seed, STEPS);
  } catch (error) {
    throw new Error(`SIMULATION_SEED=${seed}: ${error instanceof Error ? error.message : ''}`, {
      cause: error,
    });
  }
}

test('replica: with links cut, members crashing, dropped and joining at random, nothing acknowledged is lost and nothing refused happens', () => {
  const tallies = seeds().map(played);
  const sum = (what: keyof Tally) => tallies.reduce((total, tally) => total + tally[what], 0);
  // A simulation in which nothing happens would prove nothing.
  for (const what of ['committed', 'refused', 'tooFew', 'unknown', 'withdrawn', 'cuts', 'views'] as const)
    expect([what, sum(what) > 0]).toEqual([what, true]);
});

test('replica: a history is the same whenever its seed is played', () => {
  expect(simulate(7, STEPS)).toEqual(simulate(7, STEPS));
});
