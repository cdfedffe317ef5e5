// One token, logged in, with sessions that its calls share. Every method is one call of the standard; `withSession`
// is for what takes several on the same session.
//
// Two pools of sessions: any number of calls share the first. The second has one session, which owns the session
// objects: with a session go its objects, and one that only makes objects is never given up for an operation that
// somebody left open.
import type { AttributeName, AttributeValues, Template } from '../instance/pkcs11/attribute.js';
import { CKR } from '../instance/pkcs11/constants.js';
import { Pkcs11Error } from '../instance/pkcs11/error.js';
import type { Library, TokenInfo } from '../instance/pkcs11/library.js';
import type { Mechanism } from '../instance/pkcs11/mechanism.js';
import type { Cipher } from '../instance/pkcs11/operation.js';
import type { Session } from '../instance/pkcs11/session.js';
import { TokenError } from './errors.js';
import { Login, type LoginOptions } from './login.js';
import { SessionPool } from './session-pool.js';
import type { TurnOptions } from './turns.js';

export interface TokenOptions {
  /** The slot's number, or else the token's label. */
  readonly slot?: number | undefined;
  readonly label?: string | undefined;
  /** Without it only public objects are seen. */
  readonly login?: LoginOptions | undefined;
  /** False for a token that may only be read. True unless said otherwise. */
  readonly readWrite?: boolean | undefined;
  /** Sessions for calls, opened as they are needed; 4 unless said otherwise. One more owns the session objects. */
  readonly sessionsMax?: number | undefined;
  /** Calls that may wait for a session, 10 000 unless said otherwise; the next is refused as `QueueFull`. */
  readonly waitingMax?: number | undefined;
  /** Milliseconds that a call may wait for a session, 30 000 unless said otherwise; 0 for ever. */
  readonly waitMsMax?: number | undefined;
}

/** `signal` and `waitMsMax` end the waiting for a session. A call that is in the module runs to its end. */
export type CallOptions = TurnOptions;

/** Data in one piece, or in parts as they come: a session is held until the last one. */
export type Data = Uint8Array | AsyncIterable<Uint8Array>;

export interface KeyPair {
  readonly publicKey: number;
  readonly privateKey: number;
}

export interface Found<N extends AttributeName> {
  /** The object's handle. */
  readonly object: number;
  readonly attributes: AttributeValues<N>;
}

export interface Counts {
  /** Sessions that are open. */
  readonly open: number;
  /** Calls that have a session. */
  readonly busy: number;
  /** Calls that wait for one. */
  readonly waiting: number;
}

const SESSIONS_MAX = 4;
const WAITING_MAX = 10_000;
const WAIT_MS_MAX = 30_000;

/** The tokens that are present, by slot. */
export async function listTokens(library: Library): Promise<{ slot: number; info: TokenInfo }[]> {
  const slots = await library.slots(true);
  return Promise.all(slots.map(async (slot) => ({ slot, info: await library.tokenInfo(slot) })));
}

export class Token {
  readonly slot: number;
  readonly #login: Login | undefined;
  readonly #shared: SessionPool;
  readonly #owner: SessionPool;
  #closing: Promise<void> | undefined;

