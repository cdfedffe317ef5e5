// The data port. Reads just enough of a connection to know which pool it wants, then passes the socket, still
// encrypted, to one of that pool's instances and forgets it. Cannot read what is inside.
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { HelloReader } from './client-hello.js';

/** Whom a connection can be given to. */
export interface Taker {
  hand(head: Uint8Array, socket: Socket): Promise<boolean>;
}

export interface Destination {
  readonly name: string;
  /** Those that take connections, the next in turn first. */
  candidates(): readonly Taker[];
}

export interface DoorwayLimits {
  /** A connection that has not said where it wants to go by then is closed. */
  readonly helloMs: number;
  /** So many may be in that state at a time; then the oldest is closed for the newest. */
  readonly waitingMax: number;
}

const LIMITS: DoorwayLimits = { helloMs: 5_000, waitingMax: 512 };

export class Doorway {
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();
  #destinations: readonly Destination[] = [];

  constructor(
    readonly domain: string,
    readonly limits: DoorwayLimits = LIMITS,
  ) {
    this.#server = createServer({ noDelay: true }, (socket) => this.#receive(socket));
  }

  /** Binds the port (0: any free one) on the loopback interface; connections are refused until {@link open}. */
  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on connections go to these pools. */
  open(destinations: readonly Destination[]): void {
    this.#destinations = destinations;
  }

  /** Takes no more connections. Those that were handed on are none of our business. */
  close(): void {
    this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
  }

  #receive(socket: Socket): void {
    socket.on('error', () => socket.destroy()); // strangers hang up at any moment
    if (this.#destinations.length === 0) {
      socket.destroy();
      return;
    }
    this.#admit(socket);
    const reader = new HelloReader();
    const timer = setTimeout(() => socket.destroy(), this.limits.helloMs);
    const leave = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
    };
    socket.once('close', leave);
    socket.on('data', (chunk) => {
      const hello = reader.take(chunk);
      if (hello === undefined) return;
      stopReading(socket); // in this very tick: bytes that we read from now on would be lost to the instance
      leave();
      socket.removeAllListeners('data').off('close', leave);
      const destination = hello.kind === 'hello' ? this.#find(hello.serverName) : undefined;
      if (destination) void pass(destination, reader.bytes(), socket);
      else socket.destroy();
    });
  }

  #admit(socket: Socket): void {
    this.#waiting.add(socket);
    if (this.#waiting.size <= this.limits.waitingMax) return;
    for (const oldest of this.#waiting) {
      this.#waiting.delete(oldest);
      oldest.destroy();
      return;
    }
  }

  // A name that is no pool's goes to the only pool when there is just one: `localhost`, an address, no name at all. Not
  // that of a pool which is closed or gone: who asks for it wants that one and no other.
  #find(serverName: string | undefined): Destination | undefined {
    const named = this.#destinations.find(({ name }) => serverName === `${name}.${this.domain}`);
    if (named || serverName?.endsWith(`.${this.domain}`)) return named;
    return this.#destinations.length === 1 ? this.#destinations[0] : undefined;
  }
}

async function pass(destination: Destination, head: Buffer, socket: Socket): Promise<void> {
  for (const taker of destination.candidates()) {
    if (socket.destroyed || socket.pending) break; // closed, or on its way through a channel that then broke
    if (await taker.hand(head, socket)) return;
  }
  socket.destroy();
}

// `pause()` only stops the events; the handle goes on reading, and Node drops what a handle reads while it travels
// to another process. Only the handle itself can be told to stop. Its `reading` flag stays up on purpose: while it
// is up, the stream does not start reading again by itself.
function stopReading(socket: Socket): void {
  const { _handle: handle } = socket as Socket & { _handle?: { readStop(): number } | null };
  if (handle) handle.readStop();
  else socket.destroy();
}
