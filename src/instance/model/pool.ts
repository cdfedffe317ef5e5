// The pool itself: what it was founded with, and its own keys.
import type { SealedKey } from '../../values/key-spec.js';
import type { Seconds } from '../../values/moments.js';
import type { Founding } from '../../values/messages.js';
import type { PoolFounded } from './mutation.js';
import { put, type Change, type State } from './state.js';
import { Refusal } from './refusal.js';
import { assign } from './rbac/assign.js';
import { ADMINISTRATOR, CRYPTO_OFFICER, CRYPTO_USER } from './rbac/built-in-roles.js';

export interface Pool {
  readonly name: string;
  readonly founded: Seconds;
  readonly activation: 'Active' | 'NotActivated';
  readonly tenantId: string;
  readonly issuers: Founding['issuers'];
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
}

/** A key of the pool's own, sealed like any other, with the certificate that goes with it. */
export interface InternalKey {
  readonly sealed: SealedKey;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** Id of the key that issues the data plane's TLS certificates. */
export const TLS_ISSUER = 'tls-issuer';

/** The one record of the `pool` table; the service asserts that it is there once the pool is founded. */
export const POOL = 'pool';

/** Founds the pool: once, on an empty state. */
export function found(state: State, mutation: PoolFounded): Change[] | Refusal {
  if (state.get('pool', POOL) !== undefined) return new Refusal('AlreadyFounded', mutation.pool);
  const { founding } = mutation;
  const pool: Pool = {
    name: mutation.pool,
    founded: mutation.time,
    activation: 'Active',
    tenantId: founding.tenantId,
    issuers: founding.issuers,
    retentionDays: founding.retentionDays,
    purgeProtection: founding.purgeProtection,
  };
  const changes = [put('pool', POOL, pool), put('internal', TLS_ISSUER, mutation.tlsIssuer)];
  // Object ids are GUIDs and mean the same in any case; tokens are compared in lower case.
  const administrators = founding.administrators.map((id) => id.toLowerCase());
  const cryptoUsers = founding.cryptoUsers.map((id) => id.toLowerCase());
  const wished = [
    ...administrators.map((principal) => [principal, ADMINISTRATOR] as const),
    ...cryptoUsers.map((principal) => [principal, CRYPTO_OFFICER] as const),
    ...cryptoUsers.map((principal) => [principal, CRYPTO_USER] as const),
  ];
  return [...changes, ...assign(state, wished, mutation.assignmentIds)];
}
