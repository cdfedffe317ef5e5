// Known answers from public collections (vectors/README.md), and what becomes of each: one test is driven, its outcome
// judged by the collection's own verdict and by what this service takes, and every outcome is counted by name.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Key of a test: a JWK, or the octets of a symmetric key. */
export type Jwk = Readonly<Record<string, string>>;

/** One known answer; bytes are base64url. */
export interface Vector {
  /** As in the collection. */
  readonly id: string;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly note?: string;
  /** Octets of a symmetric key. */
  readonly key?: string;
  /** Message, plaintext or key to wrap; absent where nothing comes out. */
  readonly msg?: string;
  readonly sig?: string;
  readonly ct?: string;
  readonly iv?: string;
  readonly aad?: string;
  readonly tag?: string;
  readonly label?: string;
}

export interface Group {
  /** File of the collection. */
  readonly source: string;
  readonly alg?: string;
  readonly sha?: string;
  readonly mgfSha?: string;
  /** Octets. */
  readonly saltLength?: number;
  /** Bits. */
  readonly tagSize?: number;
  readonly key?: Jwk;
  readonly tests: readonly Vector[];
}

export function groupsOf(name: string): readonly Group[] {
  return JSON.parse(readFileSync(join(__dirname, 'vectors', `${name}.json`), 'utf8')) as Group[];
}

/** What the service did with a test. */
export type Outcome =
  /** The signature is valid, or the value is the known one. */
  | 'accepted'
  /** The signature is not valid, or the request is (400). */
  | 'refused'
  /** The key did not even come in (400). */
  | 'key refused'
  /** Anything else: another value, another status. */
  | { readonly wrong: string };

export interface Drive {
  /** What the service does not take of it, by name: then it must refuse what is valid elsewhere. */
  readonly outside?: string | undefined;
  readonly outcome: Outcome;
}

export interface Tally {
  /** How many tests had which outcome. */
  readonly counts: Readonly<Record<string, number>>;
  /** A line for each test whose outcome is not the known one. */
  readonly problems: readonly string[];
}

/** Tests in flight at a time. */
const AT_ONCE = 8;

/** Drives every test, in every way that `drive` knows, and counts what became of them. */
export async function tallyOf(
  groups: readonly Group[],
  drive: (group: Group, vector: Vector) => Promise<readonly Drive[]>,
): Promise<Tally> {
  const waiting = groups.flatMap((group) => group.tests.map((vector) => ({ group, vector })));
  const counts: Record<string, number> = {};
  const problems: string[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { group, vector } = next;
      for (const done of await drive(group, vector)) {
        const { name, problem } = judge(vector, done);
        counts[name] = (counts[name] ?? 0) + 1;
        if (problem) problems.push(`${group.source} ${vector.id} (${vector.note ?? ''}): ${problem}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { counts, problems };
}

function judge({ result }: Vector, { outside, outcome }: Drive): { name: string; problem?: string } {
  if (typeof outcome === 'object') return { name: 'wrong', problem: outcome.wrong };
  // What is not valid anywhere needs no rule of ours to be refused.
  if (outside !== undefined && result !== 'invalid') {
    const name = `${outcome}: ${outside}`;
    return outcome === 'accepted' ? { name, problem: `accepted, in spite of ${outside}` } : { name };
  }
  const name = `${result}: ${outcome}`;
  const fits = result === 'acceptable' || (result === 'valid') === (outcome === 'accepted');
  return fits ? { name } : { name, problem: `${outcome}, but ${result}` };
}
