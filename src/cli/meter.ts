// `trivet meter`: what the pools cost. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { rateIn } from '../fabric/meter/meter.js';
import { defaultDirectory } from './home.js';

/** Euro an hour. */
export function meterRate(text: string): number {
  const rate = rateIn(text);
  if (rate === undefined) {
    throw new InvalidArgumentError('an amount of euro, such as 3.20, with six decimals at most');
  }
  return rate;
}

/** Adds the command. */
export function addMeter(trivet: Command): void {
  trivet
    .command('meter')
    .description(
      'show what each pool has cost, from its provisioning until it is purged, by the clock of the pools',
    )
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .addOption(new Option('--json', 'print JSON'))
    .option('--pool <name>', 'of the pools of this name only')
    .action(async (options: { dataDir: string; json?: true; pool?: string }) => {
      const { showMeter } = await import('./meter/show.js');
      await showMeter(options.dataDir, options.pool, options.json === true);
    });
}
