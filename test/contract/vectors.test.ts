/** @jest-environment ./test/instance/partition/process-environment.cjs */
// Known answers of RFCs, NIST and Wycheproof, driven through REST against a real token: the key of a vector is
// imported, then used. Every vector is driven; what the service does not take it must refuse, and how many vectors had
// which outcome is asserted, so that none is left out unseen.
import { createHash, createPublicKey, verify as nodeVerify, constants } from 'node:crypto';
import { UNREADABLE } from '../../src/instance/hsm/ciphers.js';
import { Partition } from '../../src/instance/partition/partition.js';
import type { KeySpec, PublicPart, RsaSize } from '../../src/values/key-spec.js';
import { newKeyVersion, newUuid } from '../../src/values/ids.js';
import { callerOf, OPERATOR } from '../instance/hsm/fake-hsm.js';
import { foundedPlace, modulePath, type Place } from '../instance/partition/place.js';
import { Served, textOf } from '../instance/api/served.js';
import {
  groupsOf,
  tallyOf,
  type Drive,
  type Group,
  type Jwk,
  type Outcome,
  type Vector,
} from './known-answers.js';
import { completed } from './private-keys.js';

let place: Place;
let partition: Partition;
let served: Served;

beforeAll(async () => {
  place = await foundedPlace();
  partition = await Partition.open(place.tokens, place.domain, { module: modulePath });
  served = await Served.start();
  served.hsm.partition = partition;
});
afterAll(async () => {
  await served.stop();
  await partition.close();
  place.remove();
});

// --- Keys ---

/** Names of keys in the service by their JWK; undefined for those it refused. */
const names = new Map<string, Promise<string | undefined>>();

function named(jwk: Jwk): Promise<string | undefined> {
  const id = JSON.stringify(jwk);
  let name = names.get(id);
  if (!name) {
    const fresh = `v${names.size}`;
    const isPublic = jwk['kty'] !== 'oct' && jwk['d'] === undefined;
    name = isPublic ? planted(fresh, jwk) : imported(fresh, jwk);
    names.set(id, name);
  }
  return name;
}

async function imported(name: string, jwk: Jwk): Promise<string | undefined> {
  const { status, text } = await served.ask('PUT', `/keys/${name}`, { body: { key: completed(jwk) } });
  if (status === 200) return name;
  if (status === 400) return undefined;
  throw new Error(`import of ${name}: ${status} ${text}`);
}

/** Keys without a private half cannot be imported: the record is put where an import would, and verify asks no more. */
async function planted(name: string, jwk: Jwk): Promise<string | undefined> {
  const { spec, part } = publicPartOf(jwk);
  const version = newKeyVersion();
  await served.hsm.submit({
    kind: 'KeyVersionCreated',
    id: newUuid(),
    time: served.hsm.now(),
    authority: { caller: callerOf(OPERATOR), action: 'keys/import/action', scope: `/keys/${name}` },
    name,
    version,
    sealed: { id: `${name}/${version}`, spec, public: part, blob: Buffer.alloc(1) },
    operations: ['verify'],
    enabled: true,
  });
  return name;
}

function publicPartOf(jwk: Jwk): { spec: KeySpec; part: PublicPart } {
  const [x, y, n, e] = ['x', 'y', 'n', 'e'].map((member) => Buffer.from(jwk[member] ?? '', 'base64url'));
  if (!x || !y || !n || !e) throw new Error('no key');
  if (jwk['kty'] === 'RSA') {
    const spec = {
      kty: 'RSA-HSM',
      size: (n.length * 8) as RsaSize,
      exponent: e.readUIntBE(0, e.length),
    } as const;
    return { spec, part: { kty: 'RSA', n, e } };
  }
  const curve = jwk['crv'] as 'P-256';
  return { spec: { kty: 'EC-HSM', curve }, part: { kty: 'EC', curve, x, y } };
}

function bits(text: string | undefined): number {
  return Buffer.from(text ?? '', 'base64url').length * 8;
}

