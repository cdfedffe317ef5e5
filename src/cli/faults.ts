// `trivet faults`: what the pool suffers on request. Only says what there is.
import { Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';

interface FaultsOptions {
  dataDir: string;
  pool?: string;
  json?: true;
}

function inPool(command: Command): Command {
  return command
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .option('--pool <name>', 'which pool, where there are several')
    .addOption(new Option('--json', 'print JSON'));
}

export function addFaults(trivet: Command): void {
  const faults = trivet
    .command('faults')
    .description('faults on request in pools made with --faults, for tests');
  inPool(faults.command('show').description('show what the pool suffers')).action(
    async ({ dataDir, pool, json }: FaultsOptions) => {
      const { showFaults } = await import('./ask.js');
      await showFaults(dataDir, pool, 'GET', undefined, json === true);
    },
  );
  inPool(
    faults
      .command('set <file>')
      .description(
        'let the pool suffer what a file in JSON says (docs/harness.md), and nothing else; -: standard input',
      ),
  ).action(async (file: string, { dataDir, pool, json }: FaultsOptions) => {
    const [{ showFaults }, { readDocument }] = await Promise.all([
      import('./ask.js'),
      import('./faults/read-document.js'),
    ]);
    await showFaults(dataDir, pool, 'PUT', readDocument(file), json === true);
  });
  inPool(faults.command('clear').description('let it suffer nothing any more')).action(
    async ({ dataDir, pool, json }: FaultsOptions) => {
      const { showFaults } = await import('./ask.js');
      await showFaults(dataDir, pool, 'DELETE', undefined, json === true);
    },
  );
}
