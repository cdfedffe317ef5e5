// The server under the API: Express kept fast, connections taken over, slow and broken clients, leaving.
import { connect, createServer as createTcpServer, Socket, type AddressInfo } from 'node:net';
import { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import express from 'express';
import { classesOf } from '../../../src/instance/api/server.js';
import { DOMAIN, Served } from './served.js';

let served: Served;
beforeEach(async () => {
  served = await Served.start(200);
});
afterEach(() => served.stop());

/** Resolves with all that comes until the other side ends. */
function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (part) => (text += part.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

function open(port = served.port): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      servername: `dev.${DOMAIN}`,
      rejectUnauthorized: false,
    });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

const HEAD = `Host: dev.${DOMAIN}\r\n`;

describe('prototypes', () => {
  it('Express finds the prototypes of request and response as it wants them', () => {
    const app = express();
    const { IncomingMessage: Request, ServerResponse: Response } = classesOf(app);
    const request = new Request(new Socket());
    const response = new Response(request);
    expect(request).toBeInstanceOf(IncomingMessage);
    expect(response).toBeInstanceOf(ServerResponse);
    expect(Object.getPrototypeOf(request)).toBe(app.request);
    expect(Object.getPrototypeOf(response)).toBe(app.response);
    expect(typeof app.response.json).toBe('function');
  });

  it('handling a request changes no prototype', async () => {
    const changed: unknown[] = [];
    const set = Object.setPrototypeOf.bind(Object);
    const spy = jest
      .spyOn(Object, 'setPrototypeOf')
      .mockImplementation((object: unknown, prototype: object | null) => {
        if (object instanceof IncomingMessage || object instanceof ServerResponse) {
          if (Object.getPrototypeOf(object) !== prototype) changed.push(object);
        }
        return set(object, prototype) as unknown;
      });
    try {
      expect((await served.ask('POST', '/rng', { body: { count: 1 } })).status).toBe(200);
      expect(spy.mock.calls.some(([object]) => object instanceof IncomingMessage)).toBe(true);
      // The client of this test makes plain messages of its own; Express never sees those.
      expect(changed).toEqual([]);
    } finally {
      spy.mockRestore();
    }
  });
});

describe('connections', () => {
  it('one that another process accepted is served, with the bytes that were read from it', async () => {
    const doorway = createTcpServer((socket) => {
      socket.once('data', (head) => {
        socket.pause();
        served.server.adopt(socket, head);
      });
    });
    await new Promise<void>((resolve) => doorway.listen(0, '127.0.0.1', resolve));
    const socket = await open((doorway.address() as AddressInfo).port);
    socket.write(`GET /keys HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`);
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 401 /);
    doorway.close();
  });

  it('a body that never comes ends in 408', async () => {
    const socket = await open();
    socket.write(
      `POST /rng?api-version=7.4 HTTP/1.1\r\n${HEAD}Authorization: Bearer ${served.token}\r\nContent-Length: 5\r\n\r\n{`,
    );
    const text = await readAll(socket);
    expect(text).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(text).toMatch(/\{"error":\{"code":"RequestTimeout","message":"[^"]+ \(Activity ID: /);
  });

  it('headers that never end end in 408', async () => {
    const socket = await open();
    socket.write('GET /keys HTTP/1.1\r\nX: ');
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('headers over 32 KiB end in 431, what is no HTTP in 400', async () => {
    const long = await open();
    long.write(`GET /keys HTTP/1.1\r\n${HEAD}X: ${'x'.repeat(40_000)}\r\n\r\n`);
    expect(await readAll(long)).toMatch(/^HTTP\/1\.1 431 /);
    const odd = await open();
    odd.write('what is this\r\n\r\n');
    expect(await readAll(odd)).toMatch(
      /^HTTP\/1\.1 400 Bad Request\r\n[^]*\{"error":\{"code":"BadParameter"/,
    );
  });

  it('who is refused for its headers hears it, however much more it sends', async () => {
    const socket = await open();
    socket.pause();
    socket.write(`GET /keys HTTP/1.1\r\n${HEAD}X: ${'x'.repeat(40_000)}`);
    // It looks at what it was told only when all is sent.
    for (let piece = 0; piece < 200; piece += 1) {
      await new Promise((resolve) => socket.write('x'.repeat(1_000), resolve));
    }
    const answer = readAll(socket);
    socket.resume();
    expect(await answer).toMatch(/^HTTP\/1\.1 431 [^]*Activity ID/);
  });

  it('a request is answered before the bytes behind it are refused', async () => {
    const socket = await open();
    const answer = readAll(socket);
    const body = '{"kty":"EC"}';
    socket.write(
      `POST /keys/before/create?api-version=7.6 HTTP/1.1\r\n${HEAD}Authorization: Bearer ${served.token}\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}what is this\r\n\r\n`,
    );
    const statuses = [...(await answer).matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)].map(([, status]) => status);
    expect(statuses).toEqual(['200', '400']);
  });

  it('an expectation that nobody knows is ignored: the caller is asked who it is, as ever', async () => {
    const socket = await open();
    const answer = readAll(socket);
    socket.write(
      `POST /rng?api-version=7.6 HTTP/1.1\r\n${HEAD}Expect: the-unexpected\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(await answer).toMatch(/^HTTP\/1\.1 401 [^]*\r\nWWW-Authenticate: Bearer authorization=/i);
  });

  it('a client that speaks no TLS, or goes away in the middle, does no harm', async () => {
    const plain = connect(served.port, '127.0.0.1');
    plain.write('GET / HTTP/1.1\r\n\r\n');
    plain.on('error', () => undefined);
    await new Promise((resolve) => plain.once('close', resolve));
    const socket = await open();
    socket.write(
      `POST /rng?api-version=7.4 HTTP/1.1\r\n${HEAD}Authorization: Bearer ${served.token}\r\nContent-Length: 5\r\n\r\n{`,
    );
    socket.destroy();
    expect((await served.ask('GET', '/keys')).status).toBe(200);
    expect(served.log).toEqual([]);
  });
});

describe('drain', () => {
  it('finishes a running request, then ends its connection', async () => {
    let decide: () => void = () => undefined;
    served.hsm.undecided = new Promise((resolve) => (decide = resolve));
    const running = served.ask('GET', '/keys');
    while (served.hsm.waitedFor.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const idle = await open();
    const ended = readAll(idle);
    const drained = served.server.drain();
    decide();
    expect((await running).status).toBe(200);
    idle.end();
    await ended;
    await drained;
  });
});
