// How long a ciphertext that does not open takes, by what is wrong with it. The answers must be one; the times are
// measured and told, and nothing is asserted of them: on a machine that does other work they are noise.
import {
  constants,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { TestPool, at, text, type Client } from './pool.js';

const SAMPLES = Number(process.env['TRIVET_TIMINGS'] ?? 60);

let pool: TestPool;
let client: Client;
let publicKey: KeyObject;

beforeAll(async () => {
  pool = await TestPool.start();
  client = await pool.client();
  const made = await client.call('POST', '/keys/rsa/create', { kty: 'RSA', key_size: 2048 });
  const { n, e } = at(made.body, 'key') as JsonWebKey;
  publicKey = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e } as JsonWebKey });
});
afterAll(async () => {
  client.close();
  await pool.remove();
});

/** RSA of a block as it is: the paddings below are put together by hand. */
function raw(block: Buffer): Buffer {
  return publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, block);
}

function pkcs1(change: (block: Buffer) => void, separator = 200): Buffer {
  const block = Buffer.alloc(256, 1);
  block[0] = 0;
  block[1] = 2;
  for (let i = 2; i < separator; i += 1) block[i] = 1 + Math.floor(Math.random() * 255);
  block[separator] = 0;
  change(block);
  return raw(block);
}

function oaep(change: Partial<{ hash: string; label: Buffer; padding: number }>): Buffer {
  const { hash = 'sha256', label, padding = constants.RSA_PKCS1_OAEP_PADDING } = change;
  const options = { key: publicKey, padding, oaepHash: hash, ...(label ? { oaepLabel: label } : {}) };
  return publicEncrypt(options, randomBytes(16));
}

/** Below the modulus, and by no accident a padding that is right. */
function noise(): Buffer {
  const block = randomBytes(256);
  block[0] = 0;
  block[1] = 7;
  return raw(block);
}

const causes: Readonly<Record<string, Readonly<Record<string, () => Buffer>>>> = {
  RSA1_5: {
    'a first byte of one': () => pkcs1((block) => (block[0] = 1)),
    'a block type of one': () => pkcs1((block) => (block[1] = 1)),
    'no separator': () => pkcs1((block) => (block[200] = 1)),
    'a separator too early': () => pkcs1((block) => (block[5] = 0)),
    noise: noise,
  },
  'RSA-OAEP-256': {
    'another hash': () => oaep({ hash: 'sha1' }),
    'a label': () => oaep({ label: Buffer.from('label') }),
    'PKCS #1 padding': () => oaep({ padding: constants.RSA_PKCS1_PADDING }),
    noise: noise,
  },
};

function quantile(times: readonly number[], part: number): string {
  const sorted = [...times].sort((a, b) => a - b);
  return (sorted[Math.floor(part * (sorted.length - 1))] ?? NaN).toFixed(2);
}

test.each(Object.keys(causes))('%s: whatever is wrong, the answer is one; its time is told', async (alg) => {
  const kinds = Object.entries(causes[alg] ?? {});
  const times = new Map(kinds.map(([name]) => [name, [] as number[]]));
  const answers = new Set<string>();
  // In turn, so that what else the machine does falls on all alike.
  for (let i = 0; i < SAMPLES; i += 1) {
    for (const [name, make] of kinds) {
      const value = make().toString('base64url');
      const started = performance.now();
      const answer = await client.call('POST', '/keys/rsa/decrypt', { alg, value });
      times.get(name)?.push(performance.now() - started);
      answers.add(
        `${answer.status} ${text(answer.body, 'error', 'message').replace(/Activity ID: [^)]*/, '')}`,
      );
    }
  }
  const table = [...times].map(
    ([name, each]) => `  ${name}: ${[0.1, 0.5, 0.9].map((part) => quantile(each, part)).join(' / ')}`,
  );
  process.stderr.write(`${alg}, ms at 10, 50 and 90 % of ${SAMPLES}:\n${table.join('\n')}\n`);
  expect([...answers]).toEqual([expect.stringMatching(/^400 The value could not be decrypted/)]);
});
