// The login endpoint: client credentials in, access token out, on the paths of both kinds of tenants (a GUID, and
// `adfs`, the only one that every client accepts on a private host). Holds no session and sets no cookie.
import express from 'express';
import type { Request, Response, Router } from 'express';
import type { Seconds } from '../../values/moments.js';
import { isAssertionOf } from './client-assertion.js';
import { issuerOf } from './login-key.js';
import type { LoginKey } from './login-key.js';
import { LoginRefusal, oauthError } from './oauth-error.js';
import type { Principal, Principals } from './principals.js';
import { managedIdentityRoutes } from './managed-identity.js';
import { audienceOf, switchedOff } from './resources.js';
import type { Resources } from './resources.js';
import { SecretCheck } from './secret-check.js';
import { TOKEN_LIFE, issueToken } from './token.js';

export interface LoginParts {
  readonly tenantId: string;
  readonly key: LoginKey;
  readonly principals: Principals;
  readonly resources: Resources;
  /** By the installation's clock. */
  readonly now: () => Seconds;
  /** Scheme, host and port as the client wrote them. */
  readonly baseOf: (request: Request) => string;
}

const DEFAULT_SCOPE = /^(\S+)\/\.default$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function loginRoutes(parts: LoginParts): Router {
  const secrets = new SecretCheck(parts.principals);
  const login = new Login(parts, secrets);
  const routes = express.Router();
  routes.use(
    managedIdentityRoutes({
      ...parts,
      secrets,
      issue: (principal, audience) => login.issue(principal, audience),
    }),
  );
  const form = express.urlencoded({ extended: false, limit: '64kb' });
  const token = (request: Request, response: Response): Promise<void> => login.token(request, response);
  routes.get('/adfs/.well-known/openid-configuration', (request, response) => {
    response.json(login.adfsConfiguration(parts.baseOf(request)));
  });
  routes.post('/adfs/oauth2/token', form, token);
  routes.get('/common/discovery/instance', (request, response) => {
    response.json(login.instance(parts.baseOf(request)));
  });
  routes.get(['/adfs/discovery/keys', '/:tenant/discovery/v2.0/keys'], (request, response) => {
    if (login.knows(request, response)) response.json({ keys: [parts.key.publicJwk] });
  });
  routes.get('/:tenant/v2.0/.well-known/openid-configuration', (request, response) => {
    if (login.knows(request, response)) response.json(login.configuration(parts.baseOf(request)));
  });
  routes.post('/:tenant/oauth2/v2.0/token', form, (request, response) => {
    if (login.knows(request, response)) return token(request, response);
    return undefined;
  });
  return routes;
}

class Login {
  constructor(
    readonly parts: LoginParts,
    readonly secrets: SecretCheck,
  ) {}

  /** Refuses a tenant that is not ours; `adfs` paths name none. */
  knows(request: Request, response: Response): boolean {
    const { tenant } = request.params;
    if (tenant === undefined || String(tenant).toLowerCase() === this.parts.tenantId) return true;
    refuse(request, response, new LoginRefusal('UnknownTenant', `Tenant '${String(tenant)}' not found.`));
    return false;
  }

