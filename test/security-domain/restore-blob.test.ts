import { createPrivateKey, randomBytes } from 'node:crypto';
import { readSecurityDomain, makeSecurityDomain } from '../../src/security-domain/file.js';
import { sealItems } from '../../src/security-domain/items.js';
import { sealTo } from '../../src/security-domain/jwe.js';
import { unwrapWith } from '../../src/security-domain/custodian.js';
import {
  makeRestoreBlob,
  openRestoreBlob,
  type ExpectedBlob,
} from '../../src/security-domain/restore-blob.js';
import { exchange, published, refusal, setOf } from './custodians.js';
import { readBlobIndependently } from './independent-reader.js';
import { hex, unhex, vectors } from './vectors.js';

interface BlobJson {
  EncData: { data: { compact_jwe: string; tag: string }[]; kdf: string };
  WrappedKey: { enc_key: string; x5t_256: string };
}

const file = readSecurityDomain(JSON.stringify(vectors.end_to_end.security_domain_file));
const wanted = vectors.end_to_end.items.map(({ tag, plaintext }) => ({ tag, payload: unhex(plaintext) }));
const keys = published.map(({ key }) => key);
const expected: ExpectedBlob = {
  thumbprint: exchange.certificate.thumbprint,
  tags: wanted.map(({ tag }) => tag),
  unwrapKey: unwrapWith(createPrivateKey(exchange.files.privateKey)),
};

async function freshBlob(): Promise<BlobJson> {
  const text = await makeRestoreBlob({ file, keys, exchange: exchange.certificate, random: randomBytes });
  return JSON.parse(text) as BlobJson;
}

test('restore blob: those of the published client open', async () => {
  expect(vectors.end_to_end.uploads.length).toBeGreaterThan(0);
  for (const { upload_value: text, items_after_decryption: items } of vectors.end_to_end.uploads) {
    const opened = await openRestoreBlob(text, expected);
    expect(opened).toEqual(items.map(({ tag, plaintext }) => ({ tag, payload: unhex(plaintext) })));
  }
});

test('restore blob: ours opens, with our reader and an independent one', async () => {
  const text = await makeRestoreBlob({
    file,
    keys: keys.slice(1),
    exchange: exchange.certificate,
    random: randomBytes,
  });
  expect(await openRestoreBlob(text, expected)).toEqual(wanted);
  expect(readBlobIndependently(text, exchange.files)).toEqual(
    wanted.map(({ tag, payload }) => [tag, hex(payload)]),
  );
  expect(await openRestoreBlob(Buffer.from(text).toString('base64url'), expected)).toEqual(wanted);
  expect(Object.keys(JSON.parse(text) as object)).toEqual(['EncData', 'WrappedKey']);
});

