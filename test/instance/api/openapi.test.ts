// The description that is served: it holds every route and nothing else, and real answers are as it says.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { said, saidOf } from '../../../src/instance/api/answers.js';
import { internalId } from '../../../src/instance/model/pool.js';
import { routes } from '../../../src/instance/api/routes.js';
import { apiVersions } from '../../../src/instance/api/versions.js';
import { hostId, issuerId } from '../../../src/instance/hsm/trust.js';
import { hostKey, STRANGER } from '../hsm/fake-hsm.js';
import { AttestationService } from '../hsm/attestation-service.js';
import { readCertificate } from '../../../src/security-domain/certificates.js';
import { readSecurityDomain } from '../../../src/security-domain/file.js';
import { makeRestoreBlob } from '../../../src/security-domain/restore-blob.js';
import { published } from '../../security-domain/custodians.js';
import { Bench, CONTAINER, TOKEN } from '../hsm/full-backup/memory.js';
import { bodyOf, definitionId, GUID, SECOND_ISSUER } from './samples.js';
import { Served, textOf, tokenFor, type Answer } from './served.js';
import { waiting } from './waiting.js';

interface Reference {
  readonly $ref: string;
}
interface Content {
  readonly 'application/json': { readonly schema: Reference };
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: readonly Reference[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly parameters: Readonly<Record<string, { readonly name: string; readonly in: string }>>;
    readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
  };
}

const PATH = '/trivet/openapi.json';

let served: Served;
let text: string;
let document: Document;
beforeAll(async () => {
  served = await Served.start();
  text = (await served.ask('GET', PATH)).text;
  document = JSON.parse(text) as Document;
});
afterAll(() => served.stop());

