// Real requests, damaged: any part of one is changed, taken out, repeated or replaced, and sometimes the HTTP around
// it. Everything follows from the dice.
import type { Dice } from './pool.js';

/** A request that the service answered with success. */
export interface Recorded {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly body?: unknown;
}

export interface Shot {
  readonly pieces: readonly Buffer[];
  /** A whole request in valid HTTP, which must be answered. */
  readonly whole: boolean;
  readonly leave: 'politely' | 'at once';
}

interface Draft {
  method: string;
  path: string;
  query: string;
  headers: [string, string][];
  body: Buffer | undefined;
}

const CRLF = '\r\n';

/** A mutation of one of the recorded requests; `token` is the caller's, if there is one. */
export function mutate(recorded: readonly Recorded[], host: string, token: string | null, dice: Dice): Shot {
  const draft = draftOf(dice.pick(recorded), host, token);
  for (let changes = dice.below(4); changes > 0; changes -= 1) change(draft, recorded, dice);
  if (dice.below(10) > 0) return { pieces: [written(draft)], whole: true, leave: 'politely' };
  return broken(draft, recorded, host, token, dice);
}

function draftOf({ method, path, body }: Recorded, host: string, token: string | null): Draft {
  const [target = '', query = ''] = path.split('?');
  const headers: [string, string][] = [['Host', host]];
  if (token !== null) headers.push(['Authorization', `Bearer ${token}`]);
  if (body !== undefined) headers.push(['Content-Type', 'application/json']);
  return {
    method,
    path: target,
    query,
    headers,
    body: body === undefined ? undefined : Buffer.from(JSON.stringify(body)),
  };
}

/** Valid HTTP: line breaks and blanks can be in no part of it, the length is right. */
function written({ method, path, query, headers, body }: Draft): Buffer {
  const target = harmless(`${path}${query === '' ? '' : `?${query}`}`).replaceAll(' ', '_');
  const lines = headers.map(([name, value]) => `${name}: ${harmless(value)}`);
  // Some clients name the length of an empty body, and some do not.
  if (body !== undefined || !['GET', 'DELETE'].includes(method)) {
    lines.push(`Content-Length: ${body?.length ?? 0}`);
  }
  const head = [`${method} ${target} HTTP/1.1`, ...lines, '', ''].join(CRLF);
  return Buffer.concat([Buffer.from(head, 'latin1'), body ?? Buffer.alloc(0)]);
}

const harmless = (text: string): string =>
  text.replace(/./gsu, (letter) => (letter < ' ' || letter === '\x7f' ? '_' : letter));

function change(draft: Draft, recorded: readonly Recorded[], dice: Dice): void {
  const kind = dice.below(20);
  if (kind < 8) changeBody(draft, recorded, dice);
  else if (kind < 12) changePath(draft, recorded, dice);
  else if (kind < 14) changeQuery(draft, dice);
  else if (kind < 17) changeHeaders(draft, dice);
  else if (kind < 19) changeToken(draft, dice);
  else
    draft.method = dice.pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PURGE']);
}

// Bodies.

type Json = null | boolean | number | string | Json[] | { [member: string]: Json };

const ODD: readonly Json[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    1,
    0.5,
    1e300,
    2 ** 31,
    2 ** 53,
    253_402_300_800,
    '',
    'A',
    'AA',
    'A===',
    'a+/b',
  ],
  ...[
    '\0',
    '\u{1f511}',
    '\ud800',
    '__proto__',
    'constructor',
    '../..',
    'x'.repeat(5_000),
    'A'.repeat(40_000),
  ],
  ...[[], {}, [[]], [null], { '': '' }, { toString: 'x' }, { length: 1e9 }],
  ...['RSA', 'EC', 'oct', 'oct-HSM', 'AKP', 'P-256', 'P-521', 'ES256', 'ES512', 'RS256', 'PS512', 'RSA1_5'],
  ...['RSA-OAEP', 'RSA-OAEP-256', 'A128GCM', 'A256CBC', 'A256CBCPAD', 'A256KW', 'HS256', 'sign', 'import'],
  ...['AAAAAAAAAAAAAAAAAAAAAA', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'AQAB'],
];

const MEMBERS = [
  ...[
    'kty',
    'alg',
    'value',
    'digest',
    'iv',
    'tag',
    'aad',
    'key',
    'attributes',
    'tags',
    'count',
    'key_ops',
    'crv',
  ],
  ...['key_size', 'public_exponent', 'enabled', 'nbf', 'exp', 'exportable', 'external_key', 'release_policy'],
  ...[
    'properties',
    'permissions',
    'lifetimeActions',
    'expiryTime',
    'target',
    'enc',
    'nonce',
    'key_hsm',
    'd',
    'k',
  ],
  ...['__proto__', 'constructor', ''],
];

