// Pools that believe an OpenID provider: a provider of our own answers over HTTPS under a CA of its own, jose signs the
// tokens, and each of the three instances is asked.
import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, type JWTHeaderParameters } from 'jose';
import { AttestationService as Provider, CERTS, DISCOVERY } from '../instance/hsm/attestation-service.js';
import { runCommand, type Ended } from '../clients/programs/run.js';
import { custodians, makeCustodians } from './ceremonies.js';
import { TestPool, at, until } from './pool.js';
import type { Client } from './pool.js';
import { codeOf } from './witness.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');
const MINUTE = 60_000;
const TENANT = '11111111-1111-4111-8111-111111111111';
const OWNER = '22222222-2222-4222-8222-222222222222';
const USER = '33333333-3333-4333-8333-333333333333';
const GROUP = '44444444-4444-4444-8444-444444444444';
const APPLICATION = '66666666-6666-4666-8666-666666666666';
const CRYPTO_USER = '21dbd100-6940-42c2-9190-5d6cb909625b';
const ASSIGNMENTS = 'providers/Microsoft.Authorization/roleAssignments';

const home = mkdtempSync(join(tmpdir(), 'trivet-provider-'));
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 });

let provider: Provider;
let v1: string;
let v2: string;
let trusting: readonly string[];

beforeAll(async () => {
  provider = await Provider.start();
  v1 = `${provider.issuer}/${TENANT}/`;
  v2 = `${provider.issuer}/${TENANT}/v2.0`;
  for (const issuer of [v1, v2]) {
    const path = `${new URL(issuer).pathname.replace(/\/$/, '')}${DISCOVERY}`;
    provider.answerJson(path, { issuer, jwks_uri: `${provider.issuer}${CERTS}` });
  }
  provider.keys = [jwk(rsa.publicKey, 'rsa'), jwk(ec.publicKey, 'ec')];
  const ca = join(home, 'ca.pem');
  writeFileSync(ca, provider.ca);
  trusting = [
    ...['--issuer', `${v1},${ca}`, '--issuer', `${v2},${ca},audience=${APPLICATION}`],
    ...['--tenant', TENANT, '--administrator', OWNER],
  ];
});
afterAll(async () => {
  await provider.stop();
  rmSync(home, { recursive: true });
});

function jwk(key: KeyObject, kid: string): object {
  return { ...key.export({ format: 'jwk' }), kid, use: 'sig' };
}

const now = (): number => Math.floor(Date.now() / 1_000);

function version1(changes: object = {}): object {
  return {
    aud: 'https://managedhsm.azure.net',
    iss: v1,
    iat: now() - 5,
    nbf: now() - 5,
    exp: now() + 3_600,
    appid: randomUUID(),
    appidacr: '1',
    idp: v1,
    oid: USER,
    sub: 'pairwise',
    tid: TENANT,
    uti: randomUUID(),
    ver: '1.0',
    ...changes,
  };
}

function version2(changes: object = {}): object {
  return {
    aud: APPLICATION,
    iss: v2,
    iat: now() - 5,
    nbf: now() - 5,
    exp: now() + 3_600,
    azp: randomUUID(),
    azpacr: '1',
    oid: USER,
    sub: 'pairwise',
    tid: TENANT,
    uti: randomUUID(),
    ver: '2.0',
    ...changes,
  };
}

function token(
  claims: object,
  header: Partial<JWTHeaderParameters> = {},
  key: KeyObject | Uint8Array = rsa.privateKey,
): Promise<string> {
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'rsa', typ: 'JWT', ...header })
    .sign(key);
}

async function assign(client: Client, principalId: string, scope: string): Promise<void> {
  const roleDefinitionId = `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${CRYPTO_USER}`;
  const properties = { roleDefinitionId, principalId };
  const { status, text } = await client.call('PUT', `${scope}/${ASSIGNMENTS}/${randomUUID()}`, {
    properties,
  });
  if (status !== 201) throw new Error(text);
}

