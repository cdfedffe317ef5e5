// One HTTPS request to one instance, and what is known when no answer comes. Knows no history and no key.
import { Agent, request } from 'node:https';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

export interface Address {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
}

export interface Answered {
  readonly kind: 'answered';
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  /** Undefined when it is no JSON. */
  readonly body: unknown;
  readonly text: string;
}

export type Reply =
  | Answered
  /** The request never left: it certainly did not happen. */
  | { readonly kind: 'unsent'; readonly why: string }
  /** Sent, at least in part, and not answered. */
  | { readonly kind: 'lost'; readonly why: string };

/** Connections of one client, each of which serves one request after the other. */
export class Wire {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  /** Connections over which something may have been sent. */
  readonly #open = new WeakSet<Duplex>();

  /** Resolves in any case, within `patienceMs` or little more. */
  send(
    { host, port, ca }: Address,
    method: string,
    path: string,
    body: unknown,
    headers: OutgoingHttpHeaders,
    patienceMs: number,
  ): Promise<Reply> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve) => {
      let sent = false;
      const outgoing = request(
        {
          ...{ host: '127.0.0.1', servername: host, port, ca, method, path, agent: this.#agent },
          headers: {
            Host: `${host}:${port}`,
            ...(text !== undefined && {
              'Content-Type': 'application/json',
              'Content-Length': Buffer.byteLength(text),
            }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error) => gone(error.message));
          response.on('end', () => {
            clearTimeout(timer);
            const all = Buffer.concat(chunks).toString();
            const { statusCode = 0, headers: given } = response;
            resolve({ kind: 'answered', status: statusCode, headers: given, text: all, body: parsed(all) });
          });
        },
      );
      const gone = (why: string): void => {
        clearTimeout(timer);
        resolve(sent ? { kind: 'lost', why } : { kind: 'unsent', why });
      };
      const timer = setTimeout(() => {
        gone(`no answer within ${patienceMs} ms`);
        outgoing.destroy();
      }, patienceMs);
      outgoing.on('socket', (socket) => {
        // On a new connection nothing leaves before TLS is there.
        if (this.#open.has(socket)) sent = true;
        else {
          socket.once('secureConnect', () => {
            this.#open.add(socket);
            sent = true;
          });
        }
      });
      outgoing.on('error', (error) => gone(error.message));
      outgoing.end(text);
    });
  }

  /** Ends the connections; the next request opens a new one. */
  close(): void {
    this.#agent.destroy();
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
