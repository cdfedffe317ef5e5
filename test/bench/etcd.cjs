// Acknowledged key creations per second beside puts of a three-member etcd: both with three fsyncing members on the
// same disk and TLS on every link, what one creation writes and what one put writes equally long. Measured in turn, round
// by round; what counts are ratios within a round, by their median.
//
// etcd is spoken to in its own protocol, gRPC, with requests made by hand: its JSON gateway would be a slower etcd.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const http2 = require('node:http2');
const { createServer } = require('node:net');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { load } = require('./load.cjs');
const { counted, login, median, table, two, up, whole } = require('./service.cjs');

const root = join(__dirname, '../..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench') },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 7));
const slice = options.quick ? 300 : 2_000;
const CLIENTS = options.quick ? [1, 16] : [1, 4, 16, 64];
/** Creating a P-256 key makes an entry of 553 bytes with two hashes of 32; the index and the times are in the rest. */
const ENTRY_BYTES = 640;
/** Names in turn, so that a pool's limit of keys is not met: every creation after them adds a version. */
const NAMES = 2_000;

const home = fs.mkdtempSync(join(tmpdir(), 'trivet-etcd-'));
const cleanUp = [() => fs.rmSync(home, { recursive: true, force: true })];
const say = (text) => process.stderr.write(`${text}\n`);

