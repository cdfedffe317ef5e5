// The table of routes: every route needs a role, and the table tells the truth about which.
import { routes, type Route } from '../../../src/instance/api/routes.js';
import { apiVersions } from '../../../src/instance/api/versions.js';
import { dataActions } from '../../../src/instance/model/rbac/built-in-roles.js';
import { OPERATOR, STRANGER } from '../hsm/fake-hsm.js';
import { bodyOf, pathsOf } from './samples.js';
import { Served, tokenFor } from './served.js';

let served: Served;
let stranger: string;
beforeAll(async () => {
  served = await Served.start();
  stranger = await tokenFor(served.hsm, { oid: STRANGER, groups: [STRANGER] });
});
afterAll(() => served.stop());

const table: [string, Route][] = routes.map((route) => [`${route.method} /${route.path}`, route]);

it('no route is listed twice', () => {
  expect(new Set(table.map(([title]) => title)).size).toBe(routes.length);
});

it('the routes are these and no others', () => {
  expect(table.map(([title, { action, scope }]) => `${title} needs ${action} at ${scope}`).sort()).toEqual(
    [
      'DELETE /deletedkeys/{name} needs keys/deletedKeys/delete at key',
      'DELETE /keys/{name} needs keys/delete at key',
      'POST /keys/{name}/{version}/release needs keys/release/action at key',
      'POST /keys/{name}/{version}/securewrapkey needs keys/wrap/action at key',
      'POST /keys/{name}/{version}/secureunwrapkey needs keys/unwrap/action at key',
      'POST /keys/{name}/backup needs keys/backup/action at key',
      'POST /keys/restore needs keys/restore/action at /keys',
      'POST /backup needs backup/start/action at /',
      'POST /prebackup needs backup/start/action at /',
      'GET /backup/{item}/pending needs backup/status/action at /',
      'PUT /restore needs restore/start/action at /',
      'PUT /prerestore needs restore/start/action at /',
      'PUT /keys/{name}/restore needs restore/start/action at /',
      'GET /restore/{item}/pending needs restore/status/action at /',
      'POST /keys/{name}/rotate needs keys/rotate/action at key',
      'GET /keys/{name}/rotationpolicy needs keys/read/action at key',
      'PUT /keys/{name}/rotationpolicy needs keys/write/action at key',
      'GET /trivet/audit needs settings/read/action at /',
      'GET /trivet/trust needs settings/read/action at /',
      ...['hosts', 'measurements', 'issuers'].flatMap((list) => [
        `PUT /trivet/trust/${list}/{item} needs settings/write/action at /`,
        `DELETE /trivet/trust/${list}/{item} needs settings/write/action at /`,
      ]),
      'GET /settings needs settings/read/action at /',
      'GET /settings/{item} needs settings/read/action at /',
      'PATCH /settings/{item} needs settings/write/action at /',
      'GET /deletedkeys needs keys/deletedKeys/read/action at /keys',
      'GET /deletedkeys/{name} needs keys/deletedKeys/read/action at key',
      'GET /keys needs keys/read/action at /keys',
      'GET /keys/{name}/versions needs keys/read/action at key',
      'GET /keys/{name}/{version} needs keys/read/action at key',
      'GET /keys/{name}/{version}/attestation needs keys/read/action at key',
      'PATCH /keys/{name}/{version} needs keys/write/action at key',
      'POST /deletedkeys/{name}/recover needs keys/deletedKeys/recover/action at key',
      'POST /keys/{name}/create needs keys/create at key',
      'POST /keys/{name}/{version}/decrypt needs keys/decrypt/action at key',
      'POST /keys/{name}/{version}/encrypt needs keys/encrypt/action at key',
      'POST /keys/{name}/{version}/sign needs keys/sign/action at key',
      'POST /keys/{name}/{version}/unwrapkey needs keys/unwrap/action at key',
      'POST /keys/{name}/{version}/verify needs keys/verify/action at key',
      'POST /keys/{name}/{version}/wrapkey needs keys/wrap/action at key',
      'POST /securitydomain/download needs securitydomain/download/action at /',
      'GET /securitydomain/download/pending needs securitydomain/download/read at /',
      'GET /securitydomain/upload needs securitydomain/transferkey/read at /',
      'POST /securitydomain/upload needs securitydomain/upload/action at /',
      'GET /securitydomain/upload/pending needs securitydomain/upload/read at /',
      'POST /rng needs rng/action at /',
      'PUT /keys/{name} needs keys/import/action at key',
      ...(
        [
          ['', '/'],
          ['keys/', '/keys'],
          ['keys/{name}/', 'key'],
        ] as const
      ).flatMap(([prefix, scope]) => {
        const path = `/${prefix}providers/microsoft.authorization`;
        return [
          `GET ${path}/roledefinitions needs roleDefinitions/read/action at ${scope}`,
          `GET ${path}/roledefinitions/{item} needs roleDefinitions/read/action at ${scope}`,
          `GET ${path}/roleassignments needs roleAssignments/read/action at ${scope}`,
          `GET ${path}/roleassignments/{item} needs roleAssignments/read/action at ${scope}`,
          `PUT ${path}/roleassignments/{item} needs roleAssignments/write/action at ${scope}`,
          `DELETE ${path}/roleassignments/{item} needs roleAssignments/delete/action at ${scope}`,
        ];
      }),
      'PUT /providers/microsoft.authorization/roledefinitions/{item} needs roleDefinitions/write/action at /',
      'DELETE /providers/microsoft.authorization/roledefinitions/{item} needs roleDefinitions/delete/action at /',
    ].sort(),
  );
});

