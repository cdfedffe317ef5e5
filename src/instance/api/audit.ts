// The record of a request in the audit log, in the service's schema. Written by hand into one text, since every request
// pays for it. Holds who, what, when and how it ended; never a token, a body, or the words of a refusal, which may quote
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
/** Targets and user agents are few, and the same ones come again and again. */
const KNOWN_MAX = 4_096;

const PROPERTIES = { PoolType: 'M-HSM', sku_Family: 'B', sku_Name: 'Standard_B1' };

/** Gives the function that appends the record of a request. */
export function createRecorder(audit: AuditTrail, hsm: Hsm, pool: string): Record {
  const uris = new Remembered(shownTarget);
  const clients = new Remembered((agent: string) => JSON.stringify(agent.slice(0, CLIENT_MAX)));
  const identities = new WeakMap<Identity, string>();
  const signatures = new Map<number, string>();
  let rest: string | undefined;

  const restOf = (): string =>
    (rest ??= JSON.stringify({
      PoolName: pool,
      TenantId: trustOf(hsm).tenantId,
      resource: pool.toUpperCase(),
      resourceProvider: 'MICROSOFT.KEYVAULT',
      resourceType: 'managedHSMs',
      properties: PROPERTIES,
    }).slice(1, -1));

  function identityOf(caller: Identity | undefined): string {
    if (caller === undefined) return '"{}"';
    let text = identities.get(caller);
    if (text === undefined) {
      text = JSON.stringify(claimText(caller));
      identities.set(caller, text);
    }
    return text;
  }

  function signatureOf(status: number): string {
    let text = signatures.get(status);
    if (text === undefined) {
      text = (STATUS_CODES[status] ?? 'Unknown').replaceAll(/[^A-Za-z]/g, '');
      signatures.set(status, text);
    }
    return text;
  }

  return (request) => {
    const { status } = request;
    const duration = Math.round((performance.now() - request.started) * 100) / 100;
    audit.append(
      `"time":"${new Date().toISOString()}","category":"AuditEvent","operationName":"${request.operationName}",` +
        `"operationVersion":"${request.operationVersion}","resultType":"${status < 400 ? 'Success' : 'Failure'}",` +
        `"resultSignature":"${signatureOf(status)}","resultDescription":"${request.description}",` +
        `"httpStatusCode":${status},"durationMs":${duration},"callerIpAddress":"${addressOf(request.remote)}",` +
        `"identity":${identityOf(request.caller)},"clientInfo":${clients.of(request.userAgent ?? '')},` +
        `"correlationId":"${request.requestId}","requestUri":"${request.base}${uris.of(request.url)}",${restOf()}`,
    );
  };
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
 * Path and api-version of a request target, ready to stand inside a JSON text. Other parameters are left out: what
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
  return JSON.stringify(version === '' ? path : `${path}?api-version=${version}`).slice(1, -1);
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

/** A pure function of a text that remembers what it gave; never more than so much. */
class Remembered {
  readonly #known = new Map<string, string>();
  #lastText = '';
  #lastValue: string | undefined;

  constructor(private readonly make: (text: string) => string) {}

  of(text: string): string {
    if (text === this.#lastText && this.#lastValue !== undefined) return this.#lastValue;
    let value = this.#known.get(text);
    if (value === undefined) {
      value = this.make(text);
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      if (text.length <= PATH_MAX) this.#known.set(text, value);
    }
    this.#lastText = text;
    this.#lastValue = value;
    return value;
  }
}
