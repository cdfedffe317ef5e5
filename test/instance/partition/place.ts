// A token of its own for a test: provisioned as in service, opened in this process. A module is initialised once per
// process, so one test file opens one partition.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findModule } from '../../../src/cli/home.js';
import { Provision } from '../../../src/instance/partition/provision.js';
import { TokenDirectory } from '../../../src/instance/partition/token.js';

export const modulePath = findModule(process.env['TRIVET_PKCS11_MODULE']);

export interface Place {
  readonly directory: string;
  readonly tokens: TokenDirectory;
  readonly provision: Provision;
  readonly domain: string;
  remove(): void;
}

/** A founded token in a private directory. */
export async function foundedPlace(): Promise<Place> {
  const place = await emptyPlace();
  const domain = randomUUID();
  await place.provision.found(domain);
  return { ...place, domain };
}

/** A private directory without a token. */
export async function emptyPlace(): Promise<Omit<Place, 'domain'>> {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-partition-'));
  const tokens = await TokenDirectory.open(directory);
  const provision = new Provision(tokens, modulePath);
  return { directory, tokens, provision, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
