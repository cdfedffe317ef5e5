// One request from its first line to its answer: who asks, what is asked, the body, the verb, the words. Identity
// comes before everything else: without a believed token nothing of a request is looked at.
import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import type { Hsm } from '../hsm/hsm.js';
import { newRequestId } from '../../values/ids.js';
import type { Answer, Call } from './call.js';
import { createCohort } from './cohort.js';
import { ApiError, problem, problemOf } from './errors.js';
import { createNames, type Names, type PoolAddress } from './hosts.js';
import { audienceOf, createIdentify, Unauthenticated, type Identity } from './identity.js';
import { describeApi, isDescription } from './openapi.js';
import { readJson } from './read-json.js';
import { reply } from './responder.js';
import { findRoute } from './router.js';
import type { Route } from './routes.js';

export interface ApiOptions {
  readonly hsm: Hsm;
  readonly pool: PoolAddress;
  /** `https://host:port/{tenantId}`, named in the challenge. */
  readonly authority: string;
  readonly logger: Logger;
}

/** Answers one request; never throws and never rejects. */
export type Handle = (request: Request, response: Response) => void;

interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly method: string;
  readonly requestId: string;
  readonly started: number;
  readonly names: Names;
}

/** All of a request is there; what is left is the verb and the answer. */
interface Asked {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly call: Call;
  readonly body: unknown;
}

/** The handler of all requests of one instance. */
export function createApi({ hsm, pool, authority, logger }: ApiOptions): Handle {
  const namesOf = createNames(pool, authority);
  const identify = createIdentify(hsm, audienceOf(pool.domain));
  const description = describeApi();
  // First all the verbs, then all the answers.
  const ask = createCohort<Asked>((all) => {
    const answers = all.map(carryOut);
    all.forEach((asked, place) => give(asked, answers[place]));
  });

  function serve(exchange: Exchange, caller: Identity): void {
    const { request, names } = exchange;
    if (isDescription(request.url)) {
      // For whoever is believed, without a role: it says nothing of this pool.
      if (exchange.method !== 'GET') throw new ApiError('NoSuchMethod', 'The description can only be read');
      finish(exchange, { status: 200 }, description);
      return;
    }
    const { route, name, version, item, query } = findRoute(exchange.method, request.url);
    const { owns } = namesOf;
    const call: Call = { hsm, caller, base: names.base, owns, name, version, item, query };
    if (route.body === undefined) {
      ask({ exchange, route, call, body: undefined });
      return;
    }
    readJson(
      request,
      route.bodyMax,
      (body) => ask({ exchange, route, call, body }),
      (reason) => fail(exchange, reason),
    );
  }

  /** Undefined when it was refused, and that answered. */
  function carryOut({ exchange, route, call, body }: Asked): Answer | undefined {
    try {
      return route.run(call, body);
    } catch (error) {
      fail(exchange, error);
      return undefined;
    }
  }

  function give({ exchange, route }: Asked, answer: Answer | undefined): void {
    if (answer instanceof Promise) {
      answer.then((text) => finish(exchange, route, text)).catch((error: unknown) => fail(exchange, error));
    } else if (answer !== undefined) {
      try {
        finish(exchange, route, answer);
      } catch (error) {
        fail(exchange, error);
      }
    }
  }

  function finish(
    exchange: Exchange,
    { status, headers }: Pick<Route, 'status' | 'headers'>,
    body: string,
  ): void {
    const { response, method, requestId, started } = exchange;
    reply(response, {
      ...(headers && { more: headers(exchange.names.base) }),
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
      const body = unauthenticatedBody(exchange, error);
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

/** To who brings no token, what the service says; to who brings a wrong one, words: clients read an error from it. */
function unauthenticatedBody({ method, requestId, names }: Exchange, error: Unauthenticated): string {
  if (error.problem !== undefined) return problem('TokenRefused', error.problem, requestId, names.base).body;
  return method === 'GET' ? 'OK' : '';
}

/** A token that is refused is named as such (RFC 6750 section 3), in words that help its owner and no forger. */
function challenge({ challenge: plain }: Names, { problem }: Unauthenticated): string {
  return problem === undefined ? plain : `${plain}, error="invalid_token", error_description="${problem}"`;
}
