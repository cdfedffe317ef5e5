// The one table from failures to HTTP: status, `error.code` and words. A code without a row does not compile.
import { toJson } from '../../values/json.js';
import { failureOf, type FailureCode } from '../hsm/failure.js';
import { UNREADABLE } from '../hsm/ciphers.js';

/** What the API itself refuses, before any verb is asked. */
export type ApiCode =
  | 'TokenRefused'
  | 'BadRequest'
  | 'MalformedJson'
  | 'BodyTooLarge'
  | 'UnsupportedMedia'
  | 'NotOffered'
  | 'NoSuchPath'
  | 'NoSuchMethod'
  | 'BodyTooSlow'
  | 'HeadersTooLarge'
  | 'MalformedRequest'
  | 'AuditStopped'
  | 'ForbiddenByFirewall'
  | 'Unexpected';

export type Code = FailureCode | ApiCode;

/** A request that the API refuses. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly code: ApiCode,
    readonly detail: string,
  ) {
    super(detail);
  }
}

/** Refuses a request whose parameters make no sense. */
export function bad(detail: string): never {
  throw new ApiError('BadRequest', detail);
}

/** Refuses what the service has and this one does not, instead of quietly leaving it out. */
export function notOffered(what: string): never {
  throw new ApiError('NotOffered', what);
}

interface Row {
  readonly status: number;
  readonly code: string;
  readonly message: (detail: string, base: string) => string;
  /** `innererror.code`. */
  readonly inner?: string;
  /** Seconds. */
  readonly retryAfter?: number;
}

const asIs = (detail: string) => detail;
const notFound = (detail: string, base: string) => `Key not found: ${base}/${detail}`;
const limit = (detail: string) => `Limit reached: ${detail}`;
const later = (detail: string) =>
  `The service cannot take this request now; it was not carried out. ${detail}`;

