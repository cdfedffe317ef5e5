// Management of keys over REST: shapes, defaults, paging, soft deletion.
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { FakeHsm } from '../hsm/fake-hsm.js';
import { DATA_PORT, DOMAIN, Served, textOf, type Json } from './served.js';

let served: Served;
beforeEach(async () => {
  served = await Served.start();
});
afterEach(() => served.stop());

const BASE = `https://dev.${DOMAIN}:${DATA_PORT}`;
const DAY = 86_400;

function create(name: string, body: object = { kty: 'EC' }) {
  return served.ask('POST', `/keys/${name}/create`, { body });
}

/** Every object of an answer lists its members in order. */
function sorted(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(sorted);
  if (typeof value !== 'object' || value === null) return true;
  const names = Object.keys(value);
  return names.join() === [...names].sort().join() && Object.values(value).every(sorted);
}

describe('create', () => {
  it('a bundle has the members of the service, sorted, absent ones left out', async () => {
    const { json, status } = await create('k', { kty: 'RSA' });
    expect(status).toBe(200);
    expect(sorted(json)).toBe(true);
    const now = served.hsm.now();
    expect(json).toEqual({
      attributes: {
        created: now,
        enabled: true,
        exportable: false,
        recoverableDays: 90,
        recoveryLevel: 'Recoverable+Purgeable',
        updated: now,
      },
      key: {
        e: 'AQAB',
        key_ops: ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify'],
        kid: expect.stringMatching(new RegExp(`^${BASE}/keys/k/[0-9a-f]{32}$`)) as string,
        kty: 'RSA-HSM',
        n: expect.stringMatching(/^[A-Za-z0-9_-]{342}$/) as string,
      },
    });
  });

  it.each([
    [{ kty: 'EC' }, { kty: 'EC-HSM', crv: 'P-256' }],
    [
      { kty: 'EC-HSM', crv: 'P-256K' },
      { kty: 'EC-HSM', crv: 'P-256K' },
    ],
    [
      { kty: 'EC', crv: 'P-384' },
      { kty: 'EC-HSM', crv: 'P-384' },
    ],
    [
      { kty: 'EC', crv: 'P-521' },
      { kty: 'EC-HSM', crv: 'P-521' },
    ],
    [
      { kty: 'RSA', public_exponent: 3 },
      { kty: 'RSA-HSM', e: 'Aw' },
    ],
    [{ kty: 'oct' }, { kty: 'oct-HSM' }],
    [{ kty: 'oct-HSM', key_size: 128 }, { kty: 'oct-HSM' }],
  ])('%j makes %j', async (body, key) => {
    const { json, status } = await create('k', body);
    expect(status).toBe(200);
    expect(json['key']).toMatchObject(key);
  });

  it('a symmetric key shows nothing but its id, type and operations', async () => {
    const { json } = await create('k', { kty: 'oct' });
    expect(Object.keys(json['key'] ?? {})).toEqual(['key_ops', 'kid', 'kty']);
    expect(json['key']?.['key_ops']).toContain('deriveKey');
  });

  it('attributes, operations and tags are taken as they are', async () => {
    const { json } = await create('k', {
      kty: 'EC',
      key_ops: ['sign', 'sign'],
      attributes: { enabled: false, nbf: 10, exp: 20, exportable: false },
      tags: { b: '2', a: '1', 10: 'x', 9: 'y' },
    });
    expect(json['key']?.['key_ops']).toEqual(['sign']);
    expect(json['attributes']).toMatchObject({ enabled: false, nbf: 10, exp: 20 });
    expect(json['tags']).toEqual({ a: '1', b: '2', 10: 'x', 9: 'y' });
  });

  it('null stands for what is not set', async () => {
    const body = {
      kty: 'EC',
      key_size: null,
      key_ops: null,
      attributes: null,
      tags: null,
      release_policy: null,
    };
    expect((await create('k', body)).status).toBe(200);
  });

  it('an existing name gets a new version, which inherits nothing', async () => {
    const first = await create('k', { kty: 'EC', tags: { a: '1' } });
    const second = await create('k', { kty: 'RSA' });
    expect(second.json['key']?.['kid']).not.toBe(first.json['key']?.['kid']);
    expect(second.json['tags']).toBeUndefined();
    expect((await served.ask('GET', '/keys/k')).text).toBe(second.text);
  });

  it.each([
    [{ kty: 'RSA', key_size: 1024 }, 'BadParameter'],
    [{ kty: 'RSA', public_exponent: 17 }, 'BadParameter'],
    [{ kty: 'oct', key_size: 64 }, 'BadParameter'],
    [{ kty: 'EC', crv: 'P-224' }, 'BadParameter'],
    [{ kty: 'DSA' }, 'BadParameter'],
    [{ kty: 'ec' }, 'BadParameter'],
    [{}, 'BadParameter'],
    [{ kty: 'EC', key_ops: ['encrypt'] }, 'BadParameter'],
    [{ kty: 'EC', key_ops: ['fly'] }, 'BadParameter'],
    [{ kty: 'RSA', key_ops: ['import', 'sign'] }, 'BadParameter'],
    [{ kty: 'EC', attributes: { nbf: 20, exp: 20 } }, 'BadParameter'],
    [{ kty: 'EC', attributes: { exp: 1.5 } }, 'BadParameter'],
    [{ kty: 'EC', attributes: { exp: -1 } }, 'BadParameter'],
    [{ kty: 'EC', tags: { a: 1 } }, 'BadParameter'],
    [{ kty: 'EC', tags: { a: 'x'.repeat(257) } }, 'BadParameter'],
    [
      { kty: 'EC', tags: Object.fromEntries('abcdefghijklmnop'.split(/(?:)/u).map((c) => [c, c])) },
      'BadParameter',
    ],
    [{ kty: 'AKP' }, 'NotSupported'],
    [{ kty: 'EC', attributes: { exportable: true } }, 'BadParameter'],
    [{ kty: 'EC', attributes: { external_key: { id: 'x' } } }, 'NotSupported'],
    [{ kty: 'EC', release_policy: { data: '' } }, 'BadParameter'],
  ])('%j is refused: %s', async (body, code) => {
    const { status, json } = await create('k', body);
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe(code);
    expect((await served.ask('GET', '/keys/k')).status).toBe(404);
  });

  it('a wrong key size is named', async () => {
    const { json } = await create('k', { kty: 'oct', key_size: 64 });
    expect(json['error']?.['message']).toMatch(/^Invalid key size: '64' \(Activity ID: /);
  });
});

describe('import', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = rsa.privateKey.export({ format: 'jwk' });

  function put(body: object) {
    return served.ask('PUT', '/keys/in', { body });
  }

  it('an RSA key comes in as a plain JWK, and Node knows its public half', async () => {
    const { status, json } = await put({ Hsm: true, key: { ...jwk, key_ops: ['sign', 'verify'] } });
    expect(status).toBe(200);
    expect(json['key']).toMatchObject({ kty: 'RSA-HSM', n: jwk.n, e: jwk.e, key_ops: ['sign', 'verify'] });
    const again = await put({ key: jwk });
    expect(again.json['key']?.['kid']).not.toBe(json['key']?.['kid']);
  });

  it('leading zero octets are tolerated', async () => {
    const pad = (member = '') =>
      Buffer.concat([Buffer.alloc(1), Buffer.from(member, 'base64url')]).toString('base64url');
    const key = { ...jwk, n: pad(jwk.n), p: pad(jwk.p), dp: pad(jwk.dp), qi: pad(jwk.qi) };
    const { status, json } = await put({ key });
    expect(status).toBe(200);
    expect(json['key']?.['n']).toBe(jwk.n);
  });

  it('EC and oct keys come in', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const { json } = await put({ key: privateKey.export({ format: 'jwk' }) });
    const { x, y, crv } = json['key'] as unknown as { x: string; y: string; crv: string };
    const shown = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv, x, y } });
    expect(shown.equals(publicKey)).toBe(true);
    const oct = await put({ key: { kty: 'oct', k: Buffer.alloc(24, 1).toString('base64url') } });
    expect(oct.status).toBe(200);
    expect(Object.keys(oct.json['key'] ?? {})).toEqual(['key_ops', 'kid', 'kty']);
  });

  it.each<[string, object, string]>([
    ['a file for BYOK that is none', { key: { kty: 'RSA-HSM', key_hsm: 'AAAA' } }, 'BadParameter'],
    ['no key', {}, 'BadParameter'],
    ['a public key', { key: { kty: 'RSA', n: jwk.n, e: jwk.e } }, 'BadParameter'],
    ['a key without its primes', { key: { ...jwk, p: undefined } }, 'BadParameter'],
    ['members that do not fit', { key: { ...jwk, p: jwk.q } }, 'BadParameter'],
    ['an even exponent', { key: { ...jwk, e: 'AA' } }, 'BadParameter'],
    ['a modulus of another size', { key: { ...jwk, n: 'AAEC' } }, 'BadParameter'],
    [
      'an oct key of 65 bytes',
      { key: { kty: 'oct', k: Buffer.alloc(65).toString('base64url') } },
      'BadParameter',
    ],
    [
      'an oct key of 20 bytes',
      { key: { kty: 'oct', k: Buffer.alloc(20).toString('base64url') } },
      'BadParameter',
    ],
    ['an oct key of no bytes', { key: { kty: 'oct', k: '' } }, 'BadParameter'],
    ['an EC key without curve', { key: { kty: 'EC', x: 'AA', y: 'AA', d: 'AA' } }, 'BadParameter'],
    [
      'a coordinate that is too long',
      { key: { kty: 'EC', crv: 'P-256', x: 'AQ'.repeat(40), y: 'AA', d: 'AA' } },
      'BadParameter',
    ],
    ['an exportable key without a policy', { key: jwk, attributes: { exportable: true } }, 'BadParameter'],
  ])('%s is refused', async (_, body, code) => {
    const { status, json, text } = await put(body);
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe(code);
    expect(text).not.toContain(String(jwk.d));
  });
});

