// The clients: each asks one instance, over its own address, one request after the other, and writes down what it saw.
// Which key, which operation and which principal is chance from a seed.
import { randomBytes, type KeyObject } from 'node:crypto';
import { at, type Dice } from '../scenarios/pool.js';
import { base64url, codeOf, digestOf, isSignature, publicKeyOf } from '../scenarios/witness.js';
import { ASSIGNMENTS, assignment, roleNamed } from '../scenarios/access.js';
import {
  isKeyRead,
  isRoleRead,
  keyModelFor,
  roleModel,
  VERSIONS_PAGE,
  type KeyCall,
  type KeyResult,
  type KeyState,
  type RoleCall,
  type RoleResult,
  type VersionSeen,
} from './models.js';
import { Record, type Asked, type Outcome } from './record.js';
import type { Site } from './site.js';
import { Wire, type Answered, type Reply } from './wire.js';

/** Keys that are worked on at any time. */
const KEYS = 7;
const PRINCIPALS = 3;
/** Then another name comes in its place. */
const OPERATIONS_MAX = 160;
/** So many changes of unknown outcome make the history of a name wide enough. */
const UNKNOWN_MAX = 6;
const CLIENTS_EACH = 3;
/** A stopped instance answers nobody; who asks gives up. */
const PATIENCE_MS = 4_000;
/** Before the next try after a refusal that comes at once. */
const PAUSE_MS = 30;
const VERSION = 'api-version=7.6';
/** A key that only lives and signs. */
export const STEADY = 'steady';

type KeyRecord = Record<KeyState, KeyCall, KeyResult>;
type RoleRecord = Record<boolean, RoleCall, RoleResult>;

const KEY_KIND = { modelFor: keyModelFor, isRead: isKeyRead };
const ROLE_KIND = { modelFor: () => roleModel, isRead: isRoleRead };

/** One name, and the public keys of its versions as they were shown first. */
class Key {
  readonly record: KeyRecord;
  readonly publics = new Map<string, { readonly x: unknown; readonly key: KeyObject }>();

  constructor(readonly name: string) {
    this.record = new Record(`key ${name}`, KEY_KIND);
  }
}

/** Somebody with one role assignment that comes and goes. */
interface Principal {
  readonly objectId: string;
  readonly token: string;
  readonly path: string;
  readonly record: RoleRecord;
}

const CALLS: readonly (readonly [KeyCall['do'], number])[] = [
  ...([
    ['create', 8],
    ['update', 11],
    ['setPolicy', 3],
    ['rotate', 6],
  ] as const),
  ...([
    ['delete', 7],
    ['recover', 9],
    ['purge', 4],
  ] as const),
  ...([
    ['get', 13],
    ['sign', 18],
    ['versions', 9],
    ['getDeleted', 4],
  ] as const),
  ...([
    ['isListed', 5],
    ['isListedDeleted', 3],
  ] as const),
];
const DRAWN = CALLS.flatMap(([what, weight]) => Array.from({ length: weight }, () => what));

export class Load {
  readonly keys: Key[] = [];
  readonly principals: Principal[] = [];
  /** What is wrong beyond what histories tell: signatures, public keys, answers that nobody expects. */
  readonly problems: string[] = [];
  /** Answers by status, and requests without one. */
  readonly counts = new Map<string, number>();
  /** Words of the 500s. */
  readonly failures = new Map<string, number>();
  readonly #present: Key[] = [];
  readonly #presentPrincipals: Principal[] = [];
  #names = 0;
  #marks = 0;
  #over = false;
  #running: Promise<void> | undefined;

