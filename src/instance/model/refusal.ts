// Refusals: the expected ways in which the model says no. The HTTP face of each is a row in the API's table.

export type RefusalCode =
  | 'BadParameter'
  | 'NotPermitted'
  | 'NotActivated'
  | 'KeyNotFound'
  | 'DeletedKeyNotFound'
  | 'NameHeldByDeletedKey'
  | 'KeyExists'
  /** Somebody else was faster. */
  | 'KeyChanged'
  | 'RotatedKeyNotFound'
  | 'RotationPolicyNotFound'
  | 'SettingNotFound'
  /** Keys are not managed through the control plane here. */
  | 'ArmNotAllowed'
  | 'MalformedBackup'
  | 'TooManyKeys'
  | 'TooManyVersions'
  | 'KeyDisabled'
  | 'KeyNotYetValid'
  | 'KeyExpired'
  | 'OperationNotAllowed'
  | 'PurgeProtected'
  /** The environment assertion of a release is not believed, or its claims do not meet the policy. */
  | 'AssertionRefused'
  | 'RoleDefinitionNotFound'
  | 'RoleAssignmentNotFound'
  | 'RoleAssignmentExists'
  /** The same role for the same principal at the same scope, under another name. */
  | 'RoleAlreadyAssigned'
  | 'TooManyRoleDefinitions'
  | 'TooManyRoleAssignments'
  /** Without it nobody could give a role any more. */
  | 'LastAdministrator'
  /** Nothing of this name is trusted. */
  | 'TrustNotFound'
  /** Without it no instance, or nobody, could come in any more. */
  | 'TrustNeeded'
  | 'TooMuchTrusted'
  | 'AlreadyFounded'
  /** Another download or upload was first. */
  | 'AlreadyActivated'
  | 'TransferKeyExists'
  /** There has been neither a download nor an upload. */
  | 'NoDomainOperation'
  /** A partition could not take over the domain that was sent in. */
  | 'DomainUnusable'
  | 'AlreadySubmitted'
  | 'JobNotFound'
  /** Another backup or restore runs. */
  | 'JobRunning'
  /** It has ended, or another runs it by now. */
  | 'JobChanged'
  /** A full restore would replace keys of which there is no full backup. */
  | 'BackupNeeded'
  /** Nothing is served while a full restore runs. */
  | 'Restoring'
  /** A host that the pool was not told to trust with backups. */
  | 'StorageNotAllowed'
  /** The primary's slot could not open a key that another slot sealed. */
  | 'BlobUnreadable';

/** A refusal; `detail` says what was refused in words that may be shown to the caller. */
export class Refusal {
  constructor(
    readonly code: RefusalCode,
    readonly detail: string,
  ) {}
}

/** Carries a {@link Refusal} through code that throws. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  constructor(readonly refusal: Refusal) {
    super(`${refusal.code}: ${refusal.detail}`);
  }
}

/** Throws the refusal, if there is one. */
export function heed<T>(result: T | Refusal): T {
  if (result instanceof Refusal) throw new RefusedError(result);
  return result;
}
