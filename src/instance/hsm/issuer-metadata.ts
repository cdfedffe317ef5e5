// The signing keys of issuers (attestation services and OpenID providers), read over HTTPS from where OpenID Connect
// Discovery 1.0 says (`{issuer}/.well-known/openid-configuration`, then its `jwks_uri`). Only an issuer that the pool
// trusts is ever asked, and it is asked nothing of a caller's choosing: no redirect is followed, no proxy used, the
// keys must come from the origin of the metadata, and answers are bounded in size and time. Whose key it is follows
// from TLS alone; the certificates in `x5c` are not validated as a chain, as the services sign them themselves.
import { X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import { LRUCache } from 'lru-cache';
import * as z from 'zod';
import type { TrustedAttestor, TrustedIssuer } from '../../values/messages.js';
import { sameAuthority } from '../model/release/policy.js';
import { certifiedKey, type KeyOf, type SigningKey } from './published-key.js';
import { refuse } from './reading.js';

/** Who is asked, and where. */
export interface MetadataSource {
  readonly issuer: string;
  /** If not at the place that the issuer's name leads to. */
  readonly metadataUrl?: string;
  /** PEM of the only authorities that may certify it. */
  readonly ca?: string;
}

/** The issuer's metadata cannot be had, or are not what they must be. The words name no content of an answer. */
export class MetadataError extends Error {
  override readonly name = 'MetadataError';
}

export interface MetadataLimits {
  /** Octets of one answer. */
  readonly bytesMax: number;
  /** For both answers together. */
  readonly msMax: number;
  /** How long keys are believed without being read again: so long may one that was withdrawn still count. */
  readonly keepMs: number;
  /** Keys older than this are read again while they go on being used; no later than `keepMs`. */
  readonly refreshMs: number;
  /** After a failed attempt, and after one that did not know a key, nobody is asked for so long. */
  readonly restMs: number;
}

export const LIMITS: MetadataLimits = {
  bytesMax: 262_144,
  msMax: 5_000,
  keepMs: 300_000,
  refreshMs: 300_000,
  restMs: 10_000,
};

/**
 * For issuers of access tokens, whose absence for a while must not stop who has a token: they live for an hour, and
 * for so long their keys are kept where no newer ones can be had.
 */
export const TOKEN_LIMITS: MetadataLimits = { ...LIMITS, keepMs: 3_600_000 };

const KEYS_MAX = 200;
const ISSUERS_MAX = 100;
const ISSUER = /^https:\/\/[^\s?#@\\]+$/;

/** Refuses a trust list with an entry that could never be asked, or with one issuer twice. */
export function checkAttestors(attestors: readonly TrustedAttestor[]): void {
  attestors.forEach(({ issuer, ca }, place) => {
    if (!isHttps(issuer)) {
      refuse(
        'BadParameter',
        `Attestor ${place + 1}: the issuer must be an https URL without user, query and fragment`,
      );
    }
    if (attestors.findIndex((other) => sameAuthority(other.issuer, issuer)) !== place) {
      refuse('BadParameter', `Attestor ${place + 1}: the issuer is on the list already`);
    }
    if (ca !== undefined && !isPem(ca)) {
      refuse('BadParameter', `Attestor ${place + 1}: 'ca' must hold certificates in PEM`);
    }
  });
}

/** Refuses a list of issuers with an entry that could never be believed, or with one issuer twice. */
export function checkIssuers(issuers: readonly TrustedIssuer[]): void {
  issuers.forEach((trusted, place) => {
    const bad = (problem: string) => refuse('BadParameter', `Issuer ${place + 1}: ${problem}`);
    if (issuers.findIndex(({ issuer }) => issuer === trusted.issuer) !== place)
      bad('it is on the list already');
    if (trusted.keys !== undefined) return;
    const { issuer, metadataUrl = issuer, ca, audience } = trusted;
    if (!isHttps(issuer)) bad('it must be an https URL without user, query and fragment');
    if (!isHttps(metadataUrl)) bad("'metadataUrl' must be an https URL without user, query and fragment");
    if (ca !== undefined && !isPem(ca)) bad("'ca' must hold certificates in PEM");
    if (audience === '') bad("'audience' must not be empty");
  });
}

/** True for an https URL without user, query and fragment. */
function isHttps(url: string): boolean {
  return ISSUER.test(url) && URL.canParse(url);
}

interface Known {
  keys: readonly SigningKey[] | undefined;
  /** By the monotonic clock, in milliseconds: of the keys, and of the last attempt. */
  readAt: number;
  triedAt: number;
  problem: string;
  attempt: Promise<void> | undefined;
}

/** Remembers what issuers have said; one for the life of the process. */
export class IssuerMetadata {
  readonly #known = new LRUCache<string, Known>({ max: ISSUERS_MAX });
  readonly #limits: MetadataLimits;
  readonly #ticks: () => number;
  readonly #keyOf: KeyOf;

  /** `ticks` is a monotonic clock in milliseconds. */
  constructor(
    limits: MetadataLimits = LIMITS,
    ticks: () => number = () => performance.now(),
    keyOf: KeyOf = certifiedKey,
  ) {
    this.#limits = limits;
    this.#ticks = ticks;
    this.#keyOf = keyOf;
  }

  /**
   * The issuer's keys of this `kid`; none if it has none. Many calls at once are one question to the issuer, and one
   * that failed or brought nothing new is not repeated for a while, whoever asks. Rejects with {@link MetadataError}.
   */
  async keysFor(source: MetadataSource, kid: string): Promise<readonly SigningKey[]> {
    const { keepMs, refreshMs, restMs } = this.#limits;
    const id = JSON.stringify([source.issuer, source.metadataUrl, source.ca]);
    let known = this.#known.get(id);
    if (!known) {
      known = { keys: undefined, readAt: 0, triedAt: -Infinity, problem: '', attempt: undefined };
      this.#known.set(id, known);
    }
    const fresh = () => (known.keys && this.#ticks() - known.readAt < keepMs ? known.keys : undefined);
    const named = (keys: readonly SigningKey[]) => keys.filter((key) => key.kid === kid);

    const mayTry = () => !known.attempt && this.#ticks() - known.triedAt >= restMs;

    const before = fresh();
    if (before && named(before).length > 0) {
      if (this.#ticks() - known.readAt >= refreshMs && mayTry()) known.attempt = this.#read(source, known);
      return named(before);
    }
    if (mayTry()) known.attempt = this.#read(source, known);
    await known.attempt;
    const after = fresh();
    if (!after) throw new MetadataError(known.problem);
    return named(after);
  }

  /** Never rejects: those who wait find what has become of it. */
  async #read(source: MetadataSource, known: Known): Promise<void> {
    try {
      known.keys = (await readKeys(source, this.#limits)).map(this.#keyOf).filter((key) => key !== undefined);
      known.readAt = this.#ticks();
      known.problem = 'The keys of the issuer are too old';
    } catch (error) {
      known.problem =
        error instanceof MetadataError ? error.message : 'The metadata of the issuer could not be read';
    } finally {
      known.triedAt = this.#ticks();
      known.attempt = undefined;
    }
  }
}

const discoveryShape = z.object({ issuer: z.string(), jwks_uri: z.string() });
const setShape = z.object({ keys: z.array(z.unknown()).max(KEYS_MAX) });
/** The JWKs as they are published. */
async function readKeys(source: MetadataSource, limits: MetadataLimits): Promise<readonly unknown[]> {
  const issuer = source.issuer.endsWith('/') ? source.issuer.slice(0, -1) : source.issuer;
  const end = AbortSignal.timeout(limits.msMax);
  const where = new URL(source.metadataUrl ?? `${issuer}/.well-known/openid-configuration`);
  const discovery = discoveryShape.safeParse(await getJson(where, source, limits, end));
  if (!discovery.success) throw new MetadataError('The metadata of the issuer have another form');
  if (!sameAuthority(discovery.data.issuer, issuer)) {
    throw new MetadataError('The metadata are those of another issuer');
  }
  const { jwks_uri } = discovery.data;
  // Its own origin: an issuer cannot send the pool to look at an address of its choosing.
  if (!isHttps(jwks_uri) || new URL(jwks_uri).origin !== where.origin) {
    throw new MetadataError('The keys of the issuer are not at its own origin');
  }
  const set = setShape.safeParse(await getJson(new URL(jwks_uri), source, limits, end));
  if (!set.success) throw new MetadataError('The keys of the issuer have another form');
  return set.data.keys;
}

function getJson(
  url: URL,
  { ca }: MetadataSource,
  { bytesMax }: MetadataLimits,
  signal: AbortSignal,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const unreachable = () => reject(new MetadataError('The metadata of the issuer could not be read'));
    const asked = request(url, {
      // A connection of its own, verified whatever the environment says.
      agent: false,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      headers: { accept: 'application/json', 'accept-encoding': 'identity' },
      signal,
    });
    asked.on('error', unreachable);
    asked.on('response', (answer) => {
      const refused = (problem: string) => {
        reject(new MetadataError(problem));
        asked.destroy();
      };
      if (answer.statusCode !== 200) {
        refused('The issuer did not answer with its metadata');
        return;
      }
      const parts: Buffer[] = [];
      let size = 0;
      answer.on('error', unreachable);
      answer.on('data', (part: Buffer) => {
        size += part.length;
        if (size > bytesMax) refused('The metadata of the issuer are too long');
        else parts.push(part);
      });
      answer.on('end', () => {
        try {
          resolve(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))));
        } catch {
          reject(new MetadataError('The metadata of the issuer have another form'));
        }
      });
    });
    asked.end();
  });
}

function isPem(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    return false;
  }
}
