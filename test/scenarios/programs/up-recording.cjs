// The real `trivet up`, whose instances also write down what they give to their links. Takes the same arguments.
const { join } = require('node:path');
const { parseArgs } = require('node:util');
const { up } = require('../../../dist/cli/up.js');

const text = { type: 'string' };
const options = {
  'data-dir': text,
  'control-port': text,
  'data-port': text,
  'ready-file': text,
  'no-activate': { type: 'boolean' },
};
const { values } = parseArgs({ args: process.argv.slice(3), options });
up(
  {
    dataDir: values['data-dir'],
    controlPort: Number(values['control-port']),
    dataPort: Number(values['data-port']),
    readyFile: values['ready-file'],
    activate: !values['no-activate'],
  },
  { script: join(__dirname, 'recording-instance.cjs') },
).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
