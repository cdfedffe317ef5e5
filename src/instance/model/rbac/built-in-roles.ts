// The built-in roles of local RBAC and the data actions they hold, as the service returns them. Where its
// documentation and its answers disagree, the narrower reading stands: the Auditor may not purge.

/** Prefix of every data action as the API writes it. */
export const ACTION_PREFIX = 'Microsoft.KeyVault/managedHsm/';

/** Every data action of the data plane, without {@link ACTION_PREFIX}. */
export const dataActions = [
  'keys/read/action',
  'keys/write/action',
  'keys/create',
  'keys/delete',
  'keys/import/action',
  'keys/rotate/action',
  'keys/deletedKeys/read/action',
  'keys/deletedKeys/recover/action',
  'keys/deletedKeys/delete',
  'keys/backup/action',
  'keys/restore/action',
  'keys/release/action',
  'keys/export/action',
  'keys/encrypt/action',
  'keys/decrypt/action',
  'keys/wrap/action',
  'keys/unwrap/action',
  'keys/sign/action',
  'keys/verify/action',
  'keys/derive/action',
  'rng/action',
  'roleAssignments/read/action',
  'roleAssignments/write/action',
  'roleAssignments/delete/action',
  'roleDefinitions/read/action',
  'roleDefinitions/write/action',
  'roleDefinitions/delete/action',
  'securitydomain/download/action',
  'securitydomain/download/read',
  'securitydomain/upload/action',
  'securitydomain/upload/read',
  'securitydomain/transferkey/read',
  'backup/start/action',
  'backup/status/action',
  'restore/start/action',
  'restore/status/action',
  'settings/read/action',
  'settings/write/action',
] as const;

export type DataAction = (typeof dataActions)[number];

export interface BuiltInRole {
  /** GUID, the name of the role definition. */
  readonly id: string;
  readonly roleName: string;
  readonly actions: ReadonlySet<DataAction>;
}

const byText = new Map<string, DataAction>(
  dataActions.map((action) => [`${ACTION_PREFIX}${action}`.toLowerCase(), action]),
);

/** The data action that a client names, in any case; undefined for one that nothing here asks for. */
export function dataActionOf(text: string): DataAction | undefined {
  return byText.get(text.toLowerCase());
}

function role(id: string, roleName: string, ...actions: DataAction[]): BuiltInRole {
  return { id, roleName, actions: new Set(actions) };
}

export const ADMINISTRATOR = 'a290e904-7015-4bba-90c8-60543313cdb4';
export const CRYPTO_OFFICER = '515eb02d-2335-4d2d-92f2-b1cbdf9c3778';
export const CRYPTO_USER = '21dbd100-6940-42c2-9190-5d6cb909625b';

/** In the order in which the service lists them; where it puts Restore is not known. */
export const builtInRoles: readonly BuiltInRole[] = [
  role(
    '7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8',
    'Managed HSM Backup',
    'backup/start/action',
    'backup/status/action',
    'keys/backup/action',
  ),
  role(
    '6efe6056-5259-49d2-8b3d-d3d73544b20b',
    'Managed HSM Restore',
    'keys/restore/action',
    'restore/start/action',
    'restore/status/action',
  ),
  role(
    '33413926-3206-4cdd-b39a-83574fe37a17',
    'Managed HSM Crypto Service Encryption User',
    'keys/read/action',
    'keys/wrap/action',
    'keys/unwrap/action',
  ),
  role(
    '21dbd100-6940-42c2-9190-5d6cb909625c',
    'Managed HSM Crypto Service Release User',
    'keys/release/action',
  ),
  role(
    '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3',
    'Managed HSM Crypto Auditor',
    'roleAssignments/read/action',
    'roleDefinitions/read/action',
    'keys/read/action',
    'keys/deletedKeys/read/action',
  ),
  role(
    '4bd23610-cdcf-4971-bdee-bdc562cc28e4',
    'Managed HSM Policy Administrator',
    'roleDefinitions/read/action',
    'roleDefinitions/write/action',
    'roleDefinitions/delete/action',
    'roleAssignments/read/action',
    'roleAssignments/write/action',
    'roleAssignments/delete/action',
  ),
  role(
    '21dbd100-6940-42c2-9190-5d6cb909625b',
    'Managed HSM Crypto User',
    'roleDefinitions/read/action',
    'roleAssignments/read/action',
    'keys/read/action',
    'keys/write/action',
    'keys/delete',
    'keys/create',
    'keys/rotate/action',
    'keys/import/action',
    'keys/release/action',
    'keys/backup/action',
    'keys/restore/action',
    'keys/encrypt/action',
    'keys/decrypt/action',
    'keys/wrap/action',
    'keys/unwrap/action',
    'keys/sign/action',
    'keys/verify/action',
    'keys/derive/action',
    'rng/action',
  ),
  role(
    '515eb02d-2335-4d2d-92f2-b1cbdf9c3778',
    'Managed HSM Crypto Officer',
    'roleAssignments/delete/action',
    'roleAssignments/read/action',
    'roleAssignments/write/action',
    'roleDefinitions/read/action',
    'roleDefinitions/write/action',
    'roleDefinitions/delete/action',
    'keys/deletedKeys/read/action',
    'keys/deletedKeys/delete',
    'keys/deletedKeys/recover/action',
    'keys/export/action',
  ),
  role(
    'a290e904-7015-4bba-90c8-60543313cdb4',
    'Managed HSM Administrator',
    'roleAssignments/delete/action',
    'roleAssignments/read/action',
    'roleAssignments/write/action',
    'roleDefinitions/read/action',
    'roleDefinitions/write/action',
    'roleDefinitions/delete/action',
    'securitydomain/download/action',
    'securitydomain/download/read',
    'securitydomain/upload/action',
    'securitydomain/upload/read',
    'securitydomain/transferkey/read',
    'backup/start/action',
    'restore/start/action',
    'backup/status/action',
    'restore/status/action',
    'settings/read/action',
    'settings/write/action',
  ),
];
