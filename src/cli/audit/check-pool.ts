// Checks the audit logs of a pool against each other: each member keeps the seals of the others, so a log that ends
// before one of them was cut, and one that has another record in its place was written anew.
import {
  checkLog,
  isSealed,
  type CheckedLog,
  type Expected,
  type Fault,
  type LogFile,
  type LogFinding,
} from './check-log.js';

export interface MemberLog {
  readonly instance: number;
  /** In ascending order; read anew by each call, since a running instance goes on writing. */
  readonly files: () => readonly LogFile[];
}

export interface PoolFinding {
  readonly pool: string;
  readonly valid: boolean;
  readonly ownerFingerprint: string | null;
  /** Was it compared with one that is known from elsewhere? If not, somebody may have written all of it anew. */
  readonly ownerVerified: boolean;
  readonly logs: readonly LogFinding[];
}

export type PoolExpected = Pick<Expected, 'pool' | 'owner' | 'now'> & {
  /** Number of the first record by instance, where it is not 1. */
  readonly first: ReadonlyMap<number, number>;
};

/** Checks every log, then each against what the others have kept of it. */
export function checkPool(members: readonly MemberLog[], expected: PoolExpected): PoolFinding {
  const check = ({ instance, files }: MemberLog): CheckedLog =>
    checkLog(files(), { ...expected, instance, first: expected.first.get(instance) ?? 1 });
  const logs = new Map(members.map((member) => [member.instance, check(member)]));
  const added = new Map<number, Fault[]>(members.map(({ instance }) => [instance, []]));
  for (const keeper of members) {
    const kept = (logs.get(keeper.instance) as CheckedLog).witnessed;
    const readAnew = new Map<number, CheckedLog>();
    for (const witnessed of kept) {
      const { instance, seal, file, line } = witnessed;
      const member = members.find((one) => one.instance === instance);
      const log = logs.get(instance);
      if (!member || !log || log.partitionKeys.length === 0 || instance === keeper.instance) continue;
      const where = `line ${line} of ${file} in the log of instance ${keeper.instance}`;
      if (!log.partitionKeys.some((key) => isSealed(key, expected.pool, instance, seal))) {
        added
          .get(keeper.instance)
          ?.push({ file, line, problem: `the kept seal is not by instance ${instance}` });
        continue;
      }
      const first = expected.first.get(instance) ?? 1;
      if (contradiction(log, seal, first) === undefined) continue;
      // Perhaps record or seal was written while the other log was being read.
      const found = readAnew.get(instance) ?? check(member);
      readAnew.set(instance, found);
      const problem = contradiction(found, seal, first);
      if (problem !== undefined)
        added.get(instance)?.push({ ...endOf(found), problem: `${problem}: ${where}` });
    }
  }
  const findings = members.map(({ instance }) => {
    const { finding } = logs.get(instance) as CheckedLog;
    return { ...finding, faults: [...finding.faults, ...(added.get(instance) ?? [])] };
  });
  const owners = new Set(
    findings.map(({ ownerFingerprint }) => ownerFingerprint).filter((one) => one !== null),
  );
  const [ownerFingerprint = null] = owners;
  const logsFound = owners.size > 1 ? findings.map(differs(ownerFingerprint)) : findings;
  return {
    pool: expected.pool,
    valid: logsFound.every(({ faults }) => faults.length === 0),
    ownerFingerprint,
    ownerVerified: expected.owner !== undefined && expected.owner === ownerFingerprint,
    logs: logsFound,
  };
}

function contradiction(
  { finding, sealedHashes, newestHashes }: CheckedLog,
  { through, hash, time }: { through: number; hash: string; time: string },
  first: number,
): string | undefined {
  const { sequence } = finding.last;
  if (through < first || sealedHashes.get(through) === hash) return undefined;
  if (through > sequence)
    return `the log ends with record ${sequence}, but record ${through} was sealed at ${time}; it was cut`;
  if (newestHashes.get(through) === hash)
    return `the seal of record ${through}, made at ${time}, is missing; the log was cut before it`;
  return `record ${through} is not the one that was sealed at ${time}`;
}

function endOf({ finding }: CheckedLog): { file: string; line: number } {
  return { file: finding.last.file, line: finding.last.line };
}

function differs(owner: string | null): (finding: LogFinding) => LogFinding {
  return (finding) =>
    finding.ownerFingerprint === null || finding.ownerFingerprint === owner
      ? finding
      : {
          ...finding,
          faults: [
            ...finding.faults,
            { file: '', line: 0, problem: 'its owner is not the one of the log of another instance' },
          ],
        };
}
