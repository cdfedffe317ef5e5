// The routes as data: method, path, the data action that the verb asks for and where, the first api-version that has
// it, the body, and the handler. Nothing else in the API knows a path.
import type { z } from 'zod';
import * as auditTail from './audit-tail.js';
import * as bodies from './bodies.js';
import { allowThroughArm } from '../hsm/through-arm.js';
import type { Answer, Call } from './call.js';
import * as crypto from './crypto.js';
import * as domain from './security-domain.js';
import * as fullBackup from './full-backup.js';
import * as keys from './keys.js';
import * as release from './release.js';
import * as roles from './roles.js';
import * as rotation from './rotation.js';
import * as settings from './settings.js';
import * as trust from './trust.js';
import type { ApiVersion } from './versions.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Route {
  readonly method: Method;
  /** Fixed segments in lower case; `{name}` of a key, `{version}` which may be left out, `{item}` for anything else. */
  readonly path: string;
  /** Without the prefix `Microsoft.KeyVault/managedHsm/`; asserted by the verb, named here for readers and tests. */
  readonly action: string;
  /** Where the action must be held: on the key, on all keys, or on the whole HSM. */
  readonly scope: 'key' | '/keys' | '/';
  readonly since: ApiVersion;
  /** Absent: a body is neither needed nor read. */
  readonly body?: z.ZodType;
  /** For a body beyond the usual limit. */
  readonly long?: LongBody;
  readonly status: 200 | 201 | 202 | 204;
  /** Further headers of a success, names and values by turns; `base` is `https://{host}`. */
  readonly headers?: (base: string, body: string) => readonly string[];
  /** Answered without an api-version too: clients ask at an address that we gave them, as it is. */
  readonly unversioned?: true;
  readonly run: (call: Call, body: unknown) => Answer;
}

export interface LongBody {
  /** Bytes that it may have. */
  readonly max: number;
  /** Refuses a caller of whom so much need not be read, before it is: not everybody with a token may cause that work. */
  readonly admit?: (call: Call) => void | Promise<void>;
}

type Head = readonly [Method, string, string, Route['scope'], ApiVersion];

/** A route without a body. */
function bare(head: Head, run: (call: Call) => Answer, status: 200 | 204 = 200): Route {
  const [method, path, action, scope, since] = head;
  return { method, path, action, scope, since, status, run };
}

/** A route whose body is read by a schema before its handler sees it. */
function withBody<T>(
  head: Head,
  body: z.ZodType<T>,
  run: (call: Call, body: T) => Answer,
  status: 200 | 201 | 202 = 200,
): Route {
  const [method, path, action, scope, since] = head;
  return {
    method,
    path,
    action,
    scope,
    since,
    status,
    body,
    run: (call, raw) => run(call, bodies.readBody(body, raw)),
  };
}

/** The backup of a key with a hundred versions, each with the longest tags (in three octets a character) and policy. */
const BACKUP_MAX = 12 * 1024 * 1024;

const operation = (name: string) => `keys/{name}/{version}/${name}`;

const AUTHORIZATION = 'providers/microsoft.authorization';
const DEFINITIONS = 'roleDefinitions';
const ASSIGNMENTS = 'roleAssignments';

/** Role routes at one scope, which is the path before `providers`. */
function roleRoutes(prefix: string, scope: Route['scope'], scopeOf: roles.ScopeOf): Route[] {
  const definitions = `${prefix}${AUTHORIZATION}/roledefinitions`;
  const assignments = `${prefix}${AUTHORIZATION}/roleassignments`;
  const since = '7.2-preview';
  return [
    bare(['GET', definitions, `${DEFINITIONS}/read/action`, scope, since], roles.listDefinitions(scopeOf)),
    bare(
      ['GET', `${definitions}/{item}`, `${DEFINITIONS}/read/action`, scope, since],
      roles.getDefinition(scopeOf),
    ),
    bare(['GET', assignments, `${ASSIGNMENTS}/read/action`, scope, since], roles.listAssignments(scopeOf)),
    bare(
      ['GET', `${assignments}/{item}`, `${ASSIGNMENTS}/read/action`, scope, since],
      roles.getAssignment(scopeOf),
    ),
    withBody(
      ['PUT', `${assignments}/{item}`, `${ASSIGNMENTS}/write/action`, scope, since],
      bodies.assignmentBody,
      roles.createAssignment(scopeOf),
      201,
    ),
    bare(
      ['DELETE', `${assignments}/{item}`, `${ASSIGNMENTS}/delete/action`, scope, since],
      roles.deleteAssignment(scopeOf),
    ),
  ];
}

