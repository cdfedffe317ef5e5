// What a pool of trivet/harness costs: from startPool to a pool that serves, founded anew and copied from a template; the
// processor time of its processes until then; and from close() until nothing is left.
const fs = require('node:fs');
const { cpus, tmpdir } = require('node:os');
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { startPool } = require('../../dist/harness/harness.js');
const { median, table } = require('./service.cjs');

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(__dirname, '../../bench') },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 7));
const TICKS = 100;

/** Fields of /proc/PID/stat after the name. */
const statOf = (pid) => {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
};

/** Seconds that a process, and those of its children that have ended, have used. */
const cpuOf = (pid) => {
  const fields = statOf(pid);
  return [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0) / TICKS;
};

async function one(settings) {
  const begun = performance.now();
  const pool = await startPool(settings);
  const startMs = performance.now() - begun;
  const pids = (await pool.status()).instances.map(({ pid }) => pid);
  const cpu = [Number(statOf(pids[0])[1]), ...pids].reduce((sum, pid) => sum + cpuOf(pid), 0);
  const closing = performance.now();
  await pool.close();
  return { startMs, cpu, closeMs: performance.now() - closing };
}

async function run() {
  const template = fs.mkdtempSync(join(tmpdir(), 'trivet-bench-'));
  const kinds = { founded: {}, template: { template } };
  const found = { founded: [], template: [] };
  try {
    await one(kinds.template);
    for (let round = 0; round < rounds; round += 1) {
      for (const kind of Object.keys(kinds)) found[kind].push(await one(kinds[kind]));
    }
  } finally {
    fs.rmSync(template, { recursive: true, force: true });
  }
  const rows = Object.entries(found).map(([kind, all]) => ({
    kind,
    startMs: Math.round(median(all.map(({ startMs }) => startMs))),
    startMsMax: Math.round(Math.max(...all.map(({ startMs }) => startMs))),
    cpuSeconds: Number(median(all.map(({ cpu }) => cpu)).toFixed(2)),
    closeMs: Math.round(median(all.map(({ closeMs }) => closeMs))),
  }));
  const machine = { cpus: cpus().length, node: process.version, rounds };
  fs.mkdirSync(options.out, { recursive: true });
  fs.writeFileSync(join(options.out, 'harness.json'), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
  if (options.json) console.log(JSON.stringify({ machine, rows }));
  else {
    const cells = rows.map((row) => [row.kind, row.startMs, row.startMsMax, row.cpuSeconds, row.closeMs]);
    console.log(table(['pool', 'start to ready, ms', 'worst, ms', 'CPU until then, s', 'close, ms'], cells));
  }
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
