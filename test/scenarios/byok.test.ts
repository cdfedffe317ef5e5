// Import of keys that were wrapped for an exchange key of the pool (BYOK). The other HSM is Node's crypto.
import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { TestPool, at, text, type Answer, type Client } from './pool.js';

let pool: TestPool;
let clients: readonly Client[];
let kek: { readonly kid: string; readonly publicKey: KeyObject };

const any = () => clients[Math.floor(Math.random() * clients.length)] as Client;
const b64 = (data: string | Uint8Array) => Buffer.from(data).toString('base64url');

async function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  return any().call(method, path, body);
}

async function makeKek(name: string, body: object = {}): Promise<typeof kek> {
  const made = await ask('POST', `/keys/${name}/create`, { kty: 'RSA-HSM', key_ops: ['import'], ...body });
  if (made.status !== 200) throw new Error(made.text);
  const { n, e } = at(made.body, 'key') as JsonWebKey;
  return {
    kid: text(made.body, 'key', 'kid'),
    publicKey: createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e } as JsonWebKey }),
  };
}

beforeAll(async () => {
  pool = await TestPool.start();
  clients = await pool.clientOfEach();
  kek = await makeKek('kek');
});
afterAll(async () => {
  clients.forEach((client) => client.close());
  await pool.remove();
});

interface Wish {
  readonly kek?: typeof kek;
  readonly aesBytes?: 16 | 24 | 32;
  readonly oaepHash?: string;
  /** Changes the file before it is written. */
  readonly change?: (file: Record<string, unknown>) => void;
}

function wrap(plaintext: Uint8Array, wish: Wish = {}): Buffer {
  const { publicKey, kid } = wish.kek ?? kek;
  const aes = randomBytes(wish.aesBytes ?? 32);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const first = publicEncrypt({ key: publicKey, padding, oaepHash: wish.oaepHash ?? 'sha1' }, aes);
  const cipher = createCipheriv(`id-aes${aes.length * 8}-wrap-pad`, aes, Buffer.from('a65959a6', 'hex'));
  const ciphertext = b64(Buffer.concat([first, cipher.update(plaintext), cipher.final()]));
  const header = { kid, alg: 'dir', enc: 'CKM_RSA_AES_KEY_WRAP' };
  const file: Record<string, unknown> = { schema_version: '1.0.0', header, ciphertext, generator: 'a test' };
  wish.change?.(file);
  return Buffer.from(JSON.stringify(file));
}

const importKey = (name: string, kty: string, file: Buffer, more: object = {}) =>
  ask('PUT', `/keys/${name}`, { key: { kty, key_hsm: b64(file), ...more } });

const pkcs8 = (key: KeyObject) => key.export({ format: 'der', type: 'pkcs8' });
const digest = createHash('sha256').update('message').digest();

/** Signed by every instance, checked by Node with the key that was wrapped. */
async function signsAs(name: string, alg: string, hash: string, publicKey: KeyObject): Promise<void> {
  for (const client of clients) {
    const value = b64(createHash(hash).update('message').digest());
    const signed = await client.call('POST', `/keys/${name}/sign`, { alg, value });
    if (signed.status !== 200) throw new Error(signed.text);
    const key =
      publicKey.asymmetricKeyType === 'ec'
        ? { key: publicKey, dsaEncoding: 'ieee-p1363' as const }
        : publicKey;
    const signature = Buffer.from(text(signed.body, 'value'), 'base64url');
    expect(verify(hash, Buffer.from('message'), key, signature)).toBe(true);
  }
}

