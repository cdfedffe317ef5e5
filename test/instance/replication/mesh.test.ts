// Links over real TLS: who is let in, what happens when the line breaks, how frames arrive.
import { randomBytes, randomInt } from 'node:crypto';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { encode } from '../../../src/values/cbor.js';
import {
  attestorOf,
  bindingOf,
  clear,
  credentials,
  dialByHand,
  frameOf,
  hostOf,
  identityOf,
  lineTo,
  linkByHand,
  newHostKey,
  showEvidence,
  station,
  until,
} from './meshes.js';
import { randomFrom } from './simulator.js';
import type { LinkHarm } from '../../../src/instance/replication/mesh.js';

afterEach(clear);

function frame(message: unknown): Buffer {
  return frameOf(encode(message));
}

/** Members 0 and 1; 1 dials, over a line that can be cut. */
async function pair() {
  const [a, b] = await Promise.all([station(0), station(1)]);
  const line = await lineTo(a.mesh.port);
  a.mesh.introduce(0, [b.peer]);
  b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
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
      mesh.introduce(
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
    b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
    // Member 0 was not introduced to member 1 yet and lets nobody in.
    await until(() => line.dialled >= 4);
    expect(b.heard).toEqual([]);
    a.mesh.introduce(0, [b.peer]);
    await until(() => b.heard.length > 0 && a.heard.length > 0);
    expect([a.heard, b.heard]).toEqual([['linked 1'], ['linked 0']]);
  });

  test('a member that dials again before its old link is seen to be dead gets a new one', async () => {
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    a.mesh.introduce(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const old = await linkByHand(a.mesh.port, 1, b);
    await until(() => a.heard.length === 1);
    const young = await linkByHand(a.mesh.port, 1, b);
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
    a.mesh.introduce(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const hand = await linkByHand(a.mesh.port, 1, b);
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
    a.mesh.introduce(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const hand = await linkByHand(a.mesh.port, 1, b);
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
    a.mesh.introduce(0, [
      { instance: 1, certificate: b.certificate, port: 0 },
      { instance: 2, certificate: c.certificate, port: 0 },
    ]);
    return { a, b, c };
  }

  test('a member with its own certificate', async () => {
    const { a, c } = await introduced();
    const hand = await linkByHand(a.mesh.port, 2, c);
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
    high.mesh.introduce(2, [{ instance: 1, certificate: low.certificate, port: line.port }]);
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
    b.mesh.introduce(1, [
      { instance: 0, certificate: pinned.certificate, port: (server.address() as AddressInfo).port },
    ]);
    await until(() => dialled >= 3);
    b.mesh.close();
    server.close();
    expect(heard).toEqual([]);
    expect(b.heard).toEqual([]);
  });
});

describe('mesh: what is shown on a link', () => {
  const link = { role: 'link' } as const;
  const stranger = newHostKey();

  /** Member 0 is linked to member 2; somebody with the certificate of member 1 dials it. */
  async function withGoodNeighbour() {
    const [a, b, c] = await Promise.all([station(0), identityOf(1), station(2)]);
    const line = await lineTo(a.mesh.port);
    a.mesh.introduce(0, [{ instance: 1, certificate: b.certificate, port: 0 }, c.peer]);
    c.mesh.introduce(2, [{ ...a.peer, port: line.port }]);
    await until(() => a.heard.length === 1);
    return { a, b, c };
  }

  /** What a connection that was let in would have shown, seen by somebody in the middle of its end. */
  async function recorded(port: number, shown: Parameters<typeof credentials>[0]): Promise<Buffer> {
    const hand = dialByHand(port, credentials(shown));
    await once(hand.socket, 'secureConnect');
    const evidence = attestorOf(1).attestor.evidence(bindingOf(hand.socket), link);
    hand.socket.destroy();
    await hand.ended;
    return evidence;
  }

  type Showing = (binding: Buffer, replayed: Buffer) => Buffer;
  const key = { modulus: Buffer.of(1), exponent: Buffer.of(3) };
  it.each<[what: string, showing: Showing, reason: string]>([
    [
      'changed code',
      (binding) => attestorOf(1, { measure: () => 'cd'.repeat(32) }).attestor.evidence(binding, link),
      `what it runs is not allowed: measurement ${'cd'.repeat(32)}`,
    ],
    [
      'the key of a foreign host',
      (binding) => attestorOf(1, { hostKey: stranger }).attestor.evidence(binding, link),
      'no enrolled host vouches for it',
    ],
    ['evidence of another connection', (_, replayed) => replayed, 'its evidence is of another connection'],
    [
      'evidence of another pool',
      (binding) => attestorOf(1, { pool: 'other' }).attestor.evidence(binding, link),
      'its evidence is of another pool',
    ],
    [
      'evidence of another member',
      (binding) => attestorOf(2).attestor.evidence(binding, link),
      'its evidence is of another instance',
    ],
    [
      'evidence for a question to join',
      (binding) => attestorOf(1).attestor.evidence(binding, { role: 'join', key }),
      'its evidence is for something else',
    ],
    ['bytes', () => Buffer.from('no evidence'), 'what it sent is no evidence'],
  ])('%s: not let in, and told why; the others go on', async (_what, showing, reason) => {
    const { a, b, c } = await withGoodNeighbour();
    const replayed = await recorded(a.mesh.port, b);
    const hand = dialByHand(a.mesh.port, credentials(b));
    expect(await showEvidence(hand, (binding) => showing(binding, replayed))).toEqual({ refused: reason });
    hand.socket.write(Buffer.concat([frameOf(Buffer.alloc(0)), frame('hello')]));
    await hand.ended;
    expect(a.said).toEqual([`refused 1: ${reason}`]);
    c.mesh.send(0, 'still here');
    await until(() => a.heard.length === 2);
    expect(a.heard).toEqual(['linked 2', 'still here']);
    // And the real one comes in after it.
    await linkByHand(a.mesh.port, 1, b);
    await until(() => a.heard.length === 3);
    expect(a.heard.at(-1)).toBe('linked 1');
  });

  it.each([
    ['nothing but the empty frame', Buffer.alloc(4)],
    ['a message at once', frame('hello')],
    ['more than evidence can be', frameOf(Buffer.alloc(5_000))],
  ])('%s is no evidence', async (_what, bytes) => {
    const { a, b } = await withGoodNeighbour();
    const hand = dialByHand(a.mesh.port, credentials(b));
    await once(hand.socket, 'secureConnect');
    hand.socket.write(bytes);
    await hand.ended;
    expect(hand.received).toEqual([]);
    expect(a.heard).toEqual(['linked 2']);
  });

  it('who dials is not linked before it has said that it was satisfied', async () => {
    const { a, b } = await withGoodNeighbour();
    const hand = dialByHand(a.mesh.port, credentials(b));
    const { attestor } = attestorOf(1);
    await showEvidence(hand, (binding) => attestor.evidence(binding, link));
    expect(a.heard).toEqual(['linked 2']);
    hand.socket.write(frameOf(Buffer.alloc(0)));
    await until(() => a.heard.length === 2);
  });

  it('who is dialled must show it too: one that may not run what it runs is told nothing', async () => {
    const [a, b] = await Promise.all([station(0, undefined, { measure: () => 'cd'.repeat(32) }), station(1)]);
    a.trusting.allowed = { ...a.trusting.allowed, measurements: 'any' };
    const line = await lineTo(a.mesh.port);
    a.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
    await until(() => line.dialled >= 4);
    expect([a.heard, b.heard]).toEqual([[], []]);
    // Said once, however often it is dialled.
    expect(b.said).toEqual([`refused 0: what it runs is not allowed: measurement ${'cd'.repeat(32)}`]);
    b.trusting.allowed = { ...b.trusting.allowed, measurements: ['cd'.repeat(32)] };
    await until(() => b.heard.length === 1 && a.heard.length === 1);
  });

  it('its own evidence sent back is of another instance', async () => {
    const { a, b } = await withGoodNeighbour();
    const hand = dialByHand(a.mesh.port, credentials(b));
    const { attestor } = attestorOf(0);
    const answer = await showEvidence(hand, (binding) => attestor.evidence(binding, link));
    expect(answer).toEqual({ refused: 'its evidence is of another instance' });
  });

  it('who is refused hears why, once', async () => {
    const [a, b] = await Promise.all([station(0), station(1, undefined, { hostKey: stranger })]);
    const line = await lineTo(a.mesh.port);
    b.trusting.allowed = {
      hosts: [hostOf(stranger), b.trusting.allowed.hosts[0] ?? ''],
      measurements: 'any',
    };
    a.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
    await until(() => line.dialled >= 3);
    expect(a.said).toEqual(['refused 1: no enrolled host vouches for it']);
    expect(b.said).toEqual(['rejected 0: no enrolled host vouches for it']);
  });

  it('a link ends when what it was let in by is trusted no more, and comes back when it is again', async () => {
    const { a, b } = await pair();
    const before = a.trusting.allowed;
    a.mesh.recheck();
    a.trusting.allowed = { ...before, measurements: ['cd'.repeat(32)] };
    a.mesh.recheck();
    await until(() => a.heard.includes('unlinked 1') && b.heard.includes('unlinked 0'));
    await until(() => b.said.length > 0);
    expect(b.said[0]).toMatch(/^rejected 0: what it runs is not allowed/);
    a.trusting.allowed = before;
    await until(() => a.heard.length === 3 && b.heard.length === 3);
    expect(a.heard).toEqual(['linked 1', 'unlinked 1', 'linked 1']);
  });

  it('both ends know what evidence on their link is bound to, and nobody else has it', async () => {
    const { a, b, line } = await pair();
    const bound = a.mesh.binding(1);
    expect(bound?.length).toBe(32);
    expect(b.mesh.binding(0)).toEqual(bound);
    expect(a.mesh.binding(2)).toBeUndefined();
    line.cut();
    await until(() => a.heard.length === 3 && b.heard.length === 3);
    expect(a.mesh.binding(1)).not.toEqual(bound);
  });
});

describe('mesh: members that start anew', () => {
  it('are dialled where they are now, at once, also with another certificate', async () => {
    const { a, b } = await pair();
    a.mesh.close();
    await until(() => b.heard.includes('unlinked 0'));
    const again = await station(0, a.identity);
    again.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [again.peer]);
    await until(() => again.heard.length === 1 && b.heard.length === 3);
    again.mesh.close();
    await until(() => b.heard.length === 4);
    const other = await station(0);
    other.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [other.peer]);
    await until(() => other.heard.length === 1 && b.heard.length === 5);
    expect(b.heard).toEqual(['linked 0', 'unlinked 0', 'linked 0', 'unlinked 0', 'linked 0']);
  });

  it('with another certificate lose the link that they had', async () => {
    const { a, b } = await pair();
    const next = await identityOf(1);
    a.mesh.introduce(0, [{ instance: 1, certificate: next.certificate, port: 0 }]);
    await until(() => b.heard.includes('unlinked 0'));
    expect(a.heard).toEqual(['linked 1', 'unlinked 1']);
    await linkByHand(a.mesh.port, 1, next);
    await until(() => a.heard.length === 3);
  });

  it('whose certificate was replaced while they opened a link do not get it', async () => {
    const [a, b] = await Promise.all([station(0), identityOf(1)]);
    a.mesh.introduce(0, [{ instance: 1, certificate: b.certificate, port: 0 }]);
    const hand = dialByHand(a.mesh.port, credentials(b));
    const { attestor } = attestorOf(1);
    await showEvidence(hand, (binding) => attestor.evidence(binding, { role: 'link' }));
    a.mesh.introduce(0, [{ instance: 1, certificate: (await identityOf(1)).certificate, port: 0 }]);
    hand.socket.write(frameOf(Buffer.alloc(0)));
    await hand.ended;
    expect(a.heard).toEqual([]);
  });

  it('the same again keeps the links, one that is gone loses its own', async () => {
    const { a, b, line } = await pair();
    a.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
    a.mesh.send(1, 'one');
    await until(() => b.heard.length === 2);
    expect(b.heard).toEqual(['linked 0', 'one']);
    a.mesh.introduce(0, []);
    await until(() => b.heard.includes('unlinked 0'));
    expect(a.heard).toEqual(['linked 1', 'unlinked 1']);
  });

  it('that went away are not dialled any more', async () => {
    const { b, line } = await pair();
    b.mesh.introduce(1, []);
    const { dialled } = line;
    const c = await station(0);
    c.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [c.peer]);
    await until(() => c.heard.length === 1);
    expect(line.dialled).toBe(dialled);
  });
});

