// Every operation of the data plane with the data action that it needs and where, as the service's documentation has
// it and not as the program says; and a request for each that somebody who may gets through.
import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { AttestationService } from '../instance/hsm/attestation-service.js';
import { Access, assignment, ASSIGNMENTS, DEFINITIONS, prefixOf, roleNamed } from './access.js';
import { text } from './pool.js';
import { base64url, digestOf } from './witness.js';

/** The key that operations are tried on, and one that nobody means. */
export const KEY = '/keys/k';
export const OTHER = '/keys/other';
/** What the operations on backups restore. */
const RESTORED = '/keys/restored';
const SETTING = 'AllowKeyManagementOperationsThroughARM';
/** What the pool does not trust yet. */
const HOST = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });
const HOST_ID = createHash('sha256').update(HOST).digest('hex');
const MEASUREMENT = 'ab'.repeat(32);
const ISSUER = 'https://login.example.net/';
const ISSUER_ID = createHash('sha256').update(ISSUER).digest('hex');
const SECURE_VERSION = 'api-version=2026-04-01';

export interface Ask {
  readonly path: string;
  readonly body?: unknown;
}

export interface Operation {
  /** Method and path as the table of routes writes them. */
  readonly route: string;
  /** Without its prefix. */
  readonly action: string;
  /** Where the right to it is needed, when the request is about {@link KEY}. */
  readonly scope: '/' | '/keys' | typeof KEY;
  /** The answer to who may; undefined where a request that succeeds would end the pool as it is. */
  readonly done: number | undefined;
  /** A request for it. */
  readonly request: (stage: Stage) => Ask;
  /** The same by other spellings of the path, if the service has any. */
  readonly spellings?: (path: string) => string[];
  /** Makes it possible, by somebody else: before each request of who may. */
  readonly before?: (stage: Stage) => Promise<unknown>;
  /** Undoes it. */
  readonly after?: (stage: Stage) => Promise<unknown>;
  /** The key is deleted while it is asked for. */
  readonly deleted?: true;
}

/** What the requests need: keys, ciphertexts, a backup, an enclave. */
export class Stage {
  /** Name for what the next request makes. */
  item: string = randomUUID();
  private constructor(
    readonly access: Access,
    readonly rsa: string,
    readonly oct: string,
    readonly made: Readonly<Record<'signature' | 'ciphertext' | 'wrapped' | 'secret' | 'backup', string>>,
    readonly assertion: string,
  ) {}

  /** `service` must be trusted by the pool. */
  static async set(access: Access, service: AttestationService): Promise<Stage> {
    const post = (path: string, body?: object) => access.must(0, 'POST', path, body);
    const rule = { authority: service.issuer, allOf: [{ claim: 'code', equals: 'good' }] };
    const policy = base64url(Buffer.from(JSON.stringify({ version: '1.0.0', anyOf: [rule] })));
    const version = (bundle: unknown): string => text(bundle, 'key', 'kid').split('/').at(-1) ?? '';
    const oct = version(await post(`${KEY}/create`, { kty: 'oct', key_size: 256 }));
    const rsa = version(
      await post(`${KEY}/create`, {
        kty: 'RSA',
        attributes: { exportable: true },
        release_policy: { data: policy },
      }),
    );
    await post(`${OTHER}/create`, { kty: 'EC' });
    await post(`${RESTORED}/create`, { kty: 'EC' });
    const rotation = { attributes: { expiryTime: 'P90D' } };
    await access.must(0, 'PUT', `${KEY}/rotationpolicy`, rotation);
    const value = async (path: string, body: object, query = '') =>
      text(await post(`${KEY}/${path}${query}`, body), 'value');
    const secret = base64url(randomBytes(32));
    const made = {
      signature: await value(`${rsa}/sign`, { alg: 'RS256', value: DIGEST }),
      ciphertext: await value(`${rsa}/encrypt`, { alg: 'RSA-OAEP-256', value: secret }),
      wrapped: await value(`${rsa}/wrapkey`, { alg: 'RSA-OAEP-256', value: secret }),
      secret: await value(`${oct}/securewrapkey`, { alg: 'A256KW' }, `?${SECURE_VERSION}`),
      backup: text(await post(`${RESTORED}/backup`), 'value'),
    };
    await unmake(access, RESTORED);
    const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
    const assertion = await service.token({
      code: 'good',
      exp: Math.floor(Date.now() / 1_000) + 3_600,
      'x-ms-runtime': { keys: [{ ...jwk, kid: 'enclave', key_ops: ['encrypt'] }] },
    });
    return new Stage(access, rsa, oct, made, assertion);
  }

