// The API over real HTTPS, with an HSM in memory and an issuer of tokens.
import { generateKeyPairSync, sign } from 'node:crypto';
import { Agent, request, type RequestOptions } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, SignJWT, type JWTPayload } from 'jose';
import pino from 'pino';
import { Firewall } from '../../../src/instance/api/firewall.js';
import { RequestCounts } from '../../../src/instance/api/request-counts.js';
import { createServer, type ApiServer } from '../../../src/instance/api/server.js';
import type { AuditTrail } from '../../../src/instance/hsm/audit.js';
import { issueCertificate, toPem } from '../../../src/values/certificate.js';
import type { TrustedIssuer } from '../../../src/values/messages.js';
import { FakeHsm, OPERATOR, TENANT } from '../hsm/fake-hsm.js';

export const ISSUER = 'https://localhost:8443/adfs';
export const AUTHORITY = `https://localhost:8443/${TENANT}`;
export const DOMAIN = 'managedhsm.localhost';
export const DATA_PORT = 9443;
/** How the fabric is known, and what its callers' tokens are for. */
export const RELAY = { secret: 'a secret of the fabric', audiences: ['https://management.azure.com'] };
const AUDIENCE = `https://${DOMAIN}:${DATA_PORT}`;

export const issuerKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; undefined where there is none. */
  readonly json: Json;
}

// Bodies are looked into at many depths; what is not there is undefined.
export interface Json {
  readonly [member: string]: Json | undefined;
}

/** A member that is a text; empty if it is anything else. */
export function textOf(member: Json | undefined): string {
  const value: unknown = member;
  return typeof value === 'string' ? value : '';
}

export interface Ask {
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Buffer;
  readonly headers?: Record<string, string>;
  /** Null: none. */
  readonly token?: string | null;
  readonly host?: string;
}

/** An audit log in memory. */
export class MemoryAudit implements AuditTrail {
  readonly lines: string[] = [];
  stopped: string | undefined;
  refusals = 0;
  /** What a change waits for before it is answered. */
  disk: Promise<void> = Promise.resolve();

  append(members: string): void {
    this.lines.push(members);
  }

  refused(): void {
    this.refusals += 1;
  }

  durable(): Promise<void> {
    return this.disk;
  }

  newest(count: number): Promise<string[]> {
    return Promise.resolve(this.lines.slice(-count).map((line) => `{${line}}`));
  }

  /** The records, as whoever reads the log sees them. */
  get records(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(`{${line}}`) as Record<string, unknown>);
  }
}

export class Served {
  private constructor(
    readonly hsm: FakeHsm,
    readonly server: ApiServer,
    readonly port: number,
    readonly token: string,
    /** What was logged, a line each. */
    readonly log: string[],
    readonly audit: MemoryAudit,
    readonly firewall: Firewall,
    private readonly agent: Agent,
  ) {}

  /** `make` gives another HSM than the usual one, which is active. */
  static async start(
    requestMsMax?: number,
    make: (issuers: readonly TrustedIssuer[]) => FakeHsm | Promise<FakeHsm> = (issuers) =>
      new FakeHsm(issuers),
  ): Promise<Served> {
    const jwk = { ...(await exportJWK(issuerKeys.publicKey)), kid: 'one', alg: 'ES256' };
    const hsm = await make([{ issuer: ISSUER, keys: [jwk] }]);
    const log: string[] = [];
    const firewall = new Firewall();
    const audit = new MemoryAudit();
    const server = createServer({
      hsm,
      audit,
      pool: { name: 'dev', domain: DOMAIN, dataPort: DATA_PORT },
      authority: AUTHORITY,
      firewall,
      relay: RELAY,
      counts: new RequestCounts(),
      logger: pino({}, { write: (line: string) => void log.push(line) }),
      tls: await selfSigned(),
      ...(requestMsMax === undefined ? {} : { requestMsMax }),
    });
    await new Promise<void>((resolve) => server.https.listen(0, '127.0.0.1', resolve));
    const { port } = server.https.address() as AddressInfo;
    const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
    return new Served(hsm, server, port, await tokenFor(hsm), log, audit, firewall, agent);
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    this.server.https.close();
    this.server.https.closeAllConnections();
    await Promise.resolve();
  }

  /** Sends a request; `path` gets an api-version unless it has a query. */
  ask(method: string, path: string, asked: Ask = {}): Promise<Answer> {
    return askFrom(this, this.agent, method, path, asked);
  }
}

/** The same over the connections of another agent. */
export function askFrom(
  served: Pick<Served, 'port' | 'token'>,
  agent: Agent,
  method: string,
  path: string,
  { body, raw, headers, token, host }: Ask = {},
): Promise<Answer> {
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const chunked = headers?.['transfer-encoding'] !== undefined;
  const options: RequestOptions = {
    agent,
    host: '127.0.0.1',
    port: served.port,
    method,
    path: path.includes('?') ? path : `${path}?api-version=2026-04-01`,
    headers: {
      host: host ?? `dev.${DOMAIN}:${DATA_PORT}`,
      ...(token === null ? {} : { authorization: `Bearer ${token ?? served.token}` }),
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...(sent === undefined || chunked ? {} : { 'content-length': Buffer.byteLength(sent) }),
      ...headers,
    },
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (incoming) => {
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8');
        const json = (text.startsWith('{') ? JSON.parse(text) : undefined) as Json;
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, json });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(sent);
  });
}

/** A token as the issuer makes it, with claims changed by the test; undefined leaves one out. */
export async function tokenFor(
  hsm: FakeHsm,
  claims: Record<string, unknown> = {},
  kid = 'one',
): Promise<string> {
  const now = hsm.now();
  const all: Record<string, unknown> = {
    iss: ISSUER,
    aud: AUDIENCE,
    tid: TENANT,
    oid: OPERATOR,
    exp: now + 3600,
    nbf: now,
    ...claims,
  };
  const payload = Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined),
  ) as JWTPayload;
  return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid }).sign(issuerKeys.privateKey);
}

async function selfSigned(): Promise<{ key: string; cert: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await issueCertificate({
    subject: { commonName: 'a pool' },
    issuer: { commonName: 'a pool' },
    publicKey: publicKey.export({ format: 'der', type: 'spki' }),
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    names: { dns: [`*.${DOMAIN}`], ip: ['127.0.0.1'] },
    authority: false,
    usages: ['serverAuth'],
    sign: (tbs) => sign('sha256', tbs, privateKey),
  });
  return { key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(), cert: toPem(certificate) };
}
