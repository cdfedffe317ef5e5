// The instance's audit trail: what happens is chained in its own log, sealed by the partition's key at intervals, and
// each seal is told to the other members, who keep it in theirs. So a log that is changed, or cut before its last seal,
// contradicts the partition's signature or the other logs.
import type { Logger } from 'pino';
import {
  AUDIT_FORMAT,
  auditSealShape,
  membersOf,
  sealMembers,
  sealStatement,
  witnessMembers,
  type AuditSeal,
} from '../../values/audit.js';
import { toBase64url } from '../../values/bytes.js';
import { AuditLog, type AuditLogOptions } from '../store/audit.js';
import type { Hsm } from './hsm.js';
import { poolOf } from './key-view.js';
import { Outage } from './outage.js';
import { partitionCertificates } from './partition-certificate.js';

/** What the API needs of it. */
export interface AuditTrail {
  /** Why nothing can be recorded now, and so nothing may be done; undefined while all is well. */
  readonly stopped: string | undefined;
  /** Takes the members of a line as JSON without braces. */
  append(members: string): void;
  /** Counts a request that was refused because of {@link stopped}: there is no room for a line of its own. */
  refused(): void;
  /** Resolves when all that was appended is on the disk; rejects with an `Outage` when it cannot be. */
  durable(): Promise<void>;
  /** The newest lines on the disk, oldest first. */
  newest(count: number): Promise<string[]>;
}

export interface AuditOptions extends Pick<AuditLogOptions, 'fileMax' | 'waitingMax' | 'full'> {
  readonly directory: string;
  readonly pool: string;
  readonly hsm: Hsm;
  /** The other members. */
  readonly others: readonly number[];
  /** Asks another member; resolves when it has answered. */
  readonly ask: (member: number, question: AuditQuestion) => Promise<unknown>;
  readonly logger: Logger;
  /** The log is in doubt: the instance must not go on. */
  readonly failed: (error: Error) => void;
}

/** Tells another member a seal, to be kept in its own log. */
export interface AuditQuestion {
  readonly kind: 'audit-seal';
  readonly seal: AuditSeal;
}

export function isAuditQuestion(question: unknown): question is AuditQuestion {
  return (
    typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'audit-seal'
  );
}

/** How often what is new is sealed. */
const SEAL_MS = 5_000;
/** How long an instance that leaves waits for the others to take its last seal. */
const FAREWELL_MS = 2_000;

export class Audit implements AuditTrail {
  readonly #log: AuditLog;
  readonly #options: AuditOptions;
  readonly #timer: NodeJS.Timeout;
  /** Lines appended since the last seal, seals left out. */
  #fresh = 0;
  /** The same without other members' seals: to tell of those would make the members talk for ever. */
  #ownFresh = 0;
  #sealing: Promise<void> | undefined;
  #newest: AuditSeal | undefined;
  readonly #told = new Map<number, AuditSeal>();
  readonly #telling = new Map<number, Promise<void>>();
  readonly #heard = new Map<number, AuditSeal>();
  #refused = 0;
  /** The pool was founded so that it goes on without a record. */
  readonly #optional: boolean;

  private constructor(log: AuditLog, options: AuditOptions) {
    this.#log = log;
    this.#options = options;
    this.#optional = poolOf(options.hsm.state).auditOptional === true;
    this.#timer = setInterval(() => this.#look(), SEAL_MS);
    this.#timer.unref();
  }

  /** Goes on with the log in the directory; resolves when the line that says so is on the disk. */
  static async open(options: AuditOptions): Promise<Audit> {
    const { pool, hsm, logger } = options;
    const certificates = await partitionCertificates(hsm);
    const started: { standing?: () => void } = {};
    const log = await AuditLog.open(options.directory, {
      ...options,
      onStanding: () => started.standing?.(),
    });
    const audit = new Audit(log, options);
    started.standing = () => audit.#standing();
    if (log.torn.length > 0) logger.warn({ torn: log.torn }, 'the audit log ended in the middle of a record');
    audit.append(
      membersOf('AuditOpened', {
        time: new Date().toISOString(),
        format: AUDIT_FORMAT,
        pool,
        instance: hsm.instance,
        torn: log.torn,
        certificates,
      }),
    );
    await log.flushed();
    return audit;
  }

  get stopped(): string | undefined {
    return this.#optional ? undefined : this.#log.stopped;
  }

  append(members: string): void {
    this.#fresh += 1;
    this.#ownFresh += 1;
    this.#log.append(members);
  }

