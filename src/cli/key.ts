// `trivet key`: the life of a key and everyday work with it, and one check that its owner makes without any network.
// Only says what there is.
import { Argument, InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { ENCODINGS } from './data.js';
import { defaultDirectory } from './home.js';
import type { CreateOptions, ListOptions, VersionOptions, AttributeOptions } from './key/manage.js';
import type { PolicyOptions } from './key/policy.js';
import type { FileOptions, ImportOptions, ReleaseOptions } from './key/transfer.js';
import type { CipherOptions, SignOptions, VerifyOptions } from './key/use.js';
import type { VerifyAttestationOptions } from './key/verify-attestation.js';
import type { PoolOptions } from './plane.js';

const RANDOM_MAX = 128;

/** A SHA-256 as people write it, with colons or without: lower-case hex. */
export function fingerprint(written: string): string {
  const hex = written.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new InvalidArgumentError('a SHA-256 has 64 hex digits');
  return hex;
}

/** Seconds since 1970. */
function moment(text: string): number {
  const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/;
  const time = form.test(text) ? Date.parse(text) : NaN;
  if (!Number.isNaN(time)) return Math.floor(time / 1_000);
  throw new InvalidArgumentError(
    'a date, or a time with its zone, such as 2027-01-31 or 2027-01-31T12:00:00Z',
  );
}

function whole(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('a whole number is expected');
}

function label(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('a tag is NAME=VALUE');
  return { ...before, [name]: value };
}

const commaList = (text: string): string[] => text.split(',').filter((word) => word !== '');

function randomCount(text: string): number {
  const count = whole(text);
  if (count >= 1 && count <= RANDOM_MAX) return count;
  throw new InvalidArgumentError(`1 to ${RANDOM_MAX} bytes at a time`);
}

/** Where it is asked, and how it answers. */
export function inPool(command: Command): Command {
  return command
    .addOption(
      new Option('--data-dir <directory>', 'where everything is kept')
        .env('TRIVET_HOME')
        .default(defaultDirectory()),
    )
    .option('--pool <name>', 'which pool, where there are several')
    .addOption(new Option('--json', 'print JSON'));
}

const withVersion = (command: Command): Command =>
  command.option('--key-version <version>', 'this version instead of the newest');

/** What create, import and update share. */
const withAttributes = (command: Command): Command =>
  command
    .option(
      '--ops <operations>',
      'what the key may do, with commas: sign,verify,encrypt,decrypt,wrapKey,unwrapKey,import,export',
      commaList,
    )
    .option('--not-before <time>', 'of no use before this', moment)
    .option('--expires <time>', 'of no use from then on', moment)
    .option('--tag <name=value>', 'a label; may be given several times', label);

const withInput = (command: Command, what: string): Command =>
  command
    .option('--in <file>', `${what}; - for standard input, which is read when nothing is given`)
    .option('--text <text>', 'the same, as text; others on this machine may see it')
    .option('--hex <digits>', 'the same, in hex; likewise')
    .option('--base64 <text>', 'the same, in base64; likewise');

const withOutput = (command: Command, usual: string): Command =>
  command
    .option('--out <file>', 'write the result to this file, which must not exist, as it is')
    .addOption(
      new Option(
        '--encoding <encoding>',
        `how the result is written (default: ${usual}${usual === 'raw' ? '' : ', raw in a file'})`,
      ).choices(ENCODINGS),
    );

const alg = (names: string): Option =>
  new Option(
    '--alg <name>',
    `${names} (default: the usual one for such a key, which takes the right to read it)`,
  );

/** Adds the commands. */
export function addKey(trivet: Command): void {
  const group = trivet
    .command('key')
    .description(
      'keys: make them, use them, move them; done as the administrator, or with the access token in TRIVET_ACCESS_TOKEN',
    );
  addLife(group);
  addUse(group);
  addTransfer(group);
  addPolicy(group);
}

function addLife(group: Command): void {
  withAttributes(inPool(group.command('create')))
    .argument('<name>', '1 to 127 letters, digits and hyphens; of an existing key a new version is made')
    .description('make a key')
    .addOption(
      new Option('--kty <type>', 'EC, RSA, or oct for a symmetric key')
        .choices(['EC', 'RSA', 'oct'])
        .default('EC'),
    )
    .option('--size <bits>', 'RSA: 2048 (default), 3072, 4096; oct: 256 (default), 192, 128', whole)
    .option('--curve <name>', 'EC: P-256 (default), P-384, P-521, P-256K')
    .option('--no-enabled', 'made, but of no use before it is enabled')
    .option('--exportable', 'may be released by its policy')
    .option('--release-policy <file>', 'the policy, JSON')
    .action(async (name: string, { enabled, ...options }: CreateOptions) => {
      const { createKey } = await import('./key/manage.js');
      await createKey(name, enabled === false ? { ...options, enabled } : options);
    });
  inPool(group.command('list'))
    .description('show all keys')
    .option('--deleted', 'those that are deleted and can be recovered')
    .action(async (options: ListOptions) => {
      const { listKeys } = await import('./key/manage.js');
      await listKeys(options);
    });
  withVersion(inPool(group.command('show <name>')))
    .description('show a key')
    .option('--deleted', 'one that is deleted')
    .action(async (name: string, options: VersionOptions & { deleted?: true }) => {
      const { showOneKey } = await import('./key/manage.js');
      await showOneKey(name, options);
    });
  inPool(group.command('versions <name>'))
    .description('show all versions of a key')
    .action(async (name: string, options: PoolOptions) => {
      const { listVersions } = await import('./key/manage.js');
      await listVersions(name, options);
    });
  withAttributes(withVersion(inPool(group.command('update <name>'))))
    .description('change what a key may do, and when')
    .addOption(new Option('--enable', 'let it be used').conflicts('disable'))
    .option('--disable', 'let nobody use it')
    .option('--release-policy <file>', 'another release policy, JSON')
    .action(
      async (
        name: string,
        {
          enable,
          disable,
          ...options
        }: VersionOptions & AttributeOptions & { enable?: true; disable?: true },
      ) => {
        const { updateKey } = await import('./key/manage.js');
        const enabled = enable ? { enabled: true } : disable ? { enabled: false } : {};
        await updateKey(name, { ...options, ...enabled });
      },
    );
  for (const [name, what] of [
    ['rotate', 'make a new version of a key as its rotation policy says'],
    ['delete', 'delete a key with all its versions; it can be recovered until it is purged'],
    ['recover', 'have a deleted key back, with all its versions'],
    ['purge', 'remove a deleted key for good'],
  ] as const) {
    inPool(group.command(`${name} <name>`))
      .description(what)
      .action(async (key: string, options: PoolOptions) => {
        const { rotateKey, deleteKey, recoverKey, purgeKey } = await import('./key/manage.js');
        await { rotate: rotateKey, delete: deleteKey, recover: recoverKey, purge: purgeKey }[name](
          key,
          options,
        );
      });
  }
}

function addUse(group: Command): void {
  withOutput(withInput(withVersion(inPool(group.command('sign <name>'))), 'file to sign'), 'base64')
    .description('sign; the data is hashed here, and only the digest is sent')
    .addOption(alg('ES256, ES384, ES512, ES256K, PS256, RS256, HS256 and so on'))
    .option('--digest', 'the data is the digest already')
    .action(async (name: string, options: SignOptions) => {
      const { signWithKey } = await import('./key/use.js');
      await signWithKey(name, options);
    });
  withInput(withVersion(inPool(group.command('verify <name>'))), 'file that was signed')
    .description('verify a signature; exit code 1 when it is not valid')
    .addOption(alg('as it was signed'))
    .option('--digest', 'the data is the digest already')
    .requiredOption('--signature <text>', 'in base64 or hex, or @FILE')
    .action(async (name: string, options: VerifyOptions) => {
      const { verifyWithKey } = await import('./key/use.js');
      await verifyWithKey(name, options);
    });
  withOutput(
    withInput(withVersion(inPool(group.command('encrypt <name>'))), 'file to encrypt'),
    'base64; of AES: JSON that decrypt takes',
  )
    .description('encrypt; what AES makes is written as JSON with all that it takes to decrypt it')
    .addOption(alg('RSA-OAEP-256, RSA-OAEP, A256GCM, A256CBCPAD and so on'))
    .option('--iv <digits>', 'for CBC only, 16 bytes in hex (default: made by the pool)')
    .option('--aad <text>', 'for GCM only: text that is authenticated and not encrypted')
    .action(async (name: string, options: CipherOptions) => {
      const { encryptWithKey } = await import('./key/use.js');
      await encryptWithKey(name, options);
    });
  withOutput(withInput(withVersion(inPool(group.command('decrypt <name>'))), 'file to decrypt'), 'raw')
    .description('decrypt what encrypt has written, or a bare ciphertext')
    .addOption(alg('of a bare ciphertext, as it was encrypted'))
    .option('--iv <digits>', 'of a bare ciphertext, in hex')
    .option('--aad <text>', 'of a bare ciphertext')
    .option('--auth-tag <digits>', 'of a bare ciphertext, in hex')
    .action(async (name: string, options: CipherOptions) => {
      const { decryptWithKey } = await import('./key/use.js');
      await decryptWithKey(name, options);
    });
  withOutput(
    withInput(withVersion(inPool(group.command('wrap <name>'))), 'file with the bytes of the key to wrap'),
    'base64',
  )
    .description('wrap a symmetric key')
    .addOption(alg('RSA-OAEP-256, RSA-OAEP, A256KW and so on'))
    .action(async (name: string, options: SignOptions) => {
      const { wrapWithKey } = await import('./key/use.js');
      await wrapWithKey(name, options);
    });
  withOutput(
    withInput(withVersion(inPool(group.command('unwrap <name>'))), 'file with the wrapped key'),
    'hex',
  )
    .description('unwrap a symmetric key; its bytes are shown in the clear')
    .addOption(alg('as it was wrapped'))
    .action(async (name: string, options: SignOptions) => {
      const { unwrapWithKey } = await import('./key/use.js');
      await unwrapWithKey(name, options);
    });
  withOutput(inPool(group.command('random')), 'hex')
    .addArgument(new Argument('<count>', `how many bytes, 1 to ${RANDOM_MAX}`).argParser(randomCount))
    .description('have random bytes made in a partition')
    .action(async (count: number, options: PoolOptions) => {
      const { randomBytes } = await import('./key/use.js');
      await randomBytes(count, options);
    });
}

function addTransfer(group: Command): void {
  withAttributes(inPool(group.command('import <name>')))
    .description('import a key, or a new version of one')
    .requiredOption(
      '--file <file>',
      'a private key in PEM without a passphrase, a JWK, with --kty oct the bytes of a symmetric key, with --byok what ' +
        'another HSM has wrapped for this one',
    )
    .addOption(new Option('--kty <type>', 'for oct and --byok').choices(['EC', 'RSA', 'oct']))
    .option('--curve <name>', 'for --byok: P-256, P-384, P-521, P-256K')
    .option('--byok', 'the file is a key transfer blob')
    .option('--exportable', 'may be released by its policy')
    .option('--release-policy <file>', 'the policy, JSON')
    .action(async (name: string, options: ImportOptions) => {
      const { importKey } = await import('./key/transfer.js');
      await importKey(name, options);
    });
  inPool(group.command('backup <name>'))
    .description('back up a key with all its versions; pools of the same security domain can restore it')
    .requiredOption('--out <file>', 'where the backup is written')
    .action(async (name: string, options: FileOptions) => {
      const { backupKey } = await import('./key/transfer.js');
      await backupKey(name, options);
    });
  inPool(group.command('restore'))
    .description('restore a key from its backup; its name must be free')
    .requiredOption('--in <file>', 'the backup')
    .action(async (options: PoolOptions & { in: string }) => {
      const { restoreKey } = await import('./key/transfer.js');
      await restoreKey(options);
    });
  withVersion(inPool(group.command('release <name>')))
    .description('release an exportable key to an enclave that proves what it is')
    .requiredOption('--assertion <file>', 'the enclave’s attestation token, a JWT')
    .requiredOption('--out <file>', 'where the released key is written, wrapped for the enclave')
    .option('--enc <name>', 'CKM_RSA_AES_KEY_WRAP (default), RSA_AES_KEY_WRAP_256 or RSA_AES_KEY_WRAP_384')
    .option('--nonce <text>', 'comes back in what is released')
    .action(async (name: string, options: ReleaseOptions) => {
      const { releaseKey } = await import('./key/transfer.js');
      await releaseKey(name, options);
    });
  withVersion(inPool(group.command('attest <name>')))
    .description('download an attestation of a key, for verify-attestation')
    .requiredOption('--out <file>', 'where it is written')
    .action(async (name: string, options: FileOptions) => {
      const { attestKey } = await import('./key/transfer.js');
      await attestKey(name, options);
    });
  group
    .command('verify-attestation <file>')
    .description('check a downloaded attestation of a key, and say what it attests; works offline')
    .addOption(
      new Option(
        '--owner-certificate <file>',
        'the certificate of the pool’s owner, from a source you trust',
      ).conflicts('ownerFingerprint'),
    )
    .option('--owner-fingerprint <sha256>', 'its SHA-256 instead; `trivet status` shows it', fingerprint)
    .addOption(new Option('--json', 'print JSON'))
    .action(async (file: string, options: VerifyAttestationOptions) => {
      const { verifyAttestation } = await import('./key/verify-attestation.js');
      verifyAttestation(file, options);
    });
}

function addPolicy(group: Command): void {
  const policy = group.command('policy').description('when a key is rotated by itself');
  inPool(policy.command('show <name>'))
    .description('show the rotation policy of a key')
    .action(async (name: string, options: PoolOptions) => {
      const { showPolicy } = await import('./key/policy.js');
      await showPolicy(name, options);
    });
  inPool(policy.command('set <name>'))
    .description(
      'set the rotation policy of a key; durations are ISO 8601, such as P90D or P1Y, 28 days at least',
    )
    .addOption(
      new Option('--rotate-after <duration>', 'after the creation of the newest version').conflicts(
        'rotateBeforeExpiry',
      ),
    )
    .option('--rotate-before-expiry <duration>', 'before the newest version expires; takes --expiry')
    .option('--expiry <duration>', 'how long a new version is valid')
    .option('--file <file>', 'all of it instead, JSON as the service writes it')
    .action(async (name: string, options: PolicyOptions) => {
      const { setPolicy } = await import('./key/policy.js');
      await setPolicy(name, options);
    });
  inPool(policy.command('clear <name>'))
    .description('remove the rotation policy of a key')
    .action(async (name: string, options: PoolOptions) => {
      const { clearPolicy } = await import('./key/policy.js');
      await clearPolicy(name, options);
    });
}
