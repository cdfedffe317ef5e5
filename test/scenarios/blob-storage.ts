// A blob service for tests: azurite with an authority of its own, and a door before it that can be shut. What is kept in
// it is looked at and changed by plain HTTPS.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ContainerSASPermissions,
  generateAccountSASQueryParameters,
  generateBlobSASQueryParameters,
  AccountSASPermissions,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { controlLeaf, newAuthority } from '../../src/fabric/control/authority.js';
import { until } from './pool.js';

const ACCOUNT = 'account';
const CONTAINER = 'backups';
const DAY_MS = 86_400_000;

/** Passes connections on; `shut` breaks those that there are, `held` keeps what comes until it is open again. */
class Door {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #state: 'open' | 'shut' | 'held' = 'open';
  /** Told of each connection that comes. */
  onConnection: (() => void) | undefined;

  constructor(target: () => number) {
    this.#server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#keep(socket);
      this.onConnection?.();
      if (this.#state === 'shut') {
        socket.destroy();
        return;
      }
      const inner = connect(target(), '127.0.0.1');
      this.#keep(inner);
      inner.on('close', () => socket.destroy());
      socket.on('close', () => inner.destroy());
      inner.pipe(socket);
      socket.on('data', (chunk) => inner.write(chunk));
      if (this.#state === 'open') socket.resume();
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  open(): void {
    this.#state = 'open';
    for (const socket of this.#sockets) socket.resume();
  }

  shut(): void {
    this.#state = 'shut';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What clients send goes no further, and they are told nothing. */
  hold(): void {
    this.#state = 'held';
    for (const socket of this.#sockets) socket.pause();
  }

  close(): void {
    this.shut();
    this.#server.close();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => void this.#sockets.delete(socket));
  }
}

export class BlobStorage {
  readonly home = mkdtempSync(join(tmpdir(), 'trivet-storage-'));
  readonly caFile = join(this.home, 'ca.pem');
  readonly door = new Door(() => this.#port);
  #ca = '';
  #key = new StorageSharedKeyCredential(ACCOUNT, randomBytes(64).toString('base64'));
  #child: ChildProcess | undefined;
  #port = 0;
  /** Where clients come in. */
  port = 0;

  static async start(): Promise<BlobStorage> {
    const storage = new BlobStorage();
    await storage.#start();
    return storage;
  }

  async #start(): Promise<void> {
    const authority = await newAuthority('managedhsm.localhost');
    const leaf = await controlLeaf(authority);
    this.#ca = authority.certificate;
    writeFileSync(this.caFile, this.#ca);
    writeFileSync(join(this.home, 'tls.key'), leaf.key, { mode: 0o600 });
    writeFileSync(join(this.home, 'tls.crt'), leaf.certificate);
    const secret = randomBytes(64).toString('base64');
    this.#key = new StorageSharedKeyCredential(ACCOUNT, secret);
    const program = join(__dirname, '../../node_modules/azurite/dist/src/blob/main.js');
    this.#child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', process.execPath, program, '--blobHost', '127.0.0.1', '--blobPort', '0'],
        ...['--inMemoryPersistence', '--silent', '--disableTelemetry', '--skipApiVersionCheck'],
        ...['--cert', 'tls.crt', '--key', 'tls.key'],
      ],
      {
        cwd: this.home,
        env: { PATH: process.env['PATH'], AZURITE_ACCOUNTS: `${ACCOUNT}:${secret}` },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let said = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('the storage answers', () => /successfully listens on https:.*:[0-9]+/.test(said), 60_000);
    this.#port = Number(/listens on https:.*:([0-9]+)/.exec(said)?.[1]);
    this.port = await this.door.listen();
    const make = generateAccountSASQueryParameters(
      {
        permissions: AccountSASPermissions.parse('c'),
        services: 'b',
        resourceTypes: 'c',
        expiresOn: new Date(Date.now() + DAY_MS),
      },
      this.#key,
    ).toString();
    const { status, body } = await this.#send('PUT', `/${ACCOUNT}/${CONTAINER}?restype=container&${make}`);
    if (status !== 201) throw new Error(body.toString());
  }

  stop(): void {
    this.door.close();
    this.#child?.kill('SIGKILL');
    rmSync(this.home, { recursive: true, force: true });
  }

  /** As `--storage-host` takes it. */
  get option(): string {
    return `localhost:${this.port},${this.caFile}`;
  }

  /** What clients give to the HSM; without a time the token is good for a day. */
  access(expires = Date.now() + DAY_MS): { readonly storageResourceUri: string; readonly token: string } {
    const token = generateBlobSASQueryParameters(
      {
        containerName: CONTAINER,
        permissions: ContainerSASPermissions.parse('rcwdl'),
        expiresOn: new Date(expires),
      },
      this.#key,
    ).toString();
    return { storageResourceUri: `https://localhost:${this.port}/${ACCOUNT}/${CONTAINER}`, token };
  }

  async read(name: string): Promise<Buffer> {
    const { status, body } = await this.#send('GET', this.#path(name));
    if (status !== 200) throw new Error(body.toString());
    return body;
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const { status, body } = await this.#send('PUT', this.#path(name), bytes);
    if (status !== 201) throw new Error(body.toString());
  }

  async list(): Promise<string[]> {
    const { token } = this.access();
    const { body } = await this.#send('GET', `/${ACCOUNT}/${CONTAINER}?restype=container&comp=list&${token}`);
    return [...body.toString().matchAll(/<Name>([^<]+)<\/Name>/g)].map(([, name = '']) => name);
  }

  #path(name: string): string {
    return `/${ACCOUNT}/${CONTAINER}/${name}?${this.access().token}`;
  }

  // Past the door.
  #send(method: string, path: string, bytes?: Uint8Array): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...{ host: '127.0.0.1', servername: 'localhost', port: this.#port, ca: this.#ca, method, path },
          agent: false,
          headers: {
            Host: `localhost:${this.port}`,
            'Content-Length': bytes?.length ?? 0,
            ...(bytes && { 'x-ms-blob-type': 'BlockBlob' }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }),
          );
          response.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(bytes);
    });
  }
}
