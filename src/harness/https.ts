// JSON over HTTPS to a pool on this machine: every name is 127.0.0.1, and the pool's own authorities are the only ones.
import { Agent, request } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import type { LookupFunction } from 'node:net';
import { HarnessError } from './error.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Undefined when the answer is no JSON. */
  readonly body: unknown;
}

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

/** Nothing is asked of any resolver. */
const here: LookupFunction = (_name, options, found) => {
  if (options.all === true) found(null, [{ address: '127.0.0.1', family: 4 }]);
  else found(null, '127.0.0.1', 4);
};

/** Connections to the pool; they stay open until the agent is destroyed, and hold nobody's process. */
export function poolAgent(ca: string, keepAlive: boolean): Agent {
  return new Agent({ keepAlive, ca, lookup: here });
}

/** Throws a {@link HarnessError} when there is no answer within `patienceMs`. */
export function ask(
  agent: Agent,
  { method, url, headers, body }: Asked,
  patienceMs: number,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new HarnessError(`${method} ${url.pathname} got no answer: ${cause.message}`, { cause }));
    const outgoing = request(
      url,
      {
        agent,
        method,
        timeout: patienceMs,
        headers: { ...headers, 'Content-Length': Buffer.byteLength(body ?? '') },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed(text) });
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`none within ${patienceMs / 1_000} s`)));
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A member of an answer that is a text. */
export function textIn(value: unknown, ...path: readonly string[]): string | undefined {
  let found = value;
  for (const name of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return typeof found === 'string' ? found : undefined;
}

/** The body of an answer that is none of success. */
export function refusal(what: string, { status, body }: Answer): HarnessError {
  const words = textIn(body, 'error', 'message') ?? textIn(body, 'error_description') ?? `status ${status}`;
  return new HarnessError(`${what}: ${words}`);
}
