// Local RBAC over HTTPS: what clients of the service send and get, and what nobody gets past it.
import { ADMINISTRATOR, CRYPTO_USER } from '../../../src/instance/model/rbac/built-in-roles.js';
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

function filtered(path: string, filter: string): string {
  return `${path}?api-version=7.4&$filter=${encodeURIComponent(filter)}`;
}

describe('role definitions', () => {
  it('lists the built-in ones in the order of the service, without a description and without a next page', async () => {
    const { json } = await ask('GET', DEFINITIONS);
    expect(Object.keys(json)).toEqual(['value']);
    const value = json['value'] as unknown as { name: string; properties: Record<string, unknown> }[];
    expect(value.map(({ name }) => name).filter((name) => !name.startsWith('6efe6056'))).toEqual([
      '7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8',
      '33413926-3206-4cdd-b39a-83574fe37a17',
      '21dbd100-6940-42c2-9190-5d6cb909625c',
      '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3',
      '4bd23610-cdcf-4971-bdee-bdc562cc28e4',
      '21dbd100-6940-42c2-9190-5d6cb909625b',
      '515eb02d-2335-4d2d-92f2-b1cbdf9c3778',
      'a290e904-7015-4bba-90c8-60543313cdb4',
    ]);
    for (const { properties } of value)
      expect(properties).toMatchObject({ description: '', type: 'AKVBuiltInRole' });
  });

  it('writes one as the service does, every member in its place', async () => {
    const { text } = await ask('GET', `${DEFINITIONS}/21dbd100-6940-42c2-9190-5d6cb909625c`);
    expect(text).toBe(
      '{"id":"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625c",' +
        '"name":"21dbd100-6940-42c2-9190-5d6cb909625c","properties":{"assignableScopes":["/"],"description":"",' +
        '"permissions":[{"actions":[],"dataActions":["Microsoft.KeyVault/managedHsm/keys/release/action"],' +
        '"notActions":[],"notDataActions":[]}],"roleName":"Managed HSM Crypto Service Release User",' +
        '"type":"AKVBuiltInRole"},"type":"Microsoft.Authorization/roleDefinitions"}',
    );
  });

  it('makes a custom one with what a client leaves out, lists it last, replaces it and deletes it', async () => {
    const name = newUuid();
    const made = await define(name, {
      roleName: 'Signer',
      permissions: [
        { dataActions: [`microsoft.keyvault/MANAGEDHSM/keys/SIGN/action`, `${PREFIX}keys/sign/action`] },
        { actions: null, notDataActions: [`${PREFIX}keys/read/action`] },
      ],
    });
    expect(made.status).toBe(201);
    const block = { actions: [], dataActions: [], notActions: [], notDataActions: [] };
    const wanted = {
      id: definitionId(name),
      name,
      properties: {
        assignableScopes: ['/'],
        description: '',
        permissions: [
          { ...block, dataActions: [`${PREFIX}keys/sign/action`] },
          { ...block, notDataActions: [`${PREFIX}keys/read/action`] },
        ],
        roleName: 'Signer',
        type: 'CustomRole',
      },
      type: 'Microsoft.Authorization/roleDefinitions',
    };
    expect(made.json).toEqual(wanted);
    expect((await ask('GET', `${DEFINITIONS}/${name.toUpperCase()}`)).json).toEqual(wanted);
    expect((await names(DEFINITIONS)).at(-1)).toBe(name);

    const replaced = await define(name, { description: 'none', type: 'CustomRole', assignableScopes: ['/'] });
    expect(replaced.status).toBe(201);
    expect(replaced.json['properties']).toMatchObject({ roleName: '', description: 'none', permissions: [] });

    const deleted = await ask('DELETE', `${DEFINITIONS}/${name}`);
    expect([deleted.status, deleted.json]).toEqual([200, replaced.json]);
    const gone = await ask('DELETE', `${DEFINITIONS}/${name}`);
    expectProblem(gone, 404, 'RoleDefinitionNotFound', 'Requested role definition not found');
  });

  it('filters by name; refuses a filter it does not know', async () => {
    await define(newUuid(), { roleName: "Ann's role" });
    expect(await names(filtered(DEFINITIONS, "roleName eq 'managed hsm CRYPTO USER'"))).toEqual([
      CRYPTO_USER,
    ]);
    expect(await names(filtered(DEFINITIONS, "roleName eq 'Ann''s role'"))).toHaveLength(1);
    expect(await names(filtered(DEFINITIONS, "roleName eq 'x'"))).toEqual([]);
    for (const all of ['atScopeAndBelow()', 'atScope()', '']) {
      expect(await names(filtered(DEFINITIONS, all))).toHaveLength(10);
    }
    for (const filter of [
      "roleName ne 'x'",
      'roleName',
      "type eq 'CustomRole'",
      "roleName eq 'a' or roleName eq 'b'",
    ]) {
      const answer = await ask('GET', filtered(DEFINITIONS, filter));
      expectProblem(answer, 400, 'BadParameter', 'This $filter is not supported here');
    }
  });

  it('are the same at every scope, and made at / only', async () => {
    for (const scope of ['/keys', '/keys/k']) {
      expect(await names(scope + DEFINITIONS)).toEqual(await names(DEFINITIONS));
      const path = `${scope}${DEFINITIONS}/${newUuid()}`;
      for (const method of ['PUT', 'DELETE']) {
        const { status } = await ask(method, path, { body: { properties: {} } });
        expect(status).toBe(405);
      }
    }
  });

  it('refuses names that are no GUID or a built-in one, in the words of the service', async () => {
    const noGuid = await define('signer', {});
    expectProblem(noGuid, 400, 'BadParameter', 'Role definition name must be a GUID');
    const reuse = 'Cannot reuse the id of a built-in role; use a unique id';
    for (const name of [CRYPTO_USER, CRYPTO_USER.toUpperCase()]) {
      expectProblem(await define(name, {}), 400, 'BadParameter', reuse);
      expectProblem(await ask('DELETE', `${DEFINITIONS}/${name}`), 400, 'BadParameter', reuse);
    }
    for (const method of ['GET', 'DELETE']) {
      for (const name of ['signer', newUuid()]) {
        const answer = await ask(method, `${DEFINITIONS}/${name}`);
        expectProblem(answer, 404, 'RoleDefinitionNotFound', 'Requested role definition not found');
      }
    }
  });

  it('refuses what would not mean what its author believes', async () => {
    const permissions = (block: object) => ({ permissions: [block] });
    const wrong: object[] = [
      permissions({ dataActions: ['*'] }),
      permissions({ dataActions: [`${PREFIX}*`] }),
      permissions({ dataActions: [`${PREFIX}keys/*/action`] }),
      permissions({ notDataActions: [`${PREFIX}keys/*`] }),
      permissions({ dataActions: [`${PREFIX}keys/fly/action`] }),
      permissions({ dataActions: ['keys/sign/action'] }),
      permissions({ dataActions: [''] }),
      permissions({ dataActions: [7] }),
      permissions({ dataActions: `${PREFIX}keys/sign/action` }),
      permissions({ actions: ['Microsoft.KeyVault/managedHSMs/read'] }),
      permissions({ notActions: ['*'] }),
      { permissions: 'all' },
      { assignableScopes: ['/keys'] },
      { assignableScopes: ['/', '/keys/k'] },
      { type: 'AKVBuiltInRole' },
      { roleName: 'x'.repeat(513) },
    ];
    for (const properties of wrong) {
      const { status, json } = await define(newUuid(), properties);
      expect([properties, status, json['error']?.['code']]).toEqual([properties, 400, 'BadParameter']);
    }
    expect((await ask('PUT', `${DEFINITIONS}/${newUuid()}`, { body: {} })).status).toBe(400);
    expect(served.hsm.state.count('definitions')).toBe(0);
  });

  it('a custom role counts at once, for the data action it names', async () => {
    await ask('POST', '/keys/k/create', { body: { kty: 'EC' } });
    const token = await tokenFor(served.hsm, { oid: STRANGER });
    const role = newUuid();
    await define(role, { permissions: [{ dataActions: [`${PREFIX}keys/read/action`] }] });
    await assign('/keys/k', role, STRANGER);
    expect((await ask('GET', '/keys/k', { token })).status).toBe(200);
    expect((await ask('GET', '/keys', { token })).status).toBe(403);
    await ask('DELETE', `${DEFINITIONS}/${role}`);
    const denied = await ask('GET', '/keys/k', { token });
    expectProblem(
      denied,
      403,
      'AccessDenied',
      `Not authorized to access ${PREFIX}keys/read/action on /keys/k`,
    );
    expect(await names(`/keys/k${ASSIGNMENTS}`)).toHaveLength(4);
  });

  it('reaches its limit', async () => {
    for (let n = 0; n < 50; n += 1) expect((await define(newUuid(), {})).status).toBe(201);
    const full = await define(newUuid(), {});
    expectProblem(full, 409, 'LimitExceeded', 'Limit reached: 50 custom role definitions');
    expect(await names(DEFINITIONS)).toHaveLength(59);
  });
});

