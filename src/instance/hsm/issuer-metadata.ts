// The signing keys of attestation services, read over HTTPS from where OpenID Connect Discovery 1.0 says
// (`{issuer}/.well-known/openid-configuration`, then its `jwks_uri`). Only an issuer that the pool trusts is ever
// asked, and it is asked nothing of a caller's choosing: no redirect is followed, no proxy used, the keys must come
// from the issuer's own origin, and answers are bounded in size and time. Whose key it is follows from TLS alone; the
// certificates in `x5c` carry the keys and are not validated as a chain, as those services sign them themselves.
import { X509Certificate, type KeyObject } from 'node:crypto';
import { request } from 'node:https';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { fromBase64url, trimInteger } from '../../values/bytes.js';
import type { TrustedAttestor } from '../../values/messages.js';
import { sameAuthority } from '../model/release/policy.js';
import { refuse } from './reading.js';

/** A key that verifies assertions. */
export interface SigningKey {
  readonly kid: string;
  readonly kty: 'RSA' | 'EC';
  /** The only algorithm that the key is for, if the issuer says so. */
  readonly alg?: string;
  readonly publicKey: KeyObject;
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
  /** After a failed attempt, and after one that did not know a key, nobody is asked for so long. */
  readonly restMs: number;
}

export const LIMITS: MetadataLimits = { bytesMax: 262_144, msMax: 5_000, keepMs: 300_000, restMs: 10_000 };

const KEYS_MAX = 200;
const ISSUERS_MAX = 100;
const RSA_MIN = 2_048;
const RSA_MAX = 8_192;
const ISSUER = /^https:\/\/[^\s?#@\\]+$/;

/** Refuses a trust list with an entry that could never be asked, or with one issuer twice. */
export function checkAttestors(attestors: readonly TrustedAttestor[]): void {
  attestors.forEach(({ issuer, ca }, place) => {
    if (!ISSUER.test(issuer) || !URL.canParse(issuer)) {
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

  /** `ticks` is a monotonic clock in milliseconds. */
  constructor(limits: MetadataLimits = LIMITS, ticks: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#ticks = ticks;
  }

  /**
   * The issuer's keys of this `kid`; none if it has none. Many calls at once are one question to the issuer, and one
   * that failed or brought nothing new is not repeated for a while, whoever asks. Rejects with {@link MetadataError}.
   */
  async keysFor(attestor: TrustedAttestor, kid: string): Promise<readonly SigningKey[]> {
    const { keepMs, restMs } = this.#limits;
    const id = JSON.stringify([attestor.issuer, attestor.ca]);
    let known = this.#known.get(id);
    if (!known) {
      known = { keys: undefined, readAt: 0, triedAt: -Infinity, problem: '', attempt: undefined };
      this.#known.set(id, known);
    }
    const fresh = () => (known.keys && this.#ticks() - known.readAt < keepMs ? known.keys : undefined);
    const named = (keys: readonly SigningKey[]) => keys.filter((key) => key.kid === kid);

    const before = fresh();
    if (before && named(before).length > 0) return named(before);
    if (known.attempt) await known.attempt;
    else if (this.#ticks() - known.triedAt >= restMs) {
      known.attempt = this.#read(attestor, known);
      await known.attempt;
    }
    const after = fresh();
    if (!after) throw new MetadataError(known.problem);
    return named(after);
  }

  /** Never rejects: those who wait find what has become of it. */
  async #read(attestor: TrustedAttestor, known: Known): Promise<void> {
    try {
      known.keys = await readKeys(attestor, this.#limits);
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
const keyShape = z.object({
  kid: z.string().min(1).max(1_024),
  kty: z.enum(['RSA', 'EC']),
  x5c: z.array(z.string()).min(1),
  use: z.literal('sig').optional(),
  alg: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  crv: z.string().optional(),
  x: z.string().optional(),
  y: z.string().optional(),
});

async function readKeys(attestor: TrustedAttestor, limits: MetadataLimits): Promise<readonly SigningKey[]> {
  const issuer = attestor.issuer.endsWith('/') ? attestor.issuer.slice(0, -1) : attestor.issuer;
  const end = AbortSignal.timeout(limits.msMax);
  const where = new URL(`${issuer}/.well-known/openid-configuration`);
  const discovery = discoveryShape.safeParse(await getJson(where, attestor, limits, end));
  if (!discovery.success) throw new MetadataError('The metadata of the issuer have another form');
  if (!sameAuthority(discovery.data.issuer, issuer)) {
    throw new MetadataError('The metadata are those of another issuer');
  }
  const { jwks_uri } = discovery.data;
  // Its own origin: an issuer cannot send the pool to look at an address of its choosing.
  if (!ISSUER.test(jwks_uri) || !URL.canParse(jwks_uri) || new URL(jwks_uri).origin !== where.origin) {
    throw new MetadataError('The keys of the issuer are not at its own origin');
  }
  const set = setShape.safeParse(await getJson(new URL(jwks_uri), attestor, limits, end));
  if (!set.success) throw new MetadataError('The keys of the issuer have another form');
  return set.data.keys.map(signingKey).filter((key) => key !== undefined);
}

function getJson(
  url: URL,
  { ca }: TrustedAttestor,
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

/** The key of a JWK as its certificate has it, if the JWK has all that one must have and nothing contradicts it. */
function signingKey(value: unknown): SigningKey | undefined {
  const parsed = keyShape.safeParse(value);
  if (!parsed.success) return undefined;
  const { kid, kty, alg, x5c, ...jwk } = parsed.data;
  const publicKey = keyOfCertificate(x5c[0] ?? '');
  if (publicKey?.asymmetricKeyType !== kty.toLowerCase()) return undefined;
  if (kty === 'RSA') {
    const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < RSA_MIN || bits > RSA_MAX) return undefined;
  }
  const certified = publicKey.export({ format: 'jwk' });
  for (const member of ['n', 'e', 'x', 'y'] as const) {
    if (jwk[member] !== undefined && !sameInteger(jwk[member], certified[member])) return undefined;
  }
  if (jwk.crv !== undefined && jwk.crv !== certified.crv) return undefined;
  return { kid, kty, ...(alg === undefined ? {} : { alg }), publicKey };
}

function keyOfCertificate(text: string): KeyObject | undefined {
  try {
    const der = Buffer.from(text, 'base64');
    const certificate = new X509Certificate(der);
    return certificate.raw.equals(der) ? certificate.publicKey : undefined;
  } catch {
    return undefined;
  }
}

function sameInteger(a: string, b: string | undefined): boolean {
  const [left, right] = [fromBase64url(a), fromBase64url(b ?? '')];
  return left !== undefined && right !== undefined && trimInteger(left).equals(trimInteger(right));
}

function isPem(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    return false;
  }
}
