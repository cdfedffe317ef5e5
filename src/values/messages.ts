// Messages between the fabric and an instance, over the process channel (structured clone). The fabric sends an
// accepted client socket as the handle that goes with a `connection` message. No message carries key material.
import type { OrderedFaults } from './faults.js';
import type { InstanceFigures } from './figures.js';
import type { Seconds } from './moments.js';
import type { NetworkRules } from './network.js';
import type { Member, View } from './view.js';

/** What a new pool begins with; used once, while the pool's state is still empty. */
export interface Founding {
  readonly tenantId: string;
  /** Object ids that become Managed HSM Administrator at `/`. */
  readonly administrators: readonly string[];
  /** Object ids that also become Crypto Officer and Crypto User at `/`: only for a pool that `up` activates itself. */
  readonly cryptoUsers: readonly string[];
  readonly issuers: readonly TrustedIssuer[];
  /** Soft-delete retention in days, 7..90. */
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
  /** The pool's clock may be moved forward. Decided here and never later. */
  readonly movableClock?: true;
  /** The pool suffers faults on request, for tests. Decided here and never later. */
  readonly faults?: true;
  /** The pool goes on serving while its audit log cannot be written. Decided here and never later. */
  readonly auditOptional?: true;
  /** Whose assertions about environments are believed when a key is to be released; none when absent. */
  readonly attestors?: readonly TrustedAttestor[];
  /** Which instances may take part in the pool. Absent: nobody is enrolled, and no instance lets another in. */
  readonly trust?: TrustedInstances;
  /** Where backups may go; nowhere when absent. */
  readonly storage?: readonly StorageHost[];
}

/** A blob service to which backups may be written, and from which they may be restored. */
export interface StorageHost {
  /** Host and port, `name:port`, lower case; compared exactly. */
  readonly host: string;
  /** PEM of the only authorities that may certify it; without it those that Node.js comes with. */
  readonly ca?: string;
}

/** Which instances may take part in a pool: what they run, and who vouches for that. */
export interface TrustedInstances {
  /** Enrolled hosts: their public keys (Ed25519; SubjectPublicKeyInfo, DER) in base64url. */
  readonly hosts: readonly string[];
  /** Measurements of what may run, SHA-256 in lower-case hex; that of the founder is added when the pool is founded. */
  readonly measurements: readonly string[];
}

/** An attestation service, whose metadata are fetched over HTTPS. */
export interface TrustedAttestor {
  /** An https URL; the `iss` of its assertions, with or without one slash at the end. */
  readonly issuer: string;
  /** PEM of the only authorities that may certify it; without it those that Node.js comes with. */
  readonly ca?: string;
}

/** An issuer of access tokens: pinned by its signing keys, or one that publishes them. */
export type TrustedIssuer = PinnedIssuer | PublishingIssuer;

