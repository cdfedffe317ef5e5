// Debian's azure-cli, unmodified. Its commands for keys, roles and the security domain of a running HSM crash in
// themselves before they send anything; for those `az rest`, which is az's own login and plain requests, does the work.
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ManagedPrincipal } from '../../src/fabric/login/principals.js';
import { routes } from '../../src/instance/api/routes.js';
import { issueCertificate, keyIdOf, toPem } from '../../src/values/certificate.js';
import type { Ended } from '../clients/programs/run.js';
import { bodyOf, pathsOf } from '../instance/api/samples.js';
import { TestPool, at, text } from '../scenarios/pool.js';
import type { Client } from '../scenarios/pool.js';
import {
  base64url,
  bytesAt,
  codeOf,
  digestOf,
  encryptFor,
  isSignature,
  publicKeyOf,
} from '../scenarios/witness.js';
import { readBlobIndependently } from '../security-domain/independent-reader.js';
import { vectors } from '../security-domain/vectors.js';
import { Az } from './installed.js';

let pool: TestPool;
let client: Client;
let az: Az;

beforeAll(async () => {
  pool = await TestPool.start();
  client = await pool.client();
  az = new Az(pool, 'administrator');
  await az.registerCloud();
  await az.login(pool.admin);
});
afterAll(() => pool.remove());

/** What `az rest` printed; fails unless the pool said yes. */
async function rest(method: string, path: string, body?: unknown): Promise<unknown> {
  const { code, out, err } = await az.rest(method, path, body);
  if (code !== 0) throw new Error(`${method} ${path}: ${err}`);
  return out.trim() === '' ? undefined : JSON.parse(out);
}

