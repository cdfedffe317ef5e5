import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { custodianKey, readPrivateKey, type CustodianKey } from '../../src/security-domain/custodian.js';
import {
  makeSecurityDomain,
  openSecurityDomain,
  readSecurityDomain,
} from '../../src/security-domain/file.js';
import { makeCustodian, published, refusal, setOf, type Custodian } from './custodians.js';
import { readFileIndependently } from './independent-reader.js';
import { hex, unhex, vectors } from './vectors.js';

interface FileJson {
  EncData: { data: { compact_jwe: string; tag: string }[]; kdf: string };
  SharedKeys: { enc_shares: { enc_key: string; x5t_256: string }[]; key_algorithm: string; required: number };
  version?: number;
}

const items = [
  { tag: 'trivet_wrapping_key', payload: randomBytes(32) },
  { tag: 'trivet_domain', payload: randomBytes(1_000) },
  { tag: 'empty', payload: Buffer.alloc(0) },
];
const wanted = items.map(({ tag, payload }) => [tag, hex(payload)]);
const publishedText = JSON.stringify(vectors.end_to_end.security_domain_file);
const publishedItems = vectors.end_to_end.items.map(({ tag, plaintext }) => ({
  tag,
  payload: unhex(plaintext),
}));

let ten: readonly Custodian[];
beforeAll(async () => {
  const more = await Promise.all(Array.from({ length: 7 }, (_, i) => makeCustodian(`more-${i}`)));
  ten = [...published, ...more];
});

function keysOf(custodians: readonly Custodian[]): CustodianKey[] {
  return custodians.map(({ key }) => key);
}

/** The published file with something changed. */
function changed(change: (file: FileJson) => void): string {
  const file = structuredClone(vectors.end_to_end.security_domain_file) as unknown as FileJson;
  change(file);
  return JSON.stringify(file);
}

test('file: the published one opens with any two of its three keys, and with all', async () => {
  const file = readSecurityDomain(publishedText);
  expect(file.quorum).toEqual({ required: 2, total: 3 });
  const [a, b, c] = keysOf(published);
  for (const keys of [
    [a, b],
    [b, a],
    [c, a],
    [b, c],
    [a, b, c],
  ]) {
    expect(
      await openSecurityDomain(
        file,
        keys.flatMap((key) => key ?? []),
      ),
    ).toEqual(publishedItems);
  }
});

test('file: what the published reader refuses is refused, saying how many keys are missing', async () => {
  const file = readSecurityDomain(publishedText);
  for (const { keys: names } of vectors.end_to_end.refusals) {
    const keys = names.flatMap((name) => keysOf(published).find((key) => `${key.name}.key` === name) ?? []);
    expect(keys.length).toBe(names.length);
    const { code, missing, message } = await refusal(() => openSecurityDomain(file, keys));
    expect([code, missing, message]).toEqual([
      'TooFewShares',
      1,
      "2 custodians' keys are needed and 1 of this security domain given; 1 key is missing",
    ]);
  }
});

test('file: ours is in the published form, member for member', () => {
  const text = makeSecurityDomain({ set: setOf(published, 2), items, random: randomBytes });
  const file = JSON.parse(text) as FileJson;
  expect(file).toEqual({
    EncData: {
      data: items.map(({ tag }) => ({ compact_jwe: expect.any(String) as string, tag })),
      kdf: 'sp108_kdf',
    },
    SharedKeys: {
      enc_shares: published.map(({ certificate }) => ({
        enc_key: expect.any(String) as string,
        x5t_256: certificate.thumbprint,
      })),
      key_algorithm: 'shamir_share',
      required: 2,
    },
    version: 2,
  });
});

