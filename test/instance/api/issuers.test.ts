// Tokens of OpenID providers that publish their keys: a provider of our own answers over HTTPS, jose signs.
import { createHmac, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { SignJWT, type JWTHeaderParameters } from 'jose';
import {
  audienceOf,
  createIdentify,
  tokenKeys,
  Unauthenticated,
  type Identify,
  type Identity,
} from '../../../src/instance/api/identity.js';
import { checkIssuers, LIMITS, TOKEN_LIMITS } from '../../../src/instance/hsm/issuer-metadata.js';
import { RefusedError } from '../../../src/instance/model/refusal.js';
import type { PublishingIssuer, TrustedIssuer } from '../../../src/values/messages.js';
import { AttestationService as Provider, CERTS, DISCOVERY, NOW } from '../hsm/attestation-service.js';
import { FakeHsm, OPERATOR, STRANGER, TENANT } from '../hsm/fake-hsm.js';

const DOMAIN = 'managedhsm.localhost';
const V1 = `/${TENANT}/`;
const V2 = `/${TENANT}/v2.0`;
const UNKNOWN_KEY = 'The key that signed the token is not among those of its issuer';
const FORGED = 'The token is not validly signed';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });

let provider: Provider;
let hsm: FakeHsm;
let ticks: number;
let identify: Identify;

beforeAll(async () => {
  provider = await Provider.start();
});
beforeEach(() => {
  provider.asked.length = 0;
  provider.instead.clear();
  provider.keys = [jwk(rsa.publicKey, 'rsa'), jwk(ec.publicKey, 'ec')];
  for (const path of [V1, V2]) publish(`${path.replace(/\/$/, '')}${DISCOVERY}`, `${provider.issuer}${path}`);
  ticks = 0;
  trust({ issuer: `${provider.issuer}${V1}` }, { issuer: `${provider.issuer}${V2}` });
});
afterAll(() => provider.stop());

function jwk(key: KeyObject, kid: string, more: object = {}): object {
  return { ...key.export({ format: 'jwk' }), kid, use: 'sig', ...more };
}

function publish(path: string, issuer: string): void {
  provider.answerJson(path, { issuer, jwks_uri: `${provider.issuer}${CERTS}` });
}

/** The pool trusts these, all of them certified by the provider's own authority unless they say otherwise. */
function trust(...issuers: PublishingIssuer[]): void {
  hsm = new FakeHsm(issuers.map((issuer) => ({ ca: provider.ca, ...issuer })));
  hsm.clock = NOW;
  identify = createIdentify(
    hsm,
    audienceOf(DOMAIN),
    tokenKeys(() => ticks),
  );
}

// As the provider of Microsoft Entra writes them, for an application.
function version1(changes: object = {}): object {
  return {
    aud: `https://${DOMAIN}`,
    iss: `${provider.issuer}${V1}`,
    iat: NOW - 5,
    nbf: NOW - 5,
    exp: NOW + 3900,
    appid: '55555555-5555-4555-8555-555555555555',
    appidacr: '1',
    idp: `${provider.issuer}${V1}`,
    unique_name: 'someone@example.net',
    oid: OPERATOR,
    rh: '0.x',
    sub: 'pairwise',
    tid: TENANT,
    uti: 'u',
    ver: '1.0',
    ...changes,
  };
}

function version2(changes: object = {}): object {
  return {
    aud: `https://${DOMAIN}/`,
    iss: `${provider.issuer}${V2}`,
    iat: NOW - 5,
    nbf: NOW - 5,
    exp: NOW + 3900,
    azp: '55555555-5555-4555-8555-555555555555',
    azpacr: '1',
    preferred_username: 'someone@example.net',
    oid: OPERATOR.toUpperCase(),
    sub: 'pairwise',
    tid: TENANT,
    ver: '2.0',
    ...changes,
  };
}

function token(
  claims: object,
  header: Partial<JWTHeaderParameters> = {},
  key: KeyObject = rsa.privateKey,
): Promise<string> {
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'rsa', typ: 'JWT', ...header })
    .sign(key);
}

async function who(sent: string | Promise<string>): Promise<Identity> {
  return identify(`Bearer ${await sent}`);
}

async function refused(sent: string | Promise<string>, problem: string): Promise<void> {
  const error: unknown = await who(sent).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Unauthenticated);
  expect((error as Unauthenticated).problem).toBe(problem);
}

