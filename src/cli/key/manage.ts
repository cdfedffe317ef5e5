// `trivet key create`, `list`, `show` and the rest of a key's life, over the data plane.
import { connectPool, member, print } from '../ask.js';
import { CommandError } from '../failure.js';
import { Plane, SIZED_VERSION, keyPath, type PoolOptions } from '../plane.js';
import { readBytes, show } from '../security-domain/files.js';

/** What create, import and update share. */
export interface AttributeOptions {
  ops?: readonly string[];
  notBefore?: number;
  expires?: number;
  tag?: Readonly<Record<string, string>>;
  enabled?: boolean;
  exportable?: true;
  releasePolicy?: string;
}

export interface CreateOptions extends PoolOptions, AttributeOptions {
  kty: 'RSA' | 'EC' | 'oct';
  size?: number;
  curve?: string;
}

export interface VersionOptions extends PoolOptions {
  keyVersion?: string;
}

export interface ListOptions extends PoolOptions {
  deleted?: true;
}

/** As the service writes it; `key` is absent in lists. */
export interface Bundle {
  readonly key?: {
    readonly kid: string;
    readonly kty: string;
    readonly crv?: string;
    readonly n?: string;
    readonly key_ops?: readonly string[];
  };
  readonly kid?: string;
  readonly attributes: {
    readonly enabled: boolean;
    readonly created: number;
    readonly updated: number;
    readonly nbf?: number;
    readonly exp?: number;
    readonly exportable?: boolean;
    readonly key_size?: number;
  };
  readonly tags?: Readonly<Record<string, string>>;
  readonly release_policy?: unknown;
  readonly deletedDate?: number;
  readonly scheduledPurgeDate?: number;
}

export async function openPlane(options: PoolOptions): Promise<Plane> {
  return new Plane(await connectPool(options.dataDir, options.pool));
}

export async function createKey(name: string, options: CreateOptions): Promise<void> {
  const path = `${keyPath(name)}/create`;
  const { kty, size, curve } = options;
  if (curve !== undefined && kty !== 'EC') throw new CommandError('--curve is for --kty EC');
  if (size !== undefined && kty === 'EC') throw new CommandError('an EC key has a --curve and no --size');
  const body = {
    kty,
    ...(size !== undefined && { key_size: size }),
    ...(curve !== undefined && { crv: curve }),
    ...attributesOf(options),
  };
  showKey((await (await openPlane(options)).call('POST', path, body, SIZED_VERSION)) as Bundle, options);
}

/** The members of a body that these options ask for. */
export function attributesOf(options: AttributeOptions): Record<string, unknown> {
  const { ops, notBefore, expires, tag, enabled, exportable, releasePolicy } = options;
  const attributes = {
    ...(enabled !== undefined && { enabled }),
    ...(notBefore !== undefined && { nbf: notBefore }),
    ...(expires !== undefined && { exp: expires }),
    ...(exportable && { exportable }),
  };
  return {
    ...(ops && { key_ops: ops }),
    ...(Object.keys(attributes).length > 0 && { attributes }),
    ...(tag && { tags: tag }),
    ...(releasePolicy !== undefined && {
      release_policy: {
        contentType: 'application/json; charset=utf-8',
        data: readBytes(releasePolicy).toString('base64url'),
      },
    }),
  };
}

export async function listKeys(options: ListOptions): Promise<void> {
  const path = `/${options.deleted ? 'deletedkeys' : 'keys'}?maxresults=25`;
  showList((await (await openPlane(options)).list(path)) as Bundle[], options, (item) => nameOf(item.kid));
}

export async function listVersions(name: string, options: PoolOptions): Promise<void> {
  const path = `${keyPath(name)}/versions?maxresults=25`;
  showList((await (await openPlane(options)).list(path)) as Bundle[], options, (item) => versionOf(item.kid));
}

export async function showOneKey(name: string, options: VersionOptions & { deleted?: true }): Promise<void> {
  const { deleted, keyVersion } = options;
  if (deleted && keyVersion !== undefined) {
    throw new CommandError('a deleted key is shown as a whole: leave out --key-version');
  }
  const path = keyPath(name, keyVersion);
  const found = await (
    await openPlane(options)
  ).call('GET', deleted ? path.replace(/^\/keys/, '/deletedkeys') : path, undefined, SIZED_VERSION);
  showKey(found as Bundle, options);
}

export async function updateKey(name: string, options: VersionOptions & AttributeOptions): Promise<void> {
  const body = attributesOf(options);
  if (Object.keys(body).length === 0) {
    throw new CommandError('nothing to change: see trivet key update --help for what can be');
  }
  const path = keyPath(name, options.keyVersion);
  showKey((await (await openPlane(options)).call('PATCH', path, body, SIZED_VERSION)) as Bundle, options);
}

