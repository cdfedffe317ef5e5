// Release policies: what is read, what is refused, how it is written, and when claims meet it.
import fc from 'fast-check';
import {
  CONDITIONS_MAX,
  DEPTH_MAX,
  keyReleasePolicy,
  mayReplace,
  meets,
  namesAuthority,
  parsePolicy,
  POLICY_MAX,
  policyText,
  sameAuthority,
  type KeyReleasePolicy,
  type ReleasePolicy,
} from '../../../../src/instance/model/release/policy.js';
import { Refusal } from '../../../../src/instance/model/refusal.js';

const AUTHORITY = 'https://attest.example.net/';

function bytes(value: unknown): Buffer {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
}

function parsed(value: unknown): ReleasePolicy {
  const policy = parsePolicy(bytes(value));
  if (policy instanceof Refusal) throw new Error(policy.detail);
  return policy;
}

function refusalOf(value: unknown): string {
  const policy = parsePolicy(bytes(value));
  if (!(policy instanceof Refusal)) throw new Error(`was taken: ${policyText(policy)}`);
  expect(policy.code).toBe('BadParameter');
  expect(policy.detail).toMatch(/^Key Release Policy: /);
  return policy.detail.slice('Key Release Policy: '.length);
}

/** A policy of one authority; `group` is its `allOf` or `anyOf`. */
const of = (group: object) => ({ version: '1.0.0', anyOf: [{ authority: AUTHORITY, ...group }] });
/** A policy of one condition. */
const one = (condition: unknown) => of({ allOf: [condition] });
const nested = (depth: number): object => ({
  anyOf: [depth === 1 ? { claim: 'a', equals: 1 } : nested(depth - 1)],
});

describe('a policy is read', () => {
  it('and written compactly with sorted members, as in a recording of the service', () => {
    const sent =
      '{"version": "1.0.0", "anyOf": [{"authority": "https://skr_attestation.azure.net/", "anyOf": [{"equals": "true", "claim": "sdk-test"}]}]}';
    expect(policyText(parsed(sent))).toBe(
      Buffer.from(
        'eyJhbnlPZiI6W3siYW55T2YiOlt7ImNsYWltIjoic2RrLXRlc3QiLCJlcXVhbHMiOiJ0cnVlIn1dLCJhdXRob3JpdHkiOiJodHRwczovL3Nrcl9hdHRlc3RhdGlvbi5henVyZS5uZXQvIn1dLCJ2ZXJzaW9uIjoiMS4wLjAifQ',
        'base64url',
      ).toString(),
    );
  });

  it('in the spelling of the first clients, and written in that of today', () => {
    const early = {
      anyOf: [{ anyOf: [{ claim: 'c', condition: 'equals', value: 'true' }], authority: AUTHORITY }],
      version: '1.0',
    };
    expect(policyText(parsed(early))).toBe(
      `{"anyOf":[{"anyOf":[{"claim":"c","equals":"true"}],"authority":"${AUTHORITY}"}],"version":"1.0.0"}`,
    );
  });

  it('up to its limits of depth and conditions', () => {
    parsed(of(nested(DEPTH_MAX)));
    expect(refusalOf(of(nested(DEPTH_MAX + 1)))).toContain('nested more than 8 deep');
    const many = (count: number) =>
      of({ allOf: Array.from({ length: count }, () => ({ claim: 'a', equals: 1 })) });
    parsed(many(CONDITIONS_MAX));
    expect(refusalOf(many(CONDITIONS_MAX + 1))).toContain('more than 1000 conditions');
    const half = { allOf: Array.from({ length: CONDITIONS_MAX / 2 + 1 }, () => ({ claim: 'a', equals: 1 })) };
    const two = { version: '1.0.0', anyOf: [1, 2].map(() => ({ authority: AUTHORITY, ...half })) };
    expect(refusalOf(two)).toContain('more than 1000 conditions');
  });

  it('up to 32 KiB', () => {
    const text = JSON.stringify(one({ claim: 'a', equals: 1 }));
    parsed(text.padEnd(POLICY_MAX));
    expect(refusalOf(text.padEnd(POLICY_MAX + 1))).toBe('it is longer than 32768 bytes');
  });
});

