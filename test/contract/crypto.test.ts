// What the reference says of each algorithm and each operation, over HTTPS; Node is the other side. What the slot
// itself makes is tested with the partition and with the clients.
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
  sign as nodeSign,
  type CipherGCMTypes,
  type KeyObject,
} from 'node:crypto';
import { Served, textOf, type Answer } from '../instance/api/served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served.stop());

const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
const bytesOf = (answer: Answer, member = 'value') => Buffer.from(textOf(answer.json[member]), 'base64url');
const message = Buffer.from('a message that is signed');

const post = (name: string, verb: string, body: object) =>
  served.ask('POST', `/keys/${name}/${verb}`, { body });

async function made(name: string, body: object): Promise<string> {
  const { status, json } = await served.ask('POST', `/keys/${name}/create`, { body });
  expect(status).toBe(200);
  return textOf(json['key']?.['kid']);
}

async function imported(name: string, key: object): Promise<string> {
  const { status, json } = await served.ask('PUT', `/keys/${name}`, { body: { key } });
  expect(status).toBe(200);
  return textOf(json['key']?.['kid']);
}

function expectBad({ status, json }: Answer): void {
  expect(status).toBe(400);
  expect(json['error']?.['code']).toBe('BadParameter');
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const curves = { ES256: 'P-256', ES256K: 'P-256K', ES384: 'P-384', ES512: 'P-521' } as const;
const nodeCurves = { 'P-256': 'P-256', 'P-256K': 'secp256k1', 'P-384': 'P-384', 'P-521': 'P-521' } as const;
const octets = { 128: randomBytes(16), 192: randomBytes(24), 256: randomBytes(32) };

beforeAll(async () => {
  await imported('rsa', rsa.privateKey.export({ format: 'jwk' }));
  for (const [size, k] of Object.entries(octets)) await imported(`oct${size}`, { kty: 'oct', k: b64(k) });
});

const signing = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES256K',
  'ES384',
  'ES512',
] as const;

/** A key for the algorithm, known to both sides. */
async function signer(alg: (typeof signing)[number]): Promise<{ name: string; privateKey: KeyObject }> {
  if (!alg.startsWith('E')) return { name: 'rsa', privateKey: rsa.privateKey };
  const crv = curves[alg as keyof typeof curves];
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: nodeCurves[crv] });
  await imported(`ec${alg}`, { ...privateKey.export({ format: 'jwk' }), crv });
  return { name: `ec${alg}`, privateKey };
}

describe('verify', () => {
  it.each(signing)('%s: takes what Node signed, and nothing else', async (alg) => {
    const { name, privateKey } = await signer(alg);
    const hash = `sha${/[0-9]{3}/.exec(alg)?.[0] ?? ''}`;
    const options = alg.startsWith('PS')
      ? {
          key: privateKey,
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
        }
      : { key: privateKey, dsaEncoding: 'ieee-p1363' as const };
    const signature = nodeSign(hash, message, options);
    const digest = b64(createHash(hash).update(message).digest());
    const right = await post(name, 'verify', { alg, digest, value: b64(signature) });
    expect(right.status).toBe(200);
    expect(right.json).toEqual({
      alg,
      kid: expect.stringContaining(`/keys/${name}/`) as string,
      value: true,
    });
    const other = b64(createHash(hash).update('another').digest());
    expect((await post(name, 'verify', { alg, digest: other, value: b64(signature) })).json['value']).toBe(
      false,
    );
    signature[0] = (signature[0] ?? 0) ^ 1;
    expect((await post(name, 'verify', { alg, digest, value: b64(signature) })).json['value']).toBe(false);
    // A signature that cannot be one is false like any other wrong one.
    expect((await post(name, 'verify', { alg, digest, value: 'AAAA' })).json['value']).toBe(false);
    expect((await post(name, 'verify', { alg, digest, value: '' })).json['value']).toBe(false);
  });
});

describe('a digest', () => {
  it.each(signing)('for %s has exactly the length of its hash', async (alg) => {
    const { name } = await signer(alg);
    const length = Number(/[0-9]{3}/.exec(alg)?.[0]) / 8;
    for (const wrong of [length - 1, length + 1, 20, 65]) {
      expectBad(await post(name, 'sign', { alg, value: b64(Buffer.alloc(wrong, 1)) }));
      expectBad(await post(name, 'verify', { alg, digest: b64(Buffer.alloc(wrong, 1)), value: 'AAAA' }));
    }
  });
});