function changeBody(draft: Draft, recorded: readonly Recorded[], dice: Dice): void {
  const { body } = draft;
  if (body === undefined || dice.below(12) === 0) {
    const other = dice.pick(recorded).body;
    draft.body = Buffer.from(other === undefined ? '{}' : JSON.stringify(other));
    return;
  }
  if (dice.below(3) > 0) {
    try {
      draft.body = Buffer.from(JSON.stringify(changedTree(JSON.parse(body.toString()) as Json, dice)));
      return;
    } catch {
      // Changed before into what is no JSON: by its bytes, then.
    }
  }
  draft.body = changedBytes(body, dice);
}

/** One place of a tree, changed. */
function changedTree(tree: Json, dice: Dice): Json {
  if (typeof tree === 'string' && dice.below(2) === 0) return changedText(tree, dice);
  if (Array.isArray(tree) && tree.length > 0 && dice.below(3) > 0) {
    const place = dice.below(tree.length);
    const copy = [...tree];
    if (dice.below(4) === 0) copy.splice(place, dice.below(2), ...copy.slice(0, 1 + dice.below(30)));
    else copy[place] = changedTree(tree[place] ?? null, dice);
    return copy;
  }
  if (typeof tree === 'object' && tree !== null && !Array.isArray(tree) && dice.below(6) > 0) {
    const members = Object.keys(tree);
    const copy: { [member: string]: Json } = { ...tree };
    const member = members.length === 0 || dice.below(5) === 0 ? dice.pick(MEMBERS) : dice.pick(members);
    switch (dice.below(5)) {
      case 0:
        Reflect.deleteProperty(copy, member);
        return copy;
      case 1:
        // Not by assignment, which would set the prototype for one of the names.
        Object.defineProperty(copy, member, { value: dice.pick(ODD), enumerable: true });
        return copy;
      default:
        if (!Object.hasOwn(copy, member)) return { ...copy, [dice.pick(MEMBERS)]: dice.pick(ODD) };
        return { ...copy, [member]: changedTree(copy[member] ?? null, dice) };
    }
  }
  return dice.pick(ODD);
}

function changedText(text: string, dice: Dice): string {
  const place = dice.below(text.length + 1);
  switch (dice.below(6)) {
    case 0:
      return text.slice(0, place);
    case 1:
      return text.slice(place);
    case 2:
      return text + text;
    case 3:
      return (
        text.slice(0, place) +
        dice.pick(['A', '=', '\0', 'é', '-', '_', ' ', '"', '\\', '/']) +
        text.slice(place)
      );
    case 4:
      return dice.below(2) === 0 ? text.toUpperCase() : text.toLowerCase();
    default:
      return text.slice(0, place) + dice.pick(['A', 'B', 'z', '0']) + text.slice(place + 1);
  }
}

function changedBytes(bytes: Buffer, dice: Dice): Buffer {
  const place = dice.below(bytes.length + 1);
  const [before, after] = [bytes.subarray(0, place), bytes.subarray(place)];
  switch (dice.below(8)) {
    case 0:
      return before;
    case 1:
      return Buffer.concat([before, after.subarray(1)]);
    case 2:
      return Buffer.concat([before, Buffer.from([dice.below(256)]), after]);
    case 3: {
      const copy = Buffer.from(bytes);
      if (place < copy.length) copy[place] = (copy[place] ?? 0) ^ (1 << dice.below(8));
      return copy;
    }
    case 4:
      return Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]);
    case 5:
      return Buffer.concat([before, Buffer.from('['.repeat(1 + dice.below(10_000))), after]);
    case 6:
      return Buffer.concat([bytes, bytes]);
    default:
      return Buffer.concat([
        before,
        Buffer.alloc(dice.pick([1, 100, 70_000]), dice.pick([32, 0, 0x41, 0xff])),
        after,
      ]);
  }
}

// Paths, queries, headers, tokens.

const SEGMENTS = [
  ...[
    '',
    '.',
    '..',
    '%2e%2e',
    '%2F',
    '%5c',
    '%00',
    '%',
    '%zz',
    '%c0%ae',
    'keys',
    'KEYS',
    'deletedkeys',
    'versions',
  ],
  ...[
    'create',
    'sign',
    'verify',
    'encrypt',
    'decrypt',
    'wrapkey',
    'unwrapkey',
    'backup',
    'restore',
    'rotate',
  ],
  ...[
    'rotationpolicy',
    'recover',
    'release',
    'attestation',
    'rng',
    'settings',
    'providers',
    'securitydomain',
  ],
  ...[
    'Microsoft.Authorization',
    'roleAssignments',
    'roleDefinitions',
    'pending',
    'download',
    'upload',
    'ekm',
  ],
  ...[
    'ec',
    'rsa',
    'oct',
    'ec2',
    'x'.repeat(127),
    'x'.repeat(128),
    'é',
    '\u00ff',
    "'",
    '"',
    '<>',
    '{name}',
    '*',
  ],
  ...['0'.repeat(32), 'f'.repeat(32), '44444444-4444-4444-8444-444444444444'],
];