  constructor(
    readonly site: Site,
    readonly dice: Dice,
  ) {}

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Makes the key that principals try, and starts the clients. */
  async start(): Promise<void> {
    const first = new Client('setup', 0, this);
    const made = await first.ask('POST', `/keys/${STEADY}/create`, { kty: 'EC' });
    if (made.kind !== 'answered' || made.status !== 200)
      throw new Error(`no first key: ${JSON.stringify(made)}`);
    for (let i = 0; i < KEYS; i += 1) this.#present.push(this.#newKey());
    for (let i = 0; i < PRINCIPALS; i += 1) this.#presentPrincipals.push(this.#newPrincipal());
    const clients = [0, 1, 2].flatMap((instance) =>
      Array.from(
        { length: CLIENTS_EACH },
        (_, i) => new Client(`client ${instance}${'abc'[i] ?? ''}`, instance, this),
      ),
    );
    this.#running = Promise.all(clients.map((client) => this.#work(client))).then(
      () => undefined,
      (error: unknown) => {
        this.#over = true;
        this.problems.push(
          `a client broke down: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
        );
      },
    );
  }

  /** Lets running requests end and starts no more. */
  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async #work(client: Client): Promise<void> {
    while (!this.#over) {
      const swift = await (this.dice.below(6) === 0 ? this.#useRole(client) : this.#useKey(client));
      if (!swift) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    client.close();
  }

  #newKey(): Key {
    const key = new Key(`k${String((this.#names += 1)).padStart(6, '0')}`);
    this.keys.push(key);
    return key;
  }

  #newPrincipal(): Principal {
    const objectId = this.#uuid();
    const name = this.#uuid();
    const principal = {
      ...{ objectId, token: this.site.tokenOf(objectId), path: `/keys${ASSIGNMENTS}/${name}` },
      record: new Record(`assignment ${name} of ${objectId}`, ROLE_KIND),
    };
    this.principals.push(principal);
    return principal;
  }

  #uuid(): string {
    const digits = Array.from({ length: 32 }, () => this.dice.below(16).toString(16)).join('');
    return digits.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
  }

  /** False when there was nobody to ask, or a refusal came at once. */
  async #useKey(client: Client): Promise<boolean> {
    const place = this.dice.below(KEYS);
    let key = this.#present[place];
    if (!key || key.record.operations.length >= OPERATIONS_MAX || key.record.unknown >= UNKNOWN_MAX) {
      key = this.#present[place] = this.#newKey();
    }
    const what = this.dice.pick(DRAWN);
    return what === 'isListed' || what === 'isListedDeleted'
      ? this.#list(client, what)
      : this.askKey(client, key, this.#callOf(what));
  }

  #callOf(what: Exclude<KeyCall['do'], 'isListed' | 'isListedDeleted'>): KeyCall {
    if (what === 'create') return { do: what, mark: `m${(this.#marks += 1)}` };
    if (what !== 'update') return { do: what };
    return { do: what, mark: `m${(this.#marks += 1)}`, enabled: this.dice.below(4) > 0 };
  }

  /** One request about one key. */
  async askKey(client: Client, key: Key, call: KeyCall): Promise<boolean> {
    const message = randomBytes(20);
    const [method, path, body] = requestOf(key.name, call, message);
    const settle = key.record.begin(call, client);
    const reply = await client.ask(method, path, body);
    const outcome = this.#outcome(reply, isKeyRead(call), `${method} ${path}`, (answer) =>
      this.#keyResult(key, call, answer, message),
    );
    settle(outcome);
    return outcome.kind === 'answered';
  }

  #keyResult(key: Key, call: KeyCall, answer: Answered, message: Uint8Array): KeyResult | undefined {
    const { status, body, text } = answer;
    const inner = at(body, 'error', 'innererror', 'code');
    if (status === 404 && codeOf(body) === 'KeyNotFound') return { is: 'notFound' };
    if (status === 409 && inner === 'ObjectIsDeletedButRecoverable') return { is: 'heldByDeleted' };
    if (status === 403 && inner === 'KeyDisabled') return { is: 'disabled' };
    if (status === 400 && call.do === 'rotate' && text.includes('no rotation policy'))
      return { is: 'noPolicy' };
    if (call.do === 'purge' && status === 204) return { is: 'done' };
    if (status !== 200) return undefined;
    if (call.do === 'setPolicy') return { is: 'done' };
    if (call.do === 'sign') {
      const version = versionIn(at(body, 'kid'));
      const known = key.publics.get(version);
      const signature = Buffer.from(String(at(body, 'value')), 'base64url');
      if (known && !isSignature('ES256', known.key, message, signature)) {
        this.problems.push(`key ${key.name}: version ${version} made a signature that is not valid`);
      }
      return { is: 'signed', version };
    }
    if (call.do === 'versions') {
      const all = at(body, 'value') as unknown[];
      return { is: 'versions', all: all.map((item) => seenIn(item, at(item, 'kid'))) };
    }
    return { is: 'version', ...this.#bundle(key, body) };
  }

  #bundle(key: Key, body: unknown): VersionSeen {
    const jwk = at(body, 'key');
    const seen = seenIn(body, at(jwk, 'kid'));
    const known = key.publics.get(seen.version);
    if (!known) key.publics.set(seen.version, { x: at(jwk, 'x'), key: publicKeyOf(jwk) });
    else if (known.x !== at(jwk, 'x')) {
      this.problems.push(`key ${key.name}: version ${seen.version} was shown with two public keys`);
    }
    return seen;
  }