// --- One request and what it came to ---

interface Answered {
  /** Undefined where the key did not come in. */
  readonly status?: number;
  readonly value?: unknown;
}

/** Words of the refusals, each once. */
const refusals = new Set<string>();
/** Refusals of what anybody can see who sees the request; all others must have the same words. */
const IN_SIGHT = new RegExp(
  'must not be empty|must be 12 bytes|must be at least \\d+ bytes and a multiple of|' +
    'Invalid length of digest|does not fit a key of type',
);

interface Body {
  readonly alg: string;
  readonly [member: string]: string | undefined;
}

async function post(jwk: Jwk, verb: string, body: Body): Promise<Answered> {
  const name = await named(jwk);
  if (name === undefined) return {};
  const { status, json } = await served.ask('POST', `/keys/${name}/${verb}`, { body });
  if (status === 200) return { status, value: json['value'] };
  refusals.add(textOf(json['error']?.['message']).replace(/ \(Activity ID: [^)]*\)$/, ''));
  return { status };
}

async function verifies(jwk: Jwk, body: Body): Promise<Outcome> {
  const { status, value } = await post(jwk, 'verify', body);
  if (status === undefined) return 'key refused';
  if (status === 200 && value === true) return 'accepted';
  if (status === 400 || (status === 200 && value === false)) return 'refused';
  return { wrong: `verify: ${status} ${JSON.stringify(value)}` };
}

/** Does the answer have the known value? Any other value is wrong, of an invalid vector too. */
async function yields(jwk: Jwk, verb: string, body: Body, known: string | undefined): Promise<Outcome> {
  const { status, value } = await post(jwk, verb, body);
  if (status === undefined) return 'key refused';
  if (status === 400) return 'refused';
  if (status === 200 && value === known) return 'accepted';
  return { wrong: `${verb}: ${status} ${JSON.stringify(value)}` };
}

function digestOf(sha: string, msg: string | undefined): Buffer {
  return createHash(sha.replace('-', ''))
    .update(Buffer.from(msg ?? '', 'base64url'))
    .digest();
}

const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');

/** What Node says of a signature that the service made with the key. */
async function nodeAccepts(jwk: Jwk, alg: string, sha: string, { msg }: Vector): Promise<Outcome> {
  const { status, value } = await post(jwk, 'sign', { alg, value: b64(digestOf(sha, msg)) });
  if (status === undefined) return 'key refused';
  if (status === 400) return 'refused';
  const crv = jwk['crv'] === 'P-256K' ? 'secp256k1' : jwk['crv'];
  const open = Object.fromEntries(Object.entries(jwk).filter(([member]) => !/^[dpq]/.test(member)));
  const key = createPublicKey({ format: 'jwk', key: { ...open, ...(crv === undefined ? {} : { crv }) } });
  const scheme =
    jwk['kty'] === 'RSA'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : ({ dsaEncoding: 'ieee-p1363' } as const);
  const signature = Buffer.from(typeof value === 'string' ? value : '', 'base64url');
  const message = Buffer.from(msg ?? '', 'base64url');
  const right = nodeVerify(sha.replace('-', ''), message, { key, ...scheme }, signature);
  return right ? 'accepted' : { wrong: `sign: ${status}, and Node does not accept it` };
}

// --- Families ---

/** The DigestInfo up to the digest (RFC 8017 section 9.2, note 1). */
const digestInfo: Readonly<Record<string, string>> = {
  'SHA-1': '3021300906052b0e03021a05000414',
  'SHA-224': '302d300d06096086480165030402040500041c',
  'SHA-256': '3031300d060960864801650304020105000420',
  'SHA-384': '3041300d060960864801650304020205000430',
  'SHA-512': '3051300d060960864801650304020305000440',
};

const OTHER_HASH = 'a hash that the service has not';

function keyOf({ key }: Group): Jwk {
  if (!key) throw new Error('a group without a key');
  return key;
}

