// A right that was taken away counts for nothing from the moment its removal is acknowledged: not at any instance, not
// for a request whose body is still on its way, not for a key that is still being made. On a real pool, over sockets.
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { AttestationService, DISCOVERY } from '../instance/hsm/attestation-service.js';
import { Access, assignment, ASSIGNMENTS, DEFINITIONS, expectDenied, roleNamed, table } from './access.js';
import type { Person } from './access.js';
import { Dice, seedOf, TestPool, until, type Answer } from './pool.js';
import { answerIn } from './raw-http.js';
import { base64url } from './witness.js';

const SETTING = '/settings/AllowKeyManagementOperationsThroughARM';
const DIGEST = base64url(randomBytes(32));

let pool: TestPool;
let service: AttestationService;
let directory: string;
let access: Access;

beforeAll(async () => {
  service = await AttestationService.start();
  directory = mkdtempSync(join(tmpdir(), 'trivet-revocation-'));
  const ca = join(directory, 'ca.pem');
  writeFileSync(ca, service.ca);
  pool = await TestPool.start(undefined, ['--attestor', `${service.issuer},${ca}`]);
  access = await Access.of(pool);
  await access.must(0, 'POST', '/keys/k/create', { kty: 'EC' });
  await access.must(0, 'PUT', '/keys/k/rotationpolicy', { attributes: { expiryTime: 'P90D' } });
}, 120_000);
afterAll(async () => {
  access.close();
  await pool.remove();
  await service.stop();
  rmSync(directory, { recursive: true });
});

/** Somebody who holds a role at `/`, until it is taken back. */
interface Held {
  readonly person: Person;
  /** Resolves when an instance has acknowledged it. */
  readonly revoke: (instance: number) => Promise<unknown>;
  /** Removes what the revocation leaves in place. */
  readonly clear: () => Promise<unknown>;
}

async function byAssignment(role: string, person: Person, principalId: string): Promise<Held> {
  const path = await access.assign(0, '/', role, principalId);
  return {
    person,
    revoke: (instance) => access.must(instance, 'DELETE', path),
    clear: () => access.ask(0, 'DELETE', path),
  };
}

async function byDefinition(
  role: string,
  revoke: (instance: number, definition: string) => Promise<unknown>,
): Promise<Held> {
  const actions = table.roles.find(({ name }) => name === role)?.dataActions ?? [];
  const properties = { permissions: [{ dataActions: actions }] };
  const definition = randomUUID();
  await access.must(0, 'PUT', `${DEFINITIONS}/${definition}`, { properties });
  const person = access.person();
  const held = await byAssignment(definition, person, person.objectId);
  return {
    person,
    revoke: (instance) => revoke(instance, definition),
    clear: async () => {
      await held.clear();
      await access.ask(0, 'DELETE', `${DEFINITIONS}/${definition}`);
    },
  };
}

type Way = readonly [how: string, hold: (role: string) => Promise<Held>];

/** The ways to lose a right that a role gave. */
const ways: readonly Way[] = [
  [
    'the role assignment is deleted',
    (role) => {
      const person = access.person();
      return byAssignment(role, person, person.objectId);
    },
  ],
  [
    "the group's role assignment is deleted",
    (role) => {
      const group = randomUUID();
      return byAssignment(role, access.person([randomUUID(), group]), group);
    },
  ],
  [
    'the role is written anew with less',
    (role) => byDefinition(role, (n, name) => access.define(n, [], name)),
  ],
  [
    'the role is deleted',
    (role) => byDefinition(role, (n, name) => access.must(n, 'DELETE', `${DEFINITIONS}/${name}`)),
  ],
];

type Request = readonly [method: string, path: string, body: unknown];

/** A request whose body, if it has one, arrives in two parts, over a connection to one instance. */
class Trickle {
  #heard = Buffer.alloc(0);

