// `trivet audit`: reads the audit logs of a pool from its directory, without any network. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { TailOptions } from './audit/tail.js';
import type { VerifyOptions } from './audit/verify.js';
import { defaultDirectory } from './home.js';
import { fingerprint } from './key.js';

const LINES_MAX = 10_000;

function lineCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || count < 1 || count > LINES_MAX) {
    throw new InvalidArgumentError(`a number from 1 to ${LINES_MAX}`);
  }
  return count;
}

function firstRecord(text: string, before: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  const [, instance, record] = /^([0-9])=([1-9][0-9]{0,14})$/.exec(text) ?? [];
  if (instance === undefined) throw new InvalidArgumentError('an instance and a number, such as 0=12001');
  return new Map([...before, [Number(instance), Number(record)]]);
}

/** Adds the commands. */
export function addAudit(trivet: Command): void {
  const group = trivet.command('audit').description('the audit logs of a pool, read from its directory');
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
      .addOption(new Option('--json', 'print JSON'));
  command('verify', 'find records that were changed, removed, moved, inserted or cut off; exit code 1 if any')
    .addOption(
      new Option(
        '--owner-certificate <file>',
        'the certificate of the pool’s owner, from a source you trust',
      ).conflicts('ownerFingerprint'),
    )
    .option('--owner-fingerprint <sha256>', 'its SHA-256 instead; `trivet status` shows it', fingerprint)
    .option(
      '--first <id=number>',
      'the log of an instance begins with this record, since older files were taken away; may be given for each',
      firstRecord,
      new Map<number, number>(),
    )
    .action(async (options: VerifyOptions) => {
      const { verifyAudit } = await import('./audit/verify.js');
      await verifyAudit(options);
    });
  command('tail', 'show the newest records of all instances, in order of time')
    .option('--lines <count>', 'how many', lineCount, 20)
    .option('--instance <id>', 'of this instance only')
    .action(async (options: TailOptions) => {
      const { tailAudit } = await import('./audit/tail.js');
      tailAudit(options);
    });
}