describe('a pool that believes a provider besides its login', () => {
  let pool: TestPool;

  beforeAll(async () => {
    pool = await TestPool.start(undefined, trusting);
    const admin = await pool.client();
    for (const name of ['k', 'g']) {
      expect((await admin.call('POST', `/keys/${name}/create`, { kty: 'EC' })).status).toBe(200);
    }
    await assign(admin, USER, '/keys/k');
    await assign(admin, GROUP, '/keys/g');
  }, MINUTE);
  afterAll(() => pool.remove());

  /** What each instance answers to who reads this key. */
  async function answers(sent: string, key = 'k'): Promise<[number, unknown][]> {
    const clients = await pool.clientOfEach(sent);
    const all = await Promise.all(clients.map((client) => client.call('GET', `/keys/${key}`)));
    for (const client of clients) client.close();
    return all.map(({ status, body, headers }) => [
      status,
      status === 401 ? headers['www-authenticate'] : at(body, 'error', 'code'),
    ]);
  }

  async function opens(sent: string | Promise<string>, key = 'k'): Promise<void> {
    expect(await answers(await sent, key)).toEqual([
      [200, undefined],
      [200, undefined],
      [200, undefined],
    ]);
  }

  async function unauthenticated(sent: string | Promise<string>): Promise<void> {
    const invalid = expect.stringContaining('error="invalid_token"') as unknown;
    expect(await answers(await sent)).toEqual([
      [401, invalid],
      [401, invalid],
      [401, invalid],
    ]);
  }

  it.each<[string, () => Promise<string>]>([
    ['of version 1.0', () => token(version1())],
    [
      'of version 1.0, for the audience with a slash',
      () => token(version1({ aud: 'https://managedhsm.azure.net/' })),
    ],
    [
      'of version 1.0, for this data plane by its own name',
      () => token(version1({ aud: `https://managedhsm.localhost:${pool.uri.port}` })),
    ],
    ['of version 2.0, for the application', () => token(version2())],
    ['of version 2.0, for the application with a slash', () => token(version2({ aud: `${APPLICATION}/` }))],
    ['signed with PS256', () => token(version1(), { alg: 'PS256' })],
    ['signed with ES256', () => token(version2(), { alg: 'ES256', kid: 'ec' }, ec.privateKey)],
    ['that begins in half a minute', () => token(version1({ nbf: now() + 30 }))],
  ])('a token %s counts on every instance', async (_, make) => {
    await opens(make());
  });

  it.each<[string, () => Promise<string>]>([
    ['forged under the name of a good key', () => token(version1(), {}, foreign.privateKey)],
    [
      'forged with its key in its header',
      () => token(version1(), { jwk: foreign.publicKey.export({ format: 'jwk' }) }, foreign.privateKey),
    ],
    [
      'changed after it was signed',
      async () => {
        const [header, , signature] = (await token(version1())).split('.');
        const claims = Buffer.from(JSON.stringify(version1({ oid: OWNER }))).toString('base64url');
        return [header, claims, signature].join('.');
      },
    ],
    ['expired', () => token(version1({ exp: now() - 1 }))],
    ['not yet valid', () => token(version1({ nbf: now() + 3_600 }))],
    ['for another audience', () => token(version1({ aud: 'https://vault.azure.net' }))],
    ['for the application of the other issuer', () => token(version1({ aud: APPLICATION }))],
    ['of an issuer that is not trusted', () => token(version1({ iss: `${provider.issuer}/${OWNER}/` }))],
    ['of the issuer without its slash', () => token(version1({ iss: v1.slice(0, -1) }))],
    ['of another tenant', () => token(version1({ tid: OWNER }))],
    [
      'unsigned (alg none)',
      async () => {
        const header = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
        const [, claims] = (await token(version1())).split('.');
        return `${header}.${claims}.`;
      },
    ],
    [
      'unsigned, with a signature that is not one (alg none)',
      async () => {
        const header = Buffer.from('{"alg":"none","kid":"rsa"}').toString('base64url');
        const [, claims, signature] = (await token(version1())).split('.');
        return [header, claims, signature].join('.');
      },
    ],
    ...(['pem', 'der', 'jwk'] as const).map((form): [string, () => Promise<string>] => [
      `with an HMAC under the public key as ${form}`,
      () => hmacToken(version1(), form),
    ]),
    ['signed with RS384', () => token(version1(), { alg: 'RS384' })],
    [
      'of an algorithm that its key is not for',
      () => token(version1(), { alg: 'ES256', kid: 'rsa' }, ec.privateKey),
    ],
    ['of an unknown kid', () => token(version1(), { kid: 'unknown' })],
    ['without a kid', () => token(version1(), { kid: '' })],
    ['longer than 16 KiB', () => token(version1({ padding: 'x'.repeat(16_384) }))],
    ['with its groups elsewhere (hasgroups)', () => token(version1({ hasgroups: true }))],
    [
      'with its groups elsewhere (_claim_names)',
      () =>
        token(
          version2({
            _claim_names: { groups: 'src1' },
            _claim_sources: { src1: { endpoint: `${provider.issuer}/groups` } },
          }),
        ),
    ],
    [
      'with more than 200 groups',
      () => token(version1({ groups: Array.from({ length: 201 }, () => randomUUID()) })),
    ],
  ])('a token %s is refused by every instance', async (_, make) => {
    await unauthenticated(make());
    expect(provider.asked).not.toContain('/groups');
  });

  it('groups of a token count, and nobody has a right that was not given', async () => {
    await opens(token(version1({ groups: [randomUUID(), GROUP] })), 'g');
    await opens(token(version2({ oid: randomUUID(), groups: [GROUP.toUpperCase()] })), 'g');
    for (const claims of [version1(), version1({ oid: randomUUID() }), version2({ groups: [] })]) {
      const codes = (await answers(await token(claims), 'g')).map(([status]) => status);
      expect(codes).toEqual([403, 403, 403]);
    }
  });

  it('an Administrator of the provider gives roles, and has no other by herself', async () => {
    const owner = await pool.client({ token: await token(version2({ oid: OWNER })) });
    const friend = randomUUID();
    await assign(owner, friend, '/keys/k');
    await opens(token(version1({ oid: friend })));
    expect(codeOf((await owner.call('GET', '/keys/k')).body)).toBe('AccessDenied');
  });

  it(
    'a key that the provider adds is believed without a restart, and one that it has withdrawn is not',
    async () => {
      const next = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const used = await token(version1());
      const unused = await token(version1());
      await opens(used);
      provider.keys = [jwk(next.publicKey, 'next'), jwk(ec.publicKey, 'ec')];
      const fresh = await token(version1(), { kid: 'next' }, next.privateKey);
      // Instances ask again for a name that they do not know, though not at once.
      await until('every instance knows the new key', async () =>
        (await answers(fresh)).every(([status]) => status === 200),
      );
      await unauthenticated(unused);
      provider.keys = [jwk(rsa.publicKey, 'rsa'), jwk(ec.publicKey, 'ec')];
      await until('every instance knows the old key again', async () =>
        (await answers(await token(version1()))).every(([status]) => status === 200),
      );
    },
    MINUTE,
  );

  it(
    'what it believes is kept over a restart, and is no option of one',
    async () => {
      await pool.stop();
      await expect(pool.start()).rejects.toThrow(/keep the issuers and Administrators/);
      pool.options = [];
      await pool.start();
      await opens(token(version2()));
    },
    MINUTE,
  );

  it('while the provider is away who has a token goes on, and new keys are refused and not waited for', async () => {
    await opens(token(version1()));
    await opens(token(version2()));
    provider.server.closeAllConnections();
    for (const issuer of [v1, v2]) {
      const path = `${new URL(issuer).pathname.replace(/\/$/, '')}${DISCOVERY}`;
      provider.answerJson(path, {}, 503);
    }
    await opens(token(version1()));
    await opens(token(version2()));
    await unauthenticated(token(version1(), { kid: 'later' }));
  });
});

