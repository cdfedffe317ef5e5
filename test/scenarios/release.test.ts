// Secure key release on a real pool: exportable keys leave for an enclave that an attestation service vouches for,
// and for nobody else. The enclave is Node's crypto.
import {
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { compactVerify, decodeProtectedHeader } from 'jose';
import { AttestationService } from '../instance/hsm/attestation-service.js';
import { Enclave, WRAPS, type Released } from './enclave.js';
import { TestPool, at, text, type Answer, type Client } from './pool.js';

let enclave: Enclave;
let pool: TestPool;
let clients: readonly Client[];

beforeAll(async () => {
  enclave = await Enclave.start();
  pool = await TestPool.start(undefined, enclave.options);
  clients = await pool.clientOfEach();
});
afterAll(async () => {
  clients.forEach((client) => client.close());
  await pool.remove();
  await enclave.stop();
});

const b64 = (data: string | Uint8Array) => Buffer.from(data).toString('base64url');

interface Policy {
  readonly version: string;
  readonly anyOf: readonly { readonly authority: string; readonly allOf: unknown }[];
}

/** As clients may write it: in another order than the pool's, and with spaces. */
function policyOf(code = 'good', immutable?: boolean): object {
  const { version, anyOf } = JSON.parse(enclave.policy(code)) as Policy;
  const rules = anyOf.map(({ authority, allOf }) => ({ authority, allOf }));
  const data = b64(JSON.stringify({ version, anyOf: rules }, null, 1));
  return immutable === undefined ? { data } : { data, immutable };
}

const any = () => clients[Math.floor(Math.random() * clients.length)] as Client;

async function create(name: string, body: object): Promise<unknown> {
  const wish = { attributes: { exportable: true }, release_policy: policyOf(), ...body };
  const answer = await any().call('POST', `/keys/${name}/create`, wish);
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.body;
}

async function release(client: Client, path: string, more: object = {}): Promise<Answer> {
  return client.call('POST', `/keys/${path}/release`, { target: await enclave.assertion(), ...more });
}

/** Checked as an enclave would: the chain up to the pool's root, then the signature. */
async function readReleased(answer: Answer): Promise<Released> {
  if (answer.status !== 200) throw new Error(answer.text);
  const token = text(answer.body, 'value');
  const released = enclave.open(token);
  const [leaf, root] = released.chain;
  if (!leaf || !root) throw new Error('no chain');
  expect(leaf.verify(root.publicKey)).toBe(true);
  expect(readFileSync(pool.ready.caFile, 'utf8')).toContain(root.toString());
  const { x5c, ...header } = decodeProtectedHeader(token);
  expect(x5c).toHaveLength(2);
  expect(header).toEqual({ alg: 'RS256', kid: header['x5t#S256'], 'x5t#S256': header['x5t#S256'] });
  await compactVerify(token, leaf.publicKey);
  return released;
}

/** Length of the outermost DER value with its head, in bytes. */
function derLength(der: Buffer): number {
  const first = der.readUInt8(1);
  return first < 0x80 ? 2 + first : 2 + (first & 0x7f) + der.readUIntBE(2, first & 0x7f);
}

function publicOf(bundle: unknown): KeyObject {
  const jwk = at(bundle, 'key') as JsonWebKey;
  const crv = jwk.crv === 'P-256K' ? 'secp256k1' : jwk.crv;
  return createPublicKey({
    format: 'jwk',
    key: { ...jwk, kty: jwk.kty?.replace('-HSM', '') ?? '', crv } as JsonWebKey,
  });
}

describe('a key is released', () => {
  test.each([
    ['rsa', { kty: 'RSA' }],
    ['rsa-3072', { kty: 'RSA', key_size: 3072 }],
    ['p256', { kty: 'EC', crv: 'P-256' }],
    ['p256k', { kty: 'EC', crv: 'P-256K' }],
    ['p384', { kty: 'EC', crv: 'P-384' }],
    ['p521', { kty: 'EC', crv: 'P-521' }],
  ])('%s: the enclave gets the private key of the public one, from every instance', async (name, body) => {
    const bundle = await create(name, body);
    expect(at(bundle, 'attributes', 'exportable')).toBe(true);
    for (const client of clients) {
      const { key, material } = await readReleased(await release(client, name));
      const der = { format: 'der', type: 'spki' } as const;
      expect(createPublicKey(key).export(der)).toEqual(publicOf(bundle).export(der));
      // PKCS#8 and nothing after it.
      expect(material).toHaveLength(derLength(material));
    }
  });

  test('exactly as it was imported, and it still signs here', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const body = {
      key: privateKey.export({ format: 'jwk' }),
      attributes: { exportable: true },
      release_policy: policyOf(),
    };
    expect((await any().call('PUT', '/keys/imported', body)).status).toBe(200);
    const { key } = await readReleased(await release(any(), 'imported'));
    expect(key.export({ format: 'jwk' }).d).toBe(privateKey.export({ format: 'jwk' }).d);
    const digest = Buffer.from('73d0b3ab4a5fbe0bd6f7ebbd4d5b1cdd0e4a7bcd9eab1d6c4f4f0b2f9f2cfb0d', 'hex');
    const signed = await any().call('POST', '/keys/imported/sign', { alg: 'ES256', value: b64(digest) });
    const verified = await any().call('POST', '/keys/imported/verify', {
      alg: 'ES256',
      digest: b64(digest),
      value: text(signed.body, 'value'),
    });
    expect(at(verified.body, 'value')).toBe(true);
    expect(publicKey.asymmetricKeyType).toBe('ec');
  });

  test.each([16, 24, 32, 33, 64])('symmetric ones of %i bytes too', async (length) => {
    const k = randomBytes(length);
    const body = {
      key: { kty: 'oct', k: b64(k) },
      attributes: { exportable: true },
      release_policy: policyOf(),
    };
    expect((await any().call('PUT', `/keys/oct-${length}`, body)).status).toBe(200);
    const { bundle, material } = await readReleased(await release(any(), `oct-${length}`));
    expect(text(bundle, 'key', 'kty')).toBe('oct');
    expect(material).toEqual(k);
  });

  test.each(WRAPS)('wrapped by %s, with the request in the signed answer', async (enc) => {
    const bundle = await create('wraps', { kty: 'oct', key_size: 256 });
    const kid = text(bundle, 'key', 'kid');
    const [base, version] = [kid.slice(0, kid.lastIndexOf('/')), kid.split('/').at(-1) ?? ''];
    const bare = await readReleased(await release(any(), 'wraps', { enc, nonce: 'n-1' }));
    expect(bare.request).toEqual({ 'api-version': '7.6', enc, kid: base, nonce: 'n-1' });
    const versioned = await readReleased(await release(any(), `wraps/${version}`, { enc }));
    expect(versioned.request).toEqual({ 'api-version': '7.6', enc, kid });
    expect(text(versioned.bundle, 'key', 'kid')).toBe(kid);
    expect(versioned.wrapped).toMatchObject({
      header: { alg: 'dir', enc, kid: enclave.kid },
      schema_version: '1.0',
    });
    expect(versioned.material).toHaveLength(32);
  });

  test('after its rotation, its backup and its restore', async () => {
    await create('moved', { kty: 'EC' });
    await any().call('PUT', '/keys/moved/rotationpolicy', { attributes: { expiryTime: 'P90D' } });
    const rotated = await any().call('POST', '/keys/moved/rotate');
    expect(at(rotated.body, 'attributes', 'exportable')).toBe(true);
    const backup = await any().call('POST', '/keys/moved/backup');
    await any().call('DELETE', '/keys/moved');
    await any().call('DELETE', '/deletedkeys/moved');
    const restored = await any().call('POST', '/keys/restore', backup.body);
    expect(restored.text).toBe(rotated.text);
    const { key } = await readReleased(await release(any(), 'moved'));
    const message = randomBytes(9);
    expect(verify('sha256', message, publicOf(rotated.body), sign('sha256', message, key))).toBe(true);
  });
});

