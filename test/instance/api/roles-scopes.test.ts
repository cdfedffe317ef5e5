// What nobody gets past local RBAC: tricks of the path, a right at one key widened, a role held no longer.
import { request } from 'node:https';
import {
  ADMINISTRATOR,
  CRYPTO_OFFICER,
  CRYPTO_USER,
} from '../../../src/instance/model/rbac/built-in-roles.js';
import { newUuid } from '../../../src/values/ids.js';
import { STRANGER } from '../hsm/fake-hsm.js';
import { definitionId } from './samples.js';
import { Served, tokenFor, type Answer, type Ask } from './served.js';

const PREFIX = 'Microsoft.KeyVault/managedHsm/';
const OWN = '/providers/Microsoft.Authorization';
const DEFINITIONS = `${OWN}/roleDefinitions`;
const ASSIGNMENTS = `${OWN}/roleAssignments`;

let served: Served;
beforeEach(async () => {
  served = await Served.start();
});
afterEach(() => served.stop());

const ask = (method: string, path: string, sent?: Ask): Promise<Answer> => served.ask(method, path, sent);

function define(name: string, properties: object, sent: Ask = {}): Promise<Answer> {
  return ask('PUT', `${DEFINITIONS}/${name}`, { ...sent, body: { properties } });
}

/** Assigns a role to somebody; the scope as it stands in paths, without a slash at the end. */
function assign(scope: string, role: string, principalId: string, sent: Ask = {}, name: string = newUuid()) {
  const body = { properties: { roleDefinitionId: definitionId(role), principalId } };
  return ask('PUT', `${scope}${ASSIGNMENTS}/${name}`, { ...sent, body });
}

async function names(path: string): Promise<string[]> {
  const { status, json } = await ask('GET', path);
  expect(status).toBe(200);
  return (json['value'] as unknown as { name: string }[]).map(({ name }) => name);
}

function expectProblem(answer: Answer, status: number, code: string, words: string): void {
  const message = `${words} (Activity ID: ${String(answer.headers['x-ms-request-id'])})`;
  expect([answer.status, answer.json['error']]).toEqual([status, { code, message }]);
}

