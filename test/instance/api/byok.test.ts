/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Whatever `key_hsm` holds, the answer is one of the service: the API over HTTPS with a real slot behind it. Every
// file is made from one that opens, so that each change meets the check that it is for.
import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { Partition } from '../../../src/instance/partition/partition.js';
import { put } from '../../../src/instance/model/state.js';
import { STRANGER } from '../hsm/fake-hsm.js';
import { foundedPlace, modulePath, type Place } from '../partition/place.js';
import { wrapFor } from '../partition/wrapped.js';
import { DATA_PORT, DOMAIN, Served, textOf, tokenFor, type Answer } from './served.js';

let served: Served;
let place: Place;
let partition: Partition;
let kek: KeyObject;
let kid: string;

beforeAll(async () => {
  place = await foundedPlace();
  partition = await Partition.open(place.tokens, place.domain, { module: modulePath });
  served = await Served.start();
  served.hsm.partition = partition;
  const made = await served.ask('POST', '/keys/kek/create', { body: { kty: 'RSA', key_ops: ['import'] } });
  const key = made.json['key'];
  kid = textOf(key?.['kid']);
  kek = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n: textOf(key?.['n']), e: textOf(key?.['e']) } });
});
afterAll(async () => {
  await served.stop();
  await partition.close();
  place.remove();
});

const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');

function blob(secret: Uint8Array = randomBytes(32)): Buffer {
  const { aes, target } = wrapFor(kek, secret);
  return Buffer.concat([aes, target]);
}

const fileOf = (ciphertext: unknown, header: object = {}, more: object = {}) => ({
  schema_version: '1.0.0',
  header: { kid, alg: 'dir', enc: 'CKM_RSA_AES_KEY_WRAP', ...header },
  ciphertext,
  generator: 'a test',
  ...more,
});

const ask = (name: string, keyHsm: unknown, more: object = {}, token?: string): Promise<Answer> =>
  served.ask('PUT', `/keys/${name}`, {
    body: { key: { kty: 'oct-HSM', key_hsm: keyHsm, ...more } },
    ...(token === undefined ? {} : { token }),
  });
const putFile = (name: string, file: unknown, more?: object) =>
  ask(name, b64(Buffer.from(JSON.stringify(file))), more);

function expectRefusal({ status, json, headers, text }: Answer): void {
  expect([status, json['error']?.['code']]).toEqual([400, 'BadParameter']);
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
  expect(json['error']?.['message']).toMatch(/ \(Activity ID: [0-9a-f-]{36}\)$/);
  expect(text.length).toBeLessThan(1_500);
}

it('the unchanged file is taken', async () => {
  const answer = await putFile('good', fileOf(b64(blob())));
  expect([answer.status, answer.json['key']?.['kty']]).toEqual([200, 'oct-HSM']);
});

it('any octet changed anywhere in the ciphertext is refused, in the very same words', async () => {
  const good = blob();
  const words = new Set<string>();
  const change = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(change, async ([place, mask]) => {
      const bad = Buffer.from(good);
      bad[place] = (bad[place] ?? 0) ^ mask;
      const answer = await putFile('never', fileOf(b64(bad)));
      expectRefusal(answer);
      words.add(textOf(answer.json['error']?.['message']).replace(/ \(Activity ID.*/, ''));
    }),
    { numRuns: 200, examples: [[[0, 1]], [[255, 1]], [[256, 1]], [[good.length - 1, 1]]] },
  );
  expect([...words]).toEqual([
    'The wrapped key does not open, or is not of the type, curve or size that it must be',
  ]);
});

it('files of the right members with any values', async () => {
  const odd = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.string({ maxLength: 200 }),
    fc.constantFrom('__proto__', '', 'dir', '1.0.0', 'A'.repeat(20_000)),
  );
  const kinds = fc.constantFrom(
    { kty: 'RSA' },
    { kty: 'oct' },
    { kty: 'EC', crv: 'P-521' },
    { kty: 'EC', crv: 'P-256K' },
  );
  const member = fc.constantFrom('schema_version', 'header', 'kid', 'alg', 'enc', 'ciphertext');
  await fc.assert(
    fc.asyncProperty(kinds, member, odd, async (kind, name, value) => {
      // What is right there.
      fc.pre(name !== 'schema_version' || (value !== '1.0.0' && value !== '1.0'));
      fc.pre(name !== 'alg' || value !== 'dir');
      const inHeader = ['kid', 'alg', 'enc'].includes(name);
      const file = fileOf(b64(blob()), inHeader ? { [name]: value } : {}, inHeader ? {} : { [name]: value });
      expectRefusal(await putFile('never', file, kind));
    }),
    { numRuns: 300 },
  );
});