describe('a key is not released', () => {
  const said = ({ status, body }: Answer) => [status, at(body, 'error', 'code')];

  test('to an assertion that does not meet its policy, or that nobody trusted has signed', async () => {
    await create('kept', { kty: 'oct' });
    const other = await AttestationService.start();
    const foreign = await other.token({ exp: Math.floor(Date.now() / 1000) + 600, x: { code: 'good' } });
    for (const target of [
      await enclave.assertion('bad'),
      await enclave.assertionOf({ x: {} }),
      await enclave.assertion('good', -1),
      foreign,
    ]) {
      expect(said(await release(any(), 'kept', { target }))).toEqual([403, 'Forbidden']);
    }
    expect(other.asked).toEqual([]);
    await other.stop();
    for (const target of ['garbage', 'a.b.c', 7, '']) {
      expect(said(await release(any(), 'kept', { target }))).toEqual([400, 'BadParameter']);
    }
    expect(said(await release(any(), 'kept', { enc: 'RSA_1_5' }))).toEqual([400, 'BadParameter']);
  });

  test('when it is not exportable, disabled, deleted or unknown; its times do not matter', async () => {
    await any().call('POST', '/keys/plain/create', { kty: 'EC' });
    expect(said(await release(any(), 'plain'))).toEqual([400, 'BadParameter']);
    expect(said(await release(any(), 'nowhere'))).toEqual([404, 'KeyNotFound']);
    await create('ended', { kty: 'oct', attributes: { exportable: true, nbf: 1, exp: 2 } });
    expect((await release(any(), 'ended')).status).toBe(200);
    await any().call('PATCH', '/keys/ended', { attributes: { enabled: false } });
    expect(said(await release(any(), 'ended'))).toEqual([403, 'Forbidden']);
    await any().call('DELETE', '/keys/ended');
    expect(said(await release(any(), 'ended'))).toEqual([404, 'KeyNotFound']);
  });
});

