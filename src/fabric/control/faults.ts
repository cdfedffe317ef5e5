// Faults on request, in pools that were made for them: shows and changes what a pool suffers. Answers when each living
// instance does.
import { randomInt } from 'node:crypto';
import { FaultsMalformed, readFaults, type FaultSettings } from '../../values/faults.js';
import type { Pool } from '../pools/pool.js';
import { ControlRefusal } from './errors.js';

/** An instance that runs takes new rules in milliseconds. */
const PATIENCE_MS = 5_000;
const SEEDS = 2 ** 32;

/** What a pool suffers now. Throws a {@link ControlRefusal} when it was not made for that. */
export function faultsOf(pool: Pool): FaultSettings {
  const { faults } = pool.orders;
  if (faults) return faults;
  throw new ControlRefusal(
    'Conflict',
    `Pool ${pool.name} suffers no faults on request: only pools that were created with --faults do. ` +
      'Make one with: trivet up --faults --data-dir DIRECTORY, on an empty directory.',
  );
}

/** Puts all rules in the place of those before. */
export async function changeFaults(pool: Pool, wish: unknown): Promise<FaultSettings> {
  faultsOf(pool);
  let faults: FaultSettings;
  try {
    faults = readFaults(wish, () => randomInt(SEEDS));
  } catch (error) {
    if (!(error instanceof FaultsMalformed)) throw error;
    throw new ControlRefusal('BadRequest', `The faults were not changed: ${error.message}.`);
  }
  const silent = await pool.orders.setFaults(faults, PATIENCE_MS);
  if (silent.length > 0) {
    const names = silent.map(({ instance, paused }) => `${instance}${paused ? ' (paused)' : ''}`).join(', ');
    throw new ControlRefusal(
      'NotConfirmed',
      `The faults were changed and stay so, but within ${PATIENCE_MS / 1_000} s there was no word from partition ` +
        `${names}, which suffers them when it hears of them.`,
    );
  }
  return faultsOf(pool);
}

/** Ends all of them. */
export function clearFaults(pool: Pool): Promise<FaultSettings> {
  return changeFaults(pool, { rules: [], seed: 0 });
}
