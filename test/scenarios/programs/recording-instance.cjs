// The real instance, which also writes down what it tells other processes, in files beside the data directory, five
// folders above the instance's own: `recording-N` what it gives to the links to other instances, as it is before TLS;
// `channel-N` what it tells its fabric, and what it and its provisioners tell each other.
const { appendFileSync } = require('node:fs');
const childProcess = require('node:child_process');
const { basename, join } = require('node:path');
const { serialize } = require('node:v8');
const { encode } = require('../../../dist/values/cbor.js');
const { Mesh } = require('../../../dist/instance/replication/mesh.js');

const instance = process.cwd();
const outside = join(instance, '../../../../..');
const recording = join(outside, `recording-${basename(instance)}`);
const { send } = Mesh.prototype;
Mesh.prototype.send = function (member, message) {
  appendFileSync(recording, encode(message));
  return send.call(this, member, message);
};

const channel = join(outside, `channel-${basename(instance)}`);
const recordSend = (sender) => {
  const tell = sender.send;
  sender.send = (message, ...more) => {
    appendFileSync(channel, serialize(message));
    return tell.call(sender, message, ...more);
  };
};
recordSend(process);
const { fork } = childProcess;
childProcess.fork = (...args) => {
  const child = fork(...args);
  recordSend(child);
  child.on('message', (message) => appendFileSync(channel, serialize(message)));
  return child;
};
require('../../../dist/instance/main.js');
