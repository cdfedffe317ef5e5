// The security domain over HTTPS: what a pool that waits answers, the file, the transfer key, the upload; and what is
// refused, with words for who asked. Files are read by a reader that shares no line with us.
import { createHash, publicEncrypt, randomBytes, X509Certificate } from 'node:crypto';
import { POOL, TRANSFER } from '../../../src/instance/model/pool.js';
import { routes, type Route } from '../../../src/instance/api/routes.js';
import { readCertificate } from '../../../src/security-domain/certificates.js';
import { readSecurityDomain } from '../../../src/security-domain/file.js';
import { sealItems } from '../../../src/security-domain/items.js';
import { sealTo } from '../../../src/security-domain/jwe.js';
import { makeRestoreBlob } from '../../../src/security-domain/restore-blob.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { custodianKey, makeCustodianPair, readPrivateKey } from '../../../src/security-domain/custodian.js';
import { readFileIndependently } from '../../security-domain/independent-reader.js';
import { STRANGER } from '../hsm/fake-hsm.js';
import { bodyOf, pathsOf } from './samples.js';
import { textOf, tokenFor, type Answer, type Served } from './served.js';
import { waiting as waitingPool } from './waiting.js';

interface Custodian {
  readonly certificate: string;
  readonly privateKey: string;
  readonly der: Buffer;
}

let custodians: Custodian[];
let open: Served[] = [];
beforeAll(async () => {
  custodians = await Promise.all(
    [1, 2, 3].map(async (number) => {
      const pair = await makeCustodianPair({
        commonName: `custodian-${number}`,
        modulusBits: 2_048,
        notBefore: new Date(),
        random: randomBytes,
      });
      return { certificate: pair.certificatePem, privateKey: pair.privateKeyPem, der: pair.certificate };
    }),
  );
});
afterEach(async () => {
  for (const served of open) await served.stop();
  open = [];
});

/** A pool that waits for its security domain. */
async function waiting(): Promise<Served> {
  const served = await waitingPool();
  open.push(served);
  return served;
}

/** As the distribution's `az` sends it. */
function jwkOf({ der }: Custodian): Record<string, unknown> {
  const { n, e } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
  return {
    kty: 'RSA',
    key_ops: ['verify', 'encrypt', 'wrapKey'],
    n,
    e,
    x5c: [der.toString('base64')],
    use: 'enc',
    x5t: createHash('sha1').update(der).digest('base64url'),
    'x5t#S256': createHash('sha256').update(der).digest('base64url'),
    alg: 'RSA-OAEP-256',
  };
}

function request(required = 2): { certificates: Record<string, unknown>[]; required: number } {
  return { certificates: custodians.map(jwkOf), required };
}

function download(served: Served, body: unknown = request()): Promise<Answer> {
  return served.ask('POST', '/securitydomain/download?api-version=7.2', { body });
}

function activationOf(served: Served): string | undefined {
  return served.hsm.state.get('pool', POOL)?.activation;
}

async function exchangeOf(served: Served): Promise<X509Certificate> {
  const { json } = await served.ask('GET', '/securitydomain/upload?api-version=7.2');
  const jwk = JSON.parse(textOf(json['transfer_key'])) as { x5c: [string] };
  return new X509Certificate(Buffer.from(jwk.x5c[0], 'base64'));
}

/** What custodians make of the file of one pool for the other. */
async function blobFor(served: Served, file: string): Promise<string> {
  return makeRestoreBlob({
    file: readSecurityDomain(file),
    keys: custodians.slice(0, 2).map(({ certificate, privateKey }, place) => {
      const name = `custodian ${place}`;
      const parsed = readPrivateKey(Buffer.from(privateKey), name);
      return custodianKey(name, readCertificate(Buffer.from(certificate), name), parsed);
    }),
    exchange: readCertificate((await exchangeOf(served)).raw, 'exchange'),
    random: randomBytes,
  });
}

