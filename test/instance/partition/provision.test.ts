// Tokens as they are made, joined and kept: by real provisioner processes, looked at by another program.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TokenDirectory } from '../../../src/instance/partition/token.js';
import { newUuid } from '../../../src/values/ids.js';
import type { KeySpec } from '../../../src/values/key-spec.js';
import {
  Elsewhere,
  emptyPlace,
  filesIn,
  foundedPlace,
  makeDirectory,
  removeDirectories,
  type Founded,
} from './places.js';
import { modulePath } from './place.js';

afterEach(removeDirectories);

const MINUTE = 60_000;
const aes: KeySpec = { kty: 'oct-HSM', size: 256 };
const ec: KeySpec = { kty: 'EC-HSM', curve: 'P-256' };

interface Seen {
  readonly before: Record<string, unknown>;
  readonly after: Record<string, Record<string, unknown>>;
}

/** What an independent program finds in a copy of the golden token. */
async function witness({ tokens, domain }: Founded): Promise<Seen> {
  const copy = await tokens.copy(domain);
  const { user } = await tokens.pins();
  const output = await new Promise<string>((resolve, reject) => {
    execFile(
      process.execPath,
      [join(__dirname, 'programs', 'witness.cjs'), modulePath, user],
      { env: { ...process.env, SOFTHSM2_CONF: copy.configuration }, timeout: MINUTE },
      (error, stdout, stderr) => {
        if (error) reject(new Error(stderr, { cause: error }));
        else resolve(stdout);
      },
    );
  });
  await copy.remove();
  return JSON.parse(output) as Seen;
}

/** A member that joins the domain of another. */
async function joined(donor: Founded): Promise<Founded> {
  const place = await emptyPlace();
  const joining = await place.provision.join();
  const wrapped = await donor.provision.donate(donor.domain, joining.key);
  await joining.finish(wrapped, donor.domain);
  return { ...place, domain: donor.domain };
}

