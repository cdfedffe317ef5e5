// A member outside the view and the primary: what the one gives and what the other makes of it, with real stores and a
// link that can be cut between any two questions.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  catchUp,
  entriesAfter,
  type CatchUpParts,
  type CatchUpProgress,
} from '../../../src/instance/hsm/catch-up.js';
import { DirectoryUnusable } from '../../../src/instance/hsm/directory-unusable.js';
import { Donor, isCatchUpQuestion, type CatchUpQuestion } from '../../../src/instance/hsm/donate.js';
import { hashOfChanges } from '../../../src/instance/hsm/tail.js';
import { judge } from '../../../src/instance/model/judge.js';
import type { Mutation } from '../../../src/instance/model/mutation.js';
import { Refusal } from '../../../src/instance/model/refusal.js';
import {
  emptyState,
  Overlay,
  tableNames,
  type Change,
  type Tables,
} from '../../../src/instance/model/state.js';
import { chain } from '../../../src/instance/replication/entry.js';
import { Store } from '../../../src/instance/store/store.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import type { SealedKey } from '../../../src/values/key-spec.js';
import { activated, created, DOMAIN, founded } from '../model/fixtures.js';

const directories: string[] = [];
const open = new Set<Store<Tables>>();

afterEach(async () => {
  for (const store of open) await store.close();
  open.clear();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

interface Decided {
  readonly entry: Entry;
  readonly changes: readonly Change[];
}

/** What a primary decides: mutations judged one after the other. */
class Log {
  readonly #state = new Overlay(emptyState);
  #head: Head = EMPTY_HEAD;

  decide(...mutations: Mutation[]): Decided[] {
    return mutations.map((mutation) => {
      const changes = judge(this.#state, mutation, this.#head.index + 1);
      if (changes instanceof Refusal) throw new Error(changes.detail);
      this.#state.apply(changes);
      const changesHash = hashOfChanges(changes);
      const entry = chain(this.#head, {
        epoch: 1,
        time: mutation.time,
        mutation: encode(mutation),
        changesHash,
      });
      this.#head = entry;
      return { entry, changes };
    });
  }
}

async function commit(store: Store<Tables>, decided: readonly Decided[]): Promise<void> {
  await store.append(decided.map(({ entry }) => entry));
  for (const { entry, changes } of decided) store.commit(entry.index, changes);
}

const VERSION = '0'.repeat(32);

const keys = (from: number, count: number, blob = Buffer.of(1)): Mutation[] =>
  Array.from({ length: count }, (_, place) => {
    const mutation = created(`key-${String(from + place).padStart(4, '0')}`, VERSION);
    return { ...mutation, sealed: { ...mutation.sealed, blob } };
  });

/** What it is rejected with. */
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

class Place {
  readonly path: string;
  readonly proven: string[] = [];
  readonly opened: string[] = [];
  readonly progress: CatchUpProgress[] = [];
  domains = [DOMAIN];
  unprovable: string | undefined;

  constructor() {
    const directory = mkdtempSync(join(tmpdir(), 'trivet-catch-up-'));
    directories.push(directory);
    this.path = join(directory, 'state.sqlite');
  }

  async open(): Promise<Store<Tables>> {
    const store = await Store.open<Tables>(this.path, Buffer.alloc(32, 7), tableNames);
    open.add(store);
    return store;
  }

  parts(store: Store<Tables>, ask: CatchUpParts['replication']['ask'], seed = 1): CatchUpParts {
    let random = seed;
    return {
      donor: 0,
      store,
      path: this.path,
      open: async () => {
        open.delete(store);
        return this.open();
      },
      tables: tableNames,
      replication: { ask },
      partition: {
        deriveSecret: () => Buffer.alloc(32, 7),
        learnExportKey: ({ id }) => void this.opened.push(id),
        proveAll: (sealed: readonly SealedKey[]) => {
          this.proven.push(...sealed.map(({ id }) => id));
          const bad = sealed.find(({ id }) => id === this.unprovable);
          return bad ? Promise.reject(new Error(`${bad.id} does not open`)) : Promise.resolve();
        },
      },
      domains: { open: (domain) => Promise.resolve(void this.opened.push(domain)) },
      tokens: { domains: () => Promise.resolve(this.domains) },
      // The minimal standard generator: any numbers will do.
      random: () => (random = (random * 48_271) % 2_147_483_647) / 2_147_483_647,
      onProgress: (progress) => void this.progress.push(progress),
    };
  }
}

/** Asks the donor as over a link: encoded, and only what is a question. */
function linkTo(
  donor: Donor,
  from: number,
  before: (question: CatchUpQuestion) => unknown = () => undefined,
) {
  const asked: string[] = [];
  const ask = async (member: number, given: unknown): Promise<unknown> => {
    const question = decode(encode(given));
    if (member !== 0 || !isCatchUpQuestion(question)) throw new Error('not a question for this member');
    asked.push(question.kind);
    await before(question);
    return decode(encode(await donor.answer(from, question)));
  };
  return { ask, asked };
}

async function primary(log: Log, ...mutations: Mutation[]): Promise<{ store: Store<Tables>; donor: Donor }> {
  const store = await new Place().open();
  await commit(store, log.decide(...mutations));
  return { store, donor: new Donor(store, () => true) };
}

/** Indexes of the entries that a member takes which holds the primary's log through the head. */
async function taken(ask: CatchUpParts['replication']['ask'], head: Head): Promise<number[]> {
  const indexes: number[] = [];
  for (;;) {
    const entries = await entriesAfter({ replication: { ask }, donor: 0 }, head);
    if (!entries) throw new Error('the primary has another entry there');
    const last = entries.at(-1);
    if (!last) return indexes;
    indexes.push(...entries.map(({ index }) => index));
    head = last;
  }
}

describe('catching up by the log', () => {
  test('an empty member takes all that is committed, and nothing that is not', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, founded(), activated(), ...keys(0, 8));
    await store.append(log.decide(...keys(8, 2)).map(({ entry }) => entry));
    const place = new Place();
    const own = await place.open();
    const link = linkTo(donor, 2);
    expect(await catchUp(place.parts(own, link.ask))).toBe(own);
    expect(await taken(link.ask, EMPTY_HEAD)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await entriesAfter(place.parts(own, link.ask), EMPTY_HEAD)).toEqual(
      store.entriesAfter(0, 1_000_000).slice(0, 10),
    );
  });

  test('one that has a part of it takes the rest, and keeps its undecided tail until that is compared', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, founded(), activated());
    const place = new Place();
    const own = await place.open();
    const second = store.entriesAfter(0, 1_000_000);
    await own.append(second);
    own.commit(1, []);
    own.commit(2, []);
    const foreign = new Log().decide(founded(), activated(), ...keys(50, 3)).slice(2);
    await own.append(foreign.map(({ entry }) => entry));
    await commit(store, log.decide(...keys(0, 3)));
    const link = linkTo(donor, 2);
    expect(await catchUp(place.parts(own, link.ask))).toBe(own);
    const { base, tail } = own.readLog();
    expect(tail).toHaveLength(3);
    expect(await taken(link.ask, base)).toEqual([3, 4, 5]);
    // The same place in another log.
    expect(await entriesAfter(place.parts(own, link.ask), tail[0] ?? EMPTY_HEAD)).toBeUndefined();
  });

  test('pages follow each other until the primary has no more, whatever it commits meanwhile', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, founded(), activated());
    const place = new Place();
    let more = 3;
    const link = linkTo(donor, 2, async () => {
      if ((more -= 1) < 0) return;
      // A page holds a megabyte of mutations.
      await commit(store, log.decide(...keys(more * 400, 400, Buffer.alloc(3_000, 7))));
    });
    await catchUp(place.parts(await place.open(), link.ask));
    const indexes = await taken(link.ask, EMPTY_HEAD);
    expect(indexes).toEqual(Array.from({ length: 1_202 }, (_, place) => place + 1));
    expect(link.asked.length).toBeGreaterThan(3);
  });

  test('one that lacks nothing is given nothing', async () => {
    const { store, donor } = await primary(new Log(), founded());
    const place = new Place();
    const own = await place.open();
    await own.append(store.entriesAfter(0, 1_000_000));
    own.commit(1, []);
    const link = linkTo(donor, 2);
    expect(await catchUp(place.parts(own, link.ask))).toBe(own);
    expect(await taken(link.ask, own.readLog().base)).toEqual([]);
  });

  test('the log that a member is being given is kept until the link to it is lost', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, founded(), activated(), ...keys(0, 3));
    const after: Head = { index: 2, hash: store.hashAt(2) ?? EMPTY_HEAD.hash };
    await donor.answer(2, { kind: 'catch-up', after });
    let committed = 5;
    const decideEmpty = async (count: number) => {
      const [template] = store.entriesAfter(committed - 1, 1);
      let head: Head = template ?? EMPTY_HEAD;
      const entries = Array.from({ length: count }, () => {
        const entry = chain(head, { epoch: 1, time: 1, mutation: Buffer.of(0), changesHash: Buffer.of(0) });
        head = entry;
        return entry;
      });
      await store.append(entries);
      for (const { index } of entries) store.commit((committed = index), []);
      await store.append([]);
    };
    await decideEmpty(10_020);
    // It was given all of them through 5.
    expect(store.hashAt(5)).toBeDefined();
    expect(store.hashAt(4)).toBeUndefined();
    donor.lost(2);
    await decideEmpty(1);
    expect(store.hashAt(5)).toBeUndefined();
  });
});

