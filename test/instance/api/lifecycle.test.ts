// Backup, restore, rotation and settings over REST.
import { createHmac } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { addDuration, parseDuration } from '../../../src/values/duration.js';
import { Schedule } from '../../../src/instance/hsm/schedule.js';
import { pino } from 'pino';
import { Served, textOf, tokenFor, type Answer } from './served.js';

const DAY = 86_400;

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(() => served.stop());

const post = (path: string, body?: unknown) => served.ask('POST', path, { body });
const put = (path: string, body: unknown) => served.ask('PUT', path, { body });

async function create(name: string, body: object = { kty: 'EC' }): Promise<Answer> {
  const answer = await post(`/keys/${name}/create`, body);
  expect(answer.status).toBe(200);
  return answer;
}

function message(answer: Answer): string {
  return textOf(answer.json['error']?.['message']).replace(/ \(Activity ID: [^)]*\)$/, '');
}

function code(answer: Answer): string {
  return textOf(answer.json['error']?.['code']);
}

async function remove(name: string): Promise<void> {
  await served.ask('DELETE', `/keys/${name}`);
  expect((await served.ask('DELETE', `/deletedkeys/${name}`)).status).toBe(204);
}

describe('backup and restore', () => {
  it('bring back every version with its attributes, tags and policy', async () => {
    await create('b', { kty: 'EC', tags: { a: 'b' }, attributes: { exp: 2_000_000_000 } });
    const policy = { attributes: { expiryTime: 'P90D' }, lifetimeActions: [] };
    await put('/keys/b/rotationpolicy', policy);
    await post('/keys/b/rotate');
    await served.ask('PATCH', '/keys/b', { body: { attributes: { enabled: false }, key_ops: ['sign'] } });
    const before = await served.ask('GET', '/keys/b');
    const versions = await served.ask('GET', '/keys/b/versions');
    const set = await served.ask('GET', '/keys/b/rotationpolicy');
    const { json } = await post('/keys/b/backup');
    await remove('b');
    const restored = await post('/keys/restore', { value: json['value'] });
    expect([restored.status, restored.text]).toEqual([200, before.text]);
    expect((await served.ask('GET', '/keys/b')).text).toBe(before.text);
    expect((await served.ask('GET', '/keys/b/versions')).text).toBe(versions.text);
    expect((await served.ask('GET', '/keys/b/rotationpolicy')).text).toBe(set.text);
  });

  it('the backup is a compact JWE with the header of the service', async () => {
    await create('jwe');
    const { json, status } = await post('/keys/jwe/backup');
    expect(status).toBe(200);
    const text = Buffer.from(textOf(json['value']), 'base64url').toString();
    expect(decodeProtectedHeader(text)).toEqual({
      alg: 'dir',
      enc: 'A256CBC-HS512',
      kid: 'backup-protection-key',
    });
    expect(Buffer.from(text).toString('base64url')).toBe(json['value']);
  });

  it('nothing in a backup can be changed, and what is none is refused in the same words', async () => {
    await create('forged');
    const { json } = await post('/keys/forged/backup');
    await remove('forged');
    const text = Buffer.from(textOf(json['value']), 'base64url').toString();
    const [header, , iv, ciphertext, tag] = text.split('.') as [string, string, string, string, string];
    const flip = (part: string) => (part.startsWith('A') ? 'B' : 'A') + part.slice(1);
    const secret = createHmac('sha512', 'internal/backup-protection').update('another purpose').digest();
    const foreign = await new CompactEncrypt(Buffer.from('{}'))
      .setProtectedHeader({ alg: 'dir', enc: 'A256CBC-HS512', kid: 'backup-protection-key' })
      .encrypt(secret);
    const forgeries = [
      [header, '', flip(iv), ciphertext, tag].join('.'),
      [header, '', iv, flip(ciphertext), tag].join('.'),
      [header, '', iv, ciphertext, flip(tag)].join('.'),
      [Buffer.from('{"alg":"dir","enc":"A128GCM"}').toString('base64url'), '', iv, ciphertext, tag].join('.'),
      [Buffer.from('{"alg":"none"}').toString('base64url'), '', iv, ciphertext, tag].join('.'),
      foreign,
      text.slice(0, -1),
      'garbage',
      '....',
    ];
    for (const forgery of forgeries) {
      const answer = await post('/keys/restore', { value: Buffer.from(forgery).toString('base64url') });
      expect([answer.status, code(answer), message(answer)]).toEqual([
        400,
        'MalformedBackupBlob',
        'Backup blob belongs to a different crypto domain and cannot be used with this instance.',
      ]);
    }
    expect((await post('/keys/restore', { value: json['value'] })).status).toBe(200);
  });

  it('a backup shows no key material to whoever has the backup key', async () => {
    await create('blind', { kty: 'oct' });
    const { json } = await post('/keys/blind/backup');
    const secret = createHmac('sha512', 'internal/backup-protection').update('trivet key backup').digest();
    const text = Buffer.from(textOf(json['value']), 'base64url').toString();
    const { plaintext } = await compactDecrypt(text, secret);
    const key = [...served.hsm.fake.keys].find(([id]) => id.startsWith('blind/'))?.[1];
    expect(Buffer.from(plaintext).includes(key?.export() ?? '')).toBe(false);
  });

  it('a name that is taken, by a live key or a deleted one, is refused', async () => {
    await create('taken');
    const { json } = await post('/keys/taken/backup');
    const live = await post('/keys/restore', { value: json['value'] });
    expect([live.status, code(live)]).toEqual([409, 'Conflict']);
    await served.ask('DELETE', '/keys/taken');
    const deleted = await post('/keys/restore', { value: json['value'] });
    expect([deleted.status, textOf(deleted.json['error']?.['innererror']?.['code'])]).toEqual([
      409,
      'ObjectIsDeletedButRecoverable',
    ]);
  });

  it('a backup of an unknown key is 404, and a body may be larger than elsewhere', async () => {
    const answer = await post('/keys/nowhere/backup');
    expect([answer.status, code(answer)]).toEqual([404, 'KeyNotFound']);
    const large = await post('/keys/restore', { value: 'A'.repeat(1_000_000) });
    expect([large.status, code(large)]).toEqual([400, 'MalformedBackupBlob']);
    expect((await post('/keys/restore', { value: 'A'.repeat(13_000_000) })).status).toBe(413);
  });

  it('a backup is not read of a caller who may not restore', async () => {
    const raw = Buffer.from('{"value":');
    const token = await tokenFor(served.hsm, { oid: '99999999-0000-4000-8000-000000000000' });
    expect((await served.ask('POST', '/keys/restore', { raw, token })).status).toBe(403);
    expect((await served.ask('POST', '/keys/restore', { raw })).status).toBe(400);
  });
});

