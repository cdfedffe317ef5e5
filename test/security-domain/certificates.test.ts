import { X509Certificate, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { parseCertificateSet, readCertificate } from '../../src/security-domain/certificates.js';
import { custodianKey, readPrivateKey } from '../../src/security-domain/custodian.js';
import { issueCertificate, toPem } from '../../src/values/certificate.js';
import { exchange, makeCustodian, published, refusal } from './custodians.js';
import { vectors } from './vectors.js';

type Jwk = Record<string, unknown>;

const request = vectors.end_to_end.download_request;

/** The published request with one certificate changed. */
function changed(change: (jwk: Jwk) => unknown, required: unknown = request.required): unknown {
  const [first, ...rest] = structuredClone(request.certificates);
  return { certificates: [change(first ?? {}), ...rest], required };
}

/** A certificate for a key that is not an RSA key of usual size, issued with an ECDSA key. */
async function oddCertificate(type: 'ec' | 'rsa-pss' | 'short'): Promise<Buffer> {
  const issuer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pair =
    type === 'ec'
      ? issuer
      : type === 'rsa-pss'
        ? generateKeyPairSync('rsa-pss', { modulusLength: 2_048 })
        : generateKeyPairSync('rsa', { modulusLength: 1_024 });
  return issueCertificate({
    subject: { commonName: type },
    issuer: { commonName: type },
    publicKey: pair.publicKey.export({ format: 'der', type: 'spki' }),
    notBefore: new Date(),
    notAfter: new Date(Date.now() + 86_400_000),
    authority: false,
    sign: (bytes) => sign('sha256', bytes, issuer.privateKey),
  });
}

test('certificates: the published request is read, keys and thumbprints from the certificates', () => {
  const { certificates, quorum } = parseCertificateSet(request);
  expect(quorum).toEqual({ required: 2, total: 3 });
  expect(certificates.map(({ thumbprint }) => thumbprint)).toEqual(
    request.certificates.map((jwk) => jwk['x5t#S256']),
  );
  certificates.forEach(({ publicKey }, index) => {
    expect(publicKey.export({ format: 'jwk' })).toEqual({
      kty: 'RSA',
      n: request.certificates[index]?.['n'],
      e: 'AQAB',
    });
  });
});

test('certificates: clients may leave out what the certificate tells', () => {
  const spare = ['n', 'e', 'alg', 'kid', 'use', 'x5t', 'x5t#S256', 'key_ops'];
  const bare = request.certificates.map((jwk) =>
    Object.fromEntries(Object.entries(jwk).filter(([name]) => !spare.includes(name))),
  );
  expect(parseCertificateSet({ certificates: bare, required: 3 }).quorum.required).toBe(3);
});

test('certificates: a request in which anything does not fit is refused, naming it', async () => {
  const [, second] = request.certificates;
  const x5c = (der: Buffer) => (jwk: Jwk) => ({ kty: jwk['kty'], x5c: [der.toString('base64')] });
  const firstDer = Buffer.from((request.certificates[0]?.['x5c'] as string[])[0] ?? '', 'base64');
  const cases: [body: unknown, says: string][] = [
    [undefined, '"certificates"'],
    ['text', '"certificates"'],
    [{ certificates: request.certificates }, '"required"'],
    [{ ...request, required: '2' }, '"required"'],
    [{ ...request, required: 1 }, 'quorum of 1'],
    [{ ...request, required: 4 }, 'quorum of 4'],
    [{ ...request, required: 2.5 }, 'quorum of 2.5'],
    [{ ...request, certificates: request.certificates.slice(0, 2) }, '3 to 10'],
    [{ ...request, certificates: Array.from({ length: 11 }, () => second) }, '3 to 10'],
    [changed(() => null), 'certificate 1'],
    [changed((jwk) => ({ ...jwk, kty: 'EC' })), '"kty"'],
    [changed((jwk) => ({ ...jwk, kty: 'RSA-HSM' })), '"kty"'],
    [changed((jwk) => ({ ...jwk, x5c: [] })), '"x5c"'],
    [changed((jwk) => ({ ...jwk, x5c: [...(jwk['x5c'] as string[]), 'AAAA'] })), '"x5c"'],
    [changed((jwk) => ({ ...jwk, x5c: undefined })), '"x5c"'],
    [changed((jwk) => ({ ...jwk, x5c: [7] })), '"x5c.0"'],
    [changed((jwk) => ({ ...jwk, alg: 'RSA-OAEP' })), '"alg"'],
    [changed((jwk) => ({ ...jwk, use: 'sig' })), '"use"'],
    [changed((jwk) => ({ ...jwk, key_ops: ['verify'] })), 'key_ops'],
    [changed((jwk) => ({ ...jwk, n: second?.['n'] })), 'n of certificate 1'],
    [changed((jwk) => ({ ...jwk, n: '' })), 'n of certificate 1'],
    [changed((jwk) => ({ ...jwk, e: 'Aw' })), 'e of certificate 1'],
    [changed((jwk) => ({ ...jwk, x5t: second?.['x5t'] })), 'x5t of certificate 1'],
    [changed((jwk) => ({ ...jwk, 'x5t#S256': second?.['x5t#S256'] })), 'x5t#S256 of certificate 1'],
    [changed((jwk) => ({ ...jwk, 'x5t#S256': '***' })), 'x5t#S256 of certificate 1'],
    [changed((jwk) => ({ ...jwk, x5c: [`${String((jwk['x5c'] as string[])[0])}\n`] })), 'standard base64'],
    [changed((jwk) => ({ ...jwk, x5c: [firstDer.toString('base64url')] })), 'standard base64'],
    [changed(x5c(Buffer.from('nothing of the kind'))), 'not an X.509 certificate'],
    [changed(x5c(Buffer.concat([firstDer, Buffer.of(0)]))), 'not one X.509 certificate'],
    [changed(x5c(await oddCertificate('ec'))), 'not for an RSA key'],
    [changed(x5c(await oddCertificate('rsa-pss'))), 'not for an RSA key'],
    [changed(x5c(await oddCertificate('short'))), '1024 bits'],
    [changed(() => second), 'certificates 1 and 2 have the same key'],
  ];
  for (const [body, says] of cases) {
    const { code, message } = await refusal(() => parseCertificateSet(body));
    expect([code, message]).toEqual(['BadCertificates', expect.stringContaining(says)]);
  }
});

test('certificates: two certificates of one key are one custodian too many', async () => {
  const [first] = published;
  const key = createPrivateKey(first?.files.privateKey ?? '');
  const again = await issueCertificate({
    subject: { commonName: 'again' },
    issuer: { commonName: 'again' },
    publicKey: new X509Certificate(first?.files.certificate ?? '').publicKey.export({
      format: 'der',
      type: 'spki',
    }),
    notBefore: new Date(),
    notAfter: new Date(Date.now() + 86_400_000),
    authority: false,
    sign: (bytes) => sign('sha256', bytes, key),
  });
  const body = {
    certificates: [...request.certificates, { kty: 'RSA', x5c: [again.toString('base64')] }],
    required: 2,
  };
  expect((await refusal(() => parseCertificateSet(body))).message).toContain('certificates 1 and 4');
});

test('certificates: files are read in DER, and in PEM of any line length', () => {
  const { certificate_pem: pem, certificate_file_as_azure_cli_writes_it: long } = vectors.end_to_end.exchange;
  const { der, thumbprint } = exchange.certificate;
  const mixed = `Bag Attributes\n  friendlyName: exchange\n${pem.replace(/\n/g, '\r\n')}`;
  for (const content of [
    Buffer.from(pem),
    Buffer.from(long),
    Buffer.from(mixed),
    der,
    Buffer.from(toPem(der)),
  ]) {
    expect(readCertificate(content, 'exchange').thumbprint).toBe(thumbprint);
  }
});

test('certificates: files that are none are refused', async () => {
  for (const content of ['', 'text', vectors.end_to_end.exchange.private_key_pem, 'x'.repeat(40_000)]) {
    expect((await refusal(() => readCertificate(Buffer.from(content), 'the file'))).message).toMatch(
      /^the file /,
    );
  }
});

test('custodian: a new pair is what custodians need', async () => {
  const { certificate, files } = await makeCustodian('new-1', 3_072);
  const parsed = new X509Certificate(files.certificate);
  expect([parsed.subject, parsed.issuer, parsed.validTo]).toEqual([
    'CN=new-1',
    'CN=new-1',
    'Dec 31 23:59:59 9999 GMT',
  ]);
  expect([parsed.verify(parsed.publicKey), certificate.modulusBits]).toEqual([true, 3_072]);
  expect(files.privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
});

test('custodian: a key must be an RSA key in clear, and that of its certificate', async () => {
  const [first, second] = published;
  if (!first || !second) throw new Error('the vectors have three');
  const key = createPrivateKey(first.files.privateKey);
  const forms = [
    key.export({ format: 'pem', type: 'pkcs1' }),
    key.export({ format: 'der', type: 'pkcs1' }),
    key.export({ format: 'der', type: 'pkcs8' }),
  ];
  for (const form of forms) expect(readPrivateKey(Buffer.from(form), 'key').equals(key)).toBe(true);
  const locked = { cipher: 'aes-256-cbc', passphrase: 'secret', format: 'pem' } as const;
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const cases: [Buffer | string, string][] = [
    [key.export({ ...locked, type: 'pkcs8' }), 'openssl pkey -in the.key'],
    [key.export({ ...locked, type: 'pkcs1' }), 'openssl pkey -in the.key'],
    [ec.export({ format: 'pem', type: 'pkcs8' }), 'not an RSA private key'],
    [first.files.certificate, 'not an RSA private key'],
    ['', 'not an RSA private key'],
  ];
  for (const [content, says] of cases) {
    const { code, message } = await refusal(() => readPrivateKey(Buffer.from(content), 'the.key'));
    expect([code, message]).toEqual(['BadKey', expect.stringContaining(says)]);
  }
  const { code } = await refusal(() => custodianKey('the.key', second.certificate, key));
  expect(code).toBe('BadKey');
});
