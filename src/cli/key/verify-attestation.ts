// `trivet key verify-attestation`: checks a downloaded attestation, offline, and says in words what it attests.
import { AttestationError, attestedKeyType, type Attested } from '../../values/attestation.js';
import { CommandError } from '../failure.js';
import { readBytes, show } from '../security-domain/files.js';
import { checkAttestation, fingerprintOf, readCertificate, type Finding } from './check-attestation.js';

export interface OwnerOptions {
  ownerCertificate?: string;
  ownerFingerprint?: string;
}

export interface VerifyAttestationOptions extends OwnerOptions {
  json?: true;
}

const PEM = /^\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/;

export function verifyAttestation(file: string, options: VerifyAttestationOptions): void {
  const json = readBytes(file).toString('utf8');
  const found = tellOf(file, () => checkAttestation(json, pinOf(options), new Date()));
  show(options, toPrint(found), inWords(found));
}

/** SHA-256 of the owner's certificate that was named; undefined when none was. */
export function pinOf({ ownerCertificate: file, ownerFingerprint }: OwnerOptions): string | undefined {
  if (file === undefined) return ownerFingerprint;
  const bytes = readBytes(file);
  const pem = PEM.exec(bytes.toString('latin1'));
  const der = pem ? Buffer.from(pem[1] ?? '', 'base64') : bytes;
  return tellOf(file, () => fingerprintOf(readCertificate(der).raw));
}

function tellOf<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    throw new CommandError(`${file}: ${error.message}`, { cause: error });
  }
}

/** Bytes as hex. */
function toPrint({ privateKey, publicKey, ...rest }: Finding): unknown {
  const plain = (attested: Attested) =>
    Object.fromEntries(
      Object.entries(attested).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? Buffer.from(value).toString('hex') : (value as unknown),
      ]),
    );
  return {
    valid: true,
    ...rest,
    privateKey: plain(privateKey),
    ...(publicKey && { publicKey: plain(publicKey) }),
  };
}

function inWords({ id, pool, partition, ownerFingerprint, ownerVerified, privateKey }: Finding): string[] {
  const owner = ownerVerified
    ? `owner        ${ownerFingerprint}, the one you named`
    : `owner        NOT VERIFIED: anybody can make a pool with an owner; compare ${ownerFingerprint} with what the pool’s operator tells you, or name it with --owner-fingerprint`;
  const uses = (['encrypt', 'decrypt', 'sign', 'verify', 'wrap', 'unwrap', 'derive'] as const).filter(
    (use) => privateKey[use] === true,
  );
  return [
    `The attestation is sound. Partition ${partition} of the pool ${pool} states of its key:`,
    owner,
    `key          ${id}, ${typeNames.get(privateKey.keyType ?? -1) ?? ''}`,
    `reading      ${readingOf(privateKey)}`,
    `leaving      ${leavingOf(privateKey)}`,
    `origin       ${originOf(privateKey)}`,
    `the slot     lets it ${uses.length > 0 ? uses.join(', ') : 'do nothing'}`,
  ];
}

const typeNames = new Map<number, string>([
  [attestedKeyType.rsa, 'a private RSA key'],
  [attestedKeyType.ec, 'a private EC key'],
  [attestedKeyType.aes, 'a secret AES key'],
  [attestedKeyType.genericSecret, 'a secret key for HMAC'],
]);

function readingOf({ sensitive }: Attested): string {
  return sensitive === true
    ? 'sensitive: the slot gives it to nobody in clear'
    : 'NOT SENSITIVE: the slot gives it out in clear';
}

function leavingOf({ extractable, wrapWithTrusted }: Attested): string {
  if (extractable === false) return 'not extractable: it does not leave the slot at all';
  return wrapWithTrusted === true
    ? 'extractable only under a trusted wrapping key, as members of the pool replicate it'
    : 'EXPORTABLE: it can be wrapped under keys that are not trusted, as secure key release does';
}

function originOf({ local }: Attested): string {
  return local === true
    ? 'made in this slot'
    : 'not stated: the slot opened it from its sealed form, wherever it was made';
}
