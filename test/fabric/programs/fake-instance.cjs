// Speaks an instance's side of messages.ts and serves HTTPS on the sockets that it is handed: answers who it is and
// echoes bodies. Holds no key worth the name. What it should do wrong lies in the file that is named as
// the PKCS#11 module.
const { Buffer } = require('node:buffer');
const { readFileSync } = require('node:fs');
const https = require('node:https');

let server;
let sendReport;

process.on('disconnect', () => process.exit(1));
process.on('message', (message, socket) => {
  switch (message.kind) {
    case 'start':
      return start(message);
    case 'peers':
      server.peers = message.peers;
      return sendReport();
    case 'connection':
      if (!socket) return undefined;
      if (server.wish.raw) return echo(message.head, socket);
      socket.unshift(message.head);
      return server.emit('connection', socket);
    case 'clock':
      if (server.wish.silent !== server.instance) process.send({ kind: 'clockSet', offset: message.offset });
      return undefined;
    case 'drain':
      if (server.wish.deaf) return undefined;
      return process.exit(0);
    default:
      throw new Error(`unknown message ${message.kind}`);
  }
});

// Gives back every byte, those that the fabric had read first.
function echo(head, socket) {
  socket.on('error', () => undefined);
  socket.write(head);
  socket.pipe(socket);
}

function start(message) {
  const wish = JSON.parse(readFileSync(message.module, 'utf8'));
  if (wish.fails === message.instance) {
    process.send({ kind: 'failed', reason: 'has no token' }, () => process.exit(3));
    return;
  }
  if (wish.crashes === message.instance) process.abort();
  server = https.createServer({ key: wish.key, cert: wish.certificate }, (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      response.setHeader('x-instance', String(message.instance));
      if (chunks.length > 0) response.end(Buffer.concat(chunks));
      else
        response.end(
          JSON.stringify({ start: message, pid: process.pid, peers: server.peers, environment: process.env }),
        );
    });
  });
  server.wish = wish;
  server.instance = message.instance;
  process.send({ kind: 'clockSet', offset: message.clockOffset });
  server.on('tlsClientError', () => undefined);
  sendReport = () =>
    process.send({
      kind: 'serving',
      report: {
        role: message.instance === 0 ? 'primary' : 'backup',
        inSync: true,
        epoch: 1,
        committed: 0,
        keys: 0,
        activation: 'Active',
        ownerFingerprint: wish.disagreesOnOwner === message.instance ? 'ff'.repeat(32) : '0f'.repeat(32),
        rootCertificate: wish.disagrees === message.instance ? 'another' : (wish.root ?? 'a root'),
      },
    });
  process.send({
    kind: 'introduced',
    certificate: `certificate ${message.instance}`,
    port: 40_000 + message.instance,
  });
}
