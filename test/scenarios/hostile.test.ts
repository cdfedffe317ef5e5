// Bad input against a live pool: always a clear refusal in the service's form, never a 5xx, never silence, and the
// same processes afterwards. What nobody has thought of is in fuzz.test.ts.
import { createHmac, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { at, isAlive, TestPool, text, until, type Answer, type Client } from './pool.js';
import { useKey, type Made } from './use.js';
import { base64url } from './witness.js';

let pool: TestPool;
let admin: Client;
/** The administrator too, over a new connection for each request. */
let fresh: Client;
let pids: number[];
let key: Made;

beforeAll(async () => {
  pool = await TestPool.start();
  admin = await pool.client({ keepAlive: true });
  fresh = await pool.client();
  pids = pool.instancePids;
  const { body } = await admin.call('POST', '/keys/guarded/create', { kty: 'EC' });
  key = { name: 'guarded', jwk: at(body, 'key') };
  await admin.call('POST', '/keys/ec/create', { kty: 'EC' });
  await admin.call('POST', '/keys/rsa/create', { kty: 'RSA' });
  await admin.call('POST', '/keys/oct/create', { kty: 'oct', key_size: 256 });
}, 120_000);
afterAll(() => pool.remove());

afterEach(async () => {
  expect(await useKey(fresh, key)).toBeUndefined();
  expect(pids.filter(isAlive)).toEqual(pids);
});

/** A refusal as the service words it. */
function isRefusal(answer: Answer, status?: number): void {
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  if (status !== undefined) expect([answer.status, answer.text]).toEqual([status, answer.text]);
  if (answer.status === 401) return;
  const id = String(answer.headers['x-ms-request-id']);
  expect(text(answer.body, 'error', 'message')).toContain(`(Activity ID: ${id})`);
  expect(text(answer.body, 'error', 'code')).toMatch(/^[A-Za-z]+$/);
}

const digest = base64url(Buffer.alloc(32, 1));

test.each<[string, string, string, string]>([
  ['malformed JSON', 'POST', '/keys/new/create', '{"kty":'],
  ['no JSON at all', 'POST', '/keys/new/create', 'kty=RSA'],
  ['a list', 'POST', '/keys/new/create', '[]'],
  ['a number', 'POST', '/keys/new/create', '1'],
  ['nothing', 'POST', '/keys/new/create', ''],
  ['another type of member', 'POST', '/keys/new/create', '{"kty":7}'],
  ['an unknown key type', 'POST', '/keys/new/create', '{"kty":"DSA"}'],
  ['an RSA size of 1024', 'POST', '/keys/new/create', '{"kty":"RSA","key_size":1024}'],
  ['an RSA size of 1e9', 'POST', '/keys/new/create', '{"kty":"RSA","key_size":1000000000}'],
  ['an oct size of 64', 'POST', '/keys/new/create', '{"kty":"oct","key_size":64}'],
  ['an unknown curve', 'POST', '/keys/new/create', '{"kty":"EC","crv":"P-192"}'],
  ['an expiry before the start', 'POST', '/keys/new/create', '{"kty":"EC","attributes":{"nbf":20,"exp":10}}'],
  ['deep nesting', 'POST', '/keys/new/create', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
  [
    'sixteen tags',
    'POST',
    '/keys/new/create',
    JSON.stringify({
      kty: 'EC',
      tags: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`t${i}`, 'x'])),
    }),
  ],
  ['an unknown algorithm', 'POST', '/keys/ec/sign', `{"alg":"ES1","value":"${digest}"}`],
  ['an algorithm of another type', 'POST', '/keys/ec/sign', `{"alg":"RS256","value":"${digest}"}`],
  ['an algorithm of another curve', 'POST', '/keys/ec/sign', `{"alg":"ES384","value":"${digest}"}`],
  ['a digest that is too short', 'POST', '/keys/ec/sign', '{"alg":"ES256","value":"AA"}'],
  ['a value that is no base64url', 'POST', '/keys/ec/sign', '{"alg":"ES256","value":"a+/b"}'],
  [
    'a plaintext that is too long',
    'POST',
    '/keys/rsa/encrypt',
    `{"alg":"RSA-OAEP","value":"${base64url(Buffer.alloc(300))}"}`,
  ],
  [
    'a ciphertext that does not open',
    'POST',
    '/keys/rsa/decrypt',
    `{"alg":"RSA-OAEP","value":"${base64url(Buffer.alloc(256))}"}`,
  ],
  [
    'a wrong GCM tag',
    'POST',
    '/keys/oct/decrypt',
    `{"alg":"A256GCM","value":"AAAA","iv":"${base64url(Buffer.alloc(12))}","tag":"${base64url(Buffer.alloc(16))}"}`,
  ],
  [
    'part of a CBC block',
    'POST',
    '/keys/oct/encrypt',
    `{"alg":"A256CBC","value":"AAAA","iv":"${base64url(Buffer.alloc(16))}"}`,
  ],
  ["an AES size that is not the key's", 'POST', '/keys/oct/encrypt', '{"alg":"A128GCM","value":"AAAA"}'],
  [
    'a key to wrap of 15 bytes',
    'POST',
    '/keys/oct/wrapkey',
    `{"alg":"A256KW","value":"${base64url(Buffer.alloc(15))}"}`,
  ],
  ['no bytes of randomness', 'POST', '/rng', '{"count":0}'],
  ['too many bytes of randomness', 'POST', '/rng', '{"count":129}'],
  ['an import of half a key', 'PUT', '/keys/new', '{"key":{"kty":"RSA","n":"AQAB","e":"AQAB"}}'],
])('hostile: %s is refused', async (_what, method, path, body) => {
  isRefusal(await admin.send(method, `${path}?api-version=7.6`, body), 400);
});

