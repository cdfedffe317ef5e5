// How an instance comes to a token: the first of a pool founds the domain, the others join it. The data-wrapping key
// goes from slot to slot, wrapped for a key that the joiner made in its own, and only with evidence of what made it.
import { newUuid } from '../../values/ids.js';
import type { Provision, ExchangeKey } from '../partition/provision.js';
import type { TokenDirectory } from '../partition/token.js';
import type { Replication } from '../replication/replication.js';

/** Asked of the donor by an instance without a token. */
export interface JoinQuestion {
  readonly kind: 'join';
  readonly key: ExchangeKey;
  /** That the key was made by an instance of this pool; whoever made `JoinParts.evidence` reads it. */
  readonly evidence: unknown;
}

export interface JoinAnswer {
  readonly domain: string;
  readonly wrapped: Uint8Array;
}

export function isJoinQuestion(question: unknown): question is JoinQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'join';
}

export interface JoinParts {
  readonly tokens: TokenDirectory;
  readonly provision: Provision;
  readonly replication: Pick<Replication, 'ask'>;
  /** Evidence for the donor, on the present link to it. */
  readonly evidence: (key: ExchangeKey, donor: number) => unknown;
}

/**
 * A domain whose token this instance has, after making the token if there was none. While a domain is being restored
 * there are two: all but their data-wrapping keys are the same, and the pool's state tells which of them counts.
 * @param found the pool has no view yet: its donor makes the first token. Never in a pool that has one.
 * @throws when there is none to be had: the donor lets this instance not in, or it is the donor itself.
 */
export async function obtainToken(
  self: number,
  donor: number,
  found: boolean,
  { tokens, provision, replication, evidence }: JoinParts,
): Promise<string> {
  const [present] = await tokens.domains();
  if (present !== undefined) return present;
  if (self === donor) {
    // Another domain in place of the one that the pool's keys are sealed under would be the end of them.
    if (!found) throw new Error('the token is missing, and no other member is there to give it');
    const domain = newUuid();
    await provision.found(domain);
    return domain;
  }
  const joining = await provision.join();
  try {
    const { key } = joining;
    const question: JoinQuestion = { kind: 'join', key, evidence: await evidence(key, donor) };
    const { domain, wrapped } = (await replication.ask(donor, question)) as JoinAnswer;
    await joining.finish(wrapped, domain);
    return domain;
  } catch (error) {
    await joining.abandon();
    throw error;
  }
}

/**
 * The donor's answer.
 * @param check why the evidence for the exchange key is not believed; undefined when it is.
 */
export async function admit(
  question: JoinQuestion,
  from: number,
  domain: string,
  provision: Provision,
  check: (question: JoinQuestion, from: number) => string | undefined,
): Promise<JoinAnswer> {
  const doubt = check(question, from);
  if (doubt !== undefined) throw new Error(`instance ${from} is not let in: ${doubt}`);
  return { domain, wrapped: await provision.donate(domain, question.key) };
}
