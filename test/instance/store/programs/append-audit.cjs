// Appends to an audit log: `endless` until it is killed, telling how many lines are on the disk; `full` until there is
// no room, and on when there is.
const { join } = require('node:path');
const { AuditLog } = require(join(__dirname, '../../../../dist/instance/store/audit.js'));

const [directory, how] = process.argv.slice(2);
const member = (text) =>
  JSON.stringify({ time: new Date().toISOString(), category: 'AuditEvent', text }).slice(1, -1);
// Never by console.log: a pipe would be written to later than it is said.
const say = (text) => require('node:fs').writeSync(1, `${text}\n`);

async function main() {
  let changed;
  const log = await AuditLog.open(directory, {
    failed: (error) => {
      throw error;
    },
    onStanding: () => changed?.(),
  });
  let count = 0;
  const append = () => log.append(member(`${count++} `.padEnd(500, '.')));
  if (how === 'endless') {
    for (;;) {
      for (let i = 0; i < 20; i += 1) append();
      await log.flushed();
      say(log.head.sequence);
    }
  }
  while (log.stopped === undefined) {
    for (let i = 0; i < 7; i += 1) append();
    await log.flushed().catch(() => undefined);
  }
  const room = new Promise((resolve) => (changed = resolve));
  say(`stopped ${log.stopped}`);
  append();
  await room;
  say('resumed');
  append();
  await log.close();
  say(count);
}

main();
