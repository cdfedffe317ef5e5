// Handlers of full backup and restore. Each begins a job and answers with it; clients ask for its end at the address that
// the answer names.
import { toJson } from '../../values/json.js';
import { jobStatus, type JobFamily, type JobView } from '../hsm/full-backup/job-status.js';
import { startJob, type StorageWish } from '../hsm/full-backup/start-job.js';
import type {
  BackupCheckBody,
  FullBackupBody,
  FullRestoreBody,
  KeyFromBackupBody,
  RestoreCheckBody,
} from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { bad, notOffered } from './errors.js';

/** `POST /backup`. */
export async function backup({ hsm, caller }: Call, body: FullBackupBody): Promise<string> {
  return jobText(await startJob(hsm, caller, { kind: 'backup', storage: storageOf(body) }), 'backup');
}

/** `POST /prebackup`: whether a backup could be begun and, where a container is named, written there. */
export async function checkBackup({ hsm, caller }: Call, body: BackupCheckBody): Promise<string> {
  return jobText(
    await startJob(hsm, caller, { kind: 'backup-check', storage: maybeStorage(body) }),
    'backup',
  );
}

/** `PUT /restore`. */
export async function restore({ hsm, caller }: Call, body: FullRestoreBody): Promise<string> {
  const place = placeOf(body.sasTokenParameters, body.folderToRestore);
  const job = await startJob(hsm, caller, { kind: 'restore', ...place });
  return jobText(job, 'restore');
}

/** `PUT /prerestore`: whether a restore could be begun and, where a backup is named, whether all of that is sound. */
export async function checkRestore({ hsm, caller }: Call, body: RestoreCheckBody): Promise<string> {
  const { sasTokenParameters, folderToRestore } = body;
  if ((sasTokenParameters === undefined) !== (folderToRestore === undefined))
    bad("Properties 'sasTokenParameters' and 'folderToRestore' are given together");
  const place =
    sasTokenParameters && folderToRestore !== undefined && placeOf(sasTokenParameters, folderToRestore);
  return jobText(await startJob(hsm, caller, { kind: 'restore-check', ...place }), 'restore');
}

/** `PUT /keys/{name}/restore`: one key with all its versions. */
export async function restoreKey({ hsm, caller, name }: Call, body: KeyFromBackupBody): Promise<string> {
  const place = placeOf(body.sasTokenParameters, body.folder);
  return jobText(await startJob(hsm, caller, { kind: 'key-restore', ...place, key: name }), 'restore');
}

/** `GET /{backup,restore}/{jobId}/pending`. */
export function pending(family: JobFamily): (call: Call) => Answer {
  return ({ hsm, caller, item }) =>
    whenDone(jobStatus(hsm, caller, family, item), (job) => jobText(job, family));
}

// What is not known yet is null, not absent.
function jobText(
  { id, status, details, error, started, ended, folderUrl }: JobView,
  family: JobFamily,
): string {
  return toJson({
    status,
    statusDetails: details ?? null,
    error: error === undefined ? null : { code: error.code, message: error.message, innererror: null },
    startTime: started,
    endTime: ended ?? null,
    jobId: id,
    ...(family === 'backup' && { azureStorageBlobContainerUri: folderUrl ?? null }),
  });
}

function placeOf(
  parameters: FullBackupBody,
  text: string,
): { readonly storage: StorageWish; readonly folder: string } {
  const storage = storageOf(parameters);
  const [first = '', second] = text.split('/');
  if (second === undefined) return { storage, folder: first };
  const container = `${storage.container.replace(/\/+$/, '')}/${first}`;
  return { storage: { ...storage, container }, folder: second };
}

function maybeStorage(body: BackupCheckBody): StorageWish | undefined {
  const { storageResourceUri } = body;
  if (storageResourceUri !== undefined) return storageOf({ ...body, storageResourceUri });
  if (body.token !== undefined) bad("Property 'storageResourceUri' is needed with a token");
  return undefined;
}

function storageOf({ storageResourceUri, token, useManagedIdentity }: FullBackupBody): StorageWish {
  if (useManagedIdentity === true) notOffered('A managed identity for storage is');
  if (token === undefined) bad("Property 'token' must be a SAS token of the container");
  return { container: storageResourceUri, token };
}
