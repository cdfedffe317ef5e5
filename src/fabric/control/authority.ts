// The fabric's own certificate authority: certifies the control port and nothing else. It is kept away from the
// pools' names, so that whoever runs the fabric, or steals this key, cannot end a pool's TLS under a pool's name.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { issueCertificate, keyIdOf, toPem } from '../../values/certificate.js';
import { DAY } from '../../values/moments.js';

const COMMON_NAME = 'Trivet fabric';
/** The names under which the control port is reached; also the only ones the authority may certify. */
const CONTROL_NAMES = { dns: ['localhost', 'login.localhost'], ip: ['127.0.0.1', '::1'] };
const PERMITTED_NAMES = { dns: ['localhost'], ip: ['127.0.0.0/8', '::1/128'] };
const AUTHORITY_DAYS = 3_650;
// A leaf is made at every start and never stored; this only has to outlast one run of the fabric.
const LEAF_DAYS = 825;

/** Both as PEM. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly certificate: string;
}

/** A new authority; `domain` and Azure's own are what it can never certify. */
export async function newAuthority(domain: string): Promise<KeyAndCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await issueCertificate({
    subject: { commonName: COMMON_NAME },
    issuer: { commonName: COMMON_NAME },
    publicKey: spkiOf(publicKey),
    ...lasting(AUTHORITY_DAYS),
    authority: true,
    pathLength: 0,
    permittedNames: PERMITTED_NAMES,
    excludedNames: { dns: [domain, 'managedhsm.azure.net'], ip: [] },
    sign: (tbs) => sign('sha256', tbs, privateKey),
  });
  return pem(privateKey, certificate);
}

/** A new key and certificate for the control port. */
export async function controlLeaf(authority: KeyAndCertificate): Promise<KeyAndCertificate> {
  const issuerKey = createPrivateKey(authority.key);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await issueCertificate({
    subject: { commonName: 'localhost' },
    issuer: { commonName: COMMON_NAME },
    publicKey: spkiOf(publicKey),
    ...lasting(LEAF_DAYS),
    names: CONTROL_NAMES,
    authority: false,
    usages: ['serverAuth'],
    authorityKeyId: keyIdOf(spkiOf(createPublicKey(issuerKey))),
    sign: (tbs) => sign('sha256', tbs, issuerKey),
  });
  return pem(privateKey, certificate);
}

function spkiOf(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' });
}

// Begins a little in the past: clocks of clients on other machines differ.
function lasting(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 300_000), notAfter: new Date(now + days * DAY * 1_000) };
}

function pem(key: KeyObject, certificate: Buffer): KeyAndCertificate {
  return {
    key: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    certificate: toPem(certificate),
  };
}