/** The body of a download with ten certificates; each may have 32 KiB, and the JWK says some of it twice. */
const CERTIFICATES_MAX = 512 * 1024;
/** As `Retry-After` of a download, seconds; the service says so. */
const DOWNLOAD_RETRY = '5';

const pendingAt = (path: string) => (base: string) => ['Azure-AsyncOperation', `${base}/${path}`];

/** As `Retry-After` of a job that has begun, seconds. */
const JOB_RETRY = '5';

const jobAt = (family: string) => (base: string, body: string) => {
  const { jobId } = JSON.parse(body) as { readonly jobId: string };
  return ['Azure-AsyncOperation', `${base}/${family}/${jobId}/pending`, 'Retry-After', JOB_RETRY];
};

function jobRoute<T>(head: Head, body: z.ZodType<T>, run: (call: Call, body: T) => Answer): Route {
  const family = head[2].startsWith('backup') ? 'backup' : 'restore';
  return { ...withBody(head, body, run, 202), headers: jobAt(family) };
}

const fullBackupRoutes: readonly Route[] = [
  jobRoute(
    ['POST', 'backup', 'backup/start/action', '/', '7.2-preview'],
    bodies.fullBackupBody,
    fullBackup.backup,
  ),
  jobRoute(
    ['POST', 'prebackup', 'backup/start/action', '/', '7.6-preview.2'],
    bodies.backupCheckBody,
    fullBackup.checkBackup,
  ),
  jobRoute(
    ['PUT', 'restore', 'restore/start/action', '/', '7.2-preview'],
    bodies.fullRestoreBody,
    fullBackup.restore,
  ),
  jobRoute(
    ['PUT', 'prerestore', 'restore/start/action', '/', '7.6-preview.2'],
    bodies.restoreCheckBody,
    fullBackup.checkRestore,
  ),
  jobRoute(
    ['PUT', 'keys/{name}/restore', 'restore/start/action', '/', '7.2-preview'],
    bodies.keyFromBackupBody,
    fullBackup.restoreKey,
  ),
  ...(['backup', 'restore'] as const).map((family) => ({
    ...bare(
      ['GET', `${family}/{item}/pending`, `${family}/status/action`, '/', '7.2-preview'],
      fullBackup.pending(family),
    ),
    unversioned: true as const,
  })),
];

/** How an HSM is activated: the only calls that it answers before. */
const securityDomainRoutes: readonly Route[] = [
  {
    ...withBody(
      ['POST', 'securitydomain/download', 'securitydomain/download/action', '/', '7.2-preview'],
      bodies.downloadBody,
      domain.download,
      202,
    ),
    long: { max: CERTIFICATES_MAX },
    headers: (base) => [...pendingAt('securitydomain/download/pending')(base), 'Retry-After', DOWNLOAD_RETRY],
  },
  bare(
    ['GET', 'securitydomain/download/pending', 'securitydomain/download/read', '/', '7.2-preview'],
    domain.pending('securitydomain/download/read'),
  ),
  bare(
    ['GET', 'securitydomain/upload', 'securitydomain/transferkey/read', '/', '7.2-preview'],
    domain.transferKey,
  ),
  {
    ...withBody(
      ['POST', 'securitydomain/upload', 'securitydomain/upload/action', '/', '7.2-preview'],
      bodies.uploadBody,
      domain.upload,
      202,
    ),
    headers: pendingAt('securitydomain/upload/pending'),
  },
  bare(
    ['GET', 'securitydomain/upload/pending', 'securitydomain/upload/read', '/', '7.2-preview'],
    domain.pending('securitydomain/upload/read'),
  ),
];

