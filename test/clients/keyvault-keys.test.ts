// @azure/identity and @azure/keyvault-keys, unchanged, against a real pool by its real name. What they got is checked
// with Node's crypto. Some operations the SDK does by itself (clients.md section 6); for those the pool is asked over
// plain REST as well.
import {
  constants,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
} from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { Client, TestPool } from '../scenarios/pool.js';
import {
  base64url,
  bytesAt,
  codeOf,
  digestOf,
  encryptFor,
  isSignature,
  paddingOf,
  publicKeyOf,
} from '../scenarios/witness.js';
import { runClient } from './programs/run.js';

const PROGRAM = join(__dirname, 'programs/keyvault-keys.mjs');
const RSA_SIGNING = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const RSA_ENCRYPTION = ['RSA1_5', 'RSA-OAEP', 'RSA-OAEP-256'];

interface Shown {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  readonly operations: readonly string[];
  readonly enabled: boolean;
  readonly tags?: Readonly<Record<string, string>>;
  readonly version: string;
  readonly recoveryLevel: string;
  readonly jwk: Readonly<Record<string, string>>;
}

interface Signed {
  readonly algorithm: string;
  readonly keyID: string;
  readonly signature: string;
  readonly data: string;
  readonly verified: boolean;
  readonly verifiedWrong: boolean;
}

interface RsaCiphers {
  readonly algorithm: string;
  readonly encrypted: string;
  readonly wrapped: string;
  readonly decrypted: string;
  readonly unwrapped: string;
  readonly decryptedForeign: string;
  readonly unwrappedForeign: string;
}

interface RsaKey extends Shown {
  readonly size: number;
  readonly known?: JsonWebKey;
  readonly signatures: readonly Signed[];
  readonly ciphers: readonly RsaCiphers[];
}

interface EcKey extends Shown {
  readonly known?: JsonWebKey;
  readonly signatures: readonly Signed[];
  readonly verifiedForeign?: boolean;
}

interface OctKey extends Shown {
  readonly bits: number;
  readonly k?: string;
  readonly ciphers: readonly {
    readonly algorithm: string;
    readonly plaintext: string;
    readonly ciphertext: string;
    readonly iv: string;
    readonly tag?: string;
    readonly aad?: string;
    readonly decrypted: string;
  }[];
  readonly wrap: { readonly wrapped: string; readonly secret: string; readonly unwrapped: string };
  readonly foreign: { readonly cbcpad?: string; readonly gcm?: string; readonly kw?: string };
}

interface Refused {
  readonly status?: number;
  readonly code?: string;
  readonly message: string;
}

interface Life {
  readonly created: Shown;
  readonly again: Shown;
  readonly fetched: Shown;
  readonly first: Shown;
  readonly versions: readonly string[];
  readonly listed: readonly string[];
  readonly paged: readonly (readonly string[])[];
  readonly updated: Shown;
  readonly refused: Refused;
  readonly enabled: Shown;
  readonly deleted: Shown & { readonly recoveryId: string };
  readonly gone: Refused;
  readonly taken: Refused;
  readonly listedDeleted: readonly string[];
  readonly seenDeleted: Shown;
  readonly recovered: Shown;
  readonly versionsAfter: readonly string[];
  readonly purged: Refused;
}

interface Told {
  readonly message: string;
  readonly secret: string;
  readonly rsa: readonly RsaKey[];
  readonly ec: readonly EcKey[];
  readonly oct: readonly OctKey[];
  readonly lives: Readonly<Record<'rsa' | 'ec' | 'oct', Life>>;
  readonly random: readonly string[];
  readonly short: EcKey;
}

interface Access {
  readonly url: string;
  readonly tenantId?: string;
  readonly options?: { readonly disableChallengeResourceVerification: boolean };
  readonly chapters: readonly (keyof Told)[];
}

let pool: TestPool;
let client: Client;

beforeAll(async () => {
  pool = await TestPool.start();
  client = await pool.client();
});
afterAll(() => pool.remove());

async function use(access: Access, resolvePool = true): Promise<Told> {
  const wish = JSON.stringify({ ...access, readyFile: pool.readyFile });
  return JSON.parse(await runClient(pool, PROGRAM, [wish], { resolvePool })) as Told;
}