/** Nobody is asked for its keys, and they never change. */
export interface PinnedIssuer {
  /** The `iss` claim, compared exactly. */
  readonly issuer: string;
  /** Public keys as JWKs with `kid` and `alg`. */
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

/** An OpenID provider, whose metadata are fetched over HTTPS. */
export interface PublishingIssuer {
  /** The `iss` claim, compared exactly; an https URL. */
  readonly issuer: string;
  readonly keys?: never;
  /**
   * Where its metadata are, if not at `{issuer}/.well-known/openid-configuration`; the keys must be at the same origin.
   */
  readonly metadataUrl?: string;
  /** PEM of the only authorities that may certify it; without it those that Node.js comes with. */
  readonly ca?: string;
  /** A value of `aud` that means this pool too, in tokens of this issuer; version 2.0 tokens name an application. */
  readonly audience?: string;
}

/** Another member of the pool, as the fabric introduces it. */
export interface Peer {
  readonly instance: number;
  /** PEM; the certificate that the peer's link presents. */
  readonly certificate: string;
  /** TCP port on 127.0.0.1. */
  readonly port: number;
}

/** Rules, and the how manieth of this pool since its fabric runs. */
export interface OrderedNetwork {
  readonly order: number;
  readonly rules: NetworkRules;
}

/** How an instance knows the fabric, when that passes on what a caller of the control plane wants done with keys. */
export interface Relay {
  /** Shown with each such request; made up by every fabric that runs, and known to it and its instances. */
  readonly secret: string;
  /** What `aud` of the caller's own token may be. */
  readonly audiences: readonly string[];
}

export type ToInstance =
  | {
      readonly kind: 'start';
      readonly pool: string;
      /** 0, 1 or 2. */
      readonly instance: number;
      /** The instance's own directory; it exists and is locked for the life of the process. */
      readonly directory: string;
      /** Path of the PKCS#11 module. */
      readonly module: string;
      /** Suffix of host names and of token audiences: `managedhsm.localhost`. */
      readonly domain: string;
      /** Port of the data plane as clients see it; for the URLs in answers. */
      readonly dataPort: number;
      /** `https://host:port/{tenantId}`, named in the 401 challenge. */
      readonly authority: string;
      readonly founding: Founding;
      /** The host's key, which vouches for what its instances run; PEM (PKCS #8). */
      readonly hostKeyFile: string;
      /** As in `clock`. */
      readonly clockOffset: Seconds;
      /** As in `network`; they hold before the first request. */
      readonly network: OrderedNetwork;
      /** As in `faults`; absent from pools that were not made for them. */
      readonly faults?: OrderedFaults;
      /** Absent: nobody manages keys through the control plane. */
      readonly relay?: Relay;
      /** The blob service that the fabric has started, allowed besides those that the pool was made with. */
      readonly storage?: StorageHost;
      /** The pool has no view yet: instance 0 makes the first token if it has none. Never in a pool that has one. */
      readonly found: boolean;
    }
  /**
   * The other instances that have introduced themselves; said again whenever one of them has started anew. `donor` is
   * whom an instance that lacks its token or its state asks: the primary, or 0 in a pool that has no view yet.
   */
  | { readonly kind: 'peers'; readonly peers: readonly Peer[]; readonly donor: number }
  /** The present view; said after `opened`, and whenever it has changed. */
  | { readonly kind: 'view'; readonly view: View }
  /** In answer to `lease`: held for `LEASE_MS` from `asked`, for this epoch. Only members of the view get it. */
  | { readonly kind: 'lease'; readonly asked: number; readonly epoch: number }
  /** Another instance has ended, and how: for the audit log. */
  | { readonly kind: 'lost'; readonly instance: number; readonly reason: string }
  /** In answer to `propose`: certainly not added, and never by that proposal. */
  | { readonly kind: 'declined'; readonly epoch: number; readonly member: Member }
  /** Primary: take no more changes, say `retired` once nothing is undecided; another becomes primary then. */
  | { readonly kind: 'retire' }
  /** Keys are not to be purged early any more, from now on and for good; `serving` says when it holds. */
  | { readonly kind: 'protect' }
  /** Answered with `digest` of the same `id`. */
  | { readonly kind: 'digest'; readonly id: number }
  /** Answered with `figures` of the same `id`, by one that serves. */
  | { readonly kind: 'figures'; readonly id: number }
  /** Comes with a socket handle; `head` are the bytes that were read from it to find the server name. */
  | { readonly kind: 'connection'; readonly head: Uint8Array }
  /**
   * The installation's clock is so far ahead of the machine's, from now on; answered with `clockSet`. Never less than
   * before.
   */
  | { readonly kind: 'clock'; readonly offset: Seconds }
  /** Who may reach the data plane from the next request on; answered with `networkSet`. */
  | { readonly kind: 'network'; readonly network: OrderedNetwork }
  /** What is to be suffered from now on; only in pools that were made for it. Answered with `faultsSet`. */
  | { readonly kind: 'faults'; readonly faults: OrderedFaults }
  /**
   * Finish running requests, say `drained`, and go on taking part: others may still need this member's word. `patient`:
   * connections that are idle get a moment in which what their clients are just sending is answered.
   */
  | { readonly kind: 'drain'; readonly patient?: true }
  /** Exit with code 0. */
  | { readonly kind: 'leave' };

export interface InstanceReport {
  readonly role: 'primary' | 'backup';
  /** A member of the view, and in step with its primary. */
  readonly inSync: boolean;
  readonly epoch: number;
  /** TCP port on 127.0.0.1 where this instance alone answers. */
  readonly port: number;
  /** Index of the newest committed mutation. */
  readonly committed: number;
  readonly keys: number;
  readonly activation: 'Active' | 'NotActivated';
  /** Keys are not purged before the end of their retention. */
  readonly purgeProtection: boolean;
  /** PEM of the pool's TLS root; its key is an internal key of the pool, inside the slots. */
  readonly rootCertificate: string;
  /** SHA-256 of the certificate (DER) of the pool's owner, who certifies partitions; lower-case hex. */
  readonly ownerFingerprint: string;
}

export type FromInstance =
  /** The mesh listens; answered with `peers`. */
  | { readonly kind: 'introduced'; readonly certificate: string; readonly port: number }
  /** Token and store are open; `epoch` is the highest that this store has seen, 0 for a new one. */
  | { readonly kind: 'opened'; readonly store: string; readonly epoch: number }
  /** Where an instance that is no member yet has got to, for people; `total` 0: not known. */
  | {
      readonly kind: 'joining';
      readonly phase: 'log' | 'snapshot';
      readonly done: number;
      readonly total: number;
    }
  /** Sent several times in each lease, from `opened` on. */
  | {
      readonly kind: 'lease';
      /** CLOCK_BOOTTIME in milliseconds. */
      readonly asked: number;
      /** Of the view that it goes by; 0 before the first. */
      readonly epoch: number;
      /** Instances that it has a link to. */
      readonly reach: readonly number[];
      /** Instances, itself among them perhaps, that a change has waited for too long. */
      readonly stuck: readonly number[];
      /** The primary of this epoch lacks what is committed here, and must not order. */
      readonly accuses: boolean;
    }
  /** Primary: this member holds the whole log. Counted as required until a view or `declined` comes. */
  | { readonly kind: 'propose'; readonly epoch: number; readonly member: Member }
  | { readonly kind: 'retired' }
  /** SHA-256 over all committed state through `index`, lower-case hex: equal on members that stand at one index. */
  | { readonly kind: 'digest'; readonly id: number; readonly index: number; readonly digest: string }
  | { readonly kind: 'figures'; readonly id: number; readonly figures: InstanceFigures }
  /** Serves requests from now on; sent again whenever the report changes. */
  | { readonly kind: 'serving'; readonly report: InstanceReport }
  /**
   * So far ahead is the clock by which this instance judges everything from now on. Said after `start` and after each
   * `clock`; 0 from a pool whose clock is not movable, whatever it was told.
   */
  | { readonly kind: 'clockSet'; readonly offset: Seconds }
  /** These rules, or later ones, hold for every request from now on. Said after `start` and after each `network`. */
  | { readonly kind: 'networkSet'; readonly order: number }
  /** These faults, or later ones, are suffered from now on. Said after a `start` with faults, and after each `faults`. */
  | { readonly kind: 'faultsSet'; readonly order: number }
  /** Told to drain, and no request is running any more. */
  | { readonly kind: 'drained' }
  /**
   * Last words; the process exits right after. Never holds a secret. `damaged`: what lies in its directory cannot be
   * used, so starting on it again is no help.
   */
  | { readonly kind: 'failed'; readonly reason: string; readonly damaged: boolean };
