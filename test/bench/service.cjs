// A pool in service as the benchmarks use it: start it, log in, ask, count its CPU time; and tables of figures.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { request: httpsRequest } = require('node:https');
const { join } = require('node:path');

const root = join(__dirname, '../..');

const TICK_MICROSECONDS = 1e6 / Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout);

/** CPU time that these processes have used, in microseconds. */
function cpuOf(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * TICK_MICROSECONDS;
}

const counted = (target, pids) => {
  let before = 0;
  return { ...target, begin: () => (before = cpuOf(pids)), end: () => cpuOf(pids) - before };
};

/** @param more further options. */
async function up(directory, readyFile, more = []) {
  fs.rmSync(readyFile, { force: true });
  const started = performance.now();
  const args = ['up', '--data-dir', directory, '--control-port', '0', '--data-port', '0', '--ready-file', readyFile, ...more];
  const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), ...args], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  while (!fs.existsSync(readyFile)) {
    if (child.exitCode !== null) throw new Error('the pool did not start');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const milliseconds = performance.now() - started;
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return { ready: JSON.parse(fs.readFileSync(readyFile, 'utf8')), milliseconds, stop };
}

function call({ port, host, ca, token, agent = false }, method, path, body, type = 'application/json') {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: '127.0.0.1',
        servername: host,
        port,
        ca,
        method,
        path,
        agent,
        headers: {
          Host: `${host}:${port}`,
          ...(token && { Authorization: `Bearer ${token}` }),
          ...(text !== undefined && { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) }),
        },
      },
      (response) => {
        let all = '';
        response.on('data', (chunk) => (all += chunk));
        response.on('end', () => (response.statusCode === 200 ? resolve(JSON.parse(all)) : reject(new Error(all))));
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}

/** The administrator's way into the first pool: where it is, whom to trust, a token. */
async function login({ controlPlane, tenantId, caFile, admin, pools }) {
  const ca = fs.readFileSync(caFile, 'utf8');
  const { hostname: host, port } = new URL(pools[0].uri);
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: admin.clientId,
    client_secret: admin.clientSecret,
    scope: `https://managedhsm.localhost:${port}/.default`,
  });
  const formType = 'application/x-www-form-urlencoded';
  const control = { host: 'localhost', port: new URL(controlPlane).port, ca };
  const path = `/${tenantId}/oauth2/v2.0/token`;
  const { access_token: token } = await call(control, 'POST', path, String(form), formType);
  return { host, port, ca, token };
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const whole = (number) => (number === undefined ? '' : Math.round(number).toLocaleString('en'));
const two = (number) => (number === undefined ? '' : number.toFixed(2));

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

module.exports = { call, counted, login, median, table, two, up, whole };
