// The directory that `az` asks for names, as Microsoft Graph is asked.
import fc from 'fast-check';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const IDS = '/v1.0/directoryObjects/getByIds';
const NOBODY = '11111111-1111-4111-8111-111111111111';
const SINGLE = '/v1.0/servicePrincipals';
// As az 2.45 writes them.
const TYPES = ['user', 'group', 'servicePrincipal', 'directoryObjectPartnerReference'];
const directory = privateDirectory();
let started: StartedFabric;
let app: Record<string, string>;

beforeAll(async () => {
  started = await startedFabric(directory);
  app = (await ask('/trivet/principals', { name: 'app' })).json as Record<string, string>;
});
afterAll(() => started.fabric.abandon());

async function ask(path: string, body?: unknown, token?: string | null): Promise<Answer> {
  const bearer = token === undefined ? await started.token() : token;
  return started.ask(path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(bearer !== null && { Authorization: `Bearer ${bearer}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

function filtered(what: string, filter: string): Promise<Answer> {
  return ask(`/v1.0/${what}?$filter=${encodeURIComponent(filter)}`);
}

const shown = () => ({
  id: app['objectId'],
  appId: app['clientId'],
  displayName: 'app',
  servicePrincipalNames: [app['clientId']],
  servicePrincipalType: 'Application',
});

test('directory: the names behind ids, and nothing for an id that nobody has', async () => {
  const ids = [NOBODY, String(app['objectId']).toUpperCase()];
  const { status, json } = await ask(IDS, { ids, types: TYPES });
  expect([status, json]).toEqual([
    200,
    { value: [{ '@odata.type': '#microsoft.graph.servicePrincipal', ...shown() }] },
  ]);
  expect((await ask(IDS, { ids })).json).toEqual(json);
  expect((await ask(IDS, { ids: [NOBODY], types: TYPES })).json).toEqual({ value: [] });
  expect((await ask(IDS, { ids, types: ['user', 'group'] })).json).toEqual({ value: [] });
  expect((await ask(IDS, { ids: [] })).json).toEqual({ value: [] });
});

test('directory: the id behind a client id or a name', async () => {
  const clientId = String(app['clientId']);
  for (const filter of [
    `servicePrincipalNames/any(c:c eq '${clientId}')`,
    `servicePrincipalNames/any(c: c eq '${clientId.toUpperCase()}')`,
    `appId eq '${clientId}'`,
    "displayName eq 'app'",
  ]) {
    expect((await filtered('servicePrincipals', filter)).json).toEqual({ value: [shown()] });
  }
  for (const filter of ["displayName eq 'ap''p'", `appId eq '${String(app['objectId'])}'`]) {
    expect((await filtered('servicePrincipals', filter)).json).toEqual({ value: [] });
  }
});

test('directory: there are neither users nor groups', async () => {
  expect((await filtered('users', "userPrincipalName eq 'a@example.net'")).json).toEqual({ value: [] });
  expect((await filtered('groups', "displayName eq 'app'")).json).toEqual({ value: [] });
});

test('directory: a managed identity is shown as one, and nobody with a secret', async () => {
  const made = await ask('/trivet/principals', { name: 'managed', managedIdentity: true });
  const { json, text } = await filtered('servicePrincipals', "displayName eq 'managed'");
  expect(json).toMatchObject({ value: [{ servicePrincipalType: 'ManagedIdentity' }] });
  expect(text).not.toContain(String(made.json['identityHeader']));
});

test.each([
  "displayName ne 'app'",
  'displayName eq app',
  "displayName eq 'app')",
  "servicePrincipalNames/any(c:c eq 'x'",
  "appId eq 'x' or displayName eq 'app'",
  "appId eq 'x'y'",
  '',
])('directory: the filter %j is refused', async (filter) => {
  const { status, json } = await filtered('servicePrincipals', filter);
  expect([status, (json['error'] as { code: string }).code]).toEqual([400, 'Request_UnsupportedQuery']);
});

test('directory: without a filter, or with two, nothing is listed', async () => {
  expect((await ask(SINGLE)).status).toBe(400);
  const one = `$filter=${encodeURIComponent("displayName eq 'app'")}`;
  expect((await ask(`${SINGLE}?${one}&${one}`)).status).toBe(400);
});

test('directory: only an administrator may look, and is refused in the words of Graph', async () => {
  const form = { grant_type: 'client_credentials', client_id: String(app['clientId']) };
  const login = await started.login({
    ...form,
    client_secret: String(app['clientSecret']),
    scope: `${started.base}/.default`,
  });
  const token = String(login.json['access_token']);
  for (const [path, body] of [
    [IDS, { ids: [app['objectId']] }],
    [`${SINGLE}?$filter=x`, undefined],
    ['/v1.0/users', undefined],
    ['/v1.0/groups', undefined],
    ['/v1.0/anything', undefined],
  ] as const) {
    const denied = await ask(path, body, token);
    expect([denied.status, (denied.json['error'] as { code: string }).code]).toEqual([
      403,
      'Authorization_RequestDenied',
    ]);
    expect((await ask(path, body, null)).status).toBe(401);
    expect(
      (await ask(path, body, await started.token('https://managedhsm.localhost:9443/.default'))).status,
    ).toBe(401);
  }
});

test('directory: too many ids are refused', async () => {
  const ids = Array.from({ length: 1_001 }, () => NOBODY);
  expect((await ask(IDS, { ids })).json['error']).toMatchObject({ code: 'Request_BadRequest' });
  expect((await ask(IDS, { ids: ids.slice(1) })).status).toBe(200);
});

test('directory: whatever the body holds, the answer is a refusal or a list', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json(), async (body) => {
      const headers = {
        Authorization: `Bearer ${await started.token()}`,
        'Content-Type': 'application/json',
      };
      const { status, json } = await started.ask(IDS, { method: 'POST', headers, body });
      expect(status === 400 || (status === 200 && Array.isArray(json['value']))).toBe(true);
    }),
    { numRuns: 50 },
  );
});
