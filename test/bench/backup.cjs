// What a full backup and a full restore cost: time, memory of the instances, size; and what clients notice of the backup.
// Two pools of one security domain, and azurite on the same machine.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { fillPool } = require('./fill-pool.cjs');
const { load } = require('./load.cjs');
const { call, login, median, table, up, whole } = require('./service.cjs');

const root = join(__dirname, '../..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    keys: { type: 'string' },
    versions: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench') },
  },
});
/** Two in five P-256, two in five AES, one in five RSA. */
const TEMPLATES = [{ kty: 'EC' }, { kty: 'oct' }, { kty: 'EC' }, { kty: 'oct' }, { kty: 'RSA', key_size: 2048 }];
const KEYS = Number(options.keys ?? (options.quick ? 50 : 5_000 - TEMPLATES.length));
const VERSIONS = Number(options.versions ?? (options.quick ? 3 : 10));
const SLICE_MS = options.quick ? 100 : 500;
const SAMPLE_MS = 50;
const API = '?api-version=7.6';

const home = fs.mkdtempSync(join(tmpdir(), 'trivet-backup-'));
const cleanUp = [() => fs.rmSync(home, { recursive: true, force: true })];
const say = (text) => process.stderr.write(`${text}\n`);
const main = join(root, 'dist/cli/main.js');

/** A command of the command line; gives what it printed. */
function run(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.once('exit', (code) => (code === 0 ? resolve(out) : reject(new Error(`${args.join(' ')}: ${out}`))));
  });
}

const pidsOf = ({ ready }) => ready.pools[0].instances.map(({ pid }) => pid);
/** Megabytes. */
const residentOf = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

/** How long something takes, and by how much the memory of each instance grows meanwhile at most. */
async function watched(pool, work) {
  const before = pidsOf(pool).map(residentOf);
  const most = [...before];
  const timer = setInterval(() => {
    pidsOf(pool).forEach((pid, place) => (most[place] = Math.max(most[place], residentOf(pid))));
  }, SAMPLE_MS);
  const started = performance.now();
  try {
    const result = await work();
    return { result, seconds: (performance.now() - started) / 1_000, grown: most.map((mb, i) => mb - before[i]) };
  } finally {
    clearInterval(timer);
  }
}

function sizeOf(directory) {
  const files = fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return files.reduce((sum, { parentPath, path, name }) => sum + fs.statSync(join(parentPath ?? path, name)).size, 0);
}

async function serve(name, more) {
  const directory = join(home, name);
  const pool = await up(directory, `${directory}.json`, more);
  return { ...pool, directory };
}