const bytes = (base64: string): Buffer => Buffer.from(base64, 'base64');

function expectSignatures({ id, jwk, signatures }: EcKey | RsaKey, message: Buffer): void {
  const key = publicKeyOf(jwk);
  for (const { algorithm, keyID, signature, data, verified, verifiedWrong } of signatures) {
    expect({ algorithm, keyID, verified, verifiedWrong }).toEqual({
      algorithm,
      keyID: id,
      verified: true,
      verifiedWrong: false,
    });
    for (const made of [signature, data]) {
      expect([algorithm, isSignature(algorithm, key, message, bytes(made))]).toEqual([algorithm, true]);
    }
  }
}

describe('by the name of the pool, with the challenge verified', () => {
  let told: Told;
  beforeAll(async () => {
    told = await use({ url: pool.uri.origin, chapters: ['rsa', 'ec', 'oct', 'lives', 'random'] });
  }, 160_000);

  it('RSA: every size signs with every algorithm', () => {
    expect(told.rsa.map(({ name }) => name)).toEqual([
      'rsa-2048',
      'rsa-2048-imported',
      'rsa-3072',
      'rsa-3072-imported',
      'rsa-4096',
      'rsa-4096-imported',
    ]);
    for (const key of told.rsa) {
      expect([key.type, publicKeyOf(key.jwk).asymmetricKeyDetails?.modulusLength]).toEqual([
        'RSA-HSM',
        key.size,
      ]);
      expect(key.signatures.map(({ algorithm }) => algorithm)).toEqual(RSA_SIGNING);
      expectSignatures(key, bytes(told.message));
    }
  });

  it('RSA: every size decrypts and unwraps what Node and the SDK have encrypted', () => {
    for (const { size, ciphers } of told.rsa) {
      expect(ciphers.map(({ algorithm }) => algorithm)).toEqual(RSA_ENCRYPTION);
      for (const { decrypted, unwrapped, decryptedForeign, unwrappedForeign, ...made } of ciphers) {
        const opened = [decrypted, unwrapped, decryptedForeign, unwrappedForeign];
        expect(opened).toEqual(opened.map(() => told.secret));
        expect([made.encrypted, made.wrapped].map((value) => bytes(value).length)).toEqual([
          size / 8,
          size / 8,
        ]);
      }
    }
  });

  it('RSA: what the SDK encrypted for an imported key, Node opens with the private key', () => {
    for (const { known, jwk, ciphers } of told.rsa) {
      if (!known) continue;
      expect([jwk['n'], jwk['e']]).toEqual([known.n, known.e]);
      const key = createPrivateKey({ key: known, format: 'jwk' });
      for (const { algorithm, encrypted, wrapped } of ciphers) {
        for (const made of [encrypted, wrapped]) {
          expect(openRsa(key, algorithm, bytes(made)).toString('base64')).toBe(told.secret);
        }
      }
    }
  });

  it('EC: every curve signs and verifies', () => {
    expect(told.ec.map(({ type, jwk }) => [type, jwk['crv']])).toEqual(
      ['P-256', 'P-256K', 'P-384', 'P-521'].flatMap((curve) => [
        ['EC-HSM', curve],
        ['EC-HSM', curve],
      ]),
    );
    for (const key of told.ec) {
      expectSignatures(key, bytes(told.message));
      if (!key.known) continue;
      expect(key.verifiedForeign).toBe(true);
      expect([key.jwk['x'], key.jwk['y']]).toEqual([key.known.x, key.known.y]);
    }
  });

  it('oct: every size encrypts, decrypts, wraps and unwraps', () => {
    expect(told.oct.map(({ type, bits }) => [type, bits])).toEqual(
      [128, 128, 192, 192, 256, 256].map((bits) => ['oct-HSM', bits]),
    );
    for (const { bits, ciphers, wrap, jwk } of told.oct) {
      expect(jwk['k']).toBeUndefined();
      expect(ciphers.map(({ algorithm }) => algorithm)).toEqual(
        ['GCM', 'GCM', 'CBC', 'CBC', 'CBCPAD', 'CBCPAD'].map((mode) => `A${bits}${mode}`),
      );
      for (const { plaintext, decrypted } of ciphers) expect(decrypted).toBe(plaintext);
      expect(wrap.unwrapped).toBe(wrap.secret);
      expect(bytes(wrap.wrapped)).toHaveLength(bytes(wrap.secret).length + 8);
    }
  });

  it('oct: the pool and Node understand each other with a known key', () => {
    for (const { bits, k, ciphers, wrap, foreign } of told.oct) {
      if (k === undefined) continue;
      for (const cipher of ciphers)
        expect(openAes(bytes(k), bits, cipher).toString('base64')).toBe(cipher.plaintext);
      const unwrap = createDecipheriv(`id-aes${bits}-wrap`, bytes(k), Buffer.alloc(8, 0xa6));
      expect(Buffer.concat([unwrap.update(bytes(wrap.wrapped)), unwrap.final()])).toEqual(bytes(wrap.secret));
      const odd = ciphers[0]?.plaintext;
      expect(foreign).toEqual({ cbcpad: odd, gcm: odd, kw: wrap.secret });
    }
  });

  it.each(['rsa', 'ec', 'oct'] as const)('%s: a life from creation to purge', (kind) => {
    const life = told.lives[kind];
    const { created, again, name } = { ...life, name: life.created.name };
    expect(again.version).not.toBe(created.version);
    expect(created.id).toBe(`${pool.uri.origin}/keys/${name}/${created.version}`);
    expect(created).toMatchObject({ enabled: true, recoveryLevel: 'Recoverable+Purgeable' });
    expect(life.fetched).toEqual(again);
    expect(life.first).toEqual(created);
    expect(life.versions).toEqual([created.version, again.version]);
    expect(life.listed).toContain(name);
    expect(life.paged.flat()).toEqual(life.listed);
    expect(life.paged.every((page) => page.length <= 2)).toBe(true);
    expect(life.updated).toEqual({ ...again, enabled: false, tags: { stage: 'disabled' } });
    // The SDK knows by itself what an EC key cannot; the others are refused by the pool.
    if (kind === 'rsa') expect(life.refused).toMatchObject({ status: 403, code: 'Forbidden' });
    else expect(life.refused).toBeDefined();
    expect(life.enabled).toEqual({ ...again, tags: { stage: 'disabled' } });
    expect(life.deleted).toMatchObject({ name, recoveryId: `${pool.uri.origin}/deletedkeys/${name}` });
    expect(life.gone).toMatchObject({ status: 404, code: 'KeyNotFound' });
    expect(life.taken).toMatchObject({ status: 409, code: 'Conflict' });
    expect(life.listedDeleted).toContain(name);
    expect(life.seenDeleted.id).toBe(again.id);
    expect(life.recovered).toEqual(life.enabled);
    expect(life.versionsAfter).toEqual(life.versions);
    expect(life.purged).toMatchObject({ status: 404, code: 'KeyNotFound' });
  });

  it('random bytes have the length asked for and differ', () => {
    expect(told.random.map((draw) => bytes(draw).length)).toEqual([1, 16, 128]);
    expect(new Set(bytes(told.random[2] ?? '')).size).toBeGreaterThan(32);
  });
});