function changePath(draft: Draft, recorded: readonly Recorded[], dice: Dice): void {
  const segments = draft.path.split('/');
  const place = dice.below(segments.length + 1);
  switch (dice.below(6)) {
    case 0:
      segments.splice(place, 1);
      break;
    case 1:
      segments.splice(place, 0, dice.pick(SEGMENTS));
      break;
    case 2:
      segments.splice(place, 1, dice.pick(SEGMENTS));
      break;
    case 3:
      segments.splice(place, 1, dice.pick(dice.pick(recorded).path.split(/[/?]/)));
      break;
    case 4:
      segments.splice(place, 0, ...segments);
      break;
    default: {
      const segment = segments[place] ?? '';
      segments.splice(place, 1, dice.below(2) === 0 ? segment.toUpperCase() : everyByteEncoded(segment));
    }
  }
  draft.path = `${dice.below(40) === 0 ? '' : '/'}${segments.join('/').replace(/^\//, '')}`;
  if (dice.below(60) === 0) draft.path = `https://elsewhere.example${draft.path}`;
}

const everyByteEncoded = (segment: string): string =>
  [...Buffer.from(segment)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

function changeQuery(draft: Draft, dice: Dice): void {
  const more = dice.pick([
    ...[
      '',
      'api-version=',
      'api-version=7.0',
      'api-version=2016-10-01',
      'api-version=9.9',
      'API-VERSION=7.4',
    ],
    ...[
      'api%2Dversion=7.6',
      'api-version=7.6&api-version=7.5',
      'maxresults=0',
      'maxresults=1',
      'maxresults=25',
    ],
    ...[
      'maxresults=-1',
      'maxresults=1e9',
      'maxresults=%00',
      '$skiptoken=',
      '$skiptoken=AAAA',
      '%24skiptoken=ZWM',
    ],
    ...['$filter=atScope()', "$filter=principalId eq 'x'", '$filter=%27', '&&&', '=', '?', '%', '#', '[]=1'],
    ...['__proto__=1', `x=${'y'.repeat(9_000)}`, 'a=b&'.repeat(1_500)],
  ]);
  draft.query = dice.below(3) === 0 ? more : `${draft.query}&${more}`;
}

function changeHeaders(draft: Draft, dice: Dice): void {
  const [name, value] = dice.pick<[string, string]>([
    ['Content-Type', 'text/plain'],
    ['Content-Type', 'application/json; charset=utf-16'],
    ['Content-Type', 'multipart/form-data'],
    ['Content-Type', ''],
    ['Content-Encoding', 'gzip'],
    ['Content-Encoding', 'br, deflate'],
    ['Accept', 'text/html'],
    ['Accept-Encoding', '*;q=0'],
    ['Expect', '100-continue'],
    ['Expect', 'the-unexpected'],
    ['X-HTTP-Method', 'DELETE'],
    ['X-HTTP-Method-Override', 'PUT'],
    ['X-Forwarded-For', '127.0.0.1'],
    ['X-Original-URL', '/keys'],
    ['Host', 'elsewhere.example'],
    ['Host', ''],
    ['Range', 'bytes=0-1'],
    ['If-None-Match', '*'],
    ['Cookie', 'a=b; '.repeat(400)],
    ['X-Long', 'a'.repeat(dice.pick([8_000, 30_000, 40_000]))],
    ['x-ms-client-request-id', '\u00ff\u00fe'],
    ['traceparent', '00-'],
    ['Connection', 'close'],
    ['Connection', 'Upgrade'],
    ['Upgrade', 'h2c'],
    ['Keep-Alive', 'timeout=0'],
    ['__proto__', 'x'],
  ]);
  const old = draft.headers.find(([known]) => known === name);
  if (old && dice.below(3) > 0) old[1] = value;
  else draft.headers.push([name, value]);
  if (dice.below(30) === 0) {
    for (let i = 0; i < 300; i += 1) draft.headers.push([`X-${i}`, 'x']);
  }
}

function changeToken(draft: Draft, dice: Dice): void {
  const header = draft.headers.find(([name]) => name === 'Authorization');
  if (!header) {
    draft.headers.push([
      'Authorization',
      dice.pick(['Bearer', 'Bearer ', 'Bearer a.b.c', 'Basic QTpC', 'e30.e30.']),
    ]);
    return;
  }
  const token = header[1].slice('Bearer '.length);
  const parts = token.split('.');
  header[1] = dice.pick([
    ...['Bearer', '', `bearer ${token}`, `Bearer  ${token}`, `Basic ${token}`, `Bearer ${token} ${token}`],
    ...[`Bearer ${changedText(token, dice)}`, `Bearer ${parts.slice(0, 2).join('.')}.`],
    ...[`Bearer ${token}.${token}`, `Bearer ${parts.reverse().join('.')}`, `Bearer ${'a'.repeat(20_000)}`],
    `Bearer eyJhbGciOiJub25lIn0.${parts[1] ?? ''}.`,
  ]);
  if (dice.below(6) === 0) draft.headers.push(['Authorization', `Bearer ${token}`]);
}

// HTTP itself.

function broken(
  draft: Draft,
  recorded: readonly Recorded[],
  host: string,
  token: string | null,
  dice: Dice,
): Shot {
  const whole = written(draft);
  const place = dice.below(whole.length + 1);
  const leave = dice.below(4) === 0 ? 'at once' : 'politely';
  const shot = (...pieces: (Buffer | string)[]): Shot => ({
    pieces: pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)),
    whole: false,
    leave,
  });
  const head = whole.toString('latin1').split(`${CRLF}${CRLF}`)[0] ?? '';
  const body = draft.body ?? Buffer.from('{}');
  const bare = head.replace(/\r\nContent-Length: [0-9]+/, '');
  switch (dice.below(14)) {
    case 0: // part of a request
      return shot(whole.subarray(0, place));
    case 1: // in two pieces
      return shot(whole.subarray(0, place), whole.subarray(place));
    case 2: // any byte changed
      return shot(flippedAt(whole, place, dice));
    case 3: // several in one piece
      return shot(Buffer.concat([whole, written(draftOf(dice.pick(recorded), host, token)), whole]));
    case 4: // a body that is shorter or longer than it says
      return shot(
        `${bare}${CRLF}Content-Length: ${dice.pick([0, 1, body.length + 5, 1e9])}${CRLF}${CRLF}`,
        body,
      );
    case 5: // lengths that contradict each other or are none
      return shot(
        `${bare}${CRLF}Content-Length: ${body.length}${CRLF}`,
        dice.pick([
          'Content-Length: 3',
          'Transfer-Encoding: chunked',
          'Content-Length: -1',
          'Content-Length: 0x10',
        ]),
        `${CRLF}${CRLF}`,
        body,
      );
    case 6: // chunks, good and bad
      return shot(
        `${bare}${CRLF}Transfer-Encoding: ${dice.pick(['chunked', 'gzip, chunked', 'chunked, chunked', 'x'])}${CRLF}${CRLF}`,
        `${dice.pick([body.length.toString(16), 'zz', '-1', 'ffffffffffffffff', '1;a=b'])}${CRLF}`,
        body,
        `${CRLF}0${CRLF}${dice.pick(['', `X: y${CRLF}`])}${CRLF}`,
      );
    case 7: // line ends that are none
      return shot(whole.toString('latin1').replaceAll(CRLF, dice.pick(['\n', '\r', '\n\r'])));
    case 8: // a first line that is none
      return shot(
        dice.pick([
          '',
          ' ',
          'GET',
          'GET /keys',
          'GET /keys HTTP/9.9',
          'get /keys HTTP/1.1',
          '\0\0',
          'PRI * HTTP/2.0',
        ]),
        CRLF,
        head.slice(head.indexOf(CRLF) + 2),
        `${CRLF}${CRLF}`,
      );
    case 9: // header lines that are none
      return shot(
        `${head}${CRLF}${dice.pick([': x', 'X', 'X : y', ' folded', 'X:\0', 'X: \x01', 'é: x', 'X\0: y'])}${CRLF}${CRLF}`,
        body,
      );
    case 10: // headers beyond measure
      return shot(
        `${head}${CRLF}`,
        `X-Many: ${'a'.repeat(1_000)}${CRLF}`.repeat(dice.pick([40, 200])),
        CRLF,
        body,
      );
    case 11: // another method of HTTP
      return shot(
        head.replace(/^\S+ \S+/, dice.pick(['CONNECT localhost:1', 'OPTIONS *', 'HEAD /keys'])),
        `${CRLF}${CRLF}`,
      );
    case 12: // no HTTP at all
      return shot(Buffer.from(Array.from({ length: 1 + dice.below(600) }, () => dice.below(256))));
    default: // the older HTTP
      return shot(
        head.replace('HTTP/1.1', dice.pick(['HTTP/1.0', 'HTTP/0.9', 'HTTP/1.2'])),
        `${CRLF}${CRLF}`,
        body,
      );
  }
}

function flippedAt(bytes: Buffer, place: number, dice: Dice): Buffer {
  const copy = Buffer.from(bytes);
  if (place < copy.length) copy[place] = (copy[place] ?? 0) ^ (1 << dice.below(8));
  return copy;
}