describe('update', () => {
  it('members left out are kept, and updated moves only with a change', async () => {
    const first = await create('k', { kty: 'EC', attributes: { exp: 2_000_000_000 }, tags: { a: '1' } });
    served.hsm.clock += 5;
    const same = await served.ask('PATCH', '/keys/k/', { body: { attributes: {} } });
    expect(same.text).toBe(first.text);
    const changed = await served.ask('PATCH', '/keys/k', {
      body: { attributes: { enabled: false }, key_ops: ['verify'] },
    });
    expect(changed.json['attributes']).toMatchObject({
      enabled: false,
      exp: 2_000_000_000,
      updated: served.hsm.now(),
    });
    expect(changed.json['tags']).toEqual({ a: '1' });
    expect(changed.json['key']?.['key_ops']).toEqual(['verify']);
    expect((await served.ask('GET', '/keys/k')).text).toBe(changed.text);
  });

  it('a version that is named is the one that changes', async () => {
    const first = await create('k');
    const second = await create('k');
    const version = textOf(first.json['key']?.['kid']).slice(-32);
    const changed = await served.ask('PATCH', `/keys/k/${version}`, { body: { tags: { old: 'yes' } } });
    expect(changed.json['key']?.['kid']).toBe(first.json['key']?.['kid']);
    expect((await served.ask('GET', '/keys/k')).text).toBe(second.text);
  });

  it.each([
    [{ attributes: { exportable: true } }, 400, 'BadParameter'],
    [{ attributes: { nbf: 2_100_000_000 } }, 400, 'BadParameter'],
    [{ key_ops: ['wrapKey'] }, 400, 'BadParameter'],
    [{ release_policy: { data: 'x' } }, 400, 'BadParameter'],
  ])('%j is refused and changes nothing', async (body, expected, code) => {
    const first = await create('k', { kty: 'EC', attributes: { exp: 2_000_000_000 } });
    const { status, json } = await served.ask('PATCH', '/keys/k', { body: { tags: { a: '1' }, ...body } });
    expect(status).toBe(expected);
    expect(json['error']?.['code']).toBe(code);
    expect((await served.ask('GET', '/keys/k')).text).toBe(first.text);
  });

  it('exportable that stays false is accepted', async () => {
    await create('k');
    expect(
      (await served.ask('PATCH', '/keys/k', { body: { attributes: { exportable: false } } })).status,
    ).toBe(200);
  });

  it('an unknown key or version is not found', async () => {
    await create('k');
    const versionless = await served.ask('PATCH', '/keys/none', { body: {} });
    expect(versionless.json['error']?.['message']).toContain(`Key not found: ${BASE}/keys/none (`);
    const { status } = await served.ask('PATCH', `/keys/k/${'0'.repeat(32)}`, { body: {} });
    expect(status).toBe(404);
  });
});

