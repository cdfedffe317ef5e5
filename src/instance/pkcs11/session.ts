// One session of a token: login, objects, keys and what is done with them.
//
// A session does one thing at a time. Asynchronous calls queue up; a synchronous call while one is in flight is
// refused with CKR_OPERATION_ACTIVE. Every single-part operation is one native call, so that none comes between
// its Init and the rest. Use several sessions to work in parallel.
import {
  attributes,
  decodeAttributes,
  encodeTemplate,
  type AttributeName,
  type AttributeValues,
  type Template,
} from './attribute.js';
import { encodeMechanism, type Mechanism } from './mechanism.js';
import type { NativeSession } from './native.js';
import { Cipher, Digester, Multipart, OperationKind, Signer, Verifier } from './operation.js';

/** `CONTEXT_SPECIFIC` between the beginning of a multi-part operation and its first part, for keys that ask each time. */
export type User = 'SO' | 'USER' | 'CONTEXT_SPECIFIC';

export interface SessionInfo {
  readonly slot: number;
  /** See CKS. */
  readonly state: number;
  readonly flags: number;
  readonly deviceError: number;
}

export type OaepHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

// Shared with the enum OaepHash of native/p11/session.h.
const oaepHashes: Readonly<Record<OaepHash, number>> = { sha1: 1, sha256: 2, sha384: 3, sha512: 4 };

const users: Readonly<Record<User, number>> = { SO: 0, USER: 1, CONTEXT_SPECIFIC: 2 };

// Enough for what is short enough to be signed in line; comes from Node's buffer pool.
const SIGNATURE_ROOM = 256;

const NO_KEY = 0;
const NOTHING = new Uint8Array(0);

export class Session {
  readonly handle: number;
  readonly slot: number;
  readonly #native: NativeSession;
  #multipart: Multipart | undefined;

  /** Made by {@link Library.openSession}, of an open one. */
  constructor(native: NativeSession, slot: number) {
    this.#native = native;
    this.handle = native.handle();
    this.slot = slot;
  }

  /** Is no multi-part operation open, nor one that failed half-way? */
  get idle(): boolean {
    return this.#multipart?.over ?? true;
  }

