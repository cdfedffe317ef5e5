// Messages between the fabric and an instance, over the process channel (structured clone). The fabric sends an
// accepted client socket as the handle that goes with a `connection` message. No message carries key material.
import type { Seconds } from './moments.js';

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
  /** The pool goes on serving while its audit log cannot be written. Decided here and never later. */
  readonly auditOptional?: true;
  /** Whose assertions about environments are believed when a key is to be released; none when absent. */
  readonly attestors?: readonly TrustedAttestor[];
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
      /** As in `clock`. */
      readonly clockOffset: Seconds;
    }
  | { readonly kind: 'peers'; readonly peers: readonly Peer[] }
  /** Comes with a socket handle; `head` are the bytes that were read from it to find the server name. */
  | { readonly kind: 'connection'; readonly head: Uint8Array }
  /**
   * The installation's clock is so far ahead of the machine's, from now on; answered with `clockSet`. Never less than
   * before.
   */
  | { readonly kind: 'clock'; readonly offset: Seconds }
  /** Finish running requests, say `drained`, and go on taking part: others may still need this member's word. */
  | { readonly kind: 'drain' }
  /** Everybody has finished: exit with code 0. */
  | { readonly kind: 'leave' };

export interface InstanceReport {
  readonly role: 'primary' | 'backup';
  /** Linked with every other member and nothing missing. */
  readonly inSync: boolean;
  readonly epoch: number;
  /** Index of the newest committed mutation. */
  readonly committed: number;
  readonly keys: number;
  readonly activation: 'Active' | 'NotActivated';
  /** PEM of the pool's TLS root; its key is an internal key of the pool, inside the slots. */
  readonly rootCertificate: string;
  /** SHA-256 of the certificate (DER) of the pool's owner, who certifies partitions; lower-case hex. */
  readonly ownerFingerprint: string;
}

export type FromInstance =
  /** The mesh listens; answered with `peers` once all three have said so. */
  | { readonly kind: 'introduced'; readonly certificate: string; readonly port: number }
  /** Serves requests from now on; sent again whenever the report changes. */
  | { readonly kind: 'serving'; readonly report: InstanceReport }
  /**
   * So far ahead is the clock by which this instance judges everything from now on. Said after `start` and after each
   * `clock`; 0 from a pool whose clock is not movable, whatever it was told.
   */
  | { readonly kind: 'clockSet'; readonly offset: Seconds }
  /** Told to drain, and no request is running any more. */
  | { readonly kind: 'drained' }
  /** Last words; the process exits right after. Never holds a secret. */
  | { readonly kind: 'failed'; readonly reason: string };
