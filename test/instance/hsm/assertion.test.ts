// Environment assertions, against an attestation service of our own and against what an attacker might send. Tokens
// are signed by jose; the service's certificates are checked by OpenSSL inside Node.
import { createSign, createHmac, generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import {
  enclaveKey,
  releaseTarget,
  verifyAssertion,
  type Attestation,
} from '../../../src/instance/hsm/assertion.js';
import { checkAttestors, IssuerMetadata, LIMITS } from '../../../src/instance/hsm/issuer-metadata.js';
import type { TrustedAttestor } from '../../../src/values/messages.js';
import { parsePolicy, type ReleasePolicy } from '../../../src/instance/model/release/policy.js';
import { Refusal, RefusedError } from '../../../src/instance/model/refusal.js';
import { AttestationService, CERTS, DISCOVERY, KID, NOW } from './attestation-service.js';

const enclave = generateKeyPairSync('rsa', { modulusLength: 2048 });
const enclaveJwk = { ...enclave.publicKey.export({ format: 'jwk' }), kid: 'enclave', key_ops: ['encrypt'] };
const runtime = (...keys: unknown[]) => ({ 'x-ms-runtime': { keys } });

let service: AttestationService;
let attestation: Attestation & { metadata: IssuerMetadata };
/** The monotonic clock of the metadata, in milliseconds. */
let ticks = 0;

beforeAll(async () => {
  service = await AttestationService.start();
});
afterAll(() => service.stop());

beforeEach(() => {
  service.instead.clear();
  service.asked.length = 0;
  service.keys = [service.jwk(service.signer.der)];
  attestation = attestationOf({ issuer: service.issuer, ca: service.ca });
});

function attestationOf(...attestors: TrustedAttestor[]): Attestation & { metadata: IssuerMetadata } {
  return { attestors, metadata: new IssuerMetadata(LIMITS, () => ticks), now: () => NOW };
}

function policyFor(authority: string, equals: unknown = 'enclave-1'): ReleasePolicy {
  const policy = { version: '1.0.0', anyOf: [{ authority, allOf: [{ claim: 'a.b', equals }] }] };
  const parsed = parsePolicy(Buffer.from(JSON.stringify(policy)));
  if (parsed instanceof Refusal) throw new Error(parsed.detail);
  return parsed;
}

async function refusal(outcome: Promise<unknown>): Promise<Refusal> {
  const error: unknown = await outcome.then(
    () => 'was accepted',
    (reason: unknown) => reason,
  );
  if (error instanceof RefusedError) return error.refusal;
  throw error;
}

async function refused(token: string | Promise<string>, words: string): Promise<void> {
  const reason = await refusal(verifyAssertion(await token, attestation));
  expect(reason).toEqual(new Refusal('AssertionRefused', words));
}

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const UNSIGNED = 'It is not validly signed';
const UNKNOWN_KEY = 'The key that signed it is not among those of its issuer';
const UNREAD = 'The metadata of the issuer could not be read';

describe('an assertion is believed', () => {
  it('that its issuer signed with a key that its metadata hold', async () => {
    const token = await service.token({ 'sdk-test': true });
    const { issuer, claims } = await verifyAssertion(token, attestation);
    expect(issuer).toBe(service.issuer);
    expect(claims).toMatchObject({ 'sdk-test': true, iss: service.issuer });
    expect(service.asked).toEqual([DISCOVERY, CERTS]);
  });

  it.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'])('signed with %s', async (alg) => {
    await verifyAssertion(await service.token({}, { alg }), attestation);
  });

  it.each([
    ['ES256', 'P-256'],
    ['ES384', 'P-384'],
    ['ES512', 'P-521'],
  ])('signed with %s', async (alg, namedCurve) => {
    const signer = await service.certified(generateKeyPairSync('ec', { namedCurve }));
    service.keys = [service.jwk(signer.der, { kty: 'EC', alg, use: 'sig' })];
    await verifyAssertion(await service.token({}, { alg }, signer.privateKey), attestation);
  });

  it('by a key whose JWK repeats what the certificate says', async () => {
    const { n, e } = service.signer.privateKey.export({ format: 'jwk' });
    service.keys = [service.jwk(service.signer.der, { n, e, alg: 'RS256' })];
    await verifyAssertion(await service.token(), attestation);
  });

  it.each([
    ['/', ''],
    ['', '/'],
    ['/', '/'],
  ])('whether its issuer ends "%s" in the trust list and "%s" in the token', async (listed, claimed) => {
    attestation = attestationOf({ issuer: `${service.issuer}${listed}`, ca: service.ca });
    await verifyAssertion(await service.token({ iss: `${service.issuer}${claimed}` }), attestation);
  });

  it('up to a minute before it begins, and until the second in which it ends', async () => {
    await verifyAssertion(await service.token({ nbf: NOW + 60, exp: NOW + 1 }), attestation);
    await refused(service.token({ nbf: NOW + 61 }), 'It is not yet valid');
    await refused(service.token({ exp: NOW }), 'It has expired');
  });
});

