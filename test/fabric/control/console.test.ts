// The server side of the console: its files and their headers on a whole fabric, and what is passed on to a pool, before
// the API of an instance with an HSM in memory behind it.
import express from 'express';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { readConsole } from '../../../src/fabric/control/console/files.js';
import { consoleRoutes } from '../../../src/fabric/control/console/routes.js';
import { answerErrors, ControlRefusal } from '../../../src/fabric/control/errors.js';
import { toPem } from '../../../src/values/certificate.js';
import { OPEN_NETWORK } from '../../../src/values/network.js';
import { STRANGER } from '../../instance/hsm/fake-hsm.js';
import { DATA_PORT, DOMAIN, RELAY, Served, tokenFor, type Json } from '../../instance/api/served.js';
import { privateDirectory } from '../programs/fake-pool.js';
import { startedFabric } from '../programs/started-fabric.js';
import type { StartedFabric } from '../programs/started-fabric.js';

const directory = privateDirectory();
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

describe('the page', () => {
  let started: StartedFabric;
  beforeAll(async () => {
    started = await startedFabric(directory);
  });
  afterAll(() => started.fabric.abandon());

  it('is for everybody, is kept by nobody, and runs nothing but its own files', async () => {
    const { status, headers, text } = await started.ask('/console/');
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    // It would hold for every other program on localhost.
    expect(headers['strict-transport-security']).toBeUndefined();
    expect(headers).toMatchObject({
      'content-security-policy': POLICY,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
    });
    expect(text).not.toMatch(
      /<style|style=|<script(?! type="module" src="console-[A-Z0-9]{8}\.js">)|\bon[a-z]+=/,
    );
    const named = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name);
    expect(named.map((name) => name.replace(/[A-Z0-9]{8}/, 'HASH')).sort()).toEqual([
      'console-HASH.js',
      'icon-HASH.svg',
      'style-HASH.css',
    ]);
    for (const name of named) {
      const file = await started.ask(`/console/${name}`);
      expect([name, file.status, file.headers['cache-control']]).toEqual([
        name,
        200,
        'public, max-age=31536000, immutable',
      ]);
      expect(file.headers).toMatchObject({
        'content-security-policy': POLICY,
        'x-content-type-options': 'nosniff',
      });
    }
  });

  it('is at the address with a slash', async () => {
    const { status, headers } = await started.ask('/console');
    expect([status, headers.location]).toEqual([308, '/console/']);
  });

  it.each([
    '/console/index.html',
    '/console/main.tsx',
    '/console/tsconfig.json',
    '/console/..%2fcli%2fmain.js',
    '/console/../admin.json',
    '/console/%2e%2e/cli/main.js',
    '/console/nothing.js',
    '/console/pools',
    '/console/pools/dev/data/',
    '/console/pools/dev/nothing/keys',
  ])('has nothing at %s', async (path) => {
    const { status, text } = await started.ask(path);
    expect(status).toBe(404);
    expect(text.startsWith('{"error":{"code":"NotFound"')).toBe(true);
  });

  it('takes nothing: every other method is unknown', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      expect((await started.ask('/console/', { method })).status).toBe(404);
      expect((await started.ask('/console/pools/dev/data/keys', { method })).status).toBe(404);
    }
  });

  it('reads nothing for nobody, and answers of the API are kept by nobody', async () => {
    const { status, headers } = await started.ask('/console/pools/dev/data/keys');
    expect([status, headers['www-authenticate'], headers['cache-control']]).toEqual([
      401,
      'Bearer',
      'no-store',
    ]);
    expect((await started.ask('/console/pools/dev/faults')).status).toBe(401);
    const faults = await started.ask('/console/pools/dev/faults', {
      headers: { Authorization: `Bearer ${await started.token()}` },
    });
    expect([faults.status, faults.json]).toEqual([200, { offered: false }]);
    const shown = await started.ask('/trivet/status', {
      headers: { Authorization: `Bearer ${await started.token()}` },
    });
    expect([shown.status, shown.headers['cache-control']]).toEqual([200, 'no-store']);
  });
});

test('the page: of its directory only what a page is made of is read, and a build that is missing is said', () => {
  const page = mkdtempSync(join(tmpdir(), 'trivet-page-'));
  try {
    mkdirSync(join(page, 'inner'));
    for (const name of ['index.html', 'a.js', 'a.js.map', 'notes.txt', '.hidden'])
      writeFileSync(join(page, name), name);
    expect([...readConsole(page)].map(([name, { lasting }]) => [name, lasting]).sort()).toEqual([
      ['a.js', true],
      ['index.html', false],
    ]);
    expect(readConsole(join(page, 'none')).size).toBe(0);
  } finally {
    rmSync(page, { recursive: true });
  }
});