describe('a provider is believed', () => {
  it('for tokens of version 1.0 and of version 2.0, each under its own issuer', async () => {
    expect(await who(token(version1()))).toEqual({ objectId: OPERATOR, groups: [] });
    expect(await who(token(version2()))).toEqual({ objectId: OPERATOR, groups: [] });
  });

  it.each([
    ['RS256', 'rsa', rsa.privateKey],
    ['PS256', 'rsa', rsa.privateKey],
    ['ES256', 'ec', ec.privateKey],
  ] as const)('when it signs with %s', async (alg, kid, key) => {
    expect((await who(token(version1(), { alg, kid }, key))).objectId).toBe(OPERATOR);
  });

  it.each([
    `https://${DOMAIN}`,
    `https://${DOMAIN}/`,
    'https://managedhsm.azure.net',
    'https://managedhsm.azure.net/',
  ])('for the audience %s in either version', async (aud) => {
    await who(token(version1({ aud })));
    await who(token(version2({ aud })));
  });

  it('for the application that is named for it, as version 2.0 names audiences, and for it alone', async () => {
    const audience = '66666666-6666-4666-8666-666666666666';
    trust({ issuer: `${provider.issuer}${V2}`, audience }, { issuer: `${provider.issuer}${V1}` });
    await who(token(version2({ aud: audience })));
    await who(token(version2({ aud: `${audience}/` })));
    await who(token(version2()));
    for (const aud of [STRANGER, `${audience}//`, `x${audience}`, '']) {
      await refused(token(version2({ aud })), 'The audience of the token is another service');
    }
    await refused(token(version1({ aud: audience })), 'The audience of the token is another service');
  });

  it('with its metadata elsewhere, as those of version 1.0 are', async () => {
    publish('/elsewhere', 'https://sts.example.net/t/');
    trust({ issuer: 'https://sts.example.net/t/', metadataUrl: `${provider.issuer}/elsewhere` });
    await who(token(version1({ iss: 'https://sts.example.net/t/' })));
    expect(provider.asked).toEqual(['/elsewhere', CERTS]);
  });

  it('and asked once, however many tokens come at once and however often', async () => {
    const tokens = await Promise.all([1, 2, 3, 4].map((jti) => token(version2({ jti }))));
    await Promise.all([...tokens, ...tokens].map(who));
    for (const one of tokens) await who(one);
    expect(provider.asked).toEqual([`${V2}${DISCOVERY}`, CERTS]);
  });

  it('for a token that was seen without a wait', async () => {
    const authorization = `Bearer ${await token(version1())}`;
    await identify(authorization);
    expect(identify(authorization)).toEqual({ objectId: OPERATOR, groups: [] }); // no promise: the answer itself
  });

  it('and its groups count', async () => {
    const groups = [STRANGER.toUpperCase(), STRANGER];
    expect((await who(token(version1({ groups })))).groups).toEqual([STRANGER]);
    expect((await who(token(version2({ groups, hasgroups: false })))).groups).toEqual([STRANGER]);
  });
});

describe('a caller in too many groups to name', () => {
  const sources = { src1: { endpoint: 'https://169.254.169.254/groups' } };
  it.each<[string, object]>([
    ['hasgroups', { hasgroups: true }],
    ['hasgroups as a text', { hasgroups: 'true' }],
    ['_claim_names', { _claim_names: { groups: 'src1' }, _claim_sources: sources }],
    ['groups besides', { groups: [STRANGER], _claim_names: { groups: 'src1' }, _claim_sources: sources }],
  ])('is refused, and nobody is asked for them: %s', async (_, claims) => {
    for (const sent of [token(version1(claims)), token(version2(claims))]) {
      await refused(sent, 'The token does not name the groups of its bearer, who is in too many');
    }
    const asked = [V1.slice(0, -1), V2].flatMap((path) => [`${path}${DISCOVERY}`, CERTS]);
    expect(provider.asked).toEqual(asked);
  });

  it('keeps her groups when other claims are elsewhere', async () => {
    const claims = { groups: [STRANGER], _claim_names: { photo: 'src1' } };
    expect((await who(token(version1(claims)))).groups).toEqual([STRANGER]);
    expect((await who(token(version1({ groups: [STRANGER], _claim_names: 'x' })))).groups).toEqual([
      STRANGER,
    ]);
  });
});