describe('soft deletion', () => {
  it('a deleted key is read, listed and recovered, and its name is held', async () => {
    const made = await create('k', { kty: 'EC', tags: { a: '1' } });
    served.hsm.clock += 7;
    const now = served.hsm.now();
    const deleted = await served.ask('DELETE', '/keys/k');
    const dates = {
      deletedDate: now,
      recoveryId: `${BASE}/deletedkeys/k`,
      scheduledPurgeDate: now + 90 * DAY,
    };
    expect(deleted.json).toEqual({ ...made.json, ...dates });
    expect(sorted(deleted.json)).toBe(true);
    expect((await served.ask('GET', '/deletedkeys/k')).text).toBe(deleted.text);
    expect((await served.ask('GET', '/keys/k')).status).toBe(404);
    const items = await served.ask('GET', '/deletedkeys');
    expect(items.json['value']).toEqual([
      { attributes: made.json['attributes'], kid: `${BASE}/keys/k`, tags: { a: '1' }, ...dates },
    ]);
    const again = await create('k');
    expect(again.status).toBe(409);
    expect(again.json['error']).toMatchObject({
      code: 'Conflict',
      innererror: { code: 'ObjectIsDeletedButRecoverable' },
    });
    expect(
      (await served.ask('PUT', '/keys/k', { body: { key: { kty: 'oct', k: 'AAAAAAAAAAAAAAAAAAAAAA' } } }))
        .status,
    ).toBe(409);
    const recovered = await served.ask('POST', '/deletedkeys/k/recover');
    expect(recovered.status).toBe(200);
    expect(recovered.text).toBe(made.text);
    expect((await served.ask('GET', '/keys/k')).text).toBe(made.text);
  });

  it('a purged key is gone and its name is free: 204 without a body', async () => {
    await create('k');
    await served.ask('DELETE', '/keys/k');
    const purged = await served.ask('DELETE', '/deletedkeys/k');
    expect(purged.status).toBe(204);
    expect(purged.text).toBe('');
    expect(purged.headers['content-length']).toBe('0');
    expect(purged.headers['content-type']).toBe('application/json; charset=utf-8');
    expect((await served.ask('GET', '/deletedkeys/k')).status).toBe(404);
    expect((await create('k')).status).toBe(200);
  });

  it('what was never deleted is named as such', async () => {
    for (const [method, path] of [
      ['GET', '/deletedkeys/k'],
      ['DELETE', '/deletedkeys/k'],
      ['POST', '/deletedkeys/k/recover'],
    ] as const) {
      const { status, json } = await served.ask(method, path);
      expect(status).toBe(404);
      expect(json['error']?.['message']).toContain(`Key not found: ${BASE}/deletedkeys/k (`);
    }
  });

  it.each([
    [90, true, 'Recoverable'],
    [7, false, 'CustomizedRecoverable+Purgeable'],
    [7, true, 'CustomizedRecoverable'],
  ])('retention %d with purge protection %s is called %s', async (retentionDays, purgeProtection, level) => {
    const pool = served.hsm.state.get('pool', 'pool');
    if (!pool) throw new Error('founded');
    served.hsm.state.apply([
      { table: 'pool', id: 'pool', value: { ...pool, retentionDays, purgeProtection } },
    ]);
    const { json } = await create('k');
    expect(json['attributes']).toMatchObject({ recoverableDays: retentionDays, recoveryLevel: level });
    await served.ask('DELETE', '/keys/k');
    expect((await served.ask('DELETE', '/deletedkeys/k')).status).toBe(purgeProtection ? 403 : 204);
  });
});

