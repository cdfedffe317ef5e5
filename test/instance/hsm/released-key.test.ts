// The answer to a release, verified by jose with nothing but the certificate that it carries, and opened with the
// enclave's private key by Web Crypto.
import { createHash, generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { compactVerify } from 'jose';
import { releasedKeyToken, type ReleasedKey } from '../../../src/instance/hsm/released-key.js';
import { wrapForTarget } from '../../../src/instance/hsm/target-wrap.js';
import { AssertionError } from '../../../src/values/assert.js';
import { issueCertificate, keyIdOf } from '../../../src/values/certificate.js';

const issuer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const leaf = generateKeyPairSync('rsa', { modulusLength: 2048 });
const spki = (key: KeyObject) => key.export({ type: 'spki', format: 'der' });
let chain: Buffer[];

beforeAll(async () => {
  const common = {
    issuer: { commonName: 'root' },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    sign: (data: Buffer) => sign('sha256', data, issuer.privateKey),
  };
  chain = [
    await issueCertificate({
      ...common,
      subject: { commonName: 'dev.managedhsm.localhost' },
      publicKey: spki(leaf.publicKey),
      authority: false,
      authorityKeyId: keyIdOf(spki(issuer.publicKey)),
    }),
    await issueCertificate({
      ...common,
      subject: { commonName: 'root' },
      publicKey: spki(issuer.publicKey),
      authority: true,
    }),
  ];
});

const byLeaf = (data: Buffer) => Promise.resolve(sign('sha256', data, leaf.privateKey));
const text = '{"anyOf":[{"allOf":[{"claim":"a","equals":1}],"authority":"https://a"}],"version":"1.0.0"}';
const released: ReleasedKey = {
  request: { apiVersion: '7.3', enc: 'RSA_AES_KEY_WRAP_256', kid: 'https://h/keys/k', nonce: 'n-1' },
  kid: 'https://h/keys/k/0123',
  attributes: { updated: 2, created: 1, exportable: true, exp: undefined },
  operations: ['encrypt', 'decrypt'],
  public: { kty: 'RSA', n: Buffer.from([0xff, 0xfe]), e: Buffer.from([1, 0, 1]) },
  policy: { contentType: 'application/json; charset=utf-8', text, immutable: false },
  wrapped: Buffer.from('wrapped'),
  enclaveKid: 'enclave',
};

/** As a client reads it: the key comes from `x5c`, and what the header says of that certificate is checked. */
async function read(token: string): Promise<{ header: Record<string, unknown>; payload: string }> {
  const { protectedHeader, payload } = await compactVerify(
    token,
    ({ x5c }) => new X509Certificate(Buffer.from(x5c?.[0] ?? '', 'base64')).publicKey,
    { algorithms: ['RS256'] },
  );
  return { header: { ...protectedHeader }, payload: Buffer.from(payload).toString() };
}

const b64 = (value: string) => Buffer.from(value).toString('base64url');

describe('the answer to a release', () => {
  it('is signed with RS256 by the key of the certificate that it carries', async () => {
    const { header } = await read(await releasedKeyToken(released, { chain, sign: byLeaf }));
    const thumbprint = createHash('sha256')
      .update(chain[0] ?? '')
      .digest('base64url');
    expect(header).toEqual({
      alg: 'RS256',
      kid: thumbprint,
      x5c: chain.map((der) => der.toString('base64')),
      'x5t#S256': thumbprint,
    });
    const [subject, root] = chain.map((der) => new X509Certificate(der));
    expect(root && subject?.verify(root.publicKey)).toBe(true);
  });

  it('holds request and key with sorted members, as in a recording of the service', async () => {
    const { payload } = await read(await releasedKeyToken(released, { chain, sign: byLeaf }));
    const keyHsm = `{"ciphertext":"${b64('wrapped')}","header":{"alg":"dir","enc":"RSA_AES_KEY_WRAP_256","kid":"enclave"},"schema_version":"1.0"}`;
    expect(payload).toBe(
      '{"request":{"api-version":"7.3","enc":"RSA_AES_KEY_WRAP_256","kid":"https://h/keys/k","nonce":"n-1"},' +
        '"response":{"key":{"attributes":{"created":1,"exportable":true,"updated":2},' +
        `"key":{"e":"AQAB","key_hsm":"${b64(keyHsm)}","key_ops":["encrypt","decrypt"],"kid":"https://h/keys/k/0123","kty":"RSA","n":"__4"},` +
        `"release_policy":{"contentType":"application/json; charset=utf-8","data":"${b64(text)}","immutable":false}}}}`,
    );
  });

  it('has no nonce when none was sent', async () => {
    const request = { apiVersion: '7.4', enc: 'CKM_RSA_AES_KEY_WRAP', kid: 'https://h/keys/k' } as const;
    const { payload } = await read(await releasedKeyToken({ ...released, request }, { chain, sign: byLeaf }));
    expect(payload).toContain(
      '{"request":{"api-version":"7.4","enc":"CKM_RSA_AES_KEY_WRAP","kid":"https://h/keys/k"},',
    );
  });

  it.each<[string, ReleasedKey['public'], object]>([
    [
      'EC',
      { kty: 'EC', curve: 'P-256', x: Buffer.of(0, 1), y: Buffer.of(2) },
      { kty: 'EC', crv: 'P-256', x: 'AAE', y: 'Ag' },
    ],
    ['oct', undefined, { kty: 'oct' }],
  ])('shows a key of the type %s under its plain name', async (_, part, members) => {
    const { payload } = await read(
      await releasedKeyToken({ ...released, public: part }, { chain, sign: byLeaf }),
    );
    const { response } = JSON.parse(payload) as { response: { key: { key: Record<string, unknown> } } };
    const { key_hsm, ...others } = response.key.key;
    expect(typeof key_hsm).toBe('string');
    expect(others).toEqual({ ...members, kid: 'https://h/keys/k/0123', key_ops: ['encrypt', 'decrypt'] });
  });

  it('gives the enclave, and nobody else, the key', async () => {
    const enclave = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const secret = Buffer.alloc(32, 0x5a);
    const wrapped = wrapForTarget('RSA_AES_KEY_WRAP_256', enclave.publicKey, secret);
    const token = await releasedKeyToken(
      { ...released, public: undefined, wrapped },
      { chain, sign: byLeaf },
    );
    expect(Buffer.from(token.split('.')[1] ?? '', 'base64url').includes(secret)).toBe(false);
    const { payload } = await read(token);
    const { response } = JSON.parse(payload) as { response: { key: { key: { key_hsm: string } } } };
    const inner = JSON.parse(Buffer.from(response.key.key.key_hsm, 'base64url').toString()) as {
      ciphertext: string;
    };
    const ciphertext = Buffer.from(inner.ciphertext, 'base64url');
    const unwrapping = await crypto.subtle.importKey(
      'pkcs8',
      enclave.privateKey.export({ type: 'pkcs8', format: 'der' }),
      { name: 'RSA-OAEP', hash: 'SHA-256' },
      false,
      ['decrypt'],
    );
    const aes = await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, unwrapping, ciphertext.subarray(0, 256));
    expect(aes.byteLength).toBe(32);
    expect(ciphertext.length).toBe(256 + 40);
  });

  it('is not given when the signature is not by the certificate', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    for (const wrong of [
      (data: Buffer) => sign('sha256', data, other.privateKey),
      (data: Buffer) => sign('sha512', data, leaf.privateKey),
      () => Buffer.alloc(0),
    ]) {
      await expect(releasedKeyToken(released, { chain, sign: wrong })).rejects.toThrow(AssertionError);
    }
    const byRoot = (data: Buffer) => sign('sha256', data, issuer.privateKey);
    const ecdsa = { chain: chain.slice(1), sign: byRoot };
    await expect(releasedKeyToken(released, ecdsa)).rejects.toThrow(AssertionError);
    await expect(releasedKeyToken(released, { chain: [], sign: byLeaf })).rejects.toThrow(AssertionError);
    const failing = () => Promise.reject(new Error('the slot is gone'));
    await expect(releasedKeyToken(released, { chain, sign: failing })).rejects.toThrow('the slot is gone');
  });
});
