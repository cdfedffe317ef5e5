// Whom this pool trusts: issuers of tokens, and hosts and measurements of instances.
import { createHash } from 'node:crypto';
import { newUuid } from '../../values/ids.js';
import type { Founding, PublishingIssuer, TrustedIssuer } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import type { TrustChange } from '../model/mutation.js';
import { POOL, type Pool } from '../model/pool.js';
import { isHostKey, isMeasurement } from '../model/trust.js';
import type { Caller } from '../model/rbac/records.js';
import type { State } from '../model/state.js';
import type { AllowedInstances } from '../replication/attestor.js';
import type { Hsm } from './hsm.js';
import { checkIssuers } from './issuer-metadata.js';
import { allow, refuse, settledRead } from './reading.js';

export interface Trust {
  readonly tenantId: string;
  readonly issuers: readonly TrustedIssuer[];
}

/** What tokens are judged by. Before the pool is founded there is nobody whose token could be believed: refused. */
export function trustOf(hsm: Hsm): Trust {
  return hsm.state.get('pool', POOL) ?? refuse('NotActivated', 'The HSM is not activated');
}

/** The pool's clock, by which tokens begin and end. */
export function timeOf(hsm: Hsm): Seconds {
  return hsm.now();
}

/** All that a pool trusts; hosts and issuers with the names that they are removed by. */
export interface TrustView {
  readonly hosts: readonly { readonly id: string; readonly publicKey: string }[];
  readonly measurements: readonly string[];
  readonly issuers: readonly { readonly id: string; readonly issuer: TrustedIssuer }[];
  /** Of the build that the answering instance runs. */
  readonly running: string;
}

/**
 * Which instances are let in now: by the state, once there is one. Before, whoever may not `found` the pool has nothing
 * to lose yet, and cannot know what may run by now; founders run one build. `own` is this instance's measurement.
 */
export function allowedInstances(
  state: State | undefined,
  { founding, found }: { readonly founding: Founding; readonly found: boolean },
  own: string,
): AllowedInstances {
  const pool = state?.get('pool', POOL);
  if (pool) return pool.trust;
  return { hosts: founding.trust?.hosts ?? [], measurements: found ? [own] : 'any' };
}

/**
 * Why this very instance would not be let in by others whose state is this one, in words for the owner; undefined when
 * it would, or there is no pool yet.
 */
export function refusedHere(state: State, { measurement, host }: Hsm['attested']): string | undefined {
  const trust = state.get('pool', POOL)?.trust;
  if (!trust) return undefined;
  if (!trust.hosts.includes(host)) {
    return "the pool has not enrolled this host's key: restore the one it was made with, or enrol this one first";
  }
  if (trust.measurements.includes(measurement)) return undefined;
  return (
    `the pool does not allow what runs here, measurement ${measurement}: run what ran before, and allow this one with ` +
    '`trivet pool trust allow-measurement` before it is started'
  );
}

/** Name of an enrolled host: SHA-256 of its public key (DER), lower-case hex. */
export function hostId(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex');
}

/** Name of an issuer: SHA-256 of its `iss`, lower-case hex. A URL is no good segment of a path. */
export function issuerId({ issuer }: TrustedIssuer): string {
  return createHash('sha256').update(issuer).digest('hex');
}

/** What is trusted now. */
export function showTrust(hsm: Hsm, caller: Caller): TrustView | Promise<TrustView> {
  return settledRead(hsm, caller, undefined, () =>
    viewOf(hsm, allow(hsm, caller, 'settings/read/action', '/')),
  );
}

/** Enrols a host; `id` is its {@link hostId}. Gives all that is trusted then. */
export async function addHost(hsm: Hsm, caller: Caller, id: string, publicKey: string): Promise<TrustView> {
  await mayChange(hsm, caller);
  if (!isHostKey(publicKey)) {
    refuse('BadParameter', "'publicKey' must be an Ed25519 key (SubjectPublicKeyInfo, DER) in base64url");
  }
  if (id !== hostId(publicKey)) refuse('BadParameter', "The path must end in the SHA-256 of 'publicKey'");
  return change(hsm, caller, { list: 'hosts', add: publicKey });
}

/** Allows a build to take part. */
export async function allowMeasurement(hsm: Hsm, caller: Caller, measurement: string): Promise<TrustView> {
  await mayChange(hsm, caller);
  if (!isMeasurement(measurement)) refuse('BadParameter', 'A measurement has 64 hex digits');
  return change(hsm, caller, { list: 'measurements', add: measurement });
}

/** Trusts an OpenID provider, or the same one under other terms; `id` is its {@link issuerId}. */
export async function addIssuer(
  hsm: Hsm,
  caller: Caller,
  id: string,
  issuer: PublishingIssuer,
): Promise<TrustView> {
  await mayChange(hsm, caller);
  checkIssuers([issuer]);
  if (id !== issuerId(issuer)) refuse('BadParameter', "The path must end in the SHA-256 of 'issuer'");
  return change(hsm, caller, { list: 'issuers', add: issuer });
}

/** Trusts a host, a measurement or an issuer no more. */
export async function removeTrust(
  hsm: Hsm,
  caller: Caller,
  list: TrustChange['list'],
  id: string,
): Promise<TrustView> {
  const { trust, issuers } = await mayChange(hsm, caller);
  const meant = {
    hosts: () => trust.hosts.find((key) => hostId(key) === id),
    measurements: () => trust.measurements.find((measurement) => measurement === id),
    issuers: () => issuers.find((issuer) => issuerId(issuer) === id)?.issuer,
  };
  const found = meant[list]() ?? refuse('TrustNotFound', list.slice(0, -1));
  // The others run on the same, as a rule: the pool would fall apart with the answer.
  if (found === hsm.attested.measurement) {
    refuse(
      'TrustNeeded',
      'The instance that is to remove it runs this very build; restart the pool on another first',
    );
  }
  if (found === hsm.attested.host) {
    refuse('TrustNeeded', 'The instance that is to remove it runs on this very host');
  }
  return change(hsm, caller, list === 'issuers' ? { list, remove: found } : { list, remove: found });
}

const ACTION = 'settings/write/action';

/** Nothing is said of what a change would do to who may not make one. */
async function mayChange(hsm: Hsm, caller: Caller): Promise<Pool> {
  return settledRead(hsm, caller, undefined, () => allow(hsm, caller, ACTION, '/'));
}

async function change(hsm: Hsm, caller: Caller, what: TrustChange): Promise<TrustView> {
  const { changes } = await hsm.submit({
    kind: 'TrustChanged',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action: ACTION, scope: '/' },
    change: what,
  });
  const pool = changes.find(({ table }) => table === 'pool')?.value;
  return viewOf(hsm, pool as Pool);
}

function viewOf(hsm: Hsm, { trust, issuers }: Pool): TrustView {
  return {
    hosts: trust.hosts.map((publicKey) => ({ id: hostId(publicKey), publicKey })),
    measurements: trust.measurements,
    issuers: issuers.map((issuer) => ({ id: issuerId(issuer), issuer })),
    running: hsm.attested.measurement,
  };
}
