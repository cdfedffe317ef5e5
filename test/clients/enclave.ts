// The other side of a key release, with nothing but Node's crypto: an enclave with a key pair of its own, that reads
// what the pool released to it.
import {
  X509Certificate,
  constants,
  createDecipheriv,
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  privateDecrypt,
  verify,
} from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { at, text } from '../scenarios/pool.js';

/** The hash of OAEP by the name of the wrap. */
const OAEP: Readonly<Record<string, string>> = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384',
};
const BITS = 2_048;

export interface Released {
  readonly request: unknown;
  /** `response.key` of the payload. */
  readonly bundle: unknown;
  readonly key: KeyObject;
  /** Leaf first. */
  readonly chain: readonly X509Certificate[];
}

export class Enclave {
  readonly #pair = generateKeyPairSync('rsa', { modulusLength: BITS });

  /** As it stands in the assertion, at `x-ms-runtime.keys`. */
  get jwk(): JsonWebKey {
    return { ...this.#pair.publicKey.export({ format: 'jwk' }), kid: 'enclave', key_ops: ['encrypt'] };
  }

  /** Checks the signature of a released key by its own certificate, and opens it. */
  open(token: string): Released {
    const [head = '', body = '', signature = ''] = token.split('.');
    const header = parsed(head);
    const chain = (at(header, 'x5c') as string[]).map(
      (der) => new X509Certificate(Buffer.from(der, 'base64')),
    );
    const [leaf] = chain;
    if (text(header, 'alg') !== 'RS256' || !leaf) throw new Error('not signed with RS256 and a certificate');
    if (
      !verify('sha256', Buffer.from(`${head}.${body}`), leaf.publicKey, Buffer.from(signature, 'base64url'))
    ) {
      throw new Error('the signature is not of the certificate');
    }
    const payload = parsed(body);
    const bundle = at(payload, 'response', 'key');
    const wrapped = parsed(text(bundle, 'key', 'key_hsm'));
    const material = this.#unwrap(
      text(wrapped, 'header', 'enc'),
      Buffer.from(text(wrapped, 'ciphertext'), 'base64url'),
    );
    const key =
      text(bundle, 'key', 'kty') === 'oct'
        ? createSecretKey(material)
        : createPrivateKey({ key: material, format: 'der', type: 'pkcs8' });
    return { request: at(payload, 'request'), bundle, key, chain };
  }

  /** RSA-OAEP(AES-256 key), then the material under it: AES key wrap with padding (RFC 5649). */
  #unwrap(algorithm: string, blob: Buffer): Buffer {
    const oaepHash = OAEP[algorithm];
    if (oaepHash === undefined) throw new Error(`unknown wrap ${algorithm}`);
    const wrap = privateDecrypt(
      { key: this.#pair.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash },
      blob.subarray(0, BITS / 8),
    );
    const unwrap = createDecipheriv('id-aes256-wrap-pad', wrap, Buffer.from('a65959a6', 'hex'));
    return Buffer.concat([unwrap.update(blob.subarray(BITS / 8)), unwrap.final()]);
  }
}

function parsed(part: string): unknown {
  return JSON.parse(Buffer.from(part, 'base64url').toString());
}
