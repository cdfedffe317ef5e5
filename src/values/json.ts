// JSON as the service writes it: members sorted at every level, absent ones left out.

export type Json =
  string | number | boolean | null | readonly Json[] | { readonly [member: string]: Json | undefined };

/** Sorts by code unit; JSON.stringify alone would move members that look like array indices to the front. */
export function toJson(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(toJson).join(',')}]`;
  const members: string[] = [];
  for (const name of Object.keys(value).sort()) {
    const member = value[name];
    if (member !== undefined) members.push(`${JSON.stringify(name)}:${toJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

function isList(
  value: readonly Json[] | { readonly [member: string]: Json | undefined },
): value is readonly Json[] {
  return Array.isArray(value);
}
