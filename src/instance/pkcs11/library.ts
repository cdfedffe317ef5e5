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

export interface LibraryOptions {
  /**
   * A string for C_Initialize, as NSS wants it: `configdir='sql:/path' ...`. While a module is open in this process, it
   * is opened again with the same parameters only (CKR_CRYPTOKI_ALREADY_INITIALIZED).
   */
  readonly parameters?: string | undefined;
}

export interface SessionOptions {
  readonly readWrite?: boolean | undefined;
}

const LABEL_BYTES_MAX = 32;

/**
 * One opening of a module. The module itself is loaded and initialised once per process, however many libraries
 * and worker threads share it, and finalised when the last one closes.
 */
export class Library {
  readonly #native: NativeLibrary;
  #closing: Promise<void> | undefined;

  private constructor(native: NativeLibrary) {
    this.#native = native;
  }

  /**
   * Loads the module so that it keeps to its own libcrypto, and initialises it for use by several threads. If
   * somebody else had initialised it in this process, it is used as it is and never finalised from here.
   */
  static async open(modulePath: string, options: LibraryOptions = {}): Promise<Library> {
    const native = new NativeLibrary(modulePath, options.parameters ?? '');
    try {
      await native.open();
    } catch (error) {
      await native.close();
      throw error;
    }
    return new Library(native);
  }

  /** The same on this thread, as everything here that ends in `Sync`: for modules that are known to be quick. */
  static openSync(modulePath: string, options: LibraryOptions = {}): Library {
    const native = new NativeLibrary(modulePath, options.parameters ?? '');
    try {
      native.openSync();
    } catch (error) {
      void native.close();
      throw error;
    }
    return new Library(native);
  }

  async info(): Promise<LibraryInfo> {
    return (await this.#native.info()) as LibraryInfo;
  }

  infoSync(): LibraryInfo {
    return this.#native.infoSync() as LibraryInfo;
  }

  async slots(tokenPresent = false): Promise<number[]> {
    return this.#native.slots(tokenPresent);
  }

  slotsSync(tokenPresent = false): number[] {
    return this.#native.slotsSync(tokenPresent);
  }

  async slotInfo(slot: number): Promise<SlotInfo> {
    return (await this.#native.slotInfo(slot)) as SlotInfo;
  }

  slotInfoSync(slot: number): SlotInfo {
    return this.#native.slotInfoSync(slot) as SlotInfo;
  }

  async tokenInfo(slot: number): Promise<TokenInfo> {
    return (await this.#native.tokenInfo(slot)) as TokenInfo;
  }

  tokenInfoSync(slot: number): TokenInfo {
    return this.#native.tokenInfoSync(slot) as TokenInfo;
  }

  async mechanisms(slot: number): Promise<number[]> {
    return this.#native.mechanisms(slot);
  }

  mechanismsSync(slot: number): number[] {
    return this.#native.mechanismsSync(slot);
  }

  async mechanismInfo(slot: number, mechanism: number): Promise<MechanismInfo> {
    return (await this.#native.mechanismInfo(slot, mechanism)) as MechanismInfo;
  }

  mechanismInfoSync(slot: number, mechanism: number): MechanismInfo {
    return this.#native.mechanismInfoSync(slot, mechanism) as MechanismInfo;
  }

  /** Erases what the token held. `label` has at most 32 bytes of UTF-8. */
  async initToken(slot: number, soPin: Uint8Array, label: string): Promise<void> {
    const bytes = Buffer.from(label);
    if (bytes.length > LABEL_BYTES_MAX) throw new Pkcs11Error(CKR.ARGUMENTS_BAD, 'C_InitToken');
    await this.#native.initToken(slot, soPin, bytes);
  }

  async openSession(slot: number, options: SessionOptions = {}): Promise<Session> {
    const native = new NativeSession(this.#native, slot, options.readWrite ?? false);
    try {
      await native.open();
    } catch (error) {
      native.close();
      throw error;
    }
    return new Session(native, slot);
  }

  openSessionSync(slot: number, options: SessionOptions = {}): Session {
    const native = new NativeSession(this.#native, slot, options.readWrite ?? false);
    try {
      native.openSync();
    } catch (error) {
      native.close();
      throw error;
    }
    return new Session(native, slot);
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
   * module if nobody else has it open. Calls still waiting for their turn are refused. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#native.close();
    return this.#closing;
  }
}
