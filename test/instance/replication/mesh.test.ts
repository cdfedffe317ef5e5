// Links over real TLS: who is let in, what happens when the line breaks, how frames arrive.
import { randomBytes, randomInt } from 'node:crypto';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { encode } from '../../../src/values/cbor.js';
import { clear, credentials, dialByHand, identityOf, lineTo, station, until } from './meshes.js';
import { randomFrom } from './simulator.js';

afterEach(clear);

function frame(message: unknown): Buffer {
  const body = encode(message);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

/** Members 0 and 1; 1 dials, over a line that can be cut. */
async function pair() {
  const [a, b] = await Promise.all([station(0), station(1)]);
  const line = await lineTo(a.mesh.port);
  a.mesh.join(0, [b.peer]);
  b.mesh.join(1, [{ ...a.peer, port: line.port }]);
  await until(() => a.heard.length > 0 && b.heard.length > 0);
  return { a, b, line };
}

describe('mesh', () => {
  test('two members talk both ways, in order', async () => {
    const { a, b } = await pair();
    const numbers = Array.from({ length: 200 }, (_, number) => ({ number, bytes: randomBytes(number) }));
    for (const message of numbers) {
      expect(a.mesh.send(1, message)).toBe(true);
      expect(b.mesh.send(0, message)).toBe(true);
    }
    await until(() => a.heard.length === 201 && b.heard.length === 201);
    expect(a.heard).toEqual(['linked 1', ...numbers]);
    expect(b.heard).toEqual(['linked 0', ...numbers]);
  });

  test('three members have one link each to the others', async () => {
    const stations = await Promise.all([0, 1, 2].map((instance) => station(instance)));
    stations.forEach(({ mesh }, self) =>
      mesh.join(
        self,
        stations.map(({ peer }) => peer).filter(({ instance }) => instance !== self),
      ),
    );
    await until(() => stations.every(({ heard }) => heard.length === 2));
    stations.forEach(({ mesh }, self) =>
      [0, 1, 2].filter((other) => other !== self).forEach((other) => mesh.send(other, `from ${self}`)),
    );
    await until(() => stations.every(({ heard }) => heard.length === 4));
    expect(stations.map(({ heard }) => [...heard].map(String).sort())).toEqual([
      ['from 1', 'from 2', 'linked 1', 'linked 2'],
      ['from 0', 'from 2', 'linked 0', 'linked 2'],
      ['from 0', 'from 1', 'linked 0', 'linked 1'],
    ]);
  });

  test('nothing is sent where there is no link', async () => {
    const { a } = await pair();
    expect(a.mesh.send(2, 'hello')).toBe(false);
  });

  test('a message of many megabytes arrives whole', async () => {
    const { a, b } = await pair();
    const message = { bytes: randomBytes(20 * 1024 * 1024) };
    b.mesh.send(0, message);
    await until(() => a.heard.length === 2);
    expect((a.heard[1] as typeof message).bytes.equals(message.bytes)).toBe(true);
  });

  test('a link that was cut is made again, and both sides hear of both', async () => {
    const { a, b, line } = await pair();
    for (let round = 1; round <= 3; round += 1) {
      line.cut();
      await until(() => a.heard.length === 1 + 2 * round && b.heard.length === 1 + 2 * round);
    }
    const expected = (other: number) => [`linked ${other}`, `unlinked ${other}`];
    expect(a.heard).toEqual([...expected(1), ...expected(1), ...expected(1), 'linked 1']);
    expect(b.heard).toEqual([...expected(0), ...expected(0), ...expected(0), 'linked 0']);
    b.mesh.send(0, 'again');
    await until(() => a.heard.includes('again'));
  });

  test('a dialling member is not linked before the other side has let it in', async () => {
    const [a, b] = await Promise.all([station(0), station(1)]);
    const line = await lineTo(a.mesh.port);
    b.mesh.join(1, [{ ...a.peer, port: line.port }]);
    // Member 0 was not introduced to member 1 yet and lets nobody in.
    await until(() => line.dialled >= 4);
    expect(b.heard).toEqual([]);
    a.mesh.join(0, [b.peer]);
    await until(() => b.heard.length > 0 && a.heard.length > 0);
    expect([a.heard, b.heard]).toEqual([['linked 1'], ['linked 0']]);
  });

  test('a member that dials again before its old link is seen to be dead gets a new one', async () => {
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    a.mesh.join(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const old = dialByHand(a.mesh.port, credentials(b));
    await until(() => a.heard.length === 1);
    const young = dialByHand(a.mesh.port, credentials(b));
    await until(() => a.heard.length === 3);
    await old.ended;
    young.socket.write(frame('young'));
    await until(() => a.heard.length === 4);
    expect(a.heard).toEqual(['linked 1', 'unlinked 1', 'linked 1', 'young']);
  });

  test('frames come whole however the stream is split', async () => {
    const seed = randomInt(0x7fffffff);
    const random = randomFrom(seed);
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    a.mesh.join(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const hand = dialByHand(a.mesh.port, credentials(b));
    await once(hand.socket, 'secureConnect');
    hand.socket.setNoDelay(true);
    const messages = Array.from({ length: 100 }, (_, number) => ({
      number,
      bytes: randomBytes(Math.floor(random() ** 4 * 5000)),
    }));
    const stream = Buffer.concat(messages.map(frame));
    for (let at = 0; at < stream.length;) {
      const end = at + 1 + Math.floor(random() ** 6 * 3000);
      // One TLS record each, and each a read of its own on the other side.
      await new Promise((resolve) => hand.socket.write(stream.subarray(at, end), resolve));
      at = end;
    }
    await until(() => a.heard.length === 101);
    expect({ seed, heard: a.heard.slice(1) }).toEqual({ seed, heard: messages });
  });

  test.each([
    ['a frame larger than any message', Buffer.from('04000001', 'hex')],
    ['a frame that is no message', Buffer.from('00000002ffff', 'hex')],
    ['an empty frame from the side that dials', Buffer.alloc(4)],
  ])('%s ends the link', async (_what, bytes) => {
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    a.mesh.join(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const hand = dialByHand(a.mesh.port, credentials(b));
    await once(hand.socket, 'secureConnect');
    hand.socket.write(Buffer.concat([frame('good'), bytes, frame('never heard')]));
    await hand.ended;
    await until(() => a.heard.length === 3);
    expect(a.heard).toEqual(['linked 1', 'good', 'unlinked 1']);
  });

  test('what a listener throws is not taken for a bad frame', async () => {
    const program = join(__dirname, 'programs', 'throwing-listener.cjs');
    const { code, stderr } = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
      const child = execFile(process.execPath, [program], { timeout: 30_000 }, (_error, _out, err) =>
        resolve({ code: child.exitCode, stderr: err }),
      );
    });
    expect(stderr).toContain('a broken assumption');
    expect(code).toBe(1);
  });

  test('a closed mesh is gone, also one that was dialling', async () => {
    const { a, b, line } = await pair();
    const { port } = a.mesh;
    a.mesh.close();
    await until(() => b.heard.includes('unlinked 0') && line.dialled > 1);
    b.mesh.close();
    const error = await dialByHand(port, credentials(b.identity)).ended;
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    expect(a.mesh.send(1, 'gone')).toBe(false);
  });
});

describe('mesh: who is let in', () => {
  /** Member 0 alone, introduced to members 1 and 2. */
  async function introduced() {
    const [a, b, c] = await Promise.all([station(0), identityOf(1), identityOf(2)]);
    a.mesh.join(0, [
      { instance: 1, certificate: b.certificate, port: 0 },
      { instance: 2, certificate: c.certificate, port: 0 },
    ]);
    return { a, b, c };
  }

  test('a member with its own certificate', async () => {
    const { a, c } = await introduced();
    const hand = dialByHand(a.mesh.port, credentials(c));
    await until(() => a.heard.length === 1);
    expect(a.heard).toEqual(['linked 2']);
    expect(hand.socket.getProtocol()).toBe('TLSv1.3');
  });

  test('not a stranger with a sound certificate of the same form', async () => {
    const { a } = await introduced();
    const hand = dialByHand(a.mesh.port, credentials(await identityOf(1)));
    await hand.ended;
    expect(hand.received).toEqual([]);
    expect(a.heard).toEqual([]);
  });

  test('not somebody without a certificate', async () => {
    const { a } = await introduced();
    await dialByHand(a.mesh.port, {}).ended;
    expect(a.heard).toEqual([]);
  });

  test("not somebody with a member's certificate and another key", async () => {
    const { a, b } = await introduced();
    const other = await identityOf(1);
    expect(() => dialByHand(a.mesh.port, { cert: b.certificate, key: other.key })).toThrow(
      /key values mismatch/,
    );
  });

  test('not a member over TLS 1.2', async () => {
    const { a, b } = await introduced();
    const hand = dialByHand(a.mesh.port, { ...credentials(b), maxVersion: 'TLSv1.2' });
    const error = await hand.ended;
    expect(error?.message).toMatch(/protocol version/);
    expect(a.heard).toEqual([]);
  });

  test('nobody before the members are known', async () => {
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    await dialByHand(a.mesh.port, credentials(b)).ended;
    expect(a.heard).toEqual([]);
  });

  test('not a member with a lower number: it is dialled', async () => {
    const [high, low] = await Promise.all([station(2), identityOf(1)]);
    const line = await lineTo(1);
    high.mesh.join(2, [{ instance: 1, certificate: low.certificate, port: line.port }]);
    await dialByHand(high.mesh.port, credentials(low)).ended;
    expect(high.heard).toEqual([]);
  });

  test('and a stranger who sits where a member should is not spoken to', async () => {
    const [b, pinned, stranger] = await Promise.all([station(1), identityOf(0), identityOf(0)]);
    let dialled = 0;
    const heard: Buffer[] = [];
    const server = createTlsServer(
      { cert: stranger.certificate, key: stranger.key, requestCert: true, rejectUnauthorized: false },
      (socket) => {
        socket.on('error', () => socket.destroy());
        socket.on('data', (chunk: Buffer) => heard.push(chunk));
        socket.write(Buffer.alloc(4));
      },
    );
    server.on('connection', () => (dialled += 1));
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    b.mesh.join(1, [
      { instance: 0, certificate: pinned.certificate, port: (server.address() as AddressInfo).port },
    ]);
    await until(() => dialled >= 3);
    b.mesh.close();
    server.close();
    expect(heard).toEqual([]);
    expect(b.heard).toEqual([]);
  });
});
