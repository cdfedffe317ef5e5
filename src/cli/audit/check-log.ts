// Checks the audit log of one instance from its files alone: the chain of hashes, the numbers, the partition's seals,
// and what was left torn. Says for each fault the file and line. Pure: files as bytes in, findings out.
import { verify } from 'node:crypto';
import {
  AUDIT_START,
  auditFileName,
  auditHash,
  auditLine,
  auditLineShape,
  sealMembers,
  sealStatement,
  type AuditHead,
  type AuditLine,
  type AuditSeal,
  type TornEnd,
} from '../../values/audit.js';
import { AttestationError } from '../../values/attestation.js';
import { checkChain, type Chain } from '../key/check-attestation.js';

export interface LogFile {
  readonly number: number;
  readonly read: () => Buffer;
}

export interface Place {
  readonly file: string;
  /** Counts from 1; 0 means the file as a whole. */
  readonly line: number;
}

export interface Fault extends Place {
  readonly problem: string;
}

/** A seal of another member that this log holds. */
export interface Witnessed extends Place {
  readonly instance: number;
  readonly seal: AuditSeal;
}

export interface LogFinding {
  readonly instance: number;
  readonly files: number;
  readonly records: number;
  /** How often the instance began to write. */
  readonly starts: number;
  readonly last: AuditHead & Place & { readonly time: string | null };
  /** Number of the last record that a seal covers; what comes after it may have been changed by anybody. */
  readonly sealed: number;
  readonly unsealed: number;
  /** Ends of files that a killed process left; the next start has recorded them, or there was none yet. */
  readonly torn: readonly TornEnd[];
  /** SHA-256 of the owner's certificate, by which the seals were checked; null when nothing names one. */
  readonly ownerFingerprint: string | null;
  readonly faults: readonly Fault[];
}

/** What else is needed to compare logs. */
export interface CheckedLog {
  readonly finding: LogFinding;
  readonly witnessed: readonly Witnessed[];
  /** Hashes of the records that were sealed, by number. */
  readonly sealedHashes: ReadonlyMap<number, string>;
  /** Hashes of the records from the last of those on. */
  readonly newestHashes: ReadonlyMap<number, string>;
  /** Keys of the partition; another one after its token was made anew. */
  readonly partitionKeys: readonly Chain['partitionKey'][];
}

export interface Expected {
  readonly pool: string;
  readonly instance: number;
  /** SHA-256 of the owner's certificate as it is known from elsewhere. */
  readonly owner: string | undefined;
  /** Number of the first record; more than 1 when older files were taken away. */
  readonly first: number;
  readonly now: Date;
}

const LINE_FEED = 0x0a;

/** Checks a log; `files` in ascending order. */
export function checkLog(files: readonly LogFile[], expected: Expected): CheckedLog {
  const check = new Check(expected);
  for (const file of files) check.file(file);
  return check.end();
}

class Check {
  readonly #expected: Expected;
  readonly #faults: Fault[] = [];
  readonly #witnessed: Witnessed[] = [];
  readonly #sealedHashes = new Map<number, string>();
  /** Hashes of the records from the last one on that was sealed. */
  #hashes = new Map<number, string>();
  readonly #torn: TornEnd[] = [];
  /** Torn ends that no start has recorded yet. */
  #tornOpen: TornEnd[] = [];
  #chain: Chain | undefined;
  readonly #partitionKeys = new Map<string, Chain['partitionKey']>();
  #previous: string | undefined;
  /** Undefined after a line whose number cannot be read. */
  #next: number | undefined;
  #place: Place = { file: auditFileName(1), line: 0 };
  #before: Place | undefined;
  #fileNumber: number | undefined;
  #files = 0;
  #records = 0;
  #starts = 0;
  #sealed = 0;
  #last: LogFinding['last'] = { sequence: 0, hash: AUDIT_START, time: null, file: '', line: 0 };

  constructor(expected: Expected) {
    this.#expected = expected;
    this.#next = expected.first;
    this.#previous = expected.first === 1 ? AUDIT_START : undefined;
  }

