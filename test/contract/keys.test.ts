// What the reference says of keys, over HTTPS: types, members, attributes, versions, soft deletion.
import { generateKeyPairSync } from 'node:crypto';
import { DATA_PORT, DOMAIN, Served, textOf, type Json } from '../instance/api/served.js';

let served: Served;
beforeEach(async () => {
  served = await Served.start();
});
afterEach(() => served.stop());

const BASE = `https://dev.${DOMAIN}:${DATA_PORT}`;

const create = (name: string, body: object) => served.ask('POST', `/keys/${name}/create`, { body });
const get = (path: string) => served.ask('GET', path);
const listOf = (member: Json | undefined) => member as unknown as Json[];

describe('types', () => {
  it.each([
    ['RSA', 'RSA-HSM'],
    ['RSA-HSM', 'RSA-HSM'],
    ['EC', 'EC-HSM'],
    ['EC-HSM', 'EC-HSM'],
    ['oct', 'oct-HSM'],
    ['oct-HSM', 'oct-HSM'],
  ])('%s becomes %s, made and imported', async (kty, shown) => {
    expect((await create('made', { kty })).json['key']?.['kty']).toBe(shown);
    const jwk = kty.startsWith('RSA')
      ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
      : kty.startsWith('EC')
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
        : { k: 'AAAAAAAAAAAAAAAAAAAAAA' };
    const { json } = await served.ask('PUT', '/keys/imported', { body: { key: { ...jwk, kty } } });
    expect(json['key']?.['kty']).toBe(shown);
  });

  it.each([2048, 3072, 4096])('RSA of %i bits is made', async (size) => {
    const { json } = await create('k', { kty: 'RSA', key_size: size });
    expect(Buffer.from(textOf(json['key']?.['n']), 'base64url')).toHaveLength(size / 8);
  });

  it('RSA is of 2048 bits with the exponent 65537 unless said otherwise', async () => {
    const { json } = await create('k', { kty: 'RSA' });
    expect(Buffer.from(textOf(json['key']?.['n']), 'base64url')).toHaveLength(256);
    expect(json['key']?.['e']).toBe('AQAB');
  });

  it.each([1024, 2047, 8192, 0, -1])('RSA of %i bits is refused', async (size) => {
    expect((await create('k', { kty: 'RSA', key_size: size })).status).toBe(400);
  });

  it.each([
    ['P-256', 32],
    ['P-256K', 32],
    ['P-384', 48],
    ['P-521', 66],
  ])('EC on %s is made, with coordinates of %i bytes', async (crv, length) => {
    const { json } = await create('k', { kty: 'EC', crv });
    expect(Object.keys(json['key'] ?? {})).toEqual(['crv', 'key_ops', 'kid', 'kty', 'x', 'y']);
    expect(json['key']?.['crv']).toBe(crv);
    for (const member of ['x', 'y']) {
      expect(Buffer.from(textOf(json['key']?.[member]), 'base64url')).toHaveLength(length);
    }
  });

  it.each([128, 192, 256])('oct of %i bits is made, and works at that size', async (size) => {
    await create('k', { kty: 'oct', key_size: size });
    for (const bits of [128, 192, 256]) {
      const { status } = await served.ask('POST', '/keys/k/encrypt', {
        body: { alg: `A${bits}GCM`, value: 'AAAA' },
      });
      expect(status).toBe(bits === size ? 200 : 400);
    }
  });

  it('oct is of 256 bits unless said otherwise', async () => {
    await create('k', { kty: 'oct' });
    const { status } = await served.ask('POST', '/keys/k/encrypt', {
      body: { alg: 'A256GCM', value: 'AAAA' },
    });
    expect(status).toBe(200);
  });

  it.each([
    ['RSA', ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify']],
    ['EC', ['sign', 'verify']],
    ['oct', ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify', 'deriveKey']],
  ])('%s has its operations unless said otherwise', async (kty, operations) => {
    const { json } = await create('k', { kty });
    expect([...listOf(json['key']?.['key_ops'])].sort()).toEqual([...operations].sort());
  });

  it('import stands alone, and on an RSA key only', async () => {
    const { json } = await create('kek', { kty: 'RSA-HSM', key_ops: ['import'] });
    expect(json['key']?.['key_ops']).toEqual(['import']);
    expect((await create('no', { kty: 'RSA', key_ops: ['import', 'wrapKey'] })).status).toBe(400);
    expect((await create('no', { kty: 'oct', key_ops: ['import'] })).status).toBe(400);
  });

  it('export is a known operation', async () => {
    expect((await create('k', { kty: 'EC', key_ops: ['sign', 'export'] })).status).toBe(200);
  });

  it('private members are never shown', async () => {
    const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
    const { text } = await served.ask('PUT', '/keys/k', { body: { key: jwk } });
    for (const answer of [text, (await get('/keys/k')).text, (await get('/keys')).text]) {
      for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) {
        expect(answer).not.toContain(`"${member}":`);
        expect(answer).not.toContain(jwk[member]);
      }
    }
  });
});

describe('names and versions', () => {
  it('a name has 1 to 127 letters, digits and hyphens', async () => {
    for (const name of ['a', '0', '-', 'A-9', 'x'.repeat(127)]) {
      expect((await create(name, { kty: 'EC' })).status).toBe(200);
    }
    for (const name of ['x'.repeat(128), 'a_b', 'a.b', 'a%20b', '%C3%A9', 'a:b']) {
      expect((await create(name, { kty: 'EC' })).status).toBe(400);
    }
  });

  it('a version is 32 lowercase hex digits, new every time', async () => {
    const kids = [];
    for (let n = 0; n < 3; n += 1) kids.push(textOf((await create('k', { kty: 'EC' })).json['key']?.['kid']));
    for (const kid of kids) expect(kid).toMatch(new RegExp(`^${BASE}/keys/k/[0-9a-f]{32}$`));
    expect(new Set(kids).size).toBe(3);
  });

  it('without a version the newest one answers, with one that one', async () => {
    const first = await create('k', { kty: 'EC' });
    const second = await create('k', { kty: 'EC' });
    const version = textOf(first.json['key']?.['kid']).slice(-32);
    expect((await get('/keys/k')).text).toBe(second.text);
    expect((await get(`/keys/k/${version}`)).text).toBe(first.text);
  });

  it('an unknown version is not found, and an operation on it neither', async () => {
    await create('k', { kty: 'EC' });
    const none = '0'.repeat(32);
    const shown = await get(`/keys/k/${none}`);
    expect(shown.status).toBe(404);
    expect(shown.json['error']?.['code']).toBe('KeyNotFound');
    const body = { alg: 'ES256', value: Buffer.alloc(32).toString('base64url') };
    expect((await served.ask('POST', `/keys/k/${none}/sign`, { body })).status).toBe(404);
  });

  it('an old version goes on working', async () => {
    const first = await create('k', { kty: 'EC' });
    await create('k', { kty: 'EC' });
    const version = textOf(first.json['key']?.['kid']).slice(-32);
    const body = { alg: 'ES256', value: Buffer.alloc(32, 1).toString('base64url') };
    const { status, json } = await served.ask('POST', `/keys/k/${version}/sign`, { body });
    expect([status, json['kid']]).toEqual([200, first.json['key']?.['kid']]);
  });
});

describe('attributes', () => {
  it('are there unless they are not set, and times are whole seconds', async () => {
    const { json } = await create('k', { kty: 'EC' });
    expect(Object.keys(json['attributes'] ?? {})).toEqual([
      'created',
      'enabled',
      'exportable',
      'recoverableDays',
      'recoveryLevel',
      'updated',
    ]);
    expect(json['attributes']).toMatchObject({ created: served.hsm.now(), enabled: true, exportable: false });
    expect(Object.keys(json)).toEqual(['attributes', 'key']);
  });

  it('a key may be made disabled, not valid yet, or expired, and is shown', async () => {
    for (const attributes of [{ enabled: false }, { nbf: 1_900_000_000 }, { exp: 1 }]) {
      expect((await create('k', { kty: 'EC', attributes })).status).toBe(200);
      const { status, json } = await get('/keys/k');
      expect(status).toBe(200);
      expect(json['attributes']).toMatchObject(attributes);
    }
  });

  it('times that are no whole seconds from 1970 to 9999 are refused', async () => {
    for (const exp of [-1, 1.5, '1900000000', true, 253_402_300_800]) {
      expect((await create('k', { kty: 'EC', attributes: { exp } })).status).toBe(400);
    }
  });

  it('an update of one member keeps the others, and moves updated', async () => {
    await create('k', { kty: 'EC', attributes: { nbf: 5, exp: 2_000_000_000 }, tags: { a: '1' } });
    served.hsm.clock += 9;
    const { json } = await served.ask('PATCH', '/keys/k', { body: { attributes: { exp: 2_000_000_001 } } });
    expect(json['attributes']).toMatchObject({ nbf: 5, exp: 2_000_000_001, updated: served.hsm.now() });
    expect(json['attributes']?.['created']).toBe(served.hsm.now() - 9);
    expect(json['tags']).toEqual({ a: '1' });
  });

  it('key_size is shown of symmetric keys, to api-versions that know it', async () => {
    await create('oct', { kty: 'oct', key_size: 192 });
    await create('ec', { kty: 'EC' });
    const seen = async (name: string, version: string) =>
      (await get(`/keys/${name}?api-version=${version}`)).json['attributes']?.['key_size'];
    expect(await seen('oct', '2026-01-01-preview')).toBe(192);
    expect(await seen('oct', '2025-07-01')).toBeUndefined();
    expect(await seen('ec', '2026-04-01')).toBeUndefined();
  });

  it('tags that are sent replace all of them', async () => {
    await create('k', { kty: 'EC', tags: { a: '1', b: '2' } });
    expect((await served.ask('PATCH', '/keys/k', { body: { tags: { c: '3' } } })).json['tags']).toEqual({
      c: '3',
    });
  });
});

describe('tags', () => {
  const tags = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`t${n}`, 'v']));

  it('are 15 at most', async () => {
    expect((await create('k', { kty: 'EC', tags: tags(15) })).status).toBe(200);
    expect((await create('k', { kty: 'EC', tags: tags(16) })).status).toBe(400);
    expect((await served.ask('PATCH', '/keys/k', { body: { tags: tags(16) } })).status).toBe(400);
  });

  it('have names and values of 256 characters at most', async () => {
    const long = 'x'.repeat(256);
    expect((await create('k', { kty: 'EC', tags: { [long]: long } })).json['tags']).toEqual({ [long]: long });
    expect((await create('k', { kty: 'EC', tags: { [`${long}x`]: 'v' } })).status).toBe(400);
    expect((await create('k', { kty: 'EC', tags: { v: `${long}x` } })).status).toBe(400);
  });

  it('hold the attributes of a PKCS#11 library as they are', async () => {
    const kept = { p11_pri_CKA_LABEL: 'my key', p11_pub_CKA_ID: '0x01' };
    expect((await create('p11-0123456789abcdef', { kty: 'RSA', tags: kept })).json['tags']).toEqual(kept);
  });
});

