import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { Principals, newCredentials } from '../../../src/fabric/login/principals.js';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
let started: StartedFabric;

beforeAll(async () => {
  started = await startedFabric(directory);
});
afterAll(() => started.fabric.abandon());

async function manage(method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  return started.ask(`/trivet/principals${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function added(name: string): Promise<Record<'clientId' | 'clientSecret' | 'objectId', string>> {
  return (await manage('POST', '', { name })).json as Record<
    'clientId' | 'clientSecret' | 'objectId',
    string
  >;
}

function login(clientId: string, clientSecret: string): Promise<Answer> {
  const scope = `${started.base}/.default`;
  return started.login({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
    scope,
  });
}

test('principals: all are listed, without secrets or their hashes', async () => {
  const app = await added('listed');
  const { json, text } = await manage('GET', '');
  const all = json['principals'] as unknown[];
  expect(all[0]).toEqual({
    name: 'admin',
    clientId: started.admin.clientId,
    objectId: started.admin.objectId,
    controlPlane: true,
  });
  expect(all).toContainEqual({
    name: 'listed',
    clientId: app.clientId,
    objectId: app.objectId,
    controlPlane: false,
  });
  for (const word of ['secret', 'hash', 'salt', app.clientSecret]) expect(text).not.toContain(word);
});

test('principals: only a slow hash of a secret is kept', async () => {
  const app = await added('hashed');
  const file = readFileSync(started.fabric.places.own('principals.json'), 'utf8');
  expect(file).toContain(app.clientId);
  expect(file).not.toContain(app.clientSecret);
  expect(file).not.toContain(Buffer.from(app.clientSecret).toString('base64').slice(0, 40));
});

test('principals: a removed one gets no token, its old token opens nothing here, and its name is free', async () => {
  const app = await added('leaving');
  const token = String((await login(app.clientId, app.clientSecret)).json['access_token']);
  const use = () =>
    started.ask('/subscriptions?api-version=2022-12-01', { headers: { Authorization: `Bearer ${token}` } });
  expect((await use()).status).toBe(200);
  expect((await manage('DELETE', '/leaving')).json).toMatchObject({
    name: 'leaving',
    objectId: app.objectId,
  });
  expect((await login(app.clientId, app.clientSecret)).json['error_codes']).toEqual([700016]);
  expect((await use()).status).toBe(401);
  expect((await manage('DELETE', '/leaving')).status).toBe(404);
  expect((await added('leaving')).objectId).not.toBe(app.objectId);
});

test('principals: a reset secret is void at once, and the new one works', async () => {
  const app = await added('forgetful');
  const made = (await manage('POST', `/${app.objectId}/reset`)).json as {
    clientId: string;
    clientSecret: string;
  };
  expect(made.clientId).toBe(app.clientId);
  expect((await login(app.clientId, app.clientSecret)).json['error_codes']).toEqual([7000215]);
  expect(decodeJwt(String((await login(made.clientId, made.clientSecret)).json['access_token']))['oid']).toBe(
    app.objectId,
  );
});

test('principals: one that there is not is not found, whatever is asked', async () => {
  for (const who of ['nobody', '%00', '..', 'a%2Fb', '__proto__', 'x'.repeat(2_000)]) {
    expect((await manage('DELETE', `/${who}`)).status).toBe(404);
    expect((await manage('POST', `/${who}/reset`)).status).toBe(404);
  }
});

test('principals: only an administrator manages them', async () => {
  const app = await added('curious');
  const token = String((await login(app.clientId, app.clientSecret)).json['access_token']);
  for (const [method, path] of [
    ['GET', ''],
    ['DELETE', '/curious'],
    ['POST', '/curious/reset'],
    ['POST', '/admin/reset'],
  ] as const) {
    const headers = { Authorization: `Bearer ${token}` };
    expect((await started.ask(`/trivet/principals${path}`, { method, headers })).status).toBe(403);
    expect((await started.ask(`/trivet/principals${path}`, { method })).status).toBe(401);
  }
});

test('principals: the last administrator of the control plane stays', async () => {
  const answer = await manage('DELETE', '/admin');
  expect([answer.status, answer.text]).toEqual([
    409,
    expect.stringContaining('only administrator') as string,
  ]);
  await started.token();
});

test('principals: the administrator’s secret is reset where it is kept, and survives a kill in between', async () => {
  const own = join(directory, 'admin');
  mkdirSync(own);
  let fabric = (await startedFabric(own)).fabric;
  const begin = async (): Promise<StartedFabric> => {
    await fabric.stop();
    const again = await startedFabric(own);
    fabric = again.fabric;
    return again;
  };
  let again = await begin();
  const old = again.admin;
  const headers = { Authorization: `Bearer ${await again.token()}` };
  const { json } = await again.ask('/trivet/principals/admin/reset', { method: 'POST', headers });
  const file = () => JSON.parse(readFileSync(fabric.places.admin, 'utf8')) as typeof old;
  expect(file()).toEqual(json);
  expect(file().clientSecret).not.toBe(old.clientSecret);
  again = await begin();
  expect(await again.token()).not.toBe('undefined');
  // Killed before the hash was written: what was prepared is not valid. Killed after it: it is.
  const next = fabric.places.own('next-admin.json');
  writeFileSync(next, JSON.stringify({ ...file(), clientSecret: 'never valid' }));
  again = await begin();
  expect(await again.token()).not.toBe('undefined');
  const valid = file();
  writeFileSync(next, JSON.stringify(valid));
  writeFileSync(fabric.places.admin, JSON.stringify(old));
  again = await begin();
  expect(file()).toEqual(valid);
  expect(await again.token()).not.toBe('undefined');
  expect(() => readFileSync(next)).toThrow(/ENOENT/);
  await fabric.stop();
});

test('principals: one that is removed while its secret is checked does not get in', async () => {
  const principals = new Principals(join(directory, 'racing.json'));
  const made = newCredentials();
  await principals.register('racer', made, false);
  const racer = principals.byClientId(made.clientId);
  if (!racer) throw new Error('registered');
  expect(await principals.verify(racer, made.clientSecret)).toBe(true);
  const fresh = await principals.reset('racer');
  expect(await principals.verify(racer, made.clientSecret)).toBe(false);
  const checking = principals.verify(racer, fresh.clientSecret);
  principals.remove('racer');
  expect(await checking).toBe(false);
});
