// One key of each type, and a use of each that only its private part allows; results are checked with Node's crypto.
import { randomBytes } from 'node:crypto';
import { at, type Client } from './pool.js';
import { base64url, bytesAt, digestOf, encryptFor, isSignature, publicKeyOf } from './witness.js';

const WISHES = {
  'rsa-2048': { kty: 'RSA', key_size: 2048 },
  'p-256': { kty: 'EC', crv: 'P-256' },
  'p-256k': { kty: 'EC', crv: 'P-256K' },
  'p-384': { kty: 'EC', crv: 'P-384' },
  'p-521': { kty: 'EC', crv: 'P-521' },
  'oct-128': { kty: 'oct', key_size: 128 },
  'oct-256': { kty: 'oct', key_size: 256 },
} as const;

const EC_ALGORITHMS: Readonly<Record<string, string>> = {
  'P-256': 'ES256',
  'P-256K': 'ES256K',
  'P-384': 'ES384',
  'P-521': 'ES512',
};

/** A key as its creation showed it. */
export interface Made {
  readonly name: string;
  readonly jwk: unknown;
  /** What an oct key encrypted when it was new. */
  readonly sealed?: { readonly plaintext: Buffer; readonly answer: unknown; readonly alg: string };
}

/** Creates one key of each type. */
export async function makeKeys(client: Client): Promise<Made[]> {
  const made: Made[] = [];
  for (const [name, wish] of Object.entries(WISHES)) {
    const { status, body } = await client.call('POST', `/keys/${name}/create`, wish);
    expect([name, status]).toEqual([name, 200]);
    const jwk = at(body, 'key');
    if (wish.kty !== 'oct') made.push({ name, jwk });
    else made.push({ name, jwk, sealed: await seal(client, name, `A${wish.key_size}GCM`) });
  }
  return made;
}

/** Encrypts something that must be decrypted for as long as the key lives. */
export async function seal(client: Client, name: string, alg: string): Promise<NonNullable<Made['sealed']>> {
  const plaintext = randomBytes(24);
  const sealed = await client.call('POST', `/keys/${name}/encrypt`, { alg, value: base64url(plaintext) });
  expect([name, sealed.status]).toEqual([name, 200]);
  return { plaintext, answer: sealed.body, alg };
}

/** Signs or decrypts with a key; undefined when all is well, else what went wrong. */
export async function useKey(client: Client, { name, jwk, sealed }: Made): Promise<string | undefined> {
  if (sealed) {
    const { value, iv, tag } = sealed.answer as Record<string, string>;
    const opened = await client.call('POST', `/keys/${name}/decrypt`, { alg: sealed.alg, value, iv, tag });
    if (opened.status !== 200) return `decrypt ${opened.status} ${opened.text}`;
    return bytesAt(opened.body, 'value').equals(sealed.plaintext) ? undefined : 'decrypts to something else';
  }
  const algorithm = EC_ALGORITHMS[String(at(jwk, 'crv'))] ?? 'RS256';
  const message = randomBytes(40);
  const signed = await client.call('POST', `/keys/${name}/sign`, {
    alg: algorithm,
    value: base64url(digestOf(algorithm, message)),
  });
  if (signed.status !== 200) return `sign ${signed.status} ${signed.text}`;
  const key = publicKeyOf(jwk);
  if (!isSignature(algorithm, key, message, bytesAt(signed.body, 'value')))
    return 'its signature is not valid';
  if (algorithm !== 'RS256') return undefined;
  const opened = await client.call('POST', `/keys/${name}/decrypt`, {
    alg: 'RSA-OAEP-256',
    value: base64url(encryptFor('RSA-OAEP-256', key, message)),
  });
  if (opened.status !== 200) return `decrypt ${opened.status} ${opened.text}`;
  return bytesAt(opened.body, 'value').equals(message) ? undefined : 'decrypts to something else';
}
