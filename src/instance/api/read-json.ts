// The body of a request as JSON (RFC 8259). Clients name all kinds of content types, or none; the body is JSON in
// UTF-8 whatever they say, unless they say that it is compressed or in another encoding.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { ApiError } from './errors.js';

/** Enough for every operation that does not say otherwise: the import of an RSA-4096 key has less than 8 KiB. */
const BODY_MAX = 65_536;
const BYTE_ORDER_MARK = 0xfeff;
const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]*)/i;

/**
 * Calls one of the first two once the body is there, possibly in this turn, and the third if the client leaves before.
 * A request without a body gives undefined, an empty one an empty object.
 *
 * @param most bytes that the body may have, if not the usual limit.
 */
export function readJson(
  request: IncomingMessage,
  most: number | undefined,
  done: (body: unknown) => void,
  refused: (reason: ApiError) => void,
  left: () => void,
): void {
  const { headers } = request;
  const bodyMax = most ?? BODY_MAX;
  const length = headers['content-length'];
  if (length === undefined && headers['transfer-encoding'] === undefined) {
    done(undefined);
    return;
  }
  if (Number(length ?? 0) > bodyMax) {
    refused(tooLarge(bodyMax));
    return;
  }
  if (!isPlainUtf8(headers)) {
    refused(new ApiError('UnsupportedMedia', 'The body must be plain JSON in UTF-8'));
    return;
  }
  const read: Buffer[] = [];
  let size = 0;
  const take = (chunk: Buffer) => {
    read.push(chunk);
    size += chunk.length;
    if (size <= bodyMax) return;
    // What is still to come is read and dropped, so that the client hears the answer.
    request.off('data', take).off('end', end).off('error', gone).resume();
    refused(tooLarge(bodyMax));
  };
  // Also said of a client that leaves while its whole request is being served: that one was heard.
  const gone = () => {
    if (!request.complete) left();
  };
  const end = () => {
    const body = parse(read.length > 1 ? Buffer.concat(read) : read[0]);
    if (body instanceof ApiError) refused(body);
    else done(body);
  };
  request.on('data', take).on('end', end).on('error', gone);
}

function isPlainUtf8(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') return false;
  const charset = CHARSET.exec(headers['content-type'] ?? '')?.[1];
  return charset === undefined || charset.toLowerCase() === 'utf-8';
}

/** An object or a list, as no request here has anything else for a body. */
function parse(bytes: Buffer | undefined): object | ApiError {
  if (bytes === undefined) return {};
  const text = bytes.toString('utf8');
  try {
    const body: unknown = JSON.parse(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text);
    if (typeof body === 'object' && body !== null) return body;
  } catch {
    // Answered below: what exactly is wrong is for the client's own JSON library to say.
  }
  return new ApiError('MalformedJson', 'The body is not valid JSON');
}

function tooLarge(bodyMax: number): ApiError {
  return new ApiError('BodyTooLarge', `The body is larger than ${bodyMax} bytes`);
}