describe('provision', () => {
  test('an empty directory has no domain; a founded one has its golden token and nothing else', async () => {
    const place = await emptyPlace();
    expect(await place.tokens.domains()).toEqual([]);
    const domain = newUuid();
    await place.provision.found(domain);
    expect(await place.tokens.domains()).toEqual([domain]);
    expect(readdirSync(place.path).sort()).toEqual(['golden', 'pins.json', 'work']);
    expect(readdirSync(join(place.path, 'work'))).toEqual([]);
  });

  test('PINs are random, made once, and in a file that only its owner reads', async () => {
    const [a, b] = await Promise.all([emptyPlace(), emptyPlace()]);
    const pins = await a.tokens.pins();
    expect(await a.tokens.pins()).toEqual(pins);
    expect(Object.keys(pins).sort()).toEqual(['so', 'user']);
    expect(pins.so).not.toBe(pins.user);
    expect(pins.so).toHaveLength(32);
    expect((await b.tokens.pins()).user).not.toBe(pins.user);
    expect(statSync(join(a.path, 'pins.json')).mode & 0o777).toBe(0o600);
    for (const part of ['golden', 'work']) expect(statSync(join(a.path, part)).mode & 0o777).toBe(0o700);
  });

  test('the keys in the token are what we say they are, as another program sees them', async () => {
    const founded = await foundedPlace();
    const dwk = {
      class: 4,
      keyType: 31,
      token: true,
      private: true,
      trusted: true,
      sensitive: true,
      extractable: true,
      neverExtractable: false,
      modifiable: false,
      wrap: true,
      unwrap: true,
      encrypt: false,
      decrypt: false,
      sign: false,
      verify: false,
      derive: false,
      value: 'CKR_ATTRIBUTE_SENSITIVE',
    };
    const storeKey = {
      ...dwk,
      keyType: 16,
      trusted: false,
      extractable: false,
      neverExtractable: true,
      wrap: false,
      unwrap: false,
      sign: true,
    };
    // A private key has no right to encrypt or verify that it could be given, and is never trusted.
    const missing = 'CKR_ATTRIBUTE_TYPE_INVALID';
    const partitionKey = {
      ...storeKey,
      class: 3,
      keyType: 0,
      trusted: missing,
      encrypt: missing,
      verify: missing,
      wrap: missing,
      value: missing,
      privateExponent: 'CKR_ATTRIBUTE_SENSITIVE',
      prime1: 'CKR_ATTRIBUTE_SENSITIVE',
    };
    for (const place of [founded, await joined(founded)]) {
      const { before, after } = await witness(place);
      // Without the PIN there is nothing to be seen, and with it nothing more than this.
      expect(before).toEqual({});
      expect(Object.keys(after).sort()).toEqual(['data-wrapping-key', 'partition-key', 'store-key']);
      expect(after['data-wrapping-key']).toMatchObject(dwk);
      expect(after['store-key']).toMatchObject(storeKey);
      expect(after['partition-key']).toMatchObject(partitionKey);
    }
  });

  test(
    'a joined partition opens what the others sealed, and the other way round; its store key is its own',
    async () => {
      const first = await foundedPlace();
      const second = await joined(first);
      // A member that joined is as good a donor as the one that founded.
      const third = await joined(second);
      const partitions: Elsewhere[] = [];
      for (const place of [first, second, third]) partitions.push(await Elsewhere.open(place));
      const [a, b, c] = partitions;
      if (!a || !b || !c) throw new Error('three partitions');
      for (const [id, maker, user] of [
        ['k/1', a, b],
        ['k/2', b, c],
        ['k/3', c, a],
      ] as const) {
        const made = await maker.call('generate', id, aes);
        await user.call('prove', made);
        const text = randomBytes(40);
        const { ciphertext, iv, tag } = await maker.call('encryptAesGcm', made, text);
        expect(await user.call('decryptAesGcm', made, ciphertext, iv, tag)).toEqual(text);
        await user.call('prove', await maker.call('generate', `${id}ec`, ec));
      }
      const secrets = [];
      for (const partition of partitions)
        secrets.push((await partition.call('deriveSecret', 'store')).toString('hex'));
      expect(new Set(secrets).size).toBe(3);
      for (const partition of partitions) await partition.close();
    },
    2 * MINUTE,
  );

  test('partitions of different domains do not open what the other sealed', async () => {
    const a = await Elsewhere.open(await foundedPlace());
    const made = await a.call('generate', 'k/1', aes);
    await a.close();
    const b = await Elsewhere.open(await foundedPlace());
    await expect(b.call('prove', made)).rejects.toThrow('SlotFailed');
    await b.close();
  });

  test('the secret for one purpose is the same at every start, and another for another purpose', async () => {
    const founded = await foundedPlace();
    const secrets = [];
    for (const purpose of ['store', 'store', 'other']) {
      const partition = await Elsewhere.open(founded);
      secrets.push((await partition.call('deriveSecret', purpose)).toString('hex'));
      await partition.close();
    }
    expect(secrets[0]).toHaveLength(64);
    expect(secrets[1]).toBe(secrets[0]);
    expect(secrets[2]).not.toBe(secrets[0]);
  });

  test('a key wrapped for somebody else, or garbage, makes no token', async () => {
    const donor = await foundedPlace();
    const [place, other] = await Promise.all([emptyPlace(), emptyPlace()]);
    const joining = await place.provision.join();
    const strange = await other.provision.join();
    const wrapped = await donor.provision.donate(donor.domain, strange.key);
    await expect(joining.finish(wrapped, donor.domain)).rejects.toThrow('the token cannot be provisioned');
    await joining.abandon();
    await strange.abandon();
    for (const { path, tokens } of [place, other]) {
      expect(await tokens.domains()).toEqual([]);
      expect(readdirSync(join(path, 'work'))).toEqual([]);
    }
  });

  test('a donor gives nothing to a key that is none', async () => {
    const donor = await foundedPlace();
    const key = { modulus: Buffer.alloc(0), exponent: Buffer.of(3) };
    await expect(donor.provision.donate(donor.domain, key)).rejects.toThrow('cannot be provisioned');
    expect(readdirSync(join(donor.path, 'work'))).toEqual([]);
  });

  test('a module that is none makes no token and leaves nothing', async () => {
    const place = await emptyPlace();
    const { Provision } = await import('../../../src/instance/partition/provision.js');
    const provision = new Provision(place.tokens, join(place.path, 'missing.so'));
    await expect(provision.found(newUuid())).rejects.toThrow('the token cannot be provisioned');
    await expect(provision.join()).rejects.toThrow('the token cannot be provisioned');
    expect(await place.tokens.domains()).toEqual([]);
    expect(readdirSync(join(place.path, 'work'))).toEqual([]);
  });
});

