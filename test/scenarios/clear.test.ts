// Nothing is in clear while instances come and go: not the data-wrapping key, which a joiner gets from another slot,
// and not keys that the test knows because it made and imported them. Looked at is every byte that goes into a TLS
// connection, every message between processes, all files, and the fabric's memory, also in the midst of a join.
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encode } from '../../src/values/cbor.js';
import { pairsIn, secretsOf } from './domain-secrets.js';
import { at, TestPool, type Client } from './pool.js';
import { findIn, findInFiles, findInMemory, formsOf, type Secret } from './scan.js';
import { Watch } from './watch.js';
import { base64url } from './witness.js';

const MINUTE = 60_000;
const KINDS = ['recording', 'wire', 'channel'] as const;
type Kind = (typeof KINDS)[number];

let pool: TestPool;
let watch: Watch;
let token: string;
let secrets: Secret[];

/** What one instance told others, through all its lives. */
const saidBy = (kind: Kind, id: number): Buffer => readFileSync(join(pool.home, `${kind}-${id}`));

// Private values of what is imported: two keys that stay, and one that may leave for an enclave.
async function importKeys(client: Client): Promise<Secret[]> {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({ format: 'jwk' });
  const oct = randomBytes(32);
  const policy = {
    version: '1.0.0',
    anyOf: [{ authority: 'https://attest.example', allOf: [{ claim: 'x.code', equals: 'good' }] }],
  };
  const exportable = {
    attributes: { exportable: true },
    release_policy: { data: base64url(Buffer.from(JSON.stringify(policy))) },
  };
  const wishes = [
    ['rsa', { key: { ...rsa, kty: 'RSA' } }],
    ['ec', { key: { ...ec, kty: 'EC' } }],
    ['oct', { key: { kty: 'oct', k: base64url(oct) }, ...exportable }],
  ] as const;
  for (const [name, body] of wishes) {
    const answer = await client.call('PUT', `/keys/known-${name}`, body);
    expect([name, answer.status, at(answer.body, 'error')]).toEqual([name, 200, undefined]);
  }
  const bytes = (member: string | undefined): Buffer => Buffer.from(member ?? '', 'base64url');
  return [
    ...(['d', 'p', 'q', 'dp', 'dq', 'qi'] as const).map((part) => ({
      name: `RSA ${part}`,
      bytes: bytes(rsa[part]),
    })),
    { name: 'EC d', bytes: bytes(ec.d) },
    { name: 'oct k', bytes: oct },
  ];
}

/** Uses every imported key with its private part, so that no slot can say that it never opened them. */
async function useEverywhere(): Promise<void> {
  const digest = base64url(randomBytes(32));
  const uses = [
    ['/keys/known-rsa/sign', { alg: 'RS256', value: digest }],
    ['/keys/known-ec/sign', { alg: 'ES256', value: digest }],
    ['/keys/known-oct/encrypt', { alg: 'A256GCM', value: digest }],
  ] as const;
  for (const client of await watch.clientsOfEach(token)) {
    for (const [path, body] of uses) {
      expect(await client.call('POST', path, body)).toMatchObject({ status: 200 });
    }
    client.close();
  }
}

const NOWHERE = { files: [], output: [], fabric: [], said: [] };

function foundInMessages(): string[] {
  const needles = secrets.flatMap(formsOf);
  return KINDS.flatMap((kind) =>
    [0, 1, 2].flatMap((id) => findIn(saidBy(kind, id), needles).map((form) => `${kind} ${id}: ${form}`)),
  );
}

function found(): typeof NOWHERE {
  return {
    files: findInFiles(pool.directory, secrets),
    output: findIn(Buffer.from(pool.up.output), secrets.flatMap(formsOf)),
    fabric: findInMemory(pool.up.pid, secrets),
    said: foundInMessages(),
  } as typeof NOWHERE;
}