describe('release policies of keys', () => {
  const said = ({ status, body }: Answer) => [
    status,
    text(body, 'error', 'message').replace(/ \(Activity.*/, ''),
  ];

  test('come with exportable keys and with no others', async () => {
    expect(
      said(await any().call('POST', '/keys/p1/create', { kty: 'EC', release_policy: policyOf() })),
    ).toEqual([400, 'Non-exportable keys must not have release policy']);
    expect(
      said(await any().call('POST', '/keys/p1/create', { kty: 'EC', attributes: { exportable: true } })),
    ).toEqual([400, 'Exportable keys must have release policy']);
    await any().call('POST', '/keys/p2/create', { kty: 'EC' });
    expect(said(await any().call('PATCH', '/keys/p2', { release_policy: policyOf() }))).toEqual([
      400,
      'Non-exportable keys must not have release policy',
    ]);
    expect(said(await any().call('PATCH', '/keys/p2', { attributes: { exportable: true } }))).toEqual([
      400,
      'Cannot modify the exportable state of a key',
    ]);
    const same = await any().call('PATCH', '/keys/p2', { attributes: { exportable: false } });
    expect(same.status).toBe(200);
  });

  test('are shown compactly with their content type, change, and change no more once they are immutable', async () => {
    const bundle = await create('p3', { kty: 'EC' });
    expect(at(bundle, 'release_policy')).toEqual({
      contentType: 'application/json; charset=utf-8',
      data: b64(enclave.policy()),
      immutable: false,
    });
    const changed = await any().call('PATCH', '/keys/p3', { release_policy: policyOf('better', true) });
    expect(at(changed.body, 'release_policy', 'immutable')).toBe(true);
    expect((await release(any(), 'p3')).status).toBe(403);
    expect((await release(any(), 'p3', { target: await enclave.assertion('better') })).status).toBe(200);
    for (const policy of [policyOf('good', true), policyOf('better', false)]) {
      expect(said(await any().call('PATCH', '/keys/p3', { release_policy: policy }))).toEqual([
        400,
        'Immutable Release policy cannot be modified',
      ]);
    }
    const again = await any().call('PATCH', '/keys/p3', { release_policy: policyOf('better', true) });
    expect(again.text).toBe(changed.text);
  });

  test('that are no policies are refused', async () => {
    for (const data of [b64('{}'), b64('not json'), b64('{"anyOf":[]}'), '']) {
      const body = { kty: 'EC', attributes: { exportable: true }, release_policy: { data } };
      expect((await any().call('POST', '/keys/p4/create', body)).status).toBe(400);
    }
  });
});

describe('secure wrap and unwrap', () => {
  const version = '2026-04-01';
  const call = (path: string, body: object) => any().call('POST', `${path}?api-version=${version}`, body);

  test('a key is made here, and comes out in clear for an attested enclave alone', async () => {
    await any().call('POST', '/keys/kek/create', { kty: 'oct', key_size: 256 });
    for (const alg of ['A256KW', 'CKM_AES_KEY_WRAP_PAD']) {
      const wrapped = await call('/keys/kek/securewrapkey', { alg });
      expect([wrapped.status, Object.keys(wrapped.body as object)]).toEqual([200, ['alg', 'kid', 'value']]);
      const value = text(wrapped.body, 'value');
      const opened = await call('/keys/kek/secureunwrapkey', {
        alg,
        value,
        target: await enclave.assertion(),
      });
      if (opened.status !== 200) throw new Error(opened.text);
      const secret = enclave.unwrap(text(opened.body, 'value'));
      expect(secret).toHaveLength(32);
      // The caller could have had it without an enclave: that is what unwrapKey is for.
      const plain = await any().call('POST', '/keys/kek/unwrapkey', { alg, value });
      expect(text(plain.body, 'value')).toBe(b64(secret));
      const refused = await call('/keys/kek/secureunwrapkey', {
        alg,
        value,
        target: `${await enclave.assertion()}x`,
      });
      expect(refused.status).toBe(403);
    }
  });

  test('older versions of the API do not know them', async () => {
    const answer = await any().call('POST', '/keys/kek/securewrapkey?api-version=7.6', { alg: 'A256KW' });
    expect([answer.status, at(answer.body, 'error', 'code')]).toEqual([400, 'NotSupported']);
  });
});
