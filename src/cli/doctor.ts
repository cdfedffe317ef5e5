// `trivet doctor`: whether this machine can run pools, and how the one that runs is. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { checks } from './doctor/rules.js';
import type { DoctorOptions } from './doctor/run.js';
import { defaultDirectory } from './home.js';
import { portNumber } from './port.js';

function ignored(text: string, before: readonly string[]): readonly string[] {
  if (!checks.includes(text)) throw new InvalidArgumentError(`the checks are: ${checks.join(', ')}`);
  return [...before, text];
}

/** Adds the command. */
export function addDoctor(trivet: Command): void {
  trivet
    .command('doctor')
    .description(
      'check this machine and the pools on it, and say what to do about each finding; exit code 0: all is well, ' +
        '1: there are findings, 2: none, but something could not be checked',
    )
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .option(
      '--control-port <port>',
      'the port that `trivet up` will be given, unless it runs',
      portNumber,
      8443,
    )
    .option('--data-port <port>', 'the same for the data plane', portNumber, 9443)
    .addOption(new Option('--module <file>', 'PKCS#11 module of the partitions').env('TRIVET_PKCS11_MODULE'))
    .option('--ignore <check>', 'leave a check out; may be given several times', ignored, [])
    .option('--verbose', 'show what is well too')
    .addOption(new Option('--json', 'print JSON'))
    .action(async (options: DoctorOptions) => {
      const { doctor } = await import('./doctor/run.js');
      await doctor(options);
    });
}