/** With the public key as the secret, in one of the forms in which it is published. */
async function hmacToken(claims: object, form: 'pem' | 'der' | 'jwk'): Promise<string> {
  const secret = {
    pem: rsa.publicKey.export({ type: 'spki', format: 'pem' }),
    der: rsa.publicKey.export({ type: 'spki', format: 'der' }),
    jwk: JSON.stringify(rsa.publicKey.export({ format: 'jwk' })),
  }[form];
  const [, payload = ''] = (await token(claims)).split('.');
  const header = Buffer.from('{"alg":"HS256","kid":"rsa","typ":"JWT"}').toString('base64url');
  const signature = createHmac('sha256', secret).update(`${header}.${payload}`).digest('base64url');
  return `${header}.${payload}.${signature}`;
}

describe('a pool that believes a provider and not its login', () => {
  let pool: TestPool;

  beforeAll(async () => {
    for (const issuer of [v1, v2]) {
      const path = `${new URL(issuer).pathname.replace(/\/$/, '')}${DISCOVERY}`;
      provider.answerJson(path, { issuer, jwks_uri: `${provider.issuer}${CERTS}` });
    }
    pool = await TestPool.start(undefined, [...trusting, '--no-local-login']);
  }, MINUTE);
  afterAll(() => pool.remove());

  it('waits for an Administrator of the provider, and says so', async () => {
    expect(pool.ready.pools[0]?.activation).toBe('NotActivated');
    // It says so after it has written its ready file.
    await until('it says so', () =>
      pool.up.output.includes('Pool dev waits: it believes nobody who logs in here.'),
    );
  });

  it('sends clients to the provider', async () => {
    const { status, headers } = await (await pool.client({ token: null })).call('GET', '/keys');
    expect([status, headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining(`authorization="${provider.issuer}/${TENANT}"`) as string,
    ]);
  });

  it('gives nobody a token here, and activates for nobody who logs in here', async () => {
    await expect(pool.token()).rejects.toThrow(/local login is switched off for pools/);
    const refused = pool.command('security-domain', 'transfer-key', '--out', join(home, 'exchange.cer'));
    expect([refused.status, refused.err]).toEqual([
      1,
      expect.stringContaining('The local login is switched off for pools.'),
    ]);
  });

  it(
    'is activated by its Administrator with the commands of custodians and a token of the provider',
    async () => {
      const folder = join(home, 'custodians');
      makeCustodians(folder);
      const out = join(home, 'security-domain.json');
      const command = ['security-domain', 'download', '--quorum', '2', '--out', out];
      // Beside this process, which has to answer for the provider meanwhile.
      const download = async (oid: string): Promise<Ended> =>
        runCommand(
          pool,
          process.execPath,
          [MAIN, ...command, '--data-dir', pool.directory, '--certificates', ...custodians(folder, 3, 'cer')],
          { env: { TRIVET_ACCESS_TOKEN: await token(version2({ oid })) } },
        );
      const denied = await download(USER);
      expect([denied.code, denied.err]).toEqual([1, expect.stringContaining('Not authorized')]);
      expect(await download(OWNER)).toMatchObject({ code: 0, err: '' });
      const owner = await pool.client({ token: await token(version1({ oid: OWNER })) });
      await assign(owner, OWNER, '/keys');
      expect((await owner.call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
    },
    MINUTE,
  );
});
