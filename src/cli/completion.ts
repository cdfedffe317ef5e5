// `trivet completion`, and the hidden command that its scripts ask. Only says what there is.
import { Argument } from 'commander';
import type { Command } from 'commander';
import { SHELLS, scripts, type Shell } from './completion/scripts.js';

/** Adds the commands. */
export function addCompletion(trivet: Command): void {
  trivet
    .command('completion')
    .description(
      'print what a shell needs to complete commands, options and names; to try it: source <(trivet completion bash)',
    )
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action((shell: Shell) => {
      process.stdout.write(`${scripts[shell]}\n`);
    });
  trivet
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { complete } = await import('./completion/complete.js');
      await complete(trivet, words);
    });
}