  async token(request: Request, response: Response): Promise<void> {
    try {
      const { principal, audience } = await this.#authenticate(request);
      response.set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' }).json({
        token_type: 'Bearer',
        expires_in: TOKEN_LIFE - 1,
        ext_expires_in: TOKEN_LIFE - 1,
        access_token: await this.issue(principal, audience),
      });
    } catch (error) {
      if (!(error instanceof LoginRefusal)) throw error;
      refuse(request, response, error);
    }
  }

  issue(principal: Principal, audience: string): Promise<string> {
    const { key, tenantId, now } = this.parts;
    return issueToken(key, tenantId, principal, audience, now());
  }

  async #authenticate(request: Request): Promise<{ principal: Principal; audience: string }> {
    const grant = parameter(request, 'grant_type');
    if (grant !== 'client_credentials') {
      throw new LoginRefusal('UnsupportedGrant', 'The only grant type is client_credentials.');
    }
    const clientId = parameter(request, 'client_id');
    const scope = parameter(request, 'scope');
    const assertion = assertionIn(request);
    const secret = assertion === undefined ? parameter(request, 'client_secret') : undefined;
    const [, resource] = DEFAULT_SCOPE.exec(scope) ?? [];
    if (resource === undefined) {
      throw new LoginRefusal('InvalidScope', 'The scope must be one resource with /.default at its end.');
    }
    const { resources } = this.parts;
    const audience = audienceOf(resources, resource);
    if (audience === undefined) {
      throw new LoginRefusal(
        'UnknownResource',
        `The resource of scope '${printable(scope)}' was not found.${switchedOff(resources)}`,
      );
    }
    const principal = this.parts.principals.byClientId(clientId);
    if (!principal) {
      throw new LoginRefusal('UnknownClient', `Application '${printable(clientId)}' was not found.`);
    }
    if (principal.managed) {
      throw new LoginRefusal('WrongSecret', 'A managed identity gets its tokens at its own address.');
    }
    if (secret !== undefined) {
      await this.secrets.check(principal, secret, request.socket.remoteAddress ?? '');
    } else if (!(await this.#isSignedBy(principal, assertion ?? ''))) {
      throw new LoginRefusal('WrongAssertion', 'The client assertion is not valid for this application.');
    }
    return { principal, audience };
  }

  async #isSignedBy(principal: Principal, assertion: string): Promise<boolean> {
    const { principals, resources, tenantId } = this.parts;
    const certificate = principals.certificateOf(principal);
    const { clientId } = principal;
    if (!certificate) return false;
    const good = await isAssertionOf(certificate, assertion, {
      clientId,
      origins: resources.login,
      tenantId,
    });
    // Removed or reset meanwhile: what was right then is void now.
    return good && principals.certificateOf(principal)?.fingerprint256 === certificate.fingerprint256;
  }

  configuration(base: string): Record<string, unknown> {
    const tenant = `${base}/${this.parts.tenantId}`;
    return {
      // Clients insist on an issuer with the authority's scheme, host and port; the tokens' `iss` is another matter.
      issuer: `${tenant}/v2.0`,
      token_endpoint: `${tenant}/oauth2/v2.0/token`,
      authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
      jwks_uri: `${tenant}/discovery/v2.0/keys`,
      access_token_issuer: issuerOf(this.parts.tenantId),
      ...COMMON_CONFIGURATION,
    };
  }

  adfsConfiguration(base: string): Record<string, unknown> {
    const adfs = `${base}/adfs`;
    return {
      issuer: adfs,
      token_endpoint: `${adfs}/oauth2/token`,
      authorization_endpoint: `${adfs}/oauth2/authorize`,
      jwks_uri: `${adfs}/discovery/keys`,
      access_token_issuer: issuerOf(this.parts.tenantId),
      ...COMMON_CONFIGURATION,
    };
  }

  instance(base: string): Record<string, unknown> {
    const { host } = new URL(base);
    return {
      tenant_discovery_endpoint: `${base}/${this.parts.tenantId}/v2.0/.well-known/openid-configuration`,
      'api-version': '1.1',
      metadata: [{ preferred_network: host, preferred_cache: host, aliases: [host] }],
    };
  }
}

const COMMON_CONFIGURATION = {
  response_types_supported: ['token'],
  grant_types_supported: ['client_credentials'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
  token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
};

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** The client assertion, for a client that logs in with one (RFC 7523 section 2.2). */
function assertionIn(request: Request): string | undefined {
  const body = request.body as Record<string, unknown> | undefined;
  if (body?.['client_assertion'] === undefined) return undefined;
  if (parameter(request, 'client_assertion_type') !== JWT_BEARER || body['client_secret'] !== undefined) {
    throw new LoginRefusal(
      'MissingParameter',
      `A client assertion comes with client_assertion_type ${JWT_BEARER} and without a client_secret.`,
    );
  }
  return parameter(request, 'client_assertion');
}

function parameter(request: Request, name: string): string {
  const body = request.body as Record<string, unknown> | undefined;
  const value = body?.[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new LoginRefusal(
    'MissingParameter',
    `The request body must contain the following parameter once: '${name}'.`,
  );
}

// What a stranger sent goes into a message only in short and without control characters.
function printable(text: string): string {
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

function refuse(request: Request, response: Response, refusal: LoginRefusal): void {
  const given = request.get('client-request-id');
  const { status, body } = oauthError(refusal, given !== undefined && UUID.test(given) ? given : undefined);
  if (refusal.retryAfter !== undefined) response.set('Retry-After', String(refusal.retryAfter));
  response.set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' }).status(status).json(body);
}
