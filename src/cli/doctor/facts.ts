// What the doctor looks at, as plain values: probes fill it in, rules judge it. Knows neither.

/** What could not be looked at, and why. */
export class Unknown {
  constructor(readonly why: string) {}
}

export type Maybe<T> = T | Unknown;

/** Somebody who holds a port or a lock; the pid is null for a process of another user. */
export interface Holder {
  readonly pid: number | null;
  /** Its command line, or what is known of it. */
  readonly command: string;
}

export interface PortFacts {
  readonly port: number;
  readonly option: '--control-port' | '--data-port';
  /** Undefined: free. */
  readonly holder: Holder | undefined;
  /** The holder is the fabric of this directory. */
  readonly ours: boolean;
  /** Why this user may not listen on it. */
  readonly refused: string | undefined;
}

/** A TLS connection to a running pool, or to its control port. */
export interface ConnectionFacts {
  /** As a person would call it. */
  readonly whom: string;
  /** Undefined: verified. With the authority file of the directory, and with what Node trusts by itself here. */
  readonly withFile: string | undefined;
  readonly withDefaults: string | undefined;
}

export interface FileFacts {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly directory: boolean;
}

export interface PartitionFacts {
  readonly pool: string;
  readonly id: number;
  readonly role: string;
  readonly inSync: boolean;
  readonly paused: boolean;
  readonly unplugged: boolean;
  readonly reason: string | undefined;
}

export type NativeFacts =
  | { readonly step: 'addon'; readonly problem: string }
  | { readonly step: 'no-module'; readonly looked: readonly string[] }
  | { readonly step: 'module'; readonly path: string; readonly problem: string }
  | {
      readonly step: 'done';
      readonly path: string;
      readonly description: string;
      readonly missing: readonly string[];
    };

export interface Facts {
  /** The data directory, absolute. */
  readonly root: string;
  /** The process that runs a fabric on it. */
  readonly fabric: Holder | undefined;
  /** `running.json` names a fabric that is no more. */
  readonly killed: number | undefined;
  /** Instances that live although no fabric does. */
  readonly orphans: Maybe<readonly Holder[]>;
  readonly node: { readonly version: string; readonly wanted: string };
  /** Programs that starting an instance takes; those that are missing. */
  readonly missingPrograms: readonly string[];
  /** Compiled files that are missing. */
  readonly missingBuild: readonly string[];
  readonly native: Maybe<NativeFacts>;
  /** CLOCK_BOOTTIME, some readings in a row, in milliseconds. */
  readonly bootTimesMs: readonly number[];
  readonly directory: {
    readonly exists: boolean;
    /** Why no file can be made in it, or in the nearest parent that there is. */
    readonly unwritable: string | undefined;
  };
  /** Of everything in the directory. */
  readonly files: Maybe<readonly FileFacts[]>;
  readonly uid: number;
  readonly custodianKeys: readonly string[];
  /** Working copies of tokens that nobody works on, directories that were set aside. */
  readonly stale: readonly string[];
  readonly broken: readonly string[];
  readonly ports: readonly Maybe<PortFacts>[];
  /** Host names of the pools, and where each leads; undefined where nowhere. */
  readonly names: readonly { readonly name: string; readonly addresses: readonly string[] | undefined }[];
  /** Undefined before the first start. */
  readonly caFile: string | undefined;
  readonly certificates: Maybe<
    readonly { readonly subject: string; readonly notBefore: number; readonly notAfter: number }[]
  >;
  /** Environment variables by which programs find authorities, and whether their file has ours. */
  readonly bundles: readonly {
    readonly variable: 'NODE_EXTRA_CA_CERTS' | 'REQUESTS_CA_BUNDLE' | 'SSL_CERT_FILE';
    readonly file: string;
    readonly holdsOurs: boolean;
    readonly problem: string | undefined;
  }[];
  /** Empty while nothing runs. */
  readonly connections: Maybe<readonly ConnectionFacts[]>;
  readonly disk: Maybe<{
    /** `f_type` of statfs(2). */
    readonly type: number;
    readonly freeBytes: number;
    readonly freeFiles: number;
    /** Files are counted at all. */
    readonly countsFiles: boolean;
    /** Of several small writes with fsync, in milliseconds; or why it failed. */
    readonly syncMs: readonly number[] | string;
  }>;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The newest time that a file of the directory bears. */
  readonly newestFile: number | undefined;
  /** Soft limit of the running fabric, or of what would be started here; undefined: none. */
  readonly openFilesMax: Maybe<number | undefined>;
  /** Bytes of a core file; undefined: any number. */
  readonly coreBytesMax: Maybe<number | undefined>;
  /** Empty while nothing runs. */
  readonly partitions: Maybe<readonly PartitionFacts[]>;
  /** Pools that wait for their security domain. */
  readonly waiting: readonly string[];
}
