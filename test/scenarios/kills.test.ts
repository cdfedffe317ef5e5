// Nothing acknowledged is ever lost: under load every process is killed at a random moment, the pool is started again
// on its directory, and what was acknowledged is there. TRIVET_KILLS says how often, TRIVET_SEED repeats a run.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { at, Dice, seedOf, TestPool, until, type Answer, type Client } from './pool.js';
import { seal, useKey, type Made } from './use.js';
import { base64url, codeOf } from './witness.js';

const KILLS = Number(process.env['TRIVET_KILLS'] ?? 8);
const SEED = seedOf('TRIVET_SEED');
const CLIENTS = 4;

/** What the pool has told us, by key name. A change that got no answer may have happened or not. */
interface Acknowledged extends Omit<Made, 'sealed'> {
  sealed?: NonNullable<Made['sealed']>;
  /** Of the last acknowledged update. */
  tag: string | undefined;
  /** Tag values of updates that got no answer. */
  readonly maybe: Set<string>;
  deleted: 'no' | 'yes' | 'maybe';
}

const acknowledged: Acknowledged[] = [];
let names = 0;

/** Undefined for whatever is no success: a lost connection, a refusal because of a missing member. */
async function attempt(call: Promise<Answer>): Promise<Answer | undefined> {
  try {
    const answer = await call;
    if (answer.status === 200) return answer;
    // Nothing but an outage may refuse what is asked here.
    expect([answer.status, codeOf(answer.body)]).toEqual([503, 'ServiceUnavailable']);
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.name === 'ConnectionLost') return undefined;
    throw error;
  }
}

async function create(client: Client, dice: Dice): Promise<void> {
  const name = `key-${(names += 1)}`;
  const kind = dice.below(3);
  let answer: Answer | undefined;
  if (kind === 0) answer = await attempt(client.call('POST', `/keys/${name}/create`, { kty: 'EC' }));
  else if (kind === 1) answer = await attempt(client.call('POST', `/keys/${name}/create`, { kty: 'oct' }));
  else {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
    answer = await attempt(
      client.call('PUT', `/keys/${name}`, { key: privateKey.export({ format: 'jwk' }) }),
    );
  }
  if (!answer) return;
  const made: Acknowledged = {
    name,
    jwk: at(answer.body, 'key'),
    tag: undefined,
    maybe: new Set(),
    deleted: 'no',
  };
  acknowledged.push(made);
  if (kind !== 1) return;
  // Acknowledged as a key in any case; what it decrypts is known only if this answer comes, too.
  const plaintext = randomBytes(24);
  const body = { alg: 'A256GCM', value: base64url(plaintext) };
  const sealed = await attempt(client.call('POST', `/keys/${name}/encrypt`, body));
  if (sealed) made.sealed = { plaintext, answer: sealed.body, alg: 'A256GCM' };
}

async function change(client: Client, dice: Dice): Promise<void> {
  const key = acknowledged[dice.below(acknowledged.length)];
  if (key?.deleted !== 'no') return;
  if (dice.below(4) === 0) {
    key.deleted = 'maybe';
    if (await attempt(client.call('DELETE', `/keys/${key.name}`))) key.deleted = 'yes';
    return;
  }
  const tag = `tag-${dice.below(1_000_000)}`;
  key.maybe.add(tag);
  if (!(await attempt(client.call('PATCH', `/keys/${key.name}`, { tags: { state: tag } })))) return;
  // Updates of one key are made one after the other, so none before this one can still come.
  key.maybe.clear();
  key.tag = tag;
}

/** One client's work until `over()`; a key is changed by one client at a time. */
async function work(client: Client, dice: Dice, over: () => boolean, busy: Set<string>): Promise<void> {
  while (!over()) {
    const before = acknowledged.length;
    if (before === 0 || dice.below(3) > 0 || busy.size > 0) {
      await create(client, dice);
      continue;
    }
    busy.add('changing');
    try {
      await change(client, dice);
    } finally {
      busy.delete('changing');
    }
  }
}

async function check(client: Client): Promise<string[]> {
  const wrong: string[] = [];
  for (const key of acknowledged) {
    const { status, body } = await client.call('GET', `/keys/${key.name}`);
    const deleted = await client.call('GET', `/deletedkeys/${key.name}`);
    if (key.deleted === 'maybe') key.deleted = deleted.status === 200 ? 'yes' : 'no';
    const expected = key.deleted === 'yes' ? [404, 200] : [200, 404];
    if (status !== expected[0] || deleted.status !== expected[1]) {
      wrong.push(`${key.name}: ${status} and deleted ${deleted.status}, expected ${expected.join(' and ')}`);
      continue;
    }
    if (key.deleted === 'yes') continue;
    const tag = at(body, 'tags', 'state');
    if (tag !== key.tag && !key.maybe.has(String(tag))) wrong.push(`${key.name}: tag ${String(tag)}`);
    key.tag = typeof tag === 'string' ? tag : undefined;
    key.maybe.clear();
    if (at(key.jwk, 'kty') === 'oct-HSM') key.sealed ??= await seal(client, key.name, 'A256GCM');
    const problem = await useKey(client, key);
    if (problem !== undefined) wrong.push(`${key.name}: ${problem}`);
  }
  return wrong;
}

test(
  `${KILLS} kills of every process under load lose nothing that was acknowledged (seed ${SEED})`,
  async () => {
    const dice = new Dice(SEED);
    const pool = new TestPool();
    let killedAtStart = 0;
    try {
      await pool.start();
      for (let kill = 0; kill < KILLS; kill += 1) {
        const client = await pool.client();
        const order = dice.shuffled([0, 1, 2, 3]);
        const goal = acknowledged.length + 1 + dice.below(12);
        const busy = new Set<string>();
        let over = false;
        const lanes = Array.from({ length: CLIENTS }, () =>
          work(client, new Dice(dice.below(2 ** 31)), () => over, busy),
        );
        await until('there is work to lose', () => acknowledged.length >= goal);
        await pool.killAll(order);
        over = true;
        await Promise.all(lanes);
        if (dice.below(3) === 0) {
          // Once more, in the middle of the start that follows.
          const up = pool.launch();
          const enough = dice.below(900);
          const began = performance.now();
          await until(
            'it is somewhere in its start',
            () => up.exit !== undefined || performance.now() - began > enough,
          );
          up.signal('SIGKILL');
          await pool.allGone();
          killedAtStart += 1;
        }
        await pool.start();
        const all = await pool.clientOfEach();
        const wrong = await check(all[kill % 3] as Client);
        for (const each of all) each.close();
        expect({ seed: SEED, kill, wrong }).toEqual({ seed: SEED, kill, wrong: [] });
      }
      process.stderr.write(
        `${KILLS} kills, ${killedAtStart} more during start, ${acknowledged.length} keys, seed ${SEED}\n`,
      );
    } finally {
      await pool.remove();
    }
  },
  KILLS * 60_000,
);
