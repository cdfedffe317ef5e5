// `trivet key sign`, `encrypt` and the other operations with a key: data in, data out. What is signed is hashed here,
// as in every client: the pool is sent the digest.
import { createHash } from 'node:crypto';
import { wipe } from '../../values/bytes.js';
import { member, print } from '../ask.js';
import {
  checkOutput,
  fromHex,
  fromText,
  readInput,
  writeOutput,
  type InputOptions,
  type OutputOptions,
} from '../data.js';
import { CommandError } from '../failure.js';
import { SIZED_VERSION, keyPath, type Plane, type PoolOptions } from '../plane.js';
import { readBytes } from '../security-domain/files.js';
import { openPlane, textIn, type Bundle } from './manage.js';

interface UseOptions extends PoolOptions, InputOptions {
  alg?: string;
  keyVersion?: string;
}

export type SignOptions = UseOptions & OutputOptions & { digest?: true };

export interface VerifyOptions extends UseOptions {
  digest?: true;
  signature: string;
}

export interface CipherOptions extends UseOptions, OutputOptions {
  iv?: string;
  aad?: string;
  authTag?: string;
}

type Use = 'sign' | 'encrypt' | 'wrap';

/** What a key of a type is used with when nobody says otherwise; `N` stands for the bits of a symmetric key. */
const USUAL: Readonly<Record<string, Readonly<Record<Use, string>>>> = {
  'RSA-HSM': { sign: 'PS256', encrypt: 'RSA-OAEP-256', wrap: 'RSA-OAEP-256' },
  'EC-HSM P-256': { sign: 'ES256', encrypt: '', wrap: '' },
  'EC-HSM P-256K': { sign: 'ES256K', encrypt: '', wrap: '' },
  'EC-HSM P-384': { sign: 'ES384', encrypt: '', wrap: '' },
  'EC-HSM P-521': { sign: 'ES512', encrypt: '', wrap: '' },
  'oct-HSM': { sign: 'HS256', encrypt: 'ANGCM', wrap: 'ANKW' },
};

const DIGESTS: Readonly<Record<string, string>> = {
  256: 'sha256',
  '256K': 'sha256',
  384: 'sha384',
  512: 'sha512',
};

export async function signWithKey(name: string, options: SignOptions): Promise<void> {
  checkOutput(options);
  const data = await readInput(options);
  const plane = await openPlane(options);
  const alg = await algorithm(plane, name, options, 'sign');
  const digest = digestOf(data, alg, options.digest === true);
  const answer = await operate(plane, name, options.keyVersion, 'sign', { alg, value: b64(digest) });
  give(answer, options, 'base64');
}

/** Fails when the signature is not one. */
export async function verifyWithKey(name: string, options: VerifyOptions): Promise<void> {
  const signature = signatureIn(options.signature);
  const data = await readInput(options);
  const plane = await openPlane(options);
  const alg = await algorithm(plane, name, options, 'sign');
  const digest = digestOf(data, alg, options.digest === true);
  const answer = await operate(plane, name, options.keyVersion, 'verify', {
    alg,
    digest: b64(digest),
    value: b64(signature),
  });
  const valid = (answer as { readonly value?: unknown }).value === true;
  print(
    options.json ? JSON.stringify(answer) : valid ? 'the signature is valid' : 'the signature is NOT valid',
  );
  if (!valid) process.exitCode = 1;
}

/**
 * What RSA makes is written as it is. What AES makes takes more than that to be opened, so all of it is written, as
 * the JSON that the pool answers with.
 */
export async function encryptWithKey(name: string, options: CipherOptions): Promise<void> {
  checkOutput(options);
  const data = await readInput(options);
  const plane = await openPlane(options);
  const alg = await algorithm(plane, name, options, 'encrypt');
  const { iv, aad } = options;
  const answer = await operate(plane, name, options.keyVersion, 'encrypt', {
    alg,
    value: b64(data),
    ...(iv !== undefined && { iv: b64(fromHex(iv, '--iv')) }),
    ...(aad !== undefined && { aad: b64(Buffer.from(aad)) }),
  });
  if (member(answer, 'iv') === undefined || options.json) give(answer, options, 'base64');
  else writeOutput(Buffer.from(`${JSON.stringify(answer)}\n`), { ...options, encoding: 'raw' }, 'raw');
}

