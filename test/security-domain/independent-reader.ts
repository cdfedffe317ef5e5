// A reader written from the published format alone, with nothing but Node's cryptography: not a line of it is shared
// with what it checks.
import { X509Certificate, createDecipheriv, createHash, createHmac, privateDecrypt } from 'node:crypto';

interface Datum {
  compact_jwe: string;
  tag: string;
}

interface DomainJson {
  EncData: { data: Datum[]; kdf: string };
  SharedKeys: {
    enc_shares: { enc_key: string; x5t_256: string }[];
    key_algorithm: string;
    required: number;
  };
  version: number;
}

interface BlobJson {
  EncData: { data: Datum[]; kdf: string };
  WrappedKey: { enc_key: string; x5t_256: string };
}

export interface KeyFiles {
  readonly certificate: string;
  readonly privateKey: string;
}

type Opened = [tag: string, payloadHex: string][];

/** The items of a security domain file, from the first keys that it needs. */
export function readFileIndependently(text: string, keys: readonly KeyFiles[]): Opened {
  const { EncData } = JSON.parse(text) as DomainJson;
  return openItems(joinIndependently(text, keys).master, EncData.data);
}

/** The master key of a security domain file, and the shares that it was joined from. */
export function joinIndependently(
  text: string,
  keys: readonly KeyFiles[],
): { master: Buffer; shares: Buffer[] } {
  const { EncData, SharedKeys, version } = JSON.parse(text) as DomainJson;
  demand(version === 2 && EncData.kdf === 'sp108_kdf' && SharedKeys.key_algorithm === 'shamir_share');
  const shares = keys.slice(0, SharedKeys.required).map(({ certificate, privateKey }) => {
    const wrapped = SharedKeys.enc_shares.find(({ x5t_256: at }) => at === thumbprintOf(certificate));
    return openRsa(wrapped?.enc_key ?? '', privateKey);
  });
  demand(shares.length === SharedKeys.required && shares.every((share) => share.length === 64));
  const master = Buffer.from(
    Array.from({ length: 32 }, (_, i) => byteAtZero(shares.map((share) => share.readUInt16LE(2 * i)))),
  );
  return { master, shares };
}

/** The items of a restore blob. */
export function readBlobIndependently(text: string, exchange: KeyFiles): Opened {
  const { EncData, WrappedKey } = JSON.parse(text) as BlobJson;
  demand(EncData.kdf === 'sp108_kdf' && WrappedKey.x5t_256 === thumbprintOf(exchange.certificate));
  const master = openRsa(WrappedKey.enc_key, exchange.privateKey);
  demand(master.length === 32);
  return openItems(master, EncData.data);
}

function thumbprintOf(certificate: string): string {
  return createHash('sha256').update(new X509Certificate(certificate).raw).digest('base64url');
}

/** The content key of an item. */
export function itemKeyIndependently(master: Buffer, tag: string): Buffer {
  const input = Buffer.concat([
    Buffer.from('00000001', 'hex'),
    Buffer.from(tag),
    Buffer.from('0000000200', 'hex'),
  ]);
  return createHmac('sha512', master).update(input).digest();
}

function openItems(master: Buffer, data: readonly Datum[]): Opened {
  return data.map(({ compact_jwe: jwe, tag }) => {
    const key = itemKeyIndependently(master, tag);
    const header = JSON.stringify({ alg: 'dir', enc: 'A256CBC-HS512', kid: tag });
    demand(jwe.split('.')[1] === '');
    return [tag, openContent(jwe, header, key).toString('hex')];
  });
}

function openRsa(jwe: string, key: string): Buffer {
  const cek = privateDecrypt({ key, oaepHash: 'sha256' }, Buffer.from(jwe.split('.')[1] ?? '', 'base64url'));
  return openContent(jwe, '{"alg":"RSA-OAEP-256","enc":"A256CBC-HS512","kid":"not used"}', cek);
}

function openContent(jwe: string, wantedHeader: string, cek: Buffer): Buffer {
  const parts = jwe.split('.');
  const [header = '', , iv = '', ciphertext = '', tag = ''] = parts;
  demand(parts.length === 5 && !jwe.includes('=') && cek.length === 64);
  demand(Buffer.from(header, 'base64url').toString() === wantedHeader);
  const [ivBytes, ciphertextBytes] = [Buffer.from(iv, 'base64url'), Buffer.from(ciphertext, 'base64url')];
  const length = Buffer.alloc(8);
  length.writeUInt32BE(header.length * 8, 4);
  const mac = createHmac('sha512', cek.subarray(0, 32))
    .update(Buffer.concat([Buffer.from(header), ivBytes, ciphertextBytes, length]))
    .digest();
  demand(mac.subarray(0, 32).toString('base64url') === tag);
  const decipher = createDecipheriv('aes-256-cbc', cek.subarray(32), ivBytes);
  return Buffer.concat([decipher.update(ciphertextBytes), decipher.final()]);
}

// Lagrange at zero with big integers: slow, plain, and unlike the other one.
function byteAtZero(words: readonly number[]): number {
  const points = words.map((word) => [BigInt(word >> 9), BigInt(word & 511)] as const);
  let sum = 0n;
  for (const [x, y] of points) {
    let [above, below] = [y, 1n];
    for (const [other] of points) {
      if (other === x) continue;
      above *= -other;
      below *= x - other;
    }
    sum += above * power(((below % 257n) + 257n) % 257n, 255n);
  }
  const byte = Number(((sum % 257n) + 257n) % 257n);
  demand(byte < 256);
  return byte;
}

function power(base: bigint, exponent: bigint): bigint {
  return exponent === 0n ? 1n : (base * power(base, exponent - 1n)) % 257n;
}

function demand(condition: boolean): void {
  if (!condition) throw new Error('not in the published format');
}
