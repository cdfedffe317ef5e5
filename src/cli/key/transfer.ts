// `trivet key import`, `backup`, `restore`, `release` and `attest`: keys on their way in and out.
import { createPrivateKey } from 'node:crypto';
import { wipe } from '../../values/bytes.js';
import { checkOutput } from '../data.js';
import { CommandError } from '../failure.js';
import { SIZED_VERSION, keyPath, type PoolOptions } from '../plane.js';
import { readBytes, show, writeNew } from '../security-domain/files.js';
import { attestation, attributesOf, openPlane, showKey, textIn } from './manage.js';
import type { AttributeOptions, Bundle } from './manage.js';

export interface ImportOptions extends PoolOptions, AttributeOptions {
  file: string;
  kty?: 'RSA' | 'EC' | 'oct';
  curve?: string;
  byok?: true;
}

export interface FileOptions extends PoolOptions {
  out: string;
  keyVersion?: string;
}

export interface ReleaseOptions extends FileOptions {
  assertion: string;
  enc?: string;
  nonce?: string;
}

/** Names of curves in a JWK, where the service has others. */
const CURVES: Readonly<Record<string, string>> = { secp256k1: 'P-256K' };

/** A private key in PEM, a JWK, the bytes of a symmetric key, or what another HSM has wrapped for this one. */
export async function importKey(name: string, options: ImportOptions): Promise<void> {
  const path = keyPath(name);
  const bytes = readBytes(options.file);
  const key = options.byok ? wrappedKey(bytes, options) : clearKey(bytes, options);
  wipe(bytes);
  const { ops, ...attributes } = options;
  const body = { key: { ...key, ...(ops && { key_ops: ops }) }, ...attributesOf(attributes) };
  showKey((await (await openPlane(options)).call('PUT', path, body, SIZED_VERSION)) as Bundle, options);
}

function wrappedKey(bytes: Buffer, { kty, curve, file }: ImportOptions): Record<string, unknown> {
  if (kty === undefined)
    throw new CommandError(`${file} does not say what is wrapped in it: name its type with --kty`);
  return { kty, ...(curve !== undefined && { crv: curve }), key_hsm: bytes.toString('base64url') };
}

function clearKey(bytes: Buffer, { kty, file, curve }: ImportOptions): Record<string, unknown> {
  if (kty === 'oct') return { kty, k: bytes.toString('base64url') };
  if (curve !== undefined)
    throw new CommandError('--curve is for --byok: a clear key says itself which it is on');
  const text = bytes.toString('utf8');
  try {
    const jwk = text.includes('-----BEGIN')
      ? (createPrivateKey(text).export({ format: 'jwk' }) as Record<string, unknown>)
      : (JSON.parse(text) as Record<string, unknown>);
    const { crv } = jwk;
    return typeof crv === 'string' ? { ...jwk, crv: CURVES[crv] ?? crv } : jwk;
  } catch (cause) {
    throw new CommandError(
      `${file} holds no private key in PEM (without a passphrase) and no JWK; for the bytes of a symmetric key: ` +
        '--kty oct; for what another HSM has wrapped: --byok',
      { cause },
    );
  }
}

export async function backupKey(name: string, options: FileOptions): Promise<void> {
  checkOutput(options);
  const answer = await (await openPlane(options)).call('POST', `${keyPath(name)}/backup`);
  writeNew(options.out, Buffer.from(textIn(answer, 'value'), 'base64url'));
  show(options, { key: name, out: options.out }, [
    `${options.out} is the backup of key ${name} with all its versions.`,
    'Pools of the same security domain can restore it: trivet key restore --in FILE',
  ]);
}

export async function restoreKey(options: PoolOptions & { in: string }): Promise<void> {
  const value = readBytes(options.in).toString('base64url');
  const plane = await openPlane(options);
  showKey((await plane.call('POST', '/keys/restore', { value }, SIZED_VERSION)) as Bundle, options);
}

export async function releaseKey(name: string, options: ReleaseOptions): Promise<void> {
  checkOutput(options);
  const { keyVersion, assertion, enc, nonce, out } = options;
  const answer = await (
    await openPlane(options)
  ).call('POST', `${keyPath(name, keyVersion)}/release`, {
    target: readBytes(assertion).toString('utf8').trim(),
    ...(enc !== undefined && { enc }),
    ...(nonce !== undefined && { nonce }),
  });
  writeNew(out, `${textIn(answer, 'value')}\n`);
  show(options, { key: name, out }, [`${out} holds key ${name}, wrapped for who made the assertion.`]);
}

export async function attestKey(name: string, options: FileOptions): Promise<void> {
  checkOutput(options);
  writeNew(options.out, `${await attestation(name, options.keyVersion, options)}\n`);
  show(options, { key: name, out: options.out }, [
    `${options.out} attests key ${name}; check it anywhere: trivet key verify-attestation ${options.out}`,
  ]);
}