describe('an assertion is refused', () => {
  it.each<[string, object, string]>([
    ['has no end', { exp: undefined }, 'It has no proper end or beginning'],
    ['ends at a text', { exp: '1900000000' }, 'It has no proper end or beginning'],
    ['begins at a text', { nbf: 'now' }, 'It has no proper end or beginning'],
    ['names no issuer', { iss: undefined }, 'It names no issuer'],
    ['names a list of issuers', { iss: ['https://localhost'] }, 'It names no issuer'],
  ])('that %s', async (_, claims, words) => {
    const [head, ,] = (await service.token()).split('.');
    const payload = b64({ iss: service.issuer, exp: NOW + 60, ...claims });
    const signature = createSign('sha256')
      .update(`${head ?? ''}.${payload}`)
      .sign(service.signer.privateKey);
    await refused(`${head ?? ''}.${payload}.${signature.toString('base64url')}`, words);
  });

  it('of an issuer that is not trusted, who is never asked', async () => {
    const other = await AttestationService.start();
    await refused(other.token(), 'Its issuer is not trusted');
    for (const iss of [
      `${service.issuer}/x`,
      `${service.issuer}//`,
      service.issuer.replace('localhost', 'LOCALHOST'),
    ]) {
      await refused(service.token({ iss }), 'Its issuer is not trusted');
    }
    expect(other.asked).toEqual([]);
    expect(service.asked).toEqual([]);
    await other.stop();
  });

  it('of one trusted issuer that another trusted one signed', async () => {
    const other = await AttestationService.start();
    attestation = attestationOf(
      { issuer: service.issuer, ca: service.ca },
      { issuer: other.issuer, ca: other.ca },
    );
    await verifyAssertion(await other.token(), attestation);
    await refused(other.token({ iss: service.issuer }), UNSIGNED);
    await refused(other.token({ iss: service.issuer }, { kid: 'other' }), UNKNOWN_KEY);
    await other.stop();
  });

  it('that is not signed', async () => {
    const claims = b64({ iss: service.issuer, exp: NOW + 60 });
    for (const alg of ['none', 'None', '', 'NONE', undefined, null, ['RS256'], 'toString', '__proto__']) {
      await refused(`${b64({ alg, kid: KID })}.${claims}.AAAA`, 'Its signature algorithm is not accepted');
    }
    const empty = await refusal(verifyAssertion(`${b64({ alg: 'none', kid: KID })}.${claims}.`, attestation));
    expect(empty).toEqual(new Refusal('BadParameter', 'The target is not a JSON Web Token'));
  });

  it('that uses the public key as the secret of an HMAC', async () => {
    const spki = service.signer.privateKey.export({ format: 'jwk' });
    const input = `${b64({ alg: 'HS256', kid: KID })}.${b64({ iss: service.issuer, exp: NOW + 60 })}`;
    for (const secret of [service.signer.der.toString('base64'), service.signer.der, spki.n ?? '']) {
      const mac = createHmac('sha256', secret).update(input).digest('base64url');
      await refused(`${input}.${mac}`, 'Its signature algorithm is not accepted');
    }
  });

  it('that a foreign key of the same name signed, even if the token brings that key', async () => {
    const foreign = await service.certified(generateKeyPairSync('rsa', { modulusLength: 2048 }));
    const jwk = foreign.privateKey.export({ format: 'jwk' });
    const own = {
      x5c: [foreign.der.toString('base64')],
      jwk: { kty: 'RSA', n: jwk.n ?? '', e: jwk.e ?? '' },
    };
    await refused(service.token({}, {}, foreign.privateKey), UNSIGNED);
    await refused(service.token({}, own, foreign.privateKey), UNSIGNED);
  });

  it('whose payload was changed', async () => {
    const [head = '', , signature = ''] = (await service.token()).split('.');
    await refused(
      `${head}.${b64({ iss: service.issuer, exp: NOW + 60, admin: true })}.${signature}`,
      UNSIGNED,
    );
  });

  it('that names no key, or another one', async () => {
    await refused(service.token({}, { kid: undefined } as object), 'It does not name the key that signed it');
    await refused(service.token({}, { kid: '' }), 'It does not name the key that signed it');
    await refused(service.token({}, { kid: 'signer-2' }), UNKNOWN_KEY);
    await refused(service.token({}, { kid: '__proto__' }), UNKNOWN_KEY);
  });

  it('whose algorithm is not the one that its key is for', async () => {
    service.keys = [service.jwk(service.signer.der, { alg: 'PS256' })];
    await refused(service.token(), UNKNOWN_KEY);
    const ec = await service.certified(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    service.keys = [service.jwk(ec.der, { kty: 'EC' })];
    ticks += LIMITS.keepMs;
    await refused(service.token(), UNKNOWN_KEY);
    // The right kind of key on another curve.
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await refused(service.token({}, { alg: 'ES384' }, p384.privateKey), UNSIGNED);
  });

  it.each<[string, (jwk: JsonWebKey & { x5c: string[] }) => object]>([
    ['has no kid', (jwk) => ({ ...jwk, kid: undefined })],
    ['has an empty kid', (jwk) => ({ ...jwk, kid: '' })],
    ['has no kty', (jwk) => ({ ...jwk, kty: undefined })],
    ['is symmetric', (jwk) => ({ ...jwk, kty: 'oct', k: 'AAAA' })],
    ['has no x5c', (jwk) => ({ ...jwk, x5c: undefined, ...enclaveJwk, kid: KID })],
    ['has an empty x5c', (jwk) => ({ ...jwk, x5c: [] })],
    ['has an x5c that is no certificate', (jwk) => ({ ...jwk, x5c: ['AAAA'] })],
    [
      'has something after its certificate',
      (jwk) => ({
        ...jwk,
        x5c: [Buffer.concat([Buffer.from(jwk.x5c[0] ?? '', 'base64'), Buffer.of(0)]).toString('base64')],
      }),
    ],
    ['says another n than its certificate', (jwk) => ({ ...jwk, n: enclaveJwk.n, e: enclaveJwk.e })],
    ['is for encryption', (jwk) => ({ ...jwk, use: 'enc' })],
    ['says EC and holds RSA', (jwk) => ({ ...jwk, kty: 'EC' })],
  ])('by a key of the issuer that %s', async (_, change) => {
    service.keys = [change(service.jwk(service.signer.der) as JsonWebKey & { x5c: string[] })];
    await refused(service.token(), UNKNOWN_KEY);
  });

  it('by a key of 1024 bits', async () => {
    const weak = await service.certified(generateKeyPairSync('rsa', { modulusLength: 1024 }));
    service.keys = [service.jwk(weak.der)];
    const input = `${b64({ alg: 'RS256', kid: KID })}.${b64({ iss: service.issuer, exp: NOW + 60 })}`;
    const signature = createSign('sha256').update(input).sign(weak.privateKey).toString('base64url');
    await refused(`${input}.${signature}`, UNKNOWN_KEY);
  });

  it('when two keys of the issuer have its name', async () => {
    const second = await service.certified(generateKeyPairSync('rsa', { modulusLength: 2048 }));
    service.keys = [service.jwk(service.signer.der), service.jwk(second.der)];
    await refused(service.token(), UNKNOWN_KEY);
  });

  it.each([
    ['nothing', ''],
    ['two parts', 'a.b'],
    ['four parts', 'a.b.c.d'],
    ['parts that are no JSON', 'a.b.c'],
    ['claims that are a list', `${b64({ alg: 'RS256' })}.${b64([])}.AA`],
    ['claims that are null', `${b64({ alg: 'RS256' })}.${b64(null)}.AA`],
    ['a header that is a list', `${b64([])}.${b64({})}.AA`],
    ['a header with crit', `${b64({ alg: 'RS256', crit: ['exp'] })}.${b64({})}.AA`],
    ['an unencoded payload', `${b64({ alg: 'RS256', b64: false })}.${b64({})}.AA`],
    ['a space before', ` ${b64({ alg: 'RS256' })}.${b64({})}.AA`],
    ['a line feed after', `${b64({ alg: 'RS256' })}.${b64({})}.AA\n`],
    ['too many characters', 'x'.repeat(61_441)],
  ])('as a bad parameter that is %s', async (_, token) => {
    expect((await refusal(verifyAssertion(token, attestation))).code).toBe('BadParameter');
    expect(service.asked).toEqual([]);
  });

  it('whatever it is, never with an exception of another kind', async () => {
    const good = await service.token(runtime(enclaveJwk));
    await verifyAssertion(good, attestation);
    const part = fc.oneof(
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
      fc.base64String().map((text) => text.replaceAll('=', '')),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.tuple(part, part, part).map((parts) => parts.join('.')),
          fc
            .tuple(fc.nat(good.length - 1), fc.constantFrom('A', 'z', '.', '-', '%'))
            .map(([at, by]) => good.slice(0, at) + by + good.slice(at + 1))
            .filter((token) => token !== good && !sameBytes(token, good)),
        ),
        async (token) => {
          expect((await refusal(verifyAssertion(token, attestation))).code).toMatch(
            /^(BadParameter|AssertionRefused)$/,
          );
        },
      ),
      { numRuns: 500 },
    );
    expect(service.asked.length).toBe(2);
  });
});