  /** All that the operations change, as an instance shows it. */
  async picture(instance: number): Promise<unknown> {
    const get = (path: string) => this.access.ask(instance, 'GET', path);
    const paths = ['/keys', '/deletedkeys', `${KEY}/versions`, KEY, `${KEY}/rotationpolicy`, '/settings'];
    const seen = await Promise.all([...paths, DEFINITIONS].map(get));
    const assignments = await this.access.assignments(instance, ['/', '/keys', KEY, OTHER]);
    // Refusals are told apart by their request's id.
    return [assignments, seen.map(({ status, body }) => (status === 200 ? body : status))];
  }
}

const DIGEST = base64url(digestOf('RS256', Buffer.from('what is signed')));

/** Deletes a key for good. */
async function unmake(access: Access, path: string): Promise<void> {
  await access.must(0, 'DELETE', path);
  await access.must(0, 'DELETE', path.replace('/keys/', '/deletedkeys/'));
}

type Row = Omit<Operation, 'spellings'>;

// A version may be left out, also as an empty segment.
const versions = (path: string): string[] => [
  path.replace(/\/[0-9a-f]{32}/, ''),
  path.replace(/\/[0-9a-f]{32}/, '/'),
];

const scopes = (path: string): string[] => [
  path.replace('/providers', '///providers'),
  path.replace(/providers.*(definitions|assignments)/i, (fixed) => fixed.toUpperCase()),
];

function onKey(what: string, action: string, request: Row['request'], more: Partial<Row> = {}): Operation {
  const [method = '', path = ''] = what.split(' ');
  const route = `${method} keys/{name}${path === '' ? '' : `/${path}`}`;
  const spelled = path.startsWith('{version}') ? { spellings: versions } : {};
  return { route, action, scope: KEY, done: 200, request, ...spelled, ...more };
}

const crypto = (name: string, action: string, body: (stage: Stage) => object): Operation =>
  onKey(`POST {version}/${name}`, action, (stage) => ({
    path: `${KEY}/${stage.rsa}/${name}`,
    body: body(stage),
  }));

const secure = (name: string, action: string, body: (stage: Stage) => object): Operation =>
  onKey(`POST {version}/${name}`, action, (stage) => ({
    path: `${KEY}/${stage.oct}/${name}?${SECURE_VERSION}`,
    body: body(stage),
  }));

const recreate = async ({ access }: Stage): Promise<void> => {
  await access.must(0, 'POST', `${KEY}/create`, { kty: 'EC' });
  await access.must(0, 'DELETE', KEY);
};

function roleOperations(scope: Operation['scope']): Operation[] {
  const place = scope === '/' ? '' : scope === '/keys' ? 'keys/' : 'keys/{name}/';
  const fixed = 'providers/microsoft.authorization/';
  const definitions = prefixOf(scope) + DEFINITIONS;
  const assignments = prefixOf(scope) + ASSIGNMENTS;
  const body = assignment(roleNamed('Crypto Auditor'), randomUUID());
  const make = async (stage: Stage) => {
    stage.item = randomUUID();
    await stage.access.must(0, 'PUT', `${assignments}/${stage.item}`, body);
  };
  const unmakeIt = (stage: Stage) => stage.access.must(0, 'DELETE', `${assignments}/${stage.item}`);
  const row = (
    method: string,
    path: string,
    action: string,
    request: Row['request'],
    more: Partial<Row> = {},
  ) => ({
    ...{ route: `${method} ${place}${fixed}${path}`, action, scope, done: 200, request },
    ...{ spellings: scopes, ...more },
  });
  return [
    row('GET', 'roledefinitions', 'roleDefinitions/read/action', () => ({ path: definitions })),
    row('GET', 'roledefinitions/{item}', 'roleDefinitions/read/action', () => ({
      path: `${definitions}/${roleNamed('Crypto User')}`,
    })),
    row('GET', 'roleassignments', 'roleAssignments/read/action', () => ({ path: assignments })),
    row(
      'GET',
      'roleassignments/{item}',
      'roleAssignments/read/action',
      ({ item }) => ({ path: `${assignments}/${item}` }),
      { before: make, after: unmakeIt },
    ),
    row(
      'PUT',
      'roleassignments/{item}',
      'roleAssignments/write/action',
      ({ item }) => ({ path: `${assignments}/${item}`, body }),
      {
        done: 201,
        before: (stage) => Promise.resolve((stage.item = randomUUID())),
        after: unmakeIt,
      },
    ),
    row(
      'DELETE',
      'roleassignments/{item}',
      'roleAssignments/delete/action',
      ({ item }) => ({ path: `${assignments}/${item}` }),
      { before: make },
    ),
  ];
}

const DEFINITION = `${DEFINITIONS}/55555555-5555-4555-8555-555555555555`;
const DEFINITION_ROUTE = 'providers/microsoft.authorization/roledefinitions/{item}';
const definition = { properties: { permissions: [{ dataActions: [] }] } };

