// Cryptographic operations over REST; results are checked with Node's crypto.
import {
  constants,
  createHash,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  verify as nodeVerify,
} from 'node:crypto';
import { Served, textOf } from './served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served.stop());

const digest = createHash('sha256').update('message').digest();
const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');

async function create(name: string, body: object): Promise<string> {
  const { status, json } = await served.ask('POST', `/keys/${name}/create`, { body });
  expect(status).toBe(200);
  return textOf(json['key']?.['kid']);
}

describe('sign and verify', () => {
  it('sign: ES256 gives r and s that Node accepts, and verify agrees', async () => {
    const kid = await create('ec', { kty: 'EC' });
    const { json: key } = await served.ask('GET', '/keys/ec');
    const signed = await served.ask('POST', '/keys/ec//sign', { body: { alg: 'ES256', value: b64(digest) } });
    expect(signed.status).toBe(200);
    expect(signed.text).toBe(`{"alg":"ES256","kid":"${kid}","value":"${textOf(signed.json['value'])}"}`);
    const { crv, x, y } = key['key'] as unknown as { crv: string; x: string; y: string };
    const publicKey = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv, x, y } });
    const signature = Buffer.from(textOf(signed.json['value']), 'base64url');
    const options = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const;
    expect(nodeVerify('sha256', Buffer.from('message'), options, signature)).toBe(true);
    const body = { alg: 'ES256', digest: b64(digest), value: b64(signature) };
    expect((await served.ask('POST', '/keys/ec/verify', { body })).text).toBe(
      `{"alg":"ES256","kid":"${kid}","value":true}`,
    );
    const other = { ...body, digest: b64(randomBytes(32)) };
    expect((await served.ask('POST', '/keys/ec/verify', { body: other })).json['value']).toBe(false);
  });

  it('sign: RS256 gives what Node accepts', async () => {
    await create('rsa', { kty: 'RSA' });
    const { json: key } = await served.ask('GET', '/keys/rsa');
    const signed = await served.ask('POST', '/keys/rsa/sign', { body: { alg: 'RS256', value: b64(digest) } });
    const jwk = { kty: 'RSA', n: textOf(key['key']?.['n']), e: textOf(key['key']?.['e']) };
    const signature = Buffer.from(textOf(signed.json['value']), 'base64url');
    const publicKey = createPublicKey({ format: 'jwk', key: jwk });
    expect(nodeVerify('sha256', Buffer.from('message'), publicKey, signature)).toBe(true);
  });

  it.each([
    ['a digest of the wrong length', { alg: 'ES256', value: b64(randomBytes(31)) }],
    ['an empty digest', { alg: 'ES256', value: '' }],
    ['an algorithm of another curve', { alg: 'ES384', value: b64(randomBytes(48)) }],
    ['an algorithm of another type', { alg: 'RS256', value: b64(digest) }],
    ['an algorithm that encrypts', { alg: 'RSA-OAEP', value: b64(digest) }],
    ['an unknown algorithm', { alg: 'none', value: b64(digest) }],
    ['a digest that is not base64url', { alg: 'ES256', value: '+/+/' }],
    ['no algorithm', { value: b64(digest) }],
    ['a number for the digest', { alg: 'ES256', value: 7 }],
  ])('sign: %s is refused with 400', async (_, body) => {
    const { status, json } = await served.ask('POST', '/keys/ec/sign', { body });
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('BadParameter');
  });

  it('sign: padding at the end of base64url is accepted', async () => {
    const { status } = await served.ask('POST', '/keys/ec/sign', {
      body: { alg: 'ES256', value: `${b64(digest)}=` },
    });
    expect(status).toBe(200);
  });

  it('sign: a deleted key refuses', async () => {
    await create('gone', { kty: 'EC' });
    await served.ask('DELETE', '/keys/gone');
    const { status, json } = await served.ask('POST', '/keys/gone/sign', {
      body: { alg: 'ES256', value: b64(digest) },
    });
    expect(status).toBe(404);
    expect(json['error']?.['code']).toBe('KeyNotFound');
  });

  it.each([
    ['disabled', { enabled: false }, 'KeyDisabled'],
    ['not yet valid', { nbf: 2_000_000_000 }, 'KeyNotYetValid'],
    ['expired', { exp: 1_700_000_000 }, 'KeyExpired'],
  ])('sign: a key that is %s refuses with 403', async (state, attributes, inner) => {
    const name = state.replaceAll(' ', '-');
    await create(name, { kty: 'EC', attributes });
    const asked = await served.ask('POST', `/keys/${name}/sign`, {
      body: { alg: 'ES256', value: b64(digest) },
    });
    expect(asked.status).toBe(403);
    expect(asked.json['error']?.['innererror']?.['code']).toBe(inner);
  });

  it('sign: a key without that operation refuses with 403', async () => {
    await create('verify-only', { kty: 'EC', key_ops: ['verify'] });
    const asked = await served.ask('POST', '/keys/verify-only/sign', {
      body: { alg: 'ES256', value: b64(digest) },
    });
    expect(asked.status).toBe(403);
  });
});