/** Takes what {@link encryptWithKey} writes, or a bare ciphertext with its parts by option. */
export async function decryptWithKey(name: string, options: CipherOptions): Promise<void> {
  checkOutput(options);
  const data = await readInput(options);
  const document = documentIn(data);
  const plane = await openPlane(options);
  const { iv, aad, authTag } = options;
  const body = document ?? {
    alg: await algorithm(plane, name, options, 'encrypt'),
    value: b64(data),
    ...(iv !== undefined && { iv: b64(fromHex(iv, '--iv')) }),
    ...(aad !== undefined && { aad: b64(Buffer.from(aad)) }),
    ...(authTag !== undefined && { tag: b64(fromHex(authTag, '--auth-tag')) }),
  };
  // By the version that it was encrypted with, unless another is asked for.
  const version = options.keyVersion ?? (document === undefined ? undefined : versionIn(document.kid, name));
  give(await operate(plane, name, version, 'decrypt', body), options, 'raw');
}

export async function wrapWithKey(name: string, options: UseOptions & OutputOptions): Promise<void> {
  checkOutput(options);
  const secret = await readInput(options);
  const plane = await openPlane(options);
  const alg = await algorithm(plane, name, options, 'wrap');
  const body = { alg, value: b64(secret) };
  wipe(secret);
  give(await operate(plane, name, options.keyVersion, 'wrapkey', body), options, 'base64');
}

export async function unwrapWithKey(name: string, options: UseOptions & OutputOptions): Promise<void> {
  checkOutput(options);
  const wrapped = await readInput(options);
  const plane = await openPlane(options);
  const alg = await algorithm(plane, name, options, 'wrap');
  const body = { alg, value: b64(wrapped) };
  give(await operate(plane, name, options.keyVersion, 'unwrapkey', body), options, 'hex');
}

export async function randomBytes(count: number, options: PoolOptions & OutputOptions): Promise<void> {
  checkOutput(options);
  const plane = await openPlane(options);
  give(await plane.call('POST', '/rng', { count }), options, 'hex');
}

function operate(
  plane: Plane,
  name: string,
  version: string | undefined,
  operation: string,
  body: unknown,
): Promise<unknown> {
  return plane.call('POST', `${keyPath(name, version)}/${operation}`, body);
}

/** With `--json` the answer as it came, else its value. */
function give(answer: unknown, options: OutputOptions, encoding: 'base64' | 'hex' | 'raw'): void {
  if (options.json && options.out === undefined) {
    print(JSON.stringify(answer));
    return;
  }
  const bytes = Buffer.from(textIn(answer, 'value'), 'base64url');
  writeOutput(bytes, options, encoding);
  wipe(bytes);
  if (options.json) print(JSON.stringify({ out: options.out }));
}

/** The algorithm that is asked for, else the usual one for such a key, which takes a look at it. */
async function algorithm(
  plane: Plane,
  name: string,
  { alg, keyVersion }: UseOptions,
  use: Use,
): Promise<string> {
  if (alg !== undefined) return alg;
  const bundle = (await plane.call('GET', keyPath(name, keyVersion), undefined, SIZED_VERSION)) as Bundle;
  const { kty = '', crv } = bundle.key ?? {};
  const type = crv === undefined ? kty : `${kty} ${crv}`;
  const usual = USUAL[type]?.[use].replace('N', String(bundle.attributes.key_size ?? 256)) ?? '';
  if (usual === '') throw new CommandError(`a key of type ${type} cannot ${use}`);
  return usual;
}

function digestOf(data: Buffer, alg: string, given: boolean): Buffer {
  if (given) return data;
  const hash = DIGESTS[/(256K|256|384|512)$/.exec(alg)?.[0] ?? ''];
  if (hash === undefined) {
    throw new CommandError(
      `${alg} does not say how the data is hashed: hash it, and give the result with --digest`,
    );
  }
  return createHash(hash).update(data).digest();
}

/** A file, or the signature itself in hex or base64. */
function signatureIn(text: string): Buffer {
  if (text.startsWith('@')) return readBytes(text.slice(1));
  return fromText(text, '--signature (or @FILE)');
}

interface Document {
  readonly alg: string;
  readonly value: string;
  readonly kid?: string;
}

/** What encrypting wrote; undefined for bytes of any other kind. */
function documentIn(data: Buffer): Document | undefined {
  if (data[0] !== 0x7b) return undefined;
  try {
    const { kid, alg, value, iv, aad, tag } = JSON.parse(data.toString('utf8')) as Record<string, unknown>;
    if (typeof alg !== 'string' || typeof value !== 'string') return undefined;
    return { alg, value, ...(typeof kid === 'string' && { kid }), ...defined({ iv, aad, tag }) };
  } catch {
    return undefined; // bytes that happen to begin like it
  }
}

function defined(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function versionIn(kid: string | undefined, name: string): string | undefined {
  const [, of, version] = /\/keys\/([^/]+)\/([0-9a-f]{32})$/.exec(kid ?? '') ?? [];
  if (of !== undefined && of !== name)
    throw new CommandError(`it was encrypted with the key ${of}, not ${name}`);
  return version;
}

function b64(bytes: Buffer): string {
  return bytes.toString('base64url');
}
