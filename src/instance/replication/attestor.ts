// What instances prove to each other before they talk: which build runs at the other end of this very connection, on
// whose host. Evidence is a statement over the connection (its TLS exporter value), the pool, the instance and what it
// is for, signed by the host's key. It needs no clock, and is worth nothing on any other connection.
//
// `Attestor` is the place of a hardware quote. `SoftwareAttestor` is all there is yet: its key is a file on the host,
// and who can read that can forge evidence.
import { createHash, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { assert } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';

/** What a member trusts, now. */
export interface AllowedInstances {
  /** Public keys of enrolled hosts: SubjectPublicKeyInfo in base64url. */
  readonly hosts: readonly string[];
  /** Lower-case hex; `any` only for one that has no secret to lose: an instance that is still empty. */
  readonly measurements: readonly string[] | 'any';
}

/** The public half of a key that a joiner made in its slot; the data-wrapping key is wrapped for it. */
export interface ExchangePublicKey {
  readonly modulus: Uint8Array;
  readonly exponent: Uint8Array;
}

/** What a piece of evidence is for: the link itself, or a key that is to be given something on it. */
export type Purpose = { readonly role: 'link' } | { readonly role: 'join'; readonly key: ExchangePublicKey };

export interface Attestor {
  /** Evidence of this instance for the connection with this exporter value. */
  evidence(binding: Uint8Array, purpose: Purpose): Buffer;
  /**
   * Undefined if `evidence` shows that `instance` of this pool sits at the other end of the connection and runs what it
   * may; else why not, in words for a log that quote nothing of it but its measurement.
   */
  check(instance: number, evidence: Uint8Array, binding: Uint8Array, purpose: Purpose): string | undefined;
}

/** Larger evidence is none. */
export const EVIDENCE_BYTES_MAX = 4_096;
/** Signed in front of the statement, so that the host's key signs nothing else that looks like it. */
const CONTEXT = Buffer.from('trivet evidence 1\0');
const HEX = /^[0-9a-f]{64}$/;

interface Statement {
  readonly measurement: string;
  readonly pool: string;
  readonly instance: number;
  readonly role: string;
  readonly binding: Uint8Array;
  /** SHA-256 of the exchange key; empty for a link. */
  readonly exchange: Uint8Array;
}

export interface SoftwareAttestorOptions {
  readonly pool: string;
  readonly instance: number;
  /** PEM (PKCS #8) of an Ed25519 key. */
  readonly hostKey: string;
  /** Asked once, before the first evidence. */
  readonly measure: () => string;
  /** What is trusted at this moment: asked at every check. */
  readonly allowed: () => AllowedInstances;
}

/** Evidence signed with a key that lies on the host. */
export class SoftwareAttestor implements Attestor {
  readonly #options: SoftwareAttestorOptions;
  readonly #key: KeyObject;
  #measurement: string | undefined;

  /** @throws when `hostKey` is no such key. */
  constructor(options: SoftwareAttestorOptions) {
    this.#options = options;
    this.#key = createPrivateKey(options.hostKey);
    if (this.#key.asymmetricKeyType !== 'ed25519')
      throw new TypeError("the host's key is not an Ed25519 key");
  }

  /** Of what runs here; measured when it is first asked for. */
  get measurement(): string {
    this.#measurement ??= this.#options.measure();
    return this.#measurement;
  }

  /** This host's public key, as it is enrolled. */
  get host(): string {
    return createPublicKey(this.#key).export({ type: 'spki', format: 'der' }).toString('base64url');
  }

  evidence(binding: Uint8Array, purpose: Purpose): Buffer {
    const { pool, instance } = this.#options;
    const statement: Statement = {
      measurement: this.measurement,
      pool,
      instance,
      role: purpose.role,
      binding,
      exchange: exchangeOf(purpose),
    };
    const signed = encode(statement);
    return encode({ signed, signature: sign(null, Buffer.concat([CONTEXT, signed]), this.#key) });
  }

  check(instance: number, evidence: Uint8Array, binding: Uint8Array, purpose: Purpose): string | undefined {
    const parts = partsOf(evidence);
    if (!parts) return 'what it sent is no evidence';
    const { hosts, measurements } = this.#options.allowed();
    const toVerify = Buffer.concat([CONTEXT, parts.signed]);
    if (!hosts.some((host) => signs(host, toVerify, parts.signature)))
      return 'no enrolled host vouches for it';
    const statement = statementOf(parts.signed);
    if (!statement) return 'its evidence has another form';
    // First what makes evidence belong to this place: none of it says anything of what runs here.
    if (!equalBytes(statement.binding, binding)) return 'its evidence is of another connection';
    if (statement.pool !== this.#options.pool) return 'its evidence is of another pool';
    if (statement.instance !== instance) return 'its evidence is of another instance';
    if (statement.role !== purpose.role) return 'its evidence is for something else';
    if (!equalBytes(statement.exchange, exchangeOf(purpose)))
      return 'its evidence is for another exchange key';
    if (measurements !== 'any' && !measurements.includes(statement.measurement)) {
      return `what it runs is not allowed: measurement ${statement.measurement}`;
    }
    return undefined;
  }
}

/** The host's key from its file. @throws when it cannot be read. */
export function readHostKey(file: string): string {
  return readFileSync(file, 'utf8');
}

function exchangeOf(purpose: Purpose): Buffer {
  if (purpose.role === 'link') return Buffer.alloc(0);
  const { modulus, exponent } = purpose.key;
  return createHash('sha256')
    .update(encode([modulus, exponent]))
    .digest();
}

function partsOf(evidence: Uint8Array): { signed: Uint8Array; signature: Uint8Array } | undefined {
  if (evidence.length > EVIDENCE_BYTES_MAX) return undefined;
  const { signed, signature } = membersOf(evidence);
  return signed instanceof Uint8Array && signature instanceof Uint8Array ? { signed, signature } : undefined;
}

function statementOf(signed: Uint8Array): Statement | undefined {
  const { measurement, pool, instance, role, binding, exchange } = membersOf(signed);
  if (typeof measurement !== 'string' || !HEX.test(measurement)) return undefined;
  if (typeof pool !== 'string' || typeof role !== 'string' || typeof instance !== 'number') return undefined;
  if (!(binding instanceof Uint8Array) || !(exchange instanceof Uint8Array)) return undefined;
  return { measurement, pool, instance, role, binding, exchange };
}

function membersOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value = decode(bytes);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Whether the enrolled host has signed it. What is enrolled was checked when it came into the state. */
function signs(host: string, data: Uint8Array, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(host, 'base64url'), format: 'der', type: 'spki' });
  assert(key.asymmetricKeyType === 'ed25519', 'an enrolled host has an Ed25519 key');
  return verify(null, data, key, signature);
}
