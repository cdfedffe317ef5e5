// What tests of the fabric stand on: a private directory, and instances that are not real but serve TLS.
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { AddressInfo } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { issueCertificate, keyIdOf, toPem } from '../../../src/values/certificate.js';

export const program = { script: join(__dirname, 'fake-instance.cjs') };

let made = 0;

export interface Wish {
  /** These instances say that they failed. */
  readonly fails?: number | readonly number[];
  /** This one aborts without a word. */
  readonly crashes?: number;
  /** This one reports another TLS root than the others. */
  readonly disagrees?: number;
  /** This one reports another owner than the others. */
  readonly disagreesOnOwner?: number;
  /** They speak no TLS and give back every byte. */
  readonly raw?: true;
  /** This one says nothing of a clock that is moved. */
  readonly silent?: number;
  /** This one says nothing of network rules that are changed. */
  readonly mutinous?: number;
  /** None finishes when told to. */
  readonly deaf?: true;
  /** This one says that its store is broken, if it has one. */
  readonly damaged?: number;
  /** This one does not open its store. */
  readonly closed?: number;
  /** This one asks for no lease. */
  readonly mute?: number;
  /** These have no links. */
  readonly apart?: readonly number[];
  /** The primary says that changes wait for these. */
  readonly stuck?: readonly number[];
  /** This one accuses the primary. */
  readonly accuses?: number;
  /** The primary does not propose this one. */
  readonly excluded?: number;
  /** This one comes to the others' index only when asked a third time. */
  readonly lags?: number;
  /** This one holds something else. */
  readonly differs?: number;
}

/** A directory that is gone after the tests of the file. */
export function privateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-fabric-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Changes what instances do wrong from now on; what is not given is as it should be. */
export function changeWish(module: string, wish: Wish): void {
  const { key, certificate, root } = JSON.parse(readFileSync(module, 'utf8')) as Record<string, string>;
  // Renamed into place: they may be reading it.
  writeFileSync(`${module}.new`, JSON.stringify({ ...wish, key, certificate, root }));
  renameSync(`${module}.new`, module);
}

/** Writes what the fake instances need; the path goes in the place of the PKCS#11 module. */
export async function fakeModule(
  directory: string,
  wish: Wish = {},
): Promise<{ module: string; root: string }> {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const both = {
    issuer: { commonName: 'a pool' },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    sign: (tbs: Buffer): Buffer => sign('sha256', tbs, authority.privateKey),
  };
  const authoritySpki = authority.publicKey.export({ format: 'der', type: 'spki' });
  const root = toPem(
    await issueCertificate({
      ...both,
      subject: both.issuer,
      publicKey: authoritySpki,
      authority: true,
    }),
  );
  const certificate = toPem(
    await issueCertificate({
      ...both,
      subject: { commonName: 'an instance' },
      publicKey: server.publicKey.export({ format: 'der', type: 'spki' }),
      names: { dns: ['*.managedhsm.localhost', 'localhost'], ip: ['127.0.0.1'] },
      authority: false,
      usages: ['serverAuth'],
      authorityKeyId: keyIdOf(authoritySpki),
    }),
  );
  const module = join(directory, `module-${(made += 1)}.json`);
  const key = server.privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(module, JSON.stringify({ ...wish, key, certificate, root }));
  return { module, root };
}

/** The first bytes that Node's TLS sends, for real. */
export function helloOf(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (bytes) => {
        socket.destroy();
        server.close();
        resolve(bytes);
      });
    });
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      connect({ host: '127.0.0.1', port, ...options }).on('error', () => undefined);
    });
  });
}

/** Resolves once no process with this id exists. Polls: the process is nobody's child here. */
export async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Resolves once the condition holds; polls, since what it asks may be told by nobody. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
