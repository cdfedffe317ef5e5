// Who comes in to a real HSM: firewall and private endpoints, set through ARM and enforced by every instance, on the
// data port and at its own address; and keys through ARM, which are no part of the data plane.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ReadyDocument } from '../../src/cli/document.js';
import { Client, TestPool, at, text, until } from './pool.js';
import type { Answer, Credentials } from './pool.js';

const ARM_VERSION = 'api-version=2024-11-01';
const SETTING = '/settings/AllowKeyManagementOperationsThroughARM';
const DIGEST = createHash('sha256').update('a message').digest('base64url');
/** Managed HSM contributor, Azure's own id. */
const CONTRIBUTOR = '18500a29-7fe2-46b2-a342-b16a415e101d';
const GUEST = '127.0.0.2';
const OTHER = '127.0.0.3';

let pool: TestPool;
/** The data plane's token of the administrator. */
let token: string;
let clients: Client[] = [];

beforeAll(async () => {
  pool = await TestPool.start();
  token = await pool.token();
});
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await patch({ publicNetworkAccess: 'Enabled', networkAcls: { defaultAction: 'Allow', ipRules: [] } });
});
afterAll(() => pool.remove());

const hsm = (): string =>
  `/subscriptions/${pool.ready.subscriptionId}/resourceGroups/trivet/providers/Microsoft.KeyVault/managedHSMs/dev`;

async function arm(
  method: string,
  path: string,
  body?: unknown,
  who: Pick<Credentials, 'clientId' | 'clientSecret'> = pool.admin,
): Promise<Answer> {
  const { controlPlane, caFile } = pool.ready;
  const client = new Client({
    host: 'localhost',
    port: Number(new URL(controlPlane).port),
    ca: readFileSync(caFile, 'utf8'),
    token: await pool.token(who, `${controlPlane}/.default`),
  });
  return client.send(method, `${path}?${ARM_VERSION}`, body === undefined ? undefined : JSON.stringify(body));
}

async function patch(properties: object): Promise<void> {
  const answer = await arm('PATCH', hsm(), { properties });
  if (answer.status >= 300) throw new Error(answer.text);
}

const restrictTo = (...ipRules: string[]): Promise<void> =>
  patch({ networkAcls: { defaultAction: 'Deny', ipRules: ipRules.map((value) => ({ value })) } });

function from(localAddress: string, port: number = Number(pool.uri.port)): Client {
  const client = new Client({ ...pool.address(), port, token, keepAlive: true, localAddress });
  clients.push(client);
  return client;
}

/** Ports at which the instances themselves answer, by their numbers. */
function ownPorts(): number[] {
  const { pools } = JSON.parse(pool.command('status', '--json').out) as ReadyDocument;
  return (pools[0]?.instances ?? []).map(({ uri }) => Number(new URL(uri ?? '').port));
}

/** Connections that stay open: some on the data port, which come to all instances in turn, and one to each instance. */
function everywhere(localAddress: string): Client[] {
  return [
    ...Array.from({ length: 6 }, () => from(localAddress)),
    ...ownPorts().map((port) => from(localAddress, port)),
  ];
}

async function statuses(through: readonly Client[]): Promise<number[]> {
  const answers = await Promise.all(through.map((client) => client.call('GET', '/keys')));
  for (const { status, body } of answers) {
    if (status === 403) expect(at(body, 'error', 'innererror', 'code')).toBe('ForbiddenByFirewall');
  }
  return answers.map(({ status }) => status);
}

const all = (status: number): number[] => Array<number>(9).fill(status);

