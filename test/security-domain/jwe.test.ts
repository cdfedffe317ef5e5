import { createHmac, createPrivateKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { readCertificate } from '../../src/security-domain/certificates.js';
import { unwrapWith } from '../../src/security-domain/custodian.js';
import { openDirect, openWith, sealDirect, sealTo } from '../../src/security-domain/jwe.js';
import { deriveItemKey } from '../../src/security-domain/kdf.js';
import { hex, unhex, vectors } from './vectors.js';

const rsa = vectors.jwe_rsa;
const privateKey = createPrivateKey(rsa.private_key_pem);
const { publicKey, thumbprint } = readCertificate(Buffer.from(rsa.certificate_pem), 'sd1');

function headerOf(jwe: string): string {
  return Buffer.from(jwe.split('.')[0] ?? '', 'base64url').toString();
}

/** A JWE that is right in all but its header, or whatever else the test gives it. */
function forge(key: Buffer, header: unknown, encryptedKey = Buffer.alloc(0), tagBytes = 32): string {
  const head = Buffer.from(JSON.stringify(header)).toString('base64url');
  const [iv, ciphertext] = [randomBytes(16), randomBytes(32)];
  const length = Buffer.alloc(8);
  length.writeUInt32BE(head.length * 8, 4);
  const mac = createHmac('sha512', key.subarray(0, 32))
    .update(Buffer.concat([Buffer.from(head), iv, ciphertext, length]))
    .digest();
  return [
    head,
    ...[encryptedKey, iv, ciphertext, mac.subarray(0, tagBytes)].map((part) => part.toString('base64url')),
  ].join('.');
}

test('jwe: published items open, with the key derived from the tag', () => {
  for (const { master_key: master, tag, cek, plaintext, compact_jwe: jwe } of vectors.jwe_dir.cases) {
    const key = deriveItemKey(unhex(master), tag);
    expect([tag, hex(key)]).toEqual([tag, cek]);
    const opened = openDirect(jwe, key);
    expect([tag, opened && hex(opened)]).toEqual([tag, plaintext]);
  }
});

test('jwe: our items have the published header, byte for byte, and open again', () => {
  for (const { tag, cek, plaintext, protected_header: header } of vectors.jwe_dir.cases) {
    const jwe = sealDirect(unhex(cek), tag, unhex(plaintext));
    // Tags of ours are ASCII; there, JSON has one spelling.
    if (/^[\x20-\x7e]*$/.test(tag)) expect(headerOf(jwe)).toBe(header);
    const opened = openDirect(jwe, unhex(cek));
    expect(opened && hex(opened)).toBe(plaintext);
  }
});

test('jwe: what published readers let pass by mistake is refused', () => {
  const [first] = vectors.jwe_dir.cases;
  for (const { case: name, compact_jwe: jwe } of vectors.jwe_dir.negative) {
    expect([name, openDirect(jwe, unhex(first?.cek ?? ''))]).toEqual([name, undefined]);
  }
});

test('jwe: the published RSA example opens, and its thumbprint is ours', async () => {
  expect(thumbprint).toBe(rsa.x5t_256_base64url);
  const opened = await openWith(rsa.compact_jwe, unwrapWith(privateKey));
  expect(opened && hex(opened)).toBe(rsa.plaintext);
  // The way of a slot: the content opens with the key alone.
  const cek = await openWith(rsa.compact_jwe, () => Promise.resolve(unhex(rsa.cek)));
  expect(cek && hex(cek)).toBe(rsa.plaintext);
});

test('jwe: ours for an RSA key have the published header, and an independent library opens them', async () => {
  const jwe = sealTo(publicKey, unhex(rsa.plaintext));
  expect(headerOf(jwe)).toBe(rsa.protected_header);
  const { plaintext } = await compactDecrypt(jwe, privateKey);
  expect(hex(plaintext)).toBe(rsa.plaintext);
});

test('jwe: content of any length survives, and any changed bit is noticed', () => {
  const key = unhex(rsa.cek);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(),
      fc.integer({ min: 0, max: 5 }),
      (payload, where, bit) => {
        const jwe = sealDirect(key, 'tag', payload);
        const opened = openDirect(jwe, key);
        expect(opened && hex(opened)).toBe(hex(payload));
        const at = where % jwe.length;
        const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
        const changed = alphabet[alphabet.indexOf(jwe.charAt(at)) ^ (1 << bit)] ?? 'A';
        const spoilt = jwe.slice(0, at) + changed + jwe.slice(at + 1);
        if (spoilt !== jwe) expect(openDirect(spoilt, key)).toBeUndefined();
      },
    ),
  );
});

