// Whom a pool trusts besides its members: hosts and measurements of instances, and issuers of tokens. Lists that only
// an Administrator changes once the pool is founded. Knows no clock and no certificate; what it takes to ask an issuer
// was checked before.
import { assert } from '../../values/assert.js';
import { fromBase64url, toBase64url } from '../../values/bytes.js';
import type { TrustChange, TrustChanged } from './mutation.js';
import { POOL, type Pool } from './pool.js';
import { Refusal } from './refusal.js';
import { put, type Change, type State } from './state.js';

/** Entries that each list may have. */
export const TRUSTED_MAX = 20;

/** SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), without the key itself. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const ED25519_BYTES = 32;

/** Whether it is a measurement: a SHA-256 in lower-case hex. */
export function isMeasurement(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Whether it is a host's public key as it is enrolled. */
export function isHostKey(text: string): boolean {
  const spki = fromBase64url(text);
  return (
    spki !== undefined &&
    spki.length === ED25519_SPKI.length + ED25519_BYTES &&
    spki.subarray(0, ED25519_SPKI.length).equals(ED25519_SPKI) &&
    // One spelling each, so that it is removed when it is removed.
    toBase64url(spki) === text
  );
}

/** Changes one of the lists of a founded pool; each keeps one entry at least and {@link TRUSTED_MAX} at most. */
export function changeTrust(state: State, { change }: TrustChanged): Change[] | Refusal {
  const pool = state.get('pool', POOL);
  assert(pool !== undefined, 'an active pool is founded');
  const changed = change.list === 'issuers' ? withIssuers(pool, change) : withInstances(pool, change);
  return changed instanceof Refusal ? changed : [put('pool', POOL, changed)];
}

function withIssuers(pool: Pool, change: Extract<TrustChange, { list: 'issuers' }>): Pool | Refusal {
  const { issuers } = pool;
  if ('remove' in change) {
    const left = without(issuers, ({ issuer }) => issuer === change.remove, 'issuer');
    return left instanceof Refusal ? left : { ...pool, issuers: left };
  }
  const place = issuers.findIndex(({ issuer }) => issuer === change.add.issuer);
  if (place >= 0) return { ...pool, issuers: issuers.with(place, change.add) };
  const more = and(issuers, change.add, 'issuers');
  return more instanceof Refusal ? more : { ...pool, issuers: more };
}

function withInstances(pool: Pool, change: Exclude<TrustChange, { list: 'issuers' }>): Pool | Refusal {
  const { list } = change;
  const present = pool.trust[list];
  const noun = list === 'hosts' ? 'host' : 'measurement';
  let next: readonly string[] | Refusal;
  if ('remove' in change) {
    next = without(present, (entry) => entry === change.remove, noun);
  } else {
    const isSound = list === 'hosts' ? isHostKey : isMeasurement;
    if (!isSound(change.add)) return new Refusal('BadParameter', `This is no ${noun}`);
    next = present.includes(change.add) ? present : and(present, change.add, list);
  }
  return next instanceof Refusal ? next : { ...pool, trust: { ...pool.trust, [list]: next } };
}

function and<T>(present: readonly T[], added: T, list: string): readonly T[] | Refusal {
  if (present.length < TRUSTED_MAX) return [...present, added];
  return new Refusal('TooMuchTrusted', `${TRUSTED_MAX} ${list}`);
}

function without<T>(
  present: readonly T[],
  isMeant: (entry: T) => boolean,
  noun: string,
): readonly T[] | Refusal {
  const left = present.filter((entry) => !isMeant(entry));
  if (left.length === present.length) return new Refusal('TrustNotFound', noun);
  if (left.length > 0) return left;
  const lost = noun === 'issuer' ? 'nobody could log in any more' : 'no instance could come in any more';
  return new Refusal('TrustNeeded', `This is the last ${noun}: without it ${lost}`);
}
