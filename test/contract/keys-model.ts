// A second, small account of the keys API, written from the reference and the ledger of parity and from nothing else:
// it shares no code with the service. It says for each operation which request that is and which answers are right,
// and learns from the right one what nobody can know before: versions, dates, public keys, ciphertexts.
import { randomBytes } from 'node:crypto';
import { at, text } from '../scenarios/pool.js';
import { base64url, bytesAt, digestOf, encryptFor, isSignature } from '../scenarios/witness.js';
import {
  coordinateOf,
  openHere,
  publicKeyFrom,
  sealHere,
  signHere,
  type Material,
  type Sealed,
  type Spec,
} from './key-pairs.js';
import { bytesOf, oneOf, Optional, setOf, startsWith, Where, type Pattern } from './matching.js';
import type { Caller, Operation, PolicyWish, Which, Wish } from './operation.js';

/** One way in which a request may rightly be answered. */
export interface Verdict {
  readonly status: number;
  /** Absent: the answer has no body. */
  readonly body?: Pattern;
  /** What spans several members; undefined when all is well. */
  readonly check?: (body: unknown) => string | undefined;
  /** What is true from then on. */
  readonly apply?: (body: unknown) => void;
}

/** When the server answered: whole seconds, both included. */
export interface Moment {
  readonly from: number;
  readonly to: number;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly verdicts: (moment: Moment) => Verdict[];
  /** The call for the next page, when this was one of a list. */
  readonly next?: (body: unknown) => Call | undefined;
}

/** Something a version made or can open, to be tried again for as long as the version lives. */
interface Kept extends Sealed {
  readonly is: 'ciphertext' | 'wrapped' | 'signature';
  readonly alg: string;
  /** Plaintext, wrapped key or signed message. */
  readonly text: Buffer;
}

interface Version {
  readonly id: string;
  readonly spec: Spec;
  /** Public members beside `kid` and `key_ops`. */
  readonly jwk: Readonly<Record<string, string>>;
  /** Present when the key was imported. */
  readonly material?: Material;
  ops: readonly string[];
  enabled: boolean;
  nbf?: number | undefined;
  exp?: number | undefined;
  readonly created: number;
  updated: number;
  tags: Readonly<Record<string, string>>;
  readonly kept: Kept[];
}

interface Policy {
  readonly wish: PolicyWish & { is: 'good' };
  readonly created: number;
  readonly updated: number;
}

interface Key {
  readonly versions: Version[];
  /** `perhaps`: nobody says whether it came back from a backup. */
  policy?: Policy | 'perhaps' | undefined;
}

interface Deleted extends Key {
  readonly deletedDate: number;
}

interface Backup {
  readonly name: string;
  readonly value: string;
  readonly versions: readonly Version[];
}

export interface ModelOptions {
  readonly retentionDays: number;
  readonly materials: ReadonlyMap<string, Material>;
  /** Object id of the caller whose rights are granted and revoked. */
  readonly guest: string;
}

const DAY = 86_400;
const MAX_VERSIONS = 100;
const MAX_TAGS = 15;
const MAX_TAG_LENGTH = 256;
const PAGE = 25;
const KEPT_MAX = 4;
const BACKUPS_MAX = 6;
const UNKNOWN_VERSION = '0'.repeat(32);

const DEFAULT_OPS: Readonly<Record<Spec['kty'], readonly string[]>> = {
  RSA: ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify'],
  EC: ['sign', 'verify'],
  oct: ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt', 'sign', 'verify', 'deriveKey'],
};
const FITTING_OPS: Readonly<Record<Spec['kty'], readonly string[]>> = {
  RSA: [...DEFAULT_OPS.RSA, 'import', 'export'],
  EC: [...DEFAULT_OPS.EC, 'export'],
  oct: [...DEFAULT_OPS.oct, 'export'],
};

const RSA_ENCRYPTION = ['RSA-OAEP-256', 'RSA-OAEP', 'RSA1_5'];
const OVERHEAD: Readonly<Record<string, number>> = { 'RSA-OAEP-256': 66, 'RSA-OAEP': 42, RSA1_5: 11 };
const EC_ALGORITHMS: Readonly<Record<string, string>> = {
  'P-256': 'ES256',
  'P-256K': 'ES256K',
  'P-384': 'ES384',
  'P-521': 'ES512',
};

/** Algorithms that a key can be used with. */
export function algorithmsOf(spec: Spec, use: 'sign' | 'encrypt' | 'wrap'): readonly string[] {
  switch (spec.kty) {
    case 'RSA':
      if (use !== 'sign') return RSA_ENCRYPTION;
      return ['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'];
    case 'EC':
      return use === 'sign' ? [EC_ALGORITHMS[spec.curve] ?? ''] : [];
    case 'oct':
      if (use === 'sign') return [];
      return (use === 'wrap' ? ['KW'] : ['GCM', 'CBC', 'CBCPAD']).map((mode) => `A${spec.size}${mode}`);
  }
}

// The columns A(dministrator), O(fficer), U(ser), D (auditor), E (service encryption) of the matrix of roles.
const ROLES: Readonly<Record<string, string>> = {
  'keys/read/action': 'UDE',
  'keys/write/action': 'U',
  'keys/create': 'U',
  'keys/delete': 'U',
  'keys/rotate/action': 'U',
  'keys/import/action': 'U',
  'keys/backup/action': 'U',
  'keys/restore/action': 'U',
  'keys/deletedKeys/read/action': 'OD',
  'keys/deletedKeys/recover/action': 'O',
  'keys/deletedKeys/delete': 'O',
  'keys/encrypt/action': 'U',
  'keys/decrypt/action': 'U',
  'keys/sign/action': 'U',
  'keys/verify/action': 'U',
  'keys/wrap/action': 'UE',
  'keys/unwrap/action': 'UE',
  'rng/action': 'U',
  'roleAssignments/write/action': 'AO',
  'roleAssignments/delete/action': 'AO',
};

/** Roles by caller: letter of the role and the scope where it is held. The guest's come and go. */
export const HELD: Readonly<Record<Exclude<Caller, 'guest'>, readonly (readonly [string, string])[]>> = {
  admin: [
    ['A', '/'],
    ['O', '/'],
    ['U', '/'],
  ],
  user: [['U', '/keys']],
  officer: [['O', '/']],
  auditor: [['D', '/']],
  wrapper: [['E', '/keys/a']],
};

export const ROLE_IDS: Readonly<Record<string, string>> = {
  A: 'a290e904-7015-4bba-90c8-60543313cdb4',
  O: '515eb02d-2335-4d2d-92f2-b1cbdf9c3778',
  U: '21dbd100-6940-42c2-9190-5d6cb909625b',
  D: '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3',
  E: '33413926-3206-4cdd-b39a-83574fe37a17',
};

export const roleDefinition = (letter: string): string =>
  `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${ROLE_IDS[letter] ?? ''}`;

/** A refusal in the service's form. */
function refusal(status: number, code: string, message = '', inner?: string): Verdict {
  return {
    status,
    body: {
      error: {
        code,
        ...(inner !== undefined && { innererror: { code: inner } }),
        message: new Where(
          `'${message}…' with its Activity ID`,
          (value) =>
            typeof value === 'string' &&
            value.startsWith(message) &&
            /. \(Activity ID: [0-9a-f-]{36}\)$/.test(value),
        ),
      },
    },
  };
}