beforeAll(async () => {
  pool = await TestPool.start(join(__dirname, 'programs/up-recording.cjs'));
  watch = await Watch.of(pool);
  token = await pool.token();
  const custodians = join(pool.directory, 'custodians');
  const { lasting } = secretsOf(
    readFileSync(join(custodians, 'security-domain.json'), 'utf8'),
    pairsIn(custodians),
  );
  secrets = [...lasting, ...(await importKeys(await pool.client({ token })))];
  await useEverywhere();
}, 2 * MINUTE);

afterAll(async () => {
  watch.end();
  await pool.remove();
});

it('of a pool in use', () => {
  expect(found()).toEqual(NOWHERE);
});

it(
  'of a pool of which one instance joins from nothing, while it joins and after',
  async () => {
    const id = 1;
    const { pid } = await watch.instance(id);
    const before = [0, 1, 2].map((place) => statSync(join(pool.home, `recording-${place}`)).size);
    await watch.inflict('wipe', id);
    await watch.untilInstance(id, 'runs again', (status) => status.pid !== null && status.pid !== pid);
    let looks = 0;
    for (; !(await watch.instance(id)).inSync; looks += 1) {
      expect(findInMemory(pool.up.pid, secrets)).toEqual([]);
    }
    expect(looks).toBeGreaterThan(0);
    await watch.untilHealed(id, pid);
    await useEverywhere();
    expect(found()).toEqual(NOWHERE);
    // What was looked at is a join: the data-wrapping key was asked for and came wrapped, and the keys came after it.
    const since = (place: number): Buffer => saidBy('recording', place).subarray(before[place]);
    expect(since(id).includes('join')).toBe(true);
    const given = Buffer.concat([since(0), since(2)]);
    for (const word of ['wrapped', 'known-rsa', 'known-ec', 'known-oct']) {
      expect([word, given.includes(word)]).toEqual([word, true]);
    }
  },
  2 * MINUTE,
);

it(
  'of a pool whose primary is killed and heals',
  async () => {
    const id = await watch.primary();
    const { pid } = await watch.instance(id);
    pool.kill(pid ?? -1);
    await watch.untilHealed(id, pid);
    await useEverywhere();
    expect(found()).toEqual(NOWHERE);
  },
  2 * MINUTE,
);

it(
  'of a pool in which a broken directory was set aside',
  async () => {
    const id = ((await watch.primary()) + 1) % 3;
    const { pid } = await watch.instance(id);
    writeFileSync(
      join(pool.directory, 'pools/dev/instances', String(id), 'store/state.sqlite'),
      randomBytes(65_536),
    );
    pool.kill(pid ?? -1);
    await watch.untilHealed(id, pid);
    await useEverywhere();
    expect(found()).toEqual(NOWHERE);
  },
  2 * MINUTE,
);

it(
  'what is planted is found: each secret, in a file, in a recording and in the memory of a process',
  async () => {
    const raw = secrets.map(({ name }) => `${name} raw`);
    const planted = join(pool.directory, 'pools/dev/instances/1/planted');
    writeFileSync(planted, Buffer.concat(secrets.map(({ bytes }) => bytes)));
    expect(findInFiles(pool.directory, secrets)).toEqual(
      raw.map((form) => `pools/dev/instances/1/planted: ${form}`),
    );
    // As a message between instances would hold it.
    const recording = join(pool.home, 'recording-2');
    const { size } = statSync(recording);
    const message = encode({ to: 1, message: { keys: secrets.map(({ bytes }) => Uint8Array.from(bytes)) } });
    appendFileSync(recording, message);
    expect(foundInMessages()).toEqual(raw.map((form) => `recording 2: ${form}`));
    truncateSync(recording, size);
    const copy = join(pool.home, 'planted');
    cpSync(planted, copy);
    rmSync(planted);
    const holder = spawn(
      process.execPath,
      [
        '-e',
        'globalThis.kept = fs.readFileSync(process.argv[1]); console.log(); process.stdin.resume()',
        copy,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    try {
      await once(holder.stdout, 'data');
      expect(findInMemory(holder.pid ?? -1, secrets).sort()).toEqual([...raw].sort());
    } finally {
      holder.stdin.end();
      rmSync(copy);
    }
    expect([...findInFiles(pool.directory, secrets), ...foundInMessages()]).toEqual([]);
  },
  MINUTE,
);
