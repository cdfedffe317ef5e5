// Fills a stopped pool with many versions of many keys, in a minute or two instead of the hour that REST would take.
// A tool for tests and benchmarks, no part of the product: it needs the directories of all three instances, and the
// keys that it adds are copies under other names of keys that are in the pool already (see fill-instance.cjs).
//
// All three stores are filled by the same rule and committed only when they came to the same log and the same hash.
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const { readdirSync } = require('node:fs');
const { join, resolve } = require('node:path');
const { parseArgs } = require('node:util');

const root = join(__dirname, '../..');
const LOCKED = 75;
/** Of ids: another for every filling of one pool. */
const SEED = 'fill';

/** The version of the `number`th that is added, and the id of its mutation: the same on every member. */
function idsOf(seed, number) {
  const bytes = createHash('sha256').update(`${seed} ${number}`).digest('hex');
  const id = bytes.slice(32).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
  return { version: bytes.slice(0, 32), id };
}

/** Name of the `number`th key that is added. */
function nameOf(number) {
  return `fill-${String(number).padStart(4, '0')}`;
}

/** One instance under its lock, filled but not committed; rejects with the reason. */
function startFilling(directory, wish) {
  const lock = ['--nonblock', '--no-fork', '--conflict-exit-code', String(LOCKED), join(directory, 'lock')];
  const child = spawn('flock', [...lock, process.execPath, join(__dirname, 'fill-instance.cjs')], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = new Promise((settle) => child.once('exit', settle));
  const filled = new Promise((settle, reject) => {
    child.once('message', ({ filled: made, failed }) => (made ? settle(made) : reject(new Error(failed))));
    child.once('error', reject);
    void ended.then((code) => reject(new Error(code === LOCKED ? 'it is running: stop the pool first' : 'it ended')));
  });
  child.send({ ...wish, directory });
  return { child, ended, filled };
}

/**
 * Adds `keys` keys `fill-0000`, `fill-0001`, ... of `versions` versions each, cloned in turn from the newest versions of
 * the keys whose names begin with `templates`.
 * @returns how many keys the pool holds then, and the index and hash at which its log ends.
 */
async function fillPool({ dataDir, pool, keys, versions, templates = 'template-', seed = SEED, module }) {
  const pools = join(resolve(dataDir), 'pools');
  const home = join(pools, pool ?? readdirSync(pools)[0], 'instances');
  const wish = { keys, versions, templates, seed, module, time: Math.floor(Date.now() / 1000) };
  const instances = [0, 1, 2].map((instance) => startFilling(join(home, String(instance)), wish));
  try {
    const made = await Promise.all(
      instances.map(({ filled }, instance) =>
        filled.catch((error) => {
          throw new Error(`instance ${instance}: ${error.message}`);
        }),
      ),
    );
    if (new Set(made.map((each) => JSON.stringify(each))).size !== 1) {
      throw new Error('the members did not come to the same state: nothing was changed');
    }
    for (const { child } of instances) child.send('commit');
    const codes = await Promise.all(instances.map(({ ended }) => ended));
    if (codes.some((code) => code !== 0)) throw new Error('a store was not written: throw the directory away');
    const [{ keys: held, end }] = made;
    return { keys: held, ...end };
  } catch (error) {
    for (const { child } of instances) child.kill('SIGKILL');
    await Promise.all(instances.map(({ ended }) => ended));
    throw error;
  }
}

module.exports = { fillPool, idsOf, nameOf };

async function main() {
  const { values } = parseArgs({
    options: {
      'data-dir': { type: 'string' },
      pool: { type: 'string' },
      keys: { type: 'string', default: '4995' },
      versions: { type: 'string', default: '100' },
      templates: { type: 'string', default: 'template-' },
    },
  });
  if (values['data-dir'] === undefined) throw new Error('which pool? --data-dir DIRECTORY');
  const { findModule } = require(join(root, 'dist/cli/home.js'));
  const { keys, index } = await fillPool({
    dataDir: values['data-dir'],
    pool: values.pool,
    keys: Number(values.keys),
    versions: Number(values.versions),
    templates: values.templates,
    module: findModule(process.env.TRIVET_PKCS11_MODULE),
  });
  console.log(`the pool holds ${keys} keys; its log ends at entry ${index}`);
}

if (require.main === module) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
