// Shares are uniform: fewer than the quorum say nothing about the secret. Once exactly, by trying every coefficient,
// and once as a statistic on the splitter with the randomness of a seed.
import { PRIME } from '../../src/security-domain/field.js';
import { Quorum } from '../../src/security-domain/quorum.js';
import { splitSecret, type Random } from '../../src/security-domain/shares.js';
import { seed, seeded, withSeed } from './seeded.js';

/** Beyond five standard deviations: one run in some millions fails by chance. */
const DEVIATIONS = 5;

/** Values of one share, without its number. */
function values(share: Buffer | undefined): number[] {
  if (!share) throw new Error('there is no such share');
  return Array.from({ length: share.length / 2 }, (_, i) => share.readUInt16LE(2 * i) & 0x1ff);
}

function histogram(seen: readonly number[], cells: number): Uint32Array {
  const counts = new Uint32Array(cells);
  for (const value of seen) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

/** How many standard deviations chi-square is from what is expected (Wilson and Hilferty). */
function deviation(chiSquare: number, freedom: number): number {
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(chiSquare / freedom) - (1 - spread)) / Math.sqrt(spread);
}

function fromUniform(counts: Uint32Array): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return deviation(chiSquare, counts.length - 1);
}

function fromEachOther(a: Uint32Array, b: Uint32Array): number {
  const chiSquare = a.reduce((sum, count, cell) => {
    const other = b[cell] ?? 0;
    return count + other === 0 ? sum : sum + (count - other) ** 2 / (count + other);
  }, 0);
  return deviation(chiSquare, a.length - 1);
}

/** Gives every 16-bit number in turn, beginning with one. */
function counter(next: number): Random {
  return (size) => {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i += 2) bytes.writeUInt16BE(next++ & 0xffff, i);
    return bytes;
  };
}

test('uniformity: every coefficient is drawn from equally many random numbers', () => {
  // The first share of a zero byte is its one coefficient. From 2 on: 65535 is drawn again, so that one number more is
  // needed than there are, and that is 2. Were it not drawn again, 0 would come once too often.
  const [share] = splitSecret(Buffer.alloc(65_536), Quorum.of(2, 3), counter(2));
  const counts = histogram(values(share), PRIME);
  const usual = Array.from(counts).filter((_, value) => value !== 2);
  expect([counts[2], new Set(usual)]).toEqual([256, new Set([255])]);
});

test.each([0x00, 0x2a, 0xff])(
  'uniformity: with two of three, every value of a share of %d comes from one coefficient',
  (byte) => {
    const every: Random = (() => {
      let next = 0;
      return () => {
        const bytes = Buffer.alloc(2);
        bytes.writeUInt16BE(next++);
        return bytes;
      };
    })();
    for (const share of splitSecret(Buffer.alloc(PRIME, byte), Quorum.of(2, 3), every)) {
      expect(new Set(values(share)).size).toBe(PRIME);
    }
  },
);

test.each([0x00, 0xff])(
  'uniformity: with three of three, every pair of values of two shares of %d comes from one polynomial',
  (byte) => {
    let next = 0;
    const every: Random = () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt16BE(Math.floor(next / PRIME));
      bytes.writeUInt16BE(next++ % PRIME, 2);
      return bytes;
    };
    const shares = splitSecret(Buffer.alloc(PRIME * PRIME, byte), Quorum.of(3, 3), every).map(values);
    for (const [i, j] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const pairs = shares[i]?.map((value, at) => value * PRIME + (shares[j]?.[at] ?? 0));
      expect(new Set(pairs).size).toBe(PRIME * PRIME);
    }
  },
);

test.each([
  [2, 3],
  [3, 5],
  [5, 7],
  [10, 10],
])(
  'uniformity: each share of %d of %d is uniform, for a secret of zeros and one of ones',
  (required, total) => {
    const quorum = Quorum.of(required, total);
    const count = 60_000;
    const [zeros, ones] = [0x00, 0xff].map((byte) =>
      splitSecret(Buffer.alloc(count, byte), quorum, seeded(`${required} of ${total}, ${byte}`)).map(
        (share) => histogram(values(share), PRIME),
      ),
    );
    withSeed(() => {
      for (let i = 0; i < total; i += 1) {
        const [zero, one] = [zeros?.[i], ones?.[i]];
        if (!zero || !one) throw new Error('a share is missing');
        for (const off of [fromUniform(zero), fromUniform(one), fromEachOther(zero, one)]) {
          expect(Math.abs(off)).toBeLessThan(DEVIATIONS);
        }
      }
    });
  },
);

test('uniformity: two shares of three, taken together, do not tell zeros from ones', () => {
  const count = 400_000; // six for each of the 66049 pairs
  const [zeros, ones] = [0x00, 0xff].map((byte) => {
    const shares = splitSecret(Buffer.alloc(count, byte), Quorum.of(3, 3), seeded(`pairs of ${byte}`));
    const [first, second] = [values(shares[0]), values(shares[2])];
    return histogram(
      first.map((value, at) => value * PRIME + (second[at] ?? 0)),
      PRIME * PRIME,
    );
  });
  withSeed(() => {
    if (!zeros || !ones) throw new Error('both are expected');
    for (const off of [fromUniform(zeros), fromUniform(ones), fromEachOther(zeros, ones)]) {
      expect(Math.abs(off)).toBeLessThan(DEVIATIONS);
    }
  });
});

test('uniformity: the statistic notices a leading coefficient that is never zero', () => {
  // What a splitter that wants "a real polynomial of that degree" would do; two shares then rule values out.
  const stream = seeded('never zero');
  const crooked: Random = (size) => {
    const bytes = Buffer.from(stream(size));
    for (let i = 0; i < size; i += 2) if (bytes.readUInt16BE(i) % PRIME === 0) bytes.writeUInt16BE(1, i);
    return bytes;
  };
  const [share] = splitSecret(Buffer.alloc(60_000), Quorum.of(2, 3), crooked);
  expect(fromUniform(histogram(values(share), PRIME))).toBeGreaterThan(DEVIATIONS);
  expect(seed).not.toBe('');
});
