// One slot as one HSM partition: it makes keys, opens sealed ones and uses them. Alone knows object handles. Keys
// generated here never leave the slot in clear; what passes in clear by its nature (import, `unwrapKey`) is wiped.
import { LRUCache } from 'lru-cache';
import {
  type KeyMaterial,
  type KeySpec,
  type PublicPart,
  type MacAlgorithm,
  type RsaEncryptionAlgorithm,
  type SealedKey,
  type SignatureAlgorithm,
} from '../../values/key-spec.js';
import { assert } from '../../values/assert.js';
import { publicKeyOf } from '../../values/public-key.js';
import { CKM, CKR } from '../pkcs11/constants.js';
import { Pkcs11Error } from '../pkcs11/error.js';
import type { Mechanism } from '../pkcs11/mechanism.js';
import { PublicKey } from '../pkcs11/public-key.js';
import type { Session } from '../pkcs11/session.js';
import { attestOpen, readPartitionKey, signAsPartition, type Attestations } from './attest.js';
import type { OpenKey } from './key-cache.js';
import { examine, wipeMaterial } from './key-material.js';
import { unwrapped, wrapPadded } from './key-wrap.js';
import { belongs, checkValue, generateIn, materialTemplate, publicOf } from './key-objects.js';
import { macs, probe, signing, type Capabilities } from './mechanisms.js';
import { exchangeForm, macForm, openId, openIds, plainForm, type Form } from './form.js';
import type { Worker } from './sessions.js';
import { SlotKeeper, type Slot } from './slot.js';
import { SlotError } from './slot-error.js';
import {
  customerKeyOf,
  ephemeralWrapper,
  exportableKeyOf,
  exportWrappingKey,
  rawSecret,
} from './templates.js';
import type { TokenDirectory, WorkingCopy } from './token.js';
import {
  examineObject,
  expectedSpec,
  isOfPossibleLength,
  OAEP_SHA1,
  transportKey,
  type WrappedKey,
  type WrappedKind,
} from './wrapped-import.js';

export interface PartitionOptions {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** See `SlotOptions`. */
  readonly cachedKeysMax?: number;
  readonly destroyedMax?: number;
  /** Asked before every call of the slot: the name of a return code that it gets instead. Absent: all do their work. */
  readonly fault?: (() => string | undefined) | undefined;
}

const CACHED_KEYS_MAX = 10_000;
const DESTROYED_MAX = 500_000;
const PUBLIC_KEYS_MAX = 5_000;
/** RSA key generations at a time: they must never hold all workers. */
const GENERATORS = 2;

const WRAP: Mechanism = { type: CKM.AES_KEY_WRAP_PAD };
const RAW_WRAP: Mechanism = { type: CKM.AES_KEY_WRAP };
const ECB: Mechanism = { type: CKM.AES_ECB };
const PKCS1: Mechanism = { type: CKM.RSA_PKCS };
/** Octets. */
const WRAP_BLOCK = 8;
const MAC: Mechanism = { type: CKM.SHA256_HMAC };
const EPHEMERAL_LENGTH = 32;
const GCM_IV_LENGTH = 12;
const GCM_TAG_LENGTH = 16;

export class Partition {
  /** What the module does by itself and what is composed. */
  readonly capabilities: Capabilities;
  readonly #keeper: SlotKeeper;
  /** Public halves ready for verifying, by key id. */
  readonly #publicKeys = new LRUCache<string, PublicKey>({ max: PUBLIC_KEYS_MAX });
  readonly #directory: TokenDirectory;
  #copy: WorkingCopy;
  #domain: string;
  /** Openings under way by key id, so that many requests for one key open it once. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Wraps the keys that may be released; unknown until the pool is founded. */
  #exportKey: SealedKey | undefined;
  readonly #fault: PartitionOptions['fault'];
  #generating = 0;
  readonly #generators: (() => void)[] = [];

