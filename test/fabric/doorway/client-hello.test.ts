import fc from 'fast-check';
import { HELLO_BYTES_MAX, HelloReader, scanHello } from '../../../src/fabric/doorway/client-hello.js';
import { helloOf } from '../programs/fake-pool.js';

// The same handshake bytes in records of `size`.
function fragmented(hello: Buffer, size: number): Buffer {
  const handshake = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += size) {
    const part = handshake.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part);
  }
  return Buffer.concat(records);
}

test.each([
  ['TLS 1.2 and 1.3', {}],
  ['TLS 1.3 only', { minVersion: 'TLSv1.3' }],
  ['TLS 1.2 only', { maxVersion: 'TLSv1.2' }],
  ['long ALPN', { ALPNProtocols: Array.from({ length: 40 }, (_, n) => `protocol-${n}`) }],
] as const)('client hello: finds the name that Node sends with %s', async (_name, options) => {
  const bytes = await helloOf({ ...options, servername: 'Dev.managedhsm.localhost' });
  expect(scanHello(bytes)).toEqual({ kind: 'hello', serverName: 'dev.managedhsm.localhost' });
});

test('client hello: a client without a name has none', async () => {
  expect(scanHello(await helloOf({}))).toEqual({ kind: 'hello', serverName: undefined });
});

test('client hello: split at every byte, the name is found with the last one and not before', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  for (let at = 1; at < bytes.length; at += 1) {
    const reader = new HelloReader();
    expect(reader.take(bytes.subarray(0, at))).toBeUndefined();
    expect(reader.take(bytes.subarray(at))).toEqual({
      kind: 'hello',
      serverName: 'dev.managedhsm.localhost',
    });
    expect(reader.bytes().equals(bytes)).toBe(true);
  }
});

test('client hello: sent byte by byte, no byte is lost', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  const reader = new HelloReader();
  for (let at = 0; at < bytes.length - 1; at += 1) {
    expect(reader.take(bytes.subarray(at, at + 1))).toBeUndefined();
  }
  expect(reader.take(bytes.subarray(-1))).toEqual({ kind: 'hello', serverName: 'dev.managedhsm.localhost' });
  expect(reader.bytes().equals(bytes)).toBe(true);
});

test('client hello: spread over records of any size, the name is found', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  for (const size of [1, 2, 3, 4, 5, 17, 100, 511]) {
    expect(scanHello(fragmented(bytes, size))).toEqual({
      kind: 'hello',
      serverName: 'dev.managedhsm.localhost',
    });
  }
});

test('client hello: what follows it is left alone', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  const reader = new HelloReader();
  const all = Buffer.concat([bytes, Buffer.from('and more')]);
  expect(reader.take(all)).toMatchObject({ serverName: 'dev.managedhsm.localhost' });
  expect(reader.bytes().equals(all)).toBe(true);
});

test.each([
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
  ['one wrong byte', Buffer.from([0x16, 0x02])],
  ['an alert record', Buffer.from([21, 3, 1, 0, 2, 2, 40])],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
  ['a record that is too long', Buffer.from([22, 3, 1, 0xff, 0xff])],
  ['another handshake message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['an empty hello', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0])],
  ['a hello that is too long', Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0])],
])('client hello: %s is malformed at once', (_name, bytes) => {
  expect(new HelloReader().take(bytes)).toEqual({ kind: 'malformed' });
});

test('client hello: a name that no host can have is malformed', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  const at = bytes.indexOf('dev.managedhsm');
  for (const byte of [0x00, 0x20, 0x2f, 0x80, 0xff]) {
    const bad = Buffer.from(bytes);
    bad[at + 3] = byte;
    expect(scanHello(bad)).toEqual({ kind: 'malformed' });
  }
});

test('client hello: whatever is sent, the reader ends within its bound', () => {
  const record = fc
    .uint8Array({ minLength: 1, maxLength: 2_000 })
    .map((part) => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part]));
  const endless = fc.uint8Array({ minLength: 1, maxLength: 3_000 }).map((part) => {
    const handshake = Buffer.concat([Buffer.from([1, 0, 0x3f, 0xf0]), part]);
    return fragmented(Buffer.concat([Buffer.alloc(5), handshake]), 1 + (part[0] ?? 0));
  });
  fc.assert(
    fc.property(
      fc.oneof(
        record,
        endless,
        fc.uint8Array().map((part) => Buffer.from(part)),
      ),
      (chunk) => {
        const reader = new HelloReader();
        for (let sent = 0; chunk.length > 0 && sent <= 2 * HELLO_BYTES_MAX; sent += chunk.length) {
          if (reader.take(chunk)) return true;
        }
        return chunk.length === 0;
      },
    ),
  );
});

test('client hello: a changed byte never throws, and gives a name that a host can have or none', async () => {
  const bytes = await helloOf({ servername: 'dev.managedhsm.localhost' });
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
      const changed = Buffer.from(bytes);
      changed[at] = value;
      const scan = scanHello(changed);
      return scan.kind !== 'hello' || /^[a-z0-9_.-]*$/.test(scan.serverName ?? '');
    }),
    { numRuns: 2_000 },
  );
});

test('client hello: one in records of a single byte costs few looks', async () => {
  const bytes = fragmented(await helloOf({ servername: 'dev.managedhsm.localhost' }), 1);
  let needed = 1;
  let looks = 0;
  for (; needed <= bytes.length; looks += 1) {
    const scan = scanHello(bytes.subarray(0, needed));
    if (scan.kind !== 'more') break;
    expect(scan.needed).toBeGreaterThan(needed);
    needed = scan.needed;
  }
  expect(looks).toBeLessThan(100);
});
