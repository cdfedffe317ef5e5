// One pool: three instances, the view of who takes part, and the steps that make them one. Starts them and starts them
// again, introduces them to each other, passes on what the view's authority says, and knows which of them serve. What
// is to be done about an end is the healer's plan, who takes part is the view's; this carries both out.
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from '../../values/assert.js';
import { makeDirectory } from '../../values/durable-file.js';
import type { InstanceFigures } from '../../values/figures.js';
import type { FromInstance, Peer, Relay, ToInstance } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import { isMember } from '../../values/view.js';
import type { Member, View } from '../../values/view.js';
import { NO_HISTORY, planRestart } from '../healer/plan.js';
import type { History, Restart } from '../healer/plan.js';
import { LocalViewService } from '../view/view-service.js';
import type { ViewService } from '../view/view-service.js';
import { InstanceProcess } from './instance-process.js';
import type { InstanceProgram, Joining } from './instance-process.js';
import { PoolOrders } from './orders.js';
import { MEMBERS, PoolError, empty, instanceDirectory, readPool, setAside, viewFile } from './pool-file.js';
import type { PoolFile } from './pool-file.js';
import { PoolQuestions } from './questions.js';
import type { Answer, Said } from './questions.js';
import { within } from './within.js';

type StartMessage = Extract<ToInstance, { kind: 'start' }>;
/** What every instance of a pool is started with. */
export type PoolStart = Omit<
  StartMessage,
  'kind' | 'pool' | 'instance' | 'directory' | 'founding' | 'network' | 'faults' | 'found'
>;

export interface InstanceStatus {
  readonly id: number;
  readonly pid: number | null;
  readonly role: 'primary' | 'backup' | 'joining' | 'starting' | 'down';
  /** Serves, and is a member of the view: nothing is acknowledged without it. */
  readonly inSync: boolean;
  /** Where it alone answers; null while it does not serve. */
  readonly uri: string | null;
  /** How often it was started again since the fabric runs. */
  readonly restarts: number;
  /** Present only while it is stopped by `partition pause`. */
  readonly paused?: true;
  /** Present only while it is kept away by `partition unplug`. */
  readonly unplugged?: true;
  /** Where it has got to, while it is no member yet and says so. */
  readonly joining?: Joining;
  /** How it ended last; present until it serves again. */
  readonly reason?: string;
}

/** So many early ends of every instance, and the start has failed: what they say does not change any more. */
const HOPELESS_ENDS = 2;

export interface PoolStatus {
  readonly name: string;
  readonly uri: string;
  readonly activation: 'Active' | 'NotActivated';
  /** SHA-256 of the certificate of the pool's owner, lower-case hex; null before the pool is ready. */
  readonly ownerFingerprint: string | null;
  /** Of the present view; 0 before the first. */
  readonly epoch: number;
  readonly instances: readonly InstanceStatus[];
}

/** How often an instance of a running pool was lost and came back, since the fabric runs. */
export interface InstanceCare {
  readonly ends: number;
  /** Times that it was in sync again. */
  readonly heals: number;
  /** All of them together, from the end of the process on. */
  readonly healSeconds: number;
}

/** What each instance says of all that is committed. */
export interface PoolDigest {
  /** The newest index that all of them hold. */
  readonly index: number;
  readonly equal: boolean;
  readonly digests: readonly { readonly id: number; readonly digest: string }[];
}

/** How long a pool waits, in milliseconds. */
export interface PoolPatience {
  /** For anybody to serve, when a pool starts that was there before. */
  readonly startMs: number;
  /** After that, for those that have still to join. */
  readonly joinMs: number;
  /** For an instance that is to hand over, or to finish its requests, which it does within 15 s; then it is killed. */
  readonly leaveMs: number;
  /** For an instance that is started again to be in sync. */
  readonly returnMs: number;
  /** For all instances to stand at one index. */
  readonly digestMs: number;
  /** For an instance that serves to take network rules. */
  readonly networkMs: number;
  /** For all members to protect keys. */
  readonly protectMs: number;
}

const PATIENCE: PoolPatience = {
  startMs: 60_000,
  joinMs: 10_000,
  leaveMs: 20_000,
  returnMs: 120_000,
  digestMs: 20_000,
  networkMs: 5_000,
  protectMs: 10_000,
};
/** Before a process that the system refused is tried again. */
const SPAWN_PAUSE_MS = 1_000;
/** Between two attempts to find all instances at one index. */
const DIGEST_PAUSE_MS = 50;