describe('a wrapped key is imported', () => {
  test.each([2048, 3072, 4096])('RSA of %i bits', async (modulusLength) => {
    const pair = generateKeyPairSync('rsa', { modulusLength });
    const answer = await importKey(`rsa-${modulusLength}`, 'RSA-HSM', wrap(pkcs8(pair.privateKey)));
    if (answer.status !== 200) throw new Error(answer.text);
    const { n, e } = pair.publicKey.export({ format: 'jwk' });
    expect(at(answer.body, 'key')).toMatchObject({ kty: 'RSA-HSM', n, e });
    expect(at(answer.body, 'attributes', 'exportable')).toBe(false);
    await signsAs(`rsa-${modulusLength}`, 'RS256', 'sha256', pair.publicKey);
  });

  test.each([
    ['P-256', 'prime256v1', 'ES256', 'sha256'],
    ['P-256K', 'secp256k1', 'ES256K', 'sha256'],
    ['P-384', 'secp384r1', 'ES384', 'sha384'],
    ['P-521', 'secp521r1', 'ES512', 'sha512'],
  ])('EC on %s, with the point that nobody could read', async (crv, namedCurve, alg, hash) => {
    // Several, since the point is found from its x coordinate and y can be either of two.
    for (let i = 0; i < 4; i += 1) {
      const pair = generateKeyPairSync('ec', { namedCurve });
      const answer = await importKey(`ec-${crv}`, 'EC-HSM', wrap(pkcs8(pair.privateKey)), { crv });
      if (answer.status !== 200) throw new Error(answer.text);
      const { x, y } = pair.publicKey.export({ format: 'jwk' });
      expect(at(answer.body, 'key')).toMatchObject({ kty: 'EC-HSM', crv, x, y });
      await signsAs(`ec-${crv}`, alg, hash, pair.publicKey);
    }
  });

  test.each([16, 24, 32])('AES of %i bytes', async (length) => {
    const secret = randomBytes(length);
    const answer = await importKey(`oct-${length}`, 'oct-HSM', wrap(secret));
    if (answer.status !== 200) throw new Error(answer.text);
    expect(Object.keys(at(answer.body, 'key') as object)).toEqual(['key_ops', 'kid', 'kty']);
    const target = randomBytes(24);
    const alg = `A${length * 8}KW`;
    for (const client of clients) {
      const wrapped = await client.call('POST', `/keys/oct-${length}/wrapkey`, { alg, value: b64(target) });
      const cipher = createCipheriv(`id-aes${length * 8}-wrap`, secret, Buffer.alloc(8, 0xa6));
      expect(text(wrapped.body, 'value')).toBe(b64(Buffer.concat([cipher.update(target), cipher.final()])));
    }
  });

  test.each([16, 24, 32] as const)(
    'under an AES key of %i bytes, for exchange keys of all sizes',
    async (aesBytes) => {
      const size = { 16: 2048, 24: 3072, 32: 4096 }[aesBytes];
      const own = await makeKek(`kek-${size}`, { key_size: size });
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const answer = await importKey('sized', 'EC', wrap(pkcs8(privateKey), { kek: own, aesBytes }), {
        crv: 'P-256',
      });
      if (answer.status !== 200) throw new Error(answer.text);
      await signsAs('sized', 'ES256', 'sha256', publicKey);
    },
  );

  test('with its operations, attributes and tags; in base64 too, as the specification says', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const body = {
      key: { kty: 'RSA-HSM', key_ops: ['sign'], key_hsm: wrap(pkcs8(privateKey)).toString('base64') },
      attributes: { enabled: false, exp: 2_000_000_000 },
      tags: { from: 'elsewhere' },
    };
    const answer = await ask('PUT', '/keys/full', body);
    if (answer.status !== 200) throw new Error(answer.text);
    expect(answer.body).toMatchObject({
      attributes: { enabled: false, exp: 2_000_000_000 },
      key: { key_ops: ['sign'] },
      tags: { from: 'elsewhere' },
    });
  });

  test('with an exchange key that has expired, since data wrapped earlier must stay readable', async () => {
    const own = await makeKek('kek-old', { attributes: { exp: 10, nbf: 5 } });
    const answer = await importKey('late', 'oct', wrap(randomBytes(32), { kek: own }));
    expect(answer.status).toBe(200);
  });
});

