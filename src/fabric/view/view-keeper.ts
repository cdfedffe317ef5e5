// Who takes part in a pool, and who orders: the rules, as one pure function. Takes what was heard, with the time, and
// says what is to be done. Knows no process, no file and no clock.
//
// Invariants:
// - A view is written before anybody is told of it, and each has a higher epoch than the one before.
// - Nobody leaves the view before its process is reaped or its last lease has run out.
// - The view shrinks only while a member that lives and has opened its store remains in it.
// - Nobody is doomed within a lease of a moment at which this keeper may have missed what was said.
import type { FromInstance } from '../../values/messages.js';
import { LEASE_MS, isMember } from '../../values/view.js';
import type { Member, View } from '../../values/view.js';

/** How often `tick` comes, in milliseconds. */
export const TICK_MS = 100;
/** An event that comes so much later than a tick after the one before: the keeper itself was stopped. */
const LATE_MS = 500;
/** Without a link to the others for so long, a member is apart from them. */
const APART_MS = 1_500;
/** Links of an instance that has just opened its store have so long to come up. */
const LINKING_MS = 5_000;
/** One that is no member yet may be busy with what it copies; nobody waits for it. */
const JOINER_SILENT_MS = 10_000;
/** At the start, members have so long to open their stores before the others go on without them. */
const OPENING_MS = 10_000;
/** Anybody else has so long: it may have to wait for others to get a token. */
const STARTING_MS = 120_000;
const INSTANCES = [0, 1, 2] as const;

type Words = Extract<FromInstance, { kind: 'lease' }>;
type Proposal = Extract<FromInstance, { kind: 'propose' }>;

/** What a keeper is told. `instance` is who said it, or whom it is about. */
export type ViewEvent =
  /** Its process runs from now on. */
  | { readonly kind: 'started'; readonly instance: number }
  | {
      readonly kind: 'opened';
      readonly instance: number;
      readonly store: string;
      readonly epoch: number;
    }
  | (Words & { readonly instance: number })
  | (Proposal & { readonly instance: number })
  | { readonly kind: 'retired'; readonly instance: number }
  /** Its process was reaped. */
  | { readonly kind: 'ended'; readonly instance: number }
  /** The view that `write` asked for is kept for good, or could not be. */
  | { readonly kind: 'written'; readonly view: View }
  | { readonly kind: 'unwritten' }
  | { readonly kind: 'tick' };

export type ViewAction =
  | { readonly kind: 'write'; readonly view: View }
  | { readonly kind: 'announce'; readonly view: View; readonly to: readonly number[] }
  | {
      readonly kind: 'grant';
      readonly instance: number;
      readonly asked: number;
      readonly epoch: number;
    }
  | {
      readonly kind: 'decline';
      readonly instance: number;
      readonly epoch: number;
      readonly member: Member;
    }
  | { readonly kind: 'kill'; readonly instance: number; readonly reason: string }
  /** Nothing may go on: whoever goes by this keeper would undo what was acknowledged. */
  | { readonly kind: 'refuse'; readonly reason: string };

/** What is known of one living process. */
interface Seat {
  readonly instance: number;
  readonly startedAt: number;
  /** Undefined until it has opened it. */
  store: string | undefined;
  openedAt: number;
  /** When it last asked for a lease, or opened its store. */
  askedAt: number;
  /** When the last lease that anybody can have granted it runs out. */
  leaseEnds: number;
  /** What it said when it last asked. */
  said: Words | undefined;
  /** Since when it is not in the largest connected part. */
  apartSince: number | undefined;
  /** A member that came back while the view still had it: it goes by a view with a higher epoch only. */
  returnedIn: number | undefined;
  /** Gets no lease any more; why. */
  doomed: string | undefined;
}

interface Draft {
  /** The newest that is kept. */
  view: View | undefined;
  /** Whether it was written by this keeper, and so may be told. */
  told: boolean;
  writing: View | undefined;
  /** The last write failed, and no tick has come since. */
  held: boolean;
  readonly startedAt: number;
  seenAt: number;
  calmUntil: number;
  readonly seats: Map<number, Seat>;
  /** Members whose process has ended, and from when on they may leave the view. */
  readonly gone: Map<number, number>;
  joins: readonly Member[];
  retired: number | undefined;
  refused: string | undefined;
}

/** The state of a keeper. */
export type ViewKeeper = Readonly<
  Omit<Draft, 'seats' | 'gone'> & {
    readonly seats: ReadonlyMap<number, Readonly<Seat>>;
    readonly gone: ReadonlyMap<number, number>;
  }
>;