test('firewall: new rules hold for every instance and every open connection once ARM has taken them', async () => {
  const [own, guest, other] = ['127.0.0.1', GUEST, OTHER].map(everywhere) as [Client[], Client[], Client[]];
  for (const group of [own, guest, other]) expect(await statuses(group)).toEqual(all(200));
  await restrictTo(GUEST);
  expect(await statuses(guest)).toEqual(all(200));
  expect(await statuses(own)).toEqual(all(403));
  expect(await statuses(other)).toEqual(all(403));
  await restrictTo('127.0.0.2/31');
  expect(await statuses(other)).toEqual(all(200));
  expect(await statuses(own)).toEqual(all(403));
  await patch({ publicNetworkAccess: 'Disabled' });
  for (const group of [own, guest, other]) expect(await statuses(group)).toEqual(all(403));
  // The control plane goes on.
  const shown = await arm('GET', hsm());
  expect([shown.status, at(shown.body, 'properties', 'publicNetworkAccess')]).toEqual([200, 'Disabled']);
});

test('firewall: an instance that starts, and a whole fabric that does, let nobody in before they know the rules', async () => {
  await restrictTo(GUEST);
  const before = ownPorts();
  const { status } = pool.command('partition', 'kill', '1');
  expect(status).toBe(0);
  await pool.inSync();
  const after = ownPorts();
  expect(after[1]).not.toBe(before[1]);
  expect(await statuses([from('127.0.0.1', after[1]), from(GUEST, after[1])])).toEqual([403, 200]);
  await pool.stop();
  await pool.start();
  token = await pool.token();
  expect(await statuses(everywhere('127.0.0.1'))).toEqual(all(403));
  expect(await statuses(everywhere(GUEST))).toEqual(all(200));
});

test('firewall: while rules change and instances die, who was shut out is never let in', async () => {
  await restrictTo(GUEST);
  const through = [from(OTHER), from(OTHER)];
  let done = false;
  const seen = new Set<number>();
  const asking = through.map(async (client) => {
    while (!done) {
      await client.call('GET', '/keys').then(
        ({ status }) => seen.add(status),
        () => undefined, // its instance was killed
      );
    }
  });
  try {
    for (let round = 0; round < 3; round++) {
      await restrictTo(GUEST, `20.0.0.${round}`);
      pool.command('partition', 'kill', String(round));
      await pool.inSync();
    }
  } finally {
    done = true;
    await Promise.all(asking);
  }
  expect([...seen]).toEqual([403]);
});

test('private endpoints: an approved one lets its address in, also without public access, and no other does', async () => {
  const endpoint = (name: string): string =>
    `/subscriptions/${pool.ready.subscriptionId}/resourceGroups/net/providers/Microsoft.Network/privateEndpoints/${name}`;
  const put = (name: string, status: string, id?: string): Promise<Answer> =>
    arm('PUT', `${hsm()}/privateEndpointConnections/${name}`, {
      properties: {
        ...(id === undefined ? {} : { privateEndpoint: { id } }),
        privateLinkServiceConnectionState: { status, description: 'for a test' },
      },
    });
  await patch({ publicNetworkAccess: 'Disabled' });
  const other = everywhere(OTHER);
  expect((await put('one', 'Pending', endpoint(OTHER))).status).toBe(200);
  expect(await statuses(other)).toEqual(all(403));
  expect((await put('one', 'Approved')).status).toBe(200);
  expect(await statuses(other)).toEqual(all(200));
  expect(await statuses(everywhere(GUEST))).toEqual(all(403));
  expect((await put('named', 'Approved', endpoint('office'))).status).toBe(200);
  expect(await statuses(everywhere('127.0.0.1'))).toEqual(all(403));
  expect((await put('one', 'Rejected')).status).toBe(200);
  expect(await statuses(other)).toEqual(all(403));
  expect((await put('one', 'Approved')).status).toBe(200);
  expect(await statuses(other)).toEqual(all(200));
  expect((await arm('DELETE', `${hsm()}/privateEndpointConnections/one`)).status).toBeLessThan(300);
  expect(await statuses(other)).toEqual(all(403));
});