/** The last character of a base64url text has bits that count for nothing. */
function sameBytes(a: string, b: string): boolean {
  const bytes = (token: string) =>
    token.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'));
  return String(bytes(a)) === String(bytes(b));
}

describe('metadata are refused', () => {
  it('of an issuer whose certificate another authority signed', async () => {
    const other = await AttestationService.start();
    attestation = attestationOf({ issuer: service.issuer, ca: other.ca });
    await refused(service.token(), UNREAD);
    // Without an authority of its own it would have to be a public one.
    attestation = attestationOf({ issuer: service.issuer });
    await refused(service.token(), UNREAD);
    expect(service.asked).toEqual([]);
    await other.stop();
  });

  it('of an issuer whose certificate is for another name', async () => {
    const other = await AttestationService.start(['attest.example.net']);
    attestation = attestationOf({ issuer: other.issuer, ca: other.ca });
    await refused(other.token(), UNREAD);
    await other.stop();
  });

  it('even when the environment says that certificates do not matter', async () => {
    // In a process of its own: what a test sets in its environment never reaches Node's TLS.
    const module = join(__dirname, '../../../dist/instance/hsm/issuer-metadata.js');
    const program = `new (require(${JSON.stringify(module)}).IssuerMetadata)()
      .keysFor({ issuer: '${service.issuer}' }, '${KID}')
      .then((keys) => console.log('read', keys.length), (error) => console.log(error.message))`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], {
      env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    });
    expect(stdout).toBe(`${UNREAD}\n`);
    expect(service.asked).toEqual([]);
  });

  it.each([
    [DISCOVERY, 301],
    [DISCOVERY, 302],
    [DISCOVERY, 307],
    [CERTS, 302],
    [CERTS, 308],
  ])('that redirect: %s with %i, and nobody follows', async (path, status) => {
    const target = await AttestationService.start();
    service.answerJson(path, {}, status, { location: `${target.issuer}${path}` });
    await refused(service.token(), 'The issuer did not answer with its metadata');
    expect(target.asked).toEqual([]);
    await target.stop();
  });

  it.each([204, 400, 404, 500, 503])('with status %i', async (status) => {
    service.answerJson(DISCOVERY, {}, status);
    await refused(service.token(), 'The issuer did not answer with its metadata');
  });

  it('that name another issuer', async () => {
    for (const issuer of ['https://evil.example.net', `${service.issuer}/x`, `${service.issuer}//`]) {
      service.answerJson(DISCOVERY, { issuer, jwks_uri: `${service.issuer}${CERTS}` });
      ticks += LIMITS.restMs;
      await refused(service.token(), 'The metadata are those of another issuer');
    }
  });

  it('whose keys are elsewhere, where nobody looks', async () => {
    const inner = createServer();
    await new Promise<void>((resolve) => inner.listen(0, '127.0.0.1', resolve));
    const { port } = inner.address() as AddressInfo;
    let visits = 0;
    inner.on('connection', () => (visits += 1));
    for (const jwks_uri of [
      `http://127.0.0.1:${port}/certs`,
      `https://127.0.0.1:${port}/certs`,
      `https://localhost:${port}/certs`,
      `${service.issuer}@127.0.0.1:${port}/certs`,
      service.issuer.replace('https', 'http') + CERTS,
      'file:///etc/passwd',
      'http://169.254.169.254/latest/meta-data/',
      '/certs',
      '',
    ]) {
      service.answerJson(DISCOVERY, { issuer: service.issuer, jwks_uri });
      ticks += LIMITS.restMs;
      await refused(service.token(), 'The keys of the issuer are not at its own origin');
    }
    expect(visits).toBe(0);
    await new Promise((resolve) => inner.close(resolve));
  });

  it.each<[string, unknown]>([
    [DISCOVERY, []],
    [DISCOVERY, 'text'],
    [DISCOVERY, { issuer: 1, jwks_uri: 2 }],
    [CERTS, { keys: {} }],
    [CERTS, {}],
    [CERTS, { keys: Array.from({ length: 201 }, () => ({})) }],
  ])('of another form: %s with %j', async (path, value) => {
    service.answerJson(path, value);
    await refused(
      service.token(),
      path === CERTS
        ? 'The keys of the issuer have another form'
        : 'The metadata of the issuer have another form',
    );
  });

  it('that are no JSON', async () => {
    service.instead.set(DISCOVERY, (_, response) => response.end('<html>'));
    await refused(service.token(), 'The metadata of the issuer have another form');
    service.instead.set(DISCOVERY, (_, response) => response.end(Buffer.of(0x22, 0xff, 0x22)));
    ticks += LIMITS.restMs;
    await refused(service.token(), 'The metadata of the issuer have another form');
  });

  it('larger than 256 KiB, of which no more is read', async () => {
    const padding = (size: number) => ({ keys: service.keys, padding: 'x'.repeat(size) });
    const fixed = JSON.stringify(padding(0)).length;
    service.answerJson(CERTS, padding(LIMITS.bytesMax - fixed));
    await verifyAssertion(await service.token(), attestation);
    service.answerJson(CERTS, padding(LIMITS.bytesMax - fixed + 1));
    ticks += LIMITS.keepMs;
    await refused(service.token(), 'The metadata of the issuer are too long');
    // One that never ends.
    const closed = new Promise<void>((resolve) => {
      service.instead.set(CERTS, (_, response) => {
        const more = () => {
          if (!response.destroyed) response.write('x'.repeat(65_536), more);
        };
        response.on('close', resolve);
        more();
      });
    });
    ticks += LIMITS.restMs;
    await refused(service.token(), 'The metadata of the issuer are too long');
    await closed;
  });

  it('that stop short of their length', async () => {
    service.instead.set(DISCOVERY, (_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{}');
      setImmediate(() => response.destroy());
    });
    await refused(service.token(), UNREAD);
  });

  it.each(['that never come', 'that trickle', 'that stop in the middle'])('%s', async (kind) => {
    const closed = new Promise<void>((resolve) => {
      service.instead.set(CERTS, (_, response) => {
        response.on('close', resolve);
        if (kind === 'that never come') return;
        response.write('{');
        if (kind === 'that stop in the middle') return;
        const trickle = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(trickle));
      });
    });
    // Of the same kind as in service, and shorter.
    const metadata = new IssuerMetadata({ ...LIMITS, msMax: 400 }, () => ticks);
    attestation = { ...attestation, metadata };
    await refused(service.token(), UNREAD);
    await closed;
  });

  it('of an issuer that does not listen', async () => {
    const gone = await AttestationService.start();
    const token = await gone.token();
    attestation = attestationOf({ issuer: gone.issuer, ca: gone.ca });
    await gone.stop();
    await refused(token, UNREAD);
  });
});