describe('other ways to the pool', () => {
  it('tenant adfs, without a switch', async () => {
    const { short, message } = await use({
      url: pool.uri.origin,
      tenantId: 'adfs',
      chapters: ['short'],
    });
    expectSignatures(short, bytes(message));
  });

  it('https://localhost, with the challenge not verified and no resolver', async () => {
    const url = `https://localhost:${pool.uri.port}`;
    const { short, message } = await use(
      { url, chapters: ['short'], options: { disableChallengeResourceVerification: true } },
      false,
    );
    expect(short.id).toBe(`${url}/keys/short/${short.version}`);
    expectSignatures(short, bytes(message));
  });

  it('https://localhost is refused by the SDK itself when it verifies the challenge', async () => {
    const url = `https://localhost:${pool.uri.port}`;
    await expect(use({ url, chapters: ['short'] })).rejects.toThrow(/challenge resource|does not match/i);
  });
});

// What the SDK does without asking.
describe('over plain REST', () => {
  it.each([2048, 3072, 4096])('RSA %i: Node opens what the pool encrypts and wraps', async (size) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: size });
    const name = `rest-rsa-${size}`;
    const imported = await client.call('PUT', `/keys/${name}`, { key: privateKey.export({ format: 'jwk' }) });
    expect(imported.status).toBe(200);
    const value = randomBytes(24);
    for (const alg of RSA_ENCRYPTION) {
      for (const operation of ['encrypt', 'wrapkey']) {
        const { status, body } = await client.call('POST', `/keys/${name}/${operation}`, {
          alg,
          value: base64url(value),
        });
        expect([alg, operation, status]).toEqual([alg, operation, 200]);
        expect(openRsa(privateKey, alg, bytesAt(body, 'value'))).toEqual(value);
      }
      for (const operation of ['decrypt', 'unwrapkey']) {
        const foreign = encryptFor(alg, createPublicKey(privateKey), value);
        const { body } = await client.call('POST', `/keys/${name}/${operation}`, {
          alg,
          value: base64url(foreign),
        });
        expect(bytesAt(body, 'value')).toEqual(value);
      }
    }
    for (const alg of RSA_SIGNING) {
      const digest = digestOf(alg, value);
      const signed = await client.call('POST', `/keys/${name}//sign`, { alg, value: base64url(digest) });
      const signature = bytesAt(signed.body, 'value');
      expect(isSignature(alg, createPublicKey(privateKey), value, signature)).toBe(true);
      const verified = await client.call('POST', `/keys/${name}//verify`, {
        alg,
        digest: base64url(digest),
        value: base64url(signature),
      });
      expect(verified.body).toMatchObject({ alg, value: true });
    }
  });

  it('an operation that a key is not for is refused', async () => {
    const created = await client.call('POST', '/keys/only-sign/create', { kty: 'RSA', key_ops: ['sign'] });
    expect(created.status).toBe(200);
    const refused = await client.call('POST', '/keys/only-sign/encrypt', { alg: 'RSA-OAEP', value: 'AAAA' });
    expect([refused.status, codeOf(refused.body)]).toEqual([403, 'Forbidden']);
  });

  it('the keys that the SDK made are the ones that REST shows', async () => {
    const created = await client.call('POST', '/keys/both/create', { kty: 'EC', crv: 'P-384' });
    const digest = digestOf('ES384', Buffer.from('both'));
    const signed = await client.call('POST', '/keys/both/sign', { alg: 'ES384', value: base64url(digest) });
    const key = publicKeyOf((created.body as { key: unknown }).key);
    expect(isSignature('ES384', key, Buffer.from('both'), bytesAt(signed.body, 'value'))).toBe(true);
  });
});