describe('a policy is refused', () => {
  const good = { claim: 'a', equals: 1 };

  it.each<[string, unknown, string]>([
    ['no version', { anyOf: [{ authority: AUTHORITY, allOf: [good] }] }, "missing 'version' property"],
    ['another version', { ...one(good), version: '2.0.0' }, 'the version must be "1.0.0"'],
    ['a version that is a number', { ...one(good), version: 1 }, 'the version must be "1.0.0"'],
    ['no anyOf', { version: '1.0.0' }, "missing 'anyOf' property"],
    ['allOf at the top', { version: '1.0.0', allOf: [] }, "unknown property 'allOf'"],
    ['an empty anyOf', { version: '1.0.0', anyOf: [] }, 'anyOf: a list that is not empty is expected'],
    ['an anyOf that is no list', { version: '1.0.0', anyOf: {} }, 'anyOf: a list'],
    ['an unknown member', { ...one(good), note: 'x' }, "unknown property 'note'"],
    [
      'an unknown member of an authority',
      of({ allOf: [good], note: 1 }),
      "anyOf[0]: unknown property 'note'",
    ],
    ['an unknown member of a group', one({ allOf: [good], note: 1 }), 'anyOf[0].allOf[0]: unknown property'],
    ['an unknown member of a condition', one({ ...good, note: 1 }), "unknown property 'note'"],
    ['an authority with no conditions', of({}), "exactly one of 'allOf' and 'anyOf' is needed"],
    ['an authority with both', of({ allOf: [good], anyOf: [good] }), "exactly one of 'allOf' and 'anyOf'"],
    ['an empty allOf, which everything would meet', of({ allOf: [] }), 'a list that is not empty'],
    ['an empty group inside', one({ allOf: [] }), 'a list that is not empty'],
    ['no authority', { version: '1.0.0', anyOf: [{ allOf: [good] }] }, "missing 'authority' property"],
    ['a condition that is a text', one('a'), 'a JSON object is expected'],
    ['a condition that is a list', one([good]), 'a JSON object is expected'],
    ['a condition that is null', one(null), 'a JSON object is expected'],
    ['a condition without operator', one({ claim: 'a' }), "missing 'equals' property"],
    ['an empty claim', one({ claim: '', equals: 1 }), "'claim' must be a text"],
    ['a claim that is a number', one({ claim: 1, equals: 1 }), "'claim' must be a text"],
    [
      'an object for a value',
      one({ claim: 'a', equals: {} }),
      'compared with a text, a number, true or false',
    ],
    ['a list for a value', one({ claim: 'a', equals: [1] }), 'compared with a text'],
    ['null for a value', one({ claim: 'a', equals: null }), 'compared with a text'],
    [
      'an integer that a double does not hold',
      one({ claim: 'a', equals: 2 ** 53 }),
      'too large to be compared',
    ],
    [
      'a number beyond all',
      '{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[{"claim":"a","equals":1e999}]}]}',
      'too large',
    ],
    [
      'an early condition of another kind',
      one({ claim: 'a', condition: 'like', value: 1 }),
      "only operator is 'equals'",
    ],
    [
      'an early condition without value',
      one({ claim: 'a', condition: 'equals' }),
      "missing 'value' property",
    ],
    ['both spellings at once', one({ ...good, condition: 'equals', value: 2 }), "unknown property 'equals'"],
    ['a polluted prototype', `{"version":"1.0.0","__proto__":{"anyOf":[]}}`, "unknown property '__proto__'"],
    [
      'a claim from the prototype only',
      '{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[{"__proto__":{"claim":"a","equals":1}}]}]}',
      "unknown property '__proto__'",
    ],
    ['no JSON', '{', 'it is not JSON in UTF-8'],
    ['nothing', '', 'it is not JSON in UTF-8'],
    ['a list', [], 'a JSON object is expected'],
    ['a text', '"1.0.0"', 'a JSON object is expected'],
  ])('that has %s', (_, value, words) => {
    expect(refusalOf(value)).toContain(words);
  });

  it.each(['notEquals', 'less', 'lessOrEquals', 'greater', 'greaterOrEquals', 'exists'])(
    'that uses %s, which the grammar names for later',
    (operator) => {
      const words = `the operator '${operator}' is not supported, only 'equals'`;
      expect(refusalOf(one({ claim: 'a', [operator]: 1 }))).toContain(words);
      expect(refusalOf(one({ claim: 'a', equals: 1, [operator]: 1 }))).toContain(words);
      expect(refusalOf(one({ claim: 'a', condition: operator, value: 1 }))).toContain(words);
    },
  );

  it.each([
    'http://attest.example.net/',
    'attest.example.net',
    'https://',
    'https://user@attest.example.net/',
    'https://attest.example.net/?a',
    'https://attest.example.net/#a',
    'https://attest.example.net\\@evil.example.net',
    ' https://attest.example.net/',
    'https://attest.example.net/\n',
    'file:///etc/passwd',
    7,
    null,
  ])('whose authority is %j', (authority) => {
    const policy = { version: '1.0.0', anyOf: [{ authority, allOf: [{ claim: 'a', equals: 1 }] }] };
    expect(refusalOf(policy)).toContain("'authority' must be an https URL");
  });

  it('that is not UTF-8', () => {
    const text = JSON.stringify(one({ claim: 'a', equals: 'X' }));
    const data = Buffer.from(text);
    data[text.indexOf('X')] = 0xff;
    expect(parsePolicy(data)).toEqual(
      new Refusal('BadParameter', 'Key Release Policy: it is not JSON in UTF-8'),
    );
  });

  it('that is a hundred thousand brackets, without a crash', () => {
    expect(refusalOf('['.repeat(POLICY_MAX))).toBe('it is not JSON in UTF-8');
    const deep = POLICY_MAX / 2;
    expect(refusalOf('['.repeat(deep) + ']'.repeat(deep))).toBe('a JSON object is expected');
    const text = '{"anyOf":['.repeat(2_500) + ']}'.repeat(2_500);
    expect(refusalOf(`{"version":"1.0.0","anyOf":[{"authority":"https://a",${text.slice(1)}]}`)).toContain(
      'nested',
    );
  });
});