test('file: any quorum opens ours, with our reader and an independent one; one fewer does not', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 3, max: 10 }).chain((total) =>
        fc.record({
          total: fc.constant(total),
          chosen: fc.shuffledSubarray(
            Array.from({ length: total }, (_, i) => i),
            { minLength: 2 },
          ),
        }),
      ),
      async ({ total, chosen }) => {
        const custodians = ten.slice(0, total);
        const present = chosen.flatMap((i) => custodians[i] ?? []);
        const required = present.length;
        const text = makeSecurityDomain({
          set: setOf(custodians, required),
          items,
          random: randomBytes,
        });
        const file = readSecurityDomain(text);
        expect(await openSecurityDomain(file, keysOf(present))).toEqual(items);
        expect(
          readFileIndependently(
            text,
            present.map(({ files }) => files),
          ),
        ).toEqual(wanted);
        const { code, missing } = await refusal(() => openSecurityDomain(file, keysOf(present.slice(1))));
        expect([code, missing]).toEqual(['TooFewShares', 1]);
      },
    ),
    { numRuns: 25 },
  );
});

test('file: a second one under other certificates carries the same, and its keys do not mix with the first', async () => {
  const first = makeSecurityDomain({ set: setOf(ten.slice(0, 3), 2), items, random: randomBytes });
  const second = makeSecurityDomain({ set: setOf(ten.slice(3, 8), 3), items, random: randomBytes });
  expect(await openSecurityDomain(readSecurityDomain(first), keysOf(ten.slice(0, 2)))).toEqual(items);
  expect(await openSecurityDomain(readSecurityDomain(second), keysOf(ten.slice(4, 7)))).toEqual(items);
  const mixed = keysOf([...ten.slice(0, 1), ...ten.slice(3, 5)]);
  const { missing, message } = await refusal(() => openSecurityDomain(readSecurityDomain(second), mixed));
  expect([missing, message]).toEqual([1, expect.stringContaining('sd1 is of another security domain')]);
  // Keys of others do no harm when there are enough of the right ones.
  expect(
    await openSecurityDomain(readSecurityDomain(second), [...mixed, ...keysOf(ten.slice(5, 6))]),
  ).toEqual(items);
});

test('file: with none of the right keys all of the quorum is missing', async () => {
  const file = readSecurityDomain(publishedText);
  for (const keys of [[], keysOf(ten.slice(3))]) {
    const { missing, message } = await refusal(() => openSecurityDomain(file, keys));
    expect([missing, message]).toEqual([2, expect.stringContaining('2 keys are missing')]);
  }
});

test('file: a text in base64url, with a mark or with spaces is read too', () => {
  const forms = [
    Buffer.from(publishedText).toString('base64url'),
    `\uFEFF${publishedText}\n`,
    JSON.stringify(vectors.end_to_end.security_domain_file, null, 2),
  ];
  for (const form of forms) expect(readSecurityDomain(form)).toEqual(readSecurityDomain(publishedText));
});

test('file: what is no security domain file is refused, naming what is wrong', async () => {
  const cases: [text: string, says: string][] = [
    ['', 'not a security domain file'],
    ['{', 'not a security domain file'],
    ['null', 'not a security domain file'],
    ['{}', 'EncData'],
    [vectors.end_to_end.uploads[0]?.upload_value ?? '', 'this is a restore blob'],
    [changed((file) => (file.version = 1)), 'version'],
    [changed((file) => (file.EncData.kdf = 'hkdf')), 'EncData.kdf'],
    [changed((file) => (file.EncData.data = [])), 'EncData.data'],
    [
      changed((file) => (file.EncData.data[1] = file.EncData.data[0] ?? { compact_jwe: '', tag: '' })),
      'twice',
    ],
    [changed((file) => (file.SharedKeys.key_algorithm = 'xor')), 'SharedKeys.key_algorithm'],
    [changed((file) => (file.SharedKeys.required = 1)), 'quorum of 1'],
    [changed((file) => (file.SharedKeys.required = 4)), 'quorum of 4'],
    [changed((file) => (file.SharedKeys.required = 2.5)), 'quorum of 2.5'],
    [changed((file) => (file.SharedKeys.enc_shares.length = 2)), '2 shares'],
    [
      changed((file) =>
        file.SharedKeys.enc_shares.fill(file.SharedKeys.enc_shares[0] ?? { enc_key: '', x5t_256: '' }),
      ),
      'two shares',
    ],
  ];
  for (const [text, says] of cases) {
    const { code, message } = await refusal(() => readSecurityDomain(text));
    expect([code, message]).toEqual(['BadFile', expect.stringContaining(says)]);
  }
});