describe('token directory', () => {
  test('the golden token is not touched by serving', async () => {
    const founded = await foundedPlace();
    const golden = join(founded.path, 'golden');
    const before = filesIn(golden);
    expect(Object.keys(before).length).toBeGreaterThan(2);
    const partition = await Elsewhere.open(founded);
    for (let round = 0; round < 20; round += 1) {
      const made = await partition.call('generate', `k/${round}`, ec);
      await partition.call('sign', made, 'ES256', randomBytes(32));
    }
    await partition.close();
    expect(filesIn(golden)).toEqual(before);
    expect(readdirSync(join(founded.path, 'work'))).toEqual([]);
  });

  test('working copies that were left behind are removed at the next start', async () => {
    const path = makeDirectory();
    const tokens = await TokenDirectory.open(path);
    const copy = await tokens.blank();
    writeFileSync(join(copy.tokens, 'left'), 'behind');
    expect(existsSync(copy.configuration)).toBe(true);
    await TokenDirectory.open(path);
    expect(readdirSync(join(path, 'work'))).toEqual([]);
  });

  test('every copy is private and its own', async () => {
    const founded = await foundedPlace();
    const [a, b] = await Promise.all([
      founded.tokens.copy(founded.domain),
      founded.tokens.copy(founded.domain),
    ]);
    expect(a.tokens).not.toBe(b.tokens);
    expect(readFileSync(a.configuration, 'utf8')).toContain(`directories.tokendir = ${a.tokens}\n`);
    expect(Object.values(filesIn(a.tokens))).toEqual(Object.values(filesIn(b.tokens)));
    expect(statSync(join(a.tokens, '..')).mode & 0o777).toBe(0o700);
    await a.remove();
    expect(existsSync(a.tokens)).toBe(false);
    expect(existsSync(b.tokens)).toBe(true);
  });

  test('a domain is a UUID', async () => {
    const place = await emptyPlace();
    const copy = await place.tokens.blank();
    await expect(place.tokens.promote(copy, '../elsewhere')).rejects.toThrow('a domain id is a UUID');
  });
});

/** Parent and state of a process; undefined when there is none. */
function statusOf(pid: string | number): { parent: number; state: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(parent), state };
  } catch {
    return undefined;
  }
}

async function eventually<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The provisioner of a running instance, once it is what it is to be: the signal is armed on the way. */
function provisionerOf(instance: ChildProcess): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && statusOf(name)?.parent === instance.pid)
    .map(Number)
    .find((pid) => commandOf(pid).startsWith(process.execPath));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}

test(
  'provisioner: an instance that is killed leaves none behind, one that stands still neither',
  async () => {
    let provisioner: number | undefined;
    let instance: ChildProcess;
    // On a machine that is busy one may come and go unseen: then another instance has one.
    do {
      instance = spawn(
        process.execPath,
        [join(__dirname, 'programs/found.cjs'), makeDirectory(), newUuid(), modulePath],
        { stdio: 'ignore' },
      );
      const { pid = -1 } = instance;
      provisioner = await eventually(() =>
        ['Z', 'X', undefined].includes(statusOf(pid)?.state) ? 0 : provisionerOf(instance),
      );
    } while (provisioner === 0);
    const stopped = provisioner;
    process.kill(stopped, 'SIGSTOP');
    instance.kill('SIGKILL');
    await eventually(() => (['Z', 'X', undefined].includes(statusOf(stopped)?.state) ? true : undefined));
  },
  MINUTE,
);
