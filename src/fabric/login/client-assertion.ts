// Client assertions: what a client signs instead of sending a secret (RFC 7521, RFC 7523). Checked against the one
// certificate that was registered for the client; what the token itself brings (x5c, x5t, jku) does not count.
//
// Times are those of the machine, as the client's are: the installation's clock may have been moved. An assertion may
// be sent again until it ends, and the service's libraries do so; it is bound to this login by its audience.
import { compactVerify } from 'jose';
import * as z from 'zod';
import type { X509Certificate } from 'node:crypto';

export interface Expected {
  readonly clientId: string;
  /** Where the login is reached. A Host header does not count: an assertion for another server must not be good here. */
  readonly origins: readonly string[];
  readonly tenantId: string;
}

/** Characters. */
const ASSERTION_MAX = 16_384;
/** Seconds that an assertion may live; the service's libraries ask for ten minutes. */
const LIFE_MAX = 3_600;
/** Seconds; an assertion that has ended gets no such grace. */
const LEEWAY = 60;

const claimsShape = z.object({
  iss: z.string(),
  sub: z.string(),
  aud: z.string(),
  exp: z.number(),
  nbf: z.number().optional(),
  iat: z.number().optional(),
});

/** Whether the certificate's key signed this assertion, for this client and this login, and for now. */
export async function isAssertionOf(
  certificate: X509Certificate,
  assertion: string,
  { clientId, origins, tenantId }: Expected,
): Promise<boolean> {
  if (assertion.length > ASSERTION_MAX) return false;
  const { publicKey } = certificate;
  const algorithms = publicKey.asymmetricKeyType === 'ec' ? ['ES256'] : ['RS256', 'PS256'];
  let payload: unknown;
  try {
    const verified = await compactVerify(assertion, publicKey, { algorithms });
    payload = JSON.parse(Buffer.from(verified.payload).toString('utf8'));
  } catch {
    return false;
  }
  const { data: claims } = claimsShape.safeParse(payload);
  if (!claims) return false;
  const now = Date.now() / 1_000;
  const begins = Math.max(claims.nbf ?? 0, claims.iat ?? 0);
  return (
    claims.iss.toLowerCase() === clientId &&
    claims.sub.toLowerCase() === clientId &&
    isThisLogin(claims.aud, origins, tenantId) &&
    now < claims.exp &&
    claims.exp <= now + LIFE_MAX + LEEWAY &&
    begins <= now + LEEWAY &&
    Date.parse(certificate.validFrom) <= Date.now() &&
    Date.now() < Date.parse(certificate.validTo)
  );
}

/** The token endpoint in any of its forms. */
function isThisLogin(aud: string, origins: readonly string[], tenantId: string): boolean {
  if (!URL.canParse(aud)) return false;
  const { origin, pathname, search, hash, username } = new URL(aud);
  const path = pathname.toLowerCase().replace(/\/$/, '');
  const endpoints = ['/adfs/oauth2/token', `/${tenantId}/oauth2/v2.0/token`];
  return origins.includes(origin) && endpoints.includes(path) && `${search}${hash}${username}` === '';
}
