// The record of a request in the audit log, in the service's schema. Every request pays for it, so what is
// the same again is written once and kept. Holds who, what, when and how it ended; never a token, a body, or the words of a refusal, which may quote
// the body.
import { STATUS_CODES } from 'node:http';
import type { AuditTrail } from '../hsm/audit.js';
import { trustOf } from '../hsm/trust.js';
import type { Hsm } from '../hsm/hsm.js';
import { claimsOf, type Identity } from './identity.js';
import { parseTarget } from './target.js';

/** One request and how it was answered. */
export interface AuditedRequest {
  readonly operationName: string;
  /** The api-version, once it was understood. */
  readonly operationVersion: string;
  readonly status: number;
  /** A code or fixed words, never anything that the client has sent; empty for a success. */
  readonly description: string;
  /** `performance.now()` when the request arrived. */
  readonly started: number;
  readonly remote: string | undefined;
  /** Undefined when no token was believed. */
  readonly caller: Identity | undefined;
  readonly userAgent: string | undefined;
  readonly requestId: string;
  /** The request target, as it came. */
  readonly url: string;
  /** `https://{host}`. */
  readonly base: string;
}

export type Record = (request: AuditedRequest) => void;

const CLIENT_MAX = 256;
const PATH_MAX = 512;
/** More than the name of a key has: what is longer is no name, and might be anything. */
const SEGMENT_MAX = 128;
/** Requests that are remembered: the same few come again and again. */
const KNOWN_MAX = 4_096;

const PROPERTIES = { PoolType: 'M-HSM', sku_Family: 'B', sku_Name: 'Standard_B1' };

/** Gives the function that appends the record of a request. */
export function createRecorder(audit: AuditTrail, hsm: Hsm, pool: string): Record {
  const known = new Map<string, Known>();
  const pooled = JSON.stringify({
    PoolName: pool,
    resource: pool.toUpperCase(),
    resourceProvider: 'MICROSOFT.KEYVAULT',
    resourceType: 'managedHSMs',
    properties: PROPERTIES,
  }).slice(1, -1);
  let second = 0;
  let secondText = '';

  /** ISO 8601 with milliseconds; all of it but those stays the same for a while. */
  function timeText(now: number): string {
    const milliseconds = now % 1_000;
    if (now - milliseconds !== second) {
      second = now - milliseconds;
      secondText = new Date(second).toISOString().slice(0, -4);
    }
    return `${secondText}${String(milliseconds).padStart(3, '0')}Z`;
  }

  /** What does not differ between requests that are the same again. */
  function constantOf(request: AuditedRequest): string {
    const before = known.get(request.url);
    if (before !== undefined && isAlike(before.request, request)) return before.text;
    const { status, caller } = request;
    const text = JSON.stringify({
      category: 'AuditEvent',
      operationName: request.operationName,
      operationVersion: request.operationVersion,
      resultType: status < 400 ? 'Success' : 'Failure',
      resultSignature: (STATUS_CODES[status] ?? 'Unknown').replaceAll(/[^A-Za-z]/g, ''),
      resultDescription: request.description,
      httpStatusCode: status,
      callerIpAddress: addressOf(request.remote),
      identity: caller === undefined ? '{}' : claimText(caller),
      clientInfo: (request.userAgent ?? '').slice(0, CLIENT_MAX),
      requestUri: `${request.base}${shownTarget(request.url)}`,
      TenantId: trustOf(hsm).tenantId,
    }).slice(1, -1);
    if (request.url.length <= PATH_MAX) {
      if (known.size >= KNOWN_MAX) known.clear();
      known.set(request.url, { request, text });
    }
    return text;
  }

  return (request) => {
    const duration = Math.round((performance.now() - request.started) * 100) / 100;
    const { requestId } = request;
    audit.append(
      `"time":"${timeText(Date.now())}","correlationId":"${requestId}","durationMs":${duration},${constantOf(request)},${pooled}`,
    );
  };
}

interface Known {
  readonly request: AuditedRequest;
  readonly text: string;
}

function isAlike(one: AuditedRequest, other: AuditedRequest): boolean {
  return (
    one.status === other.status &&
    one.caller === other.caller &&
    one.operationName === other.operationName &&
    one.operationVersion === other.operationVersion &&
    one.description === other.description &&
    one.remote === other.remote &&
    one.userAgent === other.userAgent &&
    one.base === other.base &&
    one.url === other.url
  );
}

/** The service's own form of it: a JSON text within the JSON. */
function claimText(caller: Identity): string {
  const { appId, upn } = claimsOf(caller);
  return JSON.stringify({
    claim: {
      ...(appId !== undefined && { appid: appId }),
      http_schemas_microsoft_com_identity: { claims: { objectidentifier: caller.objectId } },
      http_schemas_xmlsoap_org_ws_2005_05_identity: { claims: { upn: upn ?? '' } },
    },
  });
}

/**
 * Path and api-version of a request target. Other parameters are left out: what
 * clients put there is not for a log. So are a host and a user of the absolute form.
 */
function shownTarget(url: string): string {
  const target = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const mark = target.search(/[?#]/);
  const path = (mark < 0 ? target : target.slice(0, mark))
    .slice(0, PATH_MAX)
    .split('/')
    .map((segment) => (segment.length > SEGMENT_MAX ? `${segment.slice(0, SEGMENT_MAX)}…` : segment))
    .join('/');
  const version = versionOf(url);
  return version === '' ? path : `${path}?api-version=${version}`;
}

/** The api-version of a target; empty where there is none that could be one. */
function versionOf(url: string): string {
  try {
    const { apiVersion = '' } = parseTarget(url).query;
    return /^[0-9A-Za-z.-]{1,32}$/.test(apiVersion) ? apiVersion : '';
  } catch {
    return '';
  }
}

function addressOf(remote = ''): string {
  return remote.startsWith('::ffff:') ? remote.slice(7) : remote;
}