/** Not the service's: whom the pool trusts. The actions are those that its Administrator alone holds. */
const trustRoutes: readonly Route[] = [
  bare(['GET', 'trivet/trust', 'settings/read/action', '/', '7.4-preview.1'], trust.show),
  withBody(
    ['PUT', 'trivet/trust/hosts/{item}', 'settings/write/action', '/', '7.4-preview.1'],
    bodies.trustedHostBody,
    trust.putHost,
  ),
  bare(
    ['PUT', 'trivet/trust/measurements/{item}', 'settings/write/action', '/', '7.4-preview.1'],
    trust.putMeasurement,
  ),
  withBody(
    ['PUT', 'trivet/trust/issuers/{item}', 'settings/write/action', '/', '7.4-preview.1'],
    bodies.trustedIssuerBody,
    trust.putIssuer,
  ),
  ...(['hosts', 'measurements', 'issuers'] as const).map((list) =>
    bare(
      ['DELETE', `trivet/trust/${list}/{item}`, 'settings/write/action', '/', '7.4-preview.1'],
      trust.remove(list),
    ),
  ),
];

/** What the control plane passes on, while the HSM's setting allows it: keys are made if they are absent, and shown. */
export const routesThroughArm: readonly Route[] = [
  bare(['GET', 'keys', 'keys/read/action', '/keys', '7.0'], keys.list),
  withBody(
    ['POST', 'keys/{name}/create', 'keys/create', 'key', '7.0'],
    bodies.createIfAbsentBody,
    keys.createIfAbsent,
  ),
  bare(['GET', 'keys/{name}/versions', 'keys/read/action', 'key', '7.0'], keys.versions),
  bare(['GET', 'keys/{name}/{version}', 'keys/read/action', 'key', '7.0'], keys.get),
].map((route) => ({
  ...route,
  run: async (call: Call, body: unknown) => {
    await allowThroughArm(call.hsm, call.caller);
    return route.run(call, body);
  },
}));