describe('mesh: harm on request', () => {
  /** Members 0 and 1, and what their link suffers. */
  async function harmed() {
    const suffered: { harm: LinkHarm } = { harm: { cut: false, delayMs: 0 } };
    const [a, b] = await Promise.all(
      [0, 1].map((instance) => station(instance, undefined, undefined, () => suffered.harm)),
    );
    if (!a || !b) throw new Error('two stations');
    a.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [a.peer]);
    await until(() => a.heard.length > 0 && b.heard.length > 0);
    const suffer = (harm: LinkHarm): void => {
      suffered.harm = harm;
      for (const { mesh } of [a, b]) mesh.reharm();
    };
    return { a, b, suffer };
  }

  test('a link that is cut ends at both sides, and comes back when it is cut no more', async () => {
    const { a, b, suffer } = await harmed();
    suffer({ cut: true, delayMs: 0 });
    expect(a.mesh.send(1, 'lost')).toBe(false);
    await until(() => a.heard.length === 2 && b.heard.length === 2);
    suffer({ cut: false, delayMs: 0 });
    await until(() => a.heard.length === 3 && b.heard.length === 3);
    expect(a.heard).toEqual(['linked 1', 'unlinked 1', 'linked 1']);
    expect(b.heard).toEqual(['linked 0', 'unlinked 0', 'linked 0']);
    expect(b.mesh.send(0, 'here')).toBe(true);
    await until(() => a.heard.includes('here'));
  });

  test('while one side alone cuts, it lets nobody in', async () => {
    const harm = { cut: true, delayMs: 0 };
    const [a, b] = await Promise.all([station(0, undefined, undefined, () => harm), station(1)]);
    a.mesh.introduce(0, [b.peer]);
    const line = await lineTo(a.mesh.port);
    b.mesh.introduce(1, [{ ...a.peer, port: line.port }]);
    await until(() => line.dialled >= 3);
    expect([a.heard, b.heard]).toEqual([[], []]);
  });

  test('what is delayed comes later, all of it and in order, whatever the delay becomes', async () => {
    const { a, b, suffer } = await harmed();
    suffer({ cut: false, delayMs: 120 });
    const begun = performance.now();
    const first = new Promise<number>((resolve) => b.mesh.once('message', () => resolve(performance.now())));
    for (let number = 0; number < 20; number += 1) a.mesh.send(1, number);
    suffer({ cut: false, delayMs: 0 });
    for (let number = 20; number < 40; number += 1) a.mesh.send(1, number);
    // Not before its time: a timer may be early by a millisecond.
    expect((await first) - begun).toBeGreaterThanOrEqual(119);
    await until(() => b.heard.length === 41);
    expect(b.heard.slice(1)).toEqual(Array.from({ length: 40 }, (_, number) => number));
  });
});