describe('login', () => {
  it('the administrator finds her subscription', async () => {
    const { subscriptionId, tenantId, admin } = pool.ready;
    const found = { id: subscriptionId, tenantId, state: 'Enabled', environmentName: 'Trivet' };
    expect(await az.login(pool.admin)).toMatchObject([{ id: subscriptionId, tenantId, state: 'Enabled' }]);
    expect(await az.run('account', 'show')).toMatchObject(found);
    expect(await az.run('account', 'list')).toMatchObject([{ user: { name: admin?.clientId } }]);
  });

  it('a token for the data plane is one that the pool takes', async () => {
    const resource = `https://managedhsm.localhost:${pool.uri.port}`;
    const token = text(await az.run('account', 'get-access-token', '--resource', resource), 'accessToken');
    expect((await (await pool.client({ token })).call('GET', '/keys')).status).toBe(200);
  });

  it('who has no subscription logs in when told that none is needed, and else is told so', async () => {
    const nobody = new Az(pool, 'nobody');
    await nobody.registerCloud();
    const principal = pool.addPrincipal('nobody');
    await expect(nobody.login(principal)).rejects.toThrow(/No subscriptions found/);
    expect(await nobody.login(principal, '--allow-no-subscriptions')).toMatchObject([
      { tenantId: pool.ready.tenantId, name: 'N/A(tenant level account)' },
    ]);
    const refused = await nobody.rest('GET', '/keys');
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/Forbidden.*"code":"AccessDenied"/s);
  });

  it('a wrong secret is refused in words', async () => {
    const { clientId, objectId } = pool.admin;
    const stranger = new Az(pool, 'stranger');
    await stranger.registerCloud();
    const login = stranger.login({ clientId, objectId, clientSecret: 'wrong' });
    await expect(login).rejects.toThrow(/AADSTS7000215/);
  });

  it('logs out, and in again', async () => {
    await az.run('logout');
    expect((await az.try(['account', 'show'])).err).toMatch(/az login/);
    await az.login(pool.admin);
  });

  it('a certificate is as good as a secret', async () => {
    const file = join(pool.home, 'certified.pem');
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const issuer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
    const certificate = toPem(
      await issueCertificate({
        subject: { commonName: 'certified' },
        issuer: { commonName: 'an issuer that nobody asks for' },
        publicKey: spkiOf(publicKey),
        notBefore: new Date(Date.now() - 60_000),
        notAfter: new Date(Date.now() + 3_600_000),
        authority: false,
        authorityKeyId: keyIdOf(spkiOf(issuer.publicKey)),
        sign: (data) => sign('sha256', data, issuer.privateKey),
      }),
    );
    writeFileSync(file, `${String(privateKey.export({ type: 'pkcs8', format: 'pem' }))}${certificate}`);
    const added = pool.command('principal', 'add', 'certified', '--certificate', file, '--json');
    expect(added.err).toBe('');
    const { clientId } = JSON.parse(added.out) as { clientId: string };
    const certified = new Az(pool, 'certified');
    await certified.registerCloud();
    const login = ['login', '--service-principal', '--username', clientId, '--tenant', pool.ready.tenantId];
    expect(await certified.run(...login, '--password', file, '--allow-no-subscriptions')).toMatchObject([
      { tenantId: pool.ready.tenantId },
    ]);
    const refused = await certified.rest('GET', '/keys');
    expect(refused.err).toMatch(/Forbidden.*"code":"AccessDenied"/s);
  });

  it('a managed identity is logged in with what its environment holds', async () => {
    const added = pool.command('principal', 'add', 'worker', '--managed-identity', '--json');
    const { identityEndpoint, identityHeader, objectId } = JSON.parse(added.out) as ManagedPrincipal;
    const worker = new Az(pool, 'worker', {
      APPSETTING_WEBSITE_SITE_NAME: 'worker',
      MSI_ENDPOINT: identityEndpoint,
      MSI_SECRET: identityHeader,
    });
    await worker.registerCloud();
    expect(await worker.run('login', '--identity', '--allow-no-subscriptions')).toMatchObject([
      { tenantId: pool.ready.tenantId },
    ]);
    const resource = `https://managedhsm.localhost:${pool.uri.port}`;
    const token = text(
      await worker.run('account', 'get-access-token', '--resource', resource),
      'accessToken',
    );
    expect(at(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()), 'oid')).toBe(
      objectId,
    );
    expect((await (await pool.client({ token })).call('GET', '/keys')).status).toBe(403);
  });

  it('the names that role commands ask a directory for are those of the principals', async () => {
    const app = pool.addPrincipal('named');
    const url = `${pool.ready.controlPlane}/v1.0/`;
    const graph = async (who: Az, method: string, path: string, body?: unknown): Promise<Ended> =>
      who.try([
        ...[
          'rest',
          '--method',
          method,
          '--url',
          `${url}${path}`,
          '--resource',
          `${pool.ready.controlPlane}/`,
        ],
        ...(body === undefined ? [] : ['--body', JSON.stringify(body)]),
      ]);
    // As az 2.45 writes them in commands for role assignments.
    const ids = {
      ids: [app.objectId, '11111111-1111-4111-8111-111111111111'],
      types: ['user', 'group', 'servicePrincipal', 'directoryObjectPartnerReference'],
    };
    const named = { id: app.objectId, displayName: 'named', servicePrincipalNames: [app.clientId] };
    const byIds = await graph(az, 'post', 'directoryObjects/getByIds', ids);
    expect(JSON.parse(byIds.out)).toMatchObject({
      value: [{ '@odata.type': '#microsoft.graph.servicePrincipal', ...named }],
    });
    const filter = `$filter=servicePrincipalNames/any(c:c eq '${app.clientId}')`;
    const byName = await graph(az, 'get', `servicePrincipals?${filter}`);
    expect(JSON.parse(byName.out)).toMatchObject({ value: [named] });
    expect(await az.run('ad', 'sp', 'list', '--filter', "displayName eq 'named'")).toMatchObject([named]);
    const other = new Az(pool, 'curious');
    await other.registerCloud();
    await other.login(app, '--allow-no-subscriptions');
    const refused = await graph(other, 'post', 'directoryObjects/getByIds', ids);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('Authorization_RequestDenied')]);
  });

  it('a cloud registered by the address of the control plane alone is good for login', async () => {
    const other = new Az(pool, 'address');
    const { controlPlane } = pool.ready;
    await other.run('cloud', 'register', '--name', 'Short', '--endpoint-resource-manager', controlPlane);
    await other.run('cloud', 'set', '--name', 'Short');
    expect(await other.login(pool.admin)).toMatchObject([{ id: pool.ready.subscriptionId }]);
  });

  it('a cloud found by its metadata is good for login and for commands of keys', async () => {
    const other = new Az(pool, 'metadata');
    const metadata = {
      ARM_CLOUD_METADATA_URL: `${pool.ready.controlPlane}/metadata/endpoints?api-version=2019-05-01`,
    };
    const { clientId, clientSecret } = pool.admin;
    const login = ['login', '--service-principal', '--username', clientId, `--password=${clientSecret}`];
    const { code, err } = await other.try([...login, '--tenant', pool.ready.tenantId], metadata);
    expect([code, err]).toEqual([0, '']);
    const random = [
      'keyvault',
      'key',
      'random',
      '--hsm-name',
      pool.ready.pools[0]?.name ?? '',
      '--count',
      '4',
    ];
    const drawn = await other.try([...random, '--output', 'json'], metadata);
    expect(Buffer.from(text(JSON.parse(drawn.out), 'value'), 'base64')).toHaveLength(4);
  });
});

