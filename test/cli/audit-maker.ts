// Makes the audit logs of a pool as its instances write them, with keys of Node's crypto.
import { createHash, sign, type KeyObject } from 'node:crypto';
import { checkPool, type PoolExpected, type PoolFinding } from '../../src/cli/audit/check-pool.js';
import {
  AUDIT_START,
  auditFileName,
  auditFileNumber,
  auditLine,
  membersOf,
  sealMembers,
  sealStatement,
  witnessMembers,
  type AuditSeal,
  type TornEnd,
} from '../../src/values/audit.js';
import { toPem } from '../../src/values/certificate.js';
import { makeOwner, makePartition, NOW, rsa, type Issuer } from './attestation-maker.js';

const TIME = '2026-06-01T00:00:00.000Z';

/** The log of one instance, while it is being written. */
export class MadeLog {
  /** By name. */
  readonly files = new Map<string, Buffer>();
  #number = 0;
  #sequence = 0;
  #hash = AUDIT_START;

  constructor(
    readonly instance: number,
    readonly key: KeyObject,
    readonly certificates: string,
  ) {}

  /** A new file, as after a start or when one is full. */
  begin(): void {
    this.#number += 1;
    this.files.set(auditFileName(this.#number), Buffer.alloc(0));
  }

  open(torn: readonly TornEnd[] = [], wish: Readonly<Record<string, unknown>> = {}): void {
    this.begin();
    const { instance, certificates } = this;
    const opening = { time: TIME, format: 1, pool: 'dev', instance, torn, certificates, ...wish };
    this.write(membersOf('AuditOpened', opening));
  }

  event(operationName: string): void {
    this.write(membersOf('AuditEvent', { time: TIME, operationName, httpStatusCode: 200 }));
  }

  /** Seals what there is and lets the others keep it. */
  seal(...keepers: readonly MadeLog[]): AuditSeal {
    const unsigned = { through: this.#sequence, hash: this.#hash, time: TIME };
    const statement = sealStatement('dev', this.instance, unsigned);
    const seal = { ...unsigned, signature: sign('sha256', statement, this.key).toString('base64url') };
    this.write(sealMembers(seal));
    for (const keeper of keepers) keeper.write(witnessMembers(this.instance, seal, TIME));
    return seal;
  }

  write(members: string): void {
    this.#sequence += 1;
    const line = auditLine(this.#sequence, this.#hash, members);
    this.#hash = createHash('sha256').update(line).digest('hex');
    this.append(`${line}\n`);
  }

  /** Bytes as they are, such as the beginning of a line. */
  append(text: string): void {
    const name = auditFileName(this.#number);
    this.files.set(name, Buffer.concat([this.files.get(name) ?? Buffer.alloc(0), Buffer.from(text)]));
  }
}

export interface MadePool {
  readonly owner: Issuer;
  readonly logs: readonly MadeLog[];
}

/** Three logs that have been begun. */
export async function makeLogs(): Promise<MadePool> {
  const owner = await makeOwner();
  const logs = [];
  for (const instance of [0, 1, 2]) {
    const key = rsa();
    const subject = { commonName: `Trivet pool dev partition ${instance}` };
    const certificates = toPem(await makePartition(owner, key, { subject })) + toPem(owner.certificate);
    const log = new MadeLog(instance, key, certificates);
    log.open();
    logs.push(log);
  }
  return { owner, logs };
}

export const fingerprint = ({ certificate }: Issuer): string =>
  createHash('sha256').update(certificate).digest('hex');

/** By instance, files by name. */
export type Written = ReadonlyMap<number, ReadonlyMap<string, Buffer>>;

export function written({ logs }: MadePool): Map<number, Map<string, Buffer>> {
  return new Map(logs.map(({ instance, files }) => [instance, new Map(files)]));
}

/** What is found in such files. */
export function check(files: Written, wish: Partial<PoolExpected> = {}): PoolFinding {
  const members = [...files].map(([instance, byName]) => ({
    instance,
    files: () =>
      [...byName]
        .map(([name, bytes]) => ({ number: auditFileNumber(name) ?? 0, read: () => bytes }))
        .sort((a, b) => a.number - b.number),
  }));
  return checkPool(members, { pool: 'dev', owner: undefined, now: NOW, first: new Map(), ...wish });
}

/** Every fault as `instance file:line problem`. */
export function faultsOf({ logs }: PoolFinding): string[] {
  return logs.flatMap(({ instance, faults }) =>
    faults.map(({ file, line, problem }) => `${instance} ${file}:${line} ${problem}`),
  );
}