const badParameter = (message = ''): Verdict => refusal(400, 'BadParameter', message);

/** A refusal of which the reference knows no more than that it is one. */
function someRefusal(...statuses: number[]): Verdict[] {
  const body = {
    error: {
      code: new Where('code', (value) => typeof value === 'string' && /^[A-Za-z]+$/.test(value)),
      innererror: new Optional(new Where('anything', () => true)),
      message: new Where('words', (value) => typeof value === 'string' && value !== ''),
    },
  };
  return statuses.map((status) => ({ status, body }));
}

const within = ({ from, to }: Moment): Where =>
  new Where(
    `second from ${from} to ${to}`,
    (value) => typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to,
  );

/** What a caller may be told is wrong with the attributes wished, whatever the key. */
function flawsOf(wish: Wish, kty: Spec['kty'] | undefined): Verdict[] {
  const flaws: Verdict[] = [];
  const tags = Object.entries(wish.tags ?? {});
  const long = tags.some((entry) => entry.some((part) => part.length > MAX_TAG_LENGTH));
  if (tags.length > MAX_TAGS || long) flaws.push(badParameter());
  if (wish.nbf !== undefined && wish.exp !== undefined && wish.nbf >= wish.exp) flaws.push(badParameter());
  if (kty !== undefined && wish.ops?.some((op) => !FITTING_OPS[kty].includes(op)) === true) {
    flaws.push(badParameter());
  }
  if (wish.ops?.includes('import') === true && new Set(wish.ops).size > 1) flaws.push(badParameter());
  return flaws;
}

/** What is wrong with a specification, and it as the service understands it. */
function specOf(body: Readonly<Record<string, unknown>>): Spec | Verdict {
  const { kty, key_size: size, public_exponent: exponent } = body;
  const crv = body['crv'] as string | undefined;
  switch (String(kty).replace('-HSM', '')) {
    case 'RSA': {
      if (![undefined, 2048, 3072, 4096].includes(size as number)) {
        return badParameter(`Invalid key size: '${String(size)}'`);
      }
      const used = exponent === undefined ? {} : { exponent: exponent as number };
      return { kty: 'RSA', size: (size as number | undefined) ?? 2048, ...used };
    }
    case 'EC':
      if (crv !== undefined && coordinateOf(crv) === 0) return badParameter();
      return { kty: 'EC', curve: crv ?? 'P-256' };
    case 'oct':
      if (![undefined, 128, 192, 256].includes(size as number)) {
        return badParameter(`Invalid key size: '${String(size)}'`);
      }
      return { kty: 'oct', size: (size as number | undefined) ?? 256 };
    default:
      return badParameter();
  }
}

const isVerdict = (value: Spec | Verdict): value is Verdict => 'status' in value;

/** `P{n}D` after a moment. */
const daysAfter = (moment: number, days: number): number => moment + days * DAY;

export class KeysModel {
  readonly #keys = new Map<string, Key>();
  readonly #deleted = new Map<string, Deleted>();
  readonly #backups: Backup[] = [];
  /** Versions that were purged, by the name they had. */
  readonly #gone = new Map<string, string[]>();
  readonly #granted = new Set<string>();
  /** Versions and public keys are made once. */
  readonly #everSeen = new Set<string>();

  /** `base`: `https://host:port`, which may be another one after a start. */
  constructor(
    public base: string,
    readonly options: ModelOptions,
  ) {}

  // What the generator looks at, so that most of what it asks for makes sense.

  specAt(name: string, which: Which): Spec | undefined {
    return this.#version(name, which)?.spec;
  }

  hasMaterial(name: string, which: Which): boolean {
    return this.#version(name, which)?.material !== undefined;
  }

  /** Places of versions that may be used so and, for what opens or verifies, have something to be used on. */
  usable(name: string, op: string, has: 'anything' | Kept['is']): readonly number[] {
    const versions = this.#keys.get(name)?.versions ?? [];
    return versions.flatMap(({ enabled, ops, material, kept }, place) => {
      const worth = has === 'anything' || material !== undefined || kept.some(({ is }) => is === has);
      return enabled && ops.includes(op) && worth ? [place] : [];
    });
  }

  condition(name: string): 'live' | 'deleted' | 'absent' {
    return this.#keys.has(name) ? 'live' : this.#deleted.has(name) ? 'deleted' : 'absent';
  }

  /** Places of backups whose name is free. */
  get restorable(): readonly number[] {
    return this.#backups.flatMap(({ name }, place) => (this.condition(name) === 'absent' ? [place] : []));
  }

