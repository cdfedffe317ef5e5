// Speaks an instance's side of messages.ts and serves HTTPS on the sockets that it is handed: answers who it is and
// echoes bodies. Holds no key worth the name. What it should do wrong lies in the file that is named as the PKCS#11
// module, which it reads again whenever it asks for a lease. Its store is store.json in its directory, and what others
// would learn over links the primary reads from their directories.
const { Buffer } = require('node:buffer');
const { randomUUID } = require('node:crypto');
const { readFileSync, renameSync, writeFileSync } = require('node:fs');
const https = require('node:https');
const { join } = require('node:path');

const LEASE_EVERY_MS = 50;

let started;
let wish;
let server;
let peers = [];
let store;
let view;
let leasing;
let draining = false;
let protectedKeys = false;
const connections = new Set();
const proposed = new Set();

process.on('disconnect', () => process.exit(1));
process.on('message', (message, socket) => {
  switch (message.kind) {
    case 'start':
      return start(message);
    case 'peers':
      peers = message.peers;
      server.peers = peers;
      return open(message.donor);
    case 'view':
      return follow(message.view);
    case 'lease':
    case 'lost':
      return undefined;
    case 'declined':
      proposed.delete(message.member.store);
      return undefined;
    case 'protect':
      protectedKeys = true;
      if (view) follow(view);
      return undefined;
    case 'retire':
      process.send({ kind: 'retired' });
      return undefined;
    case 'digest':
      return digest(message.id);
    case 'figures':
      return process.send({ kind: 'figures', id: message.id, figures: FIGURES });
    case 'connection':
      if (!socket) return undefined;
      connections.add(socket);
      socket.once('close', () => {
        connections.delete(socket);
        finish();
      });
      if (wish.raw) return echo(message.head, socket);
      socket.unshift(message.head);
      return server.emit('connection', socket);
    case 'clock':
      if (wish.silent !== started.instance) process.send({ kind: 'clockSet', offset: message.offset });
      return undefined;
    case 'network':
      readWish();
      if (wish.mutinous === started.instance) return undefined;
      started.network = message.network;
      return networkSet();
    case 'faults':
      if (wish.silent !== started.instance) process.send({ kind: 'faultsSet', order: message.faults.order });
      return undefined;
    case 'drain':
      draining = true;
      return finish();
    case 'leave':
      return process.exit(0);
    default:
      throw new Error(`unknown message ${message.kind}`);
  }
});

// Whoever was given to us before we were told to drain is served to the end.
function finish() {
  if (draining && connections.size === 0 && !wish.deaf) process.send({ kind: 'drained' });
}

// Gives back every byte, those that the fabric had read first.
function echo(head, socket) {
  socket.on('error', () => undefined);
  socket.write(head);
  socket.pipe(socket);
}

function readWish() {
  wish = JSON.parse(readFileSync(started.module, 'utf8'));
}

function readStore(directory) {
  try {
    return JSON.parse(readFileSync(join(directory, 'store.json'), 'utf8'));
  } catch {
    return undefined;
  }
}

function writeStore() {
  const file = join(started.directory, 'store.json');
  writeFileSync(`${file}.new`, JSON.stringify(store));
  renameSync(`${file}.new`, file);
}

function start(message) {
  started = message;
  readWish();
  if ([wish.fails].flat().includes(message.instance)) return fail('has no token', false);
  if (wish.damaged === message.instance && readStore(message.directory))
    return fail('has a broken store', true);
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
  process.send({ kind: 'clockSet', offset: message.clockOffset });
  if (message.faults) process.send({ kind: 'faultsSet', order: message.faults.order });
  networkSet();
  server.on('tlsClientError', () => undefined);
  process.send({
    kind: 'introduced',
    certificate: `certificate ${message.instance}`,
    port: 40_000 + message.instance,
  });
}

// What a process says just before it exits lies in the channel: nothing waits for it to be read.
function fail(reason, damaged) {
  process.send({ kind: 'failed', reason, damaged }, () => process.exit(3));
}

function networkSet() {
  process.send({ kind: 'networkSet', order: started.network.order });
}

// Who has no store makes one, and needs a donor for it, but for the instance that founds the pool.
function open(donor) {
  if (leasing || wish.closed === started.instance) return;
  store = readStore(started.directory);
  if (!store) {
    const founds = started.found && started.instance === 0;
    if (!founds && !peers.some(({ instance }) => instance === donor)) return;
    store = { store: randomUUID(), epoch: 0 };
    writeStore();
  }
  process.send({ kind: 'opened', store: store.store, epoch: store.epoch });
  leasing = setInterval(ask, LEASE_EVERY_MS);
}

function ask() {
  readWish();
  const { instance } = started;
  if (wish.mute === instance) return;
  const apart = wish.apart ?? [];
  const reach = peers
    .map((peer) => peer.instance)
    .filter((peer) => !apart.includes(peer) && !apart.includes(instance));
  process.send({
    kind: 'lease',
    asked: 1_000,
    epoch: view?.epoch ?? 0,
    reach,
    stuck: isPrimary() ? (wish.stuck ?? []) : [],
    accuses: wish.accuses === instance,
  });
  if (isPrimary()) proposeOthers();
}

function isPrimary() {
  return view !== undefined && view.primary === started.instance;
}

function proposeOthers() {
  for (const { instance } of peers) {
    const theirs = readStore(join(started.directory, '..', String(instance)));
    if (!theirs || proposed.has(theirs.store) || wish.excluded === instance) continue;
    if (view.inSync.some((member) => member.store === theirs.store)) continue;
    proposed.add(theirs.store);
    process.send({ kind: 'propose', epoch: view.epoch, member: { instance, store: theirs.store } });
  }
}

function follow(newest) {
  view = newest;
  proposed.clear();
  store.epoch = view.epoch;
  writeStore();
  if (!view.inSync.some((member) => member.store === store.store)) {
    process.send({ kind: 'joining', phase: 'log', done: 1, total: 3 });
    return;
  }
  const { instance } = started;
  process.send({
    kind: 'serving',
    report: {
      role: isPrimary() ? 'primary' : 'backup',
      inSync: true,
      epoch: view.epoch,
      port: 50_000 + instance,
      committed: 0,
      keys: 0,
      activation: 'Active',
      purgeProtection: protectedKeys || started.founding.purgeProtection === true,
      ownerFingerprint: wish.disagreesOnOwner === instance ? 'ff'.repeat(32) : '0f'.repeat(32),
      rootCertificate: wish.disagrees === instance ? 'another' : (wish.root ?? 'a root'),
    },
  });
}

const FIGURES = {
  requests: [],
  connections: 0,
  committed: 7,
  undecided: 0,
  keys: 0,
  openKeys: 0,
  storeBytes: 0,
  auditBytes: 0,
  cpuSeconds: 0,
  residentBytes: 0,
};

// One that lags stands at the index of the others from the third question on.
function digest(id) {
  const { instance } = started;
  const index = wish.lags === instance && id < 3 ? 6 : 7;
  process.send({
    kind: 'digest',
    id,
    index,
    digest: wish.differs === instance ? 'b'.repeat(64) : 'a'.repeat(64),
  });
}
