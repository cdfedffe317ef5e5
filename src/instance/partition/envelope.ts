// How a secret goes from an instance to its provisioner: closed under a key that both derive from the PINs, which each
// reads from their file. A message in clear would lie in the buffers of the channel, which nobody wipes.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { wipe } from '../../values/bytes.js';
import type { Pins } from './token.js';

const CIPHER = 'aes-256-gcm';
const SALT_BYTES = 32;
/** The key is for one message, so the nonce may be always the same (NIST SP 800-38D section 8). */
const NONCE = Buffer.alloc(12);
const TAG_BYTES = 16;

/** Salt, tag, ciphertext. The caller wipes the secret. */
export function closeEnvelope(pins: Pins, secret: Uint8Array): Uint8Array {
  const salt = randomBytes(SALT_BYTES);
  const key = deriveKey(pins, salt);
  const cipher = createCipheriv(CIPHER, key, NONCE);
  wipe(key);
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
  return Buffer.concat([salt, cipher.getAuthTag(), ciphertext]);
}

/** Throws for anything that was not closed under these PINs. The caller wipes the secret. */
export function openEnvelope(pins: Pins, envelope: Uint8Array): Uint8Array {
  const salt = envelope.subarray(0, SALT_BYTES);
  const key = deriveKey(pins, salt);
  const decipher = createDecipheriv(CIPHER, key, NONCE, { authTagLength: TAG_BYTES });
  wipe(key);
  decipher.setAuthTag(envelope.subarray(SALT_BYTES, SALT_BYTES + TAG_BYTES));
  const secret = decipher.update(envelope.subarray(SALT_BYTES + TAG_BYTES));
  try {
    decipher.final();
    return secret;
  } catch (error) {
    wipe(secret);
    throw error;
  }
}

function deriveKey({ so, user }: Pins, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', `${so} ${user}`, salt, 'trivet provisioner', 32));
}
