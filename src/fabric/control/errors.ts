// Refusals of the control plane: one table from code to HTTP status, one shape.
import type { ErrorRequestHandler, Response } from 'express';
import { PoolError } from '../pools/pool-file.js';
import { ArmRefusal } from '../resources/refusal.js';
import type { RefusalCode } from '../resources/refusal.js';

const STATUS_OF = {
  BadRequest: 400,
  InvalidApiVersionParameter: 400,
  InvalidFilterInQueryString: 400,
  InvalidRequestContent: 400,
  MissingApiVersionParameter: 400,
  NoRegisteredProviderFound: 400,
  AuthenticationFailed: 401,
  AuthorizationFailed: 403,
  NotFound: 404,
  SubscriptionNotFound: 404,
  Conflict: 409,
  OperationFailed: 409,
  InternalError: 500,
  NotConfirmed: 504,
  // Microsoft Graph's words for the same.
  Request_BadRequest: 400,
  Request_UnsupportedQuery: 400,
  Authorization_RequestDenied: 403,
} as const;

/** What a client is told of a refusal of the resources: the status, and the code where it has another name. */
const ARM: Readonly<Record<RefusalCode, readonly [status: number, code?: string]>> = {
  AccountNameInvalid: [400],
  AnotherOperationInProgress: [409],
  BadRequest: [400],
  Conflict: [409],
  ConflictError: [409],
  DeletedMhsmNotFound: [404],
  InsufficientCapacity: [409],
  InvalidLocation: [400, 'LocationNotAvailableForResourceType'],
  InvalidPrincipalId: [400],
  InvalidResourceLocation: [409],
  InvalidRoleAssignmentId: [400],
  LastOwner: [409, 'Conflict'],
  LocationRequired: [400],
  // The service gives the number as the code here.
  NumericBadRequest: [400, '400'],
  PurgeProtected: [405, 'MethodNotAllowed'],
  QuotaExceeded: [409],
  ReadOnlyDisabledSubscription: [409],
  ResourceGroupBeingDeleted: [409],
  ResourceGroupNotFound: [404],
  ResourceNotFound: [404],
  RoleAssignmentExists: [409],
  RoleAssignmentNotFound: [404],
  RoleAssignmentUpdateNotPermitted: [409],
  RoleDefinitionDoesNotExist: [400],
};

export class ControlRefusal extends Error {
  override readonly name = 'ControlRefusal';
  constructor(
    readonly code: keyof typeof STATUS_OF,
    message: string,
  ) {
    super(message);
  }
}

function send(response: Response, status: number, code: string, message: string): void {
  response.status(status).json({ error: { code, message } });
}

/** The last handler: turns whatever was thrown into an answer without a stack trace. */
export function answerErrors(report: (error: unknown) => void): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    if (response.headersSent) {
      next(error); // Express then cuts the connection, which is all that is left to do
    } else if (error instanceof ControlRefusal) {
      send(response, STATUS_OF[error.code], error.code, error.message);
    } else if (error instanceof ArmRefusal) {
      const [status, code = error.code] = ARM[error.code];
      send(response, status, code, error.message);
    } else if (error instanceof PoolError) {
      // Kept, and done as soon as the pool can.
      send(
        response,
        STATUS_OF.NotConfirmed,
        'NotConfirmed',
        `It was not confirmed in time: ${error.message}.`,
      );
    } else if (isClientError(error)) {
      send(response, error.status, 'BadRequest', error.message);
    } else {
      report(error);
      send(response, STATUS_OF.InternalError, 'InternalError', 'The fabric failed; its log says why.');
    }
  };
}

// Parsers of bodies and paths mark what the client did wrong with a 4xx status.
function isClientError(error: unknown): error is Error & { status: number } {
  if (!(error instanceof Error) || !('status' in error)) return false;
  return typeof error.status === 'number' && error.status >= 400 && error.status < 500;
}