describe('items of a list', () => {
  it('have attributes, id and tags, and no key', async () => {
    await create('k', { kty: 'EC', tags: { a: '1' } });
    await create('l', { kty: 'EC' });
    const [k, l] = listOf((await get('/keys')).json['value']);
    expect(Object.keys(k ?? {})).toEqual(['attributes', 'kid', 'tags']);
    expect(Object.keys(l ?? {})).toEqual(['attributes', 'kid']);
    expect(k?.['attributes']).toEqual((await get('/keys/k')).json['attributes']);
  });

  it('of deleted keys have dates and the address to recover them, and tags only if there are some', async () => {
    for (const [name, tags] of [
      ['k', { a: '1' }],
      ['l', undefined],
    ] as const) {
      await create(name, { kty: 'EC', tags });
      await served.ask('DELETE', `/keys/${name}`);
    }
    const [k, l] = listOf((await get('/deletedkeys')).json['value']);
    const always = ['attributes', 'deletedDate', 'kid', 'recoveryId', 'scheduledPurgeDate'];
    expect(Object.keys(k ?? {})).toEqual([...always, 'tags']);
    expect(Object.keys(l ?? {})).toEqual(always);
    expect(k?.['kid']).toBe(`${BASE}/keys/k`);
  });
});

describe('soft deletion', () => {
  it('takes all versions, answers the newest one, and shows at once', async () => {
    const first = await create('k', { kty: 'EC' });
    const second = await create('k', { kty: 'RSA' });
    const deleted = await served.ask('DELETE', '/keys/k');
    expect(deleted.json['key']).toEqual(second.json['key']);
    for (const answer of [first, second]) {
      const path = textOf(answer.json['key']?.['kid']).slice(BASE.length);
      expect((await get(path)).status).toBe(404);
    }
    expect((await get('/deletedkeys/k')).text).toBe(deleted.text);
    expect(listOf((await get('/keys')).json['value'])).toEqual([]);
  });

  it('recovery brings all versions back at once, and moves neither created nor updated', async () => {
    const first = await create('k', { kty: 'EC' });
    const second = await create('k', { kty: 'EC' });
    served.hsm.clock += 100;
    await served.ask('DELETE', '/keys/k');
    served.hsm.clock += 100;
    expect((await served.ask('POST', '/deletedkeys/k/recover')).text).toBe(second.text);
    for (const answer of [first, second]) {
      const path = textOf(answer.json['key']?.['kid']).slice(BASE.length);
      expect((await get(path)).text).toBe(answer.text);
    }
    expect((await get('/deletedkeys/k')).status).toBe(404);
  });

  it('a deleted key is only read, listed, recovered and purged', async () => {
    await create('k', { kty: 'EC' });
    await served.ask('DELETE', '/keys/k');
    expect((await served.ask('PATCH', '/keys/k', { body: { tags: {} } })).status).toBe(404);
    expect((await served.ask('DELETE', '/keys/k')).status).toBe(404);
    expect(listOf((await get('/keys/k/versions')).json['value'])).toEqual([]);
    const body = { alg: 'ES256', digest: Buffer.alloc(32).toString('base64url'), value: 'AAAA' };
    expect((await served.ask('POST', '/keys/k/verify', { body })).status).toBe(404);
  });

  it('a key that was never there cannot be deleted', async () => {
    const { status, json } = await served.ask('DELETE', '/keys/none');
    expect(status).toBe(404);
    expect(json['error']?.['code']).toBe('KeyNotFound');
    expect(json['error']?.['message']).toContain(`Key not found: ${BASE}/keys/none (`);
  });

  it('the answer to a recovery or purge of it names the deleted key', async () => {
    const { json } = await served.ask('POST', '/deletedkeys/none/recover');
    expect(json['error']?.['message']).toContain(`Key not found: ${BASE}/deletedkeys/none (`);
  });
});
