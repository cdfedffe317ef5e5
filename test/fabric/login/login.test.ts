import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ClientSecretCredential } from '@azure/identity';
import type { ClientSecretCredentialOptions } from '@azure/identity';
import fc from 'fast-check';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric;
let tenant: string;

beforeAll(async () => {
  started = await startedFabric(directory);
  tenant = started.fabric.status().tenantId;
});
afterAll(() => started.fabric.abandon());

function form(changes: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    grant_type: 'client_credentials',
    client_id: started.admin.clientId,
    client_secret: started.admin.clientSecret,
    scope: 'https://managedhsm.localhost:9443/.default',
    ...changes,
  };
}

function credential(tenantId: string, options: ClientSecretCredentialOptions = {}): ClientSecretCredential {
  return new ClientSecretCredential(tenantId, started.admin.clientId, started.admin.clientSecret, {
    authorityHost: started.base,
    tlsOptions: { ca: started.ca },
    ...options,
  });
}

function refusal(answer: Answer): [status: number, error: unknown, codes: unknown] {
  return [answer.status, answer.json['error'], answer.json['error_codes']];
}

test('login: the Azure identity library gets a token for the tenant', async () => {
  const { token, expiresOnTimestamp } = await credential(tenant, { disableInstanceDiscovery: true }).getToken(
    'https://managedhsm.localhost:9443/.default',
  );
  expect(decodeJwt(token)).toMatchObject({ aud: 'https://managedhsm.localhost:9443', tid: tenant });
  expect(expiresOnTimestamp).toBeGreaterThan(Date.now() + 3_500_000);
});

test('login: the Azure identity library gets a token in the ADFS form', async () => {
  const { token } = await credential('adfs').getToken(`${started.base}//.default`);
  expect(decodeJwt(token)).toMatchObject({ aud: started.base, oid: started.admin.objectId });
});

test('login: the Azure identity library reports a wrong secret by its number', async () => {
  const wrong = new ClientSecretCredential('adfs', started.admin.clientId, 'wrong', {
    authorityHost: started.base,
    tlsOptions: { ca: started.ca },
  });
  await expect(wrong.getToken('https://managedhsm.localhost/.default')).rejects.toThrow(/AADSTS7000215/);
  await started.token();
});

test('login: a token holds what the pools check, signed by the published key', async () => {
  const answer = await started.login(form());
  expect(answer.json).toMatchObject({ token_type: 'Bearer', expires_in: 3599 });
  expect(answer.headers['cache-control']).toBe('no-store');
  const keys = (await started.ask(`/${tenant}/discovery/v2.0/keys`)).json as unknown as JSONWebKeySet;
  const token = String(answer.json['access_token']);
  const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(keys), {
    algorithms: ['RS256'],
    issuer: `https://login.trivet.localhost/${tenant}/`,
    audience: 'https://managedhsm.localhost:9443',
  });
  expect(protectedHeader.kid).toBe(keys.keys[0]?.kid);
  expect(payload).toMatchObject({
    appid: started.admin.clientId,
    idtyp: 'app',
    oid: started.admin.objectId,
    sub: started.admin.objectId,
    tid: tenant,
    ver: '1.0',
  });
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600);
  expect(payload.nbf).toBe(payload.iat);
  expect(typeof payload.jti).toBe('string');
  expect(JSON.stringify(keys)).not.toMatch(/"(d|p|q|dp|dq|qi)":/);
  expect(decodeProtectedHeader(token).alg).toBe('RS256');
});

test.each([
  ['/adfs/oauth2/token'],
  ['/ADFS/OAuth2/Token/'],
  ['/adfs/oauth2/token?client-request-id=0'],
  ['//adfs/oauth2/token'],
  ['/{tenant}/oauth2/v2.0/token?client-request-id=0'],
  ['/{TENANT}/oauth2/v2.0/token/'],
])('login: %s is a token endpoint', async (path) => {
  const answer = await started.ask(
    path.replace('{tenant}', tenant).replace('{TENANT}', tenant.toUpperCase()),
    {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ ...form(), client_info: '1', claims: '{}' }).toString(),
    },
  );
  expect(answer.status).toBe(200);
});

test.each([
  ['https://managedhsm.localhost:9443/.default', 'https://managedhsm.localhost:9443'],
  ['https://ManagedHSM.localhost//.default', 'https://managedhsm.localhost'],
  ['https://managedhsm.azure.net/.default', 'https://managedhsm.azure.net'],
  ['https://management.azure.com//.default', 'https://management.azure.com'],
])('login: the scope %s is for %s', async (scope, audience) => {
  const answer = await started.login(form({ scope }));
  expect(decodeJwt(String(answer.json['access_token'])).aud).toBe(audience);
});

