// Whatever comes in, what goes out is an answer of the service: never a 5xx, never silence, always its error form.
import fc from 'fast-check';
import { routes } from '../../../src/instance/api/routes.js';
import { Served, type Answer } from './served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
  for (const [name, body] of [
    ['ec', { kty: 'EC' }],
    ['rsa', { kty: 'RSA' }],
    ['aes', { kty: 'oct' }],
  ] as const) {
    await served.ask('POST', `/keys/${name}/create`, { body });
  }
});
afterAll(() => served.stop());

function expectForm({ status, json, headers, text }: Answer): void {
  expect(status).toBeLessThan(500);
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
  if (status < 300) return;
  expect(typeof json['error']?.['code']).toBe('string');
  expect(json['error']?.['message']).toMatch(/ \(Activity ID: [0-9a-f-]{36}\)$/);
  expect(text.length).toBeLessThan(1_500);
}

const name = fc.constantFrom('ec', 'rsa', 'aes', 'none');
const algorithm = fc.oneof(
  fc.constantFrom('RS256', 'PS512', 'ES256', 'ES256K', 'RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5'),
  fc.constantFrom(
    'A256GCM',
    'A256CBC',
    'A256CBCPAD',
    'A256KW',
    'A128KW',
    'HS256',
    'none',
    '__proto__',
    'toString',
  ),
  fc.string({ maxLength: 20 }),
);
const base64url = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64url'));
const oddly = fc.oneof({ weight: 4, arbitrary: base64url }, fc.jsonValue({ maxDepth: 2 }), fc.string());

it('bodies of the right members with any values', async () => {
  const verb = fc.constantFrom('sign', 'verify', 'encrypt', 'decrypt', 'wrapkey', 'unwrapkey');
  const body = fc.record(
    {
      alg: fc.oneof({ weight: 5, arbitrary: algorithm }, fc.jsonValue({ maxDepth: 1 })),
      value: oddly,
      digest: oddly,
      iv: oddly,
      aad: oddly,
      tag: oddly,
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(name, verb, body, async (key, action, sent) => {
      // The stand-in for the slot makes no PSS and no ECDSA but on P-256.
      fc.pre(!(action === 'sign' && typeof sent.alg === 'string' && sent.alg.startsWith('PS')));
      fc.pre(!(key === 'rsa' && sent.alg === 'RSA1_5' && (action === 'decrypt' || action === 'unwrapkey')));
      expectForm(await served.ask('POST', `/keys/${key}/${action}`, { body: sent }));
    }),
    { numRuns: 400 },
  );
});

it('bodies of any JSON, for every route that reads one', async () => {
  const members = fc.constantFrom(
    'kty',
    'key',
    'alg',
    'value',
    'attributes',
    'tags',
    'key_ops',
    'count',
    'crv',
    'key_size',
  );
  const value = fc.jsonValue({ maxDepth: 3 });
  const body = fc.oneof(value, fc.dictionary(fc.oneof(members, fc.string()), value));
  const route = fc.constantFrom(...routes.filter((one) => one.body !== undefined));
  await fc.assert(
    fc.asyncProperty(route, body, async ({ method, path }, sent) => {
      const target = `/${path.replace('{name}', 'fuzz').replace('{version}', '')}`;
      expectForm(await served.ask(method, target, { body: sent }));
    }),
    { numRuns: 300 },
  );
});

it('keys of any members, to import', async () => {
  const key = fc.record(
    {
      kty: fc.constantFrom('RSA', 'EC', 'oct', 'RSA-HSM', 'AKP', 'x'),
      crv: fc.constantFrom('P-256', 'P-521', 'P-256K', 'x'),
      ...Object.fromEntries(
        ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi', 'x', 'y', 'k'].map((one) => [one, oddly]),
      ),
      key_ops: fc.array(fc.constantFrom('sign', 'import', 'encrypt', 'x')),
    },
    { requiredKeys: ['kty'] },
  );
  await fc.assert(
    fc.asyncProperty(key, async (sent) =>
      expectForm(await served.ask('PUT', '/keys/in', { body: { key: sent } })),
    ),
    { numRuns: 200 },
  );
});

it('bodies of any bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      expectForm(await served.ask('POST', '/keys/ec/sign', { raw: Buffer.from(bytes) }));
    }),
    { numRuns: 100 },
  );
});

it('paths and queries of any characters that HTTP lets pass', async () => {
  const pieces = fc.constantFrom(
    'keys',
    'deletedkeys',
    'ec',
    '',
    '.',
    '..',
    '%2e%2e',
    '%2f',
    '%00',
    '%25',
    'sign',
    '//',
    '%',
    ':',
    '{name}',
    '__proto__',
    'versions',
    'KEYS',
    'a'.repeat(200),
    '%c3%28',
    '~',
    '*',
  );
  const query = fc.constantFrom(
    '',
    '?api-version=7.4',
    '?api-version=7.4&api-version=x',
    '?$skiptoken=AAAA',
    '?%24skiptoken=ZWM',
    '?maxresults=9&api%2dversion=7.4',
    '?=&&=?',
    '?%zz',
    '?__proto__=1',
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE'),
      fc.array(pieces, { maxLength: 6 }),
      query,
      async (method, segments, asked) => {
        const path = `/${segments.join('/')}`;
        fc.pre(method !== 'DELETE');
        expectForm(await served.ask(method, asked === '' ? path : path + asked, { body: {} }));
      },
    ),
    { numRuns: 500 },
  );
});

it('tokens of any text', async () => {
  const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.=+ '.split(/(?:)/u)), maxLength: 100 });
  await fc.assert(
    fc.asyncProperty(token, async (text) => {
      const { status } = await served.ask('GET', '/keys', {
        token: null,
        headers: { authorization: `Bearer ${text}` },
      });
      expect(status).toBe(401);
    }),
    { numRuns: 100 },
  );
});
