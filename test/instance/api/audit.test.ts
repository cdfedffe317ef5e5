// What the audit log says of a request: who, what, how it ended; and what it never says.
import { once } from 'node:events';
import { connect } from 'node:tls';
import { namedOperation } from '../../../src/instance/api/operations.js';
import { routes } from '../../../src/instance/api/routes.js';
import { OPERATOR, STRANGER, TENANT } from '../hsm/fake-hsm.js';
import { DATA_PORT, DOMAIN, Served, textOf, tokenFor } from './served.js';

let served: Served;
beforeAll(async () => {
  served = await Served.start(600);
});
afterAll(() => served.stop());
beforeEach(() => {
  served.audit.lines.length = 0;
  served.audit.stopped = undefined;
  served.audit.refusals = 0;
  served.audit.disk = Promise.resolve();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const only = (): Record<string, unknown> => {
  expect(served.audit.records).toHaveLength(1);
  return served.audit.records[0] ?? {};
};

describe('audit records', () => {
  test('every route has the name of an operation', () => {
    const nameless = routes.filter((route) => namedOperation(route) === undefined);
    expect(nameless.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
    for (const route of routes) {
      // What is only read is never a change, and what is put or deleted always is. The first one to ask for the
      // transfer key makes it.
      if (route.method === 'GET' && route.path !== 'securitydomain/upload')
        expect(namedOperation(route)?.changes).toBe(false);
      if (['PUT', 'PATCH', 'DELETE'].includes(route.method))
        expect(namedOperation(route)?.changes).toBe(true);
    }
  });

  test('a request is recorded in the schema of the service', async () => {
    const token = await tokenFor(served.hsm, { appid: 'an-app', upn: 'me@example.org' });
    const headers = { 'user-agent': 'azsdk-test/1.0 "quoted"' };
    const path = '/keys?api-version=7.4&maxresults=5&$filter=private';
    const { headers: answered } = await served.ask('GET', path, { token, headers });
    const record = only();
    expect(record).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      category: 'AuditEvent',
      operationName: 'KeyList',
      operationVersion: '7.4',
      resultType: 'Success',
      resultSignature: 'OK',
      resultDescription: '',
      httpStatusCode: 200,
      durationMs: expect.any(Number) as number,
      callerIpAddress: '127.0.0.1',
      identity: expect.any(String) as string,
      clientInfo: 'azsdk-test/1.0 "quoted"',
      correlationId: answered['x-ms-request-id'],
      requestUri: `https://dev.${DOMAIN}:${DATA_PORT}/keys?api-version=7.4`,
      TenantId: TENANT,
      PoolName: 'dev',
      resource: 'DEV',
      resourceProvider: 'MICROSOFT.KEYVAULT',
      resourceType: 'managedHSMs',
      properties: { PoolType: 'M-HSM', sku_Family: 'B', sku_Name: 'Standard_B1' },
    });
    expect(Math.abs(Date.parse(String(record['time'])) - Date.now())).toBeLessThan(60_000);
    expect(JSON.parse(String(record['identity']))).toEqual({
      claim: {
        appid: 'an-app',
        http_schemas_microsoft_com_identity: { claims: { objectidentifier: OPERATOR } },
        http_schemas_xmlsoap_org_ws_2005_05_identity: { claims: { upn: 'me@example.org' } },
      },
    });
  });

  test('requests that differ in one thing only are told apart', async () => {
    const other = await tokenFor(served.hsm, { oid: STRANGER });
    await served.ask('GET', '/keys', { headers: { 'user-agent': 'one' } });
    await served.ask('GET', '/keys', { headers: { 'user-agent': 'two' } });
    await served.ask('GET', '/keys', { headers: { 'user-agent': 'two' }, token: other });
    await served.ask('GET', '/keys', { headers: { 'user-agent': 'two' } });
    const seen = served.audit.records.map(({ clientInfo, httpStatusCode, identity }) => [
      clientInfo,
      httpStatusCode,
      String(identity).includes(STRANGER),
    ]);
    expect(seen).toEqual([
      ['one', 200, false],
      ['two', 200, false],
      ['two', 403, true],
      ['two', 200, false],
    ]);
  });

  test('refusals are recorded with their status and a code; the question for a token is not', async () => {
    const stranger = await tokenFor(served.hsm, { oid: STRANGER });
    const expired = await tokenFor(served.hsm, { exp: served.hsm.now() - 1 });
    await served.ask('GET', '/keys', { token: null });
    expect(served.audit.lines).toEqual([]);
    await served.ask('GET', '/keys', { token: expired });
    await served.ask('GET', '/keys', { token: 'no.token.atall' });
    await served.ask('POST', '/keys/k/sign', { token: stranger, body: { alg: 'ES256', value: 'AAAA' } });
    await served.ask('GET', '/keys/nothing');
    await served.ask('GET', '/no/such/path/here');
    await served.ask('DELETE', '/keys');
    await served.ask('POST', '/keys/k/create', { raw: '{' });
    await served.ask('GET', '/keys?api-version=1.0');
    const seen = served.audit.records.map((record) => [
      record['operationName'],
      record['httpStatusCode'],
      record['resultType'],
      record['resultSignature'],
      record['resultDescription'],
    ]);
    expect(seen).toEqual([
      ['Authentication', 401, 'Failure', 'Unauthorized', 'The token has expired'],
      ['Authentication', 401, 'Failure', 'Unauthorized', 'The issuer of the token is not trusted'],
      ['KeySign', 403, 'Failure', 'Forbidden', 'NotPermitted'],
      ['KeyGet', 404, 'Failure', 'NotFound', 'KeyNotFound'],
      ['Unknown', 404, 'Failure', 'NotFound', 'NoSuchPath'],
      ['Unknown', 405, 'Failure', 'MethodNotAllowed', 'NoSuchMethod'],
      ['KeyCreate', 400, 'Failure', 'BadRequest', 'MalformedJson'],
      ['Unknown', 400, 'Failure', 'BadRequest', expect.any(String)],
    ]);
    expect(served.audit.records[0]?.['identity']).toBe('{}');
  });

  test('what a client sends beyond path and api-version is not in the record', async () => {
    const secret = 'c2VjcmV0LXZhbHVlLW9mLXRoZS1ib2R5';
    const long = `/keys/${'a'.repeat(200)}${secret}`;
    await served.ask('POST', `/keys/k/create?api-version=7.4&sig=${secret}`, { body: { kty: secret } });
    await served.ask('POST', '/keys/k/sign', { body: { alg: secret, value: secret } });
    await served.ask('GET', long);
    await served.ask('GET', `https://user:${secret}@host/keys/k?api-version=7.4`);
    await served.ask('GET', '/keys', { token: `${secret}.${secret}.${secret}` });
    await served.ask('GET', '/keys', { headers: { 'user-agent': 'u'.repeat(1_000) } });
    expect(served.audit.records.map(({ httpStatusCode }) => httpStatusCode)).toEqual([
      400, 404, 400, 404, 401, 200,
    ]);
    const all = served.audit.lines.join('\n');
    expect(all).not.toContain(secret);
    expect(all).not.toContain(served.token);
    expect(all).not.toContain(served.token.split('.')[2] ?? served.token);
    expect(String(served.audit.records[5]?.['clientInfo'])).toBe('u'.repeat(256));
    for (const line of served.audit.lines) expect(line.length).toBeLessThan(3_000);
  });

  test('a path of a hundred kilobytes of slashes or quotes stays short and one line', async () => {
    await served.ask('GET', `/keys/${'"\\'.repeat(2_000)}`);
    await served.ask('GET', `/${'a/'.repeat(5_000)}`);
    for (const { requestUri } of served.audit.records) expect(String(requestUri).length).toBeLessThan(600);
    expect(served.audit.lines.join('').includes('\n')).toBe(false);
  });

  test('a change is answered when its record is on the disk, and not before', async () => {
    let written: () => void = () => undefined;
    served.audit.disk = new Promise((resolve) => (written = resolve));
    let answered = false;
    const create = served.ask('POST', '/keys/durable/create', { body: { kty: 'EC' } });
    void create.then(() => (answered = true));
    await until(() => served.audit.lines.length === 1);
    // Others are not held up by it.
    expect((await served.ask('GET', '/keys/durable')).status).toBe(200);
    expect(answered).toBe(false);
    written();
    expect((await create).status).toBe(200);
    expect(served.audit.records[0]).toMatchObject({ operationName: 'KeyCreate', httpStatusCode: 200 });
  });

  test('a change whose record cannot be written is answered with an unknown outcome, and once in the log', async () => {
    const { Outage } = await import('../../../src/instance/hsm/outage.js');
    const reason = new Outage('OutcomeUnknown', 'It was carried out, but could not be recorded: full.');
    served.audit.disk = Promise.reject(reason);
    served.audit.disk.catch(() => undefined);
    const { status, json } = await served.ask('POST', '/keys/unrecorded/create', { body: { kty: 'EC' } });
    expect(status).toBe(503);
    expect(textOf(json['error']?.['message'])).toMatch(/^Outcome unknown: .* could not be recorded: full/);
    expect(served.audit.lines).toHaveLength(1);
  });

  test('while nothing can be recorded nothing is done, with the reason, and the refusals are counted', async () => {
    served.audit.stopped = 'the audit log cannot be written: ENOSPC: no space left on device, write';
    const before = served.hsm.submitted.length;
    const { status, json, headers } = await served.ask('POST', '/keys/late/create', { body: { kty: 'EC' } });
    expect([status, headers['retry-after']]).toEqual([503, '5']);
    expect(textOf(json['error']?.['message'])).toMatch(/was not carried out. .*no space left on device/);
    expect((await served.ask('GET', '/keys')).status).toBe(503);
    // To ask where to get a token is still answered.
    expect((await served.ask('GET', '/keys', { token: null })).status).toBe(401);
    expect(served.hsm.submitted.length).toBe(before);
    expect(served.audit.refusals).toBe(2);
    expect(served.audit.lines).toEqual([]);
  });

  test('a client that leaves in the middle of its request, or is too slow, is recorded', async () => {
    const begun = (): ReturnType<typeof connect> => {
      const socket = connect({ port: served.port, host: '127.0.0.1', rejectUnauthorized: false });
      socket.on('error', () => undefined);
      socket.write(
        `POST /keys/k/sign?api-version=7.4 HTTP/1.1\r\nHost: dev.${DOMAIN}:${DATA_PORT}\r\n` +
          `Authorization: Bearer ${served.token}\r\nContent-Length: 100\r\n\r\n{"alg":`,
      );
      return socket;
    };
    const heard = once(served.server.https, 'request');
    const leaving = begun();
    await heard;
    leaving.destroy();
    await until(() => served.audit.lines.length === 1);
    expect(only()).toMatchObject({
      operationName: 'KeySign',
      httpStatusCode: 499,
      resultType: 'Failure',
      resultDescription: 'ClientLeft',
    });
    begun();
    await until(() => served.audit.lines.length === 2);
    expect(served.audit.records[1]).toMatchObject({ operationName: 'KeySign', httpStatusCode: 499 });
  });

  test('a client that leaves while its request is being served is recorded once, with what became of it', async () => {
    let release: () => void = () => undefined;
    served.hsm.undecided = new Promise((resolve) => (release = resolve));
    const socket = connect({ port: served.port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('error', () => undefined);
    socket.write(
      `POST /keys/nothing/sign?api-version=7.4 HTTP/1.1\r\nHost: dev.${DOMAIN}:${DATA_PORT}\r\n` +
        `Authorization: Bearer ${served.token}\r\nContent-Length: 30\r\n\r\n{"alg":"ES256","value":"AAAA"}`,
    );
    const before = served.hsm.waitedFor.length;
    await until(() => served.hsm.waitedFor.length > before);
    const closed = new Promise((resolve) => served.server.https.getConnections((_e, n) => resolve(n)));
    socket.destroy();
    await closed;
    served.hsm.undecided = undefined;
    release();
    await until(() => served.audit.lines.length > 0);
    expect((await served.ask('GET', '/keys')).status).toBe(200);
    expect(
      served.audit.records.map(({ operationName, httpStatusCode }) => [operationName, httpStatusCode]),
    ).toEqual([
      ['KeySign', expect.any(Number)],
      ['KeyList', 200],
    ]);
    expect(served.audit.records[0]?.['httpStatusCode']).not.toBe(499);
  });
});
