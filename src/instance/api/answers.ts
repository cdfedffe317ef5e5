// The shapes of the answers, for the description that is served. Nothing is checked against them in service; a test
// holds the real answer of every operation to them. Strict: a member that is missing here is a difference.
import * as z from 'zod';
import type { Route } from './routes.js';

const bytes = z.base64url();
const seconds = z.int().min(0).describe('Seconds since 1970');
const tags = z.record(z.string(), z.string());

const attributes = z.strictObject({
  created: seconds,
  enabled: z.boolean(),
  exp: seconds.optional(),
  exportable: z.boolean(),
  key_size: z.int().optional().describe('Of symmetric keys, since 2026-01-01-preview'),
  nbf: seconds.optional(),
  recoverableDays: z.int().min(7).max(90),
  recoveryLevel: z.enum([
    'Recoverable+Purgeable',
    'Recoverable',
    'CustomizedRecoverable+Purgeable',
    'CustomizedRecoverable',
  ]),
  updated: seconds,
});

const common = { key_ops: z.array(z.string()), kid: z.url() };
const webKey = z.discriminatedUnion('kty', [
  z.strictObject({ ...common, kty: z.literal('RSA-HSM'), e: bytes, n: bytes }),
  z.strictObject({
    ...common,
    kty: z.literal('EC-HSM'),
    crv: z.enum(['P-256', 'P-256K', 'P-384', 'P-521']),
    x: bytes,
    y: bytes,
  }),
  z.strictObject({ ...common, kty: z.literal('oct-HSM') }),
]);

const releasePolicy = z.strictObject({ contentType: z.string(), data: bytes, immutable: z.boolean() });

const keyBundle = z.strictObject({
  attributes,
  key: webKey,
  release_policy: releasePolicy.optional(),
  tags: tags.optional(),
});
const attestation = z.strictObject({
  certificatePemFile: bytes,
  privateKeyAttestation: bytes,
  publicKeyAttestation: bytes.optional(),
  version: z.string(),
});
const attestedKeyBundle = keyBundle.extend({ attributes: attributes.extend({ attestation }) });
const keyItem = z.strictObject({ attributes, kid: z.url(), tags: tags.optional() });
const deletion = { deletedDate: seconds, recoveryId: z.url(), scheduledPurgeDate: seconds };
const deletedKeyBundle = keyBundle.extend(deletion);
const deletedKeyItem = keyItem.extend(deletion);

/** The link is absent on the last page. */
function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ nextLink: z.url().optional(), value: z.array(item).max(25) });
}
const keyPage = pageOf(keyItem);
const deletedKeyPage = pageOf(deletedKeyItem);

const operationResult = z.strictObject({ alg: z.string(), kid: z.url(), value: bytes });
const encryptResult = operationResult.extend({
  aad: bytes.optional(),
  iv: bytes.optional(),
  tag: bytes.optional(),
});
const verifyResult = operationResult.extend({ value: z.boolean() });
const randomBytes = z.strictObject({ value: bytes });

const releasedKey = z.strictObject({ value: z.string().describe('Compact JWS that holds the key, wrapped') });
const keyBackup = z.strictObject({ value: bytes });

const duration = z.string().describe('ISO 8601, as P90D');
/** Blank once it was removed. */
const rotationPolicy = z.strictObject({
  attributes: z.strictObject({
    created: seconds.optional(),
    expiryTime: duration.optional(),
    updated: seconds.optional(),
  }),
  id: z.string(),
  lifetimeActions: z.array(
    z.strictObject({
      action: z.strictObject({ type: z.string() }),
      trigger: z.strictObject({
        timeAfterCreate: duration.optional(),
        timeBeforeExpiry: duration.optional(),
      }),
    }),
  ),
});

