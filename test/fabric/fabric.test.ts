import { X509Certificate, createPublicKey } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { request } from 'node:https';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { startFabric } from '../../src/fabric/main.js';
import type { Fabric, FabricOptions } from '../../src/fabric/main.js';
import { fakeModule, gone, privateDirectory, program } from './programs/fake-pool.js';
import type { Wish } from './programs/fake-pool.js';

const directory = privateDirectory();
const fabrics: Fabric[] = [];

afterEach(async () => {
  await Promise.all(fabrics.splice(0).map((fabric) => fabric.abandon()));
});

async function start(name: string, changes: Partial<FabricOptions> = {}, wish: Wish = {}): Promise<Fabric> {
  const fabric = await startFabric({
    dataDirectory: join(directory, name),
    controlPort: 0,
    dataPort: 0,
    module: (await fakeModule(directory, wish)).module,
    program,
    progress: () => undefined,
    ...changes,
  });
  fabrics.push(fabric);
  return fabric;
}

function publicHalf(file: string): string {
  return createPublicKey(readFileSync(file)).export({ format: 'der', type: 'spki' }).toString('base64url');
}

interface Seen {
  readonly start: { readonly founding: Record<string, unknown> } & Record<string, unknown>;
  readonly pid: number;
  readonly peers: readonly unknown[];
  readonly environment: Record<string, string>;
}

// What a fake instance says about itself, asked through the data port with nothing but ca.pem.
function seenBy(fabric: Fabric): Promise<Seen> {
  const [pool] = fabric.status().pools;
  const { hostname, port } = new URL(pool?.uri ?? '');
  const ca = readFileSync(fabric.places.caFile, 'utf8');
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, servername: hostname, ca, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString()) as Seen));
    })
      .on('error', reject)
      .end();
  });
}

test('fabric: an empty directory becomes a pool that answers under its name, trusted by ca.pem', async () => {
  const fabric = await start('empty');
  const status = fabric.status();
  const { start: told, peers } = await seenBy(fabric);
  const admin = JSON.parse(readFileSync(fabric.places.admin, 'utf8')) as { objectId: string };
  expect(status.pools).toMatchObject([{ name: 'dev', activation: 'Active' }]);
  expect(status.authority).toBe(`${status.controlPlane}/adfs`);
  expect(told).toMatchObject({
    pool: 'dev',
    instance: 0,
    domain: 'managedhsm.localhost',
    dataPort: Number(new URL(status.pools[0]?.uri ?? '').port),
    authority: `${status.controlPlane}/${status.tenantId}`,
    founding: {
      tenantId: status.tenantId,
      administrators: [admin.objectId],
      cryptoUsers: [admin.objectId],
      issuers: [{ issuer: `https://login.trivet.localhost/${status.tenantId}/`, keys: [{ alg: 'RS256' }] }],
      retentionDays: 90,
      purgeProtection: false,
      trust: { hosts: [publicHalf(String(told['hostKeyFile']))], measurements: [] },
    },
  });
  expect(peers).toEqual([
    { instance: 1, certificate: 'certificate 1', port: 40_001 },
    { instance: 2, certificate: 'certificate 2', port: 40_002 },
  ]);
});

test('fabric: instances inherit nothing that changes what they run', async () => {
  process.env['NODE_OPTIONS_SEEN'] = 'x';
  process.env['SOFTHSM2_CONF'] = '/nowhere';
  process.env['OPENSSL_CONF'] = '/nowhere';
  process.env['LD_PRELOAD_SEEN'] = 'x';
  const { environment } = await seenBy(await start('environment'));
  const allowed = ['PATH', 'HOME', 'TMPDIR', 'XDG_RUNTIME_DIR', 'LANG', 'LC_ALL', 'TZ'];
  // How Node tells a child about its channel.
  const channel = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE'];
  const known = [...allowed, 'UV_THREADPOOL_SIZE', 'MALLOC_ARENA_MAX', ...channel];
  expect(Object.keys(environment).filter((name) => !known.includes(name))).toEqual([]);
  expect(environment['UV_THREADPOOL_SIZE']).toBe('8');
  for (const name of ['NODE_OPTIONS_SEEN', 'SOFTHSM2_CONF', 'OPENSSL_CONF', 'LD_PRELOAD_SEEN']) {
    Reflect.deleteProperty(process.env, name);
  }
});

test('fabric: its host key is for its owner alone, and is not made anew once a pool knows it', async () => {
  const fabric = await start('host-key');
  const file = fabric.places.own('host-key.pem');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const key = readFileSync(file, 'utf8');
  await fabric.stop();
  await start('host-key').then((again) => again.stop());
  expect(readFileSync(file, 'utf8')).toBe(key);
  rmSync(file);
  await expect(start('host-key')).rejects.toThrow(/host-key\.pem is missing.*restore it from a backup/);
  expect(existsSync(file)).toBe(false);
});

test('fabric: started again it is the same installation with the same credentials', async () => {
  const first = await start('again', { pool: 'Mine' });
  const { tenantId, subscriptionId, pools } = first.status();
  const admin = readFileSync(first.places.admin, 'utf8');
  const [fabricCa] = readFileSync(first.places.caFile, 'utf8').split(/(?<=-----END CERTIFICATE-----)\n/);
  await first.stop();
  const second = await start('again');
  expect(second.status()).toMatchObject({ tenantId, subscriptionId, pools: [{ name: pools[0]?.name }] });
  expect(second.status().pools[0]?.name).toBe('mine');
  expect(readFileSync(second.places.admin, 'utf8')).toBe(admin);
  expect(readFileSync(second.places.caFile, 'utf8')).toContain(fabricCa);
});

