import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { SignJWT, generateKeyPair } from 'jose';
import { loginKeyOf } from '../../../src/fabric/login/login-key.js';
import { eventually, privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric;

beforeAll(async () => {
  started = await startedFabric(directory);
});
afterAll(() => started.fabric.abandon());

async function authorized(path: string, method = 'GET', body?: unknown, scope?: string): Promise<Answer> {
  const headers = {
    Authorization: `Bearer ${await started.token(scope)}`,
    'Content-Type': 'application/json',
  };
  return started.ask(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

test('control: the administrator sees the status', async () => {
  const { json } = await authorized('/trivet/status');
  expect(json).toEqual(started.fabric.status());
});

test('control: Azure names of the control plane open it too', async () => {
  expect(
    (await authorized('/trivet/status', 'GET', undefined, 'https://management.azure.com/.default')).status,
  ).toBe(200);
});

test.each([
  '/trivet/status',
  '/trivet/principals',
  '/trivet/anything',
  '/trivet',
  '/subscriptions',
  '/subscriptions/any/resourceGroups/any',
  '/providers/Microsoft.KeyVault/operations',
])('control: %s asks for a token first, whatever the method', async (path) => {
  for (const method of ['GET', 'POST', 'DELETE']) {
    const answer = await started.ask(path, { method });
    expect(answer.status).toBe(401);
  }
  expect((await started.ask(path)).headers['www-authenticate']).toMatch(/^Bearer authorization_uri="https:/);
});

test('control: tokens for the data plane do not open it, the administrator included', async () => {
  const answer = await authorized(
    '/trivet/status',
    'GET',
    undefined,
    'https://managedhsm.localhost:9443/.default',
  );
  expect(answer.status).toBe(401);
});

test('control: foreign, unsigned, expired and garbled tokens do not open it', async () => {
  const { privateKey } = await generateKeyPair('RS256');
  const claims = { oid: started.admin.objectId };
  const issuer = `https://login.trivet.localhost/${started.fabric.status().tenantId}/`;
  const foreign = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256' })
    .setIssuer(issuer)
    .setAudience(started.base)
    .setExpirationTime('1h')
    .sign(privateKey);
  const [, payload = ''] = foreign.split('.');
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
  // The public key as a secret: the oldest trick against checkers that trust the header.
  const keys = (await started.ask('/adfs/discovery/keys')).json['keys'] as { n: string }[];
  const confused = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer(issuer)
    .setAudience(started.base)
    .setExpirationTime('1h')
    .sign(Buffer.from(keys[0]?.n ?? '', 'base64url'));
  const good = await started.token();
  const cut = good.slice(0, -10);
  const ours = loginKeyOf(readFileSync(started.fabric.places.own('login-key.pem'), 'utf8')).privateKey;
  const signed = (changes: { issuer?: string; audience?: string; expires?: string }): Promise<string> =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256' })
      .setIssuer(changes.issuer ?? issuer)
      .setAudience(changes.audience ?? started.base)
      .setExpirationTime(changes.expires ?? '1h')
      .sign(ours);
  const control = await signed({});
  const headers = { Authorization: `Bearer ${control}` };
  expect((await started.ask('/trivet/status', { headers })).status).toBe(200);
  const late = await signed({ expires: '-1s' });
  const elsewhere = await signed({ issuer: 'https://login.example.org/' });
  const audience = await signed({ audience: 'https://example.org' });
  for (const token of [foreign, none, confused, late, elsewhere, audience, cut, `${good}x`, 'x', 'a.b.c']) {
    const answer = await started.ask('/trivet/status', { headers: { Authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(401);
  }
  for (const header of ['Basic YTpi', `bearer`, `Bearer ${good} ${good}`, good]) {
    expect((await started.ask('/trivet/status', { headers: { Authorization: header } })).status).toBe(401);
  }
});

test('control: a new principal logs in, and may do nothing here', async () => {
  const added = await authorized('/trivet/principals', 'POST', { name: 'app' });
  expect(added.status).toBe(201);
  const login = await started.login({
    grant_type: 'client_credentials',
    client_id: String(added.json['clientId']),
    client_secret: String(added.json['clientSecret']),
    scope: `${started.base}/.default`,
  });
  const headers = { Authorization: `Bearer ${String(login.json['access_token'])}` };
  expect((await started.ask('/trivet/status', { headers })).status).toBe(403);
  const add = {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: '{"name":"x"}',
  };
  expect((await started.ask('/trivet/principals', add)).status).toBe(403);
  expect((await started.ask('/subscriptions?api-version=2019-11-01', { headers })).json).toEqual({
    value: [],
  });
  expect((await authorized('/trivet/principals', 'POST', { name: 'app' })).status).toBe(409);
});

test('control: two requests for one name make one principal', async () => {
  const both = await Promise.all(
    [1, 2].map(() => authorized('/trivet/principals', 'POST', { name: 'twin' })),
  );
  expect(both.map(({ status }) => status).sort()).toEqual([201, 409]);
});

test.each([
  ['no name', {}],
  ['a number', { name: 7 }],
  ['an empty name', { name: '' }],
  ['a name with a line break', { name: 'a\nb' }],
  ['a long name', { name: 'a'.repeat(65) }],
  ['a list', []],
])('control: a principal with %s is refused', async (_what, body) => {
  expect((await authorized('/trivet/principals', 'POST', body)).status).toBe(400);
});

test('control: malformed, foreign and oversized bodies are clear refusals', async () => {
  const headers = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  const post = async (body: string, changes = {}): Promise<number> =>
    (await started.ask('/trivet/principals', { method: 'POST', headers: { ...headers, ...changes }, body }))
      .status;
  expect(await post('{"name":')).toBe(400);
  expect(await post('"name"')).toBe(400);
  expect(await post('name', { 'Content-Type': 'text/plain' })).toBe(400);
  expect(await post('{}', { 'Content-Encoding': 'zstd-x' })).toBe(415);
  expect(await post(JSON.stringify({ name: 'a'.repeat(70_000) }))).toBe(413);
});

test('control: paths that nobody knows, or nobody can read, are clear refusals', async () => {
  expect((await started.ask('/nowhere')).status).toBe(404);
  expect((await started.ask('/%ff/oauth2/v2.0/token', { method: 'POST' })).status).toBe(400);
  expect((await authorized('/trivet/pools/%ff/partitions/0/kill', 'POST')).status).toBe(400);
});

test.each([['TLSv1.2'], ['TLSv1.3']] as const)(
  'control: %s is spoken, with a certificate that names the host',
  async (version) => {
    for (const servername of ['localhost', 'login.localhost']) {
      const options = { port: started.port, ca: started.ca, minVersion: version, maxVersion: version };
      const socket = connect({ host: '127.0.0.1', servername, ...options });
      await once(socket, 'secureConnect');
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
  },
);

test('control: TLS 1.1 is not spoken', async () => {
  const socket = connect({
    host: '127.0.0.1',
    port: started.port,
    ca: started.ca,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT:@SECLEVEL=0',
  });
  await expect(once(socket, 'secureConnect')).rejects.toThrow(/alert|unsupported|ECONNRESET/i);
});

test('control: the metadata document comes in the form of the asked version', async () => {
  const old = await started.ask('/metadata/endpoints?api%2Dversion=2015-01-01');
  expect(old.json).toMatchObject({
    authentication: { loginEndpoint: `${started.base}/adfs`, audiences: [`${started.base}/`] },
    galleryEndpoint: `${started.base}/`,
    graphEndpoint: `${started.base}/`,
  });
  const dataPort = new URL(started.fabric.status().pools[0]?.uri ?? '').port;
  const list = await started.ask('//metadata/endpoints?api-version=2019-05-01');
  expect(list.json).toMatchObject([
    {
      resourceManager: started.base,
      authentication: { loginEndpoint: `${started.base}/adfs` },
      suffixes: { mhsmDns: `managedhsm.localhost:${dataPort}` },
    },
  ]);
  // Terraform's provider reads one object, and asks for its token at {loginEndpoint}/{tenant}/oauth2/v2.0/token.
  const one = await started.ask('/metadata/endpoints?api-version=2022-09-01');
  const { tenantId } = started.fabric.status();
  expect(one.json).toMatchObject({
    name: 'Trivet',
    resourceManager: started.base,
    microsoftGraphResourceId: `${started.base}/`,
    authentication: { loginEndpoint: started.base, tenant: tenantId, identityProvider: 'AAD' },
    suffixes: { mhsmDns: `managedhsm.localhost:${dataPort}` },
  });
});

test('control: the administrator sees the subscription', async () => {
  const { tenantId, subscriptionId } = started.fabric.status();
  const { json } = await authorized('/subscriptions?api-version=2019-11-01');
  expect(json).toMatchObject({
    value: [{ id: `/subscriptions/${subscriptionId}`, subscriptionId, tenantId, state: 'Enabled' }],
  });
});

test('control: a partition is paused, resumed and killed on request', async () => {
  const fault = (id: string, what: string, pool = 'dev'): Promise<Answer> =>
    authorized(`/trivet/pools/${pool}/partitions/${id}/${what}`, 'POST');
  const instance = (id: number): unknown => started.fabric.status().pools[0]?.instances[id];
  const { pid } = instance(2) as { pid: number };
  const whole = (): boolean =>
    started.fabric.status().pools[0]?.instances.every(({ inSync }) => inSync) === true;
  expect((await fault('2', 'pause')).json).toEqual({ id: 2, pid });
  expect(instance(2)).toMatchObject({ paused: true });
  await fault('2', 'resume');
  expect(instance(2)).not.toHaveProperty('paused');
  expect((await fault('2', 'kill')).json).toEqual({ id: 2, pid });
  expect(instance(2)).toMatchObject({ inSync: false, restarts: 1, reason: 'ended by SIGKILL' });
  await eventually(whole);
  for (const id of ['3', '-1', '00', 'x']) expect((await fault(id, 'kill')).status).toBe(404);
  expect((await fault('0', 'explode')).status).toBe(404);
  expect((await fault('0', 'kill', 'other')).status).toBe(404);
});

test('control: a partition is wiped, all are started again, and their digests compared', async () => {
  const dev = (): unknown => started.fabric.status().pools[0];
  const pidOf = (id: number): number | null | undefined =>
    started.fabric.status().pools[0]?.instances[id]?.pid;
  const before = pidOf(1);
  expect((await authorized('/trivet/pools/dev/partitions/1/wipe', 'POST')).json).toEqual({
    id: 1,
    pid: before,
  });
  // Until it has joined, nothing else can be spared.
  const early = await authorized('/trivet/pools/dev/restart', 'POST');
  const refused = [409, expect.stringMatching(/^Partition 1 of dev is not in sync/)];
  const { message } = (early.json['error'] ?? {}) as { message?: string };
  if (early.status !== 200) expect([early.status, message]).toEqual(refused);
  await eventually(() => JSON.stringify(dev()).match(/"inSync":true/g)?.length === 3);
  const old = [0, 1, 2].map(pidOf);
  const restarted = await authorized('/trivet/pools/dev/restart', 'POST');
  expect(restarted.json).toEqual(dev());
  expect([0, 1, 2].map(pidOf).filter((pid) => old.includes(pid))).toEqual([]);
  const { json } = await authorized('/trivet/pools/dev/digest', 'POST');
  expect(json).toMatchObject({ index: 7, equal: true });
  for (const path of ['restart', 'digest']) {
    expect((await authorized(`/trivet/pools/other/${path}`, 'POST')).status).toBe(404);
  }
});