const setting = z.strictObject({ name: z.string(), type: z.literal('boolean'), value: z.string() });
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const trust = z.strictObject({
  hosts: z.array(z.strictObject({ id: sha256, publicKey: bytes })),
  issuers: z.array(
    z.strictObject({
      audience: z.string().optional(),
      ca: z.string().optional(),
      id: sha256,
      issuer: z.string(),
      metadataUrl: z.url().optional(),
      pinned: z.boolean().describe('Known by keys that never change, and never asked'),
    }),
  ),
  measurements: z.array(sha256),
  running: sha256.describe('Measurement of the instance that answers'),
});
const auditTail = z.strictObject({
  instance: z.int(),
  value: z.array(z.string().describe('A line of the log, JSON as text')),
});
const settingList = z.strictObject({ settings: z.array(setting) });

const permission = z.strictObject({
  actions: z.array(z.string()),
  dataActions: z.array(z.string()),
  notActions: z.array(z.string()),
  notDataActions: z.array(z.string()),
});
const roleDefinition = z.strictObject({
  id: z.string(),
  name: z.guid(),
  properties: z.strictObject({
    assignableScopes: z.array(z.literal('/')),
    description: z.string(),
    permissions: z.array(permission),
    roleName: z.string(),
    type: z.enum(['AKVBuiltInRole', 'CustomRole']),
  }),
  type: z.literal('Microsoft.Authorization/roleDefinitions'),
});
const roleAssignment = z.strictObject({
  id: z.string(),
  name: z.guid(),
  properties: z.strictObject({ principalId: z.guid(), roleDefinitionId: z.string(), scope: z.string() }),
  type: z.literal('Microsoft.Authorization/roleAssignments'),
});
const roleDefinitionList = z.strictObject({ value: z.array(roleDefinition) });
const roleAssignmentList = z.strictObject({ value: z.array(roleAssignment) });

const securityDomain = z.strictObject({ value: z.string().describe('The file, JSON as text') });
const transferKey = z.strictObject({
  key_format: z.literal('jwk'),
  transfer_key: z.string().describe('A JWK as JSON text, with the exchange certificate in x5c'),
});
const securityDomainStatus = z.strictObject({
  status: z.enum(['InProgress', 'Success', 'Failed']),
  status_details: z.string(),
});

const jobError = z.strictObject({ code: z.string(), message: z.string(), innererror: z.null() });
const restoreJob = z.strictObject({
  status: z.enum(['InProgress', 'Succeeded', 'Failed']),
  statusDetails: z.string().nullable(),
  error: jobError.nullable(),
  startTime: seconds,
  endTime: seconds.nullable(),
  jobId: z.string().regex(/^[0-9a-f]{32}$/),
});
const backupJob = restoreJob.extend({
  azureStorageBlobContainerUri: z.url().nullable().describe('Folder of a backup that was finished'),
});

/** Every refusal. */
const problem = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    innererror: z.strictObject({ code: z.string() }).optional(),
    message: z.string().describe('Ends with the request id: (Activity ID: …)'),
  }),
});

/** Shapes that have a name of their own in the description. */
export const shapes: Readonly<Record<string, z.ZodType>> = {
  AuditTail: auditTail,
  Trust: trust,
  KeyAttributes: attributes,
  JsonWebKey: webKey,
  KeyBundle: keyBundle,
  KeyItem: keyItem,
  KeyPage: keyPage,
  DeletedKeyBundle: deletedKeyBundle,
  DeletedKeyItem: deletedKeyItem,
  DeletedKeyPage: deletedKeyPage,
  OperationResult: operationResult,
  EncryptResult: encryptResult,
  VerifyResult: verifyResult,
  RandomBytes: randomBytes,
  KeyBackup: keyBackup,
  ReleasePolicy: releasePolicy,
  AttestedKeyBundle: attestedKeyBundle,
  ReleasedKey: releasedKey,
  RotationPolicy: rotationPolicy,
  SecurityDomain: securityDomain,
  TransferKey: transferKey,
  SecurityDomainStatus: securityDomainStatus,
  BackupJob: backupJob,
  RestoreJob: restoreJob,
  Setting: setting,
  SettingList: settingList,
  RoleDefinition: roleDefinition,
  RoleDefinitionList: roleDefinitionList,
  RoleAssignment: roleAssignment,
  RoleAssignmentList: roleAssignmentList,
  Problem: problem,
};

