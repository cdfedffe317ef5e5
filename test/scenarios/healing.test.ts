// Healing needs nobody: whatever happens to one instance, it is in sync again by itself, holds what the others hold,
// and signs with every key; what was acknowledged meanwhile is there, and no answer was wrong.
import { randomBytes } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, ConnectionLost, isAlive, TestPool, until, type Answer, type Client } from './pool.js';
import { makeKeys, useKey, type Made } from './use.js';
import { Watch } from './watch.js';
import { codeOf } from './witness.js';

const MINUTE = 60_000;
/** Between two changes of a writer. */
const PACE_MS = 150;

let pool: TestPool;
let watch: Watch;
let token: string;
let work: Work;
/** Keys of every type, from before any fault. */
let keys: Made[];

const home = (id: number): string => join(pool.directory, 'pools/dev/instances', String(id));
const partition = (id: number, ...path: string[]): string => join(home(id), 'partition', ...path);
const viewFile = (): string => join(pool.directory, 'pools/dev/view.json');
const image = (id: number): string => join(pool.home, `image-${id}`);

/** Outages and cut connections are what clients see of a fault, and nothing else. */
function isOutage(answer: Answer): boolean {
  return answer.status === 503 && codeOf(answer.body) === 'ServiceUnavailable';
}

/** Clients that go on creating, changing and using keys while instances come and go. */
class Work {
  readonly made: Made[] = [];
  /** The newest acknowledged tag, and those that got no answer since. */
  tag: string | undefined;
  readonly maybe = new Set<string>();
  /** Answers that no fault excuses. */
  readonly wrong: string[] = [];
  readonly #client: Client;
  readonly #keys: readonly Made[];
  readonly #done: Promise<unknown>;
  #checked = 0;
  #over = false;

  constructor(client: Client, used: readonly Made[]) {
    this.#client = client;
    this.#keys = used;
    this.#done = Promise.all([this.#write(), this.#use()]);
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#done;
  }

  /** What was acknowledged since this was asked last. */
  news(): Made[] {
    const from = this.#checked;
    this.#checked = this.made.length;
    return this.made.slice(from);
  }