/** Adding to a list of what the pool trusts, and taking from it. */
function trustOperations(list: string, id: string, body?: object): Operation[] {
  const path = `/trivet/trust/${list}/${id}`;
  const common = { action: 'settings/write/action', scope: '/', done: 200 } as const;
  const route = `trivet/trust/${list}/{item}`;
  return [
    {
      ...{ ...common, route: `PUT ${route}` },
      request: () => (body === undefined ? { path } : { path, body }),
      after: ({ access }) => access.must(0, 'DELETE', path),
    },
    {
      ...{ ...common, route: `DELETE ${route}` },
      request: () => ({ path }),
      before: ({ access }) => access.must(0, 'PUT', path, body),
    },
  ];
}

function ofDomain(what: string, action: string, body?: object): Operation {
  const [method = '', path = ''] = what.split(' ');
  const route = `${method} securitydomain/${path}`;
  const request = () => ({ path: `/securitydomain/${path}`, ...(body ? { body } : {}) });
  return { route, action: `securitydomain/${action}`, scope: '/', done: undefined, request };
}

/** A storage that the pool may not ask: with another the whole pool would be saved or replaced. */
const ELSEWHERE = { storageResourceUri: 'https://storage.example.net/backups', token: 'sig=x' };

function ofWhole(route: string, action: string, body?: object): Operation {
  const path = `/${route.split(' ')[1] ?? ''}`.replace('{item}', '0'.repeat(32)).replace('/keys/{name}', KEY);
  const request = () => ({ path, ...(body ? { body } : {}) });
  return { route, action, scope: '/', done: undefined, request };
}

