// Ceremonies with real pools: who is first wins, on whichever instance; a pool waits for as long as it is left waiting;
// and killed in the middle of any of it, it goes on. TRIVET_CEREMONY_KILLS says how often each of it is killed; without
// it `up` is, one of the calls and one of the races, drawn by the seed. TRIVET_SEED repeats a run.
import { cpSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileIndependently } from '../security-domain/independent-reader.js';
import {
  backups,
  blobFor,
  custodians,
  downloadBody,
  makeCustodians,
  must,
  restore,
  takeCryptoRoles,
  waitingPool,
} from './ceremonies.js';
import { at, Client, ConnectionLost, Dice, seedOf, TestPool, text, type Answer } from './pool.js';
import { itemsOf } from './domain-secrets.js';
import { useKey, type Made } from './use.js';
import { codeOf } from './witness.js';

const MINUTE = 60_000;
const ROUNDS = process.env['TRIVET_CEREMONY_KILLS'];
const SEED = seedOf('TRIVET_SEED');
/** About as long as an upload takes here, and as long as a start. */
const UPLOAD_MS = 1_500;
const UP_MS = 4_000;

const safe = mkdtempSync(join(tmpdir(), 'trivet-safe-'));
/** Of the pool that was lost. */
const domain = join(safe, 'security-domain.json');
const keys = custodians(safe, 3, 'key');
/** Other custodians, for downloads. */
let certificates: string[];
let made: Made;
let backup: string;

beforeAll(async () => {
  const lost = await TestPool.start();
  const client = await lost.client();
  const { body } = await client.call('POST', '/keys/kept/create', { kty: 'EC' });
  made = { name: 'kept', jwk: at(body, 'key') };
  backup = (await backups(client, ['kept'])).get('kept') ?? '';
  cpSync(join(lost.directory, 'custodians'), safe, { recursive: true });
  await lost.remove();
  certificates = makeCustodians(join(safe, 'others'));
}, MINUTE);
afterAll(() => rmSync(safe, { recursive: true }));

function activationOf(pool: TestPool): unknown {
  return at(JSON.parse(must(pool.command('status', '--json'))), 'pools', 0, 'activation');
}

function download(client: Client, required = 2): Promise<Answer> {
  return client.call('POST', '/securitydomain/download', downloadBody(certificates, required));
}

function upload(client: Client, value: string): Promise<Answer> {
  return client.call('POST', '/securitydomain/upload', { value });
}

/** What two of the custodians who are not the lost pool's find in a file. */
function openedByOthers(file: string): ReturnType<typeof itemsOf> {
  const pair = [1, 3].map((number) => ({
    certificate: readFileSync(join(safe, 'others', `custodian-${number}.cer`), 'latin1'),
    privateKey: readFileSync(join(safe, 'others', `custodian-${number}.key`), 'latin1'),
  }));
  return itemsOf(file, pair);
}

/** Every instance answers for the same domain: the lost one's, or the pool's own. Gives which. */
async function domainOf(pool: TestPool): Promise<'restored' | 'own'> {
  const client = await pool.client();
  await takeCryptoRoles(pool, client);
  const answer = await restore(client, backup);
  expect([200, 400]).toContain(answer.status);
  const which = answer.status === 200 ? 'restored' : 'own';
  if (which === 'own') expect(codeOf(answer.body)).toBe('MalformedBackupBlob');
  const { status, body } = await client.call('POST', '/keys/fresh/create', { kty: 'EC' });
  expect(status).toBe(200);
  const usable = [{ name: 'fresh', jwk: at(body, 'key') }, ...(which === 'restored' ? [made] : [])];
  for (const [instance, each] of (await pool.clientOfEach()).entries()) {
    for (const key of usable) {
      expect([instance, key.name, await useKey(each, key)]).toEqual([instance, key.name, undefined]);
    }
    each.close();
  }
  for (const instance of ['0', '1', '2']) {
    const golden = join(pool.directory, 'pools/dev/instances', instance, 'partition/golden');
    expect(readdirSync(golden)).toHaveLength(1);
  }
  return which;
}

