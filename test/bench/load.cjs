// The load: keep-alive TLS connections that each send the same request again as soon as the answer is there. Parses
// no more of an answer than its length, so that the generator costs little beside the server.
const { connect } = require('node:tls');

/** Bytes of one request, ready to send. */
function requestBytes({ method, path, host, token, body }) {
  const text = body === undefined ? '' : JSON.stringify(body);
  const head = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}`,
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    'Accept: application/json',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`);
}

function open({ port, servername, ca }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername, ca, minVersion: 'TLSv1.3' }, () => resolve(socket));
    socket.once('error', reject);
    socket.setNoDelay(true);
  });
}

const LENGTH = Buffer.from('Content-Length: ');
const END = Buffer.from('\r\n\r\n');

/** One request after the other on a connection, until `stop()` says so. */
class Lane {
  constructor(socket, next) {
    this.socket = socket;
    this.next = next;
    this.pending = Buffer.alloc(0);
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('error', (error) => this.failed?.(error));
    socket.on('close', () => this.failed?.(new Error('the server closed the connection')));
  }

  once() {
    return new Promise((resolve, reject) => {
      this.answered = resolve;
      this.failed = reject;
      this.socket.write(this.next());
    });
  }

  receive(chunk) {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    const end = this.pending.indexOf(END);
    if (end < 0) return;
    const at = this.pending.indexOf(LENGTH);
    const length = parseInt(this.pending.latin1Slice(at + LENGTH.length, at + LENGTH.length + 8), 10);
    if (this.pending.length < end + END.length + length) return;
    const status = this.pending.latin1Slice(9, 12);
    const answer = this.pending;
    this.pending = Buffer.alloc(0);
    if (status !== '200') this.failed(new Error(answer.toString()));
    else this.answered();
  }
}

/**
 * Runs `connections` lanes for so long, with one request or with what a function gives for each. With a `stride` only
 * every so-manieth connection is used: where connections are given to several processes in turn, all that are used are
 * with the same one. Answers operations a second, CPU time and latencies at the median and the 99th percentile in
 * microseconds.
 */
async function load(target, request, connections, milliseconds) {
  const bytes = typeof request === 'function' ? undefined : requestBytes(request);
  const next = bytes ? () => bytes : () => requestBytes(request());
  const lanes = [];
  const others = [];
  for (let i = 0; i < connections; i += 1) {
    lanes.push(new Lane(await open(target), next));
    for (let j = 1; j < (target.stride ?? 1); j += 1) others.push(await open(target));
  }
  for (const lane of lanes) for (let i = 0; i < 5; i += 1) await lane.once();
  for (const socket of others) socket.destroy();
  target.begin?.();
  const started = performance.now();
  const end = started + milliseconds;
  const times = [];
  await Promise.all(
    lanes.map(async (lane) => {
      while (performance.now() < end) {
        const sent = performance.now();
        await lane.once();
        times.push(performance.now() - sent);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const cpuMicroseconds = (target.end?.() ?? 0) / times.length;
  for (const { socket } of lanes) {
    socket.removeAllListeners('close');
    socket.destroy();
  }
  times.sort((a, b) => a - b);
  const percentile = (part) => (times[Math.floor(times.length * part)] ?? 0) * 1000;
  return { perSecond: times.length / seconds, cpuMicroseconds, p50: percentile(0.5), p99: percentile(0.99) };
}

module.exports = { load };
