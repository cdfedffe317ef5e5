// What a ceremony leaves behind: the file's master key, its shares, the keys of its items, the wrapping key in it and
// the data-wrapping key itself are nowhere but where they belong. The test knows them because it holds the custodians'
// keys; what it opens the file with is not ours.
import { spawn } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCertificate } from '../../src/security-domain/certificates.js';
import { readSecurityDomain } from '../../src/security-domain/file.js';
import { makeRestoreBlob } from '../../src/security-domain/restore-blob.js';
import { custodianOf } from '../security-domain/custodians.js';
import type { KeyFiles } from '../security-domain/independent-reader.js';
import { downloadBody, makeCustodians } from './ceremonies.js';
import { mastersOf, pairsIn, secretsOf, type DomainSecrets } from './domain-secrets.js';
import { at, TestPool, text } from './pool.js';
import { findIn, findInFiles, findInMemory, formsOf } from './scan.js';

const MINUTE = 60_000;
const UP = join(__dirname, 'programs/up-recording.cjs');
/** What the instances told other processes. */
function saidBy(pool: TestPool, kind: 'recording' | 'channel'): Buffer {
  return Buffer.concat([0, 1, 2].map((id) => readFileSync(join(pool.home, `${kind}-${id}`))));
}

const NOWHERE = { files: [], output: [], fabric: [], links: [], channels: [], instances: [[], [], []] };

/** Where a ceremony has left something. */
function leftBy(pool: TestPool, { passing, lasting }: DomainSecrets): typeof NOWHERE {
  const secrets = [...passing, ...lasting];
  const needles = secrets.flatMap(formsOf);
  const inSlots = new Set(lasting.flatMap(({ name }) => [`${name} raw`, `${name} reversed`]));
  const found = {
    files: findInFiles(pool.directory, secrets),
    output: findIn(Buffer.from(pool.up.output), needles),
    fabric: findInMemory(pool.up.pid, secrets),
    links: findIn(saidBy(pool, 'recording'), needles),
    channels: findIn(saidBy(pool, 'channel'), needles),
    // SoftHSM is a library: what is in a slot may be in the instance's memory, but is never written down there.
    instances: pool.instancePids.map((pid) =>
      findInMemory(pid, secrets).filter((form) => !inSlots.has(form)),
    ),
  };
  return found as typeof NOWHERE;
}

let first: TestPool;
/** The file of `up`, and its custodians. */
let domain: string;
let pairs: KeyFiles[];

beforeAll(async () => {
  first = await TestPool.start(UP);
  const place = join(first.directory, 'custodians');
  domain = readFileSync(join(place, 'security-domain.json'), 'utf8');
  pairs = pairsIn(place);
}, MINUTE);
afterAll(() => first.remove());

test('after the ceremony of `up` its secrets are in no file, no memory and no message between processes', () => {
  expect(leftBy(first, secretsOf(domain, pairs))).toEqual(NOWHERE);
});

test(
  'after a download from each instance its secrets are in no file, no memory and no message',
  async () => {
    const place = join(first.home, 'others');
    const certificates = makeCustodians(place);
    const clients = await first.clientOfEach();
    for (const client of clients) {
      const answer = await client.call('POST', '/securitydomain/download', downloadBody(certificates));
      expect(answer.status).toBe(202);
      expect(leftBy(first, secretsOf(text(answer.body, 'value'), pairsIn(place)))).toEqual(NOWHERE);
      client.close();
    }
    // The recordings are of what they should be: instances heard of the activation, provisioners exported the domain.
    expect(saidBy(first, 'recording').includes('PoolActivated')).toBe(true);
    expect(saidBy(first, 'channel').includes('wrappingKey')).toBe(true);
  },
  3 * MINUTE,
);

test(
  'after an upload, which every instance opens, its secrets are in no file, no memory and no message',
  async () => {
    const second = await TestPool.start(UP, ['--no-activate']);
    try {
      const client = await second.client();
      const { body } = await client.call('GET', '/securitydomain/upload');
      const [certificate] = at(JSON.parse(text(body, 'transfer_key')), 'x5c') as string[];
      const { raw } = new X509Certificate(Buffer.from(certificate ?? '', 'base64'));
      const drawn: Buffer[] = [];
      const blob = await makeRestoreBlob({
        file: readSecurityDomain(domain),
        keys: pairs.map((files, place) => custodianOf(`custodian ${place}`, files).key),
        exchange: readCertificate(raw, 'exchange'),
        random: (size) => {
          const bytes = randomBytes(size);
          drawn.push(Buffer.from(bytes));
          return bytes;
        },
      });
      const [master] = drawn;
      if (!master) throw new Error('a blob has a master key');
      expect((await client.call('POST', '/securitydomain/upload', { value: blob })).status).toBe(202);
      const { passing, lasting } = secretsOf(domain, pairs);
      const secrets = { passing: [...mastersOf(master), ...passing], lasting };
      expect(leftBy(second, secrets)).toEqual(NOWHERE);
      expect(saidBy(second, 'recording').includes('DomainRestored')).toBe(true);
      for (const id of [0, 1, 2]) {
        const channel = readFileSync(join(second.home, `channel-${id}`));
        expect([id, channel.includes('restore'), channel.includes('domainKey')]).toEqual([id, true, true]);
      }
      await second.stop();
      expect(findInFiles(second.directory, [...secrets.passing, ...lasting])).toEqual([]);
    } finally {
      await second.remove();
    }
  },
  2 * MINUTE,
);

test(
  'what is planted is found: each secret, in a file, in the memory of a process, in a message',
  async () => {
    const { passing, lasting } = secretsOf(domain, pairs);
    const secrets = [...passing, ...lasting];
    const raw = secrets.map(({ name }) => `${name} raw`);
    const planted = join(first.directory, 'planted');
    writeFileSync(planted, Buffer.concat(secrets.map(({ bytes }) => bytes)));
    expect(findInFiles(first.directory, secrets)).toEqual(raw.map((form) => `planted: ${form}`));
    const holder = spawn(
      process.execPath,
      [
        '-e',
        'globalThis.kept = fs.readFileSync(process.argv[1]); console.log(); process.stdin.resume()',
        planted,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    try {
      await once(holder.stdout, 'data');
      expect(findInMemory(holder.pid ?? -1, secrets).sort()).toEqual([...raw].sort());
    } finally {
      holder.stdin.end();
      rmSync(planted);
    }
    for (const { name, bytes } of secrets) {
      const forms = [bytes.toString('hex'), bytes.toString('base64url'), JSON.stringify([...bytes])];
      for (const form of forms) {
        const message = Buffer.from(`{"secret":${form}}`);
        expect([name, form, findIn(message, formsOf({ name, bytes })).length > 0]).toEqual([
          name,
          form,
          true,
        ]);
      }
    }
  },
  MINUTE,
);
