import { readFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const RESOURCE = 'https://managedhsm.localhost:9443';
const NEW = '2019-08-01';
const directory = privateDirectory();
let started: StartedFabric;

beforeAll(async () => {
  started = await startedFabric(directory);
});
afterAll(() => started.fabric.abandon());

interface Identity {
  readonly clientId: string;
  readonly objectId: string;
  readonly identityEndpoint: string;
  readonly identityHeader: string;
}

async function manage(method: string, path: string, body?: unknown, on = started): Promise<Answer> {
  const headers = { Authorization: `Bearer ${await on.token()}`, 'Content-Type': 'application/json' };
  return on.ask(`/trivet/principals${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function added(name: string, on = started): Promise<Identity> {
  return (await manage('POST', '', { name, managedIdentity: true }, on)).json as unknown as Identity;
}

interface Asked {
  readonly query?: Readonly<Record<string, string>> | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
}

function ask(identity: Identity, { query = {}, headers, path }: Asked = {}, on = started): Promise<Answer> {
  const all = { 'api-version': NEW, resource: RESOURCE };
  const asked = typeof query === 'string' ? query : new URLSearchParams({ ...all, ...query }).toString();
  return on.ask(`${path ?? new URL(identity.identityEndpoint).pathname}?${asked}`, {
    headers: headers ?? { 'X-IDENTITY-HEADER': identity.identityHeader },
  });
}

test('managed identity: a token in the form that programs in App Service get', async () => {
  const identity = await added('worker');
  const { objectId, clientId } = identity;
  expect(identity.identityEndpoint).toBe(`${started.base}/managed-identity/${clientId}/token`);
  const before = Math.floor(Date.now() / 1_000);
  const { status, json, headers } = await ask(identity);
  expect([status, headers['cache-control']]).toEqual([200, 'no-store']);
  expect(json).toMatchObject({ client_id: clientId, resource: RESOURCE, token_type: 'Bearer' });
  for (const member of ['expires_on', 'expires_in', 'not_before']) {
    expect(json[member]).toMatch(/^[0-9]+$/);
  }
  expect(Number(json['expires_on'])).toBeGreaterThan(before + 3_500);
  expect(Number(json['expires_on'])).toBeLessThanOrEqual(before + 3_660);
  expect(decodeJwt(String(json['access_token']))).toMatchObject({
    aud: RESOURCE,
    oid: objectId,
    appid: clientId,
  });
});

test('managed identity: the form before 2019, with a slash at the end as az has it', async () => {
  const identity = await added('old worker');
  const query = { 'api-version': '2017-09-01', clientid: identity.clientId.toUpperCase() };
  const headers = { secret: identity.identityHeader };
  const path = `${new URL(identity.identityEndpoint).pathname}/`;
  expect((await ask(identity, { query, headers, path })).status).toBe(200);
  // Each version has its own header.
  expect((await ask(identity, { query, path })).status).toBe(401);
  expect((await ask(identity, { headers, path })).status).toBe(401);
});

test('managed identity: only its own header opens an identity, byte for byte', async () => {
  const [one, other] = [await added('one'), await added('other')];
  const { clientSecret } = (await manage('POST', '', { name: 'with a secret' })).json;
  for (const header of [
    other.identityHeader,
    String(clientSecret),
    started.admin.clientSecret,
    one.identityHeader.slice(0, -1),
    `${one.identityHeader}A`,
    one.identityHeader.toLowerCase().toUpperCase(),
  ]) {
    const { status, text } = await ask(one, { headers: { 'X-IDENTITY-HEADER': header } });
    expect(status === 401 || status === 429).toBe(true);
    expect(text).not.toContain(header);
    expect(text).not.toContain('access_token');
  }
  expect((await ask(other)).status).toBe(200); // not held up by them
  expect((await ask(one, { headers: {} })).status).toBe(401);
  expect((await ask(one, { headers: { Metadata: 'true' } })).status).toBe(401);
});

test('managed identity: after repeated wrong headers the program has to wait, and is told how long', async () => {
  const identity = await added('guessed');
  const headers = { 'X-IDENTITY-HEADER': 'wrong' };
  for (let n = 0; n < 5; n += 1) expect((await ask(identity, { headers })).status).toBe(401);
  const answer = await ask(identity);
  expect(answer.status).toBe(429);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
});

test.each<[string, number, Asked]>([
  ['no version', 400, { query: 'resource=x' }],
  ['a version that nobody knows', 400, { query: { 'api-version': '2018-02-01' } }],
  ['a version of the prototype', 400, { query: { 'api-version': 'constructor' } }],
  ['no resource', 400, { query: `api-version=${NEW}` }],
  ['two resources', 400, { query: `api-version=${NEW}&resource=${RESOURCE}&resource=${RESOURCE}` }],
  ['a resource that is not ours', 400, { query: { resource: 'https://vault.azure.net' } }],
  ['a scope for a resource', 400, { query: { resource: `${RESOURCE}/.default` } }],
  ['another identity', 400, { query: { client_id: '11111111-1111-4111-8111-111111111111' } }],
  ['another object', 400, { query: { principal_id: '11111111-1111-4111-8111-111111111111' } }],
  ['a resource id', 400, { query: { mi_res_id: '/subscriptions/x' } }],
])('managed identity: refused: %s', async (what, status, asked) => {
  const answer = await ask(await added(what), asked);
  expect([answer.status, answer.json['statusCode']]).toEqual([status, status]);
  expect(typeof answer.json['message']).toBe('string');
  expect(answer.json['access_token']).toBeUndefined();
});

test('managed identity: an address of none, of a principal with a secret and of the administrator gives nothing', async () => {
  const app = (await manage('POST', '', { name: 'plain' })).json;
  for (const [clientId, secret] of [
    ['11111111-1111-4111-8111-111111111111', 'x'],
    ['..%2f..', 'x'],
    ['%00', 'x'],
    [String(app['clientId']), String(app['clientSecret'])],
    [started.admin.clientId, started.admin.clientSecret],
  ] as const) {
    const identity = {
      clientId,
      objectId: '',
      identityEndpoint: `${started.base}/managed-identity/${clientId}/token`,
      identityHeader: secret,
    };
    expect((await ask(identity)).status).toBe(400);
  }
});

test('managed identity: its header is no client secret', async () => {
  const { clientId, identityHeader } = await added('no app');
  const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: identityHeader };
  const { status, json } = await started.login({ ...form, scope: `${RESOURCE}/.default` });
  expect([status, json['error_codes']]).toEqual([401, [7000215]]);
});

test('managed identity: a reset gives a new header, a removal none, and both at once', async () => {
  const identity = await added('changing');
  const fresh = (await manage('POST', '/changing/reset')).json as unknown as Identity;
  expect(fresh).toMatchObject({ clientId: identity.clientId, identityEndpoint: identity.identityEndpoint });
  expect((await ask(identity)).status).toBe(401);
  expect((await ask(fresh)).status).toBe(200);
  expect((await manage('DELETE', '/changing')).status).toBe(200);
  expect((await ask(fresh)).status).toBe(400);
});

test('managed identity: only a slow hash of the header is kept, and the list shows none', async () => {
  const { clientId, objectId, identityHeader } = await added('hashed');
  const file = readFileSync(started.fabric.places.own('principals.json'), 'utf8');
  const { json, text } = await manage('GET', '');
  expect(json['principals']).toContainEqual({
    name: 'hashed',
    clientId,
    objectId,
    controlPlane: false,
    managed: true,
  });
  for (const kept of [file, text]) expect(kept).not.toContain(identityHeader);
});

test.each([
  [{ managedIdentity: 'yes' }],
  [{ managedIdentity: 1 }],
  [{ managedIdentity: true, certificate: 'x' }],
])('managed identity: %j is refused when it is added', async (more) => {
  expect((await manage('POST', '', { name: 'odd', ...more })).status).toBe(400);
});

test('managed identity: with the local login switched off there are no tokens for pools', async () => {
  const own = join(directory, 'off');
  mkdirSync(own);
  const off = await startedFabric(own, {
    localLogin: false,
    issuers: [{ issuer: 'https://login.example.net/t/v2.0' }],
    administrators: ['22222222-2222-4222-8222-222222222222'],
  });
  try {
    const identity = await added('worker', off);
    for (const resource of [RESOURCE, 'https://managedhsm.azure.net']) {
      const { status, json } = await ask(identity, { query: { resource } }, off);
      expect([status, json['message']]).toEqual([
        400,
        'The resource was not found. The local login is switched off for pools.',
      ]);
    }
  } finally {
    await off.fabric.abandon();
  }
});
