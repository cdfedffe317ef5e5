// The real `trivet up`, but for what an instance runs. Arguments: data directory, module, ready file, pool.
const { join } = require('node:path');
const { explain } = require('../../../dist/cli/failure.js');
const { up } = require('../../../dist/cli/up.js');

const [dataDir, pkcs11, readyFile, pool] = process.argv.slice(2);
const options = {
  dataDir,
  controlPort: 0,
  dataPort: 0,
  module: pkcs11,
  readyFile,
  activate: false,
  ...(pool && { pool }),
};
up(options, { script: join(__dirname, '../../fabric/programs/fake-instance.cjs') }).catch((error) => {
  console.error(`trivet: ${explain(error)}`);
  process.exitCode = 1;
});