  /** One page of a list: a read of every present key that belongs on it. */
  async #list(client: Client, what: 'isListed' | 'isListedDeleted'): Promise<boolean> {
    const keys = [...this.#present].sort((a, b) => (a.name < b.name ? -1 : 1));
    // The page begins before the first of them: after the name that comes before it, whether there is such a key or not.
    const after = `k${String(Number(keys[0]?.name.slice(1)) - 1).padStart(6, '0')}`;
    const token = base64url(Buffer.from(after));
    const path = `${what === 'isListed' ? '/keys' : '/deletedkeys'}?maxresults=25&$skiptoken=${token}`;
    const settles = keys.map(({ record }) => record.begin({ do: what }, client));
    const reply = await client.ask('GET', path, undefined);
    const outcome = this.#outcome(reply, true, `GET ${path}`, ({ status, body }) =>
      status === 200 ? body : undefined,
    );
    const names =
      outcome.kind === 'answered'
        ? (at(outcome.result, 'value') as unknown[]).map(
            (item) => String(at(item, 'kid')).split('/').at(-1) ?? '',
          )
        : [];
    const goesOn = outcome.kind === 'answered' && at(outcome.result, 'nextLink') !== undefined;
    settles.forEach((settle, place) => {
      const name = keys[place]?.name ?? '';
      const isOn = outcome.kind === 'answered' && !(goesOn && name > (names.at(-1) ?? ''));
      settle(
        isOn
          ? { kind: 'answered', result: { is: 'listed', there: names.includes(name) } }
          : { kind: 'never' },
      );
    });
    return outcome.kind === 'answered';
  }

  async #useRole(client: Client): Promise<boolean> {
    const place = this.dice.below(PRINCIPALS);
    let principal = this.#presentPrincipals[place];
    if (
      !principal ||
      principal.record.operations.length >= OPERATIONS_MAX ||
      principal.record.unknown >= UNKNOWN_MAX
    ) {
      principal = this.#presentPrincipals[place] = this.#newPrincipal();
    }
    return this.askRole(
      client,
      principal,
      this.dice.pick(['assign', 'take', 'get', 'use', 'use', 'use'] as const),
    );
  }

  /** One request about one role assignment. */
  async askRole(client: Client, principal: Principal, what: RoleCall['do']): Promise<boolean> {
    const { path, objectId, token, record } = principal;
    const value = base64url(digestOf('ES256', Buffer.from(path)));
    const settle = record.begin({ do: what }, client);
    const reply = await {
      assign: () => client.ask('PUT', path, assignment(roleNamed('Crypto User'), objectId)),
      take: () => client.ask('DELETE', path, undefined),
      get: () => client.ask('GET', path, undefined),
      use: () => client.ask('POST', `/keys/${STEADY}/sign`, { alg: 'ES256', value }, token),
    }[what]();
    const read = what === 'get' || what === 'use';
    const outcome = this.#outcome(
      reply,
      read,
      `${what} ${path}`,
      ({ status, body }): RoleResult | undefined => {
        if (what === 'use') {
          if (status === 200) return { is: 'allowed' };
          return status === 403 && codeOf(body) === 'AccessDenied' ? { is: 'denied' } : undefined;
        }
        if (status === 200 || status === 201) return { is: 'done' };
        if (status === 404 && codeOf(body) === 'RoleAssignmentNotFound') return { is: 'notFound' };
        return status === 400 && codeOf(body) === 'RoleAssignmentExists' ? { is: 'exists' } : undefined;
      },
    );
    settle(outcome);
    return outcome.kind === 'answered';
  }

  #outcome<Result>(
    reply: Reply,
    isRead: boolean,
    what: string,
    resultOf: (answer: Answered) => Result | undefined,
  ): Outcome<Result> {
    tally(this.counts, reply.kind === 'answered' ? String(reply.status) : reply.kind);
    if (reply.kind === 'unsent') return { kind: 'never' };
    if (reply.kind === 'lost') return { kind: 'unknown' };
    const { status, body, headers, text } = reply;
    const result = resultOf(reply);
    if (result !== undefined) return { kind: 'answered', result };
    // Somebody was faster, and it says so: this one did not happen.
    if (status === 409 && codeOf(body) === 'Conflict') return { kind: 'never' };
    // In a long run more assignments are left over than a pool takes: those whose end nobody knows.
    if (status === 409 && codeOf(body) === 'LimitExceeded') return { kind: 'never' };
    if (status === 503) {
      const certain = headers['retry-after'] !== undefined;
      if (certain !== !text.includes('Outcome unknown')) {
        this.problems.push(`${what}: a 503 whose words and Retry-After do not agree: ${text}`);
      }
      if (isRead && !certain) this.problems.push(`${what}: a read of unknown outcome: ${text}`);
      return certain ? { kind: 'never' } : { kind: 'unknown' };
    }
    // A partition that is being broken may fail; only that nothing wrong is answered counts.
    if (status === 500) {
      tally(this.failures, String(at(body, 'error', 'message')).replace(/ \(Activity ID.*/, ''));
      return { kind: 'unknown' };
    }
    this.problems.push(`${what}: an answer that nobody expects: ${status} ${text}`);
    return { kind: 'unknown' };
  }

  /** Makes a key in each slot and signs with it in all of them; undefined when that works, else what does not. */
  async probe(): Promise<string | undefined> {
    const clients = [0, 1, 2].map((instance) => new Client('probe', instance, this));
    try {
      for (const [maker, client] of clients.entries()) {
        const name = `probe-${maker}-${(this.#names += 1)}`;
        const value = base64url(digestOf('ES256', Buffer.from(name)));
        const problem = wrongIn(await client.ask('POST', `/keys/${name}/create`, { kty: 'EC' }));
        if (problem !== undefined) return `instance ${maker} does not make a key: ${problem}`;
        for (const [signer, other] of clients.entries()) {
          const why = wrongIn(await other.ask('POST', `/keys/${name}/sign`, { alg: 'ES256', value }));
          if (why !== undefined) return `instance ${signer} does not sign with a new key of ${maker}: ${why}`;
        }
        await client.ask('DELETE', `/keys/${name}`, undefined);
        await client.ask('DELETE', `/deletedkeys/${name}`, undefined);
      }
      return undefined;
    } finally {
      clients.forEach((client) => client.close());
    }
  }

  /** Everything once more, from every instance: what was acknowledged is there, and every enabled key signs. */
  async readAll(): Promise<void> {
    await Promise.all(
      [0, 1, 2].map(async (instance) => {
        const client = new Client(`reader ${instance}`, instance, this);
        for (const key of this.keys) {
          for (const what of ['get', 'getDeleted', 'versions', 'sign'] as const) {
            if (!(await this.askKey(client, key, { do: what }))) {
              this.problems.push(`key ${key.name}: instance ${instance} cannot be asked at the end`);
            }
          }
        }
        for (const principal of this.principals) {
          for (const what of ['get', 'use'] as const) await this.askRole(client, principal, what);
        }
        client.close();
      }),
    );
  }

  /** What no order of the requests explains, and everything else that is wrong. */
  findings(): string[] {
    const records = [
      ...this.keys.map(({ record }) => record),
      ...this.principals.map(({ record }) => record),
    ];
    return [...this.problems, ...records.flatMap((record) => record.problem() ?? [])];
  }
}

