// Why a wish is refused, in the words of Azure's control plane. Knows codes and sentences, not HTTP.

export type RefusalCode =
  | 'AccountNameInvalid'
  | 'AnotherOperationInProgress'
  | 'BadRequest'
  | 'Conflict'
  | 'ConflictError'
  | 'DeletedMhsmNotFound'
  | 'InsufficientCapacity'
  | 'InvalidLocation'
  | 'InvalidPrincipalId'
  | 'InvalidResourceLocation'
  | 'InvalidRoleAssignmentId'
  | 'LastOwner'
  | 'LocationRequired'
  | 'NumericBadRequest'
  | 'PurgeProtected'
  | 'QuotaExceeded'
  | 'ReadOnlyDisabledSubscription'
  | 'ResourceGroupBeingDeleted'
  | 'ResourceGroupNotFound'
  | 'ResourceNotFound'
  | 'RoleAssignmentExists'
  | 'RoleAssignmentNotFound'
  | 'RoleAssignmentUpdateNotPermitted'
  | 'RoleDefinitionDoesNotExist';

/** Returned by what judges, thrown by what carries out. */
export class ArmRefusal extends Error {
  override readonly name = 'ArmRefusal';
  constructor(
    readonly code: RefusalCode,
    message: string,
  ) {
    super(message);
  }
}
