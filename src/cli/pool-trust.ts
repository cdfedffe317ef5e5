// `trivet pool trust` and `trivet pool measure`: which instances a pool lets in, and whose tokens it believes. Only says
// what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';
import { issuer } from './issuer.js';
import { fingerprint } from './key.js';
import type { PoolOptions } from './pool-trust/change.js';

function issuerUrl(text: string): string {
  if (text === '') throw new InvalidArgumentError('an issuer has a name');
  return text;
}

/** Adds the commands to those of `pool`, which may be there already. */
export function addPoolTrust(trivet: Command): void {
  const pool =
    trivet.commands.find((command) => command.name() === 'pool') ??
    trivet.command('pool').description('the pools of this installation');
  const json = (): Option => new Option('--json', 'print JSON');
  const group = pool
    .command('trust')
    .description('which instances the pool lets in, and whose tokens it believes; for its Administrators');
  const command = (name: string, what: string): Command =>
    group
      .command(name)
      .description(what)
      .addOption(
        new Option('--data-dir <directory>', 'where everything is kept')
          .env('TRIVET_HOME')
          .default(defaultDirectory()),
      )
      .option('--pool <name>', 'which pool, where there are several')
      .addOption(json());
  command('list', 'show all of it').action(async (options: PoolOptions) => {
    const { listTrust } = await import('./pool-trust/change.js');
    await listTrust(options);
  });
  command('allow-measurement', 'let instances in that run this; `trivet pool measure` tells what is here')
    .argument('<sha256>', 'the measurement', fingerprint)
    .action(async (measurement: string, options: PoolOptions) => {
      const { changeTrust } = await import('./pool-trust/change.js');
      await changeTrust(options, 'PUT', 'measurements', measurement);
    });
  command('remove-measurement', 'let nobody in any more who runs this')
    .argument('<sha256>', 'the measurement', fingerprint)
    .action(async (measurement: string, options: PoolOptions) => {
      const { changeTrust } = await import('./pool-trust/change.js');
      await changeTrust(options, 'DELETE', 'measurements', measurement);
    });
  command('add-host', 'believe what another host says of its instances')
    .argument('<file>', 'its public key in PEM: openssl pkey -in fabric/host-key.pem -pubout')
    .action(async (file: string, options: PoolOptions) => {
      const { addHost } = await import('./pool-trust/change.js');
      await addHost(options, file);
    });
  command('remove-host', 'believe a host no more')
    .argument('<id>', 'as `trust list` shows it', fingerprint)
    .action(async (id: string, options: PoolOptions) => {
      const { changeTrust } = await import('./pool-trust/change.js');
      await changeTrust(options, 'DELETE', 'hosts', id);
    });
  command(
    'add-issuer',
    'believe the access tokens of an OpenID provider, or of a known one under other terms',
  )
    .argument('<issuer>', 'as `trivet up --issuer` takes it', (text) => issuer(text, []))
    .action(async ([added]: ReturnType<typeof issuer>, options: PoolOptions) => {
      const { addIssuer } = await import('./pool-trust/change.js');
      if (added) await addIssuer(options, added);
    });
  command('remove-issuer', 'believe an issuer no more; take care that somebody else administers the pool')
    .argument('<issuer>', 'its `iss`, as `trust list` shows it', issuerUrl)
    .action(async (removed: string, options: PoolOptions) => {
      const { removeIssuer } = await import('./pool-trust/change.js');
      await removeIssuer(options, removed);
    });
  pool
    .command('measure')
    .description('show the measurement of what an instance started now would run; works offline')
    .addOption(new Option('--module <file>', 'PKCS#11 module of the partitions').env('TRIVET_PKCS11_MODULE'))
    .option('--all', 'show its parts too')
    .addOption(json())
    .action(async (options: { module?: string; all?: true; json?: true }) => {
      const { measureBuild } = await import('./pool-trust/measure.js');
      measureBuild(options);
    });
}
