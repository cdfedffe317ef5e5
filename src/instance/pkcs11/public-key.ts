// Signatures checked by the OpenSSL inside Node, over a digest where the message is not known. No module is asked.
import { NativePublicKey } from './native.js';

export type SignatureScheme = 'PKCS1' | 'PSS' | 'ECDSA';

// Shared with native/public/public_key.h.
const schemes: Readonly<Record<SignatureScheme, number>> = { PKCS1: 1, PSS: 2, ECDSA: 3 };

export class PublicKey {
  readonly #native: InstanceType<typeof NativePublicKey>;

  /** From a SubjectPublicKeyInfo in DER. Throws a TypeError for anything else, points off their curve included. */
  constructor(subjectPublicKeyInfo: Uint8Array) {
    this.#native = new NativePublicKey(subjectPublicKeyInfo);
  }

  /**
   * Does the signature fit the digest (32, 48 or 64 bytes of SHA-256, SHA-384 or SHA-512)? ECDSA signatures are r and
   * s, each as long as the field (RFC 7518 section 3.4); the salt of PSS is as long as the digest (section 3.5).
   * False for whatever does not verify. On another thread.
   */
  async verify(scheme: SignatureScheme, digest: Uint8Array, signature: Uint8Array): Promise<boolean> {
    // Awaited, so that what the caller gets is a Promise of its own realm: the addon's is of the realm that loaded the
    // addon, and who asks `instanceof Promise` would take it for the answer.
    return await this.#native.verify(schemes[scheme], digest, signature);
  }

  /** The same on this thread: RSA and P-256 take some tens of microseconds. */
  verifySync(scheme: SignatureScheme, digest: Uint8Array, signature: Uint8Array): boolean {
    return this.#native.verifySync(schemes[scheme], digest, signature);
  }
}