describe('a token of a provider is refused', () => {
  it.each<[string, object, string]>([
    ['that has expired', { exp: NOW }, 'The token has expired'],
    ['that is not yet valid', { nbf: NOW + 61 }, 'The token is not yet valid'],
    [
      'for another audience',
      { aud: 'https://vault.azure.net' },
      'The audience of the token is another service',
    ],
    [
      'for the control plane',
      { aud: 'https://management.azure.com' },
      'The audience of the token is another service',
    ],
    ['of another tenant', { tid: STRANGER }, 'The token belongs to another tenant'],
    ['of another issuer', { iss: 'https://sts.example.net/' }, 'The issuer of the token is not trusted'],
    ['of no issuer', { iss: undefined }, 'The issuer of the token is not trusted'],
    ['without an object id', { oid: undefined }, 'A claim of the token is missing or malformed'],
    [
      'with several audiences',
      { aud: [`https://${DOMAIN}`] },
      'A claim of the token is missing or malformed',
    ],
  ])('%s', async (_, claims, problem) => {
    await refused(token(version1(claims)), problem);
    await refused(token(version2(claims)), problem);
  });

  it('whose issuer differs by a slash or a letter', async () => {
    for (const iss of [V1.slice(0, -1), `${V2}/`, V2.toUpperCase()]) {
      await refused(
        token(version1({ iss: `${provider.issuer}${iss}` })),
        'The issuer of the token is not trusted',
      );
    }
    expect(provider.asked).toEqual([]);
  });

  it('of an issuer that nobody trusts, without a question to anybody', async () => {
    const other = await Provider.start();
    await refused(token(version1({ iss: other.issuer })), 'The issuer of the token is not trusted');
    expect([other.asked, provider.asked]).toEqual([[], []]);
    await other.stop();
  });

  it('that a foreign key signed under the name of a good one', async () => {
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await refused(token(version1(), {}, foreign.privateKey), FORGED);
  });

  it('that brings its own key or says where to find it', async () => {
    const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = await Provider.start();
    const own = { jwk: foreign.publicKey.export({ format: 'jwk' }), jku: `${other.issuer}${CERTS}` };
    other.keys = [jwk(foreign.publicKey, 'foreign')];
    await refused(token(version1(), own, foreign.privateKey), FORGED);
    await refused(token(version1(), { ...own, kid: 'foreign' }, foreign.privateKey), UNKNOWN_KEY);
    expect(other.asked).toEqual([]);
    await other.stop();
  });

  it('without a signature', async () => {
    const none = (alg: string) => {
      const header = Buffer.from(JSON.stringify({ alg, kid: 'rsa' })).toString('base64url');
      return `${header}.${Buffer.from(JSON.stringify(version1())).toString('base64url')}`;
    };
    for (const alg of ['none', 'None', 'NONE', '']) {
      await refused(`${none(alg)}.AAAA`, FORGED);
      await refused(`${none(alg)}.`, 'The Authorization header holds no bearer token');
    }
    expect(provider.asked).toEqual([]);
  });

  // The oldest trick: who trusts the header takes the public key as the secret of an HMAC.
  it('that an HMAC with the public key in any form signs', async () => {
    const published = provider.keys[0] as { n: string };
    const secrets = [
      rsa.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      rsa.publicKey.export({ format: 'der', type: 'spki' }),
      rsa.publicKey.export({ format: 'pem', type: 'pkcs1' }).toString(),
      JSON.stringify(published),
      Buffer.from(published.n, 'base64url'),
      '',
    ];
    for (const [place, secret] of secrets.entries()) {
      for (const hash of [256, 384, 512]) {
        const parts = [{ alg: `HS${hash}`, kid: 'rsa' }, version1({ place })].map((part) =>
          Buffer.from(JSON.stringify(part)).toString('base64url'),
        );
        const mac = createHmac(`sha${hash}`, secret).update(parts.join('.')).digest('base64url');
        await refused(`${parts.join('.')}.${mac}`, FORGED);
      }
    }
    expect(provider.asked).toEqual([]);
  });

  it('whose key is of another kind than its algorithm, or for another algorithm', async () => {
    const parts = [{ alg: 'RS256', kid: 'ec' }, version1()].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    );
    const signature = sign('sha256', Buffer.from(parts.join('.')), ec.privateKey).toString('base64url');
    await refused(`${parts.join('.')}.${signature}`, UNKNOWN_KEY);
    provider.keys = [jwk(rsa.publicKey, 'rsa', { alg: 'PS256' })];
    ticks += LIMITS.keepMs + TOKEN_LIMITS.keepMs;
    await refused(token(version1()), UNKNOWN_KEY);
    await who(token(version1(), { alg: 'PS256' }));
  });

  it.each([
    'RS384',
    'RS512',
    'PS384',
    'PS512',
    'ES384',
    'ES512',
    'EdDSA',
    'ES256K',
    'RSA1_5',
    'toString',
    '__proto__',
  ])('with the algorithm %s, whatever signed it', async (alg) => {
    const parts = [{ alg, kid: 'rsa' }, version1()].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    );
    const signature = sign('sha512', Buffer.from(parts.join('.')), rsa.privateKey).toString('base64url');
    await refused(`${parts.join('.')}.${signature}`, FORGED);
    expect(provider.asked).toEqual([]);
  });

  it('that does not name its key', async () => {
    for (const kid of [undefined, '']) {
      const signed = new SignJWT({ ...version1() })
        .setProtectedHeader({ alg: 'RS256', ...(kid === undefined ? {} : { kid }) })
        .sign(rsa.privateKey);
      await refused(signed, 'The token does not name the key that signed it');
    }
    expect(provider.asked).toEqual([]);
  });

  it('when two keys have its name', async () => {
    provider.keys.push(jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey, 'rsa'));
    await refused(token(version1()), UNKNOWN_KEY);
  });

  it.each<[string, () => object]>([
    ['for encryption', () => jwk(rsa.publicKey, 'rsa', { use: 'enc' })],
    ['not for verifying', () => jwk(rsa.publicKey, 'rsa', { key_ops: ['encrypt'] })],
    ['of 1024 bits', () => jwk(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, 'rsa')],
    ['without a modulus', () => ({ kty: 'RSA', kid: 'rsa', e: 'AQAB' })],
    ['with an exponent of one', () => jwk(rsa.publicKey, 'rsa', { e: 'AQ' })],
    ['that is a secret', () => ({ kty: 'oct', kid: 'rsa', k: 'AAAA' })],
    ['on another curve', () => jwk(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey, 'rsa')],
    ['that is a text', () => 'rsa' as unknown as object],
  ])('when the published key is one %s', async (_, published) => {
    provider.keys = [published(), jwk(ec.publicKey, 'ec')];
    await refused(token(version1()), UNKNOWN_KEY);
    await who(token(version1(), { alg: 'ES256', kid: 'ec' }, ec.privateKey));
  });

  it('that is longer than 16 KiB', async () => {
    await refused(token(version1({ padding: 'x'.repeat(16_384) })), 'The token is too long');
  });

  it('with a critical header that nobody here knows, and with an unencoded payload', async () => {
    for (const header of [{ crit: ['exp'], exp: 1 }, { crit: ['b64'], b64: false }, { crit: [] }]) {
      const parts = [{ alg: 'RS256', kid: 'rsa', ...header }, version1()].map((part) =>
        Buffer.from(JSON.stringify(part)).toString('base64url'),
      );
      const signature = sign('sha256', Buffer.from(parts.join('.')), rsa.privateKey).toString('base64url');
      await refused(`${parts.join('.')}.${signature}`, FORGED);
    }
  });
});

