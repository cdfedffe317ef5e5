// The client of a storage against a server that does what a storage should not: no host but the allowed one is asked,
// tries are bounded, and no error tells the token.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { openContainer, type Container } from '../../../../src/instance/hsm/full-backup/container.js';
import { JobFailure } from '../../../../src/instance/hsm/full-backup/failure.js';
import { controlLeaf, newAuthority } from '../../../../src/fabric/control/authority.js';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let other: Server;
let ca: string;
let foreign: string;
let answer: Answer;
let asked: string[];
let askedOther: number;
let container: Container;

const portOf = (one: Server): number => (one.address() as AddressInfo).port;
const open = (authority: string): Container => {
  const host = `localhost:${portOf(server)}`;
  return openContainer({
    url: `https://${host}/account/backups`,
    token: '?sv=2026&sig=secret',
    host: { host, ca: authority },
  });
};

beforeAll(async () => {
  const authority = await newAuthority('managedhsm.localhost');
  ca = authority.certificate;
  foreign = (await newAuthority('managedhsm.localhost')).certificate;
  const leaf = await controlLeaf(authority);
  const tls = { key: leaf.key, cert: leaf.certificate };
  server = createServer(tls, (request, response) => {
    asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
    request.resume().on('end', () => answer(request, response));
  });
  other = createServer(tls, (_request, response) => {
    askedOther += 1;
    response.end();
  });
  for (const one of [server, other])
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
});
beforeEach(() => {
  [asked, askedOther] = [[], 0];
  container = open(ca);
});
afterEach(() => container.close());
afterAll(() => {
  for (const one of [server, other]) one.close().closeAllConnections();
});

const says =
  (status: number, code?: string, headers: Record<string, string> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { ...headers, ...(code !== undefined && { 'x-ms-error-code': code }) });
    response.end();
  };

async function failure(of: Promise<unknown>): Promise<string> {
  const error: unknown = await of.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(JobFailure);
  const { code, message, stack, cause } = error as JobFailure;
  for (const text of [message, stack, JSON.stringify(error), String(cause)])
    expect(text).not.toContain('secret');
  return code;
}

test('a blob is written with its token, and read as it is', async () => {
  answer = says(201);
  await container.put('f/part', Buffer.from('abc'));
  expect(asked).toEqual(['PUT /account/backups/f/part?sv=2026&sig=secret']);
  answer = (_request, response) => response.writeHead(200, { 'Content-Length': '3', ETag: '"1"' }).end('abc');
  expect((await container.get('f/part', 3))?.toString()).toBe('abc');
  expect(await failure(container.get('f/part', 2))).toBe('BackupCorrupt');
});

test.each([301, 302, 307, 308])('%i to another host is not followed', async (status) => {
  answer = says(status, undefined, { Location: `https://localhost:${portOf(other)}/account/backups/x` });
  expect(await failure(container.get('x', 9))).toMatch(/^Storage(Failed|Forbidden)$/);
  expect(askedOther).toBe(0);
});

test('nor is one to the same host without TLS, or under another of its names', async () => {
  for (const location of [
    `http://localhost:${portOf(server)}/account/backups/y`,
    `https://127.0.0.1:${portOf(server)}/account/backups/y`,
  ]) {
    asked = [];
    answer = says(307, undefined, { Location: location });
    expect(await failure(container.get('x', 9))).toMatch(/^Storage(Failed|Forbidden)$/);
    expect(asked.filter((line) => line.includes('/y'))).toEqual([]);
  }
});

test.each([
  [403, 'AuthenticationFailed', 'StorageForbidden'],
  [403, 'AuthorizationPermissionMismatch', 'StorageForbidden'],
  [401, 'NoAuthenticationInformation', 'StorageForbidden'],
  [404, 'ContainerNotFound', 'StorageNotFound'],
  [409, 'BlobImmutableDueToPolicy', 'StorageFailed'],
  [400, 'sig=secret', 'StorageFailed'],
])('%i %s is %s, at the first try', async (status, code, expected) => {
  answer = says(status, code);
  expect(await failure(container.put('x', Buffer.of(1)))).toBe(expected);
  expect(asked).toHaveLength(1);
});

test('a blob that is there already stays, and one that is not there is nothing', async () => {
  answer = says(409, 'BlobAlreadyExists');
  expect(await container.putNew('x', Buffer.of(1))).toBe(false);
  answer = says(404, 'BlobNotFound');
  expect(await container.get('x', 9)).toBeUndefined();
});

test.each([
  ['that breaks connections', (request: IncomingMessage) => request.socket.destroy()],
  ['that has too much to do', says(503, 'ServerBusy')],
] as [string, Answer][])(
  'a storage %s is asked again, a few times',
  async (_what, how) => {
    answer = how;
    expect(['StorageUnreachable', 'StorageFailed']).toContain(
      await failure(container.put('x', Buffer.of(1))),
    );
    expect(asked.length).toBeGreaterThan(1);
    expect(asked.length).toBeLessThanOrEqual(5);
    // It comes back in time.
    let tries = 0;
    answer = (request, response) => (++tries < 3 ? how(request, response) : says(201)(request, response));
    await container.put('x', Buffer.of(1));
  },
  60_000,
);

test('a certificate of another authority opens nothing', async () => {
  answer = says(201);
  const wrong = open(foreign);
  expect(await failure(wrong.put('x', Buffer.of(1)))).toBe('StorageUnreachable');
  expect(asked).toEqual([]);
  wrong.close();
}, 60_000);