function upload(served: Served, value: string): Promise<Answer> {
  return served.ask('POST', '/securitydomain/upload', { body: { value } });
}

function messageOf({ json }: Answer): string {
  return textOf(json['error']?.['message']);
}

describe('before the first download has finished', () => {
  const others: [string, Route][] = routes
    .filter(({ path }) => !path.startsWith('securitydomain/'))
    .map((route) => [`${route.method} /${route.path}`, route]);

  test('every other call is refused, by name', async () => {
    const served = await waiting();
    for (const [title, route] of others) {
      for (const path of pathsOf(route)) {
        const { status, json } = await served.ask(route.method, path, { body: bodyOf(route) });
        const inner = json['error']?.['innererror']?.['code'];
        expect([title, status, json['error']?.['code'], inner]).toEqual([
          title,
          403,
          'Forbidden',
          'HsmNotActivated',
        ]);
      }
    }
    expect(served.hsm.submitted.map(({ kind }) => kind)).toEqual(['PoolFounded']);
  });

  test('there is no operation to ask about', async () => {
    const served = await waiting();
    for (const path of ['download', 'upload']) {
      const { status } = await served.ask('GET', `/securitydomain/${path}/pending`);
      expect([path, status]).toEqual([path, 404]);
    }
  });

  test('who is not Administrator is told so', async () => {
    const served = await waiting();
    const token = await tokenFor(served.hsm, { oid: STRANGER });
    const answer = await served.ask('POST', '/securitydomain/download', { body: request(), token });
    expect([answer.status, answer.json['error']?.['code']]).toEqual([403, 'AccessDenied']);
    expect(activationOf(served)).toBe('NotActivated');
  });
});

