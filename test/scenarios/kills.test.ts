// Nothing acknowledged is ever lost: under load every process is killed at a random moment, the pool is started again
// on its directory, and what was acknowledged is there. TRIVET_KILLS says how often, TRIVET_SEED repeats a run.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { at, ConnectionLost, Dice, seedOf, TestPool, until, type Answer, type Client } from './pool.js';
import { seal, useKey, type Made } from './use.js';
import { base64url, codeOf } from './witness.js';

const KILLS = Number(process.env['TRIVET_KILLS'] ?? 6);
const SEED = seedOf('TRIVET_SEED');
const CLIENTS = 6;
/** The most that is acknowledged between a start and the kill. */
const WORK_MAX = 60;
/** About as long as a start takes; a kill in it comes earlier. */
const START_MS = 1_500;

/** What the pool has told us of one key. A change that got no answer may have happened or not. */
interface Known extends Omit<Made, 'sealed'> {
  sealed?: NonNullable<Made['sealed']>;
  /** Of the last acknowledged update. */
  tag: string | undefined;
  /** Tag values of updates that got no answer. */
  readonly maybe: Set<string>;
  deleted: 'no' | 'yes' | 'maybe';
  /** Touched since it was checked last. */
  changed: boolean;
}

type Wish = readonly [method: string, path: string, body: unknown];

// Generating RSA keys would be most of the work; what is imported differs by its name.
const rsaKeys = Array.from({ length: 3 }, () =>
  generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
);

/** The answer to what was done; undefined when it may have been done or not, or certainly was not. */
async function attempt(client: Client, [method, path, body]: Wish): Promise<Answer | undefined> {
  try {
    const answer = await client.call(method, path, body);
    if (answer.status === 200) return answer;
    // Nothing but an outage may refuse what is asked here.
    if (answer.status === 503 && codeOf(answer.body) === 'ServiceUnavailable') return undefined;
    throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  } catch (error) {
    if (error instanceof ConnectionLost) return undefined;
    throw error;
  }
}

/** One client's work. Its keys are its own, so that it knows the order of their changes. */
class Lane {
  readonly keys: Known[] = [];
  acknowledged = 0;
  #names = 0;

  constructor(
    readonly id: number,
    readonly dice: Dice,
  ) {}

  /** Goes on until the pool is gone. */
  async run(client: Client, over: () => boolean): Promise<void> {
    while (!over()) {
      const key = this.dice.below(3) === 0 ? this.#livingKey() : undefined;
      await (key ? this.#change(client, key) : this.#create(client));
    }
    client.close();
  }

  #livingKey(): Known | undefined {
    const living = this.keys.filter(({ deleted }) => deleted === 'no');
    return living.length === 0 ? undefined : this.dice.pick(living);
  }

  async #create(client: Client): Promise<void> {
    const name = `lane-${this.id}-${(this.#names += 1)}`;
    const answer = await attempt(client, this.#wish(name));
    if (!answer) return;
    this.acknowledged += 1;
    const jwk = at(answer.body, 'key');
    const key: Known = { name, jwk, tag: undefined, maybe: new Set(), deleted: 'no', changed: true };
    this.keys.push(key);
    if (at(jwk, 'kty') !== 'oct-HSM') return;
    // Acknowledged as a key in any case; what it must decrypt is known only if this answer comes too.
    const plaintext = randomBytes(24);
    const body = { alg: 'A256GCM', value: base64url(plaintext) };
    const sealed = await attempt(client, ['POST', `/keys/${name}/encrypt`, body]);
    if (sealed) key.sealed = { plaintext, answer: sealed.body, alg: 'A256GCM' };
  }

  #wish(name: string): Wish {
    switch (this.dice.below(4)) {
      case 0:
        return ['POST', `/keys/${name}/create`, { kty: 'oct' }];
      case 1:
        return ['PUT', `/keys/${name}`, { key: this.dice.pick(rsaKeys) }];
      default:
        return [
          'POST',
          `/keys/${name}/create`,
          { kty: 'EC', crv: this.dice.pick(['P-256', 'P-256K', 'P-384', 'P-521']) },
        ];
    }
  }

  async #change(client: Client, key: Known): Promise<void> {
    key.changed = true;
    if (this.dice.below(4) === 0) {
      key.deleted = 'maybe';
      if (!(await attempt(client, ['DELETE', `/keys/${key.name}`, undefined]))) return;
      key.deleted = 'yes';
    } else {
      const tag = `tag-${this.dice.below(1_000_000)}`;
      key.maybe.add(tag);
      if (!(await attempt(client, ['PATCH', `/keys/${key.name}`, { tags: { state: tag } }]))) return;
      // Changes of one key are asked for one after the other, so none before this one can still come.
      key.maybe.clear();
      key.tag = tag;
    }
    this.acknowledged += 1;
  }
}