describe('metadata are remembered', () => {
  it('for five minutes and no longer', async () => {
    const token = await service.token();
    await verifyAssertion(token, attestation);
    ticks += LIMITS.keepMs - 1;
    await verifyAssertion(token, attestation);
    expect(service.asked.length).toBe(2);
    service.keys = [];
    ticks += 1;
    await refused(token, UNKNOWN_KEY);
    expect(service.asked.length).toBe(4);
  });

  it('but not believed when they cannot be read again', async () => {
    const token = await service.token();
    await verifyAssertion(token, attestation);
    service.answerJson(DISCOVERY, {}, 500);
    ticks += LIMITS.keepMs;
    await refused(token, 'The issuer did not answer with its metadata');
  });

  it('and many at once are one question', async () => {
    const token = await service.token();
    await Promise.all(Array.from({ length: 50 }, () => verifyAssertion(token, attestation)));
    expect(service.asked).toEqual([DISCOVERY, CERTS]);
  });

  it('a failure is one question for all, and for ten seconds the only one', async () => {
    service.answerJson(DISCOVERY, {}, 500);
    const words = 'The issuer did not answer with its metadata';
    const token = await service.token();
    await Promise.all(Array.from({ length: 50 }, () => refused(token, words)));
    ticks += LIMITS.restMs - 1;
    await refused(token, words);
    expect(service.asked).toEqual([DISCOVERY]);
    service.instead.clear();
    ticks += 1;
    await verifyAssertion(token, attestation);
  });

  it('a new key is found, and unknown ones are asked for every ten seconds at most', async () => {
    const first = await service.token();
    await verifyAssertion(first, attestation);
    const second = await service.certified(generateKeyPairSync('rsa', { modulusLength: 2048 }));
    service.keys.push(service.jwk(second.der, { kid: 'signer-2' }));
    const token = await service.token({}, { kid: 'signer-2' }, second.privateKey);
    await refused(token, UNKNOWN_KEY);
    ticks += LIMITS.restMs;
    await Promise.all(
      Array.from({ length: 20 }, async (_, place) => {
        if (place % 2 === 0) await verifyAssertion(token, attestation);
        else await refused(service.token({}, { kid: `none-${place}` }), UNKNOWN_KEY);
      }),
    );
    expect(service.asked.length).toBe(4);
    // A failed look for an unknown key does not make the known ones unknown.
    service.answerJson(DISCOVERY, {}, 500);
    ticks += LIMITS.restMs;
    await refused(service.token({}, { kid: 'none' }), UNKNOWN_KEY);
    await verifyAssertion(first, attestation);
  });

  it('apart for another authority of the same issuer', async () => {
    await verifyAssertion(await service.token(), attestation);
    const other = { ...attestation, attestors: [{ issuer: service.issuer }] };
    expect((await refusal(verifyAssertion(await service.token(), other))).detail).toBe(UNREAD);
  });
});

