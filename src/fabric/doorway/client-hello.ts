// Finds the server name in the first bytes of a TLS connection (RFC 8446 section 4.1.2, RFC 6066 section 3). Reads
// what a stranger sent, so every length is checked and the whole is bounded. Decrypts and answers nothing.

/** More than any real ClientHello, post-quantum key shares included. */
export const HELLO_BYTES_MAX = 16_384;

export type Hello =
  { readonly kind: 'hello'; readonly serverName: string | undefined } | { readonly kind: 'malformed' };
type Scan = Hello | { readonly kind: 'more'; readonly needed: number };

const MALFORMED: Hello = { kind: 'malformed' };
const RECORD_HEADER = 5;
const HANDSHAKE_HEADER = 4;
const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = /^[a-z0-9_](?:[a-z0-9_.-]{0,253}[a-z0-9_])?$/;

/** Collects the bytes of one connection until they hold a whole ClientHello. */
export class HelloReader {
  #chunks: Buffer[] = [];
  #length = 0;
  #needed = 1;

  /** Takes the next bytes; undefined means that more are needed. */
  take(chunk: Buffer): Hello | undefined {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    // Joined only when that can get us further, so that bytes sent one by one cost no square.
    if (this.#length < this.#needed) return undefined;
    const scan = scanHello(this.bytes());
    if (scan.kind !== 'more') return scan;
    if (scan.needed > HELLO_BYTES_MAX) return MALFORMED;
    this.#needed = scan.needed;
    return undefined;
  }

  /** Everything taken so far, bytes after the ClientHello included. */
  bytes(): Buffer {
    const joined = this.#chunks.length === 1 ? this.#chunks[0] : undefined;
    if (joined) return joined;
    const all = Buffer.concat(this.#chunks, this.#length);
    this.#chunks = [all];
    return all;
  }
}

/**
 * Looks for a ClientHello in `bytes`, in as many records as the client likes. `needed` is how many bytes there must be
 * before another look can make a difference; it counts what is still missing of the hello, so that a hello cut into
 * records of one byte is looked at some fifty times and not once a record.
 */
export function scanHello(bytes: Buffer): Scan {
  const fragments: Buffer[] = [];
  let collected = 0;
  let wanted = HANDSHAKE_HEADER; // until the header says how long the message is
  for (let at = 0; ;) {
    const bad = badStart(bytes, at);
    if (bad) return bad;
    if (bytes.length < at + RECORD_HEADER) return more(at + RECORD_HEADER + wanted - collected);
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_384) return MALFORMED;
    const end = at + RECORD_HEADER + length;
    const fragment = bytes.subarray(at + RECORD_HEADER, end);
    fragments.push(fragment);
    if (collected === 0 && fragment.length > 0 && fragment[0] !== CLIENT_HELLO) return MALFORMED;
    collected += fragment.length;
    if (wanted === HANDSHAKE_HEADER && collected >= HANDSHAKE_HEADER) {
      wanted += Buffer.concat(fragments).readUIntBE(1, 3);
      if (wanted > HELLO_BYTES_MAX) return MALFORMED;
      if (wanted === HANDSHAKE_HEADER) return MALFORMED; // an empty message
    }
    if (collected >= wanted) return parseBody(Buffer.concat(fragments).subarray(HANDSHAKE_HEADER, wanted));
    if (bytes.length < end) {
      const rest = bytes.length + wanted - collected;
      return more(rest <= end ? rest : rest + RECORD_HEADER);
    }
    at = end;
  }
}

function more(needed: number): Scan {
  return { kind: 'more', needed };
}

function badStart(bytes: Buffer, at: number): Hello | undefined {
  const type = bytes[at] ?? HANDSHAKE_RECORD;
  const major = bytes[at + 1] ?? 3;
  return type === HANDSHAKE_RECORD && major === 3 ? undefined : MALFORMED;
}

// A cursor over a vector; undefined as soon as a length does not fit.
class Cursor {
  at = 0;
  constructor(readonly bytes: Buffer) {}

  atEnd(): boolean {
    return this.at === this.bytes.length;
  }

  number(octets: 1 | 2): number | undefined {
    if (this.at + octets > this.bytes.length) return undefined;
    const value = this.bytes.readUIntBE(this.at, octets);
    this.at += octets;
    return value;
  }

  skip(octets: number): true | undefined {
    if (this.at + octets > this.bytes.length) return undefined;
    this.at += octets;
    return true;
  }

  /** A vector behind its length of `octets` octets. */
  vector(octets: 1 | 2): Buffer | undefined {
    const length = this.number(octets);
    if (length === undefined || this.at + length > this.bytes.length) return undefined;
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

function parseBody(body: Buffer): Hello {
  const cursor = new Cursor(body);
  const fixed = cursor.skip(2 + 32); // legacy version, random
  const session = cursor.vector(1);
  const ciphers = cursor.vector(2);
  const compressions = cursor.vector(1);
  if (!fixed || !session || session.length > 32 || !ciphers || !compressions) return MALFORMED;
  if (ciphers.length < 2 || ciphers.length % 2 !== 0 || compressions.length === 0) return MALFORMED;
  if (cursor.atEnd()) return { kind: 'hello', serverName: undefined }; // no extensions at all: TLS 1.2 allows it
  const extensions = cursor.vector(2);
  if (!extensions || !cursor.atEnd()) return MALFORMED;
  return parseExtensions(new Cursor(extensions));
}

function parseExtensions(cursor: Cursor): Hello {
  let serverName: string | undefined;
  let named = false;
  while (!cursor.atEnd()) {
    const type = cursor.number(2);
    const data = cursor.vector(2);
    if (type === undefined || !data) return MALFORMED;
    if (type !== SERVER_NAME) continue;
    if (named) return MALFORMED; // one extension of a type at most
    named = true;
    serverName = parseServerName(new Cursor(data));
    if (serverName === undefined) return MALFORMED;
  }
  return { kind: 'hello', serverName };
}

// A list by the standard, of one host name in all practice.
function parseServerName(cursor: Cursor): string | undefined {
  const list = cursor.vector(2);
  if (!list || !cursor.atEnd()) return undefined;
  const entry = new Cursor(list);
  const type = entry.number(1);
  const name = entry.vector(2);
  if (type !== 0 || !name || !entry.atEnd()) return undefined;
  const text = name.toString('latin1').toLowerCase();
  return HOST_NAME.test(text) ? text : undefined;
}
