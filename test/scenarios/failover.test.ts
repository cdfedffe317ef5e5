// Instances are killed again and again while keys are made: each time the others go on, the third comes back by itself,
// and every key that was acknowledged signs in all three slots. TRIVET_FAILOVERS says how many kills, TRIVET_SEED
// repeats a run.
import { randomBytes } from 'node:crypto';
import { at, ConnectionLost, Dice, seedOf, TestPool, until, type Client } from './pool.js';
import { Watch } from './watch.js';
import { base64url, bytesAt, codeOf, digestOf, isSignature, publicKeyOf } from './witness.js';

const KILLS = Number(process.env['TRIVET_FAILOVERS'] ?? 3);
const SEED = seedOf('TRIVET_SEED');
const CLIENTS = 4;
/** Acknowledged before the next kill, and while it is got over: 300 times that is what a pool may hold. */
const WORK_MAX = 8;
const WORK_MEANWHILE = 2 * CLIENTS;
/** What a name's last request came to. */
const CREATED = new Map<string, unknown>();
/** With all that they do one after the other. */
const SECONDS_EACH = 12;
const DAY_MS = 86_400_000;

let pool: TestPool;

beforeAll(async () => {
  pool = await TestPool.start();
}, 90_000);
afterAll(() => pool.remove());

/** So many keys may there be by now. */
let allowed = 0;

/** Makes keys until it is over. A request that is refused or lost is not asked again: its name is left alone. */
async function makeKeys(client: Client, lane: number, isOver: () => boolean): Promise<void> {
  for (let count = 0; ; count += 1) {
    await until(
      'another key may be made, or none any more',
      () => isOver() || CREATED.size < allowed,
      DAY_MS,
    );
    if (isOver()) return;
    const name = `lane-${lane}-${count}`;
    try {
      const { status, body, text } = await client.call('POST', `/keys/${name}/create`, { kty: 'EC' });
      if (status === 200) CREATED.set(name, at(body, 'key'));
      // Nothing but an outage may refuse this.
      else if (status !== 503 || codeOf(body) !== 'ServiceUnavailable') throw new Error(`${status} ${text}`);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }
}

/** What an instance does not have as it was acknowledged. */
async function wrongIn(client: Client, names: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const name of names) {
    const message = randomBytes(24);
    const value = base64url(digestOf('ES256', message));
    const { status, body, text } = await client.call('POST', `/keys/${name}/sign`, { alg: 'ES256', value });
    if (status !== 200) wrong.push(`${name}: ${status} ${text}`);
    else if (!isSignature('ES256', publicKeyOf(CREATED.get(name)), message, bytesAt(body, 'value'))) {
      wrong.push(`${name}: a signature of another key`);
    }
  }
  return wrong;
}

/** The same for all three, each asked at its own address. */
async function wrongAnywhere(watch: Watch, names: readonly string[]): Promise<string[]> {
  const clients = await watch.clientsOfEach(await pool.token());
  const all = await Promise.all(clients.map((client) => wrongIn(client, names)));
  clients.forEach((client) => client.close());
  return all.flatMap((wrong, instance) => wrong.map((one) => `instance ${instance}: ${one}`));
}

test(
  `${KILLS} kills of instances during writes lose nothing, and the pool is whole after each (seed ${SEED})`,
  async () => {
    const dice = new Dice(SEED);
    const watch = await Watch.of(pool);
    const token = await pool.token();
    let over = false;
    let checked = 0;
    const lanes = await Promise.all(Array.from({ length: CLIENTS }, () => pool.client({ token })));
    const work = Promise.all(lanes.map((client, lane) => makeKeys(client, lane, () => over)));
    const soon = (what: string, condition: () => boolean | Promise<boolean>) =>
      Promise.race([until(`${what} (seed ${SEED})`, condition), work]);
    try {
      for (let kill = 1; kill <= KILLS; kill += 1) {
        const goal = CREATED.size + dice.below(WORK_MAX);
        allowed = goal + CLIENTS;
        await soon('there is work to lose', () => CREATED.size >= goal);
        const victim = dice.below(3);
        const { pid } = await watch.instance(victim);
        if (pid === null) throw new Error(`instance ${victim} does not live before kill ${kill}`);
        const before = CREATED.size;
        allowed = before + WORK_MEANWHILE;
        pool.kill(pid);
        await soon(`writes go on after kill ${kill}`, () => CREATED.size > before + CLIENTS);
        await soon(`the pool is whole after kill ${kill}`, () => watch.isWhole());
        // What was made since the last look, while the writes go on; everything at the end.
        const recent = [...CREATED.keys()].slice(checked);
        checked += recent.length;
        const wrong = await wrongAnywhere(watch, recent);
        expect({ seed: SEED, kill, wrong }).toEqual({ seed: SEED, kill, wrong: [] });
      }
    } finally {
      over = true;
      await work;
      lanes.forEach((client) => client.close());
    }
    const wrong = await wrongAnywhere(watch, [...CREATED.keys()]);
    expect({ seed: SEED, wrong }).toEqual({ seed: SEED, wrong: [] });
    watch.end();
    process.stderr.write(`${KILLS} kills during writes, ${CREATED.size} acknowledged keys, seed ${SEED}\n`);
    await pool.stop();
  },
  60_000 + KILLS * SECONDS_EACH * 1_000,
);