describe('RSA', () => {
  const names = ['RSA1_5', 'RSA-OAEP', 'RSA-OAEP-256'] as const;

  /** What was encrypted; PKCS#1 v1.5 (RFC 8017 section 7.2) is taken off by hand, since not every Node does it. */
  function opened(alg: (typeof names)[number], ciphertext: Buffer): Buffer {
    const key = rsa.privateKey;
    if (alg !== 'RSA1_5') {
      const oaepHash = alg === 'RSA-OAEP' ? 'sha1' : 'sha256';
      return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, ciphertext);
    }
    const block = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext);
    const end = block.indexOf(0, 2);
    expect([block[0], block[1]]).toEqual([0, 2]);
    expect(end).toBeGreaterThanOrEqual(10);
    return block.subarray(end + 1);
  }

  it.each(names)('%s: Node opens what encrypt and wrapKey make', async (alg) => {
    const secret = randomBytes(32);
    for (const verb of ['encrypt', 'wrapKey']) {
      const answer = await post('rsa', verb, { alg, value: b64(secret) });
      expect(Object.keys(answer.json)).toEqual(['alg', 'kid', 'value']);
      expect(opened(alg, bytesOf(answer)).equals(secret)).toBe(true);
    }
  });

  it.each(names)('%s: takes no iv, aad or tag', async (alg) => {
    for (const extra of [{ iv: 'AAAA' }, { aad: 'AAAA' }, { tag: 'AAAA' }]) {
      for (const verb of ['encrypt', 'decrypt', 'wrapkey', 'unwrapkey']) {
        expectBad(await post('rsa', verb, { alg, value: 'AAAA', ...extra }));
      }
    }
  });

  it('a public exponent of 3 is made and shown', async () => {
    await made('three', { kty: 'RSA', public_exponent: 3 });
    expect((await served.ask('GET', '/keys/three')).json['key']?.['e']).toBe('Aw');
  });
});

