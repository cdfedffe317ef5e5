// One request from its first line to its answer: who asks, what is asked, the body, the verb, the words. Identity
// comes before everything else: without a believed token nothing of a request is looked at.
import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import type { AuditTrail } from '../hsm/audit.js';
import { isOfSlot } from '../hsm/failure.js';
import type { FaultAnswer } from '../faults/judge.js';
import type { Faults } from '../faults/faults.js';
import type { Hsm } from '../hsm/hsm.js';
import { newRequestId } from '../../values/ids.js';
import type { Relay } from '../../values/messages.js';
import { createRecorder } from './audit.js';
import type { Answer, Call } from './call.js';
import { createCohort } from './cohort.js';
import { ApiError, faultBody, problem, problemOf } from './errors.js';
import type { Firewall } from './firewall.js';
import { keySpecFor } from './key-spec-for.js';
import { createNames, type Names, type PoolAddress } from './hosts.js';
import {
  audienceAmong,
  audienceOf,
  createIdentify,
  tokenKeys,
  Unauthenticated,
  type Identity,
} from './identity.js';
import { describeApi, isDescription } from './openapi.js';
import {
  API_DESCRIPTION,
  AUTHENTICATION,
  operationOf,
  UNKNOWN_OPERATION,
  type Operation,
} from './operations.js';
import { readJson } from './read-json.js';
import { createIsRelayed } from './relay.js';
import type { RequestCounts } from './request-counts.js';
import { reply } from './responder.js';
import { findRoute, findRouteThroughArm } from './router.js';
import type { Route } from './routes.js';

export interface ApiOptions {
  readonly hsm: Hsm;
  readonly audit: AuditTrail;
  readonly pool: PoolAddress;
  /** `https://host:port/{tenantId}`, named in the challenge. */
  readonly authority: string;
  readonly logger: Logger;
  /** Who may come in at all. */
  readonly firewall: Pick<Firewall, 'admits'>;
  /** Absent: nothing is passed on from the control plane. */
  readonly relay?: Relay | undefined;
  readonly counts: RequestCounts;
  /** Absent where nothing is suffered on request. */
  readonly faults?: Pick<Faults, 'request' | 'during'> | undefined;
}

/** For the log only: the client left before its request was whole, and no status was sent. */
const CLIENT_LEFT = 499;

/** Answers one request; never throws and never rejects. */
export type Handle = (request: Request, response: Response) => void;

type Success = Pick<Route, 'status' | 'headers'>;

interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly method: string;
  readonly requestId: string;
  readonly started: number;
  readonly names: Names;
  /** Passed on from the control plane. */
  readonly relayed: boolean;
  // What the log says of it besides: known as the request is looked at.
  caller: Identity | undefined;
  operation: Operation;
  apiVersion: string;
}

/** All of a request is there; what is left is the verb and the answer. */
interface Asked {
  readonly exchange: Exchange;
  readonly route: Route;
  readonly call: Call;
  readonly body: unknown;
}

