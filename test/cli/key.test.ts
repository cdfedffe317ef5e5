// Keys and roles by the command line, against a pool that runs.
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';
import { Commands, type Ended } from './commands.js';

const home = mkdtempSync(join(tmpdir(), 'trivet-key-test-'));
const commands = new Commands();
let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
});

afterAll(async () => {
  commands.end();
  await pool.remove();
  rmSync(home, { recursive: true, force: true });
});

/** Runs a command; with something on its standard input, or the token of somebody else. */
const run = (args: readonly string[], input = '', environment: Record<string, string> = {}): Promise<Ended> =>
  commands.run([...args, '--data-dir', pool.directory], input, environment);

async function well(args: readonly string[], input?: string): Promise<string> {
  const { status, out, err } = await run(args, input);
  expect([status, err]).toEqual([0, '']);
  return out;
}

const json = async (...args: string[]): Promise<unknown> => JSON.parse(await well([...args, '--json']));
const file = (name: string): string => join(home, name);

test('key: made, shown, changed, listed, deleted, recovered and purged', async () => {
  expect(await well(['key', 'create', 'life', '--tag', 'team=red', '--expires', '2099-01-31'])).toMatch(
    /^name +life\nversion +[0-9a-f]{32}\ntype +EC-HSM P-256\noperations +sign, verify\nenabled +yes\n/,
  );
  expect(await well(['key', 'show', 'life'])).toMatch(/expires +2099-01-31T00:00:00Z\ntags +team=red\n/);
  await well(['key', 'create', 'life', '--curve', 'P-384', '--no-enabled']);
  const versions = (await json('key', 'versions', 'life')) as {
    kid: string;
    attributes: { enabled: boolean };
  }[];
  expect(versions.map(({ attributes }) => attributes.enabled).sort()).toEqual([false, true]);
  const enabled =
    versions
      .find(({ attributes }) => attributes.enabled)
      ?.kid.split('/')
      .at(-1) ?? '';
  expect(await well(['key', 'show', 'life', '--key-version', enabled])).toContain('P-256');
  expect(await json('key', 'update', 'life', '--enable', '--ops', 'verify')).toMatchObject({
    key: { key_ops: ['verify'] },
    attributes: { enabled: true },
  });
  expect(await well(['key', 'list'])).toMatch(/^life +enabled/m);
  expect(await well(['key', 'delete', 'life'])).toMatch(/trivet key recover life\n$/);
  expect(await well(['key', 'list', '--deleted'])).toMatch(/^life .*purged/m);
  expect(await well(['key', 'show', 'life', '--deleted'])).toMatch(/^purged/m);
  const taken = await run(['key', 'create', 'life']);
  expect([taken.status, taken.err]).toEqual([1, expect.stringContaining('trivet key purge life')]);
  await well(['key', 'recover', 'life']);
  await well(['key', 'delete', 'life']);
  await well(['key', 'purge', 'life']);
  expect(await run(['key', 'list', '--deleted'])).toEqual({ status: 0, out: '', err: 'none\n' });
});

test('key: a list of several pages is shown whole', async () => {
  const names = Array.from({ length: 27 }, (_, index) => `page-${String(index).padStart(2, '0')}`);
  const client = await pool.client({ keepAlive: true });
  for (const name of names) await client.call('POST', `/keys/${name}/create`, { kty: 'EC' });
  client.close();
  const listed = ((await json('key', 'list')) as { kid: string }[]).map(({ kid }) => kid.split('/').at(-1));
  expect(listed.filter((name) => name?.startsWith('page-'))).toEqual(names);
});