it('any key_hsm at all: texts, JSON and bytes in base64', async () => {
  const any = fc.oneof(
    fc.string({ maxLength: 300, unit: 'binary' }),
    fc.jsonValue({ maxDepth: 2 }).filter((value) => value !== null),
    fc.jsonValue({ maxDepth: 4 }).map((value) => b64(Buffer.from(JSON.stringify(value)))),
    fc.uint8Array({ maxLength: 600 }).map(b64),
    fc.nat(20_000).map((depth) => b64(Buffer.from('['.repeat(depth)))),
  );
  await fc.assert(
    fc.asyncProperty(any, async (keyHsm) => expectRefusal(await ask('never', keyHsm))),
    { numRuns: 300 },
  );
});

it('ids of exchange keys that lead elsewhere', async () => {
  const [, path = ''] = kid.split('/keys/');
  const version = path.split('/')[1] ?? '';
  const own = `dev.${DOMAIN}`;
  const ciphertext = b64(blob());
  for (const wrong of [
    `https://${own}.example.com/keys/${path}`,
    `https://example.com/keys/${path}`,
    `https://${own}@example.com/keys/${path}`,
    `https://example.com#${own}/keys/${path}`,
    `https://x${own}/keys/${path}`,
    `https://${own}:port/keys/${path}`,
    `http://${own}/keys/${path}`,
    `https://${own}/keys/${path}/`,
    `https://${own}/keys/${path}?x=1`,
    `https://${own}/keys/kek/../kek/${version}`,
    `https://${own}/secrets/${path}`,
    `https://${own}/keys/kek`,
    `https://${own}/keys/kek/`,
    ` ${kid}`,
    `${kid}\n`,
    path,
    '',
  ]) {
    const answer = await putFile('never', fileOf(ciphertext, { kid: wrong }));
    expect([wrong, answer.status]).toEqual([wrong, 400]);
    expectRefusal(answer);
  }
  for (const right of [own, `${own}:${DATA_PORT}`, 'localhost', '127.0.0.1:1', own.toUpperCase()]) {
    const answer = await putFile('good', fileOf(ciphertext, { kid: `https://${right}/keys/${path}` }));
    expect([right, answer.status]).toEqual([right, 200]);
  }
});

it('an exchange key that might do more than import serves nobody, whoever made it', async () => {
  const { state } = served.hsm;
  const id = kid.split('/keys/')[1] ?? '';
  const version = state.get('versions', id);
  if (!version) throw new Error('no exchange key');
  const file = fileOf(b64(blob()));
  for (const operations of [[], ['import', 'decrypt'], ['decrypt'], ['unwrapKey', 'import']] as const) {
    state.apply([put('versions', id, { ...version, operations })]);
    expectRefusal(await putFile('never', file));
  }
  state.apply([put('versions', id, version)]);
  expect((await putFile('good', file)).status).toBe(200);
});

it('one who may not import learns nothing of the file, nor of the exchange key', async () => {
  const token = await tokenFor(served.hsm, { oid: STRANGER });
  for (const file of [
    fileOf(b64(blob())),
    fileOf('x'),
    fileOf(b64(blob()), { kid: 'https://x/keys/k' }),
    7,
  ]) {
    const answer = await ask('never', b64(Buffer.from(JSON.stringify(file))), {}, token);
    expect([answer.status, answer.json['error']?.['code']]).toEqual([403, 'AccessDenied']);
  }
});

it('nothing of all this was added, and the exchange key still serves', async () => {
  expect((await served.ask('GET', '/keys/never')).status).toBe(404);
  expect((await putFile('good', fileOf(b64(blob())))).status).toBe(200);
});