describe('commands that work as Debian ships them', () => {
  it('keyvault key random: by name and by address, as many bytes as asked for', async () => {
    const name = pool.ready.pools[0]?.name ?? '';
    const drawn = [];
    for (const where of [
      ['--hsm-name', name],
      ['--id', pool.uri.origin],
    ]) {
      drawn.push(text(await az.run('keyvault', 'key', 'random', ...where, '--count', '32'), 'value'));
    }
    expect(drawn.map((value) => Buffer.from(value, 'base64').length)).toEqual([32, 32]);
    expect(new Set(drawn).size).toBe(2);
  });

  it('keyvault security-domain restore-blob: its blob opens with the exchange key', async () => {
    const { end_to_end: set } = vectors;
    const folder = join(pool.home, 'custodians');
    mkdirSync(folder);
    const write = (name: string, content: string): string => {
      const file = join(folder, name);
      writeFileSync(file, content);
      return file;
    };
    const keys = set.wrapping_keys.map(({ name, certificate_pem, private_key_pem }) => {
      write(`${name}.cer`, certificate_pem);
      return write(`${name}.key`, private_key_pem);
    });
    const blob = join(folder, 'blob.json');
    const { code, err } = await az.try([
      ...['keyvault', 'security-domain', 'restore-blob'],
      ...['--sd-exchange-key', write('exchange.cer', set.exchange.certificate_file_as_azure_cli_writes_it)],
      ...['--sd-file', write('domain.json', JSON.stringify(set.security_domain_file))],
      ...['--sd-wrapping-keys', ...keys.slice(0, 2)],
      ...['--sd-file-restore-blob', blob],
    ]);
    expect([code, err]).toEqual([0, '']);
    const exchange = {
      certificate: set.exchange.certificate_file_as_azure_cli_writes_it,
      privateKey: set.exchange.private_key_pem,
    };
    expect(readBlobIndependently(readFileSync(blob, 'utf8'), exchange)).toEqual(
      set.items.map(({ tag, plaintext }) => [tag, plaintext]),
    );
  });
});

describe('commands that are broken as Debian ships them', () => {
  // When one of these no longer fails so, the package was mended, and the command belongs among those that are driven.
  it.each([
    [['keyvault', 'key', 'list'], "No module named 'azure.keyvault.v7_0'"],
    [['keyvault', 'key', 'show', '--name', 'k'], "No module named 'azure.keyvault.key_vault_id'"],
    [['keyvault', 'role', 'definition', 'list'], 'is not a valid ApiVersion|ApiVersion|API version'],
  ])('%s crashes in itself', async (command, words) => {
    const name = pool.ready.pools[0]?.name ?? '';
    const { code, err } = await az.try([...command, '--hsm-name', name]);
    expect(code).not.toBe(0);
    expect(err).toMatch(new RegExp(words));
  });
});