function openRsa(key: KeyObject, algorithm: string, ciphertext: Buffer): Buffer {
  if (algorithm !== 'RSA1_5') return privateDecrypt({ key, ...paddingOf(algorithm) }, ciphertext);
  // Node refuses to remove this padding where its OpenSSL would tell too much about it: by hand (RFC 8017, 7.2.2).
  const block = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext);
  const end = block.indexOf(0, 2);
  expect([block[0], block[1], end >= 10]).toEqual([0, 2, true]);
  return block.subarray(end + 1);
}

function openAes(k: Buffer, bits: number, cipher: OctKey['ciphers'][number]): Buffer {
  const { algorithm, ciphertext, iv, tag, aad } = cipher;
  if (algorithm.endsWith('GCM')) {
    const gcm = createDecipheriv(`aes-${bits}-gcm` as 'aes-256-gcm', k, bytes(iv));
    gcm.setAuthTag(bytes(tag ?? ''));
    if (aad !== undefined) gcm.setAAD(bytes(aad));
    return Buffer.concat([gcm.update(bytes(ciphertext)), gcm.final()]);
  }
  const cbc = createDecipheriv(`aes-${bits}-cbc`, k, bytes(iv));
  cbc.setAutoPadding(algorithm.endsWith('PAD'));
  return Buffer.concat([cbc.update(bytes(ciphertext)), cbc.final()]);
}