async function pkcs1(group: Group, vector: Vector): Promise<Drive[]> {
  const { sha = '' } = group;
  const jwk = keyOf(group);
  const hasHash = ['SHA-256', 'SHA-384', 'SHA-512'].includes(sha);
  const outside = hasHash ? undefined : OTHER_HASH;
  const alg = hasHash ? `RS${sha.slice(4)}` : 'RS256';
  const digest = b64(digestOf(sha, vector.msg));
  const drives: Drive[] = [{ outside, outcome: await verifies(jwk, { alg, digest, value: vector.sig }) }];
  const signs = jwk['d'] !== undefined && vector.result !== 'invalid';
  if (signs) {
    drives.push({ outside, outcome: await yields(jwk, 'sign', { alg, value: digest }, vector.sig) });
  }
  // Without a hash of its own the service pads whatever it is given, a DigestInfo of any hash as well.
  const info = Buffer.concat([Buffer.from(digestInfo[sha] ?? '', 'hex'), digestOf(sha, vector.msg)]);
  const raw = { alg: 'RSNULL', digest: b64(info), value: vector.sig };
  drives.push({ outcome: await verifies(jwk, raw) });
  if (signs) {
    const sent = { alg: 'RSNULL', value: b64(info) };
    drives.push({ outcome: await yields(jwk, 'sign', sent, vector.sig) });
  }
  return drives;
}

async function pss(group: Group, vector: Vector): Promise<Drive[]> {
  const { sha = '', mgfSha, saltLength } = group;
  const jwk = keyOf(group);
  const alg = `PS${sha.slice(4)}`;
  const length = Number(sha.slice(4)) / 8;
  const outside =
    mgfSha !== sha
      ? 'a mask of another hash'
      : saltLength !== length
        ? 'a salt shorter or longer than the hash'
        : undefined;
  const body = { alg, digest: b64(digestOf(sha, vector.msg)), value: vector.sig };
  const drives: Drive[] = [{ outside, outcome: await verifies(jwk, body) }];
  if (jwk['d'] !== undefined && vector.result !== 'invalid') {
    drives.push({ outcome: await nodeAccepts(jwk, alg, sha, vector) });
  }
  return drives;
}

const hashOf: Readonly<Record<string, string>> = {
  ES256: 'SHA-256',
  ES256K: 'SHA-256',
  ES384: 'SHA-384',
  ES512: 'SHA-512',
};

async function ecdsa(group: Group, vector: Vector): Promise<Drive[]> {
  const { alg = '' } = group;
  const jwk = keyOf(group);
  const sha = hashOf[alg] ?? '';
  const body = { alg, digest: b64(digestOf(sha, vector.msg)), value: vector.sig };
  const drives: Drive[] = [{ outcome: await verifies(jwk, body) }];
  if (jwk['d'] !== undefined) drives.push({ outcome: await nodeAccepts(jwk, alg, sha, vector) });
  return drives;
}

/** RSA decrypts and unwraps alike. */
async function rsaDecryption(
  alg: string,
  outside: string | undefined,
  jwk: Jwk,
  { ct, msg }: Vector,
): Promise<Drive[]> {
  const body = { alg, value: ct };
  return [
    { outside, outcome: await yields(jwk, 'decrypt', body, msg) },
    { outside, outcome: await yields(jwk, 'unwrapkey', body, msg) },
  ];
}

function oaep(group: Group, vector: Vector): Promise<Drive[]> {
  const { sha, mgfSha } = group;
  const jwk = keyOf(group);
  const size = bits(jwk['n']);
  const outside =
    size !== 2048 && size !== 3072 && size !== 4096
      ? 'a modulus of another size'
      : sha !== mgfSha
        ? 'a mask of another hash'
        : sha !== 'SHA-1' && sha !== 'SHA-256'
          ? OTHER_HASH
          : vector.label !== undefined
            ? 'a label'
            : undefined;
  return rsaDecryption(sha === 'SHA-1' ? 'RSA-OAEP' : 'RSA-OAEP-256', outside, jwk, vector);
}