describe('paths', () => {
  const spellings: [string, string][] = [
    ['/providers/Microsoft.Authorization/roleAssignments/', '/'],
    ['///providers/Microsoft.Authorization/roleAssignments/', '/'],
    ['//PROVIDERS/microsoft.authorization//ROLEASSIGNMENTS/', '/'],
    ['/%70roviders/Microsoft%2EAuthorization/roleAssignments/', '/'],
    ['/keys/providers/Microsoft.Authorization/roleAssignments/', '/keys'],
    ['/KEYS//providers/Microsoft.Authorization/roleAssignments/', '/keys'],
    ['/keys/k/providers/Microsoft.Authorization/roleAssignments/', '/keys/k'],
    ['/keys/K//Providers/Microsoft.Authorization/roleAssignments/', '/keys/K'],
    ['/keys/%6b/providers/Microsoft.Authorization/roleAssignments/', '/keys/k'],
    ['/keys/providers/providers/Microsoft.Authorization/roleAssignments/', '/keys/providers'],
    ['https://dev.managedhsm.localhost/keys/k/providers/Microsoft.Authorization/roleAssignments/', '/keys/k'],
  ];

  it.each(spellings)(
    '%s is at %s, for the right asked for and for the assignment made',
    async (path, scope) => {
      const name = newUuid();
      const body = { properties: { roleDefinitionId: definitionId(CRYPTO_USER), principalId: STRANGER } };
      const token = await tokenFor(served.hsm, { oid: STRANGER });
      const denied = await ask('PUT', path + name, { token, body });
      const lacking = `${PREFIX}roleAssignments/write/action on ${scope}`;
      expectProblem(denied, 403, 'AccessDenied', `Not authorized to access ${lacking}`);
      const made = await ask('PUT', path + name, { body });
      expect([made.status, made.json['properties']?.['scope']]).toEqual([201, scope]);
      expect(served.hsm.submitted.at(-1)?.authority?.scope).toBe(scope);
    },
  );

  const tricks = [
    '/keys/k/..',
    '/keys/k/../..',
    '/keys/%2e%2e',
    '/keys/k/%2e%2e',
    '/keys/.',
    '/keys/%2e',
    '/keys/k%2f..',
    '/keys%2fk',
    '/keys/k%2fproviders',
    '/keys/k%5c..',
    '/keys/k%00',
    '/keys/k%252f..',
    '/keys/*',
    '/keys/k;x',
    '/keys/k ',
    '/keys/k%20',
    '/keys/',
    '/keys/k/0123456789abcdef0123456789abcdef',
    '/deletedkeys/k',
    '/Keys/\u212A',
  ].map((path) => encodeURI(path).replaceAll('%25', '%'));

  it('nobody who may assign at one key reaches another scope by a trick of the path', async () => {
    await assign('/keys/k', CRYPTO_OFFICER, STRANGER);
    const token = await tokenFor(served.hsm, { oid: STRANGER });
    expect((await assign('/keys/k', CRYPTO_USER, STRANGER, { token })).status).toBe(201);
    const before = served.hsm.state.count('assignments');
    for (const scope of [...tricks, '', '/', '/keys', '/keys/other', '/keys/K', '/keys/kk']) {
      const { status } = await assign(scope, CRYPTO_USER, newUuid(), { token });
      expect([scope, [400, 403, 404].includes(status)]).toEqual([scope, true]);
      for (const name of await names(ASSIGNMENTS)) {
        const removal = await ask('DELETE', `${scope}${ASSIGNMENTS}/${name}`, { token });
        expect([scope, [400, 403, 404].includes(removal.status)]).toEqual([scope, true]);
      }
    }
    expect(served.hsm.state.count('assignments')).toBe(before);
  });
});

describe('who may assign at one key', () => {
  let token: string;
  beforeEach(async () => {
    await assign('/keys/k', CRYPTO_OFFICER, STRANGER);
    token = await tokenFor(served.hsm, { oid: STRANGER });
  });

  it('gains nothing by naming a wider scope in the body', async () => {
    const properties = {
      roleDefinitionId: definitionId(ADMINISTRATOR),
      principalId: STRANGER,
      scope: '/',
    };
    const made = await ask('PUT', `/keys/k${ASSIGNMENTS}/${newUuid()}`, {
      token,
      body: { properties, scope: '/' },
    });
    expect(made.json['properties']?.['scope']).toBe('/keys/k');
    expect((await ask('GET', DEFINITIONS, { token })).status).toBe(403);
  });

  it('removes none that is wider, though she sees it', async () => {
    const listed = await ask('GET', `/keys/k${ASSIGNMENTS}`, { token });
    const wide = (listed.json['value'] as unknown as { name: string }[])[0]?.name ?? '';
    const removal = await ask('DELETE', `/keys/k${ASSIGNMENTS}/${wide}`, { token });
    expectProblem(removal, 404, 'RoleAssignmentNotFound', 'Requested role assignment not found');
    const wider = await ask('DELETE', `${ASSIGNMENTS}/${wide}`, { token });
    const lacking = `${PREFIX}roleAssignments/delete/action on /`;
    expectProblem(wider, 403, 'AccessDenied', `Not authorized to access ${lacking}`);
  });

  it('writes no definitions, which are everywhere at once', async () => {
    const lacking = `${PREFIX}roleDefinitions/write/action on /`;
    const denied = await define(newUuid(), {}, { token });
    expectProblem(denied, 403, 'AccessDenied', `Not authorized to access ${lacking}`);
  });

  it('whoever may at / removes an assignment of a key from there', async () => {
    const name = (await names(`/keys/k${ASSIGNMENTS}`)).at(-1) ?? '';
    expect((await ask('GET', `${ASSIGNMENTS}/${name}`)).json['properties']?.['scope']).toBe('/keys/k');
    expect((await ask('GET', `/keys/other${ASSIGNMENTS}/${name}`)).status).toBe(404);
    expect((await ask('DELETE', `/keys${ASSIGNMENTS}/${name}`)).status).toBe(200);
    expect((await ask('GET', `/keys/k`, { token })).status).toBe(403);
  });
});

