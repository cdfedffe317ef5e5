// What every route of the resource manager stands on: who asks, whether she may, which api-version, and pages of lists.
import type { Request, Response, Router } from 'express';
import type { Provider } from '../../provider/provider.js';
import { permits, permitsSomewhere } from '../../resources/rbac.js';
import type { ResourceState } from '../../resources/state.js';
import { ControlRefusal } from '../errors.js';

export interface ArmParts {
  readonly provider: Provider;
  readonly tenantId: string;
  /** Scheme, host and port as the client wrote them. */
  readonly baseOf: (request: Request) => string;
  /** Throws unless the caller's token is good. */
  readonly authenticate: (request: Request, response: Response) => Promise<Caller>;
  /** `https://{name}.{domain}:{port}/` */
  readonly uriOf: (pool: string) => string;
  /** Answers under `…/managedHSMs/{name}/keys`; see `keys-mount`. */
  readonly keys: Router | undefined;
}

export interface Caller {
  readonly objectId: string;
}

/** Api-versions of `Microsoft.KeyVault` that know managed HSMs; what differs between them is additions. */
const KEY_VAULT_VERSIONS = [
  '2020-04-01-preview',
  '2021-04-01-preview',
  '2021-06-01-preview',
  '2021-10-01',
  '2021-11-01-preview',
  '2022-02-01-preview',
  '2022-07-01',
  '2022-11-01',
  '2023-02-01',
  '2023-07-01',
  '2023-08-01-preview',
  '2024-04-01-preview',
  '2024-11-01',
  '2024-12-01-preview',
  '2025-05-01',
  '2026-02-01',
];
const DATE = /^20\d\d-\d\d-\d\d(?:-(?:alpha|beta|preview|privatepreview))?$/;

export function callerIn(response: Response): Caller {
  return response.locals['caller'] as Caller;
}

/** Throws unless the request for this path, which is a whole one, names an api-version that is known. */
export function checkVersion(path: string, version: unknown): void {
  if (typeof version !== 'string' || version === '') {
    throw new ControlRefusal(
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  }
  const lower = version.toLowerCase();
  if (/\/providers\/microsoft\.keyvault\//i.test(path) && !isAboutAccess(path)) {
    if (KEY_VAULT_VERSIONS.includes(lower)) return;
    throw new ControlRefusal(
      'NoRegisteredProviderFound',
      `No registered resource provider found for API version '${version.slice(0, 60)}' for type 'managedHSMs'. The ` +
        `supported api-versions are '${KEY_VAULT_VERSIONS.join(', ')}'.`,
    );
  }
  if (!DATE.test(lower)) {
    throw new ControlRefusal(
      'InvalidApiVersionParameter',
      `The api-version '${version.slice(0, 60)}' is invalid. It is a date, perhaps with '-preview'.`,
    );
  }
}

function isAboutAccess(path: string): boolean {
  return /\/providers\/microsoft\.authorization\//i.test(path);
}

/** Throws unless the caller may do this there. */
export function permit(state: ResourceState, { objectId }: Caller, action: string, scope: string): void {
  if (!permits(state.assignments, objectId, action, scope)) throw denied(objectId, action, scope);
}

/** The same for a list: what it shows is then what each of its entries allows. */
export function permitList(state: ResourceState, { objectId }: Caller, action: string, scope: string): void {
  if (!permitsSomewhere(state.assignments, objectId, action, scope)) throw denied(objectId, action, scope);
}

export function may(state: ResourceState, { objectId }: Caller, action: string, scope: string): boolean {
  return permits(state.assignments, objectId, action, scope);
}

function denied(objectId: string, action: string, scope: string): ControlRefusal {
  return new ControlRefusal(
    'AuthorizationFailed',
    `The client '${objectId}' with object id '${objectId}' does not have authorization to perform action '${action}' ` +
      `over scope '${scope.slice(0, 300)}' or the scope is invalid. If access was recently granted, please refresh your ` +
      'credentials.',
  );
}

/** The api-version, which has been checked. */
export function versionIn(request: Request): string {
  const version = request.query['api-version'];
  return typeof version === 'string' ? version : '';
}

/** A parameter of the path. */
export function named(request: Request, name: string): string {
  const value = (request.params as Record<string, unknown>)[name];
  return typeof value === 'string' ? value : '';
}

/**
 * Answers with a page of a list: `$top` entries, and a link to go on with. Entries come by `key`, so that one which
 * stays there is shown exactly once.
 */
export function sendPage<T>(
  parts: ArmParts,
  request: Request,
  response: Response,
  entries: readonly T[],
  key: (entry: T) => string,
  shape: (entry: T) => unknown,
): void {
  const top = topIn(request);
  const after = request.query['$skiptoken'];
  const sorted = entries
    .map((entry) => ({ entry, key: key(entry).toLowerCase() }))
    .filter((one) => typeof after !== 'string' || one.key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = sorted.slice(0, top);
  const last = page.at(-1);
  const next =
    last && page.length < sorted.length
      ? new URLSearchParams({
          'api-version': versionIn(request),
          ...(top !== undefined && { $top: String(top) }),
          $skiptoken: last.key,
        })
      : undefined;
  response.json({
    value: page.map(({ entry }) => shape(entry)),
    ...(next && { nextLink: `${parts.baseOf(request)}${request.path}?${next.toString()}` }),
  });
}

function topIn(request: Request): number | undefined {
  const top = request.query['$top'];
  if (top === undefined) return undefined;
  if (typeof top === 'string' && /^[1-9][0-9]{0,8}$/.test(top)) return Number(top);
  throw new ControlRefusal('BadRequest', "The query parameter '$top' must be a positive whole number.");
}
