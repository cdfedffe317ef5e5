// HTTP/1.1 by hand over TLS, for requests that no client library would send.
import type { TLSSocket } from 'node:tls';
import type { TestPool } from './pool.js';

/** No answer and no end within this is a hang. */
const PATIENCE_MS = 30_000;

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** A kept connection that is opened anew when the other side has closed it. One request at a time. */
export class RawLine {
  #socket: TLSSocket | undefined;
  #heard: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;

  constructor(readonly pool: TestPool) {}

  /** Sends a whole request as it is; undefined when the connection ended without an answer. */
  async ask(request: Buffer): Promise<RawAnswer | undefined> {
    const socket = await this.#open();
    const bodiless = request.subarray(0, 5).toString() === 'HEAD ';
    this.#heard = Buffer.alloc(0);
    socket.write(request);
    for (;;) {
      const answer = answerIn(this.#heard, bodiless);
      if (answer) {
        if (answer.headers.get('connection') === 'close') this.close();
        return answer;
      }
      if (socket.destroyed || socket.readableEnded) {
        this.close();
        return undefined;
      }
      await this.#more();
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #open(): Promise<TLSSocket> {
    if (this.#socket && !this.#socket.destroyed && !this.#socket.readableEnded) return this.#socket;
    this.close();
    const socket = await this.pool.connect();
    const wake = (): void => this.#wake?.();
    socket.on('data', (chunk: Buffer) => {
      this.#heard = this.#heard.length === 0 ? chunk : Buffer.concat([this.#heard, chunk]);
      wake();
    });
    for (const event of ['end', 'close', 'error']) socket.on(event, wake);
    this.#socket = socket;
    return socket;
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The first whole answer that is no interim one; undefined when there is none yet. */
export function answerIn(bytes: Buffer, bodiless: boolean): RawAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(first.split(' ')[1]);
  if (status >= 100 && status < 200) return answerIn(bytes.subarray(end + 4), bodiless);
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const length = bodiless ? 0 : Number(headers.get('content-length') ?? 0);
  const start = end + 4;
  if (bytes.length < start + length) return undefined;
  return { status, headers, body: bytes.subarray(start, start + length).toString() };
}

/**
 * Sends pieces over a connection of its own, then says that no more will come, or is gone at once; gives what was
 * heard until the other side closed.
 */
export async function sendPieces(
  pool: TestPool,
  pieces: readonly Buffer[],
  leave: 'politely' | 'at once',
): Promise<string> {
  const socket = await pool.connect();
  let heard = '';
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  for (const piece of pieces) {
    if (!socket.writable) break;
    await new Promise((resolve) => socket.write(piece, resolve));
  }
  if (leave === 'at once') {
    socket.destroy();
    return heard;
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`neither answered nor closed within ${PATIENCE_MS} ms; heard ${heard}`));
    }, PATIENCE_MS);
    const over = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(heard);
    };
    if (socket.destroyed || socket.readableEnded) {
      over();
      return;
    }
    socket.once('end', over);
    socket.once('close', over);
    socket.end();
  });
}