export const routes: readonly Route[] = [
  bare(['GET', 'keys', 'keys/read/action', '/keys', '7.0'], keys.list),
  withBody(['POST', 'keys/{name}/create', 'keys/create', 'key', '7.0'], bodies.createBody, keys.create),
  withBody(['PUT', 'keys/{name}', 'keys/import/action', 'key', '7.0'], bodies.importBody, keys.importAny),
  bare(['GET', 'keys/{name}/versions', 'keys/read/action', 'key', '7.0'], keys.versions),
  bare(['GET', 'keys/{name}/{version}', 'keys/read/action', 'key', '7.0'], keys.get),
  bare(
    ['GET', 'keys/{name}/{version}/attestation', 'keys/read/action', 'key', '7.6-preview.2'],
    keys.attestation,
  ),
  withBody(
    ['PATCH', 'keys/{name}/{version}', 'keys/write/action', 'key', '7.0'],
    bodies.updateBody,
    keys.update,
  ),
  bare(['DELETE', 'keys/{name}', 'keys/delete', 'key', '7.0'], keys.remove),
  bare(['POST', 'keys/{name}/backup', 'keys/backup/action', 'key', '7.0'], keys.backup),
  {
    ...withBody(
      ['POST', 'keys/restore', 'keys/restore/action', '/keys', '7.0'],
      bodies.restoreBody,
      keys.restore,
    ),
    long: { max: BACKUP_MAX, admit: keys.admitRestore },
  },
  bare(['POST', 'keys/{name}/rotate', 'keys/rotate/action', 'key', '7.3'], rotation.rotate),
  bare(['GET', 'keys/{name}/rotationpolicy', 'keys/read/action', 'key', '7.3'], rotation.getPolicy),
  withBody(
    ['PUT', 'keys/{name}/rotationpolicy', 'keys/write/action', 'key', '7.3'],
    bodies.policyBody,
    rotation.setPolicy,
  ),
  bare(['GET', 'deletedkeys', 'keys/deletedKeys/read/action', '/keys', '7.0'], keys.listDeleted),
  bare(['GET', 'deletedkeys/{name}', 'keys/deletedKeys/read/action', 'key', '7.0'], keys.getDeleted),
  bare(['POST', 'deletedkeys/{name}/recover', 'keys/deletedKeys/recover/action', 'key', '7.0'], keys.recover),
  bare(['DELETE', 'deletedkeys/{name}', 'keys/deletedKeys/delete', 'key', '7.0'], keys.purge, 204),
  withBody(['POST', operation('sign'), 'keys/sign/action', 'key', '7.0'], bodies.signBody, crypto.signDigest),
  withBody(
    ['POST', operation('verify'), 'keys/verify/action', 'key', '7.0'],
    bodies.verifyBody,
    crypto.verifySignature,
  ),
  withBody(
    ['POST', operation('encrypt'), 'keys/encrypt/action', 'key', '7.0'],
    bodies.cipherBody,
    crypto.encryptValue,
  ),
  withBody(
    ['POST', operation('decrypt'), 'keys/decrypt/action', 'key', '7.0'],
    bodies.cipherBody,
    crypto.decryptValue,
  ),
  withBody(['POST', operation('wrapkey'), 'keys/wrap/action', 'key', '7.0'], bodies.cipherBody, crypto.wrap),
  withBody(
    ['POST', operation('unwrapkey'), 'keys/unwrap/action', 'key', '7.0'],
    bodies.cipherBody,
    crypto.unwrap,
  ),
  withBody(
    ['POST', operation('release'), 'keys/release/action', 'key', '7.3-preview'],
    bodies.releaseBody,
    release.release,
  ),
  withBody(
    ['POST', operation('securewrapkey'), 'keys/wrap/action', 'key', '2026-01-01-preview'],
    bodies.secureWrapBody,
    release.secureWrap,
  ),
  withBody(
    ['POST', operation('secureunwrapkey'), 'keys/unwrap/action', 'key', '2026-01-01-preview'],
    bodies.secureUnwrapBody,
    release.secureUnwrap,
  ),
  withBody(['POST', 'rng', 'rng/action', '/', '7.3-preview'], bodies.randomBody, crypto.randomBytes),
  bare(['GET', 'settings', 'settings/read/action', '/', '7.4-preview.1'], settings.list),
  bare(['GET', 'settings/{item}', 'settings/read/action', '/', '7.4-preview.1'], settings.get),
  withBody(
    ['PATCH', 'settings/{item}', 'settings/write/action', '/', '7.4-preview.1'],
    bodies.settingBody,
    settings.change,
  ),
  // Not the service's: its logs are had elsewhere. The action is one that its Administrator alone holds.
  bare(['GET', 'trivet/audit', 'settings/read/action', '/', '7.4-preview.1'], auditTail.newest),
  ...trustRoutes,
  ...securityDomainRoutes,
  ...fullBackupRoutes,
  ...roleRoutes('', '/', () => '/'),
  ...roleRoutes('keys/', '/keys', () => '/keys'),
  ...roleRoutes('keys/{name}/', 'key', (name) => `/keys/${name}`),
  // Definitions are made for the whole HSM and nowhere else.
  withBody(
    ['PUT', `${AUTHORIZATION}/roledefinitions/{item}`, `${DEFINITIONS}/write/action`, '/', '7.2-preview'],
    bodies.definitionBody,
    roles.putDefinition,
    201,
  ),
  bare(
    ['DELETE', `${AUTHORIZATION}/roledefinitions/{item}`, `${DEFINITIONS}/delete/action`, '/', '7.2-preview'],
    roles.deleteDefinition,
  ),
];
