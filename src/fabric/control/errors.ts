// Refusals of the control plane: one table from code to HTTP status, one shape.
import type { ErrorRequestHandler, Response } from 'express';

const STATUS_OF = {
  BadRequest: 400,
  AuthenticationFailed: 401,
  AuthorizationFailed: 403,
  NotFound: 404,
  Conflict: 409,
  InternalError: 500,
  NotConfirmed: 504,
  // Microsoft Graph's words for the same.
  Request_BadRequest: 400,
  Request_UnsupportedQuery: 400,
  Authorization_RequestDenied: 403,
} as const;

export class ControlRefusal extends Error {
  override readonly name = 'ControlRefusal';
  constructor(
    readonly code: keyof typeof STATUS_OF,
    message: string,
  ) {
    super(message);
  }
}

function sendRefusal(response: Response, refusal: ControlRefusal): void {
  response.status(STATUS_OF[refusal.code]).json({ error: { code: refusal.code, message: refusal.message } });
}

/** The last handler: turns whatever was thrown into an answer without a stack trace. */
export function answerErrors(report: (error: unknown) => void): ErrorRequestHandler {
  return (error: unknown, _request, response, next) => {
    if (response.headersSent) {
      next(error); // Express then cuts the connection, which is all that is left to do
    } else if (error instanceof ControlRefusal) {
      sendRefusal(response, error);
    } else if (isClientError(error)) {
      response.status(error.status).json({ error: { code: 'BadRequest', message: error.message } });
    } else {
      report(error);
      sendRefusal(response, new ControlRefusal('InternalError', 'The fabric failed; its log says why.'));
    }
  };
}

// Parsers of bodies and paths mark what the client did wrong with a 4xx status.
function isClientError(error: unknown): error is Error & { status: number } {
  if (!(error instanceof Error) || !('status' in error)) return false;
  return typeof error.status === 'number' && error.status >= 400 && error.status < 500;
}