const rows: Readonly<Record<Code, Row>> = {
  BadRequest: { status: 400, code: 'BadParameter', message: asIs },
  BadParameter: { status: 400, code: 'BadParameter', message: asIs },
  MalformedJson: { status: 400, code: 'BadParameter', message: asIs },
  MalformedRequest: { status: 400, code: 'BadParameter', message: asIs },
  NotOffered: { status: 400, code: 'NotSupported', message: (detail) => `${detail} not supported` },
  TokenRefused: { status: 401, code: 'Unauthorized', message: asIs },
  NotPermitted: {
    status: 403,
    code: 'AccessDenied',
    message: (detail) => `Not authorized to access ${detail}`,
  },
  NotActivated: { status: 403, code: 'Forbidden', message: asIs, inner: 'HsmNotActivated' },
  KeyDisabled: { status: 403, code: 'Forbidden', message: asIs, inner: 'KeyDisabled' },
  KeyNotYetValid: { status: 403, code: 'Forbidden', message: asIs, inner: 'KeyNotYetValid' },
  KeyExpired: { status: 403, code: 'Forbidden', message: asIs, inner: 'KeyExpired' },
  ForbiddenByFirewall: { status: 403, code: 'Forbidden', message: asIs, inner: 'ForbiddenByFirewall' },
  ArmNotAllowed: { status: 403, code: 'Forbidden', message: asIs, inner: 'ArmNotAllowed' },
  OperationNotAllowed: { status: 403, code: 'Forbidden', message: asIs, inner: 'KeyOperationForbidden' },
  PurgeProtected: {
    status: 403,
    code: 'Forbidden',
    message: (name) => `The key ${name} cannot be purged before its retention ends: purge protection is on.`,
  },
  AssertionRefused: {
    status: 403,
    code: 'Forbidden',
    message: (detail) => `Target environment attestation statement cannot be verified. ${detail}`,
    inner: 'AccessDenied',
  },
  NoSuchPath: { status: 404, code: 'NotFound', message: asIs },
  KeyNotFound: { status: 404, code: 'KeyNotFound', message: notFound },
  // The service says it twice.
  RotatedKeyNotFound: {
    status: 404,
    code: 'KeyNotFound',
    message: (detail, base) => `Key not found: ${notFound(detail, base)}`,
  },
  RotationPolicyNotFound: { status: 404, code: 'KeyNotFound', message: notFound },
  SettingNotFound: { status: 404, code: 'NotFound', message: (name) => `There is no setting '${name}'` },
  DeletedKeyNotFound: { status: 404, code: 'KeyNotFound', message: notFound },
  NoSuchMethod: { status: 405, code: 'MethodNotAllowed', message: asIs },
  BodyTooSlow: { status: 408, code: 'RequestTimeout', message: asIs },
  NameHeldByDeletedKey: {
    status: 409,
    code: 'Conflict',
    message: (name) =>
      `Key ${name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.`,
    inner: 'ObjectIsDeletedButRecoverable',
  },
  KeyExists: {
    status: 409,
    code: 'Conflict',
    message: (name) => `Key ${name} exists already; delete and purge it before it is restored.`,
  },
  KeyChanged: { status: 409, code: 'Conflict', message: asIs },
  MalformedBackup: {
    status: 400,
    code: 'MalformedBackupBlob',
    message: () => 'Backup blob belongs to a different crypto domain and cannot be used with this instance.',
  },
  TrustNotFound: { status: 404, code: 'NotFound', message: (noun) => `No such ${noun} is trusted` },
  TrustNeeded: { status: 409, code: 'Conflict', message: asIs, inner: 'TrustNeeded' },
  TooMuchTrusted: { status: 409, code: 'LimitExceeded', message: limit },
  AlreadyFounded: { status: 409, code: 'Conflict', message: (name) => `The pool ${name} exists already` },
  AlreadyActivated: { status: 409, code: 'Conflict', message: asIs },
  TransferKeyExists: { status: 409, code: 'Conflict', message: asIs },
  NoDomainOperation: { status: 404, code: 'NotFound', message: asIs },
  DomainUnusable: { status: 400, code: 'BadParameter', message: asIs },
  AlreadySubmitted: { status: 409, code: 'Conflict', message: asIs },
  JobNotFound: { status: 404, code: 'NotFound', message: (id) => `There is no backup or restore ${id}` },
  JobRunning: { status: 409, code: 'Conflict', message: asIs },
  JobChanged: { status: 409, code: 'Conflict', message: asIs },
  BackupNeeded: { status: 409, code: 'Conflict', message: asIs, inner: 'BackupNeeded' },
  StorageNotAllowed: { status: 403, code: 'Forbidden', message: asIs, inner: 'StorageNotAllowed' },
  TooManyKeys: { status: 409, code: 'LimitExceeded', message: limit },
  TooManyVersions: { status: 409, code: 'LimitExceeded', message: limit },
  RoleDefinitionNotFound: {
    status: 404,
    code: 'RoleDefinitionNotFound',
    message: () => 'Requested role definition not found',
  },
  RoleAssignmentNotFound: {
    status: 404,
    code: 'RoleAssignmentNotFound',
    message: () => 'Requested role assignment not found',
  },
  RoleAssignmentExists: {
    status: 400,
    code: 'RoleAssignmentExists',
    message: () => 'The role assignment already exists.',
  },
  RoleAlreadyAssigned: {
    status: 409,
    code: 'Conflict',
    message: (scope) => `The principal has this role at ${scope} already, under another name`,
  },
  TooManyRoleDefinitions: { status: 409, code: 'LimitExceeded', message: limit },
  TooManyRoleAssignments: { status: 409, code: 'LimitExceeded', message: limit },
  LastAdministrator: { status: 409, code: 'Conflict', message: asIs, inner: 'LastAdministrator' },
  BodyTooLarge: { status: 413, code: 'RequestEntityTooLarge', message: asIs },
  UnsupportedMedia: { status: 415, code: 'UnsupportedMediaType', message: asIs },
  HeadersTooLarge: { status: 431, code: 'RequestHeaderFieldsTooLarge', message: asIs },
  BadCiphertext: { status: 400, code: 'BadParameter', message: () => UNREADABLE },
  BadKeyMaterial: {
    status: 400,
    code: 'BadParameter',
    message: () => 'The members of the key do not fit each other or its type',
  },
  BadWrappedKey: {
    status: 400,
    code: 'BadParameter',
    message: () => 'The wrapped key does not open, or is not of the type, curve or size that it must be',
  },
  TooLong: { status: 400, code: 'BadParameter', message: () => 'The value is too long for this key' },
  SlotFailed: {
    status: 500,
    code: 'InternalError',
    message: () => 'The partition could not carry out the operation',
  },
  // One slot sealed it and another could not open it: a fault of the pool, and nothing was changed.
  BlobUnreadable: {
    status: 500,
    code: 'InternalError',
    message: () => 'The partitions of the pool do not agree on the new key; it was not added',
  },
  TooFewInSync: { status: 503, code: 'ServiceUnavailable', message: later, retryAfter: 1 },
  TooMuchUndecided: { status: 503, code: 'ServiceUnavailable', message: later, retryAfter: 1 },
  Undecided: { status: 503, code: 'ServiceUnavailable', message: later, retryAfter: 1 },
  NotServing: { status: 503, code: 'ServiceUnavailable', message: later, retryAfter: 1 },
  Restoring: {
    status: 503,
    code: 'ServiceUnavailable',
    message: later,
    inner: 'RestoreInProgress',
    retryAfter: 10,
  },
  AuditStopped: { status: 503, code: 'ServiceUnavailable', message: later, retryAfter: 5 },
  // Without Retry-After: with it, 503 says that nothing happened, and clients ask again by themselves.
  OutcomeUnknown: {
    status: 503,
    code: 'ServiceUnavailable',
    message: (detail) =>
      `Outcome unknown: the change may or may not have been made. Read the key before deciding whether to ask again. ${detail}`,
  },
  Unexpected: { status: 500, code: 'InternalError', message: () => 'Internal error' },
};

/** The error body of a fault that was asked for. */
export function faultBody(
  { code, message }: { readonly code: string; readonly message: string },
  requestId: string,
): string {
  return toJson({ error: { code, message: `${message} (Activity ID: ${requestId})` } });
}

export interface Problem {
  readonly code: Code;
  readonly status: number;
  readonly body: string;
  readonly retryAfter?: number;
}

// A refusal may quote what the client sent, and that is as long as a body may be.
const WORDS_MAX = 500;

/** The answer to any error whatever; `base` is `https://{host}`. */
export function problemOf(error: unknown, requestId: string, base: string): Problem {
  const failure = error instanceof ApiError ? error : failureOf(error);
  return problem(failure?.code ?? 'Unexpected', failure?.detail ?? '', requestId, base);
}

/** The error body of the service: `{"error":{"code","message":"… (Activity ID: {x-ms-request-id})"}}`. */
export function problem(code: Code, detail: string, requestId: string, base: string): Problem {
  const row = rows[code];
  const message = `${row.message(detail, base).slice(0, WORDS_MAX)} (Activity ID: ${requestId})`;
  const inner = row.inner === undefined ? {} : { innererror: { code: row.inner } };
  return {
    code,
    status: row.status,
    body: toJson({ error: { code: row.code, ...inner, message } }),
    ...(row.retryAfter === undefined ? {} : { retryAfter: row.retryAfter }),
  };
}
