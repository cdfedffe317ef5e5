// A fabric in a process of its own, to be killed. Says its status when it is ready.
// usage: run-fabric DIRECTORY MODULE
const { join, resolve } = require('node:path');
const { startFabric } = require('../../../dist/fabric/main.js');

const [dataDirectory, module_] = process.argv.slice(2);

startFabric({
  dataDirectory: resolve(dataDirectory),
  controlPort: 0,
  dataPort: 0,
  module: module_,
  program: { script: join(__dirname, 'fake-instance.cjs') },
  poolsMax: 5,
  progress: () => undefined,
}).then((fabric) => process.send(fabric.status()));
