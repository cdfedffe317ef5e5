// Fills the store of one stopped instance; a child of fill-pool.cjs, which says what and when to commit. In a process
// of its own because a PKCS#11 module is initialised once per process.
//
// Every version is a `KeyVersionCreated` that the product's own judge accepts, chained to the log by the product's own
// hash. All that differs from keys made over REST: the mutations name no caller, and the blobs are those of a few keys
// that the pool has really made, which the key wrap binds to no name. The sealed file ends as if each had been
// committed, log and remembered mutation ids included.
const { join } = require('node:path');
const { idsOf, nameOf } = require('./fill-pool.cjs');

const dist = join(__dirname, '../../dist');
const { decode, encode } = require(join(dist, 'values/cbor.js'));
const { TokenDirectory } = require(join(dist, 'instance/partition/token.js'));
const { Partition } = require(join(dist, 'instance/partition/partition.js'));
const { openDatabase, tableOf } = require(join(dist, 'instance/store/database.js'));
const { tableNames } = require(join(dist, 'instance/model/state.js'));
const { judge } = require(join(dist, 'instance/model/judge.js'));
const { Refusal } = require(join(dist, 'instance/model/refusal.js'));
const { hashOfChanges } = require(join(dist, 'instance/hsm/tail.js'));
const { chain } = require(join(dist, 'instance/replication/entry.js'));

/** As many as the store keeps. */
const LOG_KEPT = 10_000;
/** The index of half a million ids must not be read again and again while it grows. */
const CACHE_KIB = 200_000;

/** The key of the sealed file, derived in the instance's slot. */
async function storeKey(directory, module) {
  const tokens = await TokenDirectory.open(join(directory, 'partition'));
  const [domain] = await tokens.domains();
  if (domain === undefined) throw new Error('this instance has no token yet');
  const partition = await Partition.open(tokens, domain, { module });
  try {
    return await partition.deriveSecret('store');
  } finally {
    await partition.close();
  }
}

/** What the judge reads: the file, and over it what was added. Versions are left out, since their ids are new. */
class Layer {
  constructor(database) {
    const statements = (sql) => new Map(tableNames.map((name) => [name, database.prepare(sql(tableOf(name))).pluck()]));
    this.records = statements((table) => `SELECT record FROM ${table} WHERE id = ?`);
    const counts = statements((table) => `SELECT count(*) FROM ${table}`);
    this.counts = new Map([...counts].map(([name, count]) => [name, count.get()]));
    this.added = new Map(tableNames.map((name) => [name, new Map()]));
  }

  get(table, id) {
    if (table === 'versions') return undefined;
    const added = this.added.get(table).get(id);
    if (added !== undefined) return added ?? undefined;
    const bytes = this.records.get(table).get(id);
    return bytes && decode(bytes);
  }

  count(table) {
    return this.counts.get(table);
  }

  range() {
    throw new Error('no key is judged by a range');
  }

  apply({ table, id, value }) {
    const added = this.added.get(table);
    if (value !== null) {
      if (this.get(table, id) === undefined) this.counts.set(table, this.count(table) + 1);
      added.set(id, value);
    } else {
      this.counts.set(table, this.count(table) - 1);
      if (added.get(id)) added.delete(id);
      else added.set(id, null);
    }
  }
}

/** The newest version of every key whose name begins so. */
function templatesIn(database, prefix) {
  const names = database
    .prepare(`SELECT record FROM ${tableOf('keys')} WHERE id >= ? AND id < ? ORDER BY id`)
    .pluck()
    .all(prefix, `${prefix}\u{7f}`)
    .map(decode);
  if (names.length === 0) throw new Error(`the pool has no key whose name begins with ${prefix}`);
  const version = database.prepare(`SELECT record FROM ${tableOf('versions')} WHERE id = ?`).pluck();
  return names.map(({ name, versions }) => decode(version.get(`${name}/${versions.at(-1)}`)));
}