// Whatever JSON there is, and policies with one thing changed: near misses find more than noise.
const leaf = fc.record({
  claim: fc.oneof(
    fc.string({ minLength: 1 }),
    fc.constantFrom('__proto__', 'constructor', 'a.b', 'a..b', '.'),
  ),
  equals: fc.oneof(
    fc.string(),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ min: -1e9, max: 1e9, noNaN: true }),
  ),
});
const { group } = fc.letrec<{ group: object; condition: object }>((tie) => ({
  group: fc
    .tuple(fc.constantFrom('allOf', 'anyOf'), fc.array(tie('condition'), { minLength: 1, maxLength: 3 }))
    .map(([kind, conditions]) => ({ [kind]: conditions })),
  condition: fc.oneof({ depthSize: 'small', maxDepth: 3 }, leaf, tie('group')),
}));
const policies = fc
  .array(fc.tuple(fc.webUrl({ validSchemes: ['https'] }), group), { minLength: 1, maxLength: 3 })
  .map((rules) => ({
    version: '1.0.0',
    anyOf: rules.map(([authority, conditions]) => ({ authority, ...conditions })),
  }));

function* placesOf(value: unknown): Generator<{ holder: Record<string, unknown>; member: string }> {
  if (typeof value !== 'object' || value === null) return;
  for (const member of Object.keys(value)) {
    yield { holder: value as Record<string, unknown>, member };
    yield* placesOf((value as Record<string, unknown>)[member]);
  }
}

