// The real instance, which also writes down what it tells other processes, in files beside the data directory, five
// folders above the instance's own: `recording-N` what it gives to the links to other instances, as it is before TLS;
// `wire-N` every byte that goes into a TLS connection of its, to whomever; `channel-N` what it and its fabric, and it
// and its provisioners tell each other.
const { appendFileSync } = require('node:fs');
const childProcess = require('node:child_process');
const { basename, join } = require('node:path');
const { TLSSocket } = require('node:tls');
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

const wire = join(outside, `wire-${basename(instance)}`);
for (const name of ['write', 'end']) {
  const pass = TLSSocket.prototype[name];
  TLSSocket.prototype[name] = function (chunk, ...more) {
    if (typeof chunk === 'string')
      appendFileSync(wire, chunk, typeof more[0] === 'string' ? more[0] : 'utf8');
    else if (chunk instanceof Uint8Array) appendFileSync(wire, chunk);
    return pass.call(this, chunk, ...more);
  };
}

const channel = join(outside, `channel-${basename(instance)}`);
const recordSend = (sender) => {
  const tell = sender.send;
  sender.send = (message, ...more) => {
    appendFileSync(channel, serialize(message));
    return tell.call(sender, message, ...more);
  };
};
recordSend(process);
process.on('message', (message) => appendFileSync(channel, serialize(message)));
const { fork } = childProcess;
childProcess.fork = (...args) => {
  const child = fork(...args);
  recordSend(child);
  child.on('message', (message) => appendFileSync(channel, serialize(message)));
  return child;
};
require('../../../dist/instance/main.js');
