// How a member that is not in the view comes to the committed log: it takes what it lacks from the primary, or the
// whole state in place of its own. It judges nothing: the entries that come are for the follower, like any others.
import { assert } from '../../values/assert.js';
import type { Entry, Head } from '../../values/entry.js';
import type { SealedKey } from '../../values/key-spec.js';
import { POOL } from '../model/pool.js';
import type { State, Tables } from '../model/state.js';
import type { Partition } from '../partition/partition.js';
import type { TokenDirectory } from '../partition/token.js';
import type { Replication } from '../replication/replication.js';
import { importSnapshot, installSnapshot, type SnapshotPart } from '../store/snapshot.js';
import type { Store } from '../store/store.js';
import { DirectoryUnusable } from './directory-unusable.js';
import type { Domains } from './domains.js';
import type { CatchUpAnswer, CatchUpQuestion, SnapshotAnswer } from './donate.js';

/** Customers' keys that are opened after a snapshot; every other shows when it is used or proven again. */
const SAMPLED = 32;
/** A snapshot that was outrun by the log is taken again, but not for ever. */
const SNAPSHOTS_MAX = 3;

export interface CatchUpProgress {
  readonly phase: 'snapshot';
  /** Records. */
  readonly done: number;
  readonly total: number;
}

export interface CatchUpParts {
  /** The primary. */
  readonly donor: number;
  /** This member's own, open; closed when a snapshot takes its place. */
  readonly store: Store<Tables>;
  /** Of the store's file. */
  readonly path: string;
  /** Opens the store at `path` again. */
  readonly open: () => Promise<Store<Tables>>;
  readonly tables: readonly string[];
  readonly replication: Pick<Replication, 'ask'>;
  readonly partition: Pick<Partition, 'deriveSecret' | 'learnExportKey' | 'proveAll'>;
  readonly domains: Pick<Domains, 'open'>;
  readonly tokens: Pick<TokenDirectory, 'domains'>;
  /** From 0 up to 1: which keys are opened to see that they can be. */
  readonly random: () => number;
  readonly onProgress: (progress: CatchUpProgress) => void;
}

/**
 * The store, once what is committed in it is the beginning of the primary's log; another in its place if it was not, or
 * is too old. An undecided tail stays: the follower compares it, and somebody may count on its being on this disk.
 * @throws {DirectoryUnusable} when the token is not of the pool's domain, or does not open the pool's keys; any other
 *   error means that it may be tried again, from the start.
 */
export async function catchUp(parts: CatchUpParts): Promise<Store<Tables>> {
  let { store } = parts;
  for (let taken = 0; ; taken += 1) {
    const { index, hash } = store.readLog().base;
    const question = { kind: 'catch-up', after: { index, hash } } as const;
    // What came while a snapshot was taken is followed by the log, if that reaches back.
    const answer = await ask(parts, taken === 0 ? question : { ...question, following: true });
    if (answer.kind === 'log') return store;
    if (answer.kind !== 'snapshot') throw new Error('the primary answered something else than was asked');
    if (taken === SNAPSHOTS_MAX) throw new Error('the log went on faster than snapshots of it were taken');
    store = await takeSnapshot(parts, store, answer);
    await proveSample(parts, store);
  }
}

/** Committed entries that follow `after` in the primary's log; undefined when that has another entry there. */
export async function entriesAfter(
  parts: Pick<CatchUpParts, 'replication' | 'donor'>,
  after: Head,
): Promise<readonly Entry[] | undefined> {
  const { index, hash } = after;
  const answer = await ask(parts, { kind: 'catch-up', after: { index, hash }, following: true });
  return answer.kind === 'log' ? answer.entries : undefined;
}

async function takeSnapshot(
  parts: CatchUpParts,
  store: Store<Tables>,
  { id, base, records }: SnapshotAnswer,
): Promise<Store<Tables>> {
  let done = 0;
  const next = async (): Promise<SnapshotPart> => {
    parts.onProgress({ phase: 'snapshot', done, total: records });
    const part = await ask(parts, { kind: 'snapshot-page', id });
    if (part.kind !== 'page' && part.kind !== 'end')
      throw new Error('the primary answered something else than was asked');
    if (part.kind === 'page') done += part.records;
    return part;
  };
  const key = Uint8Array.from(await parts.partition.deriveSecret('store'));
  const { epoch } = store;
  await importSnapshot(parts.path, key, parts.tables, { base: base ?? undefined, epoch }, next);
  await store.close();
  await installSnapshot(parts.path);
  return parts.open();
}

// Under the data-wrapping key of another domain the state would be worth nothing here, and it would show only when
// somebody signs.
async function proveSample({ tokens, domains, partition, random }: CatchUpParts, store: Store<Tables>) {
  const { state } = store;
  const domain = state.get('pool', POOL)?.securityDomain;
  if (domain === undefined) return;
  if (!(await tokens.domains()).includes(domain))
    throw new DirectoryUnusable('the pool has another security domain than the token of this instance');
  try {
    await domains.open(domain);
    const exportKey = state.get('internal', 'export-wrapping');
    if (exportKey) partition.learnExportKey(exportKey.sealed);
    await partition.proveAll([...internalKeys(state), ...state.sample('versions', SAMPLED, random)]);
  } catch (cause) {
    throw new DirectoryUnusable('the token of this instance does not open the keys of the pool', { cause });
  }
}

function internalKeys(state: State): SealedKey[] {
  const keys = state.range('internal', '', 100);
  assert(keys.length < 100, 'a pool has a few keys of its own');
  return keys.map(([, { sealed }]) => sealed);
}

// Answers come over an attested link; what they say is checked against hashes, their shape is not.
async function ask(
  { replication, donor }: Pick<CatchUpParts, 'replication' | 'donor'>,
  question: CatchUpQuestion,
): Promise<CatchUpAnswer> {
  return (await replication.ask(donor, question)) as CatchUpAnswer;
}
