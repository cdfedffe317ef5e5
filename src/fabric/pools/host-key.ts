// The key of this host, made with the installation: it vouches for what the instances here run. Whoever can read its
// file can vouch for anything; it lies there for the owner only. The fabric hands on its path and its public half.
import { createPublicKey, generateKeyPairSync } from 'node:crypto';

/** A new key (Ed25519), as PEM. */
export function newHostKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** Its public half as a pool enrols it: SubjectPublicKeyInfo in base64url. */
export function enrolledHost(pem: string): string {
  return createPublicKey(pem).export({ format: 'der', type: 'spki' }).toString('base64url');
}