  /** Reads of everything that is true, for a look at the whole. */
  everything(names: readonly string[]): Operation[] {
    const caller = 'admin';
    return [
      { do: 'list', caller },
      { do: 'listDeleted', caller },
      ...names.flatMap((name): Operation[] => [
        { do: 'versions', caller, name },
        { do: 'getDeleted', caller, name },
        { do: 'get', caller, name, version: 'newest' },
        ...(this.#keys.get(name)?.versions ?? []).map((_, version): Operation => ({
          do: 'get',
          caller,
          name,
          version,
        })),
      ]),
    ];
  }

  /** The request that an operation is, and its right answers. `now` in seconds. */
  call(operation: Operation, now: number): Call {
    switch (operation.do) {
      case 'create':
        return this.#create(operation, now);
      case 'import':
        return this.#import(operation, now);
      case 'get':
        return this.#get(operation);
      case 'update':
        return this.#update(operation, now);
      case 'delete':
        return this.#delete(operation);
      case 'getDeleted':
        return this.#getDeleted(operation);
      case 'recover':
        return this.#recover(operation);
      case 'purge':
        return this.#purge(operation);
      case 'list':
        return this.#list(operation);
      case 'listDeleted':
        return this.#listDeleted(operation);
      case 'versions':
        return this.#versions(operation);
      case 'sign':
        return this.#sign(operation);
      case 'verify':
        return this.#verify(operation);
      case 'encrypt':
      case 'wrapkey':
        return this.#seal(operation);
      case 'decrypt':
      case 'unwrapkey':
        return this.#open(operation);
      case 'random':
        return this.#random(operation);
      case 'grant':
      case 'revoke':
        return this.#assign(operation);
      case 'backup':
        return this.#backup(operation);
      case 'restore':
        return this.#restore(operation);
      case 'rotate':
        return this.#rotate(operation);
      case 'getPolicy':
        return this.#getPolicy(operation);
      case 'setPolicy':
        return this.#setPolicy(operation);
    }
  }

  // Rights and versions.

  /** The refusal, when the caller lacks the action there. */
  #forbidden(caller: Caller, action: string, scope: string): Verdict | undefined {
    const held =
      caller === 'guest' ? [...this.#granted].map((name) => ['U', `/keys/${name}`] as const) : HELD[caller];
    const covers = (at: string): boolean =>
      at === '/' || at === scope || (at === '/keys' && scope.startsWith('/keys/'));
    const roles = ROLES[action] ?? '';
    if (held.some(([role, at]) => roles.includes(role) && covers(at))) return undefined;
    return refusal(
      403,
      'AccessDenied',
      `Not authorized to access Microsoft.KeyVault/managedHsm/${action} on ${scope} (`,
    );
  }

  #notFound(path: string): Verdict {
    return refusal(404, 'KeyNotFound', `Key not found: ${this.base}/${path} (`);
  }

  #version(name: string, which: Which): Version | undefined {
    const versions = this.#keys.get(name)?.versions ?? [];
    if (which === 'newest') return versions.at(-1);
    return typeof which === 'number' ? versions[which % Math.max(1, versions.length)] : undefined;
  }

  /** The path of a version; empty for the newest. */
  #segment(name: string, which: Which): string {
    switch (which) {
      case 'newest':
        return '';
      case 'unknown':
        return `/${UNKNOWN_VERSION}`;
      case 'gone': {
        const living = this.#keys.get(name)?.versions.map(({ id }) => id) ?? [];
        const gone = this.#gone.get(name)?.findLast((id) => !living.includes(id));
        return `/${gone ?? UNKNOWN_VERSION}`;
      }
      default:
        return `/${this.#version(name, which)?.id ?? UNKNOWN_VERSION}`;
    }
  }

  /** Role, existence: what stands before everything that concerns a version. */
  #refused(
    { caller, name, version = 'newest' }: { caller: Caller; name: string; version?: Which },
    action: string,
  ): Verdict | undefined {
    const forbidden = this.#forbidden(caller, action, `/keys/${name}`);
    if (forbidden) return forbidden;
    if (this.#version(name, version)) return undefined;
    const path = this.#keys.has(name) ? this.#segment(name, version) : '';
    return this.#notFound(`keys/${name}${path}`);
  }

  // Shapes.

  #attributes(version: Version): { readonly [member: string]: Pattern | undefined } {
    const days = this.options.retentionDays;
    return {
      created: version.created,
      enabled: version.enabled,
      exp: version.exp,
      exportable: false,
      nbf: version.nbf,
      recoverableDays: days,
      recoveryLevel: days === 90 ? 'Recoverable+Purgeable' : 'CustomizedRecoverable+Purgeable',
      updated: version.updated,
    };
  }

  #tags(tags: Readonly<Record<string, string>>): Pattern {
    // Whether no tags are shown as none or as an empty object, the reference does not say.
    return Object.keys(tags).length === 0 ? new Optional({}) : tags;
  }

  #bundle(
    name: string,
    version: Version,
  ): { readonly attributes: Record<string, Pattern | undefined>; readonly [member: string]: Pattern } {
    return {
      attributes: this.#attributes(version),
      key: {
        ...version.jwk,
        kid: this.#kid(name, version),
        key_ops: setOf(version.ops),
      },
      tags: this.#tags(version.tags),
    };
  }

  #kid(name: string, { id }: Version): string {
    return `${this.base}/keys/${name}/${id}`;
  }

  #item(version: Version, kid: string): Record<string, Pattern> {
    return {
      attributes: this.#attributes(version),
      kid,
      tags: this.#tags(version.tags),
    };
  }

  #deletion(name: string, date: Pattern): Record<string, Pattern> {
    const days = this.options.retentionDays;
    return {
      deletedDate: date,
      recoveryId: `${this.base}/deletedkeys/${name}`,
      scheduledPurgeDate:
        typeof date === 'number'
          ? daysAfter(date, days)
          : new Where('a date', (value) => typeof value === 'number'),
    };
  }

  // Keys.

  /** The answer to a new version that is as wished. */
  #made(
    name: string,
    spec: Spec,
    wish: Wish,
    now: number,
    moment: Moment,
    more: {
      readonly material?: Material;
      readonly ops?: readonly string[];
      readonly enabled?: Pattern | undefined;
      readonly exp?: Pattern | undefined;
      readonly nbf?: Pattern | undefined;
      readonly tags?: Pattern | undefined;
    } = {},
  ): Verdict {
    const { material } = more;
    const enabled = wish.enabled ?? true;
    const nbf = wish.nbf === undefined ? undefined : now + wish.nbf;
    const exp = wish.exp === undefined ? undefined : now + wish.exp;
    const wished = wish.ops === undefined || wish.ops.length === 0 ? DEFAULT_OPS[spec.kty] : wish.ops;
    const ops = more.ops ?? [...new Set(wished)];
    const version: Version = {
      ...{ id: '', spec, jwk: {}, ops, enabled, nbf, exp, created: 0, updated: 0, kept: [] },
      tags: wish.tags ?? {},
    };
    const attributes = {
      ...this.#attributes(version),
      created: within(moment),
      updated: within(moment),
      ...('enabled' in more && { enabled: more.enabled }),
      ...('exp' in more && { exp: more.exp }),
      ...('nbf' in more && { nbf: more.nbf }),
    };
    const start = `${this.base}/keys/${name}/`;
    const kid = new Where(
      `a new version under ${start}`,
      (value) =>
        typeof value === 'string' &&
        value.startsWith(start) &&
        /^[0-9a-f]{32}$/.test(value.slice(start.length)) &&
        !this.#everSeen.has(value.slice(start.length)),
    );
    return {
      status: 200,
      body: {
        attributes,
        key: { ...this.#publicMembers(spec, material), kid, key_ops: setOf(ops) },
        tags: more.tags ?? this.#tags(version.tags),
      },
      check: (body) => {
        const key = at(body, 'key') as Record<string, string>;
        if (at(body, 'attributes', 'created') !== at(body, 'attributes', 'updated'))
          return 'updated is not created';
        if (spec.kty === 'oct' || material) return undefined;
        if (this.#everSeen.has(key['n'] ?? key['x'] ?? '')) return 'a public key that was there before';
        try {
          publicKeyFrom(key);
          return undefined;
        } catch (error) {
          return `the public key is none: ${String(error)}`;
        }
      },
      apply: (body) => {
        const { kid: id, ...jwk } = at(body, 'key') as Record<string, string>;
        delete jwk['key_ops'];
        const shown = at(body, 'attributes') as Record<string, number>;
        const added: Version = {
          ...version,
          id: (id ?? '').slice(start.length),
          jwk,
          enabled: at(shown, 'enabled') === true,
          nbf: shown['nbf'],
          exp: shown['exp'],
          created: shown['created'] ?? 0,
          updated: shown['updated'] ?? 0,
          tags: (at(body, 'tags') ?? {}) as Record<string, string>,
          ...(material && { material }),
        };
        this.#everSeen.add(added.id);
        if (!material) this.#everSeen.add(jwk['n'] ?? jwk['x'] ?? added.id);
        const key = this.#keys.get(name);
        if (key) key.versions.push(added);
        else this.#keys.set(name, { versions: [added] });
      },
    };
  }

  #publicMembers(spec: Spec, material: Material | undefined): { readonly [member: string]: Pattern } {
    const known = material?.jwk;
    switch (spec.kty) {
      case 'RSA': {
        const e = spec.exponent === 3 ? 'Aw' : 'AQAB';
        return { kty: 'RSA-HSM', n: known?.['n'] ?? bytesOf(spec.size / 8), e: known?.['e'] ?? e };
      }
      case 'EC': {
        const coordinate = bytesOf(coordinateOf(spec.curve));
        return {
          kty: 'EC-HSM',
          crv: spec.curve,
          x: known?.['x'] ?? coordinate,
          y: known?.['y'] ?? coordinate,
        };
      }
      case 'oct':
        return { kty: 'oct-HSM' };
    }
  }

  /** Why a name may get no further version; several reasons may hold at once, and each is a right answer. */
  #noVersion(name: string): Verdict[] {
    const message = `Key ${name} is currently in a deleted but recoverable state`;
    if (this.#deleted.has(name)) return [refusal(409, 'Conflict', message, 'ObjectIsDeletedButRecoverable')];
    if ((this.#keys.get(name)?.versions.length ?? 0) >= MAX_VERSIONS) return [refusal(409, 'LimitExceeded')];
    return [];
  }

  #create({ caller, name, body, wish }: Operation & { do: 'create' }, now: number): Call {
    const spec = specOf(body);
    const { ops, ...rest } = wireWish(wish, now);
    return {
      method: 'POST',
      path: `/keys/${name}/create`,
      body: { ...body, ...rest, ...(ops !== undefined && { key_ops: ops }) },
      verdicts: (moment) => {
        // The body is looked at before the role; the attributes may be looked at before or after the name.
        if (isVerdict(spec)) return [spec];
        const forbidden = this.#forbidden(caller, 'keys/create', `/keys/${name}`);
        if (forbidden) return [forbidden];
        const refusals = [...flawsOf(wish, spec.kty), ...this.#noVersion(name)];
        return refusals.length > 0 ? refusals : [this.#made(name, spec, wish, now, moment)];
      },
    };
  }

  #import({ caller, name, material: id, flaw, wish }: Operation & { do: 'import' }, now: number): Call {
    const material = this.options.materials.get(id);
    if (!material) throw new Error(`no key ${id} to import`);
    const { ops, ...rest } = wireWish(wish, now);
    const jwk = spoilt(material, flaw, this.options.materials);
    return {
      method: 'PUT',
      path: `/keys/${name}`,
      body: { key: { ...jwk, ...(ops !== undefined && { key_ops: ops }) }, ...rest },
      verdicts: (moment) => {
        const forbidden = this.#forbidden(caller, 'keys/import/action', `/keys/${name}`);
        const refusals = [
          ...(flaw === undefined ? [] : [badParameter()]),
          ...(forbidden ? [forbidden] : [...flawsOf(wish, material.spec.kty), ...this.#noVersion(name)]),
        ];
        if (refusals.length > 0) return refusals;
        return [this.#made(name, material.spec, wish, now, moment, { material })];
      },
    };
  }

  #get(operation: Operation & { do: 'get' }): Call {
    const { name, version: which } = operation;
    return {
      method: 'GET',
      path: `/keys/${name}${this.#segment(name, which)}`,
      verdicts: () => {
        const refused = this.#refused(operation, 'keys/read/action');
        const version = this.#version(name, which);
        return refused || !version
          ? [refused ?? badParameter()]
          : [{ status: 200, body: this.#bundle(name, version) }];
      },
    };
  }

  #update(operation: Operation & { do: 'update' }, now: number): Call {
    const { name, version: which, wish } = operation;
    const { ops, ...rest } = wireWish(wish, now);
    return {
      method: 'PATCH',
      path: `/keys/${name}${this.#segment(name, which)}`,
      body: { ...rest, ...(ops !== undefined && { key_ops: ops }) },
      verdicts: (moment) => {
        const flaws =
          wish.exportable === true ? [badParameter('Cannot modify the exportable state of a key (')] : [];
        const refused = this.#refused(operation, 'keys/write/action');
        const version = this.#version(name, which);
        if (refused || !version) return [refused ?? badParameter(), ...flaws];
        flaws.push(...flawsOf(wish, version.spec.kty));
        const exchanges = (ops: readonly string[]) => ops.includes('import');
        if (wish.ops !== undefined && exchanges(wish.ops) !== exchanges(version.ops)) {
          flaws.push(badParameter("The key operation 'import' can be neither given nor taken away later ("));
        }
        const changed: Version = {
          ...version,
          enabled: wish.enabled ?? version.enabled,
          nbf: wish.nbf === undefined ? version.nbf : now + wish.nbf,
          exp: wish.exp === undefined ? version.exp : now + wish.exp,
          tags: wish.tags ?? version.tags,
          ops: wish.ops === undefined ? version.ops : [...new Set(wish.ops)],
        };
        if (changed.nbf !== undefined && changed.exp !== undefined && changed.nbf >= changed.exp) {
          flaws.push(badParameter());
        }
        if (flaws.length > 0) return flaws;
        const moved =
          changed.enabled !== version.enabled || changed.nbf !== version.nbf || changed.exp !== version.exp;
        // Whether it is a change to set what is there, only attributes are known not to be.
        const touched = wish.tags !== undefined || wish.ops !== undefined;
        const same = oneOf(version.updated);
        const updated = new Where(
          `${touched || moved ? within(moment).what : ''}${moved ? '' : ` or ${version.updated}`}`,
          (value) => ((touched || moved) && within(moment).holds(value)) || (!moved && same.holds(value)),
        );
        const bundle = this.#bundle(name, changed);
        return [
          {
            status: 200,
            body: { ...bundle, attributes: { ...bundle.attributes, updated } },
            apply: (body) => {
              const { nbf, exp, enabled, tags, ops: operations } = changed;
              const time = Number(at(body, 'attributes', 'updated'));
              Object.assign(version, { nbf, exp, enabled, tags, ops: operations, updated: time });
            },
          },
        ];
      },
    };
  }

  #delete(operation: Operation & { do: Operation['do'] } & { caller: Caller; name: string }): Call {
    const { name } = operation;
    return {
      method: 'DELETE',
      path: `/keys/${name}`,
      verdicts: (moment) => {
        const refused = this.#refused({ caller: operation.caller, name }, 'keys/delete');
        const key = this.#keys.get(name);
        const newest = key?.versions.at(-1);
        if (refused || !newest) return [refused ?? badParameter()];
        return [
          {
            status: 200,
            body: { ...this.#bundle(name, newest), ...this.#deletion(name, within(moment)) },
            check: (body) =>
              at(body, 'scheduledPurgeDate') ===
              daysAfter(Number(at(body, 'deletedDate')), this.options.retentionDays)
                ? undefined
                : 'scheduledPurgeDate is not the retention after deletedDate',
            apply: (body) => {
              this.#keys.delete(name);
              this.#deleted.set(name, {
                versions: key?.versions ?? [],
                policy: key?.policy,
                deletedDate: Number(at(body, 'deletedDate')),
              });
            },
          },
        ];
      },
    };
  }

  /** The deleted key and the verdict that there is none or that the caller may not. */
  #deletedOr(caller: Caller, name: string, action: string): Verdict | Deleted {
    const forbidden = this.#forbidden(caller, action, `/keys/${name}`);
    return forbidden ?? this.#deleted.get(name) ?? this.#notFound(`deletedkeys/${name}`);
  }

  #getDeleted({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'GET',
      path: `/deletedkeys/${name}`,
      verdicts: () => {
        const found = this.#deletedOr(caller, name, 'keys/deletedKeys/read/action');
        if ('status' in found) return [found];
        const body = { ...this.#bundle(name, last(found)), ...this.#deletion(name, found.deletedDate) };
        return [{ status: 200, body }];
      },
    };
  }

  #recover({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'POST',
      path: `/deletedkeys/${name}/recover`,
      verdicts: () => {
        const found = this.#deletedOr(caller, name, 'keys/deletedKeys/recover/action');
        if ('status' in found) return [found];
        return [
          {
            status: 200,
            body: this.#bundle(name, last(found)),
            apply: () => {
              this.#deleted.delete(name);
              this.#keys.set(name, { versions: found.versions, policy: found.policy });
            },
          },
        ];
      },
    };
  }

  #purge({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'DELETE',
      path: `/deletedkeys/${name}`,
      verdicts: () => {
        const found = this.#deletedOr(caller, name, 'keys/deletedKeys/delete');
        if ('status' in found) return [found];
        return [
          {
            status: 204,
            apply: () => {
              this.#deleted.delete(name);
              this.#gone.set(
                name,
                found.versions.map(({ id }) => id),
              );
            },
          },
        ];
      },
    };
  }

  // Lists.

  #list({ caller, limit }: { caller: Caller; limit?: number }): Call {
    const items = [...this.#keys]
      .sort(byName)
      .map(([name, key]) => this.#item(last(key), `${this.base}/keys/${name}`));
    return this.#page('keys', limit, items, 0, this.#forbidden(caller, 'keys/read/action', '/keys'));
  }

  #listDeleted({ caller, limit }: { caller: Caller; limit?: number }): Call {
    const items = [...this.#deleted].sort(byName).map(([name, key]) => ({
      ...this.#item(last(key), `${this.base}/keys/${name}`),
      ...this.#deletion(name, key.deletedDate),
    }));
    const forbidden = this.#forbidden(caller, 'keys/deletedKeys/read/action', '/keys');
    return this.#page('deletedkeys', limit, items, 0, forbidden);
  }

  #versions({ caller, name, limit }: { caller: Caller; name: string; limit?: number }): Call {
    const versions = this.#keys.get(name)?.versions ?? [];
    const items = versions.map((version) => this.#item(version, this.#kid(name, version)));
    const forbidden = this.#forbidden(caller, 'keys/read/action', `/keys/${name}`);
    return this.#page(`keys/${name}/versions`, limit, items, 0, forbidden);
  }

  #page(
    path: string,
    limit: number | undefined,
    items: readonly Record<string, Pattern>[],
    start: number,
    forbidden: Verdict | undefined,
    link?: string,
  ): Call {
    const size = limit ?? PAGE;
    const query = limit === undefined ? '' : `?maxresults=${limit}`;
    const begin = `${this.base}/${path}?maxresults=${size}&$skiptoken=`;
    const more = start + size < items.length;
    return {
      method: 'GET',
      path: link ?? `/${path}${query}`,
      verdicts: () => {
        // The query is looked at before the role or after it.
        const outside = size < 1 || size > PAGE ? [badParameter()] : [];
        if (forbidden) return [forbidden, ...outside];
        if (outside.length > 0) return outside;
        const value = items.slice(start, start + size);
        return [{ status: 200, body: { value, ...(more && { nextLink: startsWith(begin) }) } }];
      },
      next: (body) => {
        const nextLink = at(body, 'nextLink');
        if (typeof nextLink !== 'string') return undefined;
        const rest = nextLink.slice(this.base.length);
        return this.#page(path, limit, items, start + size, forbidden, rest);
      },
    };
  }

  // Cryptography.

  /**
   * Why a version may not be used so now, and whether it may be used all the same: at the edge of its window both
   * answers are right.
   */
  #unusable(
    operation: Operation & { caller: Caller; name: string; version: Which; alg: string },
    right: { action: string; op: string; use: 'sign' | 'encrypt' | 'wrap' },
    { from, to }: Moment,
  ): { readonly refusals: Verdict[]; readonly version: Version | undefined } {
    const refused = this.#refused(operation, right.action);
    const version = this.#version(operation.name, operation.version);
    if (refused || !version) return { refusals: [refused ?? badParameter()], version: undefined };
    const forbidden = (inner: string): Verdict => refusal(403, 'Forbidden', '', inner);
    if (!version.enabled) return { refusals: [forbidden('KeyDisabled')], version: undefined };
    const refusals: Verdict[] = [];
    let open = true;
    if (['encrypt', 'sign', 'wrapKey'].includes(right.op)) {
      const { nbf = 0, exp = Infinity } = version;
      if (from < nbf) refusals.push(forbidden('KeyNotYetValid'));
      if (to >= exp) refusals.push(forbidden('KeyExpired'));
      open = (from >= nbf && from < exp) || (to >= nbf && to < exp);
    }
    if (!open) return { refusals, version: undefined };
    if (!version.ops.includes(right.op)) refusals.push(forbidden('KeyOperationForbidden'));
    else if (!algorithmsOf(version.spec, right.use).includes(operation.alg)) refusals.push(badParameter());
    else return { refusals, version };
    return { refusals, version: undefined };
  }

  #result(
    name: string,
    version: Version,
    alg: string,
    value: Pattern,
  ): { readonly [member: string]: Pattern } {
    return { alg, kid: this.#kid(name, version), value };
  }

  #keep(version: Version, kept: Kept): void {
    version.kept.push(kept);
    if (version.kept.length > KEPT_MAX) version.kept.shift();
  }

  #sign(operation: Operation & { do: 'sign' }): Call {
    const { name, version: which, alg, message: hex, short } = operation;
    const message = Buffer.from(hex, 'hex');
    const digest = digestFor(alg, message);
    const value = base64url(short ? digest.subarray(1) : digest);
    return {
      method: 'POST',
      path: `/keys/${name}${this.#segment(name, which)}/sign`,
      body: { alg, value },
      verdicts: (moment) => {
        const right = { action: 'keys/sign/action', op: 'sign', use: 'sign' } as const;
        const { refusals, version } = this.#unusable(operation, right, moment);
        if (!version) return refusals;
        if (short) return [...refusals, badParameter()];
        const valid = new Where(
          'a valid signature',
          (signature) =>
            typeof signature === 'string' &&
            isSignature(alg, publicKeyFrom(version.jwk), message, Buffer.from(signature, 'base64url')),
        );
        const apply = (body: unknown): void =>
          this.#keep(version, { is: 'signature', alg, text: message, value: bytesAt(body, 'value') });
        return [...refusals, { status: 200, body: this.#result(name, version, alg, valid), apply }];
      },
    };
  }

  #verify(operation: Operation & { do: 'verify' }): Call {
    const { name, version: which, message: hex, from, flaw, pick } = operation;
    const known = this.#version(name, which);
    const kept = known?.kept.filter(({ is }) => is === 'signature') ?? [];
    const chosen = from === 'kept' ? kept[pick % Math.max(1, kept.length)] : undefined;
    const alg = chosen?.alg ?? operation.alg;
    const message = chosen?.text ?? Buffer.from(hex, 'hex');
    const fits = known !== undefined && algorithmsOf(known.spec, 'sign').includes(alg);
    const own =
      from === 'node' && fits && known.material ? signHere(alg, known.material, message) : undefined;
    const signature = Buffer.from(chosen?.value ?? own ?? Buffer.alloc(64, 7));
    const valid = (chosen ?? own) !== undefined && flaw === undefined;
    let digest = digestFor(alg, message);
    if (flaw === 'digest') digest = flipped(digest, pick);
    const value =
      flaw === 'signature' ? flipped(signature, pick) : flaw === 'length' ? signature.subarray(1) : signature;
    return {
      method: 'POST',
      path: `/keys/${name}${this.#segment(name, which)}/verify`,
      body: { alg, digest: base64url(digest), value: base64url(value) },
      verdicts: (moment) => {
        const right = { action: 'keys/verify/action', op: 'verify', use: 'sign' } as const;
        const { refusals, version } = this.#unusable({ ...operation, alg }, right, moment);
        if (!version) return refusals;
        return [...refusals, { status: 200, body: this.#result(name, version, alg, valid) }];
      },
    };
  }

  #seal(operation: Operation & { do: 'encrypt' | 'wrapkey' }): Call {
    const { name, version: which, alg } = operation;
    const wraps = operation.do === 'wrapkey';
    const plain = Buffer.from(operation.text, 'hex');
    const aad = operation.aad === undefined ? undefined : Buffer.from(operation.aad, 'hex');
    const iv = operation.iv === undefined ? undefined : Buffer.from(operation.iv, 'hex');
    const members = { ...(iv && { iv: base64url(iv) }), ...(aad && { aad: base64url(aad) }) };
    return {
      method: 'POST',
      path: `/keys/${name}${this.#segment(name, which)}/${operation.do}`,
      body: { alg, value: base64url(plain), ...members },
      verdicts: (moment) => {
        const right = wraps
          ? ({ action: 'keys/wrap/action', op: 'wrapKey', use: 'wrap' } as const)
          : ({ action: 'keys/encrypt/action', op: 'encrypt', use: 'encrypt' } as const);
        // Members that do not fit are seen with the body or with the algorithm.
        const extra = wraps && (iv ?? aad) !== undefined ? [badParameter()] : [];
        const { refusals, version } = this.#unusable(operation, right, moment);
        if (!version) return [...refusals, ...extra];
        if (extra.length > 0 || !sealable(alg, version.spec, plain, iv, aad)) {
          return [...refusals, badParameter()];
        }
        const made = this.#result(name, version, alg, bytesOf(sealedLength(alg, version.spec, plain.length)));
        const body: { readonly [member: string]: Pattern | undefined } = {
          ...made,
          ...(alg.endsWith('GCM') && { iv: bytesOf(12), tag: bytesOf(16), aad: aad && base64url(aad) }),
          ...(alg.includes('CBC') && { iv: iv ? base64url(iv) : bytesOf(16) }),
        };
        return [
          ...refusals,
          {
            status: 200,
            body,
            check: (answer) => {
              const { material } = version;
              if (material && openHere(alg, material, sealedIn(answer))?.equals(plain) !== true) {
                return 'Node opens it to something else';
              }
              const repeated = version.kept.some(
                (kept) => alg.endsWith('GCM') && kept.iv?.equals(bytesAt(answer, 'iv')) === true,
              );
              return repeated ? 'a GCM nonce that was there before' : undefined;
            },
            apply: (answer) => {
              const is = wraps ? 'wrapped' : 'ciphertext';
              this.#keep(version, { is, alg, text: plain, ...sealedIn(answer), ...(aad && { aad }) });
            },
          },
        ];
      },
    };
  }

  #open(operation: Operation & { do: 'decrypt' | 'unwrapkey' }): Call {
    const { name, version: which, flaw, pick } = operation;
    const unwraps = operation.do === 'unwrapkey';
    const source = this.#sealedBy(operation);
    const alg = source.alg;
    const sealed = damaged(source, flaw, pick);
    const body = {
      alg,
      value: base64url(sealed.value),
      ...(sealed.iv && { iv: base64url(sealed.iv) }),
      ...(sealed.tag && { tag: base64url(sealed.tag) }),
      ...(sealed.aad && { aad: base64url(sealed.aad) }),
    };
    return {
      method: 'POST',
      path: `/keys/${name}${this.#segment(name, which)}/${operation.do}`,
      body,
      verdicts: (moment) => {
        const right = unwraps
          ? ({ action: 'keys/unwrap/action', op: 'unwrapKey', use: 'wrap' } as const)
          : ({ action: 'keys/decrypt/action', op: 'decrypt', use: 'encrypt' } as const);
        const extra =
          unwraps && (sealed.iv ?? sealed.tag ?? sealed.aad) !== undefined ? [badParameter()] : [];
        const { refusals, version } = this.#unusable({ ...operation, alg }, right, moment);
        if (!version) return [...refusals, ...extra];
        if (extra.length > 0) return [...refusals, ...extra];
        const opened = (value: Pattern): Verdict => ({
          status: 200,
          body: this.#result(name, version, alg, value),
        });
        if (source.text && flaw === undefined) return [...refusals, opened(base64url(source.text))];
        // What Node makes of it is right. Where Node has no key a padding may be right by chance, for RSA1_5 and
        // CBC; every other algorithm notices.
        if (version.material) {
          const here = lengthsFit(alg, version.spec, sealed)
            ? openHere(alg, version.material, sealed)
            : undefined;
          return [...refusals, here ? opened(base64url(here)) : badParameter()];
        }
        const loose = alg === 'RSA1_5' || (alg.includes('CBC') && lengthsFit(alg, version.spec, sealed));
        const anything = new Where('base64url', (value) => typeof value === 'string');
        if (loose && alg.endsWith('CBC')) return [...refusals, opened(anything)];
        return [...refusals, badParameter(), ...(loose ? [opened(anything)] : [])];
      },
    };
  }

  /** What is to be opened, and what must come out when it is known. */
  #sealedBy({
    ...operation
  }: Operation & { do: 'decrypt' | 'unwrapkey' }): Sealed & { alg: string; text?: Buffer } {
    const { name, version: which, from, pick, alg } = operation;
    const use = operation.do === 'unwrapkey' ? 'wrap' : 'encrypt';
    const version = this.#version(name, which);
    const plain = Buffer.from(operation.text, 'hex');
    const noise = Buffer.concat([plain, Buffer.alloc(16, 1)]).subarray(0, Math.max(1, plain.length));
    const aes = {
      ...((alg.endsWith('GCM') || alg.includes('CBC')) && {
        iv: Buffer.alloc(alg.endsWith('GCM') ? 12 : 16, 3),
      }),
      ...(alg.endsWith('GCM') && { tag: Buffer.alloc(16, 4) }),
    };
    if (!version || from === 'noise') return { alg, value: noise, ...aes };
    if (from === 'kept' || from === 'other') {
      const { versions } = this.#keys.get(name) ?? { versions: [] };
      const owner = from === 'kept' ? version : (versions[pick % versions.length] ?? version);
      const kept = owner.kept.filter(
        ({ is, alg: made }) =>
          is !== 'signature' &&
          (made.startsWith('RSA') || is === (use === 'wrap' ? 'wrapped' : 'ciphertext')),
      );
      const chosen = kept[pick % Math.max(1, kept.length)];
      if (!chosen) return { alg, value: noise, ...aes };
      const { alg: made, text: plaintext, value, iv, tag, aad } = chosen;
      const sealed = { alg: made, value, ...(iv && { iv }), ...(tag && { tag }), ...(aad && { aad }) };
      // The same imported key may be in several versions.
      const same = owner.id === version.id || (owner.material && owner.material === version.material);
      return { ...sealed, ...(same && { text: plaintext }) };
    }
    if (!algorithmsOf(version.spec, use).includes(alg)) return { alg, value: noise, ...aes };
    if (version.spec.kty === 'RSA') {
      const fitting = plain.subarray(0, version.spec.size / 8 - (OVERHEAD[alg] ?? 0));
      return { alg, text: fitting, value: encryptFor(alg, publicKeyFrom(version.jwk), fitting) };
    }
    const secret = version.material?.secret;
    if (!secret) return { alg, value: noise, ...aes };
    const block = alg.endsWith('KW') ? 8 : alg.endsWith('CBC') ? 16 : 1;
    const length = Math.max(Math.floor(plain.length / block), alg.endsWith('KW') ? 2 : 1) * block;
    const fitting = Buffer.concat([plain, Buffer.alloc(length, 5)]).subarray(0, length);
    const aad = alg.endsWith('GCM') && pick % 2 === 0 ? Buffer.from('aad') : undefined;
    return { alg, text: fitting, ...sealHere(alg, secret, fitting, randomBytes(16), aad) };
  }

  #random({ caller, count }: Operation & { do: 'random' }): Call {
    return {
      method: 'POST',
      path: '/rng',
      body: { count },
      verdicts: () => {
        const flaw = count < 1 || count > 128 ? [badParameter()] : [];
        const forbidden = this.#forbidden(caller, 'rng/action', '/');
        if (forbidden) return [forbidden, ...flaw];
        return flaw.length > 0 ? flaw : [{ status: 200, body: { value: bytesOf(count) } }];
      },
    };
  }

  // Rights of the guest.

  #assign({ caller, name, do: verb }: { caller: Caller; name: string; do: 'grant' | 'revoke' }): Call {
    const scope = `/keys/${name}`;
    const id = `00000000-0000-4000-8000-${Buffer.from(name.slice(0, 6)).toString('hex').padStart(12, '0')}`;
    const properties = { principalId: this.options.guest, roleDefinitionId: roleDefinition('U') };
    const held = this.#granted.has(name);
    const body = {
      id: startsWith('/'),
      name: id,
      properties: { ...properties, scope },
      type: 'Microsoft.Authorization/roleAssignments',
    };
    const path = `${scope}/providers/Microsoft.Authorization/roleAssignments/${id}`;
    if (verb === 'grant') {
      return {
        method: 'PUT',
        path,
        body: { properties },
        verdicts: () => {
          const forbidden = this.#forbidden(caller, 'roleAssignments/write/action', scope);
          if (forbidden) return [forbidden];
          if (held) return [refusal(400, 'RoleAssignmentExists', 'The role assignment already exists.')];
          return [{ status: 201, body, apply: () => this.#granted.add(name) }];
        },
      };
    }
    return {
      method: 'DELETE',
      path,
      verdicts: () => {
        const forbidden = this.#forbidden(caller, 'roleAssignments/delete/action', scope);
        if (forbidden) return [forbidden];
        if (!held) return [refusal(404, 'RoleAssignmentNotFound', 'Requested role assignment not found')];
        return [{ status: 200, body, apply: () => this.#granted.delete(name) }];
      },
    };
  }

  // Backup and restore of one key.

  #backup({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'POST',
      path: `/keys/${name}/backup`,
      verdicts: () => {
        const refused = this.#refused({ caller, name }, 'keys/backup/action');
        const key = this.#keys.get(name);
        if (refused || !key) return [refused ?? badParameter()];
        const value = new Where('base64url of a compact JWE under the backup protection key', isBackup);
        return [
          {
            status: 200,
            body: { value },
            apply: (body) => {
              // As it was then; what a version made stays openable by it wherever it is.
              const versions = key.versions.map((version) => ({ ...version }));
              this.#backups.push({ name, value: text(body, 'value'), versions });
              if (this.#backups.length > BACKUPS_MAX) this.#backups.shift();
            },
          },
        ];
      },
    };
  }

  #restore({ caller, backup: place, damaged: broken }: Operation & { do: 'restore' }): Call {
    const backup = this.#backups[place % Math.max(1, this.#backups.length)];
    const bytes = Buffer.from(backup?.value ?? 'AAAA', 'base64url');
    const value = base64url(broken ? flipped(bytes, bytes.length - 3) : bytes);
    return {
      method: 'POST',
      path: '/keys/restore',
      body: { value },
      verdicts: () => {
        const forbidden = this.#forbidden(caller, 'keys/restore/action', '/keys');
        if (forbidden) return [forbidden];
        if (broken || !backup) return someRefusal(400);
        const { name } = backup;
        if (this.condition(name) !== 'absent') return someRefusal(409);
        const versions = backup.versions.map((version) => ({ ...version }));
        const newest = last({ versions });
        return [
          {
            status: 200,
            body: this.#bundle(name, newest),
            apply: () => this.#keys.set(name, { versions, policy: 'perhaps' }),
          },
        ];
      },
    };
  }

  // Rotation.

  #rotate({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'POST',
      path: `/keys/${name}/rotate`,
      verdicts: (moment) => {
        const forbidden = this.#forbidden(caller, 'keys/rotate/action', `/keys/${name}`);
        if (forbidden) return [forbidden];
        const key = this.#keys.get(name);
        if (!key) return someRefusal(404);
        const { policy } = key;
        const newest = last(key);
        const refusals: Verdict[] = [];
        if (policy === undefined || policy === 'perhaps') refusals.push(...someRefusal(400, 403, 404, 409));
        if (key.versions.length >= MAX_VERSIONS) refusals.push(refusal(409, 'LimitExceeded'));
        // Nobody says whether a key that may not be used may be rotated.
        const { enabled, nbf = 0, exp = Infinity } = newest;
        const idle = !enabled || moment.from < nbf || moment.to >= exp;
        if (policy === undefined || key.versions.length >= MAX_VERSIONS) return refusals;
        const days = policy === 'perhaps' ? undefined : policy.wish.expiryDays;
        // From its own creation, which is only known to lie within the moment.
        const expires =
          days === undefined
            ? undefined
            : within({ from: daysAfter(moment.from, days), to: daysAfter(moment.to, days) });
        const made = this.#made(name, newest.spec, {}, 0, moment, {
          ops: newest.ops,
          enabled: oneOf(true, enabled),
          exp: policy === 'perhaps' ? new Where('a date or none', () => true) : expires,
          nbf: oneOf(undefined, newest.nbf),
          tags: new Optional(this.#tags(newest.tags)),
        });
        return [...refusals, ...(idle ? someRefusal(400, 403) : []), made];
      },
    };
  }

  #getPolicy({ caller, name }: { caller: Caller; name: string }): Call {
    return {
      method: 'GET',
      path: `/keys/${name}/rotationpolicy`,
      verdicts: () => {
        const forbidden = this.#forbidden(caller, 'keys/read/action', `/keys/${name}`);
        if (forbidden) return [forbidden];
        const key = this.#keys.get(name);
        if (!key) return someRefusal(404);
        const { policy } = key;
        const blank: Verdict = { status: 200, body: this.#policyBody(name, undefined) };
        const missing = refusal(404, 'KeyNotFound', 'Key not found: ');
        if (policy === undefined) return [missing, blank];
        if (policy === 'perhaps') {
          const anything = new Where('a policy', (value) => typeof value === 'object');
          return [missing, { status: 200, body: anything }];
        }
        return [{ status: 200, body: this.#policyBody(name, policy) }];
      },
    };
  }

  #setPolicy({ caller, name, policy: wish }: Operation & { do: 'setPolicy' }): Call {
    return {
      method: 'PUT',
      path: `/keys/${name}/rotationpolicy`,
      body: wish.is === 'bad' ? wish.body : policyWire(wish),
      verdicts: (moment) => {
        const flaws = wish.is === 'bad' ? someRefusal(400) : [];
        const forbidden = this.#forbidden(caller, 'keys/write/action', `/keys/${name}`);
        if (forbidden) return [forbidden, ...flaws];
        const key = this.#keys.get(name);
        if (!key) return [...someRefusal(404), ...flaws];
        if (wish.is === 'bad') return flaws;
        if (wish.is === 'blank') {
          const apply = (): void => {
            key.policy = undefined;
          };
          return [{ status: 200, body: this.#policyBody(name, undefined), apply }];
        }
        const old = key.policy;
        const created =
          old === undefined
            ? within(moment)
            : old === 'perhaps'
              ? new Where('a date', (value) => typeof value === 'number')
              : old.created;
        const body = this.#policyBody(name, { wish, created: 0, updated: 0 });
        return [
          {
            status: 200,
            body: { ...body, attributes: { ...body.attributes, created, updated: within(moment) } },
            apply: (answer) => {
              const shown = at(answer, 'attributes') as Record<string, number>;
              key.policy = { wish, created: shown['created'] ?? 0, updated: shown['updated'] ?? 0 };
            },
          },
        ];
      },
    };
  }

  /** Undefined: a policy that says nothing, of which nobody knows whether it has dates. */
  #policyBody(
    name: string,
    policy: Policy | undefined,
  ): { readonly attributes: Record<string, Pattern>; readonly [member: string]: Pattern } {
    const id = `keys/${name}/rotationpolicy`;
    const date = new Where('a date', (value) => typeof value === 'number');
    if (!policy) {
      return {
        attributes: { created: new Optional(date), updated: new Optional(date) },
        id,
        lifetimeActions: [],
      };
    }
    const wire = policyWire(policy.wish) as { attributes: Record<string, string>; lifetimeActions: Pattern };
    const { created, updated } = policy;
    return {
      attributes: { ...wire.attributes, created, updated },
      id,
      lifetimeActions: wire.lifetimeActions,
    };
  }
}

function policyWire(wish: PolicyWish & { is: 'good' | 'blank' }): Record<string, unknown> {
  if (wish.is === 'blank') return { attributes: {}, lifetimeActions: [] };
  return {
    attributes: wish.expiryDays === undefined ? {} : { expiryTime: `P${wish.expiryDays}D` },
    lifetimeActions: [{ action: { type: 'Rotate' }, trigger: { timeAfterCreate: `P${wish.afterDays}D` } }],
  };
}

function isBackup(value: unknown): boolean {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_-]+$/.test(value)) return false;
  const parts = Buffer.from(value, 'base64url').toString('latin1').split('.');
  if (parts.length !== 5) return false;
  const header: unknown = JSON.parse(Buffer.from(parts[0] ?? '', 'base64url').toString());
  return (
    at(header, 'alg') === 'dir' &&
    at(header, 'enc') === 'A256CBC-HS512' &&
    at(header, 'kid') === 'backup-protection-key'
  );
}

