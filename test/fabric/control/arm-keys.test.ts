// Keys through ARM: the routes of the control plane before the API of an instance, with an HSM in memory behind it.
import express from 'express';
import { createServer, request } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { keysRoutes } from '../../../src/fabric/control/arm/keys.js';
import { setKeysTarget } from '../../../src/fabric/control/arm/keys-mount.js';
import type { Pool } from '../../../src/fabric/pools/pool.js';
import { toPem } from '../../../src/values/certificate.js';
import { STRANGER } from '../../instance/hsm/fake-hsm.js';
import { DATA_PORT, DOMAIN, RELAY, Served, textOf, tokenFor, type Json } from '../../instance/api/served.js';

const RESOURCE = '/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/managedHSMs/dev';
const SETTING = '/settings/AllowKeyManagementOperationsThroughARM';
const HOST = `dev.${DOMAIN}:${DATA_PORT}`;
const TYPE = 'Microsoft.KeyVault/managedHSMs/keys';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly json: Json;
}

let served: Served;
let server: Server;
let port: number;
/** What the control plane has found out of a request. */
let token: string;
/** Where each instance answers, and the root that its certificate is checked with. */
let doors: { port: number; rootCertificate: string }[];

beforeEach(async () => {
  served = await Served.start();
  token = await tokenFor(served.hsm, { aud: RELAY.audiences[0] });
  doors = [{ port: served.port, rootCertificate: await certificateAt(served.port) }];
  const pool = {
    name: 'dev',
    host: HOST,
    relay: RELAY,
    candidates: () => doors.map((report) => ({ report })),
  } as unknown as Pool;
  const app = express().set('query parser', 'simple');
  app.use(
    `${RESOURCE}/keys`,
    (_request, response, next) => {
      setKeysTarget(response, { resourceId: RESOURCE, location: 'local', pool, token, objectId: '' });
      next();
    },
    keysRoutes(() => 'https://localhost:8443'),
  );
  server = createServer(app).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  ({ port } = server.address() as AddressInfo);
  await allow('true');
});
afterEach(async () => {
  server.close();
  await served.stop();
});

const allow = (value: string): Promise<unknown> => served.ask('PATCH', SETTING, { body: { value } });

