// Refusals of the login in the form that the service's clients read (RFC 6749 section 5.2, with the service's own
// members). The numbers are those of the service, so that its documentation fits.
import { newUuid } from '../../values/ids.js';

/** Every refusal there is: HTTP status, OAuth error, the service's number. */
const REFUSALS = {
  MissingParameter: [400, 'invalid_request', 900144],
  UnknownTenant: [400, 'invalid_request', 90002],
  UnsupportedGrant: [400, 'unsupported_grant_type', 70003],
  InvalidScope: [400, 'invalid_scope', 70011],
  UnknownResource: [400, 'invalid_resource', 500011],
  UnknownClient: [400, 'unauthorized_client', 700016],
  WrongSecret: [401, 'invalid_client', 7000215],
  WrongAssertion: [401, 'invalid_client', 700027],
  Throttled: [429, 'temporarily_unavailable', 90055],
} as const satisfies Record<string, readonly [status: number, error: string, number: number]>;

export class LoginRefusal extends Error {
  override readonly name = 'LoginRefusal';
  constructor(
    readonly code: keyof typeof REFUSALS,
    message: string,
    /** Seconds; with Throttled. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

export interface OAuthError {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export function oauthError(refusal: LoginRefusal, correlationId: string = newUuid()): OAuthError {
  const [status, error, number] = REFUSALS[refusal.code];
  const timestamp = `${new Date().toISOString().slice(0, 19).replace('T', ' ')}Z`;
  const traceId = newUuid();
  return {
    status,
    body: {
      error,
      error_description: `AADSTS${number}: ${refusal.message} Trace ID: ${traceId} Correlation ID: ${correlationId} Timestamp: ${timestamp}`,
      error_codes: [number],
      timestamp,
      trace_id: traceId,
      correlation_id: correlationId,
    },
  };
}
