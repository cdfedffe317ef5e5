// An instance: one service replica with one partition, in a process of its own. Wires its rooms and lives until the
// fabric ends it or something breaks that it must not survive.
import { once } from 'node:events';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import type { OrderedFaults } from '../values/faults.js';
import type { InstanceFigures } from '../values/figures.js';
import type { FromInstance, InstanceReport, ToInstance } from '../values/messages.js';
import { isMember, type View } from '../values/view.js';
import { Firewall } from './api/firewall.js';
import { RequestCounts } from './api/request-counts.js';
import { createServer, type ApiServer } from './api/server.js';
import { Faults } from './faults/faults.js';
import { Audit, isAuditQuestion, type AuditQuestion } from './hsm/audit.js';
import { DirectoryUnusable, usable } from './hsm/directory-unusable.js';
import { Domains } from './hsm/domains.js';
import { Follower } from './hsm/follow.js';
import { foundPool } from './hsm/found.js';
import { JobRunner } from './hsm/full-backup/job-runner.js';
import type { Hsm } from './hsm/hsm.js';
import { PoolClock } from './hsm/pool-clock.js';
import { checkSlot } from './hsm/check-slot.js';
import { catchUp, entriesAfter } from './hsm/catch-up.js';
import { Donor, isCatchUpQuestion, type CatchUpQuestion } from './hsm/donate.js';
import { admit, isJoinQuestion, obtainToken, type JoinQuestion } from './hsm/join.js';
import { Outage } from './hsm/outage.js';
import { IssuerMetadata } from './hsm/issuer-metadata.js';
import { ownerFingerprint } from './hsm/partition-certificate.js';
import { Schedule } from './hsm/schedule.js';
import { allowedInstances, refusedHere } from './hsm/trust.js';
import { issueTlsIdentity, type TlsIdentity } from './hsm/tls-certificate.js';
import { POOL } from './model/pool.js';
import { restoredTables, tableNames, type State, type Tables } from './model/state.js';
import { Partition } from './partition/partition.js';
import { bootTime } from './pkcs11/native.js';
import { newUuid } from '../values/ids.js';
import { Provision } from './partition/provision.js';
import { TokenDirectory } from './partition/token.js';
import { readHostKey, SoftwareAttestor } from './replication/attestor.js';
import { ownIdentity } from './replication/identity.js';
import { JoinEvidence } from './replication/join-evidence.js';
import { measure } from './replication/measurement.js';
import { Mesh } from './replication/mesh.js';
import { Replication, type Asked } from './replication/replication.js';
import { Lease } from './replication/lease.js';
import { Store } from './store/store.js';

type Start = Extract<ToInstance, { kind: 'start' }>;

const MEMBERS = [0, 1, 2];
/** A join that gets no further for so long is begun again. */
const STUCK_MS = 15_000;
/** How often a lease is asked for: several times in each. */
const ASK_MS = 400;
/** How often it is looked whether the slot still does its work. */
const PROBE_MS = 1_000;
/** Certificates are renewed daily, long before they end: no date to watch for. */
const RENEW_MS = 86_400_000;
/** How often it is looked whether others are trusted by now than before. */
const TRUST_MS = 1_000;

const logger = pino({ base: null }, pino.destination({ dest: 2, sync: true }));

