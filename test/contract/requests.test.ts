// What the reference says of every request, over HTTPS: TLS, ids, pages, throttling.
import { connect, type SecureVersion } from 'node:tls';
import { DATA_PORT, DOMAIN, Served, textOf } from '../instance/api/served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
  await served.ask('POST', '/keys/k/create', { body: { kty: 'EC' } });
});
afterAll(() => served.stop());

const BASE = `https://dev.${DOMAIN}:${DATA_PORT}`;
const value = Buffer.alloc(32, 1).toString('base64url');

describe('TLS', () => {
  const spoken = (version: SecureVersion) =>
    new Promise<string | null>((resolve, reject) => {
      const socket = connect(
        {
          host: '127.0.0.1',
          port: served.port,
          rejectUnauthorized: false,
          minVersion: version,
          maxVersion: version,
          // OpenSSL of its own accord would not even ask for the old versions.
          ciphers: 'DEFAULT@SECLEVEL=0',
        },
        () => {
          resolve(socket.getProtocol());
          socket.destroy();
        },
      );
      socket.on('error', reject);
    });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('%s is spoken', async (version) => {
    expect(await spoken(version)).toBe(version);
  });

  it.each(['TLSv1', 'TLSv1.1'] as const)('%s is not', async (version) => {
    await expect(spoken(version)).rejects.toMatchObject({
      code: expect.stringMatching(/SSL|ECONNRESET/) as string,
    });
  });
});

describe('the request id', () => {
  it('is new every time, and the same in header and message', async () => {
    const ids = new Set<string>();
    for (let n = 0; n < 3; n += 1) {
      const { headers, json } = await served.ask('GET', '/keys/none');
      const id = String(headers['x-ms-request-id']);
      expect(textOf(json['error']?.['message'])).toMatch(new RegExp(`\\(Activity ID: ${id}\\)$`));
      ids.add(id);
    }
    expect(ids.size).toBe(3);
  });

  it('of the client is taken and not echoed', async () => {
    const headers = {
      'x-ms-client-request-id': '01234567-89ab-cdef-0123-456789abcdef',
      'x-ms-return-client-request-id': 'true',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    const answer = await served.ask('GET', '/keys/k', { headers });
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.headers)).not.toContain(headers['x-ms-client-request-id']);
  });
});

describe('spellings of clients', () => {
  it.each(['wrapkey', 'wrapKey', 'WRAPKEY'])('%s is one operation', async (verb) => {
    await served.ask('POST', '/keys/aes/create', { body: { kty: 'oct' } });
    const { status } = await served.ask('POST', `/keys/aes/${verb}`, { body: { alg: 'A256KW', value } });
    expect(status).toBe(200);
  });

  it('X-HTTP-METHOD is not read', async () => {
    const { status } = await served.ask('POST', '/keys/k', { headers: { 'x-http-method': 'GET' } });
    expect(status).toBe(405);
  });
});

describe('a page', () => {
  it('links to the next one: absolute, with maxresults and a bare $skiptoken in base64url, without api-version', async () => {
    for (const name of ['p1', 'p2'])
      await served.ask('POST', `/keys/${name}/create`, { body: { kty: 'EC' } });
    const { json, text } = await served.ask('GET', '/keys?api-version=7.4&maxresults=1');
    expect(textOf(json['nextLink'])).toMatch(
      new RegExp(`^${BASE}/keys\\?maxresults=1&\\$skiptoken=[A-Za-z0-9_-]+$`),
    );
    expect(text.startsWith('{"nextLink":"')).toBe(true);
    const next = await served.ask('GET', textOf(json['nextLink']).slice(BASE.length));
    expect(next.status).toBe(200);
  });

  it('of versions and of deleted keys links the same way', async () => {
    for (let n = 0; n < 2; n += 1) await served.ask('POST', '/keys/v/create', { body: { kty: 'EC' } });
    const versions = await served.ask('GET', '/keys/v/versions?api-version=7.4&maxresults=1');
    expect(textOf(versions.json['nextLink'])).toContain(`${BASE}/keys/v/versions?maxresults=1&$skiptoken=`);
    for (const name of ['d1', 'd2']) {
      await served.ask('POST', `/keys/${name}/create`, { body: { kty: 'EC' } });
      await served.ask('DELETE', `/keys/${name}`);
    }
    const deleted = await served.ask('GET', '/deletedkeys?api-version=7.4&maxresults=1');
    expect(textOf(deleted.json['nextLink'])).toContain(`${BASE}/deletedkeys?maxresults=1&$skiptoken=`);
  });

  it('has no link when it is the last, and members in order', async () => {
    const { text } = await served.ask('GET', '/keys/none/versions');
    expect(text).toBe('{"value":[]}');
  });
});

describe('throttling', () => {
  it('there is none: many at once all sign', async () => {
    const body = { alg: 'ES256', value };
    const all = await Promise.all(
      Array.from({ length: 300 }, () => served.ask('POST', '/keys/k/sign', { body })),
    );
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
    for (const { headers } of all) expect(headers).not.toHaveProperty('retry-after');
  });
});

describe('families of vaults only', () => {
  it.each(['/secrets', '/certificates', '/storage'])('%s is nothing', async (path) => {
    expect((await served.ask('GET', path)).status).toBe(404);
  });
});

describe('operations that are not offered', () => {
  it.each([['GET', '/ekm']])('%s %s is refused clearly', async (method, path) => {
    const { status, json } = await served.ask(method, path, { body: {} });
    expect(status).toBe(404);
    expect(json['error']?.['code']).toBe('NotFound');
  });
});
