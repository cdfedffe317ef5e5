// Who holds every right there is, but at one key only, on a real pool: no spelling of a path, no member of a body, no
// header and no definition takes her anywhere else. Requests go out byte by byte as they stand here.
import { randomUUID } from 'node:crypto';
import {
  Access,
  assignment,
  ASSIGNMENTS,
  definitionId,
  DEFINITIONS,
  expectDenied,
  roleNamed,
} from './access.js';
import { PREFIX, prefixOf, table, type Person } from './access.js';
import { at, TestPool, type Answer } from './pool.js';
import { RawLine } from './raw-http.js';

const WIDE = ['/', '/keys', '/keys/b', '/keys/A', '/keys/providers'] as const;

let pool: TestPool;
let access: Access;
let ann: Person;
let line: RawLine;
/** The custom role that she holds: every data action. */
let role: string;
let own: string;
let bDetails: unknown;
let before: unknown;

/** Everything that is not hers to change, as an instance shows it. */
async function picture(instance: number): Promise<unknown> {
  const get = async (path: string) => {
    const { status, body } = await access.ask(instance, 'GET', path);
    return [path, status, status === 200 ? body : undefined];
  };
  const paths = ['/keys/b', '/keys/b/versions', '/keys/A', '/keys/providers', '/deletedkeys', DEFINITIONS];
  return [await access.assignments(instance, WIDE), await Promise.all(paths.map(get))];
}

beforeAll(async () => {
  pool = await TestPool.start();
  access = await Access.of(pool);
  ann = access.person();
  line = new RawLine(pool);
  for (const name of ['a', 'b', 'A', 'providers']) {
    await access.must(0, 'POST', `/keys/${name}/create`, { kty: 'EC' });
  }
  role = await access.define(
    0,
    table.dataActions.map((action) => action.slice(PREFIX.length)),
  );
  own = await access.assign(0, '/keys/a', role, ann.objectId);
  for (const scope of WIDE) await access.assign(0, scope, roleNamed('Crypto Auditor'), randomUUID());
  bDetails = at(await access.must(0, 'GET', '/keys/b'), 'key');
  before = await picture(0);
}, 120_000);
afterEach(async () => {
  for (const instance of [0, 1, 2]) expect(await picture(instance)).toEqual(before);
});
afterAll(async () => {
  line.close();
  access.close();
  await pool.remove();
});

