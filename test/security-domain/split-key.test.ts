import { createPrivateKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { printShare, readShare, type KeyShare } from '../../src/security-domain/printed-share.js';
import { joinKey, splitKey } from '../../src/security-domain/split-key.js';
import { refusal } from './custodians.js';
import { vectors } from './vectors.js';

const pem = vectors.jwe_rsa.private_key_pem;
const key = createPrivateKey(pem);
const all = [0, 1, 2, 3, 4];

function split(needed: number, total: number): Promise<KeyShare[]> {
  return splitKey({ key, needed, total, random: randomBytes });
}

function pick(shares: readonly KeyShare[], indexes: readonly number[]): KeyShare[] {
  return indexes.flatMap((i) => shares[i] ?? []);
}

function spoilt(share: KeyShare | undefined, at = 10): KeyShare {
  if (!share) throw new Error('there is no such share');
  const data = Uint8Array.from(share.data);
  data[at] = (data[at] ?? 0) ^ 1;
  return { ...share, data };
}

test('split key: any needed number of people rebuild it, to the byte; one fewer do not', async () => {
  const shares = await split(3, 5);
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(all), async (chosen) => {
      const given = pick(shares, chosen);
      if (chosen.length >= 3) {
        expect((await joinKey(given)).export({ format: 'pem', type: 'pkcs8' })).toBe(pem);
      } else {
        expect((await refusal(() => joinKey(given))).code).toBe('TooFewShares');
      }
    }),
  );
});

test('split key: the number of missing shares is told, and the same share twice is one', async () => {
  const shares = await split(3, 5);
  const cases: [number[], number][] = [
    [[0], 2],
    [[0, 4], 1],
    [[2, 2, 2], 2],
  ];
  for (const [chosen, lacking] of cases) {
    const { missing, message } = await refusal(() => joinKey(pick(shares, chosen)));
    expect([missing, message]).toEqual([
      lacking,
      expect.stringContaining(lacking === 1 ? '1 share is missing' : `${lacking} shares are missing`),
    ]);
  }
  expect((await joinKey(pick(shares, [2, 2, 0, 4]))).equals(key)).toBe(true);
});

test('split key: a key of another size rebuilds to the byte, and one of another exponent works again', async () => {
  const usual = generateKeyPairSync('rsa', { modulusLength: 3_072 }).privateKey;
  const shares = await splitKey({ key: usual, needed: 2, total: 2, random: randomBytes });
  expect((await joinKey(shares)).export({ format: 'pem', type: 'pkcs8' })).toBe(
    usual.export({ format: 'pem', type: 'pkcs8' }),
  );
  // OpenSSL has two ways to choose the private exponent; the other one is as good.
  const odd = generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 });
  const joined = await joinKey(
    await splitKey({ key: odd.privateKey, needed: 2, total: 2, random: randomBytes }),
  );
  expect(
    verify('sha256', Buffer.from('text'), odd.publicKey, sign('sha256', Buffer.from('text'), joined)),
  ).toBe(true);
});

test('split key: a wrong share is noticed, wherever it is wrong', async () => {
  const shares = await split(2, 3);
  const length = shares[0]?.data.length ?? 0;
  for (const at of [0, 15, 16, 17, 18, 100, length - 2, length - 1]) {
    const { code, message } = await refusal(() => joinKey([spoilt(shares[0], at), ...pick(shares, [1])]));
    expect([code, message]).toEqual(['BadShare', expect.stringContaining('is wrong')]);
  }
});

test('split key: with shares to spare, the wrong ones are named', async () => {
  const shares = await split(3, 5);
  const one = [...pick(shares, [0, 1]), spoilt(shares[2]), ...pick(shares, [3])];
  expect((await refusal(() => joinKey(one))).message).toMatch(/^share 3 of set \w{8} is wrong/);
  // Each wrong in another byte: equal errors cancel out between some points, and the points are random.
  const two = [spoilt(shares[0]), ...pick(shares, [1, 2, 3]), spoilt(shares[4], 11)];
  expect((await refusal(() => joinKey(two))).message).toMatch(/^shares 1, 5 of set \w{8} are wrong/);
  const three = [...pick(shares, [0, 1]), spoilt(shares[2]), spoilt(shares[3], 11), spoilt(shares[4], 12)];
  expect((await refusal(() => joinKey(three))).message).toContain('no 3 of them fit together');
});

test('split key: shares that do not belong together are refused', async () => {
  const [shares, others] = [await split(2, 3), await split(2, 3)];
  const [first, second] = shares;
  if (!first || !second) throw new Error('three shares are expected');
  const cases: [KeyShare[], string][] = [
    [[first, ...pick(others, [1])], 'shares of two keys are mixed'],
    [[first, { ...second, needed: 3 }], 'contradicts'],
    [[first, { ...second, total: 4 }], 'contradicts'],
    [[first, { ...second, number: 0 }], 'contradicts'],
    [[first, { ...second, number: 4 }], 'contradicts'],
    [[first, { ...second, number: 1 }], 'contradicts'],
    [[first, { ...second, data: second.data.subarray(1) }], 'contradicts'],
    [[{ ...first, needed: 1 }], 'not possible'],
    [[first, { ...first, number: 2 }], 'is wrong'],
  ];
  for (const [given, says] of cases) {
    const { code, message } = await refusal(() => joinKey(given));
    expect([code, message]).toEqual(['BadShare', expect.stringContaining(says)]);
  }
  expect((await refusal(() => joinKey([]))).code).toBe('TooFewShares');
});

