// What the control plane passes on: whose token counts, what the setting does, and that a key is made once.
import { ADMINISTRATOR, CRYPTO_OFFICER } from '../../../src/instance/model/rbac/built-in-roles.js';
import { assign } from '../../../src/instance/model/rbac/assign.js';
import { newUuid } from '../../../src/values/ids.js';
import { OPERATOR, STRANGER } from '../hsm/fake-hsm.js';
import { RELAY, Served, textOf, tokenFor, type Answer } from './served.js';

const SETTING = '/settings/AllowKeyManagementOperationsThroughARM';
const ARM = RELAY.audiences[0];

let served: Served;
let token: string;

beforeEach(async () => {
  served = await Served.start();
  token = await tokenFor(served.hsm, { aud: ARM });
  await allow('true');
});
afterEach(() => served.stop());

const allow = (value: string): Promise<Answer> => served.ask('PATCH', SETTING, { body: { value } });

/** As the fabric asks on behalf of the bearer of a token. */
function relayed(method: string, path: string, body?: unknown, bearer = token): Promise<Answer> {
  const headers = { 'x-trivet-relay': RELAY.secret };
  return served.ask(method, path, { token: bearer, headers, ...(body === undefined ? {} : { body }) });
}

const create = (name: string, body: object = { kty: 'EC' }, bearer = token): Promise<Answer> =>
  relayed('POST', `/keys/${name}/create`, body, bearer);
const kidOf = ({ json }: Answer): string => textOf(json['key']?.['kid']);
const innerOf = ({ json }: Answer): string => textOf(json['error']?.['innererror']?.['code']);
const codeOf = ({ json }: Answer): string => textOf(json['error']?.['code']);
const versionsMade = (): number =>
  served.hsm.submitted.filter(({ kind }) => kind === 'KeyVersionCreated').length;