test.each([
  ['a wrong secret', { client_secret: 'wrong' }, [401, 'invalid_client', [7000215]]],
  ['an unknown client', { client_id: 'nobody' }, [400, 'unauthorized_client', [700016]]],
  ['another grant', { grant_type: 'password' }, [400, 'unsupported_grant_type', [70003]]],
  ['a foreign resource', { scope: 'https://example.org/.default' }, [400, 'invalid_resource', [500011]]],
  [
    'a pool for a resource',
    { scope: 'https://dev.managedhsm.localhost/.default' },
    [400, 'invalid_resource', [500011]],
  ],
  [
    'a resource with a path',
    { scope: 'https://managedhsm.localhost/x/.default' },
    [400, 'invalid_resource', [500011]],
  ],
  ['plain HTTP', { scope: 'http://managedhsm.localhost/.default' }, [400, 'invalid_resource', [500011]]],
  [
    'a user in the resource',
    { scope: 'https://a@managedhsm.localhost/.default' },
    [400, 'invalid_resource', [500011]],
  ],
  ['a single permission', { scope: 'https://managedhsm.localhost/read' }, [400, 'invalid_scope', [70011]]],
  ['two scopes', { scope: 'https://a/.default https://b/.default' }, [400, 'invalid_scope', [70011]]],
  ['no secret', { client_secret: '' }, [400, 'invalid_request', [900144]]],
  ['no scope', { scope: '' }, [400, 'invalid_request', [900144]]],
] as const)('login: %s is refused in the OAuth form', async (_what, changes, expected) => {
  const answer = await started.login(form(changes));
  expect(refusal(answer)).toEqual(expected);
  expect(answer.json['error_description']).toMatch(/^AADSTS\d+: .* Trace ID: [0-9a-f-]{36} /);
  await started.token(); // and what was counted against us is forgotten
});

test('login: another tenant is not found', async () => {
  const path = '/00000000-0000-0000-0000-000000000000';
  expect(refusal(await started.ask(`${path}/v2.0/.well-known/openid-configuration`))).toEqual([
    400,
    'invalid_request',
    [90002],
  ]);
  expect((await started.ask(`${path}/oauth2/v2.0/token`, { method: 'POST' })).status).toBe(400);
});

test('login: after repeated wrong secrets the client has to wait, and is told how long', async () => {
  const made = (
    await started.ask('/trivet/principals', {
      method: 'POST',
      headers: { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'forgetful' }),
    })
  ).json;
  const clientId = String(made['clientId']);
  for (let n = 0; n < 5; n += 1) {
    expect((await started.login(form({ client_id: clientId, client_secret: 'wrong' }))).status).toBe(401);
  }
  const right = form({ client_id: clientId, client_secret: String(made['clientSecret']) });
  const answer = await started.login(right);
  expect(answer.status).toBe(429);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect((await started.login(form())).status).toBe(200); // others are not held up
});

test('login: the discovery documents name the host that was asked', async () => {
  const headers = { Host: 'login.localhost:1234' };
  const adfs = await started.ask('/adfs/.well-known/openid-configuration', { headers });
  expect(adfs.json).toMatchObject({
    issuer: 'https://login.localhost:1234/adfs',
    token_endpoint: 'https://login.localhost:1234/adfs/oauth2/token',
    authorization_endpoint: 'https://login.localhost:1234/adfs/oauth2/authorize',
    jwks_uri: 'https://login.localhost:1234/adfs/discovery/keys',
  });
  const guid = await started.ask(`/${tenant}/v2.0/.well-known/openid-configuration`, { headers });
  expect(guid.json).toMatchObject({
    issuer: `https://login.localhost:1234/${tenant}/v2.0`,
    token_endpoint: `https://login.localhost:1234/${tenant}/oauth2/v2.0/token`,
  });
  const instance = await started.ask('/common/discovery/instance?api-version=1.1', { headers });
  expect(instance.json).toMatchObject({
    tenant_discovery_endpoint: `https://login.localhost:1234/${tenant}/v2.0/.well-known/openid-configuration`,
    metadata: [{ aliases: ['login.localhost:1234'] }],
  });
});

test('login: a malformed Host header is not echoed', async () => {
  for (const host of ['evil"host', 'a b', 'host/path', 'u@host']) {
    const { json } = await started.ask('/adfs/.well-known/openid-configuration', { headers: { Host: host } });
    expect(json['issuer']).toBe(`${started.base}/adfs`);
  }
});

test('login: whatever the form holds, the answer is a refusal', async () => {
  const name = fc.constantFrom('grant_type', 'client_id', 'client_secret', 'scope', 'x', '__proto__');
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('client_credentials', 'https://managedhsm.localhost/.default'),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, value)), fc.boolean(), async (pairs, garbled) => {
      const body = new URLSearchParams(pairs).toString();
      const answer = await started.ask('/adfs/oauth2/token', {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: garbled ? body.replaceAll('=', '%') : body,
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.text).not.toContain('    at ');
    }),
    { numRuns: 100 },
  );
});

test('login: switched off it gives tokens for the control plane alone, also after the next start', async () => {
  const own = join(directory, 'off');
  mkdirSync(own);
  const issuer = 'https://login.example.net/11111111-1111-4111-8111-111111111111/v2.0';
  const off = { localLogin: false, issuers: [{ issuer }], administrators: [tenant] };
  for (const changes of [off, {}]) {
    const { admin, base, fabric, ...other } = await startedFabric(own, changes);
    const wish = { ...form(), client_id: admin.clientId, client_secret: admin.clientSecret };
    for (const scope of [
      'https://managedhsm.localhost:9443/.default',
      'https://managedhsm.azure.net/.default',
    ]) {
      const answer = await other.login({ ...wish, scope });
      expect(refusal(answer)).toEqual([400, 'invalid_resource', [500011]]);
      expect(answer.json['error_description']).toContain('The local login is switched off for pools.');
    }
    expect((await other.login({ ...wish, scope: `${base}/.default` })).status).toBe(200);
    await fabric.stop();
  }
});