test('split key: impossible numbers of people, and keys that cannot be split, are refused', async () => {
  for (const [needed, total] of [
    [1, 3],
    [4, 3],
    [2, 13],
    [2.5, 3],
    [0, 0],
  ] as const) {
    expect((await refusal(() => split(needed, total))).message).toContain(
      `${needed} of ${total} is not possible`,
    );
  }
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const { code } = await refusal(() => splitKey({ key: ec, needed: 2, total: 3, random: randomBytes }));
  expect(code).toBe('BadKey');
});

test('printed share: what was printed is read again, whatever a careful typist makes of it', async () => {
  for (const share of await split(2, 3)) {
    const text = printShare(share, 'custodian-1');
    const typed = [
      text,
      text.replace(/^#.*\n/gm, ''),
      text.toLowerCase(),
      text.replace(
        /^(\d\d) {2}(.*)$/gm,
        (_, line: string, rest: string) => `${line}: ${rest.replace(/ /g, '-')}`,
      ),
      text.replace(/\n/g, '\r\n\r\n'),
      text.replace(/^(\d\d {2}.*)$/gm, (line) => line.replace(/0/g, 'o').replace(/1/g, 'l')),
      `\uFEFF${text.replace(/^(\d\d {2}.*)$/gm, (line) => ` ${line.replace(/1/g, 'I')}  `)}`,
    ];
    for (const form of typed)
      expect(readShare(form, 'file')).toEqual({ ...share, data: Buffer.from(share.data) });
  }
});

test('printed share: it fits on a page, and its lines are short enough to copy', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 4_096 });
  const [share] = await splitKey({ key: privateKey, needed: 2, total: 3, random: randomBytes });
  if (!share) throw new Error('three shares are expected');
  const lines = printShare(share, 'custodian-1').split('\n');
  expect(lines.length).toBeLessThan(60);
  expect(Math.max(...lines.filter((line) => !line.startsWith('#')).map((line) => line.length))).toBeLessThan(
    60,
  );
});

test('printed share: a slip is found in the line where it was made', async () => {
  const [share] = await split(2, 3);
  if (!share) throw new Error('three shares are expected');
  const lines = printShare(share, 'custodian-1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: lines.length - 1 }),
      fc.nat(),
      fc.integer({ min: 1, max: 31 }),
      async (number, where, step) => {
        const line = lines[number] ?? '';
        const places = Array.from(line, (character, at) =>
          at > 3 && alphabet.includes(character) ? at : -1,
        ).filter((at) => at >= 0);
        const at = places[where % places.length] ?? 0;
        const other = alphabet[(alphabet.indexOf(line.charAt(at)) + step) % 32] ?? '';
        const slipped = lines.with(number, line.slice(0, at) + other + line.slice(at + 1)).join('\n');
        // The last character of a line may have bits that stand for nothing.
        const read = await refusal(() => readShare(slipped, 'file')).catch(() => undefined);
        if (read)
          expect(read.message).toMatch(new RegExp(`line ${String(number).padStart(2, '0')} is mistyped|00`));
        else expect(readShare(slipped, 'file')).toEqual({ ...share, data: Buffer.from(share.data) });
      },
    ),
  );
});

test('printed share: missing, doubled, swapped and foreign lines are noticed', async () => {
  const [first, second] = await split(2, 3);
  if (!first || !second) throw new Error('three shares are expected');
  const bare = (share: KeyShare): string[] =>
    printShare(share, 'x')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
  const [lines, others] = [bare(first), bare(second)];
  const [three = '', four = ''] = lines.slice(3, 5);
  const cases: [string[], string][] = [
    [lines.toSpliced(3, 1), 'line 03 is missing'],
    [lines.slice(1), 'line 00 is missing'],
    [lines.slice(0, -1), 'the last lines are missing'],
    [lines.toSpliced(3, 0, three), 'line 04 is missing, or is not in its place'],
    [lines.with(3, four).with(4, three), 'line 03 is missing'],
    [lines.with(3, four.replace('04', '03')), 'line 03 is mistyped'],
    [lines.with(3, others[3] ?? ''), 'line 03 is mistyped'],
    [lines.with(0, others[0] ?? ''), 'line 01 is mistyped'],
    [lines.with(3, three.replace('=', '')), 'line 03 is not a number'],
    [lines.with(3, `03  U${three.slice(5)}`), 'line 03 has a character'],
    [[], 'not a key share'],
    [['hello'], 'line 00 is not'],
    [['00 AAAA =AAAA'], 'not a key share'],
  ];
  for (const [typed, says] of cases) {
    const { code, message } = await refusal(() => readShare(typed.join('\n'), 'file'));
    expect([code, message]).toEqual(['BadShare', expect.stringContaining(says)]);
  }
});
