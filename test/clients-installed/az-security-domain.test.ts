// The ceremony and the recovery with Debian's azure-cli. `restore-blob` works unmodified; the commands that ask a
// running HSM crash in themselves, so their requests are sent by `az rest`, and a second time by the commands with the
// holes of the package filled (`programs/overlay`).
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { backups, custodians, must, restore, takeCryptoRoles, waitingPool } from '../scenarios/ceremonies.js';
import { at, TestPool, text } from '../scenarios/pool.js';
import { makeKeys, useKey, type Made } from '../scenarios/use.js';
import { readFileIndependently } from '../security-domain/independent-reader.js';
import { Az } from './installed.js';

const MINUTE = 60_000;
const OFFLINE = { PYTHONPATH: join(__dirname, 'programs/offline'), PYTHONDONTWRITEBYTECODE: '1' };
const OVERLAY = { PYTHONPATH: join(__dirname, 'programs/overlay'), PYTHONDONTWRITEBYTECODE: '1' };

let lost: TestPool;
/** What was carried to a safe place before the disaster. */
let safe: string;
let made: Made[];
let kept: Map<string, string>;

beforeAll(async () => {
  lost = await TestPool.start();
  const client = await lost.client();
  made = await makeKeys(client);
  const names = made.map(({ name }) => name);
  kept = await backups(client, names);
  safe = join(lost.home, 'safe');
  cpSync(join(lost.directory, 'custodians'), safe, { recursive: true });
  await lost.stop();
});
afterAll(() => lost.remove());

const domain = (): string => join(safe, 'security-domain.json');
const keys = (): string[] => custodians(safe, 3, 'key');

async function azOf(pool: TestPool): Promise<Az> {
  const az = new Az(pool, 'administrator');
  await az.registerCloud();
  await az.login(pool.admin);
  return az;
}

/** Fails with what az said when it did not end well. */
async function ended(az: Az, args: readonly string[], more: NodeJS.ProcessEnv): Promise<string> {
  const { code, out, err } = await az.try([...args, '--output', 'json'], more);
  if (code !== 0) throw new Error(`az ${args.join(' ')} ended with ${String(code)}: ${err.slice(-4_000)}`);
  return out;
}

function restoreBlob(exchange: string, wrappingKeys: readonly string[], blob: string): string[] {
  return [
    ...['keyvault', 'security-domain', 'restore-blob', '--sd-exchange-key', exchange],
    ...['--sd-file', domain(), '--sd-wrapping-keys', ...wrappingKeys, '--sd-file-restore-blob', blob],
  ];
}

/** The pool holds the lost one's domain: every key comes back and works on every instance. */
async function expectRestored(pool: TestPool): Promise<void> {
  const client = await pool.client();
  await takeCryptoRoles(pool, client);
  for (const value of kept.values()) expect((await restore(client, value)).status).toBe(200);
  for (const [instance, each] of (await pool.clientOfEach()).entries()) {
    for (const key of made) {
      expect([instance, key.name, await useKey(each, key)]).toEqual([instance, key.name, undefined]);
    }
    each.close();
  }
}

