// `GET /keys/{name}/{version}/attestation` over HTTPS, with a partition made of Node's crypto.
import { X509Certificate, sign, verify } from 'node:crypto';
import { ownerName, spkiOf } from '../../../src/instance/hsm/found.js';
import { internalId } from '../../../src/instance/model/pool.js';
import { issueCertificate } from '../../../src/values/certificate.js';
import { padded, readIndependently } from '../../values/independent-attestation.js';
import { Served, textOf, type Answer } from './served.js';

let served: Served;
let owner: X509Certificate;
beforeAll(async () => {
  served = await Served.start();
  owner = await giveOwner(served);
});
afterAll(() => served.stop());

/** The owner key of the fixtures is none; this one signs. */
async function giveOwner({ hsm }: Served): Promise<X509Certificate> {
  const id = internalId('owner');
  const sealed = await hsm.fake.generate(id, { kty: 'EC-HSM', curve: 'P-256' });
  const key = hsm.fake.keys.get(id);
  if (!key) throw new Error('no owner key');
  const certificate = await issueCertificate({
    subject: ownerName('dev'),
    issuer: ownerName('dev'),
    publicKey: spkiOf(sealed),
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    authority: true,
    sign: (data) => sign('sha256', data, key),
  });
  hsm.state.apply([{ table: 'internal', id: 'owner', value: { sealed, certificate } }]);
  return new X509Certificate(certificate);
}

async function create(name: string, body: Record<string, unknown>): Promise<string> {
  const { status, json } = await served.ask('POST', `/keys/${name}/create`, { body });
  expect(status).toBe(200);
  return textOf(json['key']?.['kid']).split('/').at(-1) ?? '';
}

function partsOf({ json }: Answer) {
  const attestation = json['attributes']?.['attestation'];
  const part = (name: string) => Buffer.from(textOf(attestation?.[name]), 'base64url');
  const certificates = part('certificatePemFile')
    .toString()
    .split(/(?<=-----END CERTIFICATE-----\n)/);
  return { attestation, certificates, privateKey: part('privateKeyAttestation'), part };
}

it('the answer is the key as GET shows it, and the attestation among its attributes', async () => {
  const version = await create('shape', { kty: 'EC' });
  const shown = await served.ask('GET', `/keys/shape/${version}`);
  const answer = await served.ask('GET', `/keys/shape/${version}/attestation`);
  expect(answer.status).toBe(200);
  const { attestation, ...attributes } = { ...answer.json['attributes'] };
  expect({ ...answer.json, attributes }).toEqual(shown.json);
  expect(Object.keys(attestation ?? {})).toEqual([
    'certificatePemFile',
    'privateKeyAttestation',
    'publicKeyAttestation',
    'version',
  ]);
  expect(attestation?.['version']).toBe('TRIVET-1');
  expect(answer.text).toMatch(/"privateKeyAttestation":"[A-Za-z0-9_-]+"/);
  expect((await served.ask('GET', '/keys/shape/attestation')).json['key']).toEqual(shown.json['key']);
});

it('the certificates are the partition’s and the owner’s, and the first is for the key that signed', async () => {
  const version = await create('chain', { kty: 'EC' });
  const { certificates, privateKey } = partsOf(await served.ask('GET', '/keys/chain/attestation'));
  const [partition, second, ...more] = certificates.map((pem) => new X509Certificate(pem));
  expect(more).toEqual([]);
  expect(second?.raw.equals(owner.raw)).toBe(true);
  expect(partition?.subject).toBe('CN=Trivet pool dev partition 0');
  expect([partition?.checkIssued(owner), partition?.verify(owner.publicKey), partition?.ca]).toEqual([
    true,
    true,
    false,
  ]);
  const { attributes, signed, signature } = readIndependently(privateKey);
  expect(partition && verify('sha256', signed, partition.publicKey, signature)).toBe(true);
  expect(attributes.get(0x102)).toBe(padded(`/keys/chain/${version}`));
  // Issued once, for as long as the process lives.
  const again = partsOf(await served.ask('GET', '/keys/chain/attestation'));
  expect(again.certificates).toEqual(certificates);
});

it('a symmetric key has no public key to attest', async () => {
  await create('oct', { kty: 'oct' });
  const { attestation } = partsOf(await served.ask('GET', '/keys/oct/attestation'));
  expect(Object.keys(attestation ?? {})).not.toContain('publicKeyAttestation');
});

it('a disabled key is attested, like get', async () => {
  await create('disabled', { kty: 'EC', attributes: { enabled: false } });
  expect((await served.ask('GET', '/keys/disabled/attestation')).status).toBe(200);
});

it('a key or version that does not exist, or is deleted, is 404', async () => {
  await create('there', { kty: 'EC' });
  await create('deleted', { kty: 'EC' });
  await served.ask('DELETE', '/keys/deleted');
  for (const path of ['never', `there/${'0'.repeat(32)}`, 'deleted']) {
    const { status, json } = await served.ask('GET', `/keys/${path}/attestation`);
    expect([path, status, json['error']?.['code']]).toEqual([path, 404, 'KeyNotFound']);
  }
});

it('versions of the API before 7.6-preview.2 do not have it', async () => {
  await create('old', { kty: 'EC' });
  for (const [version, expected] of [
    ['7.5', 400],
    ['7.6-preview.1', 400],
    ['7.6-preview.2', 200],
    ['2025-07-01', 200],
  ] as const) {
    const { status } = await served.ask('GET', `/keys/old/attestation?api-version=${version}`);
    expect([version, status]).toEqual([version, expected]);
  }
});

it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('%s is not allowed there', async (method) => {
  await create('method', { kty: 'EC' });
  const { status } = await served.ask(method, '/keys/method/attestation', { body: {} });
  expect([400, 405]).toContain(status);
  expect((await served.ask('GET', '/keys/method')).status).toBe(200);
});

it('a slot that fails is told as such, and asked again the next time', async () => {
  await create('again', { kty: 'EC' });
  const { fake } = served.hsm;
  const right = served.hsm.state.get('internal', 'owner');
  // Another owner certificate: what was issued under the one before is not shown any more.
  await giveOwner(served);
  const ownerKey = fake.keys.get(internalId('owner'));
  if (!right || !ownerKey) throw new Error('no owner');
  fake.keys.delete(internalId('owner'));
  expect((await served.ask('GET', '/keys/again/attestation')).status).toBe(500);
  fake.keys.set(internalId('owner'), ownerKey);
  const { certificates } = partsOf(await served.ask('GET', '/keys/again/attestation'));
  const [partition, second] = certificates.map((pem) => new X509Certificate(pem));
  expect(second && partition?.verify(second.publicKey)).toBe(true);
  expect(second?.raw.equals(owner.raw)).toBe(false);
});