/** One that begins now, in a pool that last had this view; undefined: a new pool. Times are in milliseconds. */
export function newKeeper(view: View | undefined, now: number): ViewKeeper {
  return {
    view,
    told: false,
    writing: undefined,
    held: false,
    startedAt: now,
    seenAt: now,
    // Whatever a predecessor granted has run out by then.
    calmUntil: now + LEASE_MS,
    seats: new Map(),
    gone: new Map(),
    joins: [],
    retired: undefined,
    refused: undefined,
  };
}

export function step(
  before: ViewKeeper,
  event: ViewEvent,
  now: number,
): { readonly keeper: ViewKeeper; readonly actions: readonly ViewAction[] } {
  if (before.refused !== undefined) return { keeper: before, actions: [] };
  const keeper: Draft = {
    ...before,
    seats: new Map([...before.seats].map(([instance, seat]) => [instance, { ...seat }])),
    gone: new Map(before.gone),
  };
  const actions: ViewAction[] = [];
  if (now - keeper.seenAt > TICK_MS + LATE_MS) calm(keeper, now);
  keeper.seenAt = now;
  take(keeper, event, now, actions);
  const reason = keeper.refused ?? allLost(keeper);
  if (reason !== undefined) {
    keeper.refused = reason;
    return { keeper, actions: [...actions, { kind: 'refuse', reason }] };
  }
  doom(keeper, now, actions);
  if (event.kind === 'lease') answerLease(keeper, event, now, actions);
  settleJoins(keeper, actions);
  const next = keeper.writing || keeper.held ? undefined : wishedView(keeper, now);
  if (next) {
    keeper.writing = next;
    actions.push({ kind: 'write', view: next });
  }
  return { keeper, actions };
}

// What was said meanwhile is not heard yet, so silence proves nothing.
function calm(keeper: Draft, now: number): void {
  keeper.calmUntil = now + LEASE_MS;
  for (const seat of keeper.seats.values()) seat.apartSince = undefined;
}

function take(keeper: Draft, event: ViewEvent, now: number, actions: ViewAction[]): void {
  switch (event.kind) {
    case 'started':
      keeper.seats.set(event.instance, {
        instance: event.instance,
        startedAt: now,
        store: undefined,
        openedAt: now,
        askedAt: now,
        leaseEnds: keeper.startedAt + LEASE_MS,
        said: undefined,
        apartSince: undefined,
        returnedIn: undefined,
        doomed: undefined,
      });
      return;
    case 'opened':
      open(keeper, event, now, actions);
      return;
    case 'lease': {
      const seat = keeper.seats.get(event.instance);
      if (!seat) return;
      seat.askedAt = now;
      seat.said = event;
      return;
    }
    case 'propose':
      propose(keeper, event, actions);
      return;
    case 'retired':
      if (keeper.view?.primary === event.instance) keeper.retired = event.instance;
      return;
    case 'ended': {
      const seat = keeper.seats.get(event.instance);
      keeper.seats.delete(event.instance);
      // One that never had the directory to itself does not prove that its predecessor is gone.
      const at = seat?.store === undefined ? Math.max(now, keeper.startedAt + LEASE_MS) : now;
      keeper.gone.set(event.instance, at);
      return;
    }
    case 'written': {
      const { view } = event;
      keeper.view = view;
      keeper.told = true;
      keeper.writing = undefined;
      keeper.joins = [];
      keeper.retired = undefined;
      const to = [...keeper.seats.values()].filter(({ store }) => store !== undefined);
      actions.push({ kind: 'announce', view, to: to.map(({ instance }) => instance) });
      return;
    }
    case 'unwritten':
      keeper.writing = undefined;
      keeper.held = true;
      return;
    case 'tick':
      keeper.held = false;
      return;
  }
}

function open(
  keeper: Draft,
  { instance, store, epoch }: Extract<ViewEvent, { kind: 'opened' }>,
  now: number,
  actions: ViewAction[],
): void {
  const { view } = keeper;
  const known = view?.epoch ?? 0;
  if (epoch > known) {
    keeper.refused =
      `instance ${instance} has taken part in view ${epoch}, and the pool's view.json ` +
      (view ? `knows of view ${known} only: it is an older copy` : 'is missing') +
      '. Going on would undo what was acknowledged since: bring back the newest view.json';
    return;
  }
  const seat = keeper.seats.get(instance);
  if (!seat) return;
  seat.store = store;
  seat.openedAt = now;
  seat.askedAt = now;
  keeper.gone.delete(instance);
  if (!view || !keeper.told) return;
  if (isMember(view, { instance, store })) seat.returnedIn = view.epoch;
  else if (!lostMember(keeper, instance)) actions.push({ kind: 'announce', view, to: [instance] });
}

