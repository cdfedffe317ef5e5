// What a pool trusts, asked and changed at its data plane, as its Administrator.
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { PublishingIssuer } from '../../values/messages.js';
import { connectPool, print } from '../ask.js';
import { CommandError } from '../failure.js';

const VERSION = 'api-version=7.6';

export interface PoolOptions {
  dataDir: string;
  pool?: string;
  json?: true;
}

/** As the pool answers. */
interface Trust {
  readonly hosts: readonly { readonly id: string }[];
  readonly issuers: readonly { readonly issuer: string; readonly pinned: boolean }[];
  readonly measurements: readonly string[];
  readonly running: string;
}

export async function listTrust(options: PoolOptions): Promise<void> {
  const pool = await connectPool(options.dataDir, options.pool);
  show(options, (await pool.call('GET', `/trivet/trust?${VERSION}`)) as Trust);
}

/** Adds or removes an entry by its name in the path; shows what is trusted then. */
export async function changeTrust(
  options: PoolOptions,
  method: 'PUT' | 'DELETE',
  list: 'hosts' | 'measurements' | 'issuers',
  id: string,
  body?: object,
): Promise<void> {
  const pool = await connectPool(options.dataDir, options.pool);
  show(options, (await pool.call(method, `/trivet/trust/${list}/${id}?${VERSION}`, body)) as Trust);
}

export async function addHost(options: PoolOptions, file: string): Promise<void> {
  const spki = publicKeyIn(file);
  const body = { publicKey: spki.toString('base64url') };
  await changeTrust(options, 'PUT', 'hosts', sha256(spki), body);
}

export async function addIssuer(options: PoolOptions, issuer: PublishingIssuer): Promise<void> {
  await changeTrust(options, 'PUT', 'issuers', sha256(issuer.issuer), issuer);
}

export async function removeIssuer(options: PoolOptions, issuer: string): Promise<void> {
  await changeTrust(options, 'DELETE', 'issuers', sha256(issuer));
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** SubjectPublicKeyInfo, DER. */
function publicKeyIn(file: string): Buffer {
  const pem = readFileSync(file, 'utf8');
  if (pem.includes('PRIVATE KEY')) {
    throw new CommandError(`${file} holds a private key, which stays on its host; give the public one`);
  }
  try {
    return createPublicKey(pem).export({ format: 'der', type: 'spki' });
  } catch (cause) {
    throw new CommandError(`${file} holds no public key in PEM`, { cause });
  }
}

function show({ json }: PoolOptions, trust: Trust): void {
  if (json) {
    print(JSON.stringify(trust));
    return;
  }
  const { hosts, issuers, measurements, running } = trust;
  for (const { id } of hosts) print(`host         ${id}`);
  for (const measurement of measurements) {
    print(`measurement  ${measurement}${measurement === running ? '  runs here' : ''}`);
  }
  for (const { issuer, pinned } of issuers) print(`issuer       ${issuer}${pinned ? '  by fixed keys' : ''}`);
}
