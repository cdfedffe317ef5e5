// The provisioner: a short-lived process that works as security officer on a private copy of a token. The officer's
// logout voids every handle, so this is never done in a process that serves. Talks to its parent over the process
// channel, on which nothing passes in clear that is secret: the PINs it reads from their file, the wrapping key of a
// security domain file comes in an envelope, and what goes out is public keys and keys wrapped in a slot.
import { readFileSync } from 'node:fs';
import { Library } from '../pkcs11/library.js';
import { CKG, CKM, TOKEN_FLAGS } from '../pkcs11/constants.js';
import type { Session } from '../pkcs11/session.js';
import { wipe } from '../../values/bytes.js';
import type { SealedKey } from '../../values/key-spec.js';
import { openEnvelope } from './envelope.js';
import { belongs } from './key-objects.js';
import { findOne, findToken, loginAs } from './login.js';
import { Worker } from './sessions.js';
import type { Pins } from './token.js';
import {
  customerKeyOf,
  dwkCopy,
  dwkInterim,
  DWK_LABEL,
  exchangePrivate,
  exchangePublic,
  exportingKey,
  joinerPublic,
  partitionPrivate,
  partitionPublic,
  PARTITION_KEY_LABEL,
  restoringKey,
  storeKey,
  STORE_KEY_LABEL,
  TOKEN_LABEL,
} from './templates.js';

/** RSA public key of a joiner, big-endian integers. */
export interface ExchangeKey {
  readonly modulus: Uint8Array;
  readonly exponent: Uint8Array;
}

/** What every task starts from. */
interface Begin {
  /** The PKCS#11 module. */
  readonly module: string;
  /** Holds the token's {@link Pins}. */
  readonly pinFile: string;
}

export type Task =
  /** Make a token with a new data-wrapping key. */
  | (Begin & { readonly kind: 'found' })
  /** Make a token and an exchange key; the data-wrapping key follows. */
  | (Begin & { readonly kind: 'join' })
  /** The second half of `join`. */
  | { readonly kind: 'receive'; readonly wrapped: Uint8Array }
  /** Wrap the data-wrapping key for a joiner. */
  | (Begin & { readonly kind: 'donate'; readonly key: ExchangeKey })
  /** Wrap the data-wrapping key for a security domain file. */
  | (Begin & {
      readonly kind: 'export';
      /** In an envelope: 32 random bytes, for this one file. */
      readonly wrappingKey: Uint8Array;
    })
  /** Put the data-wrapping key of a security domain in the place of the token's own. */
  | (Begin & {
      readonly kind: 'restore';
      /** Its wrapping key is in an envelope. */
      readonly domainKey: DomainKey;
      /** Under the old data-wrapping key; to be wrapped under the new one. */
      readonly keys: readonly SealedKey[];
    })
  /** See that the token opens, holds what it must, and opens these keys. */
  | (Begin & { readonly kind: 'verify'; readonly keys?: readonly SealedKey[] });

/** A data-wrapping key on its way through a security domain file. */
export interface DomainKey {
  /** AES-256; whoever has both members can compute the data-wrapping key. */
  readonly wrappingKey: Uint8Array;
  /** AES key wrap with padding: 40 bytes. */
  readonly wrapped: Uint8Array;
}

export type Result =
  | { readonly kind: 'done' }
  | { readonly kind: 'exchange'; readonly key: ExchangeKey }
  | { readonly kind: 'wrapped'; readonly wrapped: Uint8Array }
  /** In the order of the task's keys. */
  | { readonly kind: 'rewrapped'; readonly blobs: readonly Uint8Array[] }
  | { readonly kind: 'failed'; readonly reason: string };

const WRAP = { type: CKM.AES_KEY_WRAP_PAD } as const;
const OAEP = { type: CKM.RSA_PKCS_OAEP, parameter: { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 } } as const;