interface PoolEvents {
  /** An instance of a running pool has ended. */
  down: [instance: number, reason: string];
  /** It serves again, or for the first time. */
  serving: [instance: number];
  view: [view: View];
  /** Something that the owner should know. */
  warning: [message: string];
}

/** A place among the three, and the process that has it. */
interface Slot {
  readonly instance: number;
  readonly directory: string;
  /** The present one, or the last. */
  process: InstanceProcess;
  history: History;
  restarts: number;
  reason: string | undefined;
  care: InstanceCare;
  /** When it was lost, in milliseconds of performance.now(); undefined while all is well. */
  lostAt: number | undefined;
  timer: NodeJS.Timeout | undefined;
  /** Nobody is started here until it is released. */
  held: boolean;
  /** Kept away on request, until it is plugged in again or the fabric starts anew. */
  unplugged: boolean;
  /** What was told last of its peers. */
  peersTold: string;
}

export class Pool extends EventEmitter<PoolEvents> {
  readonly name: string;
  /** What its instances go by. */
  readonly orders: PoolOrders;
  readonly #start: PoolStart;
  readonly #program: InstanceProgram;
  readonly #file: PoolFile;
  readonly #patience: PoolPatience;
  readonly #view: ViewService;
  readonly #slots: readonly Slot[];
  /** Told that something has changed. */
  readonly #waiters = new Set<() => void>();
  readonly #questions = new PoolQuestions();
  #rootCertificate: string | undefined;
  /** Whether the pool is being made: then nobody is healed, and any failure ends the start. */
  #founding: boolean;
  /** Why the pool cannot go on. */
  #failure: string | undefined;
  /** Why the view could not be written, last. */
  #troubled: string | undefined;
  #stopping = false;
  #restarting = false;
  #turn = 0;

