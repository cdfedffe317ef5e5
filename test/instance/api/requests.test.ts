// Rules that hold for every request: URLs, api-versions, headers, bodies, errors.
import { request } from 'node:https';
import { STRANGER } from '../hsm/fake-hsm.js';
import { apiVersions } from '../../../src/instance/api/versions.js';
import { Outage } from '../../../src/instance/hsm/outage.js';
import { DATA_PORT, DOMAIN, Served, textOf, tokenFor } from './served.js';

let served: Served;
let kid: string;
beforeAll(async () => {
  served = await Served.start();
  const { json } = await served.ask('POST', '/keys/Key-1/create', { body: { kty: 'EC' } });
  kid = textOf(json['key']?.['kid']);
});
afterAll(() => served.stop());

const BASE = `https://dev.${DOMAIN}:${DATA_PORT}`;

describe('paths', () => {
  it.each([
    '/keys/Key-1',
    '/keys/Key-1/',
    '//keys///Key-1//',
    '/KEYS/Key-1/',
    '/keys/%4bey-1',
    '/k%65ys/Key-1/',
    'https://elsewhere/keys/Key-1',
  ])('%s is the key', async (path) => {
    const { status, json } = await served.ask('GET', path);
    expect(status).toBe(200);
    expect(json['key']?.['kid']).toBe(kid);
  });

  it.each(['/keys/Key-1/sign', '/keys/Key-1//sign', '/Keys/Key-1//SIGN', '/keys/Key-1/sign/'])(
    'POST %s signs with the newest version',
    async (path) => {
      const body = { alg: 'ES256', value: Buffer.alloc(32, 1).toString('base64url') };
      const { status, json } = await served.ask('POST', path, { body });
      expect(status).toBe(200);
      expect(json['kid']).toBe(kid);
    },
  );

  it('names of keys keep their case', async () => {
    expect((await served.ask('GET', '/keys/key-1')).status).toBe(404);
  });

  it.each([
    ['/keys/Key%2D1%2Fsign', 404],
    ['/keys/..%2Fdeletedkeys', 404],
    ['/keys/..', 400],
    ['/keys/Key-1%00', 404],
    ['/keys/a%5Cb', 404],
    ['/keys/%252e', 404],
    ['/keys/a_b', 400],
    [`/keys/${'x'.repeat(128)}`, 400],
    ['/keys/%zz', 400],
    ['/keys/%ff', 400],
    ['/', 404],
    ['/secrets', 404],
    ['/keys/a/b/c/d', 404],
  ])('GET %s is refused with %d in the service’s form, and never redirected', async (path, expected) => {
    const { status, json, headers } = await served.ask('GET', path);
    expect(status).toBe(expected);
    expect(json['error']?.['message']).toContain(`(Activity ID: ${String(headers['x-ms-request-id'])})`);
    expect(headers.location).toBeUndefined();
  });

  it.each([
    ['POST', '/keys/Key-1/restore'],
    ['POST', '/keys/Key-1/nonsense'],
  ])('%s %s is not offered, and says so', async (method, path) => {
    const { status, json } = await served.ask(method, path);
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('NotSupported');
    expect(json['error']?.['message']).toMatch(/^action '\w+' not supported \(Activity ID: /);
  });

  it.each([
    ['PUT', '/keys'],
    ['POST', '/deletedkeys/Key-1'],
    ['GET', '/rng'],
    ['GET', '/keys/Key-1/sign'],
    ['OPTIONS', '/keys'],
    ['HEAD', '/keys'],
  ])('%s %s is not allowed: 405', async (method, path) => {
    expect((await served.ask(method, path)).status).toBe(405);
  });
});

describe('api-version', () => {
  it.each([...apiVersions])('%s is known', async (version) => {
    expect((await served.ask('GET', `/keys/Key-1?api-version=${version}`)).status).toBe(200);
  });

  it('names of query parameters are percent-decoded', async () => {
    expect((await served.ask('GET', '/keys/Key-1/?api%2Dversion=2025-07-01')).status).toBe(200);
  });

  it.each([
    '/keys?api-version=6.0',
    '/keys?api-version=',
    '/keys?other=1',
    '/keys?maxresults=1',
    '/keys?api-version=__proto__',
  ])('%s is refused', async (path) => {
    const { status, json } = await served.ask('GET', path);
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('BadParameter');
  });

  it('an operation that is newer is refused', async () => {
    const { status, json } = await served.ask('POST', '/rng?api-version=7.2', { body: { count: 4 } });
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('NotSupported');
  });
});

describe('headers', () => {
  const everywhere = {
    'cache-control': 'no-cache',
    'content-type': 'application/json; charset=utf-8',
    'content-security-policy': "default-src 'self'",
    'strict-transport-security': 'max-age=31536000; includeSubDomains',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'SAMEORIGIN',
    'x-ms-request-id': expect.stringMatching(
      /^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    ) as string,
    'x-ms-server-latency': expect.stringMatching(/^[0-9]+$/) as string,
    'content-length': expect.stringMatching(/^[0-9]+$/) as string,
  };

  it('a success has all of them', async () => {
    const { headers } = await served.ask('GET', '/keys/Key-1');
    expect(headers).toMatchObject({
      ...everywhere,
      'x-ms-build-version': expect.stringContaining('trivet') as string,
      'x-ms-keyvault-region': 'local',
      'x-ms-keyvault-network-info': 'conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=Ipv4;',
    });
    for (const absent of ['x-powered-by', 'etag', 'date', 'transfer-encoding'])
      expect(headers).not.toHaveProperty(absent);
  });

  it('errors have them too, but neither region nor network', async () => {
    for (const answer of [
      await served.ask('GET', '/keys/none'),
      await served.ask('GET', '/nowhere'),
      await served.ask('GET', '/keys', { token: null }),
      await served.ask('POST', '/keys/Key-1/create', { raw: '{' }),
    ]) {
      expect(answer.headers).toMatchObject(everywhere);
      expect(answer.headers).not.toHaveProperty('x-ms-keyvault-region');
      expect(answer.headers).not.toHaveProperty('x-ms-keyvault-network-info');
    }
  });

  it('only GET has the build version', async () => {
    expect((await served.ask('GET', '/keys', { token: null })).headers).toHaveProperty('x-ms-build-version');
    const { headers } = await served.ask('POST', '/rng', { body: { count: 1 } });
    expect(headers).not.toHaveProperty('x-ms-build-version');
  });
});

describe('hosts in answers', () => {
  it.each([
    [`dev.${DOMAIN}:1`, `https://dev.${DOMAIN}:1`],
    [`dev.${DOMAIN}`, `https://dev.${DOMAIN}`],
    ['localhost:1', 'https://localhost:1'],
    ['127.0.0.1:1', 'https://127.0.0.1:1'],
    ['[::1]:1', 'https://[::1]:1'],
    ['evil.example.net', BASE],
    ['localhost.evil.example.net', BASE],
    [`other.${DOMAIN}:1`, BASE],
    [`dev.${DOMAIN}:1/x`, BASE],
  ])('%s gives %s', async (host, base) => {
    const { json } = await served.ask('GET', '/keys/Key-1', { host });
    expect(json['key']?.['kid']).toBe(kid.replace(BASE, base));
    const missing = await served.ask('GET', '/keys/none', { host });
    expect(missing.json['error']?.['message']).toMatch(`Key not found: ${base}/keys/none (Activity ID: `);
  });
});

describe('bodies', () => {
  it.each([
    '',
    '{',
    '[]',
    '7',
    'null',
    '"x"',
    '{"kty":"EC"}}',
    '\u0000',
    '{"kty":7}',
    '{"kty":["EC"]}',
    '{"__proto__":{"kty":"EC"}}',
  ])('%j is refused with 400', async (raw) => {
    const { status, json } = await served.ask('POST', '/keys/body/create', { raw });
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('BadParameter');
  });

  it('a content type is not needed', async () => {
    const raw = '{"kty":"EC"}';
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense']) {
      const { status } = await served.ask('POST', '/keys/typed/create', {
        raw,
        headers: { 'content-type': type },
      });
      expect(status).toBe(200);
    }
  });

  it('UTF-8 is read with or without its name and mark, anything else is refused with 415', async () => {
    const ask = (type: string, raw: string) =>
      served.ask('POST', '/keys/encoded/create', { raw, headers: { 'content-type': type } });
    const raw = '{"kty":"EC"}';
    for (const charset of ['utf-8', '"UTF-8"']) {
      expect((await ask(`application/json; charset=${charset}`, `\ufeff${raw}`)).status).toBe(200);
    }
    expect((await ask('application/json; charset=utf-16', raw)).status).toBe(415);
    expect((await ask('application/json;odata=verbose; Charset=iso-8859-1', raw)).status).toBe(415);
  });

  it('a body that comes in pieces, a character in two of them, is read as one', async () => {
    const bytes = Buffer.from(JSON.stringify({ kty: 'EC', tags: { name: 'é' } }));
    const cut = bytes.indexOf('é') + 1;
    const status = await new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port: served.port,
          rejectUnauthorized: false,
          agent: false,
          method: 'POST',
          path: '/keys/pieces/create?api-version=7.4',
          headers: { authorization: `Bearer ${served.token}` },
        },
        (incoming) => resolve(incoming.resume().statusCode),
      );
      outgoing.on('error', reject);
      outgoing.write(bytes.subarray(0, cut), () => setTimeout(() => outgoing.end(bytes.subarray(cut)), 20));
    });
    expect(status).toBe(200);
    expect((await served.ask('GET', '/keys/pieces')).json['tags']?.['name']).toBe('é');
  });

  it('a body over 64 KiB is refused with 413, announced or not', async () => {
    const raw = JSON.stringify({ kty: 'EC', padding: 'x'.repeat(70_000) });
    const announced = await served.ask('POST', '/keys/big/create', { raw });
    expect(announced.status).toBe(413);
    expect(announced.json['error']?.['message']).toContain('Activity ID');
    const headers = { 'transfer-encoding': 'chunked' };
    expect((await served.ask('POST', '/keys/big/create', { raw, headers })).status).toBe(413);
  });

  it('compressed bodies are not read', async () => {
    const { status } = await served.ask('POST', '/keys/z/create', {
      raw: 'xx',
      headers: { 'content-encoding': 'gzip' },
    });
    expect(status).toBe(415);
  });

  it('nesting as deep as a body allows does no harm', async () => {
    const raw = `{"kty":"EC","x":${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
    expect((await served.ask('POST', '/keys/deep/create', { raw })).status).toBe(200);
  });

  it('names of a prototype are names like others, or nothing at all', async () => {
    const raw =
      '{"kty":"EC","tags":{"__proto__":"x","constructor":"y"},"constructor":1,"__proto__":{"enabled":false}}';
    const { status, json } = await served.ask('POST', '/keys/proto/create', { raw });
    expect(status).toBe(200);
    expect(json['tags']?.['constructor']).toBe('y');
    expect(({} as Record<string, unknown>)['enabled']).toBeUndefined();
  });

  it('a body with GET does no harm', async () => {
    expect((await served.ask('GET', '/keys/Key-1', { raw: '{{{' })).status).toBe(200);
    expect((await served.ask('GET', '/keys/Key-1')).status).toBe(200);
  });
});

describe('failures', () => {
  it('a caller without a role is denied by the action and the scope', async () => {
    const token = await tokenFor(served.hsm, { oid: STRANGER });
    const { status, json } = await served.ask('GET', '/keys/Key-1', { token });
    expect(status).toBe(403);
    expect(json['error']?.['code']).toBe('AccessDenied');
    expect(json['error']?.['message']).toMatch(
      /^Not authorized to access Microsoft\.KeyVault\/managedHsm\/keys\/read\/action on \/keys\/Key-1 \(Activity ID: /,
    );
  });

  it.each([
    ['TooFewInSync', /it was not carried out\. instance 2 is missing/, '1'],
    ['TooMuchUndecided', /it was not carried out/, '1'],
    ['OutcomeUnknown', /^Outcome unknown: /, undefined],
  ] as const)('%s is 503, says why, and whether to ask again', async (code, words, again) => {
    served.hsm.outage = new Outage(code, 'instance 2 is missing');
    const { status, json, headers } = await served.ask('POST', '/keys/out/create', { body: { kty: 'EC' } });
    served.hsm.outage = undefined;
    expect(status).toBe(503);
    expect(headers['retry-after']).toBe(again);
    expect(json['error']?.['message']).toMatch(words);
  });

  it('what nobody expected is 500, logged and not told', async () => {
    served.hsm.outage = new Error('a secret detail');
    const { status, text, headers } = await served.ask('POST', '/keys/out/create', { body: { kty: 'EC' } });
    served.hsm.outage = undefined;
    expect(status).toBe(500);
    expect(text).not.toContain('secret');
    const line = served.log.find((entry) => entry.includes(String(headers['x-ms-request-id'])));
    expect(line).toContain('a secret detail');
    expect(line).not.toContain(served.token);
  });
});
