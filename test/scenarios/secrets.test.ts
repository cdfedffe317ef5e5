// Where clear key bytes are not: no file of the data directory, not the fabric's memory (and so nothing that passes
// through it), and nothing that the instances send each other.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { at, TestPool, text, type Client } from './pool.js';
import { findIn, findInFiles, findInMemory, formsOf, type Secret } from './scan.js';
import { base64url } from './witness.js';

interface Imported {
  readonly secrets: readonly Secret[];
  /** Requests that use the keys with their private part. */
  readonly uses: readonly (readonly [path: string, body: unknown])[];
}

async function importKeys(client: Client): Promise<Imported> {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({ format: 'jwk' });
  const oct = randomBytes(32);
  const bytes = (member: string | undefined): Buffer => Buffer.from(member ?? '', 'base64url');
  const wishes = [
    ['rsa', { ...rsa, kty: 'RSA' }],
    ['ec', { ...ec, kty: 'EC' }],
    ['oct', { kty: 'oct', k: base64url(oct) }],
  ] as const;
  for (const [name, key] of wishes) {
    const { status, body } = await client.call('PUT', `/keys/known-${name}`, { key });
    expect({ name, status, error: at(body, 'error') }).toEqual({ name, status: 200, error: undefined });
  }
  const digest = base64url(randomBytes(32));
  return {
    secrets: [
      { name: 'RSA d', bytes: bytes(rsa.d) },
      { name: 'RSA p', bytes: bytes(rsa.p) },
      { name: 'RSA q', bytes: bytes(rsa.q) },
      { name: 'RSA dp', bytes: bytes(rsa.dp) },
      { name: 'EC d', bytes: bytes(ec.d) },
      { name: 'oct k', bytes: oct },
    ],
    uses: [
      ['/keys/known-rsa/sign', { alg: 'RS256', value: digest }],
      ['/keys/known-ec/sign', { alg: 'ES256', value: digest }],
      ['/keys/known-oct/encrypt', { alg: 'A256GCM', value: digest }],
    ],
  };
}

describe('known keys, imported through instance 0 and used on all three', () => {
  let pool: TestPool;
  let clients: Client[];
  let imported: Imported;

  beforeAll(async () => {
    pool = await TestPool.start(join(__dirname, 'programs/up-recording.cjs'));
    clients = await pool.clientOfEach();
    imported = await importKeys(clients[0] as Client);
    for (const client of clients) {
      for (const [path, body] of imported.uses) {
        expect(await client.call('POST', path, body)).toMatchObject({ status: 200 });
      }
    }
  }, 120_000);
  afterAll(() => pool.remove());

  test('the scanner finds what is there: in files, and in the memory of a process', async () => {
    const [key] = [...readFileSync(join(pool.directory, 'ca.pem'), 'latin1').split('\n')].slice(1, 2);
    const marker = { name: 'marker', bytes: Buffer.from(key ?? '') };
    expect(findInFiles(pool.directory, [marker])).toContain('ca.pem: marker raw');
    // The public point travels to every member, so it must be found where the private value must not be.
    const { body } = await (clients[0] as Client).call('GET', '/keys/known-ec');
    const point = { name: 'point', bytes: Buffer.from(text(body, 'key', 'x'), 'base64url') };
    for (const pid of pool.instancePids) expect(findInMemory(pid, [point])).toContain('point raw');
  });

  test('no file of the data directory holds them', () => {
    expect(findInFiles(pool.directory, imported.secrets)).toEqual([]);
  });

  test("the fabric's memory does not hold them", () => {
    expect(findInMemory(pool.up.pid, imported.secrets)).toEqual([]);
  });

  // Stronger than what passes between them: the others open the keys in their slots, which lie in their memory as
  // SoftHSM is a library, but nothing of ours there ever wrote them down.
  test('the instances that did not receive them hold no text of them', () => {
    for (const pid of pool.instancePids.slice(1)) {
      const found = findInMemory(pid, imported.secrets);
      expect(found.filter((form) => !/ (raw|reversed)$/.test(form))).toEqual([]);
    }
  });

  test('what passes between the instances, before TLS, does not hold them', () => {
    const recordings = [0, 1, 2].map((id) => readFileSync(join(pool.home, `recording-${id}`)));
    const needles = imported.secrets.flatMap(formsOf);
    for (const recording of recordings) expect(findIn(recording, needles)).toEqual([]);
    // The recording is of what it should be: the primary sent the others the key that was imported.
    expect(findIn(recordings[0] as Buffer, [{ form: 'name', needle: Buffer.from('known-rsa') }])).toEqual([
      'name',
    ]);
  });

  test('PINs are in their own sealed file and nowhere else, for its owner only', async () => {
    const pinFiles = [0, 1, 2].map((id) =>
      join('pools', 'dev', 'instances', String(id), 'partition', 'pins.json'),
    );
    const secrets = pinFiles.flatMap((file, id) => {
      expect(statSync(join(pool.directory, file)).mode & 0o777).toBe(0o600);
      const pins = JSON.parse(readFileSync(join(pool.directory, file), 'utf8')) as {
        so: string;
        user: string;
      };
      return Object.entries(pins).map(([user, pin]) => ({
        name: `${user} PIN ${id}`,
        bytes: Buffer.from(pin),
      }));
    });
    const found = findInFiles(pool.directory, secrets);
    expect(found.map((hit) => hit.split(':')[0]).filter((file) => !pinFiles.includes(file ?? ''))).toEqual(
      [],
    );
    expect(findInMemory(pool.up.pid, secrets)).toEqual([]);
    // Nor do instances tell them to anybody, their provisioners included.
    for (const kind of ['recording', 'channel']) {
      for (const id of [0, 1, 2]) {
        const said = readFileSync(join(pool.home, `${kind}-${id}`));
        expect([kind, id, findIn(said, secrets.flatMap(formsOf))]).toEqual([kind, id, []]);
      }
    }
    await pool.stop();
    expect(findInFiles(pool.directory, imported.secrets)).toEqual([]);
  });
});
