// Handlers of key management.
import { fromBase64url, toBase64url } from '../../values/bytes.js';
import { attestKey } from '../hsm/attest-key.js';
import { backupKey } from '../hsm/backup-key.js';
import { createKeyIfAbsent } from '../hsm/create-key-if-absent.js';
import { createKey } from '../hsm/create-key.js';
import { deleteKey } from '../hsm/delete-key.js';
import { getDeletedKey } from '../hsm/get-deleted-key.js';
import { getKey } from '../hsm/get-key.js';
import { importKey } from '../hsm/import-key.js';
import { importWrappedKey } from '../hsm/import-wrapped-key.js';
import { listDeletedKeys } from '../hsm/list-deleted-keys.js';
import { listKeys } from '../hsm/list-keys.js';
import { listVersions } from '../hsm/list-versions.js';
import { purgeKey } from '../hsm/purge-key.js';
import { recoverKey } from '../hsm/recover-key.js';
import { mayRestore, restoreKey } from '../hsm/restore-key.js';
import { updateKey } from '../hsm/update-key.js';
import type { CreateBody, CreateIfAbsentBody, ImportBody, RestoreBody, UpdateBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { bad } from './errors.js';
import { attestedKeyBundle, deletedKeyBundle, deletedKeyPage, keyBundle, keyPage } from './shapes.js';
import type { Query } from './target.js';
import { attributesWish, materialOf, policyWish, refuseForeign, specOf, wrappedOf } from './wishes.js';

const PAGE_MAX = 25;

/** `POST /keys/{name}/create`: a KeyBundle. */
export async function create({ hsm, caller, base, name, query }: Call, body: CreateBody): Promise<string> {
  const wish = attributesWish(body, body.key_ops);
  refuseForeign(body.attributes);
  return keyBundle(base, query, await createKey(hsm, caller, { ...wish, name, spec: specOf(body) }));
}

/** Through the control plane: the KeyBundle of the new key, or of the one that is there, which stays as it is. */
export async function createIfAbsent(
  { hsm, caller, base, name, query }: Call,
  body: CreateIfAbsentBody,
): Promise<string> {
  const wish = attributesWish(body, body.key_ops);
  refuseForeign(body.attributes);
  const rotation = body.rotation_policy && policyWish(body.rotation_policy);
  return keyBundle(
    base,
    query,
    await createKeyIfAbsent(hsm, caller, { ...wish, name, spec: specOf(body) }, rotation),
  );
}

/** `PUT /keys/{name}`: a KeyBundle. */
export async function importAny(
  { hsm, caller, base, owns, name, query }: Call,
  body: ImportBody,
): Promise<string> {
  const wish = { ...attributesWish(body, body.key.key_ops), name };
  refuseForeign(body.attributes);
  const { key_hsm: wrapped } = body.key;
  const imported =
    wrapped === undefined
      ? importKey(hsm, caller, { ...wish, material: materialOf(body) })
      : importWrappedKey(hsm, caller, { ...wish, ...wrappedOf(body.key, wrapped), isOwnHost: owns });
  return keyBundle(base, query, await imported);
}

/** `GET /keys/{name}/{version}`: a KeyBundle. */
export function get({ hsm, caller, base, name, version, query }: Call): Answer {
  return whenDone(getKey(hsm, caller, name, version), (key) => keyBundle(base, query, key));
}

/** `GET /keys/{name}/{version}/attestation`: a KeyBundle with an attestation. */
export async function attestation({ hsm, caller, base, name, version, query }: Call): Promise<string> {
  return attestedKeyBundle(base, query, await attestKey(hsm, caller, name, version));
}

/** `PATCH /keys/{name}/{version}`: the whole KeyBundle. */
export async function update(call: Call, body: UpdateBody): Promise<string> {
  const { hsm, caller, base, name, version, query } = call;
  const wish = attributesWish(body, body.key_ops);
  refuseForeign(body.attributes);
  return keyBundle(base, query, await updateKey(hsm, caller, { ...wish, name, version }));
}

/** `DELETE /keys/{name}`: a DeletedKeyBundle. */
export async function remove({ hsm, caller, base, name, query }: Call): Promise<string> {
  return deletedKeyBundle(base, query, await deleteKey(hsm, caller, name));
}

/** `GET /keys`: a page of KeyItems. */
export function list({ hsm, caller, base, query }: Call): Answer {
  const limit = limitOf(query);
  return whenDone(listKeys(hsm, caller, placeOf(query) ?? '', limit), (page) =>
    keyPage(base, 'keys', page, { limit, query }, false),
  );
}

/** `GET /keys/{name}/versions`: a page of KeyItems. */
export function versions({ hsm, caller, base, name, query }: Call): Answer {
  const limit = limitOf(query);
  return whenDone(listVersions(hsm, caller, name, placeOf(query), limit), (page) =>
    keyPage(base, `keys/${name}/versions`, page, { limit, query }, true),
  );
}

/** `GET /deletedkeys`: a page of DeletedKeyItems. */
export function listDeleted({ hsm, caller, base, query }: Call): Answer {
  const limit = limitOf(query);
  return whenDone(listDeletedKeys(hsm, caller, placeOf(query) ?? '', limit), (page) =>
    deletedKeyPage(base, page, { limit, query }),
  );
}

/** `GET /deletedkeys/{name}`: a DeletedKeyBundle. */
export function getDeleted({ hsm, caller, base, name, query }: Call): Answer {
  return whenDone(getDeletedKey(hsm, caller, name), (key) => deletedKeyBundle(base, query, key));
}

/** `POST /deletedkeys/{name}/recover`: a KeyBundle. */
export async function recover({ hsm, caller, base, name, query }: Call): Promise<string> {
  return keyBundle(base, query, await recoverKey(hsm, caller, name));
}

/** `DELETE /deletedkeys/{name}`: nothing. */
export async function purge({ hsm, caller, name }: Call): Promise<string> {
  await purgeKey(hsm, caller, name);
  return '';
}

/** `POST /keys/{name}/backup`: the backup, a text, in base64url. */
export async function backup({ hsm, caller, name }: Call): Promise<string> {
  return `{"value":"${toBase64url(Buffer.from(await backupKey(hsm, caller, name)))}"}`;
}

/** Refuses whoever may not restore, before the backup is read. */
export function admitRestore({ hsm, caller }: Call): void | Promise<void> {
  return mayRestore(hsm, caller);
}

/** `POST /keys/restore`: a KeyBundle. */
export async function restore({ hsm, caller, base, query }: Call, { value }: RestoreBody): Promise<string> {
  return keyBundle(base, query, await restoreKey(hsm, caller, value.toString('latin1')));
}

function limitOf({ maxResults }: Query): number {
  if (maxResults === undefined) return PAGE_MAX;
  const limit = /^[0-9]{1,2}$/.test(maxResults) ? Number(maxResults) : 0;
  return limit >= 1 && limit <= PAGE_MAX
    ? limit
    : bad(`maxresults must be a whole number from 1 to ${PAGE_MAX}`);
}

/** The last name or version of the page before. */
function placeOf({ skipToken }: Query): string | undefined {
  if (skipToken === undefined) return undefined;
  const place = fromBase64url(skipToken)?.toString('latin1') ?? '';
  return /^[0-9a-zA-Z-]{1,127}$/.test(place) ? place : bad('The $skiptoken is not one of this service');
}
