// The audit log of one instance, from the side that serves: lines are taken in memory and written in batches by a
// worker thread. `append` never waits. How much may wait is bounded: past that, and while the disk has no room,
// `stopped` says why nothing more should be done that would have to be recorded.
import { once } from 'node:events';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { auditFileName, auditFileNumber, type AuditHead, type TornEnd } from '../../values/audit.js';
import type { AuditAnswer, AuditBatch, AuditWriterData } from './audit-writer.js';

export interface AuditLogOptions {
  /** Bytes after which a new file is begun. */
  readonly fileMax?: number;
  /** Characters that may wait before `stopped` says so; twice as many before lines are lost. */
  readonly waitingMax?: number;
  /** Whether the disk is to count as full, for tests. */
  readonly full?: (() => boolean) | undefined;
  /** The log is in doubt: an instance must not go on with it. */
  readonly failed: (error: Error) => void;
  /** `stopped` has changed. */
  readonly onStanding: () => void;
}

const FILE_MAX = 16 * 1024 * 1024;
const WAITING_MAX = 8 * 1024 * 1024;
/** How long lines may wait for company. */
const DELAY_MS = 100;
/** So many lines do not wait for more. */
const BATCH = 1_000;
/** How often a full disk is tried again. */
const RETRY_MS = 500;
/** So much of the end of a file is read for its newest lines, and of so many files. */
const TAIL_BYTES = 256 * 1024;
const TAIL_FILES = 3;
/** As the system says it of a disk that is. */
const NO_SPACE = 'ENOSPC: no space left on device, write';

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class AuditLog {
  /** What the run before left torn. */
  readonly torn: readonly TornEnd[];
  readonly #directory: string;
  readonly #writer: Worker;
  readonly #exit: Promise<unknown>;
  readonly #options: AuditLogOptions;
  readonly #waitingMax: number;
  #head: AuditHead;
  #lines: string[] = [];
  /** Characters in `#lines` and in the batch that is with the writer. */
  #size = 0;
  #waiting: Waiting[] = [];
  /** With the writer now, or to be sent again. */
  #batch: { readonly text: AuditBatch; readonly size: number; readonly waiting: Waiting[] } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #full: string | undefined;
  #failure: Error | undefined;
  #stopped: string | undefined;
  #lost = 0;
  #idle: (() => void)[] = [];

  private constructor(directory: string, writer: Worker, first: AuditAnswer, options: AuditLogOptions) {
    this.#directory = directory;
    this.#writer = writer;
    this.#exit = once(writer, 'exit');
    this.#options = options;
    this.#waitingMax = options.waitingMax ?? WAITING_MAX;
    this.#head = first.head;
    this.torn = first.torn ?? [];
    writer.on('message', (answer: AuditAnswer) => this.#answered(answer));
    writer.on('error', (error) => this.#fail(error));
    writer.on('exit', () => this.#fail(new Error('the writer of the audit log has ended')));
  }

  /**
   * Goes on where the log in the directory ends.
   * @throws when the end of it is no record, or the directory cannot be used.
   */
  static async open(directory: string, options: AuditLogOptions): Promise<AuditLog> {
    const data: AuditWriterData = { directory, fileMax: options.fileMax ?? FILE_MAX };
    const writer = new Worker(join(__dirname, 'audit-writer.js'), {
      workerData: data,
      env: {},
      name: 'audit-writer',
    });
    const [first] = (await once(writer, 'message')) as [AuditAnswer];
    return new AuditLog(directory, writer, first, options);
  }

  /** Where the log on the disk stands. */
  get head(): AuditHead {
    return this.#head;
  }

  /** Why nothing more can be recorded now; undefined while all is well. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Lines that found no room in memory; reading it begins to count anew. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  /** Takes the members of a line, see `auditLine`; they reach the disk within a tenth of a second or so. */
  append(members: string): void {
    if (this.#size > 2 * this.#waitingMax) {
      this.#lost += 1;
      return;
    }
    this.#size += members.length;
    if (this.#lines.push(members) >= BATCH) this.#next();
    else this.#timer ??= setTimeout(() => this.#next(), DELAY_MS);
    if (this.#size > this.#waitingMax) this.#look();
  }

  /** Resolves when everything that was appended before is on the disk; rejects when there is no room for it. */
  flushed(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#full !== undefined) return Promise.reject(new Error(this.#full));
    if (this.#lines.length === 0 && !this.#batch) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#next();
    });
  }

  /** The newest whole lines that are on the disk, oldest first: `count` of them, or fewer where they are long. */
  async newest(count: number): Promise<string[]> {
    const numbers = (await readdir(this.#directory))
      .map(auditFileNumber)
      .filter((number) => number !== undefined)
      .sort((a, b) => b - a);
    let lines: string[] = [];
    for (const number of numbers.slice(0, TAIL_FILES)) {
      if (lines.length >= count) break;
      lines = [...(await lastLines(join(this.#directory, auditFileName(number)))), ...lines];
    }
    return lines.slice(-count);
  }

  /** Writes what is still in memory, as far as there is room, and ends the writer. */
  async close(): Promise<void> {
    while (!this.#failure && this.#full === undefined && (this.#batch || this.#lines.length > 0)) {
      this.#next();
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    clearTimeout(this.#timer);
    this.#failure ??= new Error('the audit log is closed');
    this.#writer.postMessage(null);
    await this.#exit;
  }

  // One batch is with the writer at a time; everything that arrives meanwhile shares the next sync.
  #next(): void {
    if (this.#batch || this.#failure) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    if (lines.length === 0) {
      this.#release(this.#waiting);
      this.#waiting = [];
      return;
    }
    const text = lines.join('\n');
    this.#batch = { text, size: text.length - lines.length + 1, waiting: this.#waiting };
    this.#lines = [];
    this.#waiting = [];
    this.#write(this.#batch.text);
  }

  #write(text: AuditBatch): void {
    if (this.#options.full?.() !== true) this.#writer.postMessage(text);
    else setImmediate(() => this.#answered({ head: this.#head, error: NO_SPACE, full: true }));
  }

  #answered({ head, error, full }: AuditAnswer): void {
    const batch = this.#batch;
    if (!batch) return;
    if (error === undefined) {
      this.#head = head;
      this.#size -= batch.size;
      this.#batch = undefined;
      this.#full = undefined;
      this.#look();
      this.#release(batch.waiting);
      this.#wakeIdle();
      if (this.#lines.length >= BATCH || this.#waiting.length > 0) this.#next();
      else if (this.#lines.length > 0) this.#timer ??= setTimeout(() => this.#next(), DELAY_MS);
      return;
    }
    if (!full) {
      this.#fail(new Error(`the audit log cannot be written: ${error}`));
      return;
    }
    // Kept and tried again; who waits for it hears that it is not on the disk.
    this.#full = `the audit log cannot be written: ${error}`;
    this.#batch = { ...batch, waiting: [] };
    const refused = new Error(this.#full);
    for (const { reject } of [...batch.waiting, ...this.#waiting]) reject(refused);
    this.#waiting = [];
    this.#look();
    this.#wakeIdle();
    const retry = setTimeout(() => {
      if (this.#batch && !this.#failure) this.#write(this.#batch.text);
    }, RETRY_MS);
    retry.unref();
  }

  // Once too much waits, half of it must be gone before there is room again.
  #look(): void {
    const before = this.#stopped;
    const limit = before === undefined ? this.#waitingMax : this.#waitingMax / 2;
    this.#stopped =
      this.#full ??
      (this.#size > limit
        ? 'the audit log is written too slowly: too many records wait for the disk'
        : undefined);
    if (this.#stopped !== before) this.#options.onStanding();
  }

  #release(waiting: readonly Waiting[]): void {
    for (const { resolve } of waiting) resolve();
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    clearTimeout(this.#timer);
    this.#stopped = error.message;
    for (const { reject } of [...(this.#batch?.waiting ?? []), ...this.#waiting]) reject(error);
    this.#waiting = [];
    this.#wakeIdle();
    this.#options.failed(error);
  }

  #wakeIdle(): void {
    for (const wake of this.#idle) wake();
    this.#idle = [];
  }
}

async function lastLines(file: string): Promise<string[]> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await handle.read({
      buffer: Buffer.alloc(size - from),
      position: from,
    });
    // What follows the last line feed is being written, or was torn; what precedes the first is cut.
    const lines = buffer.subarray(0, bytesRead).toString('utf8').split('\n').slice(0, -1);
    return from > 0 ? lines.slice(1) : lines;
  } finally {
    await handle.close();
  }
}
