// JSON Web Encryption (RFC 7516) in the two forms of the security domain: `dir` for items, RSA-OAEP-256 for shares and
// wrapped master keys, both with A256CBC-HS512 (RFC 7518 section 5.2.5). Readers accept these two and nothing else:
// no other algorithm, no compression, no `crit`, no tag that is not 32 bytes (published readers skip the check then).
import { createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { z } from 'zod';
import { equalBytes, toBase64url, wipe } from '../values/bytes.js';

const ENC = 'A256CBC-HS512';
const CEK_BYTES = 64;
const IV_BYTES = 16;
const TAG_BYTES = 32;
const HEADER_MAX = 1_024;

/**
 * Opens what RSA-OAEP-256 (SHA-256 for both hashes, empty label) has closed; undefined when it does not open.
 * Throws only when the owner of the key cannot answer at all. The room wipes the answer.
 */
export type UnwrapKey = (encryptedKey: Buffer) => Promise<Buffer | undefined>;

interface Parts {
  /** As it was sent, since that is what the tag covers. */
  readonly header: string;
  readonly encryptedKey: Buffer;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
}

/** Closes an item under its own key. The protected header is `{"alg":"dir","enc":"A256CBC-HS512","kid":KID}`. */
export function sealDirect(key: Uint8Array, kid: string, payload: Uint8Array): Promise<string> {
  return new CompactEncrypt(payload).setProtectedHeader({ alg: 'dir', enc: ENC, kid }).encrypt(key);
}

/** Opens an item; undefined for anything that is not exactly such a JWE, or not under this key. The caller wipes it. */
export async function openDirect(jwe: string, key: Uint8Array): Promise<Buffer | undefined> {
  const parts = parse(jwe, 'dir');
  if (parts?.encryptedKey.length !== 0) return undefined;
  try {
    const { plaintext } = await compactDecrypt(jwe, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: [ENC],
    });
    return Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
  } catch {
    return undefined; // the form is known to be right, so what failed is the tag
  }
}

/** Closes a payload for the owner of an RSA key. The `kid` is the text that the service writes. */
export function sealTo(publicKey: KeyObject, payload: Uint8Array): Promise<string> {
  return new CompactEncrypt(payload)
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: ENC, kid: 'not used' })
    .encrypt(publicKey);
}

/**
 * Opens what {@link sealTo} closed, with a key that may live elsewhere; undefined for anything that is not exactly
 * such a JWE, or not for this key. The caller wipes the payload.
 */
export async function openWith(jwe: string, unwrap: UnwrapKey): Promise<Buffer | undefined> {
  const parts = parse(jwe, 'RSA-OAEP-256');
  if (!parts || parts.encryptedKey.length === 0) return undefined;
  const unwrapped = await unwrap(parts.encryptedKey);
  // RFC 7516 section 11.5: what went wrong with the key must not be told from what went wrong with the content.
  const key = unwrapped?.length === CEK_BYTES ? unwrapped : randomBytes(CEK_BYTES);
  try {
    return openContent(key, parts);
  } finally {
    wipe(key, unwrapped);
  }
}

// RFC 7518 section 5.2.2.2. Our own because no library opens the content when the key is unwrapped in a slot: the
// header says RSA-OAEP-256, and the tag covers the header.
function openContent(key: Buffer, parts: Parts): Buffer | undefined {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(parts.header.length * 8));
  const mac = createHmac('sha512', key.subarray(0, CEK_BYTES / 2))
    .update(parts.header, 'ascii')
    .update(parts.iv)
    .update(parts.ciphertext)
    .update(length)
    .digest();
  if (!equalBytes(mac.subarray(0, TAG_BYTES), parts.tag)) return undefined;
  const decipher = createDecipheriv('aes-256-cbc', key.subarray(CEK_BYTES / 2), parts.iv);
  const head = decipher.update(parts.ciphertext);
  try {
    const rest = decipher.final();
    const payload = Buffer.concat([head, rest]);
    wipe(rest);
    return payload;
  } catch {
    return undefined; // padding: only who has the key can make it wrong under a right tag
  } finally {
    wipe(head);
  }
}

// `alg` is told apart by the caller; members beyond these three would change what the rest means.
const headerShape = z.strictObject({ alg: z.string(), enc: z.literal(ENC), kid: z.string().optional() });

function parse(jwe: string, alg: 'dir' | 'RSA-OAEP-256'): Parts | undefined {
  const [header = '', ...rest] = jwe.split('.');
  if (rest.length !== 4 || header.length > HEADER_MAX) return undefined;
  const headerBytes = decode(header);
  const [encryptedKey, iv, ciphertext, tag] = rest.map(decode);
  if (!headerBytes || !encryptedKey || !iv || !ciphertext || !tag) return undefined;
  if (iv.length !== IV_BYTES || tag.length !== TAG_BYTES) return undefined;
  if (ciphertext.length === 0 || ciphertext.length % 16 !== 0) return undefined;
  if (headerOf(headerBytes)?.alg !== alg) return undefined;
  return { header, encryptedKey, iv, ciphertext, tag };
}

function headerOf(bytes: Buffer): { alg: string } | undefined {
  try {
    return headerShape.safeParse(JSON.parse(bytes.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

// RFC 7515 section 2: no padding, and only the one spelling of the bytes.
function decode(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return toBase64url(bytes) === text ? bytes : undefined;
}