  private constructor(library: Library, slot: number, options: TokenOptions) {
    this.slot = slot;
    this.#login = options.login === undefined ? undefined : new Login(options.login);
    const limits = {
      waitingMax: options.waitingMax ?? WAITING_MAX,
      waitMsMax: options.waitMsMax ?? WAIT_MS_MAX,
      readWrite: options.readWrite ?? true,
      login: this.#login,
    };
    this.#shared = new SessionPool(library, slot, {
      ...limits,
      placesMax: options.sessionsMax ?? SESSIONS_MAX,
    });
    this.#owner = new SessionPool(library, slot, { ...limits, placesMax: 1 });
  }

  /** Opens the owner's session and logs in: a wrong PIN shows here. */
  static async open(library: Library, options: TokenOptions): Promise<Token> {
    for (const limit of [options.sessionsMax ?? 1, (options.waitingMax ?? 0) + 1]) {
      if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError('limits are whole numbers');
    }
    const token = new Token(library, options.slot ?? (await slotOf(library, options.label)), options);
    try {
      await token.#owner.use(() => Promise.resolve());
    } catch (error) {
      await token.close();
      throw error;
    }
    return token;
  }

  /** How busy it is; the owner of session objects counts too. */
  get counts(): Counts {
    const [shared, owner] = [this.#shared.counts, this.#owner.counts];
    return {
      open: shared.open + owner.open,
      busy: shared.busy + owner.busy,
      waiting: shared.waiting + owner.waiting,
    };
  }

  /**
   * Refuses calls that wait with `Closed`, lets running ones end, then closes the sessions; their session objects go
   * with them. Idempotent. The library stays open. The login ends when no session of the process is left.
   */
  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#shared.close(), this.#owner.close()]).then(() => {
      this.#login?.wipe();
    });
    return this.#closing;
  }

  /**
   * A session for the caller alone, until `work` ends: for several calls that belong together, such as a login for the
   * one operation of a key that asks each time. Objects that `work` makes in it may go when it ends, unless they are the
   * token's. An operation that `work` leaves open is given up.
   */
  withSession<T>(work: (session: Session) => Promise<T>, options?: CallOptions): Promise<T> {
    return this.#shared.use(work, options);
  }

  createObject(template: Template, options?: CallOptions): Promise<number> {
    return this.#make([template], (session) => session.createObject(template), options);
  }

  copyObject(object: number, template: Template = {}, options?: CallOptions): Promise<number> {
    return this.#make([template], (session) => session.copyObject(object, template), options);
  }

  destroyObject(object: number, options?: CallOptions): Promise<void> {
    return this.#once((session) => session.destroyObject(object), options);
  }

  /** Handles of the objects that have all of these attributes; at most `max`, if given. */
  async findObjects(
    template: Template,
    options: CallOptions & { readonly max?: number } = {},
  ): Promise<number[]> {
    const look = (): Promise<{ objects: number[]; stands: boolean }> =>
      this.#once(async (session) => {
        const objects = await session.findObjects(template, options.max);
        return { objects, stands: (await this.#login?.stands(session)) ?? true };
      }, options);
    const { objects, stands } = await look();
    if (stands) return objects;
    // Who is not logged in is not refused: private objects are just not there.
    this.#login?.doubt();
    return (await look()).objects;
  }

  /**
   * The objects that have all of the attributes of `template`, each with the attributes in `names`. One that is
   * destroyed meanwhile is left out, and so are values that the token keeps to itself.
   */
  async *find<N extends AttributeName = never>(
    template: Template,
    names: readonly N[] = [],
    options?: CallOptions,
  ): AsyncGenerator<Found<N>, void, undefined> {
    for (const object of await this.findObjects(template, options)) {
      try {
        const attributes = await this.getAttributes(object, names, { ...options, sensitive: 'omit' });
        yield { object, attributes };
      } catch (error) {
        if (!(error instanceof Pkcs11Error) || error.code !== CKR.OBJECT_HANDLE_INVALID) throw error;
      }
    }
  }

  /** As {@link Session.getAttributes}. */
  getAttributes<N extends AttributeName>(
    object: number,
    names: readonly N[],
    options: CallOptions & { readonly sensitive?: 'refuse' | 'omit' } = {},
  ): Promise<AttributeValues<N>> {
    return this.#once((session) => session.getAttributes(object, names, options), options);
  }

  setAttributes(object: number, template: Template, options?: CallOptions): Promise<void> {
    return this.#once((session) => session.setAttributes(object, template), options);
  }

  generateKey(mechanism: Mechanism, template: Template, options?: CallOptions): Promise<number> {
    return this.#make([template], (session) => session.generateKey(mechanism, template), options);
  }

  generateKeyPair(
    mechanism: Mechanism,
    publicTemplate: Template,
    privateTemplate: Template,
    options?: CallOptions,
  ): Promise<KeyPair> {
    return this.#make(
      [publicTemplate, privateTemplate],
      (session) => session.generateKeyPair(mechanism, publicTemplate, privateTemplate),
      options,
    );
  }

  wrapKey(mechanism: Mechanism, wrappingKey: number, key: number, options?: CallOptions): Promise<Buffer> {
    return this.#once((session) => session.wrapKey(mechanism, wrappingKey, key), options);
  }

  unwrapKey(
    mechanism: Mechanism,
    unwrappingKey: number,
    wrapped: Uint8Array,
    template: Template,
    options?: CallOptions,
  ): Promise<number> {
    return this.#make(
      [template],
      (session) => session.unwrapKey(mechanism, unwrappingKey, wrapped, template),
      options,
    );
  }

  deriveKey(
    mechanism: Mechanism,
    baseKey: number,
    template: Template,
    options?: CallOptions,
  ): Promise<number> {
    return this.#make([template], (session) => session.deriveKey(mechanism, baseKey, template), options);
  }

  sign(mechanism: Mechanism, key: number, data: Data, options?: CallOptions): Promise<Buffer> {
    if (data instanceof Uint8Array)
      return this.#once((session) => session.sign(mechanism, key, data), options);
    return this.withSession(async (session) => {
      const signer = session.signer(mechanism, key);
      for await (const part of data) await signer.update(part);
      return signer.final();
    }, options);
  }

  /** False for a signature that is wrong or of the wrong length; everything else that fails throws. */
  verify(
    mechanism: Mechanism,
    key: number,
    data: Data,
    signature: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean> {
    if (data instanceof Uint8Array) {
      return this.#once((session) => session.verify(mechanism, key, data, signature), options);
    }
    return this.withSession(async (session) => {
      const verifier = session.verifier(mechanism, key);
      for await (const part of data) await verifier.update(part);
      return verifier.final(signature);
    }, options);
  }

  digest(mechanism: Mechanism, data: Data, options?: CallOptions): Promise<Buffer> {
    if (data instanceof Uint8Array) return this.#once((session) => session.digest(mechanism, data), options);
    return this.withSession(async (session) => {
      const digester = session.digester(mechanism);
      for await (const part of data) await digester.update(part);
      return digester.final();
    }, options);
  }

  encrypt(mechanism: Mechanism, key: number, data: Uint8Array, options?: CallOptions): Promise<Buffer> {
    return this.#once((session) => session.encrypt(mechanism, key, data), options);
  }

  decrypt(mechanism: Mechanism, key: number, encrypted: Uint8Array, options?: CallOptions): Promise<Buffer> {
    return this.#once((session) => session.decrypt(mechanism, key, encrypted), options);
  }

  /**
   * Part by part, as `stream.pipeline(source, (parts) => token.encryptParts(mechanism, key, parts), target, ...)` takes
   * it. A session is held from the first part asked for to the last.
   */
  encryptParts(
    mechanism: Mechanism,
    key: number,
    parts: AsyncIterable<Uint8Array>,
    options?: CallOptions,
  ): AsyncGenerator<Buffer, void, undefined> {
    return this.#parts((session) => session.encryptor(mechanism, key), parts, options);
  }

  /** The same way back. With AES-GCM nothing may be believed before the end: the tag is checked there. */
  decryptParts(
    mechanism: Mechanism,
    key: number,
    parts: AsyncIterable<Uint8Array>,
    options?: CallOptions,
  ): AsyncGenerator<Buffer, void, undefined> {
    return this.#parts((session) => session.decryptor(mechanism, key), parts, options);
  }

  /** At most 1 MiB. */
  generateRandom(length: number, options?: CallOptions): Promise<Buffer> {
    return this.#once((session) => session.generateRandom(length), options);
  }

  async *#parts(
    begin: (session: Session) => Cipher,
    parts: AsyncIterable<Uint8Array>,
    options: CallOptions | undefined,
  ): AsyncGenerator<Buffer, void, undefined> {
    const lease = await this.#shared.lease(options);
    let failure: unknown;
    try {
      const cipher = begin(lease.session);
      for await (const part of parts) {
        const ready = await cipher.update(part);
        if (ready.length > 0) yield ready;
      }
      const rest = await cipher.final();
      if (rest.length > 0) yield rest;
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      lease.end(failure);
    }
  }

  // What makes objects, with the templates of all that it makes.
  #make<T>(
    templates: readonly Template[],
    call: (session: Session) => Promise<T>,
    options: CallOptions | undefined,
  ): Promise<T> {
    const lasting = templates.every((template) => template.token === true);
    return this.#once(call, options, lasting ? this.#shared : this.#owner);
  }

  // One call of the module. One that was refused before it did anything, for want of a login or because of what another
  // call had left in the session, is made again, with a login or in another session.
  async #once<T>(
    call: (session: Session) => Promise<T>,
    options: CallOptions | undefined,
    pool: SessionPool = this.#shared,
  ): Promise<T> {
    try {
      return await pool.use(call, options);
    } catch (error) {
      if (!(error instanceof Pkcs11Error)) throw error;
      const wantsLogin = error.code === CKR.USER_NOT_LOGGED_IN && this.#login !== undefined;
      const wantsSession = error.code === CKR.OPERATION_ACTIVE && error.functionName.endsWith('Init');
      if (!wantsLogin && !wantsSession) throw error;
      return pool.use(call, options);
    }
  }
}

async function slotOf(library: Library, label: string | undefined): Promise<number> {
  if (label === undefined) throw new TypeError('a token is named by its slot or by its label');
  const found = (await listTokens(library)).filter(({ info }) => info.label === label);
  const [first, second] = found;
  if (first === undefined) throw new TokenError('NoSuchToken', `no token has the label ${label}`);
  if (second !== undefined) {
    throw new TokenError('AmbiguousToken', `${found.length} tokens have the label ${label}`);
  }
  return first.slot;
}
