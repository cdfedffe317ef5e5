// Assignments that a pool is founded with.
import { assert } from '../../../values/assert.js';
import { put, type Change } from '../state.js';
import type { Grant } from './records.js';

/**
 * Assignments at `/` for each pair of principal and role, named in order by `names` (GUIDs). For an empty state only:
 * what a principal already has is not read.
 */
export function assign(
  wished: (readonly [principalId: string, roleDefinitionId: string])[],
  names: readonly string[],
): Change[] {
  assert(names.length >= wished.length, 'one name for each assignment');
  const changes: Change[] = [];
  const grants = new Map<string, Grant[]>();
  wished.forEach(([principalId, roleDefinitionId], place) => {
    const name = names[place] ?? '';
    changes.push(put('assignments', name, { name, principalId, roleDefinitionId, scope: '/' }));
    const held = grants.get(principalId) ?? [];
    held.push({ roleDefinitionId, scope: '/' });
    grants.set(principalId, held);
  });
  for (const [principalId, held] of grants) changes.push(put('grants', principalId, { grants: held }));
  return changes;
}
