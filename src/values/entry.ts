// Entries of the replicated log, as every member stores them.
import type { Seconds } from './moments.js';

/** One mutation at its place in the log. */
export interface Entry {
  /** Counts from 1 without gaps. */
  readonly index: number;
  /** Of the view in which it was judged. */
  readonly epoch: number;
  /** The mutation's time, as judged. */
  readonly time: Seconds;
  /** The mutation, encoded. */
  readonly mutation: Uint8Array;
  /** SHA-256 over the encoded changes that the primary computed. */
  readonly changesHash: Uint8Array;
  /** SHA-256 over the entry before, and all of the above: two logs with an equal hash at one index are equal up to it. */
  readonly hash: Uint8Array;
}

/** Where the log stands. */
export interface Head {
  readonly index: number;
  readonly hash: Uint8Array;
}

/** The head of an empty log. */
export const EMPTY_HEAD: Head = { index: 0, hash: new Uint8Array(32) };
