// Meshes over real TLS with certificates of their own, a place between two of them where the line can be cut, and
// somebody who speaks TLS by hand.
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { ownIdentity } from '../../../src/instance/replication/identity.js';
import { Mesh, type Identity } from '../../../src/instance/replication/mesh.js';
import type { Peer } from '../../../src/values/messages.js';

const leftovers: (() => void)[] = [];

/** Ends and removes everything that was made since the last time. */
export function clear(): void {
  for (const end of leftovers.splice(0).reverse()) end();
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-mesh-'));
  leftovers.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function identityOf(instance: number): Promise<Identity> {
  return ownIdentity(temporaryDirectory(), 'dev', instance);
}

/** A mesh that listens, with what it has said so far. */
export interface Station {
  readonly mesh: Mesh;
  readonly identity: Identity;
  /** `linked 1`, `unlinked 1` and messages as they came. */
  readonly heard: unknown[];
  /** As the others are told of it. */
  readonly peer: Peer;
}

export async function station(instance: number, identity?: Identity): Promise<Station> {
  const shown = identity ?? (await identityOf(instance));
  const mesh = await Mesh.listen(shown);
  leftovers.push(() => mesh.close());
  const heard: unknown[] = [];
  mesh.on('linked', (member) => heard.push(`linked ${member}`));
  mesh.on('unlinked', (member) => heard.push(`unlinked ${member}`));
  mesh.on('message', (_member, message) => heard.push(message));
  return {
    mesh,
    identity: shown,
    heard,
    peer: { instance, certificate: shown.certificate, port: mesh.port },
  };
}

/** Waits until it is so. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A line to a port that can be cut. */
export interface Line {
  readonly port: number;
  /** How often somebody has dialled. */
  readonly dialled: number;
  /** Ends the connections that run over it; new ones are possible. */
  cut(): void;
}

export async function lineTo(port: number): Promise<Line> {
  const open = new Set<Socket>();
  let dialled = 0;
  const server: Server = createServer((near) => {
    dialled += 1;
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  leftovers.push(() => {
    server.close();
    cut();
  });
  return {
    port: (server.address() as AddressInfo).port,
    get dialled() {
      return dialled;
    },
    cut,
  };
}

/** Somebody who dials a mesh and then does as they like. */
export interface Hand {
  readonly socket: TLSSocket;
  readonly received: Buffer[];
  /** Resolves with what ended the connection. */
  readonly ended: Promise<Error | undefined>;
}

export function dialByHand(port: number, options: ConnectionOptions): Hand {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  leftovers.push(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  const ended = new Promise<Error | undefined>((resolve) => {
    let why: Error | undefined;
    socket.on('error', (error: Error) => (why = error));
    socket.on('close', () => resolve(why));
  });
  return { socket, received, ended };
}

export function credentials({ certificate, key }: Identity): ConnectionOptions {
  return { cert: certificate, key };
}
