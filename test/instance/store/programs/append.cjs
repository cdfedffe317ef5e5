// Appends entries to a store, applies those that are on the disk, and says which are, one number a line, until it is
// killed. What fails is told as `failed: ...`. With a second argument the entries are large.
'use strict';
const { writeSync } = require('node:fs');
const { join } = require('node:path');
const { Buffer } = require('node:buffer');
const dist = join(__dirname, '..', '..', '..', '..', 'dist');
const { Store } = require(join(dist, 'instance/store/store.js'));
const { chain } = require(join(dist, 'instance/replication/entry.js'));

const [, , path, large] = process.argv;
const say = (text) => writeSync(1, `${text}\n`);

async function main() {
  const store = await Store.open(path, Buffer.alloc(32, 7), ['notes', 'others']);
  const { base, tail } = store.readLog();
  say(`has ${base.index + tail.length}`);
  let head = tail.at(-1) ?? base;
  const apply = (index) =>
    store.commit(index, [{ table: 'notes', id: `note ${index % 50}`, value: { text: `${index}` } }]);
  for (const { index } of tail) apply(index);
  const running = new Set();
  const content = Buffer.alloc(large ? 60_000 : 600, 'x');
  for (;;) {
    const batch = [];
    for (let i = 0; i <= head.index % 3; i += 1) {
      head = chain(head, { epoch: 1, time: 1, mutation: content, changesHash: Buffer.alloc(32) });
      batch.push(head);
    }
    const appended = store.append(batch).then(() => {
      for (const { index } of batch) {
        apply(index);
        say(index);
      }
    });
    running.add(appended);
    void appended.finally(() => running.delete(appended)).catch(() => undefined);
    // Several batches are under way at a time, so that some share a sync.
    if (running.size >= 4) await Promise.race(running);
  }
}

main().catch((error) => {
  say(`failed: ${error.message}`);
  process.exit(3);
});
