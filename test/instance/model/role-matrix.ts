// Who may do what, written down a second time and independently of the program: the matrix of local RBAC as the
// service's answers and documentation have it. Letters: A Administrator, O Crypto Officer, U Crypto User, P Policy
// Administrator, D Crypto Auditor, E Crypto Service Encryption User, R Crypto Service Release User, B Backup,
// S Restore. Where documentation and answers disagree, the narrower reading: the Auditor may not purge.

export const roleIds: Readonly<Record<string, string>> = {
  A: 'a290e904-7015-4bba-90c8-60543313cdb4',
  O: '515eb02d-2335-4d2d-92f2-b1cbdf9c3778',
  U: '21dbd100-6940-42c2-9190-5d6cb909625b',
  P: '4bd23610-cdcf-4971-bdee-bdc562cc28e4',
  D: '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3',
  E: '33413926-3206-4cdd-b39a-83574fe37a17',
  R: '21dbd100-6940-42c2-9190-5d6cb909625c',
  B: '7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8',
  S: '6efe6056-5259-49d2-8b3d-d3d73544b20b',
};

/** Data action without its prefix, and the letters of the roles that hold it. */
export const matrix: Readonly<Record<string, string>> = {
  'securitydomain/download/action': 'A',
  'securitydomain/download/read': 'A',
  'securitydomain/upload/action': 'A',
  'securitydomain/upload/read': 'A',
  'securitydomain/transferkey/read': 'A',
  'keys/read/action': 'UDE',
  'keys/write/action': 'U',
  'keys/create': 'U',
  'keys/delete': 'U',
  'keys/rotate/action': 'U',
  'keys/import/action': 'U',
  'keys/release/action': 'UR',
  'keys/export/action': 'O',
  'keys/backup/action': 'UB',
  'keys/restore/action': 'US',
  'keys/deletedKeys/read/action': 'OD',
  'keys/deletedKeys/recover/action': 'O',
  'keys/deletedKeys/delete': 'O',
  'keys/encrypt/action': 'U',
  'keys/decrypt/action': 'U',
  'keys/sign/action': 'U',
  'keys/verify/action': 'U',
  'keys/wrap/action': 'UE',
  'keys/unwrap/action': 'UE',
  'keys/derive/action': 'U',
  'rng/action': 'U',
  'roleAssignments/read/action': 'AOUPD',
  'roleAssignments/write/action': 'AOP',
  'roleAssignments/delete/action': 'AOP',
  'roleDefinitions/read/action': 'AOUPD',
  'roleDefinitions/write/action': 'AOP',
  'roleDefinitions/delete/action': 'AOP',
  'backup/start/action': 'AB',
  'backup/status/action': 'AB',
  'restore/start/action': 'AS',
  'restore/status/action': 'AS',
  'settings/read/action': 'A',
  'settings/write/action': 'A',
};

/** True if a role at `wide` reaches `narrow`. */
export const reaches: readonly (readonly [wide: string, narrow: string])[] = [
  ['/', '/'],
  ['/', '/keys'],
  ['/', '/keys/k'],
  ['/', '/keys/other'],
  ['/keys', '/keys'],
  ['/keys', '/keys/k'],
  ['/keys', '/keys/other'],
  ['/keys/k', '/keys/k'],
  ['/keys/other', '/keys/other'],
];

export const scopes = ['/', '/keys', '/keys/k', '/keys/other'] as const;

/** Whether the role, held at `held`, gives the action at `asked`. */
export function gives(letter: string, action: string, held: string, asked: string): boolean {
  const reached = reaches.some(([wide, narrow]) => wide === held && narrow === asked);
  return reached && (matrix[action] ?? '').includes(letter);
}
