// Principals with a role of their own, made over plain REST.
import { randomUUID } from 'node:crypto';
import type { Client, Credentials, TestPool } from '../scenarios/pool.js';

const AUTHORIZATION = '/providers/Microsoft.Authorization';
const ACTION = 'Microsoft.KeyVault/managedHsm/';

/** The operations that need a key and not the right to see it. */
export const USING: readonly string[] = [
  'keys/encrypt/action',
  'keys/decrypt/action',
  'keys/wrap/action',
  'keys/unwrap/action',
  'keys/sign/action',
  'keys/verify/action',
];

/** A new principal that may do these and nothing else, on the whole pool. */
export async function principalWith(
  pool: TestPool,
  administrator: Client,
  name: string,
  actions: readonly string[],
): Promise<Credentials> {
  const principal = pool.addPrincipal(name);
  const role = randomUUID();
  const dataActions = actions.map((action) => `${ACTION}${action}`);
  await make(administrator, `roleDefinitions/${role}`, { roleName: name, permissions: [{ dataActions }] });
  await make(administrator, `roleAssignments/${randomUUID()}`, {
    roleDefinitionId: `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${role}`,
    principalId: principal.objectId,
  });
  return principal;
}

async function make(administrator: Client, what: string, properties: unknown): Promise<void> {
  const { status, text } = await administrator.call('PUT', `${AUTHORIZATION}/${what}`, { properties });
  if (status !== 201) throw new Error(`${what}: ${status} ${text}`);
}
