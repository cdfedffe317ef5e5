// `trivet pool`: what is done with the three partitions of a pool as a whole. Only says what there is.
import { Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';

interface Target {
  dataDir: string;
  pool?: string;
  json?: true;
}

/** Adds the commands. */
export function addPool(trivet: Command): void {
  const group = trivet.command('pool').description('the partitions of a pool as a whole');
  withTarget(group.command('restart'))
    .description('start its partitions again, one after the other, while it goes on serving')
    .action(async (options: Target) => {
      const { restartPool } = await import('./ask.js');
      await restartPool(options.dataDir, options.pool, options.json === true);
    });
  withTarget(group.command('digest'))
    .description('compare what its partitions hold; fails when they differ')
    .action(async (options: Target) => {
      const { showDigest } = await import('./ask.js');
      await showDigest(options.dataDir, options.pool, options.json === true);
    });
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
