// Release policies: under which attested claims a key may leave the pool for an enclave (the service's secure key
// release policy grammar). Pure: reads what a client sends into a type that cannot be wrong, writes it as the service
// does, and says whether claims meet it. A policy is read by deny: what this version does not know is refused, since a
// condition that was passed over would release a key that it was to keep.
import { toJson } from '../../../values/json.js';
import { Refusal } from '../refusal.js';

/** The one version of the grammar; `1.0`, as older clients write it, means the same. */
const VERSION = '1.0.0';
/** Octets of the policy's JSON as sent. */
export const POLICY_MAX = 32_768;
/** Groups inside one another, an authority's own counted. */
export const DEPTH_MAX = 8;
/** Claim conditions of the whole policy. */
export const CONDITIONS_MAX = 1_000;
const DEFAULT_CONTENT_TYPE = 'application/json; charset=utf-8';
const CONTENT_TYPE = /^application\/json(; ?charset=utf-8)?$/i;
const AUTHORITY = /^https:\/\/[^\s?#@\\]+$/;

export interface ReleasePolicy {
  readonly version: typeof VERSION;
  /** Never empty. */
  readonly anyOf: readonly AuthorityRule[];
}

/** What the assertions of one issuer must say. */
export type AuthorityRule = { readonly authority: string } & Group;

/** Never empty. */
export type Group = { readonly allOf: readonly Condition[] } | { readonly anyOf: readonly Condition[] };
export type Condition = Group | ClaimCondition;

export interface ClaimCondition {
  /** A member of the claims by its exact name, or a path of names with dots between them. */
  readonly claim: string;
  /** Integers are such that a double holds them exactly. */
  readonly equals: string | number | boolean;
}

/** The claims of an assertion: a JSON object as `JSON.parse` gives it. */
export type Claims = Readonly<Record<string, unknown>>;

/** A key's policy as its record keeps it. */
export interface KeyReleasePolicy {
  readonly contentType: string;
  /** The policy as {@link policyText} writes it. */
  readonly text: string;
  /** Once true it stays, and so does the policy. */
  readonly immutable: boolean;
}

/** `release_policy` as a client sends it, decoded. */
export interface PolicyWish {
  readonly contentType?: string | undefined;
  readonly data: Uint8Array;
  readonly immutable?: boolean | undefined;
}

/** Reads a policy: JSON in UTF-8. */
export function parsePolicy(data: Uint8Array): ReleasePolicy | Refusal {
  if (data.byteLength > POLICY_MAX) return wrong(`it is longer than ${POLICY_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  } catch {
    return wrong('it is not JSON in UTF-8');
  }
  try {
    return policyOf(value);
  } catch (problem) {
    if (problem instanceof Wrong) return wrong(problem.message);
    throw problem;
  }
}

/** The policy as the service writes it: compact, members sorted. Equal policies give equal texts. */
export function policyText(policy: ReleasePolicy): string {
  return toJson(policy as unknown as Parameters<typeof toJson>[0]);
}

/**
 * What a key would have for its policy by this wish. `current` is the policy it has: of an immutable one, what the
 * wish leaves out is kept, so that sending it again is no change. Whether it may be replaced is {@link mayReplace}.
 */
export function keyReleasePolicy(wish: PolicyWish, current?: KeyReleasePolicy): KeyReleasePolicy | Refusal {
  const policy = parsePolicy(wish.data);
  if (policy instanceof Refusal) return policy;
  const kept = current?.immutable === true ? current : undefined;
  const contentType = wish.contentType ?? kept?.contentType ?? DEFAULT_CONTENT_TYPE;
  if (!CONTENT_TYPE.test(contentType)) return wrong(`its content type must be '${DEFAULT_CONTENT_TYPE}'`);
  // Some numbers are shorter as a client writes them. What is kept is read again at each release.
  const text = policyText(policy);
  if (Buffer.byteLength(text) > POLICY_MAX) return wrong(`written out it is longer than ${POLICY_MAX} bytes`);
  return { contentType, text, immutable: wish.immutable ?? kept?.immutable ?? false };
}

/** Undefined if a key with the policy `current` may get `next`: an immutable one may only be sent again. */
export function mayReplace(
  current: KeyReleasePolicy | undefined,
  next: KeyReleasePolicy,
): Refusal | undefined {
  if (current?.immutable !== true) return undefined;
  const same = next.immutable && next.text === current.text && next.contentType === current.contentType;
  return same ? undefined : new Refusal('BadParameter', 'Immutable Release policy cannot be modified');
}

/** Issuers are compared as texts but for one slash at the end, which policies carry and tokens often do not. */
export function sameAuthority(a: string, b: string): boolean {
  return bare(a) === bare(b);
}

/** True if the policy says anything of this issuer's assertions; of others no claim can meet it. */
export function namesAuthority(policy: ReleasePolicy, authority: string): boolean {
  return policy.anyOf.some((rule) => sameAuthority(rule.authority, authority));
}

/** True if these claims of this issuer, both verified, meet the policy. */
export function meets(policy: ReleasePolicy, authority: string, claims: Claims): boolean {
  return policy.anyOf.some((rule) => sameAuthority(rule.authority, authority) && holds(rule, claims));
}

function bare(authority: string): string {
  return authority.endsWith('/') ? authority.slice(0, -1) : authority;
}

function holds(condition: Condition, claims: Claims): boolean {
  if ('allOf' in condition) return condition.allOf.every((inner) => holds(inner, claims));
  if ('anyOf' in condition) return condition.anyOf.some((inner) => holds(inner, claims));
  return equals(condition.equals, claimNamed(claims, condition.claim));
}

/** The service takes the boolean for the text that names it, but not the text for the boolean. */
function equals(wished: ClaimCondition['equals'], claim: unknown): boolean {
  return typeof claim === 'boolean' && typeof wished === 'string'
    ? String(claim) === wished
    : claim === wished;
}

/**
 * The value of a claim; undefined when it is missing. A member whose whole name is the text, dots included, comes
 * first and alone decides; else each dot is a step into an object. Own members only: `constructor` and `__proto__`
 * are claims like any other. There is no way into a list.
 */
function claimNamed(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const step of name.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}

/** Says where in the policy something is wrong; goes no further than {@link parsePolicy}. */
class Wrong extends Error {}

function wrong(problem: string): Refusal {
  return new Refusal('BadParameter', `Key Release Policy: ${problem}`);
}

function fail(at: string, problem: string): never {
  throw new Wrong(at === '' ? problem : `${at}: ${problem}`);
}

function policyOf(value: unknown): ReleasePolicy {
  const policy = objectAt('', value);
  if (!Object.hasOwn(policy, 'version')) fail('', "missing 'version' property");
  knowOnly('', policy, ['version', 'anyOf']);
  if (policy['version'] !== VERSION && policy['version'] !== '1.0') {
    fail('', `the version must be "${VERSION}"`);
  }
  if (!Object.hasOwn(policy, 'anyOf')) fail('', "missing 'anyOf' property");
  const budget = { left: CONDITIONS_MAX };
  const anyOf = listAt('anyOf', policy['anyOf']).map((rule, place) =>
    ruleOf(`anyOf[${place}]`, rule, budget),
  );
  return { version: VERSION, anyOf };
}

interface Budget {
  left: number;
}

function ruleOf(at: string, value: unknown, budget: Budget): AuthorityRule {
  const rule = objectAt(at, value);
  const authority = Object.hasOwn(rule, 'authority')
    ? rule['authority']
    : fail(at, "missing 'authority' property");
  if (typeof authority !== 'string' || !AUTHORITY.test(authority) || !URL.canParse(authority)) {
    return fail(at, "'authority' must be an https URL without user, query and fragment");
  }
  return { authority, ...groupOf(at, rule, ['authority'], 1, budget) };
}

function groupOf(
  at: string,
  group: Readonly<Record<string, unknown>>,
  besides: readonly string[],
  depth: number,
  budget: Budget,
): Group {
  knowOnly(at, group, ['allOf', 'anyOf', ...besides]);
  if (depth > DEPTH_MAX) fail(at, `conditions are nested more than ${DEPTH_MAX} deep`);
  const all = Object.hasOwn(group, 'allOf');
  if (all === Object.hasOwn(group, 'anyOf')) fail(at, "exactly one of 'allOf' and 'anyOf' is needed");
  const kind = all ? 'allOf' : 'anyOf';
  const conditions = listAt(`${at}.${kind}`, group[kind]).map((inner, place) =>
    conditionOf(`${at}.${kind}[${place}]`, inner, depth + 1, budget),
  );
  return all ? { allOf: conditions } : { anyOf: conditions };
}

function conditionOf(at: string, value: unknown, depth: number, budget: Budget): Condition {
  const condition = objectAt(at, value);
  return Object.hasOwn(condition, 'claim')
    ? claimConditionOf(at, condition, budget)
    : groupOf(at, condition, [], depth, budget);
}

const laterOperators: readonly string[] = [
  'notEquals',
  'less',
  'lessOrEquals',
  'greater',
  'greaterOrEquals',
  'exists',
];

function claimConditionOf(
  at: string,
  condition: Readonly<Record<string, unknown>>,
  budget: Budget,
): ClaimCondition {
  budget.left -= 1;
  if (budget.left < 0) fail(at, `there are more than ${CONDITIONS_MAX} conditions`);
  const { claim } = condition;
  if (typeof claim !== 'string' || claim === '') return fail(at, "'claim' must be a text that is not empty");
  // The first clients wrote `"condition":"equals","value":…`; the service still reads that and answers in its own way.
  const early = Object.hasOwn(condition, 'condition');
  const operator = early
    ? condition['condition']
    : Object.keys(condition).find((member) => laterOperators.includes(member));
  if (typeof operator === 'string' && laterOperators.includes(operator)) {
    fail(at, `the operator '${operator}' is not supported, only 'equals'`);
  }
  if (early && operator !== 'equals') fail(at, "the only operator is 'equals'");
  const operand = early ? 'value' : 'equals';
  knowOnly(at, condition, early ? ['claim', 'condition', operand] : ['claim', operand]);
  if (!Object.hasOwn(condition, operand)) fail(at, `missing '${operand}' property`);
  return { claim, equals: comparable(at, condition[operand]) };
}

function comparable(at: string, value: unknown): ClaimCondition['equals'] {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value !== 'number') return fail(at, 'a claim is compared with a text, a number, true or false');
  // Beyond this a double stands for several integers, and a claim could meet a policy that names another one.
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER)
    return fail(at, 'the number is too large to be compared exactly');
  return value === 0 ? 0 : value; // minus zero is written as zero
}

function objectAt(at: string, value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : fail(at, 'a JSON object is expected');
}

function listAt(at: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) return fail(at, 'a list that is not empty is expected');
  return value;
}

function knowOnly(at: string, value: Readonly<Record<string, unknown>>, known: readonly string[]): void {
  const foreign = Object.keys(value).find((member) => !known.includes(member));
  if (foreign !== undefined) fail(at, `unknown property '${foreign.slice(0, 40)}'`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