describe('unmodified az', () => {
  let pool: TestPool;
  let az: Az;
  beforeAll(async () => {
    pool = await waitingPool();
    az = await azOf(pool);
  });
  afterAll(() => pool.remove());

  // When one of these no longer fails so, the package was mended, and the overlay can go.
  it.each([
    ['download', '--sd-wrapping-keys', 'c', '--sd-quorum', '2', '--security-domain-file', 'none'],
    ['init-recovery', '--sd-exchange-key', 'none'],
    ['upload', '--sd-file', 'none', '--restore-blob'],
  ])('security-domain %s crashes in itself', async (verb, ...options) => {
    const command = ['keyvault', 'security-domain', verb, ...options];
    const name = pool.ready.pools[0]?.name ?? '';
    const { code, err } = await az.try([...command, '--hsm-name', name]);
    expect([code, err]).toEqual([1, expect.stringContaining('http_bearer_challenge_cache')]);
  });

  it('security-domain restore-blob refuses our file with one key fewer than the quorum', async () => {
    const exchange = join(pool.home, 'early.cer');
    must(pool.command('security-domain', 'transfer-key', '--out', exchange));
    const blob = join(pool.home, 'early.json');
    const { code } = await az.try(restoreBlob(exchange, keys().slice(0, 1), blob), OFFLINE);
    expect(code).toBe(1);
    expect(() => readFileSync(blob)).toThrow('ENOENT');
  });

  it('security-domain restore-blob opens our file offline, and our pool takes its blob and has every key again', async () => {
    const answer = await az.rest('GET', '/securitydomain/upload');
    expect([answer.code, answer.err]).toEqual([0, '']);
    const jwk = JSON.parse(text(JSON.parse(answer.out), 'transfer_key')) as unknown;
    const exchange = join(pool.home, 'exchange.cer');
    // As `init-recovery` writes it: lines of 65 characters, and none after the last.
    const lines = text(jwk, 'x5c', 0).match(/.{1,65}/g) ?? [];
    writeFileSync(
      exchange,
      ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----'].join('\n'),
    );
    const blob = join(pool.home, 'blob.json');
    await ended(az, restoreBlob(exchange, [keys()[2] ?? '', keys()[0] ?? ''], blob), OFFLINE);
    const value = readFileSync(blob, 'utf8');
    const uploaded = await az.rest('POST', '/securitydomain/upload', { value });
    expect([uploaded.code, uploaded.err]).toEqual([0, '']);
    const pending = await az.rest('GET', '/securitydomain/upload/pending');
    expect(at(JSON.parse(pending.out), 'status')).toBe('Success');
    await expectRestored(pool);
  });

  it('offline is what it is said to be: a command that asks the pool does not get there', async () => {
    const { code, err } = await az.try(
      ['account', 'get-access-token', '--resource', pool.uri.origin],
      OFFLINE,
    );
    expect([code, err]).toEqual([99, expect.stringContaining('the network was used')]);
  });
});

describe('az with overlay', () => {
  let pool: TestPool;
  let az: Az;
  let named: string[];
  beforeEach(async () => {
    pool = await waitingPool();
    az = await azOf(pool);
    named = ['--hsm-name', pool.ready.pools[0]?.name ?? ''];
  });
  afterEach(() => pool.remove());

  it(
    "security-domain download activates the pool, and its file opens with the custodians' keys",
    async () => {
      const file = join(pool.home, 'domain.json');
      const out = await ended(
        az,
        [
          ...['keyvault', 'security-domain', 'download', ...named, '--security-domain-file', file],
          ...['--sd-quorum', '3', '--sd-wrapping-keys', ...custodians(safe, 3, 'cer')],
        ],
        OVERLAY,
      );
      expect(at(JSON.parse(out), 'status')).toBe('Success');
      const pairs = [1, 2, 3].map((number) => ({
        certificate: readFileSync(join(safe, `custodian-${number}.cer`), 'latin1'),
        privateKey: readFileSync(join(safe, `custodian-${number}.key`), 'latin1'),
      }));
      expect(readFileIndependently(readFileSync(file, 'utf8'), pairs)).toHaveLength(2);
      const client = await pool.client();
      await takeCryptoRoles(pool, client);
      expect((await client.call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
    },
    3 * MINUTE,
  );

  it(
    'security-domain init-recovery and upload bring the lost domain into the pool',
    async () => {
      const exchange = join(pool.home, 'exchange.cer');
      const command = ['keyvault', 'security-domain'];
      await ended(az, [...command, 'init-recovery', ...named, '--sd-exchange-key', exchange], OVERLAY);
      const out = await ended(
        az,
        [
          ...[...command, 'upload', ...named, '--sd-exchange-key', exchange, '--sd-file', domain()],
          ...['--sd-wrapping-keys', ...keys().slice(1)],
        ],
        OVERLAY,
      );
      expect(at(JSON.parse(out), 'status')).toBe('Success');
      await expectRestored(pool);
    },
    3 * MINUTE,
  );
});