export type QueryParameter = 'maxresults' | '$skiptoken' | '$filter';

/** What is said about an operation beside its row in the table of routes. */
export interface Said {
  readonly summary: string;
  /** Absent: the answer has no body. */
  readonly answer?: z.ZodType;
  readonly query?: readonly QueryParameter[];
}

const pages = ['maxresults', '$skiptoken'] as const;
const filtered = ['$filter'] as const;
const definitions = 'providers/microsoft.authorization/roledefinitions';
const assignments = 'providers/microsoft.authorization/roleassignments';

/** By method and path; role routes once for all their scopes, without what stands before `providers`. */
export const said: Readonly<Record<string, Said>> = {
  'GET keys': { summary: 'Lists keys', answer: keyPage, query: pages },
  'POST keys/{name}/create': { summary: 'Makes a key, or a new version of it', answer: keyBundle },
  'PUT keys/{name}': { summary: 'Imports a key, or a new version of it', answer: keyBundle },
  'GET keys/{name}/versions': { summary: 'Lists the versions of a key', answer: keyPage, query: pages },
  'GET keys/{name}/{version}': { summary: 'Shows a key', answer: keyBundle },
  'PATCH keys/{name}/{version}': {
    summary: 'Changes attributes, operations and tags of a key',
    answer: keyBundle,
  },
  'DELETE keys/{name}': { summary: 'Deletes a key; it can be recovered', answer: deletedKeyBundle },
  'GET deletedkeys': { summary: 'Lists deleted keys', answer: deletedKeyPage, query: pages },
  'GET deletedkeys/{name}': { summary: 'Shows a deleted key', answer: deletedKeyBundle },
  'POST deletedkeys/{name}/recover': { summary: 'Recovers a deleted key', answer: keyBundle },
  'DELETE deletedkeys/{name}': { summary: 'Purges a deleted key, for good' },
  'POST keys/{name}/{version}/sign': { summary: 'Signs a digest', answer: operationResult },
  'POST keys/{name}/{version}/verify': { summary: 'Verifies a signature', answer: verifyResult },
  'POST keys/{name}/{version}/encrypt': { summary: 'Encrypts', answer: encryptResult },
  'POST keys/{name}/{version}/decrypt': { summary: 'Decrypts', answer: operationResult },
  'POST keys/{name}/{version}/wrapkey': { summary: 'Wraps key material', answer: operationResult },
  'POST keys/{name}/{version}/unwrapkey': { summary: 'Unwraps key material', answer: operationResult },
  'POST keys/{name}/backup': { summary: 'Backs up a key with all its versions', answer: keyBackup },
  'POST keys/restore': { summary: 'Restores a key from its backup', answer: keyBundle },
  'POST keys/{name}/rotate': { summary: 'Makes a new version of a key by its policy', answer: keyBundle },
  'GET keys/{name}/rotationpolicy': { summary: 'Shows the rotation policy', answer: rotationPolicy },
  'PUT keys/{name}/rotationpolicy': {
    summary: 'Sets the rotation policy; a blank one removes it',
    answer: rotationPolicy,
  },
  'GET keys/{name}/{version}/attestation': {
    summary: 'Shows a key with an attestation of it',
    answer: attestedKeyBundle,
  },
  'POST keys/{name}/{version}/release': {
    summary: 'Releases a key to an attested enclave',
    answer: releasedKey,
  },
  'POST keys/{name}/{version}/securewrapkey': {
    summary: 'Makes a key and wraps it',
    answer: operationResult,
  },
  'POST keys/{name}/{version}/secureunwrapkey': {
    summary: 'Unwraps a key for an attested enclave',
    answer: operationResult,
  },
  'POST securitydomain/download': {
    summary: 'Makes the security domain file for these custodians; the first one activates the HSM',
    answer: securityDomain,
  },
  'GET securitydomain/download/pending': {
    summary: 'Tells what became of the download',
    answer: securityDomainStatus,
  },
  'GET securitydomain/upload': {
    summary: 'Shows the transfer key of an HSM that waits for a security domain',
    answer: transferKey,
  },
  'POST securitydomain/upload': {
    summary: 'Restores a security domain into an HSM that waits for one',
    answer: securityDomainStatus,
  },
  'GET securitydomain/upload/pending': {
    summary: 'Tells what became of the upload',
    answer: securityDomainStatus,
  },
  'POST backup': { summary: 'Begins a full backup into a container', answer: backupJob },
  'POST prebackup': { summary: 'Checks whether a full backup could be made', answer: backupJob },
  'GET backup/{item}/pending': { summary: 'Tells what became of a backup', answer: backupJob },
  'PUT restore': { summary: 'Begins to replace everything by a full backup', answer: restoreJob },
  'PUT prerestore': { summary: 'Checks whether a full backup could be restored', answer: restoreJob },
  'PUT keys/{name}/restore': { summary: 'Begins to restore one key from a full backup', answer: restoreJob },
  'GET restore/{item}/pending': { summary: 'Tells what became of a restore', answer: restoreJob },
  'GET settings': { summary: 'Lists settings', answer: settingList },
  'GET settings/{item}': { summary: 'Shows a setting', answer: setting },
  'GET trivet/audit': { summary: 'Shows the newest audit records of one instance', answer: auditTail },
  'GET trivet/trust': { summary: 'Shows whom the pool trusts', answer: trust },
  'PUT trivet/trust/hosts/{item}': { summary: 'Enrols a host, by the SHA-256 of its key', answer: trust },
  'DELETE trivet/trust/hosts/{item}': { summary: 'Removes a host', answer: trust },
  'PUT trivet/trust/measurements/{item}': { summary: 'Allows instances of this measurement', answer: trust },
  'DELETE trivet/trust/measurements/{item}': { summary: 'Removes a measurement', answer: trust },
  'PUT trivet/trust/issuers/{item}': {
    summary: 'Trusts an OpenID provider, by the SHA-256 of its `iss`',
    answer: trust,
  },
  'DELETE trivet/trust/issuers/{item}': { summary: 'Removes an issuer of tokens', answer: trust },
  'PATCH settings/{item}': { summary: 'Changes a setting', answer: setting },
  'POST rng': { summary: 'Makes random bytes', answer: randomBytes },
  [`GET ${definitions}`]: {
    summary: 'Lists role definitions',
    answer: roleDefinitionList,
    query: filtered,
  },
  [`GET ${definitions}/{item}`]: { summary: 'Shows a role definition', answer: roleDefinition },
  [`PUT ${definitions}/{item}`]: { summary: 'Makes or replaces a custom role', answer: roleDefinition },
  [`DELETE ${definitions}/{item}`]: { summary: 'Deletes a custom role', answer: roleDefinition },
  [`GET ${assignments}`]: {
    summary: 'Lists role assignments',
    answer: roleAssignmentList,
    query: filtered,
  },
  [`GET ${assignments}/{item}`]: { summary: 'Shows a role assignment', answer: roleAssignment },
  [`PUT ${assignments}/{item}`]: { summary: 'Assigns a role', answer: roleAssignment },
  [`DELETE ${assignments}/{item}`]: { summary: 'Removes a role assignment', answer: roleAssignment },
};

/** Undefined for a route of which nothing is said; a test sees to it that there is none. */
export function saidOf({ method, path }: Pick<Route, 'method' | 'path'>): Said | undefined {
  return said[`${method} ${path.replace(/^.*(?=providers\/)/, '')}`];
}
