// `trivet bench`: how fast the pool that runs here is. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { OPERATIONS, type BenchOptions } from './bench/operations.js';
import { inPool } from './key.js';

function between(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (/^[0-9]{1,4}(\.[0-9]{1,2})?$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`a number from ${min} to ${max}`);
  };
}

/** Adds the command. */
export function addBench(trivet: Command): void {
  inPool(trivet.command('bench'))
    .description(
      'measure the pool that runs: operations a second, and how long they take; makes keys of its own and purges them',
    )
    .addOption(
      new Option('--operations <names...>', 'what is measured').choices(OPERATIONS).default([...OPERATIONS]),
    )
    .option('--clients <number>', 'how many ask at the same time', between(1, 256), 8)
    .option('--seconds <number>', 'how long each operation is measured', between(0.1, 600), 3)
    .action(async (options: BenchOptions) => {
      const { bench } = await import('./bench/run.js');
      await bench(options);
    });
}