describe.each([128, 192, 256] as const)('AES %i', (size) => {
  const key = createSecretKey(octets[size]);
  const name = `oct${size}`;
  const odd = Buffer.from('seventeen bytes !');
  const blocks = randomBytes(32);

  it('GCM: Node opens what encrypt makes, and decrypt what Node makes', async () => {
    const alg = `A${size}GCM`;
    const kind = `aes-${size}-gcm` as CipherGCMTypes;
    const aad = Buffer.from('bound to this');
    const answer = await post(name, 'encrypt', { alg, value: b64(odd), aad: b64(aad) });
    expect(Object.keys(answer.json)).toEqual(['aad', 'alg', 'iv', 'kid', 'tag', 'value']);
    expect(answer.json['aad']).toBe(b64(aad));
    expect([bytesOf(answer, 'iv').length, bytesOf(answer, 'tag').length]).toEqual([12, 16]);
    const opener = createDecipheriv(kind, key, bytesOf(answer, 'iv')).setAAD(aad);
    opener.setAuthTag(bytesOf(answer, 'tag'));
    expect(Buffer.concat([opener.update(bytesOf(answer)), opener.final()]).equals(odd)).toBe(true);
    const iv = randomBytes(12);
    const sealer = createCipheriv(kind, key, iv);
    const value = b64(Buffer.concat([sealer.update(odd), sealer.final()]));
    const opened = await post(name, 'decrypt', { alg, value, iv: b64(iv), tag: b64(sealer.getAuthTag()) });
    expect(opened.json).toEqual({ alg, kid: answer.json['kid'], value: b64(odd) });
  });

  it('GCM: no nonce comes twice', async () => {
    const body = { alg: `A${size}GCM`, value: b64(odd) };
    const all = await Promise.all(Array.from({ length: 20 }, () => post(name, 'encrypt', body)));
    expect(new Set(all.map(({ json }) => json['iv'])).size).toBe(20);
  });

  it.each(['CBC', 'CBCPAD'])(
    '%s: Node opens what encrypt makes, and decrypt what Node makes',
    async (mode) => {
      const alg = `A${size}${mode}`;
      const plain = mode === 'CBC' ? blocks : odd;
      const iv = Buffer.from('0123456789ABCDEF');
      const answer = await post(name, 'encrypt', { alg, value: b64(plain), iv: b64(iv) });
      expect(Object.keys(answer.json)).toEqual(['alg', 'iv', 'kid', 'value']);
      expect(answer.json['iv']).toBe(b64(iv));
      const sealer = createCipheriv(`aes-${size}-cbc`, key, iv).setAutoPadding(mode === 'CBCPAD');
      const expected = Buffer.concat([sealer.update(plain), sealer.final()]);
      expect(bytesOf(answer).equals(expected)).toBe(true);
      const opened = await post(name, 'decrypt', { alg, value: b64(expected), iv: b64(iv) });
      expect(opened.json).toEqual({ alg, kid: answer.json['kid'], value: b64(plain) });
    },
  );

  it('CBC takes whole blocks only', async () => {
    for (const value of [b64(odd), b64(randomBytes(15))]) {
      expectBad(await post(name, 'encrypt', { alg: `A${size}CBC`, value }));
      expectBad(await post(name, 'decrypt', { alg: `A${size}CBC`, value, iv: b64(randomBytes(16)) }));
    }
  });

  it('decrypt needs the iv, and GCM the tag', async () => {
    const value = b64(blocks);
    for (const mode of ['GCM', 'CBC', 'CBCPAD'])
      expectBad(await post(name, 'decrypt', { alg: `A${size}${mode}`, value }));
    expectBad(await post(name, 'decrypt', { alg: `A${size}GCM`, value, iv: b64(randomBytes(12)) }));
  });

  it('KW: is RFC 3394, both ways', async () => {
    const secret = randomBytes(32);
    const sealer = createCipheriv(`id-aes${size}-wrap`, key, Buffer.alloc(8, 0xa6));
    const expected = Buffer.concat([sealer.update(secret), sealer.final()]);
    const alg = `A${size}KW`;
    const wrapped = await post(name, 'wrapKey', { alg, value: b64(secret) });
    expect(bytesOf(wrapped).equals(expected)).toBe(true);
    const opened = await post(name, 'unwrapKey', { alg, value: b64(expected) });
    expect(opened.json).toEqual({ alg, kid: wrapped.json['kid'], value: b64(secret) });
  });

  it('an algorithm of another key size is refused', async () => {
    for (const other of [128, 192, 256].filter((bits) => bits !== size)) {
      for (const mode of ['GCM', 'CBC', 'CBCPAD']) {
        expectBad(await post(name, 'encrypt', { alg: `A${other}${mode}`, value: b64(blocks) }));
      }
      expectBad(await post(name, 'wrapkey', { alg: `A${other}KW`, value: b64(blocks) }));
    }
  });
});

describe('an algorithm', () => {
  const digest = b64(Buffer.alloc(32, 1));

  it('that encrypts or wraps fits no EC key', async () => {
    await made('ec', { kty: 'EC' });
    for (const alg of ['RSA-OAEP', 'RSA1_5', 'A256GCM', 'A256KW']) {
      for (const verb of ['encrypt', 'decrypt', 'wrapkey', 'unwrapkey']) {
        // The operation is none of the key's either, and that is said first.
        expect([400, 403]).toContain((await post('ec', verb, { alg, value: digest })).status);
      }
    }
  });

  it.each(Object.entries(curves))('%s fits its own curve only', async (alg, curve) => {
    for (const crv of Object.values(curves)) {
      if (crv === curve) continue;
      await made(`ec${crv}`, { kty: 'EC', crv });
      const value = b64(Buffer.alloc(Number(/[0-9]{3}/.exec(alg)?.[0]) / 8, 1));
      expectBad(await post(`ec${crv}`, 'sign', { alg, value }));
      expectBad(await post(`ec${crv}`, 'verify', { alg, digest: value, value: 'AAAA' }));
    }
  });

  it('is one of its own operation only', async () => {
    for (const alg of ['RS256', 'ES256', 'A256KW'])
      expectBad(await post('rsa', 'encrypt', { alg, value: digest }));
    for (const alg of ['RSA-OAEP', 'A256GCM', 'ES256'])
      expectBad(await post('rsa', 'sign', { alg, value: digest }));
    expectBad(await post('oct256', 'wrapkey', { alg: 'A256GCM', value: digest }));
    expectBad(await post('oct256', 'encrypt', { alg: 'A256KW', value: digest }));
  });

  it('is written exactly', async () => {
    for (const alg of ['rs256', 'RS-256', 'RS256 ', '', 'none', '__proto__', 'constructor']) {
      expectBad(await post('rsa', 'sign', { alg, value: digest }));
    }
  });
});