describe('a wrapped key is refused', () => {
  const said = ({ status, body }: Answer) => [
    status,
    at(body, 'error', 'code'),
    text(body, 'error', 'message').replace(/ \(Activity ID: .*/, ''),
  ];
  const NOT_OPEN = [
    400,
    'BadParameter',
    'The wrapped key does not open, or is not of the type, curve or size that it must be',
  ];
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;

  test('in one form, whatever is wrong inside', async () => {
    const flip = (at: number) => (file: Record<string, unknown>) => {
      const bytes = Buffer.from(String(file['ciphertext']), 'base64url');
      const place = at < 0 ? bytes.length + at : at;
      bytes[place] = (bytes[place] ?? 0) ^ 1;
      file['ciphertext'] = b64(bytes);
    };
    const cut = (by: number) => (file: Record<string, unknown>) => {
      file['ciphertext'] = b64(Buffer.from(String(file['ciphertext']), 'base64url').subarray(0, by));
    };
    const other = await makeKek('kek-2');
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
    const b192 = generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).privateKey;
    const attempts: [string, string, Buffer, object?][] = [
      ['the RSA half changed', 'RSA', wrap(pkcs8(rsa), { change: flip(10) })],
      ['the AES half changed', 'RSA', wrap(pkcs8(rsa), { change: flip(-10) })],
      ['cut', 'RSA', wrap(pkcs8(rsa), { change: cut(-8) })],
      ['nothing behind the RSA half', 'RSA', wrap(pkcs8(rsa), { change: cut(256) })],
      ['less than the RSA half', 'RSA', wrap(pkcs8(rsa), { change: cut(100) })],
      ['OAEP with another hash', 'RSA', wrap(pkcs8(rsa), { oaepHash: 'sha256' })],
      ['wrapped for another key', 'RSA', wrap(pkcs8(rsa), { kek: { ...other, kid: kek.kid } })],
      ['an EC key as RSA', 'RSA', wrap(pkcs8(ec))],
      ['an RSA key as EC', 'EC', wrap(pkcs8(rsa)), { crv: 'P-256' }],
      ['an RSA key as AES', 'oct', wrap(pkcs8(rsa))],
      ['RSA of 1024 bits', 'RSA', wrap(pkcs8(small))],
      ['another curve', 'EC', wrap(pkcs8(ec)), { crv: 'P-384' }],
      ['a curve of the same size', 'EC', wrap(pkcs8(k1)), { crv: 'P-256' }],
      ['a curve that nobody offers', 'EC', wrap(pkcs8(b192)), { crv: 'P-256' }],
      ['bytes that are no key', 'RSA', wrap(randomBytes(1200))],
      ['bytes that are no EC key', 'EC', wrap(randomBytes(80)), { crv: 'P-256' }],
      ['an AES key of 17 bytes', 'oct', wrap(randomBytes(17))],
      ['an AES key of 15 bytes', 'oct', wrap(randomBytes(15))],
      ['an AES key of 33 bytes', 'oct', wrap(randomBytes(33))],
      ['an AES key of 64 bytes', 'oct', wrap(randomBytes(64))],
    ];
    for (const [what, kty, file, more] of attempts) {
      const answer = await importKey('never', kty, file, more);
      expect([what, ...said(answer)]).toEqual([what, ...NOT_OPEN]);
    }
    expect((await ask('GET', '/keys/never')).status).toBe(404);
  });

  test('when the exchange key is not one, or of another HSM, or not there', async () => {
    const url = (host: string, path: string) => (file: Record<string, unknown>) => {
      file['header'] = { ...(file['header'] as object), kid: `https://${host}/keys/${path}` };
    };
    const host = new URL(kek.kid).host;
    const version = kek.kid.split('/').at(-1) ?? '';
    const general = await makeKek('general', { key_ops: ['wrapKey', 'unwrapKey', 'decrypt'] });
    const disabled = await makeKek('kek-off');
    await ask('PATCH', '/keys/kek-off', { attributes: { enabled: false } });
    const gone = await makeKek('kek-gone');
    await ask('DELETE', '/keys/kek-gone');
    const none = (name: string) => [400, 'BadParameter', `keys/${name} is no key exchange key of this HSM`];
    const id = (key: typeof kek) => key.kid.split('/keys/')[1] ?? '';
    const attempts: [Buffer, unknown[]][] = [
      [wrap(pkcs8(rsa), { kek: general }), none(id(general))],
      [wrap(pkcs8(rsa), { kek: gone }), none(id(gone))],
      [wrap(pkcs8(rsa), { change: url(host, `nowhere/${version}`) }), none(`nowhere/${version}`)],
      [wrap(pkcs8(rsa), { change: url(host, `kek/${'0'.repeat(32)}`) }), none(`kek/${'0'.repeat(32)}`)],
      [
        wrap(pkcs8(rsa), { change: url('other.managedhsm.azure.net', `kek/${version}`) }),
        [400, 'BadParameter', 'The exchange key is of another HSM'],
      ],
      [
        wrap(pkcs8(rsa), { kek: disabled }),
        [403, 'Forbidden', 'Operation import is not allowed on a disabled key.'],
      ],
    ];
    for (const [file, expected] of attempts)
      expect(said(await importKey('never', 'RSA', file))).toEqual(expected);
  });

  test('when the file is none', async () => {
    const member = (name: string, value: unknown) =>
      wrap(pkcs8(rsa), { change: (file) => (file[name] = value) });
    const head = (name: string, value: unknown) =>
      wrap(pkcs8(rsa), {
        change: (file) => (file['header'] = { ...(file['header'] as object), [name]: value }),
      });
    for (const file of [
      Buffer.from('garbage'),
      Buffer.from('[]'),
      Buffer.from('{}'),
      Buffer.from('null'),
      member('schema_version', '2.0.0'),
      member('header', 'x'),
      member('ciphertext', 7),
      member('ciphertext', ''),
      member('ciphertext', '***'),
      head('alg', 'RSA-OAEP'),
      head('enc', 'CKM_AES_KEY_WRAP'),
      head('kid', 'kek'),
      head('kid', kek.kid.slice(0, kek.kid.lastIndexOf('/'))),
    ]) {
      const [status, code, message] = said(await importKey('never', 'RSA', file));
      expect([status, code]).toEqual([400, 'BadParameter']);
      expect(message).toMatch(/^Invalid key_hsm: /);
    }
    const body = { key: { kty: 'EC', key_hsm: b64(wrap(pkcs8(ec))) } };
    expect((await ask('PUT', '/keys/never', body)).status).toBe(400);
    expect((await ask('PUT', '/keys/never', { key: { kty: 'RSA', key_hsm: '***' } })).status).toBe(400);
  });
});