describe('whatever is sent', () => {
  it('is a policy or a refusal, never an exception', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const outcome = parsePolicy(bytes(text));
        return outcome instanceof Refusal || outcome.anyOf.length > 0;
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (data) => {
        parsePolicy(data);
      }),
    );
  });

  it('a policy with one member replaced is a policy that writes itself, or a refusal', () => {
    fc.assert(
      fc.property(policies, fc.nat(), fc.jsonValue(), (policy, where, by) => {
        const changed = structuredClone(policy);
        const places = [...placesOf(changed)];
        const place = places[where % places.length];
        if (place) place.holder[place.member] = by;
        const outcome = parsePolicy(bytes(changed));
        if (outcome instanceof Refusal) expect(outcome.code).toBe('BadParameter');
        else expect(parsed(policyText(outcome))).toEqual(outcome);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a good policy is read, written and read again as itself', () => {
    fc.assert(
      fc.property(policies, (policy) => {
        fc.pre(policy.anyOf.every(({ authority }) => !authority.includes('@')));
        const first = parsed(policy);
        const text = policyText(first);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(policy)));
        expect(policyText(parsed(text))).toBe(policyText(first));
      }),
      { numRuns: 500 },
    );
  });
});

describe('claims', () => {
  const meet = (condition: unknown, claims: string) =>
    meets(parsed(one(condition)), AUTHORITY, JSON.parse(claims) as Record<string, unknown>);

  it.each<[string | number | boolean, string, boolean]>([
    ['x', '"x"', true],
    ['x', '"X"', false],
    [1, '1', true],
    [1, '1.0', true],
    [1, '"1"', false],
    ['1', '1', false],
    [1, 'true', false],
    [0, '-0', true],
    [true, 'true', true],
    [true, '"true"', false],
    [false, 'null', false],
    ['true', 'true', true],
    ['true', '"true"', true],
    ['true', 'false', false],
    ['false', 'false', true],
    ['True', 'true', false],
    ['', 'null', false],
    ['null', 'null', false],
    ['a', '["a"]', false],
    ['[object Object]', '{}', false],
  ])('a policy that asks for %j and the claim %s: %s', (equals, claim, met) => {
    expect(meet({ claim: 'c', equals }, `{"c":${claim}}`)).toBe(met);
  });

  it.each<[string, string, boolean]>([
    ['a.b', '{"a":{"b":1}}', true],
    ['a.b', '{"a.b":1}', true],
    ['a.b', '{"a.b":2,"a":{"b":1}}', false],
    ['a.b', '{"a":1}', false],
    ['a.b', '{"a":{"b":{"c":1}}}', false],
    ['a.0', '{"a":[1]}', false],
    ['a.length', '{"a":[1]}', false],
    ['a.length', '{"a":"x"}', false],
    ['a..b', '{"a":{"":{"b":1}}}', true],
    ['missing', '{}', false],
    ['missing', '{"other":1}', false],
    ['constructor.length', '{}', false],
    ['__proto__.a', '{}', false],
    ['toString', '{}', false],
    ['constructor', '{"constructor":1}', true],
    ['__proto__', '{"__proto__":1}', true],
    ['__proto__.a', '{"__proto__":{"a":1}}', true],
  ])('the claim %s in %s is met: %s', (claim, claims, met) => {
    expect(meet({ claim, equals: 1 }, claims)).toBe(met);
  });

  it('that are only inherited are missing', () => {
    const inherited = Object.create({ a: 1, b: { c: 1 }, 'd.e': 1 }) as Record<string, unknown>;
    const inner = { f: Object.create({ g: 1 }) as object };
    for (const [claim, claims] of [
      ['a', inherited],
      ['b.c', inherited],
      ['d.e', inherited],
      ['f.g', inner],
    ] as const) {
      expect(meets(parsed(one({ claim, equals: 1 })), AUTHORITY, claims)).toBe(false);
    }
  });

  it('of groups are met as allOf and anyOf say', () => {
    const policy = parsed(
      of({
        allOf: [
          { claim: 'a', equals: 1 },
          {
            anyOf: [
              { claim: 'b', equals: 1 },
              {
                allOf: [
                  { claim: 'c', equals: 1 },
                  { claim: 'd', equals: 1 },
                ],
              },
            ],
          },
        ],
      }),
    );
    for (let bits = 0; bits < 16; bits += 1) {
      const claims = Object.fromEntries(['a', 'b', 'c', 'd'].map((name, bit) => [name, (bits >> bit) & 1]));
      const { a, b, c, d } = claims;
      expect(meets(policy, AUTHORITY, claims)).toBe(a === 1 && (b === 1 || (c === 1 && d === 1)));
    }
  });

  it('of one authority never meet the rule of another', () => {
    const policy = parsed({
      version: '1.0.0',
      anyOf: [
        { authority: 'https://one.example.net/', allOf: [{ claim: 'a', equals: 1 }] },
        { authority: 'https://two.example.net', allOf: [{ claim: 'b', equals: 1 }] },
        { authority: 'https://one.example.net', allOf: [{ claim: 'c', equals: 1 }] },
      ],
    });
    expect(meets(policy, 'https://one.example.net', { a: 1 })).toBe(true);
    expect(meets(policy, 'https://one.example.net/', { c: 1 })).toBe(true);
    expect(meets(policy, 'https://one.example.net', { b: 1 })).toBe(false);
    expect(meets(policy, 'https://two.example.net/', { b: 1 })).toBe(true);
    expect(meets(policy, 'https://three.example.net/', { a: 1, b: 1 })).toBe(false);
    expect(namesAuthority(policy, 'https://two.example.net/')).toBe(true);
    expect(namesAuthority(policy, 'https://three.example.net/')).toBe(false);
  });

  it('an authority is itself with or without one slash at the end, and nothing else', () => {
    expect(sameAuthority('https://a/', 'https://a')).toBe(true);
    for (const other of [
      'https://a//',
      'https://A',
      'https://a.',
      'https://a/b',
      'https://a:443',
      'http://a',
    ]) {
      expect(sameAuthority('https://a', other)).toBe(false);
    }
  });
});

