// The request target by the service's rules: repeated slashes count once, names of query parameters are decoded,
// nothing is ever redirected. Each segment is decoded once, after the path is split, so that an encoded slash cannot
// make two segments of one, and a decoded one that could be mistaken for two is refused.
import { ApiError, bad } from './errors.js';

export interface Query {
  readonly apiVersion?: string;
  readonly maxResults?: string;
  readonly skipToken?: string;
  readonly filter?: string;
}

export interface Target {
  /** Decoded, without empty ones. */
  readonly segments: readonly string[];
  readonly query: Query;
}

// Slash, backslash, control characters, and a percent sign, which would invite a second decoding.
const UNSAFE = /[/\\%\p{Cc}]/u;

/** Parses what stands between the method and the HTTP version; the absolute form too (RFC 9112 section 3.2.2). */
export function parseTarget(url: string): Target {
  const absolute = /^https?:\/\/[^/?#]*/i.exec(url);
  const target = absolute ? url.slice(absolute[0].length) : url;
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const segments = path.split('/').filter((segment) => segment !== '');
  return {
    segments: segments.map(decodeSegment),
    query: mark < 0 ? {} : parseQuery(target.slice(mark + 1)),
  };
}

function decodeSegment(segment: string): string {
  const decoded = decode(segment);
  if (UNSAFE.test(decoded)) throw new ApiError('NoSuchPath', 'The path holds a character that no path has');
  return decoded;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return bad('The URL is not properly percent-encoded');
  }
}

/** The first of several parameters of the same name counts; names are compared without case. */
function parseQuery(text: string): Query {
  const query: { -readonly [K in keyof Query]: Query[K] } = {};
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=');
    const name = decode(equals < 0 ? pair : pair.slice(0, equals)).toLowerCase();
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1));
    if (name === 'api-version') query.apiVersion ??= value;
    else if (name === 'maxresults') query.maxResults ??= value;
    else if (name === '$skiptoken') query.skipToken ??= value;
    else if (name === '$filter') query.filter ??= value;
  }
  return query;
}