test('file: a damaged share counts as missing, a damaged item is named, swapped ones are noticed', async () => {
  const spoil = (jwe: string): string => `${jwe.slice(0, -8)}AAAAAAAA`;
  const [a, b, c] = keysOf(published);
  if (!a || !b || !c) throw new Error('the vectors have three');
  const share = readSecurityDomain(
    changed(
      ({
        SharedKeys: {
          enc_shares: [first],
        },
      }) => {
        if (first) first.enc_key = spoil(first.enc_key);
      },
    ),
  );
  const { code, message } = await refusal(() => openSecurityDomain(share, [a, b]));
  expect([code, message]).toEqual(['TooFewShares', expect.stringContaining('the share of sd1 is damaged')]);
  expect(await openSecurityDomain(share, [a, b, c])).toEqual(publishedItems);

  const item = readSecurityDomain(
    changed(({ EncData: { data } }) => {
      if (data[1]) data[1].compact_jwe = spoil(data[1].compact_jwe);
    }),
  );
  expect((await refusal(() => openSecurityDomain(item, [a, b]))).message).toContain('"second item"');

  const swapped = readSecurityDomain(
    changed(({ EncData: { data } }) => {
      if (data[0] && data[1]) [data[0].tag, data[1].tag] = [data[1].tag, data[0].tag];
    }),
  );
  expect((await refusal(() => openSecurityDomain(swapped, [a, b]))).code).toBe('BadFile');
});

test('file: a share of another file under the right certificate is noticed', async () => {
  const other = JSON.parse(
    makeSecurityDomain({ set: setOf(published, 2), items, random: randomBytes }),
  ) as FileJson;
  const file = readSecurityDomain(
    changed(({ SharedKeys: { enc_shares: shares } }) => {
      shares[0] = other.SharedKeys.enc_shares[0] ?? { enc_key: '', x5t_256: '' };
    }),
  );
  const [a, b, c] = keysOf(published);
  if (!a || !b || !c) throw new Error('the vectors have three');
  const two = await refusal(() => openSecurityDomain(file, [a, b]));
  expect(['BadShare', 'BadFile']).toContain(two.code);
  expect((await refusal(() => openSecurityDomain(file, [a, b, c]))).code).toBe('BadShare');
  expect(await openSecurityDomain(file, [b, c])).toEqual(publishedItems);
});

test('file: the master key and the coefficients are overwritten when it is made, whether that works or not', () => {
  const drawn: Buffer[] = [];
  const random = (size: number): Buffer => {
    const bytes = randomBytes(size);
    drawn.push(bytes);
    return bytes;
  };
  const set = setOf(published, 2);
  makeSecurityDomain({ set, items, random });
  expect(() => makeSecurityDomain({ set, items: [...items, ...items], random })).toThrow('tag of its own');
  expect(drawn.length).toBeGreaterThan(2);
  expect(drawn.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
});

test('file: a private key that does not answer is heard, not taken for a wrong share', async () => {
  const [first] = published;
  if (!first) throw new Error('the vectors have three');
  const key = custodianKey(
    'sd1',
    first.certificate,
    readPrivateKey(Buffer.from(first.files.privateKey), 'sd1'),
  );
  const silent = { ...key, unwrap: () => Promise.reject(new Error('the card was drawn')) };
  await expect(openSecurityDomain(readSecurityDomain(publishedText), [silent])).rejects.toThrow('card');
});