/** What is not as it was acknowledged. Settles what was open: from now on it must stay as it is. */
async function check(client: Client, key: Known): Promise<string | undefined> {
  const { status, body } = await client.call('GET', `/keys/${key.name}`);
  const deleted = await client.call('GET', `/deletedkeys/${key.name}`);
  if (key.deleted === 'maybe') key.deleted = deleted.status === 200 ? 'yes' : 'no';
  const expected = key.deleted === 'yes' ? [404, 200] : [200, 404];
  if (status !== expected[0] || deleted.status !== expected[1]) {
    return `${key.name}: ${status} and deleted ${deleted.status}, expected ${expected.join(' and ')}`;
  }
  const tag = at(key.deleted === 'yes' ? deleted.body : body, 'tags', 'state');
  if (tag !== key.tag && !key.maybe.has(String(tag))) {
    return `${key.name}: tag ${String(tag)}, expected ${[key.tag, ...key.maybe].join(' or ')}`;
  }
  key.tag = typeof tag === 'string' ? tag : undefined;
  key.maybe.clear();
  key.changed = false;
  if (key.deleted === 'yes') return undefined;
  if (at(key.jwk, 'kty') === 'oct-HSM') key.sealed ??= await seal(client, key.name, 'A256GCM');
  else {
    for (const part of ['crv', 'x', 'y', 'n', 'e']) {
      if (at(body, 'key', part) !== at(key.jwk, part)) return `${key.name}: another ${part}`;
    }
  }
  const problem = await useKey(client, key);
  return problem === undefined ? undefined : `${key.name}: ${problem}`;
}

/** Checks keys over all three instances, each key over one. */
async function checkAll(pool: TestPool, keys: readonly Known[]): Promise<string[]> {
  const rest = [...keys];
  const wrong: string[] = [];
  const clients = await pool.clientOfEach();
  const drain = async (client: Client): Promise<void> => {
    for (let key = rest.pop(); key; key = rest.pop()) {
      const problem = await check(client, key);
      if (problem !== undefined) wrong.push(problem);
    }
    client.close();
  };
  await Promise.all(clients.map(drain));
  return wrong;
}

/** Kills the fabric somewhere in its start, which may also be just after its end. */
async function killInStart(pool: TestPool, dice: Dice): Promise<void> {
  const up = pool.launch();
  const moment = performance.now() + dice.below(START_MS);
  await until('the moment has come', () => performance.now() >= moment || up.exit !== undefined);
  expect({ exit: up.exit, output: up.output }).toMatchObject({ exit: undefined });
  up.signal('SIGKILL');
  await pool.allGone();
}

test(
  `${KILLS} kills of every process under load lose nothing that was acknowledged (seed ${SEED})`,
  async () => {
    const dice = new Dice(SEED);
    const lanes = Array.from({ length: CLIENTS }, (_, id) => new Lane(id, new Dice(dice.below(2 ** 31))));
    const acknowledged = (): number => lanes.reduce((sum, lane) => sum + lane.acknowledged, 0);
    const pool = new TestPool();
    let killedInStart = 0;
    try {
      await pool.start();
      for (let kill = 0; kill < KILLS; kill += 1) {
        const token = await pool.token();
        const goal = acknowledged() + dice.below(WORK_MAX);
        let over = false;
        const work = Promise.all(
          lanes.map(async (lane) => lane.run(await pool.client({ token, keepAlive: true }), () => over)),
        );
        await Promise.race([work, until('there is work to lose', () => acknowledged() >= goal)]);
        over = true;
        await Promise.all([pool.killAll(dice.shuffled([0, 1, 2, 3])), work]);
        for (; dice.below(3) === 0; killedInStart += 1) await killInStart(pool, dice);
        await pool.start();
        const changed = lanes.flatMap(({ keys }) => keys.filter((key) => key.changed));
        const wrong = await checkAll(pool, changed);
        expect({ seed: SEED, kill, wrong }).toEqual({ seed: SEED, kill, wrong: [] });
      }
      const keys = lanes.flatMap((lane) => lane.keys);
      expect({ seed: SEED, wrong: await checkAll(pool, keys) }).toEqual({ seed: SEED, wrong: [] });
      process.stderr.write(
        `${KILLS} kills under load, ${killedInStart} more in a start, ${keys.length} keys, ` +
          `${acknowledged()} acknowledged changes, seed ${SEED}\n`,
      );
      await pool.stop();
    } finally {
      await pool.remove();
    }
  },
  60_000 + KILLS * 20_000,
);

test(
  `a pool that is killed while it is founded can be started again (seed ${SEED})`,
  async () => {
    const dice = new Dice(SEED ^ 0x5eed);
    for (let round = 0; round < Math.ceil(KILLS / 8); round += 1) {
      const pool = new TestPool();
      try {
        for (let kill = 0; kill < 4; kill += 1) await killInStart(pool, dice);
        await pool.start();
        const client = await pool.client();
        const made = await client.call('POST', '/keys/first/create', { kty: 'EC' });
        expect({ seed: SEED, round, status: made.status }).toEqual({ seed: SEED, round, status: 200 });
        expect(await useKey(client, { name: 'first', jwk: at(made.body, 'key') })).toBeUndefined();
        await pool.stop();
      } finally {
        await pool.remove();
      }
    }
  },
  60_000 + KILLS * 20_000,
);
