// The API versions that clients may name, oldest first.
import { ApiError, bad } from './errors.js';

export const apiVersions = [
  '7.0',
  '7.1',
  '7.2-preview',
  '7.2',
  '7.3-preview',
  '7.3',
  '7.4-preview.1',
  '7.4',
  '7.5-preview.1',
  '7.5',
  '7.6-preview.1',
  '7.6-preview.2',
  '7.6',
  '2025-06-01-preview',
  '2025-07-01',
  '2026-01-01-preview',
  '2026-03-01-preview',
  '2026-04-01',
  '2026-05-01-preview',
  '2026-07-01-preview',
] as const;

export type ApiVersion = (typeof apiVersions)[number];

const age: ReadonlyMap<string, number> = new Map(apiVersions.map((version, place) => [version, place]));

/** Refuses a version that is missing, unknown, or older than the operation. */
export function checkVersion(asked: string | undefined, since: ApiVersion, operation: string): void {
  if (asked === undefined) bad('The api-version query parameter is missing');
  const place = age.get(asked.toLowerCase());
  if (place === undefined) bad(`The api-version '${asked}' is not known`);
  if (place < (age.get(since) ?? 0)) {
    throw new ApiError('NotOffered', `action '${operation}' in api-version ${asked}`);
  }
}

/** Is what came with `since` known to a client of this version? A page's link carries none, and then it is not. */
export function knows(asked: string | undefined, since: ApiVersion): boolean {
  return asked !== undefined && (age.get(asked.toLowerCase()) ?? 0) >= (age.get(since) ?? 0);
}
