// The real instance; every message that it gives to a link is also appended, as it is before TLS, to a file beside
// the data directory, five folders above the instance's own.
const { appendFileSync } = require('node:fs');
const { basename, join } = require('node:path');
const { encode } = require('../../../dist/values/cbor.js');
const { Mesh } = require('../../../dist/instance/replication/mesh.js');

const instance = process.cwd();
const recording = join(instance, '../../../../..', `recording-${basename(instance)}`);
const { send } = Mesh.prototype;
Mesh.prototype.send = function (member, message) {
  appendFileSync(recording, encode(message));
  return send.call(this, member, message);
};
require('../../../dist/instance/main.js');