/** All operations as `get /path`. */
function operations(): [string, Operation][] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method} ${path}`,
      operation,
    ]),
  );
}

/** Reads values by a schema of the document as it was sent. */
function readerOf({ $ref }: Reference): z.ZodType {
  const definitions = JSON.stringify(document.components.schemas).replaceAll(
    '#/components/schemas/',
    '#/$defs/',
  );
  const root = {
    $ref: $ref.replace('#/components/schemas/', '#/$defs/'),
    $defs: JSON.parse(definitions) as object,
  };
  return z.fromJSONSchema(root as Parameters<typeof z.fromJSONSchema>[0]);
}

describe('the document', () => {
  it('is given to whoever is believed, without a role, with the headers of every answer', async () => {
    const own = await Served.start();
    const token = await tokenFor(own.hsm, { oid: STRANGER });
    const answer = await own.ask('GET', PATH, { token });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(text);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(text)));
    expect((await own.ask('GET', `${PATH}?api-version=7.4`, { token })).text).toBe(text);
    await own.stop();
  });

  it('is no way around the token, and cannot be written', async () => {
    expect((await served.ask('GET', PATH, { token: null })).status).toBe(401);
    for (const method of ['POST', 'PUT', 'DELETE']) expect((await served.ask(method, PATH)).status).toBe(405);
    for (const path of ['/trivet', '/trivet/', `${PATH}x`, `${PATH}/x`]) {
      expect((await served.ask('GET', path)).status).toBe(404);
    }
  });

  it('says nothing of the pool that serves it', () => {
    for (const word of ['localhost', 'dev.', '127.0.0.1']) expect(text).not.toContain(word);
  });

  it('is OpenAPI 3.1 in which everything that is named is there', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info.title).not.toBe('');
    expect(document.info.version).not.toBe('');
    const references = [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/([^"]+)"/g)];
    expect(references.length).toBeGreaterThan(100);
    expect(text.match(/"\$ref"/g)).toHaveLength(references.length);
    const components: Readonly<Record<string, object>> = document.components;
    for (const [, kind = '', name = ''] of references)
      expect(Object.keys(components[kind] ?? {})).toContain(name);
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z][A-Za-z]+$/);
  });

  it('declares the parameters of every path, and the api-versions that have the operation', () => {
    for (const [title, { parameters, summary }] of operations()) {
      expect(summary).not.toBe('');
      const declared = parameters.map(
        ({ $ref }) => document.components.parameters[$ref.split('/').at(-1) ?? ''],
      );
      const inPath = declared
        .filter((parameter) => parameter?.in === 'path')
        .map((parameter) => parameter?.name);
      expect(inPath).toEqual([...title.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      expect(declared.filter((parameter) => parameter?.name === 'api-version')).toHaveLength(1);
    }
    const since = document.components.parameters['since-7.3-preview'];
    const first = apiVersions.indexOf('7.3-preview');
    expect(since).toMatchObject({ required: true, schema: { enum: apiVersions.slice(first) } });
  });

  it('holds every route, with a version and without, and nothing else', () => {
    const expected = routes.flatMap(({ method, path }) => {
      const whole = `${method.toLowerCase()} /${path}`;
      return path.includes('{version}') ? [whole, whole.replace('/{version}', '')] : [whole];
    });
    expect(
      operations()
        .map(([title]) => title)
        .sort(),
    ).toEqual(expected.sort());
  });

  it('has something to say about every route, and about none that is not there', () => {
    const used = new Set(routes.map(saidOf));
    expect(used.has(undefined)).toBe(false);
    expect(used.size).toBe(Object.keys(said).length);
  });

  it('describes the bodies that the routes read', () => {
    for (const route of routes.filter(({ body }) => body !== undefined)) {
      const operation = document.paths[`/${route.path}`]?.[route.method.toLowerCase()];
      const schema = operation?.requestBody?.content['application/json'].schema ?? { $ref: 'none' };
      const reader = readerOf(schema);
      expect(reader.safeParse(bodyOf(route)).success).toBe(true);
      expect(reader.safeParse([]).success).toBe(false);
    }
    const create = readerOf({ $ref: '#/components/schemas/CreateBody' });
    expect(create.safeParse({ kty: 'EC', key_size: null, unknown: 1 }).success).toBe(true);
    expect(create.safeParse({ kty: 7 }).success).toBe(false);
    expect(create.safeParse({}).success).toBe(false);
  });
});

describe('answers', () => {
  const asked = new Set<string>();

  /** The operation that a request is, and whether its answer is as described. */
  function hold(method: string, path: string, { status, text: body }: Answer): void {
    const [bare = ''] = path.split('?');
    const candidates = operations().filter(([title]) => {
      const [verb = '', template = ''] = title.split(' ');
      const pattern = template.replaceAll(/\{(\w+)\}/g, (_, name) =>
        name === 'version' ? '[0-9a-f]{32}' : '[^/]+',
      );
      return verb === method.toLowerCase() && new RegExp(`^${pattern}$`, 'i').test(bare);
    });
    expect(candidates).toHaveLength(1);
    const [[title, operation] = ['', undefined]] = candidates;
    asked.add(title);
    expect(Object.keys(operation?.responses ?? {})).toContain(String(status));
    const content = operation?.responses[String(status)]?.content;
    if (content === undefined) expect(body).toBe('');
    else
      expect(readerOf(content['application/json'].schema).parse(JSON.parse(body))).toEqual(JSON.parse(body));
  }

  async function ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await served.ask(method, path, { body });
    hold(method, path, answer);
    return answer;
  }

  /** For the newest version, and for a named one. */
  async function both(method: string, name: string, verb: string, body?: unknown): Promise<Answer> {
    const { json } = await served.ask('GET', `/keys/${name}`);
    const version = textOf(json['key']?.['kid']).slice(-32);
    const tail = verb === '' ? '' : `/${verb}`;
    await ask(method, `/keys/${name}${tail}`, body);
    return ask(method, `/keys/${name}/${version}${tail}`, body);
  }

  const value = Buffer.alloc(32, 1).toString('base64url');

  it('of key management are as described', async () => {
    const attributes = { enabled: true, nbf: 1, exp: 2_000_000_000 };
    await ask('POST', '/keys/rsa/create', { kty: 'RSA', attributes, tags: { a: '1' } });
    await ask('POST', '/keys/ec/create', { kty: 'EC', crv: 'P-521' });
    await ask('POST', '/keys/oct/create', { kty: 'oct' });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await ask('PUT', '/keys/imported', { key: privateKey.export({ format: 'jwk' }) });
    await both('GET', 'rsa', '');
    await both('PATCH', 'rsa', '', { tags: { b: '2' } });
    await ask('GET', '/keys');
    await ask('GET', '/keys?api-version=7.4&maxresults=1');
    await ask('GET', '/keys/rsa/versions');
    await ask('DELETE', '/keys/imported');
    await ask('GET', '/deletedkeys');
    await ask('GET', '/deletedkeys/imported');
    await ask('POST', '/deletedkeys/imported/recover');
    await ask('DELETE', '/keys/imported');
    await ask('DELETE', '/deletedkeys/imported');
  });

  it('of backup, rotation and settings are as described', async () => {
    const policy = {
      attributes: { expiryTime: 'P90D' },
      lifetimeActions: [{ action: { type: 'rotate' }, trigger: { timeAfterCreate: 'P30D' } }],
    };
    await ask('PUT', '/keys/rsa/rotationpolicy', policy);
    await ask('GET', '/keys/rsa/rotationpolicy');
    await ask('POST', '/keys/rsa/rotate');
    await ask('PUT', '/keys/rsa/rotationpolicy', { attributes: {}, lifetimeActions: [] });
    await ask('POST', '/keys/kept/create', { kty: 'EC' });
    const { json } = await ask('POST', '/keys/kept/backup');
    for (const path of ['/keys/kept', '/deletedkeys/kept']) await ask('DELETE', path);
    await ask('POST', '/keys/restore', { value: json['value'] });
    const { json: list } = await ask('GET', '/settings');
    const [first] = list['settings'] as unknown as { name: string }[];
    await ask('GET', `/settings/${first?.name ?? ''}`);
    await ask('PATCH', `/settings/${first?.name ?? ''}`, { value: 'true' });
  });

  describe('to enclaves', () => {
    let service: AttestationService;
    let target: string;

    // The stand-in of the pool has internal keys that are none, trusts no attestation service, and exports nothing.
    beforeAll(async () => {
      service = await AttestationService.start();
      const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const enclave = { ...publicKey.export({ format: 'jwk' }), kid: 'enclave', key_ops: ['encrypt'] };
      target = await service.token({ 'x-ms-runtime': { keys: [enclave] }, debug: false });
      const { fake, state } = served.hsm;
      const pool = state.get('pool', 'pool');
      if (!pool) throw new Error('founded');
      const attestors = [{ issuer: service.issuer, ca: service.ca }];
      state.apply([{ table: 'pool', id: 'pool', value: { ...pool, attestors } }]);
      for (const purpose of ['tls-issuer', 'owner', 'release-signer'] as const) {
        const sealed = await fake.generate(
          internalId(purpose),
          purpose === 'release-signer'
            ? { kty: 'RSA-HSM', size: 2048, exponent: 65537 }
            : { kty: 'EC-HSM', curve: 'P-256' },
        );
        const internal = { sealed, certificate: service.signer.der };
        state.apply([{ table: 'internal', id: purpose, value: internal }]);
      }
      Object.assign(fake, {
        exportKey: ({ id }: { id: string }) =>
          Promise.resolve(fake.keys.get(id)?.export({ type: 'pkcs8', format: 'der' })),
      });
    });
    afterAll(() => service.stop());

    it('are as described', async () => {
      const policy = {
        version: '1.0.0',
        anyOf: [{ authority: service.issuer, allOf: [{ claim: 'debug', equals: false }] }],
      };
      await ask('POST', '/keys/out/create', {
        kty: 'EC',
        attributes: { exportable: true },
        release_policy: { data: Buffer.from(JSON.stringify(policy)).toString('base64url') },
      });
      await both('POST', 'out', 'release', { target });
      const version = '?api-version=2026-04-01';
      const wrapped = await both('POST', 'oct', `securewrapkey${version}`, { alg: 'A256KW' });
      const body = { alg: 'A256KW', value: wrapped.json['value'], target };
      await both('POST', 'oct', `secureunwrapkey${version}`, body);
      await ask('GET', `/keys/oct${version}`);
    });

    it('of attestation are as described', async () => {
      for (const name of ['ec', 'oct']) await both('GET', name, 'attestation?api-version=7.6');
    });
  });

  it('of cryptography are as described', async () => {
    const digest = Buffer.alloc(64, 1).toString('base64url');
    const { json } = await both('POST', 'ec', 'sign', { alg: 'ES512', value: digest });
    await both('POST', 'ec', 'verify', { alg: 'ES512', digest, value: json['value'] });
    const sealed = await both('POST', 'oct', 'encrypt', { alg: 'A256GCM', value, aad: 'AAAA' });
    await both('POST', 'oct', 'decrypt', {
      alg: 'A256GCM',
      value: sealed.json['value'],
      iv: sealed.json['iv'],
      tag: sealed.json['tag'],
      aad: 'AAAA',
    });
    const wrapped = await both('POST', 'oct', 'wrapkey', { alg: 'A256KW', value });
    await both('POST', 'oct', 'unwrapkey', { alg: 'A256KW', value: wrapped.json['value'] });
    await ask('POST', '/rng', { count: 8 });
  });

  it.each(['', '/keys', '/keys/rsa'])('of roles at the scope %j are as described', async (scope) => {
    const definitions = '/providers/Microsoft.Authorization/roleDefinitions';
    const assignments = `${scope}/providers/Microsoft.Authorization/roleAssignments`;
    await ask('PUT', `${definitions}/${GUID}`, { properties: { roleName: 'Signer', permissions: [{}] } });
    await ask('GET', `${scope}${definitions}`);
    await ask('GET', `${scope}${definitions}/${GUID}`);
    await ask('PUT', `${assignments}/${GUID}`, {
      properties: { roleDefinitionId: definitionId(GUID), principalId: STRANGER },
    });
    await ask('GET', assignments);
    await ask('GET', `${assignments}/${GUID}`);
    await ask('DELETE', `${assignments}/${GUID}`);
    await ask('DELETE', `${definitions}/${GUID}`);
  });

  it('of what the pool trusts are as described', async () => {
    const key = hostKey();
    const issuer = { issuer: SECOND_ISSUER, audience: 'app', metadataUrl: `${SECOND_ISSUER}/meta` };
    for (const [path, body] of [
      [`hosts/${hostId(key)}`, { publicKey: key }],
      [`measurements/${'cd'.repeat(32)}`, undefined],
      [`issuers/${issuerId(issuer)}`, issuer],
    ] as const) {
      await ask('PUT', `/trivet/trust/${path}`, body);
      await ask('GET', '/trivet/audit');
      await ask('GET', '/trivet/trust');
      await ask('DELETE', `/trivet/trust/${path}`);
    }
  });

  it('of the security domain are as described', async () => {
    const [source, empty] = [await waiting(), await waiting()];
    const askOf = async (pool: Served, method: string, path: string, body?: unknown): Promise<Answer> => {
      const answer = await pool.ask(method, path, { body });
      hold(method, path, answer);
      return answer;
    };
    const certificates = published.map(({ certificate: { der } }) => ({
      kty: 'RSA',
      x5c: [der.toString('base64')],
    }));
    const { json } = await askOf(source, 'POST', '/securitydomain/download', { certificates, required: 2 });
    await askOf(source, 'GET', '/securitydomain/download/pending');
    const transfer = await askOf(empty, 'GET', '/securitydomain/upload');
    const { x5c } = JSON.parse(textOf(transfer.json['transfer_key'])) as { x5c: [string] };
    const blob = await makeRestoreBlob({
      file: readSecurityDomain(textOf(json['value'])),
      keys: published.map(({ key }) => key),
      exchange: readCertificate(Buffer.from(x5c[0], 'base64'), 'exchange'),
      random: randomBytes,
    });
    await askOf(empty, 'POST', '/securitydomain/upload', { value: blob });
    await askOf(empty, 'GET', '/securitydomain/upload/pending');
    await Promise.all([source.stop(), empty.stop()]);
  });

  it('of full backup and restore are as described', async () => {
    const pool = await Served.start();
    const bench = new Bench(undefined, pool.hsm);
    const askOf = async (method: string, path: string, body?: unknown): Promise<Answer> => {
      const answer = await pool.ask(method, path, { body });
      hold(method, path, answer);
      return answer;
    };
    const run = async (method: string, path: string, body: unknown, family = 'restore'): Promise<Answer> => {
      const { json } = await askOf(method, path, body);
      await bench.runner().look();
      return askOf('GET', `/${family}/${textOf(json['jobId'])}/pending`);
    };
    const sas = { storageResourceUri: CONTAINER, token: TOKEN };
    await run('POST', '/prebackup?api-version=7.6', {}, 'backup');
    const { json } = await run('POST', '/backup', sas, 'backup');
    const folder = textOf(json['azureStorageBlobContainerUri']).split('/').at(-1);
    const whole = { sasTokenParameters: sas, folderToRestore: folder };
    await run('PUT', '/prerestore?api-version=7.6', whole);
    await run('PUT', '/restore', whole);
    // Not in the backup: the job fails.
    await run('PUT', '/keys/k/restore', { sasTokenParameters: sas, folder });
    await pool.stop();
  });

  it('of every operation were held to the description', () => {
    expect([...asked].sort()).toEqual(
      operations()
        .map(([title]) => title)
        .sort(),
    );
  });

  it('that refuse are as described', async () => {
    const reader = readerOf({ $ref: '#/components/schemas/Problem' });
    await served.ask('POST', '/keys/gone/create', { body: { kty: 'EC' } });
    await served.ask('DELETE', '/keys/gone');
    for (const answer of [
      await served.ask('GET', '/keys/none'),
      await served.ask('GET', '/nowhere'),
      await served.ask('PUT', '/keys'),
      await served.ask('POST', '/keys/gone/create', { body: { kty: 'EC' } }),
      await served.ask('POST', '/keys/k/create', { raw: '{' }),
    ]) {
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(reader.safeParse(answer.json).success).toBe(true);
    }
  });

  it('with a member too many, or one too few, are noticed', async () => {
    const { json } = await served.ask('GET', '/keys/rsa');
    const reader = readerOf({ $ref: '#/components/schemas/KeyBundle' });
    expect(reader.safeParse(json).success).toBe(true);
    expect(reader.safeParse({ ...json, managed: true }).success).toBe(false);
    expect(reader.safeParse({ ...json, key: { ...json['key'], n: undefined } }).success).toBe(false);
    expect(reader.safeParse({ ...json, attributes: { ...json['attributes'], created: 'now' } }).success).toBe(
      false,
    );
  });
});