describe('catching up by a snapshot', () => {
  const many = (): Mutation[] => [founded(), activated(), ...keys(0, 64)];

  async function replaced(donorStore: Store<Tables>, place: Place, own: Store<Tables>, donor: Donor) {
    const { id } = own;
    await own.setEpoch(4);
    const link = linkTo(donor, 2);
    const store = await catchUp(place.parts(own, link.ask));
    expect(store).not.toBe(own);
    expect(store.id).not.toBe(id);
    expect(store.epoch).toBe(4);
    expect(await store.digest()).toEqual(await donorStore.digest());
    expect(await taken(link.ask, store.readLog().base)).toEqual([]);
  }

  test('a member whose committed log is another one takes the whole state in place of its own', async () => {
    const { store, donor } = await primary(new Log(), ...many());
    const place = new Place();
    const own = await place.open();
    await commit(own, new Log().decide(founded(), activated(), ...keys(100, 2)));
    await replaced(store, place, own, donor);
  });

  test('so does one that has committed more than the primary', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, ...many());
    const place = new Place();
    const own = await place.open();
    const decided = log.decide(...keys(100, 1));
    // Undecided at the primary, which has it on its disk all the same.
    await store.append(decided.map(({ entry }) => entry));
    await own.append([...store.entriesAfter(0, 10_000_000)]);
    for (let index = 1; index <= 67; index += 1) own.commit(index, []);
    await replaced(store, place, own, donor);
  });

  test('so does one to which the log does not reach back, and then takes what came meanwhile', async () => {
    const log = new Log();
    const full = await primary(log, ...many());
    // The primary is one that has itself begun with a snapshot.
    const second = new Place();
    const emptied = await second.open();
    await commit(emptied, new Log().decide(founded()));
    const store = await catchUp(second.parts(emptied, linkTo(full.donor, 1).ask));
    const donor = new Donor(store, () => true);

    const place = new Place();
    const link = linkTo(donor, 2, async ({ kind }) => {
      if (kind === 'snapshot-page') await commit(store, log.decide(...keys(200 + link.asked.length, 1)));
    });
    const caughtUp = await catchUp(place.parts(await place.open(), link.ask));
    expect(link.asked.slice(0, 2)).toEqual(['catch-up', 'snapshot-page']);
    expect(link.asked.at(-1)).toBe('catch-up');
    expect(caughtUp.applied).toBe(66);
    const pages = link.asked.filter((kind) => kind === 'snapshot-page').length;
    expect(await taken(link.ask, caughtUp.readLog().base)).toEqual(
      Array.from({ length: pages }, (_, at) => 67 + at),
    );
    expect(place.progress[0]).toMatchObject({ phase: 'snapshot', done: 0 });
    const { done, total } = place.progress.at(-1) ?? {};
    expect(done).toBe(total);
  });

  test('so does one that lacks more than is worth replaying, and one that follows already gets the log', async () => {
    const log = new Log();
    const { store, donor } = await primary(log, founded(), activated(), ...keys(0, 254));
    const place = new Place();
    const few = await place.open();
    expect(await catchUp(place.parts(few, linkTo(donor, 2).ask))).toBe(few);
    await commit(store, log.decide(...keys(254, 1)));
    expect(await taken(linkTo(donor, 2).ask, EMPTY_HEAD)).toHaveLength(257);
    await replaced(store, place, few, donor);
  });

  async function foreign(): Promise<{ place: Place; own: Store<Tables> }> {
    const place = new Place();
    const own = await place.open();
    await commit(own, new Log().decide(founded(), activated(), ...keys(100, 2)));
    return { place, own };
  }

  test('the pools own keys and a sample of the others are opened before it counts', async () => {
    const { donor } = await primary(new Log(), ...many());
    const samples = [];
    for (const seed of [1, 2]) {
      const { place, own } = await foreign();
      await catchUp(place.parts(own, linkTo(donor, 2).ask, seed));
      expect(place.opened).toEqual([DOMAIN, 'internal/export-wrapping']);
      const internal = place.proven.filter((id) => id.startsWith('internal/'));
      expect(internal).toHaveLength(5);
      const sample = place.proven.filter((id) => id.startsWith('key-'));
      expect(sample).toHaveLength(32);
      expect(new Set(sample).size).toBe(32);
      samples.push(sample);
    }
    expect(samples[0]).not.toEqual(samples[1]);
  });

  test('a slot that does not open one of them makes the directory unusable', async () => {
    const { donor } = await primary(new Log(), ...many());
    const { place, own } = await foreign();
    place.unprovable = 'internal/owner';
    const error = await failureOf(catchUp(place.parts(own, linkTo(donor, 2).ask)));
    expect(error).toBeInstanceOf(DirectoryUnusable);
    expect(String(error)).toMatch('does not open the keys of the pool');
  });

  test('a token of another domain makes the directory unusable', async () => {
    const { donor } = await primary(new Log(), ...many());
    const { place, own } = await foreign();
    place.domains = ['another'];
    const error = await failureOf(catchUp(place.parts(own, linkTo(donor, 2).ask)));
    expect(error).toBeInstanceOf(DirectoryUnusable);
    expect(place.proven).toEqual([]);
  });

  test('a link that is lost at any question leaves a whole store, and the next attempt begins anew', async () => {
    // Large enough for three pages.
    const mutations = [founded(), activated(), ...keys(0, 60, Buffer.alloc(40_000))];
    const { store, donor } = await primary(new Log(), ...mutations);
    const { place, own } = await foreign();
    const lost = 'the link to instance 0 was lost';
    for (let cutAt = 1; ; cutAt += 1) {
      const link = linkTo(donor, 2, () => {
        if (link.asked.length === cutAt) throw new Error(lost);
      });
      expect(await failureOf(catchUp(place.parts(own, link.ask)))).toEqual(new Error(lost));
      donor.lost(2);
      expect(existsSync(`${place.path}.joining`)).toBe(false);
      // Its own store is there until the last page was taken.
      if (cutAt > 1 && link.asked.at(-1) === 'catch-up') break;
      expect(own.state.get('keys', 'key-0100')).toBeDefined();
      await own.append([]);
    }
    const [imported] = [...open].filter((candidate) => candidate !== store);
    if (!imported) throw new Error('a store');
    expect(await imported.digest()).toEqual(await store.digest());
    await imported.close();
    open.delete(imported);
    const link = linkTo(donor, 2);
    const again = await catchUp(place.parts(await place.open(), link.ask));
    expect(link.asked).toEqual(['catch-up']);
    expect(await taken(link.ask, again.readLog().base)).toEqual([]);
  });
});

