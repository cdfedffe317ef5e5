import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificateSet, readCertificate } from '../../src/security-domain/certificates.js';
import { makeSecurityDomain } from '../../src/security-domain/file.js';
import { readBlobIndependently } from '../security-domain/independent-reader.js';
import { hex, vectors } from '../security-domain/vectors.js';

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const directory = mkdtempSync(join(tmpdir(), 'trivet-security-domain-'));
const sockets = join(directory, 'sockets');
const main = join(__dirname, '../../dist/cli/main.js');
const noSockets = join(__dirname, '../security-domain/programs/no-sockets.cjs');
const at = (...parts: string[]): string => join(directory, ...parts);

const items = [
  { tag: 'first', payload: randomBytes(32) },
  { tag: 'second', payload: randomBytes(100) },
];

/** Runs a program; every socket that it opens is written down, and ends it. */
function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--require', noSockets, ...args],
      { env: { ...process.env, TRIVET_SOCKETS: sockets }, timeout: 50_000 },
      (_error, out, err) => resolve({ code: child.exitCode ?? -1, out, err }),
    );
  });
}

const trivet = (...args: string[]): Promise<Ended> => run(main, 'security-domain', ...args);

async function refused(...args: string[]): Promise<string> {
  const { code, out, err } = await trivet(...args);
  expect([code, out]).toEqual([1, '']);
  expect(err).toMatch(/^trivet: .*\n$/); // one sentence, no stack
  return err;
}

const key = (number: number): string => at('keys', `custodian-${number}.key`);
const mode = (file: string): number => statSync(file).mode & 0o777;

beforeAll(async () => {
  const { code, err } = await trivet('make-keys', '--out', at('keys'), '--count', '3');
  expect([code, err]).toEqual([0, '']);
  const certificates = [1, 2, 3].map((number) => {
    const file = at('keys', `custodian-${number}.cer`);
    return readCertificate(readFileSync(file), file);
  });
  const set = certificateSet(certificates, 2);
  writeFileSync(at('domain.json'), makeSecurityDomain({ set, items, random: randomBytes }));
  writeFileSync(at('exchange.cer'), vectors.end_to_end.exchange.certificate_file_as_azure_cli_writes_it);
});

afterAll(() => {
  const opened = existsSync(sockets) ? readFileSync(sockets, 'utf8') : '';
  rmSync(directory, { recursive: true });
  expect(opened).toBe('');
});

test('offline: the watch for sockets sees one', async () => {
  const attempts = [
    "require('net').connect(1)",
    "require('net').createServer().listen(0)",
    "require('https').get('https://localhost:1')",
    "require('dns').lookup('localhost', () => undefined)",
    "require('dgram').createSocket('udp4')",
    "try { fetch('http://localhost:1') } catch {}",
  ];
  for (const attempt of attempts) expect([attempt, (await run('-e', attempt)).code]).toEqual([attempt, 99]);
  expect(readFileSync(sockets, 'utf8').trim().split('\n')).toHaveLength(attempts.length);
  rmSync(sockets);
});

test('make-keys: writes pairs for their owner only, and never over others', async () => {
  const names = readdirSync(at('keys')).sort();
  expect(names).toEqual([1, 2, 3].flatMap((n) => [`custodian-${n}.cer`, `custodian-${n}.key`]));
  expect(mode(at('keys'))).toBe(0o700);
  for (const name of names) expect(mode(at('keys', name))).toBe(0o600);
  const before = readFileSync(key(1));
  const err = await refused('make-keys', '--out', at('keys'), '--count', '4');
  expect(err).toContain(`${key(1)} is already there`);
  expect(readFileSync(key(1)).equals(before)).toBe(true);
  expect(existsSync(key(4))).toBe(false);
});

test('make-keys: says as JSON what it made', async () => {
  const { out } = await trivet('make-keys', '--out', at('more'), '--count', '3', '--name', 'board', '--json');
  expect(JSON.parse(out)).toEqual(
    [1, 2, 3].map((number) => ({
      name: `board-${number}`,
      key: at('more', `board-${number}.key`),
      certificate: at('more', `board-${number}.cer`),
      thumbprint: readCertificate(readFileSync(at('more', `board-${number}.cer`)), 'board').thumbprint,
    })),
  );
  expect(out).not.toContain('PRIVATE');
});

test('make-keys: impossible wishes are refused before anything is made', async () => {
  const cases: [string[], string][] = [
    [['--count', '2'], '3 to 10'],
    [['--count', '11'], '3 to 10'],
    [['--count', '3', '--bits', '2048'], '3072 or 4096'],
    [['--count', '3', '--name', '../x'], 'a name has'],
  ];
  for (const [args, says] of cases) {
    expect(await refused('make-keys', '--out', at('none'), ...args)).toContain(says);
  }
  expect((await trivet('make-keys', '--out', at('none'), '--count', 'x')).err).toContain('whole number');
  expect(existsSync(at('none'))).toBe(false);
});

