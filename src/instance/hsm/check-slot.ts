// Whether the slot still does its work. A token can break while it is open: keys that are open go on, no other can be
// opened, and nothing right comes of it any more.
import type { State } from '../model/state.js';
import type { Partition } from '../partition/partition.js';

/**
 * Opens a key of the pool anew; does nothing in a pool that is not founded yet.
 * @throws when it does not open: the instance must end, to begin again on another copy of its token.
 */
export async function checkSlot(state: State, partition: Pick<Partition, 'prove'>): Promise<void> {
  const owner = state.get('internal', 'owner');
  if (!owner) return;
  try {
    await partition.prove(owner.sealed);
  } catch (cause) {
    throw new Error('the token does not open the keys of the pool any more', { cause });
  }
}