  /**
   * Starts the three processes of an existing pool; {@link ready} then waits for them. Throws a `ViewError` when its
   * view cannot be read.
   */
  constructor(
    directory: string,
    name: string,
    start: PoolStart,
    program: InstanceProgram,
    patience: Partial<PoolPatience> = {},
  ) {
    super();
    this.name = name;
    this.#start = start;
    this.#program = program;
    this.#patience = { ...PATIENCE, ...patience };
    this.#file = readPool(directory, name);
    this.#view = new LocalViewService(viewFile(directory, name));
    this.orders = new PoolOrders({
      living: () => this.#living().map(({ process }) => process),
      clockOffset: start.clockOffset,
      suffersFaults: this.#file.founding.faults === true,
      networkMs: this.#patience.networkMs,
    });
    this.#founding = this.#view.view === undefined;
    this.#view.start({
      announce: (view, to) => this.#announce(view, to),
      grant: (instance, asked, epoch) => this.#tell(instance, { kind: 'lease', asked, epoch }),
      decline: (instance, epoch, member) => this.#tell(instance, { kind: 'declined', epoch, member }),
      kill: (instance, reason) => this.#slots[instance]?.process.kill(reason),
      refuse: (reason) => this.#refuse(reason),
      troubled: (reason) => this.#trouble(reason),
    });
    this.#slots = MEMBERS.map((instance) => {
      const home = instanceDirectory(directory, name, instance);
      makeDirectory(home); // a fabric that was killed while it replaced one leaves none
      return this.#firstSlot(instance, home);
    });
  }

  /** PEM of the pool's TLS root; known once the pool is ready. */
  get rootCertificate(): string {
    assert(this.#rootCertificate !== undefined, 'the TLS root is asked for when the pool is ready');
    return this.#rootCertificate;
  }

  /**
   * Waits until all three serve and are in sync. A new pool needs all of them: throws the first one's reason when an
   * instance ends before that; the others are then gone too. Any other pool is ready without those that fail or have
   * to join, which are healed; throws when nobody serves in time.
   */
  async ready(): Promise<void> {
    try {
      if (this.#founding) await this.#until(() => this.#allInSync(), Infinity);
      else await this.#readyAgain();
      this.#agree();
    } catch (error) {
      await this.kill();
      throw error;
    }
    this.#founding = false;
  }

  async #readyAgain(): Promise<void> {
    const { startMs, joinMs } = this.#patience;
    await this.#until(() => this.#settled(), startMs);
    if (!this.#slots.some((slot) => this.#inSync(slot))) {
      const why = this.#slots.map(
        ({ instance, reason, process }) =>
          `instance ${instance} ${reason ?? (process.store === undefined ? 'has not opened its store' : 'waits to take part')}`,
      );
      if (this.#troubled !== undefined) why.push(this.#troubled);
      throw new PoolError(`pool ${this.name}: no partition serves: ${why.join('; ')}`);
    }
    const hopeless = (): boolean => this.#slots.some(({ history }) => history.early > 1);
    await this.#until(() => this.#allInSync() || hopeless(), joinMs);
  }

  /** Somebody serves, and whoever does not has failed or is no member; or all fail again and again. */
  #settled(): boolean {
    if (!this.#slots.some((slot) => this.#inSync(slot)))
      return this.#slots.every(({ history }) => history.suspicious >= HOPELESS_ENDS);
    return this.#slots.every((slot) => this.#inSync(slot) || hasEnded(slot) || !this.#listed(slot.instance));
  }

  #agree(): void {
    const reports = this.#slots
      .filter((slot) => this.#inSync(slot))
      .flatMap(({ process }) => process.report ?? []);
    const roots = new Set(reports.map((report) => report.rootCertificate));
    const [root] = roots;
    if (roots.size !== 1 || root === undefined) {
      throw new PoolError(`pool ${this.name}: its instances do not agree on one TLS root certificate`);
    }
    const owners = new Set(reports.map((report) => report.ownerFingerprint));
    if (owners.size !== 1) {
      throw new PoolError(`pool ${this.name}: its instances do not agree on one owner certificate`);
    }
    this.#rootCertificate = root;
  }

  /** The instances in the order in which a new connection should try them: the next one's turn first. */
  candidates(): InstanceProcess[] {
    const live = this.#slots.filter((slot) => this.#inSync(slot) && !slot.process.withdrawn);
    if (live.length === 0) return [];
    const first = this.#turn++ % live.length;
    return [...live.slice(first), ...live.slice(0, first)].map(({ process }) => process);
  }

  /**
   * Wants keys to be protected, like `orders.wantProtection`; resolves when every member goes by it, and throws a
   * {@link PoolError} when that takes too long.
   */
  async protect(): Promise<void> {
    this.orders.wantProtection();
    const { protectMs } = this.#patience;
    const holds = (): boolean =>
      this.#slots.every((slot) => !this.#inSync(slot) || slot.process.report?.purgeProtection === true);
    if (await this.#untilStill(holds, protectMs)) return;
    throw new PoolError(
      `pool ${this.name} does not say within ${protectMs / 1_000} s that its keys are protected`,
    );
  }

  /** Its name and port as clients see them. */
  get host(): string {
    return `${this.name}.${this.#start.domain}:${this.#start.dataPort}`;
  }

  /** How its instances know what is passed on to them; undefined when nothing is. */
  get relay(): Relay | undefined {
    return this.#start.relay;
  }

  /** What each instance said last about its clock. */
  clocks(): readonly { readonly id: number; readonly offset: Seconds | null }[] {
    return this.#slots.map(({ instance, process }) => ({
      id: instance,
      offset: process.reasonEnded === undefined ? (process.clockOffset ?? null) : null,
    }));
  }

  /** The process that has this place, or had it last; for faults on request. */
  instance(id: number): InstanceProcess | undefined {
    return this.#slots[id]?.process;
  }

  status(): PoolStatus {
    const serving = this.#slots.filter(({ process }) => process.serving);
    const reports = (serving.length > 0 ? serving : this.#slots).flatMap(
      ({ process }) => process.report ?? [],
    );
    const host = `${this.name}.${this.#start.domain}`;
    return {
      name: this.name,
      uri: `https://${host}:${this.#start.dataPort}`,
      activation: reports.some((report) => report.activation === 'Active') ? 'Active' : 'NotActivated',
      // A restored security domain brings its own owner.
      ownerFingerprint: reports.at(-1)?.ownerFingerprint ?? null,
      epoch: this.#view.view?.epoch ?? 0,
      instances: this.#slots.map((slot) => this.#statusOf(slot, host)),
    };
  }

  #statusOf(slot: Slot, host: string): InstanceStatus {
    const { process, reason } = slot;
    const { report, joining } = process;
    const inSync = this.#inSync(slot);
    return {
      id: slot.instance,
      pid: process.pid ?? null,
      role: this.#roleOf(slot),
      inSync,
      uri: process.serving && report ? `https://${host}:${report.port}` : null,
      restarts: slot.restarts,
      ...(process.paused && { paused: true as const }),
      ...(slot.unplugged && { unplugged: true as const }),
      ...(joining && !inSync && process.reasonEnded === undefined && { joining }),
      ...(reason !== undefined && { reason }),
    };
  }

  #roleOf(slot: Slot): InstanceStatus['role'] {
    const { process, instance } = slot;
    if (process.reasonEnded !== undefined) return 'down';
    if (this.#inSync(slot)) return this.#view.view?.primary === instance ? 'primary' : 'backup';
    const member = process.store !== undefined && this.#isMember({ instance, store: process.store });
    return !member && (process.joining !== undefined || process.store !== undefined) ? 'joining' : 'starting';
  }

  /**
   * Starts the instances again, one after the other and the primary last, so that no request fails. Refuses with a
   * {@link PoolError} unless all three are in sync, before each.
   */
  async restart(): Promise<void> {
    if (this.#restarting) throw new PoolError(`pool ${this.name} is being restarted already`);
    this.#restarting = true;
    try {
      const primary = this.#view.view?.primary;
      const order = [...MEMBERS].sort((a, b) => Number(a === primary) - Number(b === primary) || a - b);
      for (const instance of order) await this.#restartOne(instance);
    } finally {
      this.#restarting = false;
    }
  }

  async #restartOne(instance: number): Promise<void> {
    const slot = this.#slot(instance);
    const { process } = slot;
    const { leaveMs, returnMs } = this.#patience;
    const missing = this.#slots.find((other) => !this.#inSync(other));
    if (missing) {
      throw new PoolError(
        `partition ${missing.instance} of ${this.name} is not in sync; without it nothing can be spared`,
      );
    }
    const ended = (): boolean => process.reasonEnded !== undefined;
    if (this.#view.view?.primary === instance) {
      process.tell({ kind: 'retire' });
      await this.#untilStill(() => ended() || this.#view.view?.primary !== instance, leaveMs);
    }
    process.withdrawn = true;
    process.tell({ kind: 'drain', patient: true });
    await within(Promise.race([process.drained, process.ended]), leaveMs);
    process.tell({ kind: 'leave' });
    if (!(await within(process.ended, leaveMs))) process.kill('did not leave in time and was killed');
    if (!(await this.#untilStill(() => slot.process !== process && this.#allInSync(), returnMs))) {
      throw new PoolError(
        `partition ${instance} of ${this.name} is not in sync again after ${returnMs / 1_000} s: ${slot.reason ?? 'it has still to join'}`,
      );
    }
  }

  /**
   * Ends an instance and removes all that it has; an empty one then joins in its place. Gives the id of the process
   * that was ended. Throws a {@link PoolError} when no other instance serves, which would be the end of the pool.
   */
  async wipe(instance: number): Promise<number | null> {
    const slot = this.#slot(instance);
    this.#refuseHeld(slot);
    if (!this.#slots.some((other) => other !== slot && this.#inSync(other))) {
      throw new PoolError(
        `partition ${instance} of ${this.name} is the last one that is in sync; without it all keys would be lost`,
      );
    }
    const pid = slot.process.pid ?? null;
    slot.held = true;
    clearTimeout(slot.timer);
    try {
      slot.process.kill();
      await slot.process.ended;
      // Only what the view does not count on may go.
      if (!(await this.#untilStill(() => !this.#listed(instance), this.#patience.leaveMs))) {
        throw new PoolError(
          `partition ${instance} of ${this.name} cannot leave the view, so it was not wiped`,
        );
      }
      empty(slot.directory);
      slot.history = NO_HISTORY;
    } finally {
      slot.held = false;
      this.#startAgain(slot);
    }
    return pid;
  }

  /**
   * Ends an instance, which then stays away: nobody starts it again before {@link replug}. A fabric that starts anew
   * knows nothing of it. Gives the id of the process that was ended, null when there was none. Throws a
   * {@link PoolError} when it is away already.
   */
  async unplug(instance: number): Promise<number | null> {
    const slot = this.#slot(instance);
    this.#refuseHeld(slot);
    const pid = slot.process.pid ?? null;
    slot.held = slot.unplugged = true;
    clearTimeout(slot.timer);
    slot.process.kill('was unplugged');
    await slot.process.ended;
    return pid;
  }

  /** Lets an unplugged instance come back; it joins by itself. Gives the id of its process, null if it has none yet. */
  replug(instance: number): number | null {
    const slot = this.#slot(instance);
    if (!slot.unplugged) throw new PoolError(`partition ${instance} of ${this.name} is not unplugged`);
    slot.held = slot.unplugged = false;
    this.#startAgain(slot);
    return slot.process.pid ?? null;
  }

  #refuseHeld({ held, unplugged, instance }: Slot): void {
    if (!held) return;
    throw new PoolError(
      unplugged
        ? `partition ${instance} of ${this.name} is unplugged; plug it in again with: trivet partition replug ${instance}`
        : `partition ${instance} of ${this.name} is being wiped already`,
    );
  }

  /**
   * Asks all three for a digest of what is committed, again and again until they stand at one index. Throws a
   * {@link PoolError} when one is not in sync, or they do not come together in time.
   */
  async digest(): Promise<PoolDigest> {
    const deadline = performance.now() + this.#patience.digestMs;
    for (;;) {
      const missing = this.#slots.find((slot) => !this.#inSync(slot));
      if (missing) throw new PoolError(`partition ${missing.instance} of ${this.name} is not in sync`);
      const answers = (await this.#ask('digest', deadline - performance.now())).map(({ answer }) => answer);
      const [first] = answers;
      if (first && answers.length === MEMBERS.length && answers.every(({ index }) => index === first.index)) {
        return {
          index: first.index,
          equal: answers.every(({ digest }) => digest === first.digest),
          digests: answers.map(({ digest }, id) => ({ id, digest })),
        };
      }
      if (performance.now() >= deadline) {
        throw new PoolError(
          answers.length === MEMBERS.length
            ? `the partitions of ${this.name} do not come to one index: ${answers.map(({ index }) => index).join(', ')}`
            : `a partition of ${this.name} gives no digest`,
        );
      }
      await sleep(DIGEST_PAUSE_MS);
    }
  }

  /** By instance. */
  care(): InstanceCare[] {
    return this.#slots.map(({ care }) => care);
  }

  /** What each instance that serves counts of its own work; without those that do not say so within `patienceMs`. */
  async figures(
    patienceMs: number,
  ): Promise<{ readonly instance: number; readonly figures: InstanceFigures }[]> {
    const answers = await this.#ask('figures', patienceMs);
    return answers.map(({ instance, answer: { figures } }) => ({ instance, figures }));
  }

  #ask<K extends Said['kind']>(kind: K, patienceMs: number): Promise<Answer<K>[]> {
    const serving = this.#slots.map(({ process }) => process).filter((process) => process.serving);
    return this.#questions.ask(kind, serving, patienceMs);
  }

  /**
   * Lets running requests finish; whoever has not left after `patienceMs` is killed. Nobody leaves before all have
   * finished: a change that is still running needs every member.
   */
  async drain(patienceMs: number): Promise<void> {
    this.#halt();
    const processes = this.#slots.map(({ process }) => process);
    const timer = setTimeout(() => {
      this.#view.stop();
      for (const process of processes) process.kill();
    }, patienceMs);
    const serving = processes.filter((process) => process.serving);
    for (const process of serving) {
      if (process.paused) process.resume(); // a stopped process hears nothing
      process.tell({ kind: 'drain' });
    }
    await Promise.all(serving.map((process) => Promise.race([process.drained, process.ended])));
    // From here on an end is no failure: the view stays as it is.
    this.#view.stop();
    for (const process of processes) {
      if (serving.includes(process)) process.tell({ kind: 'leave' });
      else process.kill();
    }
    await Promise.all(processes.map((process) => process.ended));
    clearTimeout(timer);
  }

  /** Ends all three at once and waits until they are gone. */
  async kill(): Promise<void> {
    this.#halt();
    this.#view.stop();
    for (const { process } of this.#slots) process.kill();
    await Promise.all(this.#slots.map(({ process }) => process.ended));
  }

  #halt(): void {
    this.#stopping = true;
    // Who still waits for it to serve waits in vain.
    if (this.#rootCertificate === undefined) this.#failure ??= 'it was stopped before it served';
    for (const slot of this.#slots) clearTimeout(slot.timer);
    this.#look();
  }

  #firstSlot(instance: number, directory: string): Slot {
    const slot: Omit<Slot, 'process'> = {
      instance,
      directory,
      history: NO_HISTORY,
      restarts: 0,
      reason: undefined,
      care: { ends: 0, heals: 0, healSeconds: 0 },
      lostAt: undefined,
      timer: undefined,
      held: false,
      unplugged: false,
      peersTold: '',
    };
    const whole = slot as Slot;
    whole.process = this.#spawn(whole);
    return whole;
  }

  #spawn(slot: Slot): InstanceProcess {
    const { instance, directory } = slot;
    const process = new InstanceProcess(instance, directory, this.#program, (message) =>
      this.#hear(slot, process, message),
    );
    slot.peersTold = '';
    this.#view.hear({ kind: 'started', instance });
    process.tell({
      ...this.#start,
      kind: 'start',
      pool: this.name,
      instance,
      directory,
      founding: this.#file.founding,
      ...this.orders.atStart,
      found: this.#view.view === undefined,
    });
    this.orders.greet(process);
    void process.ended.then((reason) => this.#bury(slot, process, reason));
    return process;
  }

  #hear(slot: Slot, process: InstanceProcess, message: FromInstance): void {
    assert(slot.process === process, 'a place has one process at a time');
    const { instance } = slot;
    switch (message.kind) {
      case 'introduced':
        this.#tellPeers();
        break;
      case 'opened':
      case 'lease':
      case 'propose':
        this.#view.hear({ ...message, instance });
        break;
      case 'retired':
        this.#view.hear({ kind: 'retired', instance });
        break;
      case 'serving':
        if (slot.reason !== undefined) this.emit('serving', instance);
        slot.reason = undefined;
        this.#noteHeals();
        break;
      case 'digest':
      case 'figures':
        this.#questions.hear(instance, message);
        break;
      case 'joining':
      case 'clockSet':
      case 'networkSet':
      case 'faultsSet':
      case 'drained':
      case 'failed':
        break; // the process has noted it
    }
    if (message.kind !== 'lease') this.#look();
  }

  #bury(slot: Slot, process: InstanceProcess, reason: string): void {
    const { instance } = slot;
    slot.reason = reason;
    this.#view.hear({ kind: 'ended', instance });
    if (this.#stopping) return;
    this.#tellPeers();
    if (this.#founding) {
      this.#failure ??= `instance ${instance} ${reason}`;
    } else {
      this.emit('down', instance, reason);
      for (const other of this.#living()) other.process.tell({ kind: 'lost', instance, reason });
      slot.care = { ...slot.care, ends: slot.care.ends + 1 };
      slot.lostAt ??= performance.now();
      const restart = planRestart(slot.history, {
        livedMs: performance.now() - process.startedAt,
        served: process.report !== undefined,
        damaged: process.damaged,
        locked: process.locked,
        member: this.#listed(instance),
      });
      slot.history = restart.history;
      if (!slot.held) this.#heal(slot, restart);
    }
    this.#look();
  }

  #heal(slot: Slot, { waitMs, directory }: Restart): void {
    try {
      if (directory === 'aside') {
        const kept = setAside(slot.directory);
        const fate = kept === undefined ? 'was emptied; it is a disk of its own' : `is kept as ${kept}`;
        this.emit('warning', `the directory of instance ${slot.instance} ${fate}`);
      } else if (directory === 'empty') {
        empty(slot.directory);
      }
    } catch (error) {
      this.emit('warning', `the directory of instance ${slot.instance} cannot be replaced: ${String(error)}`);
    }
    if (waitMs === 0) this.#startAgain(slot);
    else slot.timer = setTimeout(() => this.#startAgain(slot), waitMs);
  }

  #startAgain(slot: Slot): void {
    if (this.#stopping || slot.held || slot.process.reasonEnded === undefined) return;
    try {
      slot.process = this.#spawn(slot);
      slot.restarts += 1;
    } catch (error) {
      this.emit('warning', `instance ${slot.instance} cannot be started: ${String(error)}`);
      slot.timer = setTimeout(() => this.#startAgain(slot), SPAWN_PAUSE_MS);
    }
    this.#look();
  }

  // The donor is whom an instance asks that lacks everything; one that would be its own asks another.
  #tellPeers(): void {
    const all = this.#living().flatMap(({ instance, process }): Peer[] =>
      process.introduction ? [{ instance, ...process.introduction }] : [],
    );
    for (const slot of this.#living()) {
      if (!slot.process.introduction) continue;
      const peers = all.filter(({ instance }) => instance !== slot.instance);
      const message = { kind: 'peers', peers, donor: this.#donorFor(slot.instance, peers) } as const;
      const told = JSON.stringify(message);
      if (told === slot.peersTold) continue;
      slot.peersTold = told;
      slot.process.tell(message);
    }
  }

  #noteHeals(): void {
    for (const slot of this.#slots) {
      if (slot.lostAt === undefined || !this.#inSync(slot)) continue;
      const { ends, heals, healSeconds } = slot.care;
      const took = (performance.now() - slot.lostAt) / 1_000;
      slot.care = { ends, heals: heals + 1, healSeconds: healSeconds + took };
      slot.lostAt = undefined;
    }
  }

  #donorFor(instance: number, peers: readonly Peer[]): number {
    const view = this.#view.view;
    if (!view) return 0;
    const present = (id: number): boolean => id !== instance && peers.some((peer) => peer.instance === id);
    if (present(view.primary)) return view.primary;
    return view.inSync.map((member) => member.instance).find(present) ?? peers[0]?.instance ?? view.primary;
  }

  #announce(view: View, to: readonly number[]): void {
    this.#tellPeers();
    for (const instance of to) this.#tell(instance, { kind: 'view', view });
    this.emit('view', view);
    this.#noteHeals();
    this.#look();
  }

  #tell(instance: number, message: ToInstance): void {
    this.#slots[instance]?.process.tell(message);
  }

  // A full disk, mostly. A running pool goes on as it is; one that is being made has nothing to go on with.
  #trouble(reason: string): void {
    this.#troubled = reason;
    if (this.#founding) this.#failure ??= reason;
    this.emit('warning', reason);
    this.#look();
  }

  #refuse(reason: string): void {
    this.#failure = reason;
    if (this.#rootCertificate !== undefined) this.emit('warning', `pool ${this.name} is ended: ${reason}`);
    void this.kill();
  }

  #slot(instance: number): Slot {
    const slot = this.#slots[instance];
    assert(slot !== undefined, 'instances are 0, 1 and 2');
    return slot;
  }

  #living(): Slot[] {
    return this.#slots.filter(({ process }) => process.reasonEnded === undefined);
  }

  /** Whether the view counts on this instance. */
  #listed(instance: number): boolean {
    return this.#view.view?.inSync.some((member) => member.instance === instance) ?? false;
  }

  #isMember(member: Member): boolean {
    return this.#view.view !== undefined && isMember(this.#view.view, member);
  }

  #inSync({ instance, process: { serving, store } }: Slot): boolean {
    return serving && store !== undefined && this.#isMember({ instance, store });
  }

  #allInSync(): boolean {
    return this.#slots.every((slot) => this.#inSync(slot));
  }

  #look(): void {
    for (const look of [...this.#waiters]) look();
  }

  /** Waits for a condition; false when it does not hold in time. Throws once the pool cannot go on. */
  #until(condition: () => boolean, patienceMs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const settle = (end: () => void): void => {
        clearTimeout(timer);
        this.#waiters.delete(look);
        end();
      };
      const look = (): void => {
        if (this.#failure !== undefined) {
          const error = new PoolError(`pool ${this.name}: ${this.#failure}`);
          settle(() => reject(error));
        } else if (condition()) {
          settle(() => resolve(true));
        }
      };
      if (patienceMs !== Infinity) timer = setTimeout(() => settle(() => resolve(false)), patienceMs);
      this.#waiters.add(look);
      look();
    });
  }

  /** The same, for what makes no sense in a pool that is being stopped. */
  async #untilStill(condition: () => boolean, patienceMs: number): Promise<boolean> {
    const held = await this.#until(() => this.#stopping || condition(), patienceMs);
    if (this.#stopping) throw new PoolError(`pool ${this.name} is being stopped`);
    return held;
  }
}

function hasEnded({ restarts, process }: Slot): boolean {
  return restarts > 0 || process.reasonEnded !== undefined;
}
