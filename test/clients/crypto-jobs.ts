// Every cryptographic operation that a client of one key offers, as a list of jobs that programs of any language can
// work off, over keys whose private parts the test knows. So each result is checked by Node, and what Node made is
// given to the pool. Two rounds: what is made, then what is taken apart.
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  randomBytes,
  sign,
} from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { text } from '../scenarios/pool.js';
import type { Client } from '../scenarios/pool.js';
import { encryptFor, digestOf, hashOf, isSignature, paddingOf } from '../scenarios/witness.js';

type Verb = 'sign' | 'verify' | 'verifyData' | 'encrypt' | 'decrypt' | 'wrapKey' | 'unwrapKey';

/** Bytes are base64. */
export interface Job {
  readonly verb: Verb;
  /** Id of the key, with or without a version. */
  readonly key: string;
  readonly algorithm: string;
  readonly value: string;
  /** What `value`, a signature, is verified over: a digest, or the message for `verifyData`. */
  readonly digest?: string;
  readonly iv?: string;
  readonly aad?: string;
  readonly tag?: string;
}

export interface Done {
  readonly keyID?: string | null;
  readonly value?: string | boolean;
  readonly iv?: string | null;
  readonly aad?: string | null;
  readonly tag?: string | null;
  readonly failure?: { readonly status?: number | null; readonly message: string };
}

export type Work = (jobs: readonly Job[]) => Promise<readonly Done[]>;

const RSA_SIGNING = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'RSNULL'];
const RSA_ENCRYPTION = ['RSA1_5', 'RSA-OAEP', 'RSA-OAEP-256'];
const CURVES = {
  ES256: ['P-256', 'P-256'],
  ES256K: ['P-256K', 'secp256k1'],
  ES384: ['P-384', 'P-384'],
  ES512: ['P-521', 'P-521'],
} as const;
const MAC_BYTES = { HS256: 32, HS384: 48, HS512: 64 } as const;
const AES_BITS = [128, 192, 256] as const;

const MESSAGE = Buffer.from('a message that is long enough to be worth signing');
const SECRET = randomBytes(32);
const BLOCKS = randomBytes(48);
const ODD = randomBytes(21);
const IV = randomBytes(16);
const AAD = Buffer.from('bound to this');

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const bytes = (value: unknown): Buffer => {
  if (typeof value !== 'string') throw new Error(`no bytes: ${JSON.stringify(value)}`);
  return Buffer.from(value, 'base64');
};

type Known = { readonly pair: KeyObject } | { readonly k: Buffer };

/** A key of the pool, imported. */
interface Held {
  readonly versionless: string;
  readonly id: string;
  readonly known: Known;
}

/** A job to make something, how Node sees that it is right, and Node's own as a job to take apart. */
interface Case {
  readonly title: string;
  readonly algorithm: string;
  readonly make: Job;
  /** Throws unless the result is right. */
  readonly check: (done: Done) => void;
  /** Takes the result apart, and something made by Node. */
  readonly takeApart: (done: Done) => readonly Job[];
  /** What taking apart must give: true, or base64. */
  readonly expected: string | true;
}

/** Keys of every type, imported under names that start with `prefix`, and every algorithm over them. */
export class CryptoJobs {
  readonly #cases: Case[] = [];
  readonly #overData: Job[] = [];