test('an exchange key does nothing else', async () => {
  const value = b64(randomBytes(256));
  for (const [verb, alg, more] of [
    ['decrypt', 'RSA-OAEP', {}],
    ['unwrapkey', 'RSA-OAEP', {}],
    ['encrypt', 'RSA-OAEP', {}],
    ['wrapkey', 'RSA-OAEP', {}],
    ['sign', 'RS256', { value: b64(digest) }],
    ['verify', 'RS256', { digest: b64(digest) }],
  ] as const) {
    const answer = await ask('POST', `/keys/kek/${verb}`, { alg, value, ...more });
    expect([verb, answer.status]).toEqual([verb, 403]);
  }
});

test('an exchange key stays one: whoever may change keys cannot have it decrypt what was wrapped for it', async () => {
  await makeKek('kek-forever');
  for (const key_ops of [['decrypt'], ['unwrapKey', 'decrypt'], []]) {
    const answer = await ask('PATCH', '/keys/kek-forever', { key_ops });
    expect([key_ops, answer.status]).toEqual([key_ops, 400]);
  }
  expect((await ask('PATCH', '/keys/kek-forever', { tags: { for: 'import' } })).status).toBe(200);
  expect(at((await ask('GET', '/keys/kek-forever')).body, 'key', 'key_ops')).toEqual(['import']);
  await ask('POST', '/keys/usual/create', { kty: 'RSA' });
  expect((await ask('PATCH', '/keys/usual', { key_ops: ['import'] })).status).toBe(400);
});
