// Keys and lists as the service writes them.
import { toBase64url } from '../../values/bytes.js';
import { ATTESTATION_VERSION } from '../../values/attestation.js';
import { toJson, type Json } from '../../values/json.js';
import type { AttestedKeyView } from '../hsm/attest-key.js';
import type {
  AttributesView,
  DeletedKeyItemView,
  DeletedKeyView,
  DeletionView,
  KeyItemView,
  KeyView,
  Page,
} from '../hsm/key-view.js';
import type { RotationPolicy } from '../hsm/rotation-policy.js';
import type { Query } from './target.js';
import { knows } from './versions.js';

/** KeyBundle. */
export function keyBundle(base: string, query: Query, key: KeyView): string {
  return toJson(bundle(base, query, key));
}

/** KeyBundle with an attestation among its attributes. */
export function attestedKeyBundle(
  base: string,
  query: Query,
  { key, certificates, privateKey, publicKey }: AttestedKeyView,
): string {
  const attestation = {
    certificatePemFile: toBase64url(Buffer.from(certificates)),
    privateKeyAttestation: toBase64url(privateKey),
    publicKeyAttestation: publicKey && toBase64url(publicKey),
    version: ATTESTATION_VERSION,
  };
  return toJson({
    ...bundle(base, query, key),
    attributes: { ...attributes(key.attributes, query), attestation },
  });
}

/** DeletedKeyBundle: a KeyBundle with the dates of its deletion. */
export function deletedKeyBundle(base: string, query: Query, key: DeletedKeyView): string {
  return toJson({ ...bundle(base, query, key), ...deletion(base, key.name, key) });
}

/** A page of KeyItems, whose `kid` has no version in the list of keys and one in the list of versions. */
export function keyPage(
  base: string,
  path: string,
  page: Page<KeyItemView>,
  asked: Asked,
  withVersion: boolean,
): string {
  const value = page.items.map((item) => ({
    attributes: attributes(item.attributes, asked.query),
    kid: withVersion ? keyId(base, item.name, item.version) : `${base}/keys/${item.name}`,
    tags: item.tags,
  }));
  return toJson({ nextLink: nextLink(base, path, page.next, asked), value });
}

/** A page of DeletedKeyItems. */
export function deletedKeyPage(base: string, page: Page<DeletedKeyItemView>, asked: Asked): string {
  const value = page.items.map((item) => ({
    attributes: attributes(item.attributes, asked.query),
    kid: `${base}/keys/${item.name}`,
    tags: item.tags,
    ...deletion(base, item.name, item),
  }));
  return toJson({ nextLink: nextLink(base, 'deletedkeys', page.next, asked), value });
}

/** RotationPolicy; blank where there is none. */
export function rotationPolicy(name: string, policy: RotationPolicy | undefined): string {
  return toJson({
    attributes: { created: policy?.created, expiryTime: policy?.expiryTime, updated: policy?.updated },
    // Relative, as the service writes it.
    id: `keys/${name}/rotationpolicy`,
    lifetimeActions: (policy?.actions ?? []).map(({ type, timeAfterCreate, timeBeforeExpiry }) => ({
      action: { type },
      trigger: { timeAfterCreate, timeBeforeExpiry },
    })),
  });
}

/** What the client asked of a list. */
export interface Asked {
  readonly limit: number;
  readonly query: Query;
}

/** `kid`: the URL of a version. */
export function keyId(base: string, name: string, version: string): string {
  return `${base}/keys/${name}/${version}`;
}

/** A place in a list as an opaque token, and back. */
function toToken(place: string): string {
  return Buffer.from(place).toString('base64url');
}

/** Absolute, without an api-version, and with a bare `$`, as the service writes it. */
function nextLink(
  base: string,
  path: string,
  next: string | undefined,
  { limit }: Asked,
): string | undefined {
  return next === undefined ? undefined : `${base}/${path}?maxresults=${limit}&$skiptoken=${toToken(next)}`;
}

function bundle(base: string, query: Query, key: KeyView): { readonly [member: string]: Json | undefined } {
  return {
    attributes: attributes(key.attributes, query),
    key: webKey(base, key),
    release_policy: key.releasePolicy && {
      contentType: key.releasePolicy.contentType,
      data: toBase64url(Buffer.from(key.releasePolicy.text)),
      immutable: key.releasePolicy.immutable,
    },
    tags: key.tags,
  };
}

function webKey(base: string, key: KeyView): Json {
  const common = { key_ops: key.operations, kid: keyId(base, key.name, key.version), kty: key.spec.kty };
  const part = key.public;
  switch (part?.kty) {
    case 'RSA':
      return { ...common, e: toBase64url(part.e), n: toBase64url(part.n) };
    case 'EC':
      return { ...common, crv: part.curve, x: toBase64url(part.x), y: toBase64url(part.y) };
    case undefined:
      return common;
  }
}

/** `attributes`, as the client's api-version knows them. */
export function attributes(view: AttributesView, { apiVersion }: Query) {
  return {
    created: view.created,
    enabled: view.enabled,
    exp: view.expires,
    exportable: view.exportable,
    key_size: knows(apiVersion, '2026-01-01-preview') ? view.keySize : undefined,
    nbf: view.notBefore,
    recoverableDays: view.retentionDays,
    recoveryLevel: recoveryLevel(view),
    updated: view.updated,
  };
}

/** The name follows from the pool's retention and purge protection (section 7 of the reference). */
function recoveryLevel({ retentionDays, purgeProtection }: AttributesView): string {
  return `${retentionDays === 90 ? '' : 'Customized'}Recoverable${purgeProtection ? '' : '+Purgeable'}`;
}

function deletion(base: string, name: string, { deleted, scheduledPurge }: DeletionView) {
  return {
    deletedDate: deleted,
    recoveryId: `${base}/deletedkeys/${name}`,
    scheduledPurgeDate: scheduledPurge,
  };
}
