// `trivet slot`: what is in the token of a partition, by the word of another program than ours. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';
import type { SlotOptions } from './slot/show.js';

function partition(text: string): number {
  if (!/^[0-9]$/.test(text)) throw new InvalidArgumentError('the partitions are 0, 1 and 2');
  return Number(text);
}

/** Adds the command. */
export function addSlot(trivet: Command): void {
  trivet
    .command('slot')
    .description(
      'show the objects in the token of a partition, as graphene-pk11 sees them: class, label and flags, never a value; ' +
        'works offline, on a copy of the token. Keys of customers are no objects of a token: they lie wrapped in the store',
    )
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .option('--pool <name>', 'which pool, where there are several')
    .option('--partition <id>', 'of which partition', partition, 0)
    .addOption(
      new Option('--directory <directory>', 'a copy of `instances/ID/partition` instead').conflicts('pool'),
    )
    .addOption(new Option('--module <file>', 'PKCS#11 module of the partitions').env('TRIVET_PKCS11_MODULE'))
    .addOption(new Option('--json', 'print JSON'))
    .action(async (options: SlotOptions) => {
      const { showSlot } = await import('./slot/show.js');
      showSlot(options);
    });
}