describe('RSA encryption', () => {
  beforeAll(() => create('enc', { kty: 'RSA-HSM' }));

  it.each(['encrypt/decrypt', 'wrapKey/unwrapKey'])('%s comes back as it went', async (pair) => {
    const [there, back] = pair.split('/');
    const secret = randomBytes(32);
    const sent = await served.ask('POST', `/keys/enc/${there ?? ''}`, {
      body: { alg: 'RSA-OAEP-256', value: b64(secret) },
    });
    const got = await served.ask('POST', `/keys/enc/${back ?? ''}`, {
      body: { alg: 'RSA-OAEP-256', value: sent.json['value'] },
    });
    expect(got.json['value']).toBe(b64(secret));
    expect(Object.keys(got.json)).toEqual(['alg', 'kid', 'value']);
  });

  it('decrypt: what does not open is refused in one form, whatever is wrong with it', async () => {
    const { json: key } = await served.ask('GET', '/keys/enc');
    const jwk = { kty: 'RSA', n: textOf(key['key']?.['n']), e: 'AQAB' };
    const publicKey = createPublicKey({ format: 'jwk', key: jwk });
    const other = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, digest);
    const answers = await Promise.all(
      [other, randomBytes(256), Buffer.alloc(256, 255), randomBytes(255), randomBytes(1)].map((value) =>
        served.ask('POST', '/keys/enc/decrypt', { body: { alg: 'RSA-OAEP', value: b64(value) } }),
      ),
    );
    const forms = answers.map(({ status, text }) => `${status} ${text.replace(/Activity ID: [^)]*/, '')}`);
    expect(new Set(forms).size).toBe(1);
    expect(answers[0]?.status).toBe(400);
  });

  it('encrypt: a value too long for the key is refused', async () => {
    const { status } = await served.ask('POST', '/keys/enc/encrypt', {
      body: { alg: 'RSA-OAEP-256', value: b64(Buffer.alloc(191)) },
    });
    expect(status).toBe(400);
  });

  it('encrypt: an iv or aad has no place in RSA', async () => {
    const body = { alg: 'RSA-OAEP-256', value: 'AAAA', aad: 'AAAA' };
    expect((await served.ask('POST', '/keys/enc/encrypt', { body })).status).toBe(400);
  });
});

