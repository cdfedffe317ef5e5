import fc from 'fast-check';
import { Quorum } from '../../src/security-domain/quorum.js';
import { joinSecret, splitSecret, type Random } from '../../src/security-domain/shares.js';
import { refusal } from './custodians.js';
import { seeded } from './seeded.js';
import { hex, unhex, vectors } from './vectors.js';

/** Hands out these coefficients, as the splitter draws them. */
function coefficients(...drawn: readonly number[]): Random {
  let next = 0;
  return (size) => {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i += 2) bytes.writeUInt16BE(drawn[next++] ?? 0, i);
    return bytes;
  };
}

const quorums = fc
  .integer({ min: 3, max: 10 })
  .chain((total) => fc.integer({ min: 2, max: total }).map((required) => Quorum.of(required, total)));

test('shares: single bytes are split as published', () => {
  for (const { polynomial_high_to_low: polynomial, ...wanted } of vectors.shamir_byte.cases) {
    const shares = splitSecret(
      Buffer.of(wanted.secret_byte),
      Quorum.of(wanted.required, wanted.n),
      coefficients(...polynomial.slice(0, -1)),
    );
    expect(shares.map(hex)).toEqual(wanted.words_little_endian_hex);
    const first = joinSecret(shares.slice(0, wanted.required), wanted.required);
    const last = joinSecret(shares.slice(-wanted.required).reverse(), wanted.required);
    expect([first[0], last[0]]).toEqual([
      wanted.recovered_from_first_m,
      wanted.recovered_from_last_m_reversed,
    ]);
  }
});

test('shares: words are read as published, and values that are none are refused', async () => {
  for (const { word, x, value } of vectors.shamir_byte.reader) {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(word);
    // One share of one "required" shows the value itself; 256 is a value, but not a byte.
    if (value < 256) expect(joinSecret([bytes], 1)[0]).toBe(value);
    else {
      const { code, message } = await refusal(() => joinSecret([bytes], 1));
      expect([code, message]).toEqual([
        'BadShare',
        expect.stringContaining(value > 256 ? `above 256 in share ${x}` : 'do not belong together'),
      ]);
    }
  }
});

test('shares: secrets of 32 bytes are split and joined as published', () => {
  for (const published of vectors.shamir_secret.cases) {
    const { n, required, secret, shares } = published;
    const polynomials = published.polynomials_high_to_low_without_constant;
    if (polynomials !== 'omitted') {
      const made = splitSecret(unhex(secret), Quorum.of(required, n), coefficients(...polynomials.flat()));
      expect(made.map(hex)).toEqual(shares.map(({ bytes }) => bytes));
    }
    for (const { share_numbers: numbers, recovered } of published.recoveries_by_azure_cli) {
      const chosen = numbers.map((number) => unhex(shares.find(({ x }) => x === number)?.bytes ?? ''));
      expect(hex(joinSecret(chosen, required))).toBe(recovered);
    }
  }
});

test('shares: the published examples in words come out', () => {
  const words = (required: number, total: number, ...drawn: number[]): string[] =>
    splitSecret(Buffer.of(0x2a), Quorum.of(required, total), coefficients(...drawn)).map((share) =>
      share.readUInt16LE().toString(16),
    );
  expect(words(2, 3, 100)).toEqual(['28e', '4f2', '655']);
  expect(words(3, 4, 7, 100)).toEqual(['295', '40d', '694', '828']);
});

test('shares: any required number of them joins, in any order, and extra ones do no harm', () => {
  fc.assert(
    fc.property(
      quorums.chain((quorum) =>
        fc.tuple(
          fc.constant(quorum),
          fc.uint8Array({ minLength: 1, maxLength: 40 }),
          fc.shuffledSubarray(
            Array.from({ length: quorum.total }, (_, i) => i),
            { minLength: quorum.required },
          ),
          fc.string(),
        ),
      ),
      ([quorum, secret, chosen, purpose]) => {
        const shares = splitSecret(secret, quorum, seeded(purpose));
        const joined = joinSecret(
          chosen.flatMap((i) => shares[i] ?? []),
          quorum.required,
        );
        expect(hex(joined)).toBe(hex(secret));
      },
    ),
  );
});

test('shares: one fewer than required does not join, and says how many are missing', async () => {
  await fc.assert(
    fc.asyncProperty(
      quorums.chain((quorum) =>
        fc.tuple(
          fc.constant(quorum),
          fc.uint8Array({ minLength: 32, maxLength: 32 }),
          fc.shuffledSubarray(
            Array.from({ length: quorum.total }, (_, i) => i),
            { maxLength: quorum.required - 1 },
          ),
        ),
      ),
      async ([quorum, secret, chosen]) => {
        const shares = splitSecret(secret, quorum, seeded('too few'));
        const given = chosen.flatMap((i) => shares[i] ?? []);
        const { code, missing, message } = await refusal(() => joinSecret(given, quorum.required));
        const lacking = quorum.required - given.length;
        expect([code, missing]).toEqual(['TooFewShares', lacking]);
        expect(message).toContain(lacking === 1 ? '1 share is missing' : `${lacking} shares are missing`);
        // Nor does it when somebody lies about how many it takes.
        if (given.length > 1) {
          const guess = await Promise.resolve(given)
            .then((few) => hex(joinSecret(few, few.length)))
            .catch(() => 'no bytes');
          expect(guess).not.toBe(hex(secret));
        }
      },
    ),
  );
});

test('shares: what cannot be right is refused, not joined', async () => {
  const quorum = Quorum.of(3, 5);
  const secret = Buffer.alloc(32, 7);
  const [a, b, c, d] = splitSecret(secret, quorum, seeded('wrong shares'));
  const [, , , foreign] = splitSecret(secret, quorum, seeded('other shares'));
  if (!a || !b || !c || !d || !foreign) throw new Error('five shares are expected');
  const mixed = Buffer.concat([a.subarray(0, 32), b.subarray(32)]);
  const numberless = Buffer.alloc(64);
  const far = Buffer.alloc(64);
  for (let i = 0; i < 64; i += 2) far.writeUInt16LE((127 << 9) | 5, i);
  const cases: [shares: Uint8Array[], says: string][] = [
    [[a, b, b], 'the same share twice'],
    [[a, b, c, a], 'the same share twice'],
    [[a, b, c.subarray(0, 62)], 'different lengths'],
    [[a, b, c.subarray(0, 63)], 'impossible length'],
    [[a, b, Buffer.alloc(0)], 'impossible length'],
    [[a, b, mixed], 'more than one number'],
    [[a, b, numberless], 'the number 0'],
    [[a, b, far], 'the number 127'],
    [[a, b, c, foreign], 'share 4 does not belong'],
  ];
  for (const [shares, says] of cases) {
    const { code, message } = await refusal(() => joinSecret(shares, 3));
    expect([code, message]).toEqual(['BadShare', expect.stringContaining(says)]);
  }
  expect(joinSecret([a, b, c, d], 3).equals(secret)).toBe(true);
});

test('quorum: 3 to 10 custodians, of whom at least 2 are needed and at most all', async () => {
  for (const [required, total] of [
    [2, 3],
    [3, 3],
    [2, 10],
    [10, 10],
  ] as const) {
    expect(Quorum.of(required, total)).toEqual({ required, total });
  }
  for (const [required, total] of [
    [2, 2],
    [2, 11],
    [1, 3],
    [4, 3],
    [0, 3],
    [2.5, 3],
    [Number.NaN, 3],
    [-2, 5],
  ] as const) {
    expect((await refusal(() => Quorum.of(required, total))).code).toBe('BadCertificates');
  }
});