// A fresh token, the officer logged in, the user's PIN set.
async function initialise(library: Library, pins: Pins): Promise<Session> {
  const empty = library
    .slotsSync(true)
    .find((slot) => (library.tokenInfoSync(slot).flags & TOKEN_FLAGS.TOKEN_INITIALIZED) === 0);
  if (empty === undefined) throw new Error('no slot for a new token');
  const so = Buffer.from(pins.so);
  const user = Buffer.from(pins.user);
  await library.initToken(empty, so, TOKEN_LABEL);
  // SoftHSM moves a new token to another slot number.
  const session = library.openSessionSync(findToken(library), { readWrite: true });
  await session.login('SO', so);
  await session.initPin(user);
  wipe(so, user);
  return session;
}

// Officer's part done: the interim key becomes the token's own, and the instance's own keys are made beside it.
async function settle(session: Session, interim: number, pins: Pins): Promise<void> {
  await session.logout();
  await loginAs(session, 'USER', pins.user);
  await session.copyObject(interim, dwkCopy);
  await session.destroyObject(interim);
  await session.generateKey({ type: CKM.GENERIC_SECRET_KEY_GEN }, storeKey);
  await session.generateKeyPair({ type: CKM.RSA_PKCS_KEY_PAIR_GEN }, partitionPublic, partitionPrivate);
}

async function found(library: Library, pins: Pins): Promise<void> {
  const session = await initialise(library, pins);
  const interim = await session.generateKey({ type: CKM.AES_KEY_GEN }, { ...dwkInterim, valueLen: 32 });
  await settle(session, interim, pins);
}

async function donate(library: Library, pins: Pins, key: ExchangeKey): Promise<Buffer> {
  const session = library.openSessionSync(findToken(library), { readWrite: true });
  await loginAs(session, 'SO', pins.so);
  const { modulus, exponent: publicExponent } = key;
  const joiner = await session.createObject({ ...joinerPublic, modulus, publicExponent });
  await session.logout();
  await loginAs(session, 'USER', pins.user);
  return session.wrapKey(OAEP, joiner, await findOne(session, DWK_LABEL));
}

async function exportDomain(library: Library, pins: Pins, envelope: Uint8Array): Promise<Buffer> {
  const session = library.openSessionSync(findToken(library), { readWrite: true });
  await loginAs(session, 'SO', pins.so);
  const value = openEnvelope(pins, envelope);
  const wrapping = await session.createObject({ ...exportingKey, value });
  wipe(value);
  await session.logout();
  await loginAs(session, 'USER', pins.user);
  return session.wrapKey(WRAP, wrapping, await findOne(session, DWK_LABEL));
}

// The store key and the partition key stay: the instance's directory and its attestations do not change hands.
async function restore(
  library: Library,
  pins: Pins,
  { domainKey, keys }: Extract<Task, { kind: 'restore' }>,
): Promise<Buffer[]> {
  const session = library.openSessionSync(findToken(library), { readWrite: true });
  await loginAs(session, 'SO', pins.so);
  const value = openEnvelope(pins, domainKey.wrappingKey);
  const restoring = await session.createObject({ ...restoringKey, value });
  wipe(value);
  const interim = await session.unwrapKey(WRAP, restoring, domainKey.wrapped, dwkInterim);
  await session.destroyObject(restoring);
  await session.logout();
  await loginAs(session, 'USER', pins.user);
  const [old, ...others] = await session.findObjects({ label: DWK_LABEL, token: true });
  if (old === undefined || others.length > 0) throw new Error('the token has not one data-wrapping key');
  const blobs: Buffer[] = [];
  for (const { spec, blob } of keys) {
    const key = await session.unwrapKey(WRAP, old, blob, customerKeyOf(spec));
    blobs.push(await session.wrapKey(WRAP, interim, key));
    await session.destroyObject(key);
  }
  await session.destroyObject(old);
  await session.copyObject(interim, dwkCopy);
  await session.destroyObject(interim);
  return blobs;
}

