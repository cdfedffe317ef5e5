// Managed identities in the form of App Service: a program on this machine finds an address and a secret header in its
// environment (IDENTITY_ENDPOINT, IDENTITY_HEADER; before 2019 MSI_ENDPOINT, MSI_SECRET) and asks there for tokens. The
// address names the identity, so that the header is compared with one secret only. The forms that come without a
// secret (a virtual machine's, Cloud Shell's) are not offered: on this machine everybody may call.
import express from 'express';
import type { Request, Response, Router } from 'express';
import { LoginRefusal, oauthError } from './oauth-error.js';
import type { Principal, Principals } from './principals.js';
import { audienceOf, switchedOff, type Resources } from './resources.js';
import type { SecretCheck } from './secret-check.js';
import { TOKEN_LIFE } from './token.js';

export interface ManagedIdentityParts {
  readonly principals: Principals;
  readonly resources: Resources;
  readonly secrets: SecretCheck;
  /** An access token. */
  readonly issue: (principal: Principal, audience: string) => Promise<string>;
}

/** The secret's header by version of the endpoint. */
const HEADER_OF: Readonly<Record<string, string>> = {
  '2019-08-01': 'X-IDENTITY-HEADER',
  '2017-09-01': 'secret',
};
/** Other names that a program may give its identity; each must mean the one that the address names. */
const CLIENT_IDS = ['client_id', 'clientid'];
const OBJECT_IDS = ['object_id', 'principal_id'];
const RESOURCE_IDS = ['mi_res_id', 'msi_res_id'];

/** Where programs ask for tokens of this identity. */
export function endpointOf(base: string, { clientId }: Pick<Principal, 'clientId'>): string {
  return `${base}/managed-identity/${clientId}/token`;
}

export function managedIdentityRoutes(parts: ManagedIdentityParts): Router {
  const routes = express.Router();
  routes.get('/managed-identity/:client/token', async (request, response) => {
    response.set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' });
    try {
      response.json(await tokenFor(parts, request));
    } catch (error) {
      if (!(error instanceof LoginRefusal)) throw error;
      refuse(response, error);
    }
  });
  return routes;
}

async function tokenFor(parts: ManagedIdentityParts, request: Request): Promise<Record<string, string>> {
  const version = parameter(request, 'api-version');
  const header = Object.hasOwn(HEADER_OF, version) ? HEADER_OF[version] : undefined;
  if (header === undefined) {
    throw new LoginRefusal(
      'MissingParameter',
      `The api-version must be one of ${Object.keys(HEADER_OF).join(', ')}.`,
    );
  }
  const secret = request.get(header) ?? '';
  if (secret === '') throw new LoginRefusal('WrongSecret', `The header ${header} is missing.`);
  const principal = parts.principals.byClientId(String(request.params['client']));
  if (!principal?.managed) throw new LoginRefusal('UnknownClient', 'There is no such managed identity.');
  await parts.secrets.check(principal, secret, request.socket.remoteAddress ?? '');

  if (!isNamed(request, principal)) {
    throw new LoginRefusal('UnknownClient', 'The identity that is asked for is not the one of this address.');
  }
  const resource = parameter(request, 'resource');
  const audience = audienceOf(parts.resources, resource);
  if (audience === undefined) {
    throw new LoginRefusal('UnknownResource', `The resource was not found.${switchedOff(parts.resources)}`);
  }
  const access_token = await parts.issue(principal, audience);
  // By the machine's clock, as the program compares it with that; the installation's may have been moved.
  const now = Math.floor(Date.now() / 1_000);
  return {
    access_token,
    client_id: principal.clientId,
    expires_in: String(TOKEN_LIFE - 1),
    expires_on: String(now + TOKEN_LIFE - 1),
    not_before: String(now),
    resource,
    token_type: 'Bearer',
  };
}

function isNamed({ query }: Request, { clientId, objectId }: Principal): boolean {
  const isAll = (names: readonly string[], id: string): boolean =>
    names.every((name) => {
      const given = query[name];
      return given === undefined || (typeof given === 'string' && given.toLowerCase() === id);
    });
  return (
    isAll(CLIENT_IDS, clientId) &&
    isAll(OBJECT_IDS, objectId) &&
    RESOURCE_IDS.every((name) => query[name] === undefined)
  );
}

function parameter({ query }: Request, name: string): string {
  const value = query[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new LoginRefusal('MissingParameter', `The query must contain the parameter '${name}' once.`);
}

// Both of the forms that clients look for.
function refuse(response: Response, refusal: LoginRefusal): void {
  const { status, body } = oauthError(refusal);
  if (refusal.retryAfter !== undefined) response.set('Retry-After', String(refusal.retryAfter));
  const { error, correlation_id } = body;
  response.status(status).json({ statusCode: status, message: refusal.message, error, correlation_id });
}