  private constructor(
    private readonly socket: TLSSocket,
    private readonly rest: string,
  ) {
    socket.on('data', (chunk: Buffer) => (this.#heard = Buffer.concat([this.#heard, chunk])));
    socket.on('error', () => undefined);
    // The second half must not wait until the first has been confirmed.
    socket.setNoDelay(true);
  }

  /** Resolves when the instance has read the head, and half of the body is on its way. */
  static async begin(instance: number, { token }: Person, [method, path, body]: Request): Promise<Trickle> {
    const json = body === undefined ? '' : JSON.stringify(body);
    const half = json.length >> 1;
    const trickle = new Trickle(await pool.connectTo(instance), json.slice(half));
    const head = [
      `${method} ${path}?api-version=7.6 HTTP/1.1`,
      `Host: ${pool.uri.host}`,
      `Authorization: Bearer ${token}`,
      `Content-Length: ${Buffer.byteLength(json)}`,
      // The answer to it tells that the head has been read.
      ...(json === '' ? [] : ['Expect: 100-continue']),
    ];
    trickle.socket.write(`${head.join('\r\n')}\r\n\r\n`);
    if (json === '') return trickle;
    await until('the head has been read', () => trickle.#heard.includes('HTTP/1.1 100 '));
    trickle.socket.write(json.slice(0, half));
    return trickle;
  }

  /** Sends the rest; resolves when it has left. */
  send(): Promise<void> {
    return new Promise((resolve) => this.socket.write(this.rest, () => resolve()));
  }

  get isAnswered(): boolean {
    return answerIn(this.#heard, false) !== undefined;
  }

  async answer(): Promise<Pick<Answer, 'status' | 'headers' | 'body'>> {
    await until('it is answered', () => this.isAnswered || this.socket.destroyed);
    const { status, headers, body } = answerIn(this.#heard, false) ?? { status: 0, headers: [], body: '""' };
    this.socket.destroy();
    return { status, headers: Object.fromEntries(headers), body: JSON.parse(body) as unknown };
  }
}

/** What a path shows at each instance. */
async function seen(path: string): Promise<unknown[]> {
  const answers = await Promise.all([0, 1, 2].map((instance) => access.ask(instance, 'GET', path)));
  return answers.map(({ status, body }) => [status, status === 200 ? body : undefined]);
}

interface Write {
  readonly what: string;
  readonly role: string;
  readonly action: string;
  readonly scope: string;
  /** Method, path and body; a new name each time. */
  readonly request: () => Request;
}

const administrators = assignment(roleNamed('Administrator'), randomUUID());
const wider = {
  properties: { permissions: [{ dataActions: ['Microsoft.KeyVault/managedHsm/keys/sign/action'] }] },
};

const writes: readonly Write[] = [
  {
    what: 'an assignment at /',
    ...{ role: 'Administrator', action: 'roleAssignments/write/action', scope: '/' },
    request: () => ['PUT', `${ASSIGNMENTS}/${randomUUID()}`, administrators],
  },
  {
    what: 'an assignment at a key',
    ...{ role: 'Policy Administrator', action: 'roleAssignments/write/action', scope: '/keys/k' },
    request: () => ['PUT', `/keys/k${ASSIGNMENTS}/${randomUUID()}`, administrators],
  },
  {
    what: 'a role definition',
    ...{ role: 'Crypto Officer', action: 'roleDefinitions/write/action', scope: '/' },
    request: () => ['PUT', `${DEFINITIONS}/${randomUUID()}`, wider],
  },
  {
    what: 'a setting',
    ...{ role: 'Administrator', action: 'settings/write/action', scope: '/' },
    request: () => ['PATCH', SETTING, { value: 'true' }],
  },
  {
    what: 'a new key',
    ...{ role: 'Crypto User', action: 'keys/create', scope: '/keys/late' },
    request: () => ['POST', '/keys/late/create', { kty: 'EC' }],
  },
  {
    what: 'an imported key',
    ...{ role: 'Crypto User', action: 'keys/import/action', scope: '/keys/late' },
    request: () => ['PUT', '/keys/late', { key: { kty: 'oct', k: base64url(randomBytes(16)) } }],
  },
  {
    what: 'an update of a key',
    ...{ role: 'Crypto User', action: 'keys/write/action', scope: '/keys/k' },
    request: () => ['PATCH', '/keys/k', { tags: { at: randomUUID() } }],
  },
  {
    what: 'a rotation policy',
    ...{ role: 'Crypto User', action: 'keys/write/action', scope: '/keys/k' },
    request: () => ['PUT', '/keys/k/rotationpolicy', { attributes: { expiryTime: 'P60D' } }],
  },
  {
    what: 'a signature',
    ...{ role: 'Crypto User', action: 'keys/sign/action', scope: '/keys/k' },
    request: () => ['POST', '/keys/k/sign', { alg: 'ES256', value: DIGEST }],
  },
];

describe('who is revoked while the body of the request is still trickling in', () => {
  let turn = 0;

  test.each(writes)('does not get $what through', async ({ role, action, scope, request }) => {
    for (const [how, hold] of ways) {
      const instance = turn % 3;
      const revoker = (turn + 1 + (Math.floor(turn / 3) % 2)) % 3;
      turn += 1;
      const held = await hold(roleNamed(role));
      const wish = request();
      const shown = wish[1].replace(/\/(create|sign)$/, '');
      const before = await seen(shown);
      const trickle = await Trickle.begin(instance, held.person, wish);
      await held.revoke(revoker);
      expect(trickle.isAnswered).toBe(false);
      await trickle.send();
      expectDenied((await trickle.answer()) as Answer, action, scope, [how, instance, revoker]);
      expect(await seen(shown)).toEqual(before);
      await held.clear();
    }
  });

  test.each(writes)('would have got $what through', async ({ role, request }) => {
    const [, hold] = ways[0] as Way;
    const held = await hold(roleNamed(role));
    const wish = request();
    const trickle = await Trickle.begin(turn % 3, held.person, wish);
    await trickle.send();
    expect([200, 201]).toContain((await trickle.answer()).status);
    await held.clear();
    if (wish[1].includes(ASSIGNMENTS)) await access.must(0, 'DELETE', wish[1]);
  });
});

describe('who is revoked while a slow key is being made', () => {
  /** Resolves when the instance has begun with what was sent to it before. */
  const begun = async (instance: number, person: Person): Promise<void> => {
    const { status } = await access.ask(instance, 'POST', '/rng', { count: 1 }, person);
    expect(status).toBe(200);
  };

  const slow = { kty: 'RSA', key_size: 4096 };

  test.each<[string, string, Request]>([
    ['a new key', 'keys/create', ['POST', '/keys/slow/create', slow]],
    ['a rotated key', 'keys/rotate/action', ['POST', '/keys/slow/rotate', undefined]],
  ])('does not get %s', async (_what, action, request) => {
    await access.must(0, 'POST', '/keys/slow/create', slow);
    await access.must(0, 'PUT', '/keys/slow/rotationpolicy', { attributes: { expiryTime: 'P90D' } });
    const versions = '/keys/slow/versions';
    let conclusive = 0;
    for (const [turn, [how, hold]] of [...ways, ...ways].entries()) {
      if (conclusive === ways.length) break;
      const instance = turn % 3;
      const held = await hold(roleNamed('Crypto User'));
      const before = await seen(versions);
      const trickle = await Trickle.begin(instance, held.person, request);
      await trickle.send();
      await begun(instance, held.person);
      await held.revoke((instance + 1) % 3);
      const wasPending = !trickle.isAnswered;
      const after = await seen(versions);
      const answer = await trickle.answer();
      // Where the key was quicker than the revocation, it was made while its maker might.
      if (answer.status === 200) expect([wasPending, after]).not.toEqual([true, before]);
      else {
        expectDenied(answer as Answer, action, '/keys/slow', how);
        expect(await seen(versions)).toEqual(before);
        if (wasPending) conclusive += 1;
      }
      await held.clear();
    }
    expect(conclusive).toBe(ways.length);
  });

  test('does not get a released key while the attestation service is being asked', async () => {
    const rule = { authority: service.issuer, allOf: [{ claim: 'code', equals: 'good' }] };
    const data = base64url(Buffer.from(JSON.stringify({ version: '1.0.0', anyOf: [rule] })));
    await access.must(0, 'POST', '/keys/leaving/create', {
      ...{ kty: 'EC', attributes: { exportable: true }, release_policy: { data } },
    });
    const [, hold] = ways[0] as Way;
    const held = await hold(roleNamed('Crypto Service Release User'));
    let go: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      service.instead.set(DISCOVERY, (request, response) => {
        resolve();
        go = () => {
          service.instead.delete(DISCOVERY);
          service.server.emit('request', request, response);
        };
      });
    });
    const exp = Math.floor(Date.now() / 1_000) + 600;
    const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
    const runtime = { keys: [{ ...jwk, kid: 'enclave', key_ops: ['encrypt'] }] };
    const target = await service.token({ code: 'good', exp, 'x-ms-runtime': runtime });
    const answer = access.ask(1, 'POST', '/keys/leaving/release', { target }, held.person);
    await asked;
    await held.revoke(2);
    go();
    expectDenied(await answer, 'keys/release/action', '/keys/leaving');
  });
});

test('a revoked right is refused by every instance from the moment the revocation is acknowledged', async () => {
  const seed = seedOf('REVOCATION_SEED');
  const dice = new Dice(seed);
  const storm = await pool.clientOfEach();
  const uses: readonly Request[] = [
    ['POST', '/rng', { count: 1 }],
    ['POST', '/keys/k/sign', { alg: 'ES256', value: DIGEST }],
    ['GET', '/keys', undefined],
    ['PATCH', '/keys/k', { tags: { n: '1' } }],
  ];
  try {
    for (let round = 0; round < 40; round += 1) {
      const [how, hold] = dice.pick(ways);
      const revoker = dice.below(3);
      const held = await hold(roleNamed('Crypto User'));
      const headers = { Authorization: `Bearer ${held.person.token}` };
      const where = `seed ${seed}, round ${round}: ${how}, by instance ${revoker}`;
      let acknowledged = Infinity;
      // Each instance is asked all the time, before and after: how each was answered.
      const loops = storm.map((client) => {
        const before: number[] = [];
        const after: number[] = [];
        let warm: () => void = () => undefined;
        const warmed = new Promise<void>((resolve) => (warm = resolve));
        const over = (async () => {
          while (after.length < 4) {
            const [method, path, body] = dice.pick(uses);
            const isLate = performance.now() > acknowledged;
            const { status } = await client.call(method, path, body, headers);
            (isLate ? after : before).push(status);
            warm();
          }
        })();
        return { before, after, warmed, over };
      });
      await Promise.all(loops.map(({ warmed }) => warmed));
      await held.revoke(revoker);
      acknowledged = performance.now();
      const rng = (instance: number) => access.ask(instance, 'POST', '/rng', { count: 1 }, held.person);
      const atOnce = (await Promise.all([0, 1, 2].map(rng))).map(({ status }) => status);
      expect([where, atOnce]).toEqual([where, [403, 403, 403]]);
      for (const { before, after, over } of loops) {
        await over;
        expect([where, before[0], after]).toEqual([where, 200, [403, 403, 403, 403]]);
      }
      await held.clear();
    }
  } finally {
    for (const client of storm) client.close();
  }
});
