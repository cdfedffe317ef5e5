// Who asks: bearer tokens of the issuers that the pool trusts (RFC 7519, RFC 8725). Everything about a token is
// checked here, once; the outcome is kept by the token's hash for five minutes at most. Why a token was refused is
// said in general words only. What an issuer puts into its tokens besides (the shapes differ between versions 1.0 and
// 2.0) does not count: neither the application nor the name of a user decides anything here.
import { hash, type KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { compactVerify, createLocalJWKSet, decodeJwt, type CompactVerifyGetKey } from 'jose';
import * as z from 'zod';
import type { Hsm } from '../hsm/hsm.js';
import { IssuerMetadata, MetadataError, TOKEN_LIMITS, type MetadataSource } from '../hsm/issuer-metadata.js';
import { plainKey } from '../hsm/published-key.js';
import { timeOf, trustOf, type Trust } from '../hsm/trust.js';

/** A caller: an object id of the tenant, and the groups that the token names. Both in lower case. */
export interface Identity {
  readonly objectId: string;
  readonly groups: readonly string[];
}

/** What else a token says of its bearer: for the audit log, and for nothing that is decided. */
export interface Claims {
  readonly appId?: string;
  readonly upn?: string;
}

// Beside the identity, which goes into mutations as it is.
const claims = new WeakMap<Identity, Claims>();

/** What the token of a caller said besides. */
export function claimsOf(caller: Identity): Claims {
  return claims.get(caller) ?? {};
}

/** The request carries no token, or none that is believed. */
export class Unauthenticated extends Error {
  override readonly name = 'Unauthenticated';
  constructor(
    /** Undefined when no token came at all. */
    readonly problem: string | undefined,
  ) {
    super(problem ?? 'no token');
  }
}

export interface Identify {
  /** Returns at once for a token seen lately. Throws or rejects with {@link Unauthenticated}. */
  (authorization: string | undefined): Identity | Promise<Identity>;
}

const TOKEN_MAX = 16_384;
const GROUPS_MAX = 200;
const CACHE_TOKENS = 10_000;
const CACHE_SECONDS = 300;
/** Clocks of issuer and pool may differ; a token that has ended gets no such grace. */
const NOT_BEFORE_LEEWAY = 60;
// Symmetric algorithms are left out: with them a public key would serve as the secret.
const keyTypeOf: Readonly<Record<string, 'RSA' | 'EC'>> = { RS256: 'RSA', PS256: 'RSA', ES256: 'EC' };
const ALGORITHMS = Object.keys(keyTypeOf);

const guid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i)
  .transform((text) => text.toLowerCase());

const SHOWN_MAX = 128;
const shown = z
  .string()
  .transform((text) => text.slice(0, SHOWN_MAX))
  .optional()
  .catch(undefined);

const claimsShape = z.object({
  iss: z.string(),
  aud: z.string(),
  tid: z.string(),
  oid: guid,
  exp: z.number(),
  nbf: z.number().optional(),
  groups: z.array(guid).optional(),
  appid: shown,
  azp: shown,
  upn: shown,
  preferred_username: shown,
  // A token of somebody in many groups has these instead of the groups and tells where to ask for them. Nobody is
  // asked, and what her rights are cannot be told from it.
  hasgroups: z.unknown().optional(),
  _claim_names: z.record(z.string(), z.unknown()).optional().catch(undefined),
});

interface Known {
  readonly identity: Identity;
  readonly from: number;
  readonly until: number;
}

/** How one issuer's tokens are judged. */
interface Judge {
  /** Finds the key that a token's header asks for. */
  readonly key: CompactVerifyGetKey;
  readonly isAudience: (aud: string) => boolean;
}

/** What issuers of tokens have published; one for the life of the process. `ticks` is a monotonic clock, in ms. */
export function tokenKeys(ticks?: () => number): IssuerMetadata {
  return new IssuerMetadata(TOKEN_LIMITS, ticks, plainKey);
}

/**
 * `audience` says which values of `aud` mean this service; `applications`, whether those do too that an issuer was named
 * with.
 */