test.each([
  ['of IPv6', ['2001:db8::/32'], /IPv6/],
  ['of a private network', ['10.1.0.0/16'], /RFC 1918/],
  ['that is none', ['20.1.2.0/33'], /CIDR/],
  ['too many', Array.from({ length: 11 }, (_, place) => `20.1.2.${place}`), /at most 10/],
])('firewall: rules %s are refused, and nothing is changed', async (_, values, why) => {
  const ipRules = values.map((value) => ({ value }));
  const answer = await arm('PATCH', hsm(), {
    properties: { networkAcls: { defaultAction: 'Deny', ipRules } },
  });
  expect(answer.status).toBe(400);
  expect(text(answer.body, 'error', 'message')).toMatch(why);
  expect(await statuses([from('127.0.0.1')])).toEqual([200]);
});

test('keys through ARM: only while the setting allows it, and past no firewall nor role', async () => {
  const data = new Client({ ...pool.address(), token });
  const body = { properties: { kty: 'EC', curveName: 'P-256', keyOps: ['sign', 'verify'] } };
  const put = (name: string, who?: Credentials): Promise<Answer> =>
    arm('PUT', `${hsm()}/keys/${name}`, body, who);

  const off = await put('through');
  expect([off.status, at(off.body, 'error', 'innererror', 'code')]).toEqual([403, 'ArmNotAllowed']);
  expect((await data.call('PATCH', SETTING, { value: 'true' })).status).toBe(200);
  const made = await put('through');
  expect(made.status).toBe(200);
  expect(made.body).toMatchObject({
    id: `${hsm()}/keys/through`,
    type: 'Microsoft.KeyVault/managedHSMs/keys',
    properties: { kty: 'EC-HSM', curveName: 'P-256', keyUri: `${pool.uri.origin}/keys/through` },
  });
  expect((await put('through')).body).toEqual(made.body);
  const path = new URL(text(made.body, 'properties', 'keyUriWithVersion')).pathname;
  expect((await data.call('POST', `${path}/sign`, { alg: 'ES256', value: DIGEST })).status).toBe(200);

  // Somebody with every right on the control plane and none in the HSM, and the other way round.
  const operator = pool.addPrincipal('operator');
  const user = pool.addPrincipal('user');
  expect((await put('theirs', operator)).status).toBe(403);
  const assignment = `${hsm()}/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}`;
  const role = `/subscriptions/${pool.ready.subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${CONTRIBUTOR}`;
  const given = await arm('PUT', assignment, {
    properties: { principalId: operator.objectId, roleDefinitionId: role },
  });
  expect(given.status).toBe(201);
  const denied = await put('theirs', operator);
  expect([denied.status, at(denied.body, 'error', 'code')]).toEqual([403, 'AccessDenied']);
  const local = `/keys/providers/Microsoft.Authorization/roleAssignments/${crypto.randomUUID()}`;
  const officer =
    'Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b';
  const assigned = await data.call('PUT', local, {
    properties: { principalId: user.objectId, roleDefinitionId: officer },
  });
  expect(assigned.status).toBe(201);
  const outside = await put('theirs', user);
  expect([outside.status, at(outside.body, 'error', 'code')]).toEqual([403, 'AuthorizationFailed']);

  // A token for the control plane is none for the data plane, with the setting as without.
  const armToken = await pool.token(pool.admin, `${pool.ready.controlPlane}/.default`);
  const stray = new Client({ ...pool.address(), token: armToken });
  for (const headers of [{}, { 'x-trivet-relay': 'a guess' }]) {
    expect((await stray.call('GET', '/keys', undefined, headers)).status).toBe(401);
  }

  // The control plane stays reachable behind a closed data plane.
  await patch({ publicNetworkAccess: 'Disabled' });
  expect((await put('behind')).status).toBe(200);
  const listed = await arm('GET', `${hsm()}/keys`);
  expect((at(listed.body, 'value') as { name: string }[]).map(({ name }) => name)).toEqual([
    'behind',
    'through',
  ]);
  await patch({ publicNetworkAccess: 'Enabled' });

  pool.command('partition', 'kill', '0');
  await until('a key is made through the others', async () => (await put('after')).status === 200);
  await pool.inSync();
  expect((await data.call('PATCH', SETTING, { value: 'false' })).status).toBe(200);
  expect((await arm('GET', `${hsm()}/keys/through`)).status).toBe(403);
});