describe('a revoked administrator', () => {
  const mine = newUuid();
  let token: string;
  beforeEach(async () => {
    await assign('', ADMINISTRATOR, STRANGER, {}, mine);
    token = await tokenFor(served.hsm, { oid: STRANGER });
  });
  const revoke = () => ask('DELETE', `${ASSIGNMENTS}/${mine}`);

  /** Sends the head and half of the body; the rest once `meanwhile` has happened. */
  async function trickle(
    path: string,
    body: object,
    meanwhile: () => Promise<unknown>,
  ): Promise<[number, string]> {
    const text = JSON.stringify(body);
    const answered = new Promise<[number, string]>((resolve, reject) => {
      const outgoing = request(
        {
          host: '127.0.0.1',
          port: served.port,
          method: 'PUT',
          path: `${path}?api-version=7.4`,
          headers: { authorization: `Bearer ${token}`, 'content-length': Buffer.byteLength(text) },
          rejectUnauthorized: false,
          agent: false,
        },
        (incoming) => {
          let answer = '';
          incoming.setEncoding('utf8');
          incoming.on('data', (part: string) => (answer += part));
          incoming.on('end', () => resolve([incoming.statusCode ?? 0, answer]));
        },
      );
      outgoing.on('error', reject);
      outgoing.write(text.slice(0, 10), () => {
        meanwhile().then(() => outgoing.end(text.slice(10)), reject);
      });
    });
    return answered;
  }

  const wish = { properties: { roleDefinitionId: definitionId(ADMINISTRATOR), principalId: newUuid() } };

  it.each([
    ['an assignment', ASSIGNMENTS, wish],
    ['a definition', DEFINITIONS, { properties: { permissions: [] } }],
  ])('does not get %s through whose body was still on its way', async (_, path, body) => {
    const arrived = new Promise<void>((resolve) => served.server.https.once('request', () => resolve()));
    const [status, text] = await trickle(`${path}/${newUuid()}`, body, () => arrived.then(revoke));
    expect([status, text.includes('AccessDenied')]).toEqual([403, true]);
  });

  it('does not get one through that was permitted here and not yet judged by the primary', async () => {
    const submit = served.hsm.submit.bind(served.hsm);
    let revoked = false;
    jest.spyOn(served.hsm, 'submit').mockImplementation(async (mutation) => {
      if (!revoked) {
        revoked = true;
        await revoke();
      }
      return submit(mutation);
    });
    const answer = await ask('PUT', `${ASSIGNMENTS}/${newUuid()}`, { token, body: wish });
    const lacking = `${PREFIX}roleAssignments/write/action on /`;
    expectProblem(answer, 403, 'AccessDenied', `Not authorized to access ${lacking}`);
    expect(revoked).toBe(true);
  });

  it('does not get a key through that was still being made', async () => {
    const user = newUuid();
    await assign('', CRYPTO_USER, STRANGER, {}, user);
    const generate = served.hsm.fake.generate.bind(served.hsm.fake);
    jest.spyOn(served.hsm.fake, 'generate').mockImplementation(async (id, spec) => {
      await ask('DELETE', `${ASSIGNMENTS}/${user}`);
      return generate(id, spec);
    });
    const made = await ask('POST', '/keys/late/create', { token, body: { kty: 'EC' } });
    expect(made.status).toBe(403);
    expect(served.hsm.state.get('keys', 'late')).toBeUndefined();
  });
});