test('inspect: shows quorum, certificates and items without a key', async () => {
  const thumbprints = [1, 2, 3].map(
    (number) => readCertificate(readFileSync(at('keys', `custodian-${number}.cer`)), 'custodian').thumbprint,
  );
  const plain = await trivet('inspect', at('domain.json'), '--json');
  expect(JSON.parse(plain.out)).toEqual({
    required: 2,
    total: 3,
    custodians: thumbprints.map((thumbprint) => ({ thumbprint })),
    items: ['first', 'second'],
  });
  const matched = await trivet('inspect', at('domain.json'), '--certificates', at('keys'), '--json');
  expect(JSON.parse(matched.out)).toMatchObject({
    custodians: thumbprints.map((thumbprint, index) => ({
      thumbprint,
      certificates: [at('keys', `custodian-${index + 1}.cer`)],
    })),
  });
  const { out } = await trivet('inspect', at('domain.json'), '--certificates', directory);
  expect(out).toContain('2 of 3 custodians');
  expect(out).toContain(`${thumbprints[0] ?? ''}  no certificate here`);
});

test('restore-blob: a quorum makes what the owner of the exchange key can open', async () => {
  const blob = at('blob.json');
  const { code, out, err } = await trivet(
    ...['restore-blob', '--file', at('domain.json'), '--exchange-certificate', at('exchange.cer')],
    ...['--keys', key(3), key(1), '--out', blob, '--json'],
  );
  expect([code, err]).toEqual([0, '']);
  expect(JSON.parse(out)).toMatchObject({ out: blob, items: ['first', 'second'] });
  expect(mode(blob)).toBe(0o600);
  const { certificate_pem: certificate, private_key_pem: privateKey } = vectors.end_to_end.exchange;
  expect(readBlobIndependently(readFileSync(blob, 'utf8'), { certificate, privateKey })).toEqual(
    items.map(({ tag, payload }) => [tag, hex(payload)]),
  );
});

test('restore-blob: says how many keys are missing, and what else is in the way', async () => {
  const blob = at('never.json');
  const attempt = (file: string, exchange: string, ...keys: string[]): Promise<string> =>
    refused(
      ...['restore-blob', '--file', file, '--exchange-certificate', exchange, '--out', blob],
      ...['--keys', ...keys],
    );
  const [domain, exchange] = [at('domain.json'), at('exchange.cer')];
  writeFileSync(at('alone.key'), readFileSync(key(1)));
  writeFileSync(at('crossed.key'), readFileSync(key(1)));
  writeFileSync(at('crossed.cer'), readFileSync(at('keys', 'custodian-2.cer')));
  expect(await attempt(domain, exchange, key(1))).toContain('1 key is missing');
  expect(await attempt(domain, exchange, key(1), key(1))).toContain('1 key is missing');
  expect(await attempt(domain, exchange, key(1), at('alone.key'))).toContain(`${at('alone.cer')} is missing`);
  expect(await attempt(domain, exchange, at('crossed.key'))).toContain(
    'not the private key of its certificate',
  );
  expect(await attempt(domain, exchange, at('keys', 'nobody.key'))).toContain('there is no file');
  expect(await attempt(domain, exchange, at('keys'))).toContain('is not a file');
  expect(await attempt(domain, key(1), key(1))).toContain('not an X.509 certificate');
  expect(await attempt(exchange, exchange, key(1))).toContain('not a security domain file');
  expect(existsSync(blob)).toBe(false);
});

test('split-key and join-key: some of the people rebuild the key, to the byte', async () => {
  const split = await trivet(
    ...['split-key', '--key', key(2), '--needed', '3', '--of', '5', '--out', at('shares'), '--json'],
  );
  const { shares } = JSON.parse(split.out) as { shares: string[] };
  expect(shares.map(mode)).toEqual([0o600, 0o600, 0o600, 0o600, 0o600]);
  const [a = '', b = '', c = '', d = ''] = shares;
  const original = readFileSync(key(2));
  renameSync(key(2), at('original.key'));

  expect(await refused('join-key', '--shares', a, b, '--out', key(2))).toContain('1 share is missing');
  const spoilt = at('spoilt.txt');
  writeFileSync(spoilt, readFileSync(b, 'utf8').replace(/^05 {2}\w{5}/m, '05  00000'));
  expect(await refused('join-key', '--shares', a, spoilt, c, '--out', key(2))).toContain(
    `${spoilt}: line 05 is mistyped`,
  );
  expect(await refused('join-key', '--shares', a, b, d, '--out', key(1))).toContain('already there');
  writeFileSync(at('other.cer'), readFileSync(at('keys', 'custodian-3.cer')));
  expect(await refused('join-key', '--shares', a, b, d, '--out', at('other.key'))).toContain('another key');
  expect(existsSync(at('other.key'))).toBe(false);

  const joined = await trivet('join-key', '--shares', d, a, c, '--out', key(2));
  expect([joined.code, joined.out]).toEqual([0, expect.stringContaining('belongs to') as string]);
  expect(readFileSync(key(2)).equals(original)).toBe(true);
  expect(mode(key(2))).toBe(0o600);
  expect(split.out + joined.out).not.toContain('PRIVATE');
});

test('split-key: impossible numbers and wrong files are refused', async () => {
  const attempt = (file: string, needed: string, of: string): Promise<string> =>
    refused('split-key', '--key', file, '--needed', needed, '--of', of, '--out', at('nowhere'));
  expect(await attempt(key(1), '1', '3')).toContain('1 of 3 is not possible');
  expect(await attempt(key(1), '4', '3')).toContain('4 of 3 is not possible');
  expect(await attempt(at('exchange.cer'), '2', '3')).toContain('not an RSA private key');
  expect(existsSync(at('nowhere'))).toBe(false);
});
