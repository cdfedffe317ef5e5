import { execFileSync } from 'node:child_process';
import { X509Certificate, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { ecdsaRawToDer, issueCertificate, keyIdOf, toPem } from '../../src/values/certificate.js';
import type { CertificateNames } from '../../src/values/certificate.js';

interface Party {
  readonly certificate: Buffer;
  readonly key: KeyObject;
  readonly spki: Buffer;
}

const directory = mkdtempSync(join(tmpdir(), 'trivet-certificate-'));
const notBefore = new Date(Date.now() - 60_000);
const notAfter = new Date(Date.now() + 86_400_000);

afterAll(() => rmSync(directory, { recursive: true }));

function keyPair(): { key: KeyObject; spki: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: privateKey, spki: publicKey.export({ format: 'der', type: 'spki' }) };
}

async function authority(
  excludedNames?: CertificateNames,
  permittedNames?: CertificateNames,
): Promise<Party> {
  const { key, spki } = keyPair();
  const certificate = await issueCertificate({
    subject: { commonName: 'a root' },
    issuer: { commonName: 'a root' },
    publicKey: spki,
    notBefore,
    notAfter,
    authority: true,
    pathLength: 0,
    ...(excludedNames && { excludedNames }),
    ...(permittedNames && { permittedNames }),
    sign: (tbs) => sign('sha256', tbs, key),
  });
  return { certificate, key, spki };
}

async function leaf(issuer: Party, names: CertificateNames): Promise<Party> {
  const { key, spki } = keyPair();
  const certificate = await issueCertificate({
    subject: { commonName: 'a leaf' },
    issuer: { commonName: 'a root' },
    publicKey: spki,
    notBefore,
    notAfter,
    names,
    authority: false,
    usages: ['serverAuth', 'clientAuth'],
    authorityKeyId: keyIdOf(issuer.spki),
    // The way of an HSM slot: a raw signature, encoded afterwards.
    sign: (tbs) =>
      Promise.resolve(ecdsaRawToDer(sign('sha256', tbs, { key: issuer.key, dsaEncoding: 'ieee-p1363' }))),
  });
  return { certificate, key, spki };
}

function opensslVerify(root: Party, subject: Party, ...options: string[]): string {
  const rootFile = join(directory, 'root.pem');
  const leafFile = join(directory, 'leaf.pem');
  writeFileSync(rootFile, toPem(root.certificate));
  writeFileSync(leafFile, toPem(subject.certificate));
  try {
    return execFileSync('openssl', ['verify', '-x509_strict', ...options, '-CAfile', rootFile, leafFile], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

const here = { dns: ['localhost', '*.managedhsm.localhost'], ip: ['127.0.0.1', '::1'] };

test('certificate: OpenSSL verifies a leaf strictly, for both purposes, by name and by address', async () => {
  const root = await authority();
  const subject = await leaf(root, here);
  expect(opensslVerify(root, subject, '-purpose', 'sslserver')).toContain('OK');
  expect(opensslVerify(root, subject, '-purpose', 'sslclient')).toContain('OK');
  expect(opensslVerify(root, subject, '-verify_hostname', 'dev.managedhsm.localhost')).toContain('OK');
  expect(opensslVerify(root, subject, '-verify_ip', '::1')).toContain('OK');
  expect(opensslVerify(root, subject, '-verify_hostname', 'example.org')).toContain('mismatch');
});

test('certificate: Node reads back what was asked for', async () => {
  const root = await authority();
  const subject = await leaf(root, here);
  const read = new X509Certificate(subject.certificate);
  expect(read.verify(createPublicKey({ key: root.spki, format: 'der', type: 'spki' }))).toBe(true);
  expect(read.checkIssued(new X509Certificate(root.certificate))).toBe(true);
  expect(read.ca).toBe(false);
  expect(new X509Certificate(root.certificate).ca).toBe(true);
  expect(read.checkHost('localhost')).toBe('localhost');
  expect(read.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(read.subject).toBe('CN=a leaf');
});

test('certificate: an authority cannot certify a name that it was kept away from', async () => {
  const root = await authority({ dns: ['managedhsm.localhost'], ip: [] });
  expect(opensslVerify(root, await leaf(root, { dns: ['localhost'], ip: ['127.0.0.1'] }))).toContain('OK');
  const forged = await leaf(root, { dns: ['dev.managedhsm.localhost'], ip: [] });
  expect(opensslVerify(root, forged)).toContain('excluded subtree violation');
});

test('certificate: an authority certifies nothing outside the names that it was given', async () => {
  const root = await authority(undefined, { dns: ['localhost'], ip: ['127.0.0.0/8', '::1/128'] });
  expect(opensslVerify(root, await leaf(root, here))).toContain('OK');
  expect(opensslVerify(root, await leaf(root, { dns: ['example.org'], ip: [] }))).toContain('permitted');
  expect(opensslVerify(root, await leaf(root, { dns: [], ip: ['10.0.0.1'] }))).toContain('permitted');
});

test('certificate: dates after 2049 are written in the longer form', async () => {
  const { key, spki } = keyPair();
  const certificate = await issueCertificate({
    subject: { commonName: 'late' },
    issuer: { commonName: 'late' },
    publicKey: spki,
    notBefore,
    notAfter: new Date('2061-01-02T03:04:05Z'),
    authority: true,
    sign: (tbs) => sign('sha256', tbs, key),
  });
  expect(new X509Certificate(certificate).validTo).toBe('Jan  2 03:04:05 2061 GMT');
});

test('certificate: every raw signature becomes the DER that Node verifies', () => {
  for (const namedCurve of ['P-256', 'P-521']) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (message) => {
        const raw = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
        return verify('sha256', message, publicKey, ecdsaRawToDer(raw));
      }),
    );
  }
});