test('fabric: its authority can certify this machine only, and no pool', async () => {
  const { places } = await start('authority');
  const [own = '', root = ''] = readFileSync(places.caFile, 'utf8').split(/(?<=-----END CERTIFICATE-----)\n/);
  expect(new X509Certificate(own).subject).toBe('CN=Trivet fabric');
  expect(new X509Certificate(own).ca).toBe(true);
  expect(new X509Certificate(root).subject).toBe('CN=a pool');
});

test('fabric: secrets are for their owner only', async () => {
  const { places } = await start('modes');
  for (const name of readdirSync(places.own('.'))) {
    expect([name, statSync(places.own(name)).mode & 0o777]).toEqual([
      name,
      name === 'ca.pem' ? 0o644 : 0o600,
    ]);
  }
  expect(statSync(places.admin).mode & 0o777).toBe(0o600);
  expect(statSync(places.root).mode & 0o777).toBe(0o700);
  const admin = JSON.parse(readFileSync(places.admin, 'utf8')) as { clientSecret: string };
  expect(readFileSync(places.own('principals.json'), 'utf8')).not.toContain(admin.clientSecret);
});

test('fabric: a second one on the same directory is refused, and the first goes on', async () => {
  const first = await start('twice');
  await expect(start('twice')).rejects.toThrow(/another fabric \(process \d+\) runs on .*twice; stop it/);
  expect((await seenBy(first)).start).toMatchObject({ pool: 'dev' });
});

test('fabric: a pool that cannot start is reported with its reason, and can be started later', async () => {
  await expect(start('failing', {}, { fails: 2 })).rejects.toThrow('pool dev: instance 2 has no token');
  expect((await start('failing')).status().pools).toHaveLength(1);
});

test('fabric: stopping it ends every instance, and its ports are free', async () => {
  const fabric = await start('stopping');
  const pids = fabric.status().pools.flatMap(({ instances }) => instances.flatMap(({ pid }) => pid ?? []));
  const controlPort = Number(new URL(fabric.status().controlPlane).port);
  await fabric.stop();
  await Promise.all(pids.map(gone));
  expect(pids).toHaveLength(3);
  await start('stopping', { controlPort });
});

test('fabric: a port in use, an unknown pool and a lost admin file are told with what to do', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await expect(start('port', { controlPort: port })).rejects.toThrow(
    /in use; choose another with --control-port/,
  );
  await expect(start('port', { dataPort: port })).rejects.toThrow(/in use; choose another with --data-port/);
  server.close();
  const fabric = await start('port');
  await fabric.stop();
  await expect(start('port', { pool: 'other' })).rejects.toThrow(/holds dev and no pool "other"/);
  await expect(start('name', { pool: 'a b' })).rejects.toThrow(/no pool name/);
  rmSync(fabric.places.admin);
  await (await start('port')).stop(); // the pool exists; its administrator is known to the pool
});

const TENANT = '11111111-1111-4111-8111-111111111111';
const OWNER = '22222222-2222-4222-8222-222222222222';
const PROVIDER = {
  issuer: `https://sts.example.net/${TENANT}/`,
  metadataUrl: `https://login.example.net/${TENANT}/.well-known/openid-configuration`,
};

test('fabric: a pool may believe an OpenID provider besides the login, and keeps what it was made with', async () => {
  const fabric = await start('provider', { issuers: [PROVIDER], tenantId: TENANT, administrators: [OWNER] });
  const admin = JSON.parse(readFileSync(fabric.places.admin, 'utf8')) as { objectId: string };
  const { start: told } = await seenBy(fabric);
  expect(fabric.status().tenantId).toBe(TENANT);
  expect(told).toMatchObject({
    authority: `${fabric.status().controlPlane}/${TENANT}`,
    founding: {
      tenantId: TENANT,
      administrators: [admin.objectId, OWNER],
      cryptoUsers: [admin.objectId],
      issuers: [{ issuer: `https://login.trivet.localhost/${TENANT}/` }, PROVIDER],
    },
  });
  await fabric.stop();
  for (const changes of [
    { issuers: [PROVIDER] },
    { administrators: [OWNER] },
    { localLogin: false },
  ] satisfies Partial<FabricOptions>[]) {
    await expect(start('provider', changes)).rejects.toThrow(/keep the issuers and Administrators/);
  }
  await expect(start('provider', { tenantId: OWNER })).rejects.toThrow(
    /cannot be changed; leave out --tenant/,
  );
  const again = await start('provider', { tenantId: TENANT });
  expect((await seenBy(again)).start['founding']).toEqual(told.founding);
});

test('fabric: with the local login switched off no pool is told of it, and clients are sent to the provider', async () => {
  const off = { localLogin: false, issuers: [PROVIDER], tenantId: TENANT, administrators: [OWNER] };
  await expect(start('off', { ...off, administrators: [] })).rejects.toThrow(
    /needs --issuer and --administrator/,
  );
  await expect(start('off', { ...off, issuers: [] })).rejects.toThrow(/needs --issuer and --administrator/);
  const { start: told } = await seenBy(await start('off', off));
  expect(told).toMatchObject({ authority: `https://login.example.net/${TENANT}` });
  expect(told.founding).toMatchObject({ administrators: [OWNER], cryptoUsers: [], issuers: [PROVIDER] });
});
