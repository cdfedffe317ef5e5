// `trivet security-domain`: what custodians do on their own machines, without any network. Only says what there is;
// each command is in a file of its own.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { InspectOptions } from './security-domain/inspect.js';
import type { JoinKeyOptions } from './security-domain/join-key.js';
import type { MakeKeysOptions } from './security-domain/make-keys.js';
import type { RestoreBlobOptions } from './security-domain/restore-blob.js';
import type { SplitKeyOptions } from './security-domain/split-key.js';

const json = (): Option => new Option('--json', 'print JSON');

function count(text: string): number {
  if (!/^[0-9]{1,4}$/.test(text)) throw new InvalidArgumentError('a whole number is expected');
  return Number(text);
}

/** Adds the commands. */
export function addSecurityDomain(trivet: Command): void {
  const group = trivet
    .command('security-domain')
    .description("custodians' tools: keys, the security domain file, recovery; all of them work offline");
  group
    .command('make-keys')
    .description('make key pairs for custodians: NAME.key stays with its custodian, NAME.cer is for the HSM')
    .requiredOption('--out <directory>', 'where the files are written')
    .requiredOption('--count <number>', 'how many custodians there are, 3 to 10', count)
    .option('--name <prefix>', 'files are named PREFIX-1 and so on', 'custodian')
    .option('--bits <number>', 'size of the RSA keys: 3072 or 4096', count, 3_072)
    .addOption(json())
    .action(async (options: MakeKeysOptions) => {
      const { makeKeys } = await import('./security-domain/make-keys.js');
      await makeKeys(options);
    });
  group
    .command('inspect <file>')
    .description('show what a security domain file tells without keys: quorum, certificates, items')
    .option('--certificates <directory>', 'tell which certificates in this directory belong to it')
    .addOption(json())
    .action(async (file: string, options: InspectOptions) => {
      const { inspect } = await import('./security-domain/inspect.js');
      inspect(file, options);
    });
  group
    .command('restore-blob')
    .description('make what an empty HSM takes for its recovery; NAME.cer must lie beside each NAME.key')
    .requiredOption('--file <file>', 'the security domain file')
    .requiredOption('--exchange-certificate <file>', 'the certificate that the empty HSM gave out')
    .requiredOption('--keys <files...>', "the custodians' private keys, as many as the quorum")
    .requiredOption('--out <file>', 'where the restore blob is written')
    .addOption(json())
    .action(async (options: RestoreBlobOptions) => {
      const { restoreBlob } = await import('./security-domain/restore-blob.js');
      await restoreBlob(options);
    });
  group
    .command('split-key')
    .description("split one custodian's private key among people, on paper if they like")
    .requiredOption('--key <file>', "the custodian's private key; it is left where it is")
    .requiredOption('--needed <number>', 'how many people rebuild it', count)
    .requiredOption('--of <number>', 'among how many people it is split', count)
    .requiredOption('--out <directory>', 'where the shares are written, one file a person')
    .addOption(json())
    .action(async (options: SplitKeyOptions) => {
      const { splitKeyFile } = await import('./security-domain/split-key.js');
      await splitKeyFile(options);
    });
  group
    .command('join-key')
    .description("rebuild a custodian's private key from its people's shares")
    .requiredOption('--shares <files...>', 'the shares, at least as many as are needed')
    .requiredOption('--out <file>', 'where the key is written; NAME.cer beside it is held against it')
    .addOption(json())
    .action(async (options: JoinKeyOptions) => {
      const { joinKeyFile } = await import('./security-domain/join-key.js');
      await joinKeyFile(options);
    });
}
