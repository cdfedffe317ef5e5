// `trivet audit verify`: checks the audit logs of a pool, offline, and says file and line of what does not hold.
import { join } from 'node:path';
import { pinOf, type OwnerOptions } from '../key/verify-attestation.js';
import { show } from '../security-domain/files.js';
import { withProgress } from '../progress.js';
import type { LogFile, LogFinding } from './check-log.js';
import { checkPool, type PoolFinding } from './check-pool.js';
import { filesOf, findLogs, type PoolOptions } from './logs.js';

export interface VerifyOptions extends PoolOptions, OwnerOptions {
  first: ReadonlyMap<number, number>;
  json?: true;
}

export async function verifyAudit(options: VerifyOptions): Promise<void> {
  const { pool, logs } = findLogs(options);
  const total = logs.reduce((sum, { directory }) => sum + filesOf(directory).length, 0);
  const finding = await withProgress(`checking the audit logs of ${pool}`, total, (advance) => {
    const read = (file: LogFile): Buffer => {
      advance();
      return file.read();
    };
    const members = logs.map(({ instance, directory }) => ({
      instance,
      files: () => filesOf(directory).map((file) => ({ ...file, read: () => read(file) })),
    }));
    const expected = { pool, owner: pinOf(options), now: new Date(), first: options.first };
    return Promise.resolve(checkPool(members, expected));
  });
  const directories = new Map(logs.map(({ instance, directory }) => [instance, directory]));
  show(options, finding, inWords(finding, directories));
  if (!finding.valid) process.exitCode = 1;
}

function inWords(finding: PoolFinding, directories: ReadonlyMap<number, string>): string[] {
  const { pool, valid, ownerFingerprint, ownerVerified, logs } = finding;
  const whose = ownerFingerprint ?? 'unknown';
  return [
    valid ? `The audit logs of the pool ${pool} hold.` : `The audit logs of the pool ${pool} DO NOT HOLD.`,
    ownerVerified
      ? `owner       ${whose}, the one you named`
      : `owner       NOT VERIFIED: who can write the directory could have written all of it anew; compare ${whose} with what the pool’s operator tells you, or name it with --owner-fingerprint`,
    ...logs.flatMap((log) => logInWords(log, directories.get(log.instance) ?? '')),
  ];
}

function logInWords(
  { instance, last, sealed, unsealed, faults, ...log }: LogFinding,
  directory: string,
): string[] {
  const end = last.time === null ? '' : `, the last of ${last.time}`;
  return [
    `instance ${instance}  ${log.records} records in ${log.files} files, ${log.starts} starts${end}`,
    `            sealed by the partition through record ${sealed}${unsealed > 0 ? `; ${unsealed} after it are chained only` : ''}`,
    ...log.torn.map(
      ({ file, bytes }) =>
        `            ${file} ends in the middle of a record (${bytes} bytes): it was killed there`,
    ),
    ...faults.map(({ file, line, problem }) => `  FAULT     ${join(directory, file)}:${line}: ${problem}`),
  ];
}
