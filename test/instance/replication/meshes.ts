// Meshes over real TLS with certificates of their own and evidence of one host, a place between two of them where the
// line can be cut, and somebody who speaks TLS by hand.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import {
  SoftwareAttestor,
  type AllowedInstances,
  type SoftwareAttestorOptions,
} from '../../../src/instance/replication/attestor.js';
import { ownIdentity } from '../../../src/instance/replication/identity.js';
import { Mesh, type Identity, type LinkHarm } from '../../../src/instance/replication/mesh.js';
import { decode, encode } from '../../../src/values/cbor.js';
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

/** A new host's key, PEM. */
export function newHostKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** The host of all members, and what they run. */
export const HOST_KEY = newHostKey();
export const MEASUREMENT = 'ab'.repeat(32);

/** What a member trusts; may be changed under its feet. */
export interface Trusting {
  allowed: AllowedInstances;
}

export function attestorOf(
  instance: number,
  changes: Partial<SoftwareAttestorOptions> = {},
): { readonly attestor: SoftwareAttestor; readonly trusting: Trusting } {
  const trusting: Trusting = { allowed: { hosts: [], measurements: [MEASUREMENT] } };
  const attestor = new SoftwareAttestor({
    pool: 'dev',
    instance,
    hostKey: HOST_KEY,
    measure: () => MEASUREMENT,
    allowed: () => trusting.allowed,
    ...changes,
  });
  trusting.allowed = { ...trusting.allowed, hosts: [hostOf(HOST_KEY)] };
  return { attestor, trusting };
}

/** A host as it is enrolled. */
export function hostOf(hostKey: string): string {
  const options = {
    pool: '',
    instance: 0,
    measure: () => '',
    allowed: () => ({ hosts: [], measurements: [] }),
  };
  return new SoftwareAttestor({ ...options, hostKey }).host;
}

/** A mesh that listens, with what it has said so far. */
export interface Station {
  readonly mesh: Mesh;
  readonly identity: Identity;
  readonly trusting: Trusting;
  /** `refused 1: why` and `rejected 1: why` as they came. */
  readonly said: string[];
  /** `linked 1`, `unlinked 1` and messages as they came. */
  readonly heard: unknown[];
  /** As the others are told of it. */
  readonly peer: Peer;
}

export async function station(
  instance: number,
  identity?: Identity,
  changes?: Partial<SoftwareAttestorOptions>,
  harm?: (member: number) => LinkHarm,
): Promise<Station> {
  const shown = identity ?? (await identityOf(instance));
  const { attestor, trusting } = attestorOf(instance, changes);
  const mesh = await Mesh.listen(shown, attestor, harm);
  leftovers.push(() => mesh.close());
  const heard: unknown[] = [];
  mesh.on('linked', (member) => heard.push(`linked ${member}`));
  mesh.on('unlinked', (member) => heard.push(`unlinked ${member}`));
  mesh.on('message', (_member, message) => heard.push(message));
  const said: string[] = [];
  mesh.on('refused', (member, reason) => said.push(`refused ${member}: ${reason}`));
  mesh.on('rejected', (member, reason) => said.push(`rejected ${member}: ${reason}`));
  return {
    mesh,
    identity: shown,
    trusting,
    said,
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

export function frameOf(body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

/** What evidence on the connection is bound to. */
export function bindingOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(32, 'EXPORTER-trivet-evidence', Buffer.alloc(0));
}

/** The first frame that a mesh has sent, once it is whole. */
export function openingIn(received: readonly Buffer[]): Readonly<Record<string, unknown>> | undefined {
  const all = Buffer.concat(received);
  if (all.length < 4 || all.length < 4 + all.readUInt32BE(0)) return undefined;
  return decode(all.subarray(4, 4 + all.readUInt32BE(0))) as Record<string, unknown>;
}

/** Shows evidence made by `evidence` for the connection; gives what the mesh answered, if it did before it hung up. */
export async function showEvidence(
  hand: Hand,
  evidence: (binding: Buffer) => Buffer,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  await once(hand.socket, 'secureConnect');
  hand.socket.write(frameOf(encode({ evidence: evidence(bindingOf(hand.socket)) })));
  let gone = false;
  void hand.ended.then(() => (gone = true));
  await until(() => gone || openingIn(hand.received) !== undefined);
  return openingIn(hand.received);
}

/** Dials as a member does, and is let in. */
export async function linkByHand(port: number, instance: number, identity: Identity): Promise<Hand> {
  const hand = dialByHand(port, credentials(identity));
  const { attestor } = attestorOf(instance);
  const answer = await showEvidence(hand, (binding) => attestor.evidence(binding, { role: 'link' }));
  if (!answer || !('evidence' in answer)) throw new Error(`not let in: ${String(answer?.['refused'])}`);
  hand.socket.write(frameOf(Buffer.alloc(0)));
  return hand;
}
