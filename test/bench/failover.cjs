// What a kill costs: from SIGKILL of the primary, and of another, to the next acknowledged write and to three members in
// sync again, with an empty pool and with thousands of keys; and how many cryptographic requests fail meanwhile.
//
// Writers and signers keep their connections, a third of them with each instance, and go over to a new connection when
// theirs is lost, as any client does. A write counts when it was sent after the kill: one that was on its way is no
// sign of the pool going on.
const fs = require('node:fs');
const { Agent } = require('node:https');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { fillPool } = require('./fill-pool.cjs');
const { call, login, median, table, up, whole } = require('./service.cjs');

const root = join(__dirname, '../..');
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    keys: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench') },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 7));
const MANY = Number(options.keys ?? (options.quick ? 20 : 4_900));
const API = '?api-version=7.4';
const WRITERS = 3;
const SIGNERS = 6;
/** Between an answer and the next request of a client: what is measured is the pool, not a lack of processors. */
const THINK_MS = 10;
const POLL_MS = 20;
const PATIENCE_MS = 60_000;

const home = fs.mkdtempSync(join(tmpdir(), 'trivet-failover-'));
const cleanUp = [() => fs.rmSync(home, { recursive: true, force: true })];
const say = (text) => process.stderr.write(`${text}\n`);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A pool in service; with `keys` keys, filled in while it stood still. */
async function serve(name, keys, module) {
  const directory = join(home, name);
  const readyFile = `${directory}.json`;
  if (keys > 0) {
    const first = await up(directory, readyFile);
    await call(await login(first.ready), 'POST', `/keys/template-0/create${API}`, { kty: 'EC' });
    await first.stop();
    await fillPool({ dataDir: directory, keys, versions: 1, module });
    say(`${name}: filled with ${keys} keys`);
  }
  const pool = await up(directory, readyFile);
  cleanUp.unshift(() => pool.stop());
  const api = await login(pool.ready);
  return { name, keys, api, control: await controlOf(pool.ready, api.ca) };
}

/** Asks the fabric for the state of the three. */
async function controlOf({ controlPlane, tenantId, admin }, ca) {
  const control = { host: 'localhost', port: new URL(controlPlane).port, ca };
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: admin.clientId,
    client_secret: admin.clientSecret,
    scope: `${controlPlane}/.default`,
  });
  const formType = 'application/x-www-form-urlencoded';
  const path = `/${tenantId}/oauth2/v2.0/token`;
  const { access_token: token } = await call(control, 'POST', path, String(form), formType);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return async () => (await call({ ...control, token, agent }, 'GET', '/trivet/status')).pools[0].instances;
}