test('key: signatures hold elsewhere, and verify tells them from others', async () => {
  const { key } = (await json('key', 'create', 'signer')) as { key: { x: string; y: string } };
  const publicKey = createPublicKey({
    format: 'jwk',
    key: { kty: 'EC', crv: 'P-256', x: key.x, y: key.y },
  });
  const out = await well(['key', 'sign', 'signer'], 'words on standard input');
  const signature = Buffer.from(out, 'base64');
  const options = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const;
  expect(verify('sha256', Buffer.from('words on standard input'), options, signature)).toBe(true);
  const check = (text: string, given: string): Promise<Ended> =>
    run(['key', 'verify', 'signer', '--text', text, '--signature', given]);
  expect(await check('words on standard input', out.trim())).toMatchObject({
    status: 0,
    out: 'the signature is valid\n',
  });
  expect((await check('words on standard input', signature.toString('hex'))).status).toBe(0);
  expect(await check('other words', out.trim())).toMatchObject({
    status: 1,
    out: 'the signature is NOT valid\n',
  });
  writeFileSync(file('message'), 'words in a file');
  await well(['key', 'sign', 'signer', '--in', file('message'), '--out', file('signature')]);
  expect(readFileSync(file('signature'))).toHaveLength(64);
  await well(['key', 'verify', 'signer', '--in', file('message'), '--signature', `@${file('signature')}`]);
  const again = await run(['key', 'sign', 'signer', '--text', 'x', '--out', file('signature')]);
  expect([again.status, again.err]).toEqual([1, expect.stringContaining('is already there')]);
});

test('key: what is encrypted or wrapped comes back', async () => {
  await well(['key', 'create', 'box', '--kty', 'oct']);
  await well(['key', 'create', 'lock', '--kty', 'RSA', '--ops', 'encrypt,decrypt,wrapKey,unwrapKey']);
  const secret = 'grüße, and a line\n';
  const sealed = await well(['key', 'encrypt', 'box', '--aad', 'for whom'], secret);
  expect(JSON.parse(sealed)).toMatchObject({
    alg: 'A256GCM',
    aad: Buffer.from('for whom').toString('base64url'),
  });
  expect(await well(['key', 'decrypt', 'box'], sealed)).toBe(secret);
  expect((await run(['key', 'decrypt', 'lock'], sealed)).err).toMatch(/encrypted with the key box, not lock/);
  await well(['key', 'encrypt', 'lock', '--text', secret, '--out', file('ciphertext')]);
  expect(await well(['key', 'decrypt', 'lock', '--in', file('ciphertext')])).toBe(secret);
  const data = '00112233445566778899aabbccddeeff';
  const wrapped = (await well(['key', 'wrap', 'box', '--hex', data])).trim();
  expect(await well(['key', 'unwrap', 'box', '--base64', wrapped])).toBe(`${data}\n`);
  const cipher = JSON.parse(
    await well(['key', 'encrypt', 'box', '--alg', 'A256CBCPAD', '--iv', data, '--text', 'x', '--json']),
  ) as { value: string };
  expect(
    await well(['key', 'decrypt', 'box', '--alg', 'A256CBCPAD', '--iv', data, '--base64', cipher.value]),
  ).toBe('x');
  expect(await well(['key', 'random', '16'])).toMatch(/^[0-9a-f]{32}\n$/);
});

test('key: imported from PEM, JWK and bytes, backed up, restored and attested', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  writeFileSync(file('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  expect(await json('key', 'import', 'from-pem', '--file', file('key.pem'))).toMatchObject({
    key: { crv: 'P-256K' },
  });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  writeFileSync(file('key.jwk'), JSON.stringify(rsa));
  expect(await json('key', 'import', 'from-jwk', '--file', file('key.jwk'))).toMatchObject({
    key: { n: rsa.n },
  });
  writeFileSync(file('key.bin'), Buffer.alloc(16, 7));
  await well(['key', 'import', 'from-bytes', '--kty', 'oct', '--file', file('key.bin')]);
  expect((await run(['key', 'import', 'wrong', '--file', file('key.bin')])).err).toMatch(
    /no private key in PEM/,
  );
  await well(['key', 'backup', 'from-pem', '--out', file('backup')]);
  expect(statSync(file('backup')).mode & 0o777).toBe(0o600);
  await well(['key', 'delete', 'from-pem']);
  await well(['key', 'purge', 'from-pem']);
  expect(await json('key', 'restore', '--in', file('backup'))).toMatchObject({ key: { crv: 'P-256K' } });
  await well(['key', 'attest', 'signer', '--out', file('attestation')]);
  const offline = await commands.run(['key', 'verify-attestation', file('attestation')]);
  expect(offline.out).toContain('The attestation is sound.');
});

