// Mutations and states for tests of the model.
import type {
  DomainRestored,
  KeyMutation,
  KeyVersionCreated,
  Mutation,
  TransferKeyMade,
} from '../../../src/instance/model/mutation.js';
import type { KeyVersion } from '../../../src/instance/model/keys/records.js';
import { judge } from '../../../src/instance/model/judge.js';
import { Refusal, type RefusalCode } from '../../../src/instance/model/refusal.js';
import { emptyState, Overlay } from '../../../src/instance/model/state.js';
import {
  internalId,
  internalPurposes,
  type InternalKey,
  type InternalPurpose,
} from '../../../src/instance/model/pool.js';
import type { KeySpec } from '../../../src/values/key-spec.js';
import type { Founding } from '../../../src/values/messages.js';

export const ADMIN = 'aaaaaaaa-0000-4000-8000-000000000000';
export const NOW = 1_800_000_000;

/** The domain that a pool is founded with. */
export const DOMAIN = 'dddddddd-0000-4000-8000-000000000000';

const ecSpec: KeySpec = { kty: 'EC-HSM', curve: 'P-256' };
let count = 0;

export function nextId(): string {
  count += 1;
  return `mutation-${count}`;
}

export function founded(wish: Partial<Founding> = {}): Mutation {
  return {
    kind: 'PoolFounded',
    id: nextId(),
    time: NOW,
    pool: 'dev',
    founding: {
      tenantId: 't',
      administrators: [ADMIN],
      cryptoUsers: [ADMIN],
      issuers: [],
      retentionDays: 90,
      purgeProtection: false,
      ...wish,
    },
    securityDomain: DOMAIN,
    internal: internalKeys(),
    assignmentIds: ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'],
  };
}

/** The security domain was downloaded. */
export function activated(): Mutation {
  return { kind: 'PoolActivated', id: nextId(), time: NOW };
}

/** The transfer key of a pool that waits. */
export function transferKeyMade(): TransferKeyMade {
  const { sealed, ...rest } = internalKeys().owner;
  const key = { ...rest, sealed: { ...sealed, id: 'internal/transfer/1' } };
  return { kind: 'TransferKeyMade', id: nextId(), time: NOW, key };
}

/** Another domain was sent in. */
export function restored(securityDomain: string): DomainRestored {
  const internal = internalKeys();
  const owner = { ...internal.owner, certificate: Buffer.of(2) };
  return {
    kind: 'DomainRestored',
    id: nextId(),
    time: NOW,
    securityDomain,
    blob: '{}',
    internal: { ...internal, owner },
  };
}

/** Keys of a pool's own that are none: the model looks at neither blob nor certificate. */
export function internalKeys(): Record<InternalPurpose, InternalKey> {
  const make = (purpose: InternalPurpose): InternalKey => ({
    sealed: { id: internalId(purpose), spec: ecSpec, public: ecPublic(), blob: Buffer.of(1) },
    certificate: Buffer.of(1),
  });
  return Object.fromEntries(internalPurposes.map((purpose) => [purpose, make(purpose)])) as Record<
    InternalPurpose,
    InternalKey
  >;
}

function ecPublic() {
  return { kty: 'EC', curve: 'P-256', x: Buffer.alloc(32), y: Buffer.alloc(32) } as const;
}

export function created(
  name: string,
  version: string,
  wish: Partial<KeyVersionCreated> = {},
): KeyVersionCreated {
  return {
    kind: 'KeyVersionCreated',
    id: nextId(),
    time: NOW,
    name,
    version,
    sealed: { id: `${name}/${version}`, spec: ecSpec, public: ecPublic(), blob: Buffer.of(1) },
    operations: ['sign', 'verify'],
    enabled: true,
    ...wish,
  };
}

export function plain(
  kind: 'KeyDeleted' | 'KeyRecovered' | 'KeyPurged',
  name: string,
  time = NOW,
): KeyMutation {
  return { kind, id: nextId(), time, name };
}

/** A state that mutations are judged against and applied to, as a log does. */
export class Log {
  readonly state = new Overlay(emptyState);
  index = 0;

  /** Undefined if it stands, else why not; a refusal changes nothing. */
  take(mutation: Mutation): RefusalCode | undefined {
    const changes = judge(this.state, mutation, this.index + 1);
    if (changes instanceof Refusal) return changes.code;
    this.index += 1;
    this.state.apply(changes);
    return undefined;
  }
}

/** A log whose pool is founded and active. */
export function foundedLog(wish: Partial<Founding> = {}): Log {
  const log = new Log();
  log.take(founded(wish));
  log.take(activated());
  return log;
}

export function versionOf(log: Log, id: string): KeyVersion {
  const version = log.state.get('versions', id);
  if (!version) throw new Error(`no version ${id}`);
  return version;
}
