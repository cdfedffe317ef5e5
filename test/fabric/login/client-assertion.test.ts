import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClientCertificateCredential } from '@azure/identity';
import { SignJWT, decodeJwt } from 'jose';
import { issueCertificate, toPem } from '../../../src/values/certificate.js';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { Answer, StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const DAY_MS = 86_400_000;
let started: StartedFabric;
let tenant: string;
let pem: string;
let client: { clientId: string; objectId: string };

beforeAll(async () => {
  started = await startedFabric(directory);
  tenant = started.fabric.status().tenantId;
  pem = await certificateOf(rsa);
  client = (await added('certified', pem)).json as typeof client;
});
afterAll(() => started.fabric.abandon());

async function certificateOf(
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
  days = 1,
): Promise<string> {
  const certificate = await issueCertificate({
    subject: { commonName: 'a client' },
    issuer: { commonName: 'a client' },
    publicKey: publicKey.export({ format: 'der', type: 'spki' }),
    notBefore: new Date(Date.now() - 2 * DAY_MS),
    notAfter: new Date(Date.now() + days * DAY_MS),
    authority: false,
    sign: (tbs) => sign('sha256', tbs, privateKey),
  });
  return toPem(certificate);
}

async function added(name: string, certificate: unknown): Promise<Answer> {
  const headers = { Authorization: `Bearer ${await started.token()}`, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ name, certificate });
  return started.ask('/trivet/principals', { method: 'POST', headers, body });
}

function assertion(
  claims: object = {},
  alg = 'PS256',
  key: KeyObject | Uint8Array = rsa.privateKey,
): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  const { clientId } = client;
  const aud = `${started.base}/adfs/oauth2/token`;
  return new SignJWT({ iss: clientId, sub: clientId, aud, nbf: now, exp: now + 600, ...claims })
    .setProtectedHeader({ alg, typ: 'JWT' })
    .sign(key);
}

function login(client_assertion: string, changes: Record<string, string> = {}): Promise<Answer> {
  return started.login({
    grant_type: 'client_credentials',
    client_id: client.clientId,
    scope: `${started.base}/.default`,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion,
    ...changes,
  });
}

test.each([['adfs'], ['tenant']])(
  'assertion: the Azure identity library logs in with a certificate: %s',
  async (form) => {
    const file = join(directory, 'client.pem');
    writeFileSync(file, `${rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()}${pem}`);
    const credential = new ClientCertificateCredential(
      form === 'adfs' ? 'adfs' : tenant,
      client.clientId,
      { certificatePath: file },
      { authorityHost: started.base, tlsOptions: { ca: started.ca }, disableInstanceDiscovery: true },
    );
    const { token } = await credential.getToken('https://managedhsm.localhost:9443/.default');
    expect(decodeJwt(token)).toMatchObject({ oid: client.objectId, appid: client.clientId });
  },
);

test('assertion: every accepted algorithm and form of the endpoint', async () => {
  for (const alg of ['PS256', 'RS256']) expect((await login(await assertion({}, alg))).status).toBe(200);
  for (const aud of [
    `${started.base}/${tenant}/oauth2/v2.0/token`,
    `${started.base}/ADFS/oauth2/token/`,
    `https://127.0.0.1:${started.port}/adfs/oauth2/token`,
  ]) {
    expect([aud, (await login(await assertion({ aud }))).status]).toEqual([aud, 200]);
  }
  const other = (await added('on a curve', await certificateOf(ec))).json as typeof client;
  const own = { iss: other.clientId, sub: other.clientId };
  expect(
    (await login(await assertion(own, 'ES256', ec.privateKey), { client_id: other.clientId })).status,
  ).toBe(200);
});

const now = Math.floor(Date.now() / 1_000);
test.each<[string, object]>([
  ['has ended', { exp: now - 1 }],
  ['has no end', { exp: undefined }],
  ['lives longer than an hour', { exp: now + 7_200 }],
  ['begins later', { nbf: now + 600 }],
  ['is of another issuer', { iss: 'someone' }],
  ['is about somebody else', { sub: 'someone' }],
  ['is for another server', { aud: 'https://login.microsoftonline.com/adfs/oauth2/token' }],
  ['is for several servers', { aud: ['https://localhost/adfs/oauth2/token'] }],
  ['is for no server', { aud: undefined }],
])('assertion: one that %s is refused', async (_, claims) => {
  const answer = await login(await assertion(claims));
  expect([answer.status, answer.json['error_codes']]).toEqual([401, [700027]]);
});

test('assertion: the Host header does not choose the audience', async () => {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: client.clientId,
    scope: `${started.base}/.default`,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await assertion({ aud: 'https://evil.example.net/adfs/oauth2/token' }),
  }).toString();
  const headers = { Host: 'evil.example.net', 'Content-Type': 'application/x-www-form-urlencoded' };
  expect((await started.ask('/adfs/oauth2/token', { method: 'POST', headers, body })).status).toBe(401);
});

test('assertion: forged, unsigned, confused and foreign ones are refused', async () => {
  const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const good = await assertion();
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${good.split('.')[1] ?? ''}.`;
  for (const wrong of [
    await assertion({}, 'PS256', foreign.privateKey),
    await assertion({}, 'HS256', Buffer.from(pem)),
    await assertion({}, 'HS256', rsa.publicKey.export({ format: 'der', type: 'spki' })),
    await assertion({}, 'RS512'),
    none,
    `${good.slice(0, -8)}AAAAAAAA`,
    await assertion({ padding: 'x'.repeat(16_384) }),
    'x',
  ]) {
    const answer = await login(wrong);
    expect([answer.status, answer.json['error_codes']]).toEqual([401, [700027]]);
    expect(answer.text).not.toContain(wrong.slice(0, 40) || '-');
  }
});

test('assertion: a certificate that has ended opens nothing', async () => {
  const ended = (await added('ended', await certificateOf(rsa, -1))).json as typeof client;
  const own = { iss: ended.clientId, sub: ended.clientId };
  expect((await login(await assertion(own), { client_id: ended.clientId })).status).toBe(401);
});

test('assertion: who has a certificate has no secret, and the other way round', async () => {
  const form = { grant_type: 'client_credentials', scope: `${started.base}/.default` };
  const { clientId, clientSecret } = started.admin;
  const secret = await started.login({ ...form, client_id: client.clientId, client_secret: 'undefined' });
  expect(secret.status).toBe(401);
  const own = { iss: clientId, sub: clientId };
  expect((await login(await assertion(own), { client_id: clientId })).status).toBe(401);
  expect((await login(await assertion(), { client_secret: clientSecret })).status).toBe(400);
  expect((await login(await assertion(), { client_assertion_type: 'saml' })).status).toBe(400);
});

test('assertion: a reset gives a secret, and the certificate is void', async () => {
  const reset = (await added('resetting', pem)).json as typeof client;
  const own = { iss: reset.clientId, sub: reset.clientId };
  expect((await login(await assertion(own), { client_id: reset.clientId })).status).toBe(200);
  const headers = { Authorization: `Bearer ${await started.token()}` };
  await started.ask('/trivet/principals/resetting/reset', { method: 'POST', headers });
  expect((await login(await assertion(own), { client_id: reset.clientId })).status).toBe(401);
});

test('assertion: unfit certificates are refused when they are registered', async () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const curve = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  for (const certificate of [await certificateOf(weak), await certificateOf(curve), 'x', '', 7, {}]) {
    expect((await added('unfit', certificate)).status).toBe(400);
  }
});