  private constructor(
    keeper: SlotKeeper,
    directory: TokenDirectory,
    copy: WorkingCopy,
    domain: string,
    fault: PartitionOptions['fault'],
  ) {
    this.#keeper = keeper;
    this.#fault = fault;
    this.#directory = directory;
    this.#copy = copy;
    this.#domain = domain;
    this.capabilities = probe(keeper.mechanisms);
  }

  /**
   * Opens a private copy of the golden token of `domain`, in this process and for its life: the module is initialised
   * once, with this token.
   * @throws when the token does not open, or when the module lacks a mechanism.
   */
  static async open(
    directory: TokenDirectory,
    domain: string,
    options: PartitionOptions,
  ): Promise<Partition> {
    const copy = await directory.copy(domain);
    const { user: pin } = await directory.pins();
    process.env['SOFTHSM2_CONF'] = copy.configuration;
    const keeper = await SlotKeeper.open({
      cachedKeysMax: CACHED_KEYS_MAX,
      destroyedMax: DESTROYED_MAX,
      ...options,
      pin,
    });
    return new Partition(keeper, directory, copy, domain, options.fault);
  }

  /** The domain whose token is open, or is being opened. */
  get domain(): string {
    return this.#domain;
  }

  /**
   * Closes the token and opens that of another domain in its place. From this very call on all work waits for it; no
   * key that was open stays so.
   */
  changeDomain(domain: string): Promise<void> {
    this.#domain = domain;
    return this.#keeper.reopen(async () => {
      const old = this.#copy;
      this.#copy = await this.#directory.copy(domain);
      process.env['SOFTHSM2_CONF'] = this.#copy.configuration;
      this.#publicKeys.clear();
      await old.remove();
    });
  }

  /** Keys that are open in the slot. */
  get cachedKeys(): number {
    return this.#keeper.cachedKeys;
  }

  /** Finishes what runs, ends the module and removes the working copy. */
  async close(): Promise<void> {
    await this.#keeper.close();
    await this.#copy.remove();
  }

  /** 32 bytes for one purpose of this instance, derived in the slot. */
  deriveSecret(purpose: string): Buffer | Promise<Buffer> {
    return this.#here((slot) => slot.here.operations.signSync(MAC, slot.storeKey, Buffer.from(purpose)));
  }

  /** Random bytes of the slot, 1 MiB at most. */
  random(length: number): Buffer | Promise<Buffer> {
    return this.#here((slot) => slot.here.operations.generateRandomSync(length));
  }

  /** From now on exportable keys are wrapped under this key, itself sealed under the data-wrapping key. */
  learnExportKey(key: SealedKey): void {
    this.#exportKey = key;
  }

  /** Makes a key in the slot and wraps it there; the slot keeps nothing. */
  async generate(id: string, spec: KeySpec, exportable = false): Promise<SealedKey> {
    const make = () =>
      this.#work(async (slot, worker) => {
        const made = await generateIn(worker.owner, spec, exportable);
        try {
          return await this.#seal(slot, worker, { id, spec, exportable }, made.handle, made.public);
        } finally {
          for (const handle of made.all) slot.destroy(handle);
        }
      });
    return spec.kty === 'RSA-HSM' ? this.#generateInTurn(make) : make();
  }

  /**
   * Takes clear key material into the slot and wraps it there. The caller wipes the material.
   * @throws SlotError `BadKeyMaterial` when it is not a sound key.
   */
  async importKey(id: string, given: KeyMaterial, exportable = false): Promise<SealedKey> {
    const { spec, material } = await examine(given);
    try {
      return await this.#work(async (slot, worker) => {
        const handle = await worker.owner.createObject({
          ...(exportable ? exportableKeyOf(spec) : customerKeyOf(spec)),
          ...materialTemplate(material),
        });
        try {
          return await this.#seal(slot, worker, { id, spec, exportable }, handle, publicOf(material));
        } finally {
          slot.destroy(handle);
        }
      });
    } finally {
      if (material !== given) wipeMaterial(material);
    }
  }

  /**
   * Takes a key that was wrapped for the exchange key `kek` into the slot; nothing of it is ever in clear outside.
   * @throws SlotError `BadWrappedKey`, one and the same whatever is wrong with it.
   */
  importWrapped(
    id: string,
    kek: SealedKey,
    wrapped: WrappedKey,
    kind: WrappedKind,
    exportable = false,
  ): Promise<SealedKey> {
    if (!isOfPossibleLength(kind, wrapped))
      return Promise.reject(new SlotError('BadWrappedKey', 'of a length that no such key has'));
    const expected = expectedSpec(kind, wrapped);
    return this.#withKey(
      kek,
      async (worker, handle, slot) => {
        const made: number[] = [];
        try {
          made.push(await worker.owner.unwrapKey(OAEP_SHA1, handle, wrapped.aes, transportKey));
          const template = exportable ? exportableKeyOf(expected) : customerKeyOf(expected);
          // Its point has to be derived once; the key that is opened later cannot derive.
          const derive = expected.kty === 'EC-HSM' ? { derive: true } : {};
          const [transport = 0] = made;
          const target = await worker.owner.unwrapKey(WRAP, transport, wrapped.target, {
            ...template,
            ...derive,
          });
          made.push(target);
          const found = await examineObject(worker, target, expected, wrapped, (object) =>
            slot.destroy(object),
          );
          return await this.#seal(slot, worker, { id, spec: found.spec, exportable }, target, found.public);
        } finally {
          for (const object of made) slot.destroy(object);
        }
      },
      refusedWrapped,
      exchangeForm,
    );
  }

  /**
   * Opens a sealed key afresh and sees that it is the key it is said to be. It stays open for use, unless it is not to
   * be used soon.
   * @throws SlotError `SlotFailed` when it does not open here, or is another key.
   */
  prove(key: SealedKey, keepOpen = true): Promise<void> {
    return this.#work(async (slot, worker) => {
      const handle = await this.#unwrap(slot, worker, key, plainForm);
      let proven = false;
      try {
        proven = await belongs(worker, handle, key);
      } finally {
        if (!proven || !keepOpen) slot.destroy(handle);
      }
      if (!proven) throw new SlotError('SlotFailed', `the blob of ${key.id} holds another key`);
      if (keepOpen) slot.cache.put(key.id, handle);
    });
  }

  /** {@link prove} for each of them. */
  async proveAll(keys: readonly SealedKey[], keepOpen = true): Promise<void> {
    await Promise.all(keys.map((key) => this.prove(key, keepOpen)));
  }

  /** Closes a key that will not be used again. */
  forget(id: string): void {
    this.#publicKeys.delete(id);
    void this.#keeper.use((slot) => {
      for (const open of openIds(id)) slot.cache.forget(open);
    });
  }

  /** Closes all keys: other keys may be meant from now on. Those that are still needed are opened again. */
  forgetAll(): void {
    this.#publicKeys.clear();
    void this.#keeper.use((slot) => slot.cache.clear());
  }

  /** RSA: as long as the modulus. EC: r and s, each as long as the field. The digest's length is the caller's to check. */
  sign(key: SealedKey, algorithm: SignatureAlgorithm, digest: Uint8Array): Buffer | Promise<Buffer> {
    const { mechanism, prefix, inline } = signing[algorithm];
    const data = prefix ? Buffer.concat([prefix, digest]) : digest;
    if (inline)
      return this.#withKeyHere(
        key,
        (session, handle) => session.signSync(mechanism, handle, data),
        refusedBySlot,
      );
    return this.#withKey(
      key,
      ({ operations }, handle) => operations.sign(mechanism, handle, data),
      refusedBySlot,
    );
  }

  /** PKCS #1 v1.5 padding and signature over the bytes as they are: at most the modulus' length less 11. */
  signRaw(key: SealedKey, data: Uint8Array): Promise<Buffer> {
    return this.#withKey(
      key,
      ({ operations }, handle) => operations.sign(PKCS1, handle, data),
      refusedBySlot,
    );
  }

  /** Does the signature fit the digest? Needs the public half only: the slot is not asked. */
  verify(
    key: SealedKey,
    algorithm: SignatureAlgorithm,
    digest: Uint8Array,
    signature: Uint8Array,
  ): boolean | Promise<boolean> {
    const { scheme, verifyInline } = signing[algorithm];
    const publicKey = this.#publicKeyOf(key);
    return verifyInline
      ? publicKey.verifySync(scheme, digest, signature)
      : publicKey.verify(scheme, digest, signature);
  }

  /**
   * The RSA private operation of decrypt and unwrap.
   * @throws SlotError `BadCiphertext`, one and the same whatever is wrong with the ciphertext.
   */
  decryptRsa(key: SealedKey, algorithm: RsaEncryptionAlgorithm, ciphertext: Uint8Array): Promise<Buffer> {
    const decrypt = (session: Session, handle: number): Promise<Buffer> => {
      switch (algorithm) {
        case 'RSA-OAEP':
          return session.decryptOaep(handle, ciphertext, { hash: 'sha1' });
        case 'RSA-OAEP-256':
          return session.decryptOaep(handle, ciphertext, { hash: 'sha256' });
        case 'RSA1_5':
          return session.decrypt(PKCS1, handle, ciphertext);
      }
    };
    return this.#withKey(key, ({ operations }, handle) => decrypt(operations, handle), refusedCiphertext);
  }

  /** The slot makes the 96-bit IV: a caller's could repeat, which gives the key away. */
  encryptAesGcm(
    key: SealedKey,
    plaintext: Uint8Array,
    aad?: Uint8Array,
  ): EncryptedGcm | Promise<EncryptedGcm> {
    return this.#withKeyHere(
      key,
      (session, handle) => {
        const iv = session.generateRandomSync(GCM_IV_LENGTH);
        const sealed = session.encryptSync(gcm(iv, aad), handle, plaintext);
        const end = sealed.length - GCM_TAG_LENGTH;
        return { ciphertext: sealed.subarray(0, end), iv, tag: sealed.subarray(end) };
      },
      refusedBySlot,
    );
  }

  /** @throws SlotError `BadCiphertext`; nothing of the plaintext is given out before the tag is checked. */
  decryptAesGcm(
    key: SealedKey,
    ciphertext: Uint8Array,
    iv: Uint8Array,
    tag: Uint8Array,
    aad?: Uint8Array,
  ): Buffer | Promise<Buffer> {
    if (tag.length !== GCM_TAG_LENGTH || iv.length === 0)
      throw new SlotError('BadCiphertext', 'a tag or IV of a wrong length');
    const sealed = Buffer.concat([ciphertext, tag]);
    return this.#withKeyHere(
      key,
      (session, handle) => session.decryptSync(gcm(iv, aad), handle, sealed),
      refusedCiphertext,
    );
  }

  /** CBC, with PKCS#7 padding or for whole blocks only. */
  encryptAesCbc(
    key: SealedKey,
    padded: boolean,
    iv: Uint8Array,
    plaintext: Uint8Array,
  ): Buffer | Promise<Buffer> {
    return this.#withKeyHere(
      key,
      (session, handle) => session.encryptSync(cbc(padded, iv), handle, plaintext),
      refusedBySlot,
    );
  }

  /** @throws SlotError `BadCiphertext`. */
  decryptAesCbc(
    key: SealedKey,
    padded: boolean,
    iv: Uint8Array,
    ciphertext: Uint8Array,
  ): Buffer | Promise<Buffer> {
    return this.#withKeyHere(
      key,
      (session, handle) => session.decryptSync(cbc(padded, iv), handle, ciphertext),
      refusedCiphertext,
    );
  }

  /**
   * AES key wrap of the caller's bytes: with padding (RFC 5649) 1 or more, without (RFC 3394) 16 or more and a
   * multiple of 8.
   */
  wrapAes(key: SealedKey, secret: Uint8Array, padded: boolean): Promise<Buffer> {
    return this.#withKey(
      key,
      async ({ owner, operations }, handle, slot) => {
        if (secret.length % WRAP_BLOCK !== 0) {
          return wrapPadded((block) => operations.encrypt(ECB, handle, block), secret);
        }
        const object = await owner.createObject({ ...rawSecret, value: secret });
        try {
          return await owner.wrapKey(padded ? WRAP : RAW_WRAP, handle, object);
        } finally {
          slot.destroy(object);
        }
      },
      refusedBySlot,
    );
  }

  /** @throws SlotError `BadCiphertext`. */
  unwrapAes(key: SealedKey, wrapped: Uint8Array, padded: boolean): Promise<Buffer> {
    return this.#withKey(
      key,
      async ({ owner }, handle, slot) => {
        const object = await owner.unwrapKey(padded ? WRAP : RAW_WRAP, handle, wrapped, rawSecret);
        try {
          const { value } = await owner.getAttributes(object, ['value']);
          if (!value) throw new SlotError('SlotFailed', 'the unwrapped bytes cannot be read');
          return value;
        } finally {
          slot.destroy(object);
        }
      },
      refusedCiphertext,
    );
  }

  /**
   * An exportable key in clear, for whoever it is released to: PKCS#8 in DER, or the bytes of a symmetric key. The
   * receiver wipes it.
   */
  exportKey(key: SealedKey): Promise<Buffer> {
    if (!key.exportable) return Promise.reject(new SlotError('SlotFailed', `${key.id} is not exportable`));
    return this.#withKey(
      key,
      async ({ owner }, handle, slot) => {
        // Nothing leaves a slot unwrapped, so it leaves under a key of this very moment.
        const ephemeral = slot.here.operations.generateRandomSync(EPHEMERAL_LENGTH);
        const wrapper = await owner.createObject({ ...ephemeralWrapper, value: ephemeral });
        try {
          return unwrapped(await owner.wrapKey(WRAP, wrapper, handle), ephemeral, key.spec);
        } finally {
          slot.destroy(wrapper);
          ephemeral.fill(0);
        }
      },
      refusedBySlot,
    );
  }

  /** HMAC (RFC 2104) over data as it is; the key has at least as many bits as the hash (RFC 7518 section 3.2). */
  mac(key: SealedKey, algorithm: MacAlgorithm, data: Uint8Array): Buffer | Promise<Buffer> {
    return this.#withKeyHere(
      key,
      (session, handle) => session.signSync(macs[algorithm], handle, data),
      refusedBySlot,
      macForm(key),
    );
  }

  /**
   * What this slot says of a key, signed by {@link attestationKey}; see values/attestation.ts.
   * @throws SlotError `SlotFailed` when the key does not open here, or is another.
   */
  attest(key: SealedKey): Promise<Attestations> {
    return this.#withKey(key, (worker, handle, slot) => attestOpen(slot, worker, handle, key), refusedBySlot);
  }

  /** The public half of this slot's own key: RSA of 2048 bits, another in every slot. */
  attestationKey(): Promise<PublicPart> {
    return this.#work(readPartitionKey);
  }

  /**
   * A statement of this instance, signed by {@link attestationKey}: RSASSA-PKCS1-v1_5 with SHA-256. It says what it is in
   * its first words; a zero octet would begin a statement on a key, and those the slot makes itself.
   */
  signStatement(statement: Uint8Array): Promise<Buffer> {
    assert((statement[0] ?? 0) !== 0, 'a statement that cannot be taken for one on a key');
    return this.#work((slot, worker) => signAsPartition(slot, worker, statement));
  }

  #publicKeyOf({ id, public: part }: SealedKey): PublicKey {
    const ready = this.#publicKeys.get(id);
    if (ready) return ready;
    if (part.kty === 'oct') throw new SlotError('SlotFailed', `${id} has no public half`);
    const made = new PublicKey(publicKeyOf(part).export({ type: 'spki', format: 'der' }));
    this.#publicKeys.set(id, made);
    return made;
  }

  // With a key on this thread: at once when it is open.
  #withKeyHere<T>(
    key: SealedKey,
    task: (session: Session, handle: number) => T,
    reword: (error: unknown) => Error,
    form = plainForm,
  ): T | Promise<T> {
    return this.#keeper.use((slot) => {
      const open = slot.cache.take(openId(key, form));
      if (open) return this.#runHere(slot, open, task, reword);
      return this.#opened(slot, key, form).then((opened) => this.#runHere(slot, opened, task, reword));
    });
  }

  #runHere<T>(
    slot: Slot,
    open: OpenKey,
    task: (session: Session, handle: number) => T,
    reword: (error: unknown) => Error,
  ): T {
    try {
      if (this.#fault) strike(this.#fault());
      return task(slot.here.operations, open.handle);
    } catch (error) {
      slot.here.reset();
      throw reword(error);
    } finally {
      slot.cache.giveBack(open);
    }
  }

  // With a key on another thread.
  #withKey<T>(
    key: SealedKey,
    task: (worker: Worker, handle: number, slot: Slot) => Promise<T>,
    reword: (error: unknown) => Error,
    form = plainForm,
  ): Promise<T> {
    return this.#keeper.run(async (slot) => {
      const open = slot.cache.take(openId(key, form)) ?? (await this.#opened(slot, key, form));
      try {
        if (this.#fault) strike(this.#fault());
        return await slot.workers.use((worker) => task(worker, open.handle, slot));
      } catch (error) {
        throw reword(error);
      } finally {
        slot.cache.giveBack(open);
      }
    });
  }

  async #opened(slot: Slot, key: SealedKey, form: Form): Promise<OpenKey> {
    const id = openId(key, form);
    for (;;) {
      const open = slot.cache.take(id);
      if (open) return open;
      let opening = this.#opening.get(id);
      if (!opening) {
        opening = this.#open(slot, key, form).finally(() => this.#opening.delete(id));
        this.#opening.set(id, opening);
      }
      await opening;
    }
  }

  async #open(slot: Slot, key: SealedKey, form: Form): Promise<void> {
    try {
      const handle = await slot.workers.use((worker) => this.#unwrap(slot, worker, key, form));
      slot.cache.put(openId(key, form), handle);
    } catch (error) {
      throw refusedBySlot(error);
    }
  }

  async #unwrap(slot: Slot, worker: Worker, key: SealedKey, form: Form): Promise<number> {
    return this.#withWrappingKey(slot, worker, key.exportable === true, (wrapping) =>
      worker.owner.unwrapKey(WRAP, wrapping, key.blob, form.template(key)),
    );
  }

  // The data-wrapping key, or for exportable keys the one that is opened under it.
  async #withWrappingKey<T>(
    slot: Slot,
    worker: Worker,
    exportable: boolean,
    task: (handle: number) => Promise<T>,
  ): Promise<T> {
    if (!exportable) return task(slot.dwk);
    const key = this.#exportKey;
    if (key === undefined) throw new SlotError('SlotFailed', 'the export-wrapping key is not known yet');
    const handle = await worker.owner.unwrapKey(WRAP, slot.dwk, key.blob, exportWrappingKey);
    try {
      return await task(handle);
    } finally {
      slot.destroy(handle);
    }
  }

  #work<T>(task: (slot: Slot, worker: Worker) => Promise<T>): Promise<T> {
    return this.#keeper.run(async (slot) => {
      try {
        if (this.#fault) strike(this.#fault());
        return await slot.workers.use((worker) => task(slot, worker));
      } catch (error) {
        throw refusedBySlot(error);
      }
    });
  }

  #here<T>(task: (slot: Slot) => T): T | Promise<T> {
    return this.#keeper.use((slot) => {
      try {
        if (this.#fault) strike(this.#fault());
        return task(slot);
      } catch (error) {
        slot.here.reset();
        throw refusedBySlot(error);
      }
    });
  }

  async #seal(
    slot: Slot,
    worker: Worker,
    { id, spec, exportable }: { readonly id: string; readonly spec: KeySpec; readonly exportable: boolean },
    handle: number,
    publicPart: PublicPart | undefined,
  ): Promise<SealedKey> {
    const blob = await this.#withWrappingKey(slot, worker, exportable, (wrapping) =>
      worker.owner.wrapKey(WRAP, wrapping, handle),
    );
    const shown = publicPart ?? { kty: 'oct', check: await checkValue(worker, handle, spec) };
    return { id, spec, public: shown, blob, ...(exportable ? { exportable } : {}) };
  }

  async #generateInTurn<T>(make: () => Promise<T>): Promise<T> {
    if (this.#generating >= GENERATORS) await new Promise<void>((resolve) => this.#generators.push(resolve));
    else this.#generating += 1;
    try {
      return await make();
    } finally {
      const next = this.#generators.shift();
      if (next) next();
      else this.#generating -= 1;
    }
  }
}