/** Sends a request line as it is; undefined when the connection was ended instead. */
async function raw(method: string, target: string, body = '', headers: readonly string[] = []) {
  const head = [
    `${method} ${target} HTTP/1.1`,
    `Host: ${pool.uri.host}`,
    `Authorization: Bearer ${ann.token}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ].join('\r\n');
  return line.ask(Buffer.from(`${head}\r\n\r\n${body}`, 'utf8'));
}

const version = 'api-version=7.6';
const grant = JSON.stringify(assignment(roleNamed('Administrator'), randomUUID()));

/** Places before `/providers` that look like hers, and mean to be another's or nothing. */
const prefixes: readonly string[] = [
  ...[
    '',
    '/',
    '//',
    '///',
    '/.',
    '/..',
    '/./',
    '/keys',
    '/KEYS',
    '/keys/',
    '//keys//',
    '/keys/.',
    '/keys/..',
  ],
  ...['/keys/b', '/keys//b', '/Keys/b', '/keys/%62', '/keys/%62%2f', '/keys/b/', '/keys/b/.', '/./keys/b'],
  ...['/keys/a/..', '/keys/a/../', '/keys/a/../b', '/keys/a/../../', '/keys/a/../../keys', '/keys/a/./../b'],
  ...['/keys/%2e', '/keys/%2e%2e', '/keys/a/%2e%2e', '/keys/a/%2E%2E/b', '/keys/a/.%2e/b', '/keys/a/%2e./b'],
  ...[
    '/keys/a%2f..',
    '/keys/a%2F..%2Fb',
    '/keys%2fa',
    '/keys%2Fb',
    '%2fkeys%2fb',
    '/keys/a%2f',
    '/keys/a%2fb',
  ],
  ...['/keys/a%252f..%252fb', '/keys/a%25', '/keys/%2561', '/keys/a%5c..%5cb', '/keys\\b', '/keys/a\\..\\b'],
  ...['/keys/a;b', '/keys/a;/b', '/keys;a/b', '/keys/b;a', '/keys/a;x=/keys/b', '/keys/a%3b', '/;/keys/b'],
  ...['/keys/a.', '/keys/b.', '/keys./b', '/keys/a..', '/keys/a...', '/keys/.a', '/keys/a%2e', '/keys/b%2e'],
  ...[
    '/keys/a%20',
    '/keys/%20b',
    '/keys/b%20',
    '/keys/a+',
    '/keys/a%00',
    '/keys/b%00a',
    '/keys/a%0a',
    '/keys/a%0d',
  ],
  ...[
    '/keys/a%09',
    '/keys/*',
    '/keys/a*',
    '/keys/%2a',
    '/keys/a,b',
    '/keys/a&b',
    '/keys/a|b',
    '/keys/a~',
    '/keys/@a',
  ],
  ...[
    '/keys/а',
    '/keys/ａ',
    '/keys/a\u0301',
    '/keys/ａ/../b',
    '/keys/%ef%bd%81',
    '/keys/%d0%b0',
    '/keys/a%cc%81',
  ],
  ...[
    '/\u212Aeys/b',
    '/%e2%84%aaeys/b',
    '/keys/%c0%ae%c0%ae/b',
    '/keys/%c0%af',
    '/keys/a\uff0fb',
    '/keys/a\u2215b',
  ],
  ...['/keys/a%ff', '/keys/%u0062', '/keys/%', '/keys/%6', '/keys/%zz', '/keys/A', '/KEYS/A', '/keys/%41'],
  ...['/keys/a/b', '/keys/b/a', '/keys/a/keys/b', '/keys/a//keys/b', '/keys/a/versions', '/keys/a/create'],
  ...['/keys/a/0123456789abcdef0123456789abcdef', '/deletedkeys/a', '/deletedkeys/b', '/keys/providers'],
  ...['/keys/a/providers/Microsoft.Authorization', '/providers', '/keys/a/providers/..', '/secrets/a'],
  ...['/subscriptions/x', '/keys/a,/keys/b', '/keys/a%0d%0aHost:%20x', '?x=/keys/a', '/keys/b?x=/keys/a&y='],
];

/** The target forms of HTTP. */
const targets = (prefix: string, rest: string): string[] => {
  const path = `${prefix}${rest}`;
  const origin = `https://${pool.uri.host}`;
  return [
    path,
    `${origin}${path}`,
    `http://elsewhere.example/keys/a/../..${path}`,
    `//${pool.uri.host}${path}`,
  ];
};

test('she may all things at her own key, in every spelling that is hers', async () => {
  for (const prefix of ['/keys/a', '//keys//a', '/KEYS/a/', '/keys/%61', '/%6beys/a', '/keys/a//']) {
    for (const [place, target] of targets(prefix, `${ASSIGNMENTS}/`).slice(0, 2).entries()) {
      const name = randomUUID();
      const made = await raw('PUT', `${target}${name}?${version}`, grant);
      expect([target, made?.status]).toEqual([target, 201]);
      expect(at(JSON.parse(made?.body ?? ''), 'properties', 'scope')).toBe('/keys/a');
      const gone = await access.ask(place, 'DELETE', `/keys/a${ASSIGNMENTS}/${name}`, undefined, ann);
      expect(gone.status).toBe(200);
    }
  }
});

test('no spelling of a path lets her assign, read or remove a role at another scope', async () => {
  const names = (await access.assignments(0, WIDE)).map((one) => String(at(one, 'name')));
  const outcomes = new Map<number | undefined, number>();
  for (const prefix of prefixes) {
    for (const target of targets(prefix, ASSIGNMENTS)) {
      const victim = names[(outcomes.get(403) ?? 0) % names.length] ?? '';
      for (const answer of [
        await raw('PUT', `${target}/${randomUUID()}?${version}`, grant),
        await raw('DELETE', `${target}/${victim}?${version}`),
        await raw('GET', `${target}?${version}`),
        await raw('GET', `${target.replace('roleAssignments', 'roleDefinitions')}?${version}`),
      ]) {
        outcomes.set(answer?.status, (outcomes.get(answer?.status) ?? 0) + 1);
        expect([target, [400, 403, 404, 405].includes(answer?.status ?? 0)]).toEqual([target, true]);
      }
    }
  }
  // Not one reason for all: some name another scope, others nothing.
  for (const status of [400, 403, 404]) expect(outcomes.get(status)).toBeGreaterThan(20);
});

test('no spelling of a path shows her another key, uses it, changes it or removes it', async () => {
  const digest = JSON.stringify({ alg: 'ES256', value: 'A'.repeat(43) });
  // Her own key's versions are hers to see.
  for (const prefix of prefixes.filter((one) => one.length > 1 && one !== '/keys/a/versions')) {
    for (const target of targets(prefix, '').slice(0, 2)) {
      const with_ = (path: string) => `${path}${path.includes('?') ? '&' : '?'}${version}`;
      for (const [method, path, body] of [
        ['GET', target, ''],
        ['GET', `${target}/versions`, ''],
        ['POST', `${target}/sign`, digest],
        ['PATCH', target, '{"attributes":{"enabled":false}}'],
        ['POST', `${target}/create`, '{"kty":"EC"}'],
        ['POST', `${target}/backup`, ''],
        ['DELETE', target, ''],
      ] as const) {
        const answer = await raw(method, with_(path), body);
        const status = answer?.status ?? 0;
        expect([method, path, [400, 403, 404, 405].includes(status)]).toEqual([method, path, true]);
        expect(answer?.body).not.toContain(String(at(bDetails, 'x')));
      }
    }
  }
});

const denied = (answer: Answer, action: string, scope: string) => expectDenied(answer, action, scope);

describe('who may write roles at one key only', () => {
  const put = (instance: number, scope: string, body: unknown, name: string = randomUUID()) =>
    access.ask(instance, 'PUT', `${prefixOf(scope)}${ASSIGNMENTS}/${name}`, body, ann);

  test.each(WIDE)('cannot assign at %s, not even her own role to herself', async (scope) => {
    for (const instance of [0, 1, 2]) {
      for (const given of [role, roleNamed('Administrator'), roleNamed('Crypto User')]) {
        denied(
          await put(instance, scope, assignment(given, ann.objectId)),
          'roleAssignments/write/action',
          scope,
        );
      }
      const list = await access.assignments(instance, [scope]);
      for (const one of list) {
        const path = `${prefixOf(scope)}${ASSIGNMENTS}/${String(at(one, 'name'))}`;
        const removal = await access.ask(instance, 'DELETE', path, undefined, ann);
        denied(removal, 'roleAssignments/delete/action', scope);
      }
    }
  });

  test.each<[string, (good: object) => string]>([
    ['a scope among the properties', (good) => JSON.stringify({ properties: { ...good, scope: '/' } })],
    ['a scope beside them', (good) => JSON.stringify({ scope: '/keys/b', properties: good })],
    [
      'an id of another scope',
      (good) => JSON.stringify({ id: `${ASSIGNMENTS}/x`, properties: { ...good, id: '/' } }),
    ],
    [
      'properties given twice',
      (good) => `{"properties":{"scope":"/"},"properties":${JSON.stringify({ ...good, scope: '/keys' })}}`,
    ],
    [
      'properties in other case',
      (good) => JSON.stringify({ Properties: { ...good, Scope: '/' }, properties: good }),
    ],
    [
      'a prototype',
      (good) =>
        `{"__proto__":{"scope":"/"},"properties":{"__proto__":{"scope":"/"},${JSON.stringify(good).slice(1)}}`,
    ],
    [
      'assignable scopes',
      (good) => JSON.stringify({ properties: { ...good, assignableScopes: ['/'], condition: 'true' } }),
    ],
  ])('gets nothing wider by %s in the body', async (_what, bodyOf) => {
    const name = randomUUID();
    const path = `/keys/a${ASSIGNMENTS}/${name}`;
    const good = { roleDefinitionId: definitionId(roleNamed('Administrator')), principalId: ann.objectId };
    const made = await raw('PUT', `${path}?${version}`, bodyOf(good));
    if (made?.status === 201) {
      expect(at(await access.must(2, 'GET', path), 'properties', 'scope')).toBe('/keys/a');
    } else expect(made?.status).toBe(400);
    // An administrator at her key is one nowhere else.
    const settings = await access.ask(1, 'GET', '/settings', undefined, ann);
    denied(settings, 'settings/read/action', '/');
    denied(await access.ask(1, 'GET', '/keys/b', undefined, ann), 'keys/read/action', '/keys/b');
    denied(await put(1, '/', assignment(role, ann.objectId)), 'roleAssignments/write/action', '/');
    await access.ask(0, 'DELETE', path);
  });

  test('takes no name of an assignment that is elsewhere, and removes none through her own key', async () => {
    for (const one of await access.assignments(0, WIDE)) {
      const name = String(at(one, 'name'));
      const taken = await put(1, '/keys/a', assignment(role, randomUUID()), name);
      expect([taken.status, at(taken.body, 'error', 'code')]).toEqual([400, 'RoleAssignmentExists']);
      const removal = await access.ask(2, 'DELETE', `/keys/a${ASSIGNMENTS}/${name}`, undefined, ann);
      expect([removal.status, at(removal.body, 'error', 'code')]).toEqual([404, 'RoleAssignmentNotFound']);
    }
  });

  test('writes no definition: not a new one, not the one that she holds, at no scope', async () => {
    const all = {
      properties: { permissions: [{ dataActions: table.dataActions }], assignableScopes: ['/'] },
    };
    for (const name of [randomUUID(), role]) {
      for (const [method, action] of [
        ['PUT', 'write'],
        ['DELETE', 'delete'],
      ] as const) {
        for (const prefix of ['', '/', '//']) {
          const answer = await access.ask(0, method, `${prefix}${DEFINITIONS}/${name}`, all, ann);
          denied(answer, `roleDefinitions/${action}/action`, '/');
        }
        for (const scope of ['/keys', '/keys/a']) {
          const { status } = await access.ask(1, method, `${scope}${DEFINITIONS}/${name}`, all, ann);
          expect(status).toBe(405);
        }
      }
    }
  });

  test('is where her request line says, whatever else the request says', async () => {
    for (const header of [
      'X-HTTP-Method-Override: DELETE',
      'X-HTTP-Method: PUT',
      `X-Original-URL: /keys/a${ASSIGNMENTS}`,
      `X-Rewrite-URL: /keys/a${ASSIGNMENTS}`,
      'X-Forwarded-Prefix: /keys/a',
      'X-Ms-Scope: /keys/a',
    ]) {
      for (const query of [
        version,
        `${version}&scope=/keys/a`,
        `scope=/keys/a&${version}&$filter=atScope()`,
      ]) {
        const listed = await raw('GET', `${ASSIGNMENTS}?${query}`, '', [header]);
        expect([header, listed?.status]).toEqual([header, 403]);
        const made = await raw('PUT', `${ASSIGNMENTS}/${randomUUID()}?${query}`, grant, [header]);
        expect([header, made?.status]).toEqual([header, 403]);
      }
    }
  });

  test('a right that restores a key from its backup is not had at one key: the backup names the key', async () => {
    const backup = await access.ask(0, 'POST', '/keys/a/backup', undefined, ann);
    expect(backup.status).toBe(200);
    denied(await access.ask(1, 'POST', '/keys/restore', backup.body, ann), 'keys/restore/action', '/keys');
  });

  test('sees from her key what holds there, and may not look from elsewhere', async () => {
    expect(await access.ask(0, 'GET', own, undefined, ann)).toMatchObject({ status: 200 });
    for (const scope of WIDE) {
      for (const what of [ASSIGNMENTS, DEFINITIONS]) {
        const listed = await access.ask(2, 'GET', prefixOf(scope) + what, undefined, ann);
        denied(listed, `${what === ASSIGNMENTS ? 'roleAssignments' : 'roleDefinitions'}/read/action`, scope);
      }
    }
  });
});