describe('the policy of a key', () => {
  const data = bytes(one({ claim: 'a', equals: 1 }));
  const spaced = bytes(JSON.stringify(one({ equals: 1, claim: 'a' }), null, 2));
  const other = bytes(one({ claim: 'a', equals: 2 }));

  function made(wish: Parameters<typeof keyReleasePolicy>[0], current?: KeyReleasePolicy): KeyReleasePolicy {
    const policy = keyReleasePolicy(wish, current);
    if (policy instanceof Refusal) throw new Error(policy.detail);
    return policy;
  }

  it('is mutable JSON unless the client says more', () => {
    expect(made({ data })).toEqual({
      contentType: 'application/json; charset=utf-8',
      text: policyText(parsed(data.toString())),
      immutable: false,
    });
    expect(keyReleasePolicy({ data, contentType: 'application/xml' })).toBeInstanceOf(Refusal);
    expect(keyReleasePolicy({ data: bytes('{}') })).toBeInstanceOf(Refusal);
  });

  it('can be read again as it is kept: what grows beyond the limit is refused', () => {
    const wish = `{"version":"1.0","anyOf":[{"authority":"${AUTHORITY}","allOf":[{"claim":"a","equals":"#"}]}]}`;
    const sized = (length: number) => bytes(wish.replace('#', 'x'.repeat(length - wish.length + 1)));
    expect(sized(POLICY_MAX)).toHaveLength(POLICY_MAX);
    // "1.0" is kept as "1.0.0".
    expect(keyReleasePolicy({ data: sized(POLICY_MAX) })).toBeInstanceOf(Refusal);
    parsed(made({ data: sized(POLICY_MAX - 2) }).text);
  });

  it('may be replaced while it is mutable, and made immutable', () => {
    const current = made({ data });
    expect(mayReplace(undefined, current)).toBeUndefined();
    expect(mayReplace(current, made({ data: other }, current))).toBeUndefined();
    expect(mayReplace(current, made({ data: other, immutable: true }, current))).toBeUndefined();
  });

  it('once immutable can be sent again and never changed', () => {
    const current = made({ data, immutable: true });
    for (const wish of [{ data }, { data: spaced }, { data, immutable: true }]) {
      const next = made(wish, current);
      expect(next).toEqual(current);
      expect(mayReplace(current, next)).toBeUndefined();
    }
    for (const wish of [
      { data: other },
      { data: other, immutable: true },
      { data, immutable: false },
      { data, contentType: 'application/json' },
    ]) {
      expect(mayReplace(current, made(wish, current))).toEqual(
        new Refusal('BadParameter', 'Immutable Release policy cannot be modified'),
      );
    }
  });
});