  async #write(): Promise<void> {
    for (let turn = 0; !this.#over; turn += 1) {
      const name = `written-${turn}`;
      const created = await this.#ask('POST', `/keys/${name}/create`, { kty: 'EC' });
      if (created) this.made.push({ name, jwk: at(created.body, 'key') });
      const tag = String(turn);
      this.maybe.add(tag);
      if (await this.#ask('PATCH', '/keys/p-256', { tags: { turn: tag } })) {
        this.tag = tag;
        this.maybe.clear();
      }
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  async #use(): Promise<void> {
    for (let turn = 0; !this.#over; turn += 1) {
      const key = this.#keys[turn % this.#keys.length];
      if (!key) throw new Error('no key');
      try {
        const problem = await useKey(this.#client, key);
        if (problem !== undefined && !/^\w+ 503 .*ServiceUnavailable/.test(problem))
          this.wrong.push(`${key.name}: ${problem}`);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) this.wrong.push(`${key.name}: ${String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  async #ask(method: string, path: string, body: unknown): Promise<Answer | undefined> {
    try {
      const answer = await this.#client.call(method, path, body);
      if (answer.status === 200) return answer;
      if (!isOutage(answer)) this.wrong.push(`${method} ${path}: ${answer.status} ${answer.text}`);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) this.wrong.push(`${method} ${path}: ${String(error)}`);
    }
    return undefined;
  }
}

async function begin(): Promise<void> {
  token = await pool.token();
  watch = await Watch.of(pool);
}

beforeAll(async () => {
  pool = await TestPool.start();
  await begin();
  const client = await pool.client({ token });
  keys = await makeKeys(client);
  for (const id of [0, 1, 2]) cpSync(home(id), image(id), { recursive: true });
  work = new Work(client, keys);
}, 2 * MINUTE);

afterAll(async () => {
  await work.end();
  watch.end();
  await pool.remove();
}, MINUTE);

/** Every given key signs on all three, and the newest tag is there. */
async function expectAll(made: readonly Made[]): Promise<void> {
  const clients = await watch.clientsOfEach(token);
  for (const [id, client] of clients.entries()) {
    for (const key of made)
      expect([id, key.name, await useKey(client, key)]).toEqual([id, key.name, undefined]);
    client.close();
  }
}

async function expectWhole(): Promise<void> {
  await expectAll([...keys, ...work.news()]);
  expect(await watch.digest()).toMatchObject({ equal: true });
  expect(work.wrong.splice(0).slice(0, 5)).toEqual([]);
}

interface Fault {
  readonly what: string;
  readonly victim: () => number | Promise<number>;
  readonly happen: (id: number, pid: number) => void | Promise<void>;
  /** What the status says of it at first, while the instance is away. */
  readonly reason: RegExp;
  /** What it says of it later, where the instance cannot begin on what is left. */
  readonly later?: RegExp;
}

const backup = async (): Promise<number> => ((await watch.primary()) + 1) % 3;

/** All files below a directory. */
function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function removeFiles(directory: string): void {
  const files = filesIn(directory);
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) rmSync(file);
}

const workingTokens = (id: number): string[] =>
  readdirSync(partition(id, 'work')).map((copy) => partition(id, 'work', copy, 'tokens'));

const FAULTS: readonly Fault[] = [
  {
    what: 'SIGKILL of the primary',
    victim: () => watch.primary(),
    happen: (_id, pid) => pool.kill(pid),
    reason: /SIGKILL/,
  },
  { what: 'SIGKILL of a backup', victim: backup, happen: (_id, pid) => pool.kill(pid), reason: /SIGKILL/ },
  {
    what: 'SIGSTOP of a backup',
    victim: backup,
    happen: (_id, pid) => pool.kill(pid, 'SIGSTOP'),
    reason: /hung|waited for it/,
  },
  {
    what: 'SIGSTOP of the primary',
    victim: () => watch.primary(),
    happen: (_id, pid) => pool.kill(pid, 'SIGSTOP'),
    reason: /hung|waited for it/,
  },
  {
    what: '`partition wipe` of a backup',
    victim: backup,
    happen: (id) => watch.inflict('wipe', id),
    reason: /SIGKILL/,
  },
  {
    what: '`partition wipe` of the primary',
    victim: () => watch.primary(),
    happen: (id) => watch.inflict('wipe', id),
    reason: /SIGKILL/,
  },
  {
    what: 'the files of a running token removed',
    victim: backup,
    happen: (id) => workingTokens(id).forEach(removeFiles),
    reason: /token|slot|partition/i,
  },
  {
    what: "the files of the primary's running token removed",
    victim: () => watch.primary(),
    happen: (id) => workingTokens(id).forEach(removeFiles),
    reason: /token|slot|partition/i,
  },
  {
    what: 'all token files removed, the golden ones too',
    victim: backup,
    happen: (id, pid) => {
      removeFiles(partition(id, 'golden'));
      workingTokens(id).forEach(removeFiles);
      process.kill(pid, 'SIGKILL');
    },
    reason: /SIGKILL|does not open/, // whichever comes first
    later: /the token cannot be opened/,
  },
  {
    what: 'other PINs than those of the token',
    victim: backup,
    happen: (id, pid) => {
      const pins = JSON.parse(readFileSync(partition(id, 'pins.json'), 'utf8')) as object;
      const others = Object.fromEntries(
        Object.keys(pins).map((user) => [user, randomBytes(24).toString('base64url')]),
      );
      writeFileSync(partition(id, 'pins.json'), JSON.stringify(others));
      pool.kill(pid);
    },
    reason: /SIGKILL/,
    later: /the token cannot be opened/,
  },
  {
    what: 'garbage over the store',
    victim: backup,
    happen: (id, pid) => {
      writeFileSync(join(home(id), 'store/state.sqlite'), randomBytes(65_536));
      pool.kill(pid);
    },
    reason: /SIGKILL|malformed|not a database/, // whichever comes first
    later: /the (token|store) cannot be opened/,
  },
  {
    what: 'an earlier image in place of the directory',
    victim: backup,
    happen: (id, pid) => {
      renameSync(home(id), join(pool.home, 'replaced'));
      renameSync(image(id), home(id));
      process.kill(pid, 'SIGKILL');
    },
    reason: /SIGKILL|does not open/, // whichever comes first
  },
];

let seen = 0;
/** What the audit log of an instance has got to say of losses, since it was looked at last. */
function lossesIn(id: number): { instance: number; reason: string }[] {
  const lines = filesIn(join(home(id), 'audit')).flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  return lines
    .filter((line) => line.includes('"InstanceLost"'))
    .map((line) => JSON.parse(line) as { time: string; properties: { instance: number; reason: string } })
    .filter(({ time }) => Date.parse(time) >= seen)
    .map(({ properties }) => properties);
}
beforeEach(() => (seen = Date.now()));

it.each(FAULTS)(
  '$what: healed',
  async ({ victim, happen, reason, later }) => {
    const id = await victim();
    const { pid } = await watch.instance(id);
    if (pid === null) throw new Error(`instance ${id} does not run`);
    watch.reasons.delete(id);
    await happen(id, pid);
    await watch.untilHealed(id, pid);
    expect(isAlive(pid)).toBe(false);
    expect(watch.reasons.get(id)?.[0]).toMatch(reason);
    if (later) expect(watch.reasons.get(id)?.at(-1)).toMatch(later);
    expect((await watch.instance(id)).reason).toBeUndefined();
    const recorded = lossesIn((id + 1) % 3).filter(({ instance }) => instance === id);
    expect(recorded.at(later ? -1 : 0)?.reason).toMatch(later ?? reason);
    await expectWhole();
  },
  2 * MINUTE,
);

it(
  'killed again and again in its start, an instance is started after longer and longer, and heals',
  async () => {
    const id = await backup();
    const { pid, restarts } = await watch.instance(id);
    const killed: (number | null)[] = [pid];
    pool.kill(pid ?? -1);
    for (let turn = 0; turn < 3; turn += 1) {
      await watch.untilInstance(id, 'starts again', (status) => {
        // What it ended by is shown until it serves again.
        expect(status.reason ?? (killed.includes(status.pid) ? 'not seen yet' : undefined)).toMatch(
          /SIGKILL|not seen/,
        );
        if (status.pid === null || killed.includes(status.pid)) return false;
        expect(status.inSync).toBe(false);
        pool.kill(status.pid);
        killed.push(status.pid);
        return true;
      });
    }
    await watch.untilHealed(id, killed.at(-1) ?? null);
    expect((await watch.instance(id)).restarts).toBe(restarts + 4);
    await expectWhole();
  },
  2 * MINUTE,
);

describe('the fabric killed', () => {
  /** What was acknowledged, the newest tag among it. */
  async function expectAcknowledged(): Promise<void> {
    for (const id of [0, 1, 2]) await watch.untilInstance(id, 'is in sync', ({ inSync }) => inSync);
    await expectAll([...keys, ...work.made]);
    const { body } = await (await pool.client({ token })).call('GET', '/keys/p-256');
    expect([work.tag, ...work.maybe]).toContain(at(body, 'tags', 'turn'));
    expect(await watch.digest()).toMatchObject({ equal: true });
  }

  beforeAll(async () => {
    pool.kill(pool.up.pid);
    await pool.allGone();
    await work.end();
    watch.end();
    expect(work.made.length).toBeGreaterThan(30);
    expect(work.wrong).toEqual([]);
  }, MINUTE);

  it(
    'with all its instances, `up` brings back everything that was acknowledged',
    async () => {
      await pool.start();
      await begin();
      await expectAcknowledged();
    },
    2 * MINUTE,
  );

  it(
    'with one directory wiped meanwhile, too',
    async () => {
      watch.end();
      pool.kill(pool.up.pid);
      await pool.allGone();
      rmSync(home(2), { recursive: true });
      await pool.start();
      await begin();
      await expectAcknowledged();
    },
    2 * MINUTE,
  );

  it(
    'with a view that is one change old, it is refused and nothing is harmed',
    async () => {
      const older = readFileSync(viewFile(), 'utf8');
      const { epoch } = await watch.status();
      const gone = ((await watch.primary()) + 1) % 3;
      const { pid } = await watch.instance(gone);
      // The members go by the next view; the one that was killed is in the older view only.
      pool.kill(pid ?? -1);
      await until('the view has changed', async () => (await watch.status()).epoch > epoch);
      watch.end();
      const client = await pool.client({ token });
      let made: Made | undefined;
      await until('a change is acknowledged without it', async () => {
        const { status, body } = await client.call('POST', '/keys/in-the-next-view/create', { kty: 'EC' });
        if (status === 200) made = { name: 'in-the-next-view', jwk: at(body, 'key') };
        return made !== undefined;
      });
      pool.kill(pool.up.pid);
      await pool.allGone();
      const newer = readFileSync(viewFile(), 'utf8');
      expect(newer).not.toBe(older);
      writeFileSync(viewFile(), older);
      const up = pool.launch();
      const { code } = await up.exited;
      expect([code, up.output]).toEqual([
        1,
        expect.stringMatching(/view\.json .*older copy.*bring back the newest/s),
      ]);
      await pool.allGone();
      writeFileSync(viewFile(), newer);
      await pool.start();
      await begin();
      if (made) work.made.push(made);
      await expectAcknowledged();
    },
    3 * MINUTE,
  );
});
