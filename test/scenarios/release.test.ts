// Secure key release on a real pool: exportable keys leave for an enclave that an attestation service vouches for,
// and for nobody else. The enclave is Node's crypto.
import {
  constants,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
  verify,
  X509Certificate,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compactVerify, decodeProtectedHeader } from 'jose';
import { AttestationService } from '../instance/hsm/attestation-service.js';
import { TestPool, at, text, type Answer, type Client } from './pool.js';

const enclave = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ENCLAVE_KID = 'enclave-key-1';
const hashOf = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384',
} as const;

let service: AttestationService;
let pool: TestPool;
let clients: readonly Client[];
let directory: string;

beforeAll(async () => {
  service = await AttestationService.start();
  directory = mkdtempSync(join(tmpdir(), 'trivet-release-'));
  const ca = join(directory, 'ca.pem');
  writeFileSync(ca, service.ca);
  pool = await TestPool.start(undefined, ['--attestor', `${service.issuer},${ca}`]);
  clients = await pool.clientOfEach();
});
afterAll(async () => {
  clients.forEach((client) => client.close());
  await pool.remove();
  await service.stop();
  rmSync(directory, { recursive: true });
});

const b64 = (data: string | Uint8Array) => Buffer.from(data).toString('base64url');

function policyOf(equals: unknown = 'good', immutable?: boolean): object {
  const rule = { authority: service.issuer, allOf: [{ claim: 'x.code', equals }] };
  const data = b64(JSON.stringify({ version: '1.0.0', anyOf: [rule] }));
  return immutable === undefined ? { data } : { data, immutable };
}

function assertion(claims: object = { x: { code: 'good' } }): Promise<string> {
  const jwk = enclave.publicKey.export({ format: 'jwk' });
  return service.token({
    exp: Math.floor(Date.now() / 1000) + 600,
    'x-ms-runtime': { keys: [{ ...jwk, kid: ENCLAVE_KID, key_ops: ['encrypt'] }] },
    ...claims,
  });
}

const any = () => clients[Math.floor(Math.random() * clients.length)] as Client;

async function create(name: string, body: object): Promise<unknown> {
  const wish = { attributes: { exportable: true }, release_policy: policyOf(), ...body };
  const answer = await any().call('POST', `/keys/${name}/create`, wish);
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.body;
}

async function release(client: Client, path: string, more: object = {}): Promise<Answer> {
  return client.call('POST', `/keys/${path}/release`, { target: await assertion(), ...more });
}

interface Wrapped {
  readonly ciphertext: string;
  readonly header: { readonly alg: string; readonly enc: keyof typeof hashOf; readonly kid: string };
  readonly schema_version: string;
}