export async function rotateKey(name: string, options: PoolOptions): Promise<void> {
  const path = `${keyPath(name)}/rotate`;
  showKey((await (await openPlane(options)).call('POST', path, undefined, SIZED_VERSION)) as Bundle, options);
}

export async function deleteKey(name: string, options: PoolOptions): Promise<void> {
  const deleted = (await (await openPlane(options)).call('DELETE', keyPath(name))) as Bundle;
  show(options, deleted, [
    `key ${name} deleted with all its versions; it is purged ${timeText(deleted.scheduledPurgeDate)}`,
    `To have it back before that: trivet key recover ${name}`,
  ]);
}

export async function recoverKey(name: string, options: PoolOptions): Promise<void> {
  const path = keyPath(name).replace(/^\/keys/, '/deletedkeys');
  const recovered = (await (await openPlane(options)).call('POST', `${path}/recover`)) as Bundle;
  show(options, recovered, [`key ${name} recovered with all its versions`]);
}

export async function purgeKey(name: string, options: PoolOptions): Promise<void> {
  const path = keyPath(name).replace(/^\/keys/, '/deletedkeys');
  await (await openPlane(options)).call('DELETE', path);
  show(options, { purged: name }, [`key ${name} purged; nothing brings it back but a backup of it`]);
}

/** Downloads what `verify-attestation` checks. */
export async function attestation(
  name: string,
  keyVersion: string | undefined,
  options: PoolOptions,
): Promise<string> {
  const path = `${keyPath(name, keyVersion)}/attestation`;
  return JSON.stringify(await (await openPlane(options)).call('GET', path));
}

/** Shows one key. */
export function showKey(bundle: Bundle, options: { readonly json?: true }): void {
  const { key, attributes, tags = {} } = bundle;
  const labels = Object.entries(tags).map(([name, value]) => `${name}=${value}`);
  show(options, bundle, [
    `name        ${nameOf(key?.kid)}`,
    `version     ${versionOf(key?.kid)}`,
    `type        ${typeText(bundle)}`,
    `operations  ${(key?.key_ops ?? []).join(', ') || 'none'}`,
    `enabled     ${attributes.enabled ? 'yes' : 'no'}`,
    `created     ${timeText(attributes.created)}`,
    `updated     ${timeText(attributes.updated)}`,
    ...(attributes.nbf === undefined ? [] : [`not before  ${timeText(attributes.nbf)}`]),
    ...(attributes.exp === undefined ? [] : [`expires     ${timeText(attributes.exp)}`]),
    ...(attributes.exportable ? ['exportable  yes, by its release policy'] : []),
    ...(labels.length === 0 ? [] : [`tags        ${labels.map(harmless).join(', ')}`]),
    ...(bundle.deletedDate === undefined ? [] : [`deleted     ${timeText(bundle.deletedDate)}`]),
    ...(bundle.scheduledPurgeDate === undefined
      ? []
      : [`purged      ${timeText(bundle.scheduledPurgeDate)}`]),
  ]);
}

/** What anybody wrote into a pool must not speak to a terminal. */
export function harmless(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** `EC-HSM P-256`, `RSA-HSM 2048 bits`. */
function typeText({ key, attributes }: Bundle): string {
  const bits = key?.n === undefined ? attributes.key_size : Buffer.from(key.n, 'base64url').length * 8;
  return [key?.kty ?? '', key?.crv ?? (bits === undefined ? '' : `${bits} bits`)].join(' ').trim();
}

function showList(
  items: readonly Bundle[],
  { json }: { readonly json?: true },
  titleOf: (item: Bundle) => string,
): void {
  if (json) {
    print(JSON.stringify(items));
    return;
  }
  if (items.length === 0) process.stderr.write('none\n');
  const width = Math.max(...items.map((item) => titleOf(item).length));
  for (const item of items) {
    const { enabled, updated, exp } = item.attributes;
    const words = [
      titleOf(item).padEnd(width),
      enabled ? 'enabled ' : 'disabled',
      `updated ${timeText(updated)}`,
      ...(exp === undefined ? [] : [`expires ${timeText(exp)}`]),
      ...(item.scheduledPurgeDate === undefined ? [] : [`purged ${timeText(item.scheduledPurgeDate)}`]),
    ];
    print(words.join('  '));
  }
}

function nameOf(kid = ''): string {
  return new URL(kid).pathname.split('/')[2] ?? '';
}

function versionOf(kid = ''): string {
  return new URL(kid).pathname.split('/')[3] ?? '';
}

export function timeText(seconds: number | undefined): string {
  return seconds === undefined ? 'at no time' : new Date(seconds * 1_000).toISOString().replace('.000Z', 'Z');
}

/** The text at a member of an answer. */
export function textIn(answer: unknown, name: string): string {
  const text = member(answer, name);
  if (text === undefined) throw new CommandError(`the pool answered without "${name}"`);
  return text;
}
