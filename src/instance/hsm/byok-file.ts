// The file in which a key comes from another HSM (BYOK, section A2 of the service's specification). Pure.
import * as z from 'zod';
import { fromBase64url } from '../../values/bytes.js';
import { refuse } from './reading.js';

export interface ByokFile {
  /** Host of the exchange key's URL, with its port if it has one. */
  readonly host: string;
  readonly name: string;
  readonly version: string;
  /** What stands behind the RSA half is known once the exchange key is. */
  readonly ciphertext: Buffer;
}

const KEY_ID = /^https:\/\/([^/?#@]+)\/keys\/([0-9a-zA-Z-]{1,127})\/([0-9a-f]{32})$/i;

const file = z.object({
  schema_version: z.enum(['1.0.0', '1.0']),
  header: z.object({ kid: z.string(), alg: z.literal('dir'), enc: z.literal('CKM_RSA_AES_KEY_WRAP') }),
  ciphertext: z.string(),
});

/** Reads a `.byok` file; whatever it is not is refused with the member that is wrong. */
export function readByokFile(bytes: Uint8Array): ByokFile {
  const parsed = file.safeParse(jsonOf(bytes));
  if (!parsed.success) {
    const member = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
    return wrong(member === '' ? 'it is not a JSON object' : `'${member}' is missing or not supported`);
  }
  const { header, ciphertext } = parsed.data;
  const [, host, name, version] = KEY_ID.exec(header.kid) ?? [];
  if (host === undefined || name === undefined || version === undefined) {
    return wrong("'header.kid' is not the full id of a key version");
  }
  const decoded = fromBase64url(ciphertext);
  if (!decoded || decoded.length === 0) return wrong("'ciphertext' is not base64url");
  return { host: host.toLowerCase(), name, version: version.toLowerCase(), ciphertext: decoded };
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

function wrong(why: string): never {
  return refuse('BadParameter', `Invalid key_hsm: ${why}`);
}