/** What the enclave does with what it is given: RSA-OAEP of an AES key, then RFC 5649. */
function open(keyHsm: string): Buffer {
  const { ciphertext, header } = JSON.parse(Buffer.from(keyHsm, 'base64url').toString()) as Wrapped;
  const bytes = Buffer.from(ciphertext, 'base64url');
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const oaepHash = hashOf[header.enc];
  const aes = privateDecrypt({ key: enclave.privateKey, padding, oaepHash }, bytes.subarray(0, 256));
  const decipher = createDecipheriv('id-aes256-wrap-pad', aes, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([decipher.update(bytes.subarray(256)), decipher.final()]);
}

interface Token {
  readonly request: Record<string, string>;
  readonly response: {
    readonly key: { readonly key: Record<string, string>; readonly release_policy: unknown };
  };
}

/** Checked as an enclave would: the chain up to the pool's root, then the signature. */
async function readToken(answer: Answer): Promise<Token> {
  const token = text(answer.body, 'value');
  const { x5c = [], ...header } = decodeProtectedHeader(token);
  const [leaf, root] = x5c.map((der) => new X509Certificate(Buffer.from(der, 'base64')));
  if (!leaf || !root) throw new Error('no chain');
  expect(leaf.verify(root.publicKey)).toBe(true);
  expect(readFileSync(pool.ready.caFile, 'utf8')).toContain(root.toString());
  expect(header).toEqual({ alg: 'RS256', kid: header['x5t#S256'], 'x5t#S256': header['x5t#S256'] });
  const { payload } = await compactVerify(token, leaf.publicKey);
  return JSON.parse(Buffer.from(payload).toString()) as Token;
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
      const answer = await release(client, name);
      if (answer.status !== 200) throw new Error(answer.text);
      const { key } = (await readToken(answer)).response.key;
      const clear = open(key['key_hsm'] ?? '');
      const opened = createPrivateKey({ key: clear, format: 'der', type: 'pkcs8' });
      const der = { format: 'der', type: 'spki' } as const;
      expect(createPublicKey(opened).export(der)).toEqual(publicOf(bundle).export(der));
      // PKCS#8 and nothing after it.
      expect(opened.export({ format: 'der', type: 'pkcs8' }).length).toBeGreaterThanOrEqual(
        clear.length - 200,
      );
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
    const { key } = (await readToken(await release(any(), 'imported'))).response.key;
    const opened = createPrivateKey({ key: open(key['key_hsm'] ?? ''), format: 'der', type: 'pkcs8' });
    expect(opened.export({ format: 'jwk' }).d).toBe(privateKey.export({ format: 'jwk' }).d);
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
    const { key } = (await readToken(await release(any(), `oct-${length}`))).response.key;
    expect(key['kty']).toBe('oct');
    expect(open(key['key_hsm'] ?? '')).toEqual(k);
  });

  test.each(['CKM_RSA_AES_KEY_WRAP', 'RSA_AES_KEY_WRAP_256', 'RSA_AES_KEY_WRAP_384'])(
    'wrapped by %s, with the request in the signed answer',
    async (enc) => {
      const bundle = await create('wraps', { kty: 'oct', key_size: 256 });
      const kid = text(bundle, 'key', 'kid');
      const [base, version] = [kid.slice(0, kid.lastIndexOf('/')), kid.split('/').at(-1) ?? ''];
      const bare = await readToken(await release(any(), 'wraps', { enc, nonce: 'n-1' }));
      expect(bare.request).toEqual({ 'api-version': '7.6', enc, kid: base, nonce: 'n-1' });
      const versioned = await readToken(await release(any(), `wraps/${version}`, { enc }));
      expect(versioned.request).toEqual({ 'api-version': '7.6', enc, kid });
      expect(versioned.response.key.key['kid']).toBe(kid);
      const parts = JSON.parse(
        Buffer.from(versioned.response.key.key['key_hsm'] ?? '', 'base64url').toString(),
      ) as Wrapped;
      expect(parts).toMatchObject({ header: { alg: 'dir', enc, kid: ENCLAVE_KID }, schema_version: '1.0' });
      expect(open(versioned.response.key.key['key_hsm'] ?? '')).toHaveLength(32);
    },
  );

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
    const { key } = (await readToken(await release(any(), 'moved'))).response.key;
    const opened = createPrivateKey({ key: open(key['key_hsm'] ?? ''), format: 'der', type: 'pkcs8' });
    const message = randomBytes(9);
    const { sign } = await import('node:crypto');
    expect(verify('sha256', message, publicOf(rotated.body), sign('sha256', message, opened))).toBe(true);
  });
});

describe('a key is not released', () => {
  const said = ({ status, body }: Answer) => [status, at(body, 'error', 'code')];

  test('to an assertion that does not meet its policy, or that nobody trusted has signed', async () => {
    await create('kept', { kty: 'oct' });
    const other = await AttestationService.start();
    const foreign = await other.token({ exp: Math.floor(Date.now() / 1000) + 600, x: { code: 'good' } });
    for (const target of [
      await assertion({ x: { code: 'bad' } }),
      await assertion({ x: {} }),
      await assertion({ exp: Math.floor(Date.now() / 1000) - 1, x: { code: 'good' } }),
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
    const rule = { allOf: [{ claim: 'x.code', equals: 'good' }], authority: service.issuer };
    expect(at(bundle, 'release_policy')).toEqual({
      contentType: 'application/json; charset=utf-8',
      data: b64(JSON.stringify({ anyOf: [rule], version: '1.0.0' })),
      immutable: false,
    });
    const changed = await any().call('PATCH', '/keys/p3', { release_policy: policyOf('better', true) });
    expect(at(changed.body, 'release_policy', 'immutable')).toBe(true);
    expect((await release(any(), 'p3')).status).toBe(403);
    expect((await release(any(), 'p3', { target: await assertion({ x: { code: 'better' } }) })).status).toBe(
      200,
    );
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
      const opened = await call('/keys/kek/secureunwrapkey', { alg, value, target: await assertion() });
      if (opened.status !== 200) throw new Error(opened.text);
      const secret = open(text(opened.body, 'value'));
      expect(secret).toHaveLength(32);
      // The caller could have had it without an enclave: that is what unwrapKey is for.
      const plain = await any().call('POST', '/keys/kek/unwrapkey', { alg, value });
      expect(text(plain.body, 'value')).toBe(b64(secret));
      const refused = await call('/keys/kek/secureunwrapkey', {
        alg,
        value,
        target: `${await assertion()}x`,
      });
      expect(refused.status).toBe(403);
    }
  });

  test('older versions of the API do not know them', async () => {
    const answer = await any().call('POST', '/keys/kek/securewrapkey?api-version=7.6', { alg: 'A256KW' });
    expect([answer.status, at(answer.body, 'error', 'code')]).toEqual([400, 'NotSupported']);
  });
});
