// How an instance comes to a token: the first of a pool founds the domain, the others join it. The data-wrapping key
// goes from slot to slot, wrapped for a key that the joiner made in its own.
import { newUuid } from '../../values/ids.js';
import type { Provision, ExchangeKey } from '../partition/provision.js';
import type { TokenDirectory } from '../partition/token.js';
import type { Replication } from '../replication/replication.js';
import type { View } from '../replication/view.js';

/** Asked of the primary by an instance without a token. */
export interface JoinQuestion {
  readonly kind: 'join';
  readonly key: ExchangeKey;
}

export interface JoinAnswer {
  readonly domain: string;
  readonly wrapped: Uint8Array;
}

export function isJoinQuestion(question: unknown): question is JoinQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'join';
}

/**
 * A domain whose token this instance has, after making the token if there was none. While a domain is being restored
 * there are two: all but their data-wrapping keys are the same, and the pool's state tells which of them counts.
 */
export async function obtainToken(
  self: number,
  view: View,
  parts: {
    readonly tokens: TokenDirectory;
    readonly provision: Provision;
    readonly replication: Replication;
  },
): Promise<string> {
  const [present] = await parts.tokens.domains();
  if (present !== undefined) return present;
  if (self === view.primary) {
    const domain = newUuid();
    await parts.provision.found(domain);
    return domain;
  }
  const joining = await parts.provision.join();
  try {
    const question: JoinQuestion = { kind: 'join', key: joining.key };
    const { domain, wrapped } = (await parts.replication.ask(view.primary, question)) as JoinAnswer;
    await joining.finish(wrapped, domain);
    return domain;
  } catch (error) {
    await joining.abandon();
    throw error;
  }
}

/**
 * The donor's answer. Members of a pool that is being founded are let in as the fabric introduced them; once the pool
 * is founded nobody is, since joining it takes an attestation.
 */
export async function admit(
  question: JoinQuestion,
  domain: string,
  founded: boolean,
  provision: Provision,
): Promise<JoinAnswer> {
  if (founded) throw new Error('the pool is founded: an instance without its token is not let in');
  return { domain, wrapped: await provision.donate(domain, question.key) };
}
