// Randomness from a seed, so that a failure can be had again: set TRIVET_SEED to the seed that it printed.
import { createHash, randomInt } from 'node:crypto';
import type { Random } from '../../src/security-domain/shares.js';

export const seed = process.env['TRIVET_SEED'] ?? String(randomInt(2 ** 40));

/** A stream of its own for every purpose. */
export function seeded(purpose: string): Random {
  let block = 0;
  let held = Buffer.alloc(0);
  return (size) => {
    const parts = [held];
    for (let have = held.length; have < size; have += 64, block += 1) {
      parts.push(createHash('sha512').update(`${seed}/${purpose}/${block}`).digest());
    }
    const bytes = Buffer.concat(parts);
    held = bytes.subarray(size);
    return Uint8Array.from(bytes.subarray(0, size));
  };
}

/** Runs a check; when it fails the seed is told. */
export function withSeed(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
