// Begins a backup or restore like any customer, and asks for its end.
import { connect, connectPool, member, print, type PoolClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { withProgress } from '../progress.js';
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
const PERCENT = 100;

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
  const begun = await begin(pool, access);
  const id = member(begun, 'jobId');
  if (id === undefined) throw new CommandError(`pool ${pool.name} answered without a job`);
  if (options.wait === false) {
    show(options, what, begun);
    return;
  }
  const job = await withProgress(`${what} ${id}`, PERCENT, (advance) =>
    ended(pool, { what, id, begun, told: teller(options, `${what} ${id}`, advance) }),
  );
  show(options, what, job);
  if (member(job, 'status') !== 'Succeeded')
    throw new CommandError(`the ${what} has failed: ${reasonOf(job)}`);
}

interface Waited {
  readonly what: What;
  readonly id: string;
  readonly begun: unknown;
  /** Told what the job says of itself, at every look. */
  readonly told: (details: string) => void;
}

async function ended(pool: PoolClient, { what, id, begun, told }: Waited): Promise<unknown> {
  let job = begun;
  while (member(job, 'status') === 'InProgress') {
    told(member(job, 'statusDetails') ?? '');
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    job = await patientStatusOf(pool, what, id);
  }
  return job;
}

/** Moves the bar that is shown in a terminal; elsewhere writes a line when there is news, and now and then without. */
function teller(
  { json }: StartOptions,
  name: string,
  advance: (step?: string) => void,
): (details: string) => void {
  let [shown, quiet, percent] = ['', 0, 0];
  return (details) => {
    const [, done, total] = /^([0-9]+) of ([0-9]+) /.exec(details) ?? [];
    for (
      const now = Math.floor((PERCENT * Number(done ?? 0)) / Number(total ?? 1));
      percent < now;
      percent += 1
    )
      advance(details);
    quiet += 1;
    if (json || process.stderr.isTTY || (details === shown && quiet < QUIET_LOOKS)) return;
    print(`${name}: ${details === '' ? 'in progress' : details}`);
    [shown, quiet] = [details, 0];
  };
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