describe('what is passed on to a pool', () => {
  let served: Served;
  let server: Server;
  let port: number;
  /** By the number of the instance, where it answers. */
  let doors: Map<number, { port: number; rootCertificate: string }>;

  beforeEach(async () => {
    served = await Served.start();
    doors = new Map([[0, { port: served.port, rootCertificate: await certificateAt(served.port) }]]);
    const pool = {
      name: 'dev',
      host: `dev.${DOMAIN}:${DATA_PORT}`,
      candidates: () => [...doors].map(([instance, report]) => ({ instance, report: report as never })),
      orders: {},
    };
    const app = express().set('query parser', 'simple');
    app.use(
      '/console',
      consoleRoutes({
        pool: (name) => (name === 'dev' ? pool : undefined),
        administrators: (_request, _response, next) => next(),
        files: new Map(),
      }),
    );
    app.use(() => {
      throw new ControlRefusal('NotFound', 'There is nothing.');
    });
    app.use(
      answerErrors((error) => {
        throw error;
      }),
    );
    server = createServer(app).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    ({ port } = server.address() as AddressInfo);
  });
  afterEach(async () => {
    server.close();
    await served.stop();
  });

  interface Asked {
    readonly token?: string | undefined;
    readonly from?: string;
    readonly method?: string;
  }

  function ask(
    path: string,
    { token = served.token, from, method = 'GET' }: Asked = {},
  ): Promise<{ status: number; json: Json }> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          port,
          host: '127.0.0.1',
          method,
          path: `/console/pools/dev/data/${path}`,
          headers: { Authorization: `Bearer ${token}`, 'x-trivet-relay': RELAY.secret },
          ...(from !== undefined && { localAddress: from }),
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () => {
            const text = Buffer.concat(parts).toString();
            const { statusCode: status = 0 } = response;
            resolve({ status, json: (text === '' ? {} : JSON.parse(text)) as Json });
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  const make = (name: string): Promise<unknown> =>
    served.ask('POST', `/keys/${name}/create`, { body: { kty: 'EC-HSM', crv: 'P-256' } });

  it('is each of a fixed list of reads, and nothing else', async () => {
    await make('k1');
    for (const path of [
      'keys',
      'keys/k1',
      'keys/k1/versions',
      'deletedkeys',
      'settings',
      'trivet/audit',
      'providers/microsoft.authorization/roledefinitions',
      'providers/Microsoft.Authorization/roleAssignments',
      'securitydomain/download/pending',
    ]) {
      expect([path, (await ask(path)).status]).toEqual([path, 200]);
    }
    for (const path of [
      'rng',
      'backup',
      'keys/k1/backup',
      'keys/k1/rotationpolicy/more',
      'keys/k1/0123',
      'securitydomain/upload',
      'trivet/trust',
      'keys/..',
      'keys/%2e%2e/settings',
      'keys/k1%2fversions',
      'keys/k1%3fapi-version=7.0',
      'keys/k1%0d%0aHost:%20example.com',
      '//example.com/keys',
      'https://example.com/keys',
    ]) {
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
    }
    expect((await ask('keys', { method: 'POST' })).status).toBe(404);
  });

  it('is what the pool answers, to the letter', async () => {
    await make('k1');
    const direct = await served.ask('GET', '/keys');
    expect((await ask('keys')).json).toEqual(direct.json);
  });

  it('has no more rights than the token', async () => {
    await make('k1');
    const stranger = await tokenFor(served.hsm, { oid: STRANGER });
    for (const path of ['keys', 'keys/k1', 'deletedkeys', 'settings', 'trivet/audit']) {
      const { status, json } = await ask(path, { token: stranger });
      expect([path, status, json['value'], json['key']]).toEqual([path, 403, undefined, undefined]);
    }
  });

  it('is for no token of the control plane, whatever the client says it is', async () => {
    const control = await tokenFor(served.hsm, { aud: RELAY.audiences[0] });
    expect((await ask('keys', { token: control })).status).toBe(401);
    expect((await ask('keys', { token: 'a.b.c' })).status).toBe(401);
    expect((await ask('keys', { token: '' })).status).toBe(401);
  });

  it('goes on where a page ended, and takes nothing else of the query', async () => {
    for (let key = 0; key < 26; key += 1) await make(`k${String(key).padStart(2, '0')}`);
    const first = await ask('keys?maxresults=1&api-version=7.0');
    expect((first.json['value'] as unknown as unknown[]).length).toBe(25);
    const [, place = ''] = /\$skiptoken=(.*)$/.exec(first.json['nextLink'] as unknown as string) ?? [];
    const second = await ask(`keys?$skiptoken=${place}`);
    expect((second.json['value'] as unknown as unknown[]).length).toBe(1);
    expect((await ask('keys?$skiptoken=a%26maxresults=1')).status).toBe(400);
  });

  it('says without a fault what is not there', async () => {
    expect((await ask('keys/nothing')).status).toBe(204);
    await make('k1');
    expect((await ask('keys/k1/rotationpolicy')).status).toBe(204);
  });

  it('comes from the address of who asks, which the firewall of the pool judges', async () => {
    served.firewall.change({ ...OPEN_NETWORK, defaultAction: 'Deny', ipRules: ['127.0.0.3'] });
    expect((await ask('keys', { from: '127.0.0.3' })).status).toBe(200);
    expect((await ask('keys', { from: '127.0.0.4' })).status).toBe(403);
    expect((await ask('keys')).status).toBe(403);
  });

  it('is asked of the partition that is named, and of no other', async () => {
    expect((await ask('trivet/audit?partition=0')).status).toBe(200);
    expect((await ask('trivet/audit?partition=1')).status).toBe(503);
    expect((await ask('trivet/audit?partition=3')).status).toBe(400);
    doors.clear();
    expect((await ask('keys')).status).toBe(503);
  });

  it('goes to a partition with the certificate of the pool, and to nobody who only has its port', async () => {
    const other = await Served.start();
    try {
      doors.set(0, { port: other.port, rootCertificate: await certificateAt(served.port) });
      expect((await ask('keys')).status).toBe(503);
      expect(other.audit.records).toEqual([]);
    } finally {
      await other.stop();
    }
  });
});

function certificateAt(at: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: at, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(toPem(socket.getPeerCertificate().raw));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