  file({ number, read }: LogFile): void {
    const name = auditFileName(number);
    this.#place = { file: name, line: 0 };
    const due = this.#fileNumber === undefined ? undefined : this.#fileNumber + 1;
    if (due === undefined ? number !== 1 && this.#expected.first === 1 : number !== due) {
      this.#fault(`the file before it, ${auditFileName(number - 1)}, is missing`);
    }
    this.#fileNumber = number;
    this.#files += 1;
    const bytes = read();
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(LINE_FEED, start);
      if (end < 0) break;
      this.#place = { file: name, line: this.#place.line + 1 };
      this.#line(bytes.subarray(start, end));
      start = end + 1;
    }
    if (start === bytes.length) return;
    const rest = bytes.subarray(start);
    const torn = { file: name, bytes: rest.length, sha256: auditHash(rest) };
    this.#torn.push(torn);
    this.#tornOpen.push(torn);
  }

  end(): CheckedLog {
    if (this.#files === 0) this.#fault('there is no audit log');
    else if (this.#starts === 0) this.#fault('no record names the partition: nothing is sealed');
    const { instance } = this.#expected;
    return {
      finding: {
        instance,
        files: this.#files,
        records: this.#records,
        starts: this.#starts,
        last: this.#last,
        sealed: this.#sealed,
        unsealed: Math.max(0, this.#last.sequence - this.#sealed),
        torn: this.#torn,
        ownerFingerprint: this.#chain?.ownerFingerprint ?? null,
        faults: this.#faults,
      },
      witnessed: this.#witnessed,
      sealedHashes: this.#sealedHashes,
      newestHashes: this.#hashes,
      partitionKeys: [...this.#partitionKeys.values()],
    };
  }

  #line(bytes: Buffer): void {
    const hash = auditHash(bytes);
    const text = bytes.toString('utf8');
    const record = readLine(text);
    this.#records += 1;
    if (record === undefined) {
      this.#fault('this is no record');
      this.#next = undefined;
    } else {
      this.#chainOf(record);
      this.#next = record.sequence + 1;
      this.#hashes.set(record.sequence, hash);
      this.#last = { sequence: record.sequence, hash, time: record.time, ...this.#place };
      this.#contents(record, text);
    }
    this.#previous = hash;
    this.#before = this.#place;
  }

  #chainOf({ sequence, previous }: AuditLine): void {
    const due = this.#next;
    const before = this.#before === undefined ? '' : ` (line ${this.#before.line} of ${this.#before.file})`;
    if (due !== undefined && sequence > due) {
      const gap = sequence === due + 1 ? `record ${due} is` : `records ${due} to ${sequence - 1} are`;
      this.#fault(`${gap} missing before record ${sequence}`);
    } else if (due !== undefined && sequence < due) {
      this.#fault(`record ${sequence} stands where record ${due} belongs`);
    } else if (this.#previous !== undefined && previous !== this.#previous) {
      this.#fault(`the record before record ${sequence}${before} is not the one that it was written after`);
    }
  }

  #contents(record: AuditLine, text: string): void {
    switch (record.category) {
      case 'AuditOpened':
        this.#opened(record);
        return;
      case 'AuditSeal':
        this.#seal(record, text);
        return;
      case 'AuditWitness':
        this.#witnessed.push({ ...this.#place, instance: record.instance, seal: record.seal });
        break;
      case 'AuditEvent':
        break;
    }
    if (this.#tornOpen.length === 0) return;
    this.#fault(`${this.#tornOpen[0]?.file ?? ''} ends in the middle of a record, and the instance went on`);
    this.#tornOpen = [];
  }

  #opened(record: Extract<AuditLine, { category: 'AuditOpened' }>): void {
    const { pool, instance, owner, now } = this.#expected;
    this.#starts += 1;
    if (record.pool !== pool || record.instance !== instance) {
      this.#fault(`this is the log of instance ${record.instance} of the pool ${record.pool}`);
    }
    if (JSON.stringify(record.torn) !== JSON.stringify(this.#tornOpen)) {
      this.#fault('files do not end as this start found them');
    }
    this.#tornOpen = [];
    try {
      const chain = checkChain(Buffer.from(record.certificates), now);
      if (chain.pool !== pool || chain.partition !== instance) {
        this.#fault('the certificate is of another partition');
      } else if (owner !== undefined && chain.ownerFingerprint !== owner) {
        this.#fault(`the pool has another owner: SHA-256 ${chain.ownerFingerprint}`);
      } else if (this.#chain && chain.ownerFingerprint !== this.#chain.ownerFingerprint) {
        this.#fault('the owner of the pool is another one than before');
      } else {
        this.#chain = chain;
        const { partitionKey } = chain;
        this.#partitionKeys.set(
          partitionKey.export({ type: 'spki', format: 'der' }).toString('hex'),
          partitionKey,
        );
      }
    } catch (error) {
      if (!(error instanceof AttestationError)) throw error;
      this.#fault(error.message);
    }
  }

  #seal(record: Extract<AuditLine, { category: 'AuditSeal' }>, text: string): void {
    const { through, hash, time, signature, sequence, previous } = record;
    const seal = { through, hash, time, signature };
    const { pool, instance } = this.#expected;
    if (text !== auditLine(sequence, previous, sealMembers(seal))) {
      this.#fault('this seal is not written as seals are');
    }
    const { partitionKey } = this.#chain ?? {};
    if (partitionKey === undefined) {
      this.#fault('it cannot be known whose seal this is');
    } else if (!isSealed(partitionKey, pool, instance, seal)) {
      this.#fault('this seal is not by the partition');
    } else if (through < this.#expected.first) {
      // Of a record that was taken away with the older files.
    } else if (this.#hashes.get(through) !== hash) {
      this.#fault(`record ${through}, or one before it, was changed after it was sealed`);
    } else {
      this.#sealed = through;
      this.#sealedHashes.set(through, hash);
      this.#hashes = new Map([...this.#hashes].filter(([number]) => number >= through));
    }
  }

  #fault(problem: string): void {
    this.#faults.push({ ...this.#place, problem });
  }
}

/** Is this the word of the partition on its own log? */
export function isSealed(
  partitionKey: Chain['partitionKey'],
  pool: string,
  instance: number,
  seal: AuditSeal,
): boolean {
  return verify(
    'sha256',
    sealStatement(pool, instance, seal),
    partitionKey,
    Buffer.from(seal.signature, 'base64url'),
  );
}

function readLine(text: string): AuditLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const { sequence, previous } = auditLineShape.parse(value);
    // Members of that name could come twice; the first ones are those that chain.
    if (!text.startsWith(`{"sequence":${sequence},"previous":"${previous}",`)) return undefined;
    return auditLineShape.parse(value);
  } catch {
    return undefined;
  }
}
