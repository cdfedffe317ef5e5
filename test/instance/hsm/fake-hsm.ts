// An HSM of one member: state in memory, mutations judged and applied at once.
import { generateKeyPairSync } from 'node:crypto';
import type { Committed, Hsm } from '../../../src/instance/hsm/hsm.js';
import { IssuerMetadata } from '../../../src/instance/hsm/issuer-metadata.js';
import { Outage } from '../../../src/instance/hsm/outage.js';
import { judge, type Tag } from '../../../src/instance/model/judge.js';
import type { Mutation } from '../../../src/instance/model/mutation.js';
import { assign } from '../../../src/instance/model/rbac/assign.js';
import {
  ADMINISTRATOR,
  CRYPTO_OFFICER,
  CRYPTO_USER,
} from '../../../src/instance/model/rbac/built-in-roles.js';
import type { Caller } from '../../../src/instance/model/rbac/records.js';
import { Refusal, RefusedError } from '../../../src/instance/model/refusal.js';
import { emptyState, Overlay } from '../../../src/instance/model/state.js';
import type { DomainKey } from '../../../src/instance/partition/provision.js';
import type { SealedKey } from '../../../src/values/key-spec.js';
import { newUuid } from '../../../src/values/ids.js';
import type { Founding, TrustedIssuer } from '../../../src/values/messages.js';
import { DOMAIN, internalKeys } from '../model/fixtures.js';
import { FakePartition } from './fake-partition.js';

export const TENANT = '11111111-1111-4111-8111-111111111111';
/** Crypto Officer, Crypto User and Administrator. */
export const OPERATOR = '22222222-2222-4222-8222-222222222222';
/** What runs here, and the public key of the host on which it does. */
export const MEASUREMENT = 'ab'.repeat(32);
export const HOST = hostKey();
/** The storage that it may use. */
export const STORAGE = 'localhost:10000';
/** Holds no role. */
export const STRANGER = '33333333-3333-4333-8333-333333333333';

/** The public key of a new host, as it is enrolled. */
export function hostKey(): string {
  const { publicKey } = generateKeyPairSync('ed25519');
  return publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
}

export function callerOf(objectId: string, ...groups: string[]): Caller {
  return { objectId, groups };
}

/** Wraps what is no key, and takes every domain. */
class FakeDomains {
  /** What the next restoring fails with. */
  failure: Error | undefined;
  /** So many calls are there before any is answered: ceremonies at once. */
  together = 1;
  readonly exported: DomainKey[] = [];
  readonly rewrapped: DomainKey[] = [];
  #waiting: (() => void)[] = [];

  async exportKey(): Promise<DomainKey> {
    await this.#gathered();
    const key = { wrappingKey: Buffer.alloc(32, 1), wrapped: Buffer.alloc(40, 2) };
    this.exported.push(key);
    return key;
  }

  async rewrap(key: DomainKey, keys: readonly SealedKey[]): Promise<SealedKey[]> {
    await this.#gathered();
    if (this.failure) throw this.failure;
    // A copy: the caller wipes what it gave.
    this.rewrapped.push({ wrappingKey: Buffer.from(key.wrappingKey), wrapped: Buffer.from(key.wrapped) });
    return keys.map((sealed) => ({ ...sealed, blob: Buffer.from('rewrapped') }));
  }

  #gathered(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length < this.together) return;
      for (const go of this.#waiting) go();
      this.#waiting = [];
    });
  }
}

export class FakeHsm implements Hsm {
  readonly state = new Overlay(emptyState);
  readonly fake = new FakePartition();
  readonly attestorKeys = new IssuerMetadata();
  /** The stand-in, unless a test puts a real one here. */
  partition = this.fake.asPartition;
  readonly domains = new FakeDomains();
  readonly jobs = {
    owner: () => ({ store: 'store-0', run: 'run-0', epoch: 1 }),
    storage: { host: STORAGE },
    wake: () => void (this.woken += 1),
  };
  /** How often there was something to run. */
  woken = 0;
  readonly instance = 0;
  readonly attested = { measurement: MEASUREMENT, host: HOST };
  /** What the next writes fail with. */
  outage: Error | undefined;
  /** Runs after a mutation stands and before its submitter hears of it. */
  afterCommit: (() => void) | undefined;
  /** Undecided mutations, as a wait for every read. */
  undecided: Promise<void> | undefined;
  readonly waitedFor: string[][] = [];
  readonly submitted: Mutation[] = [];
  clock = 1_800_000_000;
  clockOffset = 0;
  /** Whether it may serve. */
  leased = true;
  #index = 0;

  constructor(issuers: readonly TrustedIssuer[] = [], founded = true) {
    if (!founded) return;
    this.found({ issuers });
    this.activate();
  }

  requireLease(): void {
    if (!this.leased) throw new Outage('NotServing', 'without a lease');
  }

  /** As if the security domain had been downloaded. */
  activate(): void {
    this.#apply({ kind: 'PoolActivated', id: newUuid(), time: this.now() });
  }

  found(wish: Partial<Founding>): void {
    const founding: Founding = {
      tenantId: TENANT,
      administrators: [OPERATOR],
      cryptoUsers: [OPERATOR],
      issuers: [],
      retentionDays: 90,
      purgeProtection: false,
      trust: { hosts: [HOST], measurements: [MEASUREMENT] },
      ...wish,
    };
    this.#apply({
      kind: 'PoolFounded',
      id: newUuid(),
      time: this.now(),
      pool: 'dev',
      founding,
      securityDomain: DOMAIN,
      internal: internalKeys(),
      assignmentIds: Array.from({ length: 8 }, newUuid),
    });
  }

  /** Gives a principal all the roles that {@link OPERATOR} has, at `/`. */
  promote(principal: string): void {
    const roles = [ADMINISTRATOR, CRYPTO_OFFICER, CRYPTO_USER];
    this.state.apply(
      assign(
        this.state,
        roles.map((role) => [principal, role] as const),
        roles.map(() => newUuid()),
      ),
    );
  }

  now(): number {
    return this.clock;
  }

  settled(tags: readonly (Tag | 'keys')[]): Promise<void> | undefined {
    this.waitedFor.push([...tags]);
    return this.undecided;
  }

  checkSlot(): Promise<void> {
    return Promise.resolve();
  }

  async submit(mutation: Mutation): Promise<Committed> {
    this.submitted.push(mutation);
    await Promise.resolve();
    if (this.outage) throw this.outage;
    const committed = this.#apply(mutation);
    this.afterCommit?.();
    return committed;
  }

  #apply(mutation: Mutation): Committed {
    const changes = judge(this.state, mutation, this.#index + 1);
    if (changes instanceof Refusal) throw new RefusedError(changes);
    this.#index += 1;
    this.state.apply(changes);
    return { index: this.#index, time: mutation.time, changes };
  }
}