export function createIdentify(
  hsm: Hsm,
  audience: RegExp,
  metadata: IssuerMetadata = tokenKeys(),
  applications = true,
): Identify {
  const known = new LRUCache<string, Known>({ max: CACHE_TOKENS });
  const judges = new Map<string, Judge>();
  let trust: Trust | undefined;
  let trustText = '';
  let clockOffset = hsm.clockOffset;

  /** What tokens are judged by; forgets every token when that has changed. */
  function currentTrust(): Trust {
    const current = trustOf(hsm);
    if (current !== trust) {
      const text = JSON.stringify([current.tenantId, current.issuers]);
      if (text !== trustText) {
        known.clear();
        judges.clear();
        trustText = text;
      }
      trust = current;
    }
    return current;
  }

  function judgeOf({ issuers }: Trust, issuer: string | undefined): Judge {
    const cached = issuer === undefined ? undefined : judges.get(issuer);
    if (cached) return cached;
    const trusted = issuers.find((candidate) => candidate.issuer === issuer);
    if (!trusted) throw new Unauthenticated('The issuer of the token is not trusted');
    const own = trusted.keys || !applications ? undefined : trusted.audience?.replace(/\/$/, '');
    const made: Judge = {
      key: trusted.keys
        ? createLocalJWKSet({ keys: trusted.keys.map((key) => ({ kty: '', ...key })) })
        : ({ alg, kid }) => publishedKey(metadata, trusted, alg, kid),
      isAudience: (aud) =>
        audience.test(aud) || (own !== undefined && (aud.endsWith('/') ? aud.slice(0, -1) : aud) === own),
    };
    judges.set(trusted.issuer, made);
    return made;
  }

  async function verified(token: string, id: string): Promise<Identity> {
    const judgedBy = currentTrust();
    const issuer = issuerOf(token);
    const judge = judgeOf(judgedBy, issuer);
    let payload: unknown;
    try {
      const { payload: bytes } = await compactVerify(token, judge.key, { algorithms: ALGORITHMS });
      payload = JSON.parse(Buffer.from(bytes).toString('utf8'));
    } catch (error) {
      if (error instanceof Unauthenticated) throw error;
      throw new Unauthenticated('The token is not validly signed');
    }
    const parsed = claimsShape.safeParse(payload);
    if (!parsed.success) throw new Unauthenticated('A claim of the token is missing or malformed');
    const { iss, aud, tid, oid, exp, nbf } = parsed.data;
    const now = timeOf(hsm);
    // Each issuer speaks for itself only.
    if (iss !== issuer) throw new Unauthenticated('The issuer of the token is not trusted');
    if (!judge.isAudience(aud)) throw new Unauthenticated('The audience of the token is another service');
    if (tid.toLowerCase() !== judgedBy.tenantId.toLowerCase()) {
      throw new Unauthenticated('The token belongs to another tenant');
    }
    if (now >= exp) throw new Unauthenticated('The token has expired');
    if (nbf !== undefined && now < nbf - NOT_BEFORE_LEEWAY) {
      throw new Unauthenticated('The token is not yet valid');
    }
    const { groups = [] } = parsed.data;
    if (leavesGroupsOut(parsed.data)) {
      throw new Unauthenticated('The token does not name the groups of its bearer, who is in too many');
    }
    if (groups.length > GROUPS_MAX) {
      throw new Unauthenticated(`The token names more than ${GROUPS_MAX} groups`);
    }
    const identity = { objectId: oid, groups: [...new Set(groups)] };
    const { appid, azp, upn, preferred_username: userName } = parsed.data;
    const appId = appid ?? azp;
    const name = upn ?? userName;
    claims.set(identity, {
      ...(appId !== undefined && { appId }),
      ...(name !== undefined && { upn: name }),
    });
    // The keys may have changed while the signature was checked; then the token is checked again next time.
    if (currentTrust() === judgedBy) {
      known.set(id, { identity, from: now, until: Math.min(exp, now + CACHE_SECONDS) });
    }
    return identity;
  }

  return (authorization) => {
    if (authorization === undefined) throw new Unauthenticated(undefined);
    const token = tokenIn(authorization);
    currentTrust();
    if (hsm.clockOffset !== clockOffset) {
      known.clear(); // the clock was moved
      clockOffset = hsm.clockOffset;
    }
    const id = hash('sha256', token, 'base64');
    const seen = known.get(id);
    if (seen !== undefined) {
      const now = timeOf(hsm);
      // Before `from` the clock was moved back: nothing that was true then need be true now.
      if (now >= seen.from && now < seen.until) return seen.identity;
    }
    return verified(token, id);
  };
}

/**
 * The key that an OpenID provider publishes under this name. A provider that cannot be asked makes the token one that
 * is not believed, and nothing else.
 */
async function publishedKey(
  metadata: IssuerMetadata,
  source: MetadataSource,
  alg: string,
  kid: string | undefined,
): Promise<KeyObject> {
  if (kid === undefined || kid === '') {
    throw new Unauthenticated('The token does not name the key that signed it');
  }
  try {
    const keys = await metadata.keysFor(source, kid);
    const fitting = keys.filter((key) => key.kty === keyTypeOf[alg] && (key.alg ?? alg) === alg);
    const [key] = fitting;
    if (key && fitting.length === 1) return key.publicKey;
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    throw new Unauthenticated(`The keys of the issuer of the token cannot be had: ${error.message}`);
  }
  throw new Unauthenticated('The key that signed the token is not among those of its issuer');
}

/** Whether a token says that its groups are to be asked for elsewhere. */
function leavesGroupsOut({ hasgroups, _claim_names }: z.infer<typeof claimsShape>): boolean {
  return (
    (hasgroups !== undefined && hasgroups !== false) ||
    (_claim_names !== undefined && Object.hasOwn(_claim_names, 'groups'))
  );
}

function tokenIn(authorization: string): string {
  if (authorization.length > TOKEN_MAX) throw new Unauthenticated('The token is too long');
  const match = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *$/i.exec(authorization);
  const token = match?.[1];
  if (token === undefined) throw new Unauthenticated('The Authorization header holds no bearer token');
  return token;
}

/** The issuer as the token claims it, to choose the keys; believed only once a signature by them is verified. */
function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

/** Audiences of a data plane: its domain at any port, and the public cloud's name for the service. */
export function audienceOf(domain: string): RegExp {
  return new RegExp(`^https://(${escaped(domain)}(:[0-9]{1,5})?|managedhsm\\.azure\\.net)/?$`);
}

/** These audiences and no others, each with or without a slash at its end. */
export function audienceAmong(audiences: readonly string[]): RegExp {
  return new RegExp(`^(${audiences.map(escaped).join('|')})/?$`);
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
