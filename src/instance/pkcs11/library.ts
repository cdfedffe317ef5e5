// A PKCS#11 module, its slots and its tokens.
import { CKR } from './constants.js';
import { Pkcs11Error } from './error.js';
import { NativeLibrary, NativeSession } from './native.js';
import { Session } from './session.js';

export interface LibraryInfo {
  readonly cryptokiVersion: string;
  readonly manufacturerId: string;
  readonly libraryDescription: string;
  readonly libraryVersion: string;
}

export interface SlotInfo {
  readonly slotDescription: string;
  readonly manufacturerId: string;
  /** See SLOT_FLAGS. */
  readonly flags: number;
  readonly hardwareVersion: string;
  readonly firmwareVersion: string;
}

/** Counts that the token does not tell are `undefined`. */
export interface TokenInfo {
  readonly label: string;
  readonly manufacturerId: string;
  readonly model: string;
  readonly serialNumber: string;
  /** See TOKEN_FLAGS. */
  readonly flags: number;
  readonly maxSessionCount: number | undefined;
  readonly sessionCount: number | undefined;
  readonly maxRwSessionCount: number | undefined;
  readonly rwSessionCount: number | undefined;
  readonly maxPinLen: number | undefined;
  readonly minPinLen: number | undefined;
  readonly totalPublicMemory: number | undefined;
  readonly freePublicMemory: number | undefined;
  readonly totalPrivateMemory: number | undefined;
  readonly freePrivateMemory: number | undefined;
  readonly hardwareVersion: string;
  readonly firmwareVersion: string;
  readonly utcTime: string;
}

export interface MechanismInfo {
  /** In bits or bytes, as the mechanism has it. */
  readonly minKeySize: number;
  readonly maxKeySize: number;
  /** See MECHANISM_FLAGS. */
  readonly flags: number;
}

const LABEL_BYTES_MAX = 32;

/**
 * One opening of a module. The module itself is loaded and initialised once per process, however many libraries
 * and worker threads share it, and finalised when the last one closes.
 */
export class Library {
  readonly #native: NativeLibrary;

  private constructor(native: NativeLibrary) {
    this.#native = native;
  }

  /**
   * Loads the module so that it keeps to its own libcrypto, and initialises it for use by several threads. If
   * somebody else had initialised it in this process, it is used as it is and never finalised from here.
   */
  static open(modulePath: string): Library {
    return new Library(new NativeLibrary(modulePath));
  }

  info(): LibraryInfo {
    return this.#native.info() as LibraryInfo;
  }

  slots(tokenPresent = false): number[] {
    return this.#native.slots(tokenPresent);
  }

  slotInfo(slot: number): SlotInfo {
    return this.#native.slotInfo(slot) as SlotInfo;
  }

  tokenInfo(slot: number): TokenInfo {
    return this.#native.tokenInfo(slot) as TokenInfo;
  }

  mechanisms(slot: number): number[] {
    return this.#native.mechanisms(slot);
  }

  mechanismInfo(slot: number, mechanism: number): MechanismInfo {
    return this.#native.mechanismInfo(slot, mechanism) as MechanismInfo;
  }

  /** Erases what the token held. `label` has at most 32 bytes of UTF-8. */
  async initToken(slot: number, soPin: Uint8Array, label: string): Promise<void> {
    const bytes = Buffer.from(label);
    if (bytes.length > LABEL_BYTES_MAX) throw new Pkcs11Error(CKR.ARGUMENTS_BAD, 'C_InitToken');
    await this.#native.initToken(slot, soPin, bytes);
  }

  openSession(slot: number, options: { readonly readWrite?: boolean } = {}): Session {
    return new Session(new NativeSession(this.#native, slot, options.readWrite ?? false), slot);
  }

  /**
   * Closes the sessions that were opened here on the slot, those with a call in flight as soon as it is back.
   * Sessions of other libraries and threads stay.
   */
  closeAllSessions(slot: number): void {
    this.#native.closeAllSessions(slot);
  }

  /**
   * Refuses every further call at once, then waits for those in flight, closes the sessions and finalises the
   * module if nobody else has it open. Calls still waiting for their turn are refused.
   */
  close(): Promise<void> {
    return this.#native.close();
  }
}