describe('AES', () => {
  beforeAll(() => create('aes', { kty: 'oct-HSM', key_size: 256 }));
  const text = b64(Buffer.from('0123456789abcdef'));

  it('GCM: the iv is made here; iv, tag and aad come back in order', async () => {
    const body = { alg: 'A256GCM', value: text, aad: 'AQID' };
    const sent = await served.ask('POST', '/keys/aes/encrypt', { body });
    expect(Object.keys(sent.json)).toEqual(['aad', 'alg', 'iv', 'kid', 'tag', 'value']);
    const { aad, iv, tag, value } = sent.json;
    const back = await served.ask('POST', '/keys/aes/decrypt', {
      body: { alg: 'A256GCM', value, aad, iv, tag },
    });
    expect(back.json['value']).toBe(text);
    expect(Object.keys(back.json)).toEqual(['alg', 'kid', 'value']);
    const forged = await served.ask('POST', '/keys/aes/decrypt', {
      body: { alg: 'A256GCM', value, iv, tag },
    });
    expect(forged.status).toBe(400);
  });

  it('GCM: an iv from the client is refused', async () => {
    const body = { alg: 'A256GCM', value: text, iv: b64(randomBytes(12)) };
    expect((await served.ask('POST', '/keys/aes/encrypt', { body })).status).toBe(400);
  });

  it('GCM: without aad the answer has none', async () => {
    const sent = await served.ask('POST', '/keys/aes/encrypt', { body: { alg: 'A256GCM', value: text } });
    expect(Object.keys(sent.json)).toEqual(['alg', 'iv', 'kid', 'tag', 'value']);
  });

  it.each(['A256CBC', 'A256CBCPAD'])('%s: an iv is made when the client sends none', async (alg) => {
    const sent = await served.ask('POST', '/keys/aes/encrypt', { body: { alg, value: text } });
    const { iv, value } = sent.json;
    expect(Buffer.from(textOf(iv), 'base64url')).toHaveLength(16);
    const back = await served.ask('POST', '/keys/aes/decrypt', { body: { alg, value, iv } });
    expect(back.json['value']).toBe(text);
  });

  it.each([
    ['encrypt', { alg: 'A256CBC', value: b64(Buffer.alloc(15, 1)) }],
    ['encrypt', { alg: 'A256CBC', value: text, iv: b64(Buffer.alloc(12, 1)) }],
    ['encrypt', { alg: 'A256CBC', value: text, aad: 'AAAA' }],
    ['encrypt', { alg: 'A128GCM', value: text }],
    ['decrypt', { alg: 'A256GCM', value: text }],
    ['decrypt', { alg: 'A256CBC', value: text }],
    ['decrypt', { alg: 'A256CBCPAD', value: text, iv: b64(Buffer.alloc(16, 1)), tag: 'AAAA' }],
    ['wrapkey', { alg: 'A256KW', value: b64(Buffer.alloc(8, 1)) }],
    ['wrapkey', { alg: 'A256KW', value: b64(Buffer.alloc(17, 1)) }],
    ['wrapkey', { alg: 'A256GCM', value: text }],
    ['wrapkey', { alg: 'A256KW', value: text, iv: text }],
    ['unwrapkey', { alg: 'A256KW', value: b64(Buffer.alloc(16, 1)) }],
    ['unwrapkey', { alg: 'A256KW', value: b64(Buffer.alloc(24, 1)) }],
    ['unwrapkey', { alg: 'CKM_AES_KEY_WRAP', value: b64(Buffer.alloc(24, 1)) }],
    ['sign', { alg: 'HS256', value: b64(digest) }],
  ])('%s: %j is refused with 400', async (verb, body) => {
    const { status, json } = await served.ask('POST', `/keys/aes/${verb}`, { body });
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('BadParameter');
  });

  it('wrapkey: A256KW adds eight bytes, and unwrapkey takes them off', async () => {
    const secret = randomBytes(32);
    const sent = await served.ask('POST', '/keys/aes/wrapKey', {
      body: { alg: 'A256KW', value: b64(secret) },
    });
    expect(Buffer.from(textOf(sent.json['value']), 'base64url')).toHaveLength(40);
    const body = { alg: 'A256KW', value: sent.json['value'] };
    expect((await served.ask('POST', '/keys/aes/unwrapKey', { body })).json['value']).toBe(b64(secret));
  });
});

describe('rng', () => {
  it('gives as many bytes as asked', async () => {
    const { json } = await served.ask('POST', '/rng', { body: { count: 128 } });
    expect(Buffer.from(textOf(json['value']), 'base64url')).toHaveLength(128);
  });
  it.each([0, 129, -1, 1.5, '4', null])('refuses a count of %j', async (count) => {
    expect((await served.ask('POST', '/rng', { body: { count } })).status).toBe(400);
  });
});
