// An attestation service of our own on localhost: OpenID metadata and signing keys over HTTPS, and tokens that jose
// signs. What it answers can be replaced, to see what a wrong one leads to.
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { SignJWT, type JWTHeaderParameters } from 'jose';
import { issueCertificate, keyIdOf, toPem } from '../../../src/values/certificate.js';

export const NOW = 1_800_000_000;
export const KID = 'signer-1';

interface Certified {
  readonly privateKey: KeyObject;
  readonly der: Buffer;
}

const notBefore = new Date(Date.now() - 3_600_000);
const notAfter = new Date(Date.now() + 86_400_000);

/** A certificate authority of its own for each service. */
class Authority {
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #spki = this.#keys.publicKey.export({ type: 'spki', format: 'der' });
  readonly #name = { commonName: 'A root of a test' };

  root(): Promise<Buffer> {
    return this.#issue(this.#name, this.#spki, true);
  }

  async certify(publicKey: KeyObject, dns: readonly string[] = []): Promise<Buffer> {
    return this.#issue(
      { commonName: 'A leaf' },
      publicKey.export({ type: 'spki', format: 'der' }),
      false,
      dns,
    );
  }

  #issue(
    subject: { commonName: string },
    publicKey: Buffer,
    authority: boolean,
    dns: readonly string[] = [],
  ) {
    return issueCertificate({
      subject,
      issuer: this.#name,
      publicKey,
      notBefore,
      notAfter,
      authority,
      ...(dns.length === 0 ? {} : { names: { dns, ip: [] } }),
      ...(authority ? {} : { authorityKeyId: keyIdOf(this.#spki) }),
      sign: (data) => sign('sha256', data, this.#keys.privateKey),
    });
  }
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export class AttestationService {
  /** Paths that were asked for, in order. */
  readonly asked: string[] = [];
  /** Answers that replace the right ones, by path. */
  readonly instead = new Map<string, Answer>();
  readonly #sockets = new Set<Socket>();
  /** As `jwks_uri` leads to them. */
  keys: object[] = [];

  private constructor(
    readonly authority: Authority,
    /** PEM. */
    readonly ca: string,
    readonly server: Server,
    readonly signer: Certified,
  ) {}

  static async start(names: readonly string[] = ['localhost']): Promise<AttestationService> {
    const authority = new Authority();
    const tls = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const root = toPem(await authority.root());
    const server = createServer({
      key: tls.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: toPem(await authority.certify(tls.publicKey, names)),
    });
    const service = new AttestationService(authority, root, server, {
      privateKey,
      der: await authority.certify(publicKey),
    });
    service.keys = [service.jwk(service.signer.der)];
    server.on('request', (request, response) => service.#answer(request, response));
    server.on('connection', (socket: Socket) => service.#sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, resolve));
    return service;
  }

  get issuer(): string {
    return `https://localhost:${(this.server.address() as AddressInfo).port}`;
  }

  /** Without `n` and `e`, as such services publish their keys. */
  jwk(der: Buffer, more: object = {}): object {
    return { kid: KID, kty: 'RSA', x5c: [der.toString('base64')], ...more };
  }

  async certified(keys: { publicKey: KeyObject; privateKey: KeyObject }): Promise<Certified> {
    return { privateKey: keys.privateKey, der: await this.authority.certify(keys.publicKey) };
  }

  /** A token that expires in an hour of the tests' clock, unless the claims say otherwise. */
  token(
    claims: object = {},
    header: Partial<JWTHeaderParameters> = {},
    key: KeyObject | Uint8Array = this.signer.privateKey,
  ): Promise<string> {
    return new SignJWT({ iss: this.issuer, exp: NOW + 3600, ...claims })
      .setProtectedHeader({
        alg: 'RS256',
        kid: KID,
        typ: 'JWT',
        jku: 'https://evil.example.net/keys',
        ...header,
      })
      .sign(key);
  }

  answerJson(path: string, value: unknown, status = 200, headers: Record<string, string> = {}): void {
    this.instead.set(path, (_, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(value));
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    this.asked.push(path);
    const other = this.instead.get(path);
    if (other) {
      other(request, response);
      return;
    }
    response.setHeader('content-type', 'application/json');
    if (path === DISCOVERY) {
      response.end(JSON.stringify({ issuer: this.issuer, jwks_uri: `${this.issuer}${CERTS}` }));
    } else if (path === CERTS) response.end(JSON.stringify({ keys: this.keys }));
    else response.writeHead(404).end();
  }
}

export const DISCOVERY = '/.well-known/openid-configuration';
export const CERTS = '/certs';
