// Everything that answers on the control port, in order: what is open to all, the login (given from outside), what
// needs a caller, what needs an administrator. Denies what it does not know.
import express from 'express';
import type { Express, Request, RequestHandler, Response, Router } from 'express';
import type { Provider } from '../provider/provider.js';
import { armRoutes } from './arm/routes.js';
import { consoleRoutes } from './console/routes.js';
import { directoryRoutes } from './directory.js';
import { ControlRefusal, answerErrors } from './errors.js';
import { managementRoutes } from './management.js';
import type { ManagementParts } from './management.js';
import { metadata } from './metadata.js';
import { monitoringRoutes } from './monitoring.js';
import type { MonitoringParts } from './monitoring.js';

/** A caller whose token was good. */
export interface Caller {
  readonly objectId: string;
  readonly administrator: boolean;
}

export interface ControlParts {
  readonly tenantId: string;
  readonly domain: string;
  readonly dataPort: number;
  readonly baseOf: (request: Request) => string;
  readonly login: Router;
  /** Who sends this token for the control plane; undefined when it is not good. */
  readonly identify: (token: string) => Promise<Caller | undefined>;
  readonly management: ManagementParts;
  readonly provider: Provider;
  /** Keys through the control plane; see `arm/keys-mount`. */
  readonly keys: Router | undefined;
  readonly monitoring: MonitoringParts;
  readonly report: (error: unknown) => void;
}

export function controlRoutes(parts: ControlParts): Express {
  const administrators: RequestHandler = async (request, response, next) => {
    const caller = await authenticate(parts, request, response);
    if (!caller.administrator) {
      throw new ControlRefusal(
        'AuthorizationFailed',
        'Only an administrator of the control plane may do this.',
      );
    }
    next();
  };
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  app.use((request, response, next) => {
    // `//metadata/endpoints` is what some clients make of a base address with a slash at its end.
    request.url = request.url.replace(/^\/{2,}/, '/');
    // No Strict-Transport-Security: a browser would heed it for everything else that is served on localhost, at any port.
    response.set('X-Content-Type-Options', 'nosniff');
    next();
  });
  app.get('/metadata/endpoints', (request, response) => {
    const facts = { ...parts, base: parts.baseOf(request) };
    response.json(metadata(facts, request.query['api-version']));
  });
  app.use(monitoringRoutes(parts.monitoring));
  // The page asks for its tokens and reads the status where every client does.
  app.use('/console', consoleRoutes({ pool: parts.management.pool, administrators }));
  app.use(
    armRoutes({
      provider: parts.provider,
      tenantId: parts.tenantId,
      baseOf: parts.baseOf,
      authenticate: (request, response) => authenticate(parts, request, response),
      uriOf: (pool) => `https://${pool}.${parts.domain}:${parts.dataPort}/`,
      keys: parts.keys,
    }),
  );
  app.use('/trivet', noStore, administrators, managementRoutes(parts.management));
  app.use(
    '/v1.0',
    directoryRoutes(parts.management.listPrincipals, async (request, response, next) => {
      const caller = await authenticate(parts, request, response);
      if (!caller.administrator) {
        throw new ControlRefusal(
          'Authorization_RequestDenied',
          'Insufficient privileges to complete the operation.',
        );
      }
      next();
    }),
  );
  // Behind the fixed paths: its own begin with a tenant, which could be any word.
  app.use(parts.login);
  app.use((request) => {
    throw new ControlRefusal(
      'NotFound',
      `There is nothing at ${request.method} ${request.path.slice(0, 200)}.`,
    );
  });
  app.use(answerErrors(parts.report));
  return app;
}

const noStore: RequestHandler = (_request, response, next) => {
  response.set('Cache-Control', 'no-store');
  next();
};

async function authenticate(parts: ControlParts, request: Request, response: Response): Promise<Caller> {
  const token = /^Bearer +([A-Za-z0-9_.-]+)$/i.exec(request.get('authorization') ?? '')?.[1];
  const caller = token === undefined ? undefined : await parts.identify(token);
  if (caller) return caller;
  const detail = token === undefined ? '' : ', error="invalid_token"';
  response.set(
    'WWW-Authenticate',
    `Bearer authorization_uri="${parts.baseOf(request)}/${parts.tenantId}"${detail}`,
  );
  throw new ControlRefusal(
    'AuthenticationFailed',
    token === undefined
      ? 'A bearer token is needed.'
      : 'The access token is not valid for the control plane.',
  );
}

/**
 * Scheme, host and port as the client wrote them, for addresses that it will compare with its own. Only a well-formed
 * Host header is echoed; otherwise the address that always works.
 */
export function hostBase(controlPort: number): (request: Request) => string {
  return (request) => {
    const host = request.get('host') ?? '';
    const wellFormed =
      /^(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/i.test(host);
    return wellFormed && URL.canParse(`https://${host}`)
      ? `https://${host}`
      : `https://localhost:${controlPort}`;
  };
}
