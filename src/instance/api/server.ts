// The data plane's HTTPS server. TLS of the clients ends here. Connections arrive as sockets that another process has
// accepted; the server itself need not listen.
import { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import express, { type Express } from 'express';
import { newRequestId } from '../../values/ids.js';
import { createApi, type ApiOptions } from './api.js';
import { problem, type ApiCode } from './errors.js';
import { rawReply } from './responder.js';

export interface ServerOptions extends ApiOptions {
  /** PEM. */
  readonly tls: { readonly key: string; readonly cert: string };
  /** How long a whole request may take to arrive, in milliseconds; 10 seconds unless a test says otherwise. */
  readonly requestMsMax?: number;
}

export interface ApiServer {
  /** Listens where its user says. */
  readonly https: Server;
  /** Open connections that are through their handshake. */
  readonly connections: number;
  /** Serves a connection of which `head` has been read already. */
  adopt(socket: Socket, head: Uint8Array): void;
  /**
   * Ends idle connections, lets running requests finish, and resolves when no connection is left. `patient`: an idle
   * connection has a second for one more request, which its client may just be sending.
   */
  drain(patient?: boolean): Promise<void>;
}

const REQUEST_MS_MAX = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** After this a connection that is still busy is cut. */
const DRAIN_MS_MAX = 15_000;
/** A client that is busy has sent its next request by then. */
const PATIENCE_MS = 1_000;
/** How long a client that was refused may go on sending. */
const LINGER_MS_MAX = 2_000;
// Room for a token of 16 KiB and the rest.
const HEADERS_MAX = 32_768;

/** The server of one instance; TLS 1.2 and 1.3, HTTP/1.1 with connections kept alive. */
export function createServer(options: ServerOptions): ApiServer {
  const handle = createApi(options);
  const app = createApp();
  const requestMsMax = options.requestMsMax ?? REQUEST_MS_MAX;
  const https = createHttpsServer(
    {
      ...options.tls,
      minVersion: 'TLSv1.2',
      ...classesOf(app),
      maxHeaderSize: HEADERS_MAX,
      requestTimeout: requestMsMax,
      headersTimeout: requestMsMax,
      handshakeTimeout: requestMsMax,
      connectionsCheckingInterval: Math.min(1_000, requestMsMax),
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    app,
  );
  // Node looks after the timeouts and the idle connections of a server only from this event on, and a server that
  // is given its connections never listens by itself.
  https.emit('listening');
  const open = new Set<Duplex>();
  const answering = new WeakMap<Duplex, ServerResponse>();
  let draining = false;
  let allGone: (() => void) | undefined;

  app.use((request, response) => {
    answering.set(request.socket, response);
    response.shouldKeepAlive &&= !draining;
    handle(request, response);
  });

  // An expectation that nobody knows may be ignored (RFC 9110 section 10.1.1). Node would refuse it with a bare 417,
  // without the service's headers and before it is asked who calls.
  https.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    app(request, response);
  });

  https.on('secureConnection', (socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      if (open.size === 0) allGone?.();
    });
  });
  const refused = new WeakSet<Duplex>();
  https.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // What comes after bytes that were no request is no request either, and each piece of it is an error of its own.
    if (refused.has(socket)) return;
    refused.add(socket);
    const response = answering.get(socket);
    const owed =
      response !== undefined && (response.headersSent || response.req.complete) && !response.writableFinished;
    if (!socket.writable) socket.destroy();
    // These words are no answer to a request that was one: it gets its own first.
    else if (owed) response.once('finish', () => leaveWith(socket, refusal(error)));
    else leaveWith(socket, refusal(error));
  });

  // Resolves when no connection is left, or after so long.
  const gone = (msMax: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, msMax);
      // Not by a list of today's connections: one may still be in its handshake.
      allGone = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  return {
    https,
    get connections() {
      return open.size;
    },
    adopt(socket, head) {
      if (head.length > 0) socket.unshift(head);
      https.emit('connection', socket);
    },
    async drain(patient = false) {
      draining = true;
      if (patient && open.size > 0) await gone(PATIENCE_MS);
      // Ends idle connections, too.
      if (https.listening) https.close();
      for (const socket of open) {
        const response = answering.get(socket);
        // Node does not count as idle who has connected and not asked anything yet.
        if (response === undefined) socket.destroy();
        else if (!response.headersSent) response.shouldKeepAlive = false;
      }
      https.closeIdleConnections();
      if (open.size === 0) return;
      await gone(DRAIN_MS_MAX);
      for (const socket of open) socket.destroy();
    },
  };
}

/**
 * Says the last words, then hears the other side out: a connection that is closed with bytes unread is reset, and a
 * reset takes from the client what it has not read yet.
 */
function leaveWith(socket: Duplex, words: string): void {
  if (!socket.writable) return; // the answer before was the last by its own words
  const cut = setTimeout(() => socket.destroy(), LINGER_MS_MAX);
  socket.once('close', () => clearTimeout(cut));
  socket.once('end', () => socket.destroy());
  socket.end(words);
  socket.resume();
}

/** Express with nothing that the service does not send. */
function createApp(): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  return app;
}

/**
 * Classes of request and response whose prototype is what Express wants it to be. Express sets the prototype of both
 * on every request; on objects that already have it this changes nothing, while a real change makes every later
 * access slow (two to three times the cost of the whole request).
 */
export function classesOf(app: Express): {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
} {
  class AppRequest extends IncomingMessage {}
  class AppResponse<R extends IncomingMessage = IncomingMessage> extends ServerResponse<R> {}
  Object.setPrototypeOf(AppRequest.prototype, app.request);
  Object.setPrototypeOf(AppResponse.prototype, app.response);
  Object.assign(app, { request: AppRequest.prototype, response: AppResponse.prototype });
  return { IncomingMessage: AppRequest, ServerResponse: AppResponse };
}

/** The last words to a connection whose bytes are no request, or came too late. */
function refusal({ code }: NodeJS.ErrnoException): string {
  const requestId = newRequestId();
  const [kind, words]: [ApiCode, string] =
    code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['BodyTooSlow', 'The request did not arrive in time']
      : code === 'HPE_HEADER_OVERFLOW'
        ? ['HeadersTooLarge', `The headers are larger than ${HEADERS_MAX} bytes`]
        : ['MalformedRequest', 'The request is not valid HTTP'];
  const { status, body } = problem(kind, words, requestId, '');
  return rawReply(status, body, requestId);
}
