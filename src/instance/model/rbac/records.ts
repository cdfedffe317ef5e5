// Records of local RBAC.
import type { DataAction } from './built-in-roles.js';

/** `/`, `/keys` or `/keys/{name}`. */
export type Scope = '/' | '/keys' | `/keys/${string}`;

export interface Assignment {
  /** GUID, lower case. */
  readonly name: string;
  /** GUID, lower case. */
  readonly principalId: string;
  /** GUID of a built-in or custom role; of one that was deleted since, it grants nothing. */
  readonly roleDefinitionId: string;
  readonly scope: Scope;
}

export interface Grant {
  readonly roleDefinitionId: string;
  readonly scope: Scope;
}

/** All that is assigned to one principal. */
export interface Grants {
  readonly grants: readonly Grant[];
}

/** Names of the assignments made at exactly one scope, in the order in which they were made. */
export interface AssignedAt {
  readonly names: readonly string[];
}

/** A custom role. */
export interface RoleDefinition {
  /** GUID, lower case. */
  readonly name: string;
  /** May be empty, and need not be unique. */
  readonly roleName: string;
  readonly description: string;
  /** Kept apart and in order as the client gave them; what they grant together is one set. */
  readonly permissions: readonly Permission[];
}

export interface Permission {
  readonly dataActions: readonly DataAction[];
  /** Taken away from what the same definition gives; no denial, since another role may still grant it. */
  readonly notDataActions: readonly DataAction[];
}

/** Who asks: an object id of the tenant and the groups that the token names. */
export interface Caller {
  readonly objectId: string;
  readonly groups: readonly string[];
}
