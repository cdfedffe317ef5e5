// What the audit log calls each operation, and which of them change the pool. Names are the service's where they are
// known: those of its documentation for managed HSMs, then those of its reference for key vaults; the rest are made in
// the same manner.
import type { OperationName } from '../../values/operations.js';
import { routes, routesThroughArm, type Route } from './routes.js';

export interface Operation {
  readonly name: OperationName;
  /** Something is different afterwards: answered only when its record is on the disk. */
  readonly changes: boolean;
}

/** A request that is no operation: its path, method or api-version is not one of ours. */
export const UNKNOWN_OPERATION: Operation = { name: 'Unknown', changes: false };
/** A request whose token was refused. */
export const AUTHENTICATION: Operation = { name: 'Authentication', changes: false };
/** The description of the API itself. */
export const API_DESCRIPTION: Operation = { name: 'ApiDescriptionGet', changes: false };

const reads = (name: OperationName): Operation => ({ name, changes: false });
const changes = (name: OperationName): Operation => ({ name, changes: true });

/** By method and path, without version and, for roles, without the scope before `providers`. */
const table: Readonly<Record<string, Operation>> = {
  'POST securitydomain/download': changes('SecurityDomainBackup'),
  'GET securitydomain/download/pending': reads('SecurityDomainBackupStatusGet'),
  // The first one makes the key.
  'GET securitydomain/upload': changes('SecurityDomainTransferKeyGet'),
  'POST securitydomain/upload': changes('SecurityDomainRestore'),
  'GET securitydomain/upload/pending': reads('SecurityDomainRestoreStatusGet'),
  'POST backup': changes('FullBackupStart'),
  'POST prebackup': changes('FullBackupCheck'),
  'GET backup/{item}/pending': reads('FullBackupStatusGet'),
  'PUT restore': changes('FullRestoreStart'),
  'PUT prerestore': changes('FullRestoreCheck'),
  'PUT keys/{name}/restore': changes('SelectiveKeyRestoreStart'),
  'GET restore/{item}/pending': reads('FullRestoreStatusGet'),
  'GET keys': reads('KeyList'),
  'POST keys/{name}/create': changes('KeyCreate'),
  'PUT keys/{name}': changes('KeyImport'),
  'GET keys/{name}/versions': reads('KeyListVersions'),
  'GET keys/{name}': reads('KeyGet'),
  'GET keys/{name}/attestation': reads('KeyAttestationGet'),
  'PATCH keys/{name}': changes('KeyUpdate'),
  'DELETE keys/{name}': changes('KeyDelete'),
  'POST keys/{name}/backup': reads('KeyBackup'),
  'POST keys/restore': changes('KeyRestore'),
  'POST keys/{name}/rotate': changes('KeyRotate'),
  'GET keys/{name}/rotationpolicy': reads('KeyRotationPolicyGet'),
  'PUT keys/{name}/rotationpolicy': changes('KeyRotationPolicySet'),
  'GET deletedkeys': reads('KeyListDeleted'),
  'GET deletedkeys/{name}': reads('KeyGetDeleted'),
  'POST deletedkeys/{name}/recover': changes('KeyRecover'),
  'DELETE deletedkeys/{name}': changes('KeyPurge'),
  'POST keys/{name}/sign': reads('KeySign'),
  'POST keys/{name}/verify': reads('KeyVerify'),
  'POST keys/{name}/encrypt': reads('KeyEncrypt'),
  'POST keys/{name}/decrypt': reads('KeyDecrypt'),
  'POST keys/{name}/wrapkey': reads('KeyWrap'),
  'POST keys/{name}/unwrapkey': reads('KeyUnwrap'),
  'POST keys/{name}/release': reads('KeyRelease'),
  'POST keys/{name}/securewrapkey': reads('KeySecureWrap'),
  'POST keys/{name}/secureunwrapkey': reads('KeySecureUnwrap'),
  'POST rng': reads('RandomBytesGet'),
  'GET settings': reads('SettingList'),
  'GET settings/{item}': reads('SettingGet'),
  'PATCH settings/{item}': changes('SettingUpdate'),
  'GET trivet/audit': reads('AuditTailGet'),
  'GET trivet/trust': reads('TrustGet'),
  'PUT trivet/trust/hosts/{item}': changes('TrustedHostSet'),
  'DELETE trivet/trust/hosts/{item}': changes('TrustedHostDelete'),
  'PUT trivet/trust/measurements/{item}': changes('TrustedMeasurementSet'),
  'DELETE trivet/trust/measurements/{item}': changes('TrustedMeasurementDelete'),
  'PUT trivet/trust/issuers/{item}': changes('TrustedIssuerSet'),
  'DELETE trivet/trust/issuers/{item}': changes('TrustedIssuerDelete'),
  'GET roledefinitions': reads('RoleDefinitionList'),
  'GET roledefinitions/{item}': reads('RoleDefinitionGet'),
  'PUT roledefinitions/{item}': changes('RoleDefinitionSet'),
  'DELETE roledefinitions/{item}': changes('RoleDefinitionDelete'),
  'GET roleassignments': reads('RoleAssignmentList'),
  'GET roleassignments/{item}': reads('RoleAssignmentGet'),
  'PUT roleassignments/{item}': changes('RoleAssignmentCreate'),
  'DELETE roleassignments/{item}': changes('RoleAssignmentDelete'),
};

function lookUp({ method, path }: Route): Operation | undefined {
  const short = path.replace('/{version}', '').replace(/^.*providers\/microsoft\.authorization\//, '');
  return table[`${method} ${short}`];
}

const operations = new Map<Route, Operation | undefined>(
  [...routes, ...routesThroughArm].map((route) => [route, lookUp(route)]),
);

/** Undefined for a route that has no name yet: a test finds it. */
export function namedOperation(route: Route): Operation | undefined {
  return operations.get(route);
}

/** The operation of a route. One without a name would still be recorded, and as if it changed something. */
export function operationOf(route: Route): Operation {
  return operations.get(route) ?? { ...UNKNOWN_OPERATION, changes: true };
}
