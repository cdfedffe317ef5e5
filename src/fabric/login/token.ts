// Access tokens: made here, and checked here for the fabric's own doors. Pools check them by themselves.
import { SignJWT, jwtVerify } from 'jose';
import { newUuid } from '../../values/ids.js';
import { DAY, type Seconds } from '../../values/moments.js';
import { issuerOf } from './login-key.js';
import type { LoginKey } from './login-key.js';
import type { Principal } from './principals.js';

/** Lifetime in seconds. */
export const TOKEN_LIFE = DAY / 24;

/** `now` is the time of the installation's clock, here and in {@link callerOf}. */
export async function issueToken(
  key: LoginKey,
  tenantId: string,
  principal: Principal,
  audience: string,
  now: Seconds,
): Promise<string> {
  return new SignJWT({
    appid: principal.clientId,
    idtyp: 'app',
    oid: principal.objectId,
    tid: tenantId,
    ver: '1.0',
  })
    .setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'JWT' })
    .setIssuer(issuerOf(tenantId))
    .setAudience(audience)
    .setSubject(principal.objectId)
    .setIssuedAt(now)
    .setNotBefore(now)
    .setExpirationTime(now + TOKEN_LIFE)
    .setJti(newUuid())
    .sign(key.privateKey);
}

/** The object id of the caller; undefined for a token that is not ours, not for these audiences, or not now. */
export async function callerOf(
  key: LoginKey,
  tenantId: string,
  audiences: readonly string[],
  token: string,
  now: Seconds,
): Promise<string | undefined> {
  try {
    const { payload } = await jwtVerify(token, key.publicKey, {
      algorithms: ['RS256'],
      issuer: issuerOf(tenantId),
      audience: [...audiences],
      currentDate: new Date(now * 1_000),
    });
    return typeof payload['oid'] === 'string' ? payload['oid'] : undefined;
  } catch {
    return undefined; // why is nobody's business but the sender's, who has the token
  }
}
