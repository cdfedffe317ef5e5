// A custodian who is several people: one RSA private key, split so that some of them rebuild it. The split is that of
// an audited library over GF(256). It would join wrong shares to a wrong secret without a word, so a digest goes
// inside: a wrong share is noticed, and fewer shares than needed still tell nothing, the digest included.
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { combine, split } from 'shamir-secret-sharing';
import { assert } from '../values/assert.js';
import { equalBytes, wipe } from '../values/bytes.js';
import { rsaFromPrimes, primesOf, type RsaPrimes } from './rsa-primes.js';
import { SET_BYTES, setName, type KeyShare } from './printed-share.js';
import { SecurityDomainError, counted } from './problem.js';
import type { Random } from './shares.js';

const PEOPLE_MIN = 2;
/** Few enough that every choice of shares can be tried when one of them is wrong. */
const PEOPLE_MAX = 12;

const DIGEST_BYTES = 16;

/** Splits an RSA private key among `total` people, any `needed` of whom rebuild it. */
export async function splitKey(request: {
  readonly key: KeyObject;
  readonly needed: number;
  readonly total: number;
  readonly random: Random;
}): Promise<KeyShare[]> {
  const { key, needed, total, random } = request;
  checkPeople(needed, total);
  const secret = seal(primesOf(key));
  try {
    const shares = await split(secret, total, needed);
    const set = Buffer.from(random(SET_BYTES));
    return shares.map((data, index) => ({ set, needed, total, number: index + 1, data }));
  } finally {
    wipe(secret);
  }
}

/**
 * Rebuilds the key. Throws `TooFewShares` with the number of those that are missing, or `BadShare` for shares of
 * different keys or a wrong one; which one it is can be told when more than the needed shares are there.
 */
export async function joinKey(shares: readonly KeyShare[]): Promise<KeyObject> {
  const [first] = shares;
  if (!first) throw new SecurityDomainError('TooFewShares', 'no share was given', { missing: PEOPLE_MIN });
  checkTogether(shares, first);
  const distinct = shares.filter(
    ({ number }, index) => shares.findIndex((share) => share.number === number) === index,
  );
  const missing = first.needed - distinct.length;
  if (missing > 0) {
    throw new SecurityDomainError(
      'TooFewShares',
      `${first.needed} shares are needed and ${distinct.length} given; ${counted(missing, 'share')} missing`,
      { missing },
    );
  }
  for (const chosen of choices(distinct, first.needed)) {
    const primes = await tryJoin(chosen);
    if (!primes) continue;
    const wrong = await misfits(distinct, chosen);
    if (wrong.length === 0) return rsaFromPrimes(primes);
    wipe(primes.p, primes.q);
    throw badShare(
      `${wrong.length === 1 ? 'share' : 'shares'} ${wrong.join(', ')} of set ${setName(first.set)} ` +
        `${wrong.length === 1 ? 'is' : 'are'} wrong; leave out what is wrong and join the others`,
    );
  }
  const advice =
    distinct.length === first.needed
      ? `with one more share the wrong one can be told`
      : `no ${first.needed} of them fit together`;
  throw badShare(`one of the shares of set ${setName(first.set)} is wrong; ${advice}`);
}

/** Throws `BadShare` unless `needed` of `total` people can be had. */
export function checkPeople(needed: number, total: number): void {
  const whole = Number.isInteger(needed) && Number.isInteger(total);
  if (whole && total <= PEOPLE_MAX && needed >= PEOPLE_MIN && needed <= total) return;
  throw badShare(
    `a key is split among ${PEOPLE_MIN} to ${PEOPLE_MAX} people, of whom at least ${PEOPLE_MIN} are needed; ` +
      `${needed} of ${total} is not possible`,
  );
}

function checkTogether(shares: readonly KeyShare[], first: KeyShare): void {
  checkPeople(first.needed, first.total);
  for (const share of shares) {
    if (!share.set.equals(first.set)) {
      throw badShare(
        `shares of two keys are mixed: set ${setName(first.set)} and set ${setName(share.set)}; sort them first`,
      );
    }
    const twin = shares.find(({ number }) => number === share.number);
    if (
      share.needed !== first.needed ||
      share.total !== first.total ||
      share.data.length !== first.data.length ||
      share.number < 1 ||
      share.number > share.total ||
      (twin && !equalBytes(twin.data, share.data))
    ) {
      throw badShare(`share ${share.number} of set ${setName(first.set)} contradicts the others`);
    }
  }
}

async function tryJoin(shares: readonly KeyShare[]): Promise<RsaPrimes | undefined> {
  const data = shares.map((share) => Uint8Array.from(share.data));
  // Each share's last byte is its point; two of the same cannot both be right.
  if (new Set(data.map((bytes) => bytes[bytes.length - 1])).size !== data.length) return undefined;
  const secret = await combine(data);
  wipe(...data);
  try {
    return open(secret);
  } finally {
    wipe(secret);
  }
}

// The key is known by now. A share is wrong when it does not give that key in the place of one of the right ones.
async function misfits(all: readonly KeyShare[], right: readonly KeyShare[]): Promise<number[]> {
  const wrong: number[] = [];
  for (const share of all.filter((candidate) => !right.includes(candidate))) {
    const primes = await tryJoin([share, ...right.slice(1)]);
    if (!primes) wrong.push(share.number);
    wipe(primes?.p, primes?.q);
  }
  return wrong;
}

function* choices<T>(from: readonly T[], count: number): Generator<readonly T[]> {
  if (count === 0) yield [];
  else {
    for (const [index, first] of from.entries()) {
      for (const rest of choices(from.slice(index + 1), count - 1)) yield [first, ...rest];
    }
  }
}

// digest ‖ length of a prime ‖ p ‖ q ‖ e. The primes instead of the whole key: a fifth of what would have to be typed.
function seal({ p, q, e }: RsaPrimes): Uint8Array {
  assert(p.length === q.length, 'both primes are of one length');
  const length = Buffer.alloc(2);
  length.writeUInt16BE(p.length);
  const body = Buffer.concat([length, p, q, e]);
  const secret = Uint8Array.from(Buffer.concat([digest(body), body]));
  wipe(body, p, q);
  return secret;
}

function open(secret: Uint8Array): RsaPrimes | undefined {
  const body = Buffer.from(secret.subarray(DIGEST_BYTES));
  const right = body.length > 2 && equalBytes(digest(body), secret.subarray(0, DIGEST_BYTES));
  const length = right ? body.readUInt16BE(0) : 0;
  const [p, q, e] = [
    body.subarray(2, 2 + length),
    body.subarray(2 + length, 2 + 2 * length),
    body.subarray(2 + 2 * length),
  ];
  const primes = { p: Buffer.from(p), q: Buffer.from(q), e: Buffer.from(e) };
  wipe(body);
  return right ? primes : undefined;
}

function digest(body: Uint8Array): Buffer {
  return createHash('sha256').update('trivet split key').update(body).digest().subarray(0, DIGEST_BYTES);
}

function badShare(message: string): SecurityDomainError {
  return new SecurityDomainError('BadShare', message);
}
