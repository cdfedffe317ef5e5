// The container of the local storage, made when it is first needed, and a SAS token for it: what a person would make in
// the portal.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { createRequire } from 'node:module';
import type { FabricStatus } from '../../fabric/control/management.js';
import { CommandError } from '../failure.js';

const CONTAINER = 'backups';
/** The service wants a token that is good for a day at least. */
const TOKEN_MS = 25 * 3_600_000;
const CLOCK_SKEW_MS = 300_000;
const PATIENCE_MS = 30_000;
const EXISTS = 409;

export interface ContainerAccess {
  readonly storageResourceUri: string;
  readonly token: string;
}

/** Makes the container unless it is there. */
export async function localContainer({ storage, caFile }: FabricStatus): Promise<ContainerAccess> {
  if (!storage) {
    throw new CommandError(
      'there is no local storage: start with `trivet up --storage`, or name a container with --container and --sas',
    );
  }
  const library = createRequire(__filename)('@azure/storage-blob') as typeof import('@azure/storage-blob');
  const { account, uri, keyFile } = storage;
  const key = new library.StorageSharedKeyCredential(account, readFileSync(keyFile, 'utf8').trim());
  const times = {
    startsOn: new Date(Date.now() - CLOCK_SKEW_MS),
    expiresOn: new Date(Date.now() + TOKEN_MS),
    protocol: library.SASProtocol.Https,
  };
  const maker = library.generateAccountSASQueryParameters(
    {
      ...times,
      permissions: library.AccountSASPermissions.parse('c'),
      services: 'b',
      resourceTypes: 'c',
    },
    key,
  );
  const storageResourceUri = `${uri}/${CONTAINER}`;
  const status = await put(`${storageResourceUri}?restype=container&${maker.toString()}`, caFile);
  if (status !== 201 && status !== EXISTS) {
    throw new CommandError(
      `the local storage did not make the container ${CONTAINER}: it answered ${status}`,
    );
  }
  const token = library.generateBlobSASQueryParameters(
    {
      ...times,
      containerName: CONTAINER,
      permissions: library.ContainerSASPermissions.parse('rcwdl'),
    },
    key,
  );
  return { storageResourceUri, token: token.toString() };
}

function put(url: string, caFile: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: 'PUT',
        ca: readFileSync(caFile, 'utf8'),
        agent: false,
        timeout: PATIENCE_MS,
        headers: { 'Content-Length': '0' },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('error', reject);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', (cause) =>
      reject(new CommandError(`the local storage cannot be reached: ${cause.message}`, { cause })),
    );
    outgoing.end();
  });
}
