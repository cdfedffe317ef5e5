// An instance: one service replica with one partition, in a process of its own. Wires its rooms and lives until the
// fabric ends it or something breaks that it must not survive.
import type { Socket } from 'node:net';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { FromInstance, InstanceReport, ToInstance } from '../values/messages.js';
import { createServer, type ApiServer } from './api/server.js';
import { Audit, isAuditQuestion } from './hsm/audit.js';
import { Domains } from './hsm/domains.js';
import { Follower } from './hsm/follow.js';
import { foundPool } from './hsm/found.js';
import type { Hsm } from './hsm/hsm.js';
import { PoolClock } from './hsm/pool-clock.js';
import { admit, isJoinQuestion, obtainToken } from './hsm/join.js';
import { IssuerMetadata } from './hsm/issuer-metadata.js';
import { ownerFingerprint } from './hsm/partition-certificate.js';
import { Schedule } from './hsm/schedule.js';
import { allowedInstances, refusedHere } from './hsm/trust.js';
import { issueTlsIdentity, type TlsIdentity } from './hsm/tls-certificate.js';
import { POOL } from './model/pool.js';
import { tableNames, type State, type Tables } from './model/state.js';
import { Partition } from './partition/partition.js';
import { Provision } from './partition/provision.js';
import { TokenDirectory } from './partition/token.js';
import { readHostKey, SoftwareAttestor } from './replication/attestor.js';
import { ownIdentity } from './replication/identity.js';
import { measure } from './replication/measurement.js';
import { Mesh } from './replication/mesh.js';
import { Replication } from './replication/replication.js';
import { FIXED_VIEW } from './replication/view.js';
import { Store } from './store/store.js';

type Start = Extract<ToInstance, { kind: 'start' }>;

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
  await tell({ kind: 'failed', reason, damaged: false });
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
  const identity = await ownIdentity(start.directory, start.pool, self);
  /** Empty until the store is open. */
  const known: { state?: State } = {};
  const attestor: SoftwareAttestor = new SoftwareAttestor({
    pool: start.pool,
    instance: self,
    hostKey: readHostKey(start.hostKeyFile),
    measure: () => measureThis(start.module),
    allowed: () => allowedInstances(known.state, start, attestor.measurement),
  });
  const mesh = await Mesh.listen(identity, attestor);
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
  const { peers } = await channel.next('peers');
  mesh.introduce(
    self,
    peers.filter((peer) => peer.instance !== self),
  );

  const tokens = await TokenDirectory.open(join(start.directory, 'partition'));
  const provision = new Provision(tokens, start.module);
  const token = await obtainToken(self, FIXED_VIEW, { tokens, provision, replication });
  const partition = await Partition.open(tokens, token, { module: start.module });
  const domains = new Domains(tokens, provision, partition);
  logger.info({ ...partition.capabilities }, 'the partition is open');
  mkdirSync(join(start.directory, 'store'), { recursive: true, mode: 0o700 });
  const storeKey = await partition.deriveSecret('store');
  const store = await Store.open<Tables>(
    join(start.directory, 'store', 'state.sqlite'),
    storeKey,
    tableNames,
  );
  clock.follow(store.state);
  const shut = refusedHere(store.state, attestor);
  if (shut !== undefined) throw new Error(shut);
  known.state = store.state;
  watchTrust(store.state, mesh);
  const follower = await Follower.start(self, FIXED_VIEW, {
    store,
    partition,
    replication,
    domains,
  });

  const hsm: Hsm = {
    state: store.state,
    partition,
    domains,
    attestorKeys: new IssuerMetadata(),
    instance: self,
    attested: attestor,
    now: () => clock.now(),
    get clockOffset() {
      return clock.offset;
    },
    settled: (tags) => follower.settled(tags),
    submit: (mutation) => follower.submit(mutation),
  };
  const founded = () => store.state.get('pool', POOL) !== undefined;

  let founding = false;
  let audit: Audit | undefined;
  let serving: Serving | undefined;
  // By the primary alone, and only while every member can hear of it.
  const mayPropose = () => self === FIXED_VIEW.primary && serving !== undefined && replication.inSync;
  const schedule = new Schedule(hsm, mayPropose, logger);
  // By its own decision: a rotation by policy, a purge at the end of retention.
  schedule.onDone = ({ kind, name }) =>
    audit?.event(kind === 'rotate' ? 'KeyRotateIfDue' : 'KeyPurge', { key: name });
  schedule.start();
  clock.onMoved = () => void schedule.look();
  let opening = false;
  const standing = () => {
    if (self === FIXED_VIEW.primary && replication.inSync && replication.decided && !founded() && !founding) {
      founding = true;
      foundPool(hsm, start.pool, start.domain, partition.domain, start.founding).catch(
        (error: unknown) => void fail(error),
      );
    }
    // Served is only what is decided, and from the start in sync: an instance that starts first learns what became of
    // its tail, and the first write finds every member.
    if (!opening && founded() && replication.decided && replication.inSync) {
      opening = true;
      openAudit(start, hsm, replication)
        .then((opened) => {
          audit = opened;
          refusals.record((refusal) => opened.event('InstanceRefused', refusal));
          return openService(start, hsm, opened, channel);
        })
        .then(async (opened) => {
          serving = opened;
          await tell({ kind: 'serving', report: report(opened.tls.root) });
        })
        .catch((error: unknown) => void fail(error));
    } else if (serving) {
      void tell({ kind: 'serving', report: report(serving.tls.root) });
    }
  };
  const report = (rootCertificate: string): InstanceReport => ({
    role: self === FIXED_VIEW.primary ? 'primary' : 'backup',
    inSync: replication.inSync,
    epoch: FIXED_VIEW.epoch,
    port: 0,
    committed: store.applied,
    keys: store.state.count('keys'),
    activation: store.state.get('pool', POOL)?.activation ?? 'NotActivated',
    rootCertificate,
    ownerFingerprint: ownerFingerprint(hsm),
  });

  channel
    .next('drain')
    .then(async () => {
      await serving?.server.drain();
      await audit?.settle();
      await tell({ kind: 'drained' });
      await channel.next('leave');
      await audit?.close();
      await store.close();
      mesh.close();
      await partition.close();
      process.exit(0);
    })
    .catch((error: unknown) => void fail(error));

  standing();
  await follower.run(async (from, question) => {
    if (isJoinQuestion(question)) return admit(question, partition.domain, founded(), provision);
    if (isAuditQuestion(question)) {
      if (audit === undefined) throw new Error('not serving yet');
      return audit.witness(from, question);
    }
    throw new Error('not a question that this build answers');
  }, standing);
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