/** Also for names of algorithms that hash nothing. */
const digestFor = (alg: string, message: Buffer): Buffer =>
  digestOf(/(256|384|512)/.test(alg) ? alg : 'sha256', message);

const last = ({ versions }: { readonly versions: readonly Version[] }): Version => {
  const newest = versions.at(-1);
  if (!newest) throw new Error('a key has a version');
  return newest;
};

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** A wish as its members go over the wire, with `key_ops` apart, since an import has it elsewhere. */
function wireWish(wish: Wish, now: number): { ops?: readonly string[]; [member: string]: unknown } {
  const { nbf, exp, enabled, exportable, tags, ops } = wish;
  const attributes = {
    ...(enabled !== undefined && { enabled }),
    ...(nbf !== undefined && { nbf: now + nbf }),
    ...(exp !== undefined && { exp: now + exp }),
    ...(exportable !== undefined && { exportable }),
  };
  return {
    ...(Object.keys(attributes).length > 0 && { attributes }),
    ...(tags !== undefined && { tags }),
    ...(ops !== undefined && { ops }),
  };
}

/** A JWK that is no key. */
function spoilt(
  { spec, jwk }: Material,
  flaw: (Operation & { do: 'import' })['flaw'],
  all: ReadonlyMap<string, Material>,
): Record<string, string> {
  switch (flaw) {
    case undefined:
      return { ...jwk };
    case 'long':
      return { kty: 'oct', k: base64url(Buffer.alloc(65, 1)) };
    case 'type':
      return { ...jwk, kty: 'DSA' };
    case 'half': {
      const half = { ...jwk };
      delete half['d'];
      delete half['k'];
      return half;
    }
    case 'mixed': {
      // The private half of one key with the public half of another.
      if (spec.kty === 'oct') return { ...jwk, k: '' };
      const other = [...all.values()].find((one) => one.jwk !== jwk && one.spec.kty === spec.kty);
      return { ...jwk, ...(spec.kty === 'RSA' ? { n: other?.jwk['n'] ?? '' } : { y: jwk['x'] ?? '' }) };
    }
  }
}