describe('the trust list', () => {
  it.each<[string, unknown[]]>([
    ['http', [{ issuer: 'http://attest.example.net' }]],
    ['no URL', [{ issuer: 'attest.example.net' }]],
    ['a user', [{ issuer: 'https://a@attest.example.net' }]],
    ['a query', [{ issuer: 'https://attest.example.net/?a' }]],
    ['an issuer twice', [{ issuer: 'https://a' }, { issuer: 'https://a/' }]],
    ['an authority that is no certificate', [{ issuer: 'https://a', ca: 'x' }]],
    ['an empty authority, which would mean all', [{ issuer: 'https://a', ca: '' }]],
  ])('with %s is refused', (_, list) => {
    expect(() => checkAttestors(list as TrustedAttestor[])).toThrow(RefusedError);
  });

  it('of several issuers is taken', () => {
    checkAttestors([
      { issuer: 'https://a/' },
      { issuer: 'https://a/tenant' },
      { issuer: 'https://b', ca: service.ca },
    ]);
  });
});

describe("the enclave's key", () => {
  const found = (...keys: unknown[]) => enclaveKey(runtime(...keys));
  const thrown = (...keys: unknown[]): string => {
    try {
      found(...keys);
    } catch (error) {
      if (error instanceof RefusedError && error.refusal.code === 'AssertionRefused')
        return error.refusal.detail;
      throw error;
    }
    return 'was taken';
  };
  const bareJwk = { ...enclaveJwk, key_ops: undefined };
  const sized = (modulusLength: number, publicExponent = 65_537) => ({
    ...generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' }),
    kid: 'k',
    use: 'enc',
  });

  it.each<[string, object]>([
    ['use', { use: 'enc' }],
    ['key_use', { key_use: 'enc' }],
    ['key_ops', { key_ops: ['decrypt', 'encrypt'] }],
  ])('is known by its %s', (_name, mark) => {
    const { kid, publicKey } = found({ ...bareJwk, ...mark });
    expect(kid).toBe('enclave');
    expect(publicKey.equals(enclave.publicKey)).toBe(true);
  });

  it('is the first that fits', () => {
    const before = [
      null,
      'x',
      { kty: 'EC', use: 'enc' },
      { ...bareJwk, kid: 'sig', use: 'sig' },
      { ...bareJwk, kid: 'ops', key_ops: ['sign'] },
      { ...bareJwk, kid: 'plain' },
    ];
    expect(found(...before, enclaveJwk, { ...enclaveJwk, kid: 'later' }).kid).toBe('enclave');
  });

  it.each<[string, unknown[]]>([
    ['no key', []],
    ['no key for encryption', [{ ...bareJwk, use: 'sig' }]],
    ['key_ops that are a text', [{ ...bareJwk, key_ops: 'encrypt' }]],
    ['too many keys', Array.from({ length: 101 }, () => enclaveJwk)],
  ])('is missed when there is %s', (_name, keys) => {
    expect(thrown(...keys)).toBe("It holds no RSA key for encryption in 'x-ms-runtime'");
  });

  it('is missed when the claim is missing, foreign or only inherited', () => {
    for (const claims of [
      {},
      { 'x-ms-runtime': null },
      { 'x-ms-runtime': { keys: {} } },
      { 'x-ms-runtime.keys': [enclaveJwk] },
      Object.create(runtime(enclaveJwk)) as object,
    ]) {
      expect(() => enclaveKey(claims as Record<string, unknown>)).toThrow('x-ms-runtime');
    }
  });

  it('needs a kid, and no later key takes the place of one without', () => {
    expect(thrown({ ...enclaveJwk, kid: undefined }, enclaveJwk)).toBe("The enclave's key has no 'kid'");
    expect(thrown({ ...enclaveJwk, kid: 7 })).toBe("The enclave's key has no 'kid'");
  });

  it('has 2048 to 4096 bits', () => {
    const words = "The enclave's key must have 2048 to 4096 bits";
    expect(thrown(sized(1024))).toBe(words);
    expect(thrown(sized(2040))).toBe(words);
    expect(found(sized(3072)).publicKey.asymmetricKeyDetails?.modulusLength).toBe(3072);
    expect(found(sized(4096, 3)).publicKey.asymmetricKeyDetails?.publicExponent).toBe(3n);
    expect(thrown({ ...enclaveJwk, n: Buffer.alloc(513, 0xff).toString('base64url') })).toBe(words);
    // Zero octets in front count for nothing.
    const n = Buffer.from(sized(1024).n ?? '', 'base64url');
    expect(thrown({ ...enclaveJwk, n: Buffer.concat([Buffer.alloc(128), n]).toString('base64url') })).toBe(
      words,
    );
  });

  it.each<[string, object]>([
    ['the exponent 1', { e: 'AQ' }],
    ['the exponent 0', { e: 'AA' }],
    ['an even exponent', { e: 'AQAA' }],
    ['an exponent of 33 bits', { e: Buffer.of(1, 0, 0, 0, 1).toString('base64url') }],
    ['no exponent', { e: undefined }],
    ['no modulus', { n: undefined }],
    ['an empty modulus', { n: '' }],
    ['a modulus that is no text', { n: 5 }],
    ['a modulus in the other alphabet', { n: '+/' }],
    ['an even modulus', { n: Buffer.alloc(256, 0xfe).toString('base64url') }],
  ])('with %s is malformed', (_name, change) => {
    expect(thrown({ ...enclaveJwk, ...change })).toBe("The enclave's key is malformed");
  });

  it('that comes with its private half is refused', () => {
    const whole = { ...enclave.privateKey.export({ format: 'jwk' }), kid: 'k', use: 'enc' };
    expect(thrown(whole)).toBe("The enclave's key comes with its private half");
  });
});