describe('rotation policies', () => {
  const after = (timeAfterCreate: string) => ({ action: { type: 'Rotate' }, trigger: { timeAfterCreate } });
  const before = (timeBeforeExpiry: string) => ({
    action: { type: 'rotate' },
    trigger: { timeBeforeExpiry },
  });

  beforeAll(() => create('r'));

  it('come back as they were set, in the shape of the service', async () => {
    const body = { attributes: { expiryTime: 'P90D' }, lifetimeActions: [{ ...after('P30D') }] };
    const now = served.hsm.now();
    const answer = await put('/keys/r/rotationpolicy', body);
    expect([answer.status, answer.text]).toEqual([
      200,
      `{"attributes":{"created":${now},"expiryTime":"P90D","updated":${now}},"id":"keys/r/rotationpolicy",` +
        '"lifetimeActions":[{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P30D"}}]}',
    ]);
    expect((await served.ask('GET', '/keys/r/rotationpolicy')).text).toBe(answer.text);
  });

  it('nulls that clients send are left out', async () => {
    const trigger = { timeAfterCreate: 'P28D', timeBeforeExpiry: null };
    const body = {
      attributes: { expiryTime: null },
      lifetimeActions: [{ action: { type: 'rotate' }, trigger }],
    };
    const { json } = await put('/keys/r/rotationpolicy', body);
    expect(json['lifetimeActions']).toEqual([
      { action: { type: 'rotate' }, trigger: { timeAfterCreate: 'P28D' } },
    ]);
  });

  it('a blank one removes what was set; then there is none', async () => {
    const blank = await put('/keys/r/rotationpolicy', { lifetimeActions: [], attributes: {} });
    expect([blank.status, blank.text]).toEqual([
      200,
      '{"attributes":{},"id":"keys/r/rotationpolicy","lifetimeActions":[]}',
    ]);
    const none = await served.ask('GET', '/keys/r/rotationpolicy');
    expect([none.status, code(none)]).toEqual([404, 'KeyNotFound']);
    expect(message(none)).toMatch(/^Key not found: https:\/\/[^ ]*\/keys\/r\/rotationpolicy$/);
  });

  it.each([
    ['an expiry below 28 days', { attributes: { expiryTime: 'P27D' } }],
    ['an expiry that is no duration', { attributes: { expiryTime: '90 days' } }],
    ['a trigger below 28 days', { lifetimeActions: [after('P27D')] }],
    ['a trigger that is no duration', { lifetimeActions: [after('soon')] }],
    [
      'two triggers in one action',
      {
        lifetimeActions: [
          { ...after('P30D'), trigger: { timeAfterCreate: 'P30D', timeBeforeExpiry: 'P30D' } },
        ],
      },
    ],
    ['no trigger', { lifetimeActions: [{ action: { type: 'rotate' }, trigger: {} }] }],
    ['two actions of one kind', { lifetimeActions: [after('P30D'), after('P60D')] }],
    ['notification', { lifetimeActions: [{ ...after('P30D'), action: { type: 'Notify' } }] }],
    ['a time before an expiry that is not set', { lifetimeActions: [before('P30D')] }],
    ['less than 28 days left', { attributes: { expiryTime: 'P56D' }, lifetimeActions: [before('P29D')] }],
    ['three actions', { lifetimeActions: [after('P30D'), before('P30D'), after('P31D')] }],
  ])('with %s is refused', async (_what, body) => {
    const answer = await put('/keys/r/rotationpolicy', body);
    expect([answer.status, code(answer)]).toEqual([400, 'BadParameter']);
    expect((await served.ask('GET', '/keys/r/rotationpolicy')).status).toBe(404);
  });

  it('28 days are enough, before an expiry too', async () => {
    for (const body of [
      { attributes: { expiryTime: 'P28D' } },
      { attributes: { expiryTime: 'P56D' }, lifetimeActions: [before('P28D')] },
      { attributes: { expiryTime: 'P1Y' }, lifetimeActions: [after('P28D'), before('P1M')] },
    ]) {
      expect((await put('/keys/r/rotationpolicy', body)).status).toBe(200);
    }
  });

  it('of an unknown key is 404', async () => {
    expect((await put('/keys/nowhere/rotationpolicy', { attributes: { expiryTime: 'P90D' } })).status).toBe(
      404,
    );
    expect((await served.ask('GET', '/keys/nowhere/rotationpolicy')).status).toBe(404);
  });
});

