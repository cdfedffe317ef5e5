import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { StartedFabric } from '../programs/started-fabric.js';
import { HSMS, KEY_VAULT, VERSION, armClient, somebody } from './arm-client.js';
import type { Arm } from './arm-client.js';

const OWNER = '8e3af657-a8ff-443c-a75c-2fe8c4bcb635';
const CONTRIBUTOR = 'b24988ac-6180-42a0-ab88-20f7382dd24c';
const READER = 'acdd72a7-3385-48ef-bd42-f606fba81ae7';
const HSM_CONTRIBUTOR = '18500a29-7fe2-46b2-a342-b16a415e101d';
const ASSIGNMENTS = '/providers/Microsoft.Authorization/roleAssignments';
const DEFINITIONS = '/providers/Microsoft.Authorization/roleDefinitions';
const OTHER = '/resourceGroups/other/providers/Microsoft.KeyVault/managedHSMs';

const directory = privateDirectory();
let started: StartedFabric;
let arm: Arm;

beforeAll(async () => {
  started = await startedFabric(directory, { poolsMax: 5 });
  arm = await armClient(started);
  await arm.ask('PUT', '/resourceGroups/other', { location: 'local' });
  await arm.ended(await arm.ask('PUT', `${OTHER}/far`, arm.hsm()));
  await arm.ended(await arm.ask('PUT', `${OTHER}/gone`, arm.hsm()));
  await arm.ended(await arm.ask('DELETE', `${OTHER}/gone`));
});
afterAll(() => started.fabric.abandon());

async function as(
  name: string,
  roles: readonly (readonly [role: string, scope: string])[],
): Promise<Arm & { objectId: string }> {
  const { token, objectId } = await somebody(started, name, roles);
  return { ...(await armClient(started, token)), objectId };
}

const code = (json: Readonly<Record<string, unknown>>): unknown =>
  (json['error'] as { code?: unknown } | undefined)?.code;
const names = (json: Readonly<Record<string, unknown>>): string[] =>
  (json['value'] as { name: string }[]).map(({ name }) => name).sort();

/** Everything that asks for a right, by what it does. What changes something is made so that it would be refused later. */
const CALLS = {
  readSubscription: ['GET', ''],
  readGroup: ['GET', '/resourceGroups/trivet'],
  writeGroup: ['PATCH', '/resourceGroups/trivet', { tags: { a: 1 } }],
  deleteGroup: ['DELETE', '/resourceGroups/none'],
  readHsm: ['GET', `${HSMS}/dev`],
  writeHsm: ['PUT', `${HSMS}/dev`, { tags: { a: 1 } }],
  deleteHsm: ['DELETE', `${HSMS}/none`],
  readOther: ['GET', `${OTHER}/far`],
  readDeleted: ['GET', `${KEY_VAULT}/locations/local/deletedManagedHSMs/gone`],
  listDeleted: ['GET', `${KEY_VAULT}/deletedManagedHSMs`],
  purge: ['POST', `${KEY_VAULT}/locations/local/deletedManagedHSMs/none/purge`],
  checkName: ['POST', `${KEY_VAULT}/checkMhsmNameAvailability`, { name: 'dev' }],
  approve: ['PUT', `${HSMS}/dev/privateEndpointConnections/none`, {}],
  readAssignments: ['GET', ASSIGNMENTS],
  assign: ['PUT', `${ASSIGNMENTS}/none`, {}],
  unassign: ['DELETE', `${ASSIGNMENTS}/00000000-0000-4000-8000-000000000000`],
} as const satisfies Record<string, readonly [string, string, unknown?]>;
type Call = keyof typeof CALLS;

const ALL = Object.keys(CALLS) as Call[];
const READS = [
  'readSubscription',
  'readGroup',
  'readHsm',
  'readOther',
  'readDeleted',
  'listDeleted',
  'checkName',
  'readAssignments',
] as const;
const ON_GROUP = ['readGroup', 'readHsm', 'writeHsm', 'deleteHsm', 'checkName', 'approve'] as const;