describe('the keys of a provider', () => {
  const fresh = generateKeyPairSync('rsa', { modulusLength: 2048 });

  it('change: a new one is found, and unknown ones are asked for every ten seconds at most', async () => {
    await who(token(version1()));
    const asked = provider.asked.length;
    const rotated = await token(version1({ jti: 'n' }), { kid: 'new' }, fresh.privateKey);
    await refused(rotated, UNKNOWN_KEY);
    expect(provider.asked.length).toBe(asked);
    provider.keys.push(jwk(fresh.publicKey, 'new'));
    await refused(rotated, UNKNOWN_KEY);
    ticks += TOKEN_LIMITS.restMs;
    await Promise.all(
      Array.from({ length: 20 }, (_, place) =>
        place % 2 === 0
          ? who(rotated)
          : refused(token(version1({ place }), { kid: `none-${place}` }), UNKNOWN_KEY),
      ),
    );
    expect(provider.asked.length).toBe(asked + 2);
  });

  it('that are withdrawn count no more once they are read again, which happens beside their use', async () => {
    await who(token(version1()));
    provider.keys = [jwk(fresh.publicKey, 'new')];
    ticks += TOKEN_LIMITS.refreshMs;
    let answer: (() => void) | undefined;
    const held = new Promise<void>((resolve) => {
      provider.instead.set(CERTS, (_, response) => {
        answer = () => response.end(JSON.stringify({ keys: provider.keys }));
        resolve();
      });
    });
    await who(token(version1({ jti: 2 }))); // no wait for the provider, which has not answered
    await held;
    await who(token(version1({ jti: 3 })));
    answer?.();
    await who(token(version1({ jti: 4 }), { kid: 'new' }, fresh.privateKey));
    await refused(token(version1({ jti: 5 })), UNKNOWN_KEY);
  });

  it('count for an hour while the provider is away, and then no more', async () => {
    const sent = await token(version1());
    await who(sent);
    provider.answerJson(`${V1.slice(0, -1)}${DISCOVERY}`, {}, 503);
    ticks += TOKEN_LIMITS.keepMs - 1;
    await who(token(version1({ jti: 2 })));
    ticks += TOKEN_LIMITS.restMs;
    await refused(
      token(version1({ jti: 3 })),
      'The keys of the issuer of the token cannot be had: The issuer did not answer with its metadata',
    );
    ticks += TOKEN_LIMITS.restMs;
    publish(`${V1.slice(0, -1)}${DISCOVERY}`, `${provider.issuer}${V1}`);
    await who(token(version1({ jti: 4 })));
  });

  it.each<[string, () => void, string]>([
    [
      'at another origin',
      () =>
        provider.answerJson(`${V2}${DISCOVERY}`, {
          issuer: `${provider.issuer}${V2}`,
          jwks_uri: 'https://169.254.169.254/',
        }),
      'The keys of the issuer are not at its own origin',
    ],
    [
      'of another issuer',
      () => publish(`${V2}${DISCOVERY}`, `${provider.issuer}/{tenantid}/v2.0`),
      'The metadata are those of another issuer',
    ],
    [
      'behind a redirect',
      () => provider.answerJson(CERTS, {}, 302, { location: `${provider.issuer}/other` }),
      'The issuer did not answer with its metadata',
    ],
    [
      'in an endless answer',
      () => provider.instead.set(CERTS, (_, response) => response.end(' '.repeat(LIMITS.bytesMax + 1))),
      'The metadata of the issuer are too long',
    ],
    [
      'that are no JSON',
      () => provider.instead.set(CERTS, (_, response) => response.end('<html>')),
      'The metadata of the issuer have another form',
    ],
  ])('%s are none', async (_, spoil, problem) => {
    spoil();
    await refused(token(version2()), `The keys of the issuer of the token cannot be had: ${problem}`);
    await who(token(version1({ jti: 1 }))).catch(() => undefined);
    expect(provider.asked).not.toContain('/other');
  });

  it('cannot be had from a provider that another authority certifies', async () => {
    const other = await Provider.start();
    await other.stop();
    trust({ issuer: `${provider.issuer}${V1}`, ca: other.ca });
    await refused(
      token(version1()),
      'The keys of the issuer of the token cannot be had: The metadata of the issuer could not be read',
    );
    expect(provider.asked).toEqual([]);
  });
});