describe('rotation', () => {
  it('on demand makes a version like the newest, valid as long as the policy says', async () => {
    await create('d', { kty: 'RSA', key_ops: ['sign', 'verify'], tags: { a: 'b' }, attributes: { nbf: 1 } });
    await put('/keys/d/rotationpolicy', { attributes: { expiryTime: 'P90D' } });
    const old = await served.ask('GET', '/keys/d');
    const { status, json } = await post('/keys/d/rotate');
    expect(status).toBe(200);
    expect(json['key']?.['kid']).not.toBe(old.json['key']?.['kid']);
    expect(json).toMatchObject({
      attributes: { enabled: true, created: served.hsm.now(), exp: served.hsm.now() + 90 * DAY },
      key: { key_ops: ['sign', 'verify'], kty: 'RSA-HSM' },
      tags: { a: 'b' },
    });
    expect(json['attributes']).not.toHaveProperty('nbf');
    expect((await served.ask('GET', '/keys/d')).text).toBe(JSON.stringify(json));
  });

  it('needs a policy, and a key', async () => {
    await create('bare');
    const bare = await post('/keys/bare/rotate');
    expect([bare.status, code(bare)]).toEqual([400, 'BadParameter']);
    const none = await post('/keys/nowhere/rotate');
    expect([none.status, code(none)]).toEqual([404, 'KeyNotFound']);
    expect(message(none)).toMatch(/^Key not found: Key not found: https:\/\/[^ ]*\/keys\/nowhere$/);
  });

  it('by policy happens when it is due, and once', async () => {
    await create('auto');
    const body = { lifetimeActions: [{ action: { type: 'rotate' }, trigger: { timeAfterCreate: 'P1M' } }] };
    await put('/keys/auto/rotationpolicy', body);
    const schedule = new Schedule(served.hsm, () => true, pino({ level: 'silent' }));
    const count = () => served.hsm.state.get('keys', 'auto')?.versions;
    const month = parseDuration('P1M');
    if (!month) throw new Error('no duration');
    const start = served.hsm.clock;
    served.hsm.clock = addDuration(start, month) - 1;
    await schedule.look();
    expect(count()).toHaveLength(1);
    served.hsm.clock += 1;
    await schedule.look();
    await schedule.look();
    expect(count()).toHaveLength(2);
    // A pool that was down for long rotates once when it is back.
    served.hsm.clock += 400 * DAY;
    await schedule.look();
    await schedule.look();
    expect(count()).toHaveLength(3);
    served.hsm.clock = start;
  });
});