export interface EncryptedGcm {
  readonly ciphertext: Buffer;
  /** 12 bytes. */
  readonly iv: Buffer;
  /** 16 bytes. */
  readonly tag: Buffer;
}

/** A fault that was asked for, as the module would say it. */
function strike(name: string | undefined): void {
  if (name === undefined) return;
  throw new Pkcs11Error(CKR[name.replace(/^CKR_/, '') as keyof typeof CKR], 'fault on request');
}

function gcm(iv: Uint8Array, aad: Uint8Array | undefined): Mechanism {
  return { type: CKM.AES_GCM, parameter: { iv, aad, tagBits: GCM_TAG_LENGTH * 8 } };
}

function cbc(padded: boolean, iv: Uint8Array): Mechanism {
  return { type: padded ? CKM.AES_CBC_PAD : CKM.AES_CBC, parameter: iv };
}

// SoftHSM's codes for a ciphertext that does not open are coarse, and a module may use finer ones.
const saidOfCiphertext = new Set<number>([
  CKR.ENCRYPTED_DATA_INVALID,
  CKR.ENCRYPTED_DATA_LEN_RANGE,
  CKR.AEAD_DECRYPT_FAILED,
  CKR.WRAPPED_KEY_INVALID,
  CKR.WRAPPED_KEY_LEN_RANGE,
  CKR.DATA_INVALID,
  CKR.DATA_LEN_RANGE,
  CKR.ARGUMENTS_BAD,
  CKR.GENERAL_ERROR,
  CKR.FUNCTION_FAILED,
]);