describe('the list of issuers', () => {
  const good: TrustedIssuer = { issuer: 'https://a.example.net/t/v2.0' };
  it.each<[string, TrustedIssuer[]]>([
    ['http', [{ issuer: 'http://a.example.net' }]],
    ['no URL', [{ issuer: 'a.example.net' }]],
    ['a user', [{ issuer: 'https://u@a.example.net' }]],
    ['a query', [{ issuer: 'https://a.example.net/?t' }]],
    ['metadata over http', [{ ...good, metadataUrl: 'http://a.example.net/' }]],
    ['an issuer twice', [good, { ...good }]],
    ['a published issuer that is pinned too', [good, { issuer: good.issuer, keys: [] }]],
    ['an authority that is no certificate', [{ ...good, ca: 'x' }]],
    ['an empty audience', [{ ...good, audience: '' }]],
  ])('with %s is refused', (_, list) => {
    expect(() => checkIssuers(list)).toThrow(RefusedError);
  });

  it('of pinned and published issuers is taken', () => {
    const key = createPublicKey(rsa.privateKey).export({ format: 'jwk' }) as Record<string, unknown>;
    checkIssuers([good, { issuer: 'https://b.example.net/', metadataUrl: 'https://c.example.net/x' }]);
    checkIssuers([{ issuer: 'of any form', keys: [key] }, good]);
  });
});