function flipped(bytes: Buffer, place: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = place % Math.max(1, copy.length);
  copy[index] = (copy[index] ?? 0) ^ 0x10;
  return copy;
}

function damaged<T extends Sealed>(
  sealed: T,
  flaw: (Operation & { do: 'decrypt' })['flaw'],
  pick: number,
): T {
  switch (flaw) {
    case undefined:
      return sealed;
    case 'value':
      return { ...sealed, value: flipped(sealed.value, pick) };
    case 'cut':
      return { ...sealed, value: sealed.value.subarray(0, Math.max(1, sealed.value.length - 1)) };
    case 'tag':
      return sealed.tag
        ? { ...sealed, tag: flipped(sealed.tag, pick) }
        : { ...sealed, value: flipped(sealed.value, pick) };
    case 'aad':
      if (!sealed.tag) return { ...sealed, value: flipped(sealed.value, pick) };
      return { ...sealed, aad: Buffer.concat([sealed.aad ?? Buffer.alloc(0), Buffer.from('x')]) };
  }
}

/** Whether it can be encrypted or wrapped at all. */
function sealable(
  alg: string,
  spec: Spec,
  plain: Buffer,
  iv: Buffer | undefined,
  aad: Buffer | undefined,
): boolean {
  if (plain.length === 0) return false;
  if (spec.kty === 'RSA') {
    return !iv && !aad && plain.length <= spec.size / 8 - (OVERHEAD[alg] ?? 0);
  }
  if (alg.endsWith('GCM')) return !iv;
  if (alg.endsWith('KW')) return plain.length >= 16 && plain.length % 8 === 0;
  if (aad || (iv && iv.length !== 16)) return false;
  return alg.endsWith('PAD') || plain.length % 16 === 0;
}

function sealedLength(alg: string, spec: Spec, plain: number): number {
  if (spec.kty === 'RSA') return spec.size / 8;
  if (alg.endsWith('KW')) return plain + 8;
  return alg.endsWith('PAD') ? (Math.floor(plain / 16) + 1) * 16 : plain;
}

function lengthsFit(alg: string, spec: Spec, { value }: Sealed): boolean {
  if (spec.kty === 'RSA') return value.length === spec.size / 8;
  if (alg.endsWith('KW')) return value.length >= 24 && value.length % 8 === 0;
  return !alg.includes('CBC') || (value.length > 0 && value.length % 16 === 0);
}

function sealedIn(answer: unknown): Sealed {
  const part = (member: string): Buffer | undefined =>
    typeof at(answer, member) === 'string' ? bytesAt(answer, member) : undefined;
  const [iv, tag, aad] = [part('iv'), part('tag'), part('aad')];
  return { value: bytesAt(answer, 'value'), ...(iv && { iv }), ...(tag && { tag }), ...(aad && { aad }) };
}
