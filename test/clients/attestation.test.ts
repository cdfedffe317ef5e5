// Attestations of a real pool: checked by the command line without any network, by OpenSSL and by Node's crypto, and
// fetched with @azure/keyvault-keys, unchanged.
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate, createHash, verify } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, text, TestPool, type Client } from '../scenarios/pool.js';
import { padded, readIndependently } from '../values/independent-attestation.js';
import { told as tell } from './programs/told.js';
import type { Refused } from './programs/told.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');
const NO_SOCKETS = join(__dirname, '../security-domain/programs/no-sockets.cjs');

let pool: TestPool;
let clients: Client[];
/** By the key's name, then by the instance that answered: the bodies. */
const bundles = new Map<string, string[]>();

beforeAll(async () => {
  pool = await TestPool.start();
  clients = await pool.clientOfEach();
  const [first] = clients;
  for (const [name, body] of Object.entries({
    rsa: { kty: 'RSA' },
    ec: { kty: 'EC', crv: 'P-521' },
    oct: { kty: 'oct', key_size: 256 },
  })) {
    expect((await first?.call('POST', `/keys/${name}/create`, body))?.status).toBe(200);
    bundles.set(
      name,
      await Promise.all(
        clients.map(async (client) => {
          const answer = await client.call('GET', `/keys/${name}/attestation`);
          expect(answer.status).toBe(200);
          return answer.text;
        }),
      ),
    );
  }
});
afterAll(async () => {
  for (const client of clients) client.close();
  await pool.remove();
});

const names = ['rsa', 'ec', 'oct'];
const bundlesOf = (name: string): string[] => bundles.get(name) ?? [];
const part = (bundle: string, name: string): Buffer =>
  Buffer.from(text(JSON.parse(bundle), 'attributes', 'attestation', name), 'base64url');
const certificatesOf = (bundle: string): X509Certificate[] =>
  part(bundle, 'certificatePemFile')
    .toString()
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .map((pem) => new X509Certificate(pem));
const fingerprint = (): string => pool.ready.pools[0]?.ownerFingerprint ?? '';

function file(name: string, content: string | Buffer): string {
  const path = join(pool.home, name);
  writeFileSync(path, content);
  return path;
}

/** Runs the command; the first socket would end it with code 99. */
function check(...args: string[]) {
  const sockets = join(pool.home, 'sockets');
  const run = spawnSync(
    process.execPath,
    ['--require', NO_SOCKETS, MAIN, 'key', 'verify-attestation', ...args],
    { encoding: 'utf8', timeout: 30_000, env: { ...process.env, TRIVET_SOCKETS: sockets } },
  );
  expect(existsSync(sockets)).toBe(false);
  return { status: run.status, out: run.stdout, err: run.stderr };
}

it('every instance attests with a key of its own, certified by the one owner of the pool', () => {
  const chains = names.map((name) => bundlesOf(name).map(certificatesOf));
  const flat = chains.flat();
  expect(flat.map(({ length }) => length)).toEqual(flat.map(() => 2));
  const owners = new Set(flat.map(([, owner]) => owner?.raw.toString('hex')));
  expect(owners.size).toBe(1);
  const [owner] = owners;
  expect(
    createHash('sha256')
      .update(owner ?? '', 'hex')
      .digest('hex'),
  ).toBe(fingerprint());
  for (const chain of chains) {
    expect(chain.map(([partition]) => partition?.subject)).toEqual(
      [0, 1, 2].map((instance) => `CN=Trivet pool dev partition ${instance}`),
    );
    const keys = chain.map(([partition]) => partition?.publicKey.export({ format: 'jwk' }).n);
    expect(new Set(keys).size).toBe(3);
  }
});

it('OpenSSL verifies the chain and the signature', () => {
  for (const name of names) {
    for (const bundle of bundlesOf(name)) {
      const [partition, owner] = certificatesOf(bundle);
      const ca = file('owner.pem', owner?.toString() ?? '');
      const leaf = file('partition.pem', partition?.toString() ?? '');
      expect(execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', ca, leaf]).toString()).toContain(
        ': OK',
      );
      const { signed, signature } = readIndependently(part(bundle, 'privateKeyAttestation'));
      const key = file('partition.key', partition?.publicKey.export({ type: 'spki', format: 'pem' }) ?? '');
      const data = file('signed', signed);
      const args = ['dgst', '-sha256', '-verify', key, '-signature', file('signature', signature), data];
      expect(execFileSync('openssl', args).toString()).toContain('Verified OK');
    }
  }
});

