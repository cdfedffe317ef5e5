// One request from its first line to its answer: who asks, what is asked, the body, the verb, the words. Identity
// comes before everything else: without a believed token nothing of a request is looked at.
import express from 'express';
import type { Logger } from 'pino';
import type { Hsm } from '../hsm/hsm.js';
import { newRequestId } from '../../values/ids.js';
import type { Call } from './call.js';
import { ApiError, problemOf } from './errors.js';
import { createNames, type Names, type PoolAddress } from './hosts.js';
import { audienceOf, createIdentify, Unauthenticated, type Identity } from './identity.js';
import { reply } from './responder.js';
import { findRoute } from './router.js';

export interface ApiOptions {
  readonly hsm: Hsm;
  readonly pool: PoolAddress;
  /** `https://host:port/{tenantId}`, named in the challenge. */
  readonly authority: string;
  readonly logger: Logger;
}

/** Answers one request; never throws and never rejects. */
export type Handle = (request: express.Request, response: express.Response) => void;

/** The largest body of any operation here is the import of an RSA-4096 key, below 8 KiB. */
const BODY_MAX = 65_536;

interface Exchange {
  readonly request: express.Request;
  readonly response: express.Response;
  readonly method: string;
  readonly requestId: string;
  readonly started: number;
  readonly names: Names;
}

/** The handler of all requests of one instance. */
export function createApi({ hsm, pool, authority, logger }: ApiOptions): Handle {
  const namesOf = createNames(pool, authority);
  const identify = createIdentify(hsm, audienceOf(pool.domain));
  // Clients name all kinds of content types, or none; the body is JSON whatever they say.
  const parseJson: express.RequestHandler = express.json({
    limit: BODY_MAX,
    inflate: false,
    type: () => true,
  });

  function serve(exchange: Exchange, caller: Identity): void {
    const { request, names } = exchange;
    const { route, name, version, query } = findRoute(exchange.method, request.url);
    const call: Call = { hsm, caller, base: names.base, name, version, query };
    const run = (body: unknown) => {
      const answer = route.run(call, body);
      if (typeof answer === 'string') finish(exchange, route.status, answer);
      else
        answer
          .then((text) => finish(exchange, route.status, text))
          .catch((error: unknown) => fail(exchange, error));
    };
    if (route.body === undefined) {
      run(undefined);
      return;
    }
    if (Number(request.headers['content-length'] ?? 0) > BODY_MAX) throw tooLarge();
    void parseJson(request, exchange.response, (error?: unknown) => {
      try {
        if (error !== undefined) throw bodyError(error);
        run(request.body);
      } catch (problem) {
        fail(exchange, problem);
      }
    });
  }

  function finish(exchange: Exchange, status: number, body: string): void {
    const { response, method, requestId, started } = exchange;
    reply(response, {
      status,
      body,
      requestId,
      started,
      method,
      remote: exchange.request.socket.remoteAddress,
    });
  }

  function fail(exchange: Exchange, error: unknown): void {
    const { response, method, requestId, started, names } = exchange;
    if (error instanceof Unauthenticated) {
      const body = method === 'GET' ? 'OK' : '';
      const more = ['WWW-Authenticate', challenge(names, error)];
      reply(response, { status: 401, body, requestId, started, method, more });
      return;
    }
    const { code, status, body, retryAfter } = problemOf(error, requestId, names.base);
    if (status >= 500) logger.error({ err: error, requestId, code }, 'request failed');
    const more = retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)];
    reply(response, { status, body, requestId, started, method, more });
  }

  return (request, response) => {
    const exchange: Exchange = {
      request,
      response,
      method: request.method,
      requestId: newRequestId(),
      started: performance.now(),
      names: namesOf(request.headers.host),
    };
    try {
      const caller = identify(request.headers.authorization);
      if (!(caller instanceof Promise)) serve(exchange, caller);
      else caller.then((known) => serve(exchange, known)).catch((error: unknown) => fail(exchange, error));
    } catch (error) {
      fail(exchange, error);
    }
  };
}

/** A token that is refused is named as such (RFC 6750 section 3), in words that help its owner and no forger. */
function challenge({ challenge: plain }: Names, { problem }: Unauthenticated): string {
  return problem === undefined ? plain : `${plain}, error="invalid_token", error_description="${problem}"`;
}

function tooLarge(): ApiError {
  return new ApiError('BodyTooLarge', `The body is larger than ${BODY_MAX} bytes`);
}

/** What the JSON reader complains of, by the type that it gives its errors. */
function bodyError(error: unknown): unknown {
  const type = typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined;
  switch (type) {
    case 'entity.too.large':
      return tooLarge();
    case 'encoding.unsupported':
    case 'charset.unsupported':
      return new ApiError('UnsupportedMedia', 'The body must be plain JSON in UTF-8');
    case 'entity.parse.failed':
    case 'request.aborted':
    case 'request.size.invalid':
    case 'entity.verify.failed':
      return new ApiError('MalformedJson', 'The body is not valid JSON');
    default:
      return error;
  }
}
