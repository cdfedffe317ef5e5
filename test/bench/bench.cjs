// The benchmark: addon against its peers, REST against a bare echo, durable creations, start-up. All sides of a
// comparison run in turn, round by round; what counts are ratios within a round, by their median. Nothing here is a
// test: figures are written down, none is asserted.
const { spawn, spawnSync } = require('node:child_process');
const { generateKeyPairSync, sign } = require('node:crypto');
const fs = require('node:fs');
const { Agent } = require('node:https');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { call, counted, login, median, table, two, up, whole } = require('./service.cjs');
const { load } = require('./load.cjs');

const root = join(__dirname, '../..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench') },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const slice = options.quick ? 60 : 1_000;
const home = fs.mkdtempSync(join(tmpdir(), 'trivet-bench-'));
const cleanUp = [() => fs.rmSync(home, { recursive: true, force: true })];

const say = (text) => process.stderr.write(`${text}\n`);

function run(file, args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(`${file}: ${stderr}`);
  return stdout;
}

// ---- addon -----------------------------------------------------------------------------------------------------

// Measures in whole seconds only, which is too long for a quick look.
function openssl() {
  const figures = {};
  if (options.quick) return figures;
  const { stdout } = spawnSync('openssl', ['speed', '-seconds', '2', '-mr', 'ecdsap256', 'rsa2048'], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  for (const line of stdout.split('\n')) {
    // +F4 is ECDSA, +F2 RSA: bits, then signatures per second.
    const [kind, , bits, signatures] = line.split(':');
    if (kind === '+F4' && bits === '256') figures['es256 sync'] = { perSecond: Number(signatures) };
    if (kind === '+F2' && bits === '2048') figures['rs256 sync'] = { perSecond: Number(signatures) };
  }
  return figures;
}

async function addon(module) {
  const tokens = join(home, 'tokens');
  fs.mkdirSync(tokens);
  const configuration = join(home, 'softhsm2.conf');
  fs.writeFileSync(configuration, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`);
  process.env.SOFTHSM2_CONF = configuration;
  const { Library } = require(join(root, 'dist/instance/pkcs11/library.js'));
  const library = Library.openSync(module);
  const so = Buffer.from('benchmark');
  await library.initToken(library.slotsSync(true)[0], so, 'benchmark');
  const session = library.openSessionSync(library.slotsSync(true)[0], { readWrite: true });
  await session.login('SO', so);
  await session.initPin(so);
  session.close();
  await library.close();
  const sides = { trivet: [], pkcs11js: [], graphene: [], openssl: [] };
  for (let round = 0; round < rounds; round += 1) {
    say(`addon, round ${round + 1} of ${rounds}`);
    for (const side of ['trivet', 'pkcs11js', 'graphene']) {
      const args = [side, module, 'benchmark', String(slice)];
      sides[side].push(JSON.parse(run(join(__dirname, 'addon-side.cjs'), args, { SOFTHSM2_CONF: configuration })));
    }
    sides.openssl.push(openssl());
  }
  return sides;
}

const addonRows = (sides) =>
  Object.keys(sides.trivet[0]).map((name) => {
    const ours = sides.trivet.map((round) => round[name].perSecond);
    const base = `${name.split(' ')[0]} sync`;
    const ratio = (side, key) => {
      const all = sides[side].flatMap((round, i) => (round[key] ? [ours[i] / round[key].perSecond] : []));
      return all.length > 0 ? median(all) : undefined;
    };
    const cpuOfOurs = sides.trivet.map((round) => round[name].cpuMicroseconds);
    return {
      operation: name,
      perSecond: median(ours),
      cpuMicroseconds: median(cpuOfOurs),
      pkcs11jsSyncCpuToOurs: median(sides.pkcs11js.map((round, i) => round[base].cpuMicroseconds / cpuOfOurs[i])),
      toPkcs11jsSync: ratio('pkcs11js', base),
      toPkcs11jsSame: ratio('pkcs11js', name),
      toGrapheneSync: ratio('graphene', base),
      toOpenssl: ratio('openssl', base),
    };
  });

// ---- REST ------------------------------------------------------------------------------------------------------

async function startEcho(size) {
  const { issueCertificate, toPem } = require(join(root, 'dist/values/certificate.js'));
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = { commonName: 'echo' };
  const cert = toPem(
    await issueCertificate({
      subject: name,
      issuer: name,
      publicKey: publicKey.export({ type: 'spki', format: 'der' }),
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      names: { dns: ['localhost'], ip: [] },
      authority: false,
      usages: ['serverAuth'],
      sign: (data) => sign('sha256', data, privateKey),
    }),
  );
  fs.writeFileSync(join(home, 'echo.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  fs.writeFileSync(join(home, 'echo.pem'), cert);
  const args = [join(__dirname, 'echo-server.cjs'), join(home, 'echo.key'), join(home, 'echo.pem'), String(size)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanUp.unshift(() => child.kill('SIGKILL'));
  const port = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))));
  return counted({ port, servername: 'localhost', ca: cert }, [child.pid]);
}

async function rest(pool) {
  const { pools } = pool.ready;
  const api = await login(pool.ready);
  const { host, port, ca, token } = api;
  const version = '?api-version=7.4';
  const make = async (name, body) => (await call(api, 'POST', `/keys/${name}/create${version}`, body)).key.kid;
  const digest = Buffer.alloc(32, 5).toString('base64url');
  const requestOf = (kid, verb, body) => ({
    method: body ? 'POST' : 'GET',
    path: new URL(kid).pathname + verb + version,
    host: `${host}:${port}`,
    token,
    body,
  });
  const ec = await make('bench-ec', { kty: 'EC' });
  const rsa = await make('bench-rsa', { kty: 'RSA', key_size: 2048 });
  const oct = await make('bench-oct', { kty: 'oct', key_size: 256 });
  const requests = {
    ES256: requestOf(ec, '/sign', { alg: 'ES256', value: digest }),
    RS256: requestOf(rsa, '/sign', { alg: 'RS256', value: digest }),
    A256GCM: requestOf(oct, '/encrypt', { alg: 'A256GCM', value: digest }),
    get: requestOf(ec, ''),
  };
  const pids = pools[0].instances.map(({ pid }) => pid);
  const data = counted({ port, servername: host, ca }, pids);
  const echo = await startEcho(300);
  const echoRequest = { ...requests.ES256, path: '/echo' };
  // Every instance and the echo have compiled what they run before anything is counted.
  for (const [target, request] of [[echo, echoRequest], ...Object.values(requests).map((each) => [data, each])]) {
    await load(target, request, 12, slice);
  }
  const all = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const connections of options.quick ? [16] : [1, 16, 64]) {
      say(`REST, round ${round + 1} of ${rounds}, ${connections} connections`);
      const echoed = await load(echo, echoRequest, connections, slice);
      for (const instances of [1, 3]) {
        const target = { ...data, stride: instances === 1 ? 3 : 1 };
        const measured = { connections, instances, echo: echoed };
        for (const [name, request] of Object.entries(requests)) {
          measured[name] = await load(target, request, connections, slice);
        }
        all.push(measured);
      }
    }
  }
  return { all, durable: await durable(api, ca), pids };
}

async function durable(api) {
  const figures = {};
  for (const clients of [1, 16]) {
    say(`durable creations, ${clients} clients`);
    const end = performance.now() + 2 * slice;
    const started = performance.now();
    let count = 0;
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const kept = { ...api, agent: new Agent({ keepAlive: true, maxSockets: 1 }) };
        for (let i = 0; performance.now() < end; i += 1) {
          await call(kept, 'POST', `/keys/durable-${clients}-${client}-${i}/create?api-version=7.4`, { kty: 'EC' });
          count += 1;
        }
      }),
    );
    figures[clients] = (count / (performance.now() - started)) * 1000;
  }
  const file = fs.openSync(join(home, 'fsync'), 'w');
  const times = [];
  for (let i = 0; i < 200; i += 1) {
    fs.writeSync(file, Buffer.alloc(4096, i));
    const before = performance.now();
    fs.fsyncSync(file);
    times.push((performance.now() - before) * 1000);
  }
  fs.closeSync(file);
  return { perSecond: figures, fsyncMicroseconds: median(times) };
}

function restRows({ all }, addonSides) {
  const sign = { ES256: 'es256 sync', RS256: 'rs256 async 16', A256GCM: 'a256gcm sync' };
  const rows = [];
  const kinds = new Map(all.map((round) => [`${round.connections}/${round.instances}`, round]));
  for (const { connections, instances } of kinds.values()) {
    const here = all.filter((round) => round.connections === connections && round.instances === instances);
    for (const name of instances === 1 ? ['echo', ...Object.keys(sign), 'get'] : [...Object.keys(sign), 'get']) {
      const of = (member) => median(here.map((round) => round[name][member]));
      const addonCpu = sign[name] ? median(addonSides.trivet.map((round) => round[sign[name]].cpuMicroseconds)) : 0;
      rows.push({
        operation: name,
        connections,
        instances: name === 'echo' ? undefined : instances,
        perSecond: of('perSecond'),
        cpuMicroseconds: of('cpuMicroseconds'),
        p50: of('p50'),
        p99: of('p99'),
        toEcho: median(here.map((round) => round[name].perSecond / round.echo.perSecond)),
        p99ToEcho: median(here.map((round) => round[name].p99 / round.echo.p99)),
        efficiency: median(here.map((round) => (round.echo.cpuMicroseconds + addonCpu) / round[name].cpuMicroseconds)),
      });
    }
  }
  return rows;
}

// ---- report ----------------------------------------------------------------------------------------------------

function report({ machine, addon: addonPart, rest: restPart, durable: durablePart, start }) {
  const perRound = `${rounds} round${rounds === 1 ? '' : 's'} of ${slice} ms, medians`;
  return `# Benchmark

${machine.cores} cores (${machine.cpu}), Node ${machine.node}; ${perRound}. Ratios are ours to theirs, taken within a round.

## Addon

${table(
  [
    'operation',
    'per second',
    'CPU µs',
    'to pkcs11js, synchronous',
    'the same by CPU time',
    'to pkcs11js, same style',
    'to graphene',
    'to openssl speed',
  ],
  addonPart.map((row) => [
    row.operation,
    whole(row.perSecond),
    whole(row.cpuMicroseconds),
    two(row.toPkcs11jsSync),
    two(row.pkcs11jsSyncCpuToOurs),
    two(row.toPkcs11jsSame),
    two(row.toGrapheneSync),
    two(row.toOpenssl),
  ]),
)}

## REST

Against one process of a bare \`node:https\` JSON echo; connections to one instance, or spread over all three. E = (CPU of one echo + CPU of one addon operation) ÷ CPU of one request, all three instances counted.

${table(
  ['operation', 'connections', 'instances', 'per second', 'CPU µs', 'p50 µs', 'p99 µs', 'rate to echo', 'p99 to echo', 'E'],
  restPart.map((row) => [
    row.operation,
    row.connections,
    row.instances ?? '',
    whole(row.perSecond),
    whole(row.cpuMicroseconds),
    whole(row.p50),
    whole(row.p99),
    two(row.toEcho),
    two(row.p99ToEcho),
    two(row.efficiency),
  ]),
)}

## Durable creations (P-256, three fsyncing members)

${table(
  ['clients', 'per second'],
  Object.entries(durablePart.perSecond).map(([clients, rate]) => [clients, whole(rate)]),
)}

One 4 KB append with fsync on this disk: ${whole(durablePart.fsyncMicroseconds)} µs.

## Start

Second start to ready: ${whole(median(start))} ms (median of ${start.length}).
`;
}

async function main() {
  const { findModule } = require(join(root, 'dist/cli/home.js'));
  const module = findModule(process.env.TRIVET_PKCS11_MODULE);
  const addonSides = await addon(module);
  const directory = join(home, 'data');
  const readyFile = join(home, 'ready.json');
  await (await up(directory, readyFile)).stop();
  const start = [];
  let pool;
  for (let i = 0; i < (options.quick ? 1 : 5); i += 1) {
    if (pool) await pool.stop();
    pool = await up(directory, readyFile);
    start.push(pool.milliseconds);
  }
  cleanUp.unshift(() => pool.stop());
  const measured = await rest(pool);
  const [{ model: cpu }] = cpus();
  const result = {
    machine: { cores: cpus().length, cpu, node: process.version },
    rounds,
    addon: addonRows(addonSides),
    rest: restRows(measured, addonSides),
    durable: measured.durable,
    start,
  };
  const text = report(result);
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'benchmark.md'), text);
  fs.writeFileSync(join(options.out, 'benchmark.json'), `${JSON.stringify(result, undefined, 2)}\n`);
  console.log(options.json ? JSON.stringify(result) : text);
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(async () => {
    for (const step of cleanUp) await step();
  });