describe('role assignments', () => {
  it('writes one as the service does, at every scope', async () => {
    for (const [path, scope] of [
      ['', '/'],
      ['/keys', '/keys'],
      ['/keys/k', '/keys/k'],
    ] as const) {
      const name = newUuid();
      const made = await assign(path, CRYPTO_USER, STRANGER, {}, name);
      expect(made.status).toBe(201);
      expect(made.text).toBe(
        `{"id":"/providers/Microsoft.Authorization/roleAssignments/${name}","name":"${name}",` +
          `"properties":{"principalId":"${STRANGER}","roleDefinitionId":"${definitionId(CRYPTO_USER)}",` +
          `"scope":"${scope}"},"type":"Microsoft.Authorization/roleAssignments"}`,
      );
      expect((await ask('GET', `${path}${ASSIGNMENTS}/${name}`)).text).toBe(made.text);
      const deleted = await ask('DELETE', `${path}${ASSIGNMENTS}/${name}`);
      expect([deleted.status, deleted.text]).toEqual([200, made.text]);
      for (const method of ['GET', 'DELETE']) {
        const gone = await ask(method, `${path}${ASSIGNMENTS}/${name}`);
        expectProblem(gone, 404, 'RoleAssignmentNotFound', 'Requested role assignment not found');
      }
    }
  });

  it('takes the id of a definition in every form that clients have', async () => {
    const forms = [
      definitionId(CRYPTO_USER),
      `/${definitionId(CRYPTO_USER)}`,
      definitionId(CRYPTO_USER).toLowerCase(),
      `${DEFINITIONS}/${CRYPTO_USER.toUpperCase()}`,
    ];
    for (const roleDefinitionId of forms) {
      const body = { properties: { roleDefinitionId, principalId: newUuid().toUpperCase() } };
      const { status, json } = await ask('PUT', `${ASSIGNMENTS}/${newUuid().toUpperCase()}`, { body });
      expect(status).toBe(201);
      expect(json['properties']).toMatchObject({
        roleDefinitionId: definitionId(CRYPTO_USER),
        principalId: body.properties.principalId.toLowerCase(),
      });
    }
  });

  it('refuses what is no GUID, no definition, or there already', async () => {
    const put = (name: string, properties: object) =>
      ask('PUT', `${ASSIGNMENTS}/${name}`, { body: { properties } });
    const good = { roleDefinitionId: definitionId(CRYPTO_USER), principalId: STRANGER };
    const bad = 'BadParameter';
    expectProblem(await put('x', good), 400, bad, 'Role assignment name must be a GUID');
    for (const properties of [
      { ...good, principalId: 'ann' },
      { ...good, principalId: '' },
      { ...good, roleDefinitionId: CRYPTO_USER },
      { ...good, roleDefinitionId: 'Managed HSM Crypto User' },
      { ...good, roleDefinitionId: `${definitionId(CRYPTO_USER)}/x` },
      { ...good, roleDefinitionId: `//${definitionId(CRYPTO_USER)}` },
      { principalId: STRANGER },
      {},
    ]) {
      const { status, json } = await put(newUuid(), properties);
      expect([properties, status, json['error']?.['code']]).toEqual([properties, 400, bad]);
    }
    const unknown = await assign('', newUuid(), STRANGER);
    expectProblem(unknown, 404, 'RoleDefinitionNotFound', 'Requested role definition not found');
    const name = newUuid();
    await assign('', CRYPTO_USER, STRANGER, {}, name);
    for (const scope of ['', '/keys/k']) {
      const again = await assign(scope, CRYPTO_USER, STRANGER, {}, name.toUpperCase());
      expectProblem(again, 400, 'RoleAssignmentExists', 'The role assignment already exists.');
    }
    const twice = await assign('', CRYPTO_USER, STRANGER);
    expectProblem(twice, 409, 'Conflict', 'The principal has this role at / already, under another name');
  });

  it('a list shows its scope and what covers it; a principal everything on that line', async () => {
    const at: Record<string, string> = {};
    for (const scope of ['', '/keys', '/keys/k', '/keys/other']) {
      at[scope] = newUuid();
      await assign(scope, CRYPTO_USER, STRANGER, {}, at[scope]);
    }
    const own = (await names(ASSIGNMENTS)).filter((name) => name !== at['']);
    expect(own).toHaveLength(3);
    const whole = [...own, at['']];
    expect(await names(ASSIGNMENTS)).toEqual(whole);
    expect(await names(`/keys${ASSIGNMENTS}`)).toEqual([...whole, at['/keys']]);
    expect(await names(`/keys/k${ASSIGNMENTS}`)).toEqual([...whole, at['/keys'], at['/keys/k']]);
    expect(await names(filtered(`/keys${ASSIGNMENTS}`, 'atScope()'))).toEqual([...whole, at['/keys']]);
    const hers = `principalId eq '${STRANGER.toUpperCase()}'`;
    expect(await names(filtered(ASSIGNMENTS, hers))).toEqual(Object.values(at));
    expect(await names(filtered(`/keys/other${ASSIGNMENTS}`, hers))).toEqual([
      at[''],
      at['/keys'],
      at['/keys/other'],
    ]);
    expect(await names(filtered(ASSIGNMENTS, `principalId eq '${newUuid()}'`))).toEqual([]);
    for (const filter of [
      "principalId eq 'ann'",
      'atScopeAndBelow()',
      `atScope() and ${hers}`,
      "scope eq '/'",
    ]) {
      const answer = await ask('GET', filtered(ASSIGNMENTS, filter));
      expectProblem(answer, 400, 'BadParameter', 'This $filter is not supported here');
    }
  });

  it('the last administrator cannot be removed, and is told why', async () => {
    const name = (await names(ASSIGNMENTS))[0] ?? '';
    const kept = await ask('DELETE', `${ASSIGNMENTS}/${name}`);
    expect(kept.status).toBe(409);
    expect(kept.json['error']).toMatchObject({ code: 'Conflict', innererror: { code: 'LastAdministrator' } });
    await assign('', ADMINISTRATOR, STRANGER);
    expect((await ask('DELETE', `${ASSIGNMENTS}/${name}`)).status).toBe(200);
  });

  it('a removed assignment is refused from the next request on', async () => {
    const token = await tokenFor(served.hsm, { oid: STRANGER });
    const name = newUuid();
    await assign('', CRYPTO_USER, STRANGER, {}, name);
    expect((await ask('POST', '/rng', { token, body: { count: 1 } })).status).toBe(200);
    await ask('DELETE', `${ASSIGNMENTS}/${name}`);
    expect((await ask('POST', '/rng', { token, body: { count: 1 } })).status).toBe(403);
  });

  it('a role given to a group counts for whoever the token puts in it', async () => {
    const group = newUuid();
    await assign('', CRYPTO_USER, group);
    const token = await tokenFor(served.hsm, { oid: STRANGER, groups: [newUuid(), group] });
    expect((await ask('POST', '/rng', { token, body: { count: 1 } })).status).toBe(200);
  });

  it('is offered since 7.2-preview', async () => {
    const old = await ask('GET', `${ASSIGNMENTS}?api-version=7.1`);
    expect([old.status, old.json['error']?.['code']]).toEqual([400, 'NotSupported']);
    expect((await ask('GET', `${ASSIGNMENTS}?api-version=7.2-preview`)).status).toBe(200);
  });
});
