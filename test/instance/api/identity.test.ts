// Who may ask at all. Everything that is not a good token of a trusted issuer gets the challenge.
import { generateKeyPairSync } from 'node:crypto';
import { exportJWK, SignJWT } from 'jose';
import { audienceOf, createIdentify } from '../../../src/instance/api/identity.js';
import { OPERATOR, STRANGER, TENANT } from '../hsm/fake-hsm.js';
import { AUTHORITY, DATA_PORT, DOMAIN, ISSUER, issuerKeys, Served, tokenFor } from './served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served.stop());

const PLAIN = `Bearer authorization="${AUTHORITY}", resource="https://${DOMAIN}:${DATA_PORT}"`;

describe('challenge', () => {
  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])(
    '%s without a token: 401 before anything else',
    async (method) => {
      for (const path of ['/keys/k', '/keys/k//sign?bad', '/nowhere', '/keys/%zz']) {
        const answer = await served.ask(method, path, { token: null });
        expect(answer.status).toBe(401);
        expect(answer.headers['www-authenticate']).toBe(PLAIN);
        expect(answer.text).toBe(method === 'GET' ? 'OK' : '');
        expect(answer.headers['content-length']).toBe(method === 'GET' ? '2' : '0');
        expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
      }
    },
  );

  it('a body that is not JSON is not looked at', async () => {
    const answer = await served.ask('POST', '/keys/k/create', { token: null, raw: '{{{' });
    expect(answer.status).toBe(401);
    expect(answer.text).toBe('');
  });

  it.each([
    [`dev.${DOMAIN}:1234`, `${DOMAIN}:1234`],
    [`dev.${DOMAIN}`, DOMAIN],
    [`DEV.${DOMAIN}:1234`, `${DOMAIN}:1234`],
    ['localhost:1234', `${DOMAIN}:${DATA_PORT}`],
    ['127.0.0.1:1234', `${DOMAIN}:${DATA_PORT}`],
    ['evil.example.net', `${DOMAIN}:${DATA_PORT}`],
    [`evil"x.${DOMAIN}`, `${DOMAIN}:${DATA_PORT}`],
  ])('resource for the host %s is https://%s', async (host, resource) => {
    const { headers } = await served.ask('GET', '/keys', { token: null, host });
    expect(headers['www-authenticate']).toBe(
      `Bearer authorization="${AUTHORITY}", resource="https://${resource}"`,
    );
  });
});

describe('a token is refused', () => {
  const base = { iss: ISSUER, aud: `https://${DOMAIN}`, tid: TENANT, oid: OPERATOR };
  const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

  async function refused(token: string): Promise<void> {
    const answer = await served.ask('GET', '/keys', { token });
    expect(answer.status).toBe(401);
    const header = answer.headers['www-authenticate'] ?? '';
    expect(header.startsWith(`${PLAIN}, error="invalid_token", error_description="`)).toBe(true);
    expect(header.slice(PLAIN.length)).not.toContain(token);
    const { error } = JSON.parse(answer.text) as { error: { code: string; message: string } };
    expect(error.code).toBe('Unauthorized');
    expect(error.message).toMatch(/ \(Activity ID: [0-9a-f-]{36}\)$/);
    expect(error.message).not.toContain(token);
  }

  it.each<[string, Record<string, unknown>]>([
    ['has expired', { exp: 1_799_999_999 }],
    ['ends at this very second', { exp: 1_800_000_000 }],
    ['is not valid for more than a minute', { nbf: 1_800_000_061 }],
    ['has no end', { exp: undefined }],
    ['has an end that is a text', { exp: '2000000000' }],
    ['is for the control plane', { aud: 'https://localhost:8443' }],
    ['is for a longer domain', { aud: `https://x.${DOMAIN}` }],
    ['is for a domain with this one as its start', { aud: `https://${DOMAIN}.example.net` }],
    ['is for several audiences', { aud: [`https://${DOMAIN}`, 'https://localhost:8443'] }],
    ['has no audience', { aud: undefined }],
    ['has another issuer', { iss: 'https://login.example.net' }],
    ['has no issuer', { iss: undefined }],
    ['is of another tenant', { tid: STRANGER }],
    ['has no tenant', { tid: undefined }],
    ['has no object id', { oid: undefined }],
    ['has an object id that is no GUID', { oid: 'admin' }],
    ['has groups that are no list', { groups: 'all' }],
    ['has groups that are no GUIDs', { groups: ['all'] }],
    ['names more than 200 groups', { groups: Array.from({ length: 201 }, () => STRANGER) }],
  ])('that %s', async (_, claims) => {
    await refused(await tokenFor(served.hsm, claims));
  });

  it('that is not signed', async () => {
    const claims = { ...base, exp: 1_900_000_000 };
    await refused(`${b64({ alg: 'none' })}.${b64(claims)}.`);
    await refused(`${b64({ alg: 'none' })}.${b64(claims)}.AAAA`);
  });

  it('that was signed by a foreign key of the same name', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const token = await new SignJWT({ ...base, exp: 1_900_000_000 })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .sign(privateKey);
    await refused(token);
  });

  it('that brings its own key', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const token = await new SignJWT({ ...base, exp: 1_900_000_000 })
      .setProtectedHeader({ alg: 'ES256', jwk: await exportJWK(publicKey) })
      .sign(privateKey);
    await refused(token);
  });

  it('that uses the public key as the secret of an HMAC', async () => {
    const secret = issuerKeys.publicKey.export({ format: 'pem', type: 'spki' });
    const token = await new SignJWT({ ...base, exp: 1_900_000_000 })
      .setProtectedHeader({ alg: 'HS256', kid: 'one' })
      .sign(Buffer.from(secret));
    await refused(token);
  });

  it('whose payload was changed', async () => {
    const [head, , signature] = (await tokenFor(served.hsm)).split('.');
    await refused(`${head ?? ''}.${b64({ ...base, exp: 1_900_000_000 })}.${signature ?? ''}`);
  });

  it('that is longer than 16 KiB', async () => {
    await refused(await tokenFor(served.hsm, { padding: 'x'.repeat(16_384) }));
  });

  // The JavaScript SDK fell over an empty body, with a TypeError instead of the reason.
  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])(
    'in words that a client can read, for %s too',
    async (method) => {
      const answer = await served.ask(method, '/keys/k/create', {
        token: 'not.a.token',
        body: { kty: 'EC' },
      });
      const { error } = JSON.parse(answer.text) as { error: { code: string } };
      expect([answer.status, error.code]).toEqual([401, 'Unauthorized']);
    },
  );

  it('that is no token', async () => {
    for (const authorization of ['Bearer', 'Bearer ', 'Bearer a.b', 'Basic YTpi', 'Bearer a.b.c', 'x']) {
      const { status } = await served.ask('GET', '/keys', { token: null, headers: { authorization } });
      expect(status).toBe(401);
    }
  });
});