describe('download', () => {
  test('gives the file in the published format, says where its end can be heard, and activates the pool', async () => {
    const served = await waiting();
    const { status, headers, json } = await download(served);
    expect(status).toBe(202);
    expect(headers['azure-asyncoperation']).toBe(
      'https://dev.managedhsm.localhost:9443/securitydomain/download/pending',
    );
    expect(headers['retry-after']).toBe('5');
    expect(Object.keys(json)).toEqual(['value']);
    const file = textOf(json['value']);
    const { EncData, SharedKeys, version } = JSON.parse(file) as {
      EncData: { kdf: string };
      SharedKeys: { required: number; enc_shares: { x5t_256: string }[] };
      version: number;
    };
    expect([version, EncData.kdf, SharedKeys.required]).toEqual([2, 'sp108_kdf', 2]);
    expect(SharedKeys.enc_shares.map(({ x5t_256: thumbprint }) => thumbprint)).toEqual(
      custodians.map(({ der }) => createHash('sha256').update(der).digest('base64url')),
    );
    // Any two will do.
    for (const pair of [
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const) {
      const items = readFileIndependently(
        file,
        pair.map((place) => custodians[place] as Custodian),
      );
      expect(items[0]).toEqual([
        'trivet_data_wrapping_key',
        Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(40, 2)]).toString('hex'),
      ]);
      expect(items).toHaveLength(2);
      const internal = decode(Buffer.from(items[1]?.[1] ?? '', 'hex')) as { keys: Record<string, unknown> };
      // Not the TLS issuer: it belongs to the pool.
      expect(Object.keys(internal.keys).sort()).toEqual([
        'backup-protection',
        'export-wrapping',
        'owner',
        'release-signer',
      ]);
    }
    expect(activationOf(served)).toBe('Active');
    for (const path of ['download', 'upload']) {
      const pending = await served.ask('GET', `/securitydomain/${path}/pending?api-version=7.2`);
      expect([pending.status, pending.json]).toEqual([
        200,
        { status: 'Success', status_details: 'The resource is active.' },
      ]);
    }
    // The wrapping key is gone from memory when the answer is.
    for (const { wrappingKey, wrapped } of served.hsm.domains.exported) {
      expect(Buffer.concat([wrappingKey, wrapped]).every((byte) => byte === 0)).toBe(true);
    }
    expect(served.log.join('')).not.toContain(file.slice(0, 60));
  });

  test('of an active pool it is the same domain for other custodians, and changes nothing', async () => {
    const served = await waiting();
    await download(served);
    const before = served.hsm.submitted.length;
    const again = await download(served, request(3));
    expect(again.status).toBe(202);
    expect(readFileIndependently(textOf(again.json['value']), custodians)).toHaveLength(2);
    expect(served.hsm.submitted).toHaveLength(before);
  });

  test('two at once: the one that is decided first activates the pool, the other is refused and gives no file', async () => {
    const served = await waiting();
    served.hsm.domains.together = 2;
    const answers = await Promise.all([download(served), download(served, request(3))]);
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    const refused = answers.find(({ status }) => status === 409);
    expect(refused?.json['error']?.['code']).toBe('Conflict');
    expect(refused?.text).not.toContain('EncData');
  });

  test('nothing is activated when the partitions cannot decide it', async () => {
    const served = await waiting();
    const { Outage } = await import('../../../src/instance/hsm/outage.js');
    served.hsm.outage = new Outage('TooFewInSync', 'instance 2 is missing');
    const answer = await download(served);
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
    expect(answer.text).not.toContain('EncData');
    expect(activationOf(served)).toBe('NotActivated');
  });

  const wrong: [string, (body: ReturnType<typeof request>) => unknown, string][] = [
    ['no body', () => ({}), '"certificates"'],
    [
      'two certificates',
      ({ certificates }) => ({ certificates: certificates.slice(1), required: 2 }),
      '3 to 10',
    ],
    [
      'eleven certificates',
      ({ certificates }) => ({
        certificates: Array.from({ length: 11 }, () => certificates[0]),
        required: 2,
      }),
      '3 to 10',
    ],
    ['a quorum of one', (body) => ({ ...body, required: 1 }), 'quorum of 1'],
    ['a quorum above the certificates', (body) => ({ ...body, required: 4 }), 'quorum of 4'],
    ['a broken quorum', (body) => ({ ...body, required: 2.5 }), 'quorum of 2.5'],
    ['a quorum that is a text', (body) => ({ ...body, required: '2' }), '"required"'],
    [
      'one certificate twice',
      ({ certificates: [a, b] }) => ({ certificates: [a, b, a], required: 2 }),
      'the same key',
    ],
    [
      'a certificate that is none',
      ({ certificates: [a, b] }) => ({ certificates: [a, b, { kty: 'RSA', x5c: ['AAAA'] }], required: 2 }),
      'not an X.509 certificate',
    ],
    [
      'a modulus of another',
      ({ certificates: [a, b, c] }) => ({ certificates: [a, b, { ...c, n: a?.['n'] }], required: 2 }),
      'n of certificate 3 does not match',
    ],
    [
      'a thumbprint of another',
      ({ certificates: [a, b, c] }) => ({
        certificates: [a, b, { ...c, 'x5t#S256': a?.['x5t#S256'] }],
        required: 2,
      }),
      'x5t#S256 of certificate 3 does not match',
    ],
    ['entries that are none', () => ({ certificates: [1, null, 'x'], required: 2 }), 'certificate 1'],
  ];

  test.each(wrong)('with %s is refused, and the pool goes on waiting', async (_what, spoil, words) => {
    const served = await waiting();
    const answer = await download(served, spoil(request()));
    expect([answer.status, answer.json['error']?.['code']]).toEqual([400, 'BadParameter']);
    expect(messageOf(answer)).toContain(words);
    expect(activationOf(served)).toBe('NotActivated');
    expect(served.hsm.domains.exported).toEqual([]);
  });

  test('a key below 2048 bits is refused', async () => {
    const served = await waiting();
    const short = await makeCustodianPair({
      commonName: 'short',
      modulusBits: 1_024,
      notBefore: new Date(),
      random: randomBytes,
    });
    const body = request();
    body.certificates[2] = { kty: 'RSA', x5c: [short.certificate.toString('base64')] };
    const answer = await download(served, body);
    expect(answer.status).toBe(400);
    expect(messageOf(answer)).toContain('has a key of 1024 bits; 2048 to');
  });
});