test('hostile: a body without end or beyond measure is refused', async () => {
  isRefusal(await admin.send('POST', '/keys/new/create?api-version=7.6', Buffer.alloc(100_000, 32)), 413);
});

test.each([
  '/keys/a%2Fb',
  '/keys/..%2f..%2fsettings',
  '/keys/%00',
  '/keys/a%5Cb',
  '/keys/%',
  '/%2e%2e/keys',
  '//secrets/x',
  '/keys/a/b/c/d/e',
  '/KEYS/ec/nothing',
])('hostile: the path %s reaches nothing', async (path) => {
  isRefusal(await admin.send('GET', `${path}?api-version=7.6`));
  isRefusal(await (await pool.client({ token: null })).send('GET', `${path}?api-version=7.6`), 401);
});

describe('hostile tokens', () => {
  interface Parts {
    header: Record<string, unknown>;
    claims: Record<string, unknown>;
    signature: string;
  }
  const encode = (value: unknown): string => base64url(Buffer.from(JSON.stringify(value)));
  const decode = (part: string | undefined): Record<string, unknown> =>
    JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Record<string, unknown>;
  const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = ({ header, claims }: Parts, how: (data: Buffer) => Buffer): string => {
    const data = `${encode(header)}.${encode(claims)}`;
    return `${data}.${base64url(how(Buffer.from(data)))}`;
  };
  const byForeigner = (data: Buffer): Buffer => sign('sha256', data, foreign.privateKey);
  const byNobody = (): Buffer => Buffer.alloc(0);

  test.each<[string, (parts: Parts) => string]>([
    [
      'unsigned, alg none',
      (parts) => signed({ ...parts, header: { ...parts.header, alg: 'none' } }, byNobody),
    ],
    ['unsigned, alg None', (parts) => signed({ ...parts, header: { alg: 'None' } }, byNobody)],
    ['signed by a stranger', (parts) => signed(parts, byForeigner)],
    [
      'signed by a stranger who brings the key along',
      (parts) =>
        signed(
          { ...parts, header: { ...parts.header, jwk: foreign.publicKey.export({ format: 'jwk' }) } },
          byForeigner,
        ),
    ],
    [
      'of another kid',
      (parts) => signed({ ...parts, header: { ...parts.header, kid: 'other' } }, byForeigner),
    ],
    [
      'with HMAC under a public text',
      (parts) =>
        signed({ ...parts, header: { ...parts.header, alg: 'HS256' } }, (data) =>
          createHmac('sha256', 'key').update(data).digest(),
        ),
    ],
    [
      'of somebody else, under the old signature',
      ({ header, claims, signature }) =>
        `${encode(header)}.${encode({ ...claims, oid: pids.join('') })}.${signature}`,
    ],
    [
      'longer valid, under the old signature',
      ({ header, claims, signature }) => `${encode(header)}.${encode({ ...claims, exp: 4e9 })}.${signature}`,
    ],
    ['without a signature', ({ header, claims }) => `${encode(header)}.${encode(claims)}.`],
    ['of one part', ({ header }) => encode(header)],
    ['of 20,000 characters', () => 'a'.repeat(20_000)],
  ])('%s: 401', async (_what, forge) => {
    const token = await pool.token();
    const [header, claims, signature = ''] = token.split('.');
    const forged = forge({ header: decode(header), claims: decode(claims), signature });
    const answer = await (await pool.client({ token: forged })).call('GET', '/keys');
    isRefusal(answer, 401);
    expect(String(answer.headers['www-authenticate'])).toMatch(
      /^Bearer authorization="https:.*", resource="https:/,
    );
  });

  const hour = 3_600;
  test.each<[string, (claims: Record<string, unknown>, now: number) => Record<string, unknown>, number]>([
    ['nothing changed', (claims) => claims, 200],
    ['expired an hour ago', (claims, now) => ({ ...claims, nbf: now - 2 * hour, exp: now - hour }), 401],
    ['expired this second', (claims, now) => ({ ...claims, exp: now - 1 }), 401],
    ['not valid before an hour from now', (claims, now) => ({ ...claims, nbf: now + hour }), 401],
    ['without an end', (claims) => ({ ...claims, exp: undefined }), 401],
    ['with a text for its end', (claims) => ({ ...claims, exp: '4000000000' }), 401],
    ['for another service', (claims) => ({ ...claims, aud: 'https://vault.azure.net' }), 401],
    ['for a list of services', (claims) => ({ ...claims, aud: [claims['aud']] }), 401],
    ['of another tenant', (claims) => ({ ...claims, tid: '00000000-0000-0000-0000-000000000000' }), 401],
    ['of another issuer', (claims) => ({ ...claims, iss: 'https://login.microsoftonline.com/x' }), 401],
    ['of nobody', (claims) => ({ ...claims, oid: undefined }), 401],
    ['of somebody unknown', (claims) => ({ ...claims, oid: '00000000-0000-0000-0000-000000000001' }), 403],
    ['with groups that are none', (claims) => ({ ...claims, groups: { '*': true } }), 401],
  ])("signed by the pool's own login, %s", async (_what, change, status) => {
    const [header, claims] = (await pool.token()).split('.').slice(0, 2).map(decode);
    if (!header || !claims) throw new Error('no token');
    const loginKey = createPrivateKey(readFileSync(join(pool.directory, 'fabric/login-key.pem')));
    const token = signed(
      { header, claims: change(claims, Math.floor(Date.now() / 1_000)), signature: '' },
      (data) => sign('sha256', data, { key: loginKey, dsaEncoding: 'ieee-p1363' }),
    );
    const answer = await (await pool.client({ token })).call('GET', '/keys');
    if (status === 200) expect(answer.status).toBe(200);
    else isRefusal(answer, status);
  });

  test('of the control plane does not open the data plane', async () => {
    const token = await pool.token(pool.admin, `${pool.ready.controlPlane}/.default`);
    isRefusal(await (await pool.client({ token })).call('GET', '/keys'), 401);
  });

  test('of a principal without a role opens nothing', async () => {
    const client = await pool.client({ token: await pool.token(pool.addPrincipal('nobody')) });
    for (const [method, path, body] of [
      ['GET', '/keys', undefined],
      ['GET', '/keys/ec', undefined],
      ['POST', '/keys/ec/sign', { alg: 'ES256', value: digest }],
      ['POST', '/keys/x/create', { kty: 'EC' }],
      ['DELETE', '/keys/ec', undefined],
      ['GET', '/deletedkeys', undefined],
      ['POST', '/rng', { count: 8 }],
    ] as const) {
      const answer = await client.call(method, path, body);
      isRefusal(answer, 403);
      expect(text(answer.body, 'error', 'message')).toMatch(
        /^Not authorized to access Microsoft\.KeyVault\/managedHsm\//,
      );
    }
  });
});

