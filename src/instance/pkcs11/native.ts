// The addon as it presents itself. Loaded here and nowhere else.
import { createRequire } from 'node:module';
import { Pkcs11Error } from './error.js';

/** A mechanism without parameter by its number, any other encoded (see mechanism.ts). */
export type EncodedMechanism = number | Uint8Array;

export interface NativeLibrary {
  open(): Promise<void>;
  openSync(): void;
  info(): Promise<unknown>;
  infoSync(): unknown;
  slots(tokenPresent: boolean): Promise<number[]>;
  slotsSync(tokenPresent: boolean): number[];
  slotInfo(slot: number): Promise<unknown>;
  slotInfoSync(slot: number): unknown;
  tokenInfo(slot: number): Promise<unknown>;
  tokenInfoSync(slot: number): unknown;
  mechanisms(slot: number): Promise<number[]>;
  mechanismsSync(slot: number): number[];
  mechanismInfo(slot: number, mechanism: number): Promise<unknown>;
  mechanismInfoSync(slot: number, mechanism: number): unknown;
  initToken(slot: number, soPin: Uint8Array, label: Uint8Array): Promise<void>;
  closeAllSessions(slot: number): void;
  close(): Promise<void>;
}

export interface NativeSession {
  open(): Promise<void>;
  openSync(): void;
  handle(): number;
  info(): Promise<unknown>;
  infoSync(): unknown;
  close(): void;
  login(user: number, pin: Uint8Array): Promise<void>;
  logout(): Promise<void>;
  initPin(pin: Uint8Array): Promise<void>;
  setPin(oldPin: Uint8Array, newPin: Uint8Array): Promise<void>;
  createObject(template: Uint8Array): Promise<number>;
  copyObject(object: number, template: Uint8Array): Promise<number>;
  destroyObject(object: number): Promise<void>;
  destroyObjectSync(object: number): void;
  findObjects(template: Uint8Array, max: number): Promise<number[]>;
  getAttributes(object: number, types: number[]): Promise<Buffer>;
  setAttributes(object: number, template: Uint8Array): Promise<void>;
  generateKey(mechanism: EncodedMechanism, template: Uint8Array): Promise<number>;
  generateKeyPair(
    mechanism: EncodedMechanism,
    publicTemplate: Uint8Array,
    privateTemplate: Uint8Array,
  ): Promise<[number, number]>;
  wrapKey(mechanism: EncodedMechanism, wrappingKey: number, key: number): Promise<Buffer>;
  unwrapKey(
    mechanism: EncodedMechanism,
    unwrappingKey: number,
    wrapped: Uint8Array,
    template: Uint8Array,
  ): Promise<number>;
  deriveKey(mechanism: EncodedMechanism, baseKey: number, template: Uint8Array): Promise<number>;
  sign(mechanism: EncodedMechanism, key: number, data: Uint8Array): Promise<Buffer>;
  /** The length of the signature in `room`, or the signature if that is too small. */
  signSync(mechanism: EncodedMechanism, key: number, data: Uint8Array, room: Uint8Array): number | Buffer;
  verify(mechanism: EncodedMechanism, key: number, data: Uint8Array, signature: Uint8Array): Promise<boolean>;
  verifySync(mechanism: EncodedMechanism, key: number, data: Uint8Array, signature: Uint8Array): boolean;
  encrypt(mechanism: EncodedMechanism, key: number, data: Uint8Array): Promise<Buffer>;
  encryptSync(mechanism: EncodedMechanism, key: number, data: Uint8Array): Buffer;
  decrypt(mechanism: EncodedMechanism, key: number, encrypted: Uint8Array): Promise<Buffer>;
  decryptSync(mechanism: EncodedMechanism, key: number, encrypted: Uint8Array): Buffer;
  decryptOaep(key: number, encrypted: Uint8Array, hash: number, label: Uint8Array): Promise<Buffer>;
  digest(mechanism: EncodedMechanism, data: Uint8Array): Promise<Buffer>;
  generateRandom(length: number): Promise<Buffer>;
  generateRandomSync(length: number): Buffer;
  begin(operation: number, mechanism: EncodedMechanism, key: number): Promise<void>;
  update(operation: number, part: Uint8Array): Promise<Buffer>;
  finish(operation: number): Promise<Buffer>;
  finishVerify(signature: Uint8Array): Promise<boolean>;
}

export interface NativePublicKey {
  verify(scheme: number, digest: Uint8Array, signature: Uint8Array): Promise<boolean>;
  verifySync(scheme: number, digest: Uint8Array, signature: Uint8Array): boolean;
}

interface Addon {
  bootTime(): number;
  install(makeError: (code: number, functionName: string, reason?: string) => Error): void;
  Library: new (modulePath: string, parameters: string) => NativeLibrary;
  PublicKey: new (subjectPublicKeyInfo: Uint8Array) => NativePublicKey;
  Session: new (library: NativeLibrary, slot: number, readWrite: boolean) => NativeSession;
}

// The same from src/ and from dist/, which are equally deep.
const addon = createRequire(__filename)('../../../build/Release/trivet_pkcs11.node') as Addon;

addon.install((code, functionName, reason) => {
  const options = reason === undefined ? undefined : { cause: new Error(reason) };
  return new Pkcs11Error(code, functionName, options);
});

/** CLOCK_BOOTTIME in milliseconds. */
export const bootTime = (): number => addon.bootTime();

export const { Library: NativeLibrary, PublicKey: NativePublicKey, Session: NativeSession } = addon;
