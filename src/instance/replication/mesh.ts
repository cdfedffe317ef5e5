// Links between the members: one TLS 1.3 connection for each pair. Both ends show the certificate with which the fabric
// introduced them, which says whom a connection is with; whether that one may take part is shown by the evidence that
// both exchange as the first frames on it. The member with the higher number dials. A link that breaks is dialled again;
// what was on its way is lost with it.
//
// The dialling side shows its evidence first. The other checks it and answers with its own, or with the reason why not;
// an empty frame of the dialling side then says that it has checked that. So a link counts on neither side before both
// have let each other in.
import { X509Certificate } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { assert } from '../../values/assert.js';
import { decode, encode } from '../../values/cbor.js';
import type { Peer } from '../../values/messages.js';
import { EVIDENCE_BYTES_MAX, type Attestor } from './attestor.js';

/** What this member shows on its links; PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** Largest message: a tail of many undecided entries. */
const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** Until a link counts: evidence, or a refusal. */
const FIRST_FRAME_BYTES_MAX = EVIDENCE_BYTES_MAX + 64;
/** No message is empty. */
const LET_IN = Buffer.alloc(0);
const REASON_CHARS_MAX = 500;
const REDIAL_MS_MIN = 25;
const REDIAL_MS_MAX = 1_000;
/** For TLS and the evidence together. */
const HANDSHAKE_MS = 5_000;
/** What evidence is bound to: only the two ends of one connection can compute it (RFC 8446 section 7.5). */
const BINDING_LABEL = 'EXPORTER-trivet-evidence';
const BINDING_BYTES = 32;

/** What a link is to suffer, for tests. */
export interface LinkHarm {
  /** There is none, and none can be made. */
  readonly cut: boolean;
  /** What is sent arrives so much later. */
  readonly delayMs: number;
}

interface MeshEvents {
  linked: [member: number];
  unlinked: [member: number];
  message: [member: number, message: unknown];
  /** This member does not let that one in; said once for each reason until it is let in or introduced anew. */
  refused: [member: number, reason: string];
  /** That member does not let this one in; said as `refused` is. */
  rejected: [member: number, reason: string];
}

interface Introduced extends Peer {
  readonly fingerprint: string;
}

interface Link {
  readonly socket: TLSSocket;
  readonly binding: Buffer;
  /** What the other side has shown. */
  readonly evidence: Buffer;
}

/** Frames that are held up, in order, and when each may go; milliseconds of performance.now(). */
interface Late {
  readonly frames: { readonly frame: Buffer; readonly dueMs: number }[];
  timer: NodeJS.Timeout | undefined;
}

interface Dialling {
  /** Under way, or linked. */
  readonly socket: TLSSocket | undefined;
  /** Until the next attempt. */
  readonly timer: NodeJS.Timeout | undefined;
}

/** The first frame of each side. */
type Opening = { readonly evidence: Buffer } | { readonly refused: string };

/** Emits what {@link MeshEvents} lists; never two links to one member. */
export class Mesh extends EventEmitter<MeshEvents> {
  readonly #server: Server;
  readonly #identity: Identity;
  readonly #attestor: Attestor;
  readonly #links = new Map<number, Link>();
  /** Connections that are not links yet. */
  readonly #opening = new Set<TLSSocket>();
  readonly #dialling = new Map<number, Dialling>();
  readonly #peers = new Map<number, Introduced>();
  /** What was said last of a member by `refused` and `rejected`. */
  readonly #said = new Map<string, string>();
  readonly #harm: ((member: number) => LinkHarm) | undefined;
  readonly #late = new Map<TLSSocket, Late>();
  #self = -1;
  #closed = false;

  private constructor(
    identity: Identity,
    attestor: Attestor,
    server: Server,
    harm: ((member: number) => LinkHarm) | undefined,
  ) {
    super();
    this.#harm = harm;
    this.#identity = identity;
    this.#attestor = attestor;
    this.#server = server;
  }

