// The keys of one attempt at a full backup, derived in the slot from the pool's backup-protection key. Whoever has them
// could forge this backup and read records in it, but open no key: those are wrapped by themselves.
import { assert } from '../../../values/assert.js';
import { wipe } from '../../../values/bytes.js';
import type { Hsm } from '../hsm.js';
import { derivation, type Attempt } from './sealing.js';

const PART_KEY_BYTES = 32;

export interface SealingKeys {
  readonly parts: Uint8Array;
  readonly manifest: Uint8Array;
}

/** They are here only while they are used. */
export async function withSealingKeys<T>(
  hsm: Pick<Hsm, 'state' | 'partition'>,
  attempt: Attempt,
  task: (keys: SealingKeys) => Promise<T>,
): Promise<T> {
  const key = hsm.state.get('internal', 'backup-protection');
  assert(key !== undefined, 'a founded pool has its backup-protection key');
  const parts = await hsm.partition.mac(key.sealed, 'HS512', derivation(attempt, 'parts'));
  const manifest = await hsm.partition.mac(key.sealed, 'HS512', derivation(attempt, 'manifest'));
  try {
    return await task({ parts: parts.subarray(0, PART_KEY_BYTES), manifest });
  } finally {
    wipe(parts, manifest);
  }
}