/** In an order that leaves the keys alone until all that needs them is done. */
export const operations: readonly Operation[] = [
  {
    ...{ route: 'GET keys', action: 'keys/read/action', scope: '/keys', done: 200 },
    request: () => ({ path: '/keys' }),
  },
  onKey('POST create', 'keys/create', () => ({ path: `${KEY}/create`, body: { kty: 'EC' } })),
  onKey('PUT ', 'keys/import/action', () => ({
    path: KEY,
    body: { key: { kty: 'oct', k: base64url(randomBytes(16)) } },
  })),
  onKey('GET versions', 'keys/read/action', () => ({ path: `${KEY}/versions` })),
  onKey('GET {version}', 'keys/read/action', ({ rsa }) => ({ path: `${KEY}/${rsa}` })),
  onKey('GET {version}/attestation', 'keys/read/action', ({ rsa }) => ({
    path: `${KEY}/${rsa}/attestation`,
  })),
  onKey('PATCH {version}', 'keys/write/action', ({ rsa }) => ({
    path: `${KEY}/${rsa}`,
    body: { tags: { at: randomUUID() } },
  })),
  onKey('DELETE ', 'keys/delete', () => ({ path: KEY }), {
    after: ({ access }) => access.must(0, 'POST', '/deletedkeys/k/recover'),
  }),
  onKey('POST backup', 'keys/backup/action', () => ({ path: `${KEY}/backup` })),
  ofWhole('POST backup', 'backup/start/action', ELSEWHERE),
  ofWhole('POST prebackup', 'backup/start/action', ELSEWHERE),
  ofWhole('GET backup/{item}/pending', 'backup/status/action'),
  ofWhole('PUT restore', 'restore/start/action', {
    sasTokenParameters: ELSEWHERE,
    folderToRestore: 'mhsm-dev-1',
  }),
  ofWhole('PUT prerestore', 'restore/start/action', {
    sasTokenParameters: ELSEWHERE,
    folderToRestore: 'mhsm-dev-1',
  }),
  ofWhole('PUT keys/{name}/restore', 'restore/start/action', {
    sasTokenParameters: ELSEWHERE,
    folder: 'mhsm-dev-1',
  }),
  ofWhole('GET restore/{item}/pending', 'restore/status/action'),
  {
    ...{ route: 'POST keys/restore', action: 'keys/restore/action', scope: '/keys', done: 200 },
    request: ({ made }) => ({ path: '/keys/restore', body: { value: made.backup } }),
    after: ({ access }) => unmake(access, RESTORED),
  },
  onKey('POST rotate', 'keys/rotate/action', () => ({ path: `${KEY}/rotate` }), {
    // What was imported last cannot be made anew.
    before: ({ access }) => access.must(0, 'POST', `${KEY}/create`, { kty: 'EC' }),
  }),
  onKey('GET rotationpolicy', 'keys/read/action', () => ({ path: `${KEY}/rotationpolicy` })),
  onKey('PUT rotationpolicy', 'keys/write/action', () => ({
    path: `${KEY}/rotationpolicy`,
    body: { attributes: { expiryTime: 'P60D' } },
  })),
  crypto('sign', 'keys/sign/action', () => ({ alg: 'RS256', value: DIGEST })),
  crypto('verify', 'keys/verify/action', ({ made }) => ({
    ...{ alg: 'RS256', digest: DIGEST, value: made.signature },
  })),
  crypto('encrypt', 'keys/encrypt/action', () => ({ alg: 'RSA-OAEP-256', value: DIGEST })),
  crypto('decrypt', 'keys/decrypt/action', ({ made }) => ({ alg: 'RSA-OAEP-256', value: made.ciphertext })),
  crypto('wrapkey', 'keys/wrap/action', () => ({ alg: 'RSA-OAEP-256', value: DIGEST })),
  crypto('unwrapkey', 'keys/unwrap/action', ({ made }) => ({ alg: 'RSA-OAEP-256', value: made.wrapped })),
  crypto('release', 'keys/release/action', ({ assertion }) => ({ target: assertion })),
  secure('securewrapkey', 'keys/wrap/action', () => ({ alg: 'A256KW' })),
  secure('secureunwrapkey', 'keys/unwrap/action', ({ made, assertion }) => ({
    ...{ alg: 'A256KW', value: made.secret, target: assertion },
  })),
  {
    ...{ route: 'POST rng', action: 'rng/action', scope: '/', done: 200 },
    request: () => ({ path: '/rng', body: { count: 8 } }),
  },
  {
    ...{ route: 'GET settings', action: 'settings/read/action', scope: '/', done: 200 },
    request: () => ({ path: '/settings' }),
  },
  {
    ...{ route: 'GET settings/{item}', action: 'settings/read/action', scope: '/', done: 200 },
    request: () => ({ path: `/settings/${SETTING}` }),
  },
  {
    ...{ route: 'PATCH settings/{item}', action: 'settings/write/action', scope: '/', done: 200 },
    request: () => ({ path: `/settings/${SETTING}`, body: { value: 'true' } }),
    after: ({ access }) => access.must(0, 'PATCH', `/settings/${SETTING}`, { value: 'false' }),
  },
  {
    ...{ route: 'GET trivet/audit', action: 'settings/read/action', scope: '/', done: 200 },
    request: () => ({ path: '/trivet/audit' }),
  },
  {
    ...{ route: 'GET trivet/trust', action: 'settings/read/action', scope: '/', done: 200 },
    request: () => ({ path: '/trivet/trust' }),
  },
  ...trustOperations('hosts', HOST_ID, { publicKey: HOST.toString('base64url') }),
  ...trustOperations('measurements', MEASUREMENT),
  ...trustOperations('issuers', ISSUER_ID, { issuer: ISSUER }),
  ...roleOperations('/'),
  ...roleOperations('/keys'),
  ...roleOperations(KEY),
  {
    ...{ route: `PUT ${DEFINITION_ROUTE}`, action: 'roleDefinitions/write/action', scope: '/', done: 201 },
    request: () => ({ path: DEFINITION, body: definition }),
    after: ({ access }) => access.must(0, 'DELETE', DEFINITION),
    spellings: scopes,
  },
  {
    ...{
      route: `DELETE ${DEFINITION_ROUTE}`,
      action: 'roleDefinitions/delete/action',
      scope: '/',
      done: 200,
    },
    request: () => ({ path: DEFINITION }),
    before: ({ access }) => access.must(0, 'PUT', DEFINITION, definition),
    spellings: scopes,
  },
  ofDomain('POST download', 'download/action', { certificates: [], required: 2 }),
  ofDomain('GET download/pending', 'download/read'),
  ofDomain('GET upload', 'transferkey/read'),
  ofDomain('POST upload', 'upload/action', { value: 'none' }),
  ofDomain('GET upload/pending', 'upload/read'),
  {
    ...{ route: 'GET deletedkeys', action: 'keys/deletedKeys/read/action', scope: '/keys', done: 200 },
    request: () => ({ path: '/deletedkeys' }),
    deleted: true,
  },
  {
    ...{ route: 'GET deletedkeys/{name}', action: 'keys/deletedKeys/read/action', scope: KEY, done: 200 },
    request: () => ({ path: '/deletedkeys/k' }),
    deleted: true,
  },
  {
    ...{ route: 'POST deletedkeys/{name}/recover', action: 'keys/deletedKeys/recover/action', scope: KEY },
    ...{ done: 200, request: () => ({ path: '/deletedkeys/k/recover' }), deleted: true },
    after: ({ access }) => access.must(0, 'DELETE', KEY),
  },
  {
    ...{ route: 'DELETE deletedkeys/{name}', action: 'keys/deletedKeys/delete', scope: KEY, done: 204 },
    ...{ request: () => ({ path: '/deletedkeys/k' }), deleted: true },
    after: recreate,
  },
];
