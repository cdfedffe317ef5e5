// `trivet principal`: who may log in. Only says what there is.
import { Option } from 'commander';
import type { Command } from 'commander';
import type { PrincipalKind } from '../fabric/control/management.js';
import { defaultDirectory } from './home.js';
import { readCertificates } from './issuer.js';

interface Target {
  dataDir: string;
  json?: true;
}

/** Adds the commands. */
export function addPrincipalCommands(trivet: Command): void {
  const group = trivet.command('principal').description('who may log in');
  const command = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .addOption(
        new Option('--data-dir <directory>', 'where everything is kept')
          .env('TRIVET_HOME')
          .default(defaultDirectory()),
      )
      .addOption(new Option('--json', 'print JSON'));
  command('add <name>', 'add a service principal; its secret is shown once')
    .option(
      '--certificate <file>',
      'it logs in with the key of this certificate (PEM) instead of a secret',
      readCertificates,
    )
    .addOption(
      new Option(
        '--managed-identity',
        'it gets its tokens from IDENTITY_ENDPOINT with IDENTITY_HEADER, as programs in App Service do',
      ).conflicts('certificate'),
    )
    .action(async (name: string, options: Target & PrincipalKind) => {
      const { addPrincipal } = await import('./principal/add.js');
      await addPrincipal(options.dataDir, name, options, options.json === true);
    });
  command('list', 'show all of them').action(async (options: Target) => {
    const { listPrincipals } = await import('./principal/list.js');
    await listPrincipals(options.dataDir, options.json === true);
  });
  command('remove <principal>', 'take its roles in all pools from it, then forget it; a name or an object id')
    .option('--keep-assignments', 'leave its role assignments to the Administrators of the pools')
    .action(async (who: string, options: Target & { keepAssignments?: true }) => {
      const { removePrincipal } = await import('./principal/remove.js');
      await removePrincipal(options.dataDir, who, options.keepAssignments === true, options.json === true);
    });
  command('reset <principal>', 'give it a new secret, shown once; what it had before is void at once').action(
    async (who: string, options: Target) => {
      const { resetPrincipal } = await import('./principal/add.js');
      await resetPrincipal(options.dataDir, who, options.json === true);
    },
  );
}