describe('a token is taken', () => {
  it.each([
    `https://${DOMAIN}`,
    `https://${DOMAIN}/`,
    `https://${DOMAIN}:1`,
    `https://${DOMAIN}:65535/`,
    'https://managedhsm.azure.net',
  ])('for the audience %s', async (aud) => {
    expect((await served.ask('GET', '/keys', { token: await tokenFor(served.hsm, { aud }) })).status).toBe(
      200,
    );
  });

  it('up to a minute before it begins', async () => {
    const token = await tokenFor(served.hsm, { nbf: served.hsm.now() + 60 });
    expect((await served.ask('GET', '/keys', { token })).status).toBe(200);
  });

  it('and its groups count', async () => {
    const token = await tokenFor(served.hsm, { oid: STRANGER, groups: [OPERATOR.toUpperCase()] });
    expect((await served.ask('GET', '/keys', { token })).status).toBe(200);
  });

  it('only until it expires, also when it was seen before', async () => {
    const own = await Served.start();
    const token = await tokenFor(own.hsm, { exp: own.hsm.now() + 100 });
    expect((await own.ask('GET', '/keys', { token })).status).toBe(200);
    own.hsm.clock += 99;
    expect((await own.ask('GET', '/keys', { token })).status).toBe(200);
    own.hsm.clock += 1;
    expect((await own.ask('GET', '/keys', { token })).status).toBe(401);
    await own.stop();
  });

  it('anew after the clock was moved, however little', async () => {
    const { hsm } = served;
    const identify = createIdentify(hsm, audienceOf(DOMAIN));
    const authorization = `Bearer ${await tokenFor(hsm)}`;
    const fresh = identify(authorization);
    expect(fresh).toBeInstanceOf(Promise);
    await fresh;
    expect(identify(authorization)).toEqual(await fresh); // known: the answer itself
    hsm.clockOffset += 1;
    const again = identify(authorization);
    expect(again).toBeInstanceOf(Promise);
    await again;
    expect(identify(authorization)).toEqual(await fresh);
  });

  it('only while its issuer is trusted, also when it was seen before', async () => {
    const own = await Served.start();
    expect((await own.ask('GET', '/keys')).status).toBe(200);
    const pool = own.hsm.state.get('pool', 'pool');
    if (!pool) throw new Error('founded');
    own.hsm.state.apply([{ table: 'pool', id: 'pool', value: { ...pool, issuers: [] } }]);
    expect((await own.ask('GET', '/keys')).status).toBe(401);
    own.hsm.state.apply([{ table: 'pool', id: 'pool', value: { ...pool } }]);
    expect((await own.ask('GET', '/keys')).status).toBe(200);
    await own.stop();
  });
});
