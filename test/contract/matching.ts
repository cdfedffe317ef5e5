// What an answer must look like: plain JSON, in which a place may hold a condition instead of a value, or a member
// that may be left out. Everything that is not named must be absent.

/** A place where a value is known only by what is true of it. */
export class Where {
  constructor(
    readonly what: string,
    readonly holds: (value: unknown) => boolean,
  ) {}

  toJSON(): string {
    return `<${this.what}>`;
  }
}

/** A member that may be absent, or else is as the pattern says. */
export class Optional {
  constructor(readonly pattern: Pattern) {}

  toJSON(): unknown {
    return { '<optional>': this.pattern };
  }
}

export type Pattern =
  | string
  | number
  | boolean
  | null
  | Where
  | Optional
  | readonly Pattern[]
  | { readonly [member: string]: Pattern | undefined };

/** A text that begins so. */
export const startsWith = (start: string): Where =>
  new Where(
    `text that begins with ${start}`,
    (value) => typeof value === 'string' && value.startsWith(start),
  );

/** One of these values. */
export const oneOf = (...values: unknown[]): Where =>
  new Where(`one of ${JSON.stringify(values)}`, (value) => values.includes(value));

/** base64url without padding, of that many bytes. */
export const bytesOf = (length: number): Where =>
  new Where(
    `base64url of ${length} bytes`,
    (value) =>
      typeof value === 'string' &&
      /^[A-Za-z0-9_-]*$/.test(value) &&
      Buffer.from(value, 'base64url').length === length &&
      Buffer.from(value, 'base64url').toString('base64url') === value,
  );

/** A list of the same members in any order, as the service gives `key_ops`. */
export const setOf = (members: readonly string[]): Where =>
  new Where(
    `set of ${members.join(', ')}`,
    (value) =>
      Array.isArray(value) &&
      value.length === members.length &&
      [...(value as unknown[])].map(String).sort().join() === [...members].sort().join(),
  );

/** Where `value` is not as `pattern` says; empty when it is. */
export function differences(pattern: Pattern | undefined, value: unknown, place = 'body'): string[] {
  if (pattern instanceof Where) return pattern.holds(value) ? [] : [differs(place, pattern, value)];
  if (pattern instanceof Optional) {
    return value === undefined ? [] : differences(pattern.pattern, value, place);
  }
  if (Array.isArray(pattern)) {
    const patterns = pattern as readonly Pattern[];
    if (!Array.isArray(value) || value.length !== patterns.length) return [differs(place, patterns, value)];
    return patterns.flatMap((item, i) => differences(item, (value as unknown[])[i], `${place}[${i}]`));
  }
  if (typeof pattern !== 'object' || pattern === null) {
    return pattern === value ? [] : [differs(place, pattern, value)];
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [differs(place, pattern, value)];
  }
  const members = pattern as { readonly [member: string]: Pattern | undefined };
  const found = value as Record<string, unknown>;
  return [...new Set([...Object.keys(members), ...Object.keys(found)])].flatMap((member) =>
    differences(members[member], found[member], `${place}.${member}`),
  );
}

function differs(place: string, pattern: Pattern | undefined, value: unknown): string {
  const expected = pattern === undefined ? 'nothing' : JSON.stringify(pattern);
  return `${place}: expected ${expected}, got ${value === undefined ? 'nothing' : JSON.stringify(value)}`;
}

/** The first place whose members are not in alphabetical order, as the service writes them; undefined for none. */
export function unsorted(value: unknown, place = 'body'): string | undefined {
  if (Array.isArray(value)) {
    return (value as unknown[]).map((item, i) => unsorted(item, `${place}[${i}]`)).find(Boolean);
  }
  if (typeof value !== 'object' || value === null) return undefined;
  // Tags are the client's: a name that looks like a number comes first in JavaScript's order of members.
  const members = Object.keys(value).filter((member) => !/^[0-9]+$/.test(member));
  if (members.some((member, i) => i > 0 && (members[i - 1] ?? '') > member)) return place;
  return Object.entries(value)
    .map(([member, inner]) => unsorted(inner, `${place}.${member}`))
    .find(Boolean);
}
