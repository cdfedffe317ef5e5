// Custodians of the tests: those of the vectors, and as many more as a quorum can have.
import { randomBytes } from 'node:crypto';
import {
  certificateSet,
  readCertificate,
  type CertificateSet,
  type WrappingCertificate,
} from '../../src/security-domain/certificates.js';
import {
  custodianKey,
  makeCustodianPair,
  readPrivateKey,
  type CustodianKey,
} from '../../src/security-domain/custodian.js';
import { SecurityDomainError } from '../../src/security-domain/problem.js';
import type { KeyFiles } from './independent-reader.js';
import { vectors } from './vectors.js';

export interface Custodian {
  readonly certificate: WrappingCertificate;
  readonly key: CustodianKey;
  readonly files: KeyFiles;
}

export function custodianOf(name: string, files: KeyFiles): Custodian {
  const certificate = readCertificate(Buffer.from(files.certificate), name);
  return {
    certificate,
    key: custodianKey(name, certificate, readPrivateKey(Buffer.from(files.privateKey), name)),
    files,
  };
}

/** sd1, sd2 and sd3. */
export const published = vectors.end_to_end.wrapping_keys.map((key) =>
  custodianOf(key.name, { certificate: key.certificate_pem, privateKey: key.private_key_pem }),
);

export const exchange = custodianOf('exchange', {
  certificate: vectors.end_to_end.exchange.certificate_pem,
  privateKey: vectors.end_to_end.exchange.private_key_pem,
});

export async function makeCustodian(name: string, modulusBits = 2_048): Promise<Custodian> {
  const pair = await makeCustodianPair({
    commonName: name,
    modulusBits,
    notBefore: new Date(),
    random: randomBytes,
  });
  return custodianOf(name, { certificate: pair.certificatePem, privateKey: pair.privateKeyPem });
}

export function setOf(custodians: readonly Custodian[], required: number): CertificateSet {
  return certificateSet(
    custodians.map(({ certificate }) => certificate),
    required,
  );
}

/** What a step refuses with. */
export async function refusal(step: () => unknown): Promise<SecurityDomainError> {
  try {
    await step();
  } catch (error) {
    if (error instanceof SecurityDomainError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}
