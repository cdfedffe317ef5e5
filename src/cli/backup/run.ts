// Begins a backup or restore like any customer, and asks for its end.
import { connect, connectPool, member, print, type PoolClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { localContainer, type ContainerAccess } from './local-storage.js';

export interface StatusOptions {
  dataDir: string;
  pool?: string;
  json?: true;
}

export interface StartOptions extends StatusOptions {
  container?: string;
  sas?: string;
  /** False: do not wait. */
  wait?: boolean;
}

type What = 'backup' | 'restore';

const VERSION = 'api-version=7.6';
const LOOK_MS = 500;
/** Before it is believed that nobody answers. */
const TRIES = 60;
/** Shown again after so many looks without news. */
const QUIET_LOOKS = 20;

export async function startBackup(options: StartOptions): Promise<void> {
  await run(options, 'backup', (pool, access) => pool.call('POST', `/backup?${VERSION}`, access));
}

export async function startRestore(folder: string, options: StartOptions & { yes?: true }): Promise<void> {
  if (!options.yes) {
    throw new CommandError('everything in the pool is replaced by the backup; say --yes if that is meant');
  }
  await run(options, 'restore', (pool, sasTokenParameters) =>
    pool.call('PUT', `/restore?${VERSION}`, { sasTokenParameters, folderToRestore: lastSegment(folder) }),
  );
}

export async function checkRestore(folder: string, options: StartOptions): Promise<void> {
  await run(options, 'restore', (pool, sasTokenParameters) =>
    pool.call('PUT', `/prerestore?${VERSION}`, { sasTokenParameters, folderToRestore: lastSegment(folder) }),
  );
}

export async function restoreKey(name: string, folder: string, options: StartOptions): Promise<void> {
  await run(options, 'restore', (pool, sasTokenParameters) =>
    pool.call('PUT', `/keys/${encodeURIComponent(name)}/restore?${VERSION}`, {
      sasTokenParameters,
      folder: lastSegment(folder),
    }),
  );
}

export async function showJob(what: What, id: string, options: StatusOptions): Promise<void> {
  const pool = await connectPool(options.dataDir, options.pool);
  show(options, what, await statusOf(pool, what, id));
}

async function run(
  options: StartOptions,
  what: What,
  begin: (pool: PoolClient, access: ContainerAccess) => Promise<unknown>,
): Promise<void> {
  const access = await accessOf(options);
  const pool = await connectPool(options.dataDir, options.pool);
  let job = await begin(pool, access);
  const id = member(job, 'jobId');
  if (id === undefined) throw new CommandError(`pool ${pool.name} answered without a job`);
  if (options.wait === false) {
    show(options, what, job);
    return;
  }
  let shown = '';
  for (let look = 0; member(job, 'status') === 'InProgress'; look += 1) {
    const details = member(job, 'statusDetails') ?? '';
    if (!options.json && (details !== shown || (look > 0 && look % QUIET_LOOKS === 0))) {
      print(`${what} ${id}: ${details === '' ? 'in progress' : details}`);
      shown = details;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    job = await patientStatusOf(pool, what, id);
  }
  show(options, what, job);
  if (member(job, 'status') !== 'Succeeded')
    throw new CommandError(`the ${what} has failed: ${reasonOf(job)}`);
}

function statusOf(pool: PoolClient, what: What, id: string): Promise<unknown> {
  return pool.call('GET', `/${what}/${encodeURIComponent(id)}/pending?${VERSION}`);
}

// A partition that is lost meanwhile is no reason to give up: another goes on with the job.
async function patientStatusOf(pool: PoolClient, what: What, id: string): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await statusOf(pool, what, id);
    } catch (error) {
      if (!(error instanceof CommandError) || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}

async function accessOf({ container, sas, dataDir }: StartOptions): Promise<ContainerAccess> {
  if (container === undefined) return localContainer(await (await connect(dataDir)).status());
  if (sas === undefined) throw new CommandError('--container needs --sas, a SAS token of that container');
  return { storageResourceUri: container, token: sas.replace(/^\?/, '') };
}

/** The folder alone, also when the URL that a backup ended with is given. */
function lastSegment(folder: string): string {
  return folder.replace(/\/+$/, '').split('/').at(-1) ?? '';
}

function show({ json }: StatusOptions, what: What, job: unknown): void {
  if (json) {
    print(JSON.stringify(job));
    return;
  }
  const status = member(job, 'status') ?? 'unknown';
  const details = member(job, 'statusDetails');
  print(`${what} ${member(job, 'jobId') ?? ''}: ${status}${details === undefined ? '' : `, ${details}`}`);
  const folder = member(job, 'azureStorageBlobContainerUri');
  if (folder !== undefined) print(`it is in ${folder}`);
  if (status === 'Failed') print(reasonOf(job));
}

function reasonOf(job: unknown): string {
  const error = typeof job === 'object' && job !== null && 'error' in job && job.error;
  return `${member(error, 'code') ?? 'unknown'}, ${member(error, 'message') ?? 'no reason given'}`;
}
