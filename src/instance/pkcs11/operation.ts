// Multi-part operations. One at a time per session: while one is open, the module refuses others there with
// CKR_OPERATION_ACTIVE. An operation ends with `final`, with its first error, or with its session.
import { CKR } from './constants.js';
import { Pkcs11Error } from './error.js';
import type { EncodedMechanism, NativeSession } from './native.js';

// Shared with the enum Operation of native/p11/session.h.
export const enum OperationKind {
  Sign = 0,
  Verify = 1,
  Encrypt = 2,
  Decrypt = 3,
  Digest = 4,
}

const finalNames = [
  'C_SignFinal',
  'C_VerifyFinal',
  'C_EncryptFinal',
  'C_DecryptFinal',
  'C_DigestFinal',
] as const;

/** What the operations below have in common. */
export class Multipart {
  readonly #native: NativeSession;
  readonly #kind: OperationKind;
  readonly #begun: Promise<void>;
  #ended = false;
  #failed = false;

  constructor(native: NativeSession, kind: OperationKind, mechanism: EncodedMechanism, key: number) {
    this.#native = native;
    this.#kind = kind;
    this.#begun = native.begin(kind, mechanism, key);
    // Told by the first update or final; nobody else waits for it.
    this.#begun.catch(() => {
      this.#ended = true;
    });
  }

  /** True once the session is free for another. Not after a failure half-way: NSS leaves some of those open. */
  get over(): boolean {
    return this.#ended && !this.#failed;
  }

  protected add(part: Uint8Array): Promise<Buffer> {
    return this.#step((native, kind) => native.update(kind, part));
  }

  protected end(): Promise<Buffer> {
    return this.#last((native, kind) => native.finish(kind));
  }

  protected endVerify(signature: Uint8Array): Promise<boolean> {
    return this.#last((native) => native.finishVerify(signature));
  }

  async #step<T>(call: (native: NativeSession, kind: OperationKind) => Promise<T>): Promise<T> {
    await this.#begun;
    // After its end another operation may be open on the session; it must not be fed by this one.
    if (this.#ended) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED, finalNames[this.#kind]);
    try {
      return await call(this.#native, this.#kind);
    } catch (error) {
      this.#ended = true;
      this.#failed = true;
      throw error;
    }
  }

  #last<T>(call: (native: NativeSession, kind: OperationKind) => Promise<T>): Promise<T> {
    return this.#step((native, kind) => {
      this.#ended = true;
      return call(native, kind);
    });
  }
}

export class Signer extends Multipart {
  async update(data: Uint8Array): Promise<void> {
    await this.add(data);
  }

  final(): Promise<Buffer> {
    return this.end();
  }
}

export class Verifier extends Multipart {
  async update(data: Uint8Array): Promise<void> {
    await this.add(data);
  }

  final(signature: Uint8Array): Promise<boolean> {
    return this.endVerify(signature);
  }
}

/** Encrypts or decrypts: both answer with what is ready so far, and with the rest at the end. */
export class Cipher extends Multipart {
  update(data: Uint8Array): Promise<Buffer> {
    return this.add(data);
  }

  final(): Promise<Buffer> {
    return this.end();
  }
}

export class Digester extends Multipart {
  async update(data: Uint8Array): Promise<void> {
    await this.add(data);
  }

  final(): Promise<Buffer> {
    return this.end();
  }
}