it.each(names)('%s: the blobs are of that key, sensitive, and signed as Node’s crypto sees it', (name) => {
  for (const bundle of bundlesOf(name)) {
    const kid = text(JSON.parse(bundle), 'key', 'kid');
    const [partition] = certificatesOf(bundle);
    if (!partition) throw new Error('no certificate');
    const blobs =
      name === 'oct' ? ['privateKeyAttestation'] : ['privateKeyAttestation', 'publicKeyAttestation'];
    for (const which of blobs) {
      const { attributes, signed, signature } = readIndependently(part(bundle, which));
      expect(verify('sha256', signed, partition.publicKey, signature)).toBe(true);
      expect(attributes.get(0x102)).toBe(padded(new URL(kid).pathname));
    }
    const { attributes } = readIndependently(part(bundle, 'privateKeyAttestation'));
    expect([0x103, 0x162, 0x163, 0x210].map((type) => attributes.get(type))).toEqual([
      '01',
      '01',
      '00',
      '01',
    ]);
  }
});

describe('trivet key verify-attestation', () => {
  it.each(names)('%s: says in words what is attested, and that the owner is not verified', (name) => {
    bundlesOf(name).forEach((bundle, instance) => {
      const { status, out, err } = check(file('bundle.json', bundle));
      expect([status, err]).toEqual([0, '']);
      expect(out).toContain(`Partition ${instance} of the pool dev states of its key`);
      expect(out).toContain(new URL(text(JSON.parse(bundle), 'key', 'kid')).pathname);
      expect(out).toContain('sensitive: the slot gives it to nobody in clear');
      expect(out).toContain('extractable only under a trusted wrapping key');
      expect(out).toContain('NOT VERIFIED');
    });
  });

  it('with the fingerprint that `trivet status` shows, or the certificate, the owner is verified', () => {
    const { out } = pool.command('status');
    const shown = /owner certificate +SHA-256 ([0-9a-f]{64})/.exec(out)?.[1] ?? '';
    const [bundle = ''] = bundlesOf('rsa');
    const saved = file('bundle.json', bundle);
    const [, owner] = certificatesOf(bundle);
    const colons = shown.toUpperCase().replace(/(..)(?=.)/g, '$1:');
    for (const pin of [
      ['--owner-fingerprint', shown],
      ['--owner-fingerprint', colons],
      ['--owner-certificate', file('owner.pem', owner?.toString() ?? '')],
      ['--owner-certificate', file('owner.der', owner?.raw ?? '')],
    ]) {
      const { status, out: json } = check(saved, '--json', ...pin);
      expect(status).toBe(0);
      expect(JSON.parse(json)).toMatchObject({
        valid: true,
        ownerVerified: true,
        ownerFingerprint: shown,
        privateKey: { class: 3, keyType: 0, sensitive: true, label: 'customer_key' },
        publicKey: { class: 2, publicExponent: '010001' },
      });
      expect(check(saved, ...pin).out).not.toContain('NOT VERIFIED');
    }
  });

  it('another owner is refused, and so is a pin that is none', () => {
    const [bundle = ''] = bundlesOf('rsa');
    const saved = file('bundle.json', bundle);
    const [partition] = certificatesOf(bundle);
    const wrong: [string[], RegExp][] = [
      [['--owner-fingerprint', '0'.repeat(64)], /owner's certificate is another one/],
      [
        ['--owner-certificate', file('wrong.der', partition?.raw ?? '')],
        /owner's certificate is another one/,
      ],
      [['--owner-certificate', saved], /cannot be read/],
      [['--owner-certificate', join(pool.home, 'none')], /there is no file/],
      [['--owner-fingerprint', 'abc'], /64 hex digits/],
      [['--owner-fingerprint', fingerprint(), '--owner-certificate', saved], /cannot be used with/],
    ];
    for (const [args, reason] of wrong) {
      const { status, out, err } = check(saved, ...args);
      expect([args[0], status, out]).toEqual([args[0], 1, '']);
      expect(err).toMatch(reason);
      expect(err).not.toContain('    at ');
    }
  });

  it('what was changed on the way is refused with the reason, and code 1', () => {
    const [bundle = '', another = ''] = bundlesOf('ec');
    const chained = JSON.parse(bundle) as { attributes: { attestation: Record<string, unknown> } };
    chained.attributes.attestation['certificatePemFile'] = at(
      JSON.parse(another),
      'attributes',
      'attestation',
      'certificatePemFile',
    );
    const blob = part(bundle, 'privateKeyAttestation');
    blob[60] = (blob[60] ?? 0) ^ 1;
    const flipped = bundle.replace(/("privateKeyAttestation":")[^"]+/, `$1${blob.toString('base64url')}`);
    const changes: [string, RegExp][] = [
      [JSON.stringify(chained), /not signed by the partition/],
      [flipped, /malformed|not signed/],
      [bundle.replace('/keys/ec/', '/keys/rsa/'), /is of another key: \/keys\/ec\//],
      [
        bundle.replace(/"x":"./, (x) => `${x.slice(0, -1)}${x.endsWith('A') ? 'B' : 'A'}`),
        /is none|not the attested/,
      ],
      [bundle.slice(0, -1), /not JSON/],
      ['{}', /no key with an attestation/],
    ];
    for (const [content, reason] of changes) {
      const { status, out, err } = check(file('changed.json', content), '--json');
      expect([status, out]).toEqual([1, '']);
      expect(err).toMatch(reason);
    }
  });
});

describe('getKeyAttestation of the JavaScript SDK', () => {
  interface Attested {
    readonly id: string;
    readonly type: string;
    readonly attestation: Readonly<Record<string, string>>;
  }
  interface Told {
    readonly keys: readonly Attested[];
    readonly versions: Readonly<Record<'first' | 'second', string> & Record<'newest' | 'named', Attested>>;
    readonly missing: Refused;
  }
  let told: Told;
  beforeAll(async () => {
    told = await tell<Told>(pool, 'attestation.mjs', ['keys', 'versions', 'missing'], { names });
  });

  /** The command line verifies it, for the very version that the SDK says it is of. */
  function expectVerified({ id, attestation }: Attested, key: unknown): void {
    const bundle = JSON.stringify({ key, attributes: { attestation } });
    const saved = file('sdk.json', bundle);
    const { status, out, err } = check(saved, '--json', '--owner-fingerprint', fingerprint());
    expect([status, err]).toEqual([0, '']);
    expect(out).toContain(`"${new URL(id).pathname}"`);
  }

  it('gets what REST answers', () => {
    expect(told.keys.map(({ type }) => type)).toEqual(['RSA-HSM', 'EC-HSM', 'oct-HSM']);
    told.keys.forEach((attested, place) => {
      const plain = JSON.parse(bundlesOf(names[place] ?? '')[0] ?? '') as unknown;
      expect(attested.id).toBe(text(plain, 'key', 'kid'));
      // Which instance answers is chance; what it says is whole.
      expectVerified(attested, at(plain, 'key'));
    });
  });

  it('is of the newest version, or of the one that is named', async () => {
    const { first, second, newest, named } = told.versions;
    expect([newest.id, named.id]).toEqual([second, first]);
    for (const attested of [newest, named]) {
      const plain = await clients[0]?.call('GET', new URL(attested.id).pathname);
      expectVerified(attested, at(plain?.body, 'key'));
    }
  });

  it('a key that is not there has none', () => {
    expect(told.missing).toMatchObject({ status: 404, code: 'KeyNotFound' });
  });
});

it('after a start anew the partitions have the keys they had, and the owner is the same', async () => {
  const before = fingerprint();
  const keysOf = (bundle: string) => certificatesOf(bundle)[0]?.publicKey.export({ format: 'jwk' }).n;
  const had = bundlesOf('ec').map(keysOf);
  await pool.stop();
  await pool.start();
  for (const client of clients) client.close();
  clients = await pool.clientOfEach();
  expect(fingerprint()).toBe(before);
  const now = await Promise.all(clients.map((client) => client.call('GET', '/keys/ec/attestation')));
  expect(now.map(({ text: bundle }) => keysOf(bundle))).toEqual(had);
});