describe('a release target', () => {
  it('is the key of an enclave whose claims meet the policy', async () => {
    const token = await service.token({ a: { b: 'enclave-1' }, ...runtime(enclaveJwk) });
    const { kid, publicKey } = await releaseTarget(token, policyFor(`${service.issuer}/`), attestation);
    expect(kid).toBe('enclave');
    expect(publicKey.equals(enclave.publicKey)).toBe(true);
  });

  it('is refused when the claims do not meet the policy', async () => {
    const token = await service.token({ a: { b: 'enclave-2' }, ...runtime(enclaveJwk) });
    expect(await refusal(releaseTarget(token, policyFor(service.issuer), attestation))).toEqual(
      new Refusal('AssertionRefused', 'The claims do not meet the release policy of the key'),
    );
  });

  it('of an issuer that the policy does not name is refused before that issuer is asked', async () => {
    const token = await service.token({ a: { b: 'enclave-1' }, ...runtime(enclaveJwk) });
    expect(await refusal(releaseTarget(token, policyFor('https://other.example.net'), attestation))).toEqual(
      new Refusal('AssertionRefused', 'Its issuer is no authority of the release policy'),
    );
    expect(service.asked).toEqual([]);
  });

  it('is refused unsigned however well its claims fit', async () => {
    const claims = { iss: service.issuer, exp: NOW + 60, a: { b: 'enclave-1' }, ...runtime(enclaveJwk) };
    const token = `${b64({ alg: 'RS256', kid: KID })}.${b64(claims)}.${Buffer.alloc(256).toString('base64url')}`;
    expect((await refusal(releaseTarget(token, policyFor(service.issuer), attestation))).detail).toBe(
      UNSIGNED,
    );
  });
});
