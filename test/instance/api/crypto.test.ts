// Cryptographic operations over REST; results are checked with Node's crypto.
import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  publicDecrypt,
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

describe('symmetric keys that the client brings', () => {
  const imported = async (name: string, k: Buffer) => {
    const { status } = await served.ask('PUT', `/keys/${name}`, { body: { key: { kty: 'oct', k: b64(k) } } });
    expect(status).toBe(200);
  };

  it.each([
    ['HS256', 'sha256', 32],
    ['HS384', 'sha384', 48],
    ['HS512', 'sha512', 64],
  ])(
    '%s: the data as it is gets the MAC that Node makes, and verify compares all of it',
    async (alg, hash, length) => {
      const k = randomBytes(length);
      await imported(`mac-${length}`, k);
      for (const data of [Buffer.of(0), digest, randomBytes(1000)]) {
        const expected = createHmac(hash, k).update(data).digest();
        const signed = await served.ask('POST', `/keys/mac-${length}/sign`, {
          body: { alg, value: b64(data) },
        });
        expect(Object.keys(signed.json)).toEqual(['alg', 'kid', 'value']);
        expect(signed.json['value']).toBe(b64(expected));
        const verified = async (value: Buffer) => {
          const body = { alg, digest: b64(data), value: b64(value) };
          return (await served.ask('POST', `/keys/mac-${length}/verify`, { body })).json['value'];
        };
        expect(await verified(expected)).toBe(true);
        expect(
          await verified(Buffer.concat([expected.subarray(0, -1), Buffer.of((expected.at(-1) ?? 0) ^ 1)])),
        ).toBe(false);
        expect(await verified(expected.subarray(0, 16))).toBe(false);
        expect(await verified(Buffer.concat([expected, Buffer.of(0)]))).toBe(false);
      }
    },
  );

  it('a key that is no AES key makes MACs and nothing else', async () => {
    await imported('mac-only', randomBytes(40));
    for (const [verb, alg] of [
      ['encrypt', 'A256GCM'],
      ['encrypt', 'A256CBC'],
      ['wrapkey', 'A256KW'],
      ['wrapkey', 'CKM_AES_KEY_WRAP_PAD'],
    ] as const) {
      const body = { alg, value: b64(Buffer.alloc(16, 1)) };
      expect((await served.ask('POST', `/keys/mac-only/${verb}`, { body })).status).toBe(400);
    }
  });

  it.each([0, 1, 15, 17, 31, 65])('a key of %i bytes is refused', async (length) => {
    const body = { key: { kty: 'oct', k: b64(Buffer.alloc(length, 1)) } };
    const { status, json } = await served.ask('PUT', '/keys/odd', { body });
    expect(status).toBe(400);
    expect(json['error']?.['code']).toBe('BadParameter');
  });

  it.each([
    [128, 'A128KW', false],
    [192, 'A192KW', false],
    [256, 'A256KW', false],
    [128, 'CKM_AES_KEY_WRAP', false],
    [256, 'CKM_AES_KEY_WRAP', false],
    [128, 'A128KWPAD', true],
    [192, 'A192KWPAD', true],
    [256, 'A256KWPAD', true],
    [128, 'CKM_AES_KEY_WRAP_PAD', true],
    [256, 'CKM_AES_KEY_WRAP_PAD', true],
  ] as const)('a key of %i bits wraps by %s as OpenSSL does, and unwraps', async (size, alg, padded) => {
    const k = randomBytes(size / 8);
    await imported(`kek-${size}`, k);
    for (const length of padded ? [1, 8, 20, 32] : [16, 40]) {
      const secret = randomBytes(length);
      const cipher = padded
        ? createCipheriv(`id-aes${size}-wrap-pad`, k, Buffer.from('a65959a6', 'hex'))
        : createCipheriv(`id-aes${size}-wrap`, k, Buffer.alloc(8, 0xa6));
      const expected = b64(Buffer.concat([cipher.update(secret), cipher.final()]));
      const body = { alg, value: b64(secret) };
      expect((await served.ask('POST', `/keys/kek-${size}/wrapKey`, { body })).json['value']).toBe(expected);
      const back = await served.ask('POST', `/keys/kek-${size}/unwrapKey`, {
        body: { alg, value: expected },
      });
      expect(back.json['value']).toBe(b64(secret));
    }
  });
});

describe('RSNULL', () => {
  it('signs bytes as they are, and verify recovers and compares them', async () => {
    await create('null', { kty: 'RSA' });
    const { json: key } = await served.ask('GET', '/keys/null');
    const jwk = { kty: 'RSA', n: textOf(key['key']?.['n']), e: 'AQAB' };
    for (const data of [Buffer.of(5), digest, Buffer.alloc(245, 9)]) {
      const signed = await served.ask('POST', '/keys/null/sign', {
        body: { alg: 'RSNULL', value: b64(data) },
      });
      const signature = Buffer.from(textOf(signed.json['value']), 'base64url');
      expect(publicDecrypt(createPublicKey({ format: 'jwk', key: jwk }), signature)).toEqual(data);
      const body = { alg: 'RSNULL', digest: b64(data), value: b64(signature) };
      expect((await served.ask('POST', '/keys/null/verify', { body })).json['value']).toBe(true);
      const other = { ...body, digest: b64(Buffer.concat([data, Buffer.of(0)])) };
      expect((await served.ask('POST', '/keys/null/verify', { body: other })).json['value']).toBe(false);
      const broken = { ...body, value: b64(signature.subarray(1)) };
      expect((await served.ask('POST', '/keys/null/verify', { body: broken })).json['value']).toBe(false);
    }
  });

  it('a value that leaves no room for padding is refused', async () => {
    const body = { alg: 'RSNULL', value: b64(Buffer.alloc(246, 1)) };
    expect((await served.ask('POST', '/keys/null/sign', { body })).status).toBe(400);
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
    ['wrapkey', { alg: 'A128KWPAD', value: text }],
    ['wrapkey', { alg: 'A256KWPAD', value: b64(Buffer.alloc(4097, 1)) }],
    ['unwrapkey', { alg: 'A256KWPAD', value: b64(Buffer.alloc(8, 1)) }],
    ['unwrapkey', { alg: 'CKM_AES_KEY_WRAP_PAD', value: b64(Buffer.alloc(17, 1)) }],
    ['sign', { alg: 'HS384', value: b64(digest) }],
    ['sign', { alg: 'HS512', value: b64(digest) }],
    ['sign', { alg: 'RSNULL', value: b64(digest) }],
    ['encrypt', { alg: 'HS256', value: text }],
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