/** Sends to the fabric; resolves when the message is on its way. */
function tell(message: FromInstance): Promise<void> {
  return new Promise((resolve) => {
    if (!process.send || !process.connected) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

// What breaks an instance ends it: the fabric sees it, and nothing half-broken goes on serving.
async function fail(error: unknown): Promise<never> {
  const reason = error instanceof Error ? error.message : String(error);
  logger.fatal({ err: error }, 'the instance stops');
  await tell({ kind: 'failed', reason, damaged: error instanceof DirectoryUnusable });
  process.exit(1);
}

/** Messages of the fabric that come before somebody waits for them are kept. */
class Channel {
  readonly #kept: ToInstance[] = [];
  readonly #heard = new Map<ToInstance['kind'], (message: ToInstance) => void>();
  readonly #waiting = new Map<ToInstance['kind'], (message: ToInstance) => void>();
  onConnection: ((socket: Socket, head: Uint8Array) => void) | undefined;

  constructor() {
    process.on('message', (message: ToInstance, socket: Socket | undefined) => {
      if (message.kind === 'connection') {
        if (socket && this.onConnection) this.onConnection(socket, message.head);
        else socket?.destroy();
        return;
      }
      const waiter = this.#heard.get(message.kind) ?? this.#waiting.get(message.kind);
      if (waiter) waiter(message);
      else this.#kept.push(message);
    });
  }

  /** Hears every message of a kind, those included that have come already. */
  each<K extends ToInstance['kind']>(
    kind: K,
    hear: (message: Extract<ToInstance, { kind: K }>) => void,
  ): void {
    const all = hear as (message: ToInstance) => void;
    this.#heard.set(kind, all);
    const come = this.#kept.filter((message) => message.kind === kind);
    for (const message of come) {
      this.#kept.splice(this.#kept.indexOf(message), 1);
      all(message);
    }
  }

  next<K extends ToInstance['kind']>(kind: K): Promise<Extract<ToInstance, { kind: K }>> {
    const place = this.#kept.findIndex((message) => message.kind === kind);
    if (place >= 0)
      return Promise.resolve(this.#kept.splice(place, 1)[0] as Extract<ToInstance, { kind: K }>);
    return new Promise((resolve) => {
      this.#waiting.set(kind, (message) => {
        this.#waiting.delete(kind);
        resolve(message as Extract<ToInstance, { kind: K }>);
      });
    });
  }
}

/** What came last of a kind; `first` resolves with the first one. */
class Latest<T> {
  value: T | undefined;
  readonly first: Promise<T>;
  #resolve: (value: T) => void = () => undefined;

  constructor() {
    this.first = new Promise((resolve) => (this.#resolve = resolve));
  }

  set(value: T): void {
    this.value = value;
    this.#resolve(value);
  }
}

async function run(channel: Channel): Promise<void> {
  const start = await channel.next('start');
  const self = start.instance;
  logger.setBindings({ pool: start.pool, instance: self });
  const clock = new PoolClock(start.clockOffset, start.founding);
  const clockSet = () => tell({ kind: 'clockSet', offset: clock.offset });
  void clockSet();
  channel.each('clock', ({ offset }) => {
    clock.advanceTo(offset);
    void clockSet();
  });
  const firewall = new Firewall(start.network.rules);
  const networkSet = (order: number) => tell({ kind: 'networkSet', order });
  void networkSet(start.network.order);
  channel.each('network', ({ network }) => {
    firewall.change(network.rules);
    void networkSet(network.order);
  });
  const identity = await ownIdentity(start.directory, start.pool, self);
  /** Empty until the store is open. */
  const known: { state?: State } = {};
  const faults =
    start.faults &&
    new Faults(self, () => (known.state?.get('pool', POOL) ?? start.founding).faults === true);
  const attestor: SoftwareAttestor = new SoftwareAttestor({
    pool: start.pool,
    instance: self,
    hostKey: readHostKey(start.hostKeyFile),
    measure: () => measureThis(start.module),
    allowed: () => allowedInstances(known.state, start, attestor.measurement),
  });
  const mesh = await Mesh.listen(identity, attestor, faults && ((member) => faults.link(member)));
  if (faults) followFaults(faults, start, channel, mesh);
  const refusals = new Refusals();
  mesh.on('refused', (instance, reason) => refusals.take({ instance, reason }));
  mesh.on('rejected', (instance, reason) => {
    const problem = `instance ${instance} does not let this one in: ${reason}`;
    // One that takes part already may be right; one that has nothing yet gets nothing, and says why.
    if (known.state) logger.error(problem);
    else void fail(new Error(problem));
  });
  const replication = new Replication(mesh);
  await tell({ kind: 'introduced', certificate: identity.certificate, port: mesh.port });
  logger.info({ measurement: attestor.measurement }, 'what runs here is measured');
  const donor = new Latest<number>();
  channel.each('peers', (message) => {
    mesh.introduce(self, message.peers);
    donor.set(message.donor);
  });
  const view = new Latest<View>();
  channel.each('view', (message) => view.set(message.view));

  const joining = new JoinEvidence(mesh, attestor);
  const answers = new Answers();
  void answers.run(replication).catch((error: unknown) => void fail(error));

  const tokens = await TokenDirectory.open(join(start.directory, 'partition'));
  const provision = new Provision(tokens, start.module);
  const token = await obtainToken(self, await donor.first, start.found, {
    tokens,
    provision,
    replication,
    evidence: async (key, member) => {
      await replication.linked(member);
      return joining.evidenceFor(member, key);
    },
  });
  const partition = await usable('the token cannot be opened', () =>
    Partition.open(tokens, token, { module: start.module, fault: faults && (() => faults.slot()) }),
  );
  answers.join.set((from, question) =>
    admit(question, from, partition.domain, provision, ({ key, evidence }) =>
      joining.checkJoin(from, evidence, key),
    ),
  );
  const domains = new Domains(tokens, provision, partition);
  logger.info({ ...partition.capabilities }, 'the partition is open');
  mkdirSync(join(start.directory, 'store'), { recursive: true, mode: 0o700 });
  const path = join(start.directory, 'store', 'state.sqlite');
  const full = faults && (() => faults.diskFull);
  const openStore = () =>
    usable('the store cannot be opened', async () =>
      Store.open<Tables>(path, await partition.deriveSecret('store'), tableNames, full),
    );
  let store = await openStore();
  const opened = () => tell({ kind: 'opened', store: store.id, epoch: store.epoch });
  await opened();

  const lease = new Lease();
  let accused = 0;
  const askForLease = () => {
    const now = bootTime();
    void tell({
      kind: 'lease',
      asked: now,
      epoch: replication.epoch,
      reach: replication.reach,
      stuck: replication.stuck(now),
      accuses: accused > 0 && accused === replication.epoch,
    });
  };
  setInterval(() => {
    askForLease();
    replication.reconsider();
  }, ASK_MS);

  /** How this instance came to the pool's state; undefined for one that had it when it started. */
  let joined: 'log' | 'snapshot' | undefined;
  let records = 0;
  const memberOf = (present: View) => isMember(present, { instance: self, store: store.id });
  endIfStuck(() =>
    view.value === undefined || memberOf(view.value)
      ? undefined
      : `${store.applied} ${records} ${view.value.epoch}`,
  );
  if (!memberOf(await view.first)) {
    const own = store;
    store = await catchUp({
      donor: (await view.first).primary,
      store,
      path,
      open: openStore,
      tables: tableNames,
      replication,
      partition,
      domains,
      tokens,
      random: Math.random,
      onProgress: (progress) => {
        records = progress.done;
        void tell({ kind: 'joining', ...progress });
      },
    });
    joined = store === own ? 'log' : 'snapshot';
    await opened();
  }
  clock.follow(store.state);
  const shut = refusedHere(store.state, attestor);
  if (shut !== undefined) throw new Error(shut);
  known.state = store.state;
  watchTrust(store.state, mesh);
  const follower = await Follower.start(self, { store, partition, replication, domains });
  const gifts = new Donor(store, () => replication.isPrimary);
  answers.catchUp.set((from, question) => gifts.answer(from, question));
  mesh.on('unlinked', (member) => gifts.lost(member));

  let checking: Promise<void> | undefined;
  /** Another start on the same store is another process, and runs none of the jobs of this one. */
  const run = newUuid();
  const hsm: Hsm = {
    state: store.state,
    partition,
    domains,
    attestorKeys: new IssuerMetadata(),
    jobs: {
      owner: () => ({ store: store.id, run, epoch: replication.epoch }),
      storage: start.storage,
      wake: () => void runner.look(),
    },
    instance: self,
    attested: attestor,
    now: () => clock.now(),
    get clockOffset() {
      return clock.offset;
    },
    requireLease() {
      if (replication.isMember && lease.holds(bootTime())) return;
      throw new Outage('NotServing', 'this instance does not know whether the pool still counts on it');
    },
    settled: (tags) => follower.settled(tags),
    submit: (mutation) => follower.submit(mutation),
    checkSlot() {
      checking ??= checkSlot(store.state, partition)
        .catch(fail)
        .finally(() => (checking = undefined));
      return checking;
    },
  };
  const runner = new JobRunner({
    hsm,
    snapshot: () => store.snapshot(restoredTables),
    self: { store: store.id, run },
    epoch: () => replication.epoch,
    isMember: (id) => view.value?.inSync.some((member) => member.store === id) === true,
    mayRun: () => serving !== undefined && replication.inSync && replication.isMember,
    isPrimary: () => replication.isPrimary,
    storage: start.storage,
    logger,
    onEnded: ({ id, kind }, error) => audit?.event('JobEnded', { job: id, kind, error: error?.code ?? null }),
  });
  const founded = () => store.state.get('pool', POOL) !== undefined;

  const probing = setInterval(() => void hsm.checkSlot(), PROBE_MS);

  let founding = false;
  let audit: Audit | undefined;
  let serving: Serving | undefined;
  // By the primary alone, and only while every member can hear of it.
  const mayPropose = () => replication.isPrimary && serving !== undefined && replication.inSync;
  const schedule = new Schedule(hsm, mayPropose, logger);
  // By its own decision: a rotation by policy, a purge at the end of retention.
  schedule.onDone = ({ kind, name }) =>
    audit?.event(kind === 'rotate' ? 'KeyRotateIfDue' : 'KeyPurge', { key: name });
  schedule.start();
  clock.onMoved = () => void schedule.look();
  runner.start();
  let opening = false;
  let epoch = 0;
  const standing = () => {
    if (replication.epoch !== epoch) {
      epoch = replication.epoch;
      // The next one is for this view: whoever is new in it waits for nothing else.
      askForLease();
    }
    const ready = replication.inSync && replication.decided;
    if (replication.isPrimary && ready && !founded() && !founding) {
      founding = true;
      foundPool(hsm, start.pool, start.domain, partition.domain, start.founding).catch(
        (error: unknown) => void fail(error),
      );
    }
    // Served is only what is decided, and from the start in sync: an instance that starts learns what became of its
    // tail, and the first write finds every member.
    if (!opening && founded() && ready && lease.holds(bootTime())) {
      opening = true;
      openAudit(start, hsm, replication, full)
        .then(async (trail) => {
          audit = trail;
          if (joined !== undefined) trail.event('InstanceJoin', { by: joined, epoch: replication.epoch });
          refusals.record((refusal) => trail.event('InstanceRefused', refusal));
          answers.audit.set((from, question) => trail.witness(from, question));
          serving = await openService({ start, hsm, audit: trail, channel, firewall, faults });
          faults?.serve();
          await tell({ kind: 'serving', report: report(serving) });
        })
        .catch((error: unknown) => void fail(error));
    } else if (serving) {
      void tell({ kind: 'serving', report: report(serving) });
    }
  };
  const report = ({ tls, port }: Serving): InstanceReport => ({
    role: replication.isPrimary ? 'primary' : 'backup',
    inSync: replication.inSync,
    epoch: replication.epoch,
    port,
    committed: store.applied,
    keys: store.state.count('keys'),
    activation: store.state.get('pool', POOL)?.activation ?? 'NotActivated',
    purgeProtection: store.state.get('pool', POOL)?.purgeProtection ?? false,
    rootCertificate: tls.root,
    ownerFingerprint: ownerFingerprint(hsm),
  });

  channel
    .next('drain')
    .then(async ({ patient }) => {
      await serving?.server.drain(patient === true);
      await audit?.settle();
      await tell({ kind: 'drained' });
      await channel.next('leave');
      clearInterval(probing);
      runner.stop();
      // From here on nothing that is due is looked for, and nobody is told any figures: the store is about to close.
      serving = undefined;
      await audit?.close();
      await store.close();
      mesh.close();
      await partition.close();
      process.exit(0);
    })
    .catch((error: unknown) => void fail(error));
  channel.each('protect', () => schedule.protect());
  channel.each('retire', () => replication.retire());
  channel.each('declined', ({ epoch, member }) => replication.declined(epoch, member));
  channel.each('digest', ({ id }) => {
    store.digest().then(
      (digest) => tell({ kind: 'digest', id, ...digest }),
      (error: unknown) => fail(error),
    );
  });

  channel.each('lost', ({ instance, reason }) => audit?.event('InstanceLost', { instance, reason }));
  channel.each('figures', ({ id }) => {
    if (!serving) return;
    const { cpuSeconds, residentBytes } = usage();
    const figures: InstanceFigures = {
      requests: serving.counts.figures(),
      connections: serving.server.connections,
      committed: store.applied,
      undecided: follower.undecided,
      keys: store.state.count('keys'),
      openKeys: partition.cachedKeys,
      storeBytes: bytesIn(join(start.directory, 'store')),
      auditBytes: bytesIn(join(start.directory, 'audit')),
      cpuSeconds,
      residentBytes,
    };
    void tell({ kind: 'figures', id, figures });
  });

  channel.each('lease', ({ asked }) => {
    lease.granted(asked);
    if (!opening) standing();
  });

  let counted = false;
  const adopt = (next: View) => {
    view.set(next);
    const included = memberOf(next);
    const { epoch, primary } = next;
    audit?.event('ViewChange', { epoch, primary, inSync: next.inSync.map(({ instance }) => instance) });
    // Dropped: what it serves may be old by now. As a joiner it starts anew.
    if (counted && !included) void fail(new Error('the pool goes on without this instance'));
    counted = included;
    follower.adopt(next);
  };
  if (view.value) adopt(view.value);
  channel.each('view', (message) => adopt(message.view));
  standing();
  await follower.run({
    standing,
    fetch: (after, through) => {
      void tell({ kind: 'joining', phase: 'log', done: after.index, total: through });
      return entriesAfter({ replication, donor: view.value?.primary ?? self }, after);
    },
    authority: {
      propose: (epoch, member) => void tell({ kind: 'propose', epoch, member }),
      accuse: (epoch) => {
        accused = epoch;
        askForLease();
      },
      retired: () => void tell({ kind: 'retired' }),
    },
  });
}

/**
 * Ends the process when it has been joining for long without getting any further: whatever it waits for may be gone.
 * @param progress differs as soon as it gets further; undefined when it is not joining.
 */
function endIfStuck(progress: () => string | undefined): void {
  let before = progress();
  let since = bootTime();
  setInterval(() => {
    const now = progress();
    if (now === undefined || now !== before) {
      before = now;
      since = bootTime();
    } else if (bootTime() - since > STUCK_MS) {
      void fail(new Error(`joining made no progress for ${STUCK_MS / 1_000} seconds`));
    }
  }, ASK_MS).unref();
}

/** What this instance answers to others; a question waits until it can be. */
class Answers {
  readonly join = new Latest<(from: number, question: JoinQuestion) => Promise<unknown>>();
  readonly catchUp = new Latest<(from: number, question: CatchUpQuestion) => Promise<unknown>>();
  readonly audit = new Latest<(from: number, question: AuditQuestion) => Promise<unknown>>();

  async run(replication: Replication): Promise<never> {
    for await (const asked of replication.questions()) {
      this.#one(asked).then(asked.reply, (error: unknown) =>
        asked.refuse(error instanceof Error ? error.message : 'refused'),
      );
    }
    throw new Error('replication has ended');
  }

  async #one({ from, question }: Asked): Promise<unknown> {
    if (isJoinQuestion(question)) return (await this.join.first)(from, question);
    if (isCatchUpQuestion(question)) return (await this.catchUp.first)(from, question);
    // Told again later, so that nobody waits for it.
    if (isAuditQuestion(question) && this.audit.value) return this.audit.value(from, question);
    throw new Error('not a question that can be answered now');
  }
}

/** The measurement, and its parts in the log: for who looks for what differs. */
function measureThis(module: string): string {
  const { digest, components } = measure({ module });
  const own = components.filter(({ name }) => !name.startsWith('package/'));
  logger.debug({ components: own }, 'measured');
  return digest;
}

/** Ends the links of who is not trusted any more: at once where that was not known before, else within a second. */
function watchTrust(state: State, mesh: Mesh): void {
  let known: object | undefined;
  const look = (): void => {
    const trust = state.get('pool', POOL)?.trust;
    if (trust === known) return;
    known = trust;
    mesh.recheck();
  };
  look();
  setInterval(look, TRUST_MS).unref();
}

interface NotLetIn {
  readonly instance: number;
  readonly reason: string;
}

/** Instances that were not let in; those before the audit log is open are recorded then. */
class Refusals {
  readonly #kept: NotLetIn[] = [];
  #record: ((refusal: NotLetIn & Record<string, unknown>) => void) | undefined;

  take(refusal: NotLetIn): void {
    logger.error({ ...refusal }, 'an instance is not let in');
    if (this.#record) this.#record({ ...refusal });
    else this.#kept.push(refusal);
  }

  record(how: (refusal: NotLetIn & Record<string, unknown>) => void): void {
    this.#record = how;
    for (const refusal of this.#kept.splice(0)) how({ ...refusal });
  }
}

function usage(): { cpuSeconds: number; residentBytes: number } {
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss() };
}

/** Of the files in a directory; one that has just gone counts nothing. */
function bytesIn(directory: string): number {
  const sizes = readdirSync(directory).map(
    (name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0,
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

interface Serving {
  readonly server: ApiServer;
  readonly counts: RequestCounts;
  readonly tls: TlsIdentity;
  /** TCP port on 127.0.0.1. */
  readonly port: number;
}

/** What is to be suffered, from the start and whenever the fabric says otherwise. */
function followFaults(faults: Faults, { faults: first }: Start, channel: Channel, mesh: Mesh): void {
  const suffer = (wished: OrderedFaults) => {
    faults.change(wished);
    mesh.reharm();
    void tell({ kind: 'faultsSet', order: wished.order });
  };
  if (first) suffer(first);
  channel.each('faults', (message) => suffer(message.faults));
}

function openAudit(
  start: Start,
  hsm: Hsm,
  replication: Replication,
  full: (() => boolean) | undefined,
): Promise<Audit> {
  return Audit.open({
    directory: join(start.directory, 'audit'),
    pool: start.pool,
    hsm,
    others: MEMBERS.filter((member) => member !== hsm.instance),
    ask: (member, question) => replication.ask(member, question),
    logger,
    failed: (error) => void fail(error),
    full,
  });
}

interface ServiceParts {
  readonly start: Start;
  readonly hsm: Hsm;
  readonly audit: Audit;
  readonly channel: Channel;
  readonly firewall: Firewall;
  readonly faults: Faults | undefined;
}

async function openService({ start, hsm, audit, channel, firewall, faults }: ServiceParts): Promise<Serving> {
  const { pool: name, domain, dataPort, authority, relay } = start;
  const tls = await issueTlsIdentity(hsm, name, domain);
  const counts = new RequestCounts();
  const server = createServer({
    hsm,
    audit,
    pool: { name, domain, dataPort },
    authority,
    logger,
    firewall,
    relay,
    tls,
    counts,
    faults,
  });
  channel.onConnection = (socket, head) => server.adopt(socket, head);
  const renew = async () => server.https.setSecureContext(await issueTlsIdentity(hsm, name, domain));
  const timer = setInterval(() => {
    // A failed renewal is tried again the next day; the present certificate has weeks left.
    renew().catch((error: unknown) =>
      logger.error({ err: error }, 'the TLS certificate could not be renewed'),
    );
  }, RENEW_MS);
  timer.unref();
  // Besides what the fabric hands over, on an address of its own: for who wants this very instance.
  server.https.listen(0, '127.0.0.1');
  await once(server.https, 'listening');
  return { server, counts, tls, port: (server.https.address() as AddressInfo).port };
}

// Whatever is made here, by libraries too, is for the owner alone.
process.umask(0o077);
process.on('uncaughtException', (error) => void fail(error));
process.on('unhandledRejection', (reason) => void fail(reason));
// The fabric is gone. Normally the kernel has ended this process already; this is for one that was not armed in time.
process.on('disconnect', () => process.exit(1));
run(new Channel()).catch((error: unknown) => void fail(error));