function mutationOf(template, name, { id, version }, time) {
  const { spec, public: part, blob, operations, tags } = template;
  const sealed = { id: `${name}/${version}`, spec, public: part, blob };
  return { kind: 'KeyVersionCreated', id, time, name, version, sealed, operations, enabled: true, ...(tags && { tags }) };
}

function fill(database, { keys, versions, templates: prefix, seed, time: now }) {
  const templates = templatesIn(database, prefix);
  const state = new Layer(database);
  const newest = database
    .prepare('SELECT idx AS "index", epoch, time, hash FROM log ORDER BY idx DESC LIMIT 1')
    .get();
  const applied = database.prepare("SELECT value FROM meta WHERE name = 'applied'").pluck();
  if (decode(applied.get()) !== newest.index) throw new Error('its log has an undecided tail: start and stop the pool');
  const { epoch } = newest;
  const time = Math.max(now, newest.time);
  const start = { index: newest.index, hash: Buffer.from(newest.hash).toString('hex') };
  const put = new Map(
    tableNames.map((name) => [
      name,
      database.prepare(`INSERT OR REPLACE INTO ${tableOf(name)} (id, record) VALUES (?, ?)`),
    ]),
  );
  let head = newest;
  let log = [];
  // One version of each key after the other, as rotation makes them: versions of one key do not lie side by side.
  for (let version = 0; version < versions; version += 1) {
    for (let key = 0; key < keys; key += 1) {
      const name = nameOf(key);
      const ids = idsOf(seed, version * keys + key);
      const mutation = mutationOf(templates[key % templates.length], name, ids, time);
      const changes = judge(state, mutation, head.index + 1);
      if (changes instanceof Refusal) throw new Error(`${name}: ${changes.detail}`);
      const changesHash = hashOfChanges(changes);
      head = chain(head, { epoch, time, mutation: encode(mutation), changesHash });
      log.push(head);
      if (log.length === 2 * LOG_KEPT) log = log.slice(LOG_KEPT);
      for (const change of changes) {
        if (change.table === 'versions') put.get('versions').run(change.id, encode(change.value));
        else state.apply(change);
      }
    }
  }
  for (const [table, added] of state.added) {
    const remove = database.prepare(`DELETE FROM ${tableOf(table)} WHERE id = ?`);
    for (const [id, value] of added) {
      if (value === null) remove.run(id);
      else put.get(table).run(id, encode(value));
    }
  }
  database.prepare('DELETE FROM log WHERE idx <= ?').run(head.index - LOG_KEPT);
  const append = database.prepare(
    'INSERT INTO log (idx, epoch, time, mutation, changesHash, hash) VALUES (?, ?, ?, ?, ?, ?)',
  );
  for (const entry of log.slice(-LOG_KEPT)) {
    append.run(entry.index, entry.epoch, entry.time, entry.mutation, entry.changesHash, entry.hash);
  }
  database.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES ('applied', ?)").run(encode(head.index));
  return { start, end: { index: head.index, hash: head.hash.toString('hex') }, keys: state.count('keys') };
}

async function main(wish) {
  const key = await storeKey(wish.directory, wish.module);
  const database = openDatabase(join(wish.directory, 'store', 'state.sqlite'), key, {
    readonly: false,
    tables: tableNames,
  });
  key.fill(0);
  database.pragma(`cache_size=-${CACHE_KIB}`);
  // One transaction of half a gigabyte: with a rollback journal it is written once, and still all or nothing.
  database.pragma('journal_mode=DELETE');
  database.exec('BEGIN IMMEDIATE');
  process.once('message', () => {
    database.exec('COMMIT');
    database.pragma('journal_mode=WAL');
    database.close();
    process.disconnect();
  });
  process.send({ filled: fill(database, wish) });
}

// The parent is gone without a word: nothing is committed.
process.once('disconnect', () => process.exit());
process.once('message', (wish) => {
  main(wish).catch((error) => process.send({ failed: error.message }, () => process.exit(1)));
});