// What somebody with this role may do, out of all of the above.
const MAY: readonly (readonly [what: string, role: string, scope: string, may: readonly Call[]])[] = [
  ['Owner of the subscription', OWNER, '', ALL],
  [
    'Contributor of the subscription',
    CONTRIBUTOR,
    '',
    ALL.filter((call) => call !== 'assign' && call !== 'unassign'),
  ],
  ['Reader of the subscription', READER, '', READS],
  [
    'Managed HSM contributor of the subscription',
    HSM_CONTRIBUTOR,
    '',
    [
      'readHsm',
      'writeHsm',
      'deleteHsm',
      'readOther',
      'readDeleted',
      'listDeleted',
      'purge',
      'checkName',
      'approve',
    ],
  ],
  [
    'Contributor of the group',
    CONTRIBUTOR,
    '/resourceGroups/trivet',
    [...ON_GROUP, 'readSubscription', 'writeGroup', 'readAssignments'],
  ],
  [
    'Reader of the HSM',
    READER,
    `${HSMS}/dev`,
    ['readSubscription', 'readHsm', 'checkName', 'readAssignments'],
  ],
  [
    'Managed HSM contributor of the HSM',
    HSM_CONTRIBUTOR,
    `${HSMS}/dev`,
    ['readHsm', 'writeHsm', 'checkName', 'approve'],
  ],
];

describe('access: roles open what they say and nothing else', () => {
  test.each(MAY)('%s', async (what, role, scope, may) => {
    const them = await as(what, [[role, scope]]);
    const seen: Call[] = [];
    for (const call of ALL) {
      const [method, path, body] = CALLS[call] as readonly [string, string, unknown?];
      const answer = await them.ask(method, path, body);
      if (answer.status !== 403) seen.push(call);
      else expect(code(answer.json)).toBe('AuthorizationFailed');
    }
    expect(seen.sort()).toEqual([...may].sort());
  });

  test('nobody without a role is told anything', async () => {
    const nobody = await as('nobody', []);
    for (const call of ALL) {
      const [method, path, body] = CALLS[call] as readonly [string, string, unknown?];
      const answer = await nobody.ask(method, path, body);
      expect([call, answer.status, code(answer.json)]).toEqual([call, 403, 'AuthorizationFailed']);
    }
    const refused = await nobody.ask('GET', `${HSMS}/dev`);
    expect(refused.json).toEqual({
      error: {
        code: 'AuthorizationFailed',
        message:
          `The client '${nobody.objectId}' with object id '${nobody.objectId}' does not have authorization to perform ` +
          `action 'Microsoft.KeyVault/managedHSMs/read' over scope '${arm.subscription}${HSMS}/dev' or the scope is ` +
          'invalid. If access was recently granted, please refresh your credentials.',
      },
    });
    // What is not there is refused in the same words as what is.
    const absent = await nobody.ask('GET', `${HSMS}/absent`);
    expect(absent.text).toBe(refused.text.replace('managedHSMs/dev', 'managedHSMs/absent'));
    expect((await nobody.raw('GET', `/subscriptions?${VERSION}`)).json).toEqual({ value: [] });
    expect((await nobody.ask('GET', '/resources')).json).toEqual({ value: [] });
  });

  test('lists show what one may read', async () => {
    const them = await as('lists', [[READER, '/resourceGroups/other']]);
    expect(names((await them.ask('GET', `${KEY_VAULT}/managedHSMs`)).json)).toEqual(['far']);
    expect(names((await them.ask('GET', '/resources')).json)).toEqual(['far']);
    expect(names((await them.ask('GET', '/resourceGroups')).json)).toEqual(['other']);
    expect((await them.ask('GET', HSMS)).status).toBe(403);
    expect(names((await arm.ask('GET', `${KEY_VAULT}/managedHSMs`)).json)).toEqual(['dev', 'far']);
    expect((await them.raw('GET', `/subscriptions?${VERSION}`)).json).toMatchObject({
      value: [{ state: 'Enabled' }],
    });
  });

  test('an operation tells nobody but who began it, and who may read all of them', async () => {
    const group = '/resourceGroups/operations';
    const path = `${group}/providers/Microsoft.KeyVault/managedHSMs/begun`;
    await arm.ask('PUT', group, { location: 'local' });
    const maker = await as('maker', [[HSM_CONTRIBUTOR, group]]);
    const other = await as('other', [[HSM_CONTRIBUTOR, '/resourceGroups/trivet']]);
    const begun = await maker.ask('PUT', path, arm.hsm());
    const { pathname, search } = new URL(String(begun.headers.location));
    expect((await other.raw('GET', `${pathname}${search}`)).status).toBe(404);
    expect((await maker.ended(begun)).json).toMatchObject({ name: 'begun' });
    expect((await arm.raw('GET', `${pathname}${search}`)).status).toBe(200);
    await maker.ended(await maker.ask('DELETE', path));
    // The rights of a group end with what lives in it.
    const purge = `${KEY_VAULT}/locations/local/deletedManagedHSMs/begun/purge`;
    expect((await maker.ask('POST', purge)).status).toBe(403);
    await arm.ended(await arm.ask('POST', purge));
  });
});