function propose(keeper: Draft, event: Proposal & { instance: number }, actions: ViewAction[]): void {
  const { view, told } = keeper;
  const { epoch, member } = event;
  const current = told && view?.epoch === epoch && view.primary === event.instance;
  if (current && isMember(view, member)) return; // it has been told so
  if (current && mayJoin(keeper, member)) {
    const others = keeper.joins.filter(({ instance }) => instance !== member.instance);
    keeper.joins = [...others, member];
  } else {
    actions.push({ kind: 'decline', instance: event.instance, epoch, member });
  }
}

function mayJoin(keeper: Draft, { instance, store }: Member): boolean {
  const seat = keeper.seats.get(instance);
  if (seat?.store !== store || seat.doomed !== undefined) return false;
  return !keeper.view?.inSync.some((member) => member.instance === instance);
}

// A joiner that is gone again must not be waited for.
function settleJoins(keeper: Draft, actions: ViewAction[]): void {
  const { view } = keeper;
  const out = keeper.joins.filter((member) => !mayJoin(keeper, member));
  if (!view || out.length === 0) return;
  keeper.joins = keeper.joins.filter((member) => !out.includes(member));
  for (const member of out) {
    // Once a view with it is being written, only that view can tell.
    if (keeper.writing && isMember(keeper.writing, member)) continue;
    actions.push({ kind: 'decline', instance: view.primary, epoch: view.epoch, member });
  }
}

function answerLease(
  keeper: Draft,
  { instance, asked, epoch }: Words & { instance: number },
  now: number,
  actions: ViewAction[],
): void {
  const { view, told } = keeper;
  const seat = keeper.seats.get(instance);
  if (!told || view?.epoch !== epoch || seat?.store === undefined || seat.doomed !== undefined) return;
  if (!isMember(view, { instance, store: seat.store })) return;
  seat.leaseEnds = now + LEASE_MS;
  actions.push({ kind: 'grant', instance, asked, epoch });
}

function doom(keeper: Draft, now: number, actions: ViewAction[]): void {
  const { view, told } = keeper;
  if (!view || !told || now < keeper.calmUntil) return;
  const sentence = (seat: Seat | undefined, reason: string): void => {
    if (!seat || seat.doomed !== undefined) return;
    seat.doomed = reason;
    actions.push({ kind: 'kill', instance: seat.instance, reason });
  };
  for (const seat of keeper.seats.values()) {
    const listed = view.inSync.some(({ instance }) => instance === seat.instance);
    if (seat.store !== undefined) {
      const limit = listed ? LEASE_MS : JOINER_SILENT_MS;
      if (now - seat.askedAt > limit) sentence(seat, 'hung: it asked for no lease any more');
    } else {
      const limit = listed && sound(keeper).length > 0 ? OPENING_MS : STARTING_MS;
      if (now - seat.startedAt > limit) sentence(seat, `did not open its store within ${limit / 1_000} s`);
    }
  }
  // What others say counts only while one of them remains.
  const condemn = (instance: number, reason: string): void => {
    const members = sound(keeper);
    const accused = members.find((seat) => seat.instance === instance);
    if (accused && members.length > 1) sentence(accused, reason);
  };
  for (const instance of stuckOnes(keeper, view)) condemn(instance, 'a change waited for it too long');
  const present = sound(keeper);
  if (present.some((seat) => seat.said?.epoch === view.epoch && seat.said.accuses)) {
    condemn(view.primary, 'as primary it lacked what another member has committed');
  }
  const together = connected(sound(keeper), view.primary, now);
  for (const seat of sound(keeper)) {
    if (together.includes(seat)) {
      seat.apartSince = undefined;
      continue;
    }
    seat.apartSince ??= now;
    if (now - seat.apartSince >= APART_MS) condemn(seat.instance, 'it had lost its link to the others');
  }
}

/** Members that live, have opened the store that the view lists, and are not doomed; sorted by instance. */
function sound({ view, seats }: Draft): Seat[] {
  return (view?.inSync ?? []).flatMap(({ instance, store }) => {
    const seat = seats.get(instance);
    return seat?.store === store && seat.doomed === undefined ? [seat] : [];
  });
}

// Whom members complain of: each may speak of itself, and the primary of all. If it names itself, the others may be
// late by its fault.
function stuckOnes(keeper: Draft, { epoch, primary }: View): number[] {
  return sound(keeper).flatMap(({ instance, said }) => {
    if (said?.epoch !== epoch) return [];
    if (said.stuck.includes(instance)) return [instance];
    return instance === primary ? said.stuck : [];
  });
}