function refusedCiphertext(error: unknown): SlotError {
  const itsFault = error instanceof Pkcs11Error && saidOfCiphertext.has(error.code);
  return itsFault
    ? new SlotError('BadCiphertext', 'the ciphertext does not open', error)
    : refusedBySlot(error);
}

// What a slot says of itself, whatever it was asked.
const saidOfSlot = new Set<number>([
  CKR.HOST_MEMORY,
  CKR.DEVICE_ERROR,
  CKR.DEVICE_MEMORY,
  CKR.DEVICE_REMOVED,
  CKR.TOKEN_NOT_PRESENT,
  CKR.CRYPTOKI_NOT_INITIALIZED,
  CKR.SESSION_CLOSED,
  CKR.SESSION_HANDLE_INVALID,
  CKR.USER_NOT_LOGGED_IN,
]);

// Of a key that came wrapped nobody learns why it was refused: the exchange key would answer questions.
function refusedWrapped(error: unknown): SlotError {
  if (error instanceof SlotError && error.code === 'SlotFailed') return error;
  if (error instanceof Pkcs11Error && saidOfSlot.has(error.code)) return refusedBySlot(error);
  return new SlotError(
    'BadWrappedKey',
    'the wrapped key does not open or is not what it is said to be',
    error,
  );
}

function refusedBySlot(error: unknown): SlotError {
  return error instanceof SlotError
    ? error
    : new SlotError('SlotFailed', 'the slot did not do its work', error);
}