describe('access: assignments', () => {
  test('are made, read, listed and removed, and count at once', async () => {
    const them = await as('comes and goes', []);
    const path = `${HSMS}/dev${ASSIGNMENTS}/11111111-1111-4111-8111-111111111111`;
    const role = `${arm.subscription}${DEFINITIONS}/${READER}`;
    const body = { properties: { roleDefinitionId: role, principalId: them.objectId } };
    const made = await arm.ask('PUT', path, body);
    expect([made.status, made.json]).toMatchObject([
      201,
      {
        id: `${arm.subscription}${path}`,
        name: '11111111-1111-4111-8111-111111111111',
        type: 'Microsoft.Authorization/roleAssignments',
        properties: {
          roleDefinitionId: role,
          principalId: them.objectId,
          principalType: 'ServicePrincipal',
          scope: `${arm.subscription}${HSMS}/dev`,
        },
      },
    ]);
    expect((await them.ask('GET', `${HSMS}/dev`)).status).toBe(200);
    expect((await arm.ask('PUT', path, body)).status).toBe(200);
    const twin = await arm.ask('PUT', path.replace(/1{12}$/, '222222222222'), body);
    expect([twin.status, code(twin.json)]).toEqual([409, 'RoleAssignmentExists']);
    const changed = { properties: { ...body.properties, roleDefinitionId: OWNER } };
    expect(code((await arm.ask('PUT', path, changed)).json)).toBe('RoleAssignmentUpdateNotPermitted');
    expect((await arm.ask('GET', path)).json).toEqual(made.json);
    const mine = encodeURIComponent(`principalId eq '${them.objectId}'`);
    expect(names((await arm.ask('GET', `${ASSIGNMENTS}?$filter=${mine}`)).json)).toHaveLength(1);
    // At this scope and above, which leaves out what is given below.
    const above = await arm.ask('GET', `${ASSIGNMENTS}?$filter=atScope()`);
    expect(JSON.stringify(above.json)).not.toContain(them.objectId);
    expect((await arm.ask('DELETE', path)).json).toEqual(made.json);
    expect((await arm.ask('DELETE', path)).status).toBe(204);
    expect((await them.ask('GET', `${HSMS}/dev`)).status).toBe(403);
  });

  test('need a GUID, a role that there is, and a scope that there is', async () => {
    const good = { roleDefinitionId: READER, principalId: started.admin.objectId };
    const guid = '33333333-3333-4333-8333-333333333333';
    const put = async (path: string, properties: unknown) => {
      const answer = await arm.ask('PUT', path, { properties });
      return [answer.status, code(answer.json)];
    };
    expect(await put(`${ASSIGNMENTS}/name`, good)).toEqual([400, 'InvalidRoleAssignmentId']);
    expect(await put(`${ASSIGNMENTS}/${guid}`, { ...good, principalId: 'me' })).toEqual([
      400,
      'InvalidPrincipalId',
    ]);
    expect(await put(`${ASSIGNMENTS}/${guid}`, { ...good, roleDefinitionId: guid })).toEqual([
      400,
      'RoleDefinitionDoesNotExist',
    ]);
    expect(await put(`/resourceGroups/none${ASSIGNMENTS}/${guid}`, good)).toEqual([
      404,
      'ResourceGroupNotFound',
    ]);
    expect(await put(`${HSMS}/none${ASSIGNMENTS}/${guid}`, good)).toEqual([404, 'ResourceNotFound']);
  });

  test('the last owner stays', async () => {
    const { json } = await arm.ask('GET', `${ASSIGNMENTS}?$filter=atScope()`);
    const [own] = (
      json['value'] as { id: string; properties: { principalId: string; roleDefinitionId: string } }[]
    ).filter(
      ({ properties }) =>
        properties.principalId === started.admin.objectId && properties.roleDefinitionId.endsWith(OWNER),
    );
    const others = (
      json['value'] as { id: string; properties: { principalId: string; roleDefinitionId: string } }[]
    ).filter(({ id, properties }) => id !== own?.id && properties.roleDefinitionId.endsWith(OWNER));
    for (const { id } of others) expect((await arm.raw('DELETE', `${id}?${VERSION}`)).status).toBe(200);
    expect((await arm.raw('DELETE', `${own?.id ?? ''}?${VERSION}`)).status).toBe(409);
    expect((await arm.ask('GET', `${HSMS}/dev`)).status).toBe(200);
  });

  test('go with their group, so that a new one of the name gives nobody anything', async () => {
    const group = '/resourceGroups/brief';
    await arm.ask('PUT', group, { location: 'local' });
    const them = await as('brief', [[READER, group]]);
    expect((await them.ask('GET', group)).status).toBe(200);
    await arm.ended(await arm.ask('DELETE', group));
    await arm.ask('PUT', group, { location: 'local' });
    expect((await them.ask('GET', group)).status).toBe(403);
  });

  test('an administrator of the fabric without a role manages it, and no resource', async () => {
    // The flag and the roles are two things: what `/trivet` asks for opens nothing here.
    const them = await as('two things', []);
    expect((await them.ask('GET', '')).status).toBe(403);
    expect((await them.raw('GET', '/trivet/status')).status).toBe(403);
    const owner = await as('owner', [[OWNER, '']]);
    expect((await owner.ask('GET', '')).status).toBe(200);
    expect((await owner.raw('GET', '/trivet/status')).status).toBe(403);
  });
});

describe('access: definitions', () => {
  test('are the built-in ones, by name, by id, at any scope', async () => {
    const all = await arm.ask('GET', DEFINITIONS);
    expect(names(all.json)).toEqual([HSM_CONTRIBUTOR, OWNER, READER, CONTRIBUTOR].sort());
    const byName = encodeURIComponent("roleName eq 'managed hsm contributor'");
    const found = await arm.ask('GET', `${HSMS}/dev${DEFINITIONS}?$filter=${byName}`);
    expect(found.json).toMatchObject({
      value: [
        {
          id: `${arm.subscription}${DEFINITIONS}/${HSM_CONTRIBUTOR}`,
          name: HSM_CONTRIBUTOR,
          properties: { roleName: 'Managed HSM contributor', type: 'BuiltInRole', assignableScopes: ['/'] },
        },
      ],
    });
    const whole = await arm.raw('GET', `${DEFINITIONS}/${READER}?${VERSION}`);
    expect(whole.json).toMatchObject({
      properties: { permissions: [{ actions: ['*/read'], dataActions: [] }] },
    });
    expect((await arm.ask('GET', `${DEFINITIONS}/${started.admin.objectId}`)).status).toBe(400);
  });
});