async function measure() {
  const { findModule } = require(join(root, 'dist/cli/home.js'));
  const first = await serve('source', ['--storage']);
  const api = await login(first.ready);
  for (const [place, body] of TEMPLATES.entries()) {
    await call(api, 'POST', `/keys/template-${place}/create${API}`, body);
  }
  await first.stop();
  say(`filling: ${KEYS} keys of ${VERSIONS} versions`);
  await fillPool({
    dataDir: first.directory,
    keys: KEYS,
    versions: VERSIONS,
    module: findModule(process.env.TRIVET_PKCS11_MODULE),
  });
  const source = await serve('source', ['--storage']);
  cleanUp.unshift(source.stop);
  const { host, port, ca, token } = await login(source.ready);
  const sign = {
    method: 'POST',
    path: `/keys/template-0/sign${API}`,
    host: `${host}:${port}`,
    token,
    body: { alg: 'ES256', value: Buffer.alloc(32, 5).toString('base64url') },
  };
  const target = { port, servername: host, ca, stride: 3 };
  const slice = () => load(target, () => sign, 4, SLICE_MS);
  await slice();
  const quiet = [await slice(), await slice(), await slice()];
  const store = join(source.directory, 'storage/data');
  const sizeBefore = sizeOf(store);

  say('backup');
  const alone = await watched(source, () => run('backup', 'start', '--json', '--data-dir', source.directory));
  const bytes = sizeOf(store) - sizeBefore;
  say('backup, with clients that sign');
  const slices = [];
  let done = false;
  const busy = await watched(source, async () => {
    const backup = run('backup', 'start', '--json', '--data-dir', source.directory).finally(() => (done = true));
    while (!done) slices.push(await slice());
    return backup;
  });

  const folder = JSON.parse(alone.result).azureStorageBlobContainerUri;
  const { uri } = source.ready.storage;
  const empty = await serve('target', [
    '--no-activate',
    ...['--storage-host', `${new URL(uri).host},${join(source.directory, 'fabric/ca.pem')}`],
  ]);
  cleanUp.unshift(empty.stop);
  const custodians = join(source.directory, 'custodians');
  const [cer, blob] = [join(home, 'exchange.cer'), join(home, 'blob.json')];
  await run('security-domain', 'transfer-key', '--out', cer, '--data-dir', empty.directory);
  await run(
    ...['security-domain', 'restore-blob', '--file', join(custodians, 'security-domain.json')],
    ...['--exchange-certificate', cer, '--out', blob],
    ...['--keys', join(custodians, 'custodian-1.key'), join(custodians, 'custodian-2.key')],
  );
  await run('security-domain', 'upload', '--blob', blob, '--data-dir', empty.directory);
  say('restore');
  const container = folder.slice(0, folder.lastIndexOf('/'));
  const access = ['--container', container, '--sas', tokenFor(source, container)];
  const restored = await watched(empty, () =>
    run('restore', 'start', folder, '--yes', '--json', ...access, '--data-dir', empty.directory),
  );
  const records = Number(/of (\d+) records/.exec(JSON.parse(restored.result).statusDetails)[1]);
  if (records < KEYS * (VERSIONS + 1)) throw new Error(`only ${records} records were restored`);
  return {
    keys: KEYS + TEMPLATES.length,
    versions: VERSIONS,
    megabytes: bytes / 1_048_576,
    backup: { seconds: alone.seconds, grown: Math.max(...alone.grown) },
    busy: {
      seconds: busy.seconds,
      grown: Math.max(...busy.grown),
      perSecond: median(slices.map(({ perSecond }) => perSecond)) / median(quiet.map(({ perSecond }) => perSecond)),
      p99: Math.max(...slices.map(({ p99 }) => p99)),
      quietP99: median(quiet.map(({ p99 }) => p99)),
    },
    restore: { seconds: restored.seconds, grown: Math.max(...restored.grown) },
  };
}

/** A SAS token of the local storage, for a pool that is not its own. */
function tokenFor({ ready }, container) {
  const library = require('@azure/storage-blob');
  const { account, keyFile } = ready.storage;
  const key = new library.StorageSharedKeyCredential(account, fs.readFileSync(keyFile, 'utf8').trim());
  return library
    .generateBlobSASQueryParameters(
      {
        containerName: container.slice(container.lastIndexOf('/') + 1),
        permissions: library.ContainerSASPermissions.parse('rcwdl'),
        expiresOn: new Date(Date.now() + 86_400_000),
      },
      key,
    )
    .toString();
}

function report({ machine, keys, versions, megabytes, backup, busy, restore }) {
  return `# Full backup and restore

${machine.cores} cores (${machine.cpu}), Node ${machine.node}. ${keys} keys, nearly all of ${versions} versions; the storage (azurite) and all instances are on this machine. Memory: by how much the instance grew that grew most.

${table(
  ['', 'seconds', 'memory MB'],
  [
    ['backup', backup.seconds.toFixed(1), whole(backup.grown)],
    ['backup, with four connections that sign', busy.seconds.toFixed(1), whole(busy.grown)],
    ['restore into another pool', restore.seconds.toFixed(1), whole(restore.grown)],
  ],
)}

Size: ${whole(megabytes)} MB. During the backup ${whole(busy.perSecond * 100)} % of the signatures a second that are made without one; p99 ${whole(busy.p99)} µs in the worst half second, ${whole(busy.quietP99)} µs without.
`;
}

async function go() {
  const machine = { cores: cpus().length, cpu: cpus()[0].model, node: process.version };
  const result = { machine, ...(await measure()) };
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'backup.json'), `${JSON.stringify(result, null, 2)}\n`);
  fs.writeFileSync(join(options.out, 'backup.md'), report(result));
  console.log(options.json ? JSON.stringify(result) : report(result));
}

go()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(async () => {
    for (const clean of cleanUp) await clean();
  });