function symmetricKey({ key }: Vector): Jwk {
  return { kty: 'oct', k: key ?? '' };
}

const EMPTY = 'an empty value';

async function gcm(_: Group, vector: Vector): Promise<Drive[]> {
  const { key, iv, aad, tag, ct, msg } = vector;
  const outside = bits(iv) !== 96 ? 'an iv of other than 96 bits' : ct === '' ? EMPTY : undefined;
  const body = { alg: `A${bits(key)}GCM`, value: ct, iv, tag, ...(aad === '' ? {} : { aad }) };
  return [{ outside, outcome: await yields(symmetricKey(vector), 'decrypt', body, msg) }];
}

const cbc =
  (suffix: string) =>
  async (_: Group, vector: Vector): Promise<Drive[]> => {
    const { key, iv, ct, msg, result } = vector;
    const alg = `A${bits(key)}CBC${suffix}`;
    const jwk = symmetricKey(vector);
    const drives: Drive[] = [{ outcome: await yields(jwk, 'decrypt', { alg, iv, value: ct }, msg) }];
    if (result === 'valid') {
      const outside = msg === '' ? EMPTY : undefined;
      drives.push({ outside, outcome: await yields(jwk, 'encrypt', { alg, iv, value: msg }, ct) });
    }
    return drives;
  };

const keyWrap =
  (algOf: (size: number) => string) =>
  async (_: Group, vector: Vector): Promise<Drive[]> => {
    const { key, ct, msg, result } = vector;
    const alg = algOf(bits(key));
    const jwk = symmetricKey(vector);
    const drives: Drive[] = [{ outcome: await yields(jwk, 'unwrapkey', { alg, value: ct }, msg) }];
    if (result !== 'invalid') {
      const outside = msg === '' ? EMPTY : undefined;
      drives.push({ outside, outcome: await yields(jwk, 'wrapkey', { alg, value: msg }, ct) });
    }
    return drives;
  };

const MAC_KEY = 'a key shorter than the hash or longer than 64 bytes';

async function hmac(group: Group, vector: Vector): Promise<Drive[]> {
  const { key, msg, tag, result } = vector;
  const size = Number(/sha(256|384|512)/.exec(group.source)?.[1]);
  const alg = `HS${size}`;
  const jwk = symmetricKey(vector);
  const outside =
    bits(key) < size || bits(key) > 512
      ? MAC_KEY
      : group.tagSize !== size
        ? 'a tag cut short'
        : msg === ''
          ? EMPTY
          : undefined;
  const drives: Drive[] = [{ outside, outcome: await verifies(jwk, { alg, digest: msg, value: tag }) }];
  if (result === 'valid' && (outside === undefined || outside === MAC_KEY)) {
    drives.push({ outside, outcome: await yields(jwk, 'sign', { alg, value: msg }, tag) });
  }
  return drives;
}

// --- What becomes of them ---

interface Family {
  readonly name: string;
  readonly files: readonly string[];
  readonly drive: (group: Group, vector: Vector) => Promise<Drive[]>;
  readonly counts: Readonly<Record<string, number>>;
}