  static async import(client: Client, origin: string, prefix: string): Promise<CryptoJobs> {
    const jobs = new CryptoJobs();
    const hold = async (name: string, key: JsonWebKey, known: Known): Promise<Held> => {
      const { status, body } = await client.call('PUT', `/keys/${prefix}-${name}`, { key });
      if (status !== 200) throw new Error(`import of ${name}: ${status} ${JSON.stringify(body)}`);
      return { versionless: `${origin}/keys/${prefix}-${name}`, id: text(body, 'key', 'kid'), known };
    };
    const holdPair = (name: string, pair: KeyObject, more: JsonWebKey = {}): Promise<Held> =>
      hold(name, { ...pair.export({ format: 'jwk' }), ...more }, { pair });
    const holdBytes = (name: string, size: number): Promise<Held> => {
      const k = randomBytes(size);
      return hold(name, { kty: 'oct', k: k.toString('base64url') }, { k });
    };

    const rsa = await holdPair('rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
    for (const algorithm of RSA_SIGNING) jobs.#signature(algorithm, rsa);
    for (const algorithm of RSA_ENCRYPTION) jobs.#rsa(algorithm, rsa);
    for (const [algorithm, [crv, namedCurve]] of Object.entries(CURVES)) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve });
      jobs.#signature(algorithm, await holdPair(crv, privateKey, { crv }));
    }
    for (const [algorithm, size] of Object.entries(MAC_BYTES)) {
      jobs.#signature(algorithm, await holdBytes(algorithm, size));
    }
    for (const bits of AES_BITS) jobs.#aes(bits, await holdBytes(`aes-${bits}`, bits / 8));
    return jobs;
  }

  get algorithms(): string[] {
    return [...new Set(this.#cases.map(({ algorithm }) => algorithm))];
  }

  /** Valid signatures over a whole message, for clients that make the digest themselves. */
  get overData(): readonly Job[] {
    return this.#overData;
  }

  /**
   * Works through all of it but what the client cannot make. What does not hold is thrown, with the name of the case.
   */
  async through(work: Work, canMake: (job: Job) => boolean = () => true): Promise<string[]> {
    const cases = this.#cases.filter(({ make }) => canMake(make));
    const made = await work(cases.map(({ make }) => make));
    const takeApart = cases.map(({ title, check, takeApart }, place) => {
      const done = made[place];
      try {
        if (!done || done.failure) throw new Error(JSON.stringify(done?.failure));
        check(done);
        return takeApart(done);
      } catch (error) {
        throw new Error(`${title}: ${String(error)}`, { cause: error });
      }
    });
    const opened = [...(await work(takeApart.flat()))];
    for (const [place, { title, expected }] of cases.entries()) {
      for (const job of takeApart[place] ?? []) {
        const found = opened.shift();
        if (found?.value !== expected) throw new Error(`${title}: ${job.verb} gave ${JSON.stringify(found)}`);
      }
    }
    return cases.map(({ title }) => title);
  }

  #signature(algorithm: string, { id, versionless, known }: Held): void {
    const digest = algorithm === 'RSNULL' ? ODD : digestOf(algorithm, MESSAGE);
    const apart = (signature: string): Job => ({
      verb: 'verify',
      key: versionless,
      algorithm,
      digest: base64(digest),
      value: signature,
    });
    this.#cases.push({
      title: `${algorithm}: sign and verify`,
      algorithm,
      make: { verb: 'sign', key: id, algorithm, value: base64(digest) },
      check: ({ value }) => must(isSigned(algorithm, known, digest, bytes(value)), 'the signature is valid'),
      takeApart: ({ value }) => [
        apart(base64(bytes(value))),
        apart(base64(signByNode(algorithm, known, digest))),
      ],
      expected: true,
    });
    if (algorithm === 'RSNULL' || 'k' in known) return;
    const signature = base64(signByNode(algorithm, known, digest));
    this.#overData.push({ ...apart(signature), verb: 'verifyData', digest: base64(MESSAGE) });
  }

  #rsa(algorithm: string, { id, versionless, known }: Held): void {
    for (const [make, open] of [
      ['encrypt', 'decrypt'],
      ['wrapKey', 'unwrapKey'],
    ] as const) {
      const apart = (value: Uint8Array): Job => ({
        verb: open,
        key: id,
        algorithm,
        value: base64(value),
      });
      this.#cases.push({
        title: `${algorithm}: ${make} and ${open}`,
        algorithm,
        make: { verb: make, key: versionless, algorithm, value: base64(SECRET) },
        check: ({ value }) =>
          must(openRsa(pairOf(known), algorithm, bytes(value)).equals(SECRET), 'it opens'),
        takeApart: ({ value }) => [
          apart(bytes(value)),
          apart(encryptFor(algorithm, createPublicKey(pairOf(known)), SECRET)),
        ],
        expected: base64(SECRET),
      });
    }
  }

  #aes(bits: (typeof AES_BITS)[number], held: Held): void {
    for (const aad of [undefined, AAD]) this.#gcm(`A${bits}GCM`, bits, held, aad);
    for (const iv of [IV, undefined]) {
      this.#cbc(`A${bits}CBC`, bits, held, BLOCKS, iv);
      this.#cbc(`A${bits}CBCPAD`, bits, held, ODD, iv);
    }
    this.#keyWrap(`A${bits}KW`, bits, held, SECRET);
    this.#keyWrap('CKM_AES_KEY_WRAP', bits, held, SECRET);
    this.#keyWrap('CKM_AES_KEY_WRAP_PAD', bits, held, ODD);
  }

  #gcm(algorithm: string, bits: number, { id, versionless, known }: Held, aad?: Buffer): void {
    const name = `aes-${bits}-gcm` as 'aes-256-gcm';
    const bound = aad === undefined ? {} : { aad: base64(aad) };
    this.#cases.push({
      title: `${algorithm}: encrypt and decrypt${aad ? ' with further data' : ''}`,
      algorithm,
      make: { verb: 'encrypt', key: versionless, algorithm, value: base64(ODD), ...bound },
      check: ({ value, iv, tag }) => {
        must(bytes(iv).length === 12, 'the nonce has 12 bytes');
        const open = createDecipheriv(name, bytesOf(known), bytes(iv)).setAuthTag(bytes(tag));
        if (aad) open.setAAD(aad);
        must(Buffer.concat([open.update(bytes(value)), open.final()]).equals(ODD), 'it opens');
      },
      takeApart: ({ value, iv, tag }) => {
        const nonce = randomBytes(12);
        const seal = createCipheriv(name, bytesOf(known), nonce);
        if (aad) seal.setAAD(aad);
        const sealed = Buffer.concat([seal.update(ODD), seal.final()]);
        const apart = { verb: 'decrypt', key: id, algorithm, ...bound } as const;
        return [
          { ...apart, value: base64(bytes(value)), iv: base64(bytes(iv)), tag: base64(bytes(tag)) },
          { ...apart, value: base64(sealed), iv: base64(nonce), tag: base64(seal.getAuthTag()) },
        ];
      },
      expected: base64(ODD),
    });
  }

  #cbc(algorithm: string, bits: number, held: Held, plaintext: Buffer, given?: Buffer): void {
    const { id, versionless, known } = held;
    const padded = algorithm.endsWith('PAD');
    this.#cases.push({
      title: `${algorithm}: encrypt and decrypt, ${given ? 'the IV given' : 'no IV given'}`,
      algorithm,
      make: {
        verb: 'encrypt',
        key: versionless,
        algorithm,
        value: base64(plaintext),
        ...(given && { iv: base64(given) }),
      },
      check: ({ value, iv }) => {
        must(given ? given.equals(bytes(iv)) : bytes(iv).length === 16, 'the IV is told');
        const open = createDecipheriv(`aes-${bits}-cbc`, bytesOf(known), bytes(iv)).setAutoPadding(padded);
        must(Buffer.concat([open.update(bytes(value)), open.final()]).equals(plaintext), 'it opens');
      },
      takeApart: ({ value, iv }) => {
        const own = randomBytes(16);
        const seal = createCipheriv(`aes-${bits}-cbc`, bytesOf(known), own).setAutoPadding(padded);
        const sealed = Buffer.concat([seal.update(plaintext), seal.final()]);
        const apart = { verb: 'decrypt', key: id, algorithm } as const;
        return [
          { ...apart, value: base64(bytes(value)), iv: base64(bytes(iv)) },
          { ...apart, value: base64(sealed), iv: base64(own) },
        ];
      },
      expected: base64(plaintext),
    });
  }

  #keyWrap(algorithm: string, bits: number, { id, versionless, known }: Held, key: Buffer): void {
    const padded = algorithm.endsWith('PAD');
    const name = `id-aes${bits}-wrap${padded ? '-pad' : ''}`;
    const iv = Buffer.from(padded ? 'a65959a6' : 'a6a6a6a6a6a6a6a6', 'hex'); // RFC 5649, RFC 3394
    const apart = (value: Uint8Array): Job => ({
      verb: 'unwrapKey',
      key: id,
      algorithm,
      value: base64(value),
    });
    this.#cases.push({
      title: `${algorithm}: wrapKey and unwrapKey, ${bits} bits`,
      algorithm,
      make: { verb: 'wrapKey', key: versionless, algorithm, value: base64(key) },
      check: ({ value }) => {
        const open = createDecipheriv(name, bytesOf(known), iv);
        must(Buffer.concat([open.update(bytes(value)), open.final()]).equals(key), 'it opens');
      },
      takeApart: ({ value }) => {
        const seal = createCipheriv(name, bytesOf(known), iv);
        return [apart(bytes(value)), apart(Buffer.concat([seal.update(key), seal.final()]))];
      },
      expected: base64(key),
    });
  }
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`);
}

function pairOf(known: Known): KeyObject {
  if ('pair' in known) return known.pair;
  throw new Error('no key pair');
}

function bytesOf(known: Known): Buffer {
  if ('k' in known) return known.k;
  throw new Error('no symmetric key');
}

function isSigned(algorithm: string, known: Known, digest: Buffer, signature: Buffer): boolean {
  if ('k' in known) return signByNode(algorithm, known, digest).equals(signature);
  const key = createPublicKey(known.pair);
  if (algorithm !== 'RSNULL') return isSignature(algorithm, key, MESSAGE, signature);
  return publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature).equals(digest);
}

function signByNode(algorithm: string, known: Known, digest: Buffer): Buffer {
  if ('k' in known) return createHmac(hashOf(algorithm), known.k).update(digest).digest();
  const key = known.pair;
  switch (algorithm.slice(0, 2)) {
    case 'RS':
      if (algorithm !== 'RSNULL') return sign(hashOf(algorithm), MESSAGE, key);
      return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, digest);
    case 'PS':
      return sign(hashOf(algorithm), MESSAGE, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      });
    default:
      return sign(hashOf(algorithm), MESSAGE, { key, dsaEncoding: 'ieee-p1363' });
  }
}

/** What a private key makes of a ciphertext. */
export function openRsa(key: KeyObject, algorithm: string, ciphertext: Buffer): Buffer {
  if (algorithm !== 'RSA1_5') return privateDecrypt({ key, ...paddingOf(algorithm) }, ciphertext);
  // Node refuses to remove this padding where its OpenSSL would tell too much about it: by hand (RFC 8017, 7.2.2).
  const block = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext);
  const end = block.indexOf(0, 2);
  must(block[0] === 0 && block[1] === 2 && end >= 10, 'the padding is right');
  return block.subarray(end + 1);
}