  /** Something that happened to the instance and was no request. */
  event(operationName: string, properties: Readonly<Record<string, unknown>> = {}): void {
    this.append(
      membersOf('AuditEvent', {
        time: new Date().toISOString(),
        operationName,
        resultType: 'Success',
        PoolName: this.#options.pool,
        properties,
      }),
    );
  }

  refused(): void {
    this.#refused += 1;
  }

  async durable(): Promise<void> {
    try {
      await this.#log.flushed();
    } catch (error) {
      if (this.#optional) return;
      const why = error instanceof Error ? error.message : String(error);
      throw new Outage('OutcomeUnknown', `It was carried out, but could not be recorded: ${why}.`);
    }
  }

  newest(count: number): Promise<string[]> {
    return this.#log.newest(count);
  }

  /** Keeps the seal of another member; it is on the disk when this resolves. */
  async witness(from: number, { seal: told }: AuditQuestion): Promise<void> {
    const seal = auditSealShape.parse(told);
    if (this.#heard.get(from)?.signature === seal.signature) return;
    this.#fresh += 1;
    this.#log.append(witnessMembers(from, seal, new Date().toISOString()));
    await this.#log.flushed();
    this.#heard.set(from, seal);
  }

  /** Seals what there is and waits, for a while, until the others have it: for an instance that is about to leave. */
  async settle(): Promise<void> {
    this.event('InstanceDrained');
    await this.#seal().catch((error: unknown) => this.#complain(error));
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, FAREWELL_MS)));
    await Promise.race([Promise.all(this.#options.others.map((member) => this.#tellLast(member))), enough]);
    clearTimeout(timer);
  }

  /** Seals what came last and ends. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#fresh > 0) await this.#seal().catch((error: unknown) => this.#complain(error));
    await this.#log.close();
  }

  #look(): void {
    if (this.#fresh > 0 && this.#log.stopped === undefined)
      this.#seal().catch((error: unknown) => this.#complain(error));
    for (const member of this.#options.others) void this.#tell(member);
  }

  #seal(): Promise<void> {
    this.#sealing ??= this.#makeSeal().finally(() => (this.#sealing = undefined));
    return this.#sealing;
  }

  async #makeSeal(): Promise<void> {
    const { hsm, pool } = this.#options;
    const fresh = this.#fresh;
    const ownFresh = this.#ownFresh;
    await this.#log.flushed();
    const { sequence: through, hash } = this.#log.head;
    const unsigned = { through, hash, time: new Date().toISOString() };
    const signature = await hsm.partition.signStatement(sealStatement(pool, hsm.instance, unsigned));
    const seal: AuditSeal = { ...unsigned, signature: toBase64url(signature) };
    this.#log.append(sealMembers(seal));
    // Told only when it is on the disk: after a power cut the others must not know of more than there is.
    await this.#log.flushed();
    this.#fresh -= fresh;
    this.#ownFresh -= ownFresh;
    if (ownFresh === 0) return;
    this.#newest = seal;
    for (const member of this.#options.others) void this.#tell(member);
  }

  // One seal at a time for each member, then the newest. One that is away or not ready gets it later.
  #tell(member: number): Promise<void> {
    const under = this.#telling.get(member);
    if (under) return under;
    const seal = this.#newest;
    if (seal === undefined || this.#told.get(member) === seal) return Promise.resolve();
    const telling = this.#options
      .ask(member, { kind: 'audit-seal', seal })
      .then(() => void this.#told.set(member, seal))
      .catch(() => undefined)
      .finally(() => this.#telling.delete(member));
    this.#telling.set(member, telling);
    return telling;
  }

  async #tellLast(member: number): Promise<void> {
    await this.#telling.get(member); // perhaps of a seal before
    await this.#tell(member);
  }

  #standing(): void {
    const { logger } = this.#options;
    const { stopped } = this.#log;
    if (stopped !== undefined) {
      const what = this.#optional
        ? 'records may be lost'
        : 'requests are refused: they could not be recorded';
      logger.error({ reason: stopped }, what);
      return;
    }
    const counts = { refused: this.#refused, lost: this.#log.takeLost() };
    this.#refused = 0;
    this.event('AuditResumed', counts);
    logger.warn(counts, 'the audit log is written again');
  }

  #complain(error: unknown): void {
    this.#options.logger.error({ err: error }, 'the audit log could not be sealed');
  }
}