async function verify(library: Library, pins: Pins, keys: readonly SealedKey[]): Promise<void> {
  const session = library.openSessionSync(findToken(library));
  await loginAs(session, 'USER', pins.user);
  const dwk = await findOne(session, DWK_LABEL);
  const {
    trusted,
    sensitive,
    modifiable,
    private: isPrivate,
  } = await session.getAttributes(dwk, ['trusted', 'sensitive', 'modifiable', 'private']);
  if (trusted !== true || sensitive !== true || isPrivate !== true || modifiable !== false) {
    throw new Error('the data-wrapping key is not protected as it must be');
  }
  await findOne(session, STORE_KEY_LABEL);
  await verifyPartitionKey(session);
  const worker = new Worker(library, findToken(library));
  for (const key of keys) {
    const handle = await worker.owner.unwrapKey(WRAP, dwk, key.blob, customerKeyOf(key.spec));
    if (!(await belongs(worker, handle, key))) throw new Error(`the blob of ${key.id} holds another key`);
    await worker.owner.destroyObject(handle);
  }
}

async function verifyPartitionKey(session: Session): Promise<void> {
  const key = await session.getAttributes(await findOne(session, PARTITION_KEY_LABEL), [
    'sensitive',
    'extractable',
    'neverExtractable',
    'private',
    'modifiable',
    'decrypt',
    'unwrap',
    'sign',
  ]);
  const guarded = key.sensitive === true && key.private === true && key.modifiable === false;
  const stays = key.extractable === false && key.neverExtractable === true;
  const signsOnly = key.sign === true && key.decrypt === false && key.unwrap === false;
  if (!guarded || !stays || !signsOnly) throw new Error('the partition key is not protected as it must be');
}

/** The joiner between its two halves: its session must stay open, the exchange key lives in it. */
interface Joining {
  readonly library: Library;
  readonly session: Session;
  readonly privateKey: number;
  readonly pins: Pins;
}
let joining: Joining | undefined;

async function beginJoin(library: Library, pins: Pins): Promise<ExchangeKey> {
  const session = await initialise(library, pins);
  const { publicKey, privateKey } = await session.generateKeyPair(
    { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
    exchangePublic,
    exchangePrivate,
  );
  const { modulus, publicExponent } = await session.getAttributes(publicKey, ['modulus', 'publicExponent']);
  if (!modulus || !publicExponent) throw new Error('the exchange key cannot be read');
  joining = { library, session, privateKey, pins };
  return { modulus, exponent: publicExponent };
}

async function receive(wrapped: Uint8Array): Promise<void> {
  if (!joining) throw new Error('nothing was begun');
  const { session, privateKey, pins } = joining;
  const interim = await session.unwrapKey(OAEP, privateKey, wrapped, dwkInterim);
  await settle(session, interim, pins);
}

async function carryOut(task: Task): Promise<Result> {
  if (task.kind === 'receive') {
    await receive(task.wrapped);
    await joining?.library.close();
    return { kind: 'done' };
  }
  const pins = JSON.parse(readFileSync(task.pinFile, 'utf8')) as Pins;
  const library = Library.openSync(task.module);
  switch (task.kind) {
    case 'found':
      await found(library, pins);
      break;
    case 'join':
      return { kind: 'exchange', key: await beginJoin(library, pins) };
    case 'donate': {
      const wrapped = await donate(library, pins, task.key);
      await library.close();
      return { kind: 'wrapped', wrapped };
    }
    case 'export': {
      const wrapped = await exportDomain(library, pins, task.wrappingKey);
      await library.close();
      return { kind: 'wrapped', wrapped };
    }
    case 'restore': {
      const blobs = await restore(library, pins, task);
      await library.close();
      return { kind: 'rewrapped', blobs };
    }
    case 'verify':
      await verify(library, pins, task.keys ?? []);
      break;
  }
  await library.close();
  return { kind: 'done' };
}

// Run as a process of its own, not when another file takes a function from here.
if (require.main === module) {
  process.on('message', (task: Task) => {
    carryOut(task).then(
      (result) => process.send?.(result),
      (error: unknown) =>
        process.send?.({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) }),
    );
  });
  // The instance is gone: nobody will use what is made here.
  process.on('disconnect', () => process.exit(1));
}
