// A partition in a process of its own, called over the process channel.
'use strict';
const { join } = require('node:path');
const dist = join(__dirname, '..', '..', '..', '..', 'dist');
const { Partition } = require(join(dist, 'instance/partition/partition.js'));
const { TokenDirectory } = require(join(dist, 'instance/partition/token.js'));

const [, , path, domain, module_] = process.argv;

async function main() {
  const partition = await Partition.open(await TokenDirectory.open(path), domain, { module: module_ });
  process.send({ value: 'open' });
  process.on('message', ({ method, given }) => {
    new Promise((resolve) => resolve(partition[method](...given))).then(
      (value) => process.send({ value }),
      (error) => process.send({ failure: `${error.code ?? ''} ${error.message}`.trim() }),
    );
  });
}

main().catch((error) => process.send({ failure: error.message }));
