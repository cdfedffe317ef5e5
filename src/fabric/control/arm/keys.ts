// Keys through ARM: `…/managedHSMs/{name}/keys`. Who asks has been let in by the control plane; whether the key may be
// had is decided by an instance of the HSM, by its setting and its own roles, and this only puts one into the words of
// the other.
import express from 'express';
import type { Request, Response, Router } from 'express';
import { isBody, keyFrom, listFrom, placeAfter, reworded, wishFrom } from './key-shapes.js';
import type { Body } from './key-shapes.js';
import { keysTarget } from './keys-mount.js';
import { NoAnswer, relay } from '../relay.js';
import type { RelayedAnswer, RelayedCall } from '../relay.js';

/** The newest that the instances know: it shows the size of symmetric keys. */
const API_VERSION = '2026-04-01';
const NAME = /^[0-9a-zA-Z-]{1,127}$/;
const VERSION = /^[0-9a-fA-F]{32}$/;
const SKIP_TOKEN = /^[0-9A-Za-z_-]{1,256}$/;

/**
 * The routes below `…/keys`, behind what sets the {@link keysTarget}. `baseOf` gives scheme, host and port as the client
 * wrote them.
 */
export function keysRoutes(baseOf: (request: Request) => string): Router {
  const routes = express.Router({ caseSensitive: false });
  routes.use(express.json({ limit: '64kb' }));
  routes.get('/', (request, response) => showList(request, response, 'keys', baseOf));
  routes.put('/:key', create);
  routes.get('/:key', (request, response) => show(request, response, undefined));
  routes.get('/:key/versions', async (request, response) => {
    const { key } = request.params;
    if (!isNamed(response, key)) return;
    await showList(request, response, `keys/${key}/versions`, baseOf);
  });
  routes.get('/:key/versions/:version', async (request, response) => {
    const { version } = request.params;
    if (VERSION.test(version)) await show(request, response, version);
    else refuse(response, 404, 'KeyNotFound', 'There is no such version of the key.');
  });
  return routes;
}

/** Makes a key unless there is one. */
async function create(request: Request<{ key: string }>, response: Response): Promise<void> {
  const { key } = request.params;
  if (!isNamed(response, key)) return;
  const wish = wishFrom(request.body);
  if (!wish) {
    refuse(response, 400, 'BadRequest', 'The body must be a JSON object with the "properties" of the key.');
    return;
  }
  const path = `/keys/${key}/create?api-version=${API_VERSION}`;
  const bundle = await ask(request, response, { method: 'POST', path, body: wish });
  if (bundle) response.json(keyFrom(keysTarget(response), bundle));
}

async function show(
  request: Request<{ key: string }>,
  response: Response,
  version: string | undefined,
): Promise<void> {
  const { key } = request.params;
  if (!isNamed(response, key)) return;
  const path = `/keys/${key}/${version ?? ''}?api-version=${API_VERSION}`;
  const bundle = await ask(request, response, { method: 'GET', path });
  if (bundle) response.json(keyFrom(keysTarget(response), bundle, version));
}

async function showList(
  request: Request,
  response: Response,
  path: string,
  baseOf: (request: Request) => string,
): Promise<void> {
  const skip = queryOf(request, '$skiptoken');
  if (skip !== undefined && !SKIP_TOKEN.test(skip)) {
    refuse(response, 400, 'BadRequest', 'The $skiptoken is not one of this service.');
    return;
  }
  const from = skip === undefined ? '' : `&$skiptoken=${skip}`;
  const page = await ask(request, response, {
    method: 'GET',
    path: `/${path}?api-version=${API_VERSION}${from}`,
  });
  if (!page) return;
  const { resourceId } = keysTarget(response);
  const next = placeAfter(page);
  const version = encodeURIComponent(queryOf(request, 'api-version') ?? '');
  response.json({
    value: listFrom(keysTarget(response), page),
    ...(next !== undefined && {
      nextLink: `${baseOf(request)}${resourceId}/${path}?api-version=${version}&$skiptoken=${next}`,
    }),
  });
}

/** The body of a success; anything else is answered here, and gives undefined. */
async function ask(
  request: Request,
  response: Response,
  call: Pick<RelayedCall, 'method' | 'path' | 'body'>,
): Promise<Body | undefined> {
  const { pool, token } = keysTarget(response);
  let answer: RelayedAnswer;
  try {
    // Without the secret an instance would take it for a call on the data plane, and not believe the token.
    if (!pool.relay) throw new NoAnswer(`pool ${pool.name} takes no calls from the control plane`);
    const { secret } = pool.relay;
    answer = await relay(pool, { ...call, token, secret, userAgent: request.get('user-agent') });
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    const outcome =
      call.method === 'GET' ? '' : ' Whether the key was made is not known; it may be asked for again.';
    response.set('Retry-After', '1');
    refuse(response, 503, 'ServiceUnavailable', `The HSM cannot be asked: ${error.message}.${outcome}`);
    return undefined;
  }
  if (answer.status === 200 && isBody(answer.body)) return answer.body;
  pass(response, answer);
  return undefined;
}

/** A refusal of the data plane, as one of the control plane. */
function pass(response: Response, { status, headers, body }: RelayedAnswer): void {
  const error = isBody(body) && isBody(body['error']) ? body['error'] : {};
  const { code, message, innererror } = error;
  // The control plane has believed the token: it is the HSM that does not.
  if (status === 401) {
    refuse(response, 403, 'Forbidden', 'The HSM does not believe the issuer of the access token.');
    return;
  }
  const { 'retry-after': later } = headers;
  if (later !== undefined) response.set('Retry-After', later);
  const known = status >= 400 && status < 600;
  response.status(known ? status : 502).json({
    error: {
      code: typeof code === 'string' ? code : 'BadGateway',
      message:
        typeof message === 'string' ? reworded(message) : 'The HSM gave no answer that could be understood.',
      ...(isBody(innererror) && { innererror }),
    },
  });
}

function isNamed(response: Response, key: string): boolean {
  if (NAME.test(key)) return true;
  refuse(response, 400, 'BadRequest', 'A key name consists of 1 to 127 letters, digits and hyphens.');
  return false;
}

function refuse(response: Response, status: number, code: string, message: string): void {
  response.status(status).json({ error: { code, message } });
}

/** A parameter of the query; names are compared without case. */
function queryOf(request: Request, name: string): string | undefined {
  const found = Object.entries(request.query).find(([key]) => key.toLowerCase() === name)?.[1];
  return typeof found === 'string' ? found : undefined;
}
