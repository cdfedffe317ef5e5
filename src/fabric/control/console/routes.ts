// The web console: its page, which anybody may load since it holds nothing, and what the page reads of a pool. The page
// talks to the control port like any other client, with tokens that its user got from the login. A browser cannot reach
// the data plane, so a fixed list of its reads is passed on here, with the caller's own token: an instance judges it, and
// nobody gets more by this way than by the other.
import express from 'express';
import type { Request, RequestHandler, Response, Router } from 'express';
import { ControlRefusal } from '../errors.js';
import { NoAnswer, relay } from '../relay.js';
import type { RelayedPool } from '../relay.js';
import { readConsole } from './files.js';
import type { ConsoleFile } from './files.js';

/** What the console needs of a pool. */
export interface ConsolePool extends RelayedPool {
  /** Its faults are defined in a pool that suffers some on request. */
  readonly orders: { readonly faults?: unknown };
}

export interface ConsoleParts {
  /** By name, in lower case. */
  readonly pool: (name: string) => ConsolePool | undefined;
  /** Lets administrators of the control plane pass, and nobody else. */
  readonly administrators: RequestHandler;
  readonly files?: ReadonlyMap<string, ConsoleFile>;
}

/** Nothing but the page's own files and its own origin; a script or style that somebody slips in does not run. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** Of the data plane; the newest that the instances know. */
const API_VERSION = '2026-04-01';
const NAME = '[0-9a-zA-Z-]{1,127}';
/** What is passed on, as the data plane spells it. Reads, and none that changes anything at its first call. */
const READS: readonly RegExp[] = [
  'keys',
  `keys/${NAME}`,
  `keys/${NAME}/versions`,
  `keys/${NAME}/rotationpolicy`,
  'deletedkeys',
  'settings',
  'providers/microsoft\\.authorization/roledefinitions',
  'providers/microsoft\\.authorization/roleassignments',
  'securitydomain/download/pending',
  'trivet/audit',
].map((path) => new RegExp(`^${path}$`, 'i'));
const SKIP_TOKEN = /^[0-9A-Za-z_-]{1,256}$/;
const PARTITION = /^[0-2]$/;
const NO_JSON = {
  error: { code: 'BadGateway', message: 'The HSM gave no answer that could be understood.' },
};
const YEAR_SECONDS = 31_536_000;

/** Mounted at `/console`. */
export function consoleRoutes({ pool, administrators, files = readConsole() }: ConsoleParts): Router {
  const routes = express.Router({ caseSensitive: true, strict: true });
  routes.use((_request, response, next) => {
    response.set({
      'Content-Security-Policy': POLICY,
      'Cache-Control': 'no-store',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
      'Referrer-Policy': 'no-referrer',
    });
    next();
  });
  routes.get('/pools/:pool/data/*path', async (request, response) => {
    const { pool: name, path } = request.params;
    // A slash that was encoded is no slash.
    const plain = path.every((segment) => !segment.includes('/'));
    await passOn(pool(name.toLowerCase()), name, plain ? path.join('/') : '', request, response);
  });
  // Asked before the faults themselves, of which most pools have none: browsers would note the refusal as an error.
  routes.get('/pools/:pool/faults', administrators);
  routes.get('/pools/:pool/faults', (request, response) => {
    response.json({ offered: pool(request.params.pool.toLowerCase())?.orders.faults !== undefined });
  });
  routes.get('/', (request, response) => {
    // What the page names is beside it only when its address ends with a slash.
    if (!new URL(request.originalUrl, 'https://localhost').pathname.endsWith('/')) {
      response.redirect(308, `${request.baseUrl}/`);
    } else send(response, files.get('index.html'));
  });
  routes.get('/:file', (request, response, next) => {
    const file = files.get(request.params.file);
    if (file?.lasting === true) send(response, file);
    else next();
  });
  return routes;
}

function send(response: Response, file: ConsoleFile | undefined): void {
  if (!file) throw new ControlRefusal('NotFound', 'The console was not built; ./scripts/build does it.');
  if (file.lasting) response.set('Cache-Control', `public, max-age=${YEAR_SECONDS}, immutable`);
  response.set('Content-Type', file.type).send(file.body);
}

async function passOn(
  pool: RelayedPool | undefined,
  name: string,
  path: string,
  request: Request,
  response: Response,
): Promise<void> {
  if (!READS.some((read) => read.test(path))) {
    throw new ControlRefusal('NotFound', 'The console reads nothing at this path.');
  }
  const token = /^Bearer +([A-Za-z0-9_.-]+)$/i.exec(request.get('authorization') ?? '')?.[1];
  if (token === undefined) {
    response.set('WWW-Authenticate', 'Bearer');
    throw new ControlRefusal('AuthenticationFailed', 'A bearer token for the data plane is needed.');
  }
  if (!pool) throw new ControlRefusal('NotFound', `There is no pool "${name.slice(0, 100)}".`);
  const { $skiptoken: skip, partition } = request.query;
  const from = skip === undefined ? '' : `&$skiptoken=${wellFormed(skip, SKIP_TOKEN, '$skiptoken')}`;
  const instance = partition === undefined ? undefined : wellFormed(partition, PARTITION, 'partition');
  try {
    const { status, headers, body } = await relay(pool, {
      method: 'GET',
      path: `/${path}?api-version=${API_VERSION}${from}`,
      token,
      userAgent: request.get('user-agent'),
      // The pool's firewall judges the client and not us; both are of this machine, so its address can be taken.
      from: request.socket.remoteAddress,
      instance: instance === undefined ? undefined : Number(instance),
    });
    if (headers['retry-after'] !== undefined) response.set('Retry-After', headers['retry-after']);
    // What is not there, such as a policy that nobody has set, is no fault: browsers would note it as one.
    if (status === 404) response.status(204).end();
    else response.status(status).json(body ?? NO_JSON);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    response.set('Retry-After', '1').status(503);
    response.json({
      error: { code: 'ServiceUnavailable', message: `The HSM cannot be asked: ${error.message}.` },
    });
  }
}

function wellFormed(value: unknown, form: RegExp, what: string): string {
  if (typeof value === 'string' && form.test(value)) return value;
  throw new ControlRefusal('BadRequest', `This is no ${what}.`);
}
