// Passes a call on to an instance of the pool, as a client of its own address: over TLS, checked with the pool's root,
// with the caller's own token, which the instance judges by itself. Decides nothing, and reaches nobody else.
import { request } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import type { InstanceProcess } from '../pools/instance-process.js';
import type { Pool } from '../pools/pool.js';

export interface RelayedCall {
  readonly method: 'GET' | 'POST';
  /** With its query. */
  readonly path: string;
  /** The caller's. */
  readonly token: string;
  readonly body?: unknown;
  readonly userAgent?: string | undefined;
  /** Says that the control plane asks, by the secret that the instances know it by; absent: asks as any client. */
  readonly secret?: string;
  /** An address of this machine to ask from, which the pool's firewall judges; the system's choice when absent. */
  readonly from?: string | undefined;
  /** Asks this instance only, and not whose turn it is. */
  readonly instance?: number | undefined;
}

/** What the relay needs of a pool. */
export type RelayedPool = Pick<Pool, 'name' | 'host'> & {
  candidates(): readonly Pick<InstanceProcess, 'instance' | 'report'>[];
};

export interface RelayedAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** As JSON; undefined when it is none. */
  readonly body: unknown;
}

/** A partition may have to make an RSA key, and wait for another that has died meanwhile. */
const PATIENCE_MS = 60_000;
/** More than the longest answer, a page of keys with the longest tags. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** No instance could be asked, or the one that was did not answer. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** Gives what an instance answers, a refusal too. Throws a {@link NoAnswer}. */
export async function relay(pool: RelayedPool, call: RelayedCall): Promise<RelayedAnswer> {
  for (const { instance, report } of pool.candidates()) {
    if (!report || (call.instance !== undefined && call.instance !== instance)) continue;
    try {
      return await ask(report.port, report.rootCertificate, pool.host, call);
    } catch (error) {
      // It has heard nothing: the next one may be asked.
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') continue;
      throw new NoAnswer(`pool ${pool.name} did not answer`, { cause: error });
    }
  }
  throw new NoAnswer(
    call.instance === undefined
      ? `no partition of ${pool.name} serves`
      : `partition ${call.instance} of ${pool.name} does not serve`,
  );
}

function ask(
  port: number,
  root: string,
  host: string,
  { method, path, token, body, userAgent, secret, from }: RelayedCall,
): Promise<RelayedAnswer> {
  const sent = body === undefined ? '' : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port,
        servername: host.replace(/:.*$/, ''),
        ca: root,
        agent: false,
        method,
        path,
        timeout: PATIENCE_MS,
        ...(from !== undefined && { localAddress: from }),
        headers: {
          Host: host,
          Authorization: `Bearer ${token}`,
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(sent),
          ...(secret !== undefined && { 'X-Trivet-Relay': secret }),
          ...(userAgent !== undefined && { 'User-Agent': userAgent }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > ANSWER_BYTES_MAX) outgoing.destroy(new Error('the answer is too long'));
          chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode = 0, headers } = response;
          resolve({ status: statusCode, headers, body: parsed(Buffer.concat(chunks).toString('utf8')) });
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${PATIENCE_MS / 1_000} s`)));
    outgoing.on('error', reject);
    outgoing.end(sent);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
