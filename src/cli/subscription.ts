// `trivet subscription`: the state of the subscription, which decides what its owner may do on the control plane. Only
// says what there is.
import { Option } from 'commander';
import type { Command } from 'commander';
import type { SubscriptionState } from '../fabric/resources/state.js';
import { defaultDirectory } from './home.js';

const COMMANDS: readonly (readonly [name: string, state: SubscriptionState | undefined, what: string])[] = [
  ['show', undefined, 'show its state'],
  ['enable', 'Enabled', 'let everything be done again'],
  ['disable', 'Disabled', 'make it read-only: nothing is created, changed, deleted or purged'],
  ['warn', 'Warned', 'warn of its end; everything can be done still'],
];

/** Adds the commands. */
export function addSubscription(trivet: Command): void {
  const group = trivet.command('subscription').description('the state of the subscription');
  for (const [name, state, what] of COMMANDS) {
    group
      .command(name)
      .description(what)
      .addOption(
        new Option('--data-dir <directory>', 'where everything is kept')
          .env('TRIVET_HOME')
          .default(defaultDirectory()),
      )
      .addOption(new Option('--json', 'print JSON'))
      .action(async (options: { dataDir: string; json?: true }) => {
        const { subscription } = await import('./ask.js');
        await subscription(options.dataDir, state, options.json === true);
      });
  }
}
