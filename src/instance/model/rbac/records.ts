// Records of local RBAC.

/** `/`, `/keys` or `/keys/{name}`. */
export type Scope = '/' | '/keys' | `/keys/${string}`;

export interface Assignment {
  /** GUID, lower case. */
  readonly name: string;
  readonly principalId: string;
  /** GUID of a built-in role. */
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

/** Who asks: an object id of the tenant and the groups that the token names. */
export interface Caller {
  readonly objectId: string;
  readonly groups: readonly string[];
}