describe('transfer key', () => {
  test('is a JSON text with a certificate of the pool, the same for all who ask at once', async () => {
    const served = await waiting();
    const answers = await Promise.all([1, 2, 3].map(() => served.ask('GET', '/securitydomain/upload')));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    // Of those that were refused none may be taken for it: a slot knows open keys by their ids.
    const ids = served.hsm.submitted.flatMap((mutation) =>
      mutation.kind === 'TransferKeyMade' ? [mutation.key.sealed.id] : [],
    );
    expect(ids.length).toBeGreaterThan(1);
    expect(new Set(ids).size).toBe(ids.length);
    const { key_format: format, transfer_key: text } = answers[0]?.json ?? {};
    expect(format).toBe('jwk');
    const jwk = JSON.parse(textOf(text)) as Record<string, unknown> & { x5c: [string] };
    expect(jwk).toMatchObject({ kty: 'RSA', alg: 'RSA-OAEP-256', key_ops: ['encrypt', 'wrapKey'] });
    expect(jwk['kid']).toBe('https://dev.managedhsm.localhost:9443/transfer_key');
    const certificate = new X509Certificate(Buffer.from(jwk.x5c[0], 'base64'));
    expect(certificate.publicKey.export({ format: 'jwk' })).toMatchObject({ n: jwk['n'], e: jwk['e'] });
    expect(certificate.publicKey.asymmetricKeyDetails?.modulusLength).toBe(3_072);
    const owner = new X509Certificate(served.hsm.state.get('internal', 'owner')?.certificate ?? '');
    expect(certificate.verify(owner.publicKey)).toBe(true);
    expect(certificate.checkIssued(owner)).toBe(true);
    expect((await exchangeOf(served)).raw.equals(certificate.raw)).toBe(true);
  });

  test('an active pool gives none, and has none any more', async () => {
    const served = await waiting();
    await exchangeOf(served);
    await download(served);
    expect(served.hsm.state.get('internal', TRANSFER)).toBeUndefined();
    const answer = await served.ask('GET', '/securitydomain/upload');
    expect([answer.status, answer.json['error']?.['code']]).toEqual([409, 'Conflict']);
  });
});

