// JSON Web Encryption (RFC 7516) in the two forms of the security domain: `dir` for items, RSA-OAEP-256 for shares and
// wrapped master keys, both with A256CBC-HS512 (RFC 7518 section 5.2.5). Readers accept these two and nothing else:
// no other algorithm, no compression, no `crit`, no tag that is not 32 bytes (published readers skip the check then).
//
// The content encryption is our own, of Node's ciphers, for two reasons. No library opens a content whose key is
// unwrapped in a slot, and those that there are go through WebCrypto, which leaves copies of plaintexts in the memory
// of the process: shares and wrapping keys would stay in that of an instance.
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as z from 'zod';
import { assert } from '../values/assert.js';
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
export function sealDirect(key: Uint8Array, kid: string, payload: Uint8Array): string {
  return closeContent({ alg: 'dir', enc: ENC, kid }, Buffer.alloc(0), key, payload);
}

/** Opens an item; undefined for anything that is not exactly such a JWE, or not under this key. The caller wipes it. */
export function openDirect(jwe: string, key: Uint8Array): Buffer | undefined {
  const parts = parse(jwe, 'dir');
  if (parts?.encryptedKey.length !== 0) return undefined;
  return openContent(key, parts);
}

/** Closes a payload for the owner of an RSA key. The `kid` is the text that the service writes. */
export function sealTo(publicKey: KeyObject, payload: Uint8Array): string {
  const key = randomBytes(CEK_BYTES);
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const encryptedKey = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha256' }, key);
    return closeContent({ alg: 'RSA-OAEP-256', enc: ENC, kid: 'not used' }, encryptedKey, key, payload);
  } finally {
    wipe(key);
  }
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

// RFC 7518 section 5.2.2.1.
function closeContent(
  header: { readonly alg: string; readonly enc: typeof ENC; readonly kid: string },
  encryptedKey: Buffer,
  key: Uint8Array,
  payload: Uint8Array,
): string {
  assert(key.length === CEK_BYTES, 'a content key is two keys of 32 bytes');
  const head = toBase64url(Buffer.from(JSON.stringify(header)));
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-cbc', key.subarray(CEK_BYTES / 2), iv);
  const ciphertext = Buffer.concat([cipher.update(payload), cipher.final()]);
  const tag = tagOf(key, { header: head, iv, ciphertext });
  return [head, ...[encryptedKey, iv, ciphertext, tag].map(toBase64url)].join('.');
}

function tagOf(
  key: Uint8Array,
  { header, iv, ciphertext }: Pick<Parts, 'header' | 'iv' | 'ciphertext'>,
): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(header.length * 8));
  return createHmac('sha512', key.subarray(0, CEK_BYTES / 2))
    .update(header, 'ascii')
    .update(iv)
    .update(ciphertext)
    .update(length)
    .digest()
    .subarray(0, TAG_BYTES);
}

// RFC 7518 section 5.2.2.2.
function openContent(key: Uint8Array, parts: Parts): Buffer | undefined {
  if (key.length !== CEK_BYTES || !equalBytes(tagOf(key, parts), parts.tag)) return undefined;
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