describe('hostile connections', () => {
  const open = async (): Promise<Socket> => {
    const socket = connect(Number(pool.uri.port), '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const closed = (socket: { destroyed: boolean }, what: string) => until(what, () => socket.destroyed);

  test('garbage in place of TLS is closed', async () => {
    const socket = await open();
    socket.resume().write('GET /keys HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await closed(socket, 'garbage is closed');
  });

  test('a hundred connections that say nothing keep nobody out, and are closed', async () => {
    const silent = await Promise.all(Array.from({ length: 100 }, open));
    expect((await (await pool.client()).call('GET', '/keys')).status).toBe(200);
    for (const socket of silent) socket.resume();
    for (const socket of silent) await closed(socket, 'a silent connection is closed');
  });

  /** Sends the start, then a byte of the rest every now and then; gives what was heard until the end. */
  async function trickle(socket: Socket, start: string, rest: string): Promise<string> {
    let heard = '';
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.write(start, 'latin1');
    let sent = 0;
    const timer = setInterval(() => socket.write(rest.charAt(sent++), 'latin1'), 100);
    try {
      await until('the slow one is cut off', () => socket.destroyed || socket.readableEnded, 25_000);
    } finally {
      clearInterval(timer);
      socket.destroy();
    }
    return heard;
  }

  test('slow ones are cut off, with an answer where there was a request', async () => {
    const head = [
      'POST /rng?api-version=7.6 HTTP/1.1',
      `Host: ${pool.uri.host}`,
      `Authorization: Bearer ${await pool.token()}`,
    ].join('\r\n');
    const zeros = '0'.repeat(1_000);
    const [body, headers, chunks, silence, hello, record] = await Promise.all([
      trickle(await pool.connect(), `${head}\r\nContent-Length: 1000\r\n\r\n{"co`, zeros),
      trickle(await pool.connect(), `${head}\r\nX-Slow: `, zeros),
      trickle(
        await pool.connect(),
        `${head}\r\nTransfer-Encoding: chunked\r\n\r\n`,
        '1\r\n \r\n'.repeat(200),
      ),
      trickle(await pool.connect(), '', ''),
      trickle(await open(), '', ''),
      trickle(await open(), '\x16\x03\x01\x02\x00\x01\x00', zeros),
    ]);
    for (const heard of [body, headers, chunks]) {
      expect(heard).toMatch(
        /^HTTP\/1\.1 408 [^]*\{"error":\{"code":"RequestTimeout","message":".*Activity ID: /,
      );
    }
    // It never asked; where Node tells it so, it does in the same form.
    expect(silence).toMatch(/^$|^HTTP\/1\.1 408 /);
    expect([hello, record]).toEqual(['', '']);
  });

  test('a client that leaves in the middle of its request or of the answer does no harm', async () => {
    const token = await pool.token();
    for (let turn = 0; turn < 30; turn += 1) {
      const socket = await pool.connect();
      socket.on('error', () => undefined);
      const body = '{"kty":"EC"}';
      const request =
        `POST /keys/left-${turn}/create?api-version=7.6 HTTP/1.1\r\nHost: ${pool.uri.host}\r\n` +
        `Authorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      const part = turn % 2 === 0 ? request : request.slice(0, (request.length * turn) / 30);
      await new Promise((resolve) => socket.write(part, resolve));
      socket.destroy();
    }
  });

  test('several requests in one piece are answered one after the other', async () => {
    const socket = await pool.connect();
    let heard = '';
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    const get = `GET /keys/guarded?api-version=7.6 HTTP/1.1\r\nHost: ${pool.uri.host}\r\n`;
    socket.write(
      `${get}\r\n${get}Authorization: Bearer ${await pool.token()}\r\n\r\n${get}Connection: close\r\n\r\n`,
    );
    await until('the connection is over', () => socket.readableEnded || socket.destroyed);
    expect(heard.match(/HTTP\/1\.1 [0-9]{3}/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 200', 'HTTP/1.1 401']);
  });

  test('headers beyond measure are refused', async () => {
    const socket = await pool.connect();
    let heard = '';
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    socket.on('error', () => undefined);
    socket.write(`GET /keys HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(40_000)}\r\n\r\n`);
    await until('they are refused', () => heard.length > 0 || socket.destroyed);
    expect(heard).toMatch(/^HTTP\/1\.1 431 /);
    socket.destroy();
  });
});