// ---- etcd ------------------------------------------------------------------------------------------------------

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function startEtcd() {
  const ports = await freePorts(6);
  const members = [0, 1, 2].map((id) => ({
    name: `member-${id}`,
    client: `https://127.0.0.1:${ports[id]}`,
    peer: `https://127.0.0.1:${ports[id + 3]}`,
  }));
  const children = members.map(({ name, client, peer }) => {
    const given = {
      name,
      'data-dir': join(home, name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': members.map((each) => `${each.name}=${each.peer}`).join(','),
      'initial-cluster-state': 'new',
      logger: 'zap',
      'log-level': 'error',
    };
    const args = Object.entries(given).map(([option, value]) => `--${option}=${value}`);
    return spawn('etcd', [...args, '--auto-tls', '--peer-auto-tls'], { stdio: ['ignore', 'ignore', 'inherit'] });
  });
  const ended = children.map((child) => new Promise((resolve) => child.once('exit', resolve)));
  cleanUp.unshift(async () => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(ended);
  });
  const end = performance.now() + 30_000;
  for (;;) {
    try {
      const lane = await EtcdLane.open(ports[0]);
      await lane.once();
      lane.close();
      break;
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const pids = children.map(({ pid }) => pid);
  return { ports: ports.slice(0, 3), leader: await leaderOf(ports.slice(0, 3)), pids };
}

/** The field `number` of a protobuf message: bytes. */
function bytesField(number, bytes) {
  const length = [];
  for (let rest = bytes.length; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

/** A message as gRPC frames it: not compressed, its length, itself. */
function framed(message) {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

let puts = 0;
const VALUE = Buffer.alloc(ENTRY_BYTES - 24, 7);

/** One client's connection to a member, with one put after the other. */
class EtcdLane {
  constructor(session) {
    this.session = session;
  }

  static open(port) {
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    return new Promise((resolve, reject) => {
      session.once('error', reject);
      session.once('connect', () => resolve(new EtcdLane(session)));
    });
  }

  once() {
    const key = Buffer.from(`put-${puts++ % NAMES}`.padEnd(24));
    return this.call('Put', 'KV', Buffer.concat([bytesField(1, key), bytesField(2, VALUE)]));
  }

  /** Resolves with the answer's message. */
  call(method, service, message) {
    const stream = this.session.request({
      ':method': 'POST',
      ':path': `/etcdserverpb.${service}/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    return new Promise((resolve, reject) => {
      const chunks = [];
      let status;
      const heed = (headers) => (status = headers['grpc-status'] ?? status);
      stream.on('response', heed);
      stream.on('trailers', heed);
      stream.on('data', (chunk) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () =>
        status === '0' ? resolve(Buffer.concat(chunks).subarray(5)) : reject(new Error(`etcd: gRPC status ${status}`)),
      );
      stream.end(framed(message));
    });
  }

  close() {
    this.session.destroy();
  }
}

/** Numbers of a protobuf message by field, as far as they are varints. */
function varints(message) {
  const found = new Map();
  for (let place = 0; place < message.length;) {
    const read = () => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = message[place++];
        value |= BigInt(byte & 127) << shift;
        if (byte < 128) return value;
      }
    };
    const tag = Number(read());
    const value = read();
    if ((tag & 7) === 0) found.set(tag >> 3, value);
    else place += Number(value);
  }
  return found;
}

/** Bytes of a field of a protobuf message. */
function inner(message, wanted) {
  if (message[0] !== ((wanted << 3) | 2)) throw new Error('etcd: an answer without its header');
  return message.subarray(2, 2 + message[1]);
}

/** The port of the member that leads: its id (header, 2) is the leader's (4) in the answer to Status. */
async function leaderOf(ports) {
  for (const port of ports) {
    const lane = await EtcdLane.open(port);
    const status = await lane.call('Status', 'Maintenance', Buffer.alloc(0));
    lane.close();
    if (varints(inner(status, 1)).get(2) === varints(status).get(4)) return port;
  }
  throw new Error('etcd has no leader');
}

/** As `load` does it for HTTPS. */
async function loadEtcd(target, ports, connections, milliseconds) {
  const lanes = [];
  for (let i = 0; i < connections; i += 1) lanes.push(await EtcdLane.open(ports[i % ports.length]));
  for (const lane of lanes) for (let i = 0; i < 5; i += 1) await lane.once();
  target.begin();
  const started = performance.now();
  const times = [];
  await Promise.all(
    lanes.map(async (lane) => {
      while (performance.now() < started + milliseconds) {
        const sent = performance.now();
        await lane.once();
        times.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const cpuMicroseconds = target.end() / times.length;
  for (const lane of lanes) lane.close();
  times.sort((a, b) => a - b);
  return {
    perSecond: times.length / seconds,
    cpuMicroseconds,
    p50: times[Math.floor(times.length * 0.5)] * 1000,
    p99: times[Math.floor(times.length * 0.99)] * 1000,
  };
}

// ---- measuring -------------------------------------------------------------------------------------------------

async function measure(pool, etcd) {
  const api = await login(pool.ready);
  const target = counted(
    { port: api.port, servername: api.host, ca: api.ca },
    pool.ready.pools[0].instances.map(({ pid }) => pid),
  );
  const etcdTarget = counted({}, etcd.pids);
  let created = 0;
  const create = () => ({
    method: 'POST',
    path: `/keys/made-${created++ % NAMES}/create?api-version=7.4`,
    host: `${api.host}:${api.port}`,
    token: api.token,
    body: { kty: 'EC' },
  });
  const sides = {
    trivet: (clients, milliseconds) => load(target, create, clients, milliseconds),
    spread: (clients, milliseconds) => loadEtcd(etcdTarget, etcd.ports, clients, milliseconds),
    leader: (clients, milliseconds) => loadEtcd(etcdTarget, [etcd.leader], clients, milliseconds),
  };
  // Everybody has compiled what they run, and grown their files, before anything is counted.
  for (const side of Object.values(sides)) await side(16, 3 * slice);
  const all = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const clients of CLIENTS) {
      say(`round ${round + 1} of ${rounds}, ${clients} clients`);
      const measured = { clients };
      const names = Object.keys(sides);
      // Whoever goes first in one round goes last in the next.
      for (const name of round % 2 === 0 ? names : names.reverse()) measured[name] = await sides[name](clients, slice);
      all.push(measured);
    }
  }
  return all;
}

function rowsOf(all) {
  return CLIENTS.map((clients) => {
    const here = all.filter((each) => each.clients === clients);
    const of = (side, member) => median(here.map((each) => each[side][member]));
    return {
      clients,
      trivet: of('trivet', 'perSecond'),
      trivetP50: of('trivet', 'p50'),
      trivetP99: of('trivet', 'p99'),
      trivetCpu: of('trivet', 'cpuMicroseconds'),
      etcd: of('spread', 'perSecond'),
      etcdP50: of('spread', 'p50'),
      etcdP99: of('spread', 'p99'),
      etcdCpu: of('spread', 'cpuMicroseconds'),
      etcdLeader: of('leader', 'perSecond'),
      ratio: median(here.map(({ trivet, spread }) => trivet.perSecond / spread.perSecond)),
      ratioToLeader: median(here.map(({ trivet, leader }) => trivet.perSecond / leader.perSecond)),
    };
  });
}

function fsyncMicroseconds() {
  const file = fs.openSync(join(home, 'fsync'), 'w');
  const times = [];
  for (let i = 0; i < 200; i += 1) {
    fs.writeSync(file, Buffer.alloc(4096, i));
    const before = performance.now();
    fs.fsyncSync(file);
    times.push((performance.now() - before) * 1000);
  }
  fs.closeSync(file);
  return median(times);
}

function report({ machine, rows, fsync, version }) {
  return `# Acknowledged creations, beside etcd

${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${version}; ${rounds} rounds of ${slice} ms, medians; ratios are ours to theirs, taken within a round. Ours: P-256 keys created over REST, connections spread over the three instances. Theirs: puts of ${ENTRY_BYTES} bytes over gRPC, connections spread over the three members, or all with the leader. TLS everywhere, all six on one disk, where one 4 KB append with fsync takes ${whole(fsync)} µs.

${table(
  ['clients', 'trivet per second', 'p50 µs', 'p99 µs', 'CPU µs', 'etcd per second', 'p50 µs', 'p99 µs', 'CPU µs', 'etcd, leader only', 'ratio', 'ratio, leader only'],
  rows.map((row) => [
    row.clients,
    whole(row.trivet),
    whole(row.trivetP50),
    whole(row.trivetP99),
    whole(row.trivetCpu),
    whole(row.etcd),
    whole(row.etcdP50),
    whole(row.etcdP99),
    whole(row.etcdCpu),
    whole(row.etcdLeader),
    two(row.ratio),
    two(row.ratioToLeader),
  ]),
)}
`;
}

async function main() {
  const { stdout } = spawnSync('etcd', ['--version'], { encoding: 'utf8' });
  if (!stdout) throw new Error('the program etcd is missing; install the package etcd-server');
  const pool = await up(join(home, 'data'), join(home, 'ready.json'));
  cleanUp.unshift(() => pool.stop());
  const etcd = await startEtcd();
  const all = await measure(pool, etcd);
  const [{ model: cpu }] = cpus();
  const result = {
    machine: { cores: cpus().length, cpu, node: process.version },
    version: stdout.split('\n')[0].replace('Version: ', ''),
    rounds,
    fsync: fsyncMicroseconds(),
    rows: rowsOf(all),
  };
  const text = report(result);
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'etcd.md'), text);
  fs.writeFileSync(join(options.out, 'etcd.json'), `${JSON.stringify(result, undefined, 2)}\n`);
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