async function until(what, condition) {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`);
    await pause(POLL_MS);
  }
}

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const isWhole = (instances) => instances.every(({ pid, inSync }) => inSync && pid !== null && isAlive(pid));

/** Writers and signers until `stop()`; they say what became of each request. */
function startLoad({ api }, tag) {
  let over = false;
  const writes = [];
  const signs = [];
  let made = 0;
  const lane = async (log, ask) => {
    let agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (!over) {
      const sent = performance.now();
      try {
        await ask({ ...api, agent });
        log.push({ sent, answered: performance.now(), good: true });
        await pause(THINK_MS);
      } catch (error) {
        // `lost` has no answer; what the service refuses is an answer in JSON.
        const lost = !/^\{/.test(error.message);
        log.push({ sent, answered: performance.now(), good: false, lost, why: error.message });
        agent.destroy();
        agent = new Agent({ keepAlive: true, maxSockets: 1 });
        await pause(5);
      }
    }
    agent.destroy();
  };
  const digest = Buffer.alloc(32, 5).toString('base64url');
  const names = 12;
  const lanes = [
    // Versions of a few keys: a pool holds no more than so many keys.
    ...Array.from({ length: WRITERS }, () =>
      lane(writes, (with_) => call(with_, 'POST', `/keys/${tag}-${made++ % names}/create${API}`, { kty: 'EC' })),
    ),
    ...Array.from({ length: SIGNERS }, () =>
      lane(signs, (with_) => call(with_, 'POST', `/keys/signer/sign${API}`, { alg: 'ES256', value: digest })),
    ),
  ];
  return {
    writes,
    signs,
    stop: async () => {
      over = true;
      await Promise.all(lanes);
    },
  };
}

/** One kill; milliseconds from it. */
async function killOne(pool, role, tag) {
  const before = await until('all three are in sync', async () => {
    const instances = await pool.control();
    return isWhole(instances) && instances;
  });
  const victim = before.find((instance) => instance.role === role);
  const load = startLoad(pool, tag);
  try {
    await until('the load runs', () => load.writes.length >= 3 * WRITERS && load.signs.length >= 3 * SIGNERS);
    const killed = performance.now();
    process.kill(victim.pid, 'SIGKILL');
    const first = await until('a write is acknowledged', () =>
      load.writes.find(({ sent, good }) => good && sent >= killed),
    );
    await until('all three are in sync again', async () => isWhole(await pool.control()));
    const wholeAgain = performance.now();
    await until('the load goes on', () => load.signs.at(-1)?.sent > wholeAgain);
    const during = load.signs.filter(({ answered, sent }) => answered >= killed && sent <= wholeAgain);
    const failed = during.filter(({ good }) => !good);
    return {
      write: first.answered - killed,
      whole: wholeAgain - killed,
      signs: during.length,
      // On connections with the one that was killed; nothing else may fail.
      lost: failed.filter(({ lost }) => lost).length,
      refused: failed.filter(({ lost }) => !lost).length,
      reasons: [...new Set(failed.map(({ why }) => why.slice(0, 240)))],
    };
  } finally {
    await load.stop();
  }
}

function report({ machine, rows }) {
  return `# What a kill costs

${machine.cores} cores (${machine.cpu}), Node ${machine.node}; ${rounds} kills each, ${WRITERS} writers and ${SIGNERS} signers on kept connections, ${THINK_MS} ms between an answer and the next request. Milliseconds from SIGKILL. A write counts when it was sent after the kill. *Lost*: connections that ended instead of an answer; *refused*: an answer that says no.

${table(
  ['pool', 'killed', 'next write, median', 'worst', 'three in sync, median', 'worst', 'signs meanwhile', 'lost', 'refused'],
  rows.map((row) => [
    row.pool === 'empty' ? 'empty' : `${whole(row.keys)} keys`,
    row.killed,
    whole(row.write),
    whole(row.writeWorst),
    whole(row.whole),
    whole(row.wholeWorst),
    whole(row.signs),
    row.lost,
    row.refused,
  ]),
)}
`;
}

async function main() {
  const { findModule } = require(join(root, 'dist/cli/home.js'));
  const module = findModule(process.env.TRIVET_PKCS11_MODULE);
  const rows = [];
  for (const [name, keys] of [
    ['empty', 0],
    ['many', MANY],
  ]) {
    const pool = await serve(name, keys, module);
    await call(pool.api, 'POST', `/keys/signer/create${API}`, { kty: 'EC' });
    for (const [killed, role] of [
      ['the primary', 'primary'],
      ['another', 'backup'],
    ]) {
      const all = [];
      for (let round = 0; round < rounds; round += 1) {
        const one = await killOne(pool, role, `${role}${round}`);
        say(`${name}, ${killed}, ${round + 1} of ${rounds}: ${JSON.stringify(one)}`);
        all.push(one);
      }
      const sum = (member) => all.reduce((total, one) => total + one[member], 0);
      rows.push({
        ...{ pool: name, keys, killed },
        write: median(all.map((one) => one.write)),
        writeWorst: Math.max(...all.map((one) => one.write)),
        whole: median(all.map((one) => one.whole)),
        wholeWorst: Math.max(...all.map((one) => one.whole)),
        ...{ signs: sum('signs'), lost: sum('lost'), refused: sum('refused') },
      });
    }
    await cleanUp.shift()();
  }
  const [{ model: cpu }] = cpus();
  const result = { machine: { cores: cpus().length, cpu, node: process.version }, rounds, rows };
  const text = report(result);
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'failover.md'), text);
  fs.writeFileSync(join(options.out, 'failover.json'), `${JSON.stringify(result, undefined, 2)}\n`);
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