describe('the window of a key', () => {
  const later = 1_900_000_000;
  const earlier = 1_700_000_000;
  const states = [
    ['that is not valid yet', { nbf: later }, 'KeyNotYetValid'],
    ['that has expired', { exp: earlier }, 'KeyExpired'],
  ] as const;
  const block = b64(Buffer.alloc(32, 1));

  it.each(states)(
    'a key %s protects nothing new, and still opens and verifies',
    async (_, attributes, inner) => {
      for (const [name, body] of [
        ['win-rsa', { kty: 'RSA' }],
        ['win-oct', { kty: 'oct' }],
      ] as const) {
        await made(name, body);
        const wrapAlg = name === 'win-rsa' ? 'RSA-OAEP-256' : 'A256KW';
        const encryptAlg = name === 'win-rsa' ? 'RSA-OAEP-256' : 'A256CBC';
        const wrapped = await post(name, 'wrapkey', { alg: wrapAlg, value: block });
        const sealed = await post(name, 'encrypt', { alg: encryptAlg, value: block });
        const iv = sealed.json['iv'];
        const patched = await served.ask('PATCH', `/keys/${name}`, { body: { attributes } });
        expect(patched.status).toBe(200);
        for (const [verb, alg] of [
          ['encrypt', encryptAlg],
          ['wrapkey', wrapAlg],
        ] as const) {
          const refused = await post(name, verb, { alg, value: block });
          expect(refused.status).toBe(403);
          expect(refused.json['error']).toMatchObject({ code: 'Forbidden', innererror: { code: inner } });
        }
        expect(
          (await post(name, 'unwrapkey', { alg: wrapAlg, value: wrapped.json['value'] })).json['value'],
        ).toBe(block);
        const opened = await post(name, 'decrypt', { alg: encryptAlg, value: sealed.json['value'], iv });
        expect(opened.json['value']).toBe(block);
      }
      const signed = await post('win-rsa', 'sign', { alg: 'RS256', value: block });
      expect(signed.status).toBe(403);
      expect((await post('win-rsa', 'verify', { alg: 'RS256', digest: block, value: 'AAAA' })).status).toBe(
        200,
      );
    },
  );

  it.each(states)('a key %s is managed as ever', async (_, attributes) => {
    await made('managed', { kty: 'EC', attributes });
    expect((await served.ask('GET', '/keys/managed')).status).toBe(200);
    expect((await served.ask('PATCH', '/keys/managed', { body: { tags: { a: '1' } } })).status).toBe(200);
    expect((await served.ask('DELETE', '/keys/managed')).status).toBe(200);
    expect((await served.ask('POST', '/deletedkeys/managed/recover')).status).toBe(200);
  });

  it('a disabled key does nothing at all, and is managed as ever', async () => {
    await made('off', { kty: 'RSA', attributes: { enabled: false } });
    for (const verb of ['encrypt', 'decrypt', 'wrapkey', 'unwrapkey']) {
      const { status, json } = await post('off', verb, { alg: 'RSA-OAEP', value: block });
      expect(status).toBe(403);
      expect(json['error']?.['innererror']?.['code']).toBe('KeyDisabled');
    }
    expect((await post('off', 'sign', { alg: 'RS256', value: block })).status).toBe(403);
    expect((await post('off', 'verify', { alg: 'RS256', digest: block, value: 'AAAA' })).status).toBe(403);
    expect((await served.ask('GET', '/keys/off')).status).toBe(200);
    const on = await served.ask('PATCH', '/keys/off', { body: { attributes: { enabled: true } } });
    expect(on.json['attributes']?.['enabled']).toBe(true);
    expect((await post('off', 'sign', { alg: 'RS256', value: block })).status).toBe(200);
  });
});

describe('rng', () => {
  it('answers the value and nothing else, of every length from 1 to 128', async () => {
    for (const count of [1, 4, 127, 128]) {
      const answer = await served.ask('POST', '/rng', { body: { count } });
      expect(Object.keys(answer.json)).toEqual(['value']);
      expect(bytesOf(answer)).toHaveLength(count);
    }
  });
});