describe('lists', () => {
  /** Follows the links as they come; no api-version is added. */
  async function all(path: string): Promise<Json[][]> {
    const pages: Json[][] = [];
    for (let next: string | undefined = path; next !== undefined;) {
      const { status, json } = await served.ask('GET', next);
      expect(status).toBe(200);
      expect(sorted(json)).toBe(true);
      pages.push(json['value'] as unknown as Json[]);
      const link = json['nextLink'] as string | undefined;
      expect(link === undefined || link.startsWith(`${BASE}${path.split('?')[0] ?? ''}?maxresults=`)).toBe(
        true,
      );
      expect(link ?? '').not.toContain('api-version');
      next = link?.slice(BASE.length);
    }
    return pages;
  }

  it('keys come by name, 25 a page, without a version in the id', async () => {
    const names = Array.from({ length: 51 }, (_, i) => `k${String(i).padStart(2, '0')}`);
    for (const name of [...names].reverse()) await create(name);
    const pages = await all('/keys');
    expect(pages.map((page) => page.length)).toEqual([25, 25, 1]);
    expect(pages.flat().map((item) => item['kid'])).toEqual(names.map((name) => `${BASE}/keys/${name}`));
  });

  it('a page that is just full is the last', async () => {
    for (const name of ['a', 'b']) await create(name);
    expect((await all('/keys?api-version=7.4&maxresults=2')).map((page) => page.length)).toEqual([2]);
    expect((await all('/keys?api-version=7.4&maxresults=1')).map((page) => page.length)).toEqual([1, 1]);
  });

  it('versions come in order of creation, with the version in the id', async () => {
    const kids: unknown[] = [];
    for (let i = 0; i < 5; i += 1) kids.push((await create('k')).json['key']?.['kid']);
    const pages = await all('/keys/k/versions?api-version=7.4&maxresults=2');
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(pages.flat().map((item) => item['kid'])).toEqual(kids);
  });

  it('versions of an unknown name are an empty page', async () => {
    const { status, text } = await served.ask('GET', '/keys/none/versions');
    expect(status).toBe(200);
    expect(text).toBe('{"value":[]}');
  });

  it('deleted keys come by name', async () => {
    for (const name of ['c', 'a', 'b']) await create(name);
    for (const name of ['b', 'c', 'a']) await served.ask('DELETE', `/keys/${name}`);
    const pages = await all('/deletedkeys?api-version=7.4&maxresults=2');
    expect(pages.flat().map((item) => item['recoveryId'])).toEqual(
      ['a', 'b', 'c'].map((n) => `${BASE}/deletedkeys/${n}`),
    );
  });

  it.each(['0', '26', '-1', '1e1', 'x', ''])('maxresults=%s is refused', async (asked) => {
    expect((await served.ask('GET', `/keys?api-version=7.4&maxresults=${asked}`)).status).toBe(400);
  });

  it.each(['x', '%2B%2B', 'AAAA', ''])('$skiptoken=%s is refused', async (token) => {
    expect((await served.ask('GET', `/keys?$skiptoken=${token}`)).status).toBe(400);
  });
});

it('a pool that is not founded answers NotActivated', async () => {
  const hsm = new FakeHsm([], false);
  Object.assign(served.hsm, { state: hsm.state });
  const { status, json } = await served.ask('GET', '/keys');
  expect(status).toBe(403);
  expect(json['error']?.['innererror']?.['code']).toBe('HsmNotActivated');
});