describe('what a version of the API knows', () => {
  it('key_size of symmetric keys is shown from 2026-01-01-preview on, and of no other keys', async () => {
    await create('sized', { kty: 'oct', key_size: 192 });
    await create('unsized', { kty: 'EC' });
    const shown = async (name: string, version: string) =>
      (await served.ask('GET', `/keys/${name}?api-version=${version}`)).json['attributes']?.['key_size'];
    expect(await shown('sized', '2026-01-01-preview')).toBe(192);
    expect(await shown('sized', '2026-04-01')).toBe(192);
    for (const version of ['7.0', '7.6', '2025-07-01']) expect(await shown('sized', version)).toBeUndefined();
    expect(await shown('unsized', '2026-04-01')).toBeUndefined();
  });
});

describe('settings', () => {
  const NAME = 'AllowKeyManagementOperationsThroughARM';

  it('are texts, listed and read by name', async () => {
    const one = `{"name":"${NAME}","type":"boolean","value":"false"}`;
    expect((await served.ask('GET', '/settings')).text).toBe(`{"settings":[${one}]}`);
    expect((await served.ask('GET', `/settings/${NAME}`)).text).toBe(one);
  });

  it('are changed, and stay so', async () => {
    const changed = await served.ask('PATCH', `/settings/${NAME}`, { body: { value: 'true' } });
    expect([changed.status, changed.json['value']]).toEqual([200, 'true']);
    expect((await served.ask('GET', `/settings/${NAME}`)).json['value']).toBe('true');
    await served.ask('PATCH', `/settings/${NAME}`, { body: { value: 'False' } });
    expect((await served.ask('GET', `/settings/${NAME}`)).json['value']).toBe('false');
  });

  it('that do not exist are 404, and values that are none 400', async () => {
    expect((await served.ask('GET', '/settings/Other')).status).toBe(404);
    expect((await served.ask('PATCH', '/settings/Other', { body: { value: 'true' } })).status).toBe(404);
    for (const value of ['', 'yes', '1']) {
      expect((await served.ask('PATCH', `/settings/${NAME}`, { body: { value } })).status).toBe(400);
    }
    expect((await served.ask('PATCH', `/settings/${NAME}`, { body: { value: true } })).status).toBe(400);
  });
});
