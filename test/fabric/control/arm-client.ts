// A plain client of the resource manager, for tests: knows the paths and waits for what takes longer.
import type { Answer, FabricAt } from '../programs/started-fabric.js';
import { eventually } from '../programs/fake-pool.js';

export const VERSION = 'api-version=2022-07-01';

export interface Arm {
  /** `path` is below the subscription; an api-version is added. */
  ask(method: string, path: string, body?: unknown): Promise<Answer>;
  /** The same for a whole path that has its query already. */
  raw(method: string, path: string, body?: unknown): Promise<Answer>;
  /** Asks at an answer's Location until it is no 202 any more. */
  ended(answer: Answer): Promise<Answer>;
  /** What a new HSM is wished for with. */
  hsm(changes?: Record<string, unknown>, properties?: Record<string, unknown>): Record<string, unknown>;
  readonly subscription: string;
}

export const HSMS = '/resourceGroups/trivet/providers/Microsoft.KeyVault/managedHSMs';
export const KEY_VAULT = '/providers/Microsoft.KeyVault';

/** As the administrator, unless a token is given. */
export async function armClient(started: FabricAt, token?: string): Promise<Arm> {
  const { tenantId, subscriptionId } = started.status;
  const headers = {
    Authorization: `Bearer ${token ?? (await started.token())}`,
    'Content-Type': 'application/json',
  };
  const raw: Arm['raw'] = (method, path, body) =>
    started.ask(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const subscription = `/subscriptions/${subscriptionId}`;
  return {
    subscription,
    raw,
    ask: (method, path, body) =>
      raw(method, `${subscription}${path}${path.includes('?') ? '&' : '?'}${VERSION}`, body),
    ended: async (answer) => {
      expect([answer.status, answer.text]).toEqual([202, '']);
      let last = answer;
      await eventually(async () => {
        const { pathname, search } = new URL(String(answer.headers.location));
        last = await raw('GET', `${pathname}${search}`);
        return last.status !== 202;
      });
      return last;
    },
    hsm: (changes = {}, properties = {}) => ({
      location: 'local',
      sku: { family: 'B', name: 'Standard_B1' },
      ...changes,
      properties: { tenantId, initialAdminObjectIds: [started.admin.objectId], ...properties },
    }),
  };
}

/** A token of a new principal with these roles; each is a role's id and a scope below the subscription. */
export async function somebody(
  started: FabricAt,
  name: string,
  roles: readonly (readonly [role: string, scope: string])[],
): Promise<{ readonly objectId: string; readonly token: string }> {
  const admin = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  const { json } = await started.ask('/trivet/principals', {
    method: 'POST',
    headers: admin,
    body: JSON.stringify({ name }),
  });
  const { clientId, clientSecret, objectId } = json as Record<string, string>;
  const arm = await armClient(started);
  for (const [role, scope] of roles) {
    const path = `${scope}/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}`;
    const body = { properties: { roleDefinitionId: role, principalId: objectId } };
    expect((await arm.ask('PUT', path, body)).status).toBe(201);
  }
  const form = {
    grant_type: 'client_credentials',
    client_id: String(clientId),
    client_secret: String(clientSecret),
    scope: `${started.base}/.default`,
  };
  return { objectId: String(objectId), token: String((await started.login(form)).json['access_token']) };
}
