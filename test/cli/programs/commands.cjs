// Runs one command after the other, each with its own standard input, and tells what it printed and its exit code.
const { Readable } = require('node:stream');
const { run } = require('../../../dist/cli/main.js');

const text = (chunks) => Buffer.concat(chunks).toString();

process.on('message', async ({ args, input, environment }) => {
  const said = { out: [], err: [] };
  const kept = { out: process.stdout.write, err: process.stderr.write, exit: process.exit, env: process.env };
  const keep = (where) => (chunk) => {
    where.push(Buffer.from(chunk));
    return true;
  };
  process.stdout.write = keep(said.out);
  process.stderr.write = keep(said.err);
  let left;
  process.exit = (code) => {
    left ??= { status: code ?? 0, out: text(said.out), err: text(said.err) };
    throw new Error('a command has left'); // what it says from now on, nobody hears
  };
  process.env = { ...kept.env, ...environment };
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input)]), configurable: true });
  process.exitCode = undefined;
  await run(['node', 'trivet', ...args]);
  const ended = left ?? { status: process.exitCode ?? 0, out: text(said.out), err: text(said.err) };
  process.exitCode = undefined;
  process.stdout.write = kept.out;
  process.stderr.write = kept.err;
  process.exit = kept.exit;
  process.env = kept.env;
  process.send(ended);
});
process.on('disconnect', () => process.exit(0));
