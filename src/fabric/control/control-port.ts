// The control port's TLS listener, apart from what answers on it: the port is bound first, since instances are told
// its number, and answers only once everything behind it has been loaded.
import { createServer } from 'node:https';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KeyAndCertificate } from './authority.js';

/** A request, body included, must be here by then; some clients announce a body and never send it. */
const REQUEST_MS = 10_000;
const HEADERS_MS = 5_000;
const CONNECTIONS_MAX = 1_024;

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export class ControlPort {
  readonly #server = createServer({
    minVersion: 'TLSv1.2',
    requestTimeout: REQUEST_MS,
    headersTimeout: HEADERS_MS,
    connectionsCheckingInterval: 1_000,
    handshakeTimeout: HEADERS_MS,
  });
  #answer: Answer | undefined;

  constructor() {
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('request', (request, response) => {
      if (this.#answer) this.#answer(request, response);
      else response.writeHead(503, { 'Retry-After': '1' }).end();
    });
  }

  /** Binds the port (0: any free one) on the loopback interface. Handshakes fail until {@link open}. */
  async listen(port: number): Promise<number> {
    const server: Server = this.#server;
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