describe('upload', () => {
  let file: string;
  let source: Served;
  beforeEach(async () => {
    source = await waiting();
    file = textOf((await download(source)).json['value']);
  });

  test.each([
    ['as it is', (text: string) => text],
    ['in base64url', (text: string) => Buffer.from(text).toString('base64url')],
  ])('a restore blob %s brings the domain, and the pool is active', async (_how, write) => {
    const served = await waiting();
    const answer = await upload(served, write(await blobFor(served, file)));
    expect([answer.status, answer.json['status']]).toEqual([202, 'Success']);
    expect(answer.headers['azure-asyncoperation']).toBe(
      'https://dev.managedhsm.localhost:9443/securitydomain/upload/pending',
    );
    expect((await served.ask('GET', '/securitydomain/upload/pending')).json['status']).toBe('Success');
    expect(activationOf(served)).toBe('Active');
    for (const purpose of ['owner', 'release-signer', 'backup-protection', 'export-wrapping'] as const) {
      expect(served.hsm.state.get('internal', purpose)).toEqual(
        decode(encode(source.hsm.state.get('internal', purpose))),
      );
    }
    // The pool's own TLS issuer stays, wrapped under what came.
    const issuer = served.hsm.state.get('internal', 'tls-issuer');
    expect(Buffer.from(issuer?.sealed.blob ?? '').toString()).toBe('rewrapped');
    expect(issuer?.certificate).not.toEqual(source.hsm.state.get('internal', 'tls-issuer')?.certificate);
    expect(served.hsm.domains.rewrapped).toEqual([
      { wrappingKey: Buffer.alloc(32, 1), wrapped: Buffer.alloc(40, 2) },
    ]);
    expect(served.hsm.state.get('internal', TRANSFER)).toBeUndefined();
  });

  test('into an active pool is refused', async () => {
    const served = await waiting();
    const blob = await blobFor(served, file);
    await download(served);
    const answer = await upload(served, blob);
    expect([answer.status, answer.json['error']?.['code']]).toEqual([409, 'Conflict']);
  });

  test('two at once, or with a download: one is taken and the other refused', async () => {
    for (const other of [upload, (served: Served) => download(served)]) {
      const served = await waiting();
      const blob = await blobFor(served, file);
      served.hsm.domains.together = 2;
      const answers = await Promise.all([upload(served, blob), other(served, blob)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    }
  });

  test('a pool that has given out no transfer key opens nothing', async () => {
    const other = await waiting();
    const blob = await blobFor(other, file);
    const answer = await upload(await waiting(), blob);
    expect(answer.status).toBe(400);
    expect(messageOf(answer)).toContain('given out no transfer key');
  });

  test('a data-wrapping key that no slot opens is refused, and the pool goes on waiting', async () => {
    const served = await waiting();
    const blob = await blobFor(served, file);
    served.hsm.domains.failure = new Error('the token cannot be provisioned');
    const answer = await upload(served, blob);
    expect([answer.status, answer.json['error']?.['code']]).toEqual([400, 'BadParameter']);
    expect(activationOf(served)).toBe('NotActivated');
    served.hsm.domains.failure = undefined;
    expect((await upload(served, blob)).status).toBe(202);
  });

  test('what is no blob of this pool is refused with its reason', async () => {
    const served = await waiting();
    const other = await waiting();
    const blob = await blobFor(served, file);
    const parsed = JSON.parse(blob) as {
      EncData: { data: { compact_jwe: string; tag: string }[]; kdf: string };
      WrappedKey: { enc_key: string; x5t_256: string };
    };
    const { EncData, WrappedKey } = parsed;
    const write = (change: object): string => JSON.stringify({ ...parsed, ...change });
    const [first, second] = EncData.data;
    if (!first || !second) throw new Error('two items');
    const flip = (jwe: string): string => `${jwe.slice(0, -3)}${jwe.endsWith('AAA') ? 'BBB' : 'AAA'}`;
    const cases: [string, string, string][] = [
      ['the file itself', file, 'this is not a restore blob'],
      ['no JSON', 'x', 'this is not a restore blob'],
      ['half of it', blob.slice(0, -20), 'this is not a restore blob'],
      ['for another pool', await blobFor(other, file), 'made for another exchange certificate'],
      [
        'a damaged wrapped key',
        write({ WrappedKey: { ...WrappedKey, enc_key: flip(WrappedKey.enc_key) } }),
        'the restore blob is damaged',
      ],
      [
        'a damaged item',
        write({
          EncData: { ...EncData, data: [first, { ...second, compact_jwe: flip(second.compact_jwe) }] },
        }),
        'the restore blob is damaged',
      ],
      ['an item that is missing', write({ EncData: { ...EncData, data: [first] } }), 'lacks the item'],
      [
        'an item of another product',
        write({ EncData: { ...EncData, data: [first, second, { ...first, tag: 'hsm_backup' }] } }),
        'has an item "hsm_backup"',
      ],
      ['an item twice', write({ EncData: { ...EncData, data: [first, first] } }), 'twice'],
    ];
    for (const [what, value, words] of cases) {
      const answer = await upload(served, value);
      expect([what, answer.status, answer.json['error']?.['code']]).toEqual([what, 400, 'BadParameter']);
      expect(messageOf(answer)).toContain(words);
    }
    for (const body of [{}, { value: '' }, { value: 5 }, { value: null }, []]) {
      expect((await served.ask('POST', '/securitydomain/upload', { body })).status).toBe(400);
    }
    expect(activationOf(served)).toBe('NotActivated');
    expect(served.hsm.domains.rewrapped).toEqual([]);
  });

  test('payloads that somebody has made by hand are refused before they reach a slot', async () => {
    const served = await waiting();
    const exchange = await exchangeOf(served);
    const keys = Object.fromEntries(
      ['owner', 'release-signer', 'backup-protection', 'export-wrapping'].map((purpose) => [
        purpose,
        source.hsm.state.get('internal', purpose),
      ]),
    );
    const dwk = Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(40, 2)]);
    const own = served.hsm.state.get('internal', 'owner');
    const blobOf = (first: Buffer, second: Buffer): string => {
      const master = randomBytes(32);
      return JSON.stringify({
        EncData: sealItems(master, [
          { tag: 'trivet_data_wrapping_key', payload: first },
          { tag: 'trivet_internal_keys', payload: second },
        ]),
        WrappedKey: {
          enc_key: sealTo(exchange.publicKey, master),
          x5t_256: createHash('sha256').update(exchange.raw).digest('base64url'),
        },
      });
    };
    const sound = encode({ format: 1, keys });
    const cases: [string, Buffer, Buffer][] = [
      ['a short data-wrapping key', dwk.subarray(1), sound],
      ['an empty one', Buffer.alloc(0), sound],
      ['no CBOR', dwk, Buffer.from([0xff, 0xff])],
      ['an endless list', dwk, Buffer.from('9b00000fffffffffff', 'hex')],
      ['another format', dwk, encode({ format: 2, keys })],
      ['a key that is missing', dwk, encode({ format: 1, keys: { ...keys, owner: undefined } })],
      [
        'a key under a wrong name',
        dwk,
        encode({ format: 1, keys: { ...keys, owner: keys['release-signer'] } }),
      ],
      ['one key more', dwk, encode({ format: 1, keys: { ...keys, 'tls-issuer': own } })],
      [
        "an owner with another's certificate",
        dwk,
        encode({ format: 1, keys: { ...keys, owner: { ...keys['owner'], certificate: own?.certificate } } }),
      ],
      [
        'an owner whose certificate is none',
        dwk,
        encode({ format: 1, keys: { ...keys, owner: { ...keys['owner'], certificate: Buffer.of(1, 2) } } }),
      ],
    ];
    for (const [what, first, second] of cases) {
      const answer = await upload(served, blobOf(first, second));
      expect([what, answer.status, answer.json['error']?.['code']]).toEqual([what, 400, 'BadParameter']);
      expect(messageOf(answer)).toMatch(/^the restore blob (holds|is damaged)/);
    }
    expect(served.hsm.domains.rewrapped).toEqual([]);
    // The same way with sound payloads it is taken.
    expect((await upload(served, blobOf(dwk, sound))).status).toBe(202);
  });

  test('a wrapped key of any length is answered, and never with a fault of ours', async () => {
    const served = await waiting();
    const exchange = await exchangeOf(served);
    const blob = JSON.parse(await blobFor(served, file)) as { WrappedKey: { enc_key: string } };
    const [header, , ...rest] = blob.WrappedKey.enc_key.split('.');
    const wrong = [
      Buffer.alloc(384),
      randomBytes(384),
      Buffer.alloc(1),
      Buffer.alloc(2_048),
      publicEncrypt(exchange.publicKey, Buffer.alloc(5)),
    ];
    for (const bytes of wrong) {
      const key = [header, bytes.toString('base64url'), ...rest].join('.');
      const value = JSON.stringify({ ...blob, WrappedKey: { ...blob.WrappedKey, enc_key: key } });
      const answer = await upload(served, value);
      expect([answer.status, messageOf(answer)]).toEqual([
        400,
        expect.stringContaining('the restore blob is damaged'),
      ]);
    }
  });
});