/** The largest set of members of which each reaches each other; of equal ones the primary's, else the lowest. */
function connected(members: readonly Seat[], primary: number, now: number): readonly Seat[] {
  const linked = (a: Seat, b: Seat): boolean =>
    now - Math.max(a.openedAt, b.openedAt) < LINKING_MS || (reaches(a, b) && reaches(b, a));
  let best: readonly Seat[] = [];
  const rank = (set: readonly Seat[]): number =>
    2 * set.length + (set.some(({ instance }) => instance === primary) ? 1 : 0);
  for (let bits = 0; bits < 2 ** members.length; bits += 1) {
    const set = members.filter((_seat, place) => bits & (1 << place));
    const whole = set.every((a, place) => set.slice(place + 1).every((b) => linked(a, b)));
    if (whole && rank(set) > rank(best)) best = set;
  }
  return best;
}

function reaches({ said }: Seat, { instance }: Seat): boolean {
  return said?.reach.includes(instance) ?? false;
}

/** The member that had this place is gone for good: there is another store now. */
function lostMember({ view, seats }: Draft, instance: number): boolean {
  const seat = seats.get(instance);
  const listed = view?.inSync.find((member) => member.instance === instance);
  return listed !== undefined && seat?.store !== undefined && seat.store !== listed.store;
}

function allLost(keeper: Draft): string | undefined {
  const { view } = keeper;
  if (!view?.inSync.every(({ instance }) => lostMember(keeper, instance))) return undefined;
  const places = view.inSync.map(({ instance }) => `instances/${instance}`).join(', ');
  return (
    `no partition holds all that was acknowledged any more: what ${places} held is gone. There is no \`trivet pool force\` ` +
    'that would go on with less: bring that directory back, or restore security domain and backup into a new pool'
  );
}

function mayLeave(keeper: Draft, { instance }: Member, now: number): boolean {
  if (lostMember(keeper, instance)) return true;
  const goneAt = keeper.gone.get(instance);
  if (goneAt !== undefined && now >= goneAt) return true;
  const seat = keeper.seats.get(instance);
  return seat?.doomed !== undefined && now >= seat.leaseEnds;
}

// Waits for all members, so that one that has seen a later view is heard before anybody acts.
function mayBegin(keeper: Draft, view: View, now: number): boolean {
  if (sound(keeper).length === 0) return false;
  if (now - keeper.startedAt >= OPENING_MS) return true;
  return view.inSync.every(
    ({ instance }) => keeper.gone.has(instance) || keeper.seats.get(instance)?.store !== undefined,
  );
}

/** The view that there should be; undefined when the present one will do, or there can be none yet. */
function wishedView(keeper: Draft, now: number): View | undefined {
  const { view } = keeper;
  if (!view) return firstView(keeper);
  if (!keeper.told && !mayBegin(keeper, view, now)) return undefined;
  const usable = sound(keeper);
  const lives = ({ instance }: Member): boolean => usable.some((seat) => seat.instance === instance);
  const stay = view.inSync.filter((member) => !mayLeave(keeper, member, now));
  const kept = stay.some(lives) ? stay : view.inSync.filter(({ instance }) => !lostMember(keeper, instance));
  const inSync = [...kept, ...keeper.joins].sort((a, b) => a.instance - b.instance);
  const primary = primaryOf(keeper, view, kept, lives);
  const changed =
    !keeper.told ||
    keeper.retired === view.primary ||
    primary !== view.primary ||
    inSync.length !== view.inSync.length ||
    keeper.joins.length > 0 ||
    usable.some(({ returnedIn }) => returnedIn === view.epoch);
  return changed ? { epoch: view.epoch + 1, primary, inSync } : undefined;
}

function primaryOf(
  { retired, gone }: Draft,
  view: View,
  kept: readonly Member[],
  lives: (member: Member) => boolean,
): number {
  const stays = kept.some(({ instance }) => instance === view.primary);
  // One that has ended and may not leave yet can order nothing: others need not wait for it.
  if (stays && retired !== view.primary && !gone.has(view.primary)) return view.primary;
  const others = kept.filter(({ instance }) => instance !== view.primary);
  const next = others.find(lives) ?? (stays ? undefined : others[0]);
  return next?.instance ?? view.primary;
}

function firstView({ seats }: Draft): View | undefined {
  const inSync = INSTANCES.flatMap((instance) => {
    const store = seats.get(instance)?.store;
    return store === undefined ? [] : [{ instance, store }];
  });
  return inSync.length === INSTANCES.length ? { epoch: 1, primary: 0, inSync } : undefined;
}