/** Asks one instance, as the administrator unless it is given another token. */
export class Client implements Asked {
  readonly #wire = new Wire();

  constructor(
    readonly client: string,
    readonly instance: number,
    private readonly load: Load,
  ) {}

  async ask(method: string, path: string, body: unknown, token?: string): Promise<Reply> {
    const address = this.load.site.address(this.instance);
    if (!address) return { kind: 'unsent', why: 'nobody knows its address' };
    const given = token ?? this.load.site.adminToken;
    const versioned = `${path}${path.includes('?') ? '&' : '?'}${VERSION}`;
    const headers = { Authorization: `Bearer ${given}` };
    const reply = await this.#wire.send(address, method, versioned, body, headers, PATIENCE_MS);
    // What is left of a connection in whose middle somebody gave up is of no use.
    if (reply.kind === 'lost') this.#wire.close();
    return reply;
  }

  close(): void {
    this.#wire.close();
  }
}

function requestOf(
  name: string,
  call: KeyCall,
  message: Uint8Array,
): [method: string, path: string, body: unknown] {
  const [live, deleted] = [`/keys/${name}`, `/deletedkeys/${name}`];
  switch (call.do) {
    case 'create':
      return ['POST', `${live}/create`, { kty: 'EC', crv: 'P-256', tags: { mark: call.mark } }];
    case 'update':
      return ['PATCH', live, { attributes: { enabled: call.enabled }, tags: { mark: call.mark } }];
    case 'setPolicy': {
      const lifetimeActions = [{ action: { type: 'Rotate' }, trigger: { timeAfterCreate: 'P90D' } }];
      return ['PUT', `${live}/rotationpolicy`, { attributes: { expiryTime: 'P120D' }, lifetimeActions }];
    }
    case 'rotate':
      return ['POST', `${live}/rotate`, undefined];
    case 'delete':
      return ['DELETE', live, undefined];
    case 'recover':
      return ['POST', `${deleted}/recover`, undefined];
    case 'purge':
      return ['DELETE', deleted, undefined];
    case 'get':
      return ['GET', live, undefined];
    case 'getDeleted':
      return ['GET', deleted, undefined];
    case 'sign':
      return ['POST', `${live}/sign`, { alg: 'ES256', value: base64url(digestOf('ES256', message)) }];
    case 'versions':
      return ['GET', `${live}/versions?maxresults=${VERSIONS_PAGE}`, undefined];
    case 'isListed':
    case 'isListedDeleted':
      throw new Error('a list is of many keys');
  }
}

function wrongIn(reply: Reply): string | undefined {
  if (reply.kind !== 'answered') return reply.why;
  return reply.status < 300 ? undefined : `${reply.status} ${reply.text}`;
}

function tally(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

function versionIn(kid: unknown): string {
  return String(kid).split('/').at(-1) ?? '';
}

function seenIn(item: unknown, kid: unknown): VersionSeen {
  const mark = at(item, 'tags', 'mark');
  return {
    version: versionIn(kid),
    enabled: at(item, 'attributes', 'enabled') === true,
    mark: typeof mark === 'string' ? mark : '',
  };
}