describe('az rest', () => {
  // What stands here for a route is what stands for it in the tests of the API.
  it.each(routes.map((route) => [`${route.method} /${route.path}`, route] as const))(
    '%s is reached, and says through az what it says to anybody',
    async (_, route) => {
      const [sample = ''] = pathsOf(route);
      const path = `${sample}?api-version=${route.since}`;
      const body = bodyOf(route);
      const through = await az.rest(route.method, path, body);
      const plain = await client.call(route.method, path, body);
      // The first of the two may have changed what the second finds; both have come past the router and to the verb.
      expect([401, 405]).not.toContain(plain.status);
      // A verb that looks for what is not there says so with the router's code, in words of its own.
      const missing = /No such \w+ is trusted|There is no backup or restore/;
      if (missing.test(plain.text)) {
        if (through.code !== 0) expect(through.err).toMatch(missing);
        return;
      }
      expect(['NotFound', 'NotSupported']).not.toContain(codeOf(plain.body));
      if (through.code !== 0) {
        expect(through.err).toMatch(/"code":"[A-Za-z]+"/);
        expect(through.err).not.toMatch(/"code":"(NotFound|NotSupported|MethodNotAllowed)"|Unauthorized/);
      }
    },
  );

  it('a life of keys: made, used, changed, deleted, recovered, purged', async () => {
    const message = Buffer.from('signed through az');
    const made = await rest('POST', '/keys/life/create', { kty: 'EC', crv: 'P-256', tags: { kept: 'yes' } });
    const id = text(made, 'key', 'kid');
    const version = id.slice(id.lastIndexOf('/') + 1);
    const key = publicKeyOf(at(made, 'key'));
    const digest = base64url(digestOf('ES256', message));
    const signed = await rest('POST', '/keys/life//sign', { alg: 'ES256', value: digest });
    const signature = bytesAt(signed, 'value');
    expect(isSignature('ES256', key, message, signature)).toBe(true);
    const verified = { alg: 'ES256', digest, value: base64url(signature) };
    expect(await rest('POST', `/keys/life/${version}/verify`, verified)).toMatchObject({ value: true });
    expect(await rest('GET', '/keys/life/')).toEqual(made);
    expect(at(await rest('GET', '/keys/life/versions'), 'value')).toHaveLength(1);
    const names = at(await rest('GET', '/keys'), 'value') as { kid: string }[];
    expect(names.map(({ kid }) => kid)).toContain(`${pool.uri.origin}/keys/life`);
    const off = await rest('PATCH', '/keys/life/', { attributes: { enabled: false } });
    expect(at(off, 'attributes', 'enabled')).toBe(false);
    const refused = await az.rest('POST', '/keys/life/sign', { alg: 'ES256', value: digest });
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('KeyDisabled')]);

    const deleted = await rest('DELETE', '/keys/life');
    expect(deleted).toMatchObject({ recoveryId: `${pool.uri.origin}/deletedkeys/life` });
    expect(await rest('GET', '/deletedkeys/life')).toEqual(deleted);
    expect(await rest('POST', '/deletedkeys/life/recover')).toEqual(off);
    await rest('DELETE', '/keys/life');
    expect(await rest('DELETE', '/deletedkeys/life')).toBeUndefined();
    const gone = await az.rest('GET', '/deletedkeys/life');
    expect([gone.code, gone.err]).toEqual([1, expect.stringContaining('KeyNotFound')]);
  }, 180_000);

  it('an imported key opens what Node sealed, and the other way round', async () => {
    const secret = createHash('sha256').update('a secret').digest();
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    await rest('PUT', '/keys/sealed', { Hsm: true, key: privateKey.export({ format: 'jwk' }) });
    const alg = 'RSA-OAEP-256';
    const value = base64url(encryptFor(alg, publicKey, secret));
    for (const open of ['decrypt', 'unwrapkey']) {
      expect(bytesAt(await rest('POST', `/keys/sealed//${open}`, { alg, value }), 'value')).toEqual(secret);
    }
  });
});

describe('az rest, rotation', () => {
  it('a policy is set as the az command writes it, read, and followed', async () => {
    await rest('POST', '/keys/turned/create', { kty: 'RSA' });
    // As `az keyvault key rotation-policy update` sends it, members that are not set included.
    const policy = {
      lifetimeActions: [
        { trigger: { timeAfterCreate: 'P90D', timeBeforeExpiry: null }, action: { type: 'Rotate' } },
      ],
      attributes: { expiryTime: 'P2Y' },
    };
    const set = await rest('PUT', '/keys/turned/rotationpolicy', policy);
    expect(set).toMatchObject({
      id: 'keys/turned/rotationpolicy',
      attributes: { expiryTime: 'P2Y' },
      lifetimeActions: [{ trigger: { timeAfterCreate: 'P90D' }, action: { type: 'Rotate' } }],
    });
    expect(await rest('GET', '/keys/turned/rotationpolicy')).toEqual(set);
    await rest('POST', '/keys/turned/rotate');
    expect(at(await rest('GET', '/keys/turned/versions'), 'value')).toHaveLength(2);
  });
});

describe('az rest, backup', () => {
  it('a purged key comes back from its backup', async () => {
    const made = await rest('POST', '/keys/kept/create', { kty: 'oct' });
    const backup = await rest('POST', '/keys/kept/backup');
    await rest('DELETE', '/keys/kept');
    await rest('DELETE', '/deletedkeys/kept');
    const restored = await rest('POST', '/keys/restore', { value: text(backup, 'value') });
    expect(at(restored, 'key')).toEqual(at(made, 'key'));
  });
});

it('keyvault key get-policy-template: what it prints is a policy as the pool wants it', async () => {
  const policy = await az.run('keyvault', 'key', 'get-policy-template');
  expect(policy).toMatchObject({ version: '1.0.0', anyOf: expect.any(Array) as unknown });
});
