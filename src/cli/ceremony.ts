// The ceremony of `up`: three custodians, a quorum of two, and the security domain downloaded for them like any
// customer does it. All of it stays on this machine, which is for trying things out: `status` says so. Killed in the
// middle, it is gone on with: pairs that are whole are kept, and the download can be had again.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory, writeDurably } from '../values/durable-file.js';
import type { Fabric } from '../fabric/main.js';
import { Places, readCeremony, writeCeremony } from '../fabric/pools/estate.js';
import { listPools } from '../fabric/pools/pool-file.js';
import { certificateSet, type WrappingCertificate } from '../security-domain/certificates.js';
import { makeCustodianPair, type CustodianPair } from '../security-domain/custodian.js';
import { connectPoolAsAdministrator } from './ask.js';
import { CommandError } from './failure.js';
import { readCustodian, readCertificateFile } from './security-domain/files.js';
import { downloadDomain } from './security-domain/call.js';

const CUSTODIANS = [1, 2, 3];
const REQUIRED = 2;
const BITS = 3_072;
const LOOK_MS = 10;
const PATIENCE_MS = 30_000;

type Pairs = ReadonlyMap<number, CustodianPair>;

/** Whether a start on this directory will have to activate a pool, as far as can be told before it. */
function isAwaited(places: Places): boolean {
  if (readCeremony(places) !== undefined) return true;
  return !existsSync(places.resources) && listPools(places.pools).length === 0;
}

/** Begins to make the pairs that will be needed, in memory, while the instances start. */
export async function preparePairs(dataDirectory: string): Promise<Pairs> {
  const places = new Places(dataDirectory);
  if (!isAwaited(places)) return new Map();
  const missing = CUSTODIANS.filter((number) => !readPair(places, number));
  const made = await Promise.all(
    missing.map(async (number): Promise<[number, CustodianPair]> => {
      const pair = await makeCustodianPair({
        commonName: nameOf(number),
        modulusBits: BITS,
        // A clock that is behind elsewhere must not make the certificate one of the future.
        notBefore: new Date(new Date().setUTCHours(0, 0, 0, 0)),
        random: randomBytes,
      });
      return [number, pair];
    }),
  );
  return new Map(made);
}

/** Activates the pool that waits for it, if there is one. */
export async function holdCeremony(fabric: Fabric, preparing: Promise<Pairs>): Promise<void> {
  const { places } = fabric;
  const pool = readCeremony(places);
  if (pool === undefined) return;
  const pairs = await preparing;
  makeDirectory(places.custodians);
  const certificates = CUSTODIANS.map((number) => {
    const pair = pairs.get(number);
    if (pair) writePair(places, number, pair);
    const certificate = readPair(places, number);
    if (!certificate) throw new CommandError(`${keyFile(places, number)} has gone while it was needed`);
    return certificate;
  });
  const file = await downloadDomain(
    await connectPoolAsAdministrator(places.root, pool),
    certificateSet(certificates, REQUIRED),
  );
  writeDurably(join(places.custodians, 'security-domain.json'), file, 0o600);
  await untilActive(fabric, pool);
  writeCeremony(places, undefined);
}

// The instances have decided it; the fabric hears of it a moment later.
async function untilActive(fabric: Fabric, pool: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (fabric.status().pools.some(({ name, activation }) => name === pool && activation !== 'Active')) {
    if (performance.now() > end) throw new CommandError(`pool ${pool} does not say that it is active`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function nameOf(number: number): string {
  return `custodian-${number}`;
}

function keyFile(places: Places, number: number): string {
  return join(places.custodians, `${nameOf(number)}.key`);
}

function certificateFile(places: Places, number: number): string {
  return join(places.custodians, `${nameOf(number)}.cer`);
}

/** The certificate of a pair that is there and whole. */
function readPair(places: Places, number: number): WrappingCertificate | undefined {
  if (!existsSync(keyFile(places, number)) || !existsSync(certificateFile(places, number))) return undefined;
  readCustodian(keyFile(places, number));
  return readCertificateFile(certificateFile(places, number));
}

function writePair(places: Places, number: number, pair: CustodianPair): void {
  // The certificate last: with it the pair is whole.
  writeDurably(keyFile(places, number), pair.privateKeyPem, 0o600);
  writeDurably(certificateFile(places, number), pair.certificatePem, 0o600);
}
