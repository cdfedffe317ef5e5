// Shamir's secret sharing modulo 257, byte by byte, in the words of the security domain file: share number x of a
// byte is the unsigned 16-bit little-endian word (x << 9) | f(x), where f(0) is the byte and f(x) is 0..256.
// Fewer than the required shares say nothing about the secret, because every coefficient, the leading one included,
// is uniform.
import { wipe } from '../values/bytes.js';
import { add, evaluate, multiply, reduce, weights, type Element } from './field.js';
import { SecurityDomainError, counted } from './problem.js';
import type { Quorum } from './quorum.js';

/** A source of random bytes; in service that of the operating system. The caller wipes nothing: we do. */
export type Random = (size: number) => Uint8Array;

const VALUE_BITS = 9;
const VALUE_MASK = 0x1ff;
const NUMBER_MAX = 126;

interface Share {
  readonly x: Element;
  readonly values: Element[];
}

/** One share for each custodian, in order, twice as long as the secret. The caller wipes them. */
export function splitSecret(secret: Uint8Array, quorum: Quorum, random: Random): Buffer[] {
  const draw = new Coefficients(random);
  const shares = Array.from({ length: quorum.total }, () => Buffer.alloc(secret.length * 2));
  secret.forEach((byte, position) => {
    const polynomial = draw.take(quorum.required - 1);
    polynomial.push(byte);
    shares.forEach((share, index) => {
      const x = index + 1;
      share.writeUInt16LE((x << VALUE_BITS) | evaluate(polynomial, x), position * 2);
    });
    polynomial.fill(0);
  });
  return shares;
}

/**
 * The secret of `required` shares or more. Shares beyond the required ones are held against the others, so that a
 * wrong one is noticed. The caller wipes the secret and the shares.
 */
export function joinSecret(shares: readonly Uint8Array[], required: number): Buffer {
  const missing = required - shares.length;
  if (missing > 0) {
    throw new SecurityDomainError(
      'TooFewShares',
      `${required} shares are needed; ${counted(missing, 'share')} missing`,
      { missing },
    );
  }
  const read = shares.map(readShare);
  const length = read[0]?.values.length ?? 0;
  if (read.some(({ values }) => values.length !== length)) throw wrong('shares of different lengths');
  const numbers = new Set(read.map(({ x }) => x));
  if (numbers.size !== read.length) throw wrong('the same share twice');
  try {
    return interpolate(read.slice(0, required), read.slice(required), length);
  } finally {
    for (const { values } of read) values.fill(0);
  }
}

function interpolate(base: readonly Share[], rest: readonly Share[], length: number): Buffer {
  const xs = base.map(({ x }) => x);
  const valuesAt = (at: Element): Element[] => {
    const scale = weights(xs, at);
    return Array.from({ length }, (_, position) =>
      base.reduce((sum, { values }, i) => add(sum, multiply(scale[i] ?? 0, values[position] ?? 0)), 0),
    );
  };
  for (const { x, values } of rest) {
    const expected = valuesAt(x);
    // Differences are gathered and looked at once: where shares differ is nobody's business.
    const difference = values.reduce((sum, value, i) => sum | (value ^ (expected[i] ?? 0)), 0);
    expected.fill(0);
    if (difference !== 0) throw wrong(`share ${x} does not belong to the others`);
  }
  const secret = valuesAt(0);
  const overflow = secret.reduce((sum, value) => sum | (value >> 8), 0);
  const bytes = Buffer.from(secret);
  secret.fill(0);
  if (overflow !== 0) {
    wipe(bytes);
    throw wrong('shares that do not belong together');
  }
  return bytes;
}

function readShare(bytes: Uint8Array): Share {
  if (bytes.length === 0 || bytes.length % 2 !== 0) throw wrong('a share of impossible length');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Array.from({ length: bytes.length / 2 }, (_, i) => view.readUInt16LE(i * 2));
  const x = (words[0] ?? 0) >> VALUE_BITS;
  if (x < 1 || x > NUMBER_MAX) throw wrong(`a share with the number ${x}`);
  if (words.some((word) => word >> VALUE_BITS !== x)) throw wrong('a share with more than one number');
  const values = words.map((word) => word & VALUE_MASK);
  words.fill(0);
  if (values.some((value) => value > 256)) throw wrong(`a value above 256 in share ${x}`);
  return { x, values };
}

function wrong(what: string): SecurityDomainError {
  return new SecurityDomainError('BadShare', `the shares cannot be joined: ${what}`);
}

// Uniform elements out of uniform 16-bit numbers: 65535 is 255 times 257, so only the number 65535 is drawn again.
class Coefficients {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  take(count: number): Element[] {
    const bytes = this.#random(count * 2);
    const drawn: Element[] = [];
    for (let i = 0; i + 1 < bytes.length; i += 2) {
      const number = ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
      if (number !== 0xffff) drawn.push(reduce(number));
    }
    wipe(bytes);
    if (drawn.length < count) drawn.push(...this.take(count - drawn.length));
    return drawn;
  }
}