  /**
   * Listens on a free port of the loopback address. Nobody is let in before {@link introduce}. `harm`: what the link to
   * a member is to suffer; absent where links suffer nothing on request.
   */
  static async listen(
    identity: Identity,
    attestor: Attestor,
    harm?: (member: number) => LinkHarm,
  ): Promise<Mesh> {
    const server = createServer({
      ...identityOptions(identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    });
    const mesh = new Mesh(identity, attestor, server, harm);
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

  /**
   * From now on these are the others, and no one else: those with lower numbers are dialled. May be called whenever one
   * of them has started anew: it is dialled at once where it is now, and a link with a certificate that it does not show
   * any more ends.
   */
  introduce(self: number, peers: readonly Peer[]): void {
    if (this.#closed) return;
    this.#self = self;
    const before = new Map(this.#peers);
    this.#peers.clear();
    for (const peer of peers) {
      assert(peer.instance !== self, 'a member is not its own peer');
      this.#peers.set(peer.instance, { ...peer, fingerprint: fingerprint(peer.certificate) });
    }
    this.#server.setSecureContext({
      ...identityOptions(this.#identity),
      ca: peers.map((peer) => peer.certificate),
    });
    for (const member of before.keys()) if (!this.#peers.has(member)) this.#leave(member);
    for (const peer of this.#peers.values()) {
      const old = before.get(peer.instance);
      if (old?.fingerprint === peer.fingerprint && old.port === peer.port) continue;
      this.#said.delete(`refused ${peer.instance}`);
      this.#said.delete(`rejected ${peer.instance}`);
      // Who dials may have done so from its new place already, and its certificate tells.
      if (peer.instance < self || old?.fingerprint !== peer.fingerprint) this.#leave(peer.instance);
      if (peer.instance < self) this.#dial(peer.instance, REDIAL_MS_MIN);
    }
  }

  /**
   * Checks everybody who is linked by what is trusted now, and ends the links of those who would not be let in any more.
   */
  recheck(): void {
    for (const [member, { socket, binding, evidence }] of [...this.#links]) {
      const reason = this.#attestor.check(member, evidence, binding, { role: 'link' });
      if (reason === undefined) continue;
      this.#say('refused', member, reason);
      this.#drop(member);
      socket.destroy();
    }
  }

  /** What evidence on the link to this member is bound to; undefined when there is no link. */
  binding(member: number): Uint8Array | undefined {
    return this.#links.get(member)?.binding;
  }

  /** Sends to a linked member; false when there is no link. `undefined` is not a message. */
  send(member: number, message: unknown): boolean {
    const socket = this.#links.get(member)?.socket;
    if (!socket) return false;
    const frame = frameOf(encode(message));
    if (this.#harm && this.#holdUp(socket, frame, this.#harm(member).delayMs)) return true;
    this.#write(socket, frame);
    return true;
  }

  /** Ends the links that are to be cut by now. */
  reharm(): void {
    for (const [member, { socket }] of [...this.#links]) {
      if (!this.#isCut(member)) continue;
      this.#drop(member);
      socket.destroy();
    }
  }

  #isCut(member: number): boolean {
    return this.#harm?.(member).cut === true;
  }

  #write(socket: TLSSocket, frame: Buffer): void {
    // One write for all that one turn produces: a record and a system call each would cost more than the messages.
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    socket.write(frame);
  }

  /** Keeps a frame for later; false when there is no need. None overtakes another, whatever becomes of the delay. */
  #holdUp(socket: TLSSocket, frame: Buffer, delayMs: number): boolean {
    const late = this.#late.get(socket);
    if (!late && delayMs === 0) return false;
    const dueMs = Math.max(performance.now() + delayMs, late?.frames.at(-1)?.dueMs ?? 0);
    if (late) {
      late.frames.push({ frame, dueMs });
      return true;
    }
    const first: Late = { frames: [{ frame, dueMs }], timer: undefined };
    this.#late.set(socket, first);
    socket.once('close', () => {
      clearTimeout(first.timer);
      this.#late.delete(socket);
    });
    this.#releaseLater(socket, first);
    return true;
  }

  #releaseLater(socket: TLSSocket, late: Late): void {
    const [next] = late.frames;
    if (!next) {
      this.#late.delete(socket);
      return;
    }
    late.timer = setTimeout(
      () => {
        // The clock of timers may be a fraction of a millisecond ahead.
        while ((late.frames[0]?.dueMs ?? Infinity) <= performance.now() + 1) {
          const due = late.frames.shift();
          if (due && !socket.destroyed) this.#write(socket, due.frame);
        }
        this.#releaseLater(socket, late);
      },
      Math.max(0, next.dueMs - performance.now()),
    );
  }

  /** Ends every link and stops listening. */
  close(): void {
    this.#closed = true;
    this.#server.close();
    const links = [...this.#links.values()].map(({ socket }) => socket);
    for (const { timer } of this.#dialling.values()) clearTimeout(timer);
    for (const socket of [...links, ...this.#opening]) socket.destroy();
  }

  #dial(member: number, delayMs: number): void {
    // Whatever it is now: it may have been introduced anew since the last attempt.
    const peer = this.#peers.get(member);
    if (this.#closed || !peer) return;
    if (this.#isCut(member)) {
      const timer = setTimeout(() => this.#dial(member, delayMs), delayMs).unref();
      this.#dialling.set(member, { socket: undefined, timer });
      return;
    }
    const socket = connect({
      ...identityOptions(this.#identity),
      host: '127.0.0.1',
      port: peer.port,
      ca: [peer.certificate],
      // The certificate itself is known, so its name has nothing to add.
      checkServerIdentity: (_host, certificate) =>
        fingerprintOf(certificate.raw) === peer.fingerprint ? undefined : new Error('not the one introduced'),
    });
    const dialling: Dialling = { socket, timer: undefined };
    this.#dialling.set(member, dialling);
    let nextDelayMs = Math.min(delayMs * 2, REDIAL_MS_MAX);
    this.#begin(socket);
    // Nothing is read from anybody whose certificate was not checked.
    socket.once('secureConnect', () => {
      const binding = bindingOf(socket);
      this.#read(peer, socket, (opening) => {
        if (!opening) return false;
        if ('refused' in opening) {
          this.#say('rejected', member, opening.refused);
          return false;
        }
        const link = { socket, binding, evidence: opening.evidence };
        if (!this.#mayLink(peer, link)) return false;
        socket.write(frameOf(LET_IN));
        nextDelayMs = REDIAL_MS_MIN;
        this.#adopt(peer, link);
        return true;
      });
      socket.write(frameOf(this.#openingOf(binding)));
    });
    socket.once('close', () => {
      // Given up in the meantime: somebody else takes care of this member, or nobody.
      if (this.#dialling.get(member) !== dialling) return;
      const timer = setTimeout(() => this.#dial(member, nextDelayMs), nextDelayMs).unref();
      this.#dialling.set(member, { socket: undefined, timer });
    });
  }

  #accept(socket: TLSSocket): void {
    this.#begin(socket);
    const shown = fingerprintOf(socket.getPeerCertificate().raw);
    const peer = [...this.#peers.values()].find((candidate) => candidate.fingerprint === shown);
    // A member with a lower number is dialled, it does not dial.
    if (this.#closed || !peer || peer.instance < this.#self || this.#isCut(peer.instance)) {
      socket.destroy();
      return;
    }
    const binding = bindingOf(socket);
    let link: Link | undefined;
    this.#read(peer, socket, (opening, letIn) => {
      if (link) {
        if (letIn) this.#adopt(peer, link);
        return letIn;
      }
      if (!opening || !('evidence' in opening)) return false;
      const shownLink = { socket, binding, evidence: opening.evidence };
      const reason = this.#reasonAgainst(peer, shownLink);
      if (reason !== undefined) {
        this.#say('refused', peer.instance, reason);
        socket.end(frameOf(encode({ refused: reason } satisfies Opening)));
        return true; // what more it says is not read: it is no link
      }
      link = shownLink;
      socket.write(frameOf(this.#openingOf(binding)));
      return true;
    });
  }

  // A connection that does not become a link in time is none.
  #begin(socket: TLSSocket): void {
    this.#opening.add(socket);
    const timer = setTimeout(() => {
      if (this.#opening.has(socket)) socket.destroy();
    }, HANDSHAKE_MS);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(timer);
      this.#opening.delete(socket);
    });
  }

  #openingOf(binding: Buffer): Buffer {
    return encode({ evidence: this.#attestor.evidence(binding, { role: 'link' }) } satisfies Opening);
  }

  #reasonAgainst({ instance }: Introduced, { binding, evidence }: Link): string | undefined {
    return this.#attestor.check(instance, evidence, binding, { role: 'link' });
  }

  #mayLink(peer: Introduced, link: Link): boolean {
    const reason = this.#reasonAgainst(peer, link);
    if (reason !== undefined) this.#say('refused', peer.instance, reason);
    return reason === undefined;
  }

  #adopt(peer: Introduced, link: Link): void {
    const { instance: member, fingerprint: shown } = peer;
    const { socket } = link;
    // Introduced anew, or cut, while it was opening.
    if (this.#peers.get(member)?.fingerprint !== shown || this.#isCut(member)) {
      socket.destroy();
      return;
    }
    this.#opening.delete(socket);
    // The newer link stands: the other side has given the older one up.
    this.#links.get(member)?.socket.destroy();
    this.#drop(member);
    this.#links.set(member, link);
    this.#said.delete(`refused ${member}`);
    this.#said.delete(`rejected ${member}`);
    socket.setNoDelay(true);
    socket.once('close', () => {
      if (this.#links.get(member) === link) this.#drop(member);
    });
    this.emit('linked', member);
  }

  /**
   * Hands on what comes on a link. Before it is one, `open` is given each frame, decoded if it is an opening, and whether
   * it is the empty one; it says whether to go on.
   */
  #read(
    { instance: member }: Introduced,
    socket: TLSSocket,
    open: (opening: Opening | undefined, letIn: boolean) => boolean,
  ): void {
    const isLink = () => this.#links.get(member)?.socket === socket;
    const reader = new FrameReader(() => (isLink() ? FRAME_BYTES_MAX : FIRST_FRAME_BYTES_MAX));
    socket.on('data', (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) {
        if (!isLink()) {
          // Not one any more, or refused.
          if (!this.#opening.has(socket) || socket.writableEnded) return;
          if (frame && open(openingIn(frame), frame.length === 0)) continue;
          socket.destroy();
          return;
        }
        // Not in the `try` of decoding: what the listeners throw is a broken assumption of theirs, and no bad frame.
        const message = frame && frame.length > 0 ? messageIn(frame) : undefined;
        if (message === undefined) {
          socket.destroy();
          return;
        }
        this.emit('message', member, message);
      }
    });
  }

  /** Gives up what there is with a member: link and attempts. */
  #leave(member: number): void {
    const dialling = this.#dialling.get(member);
    this.#dialling.delete(member);
    clearTimeout(dialling?.timer);
    dialling?.socket?.destroy();
    const link = this.#links.get(member);
    this.#drop(member);
    link?.socket.destroy();
  }

  #drop(member: number): void {
    if (this.#links.delete(member)) this.emit('unlinked', member);
  }

  // It is dialled again and again, and would be refused as often.
  #say(what: 'refused' | 'rejected', member: number, reason: string): void {
    const key = `${what} ${member}`;
    if (this.#said.get(key) === reason) return;
    this.#said.set(key, reason);
    this.emit(what, member, reason);
  }
}

function bindingOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0));
}

function messageIn(frame: Buffer): unknown {
  try {
    return decode(frame);
  } catch {
    return undefined;
  }
}

function openingIn(frame: Buffer): Opening | undefined {
  const value = frame.length === 0 ? undefined : messageIn(frame);
  if (typeof value !== 'object' || value === null) return undefined;
  if ('evidence' in value && value.evidence instanceof Uint8Array) {
    return { evidence: Buffer.from(value.evidence) };
  }
  if ('refused' in value && typeof value.refused === 'string') {
    // For a log: what the other side wrote must not speak to a terminal.
    return { refused: value.refused.slice(0, REASON_CHARS_MAX).replaceAll(/\p{Cc}/gu, '?') };
  }
  return undefined;
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
  readonly #sizeMax: () => number;

  /** `sizeMax` gives the largest frame that may come now, in bytes. */
  constructor(sizeMax: () => number) {
    this.#sizeMax = sizeMax;
  }

  *push(chunk: Buffer): Generator<Buffer | undefined> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= 4) {
      const head = this.#gather(4);
      const size = head.readUInt32BE(0);
      if (size > this.#sizeMax()) {
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