interface Serving {
  readonly server: ApiServer;
  readonly tls: TlsIdentity;
}

function openAudit(start: Start, hsm: Hsm, replication: Replication): Promise<Audit> {
  return Audit.open({
    directory: join(start.directory, 'audit'),
    pool: start.pool,
    hsm,
    others: FIXED_VIEW.inSync.filter((member) => member !== hsm.instance),
    ask: (member, question) => replication.ask(member, question),
    logger,
    failed: (error) => void fail(error),
  });
}

async function openService(start: Start, hsm: Hsm, audit: Audit, channel: Channel): Promise<Serving> {
  const { pool: name, domain, dataPort, authority } = start;
  const tls = await issueTlsIdentity(hsm, name, domain);
  const server = createServer({ hsm, audit, pool: { name, domain, dataPort }, authority, logger, tls });
  channel.onConnection = (socket, head) => server.adopt(socket, head);
  const renew = async () => server.https.setSecureContext(await issueTlsIdentity(hsm, name, domain));
  const timer = setInterval(() => {
    // A failed renewal is tried again the next day; the present certificate has weeks left.
    renew().catch((error: unknown) =>
      logger.error({ err: error }, 'the TLS certificate could not be renewed'),
    );
  }, RENEW_MS);
  timer.unref();
  return { server, tls };
}

// Whatever is made here, by libraries too, is for the owner alone.
process.umask(0o077);
process.on('uncaughtException', (error) => void fail(error));
process.on('unhandledRejection', (reason) => void fail(reason));
// The fabric is gone. Normally the kernel has ended this process already; this is for one that was not armed in time.
process.on('disconnect', () => process.exit(1));
run(new Channel()).catch((error: unknown) => void fail(error));
