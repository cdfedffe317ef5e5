// The control port's TLS listener, apart from what answers on it: the port is bound first, since instances are told
// its number, and answers only once everything behind it has been loaded.
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KeyAndCertificate } from './authority.js';

export interface ControlLimits {
  /** A request, body included, must be here by then; some clients announce a body and never send it. */
  readonly requestMs: number;
  /** The same for a TLS handshake and for a request's headers. */
  readonly headersMs: number;
}

const LIMITS: ControlLimits = { requestMs: 10_000, headersMs: 5_000 };
const CONNECTIONS_MAX = 1_024;

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export class ControlPort {
  readonly #server: Server;
  #answer: Answer | undefined;

  constructor({ requestMs, headersMs }: ControlLimits = LIMITS) {
    this.#server = createServer({
      minVersion: 'TLSv1.2',
      requestTimeout: requestMs,
      headersTimeout: headersMs,
      handshakeTimeout: headersMs,
      connectionsCheckingInterval: Math.min(1_000, requestMs),
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('request', (request, response) => {
      if (this.#answer) this.#answer(request, response);
      else response.writeHead(503, { 'Retry-After': '1' }).end();
    });
  }

  /** Binds the port (0: any free one) on the loopback interface. Handshakes fail until {@link open}. */
  async listen(port: number): Promise<number> {
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
    return (server.address() as AddressInfo).port;
  }

  open(leaf: KeyAndCertificate, answer: Answer): void {
    this.#answer = answer;
    this.#server.setSecureContext({ key: leaf.key, cert: leaf.certificate, minVersion: 'TLSv1.2' });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