test('jwe: another form, algorithm or header is refused before any key is used', async () => {
  const key = randomBytes(64);
  const asked = jest.fn(() => Promise.resolve(Buffer.from(key)));
  const dir = { alg: 'dir', enc: 'A256CBC-HS512', kid: 'tag' };
  const oaep = { alg: 'RSA-OAEP-256', enc: 'A256CBC-HS512', kid: 'not used' };
  const wrapped = randomBytes(256);
  const good = sealDirect(key, 'tag', Buffer.from('payload'));
  const headers = [
    { alg: 'RSA-OAEP' },
    { alg: 'RSA1_5' },
    { alg: 'none' },
    { alg: 'A256KW' },
    { enc: 'A128CBC-HS256' },
    { enc: 'A256GCM' },
    { enc: undefined },
    { crit: ['exp'] },
    { crit: [] },
    { zip: 'DEF' },
    { typ: 'JWT' },
    { kid: 7 },
  ];
  for (const wrong of headers) {
    expect(openDirect(forge(key, { ...dir, ...wrong }), key)).toBeUndefined();
    expect(await openWith(forge(key, { ...oaep, ...wrong }, wrapped), asked)).toBeUndefined();
  }
  const [head = '', , iv = '', ciphertext = '', tag = ''] = good.split('.');
  const spelt = `${head.slice(0, -1)}${head.endsWith('Q') ? 'R' : 'B'}`;
  const malformed = [
    '',
    '....',
    good.replace('..', '.'),
    `${good}.`,
    `${good}=`,
    ` ${good}`,
    [head, 'AAAA', iv, ciphertext, tag].join('.'),
    [head, '', iv.slice(0, -2), ciphertext, tag].join('.'),
    [head, '', iv, '', tag].join('.'),
    [head, '', iv, ciphertext.slice(0, -4), tag].join('.'),
    [spelt, '', iv, ciphertext, tag].join('.'),
    ['bm90IGpzb24', '', iv, ciphertext, tag].join('.'),
    ['W10', '', iv, ciphertext, tag].join('.'),
    forge(key, dir, undefined, 31),
    forge(key, dir, undefined, 33),
    forge(key, dir, undefined, 64),
    forge(key, oaep),
  ];
  for (const jwe of malformed) {
    expect([jwe, openDirect(jwe, key)]).toEqual([jwe, undefined]);
    expect([jwe, await openWith(jwe, asked)]).toEqual([jwe, undefined]);
  }
  for (const length of [0, 1, 16, 31, 33, 64]) {
    expect(await openWith(forge(key, oaep, wrapped, length), asked)).toBeUndefined();
  }
  // A form of one kind is none of the other.
  expect(await openWith(good, asked)).toBeUndefined();
  expect(openDirect(sealTo(publicKey, Buffer.of(1)), key)).toBeUndefined();
  expect(asked).not.toHaveBeenCalled();
});

test('jwe: a right tag over wrong padding is refused', async () => {
  const key = randomBytes(64);
  const oaep = { alg: 'RSA-OAEP-256', enc: 'A256CBC-HS512', kid: 'not used' };
  // Random ciphertext under a right tag; a few decrypt to valid padding by chance.
  const opened = await Promise.all(
    Array.from({ length: 32 }, () =>
      openWith(forge(key, oaep, randomBytes(256)), () => Promise.resolve(Buffer.from(key))),
    ),
  );
  expect(opened.filter((payload) => payload === undefined).length).toBeGreaterThan(16);
});

test('jwe: a key of another length, or one that does not open, fails like a wrong tag', async () => {
  const jwe = sealTo(publicKey, Buffer.from('payload'));
  for (const answer of [
    undefined,
    Buffer.alloc(0),
    Buffer.alloc(32),
    Buffer.alloc(63),
    randomBytes(64),
    Buffer.alloc(128),
  ]) {
    expect(await openWith(jwe, () => Promise.resolve(answer))).toBeUndefined();
  }
});

test('jwe: the key is overwritten after use, and a slot that cannot answer is heard', async () => {
  const cek = unhex(rsa.cek);
  await openWith(rsa.compact_jwe, () => Promise.resolve(cek));
  expect(cek.every((byte) => byte === 0)).toBe(true);
  await expect(
    openWith(rsa.compact_jwe, () => Promise.reject(new Error('the slot is gone'))),
  ).rejects.toThrow('the slot is gone');
});

test('jwe: an independent library opens our items, and we open its', async () => {
  const key = randomBytes(64);
  for (const length of [0, 1, 15, 16, 17, 1_000]) {
    const payload = randomBytes(length);
    const { plaintext, protectedHeader } = await compactDecrypt(sealDirect(key, 'tag', payload), key);
    expect([hex(plaintext), protectedHeader['kid']]).toEqual([hex(payload), 'tag']);
    const theirs = await new CompactEncrypt(payload)
      .setProtectedHeader({ alg: 'dir', enc: 'A256CBC-HS512', kid: 'tag' })
      .encrypt(key);
    expect(openDirect(theirs, key)?.equals(payload)).toBe(true);
  }
});

test('jwe: what another library has closed opens', async () => {
  const jwe = await new CompactEncrypt(Buffer.from('from elsewhere'))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256CBC-HS512' })
    .encrypt(publicKey);
  expect((await openWith(jwe, unwrapWith(privateKey)))?.toString()).toBe('from elsewhere');
});