test('key: rotated by hand and by policy', async () => {
  await well(['key', 'create', 'turning']);
  const without = await run(['key', 'rotate', 'turning']);
  expect([without.status, without.err]).toEqual([
    1,
    expect.stringContaining('trivet key policy set turning'),
  ]);
  expect(
    await well(['key', 'policy', 'set', 'turning', '--rotate-after', 'P90D', '--expiry', 'P1Y']),
  ).toMatch(
    /^rotate key turning P90D after it was created\na new version expires P1Y after its creation\nsince /,
  );
  await well(['key', 'rotate', 'turning']);
  expect(await json('key', 'versions', 'turning')).toHaveLength(2);
  expect(await well(['key', 'policy', 'clear', 'turning'])).toBe('key turning has no rotation policy\n');
});

test('role: given, listed, refused without, and taken', async () => {
  await well(['key', 'create', 'guarded']);
  const app = pool.addPrincipal('app');
  const asApp = { TRIVET_ACCESS_TOKEN: await pool.token(app) };
  const sign = ['key', 'sign', 'guarded', '--alg', 'ES256', '--text', 'x'];
  const refused = await run(sign, '', asApp);
  expect([refused.status, refused.err]).toEqual([
    1,
    expect.stringContaining('trivet role assignment create'),
  ]);
  await well(['role', 'definition', 'create', 'Signer', '--action', 'keys/sign/action']);
  expect(await well(['role', 'definition', 'show', 'signer'])).toMatch(
    /^role {2}Signer, made here\n[^]*may {3}keys\/sign/,
  );
  const where = ['--principal', 'app', '--role', 'signer', '--scope', '/keys/guarded'];
  await well(['role', 'assignment', 'create', ...where]);
  expect((await run(sign, '', asApp)).status).toBe(0);
  expect(await well(['role', 'assignment', 'list', '--principal', 'app'])).toMatch(
    /^app {2}Signer {2}\/keys\/guarded {2}/,
  );
  expect(await well(['role', 'assignment', 'list', '--scope', '/keys/guarded'])).toMatch(
    /^admin .*\n[^]*^app /m,
  );
  await well(['role', 'assignment', 'delete', ...where]);
  expect((await run(sign, '', asApp)).status).toBe(1);
  const made = (await json('role', 'assignment', 'create', ...where)) as { name: string };
  expect((await run(['role', 'assignment', 'delete', made.name])).err).toMatch(
    /there is no assignment .* at \/keys;/,
  );
  await well(['role', 'assignment', 'delete', made.name, '--scope', '/keys/guarded']);
  await well(['role', 'definition', 'delete', 'Signer']);
  expect((await run(['role', 'definition', 'delete', 'Managed HSM Crypto User'])).err).toMatch(/built in/);
  expect(
    (await run(['role', 'assignment', 'create', '--principal', 'nobody', ...where.slice(2)])).err,
  ).toMatch(/there is no principal "nobody"; there are admin, app/);
});

test.each([
  [['key', 'show', 'no_name'], /is no name of a key/],
  [['key', 'show', 'gone'], /trivet key list/],
  [['key', 'show', 'signer', '--key-version', '1'], /is no version of a key/],
  [['key', 'create', 'x', '--kty', 'RSA', '--curve', 'P-256'], /--curve is for --kty EC/],
  [['key', 'create', 'x', '--expires', 'soon'], /a date, or a time with its zone/],
  [['key', 'create', 'x', '--tag', 'a'], /a tag is NAME=VALUE/],
  [['key', 'update', 'signer'], /nothing to change/],
  [['key', 'sign', 'signer', '--text', 'a', '--hex', '00'], /in one way/],
  [['key', 'sign', 'signer', '--hex', '0'], /two for each byte/],
  [['key', 'sign', 'signer', '--alg', 'RSNULL', '--text', 'x'], /give the result with --digest/],
  [['key', 'encrypt', 'signer', '--text', 'x'], /EC-HSM P-256 cannot encrypt/],
  [['key', 'random', '129'], /1 to 128 bytes/],
  [['key', 'policy', 'set', 'signer'], /say when: --rotate-after/],
  [['role', 'assignment', 'list', '--scope', 'keys'], /is no scope/],
  [['role', 'assignment', 'delete'], /say which/],
] as const)('cli: %j says what to do', async (args, words) => {
  const { status, out, err } = await run(args);
  expect([status, out, err]).toEqual([1, '', expect.stringMatching(words)]);
  expect(err).not.toMatch(/^ {4}at /m);
});
