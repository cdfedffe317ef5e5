// Every data action × every built-in role × every scope, asked for over HTTPS: who holds the role may, and who does not
// is told what she lacks and where, in exactly the service's words.
import { routes } from '../../../src/instance/api/routes.js';
import { newUuid } from '../../../src/values/ids.js';
import { gives, matrix, roleIds, scopes } from '../model/role-matrix.js';
import { bodyOf, definitionId, pathsOf } from './samples.js';
import { Served, tokenFor } from './served.js';

let served: Served;
/** Tokens of principals with one role at one scope each, by `{letter} {scope}`. */
const tokens = new Map<string, string>();

beforeAll(async () => {
  served = await Served.start();
  for (const [letter, role] of Object.entries(roleIds)) {
    for (const scope of scopes) {
      const principalId = newUuid();
      const path = `${scope}/providers/Microsoft.Authorization/roleAssignments/${newUuid()}`;
      const body = { properties: { roleDefinitionId: definitionId(role), principalId } };
      expect((await served.ask('PUT', path, { body })).status).toBe(201);
      tokens.set(`${letter} ${scope}`, await tokenFor(served.hsm, { oid: principalId }));
    }
  }
});
afterAll(() => served.stop());

const table = routes.map((route) => [`${route.method} /${route.path}`, route] as const);

/** Data actions that no operation of this build asks for; the model's tests have them. */
const UNASKED = ['keys/derive/action', 'keys/export/action'];

it('no route is without a data action of the matrix, and what no route asks for is known', () => {
  const asked = new Set(routes.map(({ action }) => action));
  for (const action of asked) expect(matrix).toHaveProperty([action]);
  const unasked = Object.keys(matrix).filter((action) => !asked.has(action));
  expect(unasked.sort()).toEqual(UNASKED);
});

describe.each(table)('%s', (_, route) => {
  const asked = route.scope === 'key' ? '/keys/k' : route.scope;

  it.each(scopes)('roles held at %s', async (held) => {
    for (const letter of Object.keys(roleIds)) {
      const token = tokens.get(`${letter} ${held}`) ?? '';
      const answer = await served.ask(route.method, pathsOf(route)[0] ?? '', { token, body: bodyOf(route) });
      if (gives(letter, route.action, held, asked)) {
        expect(answer.text).not.toContain('AccessDenied');
        expect([200, 201, 202, 204, 400, 404, 409]).toContain(answer.status);
      } else {
        expect([letter, answer.status, answer.json['error']]).toEqual([
          letter,
          403,
          {
            code: 'AccessDenied',
            message:
              `Not authorized to access Microsoft.KeyVault/managedHsm/${route.action} on ${asked}` +
              ` (Activity ID: ${String(answer.headers['x-ms-request-id'])})`,
          },
        ]);
      }
    }
  });
});
