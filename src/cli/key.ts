// `trivet key`: what the owner of a key does on her own machine, without any network. Only says what there is.
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { VerifyAttestationOptions } from './key/verify-attestation.js';

/** A SHA-256 as people write it, with colons or without: lower-case hex. */
export function fingerprint(written: string): string {
  const hex = written.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new InvalidArgumentError('a SHA-256 has 64 hex digits');
  return hex;
}

/** Adds the commands. */
export function addKey(trivet: Command): void {
  const group = trivet.command('key').description('tools for keys; all of them work offline');
  group
    .command('verify-attestation <file>')
    .description('check a downloaded attestation of a key, and say what it attests')
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