const keyWrapFiles = ['rfc3394', 'aes-kw'];
const families: readonly Family[] = [
  {
    name: 'RS256, RS384, RS512 and RSNULL',
    files: ['rsa-pkcs1'],
    drive: pkcs1,
    counts: {
      'acceptable: accepted': 44,
      'acceptable: refused': 2,
      'invalid: key refused': 12,
      'invalid: refused': 940,
      'refused: a hash that the service has not': 68,
      'valid: accepted': 542,
    },
  },
  {
    name: 'PS256, PS384 and PS512',
    files: ['rsa-pss'],
    drive: pss,
    counts: {
      'invalid: key refused': 1,
      'invalid: refused': 106,
      'refused: a mask of another hash': 72,
      'refused: a salt shorter or longer than the hash': 34,
      'valid: accepted': 153,
    },
  },
  {
    name: 'ES256, ES256K, ES384 and ES512',
    files: ['ecdsa'],
    drive: ecdsa,
    counts: { 'acceptable: refused': 13, 'invalid: refused': 310, 'valid: accepted': 788 },
  },
  {
    name: 'RSA-OAEP and RSA-OAEP-256',
    files: ['rsa-oaep'],
    drive: oaep,
    counts: {
      'invalid: refused': 130,
      'key refused: a modulus of another size': 38,
      'refused: a hash that the service has not': 4,
      'refused: a label': 54,
      'refused: a mask of another hash': 20,
      'valid: accepted': 164,
    },
  },
  {
    name: 'RSA1_5',
    files: ['rsa-pkcs1-encryption'],
    drive: (group, vector) => rsaDecryption('RSA1_5', undefined, keyOf(group), vector),
    counts: { 'invalid: refused': 138, 'valid: accepted': 176 },
  },
  {
    name: 'AES-GCM',
    files: ['aes-gcm'],
    drive: gcm,
    counts: {
      'invalid: refused': 232,
      'refused: an empty value': 33,
      'refused: an iv of other than 96 bits': 107,
      'valid: accepted': 184,
    },
  },
  { name: 'AES-CBC', files: ['aes-cbc'], drive: cbc(''), counts: { 'valid: accepted': 494 } },
  {
    name: 'AES-CBC with padding',
    files: ['aes-cbc-pad'],
    drive: cbc('PAD'),
    counts: { 'invalid: refused': 111, 'refused: an empty value': 3, 'valid: accepted': 141 },
  },
  {
    name: 'AES key wrap',
    files: keyWrapFiles,
    drive: keyWrap((size) => `A${size}KW`),
    counts: { 'invalid: refused': 156, 'valid: accepted': 204 },
  },
  {
    name: 'CKM_AES_KEY_WRAP',
    files: keyWrapFiles,
    drive: keyWrap(() => 'CKM_AES_KEY_WRAP'),
    counts: { 'invalid: refused': 156, 'valid: accepted': 204 },
  },
  {
    name: 'AES key wrap with padding',
    files: ['aes-kwp'],
    drive: keyWrap((size) => `A${size}KWPAD`),
    counts: {
      'acceptable: accepted': 114,
      'acceptable: refused': 3,
      'invalid: refused': 204,
      'refused: an empty value': 3,
      'valid: accepted': 478,
    },
  },
  {
    name: 'CKM_AES_KEY_WRAP_PAD',
    files: ['aes-kwp'],
    drive: keyWrap(() => 'CKM_AES_KEY_WRAP_PAD'),
    counts: {
      'acceptable: accepted': 114,
      'acceptable: refused': 3,
      'invalid: refused': 204,
      'refused: an empty value': 3,
      'valid: accepted': 478,
    },
  },
  {
    name: 'HS256, HS384 and HS512',
    files: ['hmac'],
    drive: hmac,
    counts: {
      'invalid: refused': 324,
      'key refused: a key shorter than the hash or longer than 64 bytes': 72,
      'refused: a key shorter than the hash or longer than 64 bytes': 36,
      'refused: a tag cut short': 81,
      'refused: an empty value': 3,
      'valid: accepted': 156,
    },
  },
];

for (const { name, files, drive, counts } of families) {
  test(`${name}: every known answer is given, and what is invalid is refused`, async () => {
    const groups = files.flatMap(groupsOf);
    // The slot opens a key at its first use and, where the key is symmetric, then works in line: another path.
    const passes = groups.some(({ key }) => key === undefined) ? 2 : 1;
    for (let pass = 1; pass <= passes; pass += 1) {
      refusals.clear();
      const tally = await tallyOf(groups, drive);
      expect(tally).toEqual({ counts, problems: [] });
      const telling = [...refusals].filter((message) => !IN_SIGHT.test(message) && message !== UNREADABLE);
      expect(telling).toEqual([]);
    }
  }, 180_000);
}