test(
  'ceremony: of three downloads at once, one on each instance, one activates the pool and only its file is given',
  async () => {
    const pool = await waitingPool();
    try {
      const answers = await Promise.all((await pool.clientOfEach()).map((client) => download(client)));
      // On a machine that is busy one may begin when another has ended: a download once more, of the same domain.
      const [first, ...more] = answers
        .filter(({ status }) => status === 202)
        .map(({ body }) => openedByOthers(text(body, 'value')));
      expect(first?.map(([tag]) => tag)).toEqual(['trivet_data_wrapping_key', 'trivet_internal_keys']);
      for (const each of more) expect(each).toEqual(first);
      for (const { status, text: words } of answers.filter(({ status }) => status !== 202)) {
        expect(status).toBe(409);
        expect(words).not.toContain('EncData');
      }
      for (const client of await pool.clientOfEach()) {
        const { status, body } = await client.call('GET', '/securitydomain/download/pending');
        expect([status, at(body, 'status')]).toEqual([200, 'Success']);
        client.close();
      }
      expect(await domainOf(pool)).toBe('own');
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

test(
  'ceremony: of an upload and a download at once one is taken, and every instance has what was taken',
  async () => {
    const pool = await waitingPool();
    try {
      const blob = blobFor(pool, domain, keys.slice(0, 2));
      const [a, b] = await pool.clientOfEach();
      if (!a || !b) throw new Error('three clients');
      const [down, up] = await Promise.all([download(a), upload(b, blob)]);
      expect([down.status, up.status].sort()).toEqual([202, 409]);
      expect(await domainOf(pool)).toBe(up.status === 202 ? 'restored' : 'own');
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

test(
  'ceremony: of two uploads at once one is taken, and the transfer key is one for all instances',
  async () => {
    const pool = await waitingPool();
    try {
      const clients = await pool.clientOfEach();
      const transfer = await Promise.all(
        clients.map((client) => client.call('GET', '/securitydomain/upload')),
      );
      expect(transfer.map(({ status }) => status)).toEqual([200, 200, 200]);
      const names = transfer.map(({ body }) => at(JSON.parse(text(body, 'transfer_key')), 'x5c', 0));
      expect(new Set(names).size).toBe(1);
      const blob = blobFor(pool, domain, keys.slice(1));
      const [, b, c] = clients;
      if (!b || !c) throw new Error('three clients');
      const uploads = await Promise.all([upload(b, blob), upload(c, blob)]);
      expect(uploads.map(({ status }) => status).sort()).toEqual([202, 409]);
      expect(await domainOf(pool)).toBe('restored');
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

test(
  'ceremony: a pool that is left waiting waits over restarts, without the option too, and takes no key meanwhile',
  async () => {
    const pool = await waitingPool();
    try {
      await pool.stop();
      pool.options = [];
      await pool.start();
      expect(pool.ready.pools[0]?.activation).toBe('NotActivated');
      const client = await pool.client();
      const { status, body } = await client.call('POST', '/keys/k/create', { kty: 'EC' });
      expect([status, at(body, 'error', 'innererror', 'code')]).toEqual([403, 'HsmNotActivated']);
      expect(readdirSync(pool.directory)).not.toContain('custodians');
      expect((await download(client)).status).toBe(202);
      expect(activationOf(pool)).toBe('Active');
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

test(
  'ceremony: what `up` makes is for its owner only, is said to lie there, and is not made again once it was carried away',
  async () => {
    const pool = await TestPool.found();
    try {
      const place = join(pool.directory, 'custodians');
      expect(statSync(place).mode & 0o777).toBe(0o700);
      const files = readdirSync(place);
      expect(files.sort()).toEqual(
        [1, 2, 3]
          .flatMap((number) => [`custodian-${number}.cer`, `custodian-${number}.key`])
          .concat('security-domain.json'),
      );
      for (const file of files.filter((name) => !name.endsWith('.cer'))) {
        expect([file, statSync(join(place, file)).mode & 0o777]).toEqual([file, 0o600]);
      }
      expect(pool.ready.warnings).toEqual([expect.stringContaining(`3 custodian keys lie in ${place}`)]);
      expect(must(pool.command('status'))).toContain('warning: 3 custodian keys lie in');
      renameSync(place, join(pool.home, 'carried away'));
      expect(must(pool.command('status'))).not.toContain('warning');
      await pool.stop();
      await pool.start();
      expect(readdirSync(pool.directory)).not.toContain('custodians');
      expect(pool.ready).not.toHaveProperty('warnings');
      expect(pool.ready.pools[0]?.activation).toBe('Active');
    } finally {
      await pool.remove();
    }
  },
  MINUTE,
);

describe(`ceremony: killed in the middle (seed ${SEED})`, () => {
  const dice = new Dice(SEED);
  const rounds = Array.from({ length: Number(ROUNDS ?? 1) }, (_, round) => round);
  const drawn = <T>(kinds: readonly T[]): readonly T[] => (ROUNDS === undefined ? [dice.pick(kinds)] : kinds);
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test.each(rounds)(
    'up, round %i: the next one goes on with the ceremony, and the file opens with the keys beside it',
    async () => {
      const pool = new TestPool();
      try {
        for (let kills = 1 + dice.below(2); kills > 0; kills -= 1) {
          const up = pool.launch();
          await Promise.race([sleep(UP_MS / 4 + dice.below(UP_MS)), up.exited]);
          up.signal('SIGKILL');
          await pool.allGone();
        }
        await pool.start();
        expect(pool.ready.pools[0]?.activation).toBe('Active');
        const place = join(pool.directory, 'custodians');
        const pair = [2, 3].map((number) => ({
          certificate: readFileSync(join(place, `custodian-${number}.cer`), 'latin1'),
          privateKey: readFileSync(join(place, `custodian-${number}.key`), 'latin1'),
        }));
        expect(
          readFileIndependently(readFileSync(join(place, 'security-domain.json'), 'utf8'), pair),
        ).toHaveLength(2);
        const client = await pool.client();
        expect((await client.call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
        expect(readdirSync(join(pool.directory, 'fabric'))).not.toContain('ceremony.json');
      } finally {
        await pool.remove();
      }
    },
    2 * MINUTE,
  );

  const answered = async (call: Promise<Answer>): Promise<number | undefined> => {
    try {
      return (await call).status;
    } catch (error) {
      if (error instanceof ConnectionLost) return undefined;
      throw error;
    }
  };

  const calls = drawn(['upload', 'download'] as const);
  test.each(rounds.flatMap((round) => calls.map((what) => ({ what, round }))))(
    '$what, round $round: it has happened on all instances or on none, and what was answered stands',
    async ({ what }) => {
      const pool = await waitingPool();
      try {
        const blob = blobFor(pool, domain, keys.slice(0, 2));
        const client = dice.pick(await pool.clientOfEach());
        const asked = answered(what === 'upload' ? upload(client, blob) : download(client));
        // Everything at once, or one instance before the rest.
        const first = dice.below(4);
        await sleep(dice.below(UPLOAD_MS));
        if (first < 3) {
          pool.kill(pool.instancePids[first] ?? -1);
          await sleep(dice.below(300));
        }
        await pool.killAll();
        const status = await asked;
        expect([undefined, 202, 503]).toContain(status);
        await pool.start();
        const activation = pool.ready.pools[0]?.activation;
        if (status === 202) expect(activation).toBe('Active');
        const again = await pool.client();
        if (activation === 'NotActivated') {
          // Nothing of it is left: the transfer key is the same, and the same blob is taken.
          expect((await upload(again, blob)).status).toBe(202);
        } else {
          const { body } = await again.call('GET', '/securitydomain/upload/pending');
          expect(at(body, 'status')).toBe('Success');
          expect((await upload(again, blob)).status).toBe(409);
        }
        const restored = what === 'upload' || activation === 'NotActivated';
        expect(await domainOf(pool)).toBe(restored ? 'restored' : 'own');
        // Whoever had no answer has the file made again.
        expect((await download(again)).status).toBe(202);
      } finally {
        await pool.remove();
      }
    },
    2 * MINUTE,
  );

  const races = drawn([
    ['download', 'download'],
    ['upload', 'download'],
    ['upload', 'upload'],
  ] as const);
  const turns = rounds.flatMap((round) =>
    races.map((race) => ({ race: race.join(' and '), asks: race, round })),
  );
  test.each(turns)(
    '$race at once, one instance dies, round $round: one at most was taken, and all have it after the next start',
    async ({ asks }) => {
      const pool = await waitingPool();
      try {
        const blob = blobFor(pool, domain, keys.slice(0, 2));
        const clients = dice.shuffled(await pool.clientOfEach());
        const replies: Answer[] = [];
        const asked = asks.map((what, place) => {
          const client = clients[place];
          if (!client) throw new Error('three clients');
          const call = what === 'upload' ? upload(client, blob) : download(client);
          return answered(call.then((answer) => (replies.push(answer), answer)));
        });
        await sleep(dice.below(UPLOAD_MS));
        const victim = dice.below(3);
        pool.kill(pool.instancePids[victim] ?? -1);
        const statuses = await Promise.all(asked);
        for (const status of statuses) expect([undefined, 202, 409, 503]).toContain(status);
        expect(statuses.filter((status) => status === 202).length).toBeLessThanOrEqual(1);
        // The fabric and the other two live on: they go on answering, and leave in order.
        expect(JSON.parse(must(pool.command('status', '--json')))).toMatchObject({
          pools: [{ name: 'dev' }],
        });
        await pool.stop();
        await pool.start();
        const taken = asks[statuses.indexOf(202)];
        const activation = pool.ready.pools[0]?.activation;
        if (taken !== undefined) expect(activation).toBe('Active');
        for (const { status, body, text: words } of replies) {
          if (status !== 202) expect(words).not.toContain('EncData');
          else if (taken === 'download') expect(openedByOthers(text(body, 'value'))).toHaveLength(2);
        }
        if (activation === 'NotActivated') expect((await upload(await pool.client(), blob)).status).toBe(202);
        const possible = new Set(taken === undefined ? asks : [taken]);
        if (activation === 'NotActivated') possible.clear();
        const which = await domainOf(pool);
        if (activation === 'NotActivated' || !possible.has('download')) expect(which).toBe('restored');
        else if (!possible.has('upload')) expect(which).toBe('own');
      } finally {
        await pool.remove();
      }
    },
    2 * MINUTE,
  );
});
