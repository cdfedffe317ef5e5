import { once } from 'node:events';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { controlLeaf, newAuthority } from '../../../src/fabric/control/authority.js';
import { ControlPort } from '../../../src/fabric/control/control-port.js';

let ca: string;
let number: number;
const port = new ControlPort({ requestMs: 100, headersMs: 100 });

beforeAll(async () => {
  number = await port.listen(0);
  const authority = await newAuthority('managedhsm.localhost');
  ca = authority.certificate;
  port.open(await controlLeaf(authority), (request, response) => {
    request.resume().on('end', () => response.end('answered'));
  });
});
afterAll(() => port.close());

function dial(): TLSSocket {
  return connect({ host: '127.0.0.1', port: number, servername: 'localhost', ca }).on(
    'error',
    () => undefined,
  );
}

test.each([
  ['a body', 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n'],
  ['the end of the headers', 'POST / HTTP/1.1\r\nHost: localhost\r\n'],
])('control port: %s that never comes ends the connection', async (_what, text) => {
  const socket = dial();
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(text);
  await once(socket, 'close');
  expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1.1 408 /);
});

test('control port: a whole request is answered', async () => {
  const socket = dial();
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 200 /);
  socket.destroy();
});

test('control port: a port in use is an error, not a silence', async () => {
  const second = new ControlPort();
  await expect(second.listen(number)).rejects.toThrow(/EADDRINUSE/);
});
