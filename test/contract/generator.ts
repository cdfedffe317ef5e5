// A sequence of operations from a seed. Few names, so that they collide; most of what is asked for makes sense in the
// model's present state, and some of it does not.
import { Dice } from '../scenarios/pool.js';
import { CURVES } from './key-pairs.js';
import { algorithmsOf, type KeysModel } from './keys-model.js';
import {
  LATER,
  type Caller,
  type Operation,
  type PolicyWish,
  type Verb,
  type Which,
  type Wish,
} from './operation.js';

/** The last one is seldom deleted, so that it comes to the limit of versions; two differ by case only. */
export const NAMES = ['a', 'A', 'b', 'key-1', '0', 'n'.repeat(127), 'heap'] as const;
const HEAP = 'heap';

const WEIGHTS: Readonly<Record<Verb, number>> = {
  ...{ create: 12, import: 8, get: 6, update: 12, delete: 6, getDeleted: 3, recover: 4, purge: 4 },
  ...{ list: 3, listDeleted: 2, versions: 4, sign: 10, verify: 9, encrypt: 8, decrypt: 12, wrapkey: 5 },
  ...{
    unwrapkey: 7,
    random: 1,
    grant: 2,
    revoke: 2,
    backup: 4,
    restore: 5,
    rotate: 5,
    getPolicy: 2,
    setPolicy: 4,
  },
};

const CALLERS: readonly (readonly [Caller, number])[] = [
  ['admin', 60],
  ['user', 14],
  ['officer', 7],
  ['guest', 9],
  ['auditor', 5],
  ['wrapper', 5],
];

const ALL_ALGORITHMS = [
  ...['RS256', 'PS384', 'ES256', 'ES256K', 'ES512', 'RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5'],
  ...['A128GCM', 'A256GCM', 'A192CBC', 'A256CBCPAD', 'A128KW', 'A256KW', 'ES255', 'es256'],
];
const ALL_OPS = [
  'wrapKey',
  'unwrapKey',
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'deriveKey',
  'import',
  'export',
];
const LENGTHS = [1, 8, 15, 16, 17, 24, 32, 40, 64, 190, 191, 214, 215, 245, 246, 512, 3_000];

/** What a key must be allowed, and what must be there to work on. */
const USES: Partial<Record<Verb, readonly [op: string, has: Parameters<KeysModel['usable']>[2]]>> = {
  sign: ['sign', 'anything'],
  encrypt: ['encrypt', 'anything'],
  wrapkey: ['wrapKey', 'anything'],
  verify: ['verify', 'signature'],
  decrypt: ['decrypt', 'ciphertext'],
  unwrapkey: ['unwrapKey', 'wrapped'],
};

const BAD_POLICIES: readonly Readonly<Record<string, unknown>>[] = [
  { attributes: { expiryTime: 'P1D' }, lifetimeActions: [] },
  { attributes: { expiryTime: 'soon' }, lifetimeActions: [] },
  {
    attributes: { expiryTime: 'P90D' },
    lifetimeActions: [{ action: { type: 'Rotate' }, trigger: { timeBeforeExpiry: 'P80D' } }],
  },
  {
    attributes: {},
    lifetimeActions: [{ action: { type: 'Rotate' }, trigger: { timeAfterCreate: 'P5D' } }],
  },
  {
    attributes: {},
    lifetimeActions: [
      { action: { type: 'Rotate' }, trigger: { timeAfterCreate: 'P30D', timeBeforeExpiry: 'P30D' } },
    ],
  },
];

export class Generator {
  readonly #verbs: readonly Verb[];

  /** `later`: which of the operations that came later are offered. */
  constructor(
    readonly dice: Dice,
    readonly model: KeysModel,
    later: ReadonlySet<Verb>,
  ) {
    const absent = new Set<Verb>(LATER.filter((verb) => !later.has(verb)));
    this.#verbs = (Object.keys(WEIGHTS) as Verb[])
      .filter((verb) => !absent.has(verb))
      .flatMap((verb) => Array.from({ length: WEIGHTS[verb] }, () => verb));
  }