test('restore blob: each is under a new master key, and what was drawn is overwritten', async () => {
  const drawn: Buffer[] = [];
  const random = (size: number): Buffer => {
    const bytes = randomBytes(size);
    drawn.push(bytes);
    return bytes;
  };
  const request = { file, keys, exchange: exchange.certificate, random };
  const [first, second] = [await makeRestoreBlob(request), await makeRestoreBlob(request)];
  expect(first).not.toBe(second);
  expect(drawn.map((bytes) => bytes.length)).toEqual([32, 32]);
  expect(drawn.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
});

test('restore blob: payloads come through file and blob unchanged', async () => {
  const items = [
    { tag: 'b', payload: Buffer.from(Array.from({ length: 256 }, (_, i) => i)) },
    { tag: 'a', payload: Buffer.alloc(0) },
  ];
  const domain = makeSecurityDomain({ set: setOf(published, 3), items, random: randomBytes });
  const text = await makeRestoreBlob({
    file: readSecurityDomain(domain),
    keys,
    exchange: exchange.certificate,
    random: randomBytes,
  });
  expect(await openRestoreBlob(text, { ...expected, tags: ['a', 'b'] })).toEqual([items[1], items[0]]);
});

test('restore blob: fewer keys than the quorum make none', async () => {
  const request = { file, keys: keys.slice(0, 1), exchange: exchange.certificate, random: randomBytes };
  const { code, missing } = await refusal(() => makeRestoreBlob(request));
  expect([code, missing]).toEqual(['TooFewShares', 1]);
});

test('restore blob: one that is not exactly what is expected is refused', async () => {
  const good = await freshBlob();
  const other = await freshBlob();
  const change = (edit: (blob: BlobJson) => void): string => {
    const blob = structuredClone(good);
    edit(blob);
    return JSON.stringify(blob);
  };
  const datum = (blob: BlobJson, index: number): { compact_jwe: string; tag: string } => {
    const found = blob.EncData.data[index];
    if (!found) throw new Error('there is no such item');
    return found;
  };
  const cut = (jwe: string, bytes: number): string => {
    const parts = jwe.split('.');
    const tag = Buffer.from(parts.pop() ?? '', 'base64url').subarray(0, bytes);
    return [...parts, tag.toString('base64url')].join('.');
  };
  const cases: [name: string, text: string, code: string][] = [
    ['nothing', '', 'BadBlob'],
    ['no JSON', 'text!', 'BadBlob'],
    ['a security domain file', JSON.stringify(vectors.end_to_end.security_domain_file), 'BadBlob'],
    ['another derivation', change((blob) => (blob.EncData.kdf = 'hkdf')), 'BadBlob'],
    [
      'another exchange key',
      change((blob) => (blob.WrappedKey.x5t_256 = keys[0]?.thumbprint ?? '')),
      'WrongExchangeKey',
    ],
    ['a thumbprint with padding', change((blob) => (blob.WrappedKey.x5t_256 += '=')), 'WrongExchangeKey'],
    ['no item', change((blob) => (blob.EncData.data = [])), 'BadBlob'],
    ['a missing item', change((blob) => blob.EncData.data.pop()), 'WrongItems'],
    ['an unknown item', change((blob) => (datum(blob, 1).tag = 'third item')), 'WrongItems'],
    [
      'one item more',
      change((blob) => blob.EncData.data.push({ ...datum(blob, 0), tag: 'more' })),
      'WrongItems',
    ],
    ['an item twice', change((blob) => blob.EncData.data.push(datum(blob, 0))), 'WrongItems'],
    ['an item in the place of another', change((blob) => (datum(blob, 1).tag = 'first item')), 'WrongItems'],
    [
      'a bad tag',
      change((blob) => (datum(blob, 0).compact_jwe = `${datum(blob, 0).compact_jwe.slice(0, -4)}AAAA`)),
      'BadBlob',
    ],
    [
      'a cut tag',
      change((blob) => (datum(blob, 0).compact_jwe = cut(datum(blob, 0).compact_jwe, 31))),
      'BadBlob',
    ],
    [
      'no tag',
      change((blob) => (datum(blob, 0).compact_jwe = cut(datum(blob, 0).compact_jwe, 0))),
      'BadBlob',
    ],
    [
      'a cut tag of the key',
      change((blob) => (blob.WrappedKey.enc_key = cut(blob.WrappedKey.enc_key, 31))),
      'BadBlob',
    ],
    [
      'no tag of the key',
      change((blob) => (blob.WrappedKey.enc_key = cut(blob.WrappedKey.enc_key, 0))),
      'BadBlob',
    ],
    [
      'items swapped',
      change((blob) => {
        [datum(blob, 0).tag, datum(blob, 1).tag] = [datum(blob, 1).tag, datum(blob, 0).tag];
      }),
      'BadBlob',
    ],
    [
      'an item of another blob',
      change((blob) => (datum(blob, 1).compact_jwe = datum(other, 1).compact_jwe)),
      'BadBlob',
    ],
    [
      'the key of another blob',
      change((blob) => (blob.WrappedKey.enc_key = other.WrappedKey.enc_key)),
      'BadBlob',
    ],
  ];
  for (const [name, text, code] of cases) {
    expect([name, (await refusal(() => openRestoreBlob(text, expected))).code]).toEqual([name, code]);
  }
  expect(await openRestoreBlob(JSON.stringify(good), expected)).toEqual(wanted);
});

test('restore blob: a master key of another length is refused', async () => {
  for (const length of [0, 16, 31, 33, 64]) {
    const master = randomBytes(length);
    const text = JSON.stringify({
      EncData: sealItems(master, wanted),
      WrappedKey: {
        enc_key: sealTo(exchange.certificate.publicKey, master),
        x5t_256: expected.thumbprint,
      },
    });
    expect((await refusal(() => openRestoreBlob(text, expected))).message).toBe(
      'the restore blob is damaged',
    );
  }
});

test('restore blob: nothing but the wrapped key reaches the slot, and only after all else was right', async () => {
  const blob = await freshBlob();
  const seen: Buffer[] = [];
  const unwrapKey = (encryptedKey: Buffer): Promise<Buffer | undefined> => {
    seen.push(Buffer.from(encryptedKey));
    return expected.unwrapKey(encryptedKey);
  };
  await refusal(() =>
    openRestoreBlob(JSON.stringify(blob), { ...expected, unwrapKey, tags: ['first item'] }),
  );
  await refusal(() => openRestoreBlob(JSON.stringify(blob), { ...expected, unwrapKey, thumbprint: 'x' }));
  expect(seen).toEqual([]);
  await openRestoreBlob(JSON.stringify(blob), { ...expected, unwrapKey });
  expect(seen).toEqual([Buffer.from(blob.WrappedKey.enc_key.split('.')[1] ?? '', 'base64url')]);
});

test('restore blob: a slot that cannot answer is heard; one that cannot open it is a damaged blob', async () => {
  const text = JSON.stringify(await freshBlob());
  const gone = { ...expected, unwrapKey: () => Promise.reject(new Error('the slot is gone')) };
  await expect(openRestoreBlob(text, gone)).rejects.toThrow('the slot is gone');
  for (const answer of [undefined, randomBytes(64), randomBytes(32)]) {
    const other = { ...expected, unwrapKey: () => Promise.resolve(answer) };
    expect((await refusal(() => openRestoreBlob(text, other))).message).toBe('the restore blob is damaged');
  }
});
