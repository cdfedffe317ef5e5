// Links between the members: one TLS 1.3 connection for each pair, both ends known by a pinned certificate. The
// member with the higher number dials. A link that breaks is dialled again; what was on its way is lost with it.
//
// In TLS 1.3 the dialling side is done before the other has looked at its certificate. So the other says when it has
// let it in, with an empty frame, and the link is up for the dialling side from then on.
import { X509Certificate } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { assert } from '../../values/assert.js';
import { decode, encode } from '../../values/cbor.js';
import type { Peer } from '../../values/messages.js';

/** What this member shows on its links; PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** Largest message: a tail of many undecided entries. */
const MAX_FRAME = 64 * 1024 * 1024;
/** No message is empty. */
const LET_IN = Buffer.alloc(0);
const REDIAL_MS_MIN = 25;
const REDIAL_MS_MAX = 1_000;
const HANDSHAKE_MS = 5_000;

interface MeshEvents {
  linked: [member: number];
  unlinked: [member: number];
  message: [member: number, message: unknown];
}

/** Emits `linked`, `unlinked` and `message`; never two links to one member. */
export class Mesh extends EventEmitter<MeshEvents> {
  readonly #server: Server;
  readonly #identity: Identity;
  readonly #links = new Map<number, TLSSocket>();
  /** Connections that this member has made or is making. */
  readonly #dialling = new Set<TLSSocket>();
  readonly #members = new Map<string, Peer>();
  #self = -1;
  #closed = false;

  private constructor(identity: Identity, server: Server) {
    super();
    this.#identity = identity;
    this.#server = server;
  }

  /** Listens on a free port of the loopback address. Nobody is let in before {@link join}. */
  static async listen(identity: Identity): Promise<Mesh> {
    const server = createServer({
      ...identityOptions(identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    });
    const mesh = new Mesh(identity, server);
    server.on('secureConnection', (socket) => mesh.#accept(socket));
    // A failed handshake is the other side's business; the server goes on.
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return mesh;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Starts to accept the members and to dial those with lower numbers. */
  join(self: number, peers: readonly Peer[]): void {
    this.#self = self;
    for (const peer of peers) {
      assert(peer.instance !== self, 'a member is not its own peer');
      this.#members.set(fingerprint(peer.certificate), peer);
    }
    this.#server.setSecureContext({
      ...identityOptions(this.#identity),
      ca: peers.map((peer) => peer.certificate),
    });
    for (const peer of peers) if (peer.instance < self) this.#dial(peer, REDIAL_MS_MIN);
  }

  /** Sends to a linked member; false when there is no link. `undefined` is not a message. */
  send(member: number, message: unknown): boolean {
    const socket = this.#links.get(member);
    if (!socket) return false;
    const frame = frameOf(encode(message));
    // One write for all that one turn produces: a record and a system call each would cost more than the messages.
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    socket.write(frame);
    return true;
  }

  /** Ends every link and stops listening. */
  close(): void {
    this.#closed = true;
    this.#server.close();
    for (const socket of [...this.#links.values(), ...this.#dialling]) socket.destroy();
  }

  #dial(peer: Peer, delayMs: number): void {
    if (this.#closed) return;
    const socket = connect({
      ...identityOptions(this.#identity),
      host: '127.0.0.1',
      port: peer.port,
      ca: [peer.certificate],
      // The certificate itself is pinned, so its name has nothing to add.
      checkServerIdentity: (_host, certificate) =>
        fingerprintOf(certificate.raw) === fingerprint(peer.certificate)
          ? undefined
          : new Error('not the pinned certificate'),
    });
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    let nextDelayMs = Math.min(delayMs * 2, REDIAL_MS_MAX);
    this.#dialling.add(socket);
    // Nothing is read from anybody whose certificate was not checked.
    socket.once('secureConnect', () =>
      this.#read(peer.instance, socket, () => {
        clearTimeout(timer);
        nextDelayMs = REDIAL_MS_MIN;
        this.#adopt(peer.instance, socket);
      }),
    );
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(timer);
      this.#dialling.delete(socket);
      setTimeout(() => this.#dial(peer, nextDelayMs), nextDelayMs).unref();
    });
  }

  #accept(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    const peer = this.#members.get(fingerprintOf(socket.getPeerCertificate().raw));
    // A member with a lower number is dialled, it does not dial.
    if (this.#closed || !peer || peer.instance < this.#self) {
      socket.destroy();
      return;
    }
    this.#read(peer.instance, socket);
    socket.write(frameOf(LET_IN));
    this.#adopt(peer.instance, socket);
  }

  #adopt(member: number, socket: TLSSocket): void {
    // The newer link stands: the other side has given the older one up.
    this.#links.get(member)?.destroy();
    this.#drop(member);
    this.#links.set(member, socket);
    socket.setNoDelay(true);
    socket.once('close', () => {
      if (this.#links.get(member) === socket) this.#drop(member);
    });
    this.emit('linked', member);
  }

  // Hands on what comes; `letIn` is called when the other side has let this one in.
  #read(member: number, socket: TLSSocket, letIn?: () => void): void {
    const reader = new FrameReader();
    const messageOf = (frame: Buffer): unknown => {
      try {
        return decode(frame);
      } catch {
        return undefined;
      }
    };
    socket.on('data', (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) {
        const linked = this.#links.get(member) === socket;
        if (!linked && frame?.length === 0 && letIn) {
          letIn();
          continue;
        }
        // Not in the `try` of decoding: what the listeners throw is a broken assumption of theirs, and no bad frame.
        const message = linked && frame && frame.length > 0 ? messageOf(frame) : undefined;
        if (message === undefined) {
          socket.destroy();
          return;
        }
        this.emit('message', member, message);
      }
    });
  }

  #drop(member: number): void {
    if (this.#links.delete(member)) this.emit('unlinked', member);
  }
}

function frameOf(body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, 4);
  return frame;
}

/** Cuts a stream into the frames that {@link frameOf} made; undefined, the last, for one larger than any message. */
class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;

  *push(chunk: Buffer): Generator<Buffer | undefined> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= 4) {
      const head = this.#gather(4);
      const size = head.readUInt32BE(0);
      if (size > MAX_FRAME) {
        yield undefined;
        return;
      }
      if (this.#length < 4 + size) return;
      const all = this.#gather(4 + size);
      this.#chunks = [all.subarray(4 + size)];
      this.#length -= 4 + size;
      yield all.subarray(4, 4 + size);
    }
  }

  // Makes the first chunk hold at least `length` bytes.
  #gather(length: number): Buffer {
    const [first] = this.#chunks;
    if (first && first.length >= length) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}

function identityOptions({ certificate, key }: Identity) {
  return { cert: certificate, key, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
}

function fingerprint(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

function fingerprintOf(der: Buffer): string {
  return new X509Certificate(der).fingerprint256;
}
