// Writes answers: the headers that every one carries, in one piece with the body.
import type { ServerResponse } from 'node:http';

/** Value of `x-ms-build-version`. */
export const BUILD = 'trivet-0.1.0';
const REGION = 'local';

// Names and values by turns, as writeHead takes them without building an object.
const COMMON: readonly string[] = [
  'Cache-Control',
  'no-cache',
  'Content-Type',
  'application/json; charset=utf-8',
  'Content-Security-Policy',
  "default-src 'self'",
  'Strict-Transport-Security',
  'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options',
  'nosniff',
  'X-Frame-Options',
  'SAMEORIGIN',
];

export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly requestId: string;
  /** `performance.now()` when the request arrived. */
  readonly started: number;
  readonly method: string;
  /** The client's address, on success only. */
  readonly remote?: string | undefined;
  /** Further headers, names and values by turns. */
  readonly more?: readonly string[];
}

/** Answers unless the client has gone or was answered already. */
export function reply(response: ServerResponse, answer: Reply): void {
  if (response.headersSent || response.destroyed) return;
  const headers = [
    ...COMMON,
    'Content-Length',
    String(Buffer.byteLength(answer.body)),
    'x-ms-request-id',
    answer.requestId,
    'x-ms-server-latency',
    String(Math.floor(performance.now() - answer.started)),
  ];
  if (answer.method === 'GET') headers.push('x-ms-build-version', BUILD);
  if (answer.status < 300) {
    headers.push('x-ms-keyvault-region', REGION, 'x-ms-keyvault-network-info', networkInfo(answer.remote));
  }
  if (answer.more) headers.push(...answer.more);
  response.sendDate = false; // the service sends none
  response.writeHead(answer.status, headers);
  response.end(answer.body);
}

function networkInfo(remote = ''): string {
  // An IPv4 client on a socket of both families.
  const address = remote.startsWith('::ffff:') ? remote.slice(7) : remote;
  const family = address.includes(':') ? 'Ipv6' : 'Ipv4';
  return `conn_type=${family};addr=${address};act_addr_fam=${family};`;
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

/** A whole answer as text, for a connection whose request could not be parsed; the connection ends with it. */
export function rawReply(status: number, body: string, requestId: string): string {
  const lines = [`HTTP/1.1 ${status} ${reasons[status] ?? ''}`];
  for (let i = 0; i < COMMON.length; i += 2) lines.push(`${COMMON[i] ?? ''}: ${COMMON[i + 1] ?? ''}`);
  lines.push(
    `Content-Length: ${Buffer.byteLength(body)}`,
    `x-ms-request-id: ${requestId}`,
    'x-ms-server-latency: 0',
    'Connection: close',
  );
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
