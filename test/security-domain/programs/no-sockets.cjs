// Loaded before a command (`node --require`): the first socket, listener or name look-up ends it with code 99 and is
// written down, so that no `catch` can hide it.
const { appendFileSync } = require('node:fs');
const dgram = require('node:dgram');
const dns = require('node:dns');
const http2 = require('node:http2');
const net = require('node:net');

function refuse(what) {
  return () => {
    appendFileSync(process.env.TRIVET_SOCKETS, `${what}\n`);
    process.exit(99);
  };
}

net.Socket.prototype.connect = refuse('connect');
net.Server.prototype.listen = refuse('listen');
dgram.createSocket = refuse('datagram');
dgram.Socket.prototype.bind = refuse('datagram');
http2.connect = refuse('http2');
for (const name of Object.keys(dns)) {
  if (/^(lookup|resolve|reverse)/.test(name)) dns[name] = refuse(`dns.${name}`);
}
for (const name of Object.keys(dns.promises)) {
  if (/^(lookup|resolve|reverse)/.test(name)) dns.promises[name] = refuse(`dns.${name}`);
}
globalThis.fetch = refuse('fetch');
