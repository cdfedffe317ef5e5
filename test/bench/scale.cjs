// How the service grows with its keys: a pool with few keys against one with thousands, both in service at once and
// measured in turn, operation by operation and round by round. What counts are ratios within a round, by their median.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { fillPool, idsOf, nameOf } = require('./fill-pool.cjs');
const { load } = require('./load.cjs');
const { call, counted, login, median, table, two, up, whole } = require('./service.cjs');

const root = join(__dirname, '../..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    keys: { type: 'string' },
    versions: { type: 'string' },
    'few-versions': { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench') },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const slice = options.quick ? 40 : 500;
const VERSIONS = Number(options.versions ?? (options.quick ? 12 : 100));
// Room for the keys that the benchmark itself makes: with its templates and these a pool holds 5,000.
const MADE = 45;
/** Of all keys in turn: two in five P-256, two in five AES, one in five RSA. */
const TEMPLATES = [{ kty: 'EC' }, { kty: 'oct' }, { kty: 'EC' }, { kty: 'oct' }, { kty: 'RSA', key_size: 2048 }];
const MANY = Number(options.keys ?? (options.quick ? 50 : 5_000 - MADE - TEMPLATES.length));
/** With the templates: ten. */
const FEW = 5;
const PAGE = 10;
const API = '?api-version=7.4';

const home = fs.mkdtempSync(join(tmpdir(), 'trivet-scale-'));
const cleanUp = [() => fs.rmSync(home, { recursive: true, force: true })];
const say = (text) => process.stderr.write(`${text}\n`);

// ---- the two pools ---------------------------------------------------------------------------------------------

/** The directory of a pool that stands still, with the templates. */
async function found() {
  const directory = join(home, 'founded');
  const pool = await up(directory, `${directory}.json`);
  const api = await login(pool.ready);
  for (const [place, body] of TEMPLATES.entries()) {
    await call(api, 'POST', `/keys/template-${place}/create${API}`, body);
  }
  await pool.stop();
  return directory;
}

/** A copy of it with `keys` keys more. */
async function prepare(founded, name, keys, versions, module) {
  const directory = join(home, name);
  fs.cpSync(founded, directory, { recursive: true });
  const started = performance.now();
  await fillPool({ dataDir: directory, keys, versions, module });
  say(`${name}: ${keys} keys of ${versions} versions in ${whole((performance.now() - started) / 1000)} s`);
  return { name, directory, keys, versions };
}

function storesOf({ directory }) {
  const instances = join(directory, 'pools', fs.readdirSync(join(directory, 'pools'))[0], 'instances');
  return [0, 1, 2].map((instance) => join(instances, String(instance), 'store', 'state.sqlite'));
}

/** Milliseconds from a stopped pool to one that answers; `cold` drops its files from the system's cache first. */
async function startOf(place, cold) {
  if (cold) {
    for (const file of storesOf(place)) {
      const { status } = spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
      if (status !== 0) throw new Error('the files could not be dropped from the cache');
    }
  }
  const pool = await up(place.directory, `${place.directory}.json`);
  await pool.stop();
  return pool.milliseconds;
}

async function serve(place) {
  const pool = await up(place.directory, `${place.directory}.json`);
  cleanUp.unshift(() => pool.stop());
  const api = await login(pool.ready);
  const pids = pool.ready.pools[0].instances.map(({ pid }) => pid);
  return { ...place, api, pids, target: { ...counted({ port: api.port, servername: api.host, ca: api.ca }, pids), stride: 3 } };
}

/** Megabytes that the instances hold, one by one. */
const memoryOf = ({ pids }) =>
  pids.map((pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);

// ---- what is asked ---------------------------------------------------------------------------------------------

// Not for secrets: the same keys in every run.
function randomFrom(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const value = Buffer.alloc(32, 5).toString('base64url');
const bodies = { sign: { alg: 'ES256', value }, encrypt: { alg: 'A256GCM', value } };
/** Which of five keys in a row fit. */
const fitting = { sign: [0, 2], encrypt: [1, 3] };

/** Functions that give one request after the other, by name. */
function requestsOf({ api, keys, versions }) {
  const random = randomFrom(7);
  const of = (verb, path) => ({
    method: bodies[verb] || verb === 'create' ? 'POST' : 'GET',
    path,
    host: `${api.host}:${api.port}`,
    token: api.token,
    body: verb === 'create' ? { kty: 'EC' } : bodies[verb],
  });
  const keyFor = (verb) =>
    fitting[verb] ? 5 * random(keys / 5) + fitting[verb][random(fitting[verb].length)] : random(keys);
  const use = (verb, path) => of(verb, `/keys/${path}${bodies[verb] ? `/${verb}` : ''}${API}`);
  const one = (verb) => () => use(verb, nameOf(fitting[verb]?.[0] ?? 0));
  const newest = (verb) => () => use(verb, nameOf(keyFor(verb)));
  const any = (verb) => () => {
    const key = keyFor(verb);
    return use(verb, `${nameOf(key)}/${idsOf('fill', random(versions) * keys + key).version}`);
  };
  const list = (path, after) => {
    const place = after === undefined ? '' : `&$skiptoken=${Buffer.from(after).toString('base64url')}`;
    return of('list', `${path}${API}&maxresults=${PAGE}${place}`);
  };
  const page = Math.min(PAGE, versions);
  let made = 0;
  return {
    first: {
      'get, one key': one('get'),
      'get, all keys': newest('get'),
      'ES256 sign, one key': one('sign'),
      'ES256 sign, all keys': newest('sign'),
      'A256GCM encrypt, one key': one('encrypt'),
      'A256GCM encrypt, all keys': newest('encrypt'),
      'list keys, first page': () => list('/keys'),
      // A full page, wherever it begins; few keys have but one.
      'list keys, any page': () => list('/keys', keys > PAGE ? nameOf(random(keys - PAGE)) : undefined),
      'list versions, one key': () => list(`/keys/${nameOf(0)}/versions`),
      'create a version': () => of('create', `/keys/made-${Math.floor(made++ / 99) % MADE}/create${API}`),
    },
    // Apart, since they drive everything else out of the caches.
    then: {
      'get, any version': any('get'),
      'ES256 sign, any version': any('sign'),
      'A256GCM encrypt, any version': any('encrypt'),
      'list versions, any page of any key': () => {
        const key = random(keys);
        const place = random(versions - page + 1);
        const after = place === 0 ? undefined : idsOf('fill', (place - 1) * keys + key).version;
        return list(`/keys/${nameOf(key)}/versions`, after);
      },
    },
    /** Each key once. */
    touch: ['get', 'sign', 'encrypt'].map((verb) => {
      let next = 0;
      const count = fitting[verb] ? (keys / 5) * fitting[verb].length : keys;
      const keyAt = (place) => (fitting[verb] ? 5 * (place >> 1) + fitting[verb][place & 1] : place);
      return { done: () => next >= count, next: () => use(verb, nameOf(keyAt(next++ % count))) };
    }),
  };
}

// ---- measuring -------------------------------------------------------------------------------------------------

async function measure(pools) {
  const asked = new Map(pools.map((pool) => [pool, requestsOf(pool)]));
  for (const pool of pools) {
    for (const each of asked.get(pool).touch) while (!each.done()) await load(pool.target, each.next, 16, 200);
  }
  const all = [];
  for (const phase of ['first', 'then']) {
    for (let round = 0; round < rounds; round += 1) {
      for (const operation of Object.keys(asked.get(pools[0])[phase])) {
        for (const connections of options.quick ? [16] : [1, 16]) {
          say(`round ${round + 1} of ${rounds}: ${operation}, ${connections} connections`);
          const measured = { operation, connections };
          // Whoever goes first in one round goes last in the next.
          for (const pool of round % 2 === 0 ? pools : [...pools].reverse()) {
            measured[pool.name] = await load(pool.target, asked.get(pool)[phase][operation], connections, slice);
          }
          all.push(measured);
        }
      }
    }
  }
  return all;
}

function rowsOf(all) {
  const kinds = new Map(all.map((each) => [`${each.operation}/${each.connections}`, each]));
  return [...kinds.values()].map(({ operation, connections }) => {
    const here = all.filter((each) => each.operation === operation && each.connections === connections);
    const of = (pool, member) => median(here.map((each) => each[pool][member]));
    const ratio = (member) => median(here.map(({ few, many }) => many[member] / few[member]));
    return {
      operation,
      connections,
      few: { p50: of('few', 'p50'), perSecond: of('few', 'perSecond'), cpuMicroseconds: of('few', 'cpuMicroseconds') },
      many: {
        p50: of('many', 'p50'),
        p99: of('many', 'p99'),
        perSecond: of('many', 'perSecond'),
        cpuMicroseconds: of('many', 'cpuMicroseconds'),
      },
      p50Ratio: ratio('p50'),
      timeRatio: median(here.map(({ few, many }) => few.perSecond / many.perSecond)),
      cpuRatio: ratio('cpuMicroseconds'),
    };
  });
}

function report({ machine, keys, versions, fewVersions, rows, start, memory, megabytes }) {
  return `# With many keys

${machine.cores} cores (${machine.cpu}), Node ${machine.node}; ${rounds} rounds of ${slice} ms, medians; ratios are many to few, taken within a round. Few: 10 keys of ${fewVersions} versions. Many: ${keys} keys of ${versions} versions, and ${TEMPLATES.length}. Both pools are in service, all connections with one instance of each. *Time* is the ratio of what one request takes of the whole: few's requests a second to many's.

${table(
  ['operation', 'connections', 'few p50 µs', 'many p50 µs', 'many p99 µs', 'p50', 'few per second', 'many per second', 'time', 'CPU'],
  rows.map((row) => [
    row.operation,
    row.connections,
    whole(row.few.p50),
    whole(row.many.p50),
    whole(row.many.p99),
    two(row.p50Ratio),
    whole(row.few.perSecond),
    whole(row.many.perSecond),
    two(row.timeRatio),
    two(row.cpuRatio),
  ]),
)}

${table(
  ['start to ready, ms', 'few', 'many'],
  [
    ['files in the system\u2019s cache', whole(median(start.few.warm)), whole(median(start.many.warm))],
    ['files not in the cache', whole(median(start.few.cold)), whole(median(start.many.cold))],
  ],
)}

Memory of the instances after all this, MB: few ${memory.few.map(whole).join(', ')}; many ${memory.many.map(whole).join(', ')}. One store with many: ${whole(megabytes)} MB.
`;
}

async function main() {
  const { findModule } = require(join(root, 'dist/cli/home.js'));
  const module = findModule(process.env.TRIVET_PKCS11_MODULE);
  const fewVersions = Number(options['few-versions'] ?? VERSIONS);
  const founded = await found();
  const places = [
    await prepare(founded, 'few', FEW, fewVersions, module),
    await prepare(founded, 'many', MANY, VERSIONS, module),
  ];
  const start = { few: { warm: [], cold: [] }, many: { warm: [], cold: [] } };
  for (let i = 0; i < (options.quick ? 1 : 3); i += 1) {
    for (const kind of ['warm', 'cold']) {
      for (const place of places) start[place.name][kind].push(await startOf(place, kind === 'cold'));
    }
  }
  const pools = [await serve(places[0]), await serve(places[1])];
  const all = await measure(pools);
  const [{ model: cpu }] = cpus();
  const result = {
    machine: { cores: cpus().length, cpu, node: process.version },
    keys: MANY,
    versions: VERSIONS,
    fewVersions,
    rounds,
    rows: rowsOf(all),
    start,
    memory: { few: memoryOf(pools[0]), many: memoryOf(pools[1]) },
    megabytes: fs.statSync(storesOf(places[1])[0]).size / 1e6,
  };
  const text = report(result);
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'scale.md'), text);
  fs.writeFileSync(join(options.out, 'scale.json'), `${JSON.stringify(result, undefined, 2)}\n`);
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