  async info(): Promise<SessionInfo> {
    return (await this.#native.info()) as SessionInfo;
  }

  infoSync(): SessionInfo {
    return this.#native.infoSync() as SessionInfo;
  }

  /** Ends the session and with it its session objects. A call in flight is waited for in the background. */
  close(): void {
    this.#native.close();
  }

  async login(user: User, pin: Uint8Array): Promise<void> {
    await this.#native.login(users[user], pin);
  }

  async logout(): Promise<void> {
    await this.#native.logout();
  }

  /** Sets the user's PIN; the SO is logged in. */
  async initPin(pin: Uint8Array): Promise<void> {
    await this.#native.initPin(pin);
  }

  async setPin(oldPin: Uint8Array, newPin: Uint8Array): Promise<void> {
    await this.#native.setPin(oldPin, newPin);
  }

  async createObject(template: Template): Promise<number> {
    return withTemplate(template, 'C_CreateObject', (encoded) => this.#native.createObject(encoded));
  }

  async copyObject(object: number, template: Template = {}): Promise<number> {
    return withTemplate(template, 'C_CopyObject', (encoded) => this.#native.copyObject(object, encoded));
  }

  async destroyObject(object: number): Promise<void> {
    await this.#native.destroyObject(object);
  }

  destroyObjectSync(object: number): void {
    this.#native.destroyObjectSync(object);
  }

  /** Handles of the objects that have all of these attributes; at most `max`, if given. */
  async findObjects(template: Template, max: number = Number.MAX_SAFE_INTEGER): Promise<number[]> {
    return withTemplate(template, 'C_FindObjectsInit', (encoded) => this.#native.findObjects(encoded, max));
  }

  /**
   * Reads attributes. One that the object does not have is `undefined`. One that the token keeps to itself refuses
   * the whole call with CKR_ATTRIBUTE_SENSITIVE, or is `undefined` too with `sensitive: 'omit'`.
   */
  async getAttributes<N extends AttributeName>(
    object: number,
    names: readonly N[],
    options: { readonly sensitive?: 'refuse' | 'omit' } = {},
  ): Promise<AttributeValues<N>> {
    const types = names.map((name) => {
      if (!Object.hasOwn(attributes, name)) throw new TypeError(`no such attribute: ${name}`);
      return attributes[name][0];
    });
    const encoded = await this.#native.getAttributes(object, types);
    return decodeAttributes(encoded, options.sensitive === 'omit');
  }

  async setAttributes(object: number, template: Template): Promise<void> {
    await withTemplate(template, 'C_SetAttributeValue', (encoded) =>
      this.#native.setAttributes(object, encoded),
    );
  }

  async generateKey(mechanism: Mechanism, template: Template): Promise<number> {
    const type = encodeMechanism(mechanism);
    return withTemplate(template, 'C_GenerateKey', (encoded) => this.#native.generateKey(type, encoded));
  }

  async generateKeyPair(
    mechanism: Mechanism,
    publicTemplate: Template,
    privateTemplate: Template,
  ): Promise<{ publicKey: number; privateKey: number }> {
    const type = encodeMechanism(mechanism);
    const [publicKey, privateKey] = await withTemplate(publicTemplate, 'C_GenerateKeyPair', (forPublic) =>
      withTemplate(privateTemplate, 'C_GenerateKeyPair', (forPrivate) =>
        this.#native.generateKeyPair(type, forPublic, forPrivate),
      ),
    );
    return { publicKey, privateKey };
  }

  async wrapKey(mechanism: Mechanism, wrappingKey: number, key: number): Promise<Buffer> {
    return this.#native.wrapKey(encodeMechanism(mechanism), wrappingKey, key);
  }

  async unwrapKey(
    mechanism: Mechanism,
    unwrappingKey: number,
    wrapped: Uint8Array,
    template: Template,
  ): Promise<number> {
    const type = encodeMechanism(mechanism);
    return withTemplate(template, 'C_UnwrapKey', (encoded) =>
      this.#native.unwrapKey(type, unwrappingKey, wrapped, encoded),
    );
  }

  async deriveKey(mechanism: Mechanism, baseKey: number, template: Template): Promise<number> {
    const type = encodeMechanism(mechanism);
    return withTemplate(template, 'C_DeriveKey', (encoded) => this.#native.deriveKey(type, baseKey, encoded));
  }

  async sign(mechanism: Mechanism, key: number, data: Uint8Array): Promise<Buffer> {
    return this.#native.sign(encodeMechanism(mechanism), key, data);
  }

  signSync(mechanism: Mechanism, key: number, data: Uint8Array): Buffer {
    const room = Buffer.allocUnsafe(SIGNATURE_ROOM);
    const signature = this.#native.signSync(encodeMechanism(mechanism), key, data, room);
    return typeof signature === 'number' ? room.subarray(0, signature) : signature;
  }

  /** False for a signature that is wrong or of the wrong length; everything else that fails throws. */
  async verify(mechanism: Mechanism, key: number, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return this.#native.verify(encodeMechanism(mechanism), key, data, signature);
  }

  verifySync(mechanism: Mechanism, key: number, data: Uint8Array, signature: Uint8Array): boolean {
    return this.#native.verifySync(encodeMechanism(mechanism), key, data, signature);
  }

  async encrypt(mechanism: Mechanism, key: number, data: Uint8Array): Promise<Buffer> {
    return this.#native.encrypt(encodeMechanism(mechanism), key, data);
  }

  encryptSync(mechanism: Mechanism, key: number, data: Uint8Array): Buffer {
    return this.#native.encryptSync(encodeMechanism(mechanism), key, data);
  }

  async decrypt(mechanism: Mechanism, key: number, encrypted: Uint8Array): Promise<Buffer> {
    return this.#native.decrypt(encodeMechanism(mechanism), key, encrypted);
  }

  decryptSync(mechanism: Mechanism, key: number, encrypted: Uint8Array): Buffer {
    return this.#native.decryptSync(encodeMechanism(mechanism), key, encrypted);
  }

  /**
   * RSA-OAEP with any of these hashes (for label and mask alike), whatever the module supports: raw RSA in the
   * module, unpadding in constant time in the addon. Whatever is wrong with the ciphertext, the error is the same
   * CKR_ENCRYPTED_DATA_INVALID of C_Decrypt. What does not depend on the ciphertext, such as a wrong handle, is
   * told as it is, by C_DecryptInit.
   */
  async decryptOaep(
    key: number,
    encrypted: Uint8Array,
    options: { readonly hash: OaepHash; readonly label?: Uint8Array | undefined },
  ): Promise<Buffer> {
    return this.#native.decryptOaep(key, encrypted, oaepHashes[options.hash], options.label ?? NOTHING);
  }

  async digest(mechanism: Mechanism, data: Uint8Array): Promise<Buffer> {
    return this.#native.digest(encodeMechanism(mechanism), data);
  }

  /** At most 1 MiB. */
  async generateRandom(length: number): Promise<Buffer> {
    return this.#native.generateRandom(length);
  }

  generateRandomSync(length: number): Buffer {
    return this.#native.generateRandomSync(length);
  }

  signer(mechanism: Mechanism, key: number): Signer {
    return this.#begun(new Signer(this.#native, OperationKind.Sign, encodeMechanism(mechanism), key));
  }

  verifier(mechanism: Mechanism, key: number): Verifier {
    return this.#begun(new Verifier(this.#native, OperationKind.Verify, encodeMechanism(mechanism), key));
  }

  encryptor(mechanism: Mechanism, key: number): Cipher {
    return this.#begun(new Cipher(this.#native, OperationKind.Encrypt, encodeMechanism(mechanism), key));
  }

  decryptor(mechanism: Mechanism, key: number): Cipher {
    return this.#begun(new Cipher(this.#native, OperationKind.Decrypt, encodeMechanism(mechanism), key));
  }

  digester(mechanism: Mechanism): Digester {
    return this.#begun(new Digester(this.#native, OperationKind.Digest, encodeMechanism(mechanism), NO_KEY));
  }

  #begun<T extends Multipart>(operation: T): T {
    // One that is refused because another is open does not end that one.
    if (this.idle) this.#multipart = operation;
    return operation;
  }
}

// The addon has its own copy by the time `call` has returned, long before its promise settles.
function withTemplate<T>(template: Template, functionName: string, call: (encoded: Buffer) => T): T {
  const encoded = encodeTemplate(template, functionName);
  try {
    return call(encoded);
  } finally {
    encoded.fill(0);
  }
}