describe.each(table)('%s', (_, route) => {
  it('has a known action, a known version and a body that no type is missing from', () => {
    expect(dataActions).toContain(route.action);
    expect(apiVersions).toContain(route.since);
    if (route.body) expect(route.body.safeParse(bodyOf(route)).success).toBe(true);
  });

  it('denies who holds no role, by exactly that action and scope', async () => {
    const scope = route.scope === 'key' ? '/keys/k' : route.scope;
    for (const path of pathsOf(route)) {
      const before = served.hsm.submitted.length;
      const answer = await served.ask(route.method, path, { token: stranger, body: bodyOf(route) });
      expect(answer.status).toBe(403);
      expect(answer.json['error']?.['code']).toBe('AccessDenied');
      const words = `Not authorized to access Microsoft.KeyVault/managedHsm/${route.action} on ${scope} (Activity`;
      expect(answer.json['error']?.['message']).toContain(words);
      expect(served.hsm.submitted).toHaveLength(before);
    }
  });

  it('waits for what is undecided about the caller, the pool and what it touches, then reads anew', async () => {
    const own = await Served.start();
    const token = await tokenFor(own.hsm, { oid: STRANGER });
    // While the request waits, the caller is given her roles: what counts is the state after the wait.
    own.hsm.undecided = Promise.resolve().then(() => {
      own.hsm.undecided = undefined;
      own.hsm.promote(STRANGER);
    });
    const path = pathsOf(route)[0] ?? '';
    const { status } = await own.ask(route.method, path, { token, body: bodyOf(route) });
    expect(status).not.toBe(403);
    const waited = own.hsm.waitedFor[0] ?? [];
    expect(waited).toEqual(expect.arrayContaining(['pool', 'definitions', `principal:${STRANGER}`]));
    if (route.path.includes('roleassignments')) expect(waited).toContain('assignments');
    else if (route.scope !== '/' && !/roledefinitions|restore$/.test(route.path)) {
      expect(waited).toContain(route.scope === 'key' ? 'key:k' : 'keys');
    }
    await own.stop();
  });

  it('needs a token', async () => {
    for (const path of pathsOf(route)) {
      expect((await served.ask(route.method, path, { token: null, body: bodyOf(route) })).status).toBe(401);
    }
  });
});

it('the writes go to the primary with the caller, the action and the scope', async () => {
  await served.ask('POST', '/keys/w/create', { body: { kty: 'EC' } });
  await served.ask('PATCH', '/keys/w', { body: { tags: {} } });
  await served.ask('DELETE', '/keys/w');
  await served.ask('POST', '/deletedkeys/w/recover');
  await served.ask('DELETE', '/keys/w');
  await served.ask('DELETE', '/deletedkeys/w');
  const authorities = served.hsm.submitted.slice(-6).map(({ authority }) => authority);
  expect(authorities.map((authority) => authority?.action)).toEqual([
    'keys/create',
    'keys/write/action',
    'keys/delete',
    'keys/deletedKeys/recover/action',
    'keys/delete',
    'keys/deletedKeys/delete',
  ]);
  for (const authority of authorities) {
    expect(authority?.scope).toBe('/keys/w');
    expect(authority?.caller.objectId).toBe(OPERATOR);
  }
});