describe('through ARM', () => {
  it('a key is made, shown and listed', async () => {
    const made = await create('k', { kty: 'RSA', key_size: 2048, tags: { a: 'b' } });
    expect(made.status).toBe(200);
    const [name, version = ''] = kidOf(made).split('/').slice(-2);
    expect(name).toBe('k');
    for (const path of ['/keys/k', `/keys/k/${version}`]) {
      expect((await relayed('GET', path)).json).toEqual(made.json);
    }
    expect((await relayed('GET', '/keys')).json['value']).toHaveLength(1);
    expect((await relayed('GET', '/keys/k/versions')).json['value']).toHaveLength(1);
    // It is the same key in the data plane.
    expect((await served.ask('GET', '/keys/k')).json).toEqual(made.json);
  });

  it('a key that is there is given as it is, and gets no version', async () => {
    const first = await create('k', { kty: 'RSA', key_size: 2048 });
    const again = await create('k', { kty: 'EC', tags: { a: 'b' } });
    expect([again.status, again.json]).toEqual([200, first.json]);
    expect(versionsMade()).toBe(1);
  });

  it('of wishes at once one makes the key, and all get that one', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => create('k')));
    expect(all.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(new Set(all.map(kidOf)).size).toBe(1);
    expect((await served.ask('GET', '/keys/k/versions')).json['value']).toHaveLength(1);
  });

  it('a key that is made meanwhile in the data plane is given', async () => {
    const slow = new Promise<void>((resolve) => setImmediate(resolve));
    served.hsm.undecided = slow;
    const [through, direct] = await Promise.all([
      create('k'),
      served.ask('POST', '/keys/k/create', { body: { kty: 'EC' } }),
    ]);
    expect([through.status, direct.status]).toEqual([200, 200]);
    const { length } = (await served.ask('GET', '/keys/k/versions')).json['value'] as unknown as unknown[];
    // The data plane may have come second, which is a version of its own; this way never makes one.
    expect(length).toBeLessThanOrEqual(2);
    expect(served.hsm.submitted.filter((mutation) => 'onlyNew' in mutation).length).toBeLessThanOrEqual(1);
  });

  it('a deleted key keeps its name', async () => {
    await create('k');
    await served.ask('DELETE', '/keys/k');
    const refused = await create('k');
    expect([refused.status, innerOf(refused)]).toEqual([409, 'ObjectIsDeletedButRecoverable']);
  });

  it('a rotation policy comes with the key, and a bad one makes none', async () => {
    const trigger = { timeAfterCreate: 'P30D' };
    const policy = (expiryTime: string): object => ({
      attributes: { expiryTime },
      lifetimeActions: [{ action: { type: 'rotate' }, trigger }],
    });
    const refused = await create('k', { kty: 'EC', rotation_policy: policy('P1D') });
    expect([refused.status, versionsMade()]).toEqual([400, 0]);
    expect((await create('k', { kty: 'EC', rotation_policy: policy('P90D') })).status).toBe(200);
    const { json } = await served.ask('GET', '/keys/k/rotationpolicy');
    expect(json['attributes']).toMatchObject({ expiryTime: 'P90D' });
    expect(json['lifetimeActions']).toEqual([{ action: { type: 'rotate' }, trigger }]);
    // The one that is there stays as it is.
    expect((await create('k', { kty: 'EC', rotation_policy: policy('P60D') })).status).toBe(200);
    expect((await served.ask('GET', '/keys/k/rotationpolicy')).json).toEqual(json);
  });

  it('while the setting is false everything is refused, whoever asks', async () => {
    await create('k');
    await allow('false');
    for (const answer of [
      await create('other'),
      await create('k'),
      await relayed('GET', '/keys'),
      await relayed('GET', '/keys/k'),
      await relayed('GET', '/keys/k/versions'),
    ]) {
      expect([answer.status, codeOf(answer), innerOf(answer)]).toEqual([403, 'Forbidden', 'ArmNotAllowed']);
      expect(answer.text).toContain('AllowKeyManagementOperationsThroughARM');
    }
    expect(versionsMade()).toBe(1);
    await allow('true');
    expect((await relayed('GET', '/keys/k')).status).toBe(200);
  });

  it('the caller needs her role in the HSM', async () => {
    await create('k');
    const stranger = await tokenFor(served.hsm, { aud: ARM, oid: STRANGER });
    for (const answer of [
      await create('other', { kty: 'EC' }, stranger),
      await create('k', { kty: 'EC' }, stranger),
      await relayed('GET', '/keys', undefined, stranger),
      await relayed('GET', '/keys/k', undefined, stranger),
      await relayed('GET', '/keys/k/versions', undefined, stranger),
    ]) {
      expect([answer.status, codeOf(answer)]).toEqual([403, 'AccessDenied']);
    }
    // An Administrator gives roles and makes no keys; an Officer makes none either.
    const roles = [ADMINISTRATOR, CRYPTO_OFFICER];
    served.hsm.state.apply(
      assign(
        served.hsm.state,
        roles.map((role) => [STRANGER, role] as const),
        roles.map(() => newUuid()),
      ),
    );
    expect((await create('other', { kty: 'EC' }, stranger)).status).toBe(403);
    expect(versionsMade()).toBe(1);
  });

  it.each([
    ['of the data plane', undefined],
    ['of another service', 'https://vault.azure.net'],
    ['whose audience begins alike', `${ARM}.example`],
    ['of the HSM itself', 'https://managedhsm.azure.net'],
  ])('a token %s is not believed', async (_, aud) => {
    const bearer = aud === undefined ? served.token : await tokenFor(served.hsm, { aud });
    expect((await relayed('GET', '/keys', undefined, bearer)).status).toBe(401);
    expect((await create('k', { kty: 'EC' }, bearer)).status).toBe(401);
  });

  it('a token of another tenant, or one that has ended, is not believed', async () => {
    const now = served.hsm.now();
    for (const claims of [{ tid: newUuid() }, { exp: now - 1 }, { nbf: now + 3_600 }]) {
      const bearer = await tokenFor(served.hsm, { aud: ARM, ...claims });
      expect((await relayed('GET', '/keys', undefined, bearer)).status).toBe(401);
    }
  });

  it('a token for the control plane opens nothing without the word of the fabric', async () => {
    await create('k');
    for (const [method, path, body] of [
      ['GET', '/keys', undefined],
      ['GET', '/keys/k', undefined],
      ['POST', '/keys/k/create', { kty: 'EC' }],
      ['POST', '/keys/k/sign', { alg: 'ES256', value: 'AAAA' }],
    ] as const) {
      for (const headers of [{}, { 'x-trivet-relay': 'a guess' }]) {
        const { status } = await served.ask(method, path, { token, headers, ...(body && { body }) });
        expect(status).toBe(401);
      }
    }
  });

  it.each([
    ['POST', '/keys/k/sign'],
    ['PATCH', '/keys/k'],
    ['DELETE', '/keys/k'],
    ['PUT', '/keys/k'],
    ['POST', '/keys/k/rotate'],
    ['POST', '/keys/k/backup'],
    ['GET', '/deletedkeys'],
    ['GET', '/settings'],
    ['POST', '/rng'],
    ['GET', '/trivet/openapi.json'],
    ['GET', '/providers/Microsoft.Authorization/roleAssignments'],
    ['POST', '/securitydomain/download'],
  ])('%s %s is not passed on', async (method, path) => {
    await create('k');
    const { status } = await relayed(method, path, method === 'GET' ? undefined : {});
    expect([400, 404, 405]).toContain(status);
    expect((await served.ask('GET', '/keys/k')).status).toBe(200);
  });

  it('is recorded as what it is, with the caller', async () => {
    const before = served.audit.records.length;
    await create('k');
    await relayed('GET', '/keys/k');
    const records = served.audit.records.slice(before);
    expect(records.map(({ operationName }) => operationName)).toEqual(['KeyCreate', 'KeyGet']);
    expect(records.map(({ identity }) => JSON.stringify(identity).includes(OPERATOR))).toEqual([true, true]);
  });
});
