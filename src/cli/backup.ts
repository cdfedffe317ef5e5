// `trivet backup` and `trivet restore`: full backups of a pool and what is restored from them. Only says what there is.
import { Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';
import type { StartOptions, StatusOptions } from './backup/run.js';

/** Adds the commands. */
export function addBackup(trivet: Command): void {
  const backup = trivet.command('backup').description('full backups of a pool');
  withStorage(backup.command('start'))
    .description('make a full backup and wait until it is finished')
    .action(async (options: StartOptions) => {
      const { startBackup } = await import('./backup/run.js');
      await startBackup(options);
    });
  addStatus(backup, 'backup');
  const restore = trivet.command('restore').description('what is restored from a full backup');
  withStorage(restore.command('start <folder>'))
    .description('replace everything in a pool by a full backup; asks for --yes')
    .option('--yes', 'everything in the pool is replaced')
    .action(async (folder: string, options: StartOptions & { yes?: true }) => {
      const { startRestore } = await import('./backup/run.js');
      await startRestore(folder, options);
    });
  withStorage(restore.command('key <name> <folder>'))
    .description('restore one key with all its versions, which must not exist')
    .action(async (name: string, folder: string, options: StartOptions) => {
      const { restoreKey } = await import('./backup/run.js');
      await restoreKey(name, folder, options);
    });
  withStorage(restore.command('check <folder>'))
    .description('check whether a backup is whole and could be restored; changes nothing')
    .action(async (folder: string, options: StartOptions) => {
      const { checkRestore } = await import('./backup/run.js');
      await checkRestore(folder, options);
    });
  addStatus(restore, 'restore');
}

function addStatus(group: Command, what: 'backup' | 'restore'): void {
  withTarget(group.command('status <job>'))
    .description(`show what became of a ${what}`)
    .action(async (id: string, options: StatusOptions) => {
      const { showJob } = await import('./backup/run.js');
      await showJob(what, id, options);
    });
}

function withStorage(command: Command): Command {
  return withTarget(command)
    .option('--container <url>', 'URL of the container; without it the one of `trivet up --storage`')
    .addOption(
      new Option('--sas <token>', 'SAS token of the container; not needed for the local one').env(
        'TRIVET_SAS',
      ),
    )
    .option('--no-wait', 'say what was begun and do not wait');
}

function withTarget(command: Command): Command {
  return command
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .addOption(new Option('--json', 'print JSON'))
    .option('--pool <name>', 'which pool, where there are several');
}
