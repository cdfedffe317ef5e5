// `trivet security-domain`: what custodians do on their own machines, without any network, and the calls of a running
// pool. Only says what there is; each command is in a file of its own.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { defaultDirectory } from './home.js';
import type { DownloadOptions } from './security-domain/download.js';
import type { InspectOptions } from './security-domain/inspect.js';
import type { JoinKeyOptions } from './security-domain/join-key.js';
import type { MakeKeysOptions } from './security-domain/make-keys.js';
import type { RestoreBlobOptions } from './security-domain/restore-blob.js';
import type { SplitKeyOptions } from './security-domain/split-key.js';
import type { TransferKeyOptions } from './security-domain/transfer-key.js';
import type { UploadOptions } from './security-domain/upload.js';

const dataDir = (): Option =>
  new Option('--data-dir <directory>', 'where everything is kept')
    .env('TRIVET_HOME')
    .default(defaultDirectory());
const json = (): Option => new Option('--json', 'print JSON');

function count(text: string): number {
  if (!/^[0-9]{1,4}$/.test(text)) throw new InvalidArgumentError('a whole number is expected');
  return Number(text);
}

/** Adds the commands. */
export function addSecurityDomain(trivet: Command): void {
  const group = trivet
    .command('security-domain')
    .description(
      'keys of custodians, the security domain file, recovery; all but download, transfer-key and upload work offline',
    );
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
  addCalls(group);
}

// What is asked of a running pool.
function addCalls(group: Command): void {
  const called = (command: Command): Command =>
    command
      .addOption(dataDir())
      .option('--pool <name>', 'which pool, where there are several')
      .addOption(json());
  called(group.command('download'))
    .description('have the security domain made for these custodians; the first time this activates the pool')
    .requiredOption('--certificates <files...>', "the custodians' certificates, 3 to 10")
    .requiredOption('--quorum <number>', 'how many of them it takes, 2 or more', count)
    .requiredOption('--out <file>', 'where the security domain file is written')
    .action(async (options: DownloadOptions) => {
      const { download } = await import('./security-domain/download.js');
      await download(options);
    });
  called(group.command('transfer-key'))
    .description('fetch the exchange certificate of a pool that waits for a security domain')
    .requiredOption('--out <file>', 'where the certificate is written')
    .action(async (options: TransferKeyOptions) => {
      const { transferKey } = await import('./security-domain/transfer-key.js');
      await transferKey(options);
    });
  called(group.command('upload'))
    .description('restore a security domain into a pool that waits for one')
    .requiredOption('--blob <file>', 'what restore-blob has made for the certificate of transfer-key')
    .action(async (options: UploadOptions) => {
      const { upload } = await import('./security-domain/upload.js');
      await upload(options);
    });
}
