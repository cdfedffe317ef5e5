// A request for any route of the table, good enough to reach its verb.
import type { Route } from '../../../src/instance/api/routes.js';
import { hostId, issuerId } from '../../../src/instance/hsm/trust.js';
import { hostKey, STORAGE, STRANGER } from '../hsm/fake-hsm.js';

const VERSION = '0'.repeat(32);
/** There is one. */
const SETTING = 'AllowKeyManagementOperationsThroughARM';
/** A host and an issuer that are not trusted yet. */
const SECOND_HOST = hostKey();
export const SECOND_ISSUER = 'https://login.example.net/tenant/v2.0';
export const GUID = '44444444-4444-4444-8444-444444444444';

/** Id of a role definition, as the service writes it. */
export function definitionId(guid: string): string {
  return `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${guid}`;
}

const SAS = { storageResourceUri: `https://${STORAGE}/account/backups`, token: 'sv=1&sig=x' };

const CRYPTO_AUDITOR = '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3';

/** A body that the route's schema takes. */
export function bodyOf({ body, path }: Route): unknown {
  if (body === undefined) return undefined;
  if (path.includes('roleassignments')) {
    return { properties: { roleDefinitionId: definitionId(CRYPTO_AUDITOR), principalId: STRANGER } };
  }
  if (path.includes('roledefinitions')) return { properties: { permissions: [] } };
  if (path === 'prebackup' || path === 'prerestore') return {};
  if (path === 'backup') return SAS;
  if (path === 'restore') return { sasTokenParameters: SAS, folderToRestore: 'mhsm-dev-1' };
  if (path === 'keys/{name}/restore') return { sasTokenParameters: SAS, folder: 'mhsm-dev-1' };
  if (path === 'securitydomain/download') return { certificates: [], required: 2 };
  if (path === 'securitydomain/upload') return { value: '{}' };
  if (path.endsWith('create')) return { kty: 'EC' };
  if (path === 'keys/{name}') return { key: { kty: 'oct', k: 'AAAAAAAAAAAAAAAAAAAAAA' } };
  if (path.endsWith('release')) return { target: 'a.b.c' };
  if (path.endsWith('securewrapkey')) return { alg: 'A256KW' };
  if (path.endsWith('secureunwrapkey')) return { alg: 'A256KW', value: 'AAAA', target: 'a.b.c' };
  if (path.endsWith('hosts/{item}')) return { publicKey: SECOND_HOST };
  if (path.endsWith('issuers/{item}')) return { issuer: SECOND_ISSUER };
  if (path.startsWith('settings')) return { value: 'true' };
  if (path.endsWith('rotationpolicy')) return { attributes: { expiryTime: 'P90D' } };
  if (path === 'rng') return { count: 1 };
  if (path === 'keys/{name}/{version}') return {};
  return { alg: 'ES256', value: 'AAAA', digest: 'AAAA' };
}

/** The paths that lead to the route, with a version, without, and with an empty one. */
export function pathsOf({ path }: Route, name = 'k'): string[] {
  const item = itemOf(path);
  const named = `/${path.replace('{name}', name).replace('{item}', item)}`;
  const [before, after] = named.split('/{version}');
  if (after === undefined) return [named];
  return [`${before ?? ''}/${VERSION}${after}`, `${before ?? ''}${after}`, `${before ?? ''}/${after}`];
}

function itemOf(path: string): string {
  if (path.startsWith('settings')) return SETTING;
  if (path.includes('trust/hosts')) return hostId(SECOND_HOST);
  if (path.includes('trust/issuers')) return issuerId({ issuer: SECOND_ISSUER });
  return path.includes('trust/measurements') ? 'cd'.repeat(32) : GUID;
}