describe('the donor', () => {
  const whole = { kind: 'catch-up', after: { index: 3, hash: Buffer.alloc(32, 9) } } as const;

  test('gives nothing when it is not the primary of the present view, nor when it is none any more', async () => {
    const { store } = await primary(new Log(), founded(), activated());
    let may = true;
    const donor = new Donor(store, () => may);
    const answer = await donor.answer(2, whole);
    may = false;
    const id = answer.kind === 'snapshot' ? answer.id : '';
    for (const question of [whole, { kind: 'catch-up', after: EMPTY_HEAD }, { kind: 'snapshot-page', id }]) {
      await expect(donor.answer(2, question as CatchUpQuestion)).rejects.toThrow(
        'only the primary of the present view gives log and state',
      );
    }
    donor.lost(2);
  });

  test('gives two snapshots at a time, one to a member, and pages of none but its own', async () => {
    const { donor } = await primary(new Log(), founded(), activated());
    const begin = async (from: number) => {
      const answer = await donor.answer(from, whole);
      if (answer.kind !== 'snapshot') throw new Error('a snapshot was asked for');
      return { kind: 'snapshot-page', id: answer.id } as const;
    };
    const first = await begin(1);
    const second = await begin(2);
    const again = await begin(2);
    const gone = 'this snapshot is not being given any more';
    await expect(donor.answer(2, second)).rejects.toThrow(gone);
    await expect(donor.answer(1, again)).rejects.toThrow(gone);
    await expect(begin(3)).rejects.toThrow('2 other members are being given snapshots already');
    expect(await donor.answer(2, again)).toMatchObject({ kind: 'page' });
    donor.lost(1);
    donor.lost(1);
    await expect(donor.answer(1, first)).rejects.toThrow(gone);
    expect(await donor.answer(3, await begin(3))).toMatchObject({ kind: 'page' });
    expect(await donor.answer(2, again)).toMatchObject({ kind: 'end' });
    await expect(donor.answer(2, again)).rejects.toThrow(gone);
  });

  test('gives up a snapshot that nobody asks for any more', async () => {
    const { store } = await primary(new Log(), founded(), activated());
    const donor = new Donor(store, () => true, 100);
    const answer = await donor.answer(2, whole);
    const id = answer.kind === 'snapshot' ? answer.id : '';
    await donor.answer(1, whole);
    let free = false;
    while (!free) {
      // Both places are taken until the first has been given up for want of a question.
      free = await donor.answer(3, whole).then(
        () => true,
        () => false,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await expect(donor.answer(2, { kind: 'snapshot-page', id })).rejects.toThrow('not being given any more');
  });

  test.each([
    [undefined],
    [null],
    ['catch-up'],
    [{}],
    [{ kind: 'catch-up' }],
    [{ kind: 'catch-up', after: null }],
    [{ kind: 'catch-up', after: { index: 1 } }],
    [{ kind: 'catch-up', after: { index: 1.5, hash: Buffer.alloc(32) } }],
    [{ kind: 'catch-up', after: { index: '1', hash: Buffer.alloc(32) } }],
    [{ kind: 'snapshot-page' }],
    [{ kind: 'snapshot-page', id: 1 }],
    [{ kind: 'join' }],
  ])('%j is no question of a member that catches up', (question) => {
    expect(isCatchUpQuestion(question)).toBe(false);
  });
});