  next(): Operation {
    const { dice, model } = this;
    const verb = dice.pick(this.#verbs);
    const caller = this.#caller(verb);
    const name = this.#name(verb);
    const version = this.#which(verb, name);
    switch (verb) {
      case 'create':
        return { do: verb, caller, name, body: this.#specification(), wish: this.#wish(true) };
      case 'import': {
        const flaw = this.#chance(12) ? dice.pick(['long', 'half', 'mixed', 'type'] as const) : undefined;
        const material = dice.pick([...model.options.materials.keys()]);
        return { do: verb, caller, name, material, ...(flaw && { flaw }), wish: this.#wish(true) };
      }
      case 'get':
        return { do: verb, caller, name, version };
      case 'update':
        return { do: verb, caller, name, version, wish: this.#wish(false) };
      case 'delete':
      case 'getDeleted':
      case 'recover':
      case 'purge':
      case 'backup':
      case 'rotate':
      case 'getPolicy':
      case 'grant':
      case 'revoke':
        return { do: verb, caller, name };
      case 'list':
      case 'listDeleted':
        return { do: verb, caller, ...this.#limit([1, 2, 3]) };
      case 'versions':
        return { do: verb, caller, name, ...this.#limit([1, 4, 25]) };
      case 'setPolicy':
        return { do: verb, caller, name, policy: this.#policy() };
      case 'restore':
        return { do: verb, caller, backup: this.#backup(), damaged: this.#chance(6) };
      case 'random':
        return { do: verb, caller, count: dice.pick([1, 16, 128, 0, 129]) };
      case 'sign': {
        const alg = this.#algorithm(name, version, 'sign');
        return {
          do: verb,
          caller,
          name,
          version,
          alg,
          message: this.#bytes(20),
          ...(this.#chance(15) && { short: true }),
        };
      }
      case 'verify': {
        const from = model.hasMaterial(name, version)
          ? dice.pick(['kept', 'node', 'node'] as const)
          : dice.pick(['kept', 'kept', 'kept', 'noise'] as const);
        const flaw = this.#chance(4) ? dice.pick(['signature', 'digest', 'length'] as const) : undefined;
        const alg = this.#algorithm(name, version, 'sign');
        const pick = dice.below(1_000);
        return {
          do: verb,
          caller,
          name,
          version,
          alg,
          message: this.#bytes(20),
          from,
          ...(flaw && { flaw }),
          pick,
        };
      }
      case 'encrypt':
      case 'wrapkey': {
        const alg = this.#algorithm(name, version, verb === 'encrypt' ? 'encrypt' : 'wrap');
        const more = {
          ...(this.#chance(alg.endsWith('GCM') ? 2 : 20) && { aad: this.#bytes(dice.pick([1, 12, 100])) }),
          ...(this.#chance(alg.includes('CBC') ? 2 : 20) && { iv: this.#bytes(dice.pick([16, 16, 16, 12])) }),
        };
        return { do: verb, caller, name, version, alg, text: this.#text(alg), ...more };
      }
      case 'decrypt':
      case 'unwrapkey': {
        const alg = this.#algorithm(name, version, verb === 'decrypt' ? 'encrypt' : 'wrap');
        const from =
          model.hasMaterial(name, version) || alg.startsWith('RSA')
            ? dice.pick(['kept', 'node', 'node', 'other'] as const)
            : dice.pick(['kept', 'kept', 'kept', 'other', 'noise'] as const);
        const flaw = this.#chance(4) ? dice.pick(['value', 'tag', 'aad', 'cut'] as const) : undefined;
        const pick = dice.below(1_000);
        return {
          do: verb,
          caller,
          name,
          version,
          alg,
          from,
          text: this.#text(alg),
          ...(flaw && { flaw }),
          pick,
        };
      }
    }
  }

  /** Once in so many times. */
  #chance(times: number): boolean {
    return this.dice.below(times) === 0;
  }

  #bytes(length: number): string {
    return Buffer.from(Array.from({ length }, () => this.dice.below(256))).toString('hex');
  }

  #caller(verb: Verb): Caller {
    if ((verb === 'grant' || verb === 'revoke') && this.#chance(2)) return 'officer';
    let place = this.dice.below(CALLERS.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [caller, weight] of CALLERS) {
      if (place < weight) return caller;
      place -= weight;
    }
    return 'admin';
  }

  /** Where the verb is likely to meet what it needs. */
  #name(verb: Verb): string {
    const { dice, model } = this;
    const name = dice.pick(NAMES);
    const wanted =
      verb === 'recover' || verb === 'purge' || verb === 'getDeleted'
        ? 'deleted'
        : verb === 'create' || verb === 'import' || verb === 'grant' || verb === 'revoke'
          ? undefined
          : 'live';
    if ((verb === 'create' || verb === 'import') && this.#chance(4)) return HEAP;
    if (verb === 'delete' && name === HEAP && !this.#chance(20)) return 'a';
    const [op, has] = USES[verb] ?? [];
    if (op !== undefined && has !== undefined && !this.#chance(3)) {
      const places = NAMES.filter((one) => model.usable(one, op, has).length > 0);
      if (places.length > 0) return dice.pick(places);
    }
    if (wanted === undefined || model.condition(name) === wanted || this.#chance(6)) return name;
    const fitting = NAMES.filter(
      (one) => model.condition(one) === wanted && (one !== HEAP || verb !== 'delete'),
    );
    return fitting.length === 0 ? name : dice.pick(fitting);
  }

  /** For cryptography mostly a version that can be used, or little would come of it. */
  #which(verb: Verb, name: string): Which {
    const { dice, model } = this;
    if (this.#chance(20)) return dice.pick(['unknown', 'gone', 'gone'] as const);
    const [op, has] = USES[verb] ?? [];
    if (op !== undefined && has !== undefined && !this.#chance(4)) {
      const places = model.usable(name, op, has);
      if (places.length > 0) return dice.pick(places);
    }
    return this.#chance(2) ? 'newest' : dice.below(1_000);
  }

  #limit(sizes: readonly number[]): { limit?: number } {
    if (this.#chance(12)) return { limit: this.dice.pick([0, 26]) };
    return this.#chance(3) ? {} : { limit: this.dice.pick(sizes) };
  }

  #specification(): Readonly<Record<string, unknown>> {
    const { dice } = this;
    if (this.#chance(25)) {
      return dice.pick<Readonly<Record<string, unknown>>>([
        { kty: 'DSA' },
        { kty: 'oct', key_size: 64 },
        { kty: 'EC', crv: 'P-192' },
        { kty: 'RSA', key_size: 1024 },
      ]);
    }
    // Slow to make, so that they are few.
    if (this.#chance(50)) {
      return { kty: dice.pick(['RSA', 'RSA-HSM']), ...(this.#chance(2) && { public_exponent: 3 }) };
    }
    if (this.#chance(2)) {
      const crv = this.#chance(2) ? 'P-256' : dice.pick(CURVES);
      return { kty: dice.pick(['EC', 'EC-HSM']), ...(!this.#chance(4) && { crv }) };
    }
    return {
      kty: dice.pick(['oct', 'oct-HSM']),
      ...(!this.#chance(4) && { key_size: dice.pick([128, 192, 256]) }),
    };
  }

  #wish(fresh: boolean): Wish {
    const { dice } = this;
    // Mostly usable, or there would be little cryptography; the window opens or ends within the run now and then.
    const often = fresh ? 8 : 3;
    const ops = this.#chance(often * 2)
      ? dice.shuffled(ALL_OPS).slice(0, this.#chance(8) ? 0 : 1 + dice.below(5))
      : undefined;
    return {
      ...(this.#chance(often) && { enabled: fresh ? !this.#chance(2) : !this.#chance(4) }),
      ...(this.#chance(fresh ? 16 : 4) && { nbf: dice.pick([-7_200, -3_600, -3_600, 1, 3_600, 3_600]) }),
      ...(this.#chance(fresh ? 16 : 4) && { exp: dice.pick([7_200, 86_400, 86_400, 2, -1_800, -1_800]) }),
      ...(this.#chance(20) && { exportable: !fresh && this.#chance(2) }),
      ...(this.#chance(often) && { tags: this.#tags() }),
      ...(ops && { ops: this.#chance(3) ? ops : ops.filter((op) => op !== 'import' && op !== 'deriveKey') }),
    };
  }

  #tags(): Readonly<Record<string, string>> {
    const { dice } = this;
    if (this.#chance(10)) return { ['t'.repeat(this.#chance(2) ? 256 : 257)]: 'é'.repeat(256) };
    const many = this.#chance(8) ? dice.pick([15, 16]) : dice.below(3);
    return Object.fromEntries(
      Array.from({ length: many }, (_, i) => [`tag ${i}`, `${dice.below(1_000)} "ü" 中`]),
    );
  }

  #algorithm(name: string, version: Which, use: 'sign' | 'encrypt' | 'wrap'): string {
    const { dice, model } = this;
    const spec = model.specAt(name, version);
    const fitting = spec === undefined ? [] : algorithmsOf(spec, use);
    return fitting.length === 0 || this.#chance(12) ? dice.pick(ALL_ALGORITHMS) : dice.pick(fitting);
  }

  /** Of a length that fits more often than not. */
  #text(alg: string): string {
    const { dice } = this;
    if (this.#chance(3)) return this.#bytes(dice.pick(LENGTHS));
    if (alg.endsWith('KW')) return this.#bytes(dice.pick([16, 24, 32, 64]));
    return this.#bytes(alg.endsWith('CBC') ? 16 * (1 + dice.below(4)) : 1 + dice.below(64));
  }

  #backup(): number {
    const { restorable } = this.model;
    return restorable.length > 0 && !this.#chance(3) ? this.dice.pick(restorable) : this.dice.below(6);
  }

  #policy(): PolicyWish {
    const { dice } = this;
    if (this.#chance(5)) return { is: 'bad', body: dice.pick(BAD_POLICIES) };
    if (this.#chance(5)) return { is: 'blank' };
    return {
      is: 'good',
      afterDays: dice.pick([28, 30, 365]),
      ...(!this.#chance(3) && { expiryDays: dice.pick([28, 90, 700]) }),
    };
  }
}