/** The handler of all requests of one instance. */
export function createApi(options: ApiOptions): Handle {
  const { hsm, audit, pool, authority, logger, firewall, relay, counts, faults } = options;
  const namesOf = createNames(pool, authority);
  const issuers = tokenKeys();
  const identify = createIdentify(hsm, audienceOf(pool.domain), issuers);
  const isRelayed = createIsRelayed(relay);
  const identifyRelayed = createIdentify(hsm, audienceAmong(relay?.audiences ?? []), issuers, false);
  const description = describeApi();
  const record = createRecorder(audit, hsm, pool.name);
  // First all the verbs, then all the answers.
  const askNow = createCohort<Asked>((all) => {
    const answers = all.map(carryOut);
    all.forEach((asked, place) => give(asked, answers[place]));
  });
  const ask = faults ? suffering(faults) : askNow;

  // A known caller's request, when all of it is there and before it is known what the caller may: as at a service that
  // is busy, slow or ill in front of the HSM.
  function suffering(these: Pick<Faults, 'request'>): (asked: Asked) => void {
    return (asked) => {
      const { exchange, call } = asked;
      const verdict = these.request(exchange.operation.name, () => keySpecFor(call));
      if (!verdict) {
        askNow(asked);
        return;
      }
      const goOn = (): void => {
        if (verdict.answer) fail(exchange, new FaultError(verdict.answer));
        else askNow(asked);
      };
      if (verdict.delayMs > 0) setTimeout(goOn, verdict.delayMs);
      else goOn();
    };
  }

  function serve(exchange: Exchange, caller: Identity): void {
    const { request, names, relayed } = exchange;
    exchange.caller = caller;
    exchange.operation = UNKNOWN_OPERATION;
    // What cannot be recorded is not done.
    if (audit.stopped !== undefined) throw new ApiError('AuditStopped', audit.stopped);
    if (!relayed && isDescription(request.url)) {
      // For whoever is believed, without a role: it says nothing of this pool.
      if (exchange.method !== 'GET') throw new ApiError('NoSuchMethod', 'The description can only be read');
      exchange.operation = API_DESCRIPTION;
      finish(exchange, { status: 200 }, description);
      return;
    }
    const find = relayed ? findRouteThroughArm : findRoute;
    const { route, name, version, item, query } = find(exchange.method, request.url);
    exchange.operation = operationOf(route);
    exchange.apiVersion = query.apiVersion ?? '';
    const { owns } = namesOf;
    const call: Call = { hsm, audit, caller, base: names.base, owns, name, version, item, query };
    if (route.body === undefined) {
      ask({ exchange, route, call, body: undefined });
      return;
    }
    const read = () =>
      readJson(
        request,
        route.long?.max,
        (body) => ask({ exchange, route, call, body }),
        (reason) => fail(exchange, reason),
        () => write(exchange, CLIENT_LEFT, 'ClientLeft'),
      );
    const admitted = route.long?.admit?.(call);
    if (admitted === undefined) read();
    else admitted.then(read).catch((error: unknown) => fail(exchange, error));
  }

  /** Undefined when it was refused, and that answered. */
  function carryOut({ exchange, route, call, body }: Asked): Answer | undefined {
    try {
      return faults
        ? faults.during(exchange.operation.name, () => route.run(call, body))
        : route.run(call, body);
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

  function finish(exchange: Exchange, success: Success, body: string): void {
    if (exchange.operation.changes) {
      finishDurably(exchange, success, body).catch((error: unknown) => tell(exchange, error));
      return;
    }
    send(exchange, success, body);
    write(exchange, success.status, '');
  }

  // A change is answered when its record is on the disk: nobody hears of a change that the log does not know.
  async function finishDurably(exchange: Exchange, success: Success, body: string): Promise<void> {
    write(exchange, success.status, '');
    await audit.durable();
    send(exchange, success, body);
  }

  function send(exchange: Exchange, { status, headers }: Success, body: string): void {
    const { request, response, method, requestId, started, names } = exchange;
    const { remoteAddress: remote } = request.socket;
    const more = headers === undefined ? {} : { more: headers(names.base, body) };
    reply(response, { ...more, status, body, requestId, started, method, remote });
  }

  function fail(exchange: Exchange, error: unknown): void {
    if (isOfSlot(error)) void hsm.checkSlot().then(() => failNow(exchange, error));
    else failNow(exchange, error);
  }

  function failNow(exchange: Exchange, error: unknown): void {
    const { status, description: why } = tell(exchange, error);
    if (why === 'AuditStopped') audit.refused();
    if (why === 'AuditStopped' || why === '') count(exchange, status);
    else write(exchange, status, why);
  }

  /** Answers with what went wrong; the description is for the log, empty for what is not recorded. */
  function tell(exchange: Exchange, error: unknown): { status: number; description: string } {
    const { response, method, requestId, started, names } = exchange;
    if (error instanceof Unauthenticated) {
      const body = unauthenticatedBody(exchange, error);
      const more = ['WWW-Authenticate', challenge(names, error)];
      reply(response, { status: 401, body, requestId, started, method, more });
      // To ask without a token is how clients learn where to get one.
      return { status: 401, description: error.problem ?? '' };
    }
    if (error instanceof FaultError) {
      const { status, code, retryAfter } = error.answer;
      const more = retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)];
      const body = faultBody(error.answer, requestId);
      reply(response, { status, body, requestId, started, method, more });
      return { status, description: `fault on request: ${code}` };
    }
    const { code, status, body, retryAfter } = problemOf(error, requestId, names.base);
    if (status >= 500 && code !== 'AuditStopped')
      logger.error({ err: error, requestId, code }, 'request failed');
    const more = retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)];
    reply(response, { status, body, requestId, started, method, more });
    return { status, description: code };
  }

  function write(exchange: Exchange, status: number, why: string): void {
    const { request, operation, apiVersion, caller, started, requestId, names } = exchange;
    count(exchange, status);
    record({
      operationName: operation.name,
      operationVersion: apiVersion,
      status,
      description: why,
      started,
      remote: request.socket.remoteAddress,
      caller,
      userAgent: request.headers['user-agent'],
      requestId,
      url: request.url,
      base: names.base,
    });
  }

  function count({ operation, started }: Exchange, status: number): void {
    counts.add(operation.name, status, (performance.now() - started) / 1_000);
  }

  return (request, response) => {
    const exchange: Exchange = {
      request,
      response,
      method: request.method,
      requestId: newRequestId(),
      started: performance.now(),
      names: namesOf(request.headers.host),
      relayed: isRelayed(request),
      caller: undefined,
      operation: AUTHENTICATION,
      apiVersion: '',
    };
    try {
      const { relayed } = exchange;
      // The control plane is no part of the data plane, and its callers are not where the fabric is.
      if (!relayed && !firewall.admits(request.socket.remoteAddress)) {
        throw new ApiError('ForbiddenByFirewall', 'The address of the client is not authorized');
      }
      const caller = (relayed ? identifyRelayed : identify)(request.headers.authorization);
      if (!(caller instanceof Promise)) serve(exchange, caller);
      else caller.then((known) => serve(exchange, known)).catch((error: unknown) => fail(exchange, error));
    } catch (error) {
      fail(exchange, error);
    }
  };
}

/** An answer that was asked for. */
class FaultError extends Error {
  override readonly name = 'FaultError';
  constructor(readonly answer: FaultAnswer) {
    super(answer.message);
  }
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
