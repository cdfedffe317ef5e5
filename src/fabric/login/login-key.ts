// The key that signs access tokens. The only key in the fabric besides the one of its certificate authority; who has
// it can act as anyone towards pools that trust this login, which is why it lies in a file for the owner only.
// Kept apart from token.ts so that a pool can be told the public half before anything heavy is loaded.
import { createHash, createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { KeyObject } from 'node:crypto';
import type { TrustedIssuer } from '../../values/messages.js';
import { assert } from '../../values/assert.js';

export interface LoginKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** With `kid`, `alg` and `use`, as a key set lists it. */
  readonly publicJwk: Readonly<Record<string, unknown>>;
}

/** A new key, as PEM. */
export async function newLoginKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

export function loginKeyOf(pem: string): LoginKey {
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  const { e, n } = publicKey.export({ format: 'jwk' });
  assert(e !== undefined && n !== undefined, 'the login key is an RSA key');
  // The key's thumbprint (RFC 7638): the same key has the same name after every start.
  const kid = createHash('sha256')
    .update(JSON.stringify({ e, kty: 'RSA', n }))
    .digest('base64url');
  return { kid, privateKey, publicKey, publicJwk: { kty: 'RSA', use: 'sig', alg: 'RS256', kid, n, e } };
}

/**
 * The `iss` claim. Names no host and no port of this machine: pools pin it when they are founded, and ports change.
 */
export function issuerOf(tenantId: string): string {
  return `https://login.trivet.localhost/${tenantId}/`;
}

/** What a pool needs to check tokens of this login. */
export function trustedIssuer(tenantId: string, key: LoginKey): TrustedIssuer {
  return { issuer: issuerOf(tenantId), keys: [key.publicJwk] };
}
