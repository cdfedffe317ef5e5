// Disaster: all three instances and their directories are gone, and with the custodians and the backups everything
// comes back. What it is checked with is not ours: Node's crypto, and a reader written from the format alone.
import { X509Certificate } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  backups,
  blobFor,
  custodians,
  must,
  offline,
  restore,
  takeCryptoRoles,
  waitingPool,
} from './ceremonies.js';
import { itemsOf, pairsIn } from './domain-secrets.js';
import { at, TestPool } from './pool.js';
import { makeKeys, useKey, type Made } from './use.js';
import { codeOf } from './witness.js';

const MINUTE = 60_000;
const safe = mkdtempSync(join(tmpdir(), 'trivet-safe-'));
const domain = join(safe, 'security-domain.json');
const keys = custodians(safe, 3, 'key');
let made: Made[];
let kept: Map<string, string>;
let lost: TestPool;
let owner: string | null | undefined;

beforeAll(async () => {
  lost = await TestPool.start();
  const client = await lost.client();
  made = await makeKeys(client);
  kept = await backups(
    client,
    made.map(({ name }) => name),
  );
  owner = lost.ready.pools[0]?.ownerFingerprint;
  // What `up` left is carried to a safe place; then the disaster.
  cpSync(join(lost.directory, 'custodians'), safe, { recursive: true });
  await lost.killAll();
  rmSync(lost.directory, { recursive: true });
}, 2 * MINUTE);
afterAll(async () => {
  await lost.remove();
  rmSync(safe, { recursive: true });
});

test(
  'recovery: with one custodian fewer than the quorum nothing is recovered, and the number of missing keys is told',
  async () => {
    const pool = await waitingPool();
    try {
      const exchange = join(pool.home, 'exchange.cer');
      must(pool.command('security-domain', 'transfer-key', '--out', exchange));
      const out = join(pool.home, 'blob.json');
      const { status, err } = offline(
        ...['restore-blob', '--file', domain, '--exchange-certificate', exchange],
        ...['--keys', keys[2] ?? '', '--out', out],
      );
      expect([status, err]).toEqual([
        1,
        expect.stringContaining(
          "2 custodians' keys are needed and 1 of this security domain given; 1 key is missing",
        ),
      ]);
      expect(readdirSync(pool.home)).not.toContain('blob.json');
      expect(JSON.parse(must(pool.command('status', '--json')))).toMatchObject({
        pools: [{ activation: 'NotActivated' }],
      });
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

test(
  'recovery: an empty pool takes over the domain of the lost one, and every key works under its old public key on every instance',
  async () => {
    const pool = await waitingPool();
    try {
      expect(pool.ready.pools[0]?.activation).toBe('NotActivated');
      const own = pool.ready.pools[0]?.ownerFingerprint;
      expect(own).not.toBe(owner);
      blobFor(pool, domain, [keys[0] ?? '', keys[2] ?? '']);
      must(pool.command('security-domain', 'upload', '--blob', join(pool.home, 'blob.json')));
      const client = await pool.client();
      await takeCryptoRoles(pool, client);
      for (const value of kept.values()) expect((await restore(client, value)).status).toBe(200);
      const useAll = async (): Promise<void> => {
        for (const [instance, each] of (await pool.clientOfEach()).entries()) {
          for (const key of made) {
            expect([instance, key.name, await useKey(each, key)]).toEqual([instance, key.name, undefined]);
          }
          each.close();
        }
      };
      await useAll();
      const status = JSON.parse(must(pool.command('status', '--json'))) as unknown;
      expect(at(status, 'pools', 0)).toMatchObject({ activation: 'Active', ownerFingerprint: owner });
      expect(at(status, 'warnings')).toBeUndefined();
      // The TLS root is still the pool's own: clients that trust it need not be told anything.
      const ca = readFileSync(pool.ready.caFile, 'utf8').split(/(?<=-----END CERTIFICATE-----)\n/);
      expect(new X509Certificate(ca[1] ?? '').subject).toBe('CN=Trivet pool dev TLS root');
      // In each instance the old token is gone with its data-wrapping key.
      for (const instance of ['0', '1', '2']) {
        const golden = join(pool.directory, 'pools/dev/instances', instance, 'partition/golden');
        expect(readdirSync(golden)).toHaveLength(1);
      }
      // New keys of this pool are of the restored domain as well.
      expect((await client.call('POST', '/keys/new/create', { kty: 'EC' })).status).toBe(200);
      await pool.stop();
      await pool.start();
      await useAll();
      const again = await pool.client();
      const { body } = await again.call('GET', '/keys/new');
      expect(await useKey(again, { name: 'new', jwk: at(body, 'key') })).toBeUndefined();
      // What a second disaster would need: the domain downloaded anew says the same as the first file.
      const out = join(pool.home, 'again.json');
      must(
        pool.command(
          ...['security-domain', 'download', '--certificates', ...custodians(safe, 3, 'cer')],
          ...['--quorum', '2', '--out', out],
        ),
      );
      expect(contentsOf(out)).toEqual(contentsOf(domain));
    } finally {
      await pool.remove();
    }
  },
  3 * MINUTE,
);

test(
  'recovery: a backup does not open in a pool of another domain',
  async () => {
    const pool = await TestPool.found();
    try {
      const client = await pool.client();
      const [value = ''] = kept.values();
      const answer = await restore(client, value);
      expect([answer.status, codeOf(answer.body)]).toEqual([400, 'MalformedBackupBlob']);
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

function contentsOf(file: string): unknown {
  return itemsOf(readFileSync(file, 'utf8'), pairsIn(safe));
}
