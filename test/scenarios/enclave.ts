// The other side of a key release: an enclave with a key pair of its own and an attestation service that vouches for
// it. It reads what the pool released to it with nothing but Node's crypto.
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
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AttestationService } from '../instance/hsm/attestation-service.js';
import { at, text } from './pool.js';

/** The hash of OAEP by the name of the wrap. */
const OAEP: Readonly<Record<string, string>> = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384',
};
export const WRAPS = Object.keys(OAEP);
const BITS = 2_048;

export interface Released {
  readonly request: unknown;
  /** `response.key` of the payload. */
  readonly bundle: unknown;
  /** What `key_hsm` of the bundle holds. */
  readonly wrapped: unknown;
  /** The bytes that were wrapped: PKCS#8, or those of a symmetric key. */
  readonly material: Buffer;
  readonly key: KeyObject;
  /** Leaf first. */
  readonly chain: readonly X509Certificate[];
}

export class Enclave {
  /** The name of its key in its assertions. */
  readonly kid = 'enclave';
  readonly #pair = generateKeyPairSync('rsa', { modulusLength: BITS });
  readonly #directory = mkdtempSync(join(tmpdir(), 'trivet-enclave-'));

  private constructor(readonly service: AttestationService) {
    writeFileSync(this.#ca, service.ca);
  }

  static async start(): Promise<Enclave> {
    return new Enclave(await AttestationService.start());
  }

  async stop(): Promise<void> {
    await this.service.stop();
    rmSync(this.#directory, { recursive: true });
  }

  get #ca(): string {
    return join(this.#directory, 'ca.pem');
  }

  /** What makes a pool believe the attestation service. */
  get options(): readonly string[] {
    return ['--attestor', `${this.service.issuer},${this.#ca}`];
  }

  /** A policy that an assertion with this code meets, as the pool writes it. */
  policy(code = 'good'): string {
    const rule = { allOf: [{ claim: 'x.code', equals: code }], authority: this.service.issuer };
    return JSON.stringify({ anyOf: [rule], version: '1.0.0' });
  }

  /** Of the attestation service, for this enclave. */
  assertion(code = 'good', lifeS = 600): Promise<string> {
    return this.assertionOf({ x: { code } }, lifeS);
  }

  /** With these claims besides its end and the enclave's key. */
  assertionOf(claims: object, lifeS = 600): Promise<string> {
    const jwk = this.#pair.publicKey.export({ format: 'jwk' });
    return this.service.token({
      exp: Math.floor(Date.now() / 1_000) + lifeS,
      'x-ms-runtime': { keys: [{ ...jwk, kid: this.kid, key_ops: ['encrypt'] }] },
      ...claims,
    });
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
    const keyHsm = text(bundle, 'key', 'key_hsm');
    const material = this.unwrap(keyHsm);
    const key =
      text(bundle, 'key', 'kty') === 'oct'
        ? createSecretKey(material)
        : createPrivateKey({ key: material, format: 'der', type: 'pkcs8' });
    return { request: at(payload, 'request'), bundle, wrapped: parsed(keyHsm), material, key, chain };
  }

  /**
   * The bytes in a `key_hsm`, or in the value of a secure unwrap: RSA-OAEP(AES-256 key), then the material under it
   * with AES key wrap with padding (RFC 5649).
   */
  unwrap(keyHsm: string): Buffer {
    const wrapped = parsed(keyHsm);
    const algorithm = text(wrapped, 'header', 'enc');
    const blob = Buffer.from(text(wrapped, 'ciphertext'), 'base64url');
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