function certificateAt(at: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: at, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(toPem(socket.getPeerCertificate().raw));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  const query = path.includes('?') ? '' : '?api-version=2024-11-01';
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': 'a client',
    'x-trivet-relay': 'theirs',
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port, method, path: `${RESOURCE}/keys${path}${query}`, headers },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => {
          const text = Buffer.concat(parts).toString();
          const { statusCode: status = 0 } = response;
          resolve({ status, headers: response.headers, json: JSON.parse(text) as Json });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const errorOf = ({ status, json }: Answer): unknown => [status, json['error']?.['code']];

test('keys through ARM: a key is made in the words of ARM, and made once', async () => {
  const made = await ask('PUT', '/k1', {
    tags: { team: 'a' },
    properties: {
      kty: 'RSA',
      keySize: 3072,
      keyOps: ['sign', 'verify'],
      attributes: { enabled: true, nbf: 1_700_000_000, exp: 1_900_000_000 },
    },
  });
  const uri = `https://${HOST}/keys/k1`;
  const now = served.hsm.now();
  expect([made.status, made.json]).toEqual([
    200,
    {
      id: `${RESOURCE}/keys/k1`,
      name: 'k1',
      type: TYPE,
      location: 'local',
      tags: { team: 'a' },
      properties: {
        attributes: {
          enabled: true,
          nbf: 1_700_000_000,
          exp: 1_900_000_000,
          created: now,
          updated: now,
          recoveryLevel: 'Recoverable+Purgeable',
          exportable: false,
        },
        kty: 'RSA-HSM',
        keyOps: ['sign', 'verify'],
        keySize: 3072,
        keyUri: uri,
        keyUriWithVersion: expect.stringMatching(new RegExp(`^${uri}/[0-9a-f]{32}$`)) as string,
      },
    },
  ]);
  // Another wish for it changes nothing.
  expect((await ask('PUT', '/k1', { properties: { kty: 'EC' } })).json).toEqual(made.json);
  expect((await ask('GET', '/k1')).json).toEqual(made.json);
  const direct = (await served.ask('GET', '/keys/k1')).json;
  expect(direct['key']?.['kid']).toEqual(made.json['properties']?.['keyUriWithVersion']);
});

test.each([
  [{ kty: 'EC' }, { kty: 'EC-HSM', curveName: 'P-256' }],
  [
    { kty: 'EC-HSM', curveName: 'P-521' },
    { kty: 'EC-HSM', curveName: 'P-521' },
  ],
  [{ kty: 'RSA-HSM' }, { kty: 'RSA-HSM', keySize: 2048 }],
  [
    { kty: 'oct-HSM', keySize: 192 },
    { kty: 'oct-HSM', keySize: 192 },
  ],
])('keys through ARM: of a wish for %j comes %j', async (properties, expected) => {
  const { status, json } = await ask('PUT', '/k', { properties });
  expect(status).toBe(200);
  expect(json['properties']).toMatchObject(expected);
});

test('keys through ARM: an exportable key has its release policy, and a rotation policy comes with a key', async () => {
  // As the service writes it: members in order.
  const policy = {
    anyOf: [{ allOf: [{ claim: 'a', equals: 'b' }], authority: 'https://maa.example' }],
    version: '1.0.0',
  };
  const data = Buffer.from(JSON.stringify(policy)).toString('base64url');
  const { status, json } = await ask('PUT', '/k', {
    properties: {
      kty: 'EC',
      attributes: { exportable: true },
      release_policy: { contentType: 'application/json; charset=utf-8', data },
      rotationPolicy: {
        attributes: { expiryTime: 'P90D' },
        lifetimeActions: [{ action: { type: 'rotate' }, trigger: { timeBeforeExpiry: 'P30D' } }],
      },
    },
  });
  expect(status).toBe(200);
  expect(json['properties']).toMatchObject({ attributes: { exportable: true }, release_policy: { data } });
  const rotation = (await served.ask('GET', '/keys/k/rotationpolicy')).json;
  expect(rotation['attributes']).toMatchObject({ expiryTime: 'P90D' });
});

test('keys through ARM: versions are listed and shown under their own names', async () => {
  await ask('PUT', '/k', { properties: { kty: 'EC' } });
  await served.ask('POST', '/keys/k/create', { body: { kty: 'EC' } });
  const { status, json } = await ask('GET', '/k/versions');
  expect(status).toBe(200);
  const all = json['value'] as unknown as Json[];
  expect(all).toHaveLength(2);
  for (const item of all) {
    const version = textOf(item['name']);
    expect(item).toMatchObject({
      id: `${RESOURCE}/keys/k/versions/${version}`,
      type: `${TYPE}/versions`,
      properties: {
        keyUri: `https://${HOST}/keys/k`,
        keyUriWithVersion: `https://${HOST}/keys/k/${version}`,
      },
    });
    expect((await ask('GET', `/k/versions/${version}`)).json).toMatchObject({
      id: textOf(item['id']),
      name: version,
      properties: { kty: 'EC-HSM', keyUriWithVersion: `https://${HOST}/keys/k/${version}` },
    });
  }
  expect(errorOf(await ask('GET', `/k/versions/${'0'.repeat(32)}`))).toEqual([404, 'KeyNotFound']);
  expect(errorOf(await ask('GET', '/k/versions/newest'))).toEqual([404, 'KeyNotFound']);
});

test('keys through ARM: a long list has pages, whose links are of the control plane', async () => {
  const names = Array.from({ length: 30 }, (_, place) => `key-${String(place).padStart(2, '0')}`);
  for (const name of names) await served.ask('POST', `/keys/${name}/create`, { body: { kty: 'EC' } });
  const first = await ask('GET', '');
  const link = textOf(first.json['nextLink']);
  expect(link).toMatch(
    new RegExp(`^https://localhost:8443${RESOURCE}/keys\\?api-version=2024-11-01&\\$skiptoken=[\\w-]+$`),
  );
  const second = await ask('GET', new URL(link).search);
  expect(second.json['nextLink']).toBeUndefined();
  const found = [first, second].flatMap(({ json }) => json['value'] as unknown as Json[]);
  expect(found.map(({ name }) => name)).toEqual(names);
  expect(found[0]).toEqual({
    id: `${RESOURCE}/keys/key-00`,
    name: 'key-00',
    type: TYPE,
    location: 'local',
    properties: {
      attributes: expect.objectContaining({ enabled: true }) as unknown,
      keyUri: `https://${HOST}/keys/key-00`,
    },
  });
  expect(errorOf(await ask('GET', '?api-version=2024-11-01&$skiptoken=a%20b'))).toEqual([400, 'BadRequest']);
});

test('keys through ARM: refusals of the HSM keep their status, and name what was wished here', async () => {
  expect(errorOf(await ask('GET', '/missing'))).toEqual([404, 'KeyNotFound']);
  const size = await ask('PUT', '/k', { properties: { kty: 'RSA', keySize: '2048' } });
  expect(errorOf(size)).toEqual([400, 'BadParameter']);
  expect(textOf(size.json['error']?.['message'])).toMatch(/^Property 'properties\.keySize'/);
  expect(errorOf(await ask('PUT', '/k', { properties: { kty: 'RSA', keySize: 1000 } }))).toEqual([
    400,
    'BadParameter',
  ]);
  for (const body of [undefined, {}, [], { properties: 'none' }, { properties: [] }]) {
    expect(errorOf(await ask('PUT', '/k', body))).toEqual([400, 'BadRequest']);
  }
  expect(errorOf(await ask('PUT', '/k_1', { properties: { kty: 'EC' } }))).toEqual([400, 'BadRequest']);
  expect(errorOf(await ask('GET', `/${'k'.repeat(128)}`))).toEqual([400, 'BadRequest']);
  expect(errorOf(await ask('GET', '/%2e%2e'))).toEqual([400, 'BadRequest']);
  await ask('PUT', '/k', { properties: { kty: 'EC' } });
  await served.ask('DELETE', '/keys/k');
  const held = await ask('PUT', '/k', { properties: { kty: 'EC' } });
  expect(errorOf(held)).toEqual([409, 'Conflict']);
  expect(held.json['error']?.['innererror']?.['code']).toBe('ObjectIsDeletedButRecoverable');
});

test('keys through ARM: while the setting is false the refusal names it', async () => {
  await allow('false');
  for (const refused of [await ask('GET', ''), await ask('PUT', '/k', { properties: { kty: 'EC' } })]) {
    expect(errorOf(refused)).toEqual([403, 'Forbidden']);
    expect(textOf(refused.json['error']?.['message'])).toContain('AllowKeyManagementOperationsThroughARM');
  }
});

test('keys through ARM: who has no role in the HSM, or whom it does not believe, is refused', async () => {
  token = await tokenFor(served.hsm, { aud: RELAY.audiences[0], oid: STRANGER });
  expect(errorOf(await ask('PUT', '/k', { properties: { kty: 'EC' } }))).toEqual([403, 'AccessDenied']);
  // Not 401: a client would log in again, and again.
  token = served.token;
  expect(errorOf(await ask('GET', ''))).toEqual([403, 'Forbidden']);
});

test('keys through ARM: an instance is asked by its pool’s root, and the next one when one is gone', async () => {
  const [door] = doors;
  if (!door) throw new Error('no instance');
  const gone = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => gone.once('listening', resolve));
  const { port: closed } = gone.address() as AddressInfo;
  await new Promise((resolve) => gone.close(resolve));
  doors = [{ ...door, port: closed }, door];
  expect((await ask('GET', '')).status).toBe(200);

  doors = [{ ...door, port: closed }];
  const silent = await ask('GET', '');
  expect([errorOf(silent), silent.headers['retry-after']]).toEqual([[503, 'ServiceUnavailable'], '1']);
  doors = [];
  expect(errorOf(await ask('GET', ''))).toEqual([503, 'ServiceUnavailable']);

  // Whoever has taken the port of an instance has no certificate of the pool, and gets no token.
  const other = await Served.start();
  try {
    doors = [{ ...door, port: other.port }];
    const before = other.audit.records.length;
    expect(errorOf(await ask('GET', ''))).toEqual([503, 'ServiceUnavailable']);
    expect(other.audit.records).toHaveLength(before);
  } finally {
    await other.stop();
  }
});

test('keys through ARM: the log of the HSM names the client and not the fabric', async () => {
  await ask('PUT', '/k', { properties: { kty: 'EC' } });
  expect(served.audit.records.at(-1)).toMatchObject({ operationName: 'KeyCreate', clientInfo: 'a client' });
});
